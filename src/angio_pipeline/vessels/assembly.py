"""From directed edges and readings of junctions to the branches of the vessel graph.

A vessel that passes over or under others is one branch, with a line of its own across the place
where they overlap. Where a vessel divides, the child that carries it on gives its axis, and every
other child begins where its own line, drawn back, meets that axis. So nodes are forks and ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from angio_pipeline.core.vessels import Branch
from angio_pipeline.vessels.junctions import Arms, Junction
from angio_pipeline.vessels.network import Network
from angio_pipeline.vessels.orientation import SOURCE, Choice, Place

__all__ = ["Assembly"]

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_AXIS_RADII = 2.0
"""How far above a fork, in radii, its children's lines may still meet the axis."""


@dataclass(slots=True, eq=False)
class _Run:
    """A branch while it is put together: rows of (row, col, radius, arrival, contrast), from a node of the graph."""

    begin: int
    parts: list[Array] = field(default_factory=list)
    doubtful: bool = False


@dataclass(slots=True, eq=False)
class _Way:
    """What is still to be followed: a run that goes on along an edge, without its first `skip` points."""

    run: _Run
    edge: int
    skip: int


class Assembly:
    """Puts the graph together, piece by piece of what `solve` found."""

    def __init__(
        self, network: Network, places: Sequence[Place], arms: Sequence[Arms], *, scale: float, doubt: float
    ) -> None:
        self.network, self.places, self.arms, self.scale, self.doubt = network, places, arms, scale, doubt
        self.rows = [np.column_stack([e.path, e.radius_px, e.arrival_s, e.contrast]) for e in network.edges]
        self.ends: dict[int, list[tuple[int, int]]] = {}
        for number, place in enumerate(places):
            for bit, arm in enumerate(place.junction.arms):
                self.ends.setdefault(arm.edge, [(-1, -1), (-1, -1)])[arm.end] = (number, bit)
        self.nodes: list[Array] = []
        self.branches: list[Branch] = []
        self.crossings: list[Array] = []
        self.probabilities: list[float] = []

    def add(self, choice: Choice, root: int) -> int:
        """Add all that is fed from the place `root`; return the node at which it begins."""
        place = self.places[root]
        start = self._node(self.network.nodes[place.junction.nodes[0]])
        waiting = [
            _Way(_Run(start), arm.edge, 0)
            for arm, by in zip(place.junction.arms, place.fed_by[choice.reading[root]].tolist(), strict=True)
            if by == SOURCE
        ]
        while waiting:
            waiting += self._follow(choice, waiting.pop())
        for number in choice.reading:
            self._tell_crossing(choice, number)
        return start

    def _node(self, place: Array) -> int:
        self.nodes.append(np.asarray(place[:2], dtype=np.float64))
        return len(self.nodes) - 1

    def _follow(self, choice: Choice, way: _Way) -> list[_Way]:
        """Follow one edge to the place it runs into; return what goes on from there."""
        turned = choice.reversed[way.edge]
        number, bit = self.ends[way.edge][0 if turned else 1]
        rows = self.rows[way.edge][::-1] if turned else self.rows[way.edge]
        place = self.places[number]
        fed = np.flatnonzero(place.fed_by[choice.reading[number]] == bit).tolist()
        first, last = _within(len(rows), way.skip, int(self.arms[number].start[bit]) if fed else 0)
        way.run.parts.append(rows[first:last])
        if not fed:
            self._finish(way.run, self._node(rows[-1]))
            return []
        doubtful = choice.unsure[number] >= self.doubt
        inner = _Inner(self, number, bit)
        return self._divide(way.run, inner, fed, rows[last - 1 :], doubtful)

    def _divide(self, run: _Run, inner: _Inner, fed: list[int], rest: Array, doubtful: Mask) -> list[_Way]:
        """Lead a run on into the arms it feeds: one carries it on, the others leave from its axis."""
        main = max(fed, key=inner.worth)
        axis = self._axis(run, inner, main, rest)
        leaving = []
        for group, node in inner.groups(main, fed):
            at = inner.leaves_at(axis, group[0]) if len(group) == 1 else _nearest(axis, self.network.nodes[node])
            leaving.append((at, group, node))
        ways: list[_Way] = []
        begin, before = run, 0
        for at, group, node in sorted(leaving, key=lambda item: item[0]):
            begin.parts.append(axis[before : at + 1])
            fork = self._finish(begin, None)
            begin, before = _Run(fork, doubtful=bool(doubtful[main])), at
            ways += self._leave(
                _Run(fork, doubtful=bool(doubtful[group].any())), inner, axis[at], group, node, doubtful
            )
        begin.parts.append(axis[before:])
        begin.doubtful |= bool(doubtful[main])
        arm = inner.junction.arms[main]
        ways.append(_Way(begin, arm.edge, int(inner.arms.start[main])))
        return ways

    def _axis(self, run: _Run, inner: _Inner, main: int, rest: Array) -> Array:
        """Return the line from a little above the place to the arm that carries the vessel on.

        What of it lies above is taken off the run.
        """
        own = run.parts.pop()
        back = min(len(own) - 1, round(_AXIS_RADII * float(own[-1, 2])))
        run.parts.append(own[: len(own) - back])
        line = inner.across(own[-1], main, rest)
        return np.concatenate([own[len(own) - 1 - back :], line[1:]])

    def _leave(self, run: _Run, inner: _Inner, start: Array, group: list[int], node: int, doubtful: Mask) -> list[_Way]:
        if len(group) == 1:
            arm = inner.junction.arms[group[0]]
            run.parts.append(_straight(start, inner.first_row(group[0])))
            return [_Way(run, arm.edge, int(inner.arms.start[group[0]]))]
        path = inner.side_path(node, group)
        run.parts.append(np.concatenate([start[None], path]))
        return self._divide(run, inner.beyond(node, group), group, path[-1:], doubtful)

    def _finish(self, run: _Run, node: int | None) -> int:
        """Add a run as a branch that ends at a node, by default a new one where it stands; return the node."""
        rows = np.concatenate(run.parts)
        keep = np.ones(len(rows), dtype=np.bool_)
        keep[1:] = np.abs(np.diff(rows[:, :2], axis=0)).sum(axis=1) > 1e-6
        rows = rows[keep]
        if len(rows) < 2:
            return run.begin if node is None else node
        end = self._node(rows[-1]) if node is None else node
        rows[0, :2], rows[-1, :2] = self.nodes[run.begin], self.nodes[end]
        self.branches.append(
            Branch(
                id=len(self.branches),
                start=run.begin,
                end=end,
                centreline=rows[:, :2],
                radius_px=rows[:, 2],
                arrival_s=rows[:, 3],
                overlap_ambiguous=run.doubtful,
                contrast=rows[:, 4],
            )
        )
        return end

    def _tell_crossing(self, choice: Choice, number: int) -> None:
        place = self.places[number]
        fed_by = place.fed_by[choice.reading[number]]
        if len({int(by) for by in fed_by if by >= 0}) > 1:
            self.crossings.append(np.mean([self.network.nodes[n] for n in place.junction.nodes], axis=0))
            self.probabilities.append(1.0 - choice.doubt.get(number, 0.0))


