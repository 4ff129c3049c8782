"""All files of one patient: runs, scans, films, regions, and the truth of each."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from angio_pipeline.simulate.aftermath.ct import plan_visits
from angio_pipeline.simulate.aftermath.follow_up import write_follow_up
from angio_pipeline.simulate.aftermath.response import tell_response
from angio_pipeline.simulate.angiography import write_runs
from angio_pipeline.simulate.cohort import PatientPlan, write_plan
from angio_pipeline.simulate.dicom.common import Case
from angio_pipeline.simulate.patient import Patient, make_patient
from angio_pipeline.simulate.presets import SimulationParams

__all__ = ["write_patient", "write_response"]


def write_patient(
    folder: Path,
    case: Case,
    params: SimulationParams,
    plan: PatientPlan | None = None,
    *,
    runs_only: bool = False,
) -> Path:
    """Write one patient into `folder` and return it; a plan that is not given is drawn for the anatomy.

    With `runs_only` there are the runs of the day of treatment and nothing that comes after.
    """
    patient = make_patient(case, params, plan)
    write_runs(folder, patient)
    if not runs_only:
        write_follow_up(folder, patient)
        write_response(folder / "truth", patient)
    write_plan(folder / "truth" / "plan.json", patient.plan)
    return folder


def write_response(truth: Path, patient: Patient) -> None:
    """Write `response.json`, what each criterion truly says at every date, into a patient's folder of truth."""
    days = [visit.days for visit in plan_visits(patient.params.ct)]
    dates = [f"{patient.case.treated + timedelta(days=day):%Y%m%d}" for day in days]
    document = tell_response(patient.treatment, days, dates)
    (truth / "response.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
