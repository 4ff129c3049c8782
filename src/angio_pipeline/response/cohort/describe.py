"""Who the patients are, by arm, and where they went: the descriptive table and the flow from planned to analysed."""

from __future__ import annotations

import pandas as pd

from angio_pipeline.core.words import counted
from angio_pipeline.response.cohort.data import Table
from angio_pipeline.response.cohort.proportions import median_of

__all__ = ["describe", "flow"]

_NUMBERS = {
    "age_years": "Age, years",
    "size_mm": "Main tumour, mm",
    "afp_ng_ml": "AFP, ng/ml",
    "oil_ml": "Iodised oil, ml",
    "lesions": "Lesions followed",
    "retention": "Retention of the main lesion",
    "half_life_days": "Half-life, days",
    "necrosis_main_percent": "Necrosis of the main tumour, %",
    "necrosis_daughter_percent": "Necrosis of daughter nodules, %",
    "survival_days": "Follow-up, days",
}
_KINDS = {
    "sex": "Sex",
    "child_pugh": "Child-Pugh class",
    "origin": "Origin",
    "size_class": "Size",
    "procedure": "Procedure",
    "catheter_position": "Catheter position",
    "event": "Died",
    "best_response": "Best response",
}
_MOST_KINDS = 8
# What has an order of its own; the rest stands by name.
_ORDER = (
    "below 30 mm", "30 to 50 mm", "above 50 mm", "CR", "PR", "SD", "PD", "celiac", "common hepatic", "proper hepatic",
    "lobar", "segmental", "subsegmental",
)  # fmt: skip


def describe(patients: pd.DataFrame, arms: list[str]) -> Table:
    """Return the descriptive table: median (quartiles) or count (per cent of those known), and how many are missing."""
    groups = [("all", patients), *((arm, patients[patients["arm"] == arm]) for arm in arms)]
    rows = [("Patients", *(str(len(group)) for _, group in groups), "")]
    for column, words in _NUMBERS.items():
        if column in patients and patients[column].notna().any():
            rows.append((words, *(_quartiles(group[column]) for _, group in groups), _missing(column, groups)))
    for column, words in _KINDS.items():
        if column in patients and patients[column].notna().any():
            rows.append((words, *("" for _ in groups), _missing(column, groups)))
            rows += [(f"  {kind}", *cells, "") for kind, cells in _kinds(patients[column], groups, column)]
    headings = ("", *(f"{name} (n = {len(group)})" for name, group in groups), "missing")
    notes = (
        "Median (first to third quartile), or number (per cent of those known). Missing: of all, and of each arm.",
    )
    return Table("Patients by arm", headings, tuple(rows), notes)


def _missing(column: str, groups: list[tuple[str, pd.DataFrame]]) -> str:
    """How many lack a value: of all patients, and of each arm."""
    everybody, *arms = (str(int(group[column].isna().sum())) for _, group in groups)
    return f"{everybody} ({' / '.join(arms)})" if arms else everybody


def _quartiles(column: pd.Series) -> str:
    found = median_of(column.dropna().astype(float))
    return "–" if found is None else f"{found[0]:.3g} ({found[1]:.3g} to {found[2]:.3g})"


def _kinds(column: pd.Series, groups: list[tuple[str, pd.DataFrame]], name: str) -> list[tuple[str, list[str]]]:
    counts = column.value_counts()
    common = list(counts.index[:_MOST_KINDS])
    told = [(_word(kind), [_count(group[name], [kind]) for _, group in groups]) for kind in sorted(common, key=_place)]
    rest = list(counts.index[_MOST_KINDS:])
    return told + ([("other", [_count(group[name], rest) for _, group in groups])] if rest else [])


def _place(kind: object) -> tuple[int, str]:
    return (_ORDER.index(str(kind)) if str(kind) in _ORDER else len(_ORDER), str(kind))


def _word(kind: object) -> str:
    return {1.0: "yes", 0.0: "no"}[kind] if isinstance(kind, float) else str(kind)


def _count(column: pd.Series, kinds: list[object]) -> str:
    known = column.dropna()
    hits = int(known.isin(kinds).sum())
    return f"{hits} ({100 * hits / len(known):.0f} %)" if len(known) else "–"


def flow(patients: pd.DataFrame, arms: list[str], inputs_refused: dict[str, int], planned: int) -> Table:
    """Return the way from planned to analysed, by arm; `flagged` are analysed with quality flags."""
    groups = [patients, *(patients[patients["arm"] == arm] for arm in arms)]
    recorded = [int(group["recorded"].sum()) for group in groups]
    steps = [
        ("planned (in the records)", recorded),
        ("in the results only", [len(g) - n for g, n in zip(groups, recorded, strict=True)]),
        ("no images found", [_in(g, "no images") for g in groups]),
        ("refused: images, and nothing could be analysed", [_in(g, "refused") for g in groups]),
        ("analysed", [_in(g, "analysed") + _in(g, "flagged") for g in groups]),
        ("of these flagged", [_in(g, "flagged") for g in groups]),
    ]
    rows = tuple((words, *(str(n) for n in counts)) for words, counts in steps)
    refused = ", ".join(f"{count} {reason}" for reason, count in sorted(inputs_refused.items()))
    notes = [f"{counted(planned, 'treatment')} in the records; a patient counts once, by the first of its treatments."]
    notes.append(f"Inputs (files, not patients) that were refused: {refused or 'none'}.")
    return Table("From planned to analysed", ("", "all", *arms), rows, tuple(notes))


def _in(group: pd.DataFrame, state: str) -> int:
    return int((group["state"] == state).sum())
