"""What the statistics of a drawn cohort ought to find: the truth behind each estimate, and which estimates hold it.

Truth comes from the settings where a formula gives it (hazard ratios, slopes of retention), else from a very large
cohort of the same settings (shares, means, medians, area, rank correlation).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from cohort_tables import RETENTION_DAY, cohort_tables
from scipy import stats

from angio_pipeline.response.cohort import CohortParams as AnalysisParams
from angio_pipeline.response.cohort import CohortResult, analyse
from angio_pipeline.response.cohort.course import DAYS_A_MONTH
from angio_pipeline.response.cohort.data import Estimate
from angio_pipeline.simulate.cohort import ArmParams, CohortParams
from angio_pipeline.simulate.registry import RegistryParams, draw_registry

MASSIVE_PERCENT = 60.0
ANALYSIS = AnalysisParams(necrotic_percent=MASSIVE_PERCENT)
REGISTRY = RegistryParams()
OIL = {"oil_min_ml": 3, "oil_max_ml": 12}
LARGE = 30_000
MAIN_FAMILY = "any, after Holm"


def effective_cohort() -> CohortParams:
    """Three arms with oil that differ in everything that is estimated."""
    return CohortParams(
        arms=(
            arm("a", 0.3, necrosis_main=0.35, necrosis_daughter=0.3, log_hazard=0.0, half_life_factor=0.7),
            arm("b", 0.3, necrosis_main=0.5, necrosis_daughter=0.4, log_hazard=-0.3, half_life_factor=0.85),
            arm("c", 0.4, necrosis_main=0.7, necrosis_daughter=0.5, log_hazard=-0.7, half_life_factor=1.1),
        )
    )


def null_cohort() -> CohortParams:
    """Three arms that differ in name."""
    return CohortParams(arms=tuple(arm(name, weight) for name, weight in (("a", 0.3), ("b", 0.3), ("c", 0.4))))


def arm(name: str, weight: float, **effects: float) -> ArmParams:
    return ArmParams(name=name, weight=weight, **{**OIL, **effects})


def analysed(cohort: CohortParams, seed: int, cases: int = 300) -> CohortResult:
    """One repeat."""
    return analyse(cohort_tables(cases, seed, cohort, REGISTRY), params=ANALYSIS)


def truths(cohort: CohortParams, seed: int = 987_654) -> dict[str, float]:
    """The true value of every estimate, by its name."""
    patients = draw_registry(LARGE, seed, cohort, REGISTRY)
    plans = [p.plan for p in patients]
    arms = np.array([plan.arm for plan in plans])
    necrosis = 100 * np.array([plan.necrosis_main for plan in plans])
    deaths = np.array([plan.death_days for plan in plans])
    retention = np.array([p.retention[0, p.days.index(RETENTION_DAY)] for p in patients])
    found: dict[str, float] = {}
    for one in cohort.arms:
        own = arms == one.name
        found[f"share of massive necrosis, {one.name}"] = float((necrosis[own] >= MASSIVE_PERCENT).mean())
        found[f"mean necrosis, {one.name}"] = float(necrosis[own].mean())
        found[f"median survival, {one.name}"] = float(np.median(deaths[own]))
        # The mean of 1 / (factor exp(normal)).
        faster = math.exp(cohort.half_life_log_sd**2 / 2) / one.half_life_factor
        found[f"slope of log retention, {one.name}"] = -math.log(2) * DAYS_A_MONTH / REGISTRY.half_life_days * faster
        found[f"log hazard, {one.name}"] = one.log_hazard - cohort.arms[0].log_hazard
    found |= covariate_hazards(cohort)
    found["Spearman's rho"] = float(stats.spearmanr(retention, necrosis).statistic)
    massive = necrosis >= MASSIVE_PERCENT
    wins = stats.mannwhitneyu(retention[massive], retention[~massive]).statistic
    found["area under the ROC curve"] = float(wins / (massive.sum() * (~massive).sum()))
    return found


def covariate_hazards(cohort: CohortParams) -> dict[str, float]:
    settings = cohort.survival
    told = {
        "age, ten years": settings.age_log_hazard,
        "male": settings.male_log_hazard,
        "Child-Pugh B": settings.child_b_log_hazard,
        "Child-Pugh C": settings.child_c_log_hazard,
        "metastasis": settings.metastasis_log_hazard,
        "30 to 50 mm": settings.medium_log_hazard,
        "above 50 mm": settings.large_log_hazard,
        "AFP of HCC, tenfold": settings.afp_log_hazard,
    }
    return {f"log hazard, {name}": value for name, value in told.items()}


def estimates(result: CohortResult) -> Iterator[tuple[str, Estimate]]:
    """Every estimate with an interval, by the name of its truth."""
    for one in result.necrosis.arms:
        yield f"share of massive necrosis, {one.arm}", one.rates[0]
        yield f"mean necrosis, {one.arm}", one.means[0]
    for curve in result.survival[0].curves:
        yield f"median survival, {curve.arm}", curve.median_days
    if result.course is not None:
        for course in result.course.arms:
            yield f"slope of log retention, {course.arm}", course.log_slope
    if result.survival[0].cox is not None:
        for term in result.survival[0].cox.terms:
            yield f"log hazard, {term.name}", logarithm(term.hazard_ratio)
    yield "Spearman's rho", result.retention.rho
    if result.retention.roc is not None:
        yield "area under the ROC curve", result.retention.roc.area


def logarithm(one: Estimate) -> Estimate:
    value, low, high = (None if v is None else math.log(v) for v in (one.value, one.low, one.high))
    return Estimate(value, low, high, one.count)


def holds(one: Estimate, truth: float) -> bool:
    """Whether the interval holds the truth; an open end holds everything beyond, no interval holds nothing."""
    if one.low is None and one.high is None:
        return False
    return (one.low is None or one.low <= truth) and (one.high is None or truth <= one.high)


def p_values(result: CohortResult) -> dict[str, float]:
    """The p of every main hypothesis, and the least after Holm's correction; 1 where nothing could be tested."""
    told = {test.name: 1.0 if test.p is None else test.p for test in result.main_tests}
    told |= {test.name: 1.0 if test.p is None else test.p for test in result.necrosis.trends}
    told[MAIN_FAMILY] = min(test.adjusted if test.adjusted is not None else 1.0 for test in result.main_tests)
    return told
