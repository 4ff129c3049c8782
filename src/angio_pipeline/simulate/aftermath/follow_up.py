"""After treatment: CT visits and films of a patient as DICOM, and the truth of the oil in them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from angio_pipeline.simulate.aftermath.ct import CtPhase, CtScan, plan_visits, scan_visit
from angio_pipeline.simulate.aftermath.deposits import OIL_MG_PER_ML
from angio_pipeline.simulate.aftermath.films import write_film
from angio_pipeline.simulate.aftermath.treatment import Lesion
from angio_pipeline.simulate.dicom.common import Case
from angio_pipeline.simulate.dicom.ct import write_ct
from angio_pipeline.simulate.dicom.seg import write_segmentation
from angio_pipeline.simulate.patient import Patient

__all__ = ["write_follow_up"]

Document = dict[str, Any]


def write_follow_up(folder: Path, patient: Patient) -> None:
    """Write a patient's scans and films into `folder`/dicom, regions into rois, truth into truth."""
    points: dict[str, list[Document]] = {lesion.id: [] for lesion in patient.treatment.lesions}
    liver: list[Document] = []
    visits = plan_visits(patient.params.ct)
    first = min(visit.days for visit in visits if visit.days >= 0)
    for order, visit in enumerate(visits):
        scans = scan_visit(
            patient.body,
            patient.anatomy,
            patient.treatment,
            visit,
            patient.params.ct,
            patient.rng("ct", f"{visit.days:g}"),
            vessels=patient.vessels,
        )
        for phase, made in enumerate(scans):
            told = _write_scan(folder, patient, made, 200 + 100 * order + phase + 1, regions=visit.days == first)
            if made.phase is CtPhase.PLAIN and visit.days >= 0:
                for name, point in told.items():
                    points[name].append(point)
                liver.append(_liver_point(patient, made, patient.treatment.liver_iodine_mg(first)))
    for order, days in enumerate(patient.params.treatment.film_days):
        for name, point in write_film(folder, patient, days, 104 + 300 * order).items():
            points[name].append(point)
    _write_oil_truth(folder / "truth", patient, points, liver)


def _write_scan(folder: Path, patient: Patient, made: CtScan, number: int, *, regions: bool) -> dict[str, Document]:
    case = patient.case
    study, series = _study(made), made.phase.value
    when = case.at(made.days) + timedelta(hours=1, minutes=2 * (number % 10))
    headers = write_ct(
        folder / "dicom" / study / series, case, study=study, series=series, number=number, when=when, scan=made
    )
    if regions and made.phase is CtPhase.PLAIN and made.lesions:
        write_segmentation(
            folder / "rois" / "lesions.dcm",
            case,
            study=study,
            when=when + timedelta(hours=1),
            scan=made,
            slices=headers,
        )
    kinds = [("lesion", made.lesions), *([("deposit", made.deposits)] if made.days >= 0 else [])]
    for kind, masks in kinds:
        for name, mask in masks.items():
            _write_mask(folder / "truth" / _mask_name(made, kind, name), mask, made)
    treated = {lesion.id: lesion.pattern.value for lesion in patient.treatment.lesions if lesion.deposit is not None}
    return {name: _point(case, made, name, when, treated[name]) for name in made.lesions if name in treated}


def _study(made: CtScan) -> str:
    return "baseline-ct" if made.days < 0 else f"day{round(made.days):03d}-ct"


def _mask_name(made: CtScan, kind: str, lesion: str) -> str:
    return f"{_study(made)}-{made.phase.value}-{kind}-{lesion}.nii.gz"


def _point(case: Case, made: CtScan, name: str, when: datetime, pattern: str) -> Document:
    return {
        "date": f"{when:%Y%m%d}",
        "days": made.days,
        "modality": "CT",
        "study_instance_uid": str(case.uid("study", _study(made))),
        "series_instance_uid": str(case.uid("series", _study(made), made.phase.value)),
        "iodine_mg": round(made.iodine_mg[name], 4),
        "oil_ml": round(made.iodine_mg[name] / OIL_MG_PER_ML, 6),
        "rim_iodine_mg": round(made.rim_iodine_mg[name], 4),
        "coverage": made.coverage[name] or None,
        "completeness": completeness.value if (completeness := made.completeness[name]) is not None else None,
        "pattern": pattern,
        "clipped_voxels": made.clipped_voxels[name],
        "centroid_mm": np.round(made.centroid_mm[name], 3).tolist(),
        "lesion_mask": _mask_name(made, "lesion", name),
        "deposit_mask": _mask_name(made, "deposit", name),
    }


def _liver_point(patient: Patient, made: CtScan, first_mg: float) -> Document:
    # Oil outside the tumours: at their surfaces and in the embolised segments.
    mass = made.liver_iodine_mg
    return {
        "days": made.days,
        "modality": "CT",
        "series_instance_uid": str(patient.case.uid("series", _study(made), made.phase.value)),
        "iodine_mg": round(mass, 4),
        "oil_ml": round(mass / OIL_MG_PER_ML, 6),
        "retention": round(mass / first_mg, 6) if first_mg > 0 else None,
        "wall_iodine_mg": {organ: round(amount, 4) for organ, amount in made.wall_iodine_mg.items()},
    }


def _write_mask(path: Path, mask: npt.NDArray[np.bool_], made: CtScan) -> None:
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing([float(v) for v in made.spacing_mm[::-1]])
    image.SetOrigin([float(v) for v in made.origin_mm])
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path), useCompression=True)


def _write_oil_truth(
    truth: Path, patient: Patient, points: dict[str, list[Document]], liver: Sequence[Document]
) -> None:
    lesions = [
        _course(patient, index, lesion, points[lesion.id])
        for index, lesion in enumerate(patient.treatment.lesions)
        if lesion.deposit is not None
    ]
    left = patient.treatment.liver_washout.days_to_half(liver[0]["days"]) if lesions and liver else None
    document = {
        "schema": "angio-pipeline/lipiodol-truth/1",
        "lesions": lesions,
        "liver": {"half_life_days": round(left, 4), "timepoints": list(liver)} if left is not None else None,
    }
    truth.mkdir(parents=True, exist_ok=True)
    (truth / "lipiodol.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _course(patient: Patient, index: int, lesion: Lesion, points: list[Document]) -> Document:
    ct = min((p["days"] for p in points if p["modality"] == "CT"), default=0.0)
    film = min((p["days"] for p in points if p["modality"] != "CT"), default=0.0)
    for point in points:
        # Scans and films are each compared with the first of their own kind.
        first = ct if point["modality"] == "CT" else film
        point["retention"] = round(lesion.iodine_mg(point["days"]) / lesion.iodine_mg(first), 6)
    half_life = lesion.half_life_days(ct)
    main = patient.anatomy.tumours[index].daughter_of
    return {
        "id": lesion.id,
        "tumour": f"T{index + 1}",
        "daughter_of": None if main is None else f"L{main + 1}",
        "pattern": lesion.pattern.value,
        "centroid_mm": next((p["centroid_mm"] for p in points if "centroid_mm" in p), None),
        "half_life_days": None if half_life is None else round(half_life, 4),
        "timepoints": points,
    }
