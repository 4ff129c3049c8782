"""Places where vessels meet in the picture, and how likely each reading of such a place is.

A junction is one node of the network, or several that are joined by short edges: two vessels that
cross at a small angle share a stretch of skeleton between two nodes. Its arms are the edges that
leave it. A reading says of each arm whether flow comes in by it or goes out, and from which incoming
arm each outgoing one is fed: an incoming arm that feeds one other passes through (over or under
whatever else is there), one that feeds two or more divides, one that feeds none ends here.

Every reading of a junction is measured by the same named quantities, and their weighted sum is its
log-likelihood: turn, lateral offset, calibre, contrast and arrival from arm to arm, all measured
beyond the place where the vessels overlap; Murray's law where an arm divides
(doi:10.1073/pnas.12.3.207); and whether the attenuation in the middle is what the vessels that run
there make together. The weights are fitted (`benchmarks/graph_weights.py`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, product

import numpy as np
import numpy.typing as npt

from angio_pipeline.numerics.compiled import compiled
from angio_pipeline.numerics.polylines import Polylines
from angio_pipeline.vessels.network import Network

__all__ = ["FEATURES", "Arm", "Arms", "Junction", "Readings", "find_junctions", "measure_arms", "place_radii", "readings_of"]

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

LIM=[1.5,1.5,2.5]
_SURELY_MORE = 0.15

MOST_ARMS = 6
"""Nodes are taken together as long as no more arms than this come of it."""

FEATURES = (
    "pass",
    "pass_turn",
    "pass_angle",
    "pass_offset",
    "pass_contrast",
    "pass_calibre",
    "pass_untimely",
    "pass_early",
    "pass_late",
    "fork",
    "fork_turn_main",
    "fork_turn_side",
    "fork_opening",
    "fork_contrast",
    "fork_widening",
    "fork_calibre",
    "fork_untimely",
    "fork_early",
    "fork_late",
    "fork_more",
    "end",
    "end_contrast",
    "sum_under",
    "sum_over",
    "empty",
    "single",
)

# Weights of `FEATURES` in the log-likelihood of a reading.
_WEIGHTS: Mapping[str, float] = {
    "pass": 1.47,
    "pass_turn": -0.52,
    "pass_angle": -2.03,
    "pass_offset": -1.18,
    "pass_contrast": -0.56,
    "pass_calibre": -0.49,
    "pass_untimely": 0.37,
    "pass_early": -1.73,
    "pass_late": -0.35,
    "fork": -0.06,
    "fork_turn_main": -3.13,
    "fork_turn_side": -2.84,
    "fork_opening": 0.85,
    "fork_contrast": -0.74,
    "fork_widening": -1.65,
    "fork_calibre": -1.85,
    "fork_untimely": 3.31,
    "fork_early": -4.28,
    "fork_late": -0.67,
    "fork_more": -0.34,
    "end": -2.42,
    "end_contrast": -0.36,
    "sum_under": 0.03,
    "sum_over": -0.91,
    "empty": -0.32,
    "single": 0.35,
}


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
    arrival_s, slowness, arrival_sd_s, way_px : ndarray, (K,) float64
        When contrast passes the arm, by how much later for each pixel away from the junction, how sure that is, and
        how far from `place`; NaN where unknown.
    middle : ndarray, (M,) float64
        Greatest contrast in the middle: on each inner edge, or about the one node.
    """

    start: IntArray
    place: Array
    heading: Array
    radius_px: Array
    contrast: Array
    arrival_s: Array
    slowness: Array
    arrival_sd_s: Array
    way_px: Array
    middle: Array


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """All readings of a junction of K arms.

    Attributes
    ----------
    fed_by : ndarray, (C, K) int64
        For each arm the arm that feeds it; -1 where flow comes in.
    pattern : ndarray, (C,) int64
        Bit k is set where flow comes in by arm k.
    features : ndarray, (C, F) float64
    """

    fed_by: IntArray
    pattern: IntArray
    features: Array

    def cost(self) -> Array:
        """Return (C,) the negative log-likelihood of each reading, up to a constant of the junction."""
        weights = np.array([_WEIGHTS[name] for name in FEATURES])
        return np.asarray(-self.features @ weights)


