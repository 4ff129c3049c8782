"""The day of treatment: a frontal run, an oblique one, and one after embolisation, each with its truth."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np

from angio_pipeline.simulate.aftermath.deposits import oil_attenuation
from angio_pipeline.simulate.anatomy.devices import Catheter
from angio_pipeline.simulate.dicom.xa import tells_spacing, write_xa
from angio_pipeline.simulate.patient import Patient
from angio_pipeline.simulate.radiograph.background import draw_background
from angio_pipeline.simulate.radiograph.body import Layer
from angio_pipeline.simulate.radiograph.motion import draw_breathing
from angio_pipeline.simulate.runs import RunParams, RunPlan, RunScene, frame_times, record, stage_run
from angio_pipeline.simulate.truth import tell_truth, write_truth

__all__ = ["RUNS", "stage", "write_run", "write_runs"]

RUNS = ("frontal", "oblique", "post")


def write_runs(folder: Path, patient: Patient) -> None:
    """Write the three runs of a patient as DICOM into `folder`/dicom, their truth into `folder`/truth."""
    for name in RUNS:
        write_run(folder, patient, name)


def write_run(folder: Path, patient: Patient, name: str) -> None:
    """Write one of `RUNS` with its truth."""
    order = RUNS.index(name)
    scene = stage(patient, name)
    exposure = record(scene, patient.export, patient.rng("quanta", name))
    uid = write_xa(
        folder / "dicom" / "day000" / f"{name}.dcm",
        patient.case,
        study="day000",
        series=name,
        number=101 + order,
        when=patient.case.treated + timedelta(minutes=10 * (order + 1)),
        frames=exposure.stored,
        times_s=scene.plan.times_s,
        carm=scene.plan.carm,
        export=patient.export,
        collimation=patient.collimation,
        mask_frames=max(scene.plan.mask_frames, 1),
    )
    truth = tell_truth(
        scene,
        exposure,
        already_subtracted=patient.export.already_subtracted,
        spacing_told=tells_spacing(patient.export),
    )
    write_truth(truth, folder / "truth" / str(uid))


def stage(patient: Patient, name: str) -> RunScene:
    """Return the scene of one of `RUNS`."""
    params, rng = patient.params, patient.rng("run", name)
    geometry = params.geometry
    after = name == "post"
    angle = (geometry.oblique_primary_deg, geometry.oblique_secondary_deg) if name == "oblique" else (0.0, 0.0)
    carm = patient.carm(*angle)
    settings = params.run if name == "frontal" else params.short_run
    times = frame_times(settings)
    devices = patient.anatomy.devices
    # Seen from one side the body looks the same before treatment and after it.
    seen = patient.rng("background", *(f"{part:g}" for part in angle))
    background = draw_background(carm, patient.body, params.background, seen, coils=devices.coils, clips=devices.clips)
    if after:
        iodine = params.contrast.mass_attenuation_mm2_mg
        oil = oil_attenuation(background.carm, patient.treatment, 0.0, iodine)
        background = background.with_added(Layer.VISCERA, oil)
    kept = patient.treatment.kept(patient.anatomy) if after else np.ones(len(patient.anatomy.arteries))
    plan = RunPlan(name, carm, times, settings.mask_frames, _catheter(patient, settings), kept)
    return stage_run(
        plan,
        patient.anatomy,
        patient.vessels,
        draw_breathing(params.motions[int(rng.integers(len(params.motions)))], times, rng),
        background,
        contrast=params.contrast,
        detector=patient.detector,
        collimation=patient.collimation,
    )


def _catheter(patient: Patient, settings: RunParams) -> Catheter:
    # Before and after embolisation the tip stands where it stood: both runs draw from one stream.
    orders = settings.catheter_orders
    order = orders[int(patient.rng("catheter").integers(len(orders)))]
    sizes = [tumour.radius_mm for tumour in patient.anatomy.tumours]
    return patient.anatomy.place_catheter(order, int(np.argmax(sizes)) if sizes else None)
