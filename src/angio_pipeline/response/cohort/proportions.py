"""Shares and means with intervals, and tests of shares between arms."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from angio_pipeline.response.cohort.data import Estimate, Test

__all__ = ["compare_shares", "holm", "mean_of", "median_of", "share_of", "trend_of_shares"]

_RESAMPLES = 9999
_LEAST_EXPECTED = 5.0


def share_of(hits: int, count: int, *, missing: int = 0, method: str = "wilson") -> Estimate:
    """Return hits over count with Wilson's interval, doi:10.1080/01621459.1927.10502953; `beta` gives the exact one."""
    from statsmodels.stats.proportion import proportion_confint

    if count == 0:
        return Estimate(None, None, None, 0, missing)
    low, high = proportion_confint(hits, count, alpha=0.05, method=method)
    return Estimate(hits / count, float(low), float(high), count, missing)


def mean_of(values: npt.ArrayLike, *, missing: int = 0, within: tuple[float, float] = (-np.inf, np.inf)) -> Estimate:
    """Return the mean with Student's interval, cut to what the mean can be; one value alone has none."""
    x = np.asarray(values, dtype=np.float64)
    if x.size == 0:
        return Estimate(None, None, None, 0, missing)
    if x.size == 1:
        return Estimate(float(x[0]), None, None, 1, missing)
    half = float(stats.t.ppf(0.975, x.size - 1) * x.std(ddof=1) / np.sqrt(x.size))
    low, high = (float(end) for end in np.clip([x.mean() - half, x.mean() + half], *within))
    return Estimate(float(x.mean()), low, high, x.size, missing)


def median_of(values: npt.ArrayLike) -> tuple[float, float, float] | None:
    """Return median, first and third quartile, None without values."""
    x = np.asarray(values, dtype=np.float64)
    if x.size == 0:
        return None
    low, middle, high = np.percentile(x, (25, 50, 75))
    return float(middle), float(low), float(high)


def compare_shares(name: str, hits: Sequence[int], counts: Sequence[int], rng: np.random.Generator) -> Test:
    """Return a test of equal shares in all arms that hold anybody.

    Two arms: Fisher's exact test. More: chi-squared where every expected count is 5 or more, else Fisher's test for
    larger tables by Monte Carlo (scipy `fisher_exact`, 9999 tables).
    """
    table = np.array([(h, n - h) for h, n in zip(hits, counts, strict=True) if n > 0])
    if len(table) < 2 or (table.sum(axis=0) == 0).any():
        return Test(name, "not tested: fewer than two arms, or all alike", None)
    if len(table) == 2:
        return Test(name, "Fisher's exact test", float(stats.fisher_exact(table).pvalue))
    expected = stats.contingency.expected_freq(table)
    if (expected >= _LEAST_EXPECTED).all():
        result = stats.chi2_contingency(table, correction=False)
        return Test(
            name, f"chi-squared, {result.dof} degrees of freedom", float(result.pvalue), float(result.statistic)
        )
    method = stats.MonteCarloMethod(n_resamples=_RESAMPLES, rng=rng)
    return Test(name, "Fisher's test by Monte Carlo", float(stats.fisher_exact(table, method=method).pvalue))


def trend_of_shares(name: str, hits: Sequence[int], counts: Sequence[int]) -> Test:
    """Return a test of a trend over arms in their order (linear by linear, that of Cochran and Armitage)."""
    from statsmodels.stats.contingency_tables import Table

    table = np.array([(n - h, h) for h, n in zip(hits, counts, strict=True) if n > 0])
    if len(table) < 3 or (table.sum(axis=0) == 0).any():
        return Test(name, "not tested: fewer than three arms, or all alike", None, family="trend")
    result = Table(table.astype(np.float64), shift_zeros=False).test_ordinal_association()
    method = "Cochran-Armitage trend over the arms in the order shown"
    return Test(name, method, float(result.pvalue), float(result.zscore), family="trend")


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p values after Holm's correction; what was not tested does not count."""
    from statsmodels.stats.multitest import multipletests

    known = [p for p in p_values if p is not None]
    if not known:
        return [None] * len(p_values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adjusted = iter(multipletests(known, method="holm")[1])
    return [None if p is None else float(next(adjusted)) for p in p_values]