def place_radii(network: Network) -> Array:
    """Return (N,) how wide the place about each node is: the greatest radius of the edges that meet there, px."""
    radius = np.zeros(len(network.nodes))
    for edge in network.edges:
        radius[edge.a] = max(radius[edge.a], edge.radius_px[0])
        radius[edge.b] = max(radius[edge.b], edge.radius_px[-1])
    return radius


# --- which nodes belong together -----------------------------------------------------------------


def find_junctions(network: Network, radius_at: Array, scale: float, *, alone: frozenset[int]) -> list[Junction]:
    """Return the junctions of a network; every node with an edge belongs to one.

    Parameters
    ----------
    radius_at : ndarray, (N,) float64
        How wide the place is about each node, px.
    alone : frozenset of int
        Nodes that are not taken together with others.
    """
    at = network.incident()
    group = {node: node for node in at}
    members = {node: [node] for node in at}

    def arms_of(nodes: list[int]) -> int:
        inside = set(nodes)
        return sum(1 for n in nodes for k in at[n] if not (network.edges[k].a in inside and network.edges[k].b in inside))

    for _, number in sorted(_short_edges(network, at, radius_at, scale, alone)):
        edge = network.edges[number]
        one, other = group[edge.a], group[edge.b]
        if one == other or arms_of(members[one] + members[other]) > MOST_ARMS:
            continue
        for node in members.pop(other):
            group[node] = one
            members[one].append(node)
    short = {number for _, number in _short_edges(network, at, radius_at, scale, alone)}
    return [_junction(network, at, nodes, short) for nodes in members.values()]


def _short_edges(
    network: Network, at: Mapping[int, list[int]], radius_at: Array, scale: float, alone: frozenset[int]
) -> list[tuple[float, int]]:
    """Return the edges that two crossing vessels may share, with their length over the longest that is believed.

    Where more attenuates than in any edge around, two vessels run together, and the longer the smaller their angle.
    """
    found = []
    for number, edge in enumerate(network.edges):
        if edge.a == edge.b or edge.a in alone or edge.b in alone or edge.bridged:
            continue
        if len(at[edge.a]) < 3 or len(at[edge.b]) < 3:
            continue
        limit = LIM[0] * scale + LIM[1] * (radius_at[edge.a] + radius_at[edge.b])
        length = edge.length_px
        if length > LIM[2] * limit:
            continue
        around = max(_median_contrast(network, k) for node in (edge.a, edge.b) for k in at[node] if k != number)
        together = np.log(max(float(np.median(edge.contrast)), 1e-6) / max(around, 1e-6))
        limit *= 1.0 + (LIM[2] - 1.0) * min(max(together / _SURELY_MORE, 0.0), 1.0)
        if length <= limit:
            found.append((length / limit, number))
    return found


def _median_contrast(network: Network, number: int) -> float:
    return float(np.median(network.edges[number].contrast))


def _junction(network: Network, at: Mapping[int, list[int]], nodes: list[int], short: set[int]) -> Junction:
    inside = set(nodes)
    inner: list[int] = []
    reached = {nodes[0]}
    stack = [nodes[0]]
    entered: dict[int, list[int]] = {nodes[0]: []}
    arms, home = [], []
    used: set[int] = set()
    while stack:
        node = stack.pop()
        for number in at[node]:
            edge = network.edges[number]
            other = edge.b if edge.a == node else edge.a
            if number in short and other in inside:
                if other not in reached:
                    reached.add(other)
                    used.add(number)
                    entered[other] = [*entered[node], len(inner)]
                    inner.append(number)
                    stack.append(other)
                continue
    for node in nodes:
        for number in dict.fromkeys(at[node]):
            edge = network.edges[number]
            if number in used or (number in short and edge.a in inside and edge.b in inside):
                continue
            for end, place in ((0, edge.a), (1, edge.b)):
                if place == node:
                    arms.append(Arm(number, end))
                    home.append(node)
    beyond = np.zeros((len(inner), len(arms)), dtype=np.bool_)
    for k, node in enumerate(home):
        beyond[entered[node], k] = True
    return Junction(tuple(nodes), tuple(inner), tuple(arms), tuple(home), beyond)


