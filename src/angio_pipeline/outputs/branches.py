"""The table of branches of one run, and which of them are the main ones."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from angio_pipeline.core.geometry import PixelSpacing
from angio_pipeline.core.measures import BranchMeasures, VelocityState
from angio_pipeline.core.vessels import Branch
from angio_pipeline.core.words import counted
from angio_pipeline.outputs.schemas import GraphBranch, GraphDocument

__all__ = [
    "BRANCH_COLUMNS",
    "BranchRow",
    "branch_rows",
    "flow_story",
    "main_branches",
    "measure_fields",
    "read_branches",
]

BRANCH_COLUMNS: Mapping[str, str] = {
    "branch": "BIGINT",
    "number": "BIGINT",
    "strahler_order": "BIGINT",
    "generation": "BIGINT",
    "start_row": "DOUBLE",
    "start_col": "DOUBLE",
    "end_row": "DOUBLE",
    "end_col": "DOUBLE",
    "length_mm": "DOUBLE",
    "length_px": "DOUBLE",
    "tortuosity": "DOUBLE",
    "diameter_mm": "DOUBLE",
    "diameter_px": "DOUBLE",
    "taper": "DOUBLE",
    "arrival_start_s": "DOUBLE",
    "arrival_end_s": "DOUBLE",
    "velocity_mm_s": "DOUBLE",
    "velocity_low_mm_s": "DOUBLE",
    "velocity_high_mm_s": "DOUBLE",
    "velocity_px_s": "DOUBLE",
    "velocity_low_px_s": "DOUBLE",
    "velocity_high_px_s": "DOUBLE",
    "velocity_state": "VARCHAR",
    "overlap_ambiguous": "BOOLEAN",
}
_MOST_MAIN = 8


class BranchRow(BaseModel):
    """One line of `branches.csv`; the unknown is None."""

    model_config = ConfigDict(frozen=True)

    branch: int
    number: int | None
    strahler_order: int | None
    generation: int | None
    start_row: float
    start_col: float
    end_row: float
    end_col: float
    length_mm: float | None
    length_px: float
    tortuosity: float | None
    diameter_mm: float | None
    diameter_px: float | None
    taper: float | None
    arrival_start_s: float | None
    arrival_end_s: float | None
    velocity_mm_s: float | None
    velocity_low_mm_s: float | None
    velocity_high_mm_s: float | None
    velocity_px_s: float | None
    velocity_low_px_s: float | None
    velocity_high_px_s: float | None
    velocity_state: VelocityState | None
    overlap_ambiguous: bool


def measure_fields(
    branch: Branch, measures: BranchMeasures | None, spacing: PixelSpacing | None, *, times_known: bool
) -> dict[str, Any]:
    """Return what `graph.json` tells of a branch's measures; None for the unknown.

    Parameters
    ----------
    spacing : PixelSpacing or None
        In the patient; without it nothing is given in millimetres.
    times_known : bool
        Whether the file gives frame times; without them nothing is given in seconds.
    """
    if measures is None:
        return {}
    m = measures
    # Pixels need not be square: the branch's own length in both units is its scale.
    scale = None if spacing is None else _length_mm(branch, spacing) / max(branch.length_px, 1e-9)
    seconds = 1.0 if times_known else None
    low, high = m.velocity_interval_px_s
    per_second = None if scale is None or seconds is None else scale
    return {
        "strahler_order": m.strahler_order,
        "generation": m.generation,
        "length_mm": _scaled(m.length_px, scale, 3),
        "tortuosity": _scaled(m.tortuosity, 1.0),
        "mean_diameter_px": _scaled(m.diameter_px, 1.0, 3),
        "mean_diameter_mm": _scaled(m.diameter_px, None if spacing is None else spacing.mean_mm),
        "taper": _scaled(m.taper, 1.0, 5),
        "arrival_start_s": _scaled(m.arrival_start_s, seconds),
        "arrival_end_s": _scaled(m.arrival_end_s, seconds),
        "velocity_px_s": _scaled(m.velocity_px_s, seconds, 3),
        "velocity_interval_px_s": _pair(low, high, seconds),
        "velocity_mm_s": _scaled(m.velocity_px_s, per_second, 3),
        "velocity_interval_mm_s": _pair(low, high, per_second),
        "velocity_state": m.velocity_state if times_known else VelocityState.NOT_TIMED,
    }


def _length_mm(branch: Branch, spacing: PixelSpacing) -> float:
    steps = np.diff(branch.centreline, axis=0) * (spacing.row_mm, spacing.col_mm)
    return float(np.linalg.norm(steps, axis=1).sum())


def _scaled(value: float, factor: float | None, digits: int = 4) -> float | None:
    return None if factor is None or not np.isfinite(value) else round(float(value * factor), digits)


def _pair(low: float, high: float, factor: float | None) -> tuple[float | None, float | None] | None:
    pair = _scaled(low, factor, 3), _scaled(high, factor, 3)
    return None if pair == (None, None) else pair


def main_branches(document: GraphDocument) -> list[int]:
    """Return indices of the branches that are numbered in pictures and tables, the largest first.

    Large is what holds most blood as a round tube: length times diameter squared. Only what the root reaches
    is chosen; where any of it has a velocity, only what has one; else what is a thirtieth of the tree's extent
    at least, beside which there is room to write.
    """
    reached = [k for k, b in enumerate(document.branches) if b.generation is not None]
    told = [k for k in reached if document.branches[k].velocity_px_s is not None]
    if not told:
        points = np.array([p for k in reached for p in document.branches[k].centreline]).reshape(-1, 2)
        least = float(np.ptp(points, axis=0).max()) / 30 if len(points) else 0.0
        told = [k for k in reached if document.branches[k].length_px >= least]
    return sorted(told, key=lambda k: -_volume(document.branches[k]))[:_MOST_MAIN]


def _volume(branch: GraphBranch) -> float:
    return branch.length_px * (branch.mean_diameter_px or branch.diameter_px or 0.0) ** 2


def branch_rows(document: GraphDocument) -> list[dict[str, Any]]:
    """Return the lines of `branches.csv`; `number` is that of the main branches."""
    numbers = {index: place for place, index in enumerate(main_branches(document), start=1)}
    return [_row(branch, numbers.get(k)) for k, branch in enumerate(document.branches)]


def _row(branch: GraphBranch, number: int | None) -> dict[str, Any]:
    (start_row, start_col), (end_row, end_col) = branch.centreline[0], branch.centreline[-1]
    px, mm = branch.velocity_interval_px_s or (None, None), branch.velocity_interval_mm_s or (None, None)
    shape = {"strahler_order", "generation", "length_mm", "length_px", "tortuosity", "taper"}
    flow = {"arrival_start_s", "arrival_end_s", "velocity_mm_s", "velocity_px_s", "overlap_ambiguous"}
    return {
        "branch": branch.id,
        "number": number,
        **branch.model_dump(include=shape | flow),
        "start_row": start_row,
        "start_col": start_col,
        "end_row": end_row,
        "end_col": end_col,
        "diameter_mm": branch.mean_diameter_mm,
        "diameter_px": branch.mean_diameter_px,
        "velocity_low_mm_s": mm[0],
        "velocity_high_mm_s": mm[1],
        "velocity_low_px_s": px[0],
        "velocity_high_px_s": px[1],
        "velocity_state": None if branch.velocity_state is None else branch.velocity_state.value,
    }


def read_branches(path: Path) -> Sequence[BranchRow]:
    """Return the lines of a run's `branches.csv`; none where the file is missing or cannot be read."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            lines = list(csv.DictReader(stream))
        return [BranchRow.model_validate({k: v if v != "" else None for k, v in line.items()}) for line in lines]
    except (OSError, UnicodeDecodeError, ValidationError, csv.Error):
        return []


