"""Tables of the oil's benchmark: what was asked and what is reached, with regions given and without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["LINES", "Line", "measured", "section"]

Row = dict[str, Any]
FLOOR_MG, FLOOR_RETENTION = 1.0, 0.01
SMALL_MG = 10.0
_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: what, in which rows, how they are put together, and which values were asked for."""

    what: str
    rows: str
    value: Callable[[Row], float | None]
    together: Callable[[Sequence[float]], float]
    asked: tuple[float | None, float | None] = (None, None)
    """Least and greatest."""


def mass_error(row: Row) -> float:
    """Return the relative error of the mass; no answer is 1."""
    return _error(row["mg"], row["true_mg"], FLOOR_MG)


def retention_error(row: Row) -> float | None:
    """Return the relative error of retention; None at the first date, where it is 1 by definition."""
    return None if row["first"] else _error(row["retention"], row["true_retention"], FLOOR_RETENTION)


def half_life_error(row: Row) -> float | None:
    """Return the relative error of the half-life; None where three dates do not span one."""
    truth = row["true_half_life_days"]
    if truth is None or row["dates"] < 3 or row["span_days"] < truth:
        return None
    return _error(row["half_life_days"], truth, 1.0)


def _error(told: float | None, truth: float, floor: float) -> float:
    return 1.0 if told is None else abs(told - truth) / max(truth, floor)


def _holds(interval: Sequence[float | None] | None, truth: float | None) -> float:
    if interval is None or truth is None or interval[0] == interval[1] is None:
        return 0.0
    low, high = interval
    return float((low is None or low <= truth) and (high is None or truth <= high))


def _mass_held(row: Row) -> float:
    return _holds(row["mg_interval"], row["true_mg"])


def _mass_width(row: Row) -> float | None:
    """Return the interval's width over the true mass; None without an interval, which the line above counts."""
    told = row["mg_interval"]
    return None if told is None else float((told[1] - told[0]) / max(row["true_mg"], FLOOR_MG))


def _retention_width(row: Row) -> float | None:
    told = row["retention_interval"]
    if row["first"] or told is None:
        return None
    return float((told[1] - told[0]) / max(row["true_retention"], FLOOR_RETENTION))


def _retention_held(row: Row) -> float | None:
    return None if row["first"] else _holds(row["retention_interval"], row["true_retention"])


def _half_life_held(row: Row) -> float | None:
    told = half_life_error(row)
    return None if told is None else _holds(row["half_life_interval"], row["true_half_life_days"])


def _within(row: Row) -> float | None:
    error = half_life_error(row)
    return None if error is None else float(error <= 0.15)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))


def _ninetieth(values: Sequence[float]) -> float:
    return float(np.percentile(values, 90))


_HELD = (0.90, 0.98)
LINES = (
    Line("iodine mass, relative error, median", "dates", mass_error, _median, (None, 0.08)),
    Line("iodine mass, relative error, 90th percentile", "dates", mass_error, _ninetieth, (None, 0.20)),
    Line("iodine mass within its 95 % interval", "dates", _mass_held, _mean, _HELD),
    Line("width of that interval over the truth, median", "dates", _mass_width, _median),
    Line("retention, relative error, median", "dates", retention_error, _median, (None, 0.05)),
    Line("retention, relative error, 90th percentile", "dates", retention_error, _ninetieth, (None, 0.12)),
    Line("retention within its 95 % interval", "dates", _retention_held, _mean, _HELD),
    Line("width of that interval over the truth, median", "dates", _retention_width, _median),
    Line("half-life, relative error, median", "lesions", half_life_error, _median, (None, 0.15)),
    Line("half-lives within 15 %", "lesions", _within, _mean),
    Line("half-life within its 95 % interval", "lesions", _half_life_held, _mean, _HELD),
    Line("deposit, Dice, mean", "dates", lambda row: row["dice"], _mean, (0.85, None)),
    Line("deposit, Dice, median", "dates", lambda row: row["dice"], _median),
    Line("deposit, volume over the true one, mean", "dates", lambda row: row["volume_ratio"], _mean, (0.9, 1.1)),
    Line("deposit, volume over the true one, median", "dates", lambda row: row["volume_ratio"], _median),
    Line("naive threshold, Dice, mean", "naive", lambda row: row["dice"], _mean),
    Line("naive threshold, volume over the true one, mean", "naive", lambda row: row["volume_ratio"], _mean),
    Line("pattern right", "lesions", lambda row: float(row["pattern"] == row["true_pattern"]), _mean, (0.85, None)),
    Line("lesions with oil found", "lesions", lambda row: float(row["found"]), _mean),
    Line("deposits called where none is, a patient", "patients", lambda row: float(row["false_deposits"]), _mean),
)


