"""A cohort without images: records and retention over time, drawn from the cohort's stated distributions.

For tests of statistics: what `angio simulate` would take hours to draw, scan and measure is here in seconds, with the
measurement replaced by its error. Retention of lesion l of patient p at day t after the reference scan:

    log R = -ln 2 t / (half-life * factor_p) - error_p + error_plt

where error_p is that of the reference scan, shared by all later dates of the patient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.simulate.cohort import CohortParams, PatientPlan, ProcedureRecord, plan_patient

__all__ = ["RegistryParams", "RegistryPatient", "draw_registry"]

_FIRST_DAY = date(2015, 1, 1)


class RegistryParams(Params):
    """Follow-up of a cohort without images."""

    lesions: int = Field(1, ge=1, le=10, description="lesions a patient")
    days: tuple[float, ...] = Field((0, 7, 28, 56, 90, 150), description="days after the reference scan, from 0")
    half_life_days: float = Field(90.0, gt=0, description="half-life of the oil at a factor of 1")
    reference_sd: float = Field(0.05, ge=0, description="error of the reference scan's mass, log")
    scan_sd: float = Field(0.08, ge=0, description="error of a later scan's mass, log")
    iodine_mg: float = Field(600.0, gt=0, description="iodine in a lesion at the reference scan")


@dataclass(frozen=True, slots=True, eq=False)
class RegistryPatient:
    """One patient: the record, and retention (lesions, dates) at `days`, 1 on the first; no lesions without oil."""

    patient_id: str
    record: ProcedureRecord
    days: tuple[float, ...]
    retention: npt.NDArray[np.float64]

    @property
    def plan(self) -> PatientPlan:
        """What was drawn for the patient."""
        return self.record.plan


def draw_registry(cases: int, seed: int, cohort: CohortParams, registry: RegistryParams) -> list[RegistryPatient]:
    """Return `cases` patients; the same seed gives the same."""
    rng = np.random.default_rng(seed)
    return [_draw(f"REG-{seed}-{number:05d}", rng, cohort, registry) for number in range(cases)]


def _draw(name: str, rng: np.random.Generator, cohort: CohortParams, registry: RegistryParams) -> RegistryPatient:
    plan = plan_patient(cohort, rng)
    days = np.array(registry.days)
    course = -math.log(2) * days / (registry.half_life_days * plan.half_life_factor)
    # Without oil there is nothing to follow.
    lesions = registry.lesions if plan.oil_ml > 0 else 0
    errors = rng.normal(0, registry.scan_sd, (lesions, days.size))
    log_retention = course - rng.normal(0, registry.reference_sd) + errors
    log_retention[:, 0] = 0.0
    treated = _FIRST_DAY + timedelta(days=int(rng.integers(0, 3000)))
    return RegistryPatient(name, ProcedureRecord(name, treated, plan), registry.days, np.exp(log_retention))
