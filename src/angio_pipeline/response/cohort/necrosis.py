"""Necrosis by regimen: main tumour and daughter nodules, the share of patients with massive necrosis by arm.

Histology is the reference standard where the records hold it; else the share that they give, else that of imaging.
Arms are compared and a trend is sought over arms in the order of what they add: oil, drug, embolic.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd

from angio_pipeline.response.cohort.data import Estimate, Test
from angio_pipeline.response.cohort.proportions import compare_shares, holm, mean_of, share_of, trend_of_shares

__all__ = ["ArmNecrosis", "NecrosisTable", "necrosis_by_arm"]

_PLACES = (("main tumour", "necrosis_main_percent"), ("daughter nodule", "necrosis_daughter_percent"))


@dataclass(frozen=True, slots=True)
class ArmNecrosis:
    """One arm: share of patients at or above the limit, and mean necrosis in per cent, main tumour then nodules."""

    arm: str
    patients: int
    rates: tuple[Estimate, Estimate]
    exact: tuple[Estimate, Estimate]
    means: tuple[Estimate, Estimate]


@dataclass(frozen=True, slots=True)
class NecrosisTable:
    """The table and its tests; `pairwise` are adjusted among themselves by Holm."""

    limit_percent: float
    arms: tuple[ArmNecrosis, ...]
    tests: tuple[Test, ...]
    trends: tuple[Test, ...]
    pairwise: tuple[Test, ...]
    by_histology: int
    by_imaging: int


def necrosis_by_arm(
    patients: pd.DataFrame, arms: list[str], limit_percent: float, rng: np.random.Generator
) -> NecrosisTable:
    """Return necrosis by arm."""
    told = tuple(_arm(arm, patients[patients["arm"] == arm], limit_percent) for arm in arms)
    tests, trends, pairwise = [], [], []
    for i, (place, _) in enumerate(_PLACES):
        counts = [arm.rates[i].count for arm in told]
        lacking = [arm.rates[i].missing for arm in told]
        hits = [round((arm.rates[i].value or 0.0) * arm.rates[i].count) for arm in told]
        known, unknown = sum(counts), sum(lacking)
        alike = compare_shares(f"necrosis of the {place} alike in all arms", hits, counts, rng)
        tests.append(replace(alike, patients=known, missing=unknown))
        trend = trend_of_shares(f"no trend of necrosis of the {place}", hits, counts)
        trends.append(replace(trend, patients=known, missing=unknown))
        if sum(n > 0 for n in counts) > 2:
            for a, b in combinations(range(len(arms)), 2):
                name = f"{place}: {arms[a]} against {arms[b]}"
                test = compare_shares(name, [hits[a], hits[b]], [counts[a], counts[b]], rng)
                pairwise.append(replace(test, patients=counts[a] + counts[b], missing=lacking[a] + lacking[b]))
    adjusted = holm([test.p for test in pairwise])
    family = tuple(replace(t, adjusted=p, family="pairs") for t, p in zip(pairwise, adjusted, strict=True))
    by_histology, by_imaging = (int(patients["necrosis_source"].eq(name).sum()) for name in ("histology", "imaging"))
    return NecrosisTable(limit_percent, told, tuple(tests), tuple(trends), family, by_histology, by_imaging)


def _arm(arm: str, group: pd.DataFrame, limit: float) -> ArmNecrosis:
    rates, exact, means = [], [], []
    for _, column in _PLACES:
        known = group[column].dropna().astype(float)
        missing = len(group) - len(known)
        hits = int((known >= limit).sum())
        rates.append(share_of(hits, len(known), missing=missing))
        exact.append(share_of(hits, len(known), missing=missing, method="beta"))
        means.append(mean_of(known, missing=missing, within=(0.0, 100.0)))
    return ArmNecrosis(arm, len(group), (rates[0], rates[1]), (exact[0], exact[1]), (means[0], means[1]))
