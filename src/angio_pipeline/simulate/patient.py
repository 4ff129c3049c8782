"""One digital patient from a seed: treatment day, films, follow-up scans, and the truth of each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from angio_pipeline.simulate.anatomy import Anatomy, build_anatomy
from angio_pipeline.simulate.background import project_background
from angio_pipeline.simulate.body import Body, Layer, build_body
from angio_pipeline.simulate.cohort import PatientPlan, plan_patient, write_plan
from angio_pipeline.simulate.courses import Courses, lay_courses
from angio_pipeline.simulate.detector import DetectorParams, expose, exposure_level, store
from angio_pipeline.simulate.dicom import Case, write_ct, write_segmentation, write_xa
from angio_pipeline.simulate.followup import CtScan, Deposit, concentration, make_deposit, remaining, scan
from angio_pipeline.simulate.motion import draw_breathing
from angio_pipeline.simulate.presets import SimulationParams
from angio_pipeline.simulate.projection import CArm, Ellipsoids, project_ellipsoids, project_gaussians
from angio_pipeline.simulate.runs import RunParams, RunPlan, acquire, frame_times, stage_run
from angio_pipeline.simulate.truth import tell_truth, write_truth

__all__ = ["write_patient"]

Array = npt.NDArray[np.float64]
OIL_MG_PER_ML = 480.0


@dataclass(frozen=True, slots=True, eq=False)
class _Patient:
    case: Case
    params: SimulationParams
    anatomy: Anatomy
    courses: Courses
    body: Body
    deposits: tuple[Deposit, ...]

    def rng(self, *words: str) -> np.random.Generator:
        # Each part of the patient has its own stream: adding one part changes no other.
        digest = self.case.uid("rng", *words).split(".")[-1]
        return np.random.default_rng(int(digest))

    def carm(self, primary_deg: float = 0.0, secondary_deg: float = 0.0) -> CArm:
        detector, geometry = self.params.detector, self.params.geometry
        pixel = detector.field_mm / detector.columns
        return CArm(
            detector.rows, detector.columns, pixel, geometry.sid_mm, geometry.sod_mm, primary_deg, secondary_deg
        )


def write_patient(folder: Path, case: Case, params: SimulationParams, plan: PatientPlan | None = None) -> Path:
    """Write one patient into `folder` and return it; a plan that is not given is drawn for the anatomy."""
    patient = _make(case, params)
    geometry = params.geometry
    untouched = np.ones(len(patient.anatomy.tumours))
    oblique = patient.carm(geometry.oblique_primary_deg, geometry.oblique_secondary_deg)
    _write_run(folder, patient, "celiac", 101, patient.carm(), params.run, untouched, oil=False)
    _write_run(folder, patient, "oblique", 102, oblique, params.short_run, untouched, oil=False)
    left = untouched * params.treatment.residual_flow
    _write_run(folder, patient, "post", 103, patient.carm(), params.short_run, left, oil=True)
    if patient.anatomy.tumours:
        _write_follow_up(folder, patient)
    write_plan(folder / "truth" / "plan.json", plan or _draw_plan(patient))
    return folder


def _draw_plan(patient: _Patient) -> PatientPlan:
    tumours = patient.anatomy.tumours
    size_mm = max((2 * tumour.radius_mm for tumour in tumours), default=None)
    daughters = any(tumour.daughter_of is not None for tumour in tumours)
    return plan_patient(patient.params.cohort, patient.rng("plan"), size_mm=size_mm, daughters=daughters)


def _make(case: Case, params: SimulationParams) -> _Patient:
    seed = np.random.SeedSequence([case.seed, case.number])
    build, lay, surround, oil = (np.random.default_rng(s) for s in seed.spawn(4))
    anatomy = build_anatomy(params.anatomy, build)
    courses = lay_courses(anatomy.tree, params.anatomy.root_radius_mm, params.anatomy.tortuosity, lay)
    body = build_body(anatomy.lobes, surround, params.background.gas)
    deposits = tuple(make_deposit(tumour, params.deposit, oil) for tumour in anatomy.tumours)
    return _Patient(case, params, anatomy, courses, body, deposits)


def _write_run(
    folder: Path, patient: _Patient, name: str, number: int, carm: CArm, plan: RunParams, residual: Array, *, oil: bool
) -> None:
    params, rng = patient.params, patient.rng("run", name)
    times = frame_times(plan)
    breathing = draw_breathing(params.motion, times, rng)
    background = project_background(carm, patient.body, patient.anatomy.catheter_mm, params.background, rng)
    if oil:
        background[Layer.VISCERA] += _oil(patient, carm, 0.0)
    scene = stage_run(
        RunPlan(name, carm, times, residual, plan.mask_frames),
        patient.anatomy,
        patient.courses,
        breathing,
        background,
        params.contrast,
        params.detector,
        params.anatomy.root_radius_mm,
    )
    uid = write_xa(
        folder / "dicom" / "day000" / f"{name}.dcm",
        patient.case,
        study="day000",
        series=name,
        number=number,
        when=patient.case.treated + timedelta(minutes=10 * (number % 100)),
        frames=acquire(scene, rng),
        times_s=times,
        carm=carm,
        detector=params.detector,
    )
    write_truth(tell_truth(scene), folder / "truth" / str(uid))


def _oil(patient: _Patient, carm: CArm, days: float, block: int = 4) -> Array:
    # Attenuation of the deposits: blocks of the fine grid as small blobs, so that no iodine is lost.
    image = np.zeros((carm.rows, carm.columns))
    for deposit in patient.deposits:
        values = concentration(deposit, days)
        pad = [(0, -n % block) for n in values.shape]
        whole = np.pad(values, pad)
        shape = [n // block for n in whole.shape]
        blocks = whole.reshape(shape[0], block, shape[1], block, shape[2], block).sum(axis=(1, 3, 5))
        index = np.argwhere(blocks > 1e-3)
        mass = blocks[tuple(index.T)] * 0.75**3 / 1000
        centre = deposit.origin_mm + (index[:, ::-1] * block + (block - 1) / 2) * 0.75
        image += project_gaussians(carm, centre, np.full(len(index), 0.45 * block * 0.75), mass)
    return image * patient.params.contrast.mass_attenuation_mm2_mg


def _write_follow_up(folder: Path, patient: _Patient) -> None:
    params = patient.params
    scans = [_write_scan(folder, patient, days, k) for k, days in enumerate(params.ct.days)]
    films = [_write_film(folder, patient, days, k) for k, days in enumerate(params.treatment.film_days)]
    lesions = []
    for i, deposit in enumerate(patient.deposits):
        name = f"L{i + 1}"
        points = [point[name] for point in scans] + [point[name] for point in films]
        for point in points:
            # Scans and films are each compared with the first of their own kind.
            days = params.ct.days if point["modality"] == "CT" else params.treatment.film_days
            point["retention"] = round(remaining(deposit, point["days"]) / remaining(deposit, min(days)), 6)
        lesions.append(
            {
                "id": name,
                "tumour": f"T{i + 1}",
                "centroid_mm": points[0]["centroid_mm"],
                "half_life_days": round(deposit.half_life_days, 4),
                "timepoints": points,
            }
        )
    document = {"schema": "angio-pipeline/lipiodol-truth/1", "lesions": lesions}
    (folder / "truth").mkdir(parents=True, exist_ok=True)
    (folder / "truth" / "lipiodol.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _write_scan(folder: Path, patient: _Patient, days: float, order: int) -> dict[str, dict[str, Any]]:
    case, study = patient.case, f"day{round(days):03d}-ct"
    made = scan(
        patient.body,
        patient.anatomy.tumours,
        patient.deposits,
        days,
        patient.params.ct,
        (-78.0, 93.0),
        patient.rng("ct", study),
    )
    when = case.at(days) + timedelta(hours=1)
    headers = write_ct(folder / "dicom" / study, case, study=study, number=201 + 100 * order, when=when, scan=made)
    if order == 0:
        write_segmentation(
            folder / "rois" / "lesions.dcm",
            case,
            study=study,
            when=when + timedelta(hours=1),
            scan=made,
            slices=headers,
        )
    return {name: _timepoint(folder, case, study, made, name) for name in made.lesions}


def _timepoint(folder: Path, case: Case, study: str, made: CtScan, name: str) -> dict[str, Any]:
    masks = {"lesion_mask": made.lesions[name], "deposit_mask": made.deposits[name]}
    files = {}
    for kind, mask in masks.items():
        files[kind] = f"{study}-{kind.split('_')[0]}-{name}.nii.gz"
        _write_volume(folder / "truth" / files[kind], mask, made)
    when = case.at(made.days) + timedelta(hours=1)
    return {
        "date": f"{when:%Y%m%d}",
        "days": made.days,
        "modality": "CT",
        "study_instance_uid": str(case.uid("study", study)),
        "series_instance_uid": str(case.uid("series", study, "ct")),
        "iodine_mg": round(made.iodine_mg[name], 4),
        "oil_ml": round(made.iodine_mg[name] / OIL_MG_PER_ML, 6),
        "centroid_mm": np.round(made.centroid_mm[name], 3).tolist(),
        **files,
    }


def _write_volume(path: Path, mask: npt.NDArray[np.bool_], made: CtScan) -> None:
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing([float(v) for v in made.spacing_mm[::-1]])
    image.SetOrigin([float(v) for v in made.origin_mm])
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def _write_film(folder: Path, patient: _Patient, days: float, order: int) -> dict[str, dict[str, Any]]:
    case, params = patient.case, patient.params
    study, series = f"day{round(days):03d}", f"film-{round(days):03d}"
    rng, carm = patient.rng("film", series), patient.carm()
    layers = project_background(carm, patient.body, patient.anatomy.catheter_mm[:0], params.background, rng)
    total = sum(layers.values(), np.zeros((carm.rows, carm.columns))) + _oil(patient, carm, days)
    frame = _expose_film(total, params.detector, rng)
    when = case.at(days) + timedelta(hours=2)
    uid = write_xa(
        folder / "dicom" / study / f"{series}.dcm",
        case,
        study=study,
        series=series,
        number=104 + 300 * order,
        when=when,
        frames=frame[None],
        times_s=np.zeros(1),
        carm=carm,
        detector=params.detector,
    )
    points = {}
    for i, (tumour, deposit) in enumerate(zip(patient.anatomy.tumours, patient.deposits, strict=True)):
        name = f"L{i + 1}"
        _write_film_roi(folder / "rois" / f"{uid}-{name}.png", carm, tumour.solid)
        left = deposit.iodine_mg * remaining(deposit, days)
        points[name] = {
            "date": f"{when:%Y%m%d}",
            "days": days,
            "modality": "XA",
            "study_instance_uid": str(case.uid("study", study)),
            "series_instance_uid": str(case.uid("series", study, series)),
            "sop_instance_uid": str(uid),
            "iodine_mg": round(left, 4),
            "oil_ml": round(left / OIL_MG_PER_ML, 6),
            "lesion_mask": None,
            "deposit_mask": None,
        }
    return points


def _expose_film(total: Array, detector: DetectorParams, rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    # A film is taken with several times the dose of one frame of a run.
    film = detector.model_copy(update={"photons": 4 * detector.photons})
    expected = expose(total, film, exposure_level(total))
    return store(expected, film, float(np.percentile(expected, 99.7)) * 1.05, rng)


def _write_film_roi(path: Path, carm: CArm, solid: Ellipsoids) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = project_ellipsoids(carm, solid, 1.0) > 0
    if not cv2.imwrite(str(path), mask.astype(np.uint8) * 255):
        raise OSError(f"Expected to write {path.name}, the encoder refused.")