class _Inner:
    """The inside of a junction as one incoming arm sees it."""

    def __init__(self, whole: Assembly, number: int, bit: int, node: int | None = None, came: int = -1) -> None:
        self.whole, self.number, self.bit = whole, number, bit
        self.junction: Junction = whole.places[number].junction
        self.arms = whole.arms[number]
        self.node = self.junction.home[bit] if node is None else node
        self.came = came
        self.edges = [whole.network.edges[k] for k in self.junction.inner]

    def worth(self, arm: int) -> float:
        """Return how well an arm carries on the incoming one: wide, and straight ahead."""
        straight = -float(self.arms.heading[self.bit] @ self.arms.heading[arm])
        return float(self.arms.contrast[arm]) * (1.0 + 0.5 * straight)

    def first_row(self, arm: int) -> Array:
        """Return the row of an arm's edge at which it is free of others."""
        told = self.junction.arms[arm]
        rows = self.whole.rows[told.edge]
        at = min(int(self.arms.start[arm]), len(rows) - 1)
        return np.asarray(rows[at] if told.end == 0 else rows[len(rows) - 1 - at])

    def path(self, node: int, target: int) -> list[int]:
        """Return the inner edges from a node to another."""
        before: dict[int, tuple[int, int]] = {node: (-1, -1)}
        stack = [node]
        while stack:
            here = stack.pop()
            for k, edge in enumerate(self.edges):
                if here in (edge.a, edge.b):
                    other = edge.b if here == edge.a else edge.a
                    if other not in before:
                        before[other] = (here, k)
                        stack.append(other)
        way: list[int] = []
        while target != node:
            target, k = before[target]
            way.insert(0, k)
        return way

    def _rows(self, way: list[int], node: int) -> Array:
        parts = [np.empty((0, 5))]
        for k in way:
            rows = self.whole.rows[self.junction.inner[k]]
            forward = self.edges[k].a == node
            parts.append(rows if forward else rows[::-1])
            node = self.edges[k].b if forward else self.edges[k].a
        return np.concatenate(parts)

    def across(self, start: Array, arm: int, rest: Array) -> Array:
        """Return the line from the incoming arm to another: a curve, or the skeleton where it is a long way."""
        end = self.first_row(arm)
        distance = float(np.hypot(*(end[:2] - start[:2])))
        if distance < max(12 * self.whole.scale, 8 * float(start[2] + end[2])) or len(rest) < 2:
            return _curve(start, -self.arms.heading[self.bit], end, self.arms.heading[arm])
        told = self.junction.arms[arm]
        rows = self.whole.rows[told.edge] if told.end == 0 else self.whole.rows[told.edge][::-1]
        inner = self._rows(self.path(self.node, self.junction.home[arm]), self.node)
        line = np.concatenate([rest, inner, rows[: int(self.arms.start[arm]) + 1]])
        return _between(line, start, end)

    def groups(self, main: int, fed: list[int]) -> list[tuple[list[int], int]]:
        """Return the other arms that are fed, those that leave the way to the main one together in one group.

        With each group the node of the axis at which it leaves.
        """
        axis = self.path(self.node, self.junction.home[main])
        on_axis = [self.node]
        for k in axis:
            on_axis.append(self.edges[k].b if self.edges[k].a == on_axis[-1] else self.edges[k].a)
        found: dict[tuple[int, int], list[int]] = {}
        for arm in fed:
            if arm == main:
                continue
            way = self.path(self.node, self.junction.home[arm])
            shared = 0
            while shared < len(way) and shared < len(axis) and way[shared] == axis[shared]:
                shared += 1
            first = way[shared] if shared < len(way) else -1 - arm
            found.setdefault((on_axis[shared], first), []).append(arm)
        return [(arms, node) for (node, _), arms in found.items()]

    def leaves_at(self, axis: Array, arm: int) -> int:
        """Return the index on the axis where an arm's line, drawn back, meets it or comes nearest."""
        place, heading = self.first_row(arm)[:2], self.arms.heading[arm]
        offset = place - axis[:, :2]
        along = offset @ heading
        aside = np.abs(offset[:, 0] * heading[1] - offset[:, 1] * heading[0])
        aside[along < 0] += 1e3
        return int(np.argmin(aside + 0.05 * along))

    def side_path(self, node: int, group: list[int]) -> Array:
        """Return the rows from a node of the axis to where the arms of a group part."""
        ways = [self.path(node, self.junction.home[arm]) for arm in group]
        shared = 0
        while all(len(way) > shared for way in ways) and len({way[shared] for way in ways}) == 1:
            shared += 1
        return self._rows(ways[0][:shared], node)

    def beyond(self, node: int, group: list[int]) -> _Inner:
        """Return the inside as seen from where the arms of a group part."""
        ways = [self.path(node, self.junction.home[arm]) for arm in group]
        here, shared = node, 0
        while all(len(way) > shared for way in ways) and len({way[shared] for way in ways}) == 1:
            edge = self.edges[ways[0][shared]]
            here = edge.b if edge.a == here else edge.a
            shared += 1
        return _Inner(self.whole, self.number, self.bit, here)


