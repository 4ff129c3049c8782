"""Where an injection goes: down from the tip, and back up it when the artery cannot take it all.

The excess runs up against the flow and, at each fork, into the siblings, as much as they take;
what they leave runs on, and what reaches the aorta is washed away there. When the injection ends,
the columns of contrast that stand in the arteries above the tip are washed down again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from angio_pipeline.simulate.anatomy.courses import Courses
from angio_pipeline.simulate.circulation.contrast import Injection, Pulse
from angio_pipeline.simulate.circulation.flows import Supply

__all__ = ["Source", "Spread", "spread_injection"]

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
_Box = tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A node below which arteries fill with `pulse` (mg/ml)."""

    node: int
    pulse: Pulse


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """Where an injection goes.

    Attributes
    ----------
    sources : tuple of Source
        The tip first, then the forks above it that reflux reaches.
    source_of : (N,) int64
        Source that fills the edge into each node; -1 for none.
    source_at : (N,) int64
        Source that fills the tissue at each node.
    columns : mapping of segment to Pulse (mg/ml)
        The arteries through which contrast runs back.
    aorta : Pulse
        mg/s that leaves through the aorta.
    """

    sources: tuple[Source, ...]
    source_of: IntArray
    source_at: IntArray
    columns: dict[int, Pulse]
    aorta: Pulse


@dataclass(frozen=True, slots=True)
class _Column:
    """Contrast that ran up one edge: rate of the run, when it began, how far it came, and what the edge carries."""

    node: int
    rate_ml_s: float
    since_s: float
    filled_ml: float
    whole_ml: float
    flow_ml_s: float

    def wash_s(self, volume_ml: float) -> float:
        """Return the seconds in which the edge's own flow moves `volume_ml`."""
        return volume_ml / self.flow_ml_s if self.flow_ml_s > 0 else np.inf


def spread_injection(injection: Injection, supply: Supply, courses: Courses, volume_ml: Array) -> Spread:
    """Return where `injection` goes in arteries of segments of `volume_ml` (S,)."""
    path = _way_up(supply.parent, injection.tip_node)
    columns, boxes, aorta = _run_up(injection, supply, courses, volume_ml, path)
    end = injection.duration_s
    for j in boxes:
        boxes[j] += _washed_down(columns[j:], end, injection.iodine_mg_per_ml)
    sources = tuple(Source(path[j], _pulse(boxes[j], injection.ramp_s)) for j in sorted(boxes))
    standing: dict[int, Pulse] = {}
    for k in range(len(columns)):
        standing |= _standing(columns[k:], injection, courses, volume_ml)
    source_of, source_at = _fill(supply, path, sorted(boxes))
    return Spread(sources, source_of, source_at, standing, _pulse(aorta, injection.ramp_s))


def _way_up(parent: IntArray, node: int) -> list[int]:
    path = [node]
    while parent[path[-1]] >= 0:
        path.append(int(parent[path[-1]]))
    return path


def _run_up(
    injection: Injection, supply: Supply, courses: Courses, volume_ml: Array, path: list[int]
) -> tuple[list[_Column], dict[int, list[_Box]], list[_Box]]:
    # Boxes (level, begin, end) of each place on the path at which something is filled.
    strength, end = injection.iodine_mg_per_ml, injection.duration_s
    own = float(supply.flow[path[0]])
    boxes: dict[int, list[_Box]] = {}
    if own > 0:
        boxes[0] = [(strength * min(1.0, injection.rate_ml_s / own), 0.0, end)]
    columns: list[_Column] = []
    excess, reached = injection.rate_ml_s - own, 0.0
    for k, node in enumerate(path):
        if excess <= 1e-9 * injection.rate_ml_s or reached >= end:
            return columns, boxes, []
        if k > 0 and node > 0:
            # What the siblings take; the way back to the tip takes none.
            taken = float(supply.flow[node] - supply.flow[path[k - 1]])
            if taken > 1e-9:
                boxes[k] = [(strength * min(1.0, excess / taken), reached, end)]
            excess -= max(taken, 0.0)
        if node > 0 and excess > 1e-9 * injection.rate_ml_s:
            whole = float(volume_ml[courses.edge == node].sum())
            filled = min(whole, excess * (end - reached))
            columns.append(_Column(node, excess, reached, filled, whole, float(supply.flow[node])))
            reached += whole / excess
    return columns, boxes, [(strength * excess, reached, end)]


def _washed_down(columns: list[_Column], end: float, strength: float) -> list[_Box]:
    # The columns of the edges above a place pass it one after the other.
    boxes: list[_Box] = []
    begin = end
    for column in columns:
        lasts = column.wash_s(column.filled_ml)
        if not np.isfinite(begin + lasts):
            break
        boxes.append((strength, begin, begin + lasts))
        begin += column.wash_s(column.whole_ml)
    return boxes


def _standing(columns: list[_Column], injection: Injection, courses: Courses, volume_ml: Array) -> dict[int, Pulse]:
    # Each segment of the first column's edge: filled upwards, washed down, then passed by the columns above.
    column, end, strength = columns[0], injection.duration_s, injection.iodine_mg_per_ml
    segments = np.flatnonzero(courses.edge == column.node)[::-1]
    middle = np.cumsum(volume_ml[segments]) - 0.5 * volume_ml[segments]
    pulses = {}
    for segment, below in zip(segments, middle, strict=True):
        boxes: list[_Box] = []
        if below < column.filled_ml:
            boxes.append(
                (strength, column.since_s + below / column.rate_ml_s, end + column.wash_s(column.filled_ml - below))
            )
        later = end + column.wash_s(column.whole_ml - below)
        boxes += _washed_down(columns[1:], later, strength)
        pulses[int(segment)] = _pulse(boxes, injection.ramp_s)
    return pulses


def _pulse(boxes: list[_Box], ramp_s: float) -> Pulse:
    level, begin, end = np.asarray(boxes, float).reshape(-1, 3).T
    return Pulse(level, begin, end, ramp_s)


def _fill(supply: Supply, path: list[int], places: list[int]) -> tuple[IntArray, IntArray]:
    count = len(supply.parent)
    source_at = np.full(count, -1, np.int64)
    for number, place in enumerate(places):
        source_at[path[place]] = number
    source_of = np.full(count, -1, np.int64)
    on_path = set(path)
    for node in supply.order[1:]:
        if node in on_path:
            continue
        source_of[node] = source_at[supply.parent[node]]
        source_at[node] = source_of[node]
    return source_of, source_at