# --- what is measured of arms --------------------------------------------------------------------


def measure_arms(network: Network, junctions: list[Junction], scale: float) -> list[Arms]:
    """Return what is measured of the arms of each junction."""
    lines = Polylines.of([e.path for e in network.edges])
    radius, contrast, arrival = (
        np.concatenate([getattr(e, name) for e in network.edges]) for name in ("radius_px", "contrast", "arrival_s")
    )
    out = []
    for junction in junctions:
        edge = np.array([arm.edge for arm in junction.arms], dtype=np.int64)
        end = np.array([arm.end for arm in junction.arms], dtype=np.int64)
        start, told = _measure(lines.points, lines.first, radius, contrast, arrival, edge, end, scale)
        spread = np.array([network.edges[k].arrival_sd_s for k in edge])
        middle = _middles(network, junction, start)
        out.append(
            Arms(start, told[:, :2], told[:, 2:4], *told[:, 4:8].T, arrival_sd_s=spread, way_px=told[:, 8], middle=middle)
        )
    return out


def _middles(network: Network, junction: Junction, start: IntArray) -> Array:
    """Return the greatest contrast on each inner edge, or where the arms of the one node overlap."""
    if junction.inner:
        return np.array([float(network.edges[k].contrast.max()) for k in junction.inner])
    seen = 0.0
    for arm, skip in zip(junction.arms, start.tolist(), strict=True):
        values = network.edges[arm.edge].contrast
        part = values[: skip + 1] if arm.end == 0 else values[len(values) - skip - 1 :]
        seen = max(seen, float(part.max()))
    return np.array([seen])


