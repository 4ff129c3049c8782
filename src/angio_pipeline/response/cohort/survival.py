"""Time to death and to local progression: Kaplan-Meier, log-rank, Cox with a check of proportional hazards."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from angio_pipeline.response.cohort.data import Estimate, Test

__all__ = [
    "CoxModel",
    "CoxTerm",
    "Curve",
    "SurvivalResult",
    "covariates_of",
    "fit_cox",
    "kaplan_meier",
    "study_survival",
]

_EVENTS_A_TERM = 5
_MOST_MISSING = 0.2
_STEPS = (30.0, 60.0, 90.0, 180.0, 365.0, 730.0)


@dataclass(frozen=True, slots=True)
class Curve:
    """One arm's curve as steps, its interval, the median with its own, and how many are at risk at some days."""

    arm: str
    days: tuple[float, ...]
    share: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    median_days: Estimate
    events: int
    at_risk: tuple[tuple[float, int], ...] = ()


@dataclass(frozen=True, slots=True)
class CoxTerm:
    """One hazard ratio; `proportional_p` tests that it stays the same over time."""

    name: str
    hazard_ratio: Estimate
    p: float
    proportional_p: float | None


@dataclass(frozen=True, slots=True)
class CoxModel:
    """The model, whom it is of, and what did not take part."""

    terms: tuple[CoxTerm, ...]
    reference: str
    patients: int
    events: int
    missing: int
    concordance: float
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SurvivalResult:
    """One outcome."""

    outcome: str
    curves: tuple[Curve, ...]
    log_rank: Test
    cox: CoxModel | None
    missing: int
    note: str = ""


def kaplan_meier(arm: str, days: pd.Series, event: pd.Series, marks: Sequence[float] = ()) -> Curve:
    """Return the product-limit curve with log-log intervals (lifelines `KaplanMeierFitter`).

    Parameters
    ----------
    marks : sequence of float
        Days at which those at risk are counted: without event and still followed just before.
    """
    from lifelines import KaplanMeierFitter
    from lifelines.utils import median_survival_times

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = KaplanMeierFitter().fit(days, event)
        band = fit.confidence_interval_
        ends = median_survival_times(band).to_numpy().ravel()
    columns = (fit.survival_function_.iloc[:, 0], band.iloc[:, 0], band.iloc[:, 1])
    share, low, high = (tuple(float(v) for v in column) for column in columns)
    # One patient alone has no interval, whatever the formula says.
    first, last = sorted(float(end) for end in ends) if len(days) > 1 else (np.nan, np.nan)
    median = Estimate(_known(fit.median_survival_time_), _known(first), _known(last), len(days))
    times = tuple(float(t) for t in fit.survival_function_.index)
    at_risk = tuple((mark, int((days >= mark).sum())) for mark in marks)
    return Curve(arm, times, share, low, high, median, int(event.sum()), at_risk)


def _marks(days: pd.Series) -> tuple[float, ...]:
    """Round days to count those at risk at, six or seven at most."""
    longest = float(days.max()) if len(days) else 0.0
    step = next((step for step in _STEPS if longest / step <= 6), longest / 6)
    return tuple(float(mark) for mark in np.arange(0.0, longest + 1e-9, step)) if longest > 0 else ()


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def covariates_of(patients: pd.DataFrame) -> pd.DataFrame:
    """Return what outcomes are adjusted for, a column each; NaN where unknown."""
    told = pd.DataFrame(index=patients.index)
    told["age, ten years"] = (patients["age_years"].astype(float) - 60) / 10
    for name, column, values in (
        ("male", "sex", ("M",)),
        ("Child-Pugh B", "child_pugh", ("B",)),
        ("Child-Pugh C", "child_pugh", ("C",)),
    ):
        told[name] = patients[column].isin(values).astype(float).where(patients[column].notna())
    metastasis = patients["origin"].str.casefold().eq("metastasis").astype(float).where(patients["origin"].notna())
    told["metastasis"] = metastasis
    size = patients["size_mm"].astype(float)
    told["30 to 50 mm"] = size.between(30, 50).astype(float).where(size.notna())
    told["above 50 mm"] = (size > 50).astype(float).where(size.notna())
    # AFP marks hepatocellular carcinoma; in metastases it says nothing.
    afp = np.log10(patients["afp_ng_ml"].astype(float).clip(lower=0.1)) - 2
    told["AFP of HCC, tenfold"] = afp.where(metastasis != 1, 0.0)
    return told