def flow_story(folder: Path) -> dict[str, Any]:
    """Return what a page tells of one run's flow: its main branches in order, and the words above them."""
    rows = read_branches(folder / "branches.csv")
    main = sorted((row for row in rows if row.number is not None), key=lambda row: row.number or 0)
    told = sum(row.velocity_state is VelocityState.MEASURED for row in rows)
    why = [f"{count} {words}" for state, words in _WHY.items() if (count := _count(rows, state))]
    reasons = f" ({', '.join(why)})" if why else ""
    caption = f"Of {counted(len(rows), 'branch', 'branches')} {told} have a velocity{reasons}."
    return {"branches": main, "caption": caption, "speed": _speed, "taper": _taper}


_WHY = {
    VelocityState.UNRESOLVED: "too short, too fast or too faint for these frames",
    VelocityState.CONTRADICTORY: "with times that contradict their neighbours",
    VelocityState.NOT_FILLED: "in which no contrast was seen to come",
    VelocityState.NOT_TIMED: "in a run that does not tell when contrast comes",
}


def _count(rows: Sequence[BranchRow], state: VelocityState) -> int:
    return sum(row.velocity_state is state for row in rows)


def _speed(row: BranchRow) -> str:
    """The velocity with its interval, or why there is none."""
    mm = row.velocity_mm_s, row.velocity_low_mm_s, row.velocity_high_mm_s, "mm/s"
    px = row.velocity_px_s, row.velocity_low_px_s, row.velocity_high_px_s, "px/s"
    value, low, high, unit = mm if row.velocity_mm_s is not None else px
    if value is None or low is None or high is None:
        return row.velocity_state.value if row.velocity_state is not None else "–"
    return f"{value:.0f} ({low:.0f}–{high:.0f}) {unit}"


def _taper(row: BranchRow) -> str:
    # Rounded to nothing it has no sign.
    return "–" if row.taper is None else f"{round(100 * row.taper) or 0} %"
