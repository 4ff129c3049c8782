"""A cohort without images as files: `lipiodol.json` of each patient, and the records of a hospital.

Shared by the tests of cohorts and by `benchmarks/cohort.py`.
"""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from angio_pipeline.core.response import OilConvention
from angio_pipeline.simulate.cohort import CohortParams, write_records
from angio_pipeline.simulate.registry import RegistryPatient

FIRST_SCAN_DAY = 1
MG_PER_ML = 480


CALL_NAMES = (
    "recist", "who", "choi",
    *(f"{name}/{oil}" for name in ("mrecist", "easl", "qeasl", "recicl") for oil in OilConvention),
)  # fmt: skip


def write_registry(
    folder: Path,
    patients: list[RegistryPatient],
    cohort: CohortParams,
    pseudonyms: dict[str, str],
    *,
    judged: bool = False,
) -> tuple[Path, Path]:
    """Write `out/subjects/<pseudonym>/lipiodol.json` and the records; return `out` and the records' file.

    With `judged` each patient has a `response.json` as well, with every criterion and convention at every date.
    """
    out = folder / "out"
    for patient in patients:
        path = out / "subjects" / pseudonyms[patient.patient_id]
        path.mkdir(parents=True)
        (path / "lipiodol.json").write_text(json.dumps(lipiodol_document(patient)), encoding="utf-8")
        if judged:
            calls = {FIRST_SCAN_DAY + day: dict.fromkeys(CALL_NAMES, "SD") for day in patient.days}
            told = response_document(patient.record.treated, calls, lesions=len(patient.retention))
            (path / "response.json").write_text(json.dumps(told), encoding="utf-8")
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
    taken = patient.record.treated + timedelta(days=FIRST_SCAN_DAY + day)
    return oil_at(taken, FIRST_SCAN_DAY + day, retention, iodine_mg)


def oil_at(taken: date, days: float, retention: float, iodine_mg: float) -> dict[str, Any]:
    """What a CT tells of one lesion, `iodine_mg` at the reference scan."""
    mass = iodine_mg * retention
    return {
        "date": f"{taken:%Y%m%d}",
        "days": days,
        "study_instance_uid": f"1.2.{taken:%Y%m%d}",
        "series_instance_uid": f"1.2.{taken:%Y%m%d}.1",
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


def response_document(
    treated: date,
    calls: dict[float, dict[str, str]],
    *,
    best: dict[str, str] | None = None,
    necrosis: list[dict[str, Any]] | None = None,
    lesions: int = 0,
) -> dict[str, Any]:
    """The calls by day and name as a document, by the public schema."""
    days = sorted(calls)
    return {
        "schema": "angio-pipeline/response/1",
        "baseline_date": f"{treated - timedelta(days=7):%Y%m%d}",
        "lesions": [measured_lesion(f"L{i + 1}", treated, days) for i in range(lesions)],
        "timepoints": [
            {
                "date": _on(treated, day),
                "days": day,
                "calls": {name: None if call == "NE" else call for name, call in calls[day].items()},
                "reasons": [reason(name, call) for name, call in calls[day].items()],
            }
            for day in days
        ],
        "best": [
            {"name": name, "call": call, "rule": "best/x", "days": None, "confirmed": None, "sentence": ""}
            for name, call in (best or {}).items()
        ],
        "necrosis": necrosis or [],
    }


def reason(name: str, call: str) -> dict[str, Any]:
    """A call with numbers behind it."""
    criterion, _, convention = name.partition("/")
    numbers = {
        "value": 41.5,
        "baseline": 50.0,
        "nadir": 40.0,
        "change_from_baseline": -0.17,
        "change_from_nadir": 0.0375,
    }
    return {
        "name": name,
        "criterion": criterion,
        "convention": convention or None,
        "call": call,
        "rule": f"{criterion}/between-limits",
        "table_row": "table-1/any, non-PD, none",
        "sentence": f"Targets {call}: -17 % from baseline (50 to 41.5 mm).",
        "target_call": call,
        "non_target_call": None,
        "new_lesions": [],
        "targets": ["L1", "L2"],
        "non_targets": [],
        "unit": "mm",
        **numbers,
        "density_valid": None,
        "density_change": None,
        "effect": None,
    }


def measured_lesion(name: str, treated: date, days: list[float]) -> dict[str, Any]:
    """One lesion's sizes at every date."""
    size = {"longest_mm": 25.0, "across_mm": 20.0, "product_mm2": 500.0, "longest_3d_mm": 26.0, "volume_ml": 6.0}
    at = {
        "whole": size, "viable": {oil.value: size for oil in OilConvention}, "viable_by": "subtraction",
        "threshold_hu": 20.0, "outline": "fitted", "mean_hu": 80.0, "phase": "plain", "holds_oil": True,
        "necrosis": None,
    }  # fmt: skip
    timepoints = [{"date": _on(treated, day), "days": day, **at} for day in days]
    return {"id": name, "organ": "liver", "node": False, "role": None, "new_on_days": None, "timepoints": timepoints}


def _on(treated: date, day: float) -> str:
    return f"{treated + timedelta(days=day):%Y%m%d}"