def fit_cox(days: pd.Series, event: pd.Series, terms: pd.DataFrame, reference: str) -> CoxModel | None:
    """Return Cox's model with Efron's ties (lifelines `CoxPHFitter`), None with too few events or without a fit.

    Terms that nobody who died has (or everybody) have no finite hazard ratio and are left out, as are covariates
    missing in more than a fifth of patients; arms are never left out for the latter.
    """
    from lifelines import CoxPHFitter
    from lifelines.exceptions import ConvergenceError

    usable, left_out = _usable(terms, event)
    frame = pd.concat([usable, days.rename("days"), event.rename("event")], axis=1).dropna()
    events = int(frame["event"].sum())
    if usable.shape[1] == 0 or events < _EVENTS_A_TERM * usable.shape[1]:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fit = CoxPHFitter().fit(frame, "days", "event")
        except (ConvergenceError, np.linalg.LinAlgError, ValueError):
            return None
        proportional = _proportional(fit, frame)
    summary = fit.summary
    columns = (summary[c].to_list() for c in ("exp(coef)", "exp(coef) lower 95%", "exp(coef) upper 95%", "p"))
    told = tuple(
        CoxTerm(str(name), Estimate(ratio, low, high, len(frame)), p, proportional.get(str(name)))
        for name, ratio, low, high, p in zip(summary.index, *columns, strict=True)
    )
    missing = len(days) - len(frame)
    return CoxModel(told, reference, len(frame), events, missing, float(fit.concordance_index_), tuple(left_out))


def _usable(terms: pd.DataFrame, event: pd.Series) -> tuple[pd.DataFrame, list[str]]:
    kept, left_out = [], []
    for name in terms.columns:
        column = terms[name]
        known = column.dropna()
        if len(terms) - len(known) > _MOST_MISSING * len(terms):
            left_out.append(f"{name}: missing in {len(terms) - len(known)} of {len(terms)}")
        elif known.nunique() < 2:
            left_out.append(f"{name}: the same in all")
        elif known.isin((0.0, 1.0)).all() and event.loc[known.index].groupby(known).sum().min() == 0:
            left_out.append(f"{name}: no event on one side")
        else:
            kept.append(name)
    return terms[kept], left_out


def _proportional(fit: object, frame: pd.DataFrame) -> dict[str, float]:
    """P values of the correlation of scaled Schoenfeld residuals with the rank of time, doi:10.1093/biomet/81.3.515."""
    from lifelines.statistics import proportional_hazard_test

    try:
        table = proportional_hazard_test(fit, frame, time_transform="rank").summary
    except (np.linalg.LinAlgError, ValueError):
        return {}
    return {str(name): float(p) for name, p in table["p"].items()}


def study_survival(outcome: str, patients: pd.DataFrame, time: str, event: str, arms: list[str]) -> SurvivalResult:
    """Return one outcome by arm; what has no time or no event told is missing."""
    from lifelines.statistics import multivariate_logrank_test

    known = patients[patients[time].notna() & patients[event].notna()]
    missing = len(patients) - len(known)
    days, happened = known[time].astype(float), known[event].astype(float)
    name = f"{outcome} alike in all arms"
    present = [arm for arm in arms if (known["arm"] == arm).any()]
    marks = _marks(days)
    curves = tuple(_curve_of(arm, patients, known, days, happened, marks) for arm in present)
    if len(present) < 2 or happened.sum() == 0:
        test = Test(name, "not tested: one arm, or no event", None)
    else:
        result = multivariate_logrank_test(days, known["arm"], happened)
        method = f"log-rank, {len(present) - 1} degrees of freedom"
        test = Test(name, method, float(result.p_value), float(result.test_statistic))
    in_arms = int(known["arm"].notna().sum())
    test = replace(test, patients=in_arms, missing=int(patients["arm"].notna().sum()) - in_arms)
    cox = _cox_by_arm(known, days, happened, present)
    note = "" if cox is not None else "Too few events for a Cox model."
    return SurvivalResult(outcome, curves, test, cox, missing, note)


def _curve_of(
    arm: str,
    patients: pd.DataFrame,
    known: pd.DataFrame,
    days: pd.Series,
    happened: pd.Series,
    marks: tuple[float, ...],
) -> Curve:
    own = known["arm"] == arm
    curve = kaplan_meier(arm, days[own], happened[own], marks)
    missing = int((patients["arm"] == arm).sum()) - int(own.sum())
    return replace(curve, median_days=replace(curve.median_days, missing=missing))


def _cox_by_arm(known: pd.DataFrame, days: pd.Series, happened: pd.Series, present: list[str]) -> CoxModel | None:
    """With covariates where there are events enough, else arms alone; an arm without an event has no hazard ratio."""
    with_events = [arm for arm in present if happened[known["arm"] == arm].sum() > 0]
    if not with_events:
        return None
    among = known["arm"].isin(with_events)
    known, days, happened = known[among], days[among], happened[among]
    reference = with_events[0]
    arms = pd.DataFrame({arm: (known["arm"] == arm).astype(float) for arm in with_events[1:]}, index=known.index)
    full = fit_cox(days, happened, pd.concat([arms, covariates_of(known)], axis=1), reference)
    model = full if full is not None else fit_cox(days, happened, arms, reference)
    silent = tuple(f"{arm}: no event" for arm in present if arm not in with_events)
    return model and replace(model, left_out=(*silent, *model.left_out))
