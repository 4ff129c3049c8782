"""What cohort statistics start from: tables, and the names of their columns.

`patients`, a row a patient (index: pseudonym):
    arm, age_years, sex, child_pugh, origin, afp_ng_ml, size_mm, size_class, necrosis_main_percent,
    necrosis_daughter_percent, histology_necrosis_percent, imaging_necrosis_main_percent (the last two where known,
    to be compared), survival_days, event, progression_days, progression,
    retention (of the main lesion at the chosen day), half_life_days, state (analysed, flagged, refused, no images).
`timepoints`, a row a lesion and date after the reference:
    subject, lesion, days (since the reference scan), retention.
`readers`, a table a reader, where two readers' files exist: subject, lesion and date, and what was measured.
Unknown is NaN or None.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

__all__ = ["CohortData", "Estimate", "Table", "Test"]


@dataclass(frozen=True, slots=True, eq=False)
class CohortData:
    """The tables of one cohort. `planned` counts patients with a record, `inputs_refused` files by reason."""

    patients: pd.DataFrame
    timepoints: pd.DataFrame
    arm_name: str = "regimen"
    planned: int = 0
    inputs_refused: dict[str, int] = field(default_factory=dict)
    readers: tuple[pd.DataFrame, pd.DataFrame] | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval, None where it cannot be known, and how many it is of."""

    value: float | None
    low: float | None
    high: float | None
    count: int
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Test:
    """A test of one hypothesis; `adjusted` is its p after Holm over all tests of the family.

    `patients` took part, and `missing` of those it is about lack a value that it needs; None where unknown.
    """

    name: str
    method: str
    p: float | None
    statistic: float | None = None
    adjusted: float | None = None
    family: str = "main"
    patients: int | None = None
    missing: int | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it is shown: a caption, headings, rows of words, and notes on what is missing."""

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    values: Any = None
