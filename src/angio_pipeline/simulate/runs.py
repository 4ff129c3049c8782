"""One angiographic run: frames as the detector stores them, and where everything truly is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.simulate.anatomy import Anatomy
from angio_pipeline.simulate.blush import Bed, beds
from angio_pipeline.simulate.body import Layer
from angio_pipeline.simulate.contrast import BolusTable, ContrastParams, make_bolus, transit_delays
from angio_pipeline.simulate.courses import Courses
from angio_pipeline.simulate.detector import DetectorParams, expose, exposure_level, store
from angio_pipeline.simulate.motion import Breathing, flow_field, warp_layer
from angio_pipeline.simulate.projection import CArm, Tubes, project_tubes
from angio_pipeline.simulate.tree import Territory

__all__ = ["RunParams", "RunPlan", "RunScene", "acquire", "frame_times", "stage_run"]

Array = npt.NDArray[np.float64]


class RunParams(Params):
    """Frames of a run: a fast part, then a slow part."""

    fast_frames: int = Field(14, ge=3, le=200)
    fast_fps: float = Field(3.0, gt=0, le=30)
    slow_frames: int = Field(6, ge=0, le=200)
    slow_fps: float = Field(1.0, gt=0, le=30)
    mask_frames: int = Field(3, ge=0, le=20, description="frames before contrast arrives at the tip")


@dataclass(frozen=True, slots=True, eq=False)
class RunPlan:
    """What makes one run of a patient differ from another."""

    name: str
    carm: CArm
    times_s: Array
    residual: Array
    mask_frames: int


@dataclass(frozen=True, slots=True, eq=False)
class RunScene:
    """Everything needed to draw any frame without noise."""

    plan: RunPlan
    anatomy: Anatomy
    courses: Courses
    breathing: Breathing
    background: dict[Layer, Array]
    bolus: BolusTable
    delay_s: Array
    present: Array
    beds: list[Bed]
    contrast: ContrastParams
    detector: DetectorParams

    def tubes(self, frame: int) -> Tubes:
        """Return the vessels where they stand in `frame`."""
        tubes = self.courses.tubes
        start = tubes.start + self.breathing.displacement(tubes.start, frame)
        end = tubes.end + self.breathing.displacement(tubes.end, frame)
        return Tubes(start, end, tubes.radius)

    def concentration(self, frame: int) -> Array:
        """Return (S,) mg/ml in each segment."""
        return self.present * self.bolus.at(self.bolus.artery, self.delay_s, float(self.plan.times_s[frame]))

    def vessel_attenuation(self, frame: int) -> Array:
        """Return (rows, columns) attenuation by contrast in arteries."""
        weight = 1e-3 * self.contrast.mass_attenuation_mm2_mg * self.concentration(frame)
        return project_tubes(self.plan.carm, self.tubes(frame), np.where(weight > 1e-7, weight, 0.0))

    def tissue_attenuation(self, frame: int) -> Array:
        """Return (rows, columns) attenuation by contrast in tumour and liver tissue."""
        time = float(self.plan.times_s[frame])
        image = np.zeros((self.plan.carm.rows, self.plan.carm.columns))
        for bed in self.beds:
            moved = self.breathing.displacement(bed.centre, frame)
            image += bed.areal_density(self.plan.carm, self.bolus, time, moved)
        return image * self.contrast.mass_attenuation_mm2_mg

    def background_attenuation(self, frame: int) -> Array:
        """Return (rows, columns) attenuation of everything but contrast."""
        total = self.background[Layer.STATIC].copy()
        for layer in (Layer.CHEST, Layer.VISCERA, Layer.BOWEL):
            total += warp_layer(self.background[layer], *flow_field(self.breathing, self.plan.carm, frame, layer))
        return total


def frame_times(params: RunParams) -> Array:
    """Return (T,) seconds of the frames from the first."""
    steps = [1 / params.fast_fps] * (params.fast_frames - 1) + [1 / params.slow_fps] * params.slow_frames
    return np.concatenate([[0.0], np.cumsum(np.round(steps, 4))])


def stage_run(
    plan: RunPlan,
    anatomy: Anatomy,
    courses: Courses,
    breathing: Breathing,
    background: dict[Layer, Array],
    contrast: ContrastParams,
    detector: DetectorParams,
    root_radius_mm: float,
) -> RunScene:
    """Return the scene of one run; contrast reaches the tip just after the last mask frame."""
    tree = anatomy.tree
    territory, tumour = np.asarray(tree.territory), np.asarray(tree.tumour)
    embolised = np.isin(territory, [int(Territory.FEEDER), int(Territory.TUMOUR)])
    kept = np.where(embolised, plan.residual[np.clip(tumour, 0, None)] if len(plan.residual) else 1.0, 1.0)
    delay = transit_delays(tree, courses, anatomy.root_flow_ml_s, root_radius_mm, 1 / np.maximum(kept, 0.05))
    present = (kept > 0).astype(float)[courses.edge]
    times = plan.times_s
    injected = 0.5 * (times[plan.mask_frames - 1] + times[plan.mask_frames]) if plan.mask_frames else -1.0
    bolus = make_bolus(contrast, anatomy.root_flow_ml_s, float(injected), float(times[-1]), float(delay.max()))
    tissue = beds(anatomy, courses, delay, plan.residual)
    return RunScene(plan, anatomy, courses, breathing, background, bolus, delay, present, tissue, contrast, detector)


def acquire(scene: RunScene, rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    """Return (T, H, W) stored values."""
    background = scene.background_attenuation(0)
    level = exposure_level(background)
    first = expose(background, scene.detector, level)
    white = float(np.percentile(first, 99.7)) * 1.05
    frames = []
    for k in range(len(scene.plan.times_s)):
        total = scene.background_attenuation(k) + scene.vessel_attenuation(k) + scene.tissue_attenuation(k)
        frames.append(store(expose(total, scene.detector, level), scene.detector, white, rng))
    return np.stack(frames)
