"""Places where vessels meet in the picture: which nodes of the network are one place, and what leaves it.

A junction is one node of the network, or several that are joined by short edges: two vessels that
cross at a small angle share a stretch of skeleton between two nodes, the longer the smaller the
angle, and where they do more attenuates than in either alone. Its arms are the edges that leave it.
What is measured of an arm (direction, calibre, contrast, arrival) is measured beyond the place where
it overlaps others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from angio_pipeline.numerics.compiled import compiled
from angio_pipeline.numerics.polylines import Polylines
from angio_pipeline.vessels.network import Edge, Network

__all__ = ["MOST_ARMS", "Arm", "Arms", "Junction", "find_junctions", "measure_arms"]

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MOST_ARMS = 6
"""Nodes are taken together as long as no more arms than this come of it."""

# Set by hand on development scenes: the longest edge that is taken for a shared stretch, in pixels of a
# 512-pixel frame and in radii of the places at its ends; how many times as long one may be in which more
# attenuates (log of the ratio from which that is sure) than in any edge around.
_SHARED_PX, _SHARED_RADII = 1.5, 1.5
_TOGETHER_TIMES, _TOGETHER_LOG = 2.5, 0.15


@dataclass(frozen=True, slots=True)
class Arm:
    """One end of an edge: end 0 is at its node a, end 1 at its node b."""

    edge: int
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class Junction:
    """Nodes taken together, the edges between them (a tree), and the arms that leave.

    Attributes
    ----------
    home : tuple of int
        For each arm the node at which it leaves.
    beyond : ndarray, (len(inner), len(arms)) bool
        Which arms lie on the far side of each inner edge, seen from the first node.
    """

    nodes: tuple[int, ...]
    inner: tuple[int, ...]
    arms: tuple[Arm, ...]
    home: tuple[int, ...]
    beyond: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Arms:
    """What is measured of each arm of a junction, beyond the place where it overlaps others.

    Attributes
    ----------
    start : ndarray, (K,) int64
        Points of the edge, counted from the junction, that are left out.
    place, heading : ndarray, (K, 2) float64
        Where the arm is free, and its unit direction away from the junction there.
    radius_px, contrast : ndarray, (K,) float64
    arrival_s, slowness, way_px, arrival_sd_s : ndarray, (K,) float64
        When contrast passes the arm, by how much later for each pixel away from the junction, how far from `place`
        that is measured, and how sure it is; NaN where unknown.
    middle : ndarray, (M,) float64
        Contrast in the middle: of each inner edge, or at the one node.
    """

    start: IntArray
    place: Array
    heading: Array
    radius_px: Array
    contrast: Array
    arrival_s: Array
    slowness: Array
    way_px: Array
    arrival_sd_s: Array
    middle: Array


def find_junctions(network: Network, scale: float, *, alone: frozenset[int]) -> list[Junction]:
    """Return the junctions of a network; every node with an edge belongs to one.

    Parameters
    ----------
    scale : float
        Frame size over 512.
    alone : frozenset of int
        Nodes that are not taken together with others.
    """
    at = network.incident()
    shared = _shared_edges(network, at, scale, alone)
    group = {node: node for node in at}
    members = {node: [node] for node in at}
    for _, number in sorted(shared):
        edge = network.edges[number]
        one, other = group[edge.a], group[edge.b]
        if one == other or _count_arms(network, at, members[one] + members[other]) > MOST_ARMS:
            continue
        for node in members.pop(other):
            group[node] = one
            members[one].append(node)
    short = {number for _, number in shared}
    return [_junction(network, at, nodes, short) for nodes in members.values()]


def _count_arms(network: Network, at: dict[int, list[int]], nodes: list[int]) -> int:
    inside = set(nodes)
    edges = [network.edges[k] for node in nodes for k in at[node]]
    return sum(not (edge.a in inside and edge.b in inside) for edge in edges)


def _shared_edges(
    network: Network, at: dict[int, list[int]], scale: float, alone: frozenset[int]
) -> list[tuple[float, int]]:
    """Return the edges that two crossing vessels may share, with their length over the longest that is believed."""
    wide = _place_radii(network)
    first = np.concatenate([[0], np.cumsum([len(e.path) for e in network.edges])]).astype(np.int64)
    contrast = np.maximum(_medians(first, np.concatenate([e.contrast for e in network.edges])), 1e-6)
    found = []
    for number, edge in enumerate(network.edges):
        if edge.a == edge.b or edge.bridged or {edge.a, edge.b} & alone:
            continue
        if len(at[edge.a]) < 3 or len(at[edge.b]) < 3:
            continue
        limit = _SHARED_PX * scale + _SHARED_RADII * (wide[edge.a] + wide[edge.b])
        around = max(contrast[k] for node in (edge.a, edge.b) for k in at[node] if k != number)
        together = float(np.log(contrast[number] / around)) / _TOGETHER_LOG
        limit *= 1.0 + (_TOGETHER_TIMES - 1.0) * min(max(together, 0.0), 1.0)
        # Points lie a pixel apart at most.
        if len(edge.path) <= 2 * limit + 2 and (length := edge.length_px) <= limit:
            found.append((length / limit, number))
    return found


@compiled
def _medians(first: IntArray, values: Array) -> Array:
    out = np.empty(len(first) - 1)
    for line in range(len(first) - 1):
        out[line] = np.median(values[first[line] : first[line + 1]])
    return out


def _place_radii(network: Network) -> Array:
    """Return (N,) how wide the place about each node is: the greatest radius of the edges that meet there, px."""
    radius = np.zeros(len(network.nodes))
    for edge in network.edges:
        radius[edge.a] = max(radius[edge.a], edge.radius_px[0])
        radius[edge.b] = max(radius[edge.b], edge.radius_px[-1])
    return radius


def _junction(network: Network, at: dict[int, list[int]], nodes: list[int], short: set[int]) -> Junction:
    inside = set(nodes)
    inner: list[int] = []
    entered: dict[int, list[int]] = {nodes[0]: []}
    stack = [nodes[0]]
    while stack:
        node = stack.pop()
        for number in at[node]:
            other = _other(network.edges[number], node)
            if number in short and other in inside and other not in entered:
                entered[other] = [*entered[node], len(inner)]
                inner.append(number)
                stack.append(other)
    arms, home = [], []
    for node in nodes:
        for number in dict.fromkeys(at[node]):
            edge = network.edges[number]
            if number in short and edge.a in inside and edge.b in inside:
                continue
            for end, place in ((0, edge.a), (1, edge.b)):
                if place == node:
                    arms.append(Arm(number, end))
                    home.append(node)
    beyond = np.zeros((len(inner), len(arms)), dtype=np.bool_)
    for k, node in enumerate(home):
        beyond[entered[node], k] = True
    return Junction(tuple(nodes), tuple(inner), tuple(arms), tuple(home), beyond)


def _other(edge: Edge, node: int) -> int:
    return edge.b if edge.a == node else edge.a


def measure_arms(network: Network, junctions: list[Junction], scale: float) -> list[Arms]:
    """Return what is measured of the arms of each junction."""
    lines = Polylines.of([e.path for e in network.edges])
    radius, contrast, arrival = (
        np.concatenate([getattr(e, name) for e in network.edges]) for name in ("radius_px", "contrast", "arrival_s")
    )
    spread = np.array([e.arrival_sd_s for e in network.edges])
    edge = np.array([arm.edge for junction in junctions for arm in junction.arms], dtype=np.int64)
    end = np.array([arm.end for junction in junctions for arm in junction.arms], dtype=np.int64)
    bounds = np.concatenate([[0], np.cumsum([len(junction.arms) for junction in junctions])]).astype(np.int64)
    start, told = _measure(lines.points, lines.first, radius, contrast, arrival, edge, end, bounds, scale)
    out = []
    for junction, low, high in zip(junctions, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        own = told[low:high]
        measured = Arms(
            start=start[low:high],
            place=own[:, :2],
            heading=own[:, 2:4],
            radius_px=own[:, 4],
            contrast=own[:, 5],
            arrival_s=own[:, 6],
            slowness=own[:, 7],
            way_px=own[:, 8],
            arrival_sd_s=spread[edge[low:high]],
            middle=_middles(network, junction),
        )
        out.append(measured)
    return out


def _middles(network: Network, junction: Junction) -> Array:
    """Return the contrast in the middle of each inner edge, or at the one node."""
    if junction.inner:
        return np.array([float(np.median(network.edges[k].contrast)) for k in junction.inner])
    ends = [float(network.edges[arm.edge].contrast[0 if arm.end == 0 else -1]) for arm in junction.arms]
    return np.array([sum(ends) / len(ends)])


@compiled
def _measure(
    points: Array, first: IntArray, radius: Array, contrast: Array, arrival: Array, edge: IntArray, end: IntArray,
    bounds: IntArray, scale: float,
) -> tuple[IntArray, Array]:  # fmt: skip
    # Of the arms of all junctions, one junction after the other: `start`, and what `_tell` tells.
    start, told = np.empty(len(edge), dtype=np.int64), np.empty((len(edge), 9))
    for k in range(len(bounds) - 1):
        low, high = bounds[k], bounds[k + 1]
        own, at = edge[low:high], end[low:high]
        width = _widths(first, radius, own, at, scale)
        start[low:high] = _starts(points, first, width, own, at, scale)
        told[low:high] = _tell(points, first, radius, contrast, arrival, width, start[low:high], own, at, scale)
    return start, told


@compiled
def _along(first: IntArray, edge: int, end: int) -> tuple[int, int, int]:
    # Where an arm's points begin, in which direction they follow, and how many there are.
    low, high = first[edge], first[edge + 1]
    return (low, 1, high - low) if end == 0 else (high - 1, -1, high - low)


@compiled
def _widths(first: IntArray, radius: Array, edge: IntArray, end: IntArray, scale: float) -> Array:
    out = np.empty(len(edge))
    for k in range(len(edge)):
        origin, step, size = _along(first, edge[k], end[k])
        used = min(size, int(20 * scale) + 2)
        total = 0.0
        for n in range(used):
            total += radius[origin + step * n]
        out[k] = total / used
    return out


@compiled
def _span(width: float, scale: float) -> int:
    # How many points of an arm tell its direction.
    return max(int(5 * scale), int(3 * width), 3)


@compiled
def _starts(points: Array, first: IntArray, width: Array, edge: IntArray, end: IntArray, scale: float) -> IntArray:
    # The first point of each arm that lies clear of all other arms.
    out = np.zeros(len(edge), dtype=np.int64)
    for k in range(len(edge)):
        origin, step, size = _along(first, edge[k], end[k])
        last = max(0, size - 1 - _span(width[k], scale))
        at, clear = 0, False
        while at < last and not clear:
            here = origin + step * at
            clear = True
            for j in range(len(edge)):
                if j == k or not clear:
                    continue
                other, stride, count = _along(first, edge[j], end[j])
                apart = 0.9 * (width[k] + width[j])
                for n in range(min(count, int(60 * scale))):
                    there = other + stride * n
                    away = np.hypot(points[here, 0] - points[there, 0], points[here, 1] - points[there, 1])
                    if away < apart:
                        clear = False
                        break
            if not clear:
                at += 1
        out[k] = at
    return out


@compiled
def _tell(
    points: Array, first: IntArray, radius: Array, contrast: Array, arrival: Array, width: Array, start: IntArray,
    edge: IntArray, end: IntArray, scale: float,
) -> Array:  # fmt: skip
    # Of each arm: place, heading, radius, contrast, arrival, slowness, way.
    told = np.full((len(edge), 9), np.nan)
    for k in range(len(edge)):
        origin, step, size = _along(first, edge[k], end[k])
        at, span = start[k], _span(width[k], scale)
        stop = min(size - 1, at + span)
        half = max(1, (stop - at + 1) // 2)
        for c in range(2):
            near = far = 0.0
            for n in range(half):
                near += points[origin + step * (at + n), c]
                far += points[origin + step * (stop - n), c]
            told[k, c] = points[origin + step * at, c]
            told[k, 2 + c] = (far - near) / half
        norm = max(np.hypot(told[k, 2], told[k, 3]), 1e-9)
        told[k, 2] /= norm
        told[k, 3] /= norm
        total_r = total_c = 0.0
        used = min(size, at + 2 * span + 1) - at
        for n in range(at, at + used):
            total_r += radius[origin + step * n]
            total_c += contrast[origin + step * n]
        told[k, 4], told[k, 5] = total_r / used, total_c / used
        _tell_arrival(told[k], arrival, origin + step * at, step, min(size - at, int(30 * scale) + 1), scale)
    return told


@compiled
def _tell_arrival(row: Array, arrival: Array, origin: int, step: int, count: int, scale: float) -> None:
    # Arrival as a straight line along the arm. A short line tells little of its slope: as if more points lay flat.
    flat = (4.0 * scale) ** 3
    known, sx, st, sxx, sxt = 0, 0.0, 0.0, 0.0, 0.0
    for n in range(count):
        t = arrival[origin + step * n]
        if t == t:
            known, sx, st, sxx, sxt = known + 1, sx + n, st + t, sxx + n * n, sxt + n * t
    if known > 0:
        row[6], row[8] = st / known, sx / known
        row[7] = (sxt - sx * st / known) / (sxx - sx * sx / known + flat)
