"""Retention against necrosis: rank correlation, logistic model, ROC curve with DeLong's interval, and a cut-off.

The cut-off is chosen by cross-validation: in each fold the value of greatest Youden index is found on the other
patients and judged on the fold's own, so that its sensitivity and specificity are those on patients it was not
chosen on.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from angio_pipeline.response.cohort.data import Estimate
from angio_pipeline.response.cohort.proportions import share_of

__all__ = ["CutOff", "Logistic", "Roc", "area_under", "choose_cut_off", "fit_logistic", "roc_of", "spearman"]

Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
_FOLDS = 10
_Z = float(stats.norm.ppf(0.975))


@dataclass(frozen=True, slots=True)
class Logistic:
    """Odds ratio of necrosis for ten points more of retention; None where the two are separated."""

    odds_ratio: Estimate
    p: float | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Roc:
    """The empirical curve, from (0, 0) to (1, 1), and the area under it."""

    false_positive: tuple[float, ...]
    true_positive: tuple[float, ...]
    area: Estimate


@dataclass(frozen=True, slots=True)
class CutOff:
    """The value chosen on all, and what such a value is worth on patients that it was not chosen on."""

    value: float
    sensitivity: Estimate
    specificity: Estimate
    folds: int


def spearman(x: Array, y: Array) -> tuple[Estimate, float | None]:
    """Return Spearman's coefficient with the interval of Bonett and Wright, and its p, doi:10.1007/BF02294183."""
    count = x.size
    if count < 4 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Estimate(None, None, None, count), None
    result = stats.spearmanr(x, y)
    rho = float(result.statistic)
    if abs(rho) >= 1:
        return Estimate(rho, None, None, count), float(result.pvalue)
    half = _Z * np.sqrt((1 + rho**2 / 2) / (count - 3))
    low, high = np.tanh(np.arctanh(rho) + np.array([-half, half]))
    return Estimate(rho, float(low), float(high), count), float(result.pvalue)


def fit_logistic(retention: Array, necrotic: Bools) -> Logistic:
    """Return the logistic regression of necrosis on retention, per ten points of per cent."""
    from statsmodels.discrete.discrete_model import Logit
    from statsmodels.tools.sm_exceptions import PerfectSeparationError

    nothing = Estimate(None, None, None, retention.size)
    if retention.size < 10 or necrotic.all() or not necrotic.any() or np.ptp(retention) == 0:
        return Logistic(nothing, None, "too few patients, or all alike")
    design = np.column_stack([np.ones_like(retention), 10 * retention])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fit = Logit(necrotic.astype(np.float64), design).fit(disp=False)
    except (PerfectSeparationError, np.linalg.LinAlgError, Warning):
        return Logistic(nothing, None, "retention separates the two groups, so no odds ratio exists")
    low, high = (float(np.exp(end)) for end in fit.conf_int()[1])
    return Logistic(Estimate(float(np.exp(fit.params[1])), low, high, retention.size), float(fit.pvalues[1]))


def area_under(score: Array, positive: Bools) -> Estimate:
    """Return the area under the ROC curve with DeLong's interval.

    doi:10.2307/2531595, computed by ranks as in doi:10.1109/LSP.2014.2337313.

    On the logit scale, so that the interval stays within 0 and 1; a perfect separation has no interval.
    """
    cases, controls = score[positive], score[~positive]
    m, n = cases.size, controls.size
    if m < 2 or n < 2:
        return Estimate(None, None, None, score.size)
    area, error = _delong(cases, controls)
    if error == 0 or area in (0.0, 1.0):
        return Estimate(area, None, None, score.size)
    spread = _Z * error / (area * (1 - area))
    low, high = (1 / (1 + np.exp(-(np.log(area / (1 - area)) + sign * spread))) for sign in (-1, 1))
    return Estimate(area, float(low), float(high), score.size)


def _delong(cases: Array, controls: Array) -> tuple[float, float]:
    """Area and its standard error: the variances of each subject's share of pairs won (its placement)."""
    m, n = cases.size, controls.size
    together = stats.rankdata(np.concatenate([cases, controls]))
    placed = (together[:m] - stats.rankdata(cases)) / n
    placed_controls = 1 - (together[m:] - stats.rankdata(controls)) / m
    variance = placed.var(ddof=1) / m + placed_controls.var(ddof=1) / n
    return float(placed.mean()), float(np.sqrt(variance))


def roc_of(score: Array, positive: Bools) -> Roc | None:
    """Return the empirical ROC curve, None when one of the groups is empty."""
    cases, controls = int(positive.sum()), int((~positive).sum())
    if cases == 0 or controls == 0:
        return None
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True)
    hits, alarms = np.cumsum(positive[order])[last], np.cumsum(~positive[order])[last]
    return Roc((0.0, *(alarms / controls).tolist()), (0.0, *(hits / cases).tolist()), area_under(score, positive))


def choose_cut_off(score: Array, positive: Bools, rng: np.random.Generator) -> CutOff | None:
    """Return the cut-off of greatest Youden index, judged by tenfold cross-validation; None below 10 a group."""
    if min(int(positive.sum()), int((~positive).sum())) < _FOLDS:
        return None
    fold = np.empty(score.size, dtype=np.int64)
    for group in (positive, ~positive):
        places = rng.permutation(np.flatnonzero(group))
        fold[places] = np.arange(places.size) % _FOLDS
    called = np.zeros(score.size, dtype=np.bool_)
    for k in range(_FOLDS):
        here = fold == k
        called[here] = score[here] >= _best_cut(score[~here], positive[~here])
    sensitivity = share_of(int((called & positive).sum()), int(positive.sum()))
    specificity = share_of(int((~called & ~positive).sum()), int((~positive).sum()))
    return CutOff(_best_cut(score, positive), sensitivity, specificity, _FOLDS)


def _best_cut(score: Array, positive: Bools) -> float:
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True)
    youden = np.cumsum(positive[order]) / positive.sum() - np.cumsum(~positive[order]) / (~positive).sum()
    return float(score[order][last][int(np.argmax(youden[last]))])
