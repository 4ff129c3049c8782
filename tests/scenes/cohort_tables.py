"""A cohort without images as the tables that statistics start from, as reading its files gives them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from angio_pipeline.response.cohort import CohortData
from angio_pipeline.simulate.cohort import CohortParams, Embolic
from angio_pipeline.simulate.registry import RegistryParams, RegistryPatient, draw_registry

RETENTION_DAY = 28


def cohort_tables(cases: int, seed: int, cohort: CohortParams, registry: RegistryParams | None = None) -> CohortData:
    """Draw a cohort and return its tables; necrosis without histology, so that its truth is the drawn one."""
    patients = draw_registry(cases, seed, cohort, registry or RegistryParams())
    return CohortData(
        patients=pd.DataFrame([patient_row(p) for p in patients], index=[p.patient_id for p in patients]),
        timepoints=pd.DataFrame([row for p in patients for row in course_rows(p)]),
        planned=cases,
    )


def patient_row(patient: RegistryPatient) -> dict[str, object]:
    plan = patient.plan
    day = patient.days.index(RETENTION_DAY)
    return {
        "arm": plan.arm,
        "age_years": plan.age_years,
        "sex": plan.sex,
        "child_pugh": plan.child_pugh,
        "origin": plan.origin.value,
        "afp_ng_ml": plan.afp_ng_ml,
        "size_mm": plan.size_mm,
        "size_class": plan.size_class.value,
        "necrosis_main_percent": 100 * plan.necrosis_main,
        "necrosis_daughter_percent": 100 * plan.necrosis_daughter if plan.daughters else np.nan,
        "necrosis_source": "records",
        "survival_days": max(plan.survival_days, 0.5),
        "event": float(plan.event),
        "progression_days": np.nan,
        "progression": np.nan,
        "retention": float(patient.retention[0, day]) if len(patient.retention) else np.nan,
        "half_life_days": np.nan,
        "state": "analysed",
        "recorded": True,
        "has_oil": plan.oil_ml > 0,
        "has_drug": bool(plan.doses_mg),
        "has_embolic": plan.embolic is not Embolic.NONE,
    }


def course_rows(patient: RegistryPatient) -> list[dict[str, object]]:
    return [
        {"subject": patient.patient_id, "lesion": f"L{i + 1}", "days": day, "retention": float(value)}
        for i, lesion in enumerate(patient.retention)
        for day, value in list(zip(patient.days, lesion, strict=True))[1:]
    ]
