"""A cohort without images as files: `lipiodol.json` of each patient, and the records of a hospital.

Shared by the tests of cohorts and by `benchmarks/cohort.py`.
"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from angio_pipeline.simulate.cohort import CohortParams, write_records
from angio_pipeline.simulate.registry import RegistryPatient

FIRST_SCAN_DAY = 1
MG_PER_ML = 480


def write_registry(
    folder: Path, patients: list[RegistryPatient], cohort: CohortParams, pseudonyms: dict[str, str]
) -> tuple[Path, Path]:
    """Write `out/subjects/<pseudonym>/lipiodol.json` and the records; return `out` and the records' file."""
    out = folder / "out"
    for patient in patients:
        path = out / "subjects" / pseudonyms[patient.patient_id] / "lipiodol.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(lipiodol_document(patient)), encoding="utf-8")
    return out, write_records(folder, [patient.record for patient in patients], cohort)


def lipiodol_document(patient: RegistryPatient) -> dict[str, Any]:
    """The document of one patient, by the public schema."""
    lesions = [
        {
            "id": f"L{i + 1}",
            "centroid_mm": None,
            "origin": "detected",
            "timepoints": [
                timepoint(patient, day, float(value), 600.0 - 100 * i)
                for day, value in zip(patient.days, lesion, strict=True)
            ],
            "kinetics": None,
        }
        for i, lesion in enumerate(patient.retention)
    ]
    return {"schema": "angio-pipeline/lipiodol/1", "lesions": lesions, "liver": None}


def timepoint(patient: RegistryPatient, day: float, retention: float, iodine_mg: float) -> dict[str, Any]:
    """One lesion at one date."""
    date = patient.record.treated + timedelta(days=FIRST_SCAN_DAY + day)
    mass = iodine_mg * retention
    return {
        "date": f"{date:%Y%m%d}",
        "days": FIRST_SCAN_DAY + day,
        "study_instance_uid": f"1.2.{date:%Y%m%d}",
        "series_instance_uid": f"1.2.{date:%Y%m%d}.1",
        "modality": "CT",
        "deposit_mask": None,
        "iodine_mg": mass,
        "iodine_mg_interval": [0.9 * mass, 1.1 * mass],
        "oil_ml": mass / MG_PER_ML,
        "relative_amount": None,
        "volume_mm3": 4000.0,
        "coverage": {"75": 80.0, "160": 60.0, "215": 50.0},
        "retention": retention,
        "retention_interval": [0.9 * retention, 1.1 * retention],
        "pattern": "homogeneous",
        "completeness": "moderate",
        "margin_grade": None,
        "clipped_voxels": 0,
        "quality": [],
    }
