"""Runs of simulated patients with the tree that is visible in them: as `graph_trees`, through all of the simulator.

Contrast, breathing, detector and export are the simulator's, subtraction is the pipeline's; the mask is the truth's.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from angio_pipeline.config import PipelineConfig
from angio_pipeline.core.vessels import VesselSegmentation
from angio_pipeline.pipeline import subtract_run
from angio_pipeline.simulate import load_preset
from angio_pipeline.simulate.angiography import stage
from angio_pipeline.simulate.patient import make_patient
from angio_pipeline.simulate.population import make_case
from angio_pipeline.simulate.radiograph.projection import Tubes
from angio_pipeline.simulate.runs import RunScene, record
from angio_pipeline.simulate.truth import from_the_tip, tell_truth, visible_segments
from angio_pipeline.training.examples import read_back
from graph_trees import Pieces, Scene, scene_of


def make_patient_scene(seed: int, run: str = "frontal", preset: str = "clinical") -> Scene:
    """Return the scene of one run of a simulated patient."""
    patient = make_patient(make_case(seed, 0), load_preset(preset))
    scene = stage(patient, run)
    exposure = record(scene, patient.export, patient.rng("quanta", run))
    sub, maps = subtract_run(read_back(patient, scene, exposure, run), config=PipelineConfig())
    # Where the vessels stand in the frame that the pipeline refers to.
    truth = tell_truth(scene, exposure, frame=sub.reference_frame)
    segmentation = VesselSegmentation(
        truth.artery.astype(np.float32), truth.artery, catheter=truth.catheter, method="truth"
    )
    seen = visible_segments(scene, exposure, from_the_tip(scene)[0])
    return scene_of(_seen(scene, seen, sub.reference_frame), segmentation, sub, maps)


def _seen(scene: RunScene, seen: npt.NDArray[np.bool_], frame: int) -> Pieces:
    before, turned = from_the_tip(scene)
    tubes = scene.tubes("arteries", frame)
    start = np.where(turned[:, None], tubes.end, tubes.start)
    end = np.where(turned[:, None], tubes.start, tubes.end)
    number = np.cumsum(seen) - 1
    # A piece comes after the one before it.
    depth = np.zeros(len(before), int)
    for _ in range(len(before)):
        deeper = np.where(before >= 0, depth[before] + 1, 0)
        if (deeper == depth).all():
            break
        depth = deeper
    order = np.argsort(np.where(seen, depth, 1 << 30), kind="stable")[: int(seen.sum())]
    number = np.full(len(before), -1)
    number[order] = np.arange(len(order))
    carm = scene.plan.carm
    at, to = carm.project(start[order]), carm.project(end[order])
    radius_px = tubes.radius[order] * carm.sid_mm / carm.view(start[order])[:, 2] / carm.pixel_mm
    above = before[order]
    return Pieces(
        Tubes(start[order], end[order], tubes.radius[order]),
        at,
        to,
        radius_px,
        np.zeros(len(order)),
        np.where(above >= 0, number[above], -1),
    )