def section(figures: dict[str, Any]) -> str:
    """Return what is said of the benchmark; it follows from the figures alone."""
    patients = figures["patients"]
    head = (
        f"Measured with {figures['measured_with']}. Follow-ups of {patients['cases']} simulated patients, preset\n"
        f"`{patients['preset']}`, seed {patients['seed']}: {len(figures['given']['lesions'])} lesions with oil, "
        f"{len(figures['given']['dates'])} lesions and dates on CT. What has no answer counts as\n"
        "wrong. Intervals are 95 % bootstrap over patients. The naive threshold is 160 HU within 10 mm of the true\n"
        "lesion.\n\n"
    )
    lines = [
        "| what | asked | regions given | reached | none given | reached | n |",
        "| --- | ---: | ---: | --- | ---: | --- | ---: |",
    ]
    table = "\n".join(lines + [_table_row(line, figures) for line in LINES])
    return f"{head}{table}\n\n{_where_mass_is_wrong(figures['given'])}"


def _where_mass_is_wrong(given: dict[str, list[Row]]) -> str:
    """Return in which lesions the mass is off by more than was asked for, regions given."""
    faint = {(row["patient"], row["lesion"]) for row in given["lesions"] if row["true_pattern"] == "faint"}
    small = {(r["patient"], r["lesion"]) for r in given["dates"] if r["first"] and r["true_mg"] < SMALL_MG}
    wrong = [(r["patient"], r["lesion"]) for r in given["dates"] if mass_error(r) > 0.20]
    of_faint = sum(one in faint for one in wrong)
    of_small = sum(one in small - faint for one in wrong)
    return (
        f"With regions given the mass is off by more than 20 % at {len(wrong)} dates of {len(set(wrong))} lesions: "
        f"{of_faint} of the dates are\nof faint lesions, {of_small} of others that held less than {SMALL_MG:g} mg at "
        f"first, {len(wrong) - of_faint - of_small} of the rest."
    )


def _table_row(line: Line, figures: dict[str, Any]) -> str:
    cells, count = [], 0
    for kind in ("given", "found"):
        count = max(count, sum(map(len, _values(line, figures, kind))))
        value, (low, high) = measured(line, figures, kind)
        cells += [f"{value:.3f} ({low:.3f} to {high:.3f})", _verdict(value, line.asked)]
    return f"| {line.what} | {_wanted(line.asked)} | " + " | ".join(cells) + f" | {count} |"


def measured(line: Line, figures: dict[str, Any], kind: str) -> tuple[float, tuple[float, float]]:
    """Return the value of a line and its 95 % interval, regions `given` or `found`."""
    by_patient = _values(line, figures, kind)
    pooled = [value for values in by_patient for value in values]
    return line.together(pooled) if pooled else float("nan"), _bootstrap(by_patient, line.together)


def _values(line: Line, figures: dict[str, Any], kind: str) -> list[list[float]]:
    rows = figures[kind][line.rows] if line.rows != "naive" else _naive_rows(figures)
    by_patient: dict[str, list[float]] = {}
    for row in rows:
        value = line.value(row)
        if value is not None:
            by_patient.setdefault(row["patient"], []).append(value)
    return list(by_patient.values())


def _naive_rows(figures: dict[str, Any]) -> list[Row]:
    return [{"patient": key.split("/")[0], **row} for key, row in figures["naive"].items()]


def _bootstrap(by_patient: list[list[float]], together: Callable[[Sequence[float]], float]) -> tuple[float, float]:
    if not by_patient:
        return float("nan"), float("nan")
    rng = np.random.default_rng(0)
    values = []
    for _ in range(_RESAMPLES):
        drawn = rng.integers(len(by_patient), size=len(by_patient))
        values.append(together([value for k in drawn for value in by_patient[int(k)]]))
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def _wanted(asked: tuple[float | None, float | None]) -> str:
    low, high = asked
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    return f"≥ {low:g}" if low is not None else f"≤ {high:g}" if high is not None else "–"


def _verdict(value: float, asked: tuple[float | None, float | None]) -> str:
    low, high = asked
    if low is None and high is None:
        return "–"
    return "yes" if (low is None or value >= low) and (high is None or value <= high) else "no"
