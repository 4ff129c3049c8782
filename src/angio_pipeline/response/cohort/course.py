"""Retention over time by arm: a mixed model of its logarithm, with patients as clusters.

log R = a + slope(arm) t + A(patient) + B(patient) t + error. The intercept takes up what leaves before the first
later scan; A is the error of the reference scan, which every later retention of a patient shares; B is that patients
differ in how fast oil leaves. Lesions of one patient at one date are one observation, the mean of their logarithms:
they are not independent, and a patient with many lesions is still one patient.

The model holds one variance of B for all arms, and oil that leaves faster also varies more: intervals and tests are
therefore by the sandwich over patients, which holds whatever the variances are, with the correction of Mancl and
DeRouen for few patients, doi:10.1111/j.0006-341X.2001.00126.x.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from angio_pipeline.core.words import counted
from angio_pipeline.response.cohort.data import Estimate, Test

__all__ = ["ArmCourse", "CourseModel", "MixedFit", "clustered", "fit_course", "fit_mixed", "log_retention"]

Array = npt.NDArray[np.float64]
DAYS_A_MONTH = 30.4375
_LEAST_PATIENTS = 3


@dataclass(frozen=True, slots=True, eq=False)
class MixedFit:
    """Fixed effects, and standard deviations of what varies between patients.

    `covariance` is that of the fixed effects when the model is true, `robust` that of the sandwich over patients.
    """

    effects: Array
    covariance: Array
    robust: Array
    patient_sd: tuple[float, ...]
    residual_sd: float
    random: str


@dataclass(frozen=True, slots=True)
class ArmCourse:
    """One arm: change of retention a month (-0.1: a tenth less), the half-life behind it, and its numbers.

    `missing` counts patients of the arm without a scan later than the reference that shows oil.
    """

    arm: str
    monthly_change: Estimate
    half_life_days: Estimate
    log_slope: Estimate
    patients: int
    observations: int
    missing: int = 0


@dataclass(frozen=True, slots=True)
class CourseModel:
    """The model of a cohort; `left_out` says what could not take part."""

    arms: tuple[ArmCourse, ...]
    equal_slopes: Test
    intercept: Estimate
    random: str
    patient_sd: tuple[float, ...]
    residual_sd: float
    patients_fitted: int
    patients: int
    left_out: tuple[str, ...]


def log_retention(timepoints: pd.DataFrame) -> pd.DataFrame:
    """Return a row a patient and date: subject, months, mean of log retention over lesions; without oil left out."""
    known = timepoints[(timepoints["retention"] > 0) & (timepoints["days"] > 0)]
    taken = pd.DataFrame(
        {
            "subject": known["subject"],
            "months": known["days"] / DAYS_A_MONTH,
            "log_retention": np.log(known["retention"].to_numpy(dtype=np.float64)),
        }
    )
    return taken.groupby(["subject", "months"], as_index=False, sort=True)["log_retention"].mean()


def fit_mixed(response: Array, design: Array, groups: npt.NDArray[Any], times: Array | None) -> MixedFit:
    """Return the fit by restricted maximum likelihood (statsmodels `MixedLM`).

    Groups differ by an intercept, and by a slope on `times` where those are given. Where the likelihood is greatest at
    the edge (a variance of 0), the simpler model is taken: a slope alone, an intercept alone, and in the end least
    squares.
    """
    constant = np.ones((response.size, 1))
    choices: list[tuple[str, Array]] = [("intercept", constant)]
    # The search goes astray where intercept and slope differ in size; the model is the same in any unit of time.
    unit = 1.0 if times is None else float(times.std()) or 1.0
    if times is not None:
        slope = times[:, None] / unit
        choices = [("intercept and slope", np.hstack([constant, slope])), ("slope", slope), *choices]
    for name, varying in choices:
        fit = _try(response, design, groups, varying)
        if fit is not None:
            units = (1.0, unit)[-varying.shape[1] :] if name != "intercept" else (1.0,)
            sds = tuple(float(np.sqrt(v) / u) for v, u in zip(np.diag(np.atleast_2d(fit.cov_re)), units, strict=True))
            covariance = np.asarray(fit.cov_params())[: design.shape[1], : design.shape[1]]
            effects, between = np.asarray(fit.fe_params), np.atleast_2d(np.asarray(fit.cov_re))
            robust = _sandwich(response - design @ effects, design, groups, varying, between, float(fit.scale))
            return MixedFit(effects, covariance, robust, sds, float(np.sqrt(fit.scale)), name)
    return clustered(response, design, groups)


def _try(response: Array, design: Array, groups: npt.NDArray[Any], varying: Array) -> Any:
    from statsmodels.regression.mixed_linear_model import MixedLM

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fit = MixedLM(response, design, groups, exog_re=varying).fit(reml=True, method="bfgs")
        except (np.linalg.LinAlgError, ValueError):
            return None
        between = np.atleast_2d(np.asarray(fit.cov_re))
        errors = np.asarray(fit.bse_fe)
    inside = np.isfinite(errors).all() and (np.diag(between) > 1e-6 * fit.scale).all()
    if not (fit.converged and inside):
        return None
    sds = np.sqrt(np.diag(between))
    correlation = between / np.outer(sds, sds)
    return fit if len(sds) == 1 or abs(correlation[0, 1]) < 0.999 else None


def clustered(response: Array, design: Array, groups: npt.NDArray[Any]) -> MixedFit:
    """Return least squares, for patients that do not differ by anything that can be told from their errors."""
    from statsmodels.regression.linear_model import OLS

    fit = OLS(response, design).fit()
    effects, scale = np.asarray(fit.params), float(fit.scale)
    none = np.zeros((response.size, 1))
    robust = _sandwich(response - design @ effects, design, groups, none, np.zeros((1, 1)), scale)
    return MixedFit(effects, np.asarray(fit.cov_params()), robust, (), float(np.sqrt(scale)), "none")


def _sandwich(
    residual: Array, design: Array, groups: npt.NDArray[Any], varying: Array, between: Array, scale: float
) -> Array:
    """Covariance of the fixed effects from how patients differ from the model, by Mancl and DeRouen."""
    codes = np.unique(groups, return_inverse=True)[1]
    order = np.argsort(codes, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    # X' V^-1 of each patient.
    weighted = [
        np.linalg.solve(varying[own] @ between @ varying[own].T + scale * np.eye(own.size), design[own]).T
        for own in parts
    ]
    bread = np.linalg.inv(np.sum([w @ design[own] for w, own in zip(weighted, parts, strict=True)], axis=0))
    scores = []
    for w, own in zip(weighted, parts, strict=True):
        # A patient draws the fit to itself, so its residuals are too small by its leverage.
        leverage = design[own] @ bread @ w
        scores.append(w @ np.linalg.solve(np.eye(own.size) - leverage, residual[own]))
    told = np.array(scores)
    return np.asarray(bread @ (told.T @ told) @ bread)


def fit_course(
    patients: pd.DataFrame, timepoints: pd.DataFrame, arms: list[str], *, most_patients: int, rng: np.random.Generator
) -> CourseModel | None:
    """Return the model of retention by arm, None when no arm has three patients with a later scan.

    Parameters
    ----------
    most_patients : int
        A larger cohort is fitted on so many patients drawn at random: the time goes with their number.
    """
    rows = log_retention(timepoints)
    rows["arm"] = rows["subject"].map(patients["arm"])
    rows = rows[rows["arm"].isin(arms)]
    sizes = rows.groupby("arm")["subject"].nunique()
    fitted = [arm for arm in arms if sizes.get(arm, 0) >= _LEAST_PATIENTS]
    left_out = [
        f"{arm}: {counted(int(sizes.get(arm, 0)), 'patient')} with a later scan, too few"
        for arm in arms
        if arm not in fitted
    ]
    rows = rows[rows["arm"].isin(fitted)]
    subjects = np.sort(rows["subject"].unique())
    if not fitted or rows["months"].nunique() < 2:
        return None
    if subjects.size > most_patients:
        drawn = rng.choice(subjects, most_patients, replace=False)
        rows = rows[rows["subject"].isin(set(drawn))]
    months = rows["months"].to_numpy(dtype=np.float64)
    slopes = np.column_stack([np.where(rows["arm"] == arm, months, 0.0) for arm in fitted])
    design = np.column_stack([np.ones_like(months), slopes])
    fit = fit_mixed(rows["log_retention"].to_numpy(dtype=np.float64), design, rows["subject"].to_numpy(), months)
    missing = [int((patients["arm"] == arm).sum()) - int(sizes[arm]) for arm in fitted]
    return _told(fit, rows, dict(zip(fitted, missing, strict=True)), tuple(left_out), int(subjects.size))


def _told(
    fit: MixedFit, rows: pd.DataFrame, arms: dict[str, int], left_out: tuple[str, ...], patients: int
) -> CourseModel:
    """Return the model in words of its arms; `arms` counts those missing in each."""
    per_arm = rows.groupby("arm")["subject"].agg(["nunique", "size"])
    errors = np.sqrt(np.diag(fit.robust))
    fitted = int(rows["subject"].nunique())
    courses = tuple(
        replace(
            _arm(arm, float(fit.effects[i]), float(errors[i]), *(int(n) for n in per_arm.loc[arm])), missing=lacking
        )
        for i, (arm, lacking) in enumerate(arms.items(), start=1)
    )
    return CourseModel(
        arms=courses,
        equal_slopes=replace(_equal(fit, len(arms), fitted), patients=fitted, missing=sum(arms.values())),
        intercept=_estimate(float(fit.effects[0]), float(errors[0]), fitted),
        random=fit.random,
        patient_sd=fit.patient_sd,
        residual_sd=fit.residual_sd,
        patients_fitted=fitted,
        patients=patients,
        left_out=left_out,
    )


def _estimate(value: float, error: float, patients: int) -> Estimate:
    half = float(stats.t.ppf(0.975, patients - 1)) * error
    return Estimate(value, value - half, value + half, patients)


def _arm(arm: str, slope: float, error: float, patients: int, observations: int) -> ArmCourse:
    log_slope = _estimate(slope, error, patients)
    ends = (log_slope.value, log_slope.low, log_slope.high)
    change, low, high = (None if end is None else float(np.expm1(end)) for end in ends)
    return ArmCourse(
        arm, Estimate(change, low, high, patients), _half_life(log_slope), log_slope, patients, observations
    )


def _half_life(slope: Estimate) -> Estimate:
    """Days to a half; an end that does not fall is unbounded (None)."""
    ends = (slope.value, slope.low, slope.high)
    value, low, high = (np.log(2) * DAYS_A_MONTH / -v if v is not None and v < 0 else None for v in ends)
    return Estimate(value, low, high, slope.count)


def _equal(fit: MixedFit, arms: int, patients: int) -> Test:
    name = "retention falls alike in all arms"
    if arms < 2:
        return Test(name, "not tested: one arm", None)
    contrast = np.zeros((arms - 1, fit.effects.size))
    contrast[:, 1] = -1
    contrast[np.arange(arms - 1), np.arange(2, arms + 1)] = 1
    gap, spread = contrast @ fit.effects, contrast @ fit.robust @ contrast.T
    statistic = float(gap @ np.linalg.solve(spread, gap)) / (arms - 1)
    freedom = patients - arms - 1
    p = float(stats.f.sf(statistic, arms - 1, freedom))
    return Test(name, f"Wald's F of the mixed model, {arms - 1} and {freedom} degrees of freedom", p, statistic)
