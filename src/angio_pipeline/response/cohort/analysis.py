"""The analysis of a cohort, step by step, in the order of a paper's results."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.core.words import counted
from angio_pipeline.response.cohort.agreement import Agreement, CallAgreement, against_histology, agree
from angio_pipeline.response.cohort.course import CourseModel, fit_course
from angio_pipeline.response.cohort.data import CohortData, Estimate, Table, Test
from angio_pipeline.response.cohort.describe import describe, flow
from angio_pipeline.response.cohort.discrimination import (
    CutOff,
    Logistic,
    Roc,
    choose_cut_off,
    fit_logistic,
    roc_of,
    spearman,
)
from angio_pipeline.response.cohort.necrosis import NecrosisTable, necrosis_by_arm
from angio_pipeline.response.cohort.proportions import holm
from angio_pipeline.response.cohort.survival import SurvivalResult, study_survival

__all__ = ["CohortParams", "CohortResult", "RetentionAndNecrosis", "analyse", "order_arms"]

_PARTS = ("oil", "drug", "embolic")


class CohortParams(Params):
    """What counts as massive necrosis, when retention is read, and how chance is drawn."""

    necrotic_percent: float = Field(97.0, gt=0, le=100, description="least necrosis that counts as massive, per cent")
    retention_day: float = Field(28.0, ge=1, le=1000, description="day after the reference scan of the retention used")
    retention_window_days: float = Field(14.0, ge=0, le=365, description="how far from that day a scan may lie")
    mixed_model_patients: int = Field(
        1000, ge=50, le=100000, description="a larger cohort's mixed model is fitted on so many, drawn at random"
    )
    seed: int = Field(20240101, ge=0, description="of folds, of Monte Carlo tests and of that drawing")


@dataclass(frozen=True, slots=True)
class RetentionAndNecrosis:
    """Retention of the main lesion against necrosis of the main tumour."""

    rho: Estimate
    rho_test: Test
    logistic: Logistic
    roc: Roc | None
    cut_off: CutOff | None
    patients: int
    necrotic: int
    missing: int


@dataclass(frozen=True, slots=True, eq=False)
class CohortResult:
    """Everything that was found; `main_tests` carry their p after Holm over all of them."""

    params: CohortParams
    arm_name: str
    arms: tuple[str, ...]
    flow: Table
    table1: Table
    necrosis: NecrosisTable
    retention: RetentionAndNecrosis
    course: CourseModel | None
    survival: tuple[SurvivalResult, ...]
    histology: Agreement | None
    agreement: tuple[Agreement, ...]
    call_agreement: tuple[CallAgreement, ...]
    main_tests: tuple[Test, ...]
    cautions: tuple[str, ...]


def order_arms(patients: pd.DataFrame) -> list[str]:
    """Return the arms in the order of what most of their patients were given: oil, drug, embolic; then by name."""
    known = patients[patients["arm"].notna()]
    given = known.groupby("arm")[[f"has_{part}" for part in _PARTS]].mean().round()
    return sorted(given.index, key=lambda arm: (float(given.loc[arm].sum()), str(arm)))


def analyse(data: CohortData, *, params: CohortParams) -> CohortResult:
    """Return the statistics of a cohort; what cannot be estimated is None, with the reason beside it."""
    rng = np.random.default_rng(params.seed)
    patients = data.patients
    arms = order_arms(patients)
    necrosis = necrosis_by_arm(patients, arms, params.necrotic_percent, rng)
    retention = _retention(patients, params, rng)
    course = fit_course(patients, data.timepoints, arms, most_patients=params.mixed_model_patients, rng=rng)
    survival = tuple(
        study_survival(outcome, patients, time, event, arms)
        for outcome, time, event in (
            ("survival", "survival_days", "event"),
            ("local progression", "progression_days", "progression"),
        )
        if (patients[time].notna() & patients[event].notna()).any()
    )
    numbers, calls = agree(*data.readers) if data.readers is not None else ([], [])
    tests = [*necrosis.tests, retention.rho_test]
    tests += ([course.equal_slopes] if course is not None else []) + [result.log_rank for result in survival]
    adjusted = holm([test.p for test in tests])
    return CohortResult(
        params=params,
        arm_name=data.arm_name,
        arms=tuple(arms),
        flow=flow(patients, arms, data.inputs_refused, data.planned),
        table1=describe(patients, arms),
        necrosis=necrosis,
        retention=retention,
        course=course,
        survival=survival,
        histology=against_histology(patients),
        agreement=tuple(numbers),
        call_agreement=tuple(calls),
        main_tests=tuple(replace(test, adjusted=p) for test, p in zip(tests, adjusted, strict=True)),
        cautions=_cautions(patients, arms),
    )


def _cautions(patients: pd.DataFrame, arms: list[str]) -> tuple[str, ...]:
    sizes = patients["arm"].value_counts()
    small = [f"{arm} ({sizes[arm]})" for arm in arms if sizes[arm] < 5]
    found = ["Arms were chosen by the treating team, not drawn by lot: differences are associations, not effects."]
    if small:
        found.append(f"Arms of fewer than five patients: {', '.join(small)}; little can be said of them.")
    without = int(patients["arm"].isna().sum())
    if without:
        found.append(f"Without an arm, and counted only where all are: {counted(without, 'patient')}.")
    if patients["origin"].dropna().str.casefold().nunique() > 1:
        found.append("Hepatocellular carcinoma and metastases are together here; what holds oil differs between them.")
    return tuple(found)


def _retention(patients: pd.DataFrame, params: CohortParams, rng: np.random.Generator) -> RetentionAndNecrosis:
    pair = patients[["retention", "necrosis_main_percent"]].astype(float)
    known = pair.dropna()
    x, y = (known[name].to_numpy(dtype=np.float64) for name in ("retention", "necrosis_main_percent"))
    necrotic = y >= params.necrotic_percent
    rho, p = spearman(x, y)
    return RetentionAndNecrosis(
        rho=rho,
        rho_test=Test(
            "retention and necrosis unrelated",
            "Spearman's rank correlation",
            p,
            rho.value,
            patients=len(known),
            missing=len(pair) - len(known),
        ),
        logistic=fit_logistic(x, necrotic),
        roc=roc_of(x, necrotic),
        cut_off=choose_cut_off(x, necrotic, rng),
        patients=len(known),
        necrotic=int(necrotic.sum()),
        missing=len(pair) - len(known),
    )