@compiled
def _measure(
    points: Array, first: IntArray, radius: Array, contrast: Array, arrival: Array, edge: IntArray, end: IntArray,
    scale: float,
) -> tuple[IntArray, Array]:  # fmt: skip
    # Of each arm: place, heading, radius, contrast, arrival.
    count = len(edge)
    start, told = np.zeros(count, dtype=np.int64), np.full((count, 9), np.nan)
    origin, step, size, width = (np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64),
                                 np.empty(count, dtype=np.int64), np.empty(count))  # fmt: skip
    for k in range(count):
        low, high = first[edge[k]], first[edge[k] + 1]
        size[k] = high - low
        origin[k], step[k] = (low, 1) if end[k] == 0 else (high - 1, -1)
        total, used = 0.0, min(size[k], int(20 * scale) + 2)
        for n in range(used):
            total += radius[origin[k] + step[k] * n]
        width[k] = total / used
    for k in range(count):
        span = max(int(5 * scale), int(3 * width[k]), 3)
        last = max(0, size[k] - 1 - span)
        at = 0
        while at < last:
            here = origin[k] + step[k] * at
            clear = True
            for j in range(count):
                if j == k:
                    continue
                apart = 0.9 * (width[k] + width[j])
                for n in range(min(size[j], int(60 * scale))):
                    there = origin[j] + step[j] * n
                    if np.hypot(points[here, 0] - points[there, 0], points[here, 1] - points[there, 1]) < apart:
                        clear = False
                        break
                if not clear:
                    break
            if clear:
                break
            at += 1
        stop = min(size[k] - 1, at + span)
        start[k] = at
        half = max(1, (stop - at + 1) // 2)
        for c in range(2):
            near = far = 0.0
            for n in range(half):
                near += points[origin[k] + step[k] * (at + n), c]
                far += points[origin[k] + step[k] * (stop - n), c]
            told[k, c] = points[origin[k] + step[k] * at, c]
            told[k, 2 + c] = (far - near) / half
        norm = max(np.hypot(told[k, 2], told[k, 3]), 1e-9)
        told[k, 2] /= norm
        told[k, 3] /= norm
        r = c_sum = 0.0
        used = 0
        for n in range(at, min(size[k], at + 2 * span + 1)):
            r += radius[origin[k] + step[k] * n]
            c_sum += contrast[origin[k] + step[k] * n]
            used += 1
        told[k, 4], told[k, 5] = r / used, c_sum / used
        # Arrival as a straight line along the arm.
        sw = sx = st = sxx = sxt = 0.0
        for n in range(at, min(size[k], at + int(30 * scale) + 1)):
            t = arrival[origin[k] + step[k] * n]
            if t == t:
                x = float(n - at)
                sw, sx, st, sxx, sxt = sw + 1.0, sx + x, st + t, sxx + x * x, sxt + x * t
        if sw > 0.0:
            told[k, 6], told[k, 8] = st / sw, sx / sw
            # A short line tells little of the slope: as if `lean` more points lay flat.
            lean = (4.0 * scale) ** 3
            told[k, 7] = (sxt - sx * st / sw) / (sxx - sx * sx / sw + lean)
    return start, told


# --- readings ------------------------------------------------------------------------------------


@lru_cache(maxsize=16)
def _all_readings(arms: int) -> tuple[IntArray, IntArray]:
    # Who feeds whom, and by which arms flow comes in. With many arms, readings with many vessels are left out.
    fed_by, pattern = [], []
    most = arms if arms <= MOST_ARMS else 2 if arms <= 9 else 1
    for count in range(1, most + 1):
        for inward in combinations(range(arms), count):
            outward = [k for k in range(arms) if k not in inward]
            for parents in product(inward, repeat=len(outward)):
                row = np.full(arms, -1, dtype=np.int64)
                row[outward] = parents
                fed_by.append(row)
                pattern.append(sum(1 << k for k in inward))
    return np.array(fed_by, dtype=np.int64).reshape(-1, arms), np.array(pattern, dtype=np.int64)


def readings_of(junction: Junction, arms: Arms, scale: float) -> Readings:
    """Return all readings of a junction with what speaks for and against each."""
    fed_by, pattern = _all_readings(len(junction.arms))
    late = _lateness(arms.place, arms.arrival_s, arms.slowness, arms.arrival_sd_s, arms.way_px)
    features = _features(
        fed_by,
        arms.place,
        arms.heading,
        np.maximum(arms.radius_px, 0.3),
        np.maximum(arms.contrast, 1e-4),
        late,
        np.maximum(arms.middle, 1e-4),
        junction.beyond,
        scale,
        len(FEATURES),
    )
    return Readings(fed_by, pattern, features)


_SUREST_S = 0.02
_UNSURE_S = 0.15


@compiled
def _lateness(place: Array, arrival: Array, slowness: Array, spread: Array, way: Array) -> Array:
    # Of each step from arm to arm: by how many standard deviations contrast comes later than it should, as
    # fast as it moves on either side; 0 when unknown.
    arms = len(place)
    out = np.zeros((arms, arms))
    for i in range(arms):
        for o in range(arms):
            gap = arrival[o] - arrival[i]
            if i == o or gap != gap:
                continue
            between = np.hypot(place[o, 0] - place[i, 0], place[o, 1] - place[i, 1])
            before, after = max(-slowness[i], 0.0), max(slowness[o], 0.0)
            expected = before * (way[i] + 0.5 * between) + after * (way[o] + 0.5 * between)
            one = spread[i] if spread[i] == spread[i] else _UNSURE_S
            two = spread[o] if spread[o] == spread[o] else _UNSURE_S
            out[i, o] = (gap - expected) / np.sqrt(one * one + two * two + _SUREST_S**2)
    return out


@compiled
def _log_ratio(a: float, b: float) -> float:
    return float(min(max(np.log(a / b), -1.5), 1.5))


@compiled
def _features(
    fed_by: IntArray, place: Array, heading: Array, radius: Array, contrast: Array, late: Array, middle: Array,
    beyond: npt.NDArray[np.bool_], scale: float, width: int,
) -> Array:  # fmt: skip
    count, arms = fed_by.shape
    out = np.zeros((count, width))
    turn = np.empty((arms, arms))
    for i in range(arms):
        for o in range(arms):
            turn[i, o] = 1.0 + heading[i, 0] * heading[o, 0] + heading[i, 1] * heading[o, 1]
    widest = contrast.max()
    children = np.empty(arms, dtype=np.int64)
    for c in range(count):
        inward = 0
        for i in range(arms):
            if fed_by[c, i] >= 0:
                continue
            inward += 1
            used = 0
            for o in range(arms):
                if fed_by[c, o] == i:
                    children[used] = o
                    used += 1
            if used == 0:
                out[c, 20] += 1.0
                out[c, 21] += _log_ratio(contrast[i], widest)
            elif used == 1:
                _add_pass(out[c], i, children[0], turn, place, heading, radius, contrast, late, scale)
            else:
                _add_fork(out[c], i, children[:used], turn, heading, radius, contrast, late)
        _add_sum(out[c], fed_by[c], contrast, middle, beyond)
        if inward == 1:
            out[c, 25] = 1.0
    return out


@compiled
def _add_pass(
    row: Array, i: int, o: int, turn: Array, place: Array, heading: Array, radius: Array, contrast: Array,
    late: Array, scale: float,
) -> None:  # fmt: skip
    row[0] += 1.0
    row[1] += turn[i, o]
    row[2] += np.arccos(min(1.0, max(-1.0, 1.0 - turn[i, o])))
    # How far the two lie beside each other, seen along their mean direction: nothing on a straight line or an arc.
    br, bc = heading[o, 0] - heading[i, 0], heading[o, 1] - heading[i, 1]
    norm = np.hypot(br, bc)
    vr, vc = place[o, 0] - place[i, 0], place[o, 1] - place[i, 1]
    side = abs(vr * bc - vc * br) / norm if norm > 0.2 else np.hypot(vr, vc)
    row[3] += min(side / (radius[i] + radius[o] + scale), 3.0)
    row[4] += abs(_log_ratio(contrast[o], contrast[i]))
    row[5] += abs(_log_ratio(radius[o], radius[i]))
    row[6] += min(abs(late[i, o]), 1.0)
    row[7] += min(max(-late[i, o], 0.0), 5.0)
    row[8] += min(max(late[i, o], 0.0), 5.0)


@compiled
def _add_fork(
    row: Array, i: int, children: IntArray, turn: Array, heading: Array, radius: Array, contrast: Array, late: Array
) -> None:
    row[9] += 1.0
    main, most = children[0], -1.0
    for o in children:
        # The child that carries the vessel on: wide and straight.
        worth = contrast[o] * (1.5 - 0.5 * turn[i, o])
        if worth > most:
            main, most = o, worth
    row[10] += turn[i, main]
    side = opening = cubes = radii = 0.0
    widest = 0.0
    for o in children:
        cubes += contrast[o] ** 3
        radii += radius[o] ** 3
        widest = max(widest, contrast[o])
        row[16] += min(abs(late[i, o]), 1.0) / len(children)
        row[17] += min(max(-late[i, o], 0.0), 5.0) / len(children)
        row[18] += min(max(late[i, o], 0.0), 5.0) / len(children)
        if o != main:
            side += turn[i, o]
            opening += 1.0 - heading[o, 0] * heading[main, 0] - heading[o, 1] * heading[main, 1]
    others = len(children) - 1
    row[11] += side / others
    row[12] += opening / others
    row[13] += abs(_log_ratio(cubes ** (1.0 / 3.0), contrast[i]))
    row[14] += max(0.0, _log_ratio(widest, contrast[i]))
    row[15] += abs(_log_ratio(radii ** (1.0 / 3.0), radius[i]))
    row[19] += others - 1.0


@compiled
def _add_sum(row: Array, fed_by: IntArray, contrast: Array, middle: Array, beyond: npt.NDArray[np.bool_]) -> None:
    # What the vessels that run through a stretch attenuate together, against what is seen there.
    arms = len(fed_by)
    for s in range(len(middle)):
        expected = 0.0
        for i in range(arms):
            if fed_by[i] >= 0:
                continue
            across = here = 0
            cubes = 0.0
            for o in range(arms):
                if fed_by[o] == i:
                    if len(beyond) == 0 or beyond[s, o] != beyond[s, i]:
                        across += 1
                        cubes += contrast[o] ** 3
                    else:
                        here += 1
            if across > 0:
                expected += contrast[i] if here == 0 else cubes ** (1.0 / 3.0)
        if expected <= 0.0:
            row[24] += 1.0 / len(middle)
            continue
        gap = _log_ratio(middle[s], expected)
        row[22] += max(-gap, 0.0) / len(middle)
        row[23] += max(gap, 0.0) / len(middle)
