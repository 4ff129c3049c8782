"""How far two readers agree: intraclass correlation, Bland and Altman's limits, kappa."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from angio_pipeline.response.cohort.data import Estimate

__all__ = ["Agreement", "CallAgreement", "against_histology", "agree", "bland_altman", "cohen_kappa", "intraclass"]

Array = npt.NDArray[np.float64]
_KEYS = ("subject", "lesion", "date")


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """One measurement by two readers; differences are second minus first."""

    name: str
    icc: Estimate
    bias: Estimate
    lower_limit: Estimate
    upper_limit: Estimate
    means: Array
    differences: Array
    missing: int


@dataclass(frozen=True, slots=True)
class CallAgreement:
    """One judgement in words by two readers."""

    name: str
    kappa: Estimate
    agreed: Estimate
    missing: int


def intraclass(ratings: Array) -> Estimate:
    """Return ICC(2,1): two-way random, absolute agreement, single rating, and its interval.

    doi:10.1037/0033-2909.86.2.420, the interval by doi:10.1037/1082-989X.1.1.30.

    Parameters
    ----------
    ratings : (N, K) float64
        A row a subject, a column a reader.
    """
    n, k = ratings.shape
    if n < 3 or k < 2:
        return Estimate(None, None, None, n)
    grand = ratings.mean()
    rows, columns = ratings.mean(axis=1), ratings.mean(axis=0)
    between = k * ((rows - grand) ** 2).sum() / (n - 1)
    readers = n * ((columns - grand) ** 2).sum() / (k - 1)
    residual = ((ratings - rows[:, None] - columns + grand) ** 2).sum() / ((n - 1) * (k - 1))
    if between + readers + residual == 0:
        return Estimate(None, None, None, n)
    value = (between - residual) / (between + (k - 1) * residual + k * (readers - residual) / n)
    if residual == 0 and readers == 0:
        return Estimate(float(value), None, None, n)
    a, b = k * value / (n * (1 - value)), 1 + k * value * (n - 1) / (n * (1 - value))
    freedom = (a * readers + b * residual) ** 2 / (
        (a * readers) ** 2 / (k - 1) + (b * residual) ** 2 / ((n - 1) * (k - 1))
    )
    upper_f, lower_f = stats.f.ppf(0.975, n - 1, freedom), stats.f.ppf(0.975, freedom, n - 1)
    spread = k * readers + (k * n - k - n) * residual
    low = n * (between - upper_f * residual) / (upper_f * spread + n * between)
    high = n * (lower_f * between - residual) / (spread + n * lower_f * between)
    return Estimate(float(value), float(low), float(high), n)


def bland_altman(first: Array, second: Array) -> tuple[Estimate, Estimate, Estimate]:
    """Return bias and lower and upper limit of agreement, each with its interval, doi:10.1016/S0140-6736(86)90837-8."""
    gaps = second - first
    n = gaps.size
    if n < 3:
        nothing = Estimate(None, None, None, n)
        return nothing, nothing, nothing
    bias, sd = float(gaps.mean()), float(gaps.std(ddof=1))
    t = float(stats.t.ppf(0.975, n - 1))
    around, at_limit = t * sd / np.sqrt(n), t * sd * np.sqrt(1 / n + 1.96**2 / (2 * (n - 1)))
    limits = (bias - 1.96 * sd, bias + 1.96 * sd)
    low, high = (Estimate(v, float(v - at_limit), float(v + at_limit), n) for v in limits)
    return Estimate(bias, float(bias - around), float(bias + around), n), low, high


def cohen_kappa(table: Array) -> Estimate:
    """Return Cohen's kappa with its interval (statsmodels), of a square table of counts."""
    from statsmodels.stats.inter_rater import cohens_kappa

    count = int(table.sum())
    if count == 0 or len(table) < 2:
        return Estimate(None, None, None, count)
    result = cohens_kappa(table)
    value, low, high = (float(v) for v in (result.kappa, result.kappa_low, result.kappa_upp))
    if not np.isfinite(value):
        return Estimate(None, None, None, count)
    return Estimate(value, max(low, -1.0), min(high, 1.0), count)


def agree(first: pd.DataFrame, second: pd.DataFrame) -> tuple[list[Agreement], list[CallAgreement]]:
    """Return the agreement of every column that both readers filled, rows met by subject, lesion and date."""
    keys = [key for key in _KEYS if key in first.columns and key in second.columns]
    both = first.merge(second, on=keys, how="outer", suffixes=("_first", "_second"))
    shared = [name for name in first.columns if name in second.columns and name not in keys]
    numbers, calls = [], []
    for name in shared:
        pair = both[[f"{name}_first", f"{name}_second"]]
        told = pair.dropna()
        missing = len(pair) - len(told)
        if told.empty:
            continue
        if all(pd.api.types.is_numeric_dtype(first_or_second[name]) for first_or_second in (first, second)):
            numbers.append(_numbers(name, told.to_numpy(dtype=np.float64), missing))
        else:
            calls.append(_calls(name, told.astype(str), missing))
    return numbers, calls


def against_histology(patients: pd.DataFrame) -> Agreement | None:
    """Return how far imaging's necrosis of the main tumour is from histology's, None where no patient has both.

    Differences are imaging minus histology; `missing` counts patients with histology alone.
    """
    names = ["histology_necrosis_percent", "imaging_necrosis_main_percent"]
    if any(name not in patients for name in names):
        return None
    known = patients[patients[names[0]].notna()]
    told = known[names].dropna()
    if told.empty:
        return None
    return _numbers("necrosis of the main tumour, %", told.to_numpy(dtype=np.float64), len(known) - len(told))


def _numbers(name: str, told: Array, missing: int) -> Agreement:
    first, second = told.T
    bias, low, high = bland_altman(first, second)
    return Agreement(name, intraclass(told), bias, low, high, told.mean(axis=1), second - first, missing)


def _calls(name: str, told: pd.DataFrame, missing: int) -> CallAgreement:
    from angio_pipeline.response.cohort.proportions import share_of

    first, second = told.iloc[:, 0], told.iloc[:, 1]
    words = sorted({*first, *second})
    table = pd.crosstab(first, second).reindex(index=words, columns=words, fill_value=0).to_numpy(dtype=np.float64)
    return CallAgreement(name, cohen_kappa(table), share_of(int(np.trace(table)), int(table.sum())), missing)