def _within(size: int, skip: int, leave: int) -> tuple[int, int]:
    """Return first and last point of an edge that keep at least one of it."""
    first, last = min(skip, size - 1), max(size - leave, 1)
    if first >= last:
        middle = min(size - 1, max(0, round((size - 1) * skip / max(skip + leave, 1))))
        first, last = middle, middle + 1
    return first, last


def _nearest(axis: Array, place: Array) -> int:
    return int(np.argmin(np.hypot(axis[:, 0] - place[0], axis[:, 1] - place[1])))


def _straight(start: Array, end: Array) -> Array:
    count = max(2, int(np.ceil(np.hypot(*(end[:2] - start[:2])))) + 1)
    share = np.linspace(0.0, 1.0, count)[:, None]
    rows = start + share * (end - start)
    rows[:, 2], rows[:, 4] = end[2], end[4]
    rows[:, 3] = np.where(np.isfinite(rows[:, 3]), rows[:, 3], end[3])
    return np.asarray(rows)


def _curve(start: Array, out: Array, end: Array, into: Array) -> Array:
    """Return a cubic curve from one row to another with given unit directions; what is measured runs straight."""
    distance = float(np.hypot(*(end[:2] - start[:2])))
    count = max(2, int(np.ceil(distance)) + 1)
    t = np.linspace(0.0, 1.0, count)[:, None]
    rows = start + t * (end - start)
    h00, h10 = 2 * t**3 - 3 * t**2 + 1, t**3 - 2 * t**2 + t
    h01, h11 = -2 * t**3 + 3 * t**2, t**3 - t**2
    rows[:, :2] = h00 * start[:2] + h10 * distance * out + h01 * end[:2] + h11 * distance * into
    return np.asarray(rows)


def _between(line: Array, start: Array, end: Array) -> Array:
    """Return the line with what is measured running straight from the one row to the other."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line[:, :2], axis=0).T))])
    share = (along / max(float(along[-1]), 1e-9))[:, None]
    rows = start + share * (end - start)
    rows[:, :2] = line[:, :2]
    return np.asarray(rows)
