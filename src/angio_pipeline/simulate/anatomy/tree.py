"""A vascular tree that grows by adding terminals where they cost least blood volume.

Constrained constructive optimisation (Schreiner and Buxbaum, doi:10.1109/10.243413): each new
terminal joins the segment, and at the bifurcation point, that add the least volume. Radii follow
from flow by Murray's law (doi:10.1073/pnas.12.3.207): r³ is proportional to Q, hence
r_parent³ = r_left³ + r_right³ at every bifurcation.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["Territory", "Tree"]

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

# Places tried for a bifurcation: along the segment, and pulled towards the new terminal.
_ALONG = np.repeat([0.2, 0.4, 0.6, 0.8], 3)
_PULL = np.tile([0.05, 0.2, 0.4], 4)
_NEAREST = 12


class Territory(IntEnum):
    """What a branch supplies."""

    TRUNK = 0
    RIGHT_LIVER = 1
    LEFT_LIVER = 2
    OTHER = 3
    FEEDER = 4
    TUMOUR = 5
    SPLEEN = 6
    BOWEL = 7
    SHUNT = 8
    BLEED = 9


@dataclass(frozen=True, slots=True, eq=False)
class _Rules:
    # What new branches may join and where they may run; a source of NaN is none.
    territory: Territory
    tumour: int
    group: int
    spheres: Array
    source: Array
    least_mm: float


class Tree:
    """Nodes and the edges into them; edge i runs from `parent[i]` to node i, node 0 is the root.

    Attributes
    ----------
    position : list of (3,) LPS mm
    parent : list of int, -1 at the root
    flow : list of float
        Through the edge, ml/s (terminals bring their own).
    territory, tumour : list of int
        What the edge supplies; index of the tumour or -1.
    group : list of int
        Edges that may be joined together when growing (each feeder's own vessels).
    name : list of str
        Of named arteries and veins ("celiac", "right hepatic", ...); "" for grown twigs.
    radius_at_1_ml_s : float
        Murray's constant k of r = k * Q^(1/3), mm.
    """

    def __init__(self, root: npt.ArrayLike, radius_at_1_ml_s: float = 1.255, name: str = "") -> None:
        self.radius_at_1_ml_s = radius_at_1_ml_s
        self.name: list[str] = [name]
        self.position: list[Array] = [np.asarray(root, float)]
        self.parent: list[int] = [-1]
        self.flow: list[float] = [0.0]
        self.territory: list[int] = [int(Territory.TRUNK)]
        self.tumour: list[int] = [-1]
        self.group: list[int] = [0]

    def __len__(self) -> int:
        return len(self.parent)

    def add(
        self,
        parent: int,
        position: npt.ArrayLike,
        territory: Territory,
        tumour: int = -1,
        group: int = 0,
        name: str = "",
    ) -> int:
        """Return the index of a new node joined to `parent`; it carries no flow until `supply`."""
        self.position.append(np.asarray(position, float))
        self.parent.append(parent)
        self.flow.append(0.0)
        self.territory.append(int(territory))
        self.tumour.append(tumour)
        self.group.append(group)
        self.name.append(name)
        return len(self) - 1

    def path(
        self,
        parent: int,
        positions: npt.ArrayLike,
        territory: Territory,
        tumour: int = -1,
        name: str = "",
        group: int = 0,
    ) -> int:
        """Return the last node of a chain of new nodes through `positions` (K, 3)."""
        for position in np.atleast_2d(np.asarray(positions, float)):
            parent = self.add(parent, position, territory, tumour, group, name)
        return parent

    def split(self, edge: int, position: npt.ArrayLike) -> int:
        """Return a new node that divides `edge`; it carries the edge's flow."""
        territory = Territory(self.territory[edge])
        node = self.add(self.parent[edge], position, territory, self.tumour[edge], self.group[edge], self.name[edge])
        self.flow[node] = self.flow[edge]
        self.parent[edge] = node
        return node

    def supply(self, terminal: int, flow: float) -> None:
        """Add `flow` (ml/s) along the way from the root to `terminal`."""
        node = terminal
        while node >= 0:
            self.flow[node] += flow
            node = self.parent[node]

    def way(self, node: int) -> list[int]:
        """Return the nodes from the root to `node`, both included."""
        found = [node]
        while self.parent[found[-1]] >= 0:
            found.append(self.parent[found[-1]])
        return found[::-1]

    def named(self, name: str) -> list[int]:
        """Return the nodes of the edges called `name`, in order from the root."""
        return sorted((n for n, own in enumerate(self.name) if own == name), key=lambda n: len(self.way(n)))

    def children(self) -> list[list[int]]:
        """Return the list of child nodes of every node."""
        found: list[list[int]] = [[] for _ in range(len(self))]
        for node, parent in enumerate(self.parent):
            if parent >= 0:
                found[parent].append(node)
        return found

    def radii_mm(self) -> Array:
        """Return (N,) radii in mm by Murray's law."""
        return np.asarray(self.radius_at_1_ml_s * np.cbrt(np.asarray(self.flow)))

    def grow(
        self,
        points: Array,
        flow: npt.ArrayLike,
        territory: Territory,
        *,
        tumour: int = -1,
        group: int = 0,
        obstacles: Array | None = None,
        source: Array | None = None,
        least_mm: float = 0.0,
    ) -> list[int]:
        """Return the terminals added at `points` (K, 3), each drawing `flow` (ml/s, one or (K,)).

        Only edges of the same territory, tumour and group are joined. A point that cannot be reached
        under the constraints below is tried once more at the end and then left out.

        Parameters
        ----------
        obstacles : ndarray, (M, 4), optional
            Spheres (x, y, z, radius in mm) that no new segment enters.
        source : ndarray, (3,), optional
            Where the vessels come from: branches that run towards it are dearer.
        least_mm : float
            New segments are no shorter.
        """
        points = np.asarray(points, float).reshape(-1, 3)
        draws = np.broadcast_to(np.asarray(flow, float), (len(points),))
        spheres = np.zeros((0, 4)) if obstacles is None else np.asarray(obstacles, float).reshape(-1, 4)
        origin = np.full(3, np.nan) if source is None else np.asarray(source, float)
        rules = _Rules(territory, tumour, group, spheres, origin, least_mm)
        joined, left = self._grow(points, draws, rules)
        again, _ = self._grow(points[left], draws[left], rules)
        return joined + again

    def _grow(self, points: Array, draws: Array, rules: _Rules) -> tuple[list[int], BoolArray]:
        before, room = len(self), len(self) + 2 * len(points)
        position, parent, flow = np.zeros((room, 3)), np.full(room, -1, np.int64), np.zeros(room)
        position[:before], parent[:before], flow[:before] = self.position, self.parent, self.flow
        usable = np.zeros(room, bool)
        usable[1:before] = (np.asarray(self.territory[1:]) == int(rules.territory)) & (
            (np.asarray(self.tumour[1:]) == rules.tumour) & (np.asarray(self.group[1:]) == rules.group)
        )
        split = np.full(room, -1, np.int64)
        limits = (rules.spheres, rules.source, rules.least_mm)
        ends = _join_all(position, parent, flow, usable, split, before, points, draws, *limits)
        count = before + 2 * int((ends >= 0).sum())
        self.position += list(position[before:count])
        self.parent, self.flow = parent[:count].tolist(), flow[:count].tolist()
        for node in range(before, count):
            # A node that divides an edge keeps the edge's name; a new terminal has none.
            self.name.append(self.name[split[node]] if split[node] >= 0 else "")
        more = count - before
        self.territory += [int(rules.territory)] * more
        self.tumour += [rules.tumour] * more
        self.group += [rules.group] * more
        return [int(e) for e in ends if e >= 0], np.asarray(ends < 0)

    def settle(self) -> None:
        """Set every flow to the sum of what the terminals below draw."""
        flow = np.asarray(self.flow)
        inner = np.zeros(len(self), bool)
        inner[np.asarray(self.parent[1:], int)] = True
        flow[inner] = 0.0
        for node in self.downward()[::-1]:
            if self.parent[node] >= 0:
                flow[self.parent[node]] += flow[node]
        self.flow = flow.tolist()

    def downward(self) -> list[int]:
        """Return all nodes, each after its parent."""
        children = self.children()
        found = [0]
        for node in found:
            found.extend(children[node])
        return found


def _blocked(a: Array, b: Array, spheres: Array) -> bool:
    # Whether the straight segment from a to b comes nearer to a sphere's centre than its radius.
    dx, dy, dz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    norm = max(dx * dx + dy * dy + dz * dz, 1e-12)
    for k in range(len(spheres)):
        ox, oy, oz = spheres[k, 0] - a[0], spheres[k, 1] - a[1], spheres[k, 2] - a[2]
        t = min(1.0, max(0.0, (ox * dx + oy * dy + oz * dz) / norm))
        away = (ox - t * dx) ** 2 + (oy - t * dy) ** 2 + (oz - t * dz) ** 2
        if away < spheres[k, 3] ** 2:
            return True
    return False


_blocked = numba.njit(cache=True)(_blocked)


def _nearest_edges(position: Array, parent: IntArray, usable: BoolArray, count: int, point: Array) -> IntArray:
    # The usable edges nearest to the point, nearest first; -1 where there are fewer.
    edges = np.full(_NEAREST, -1, np.int64)
    gaps = np.full(_NEAREST, np.inf)
    for e in range(count):
        if not usable[e]:
            continue
        a, b = position[parent[e]], position[e]
        dx, dy, dz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        ox, oy, oz = point[0] - a[0], point[1] - a[1], point[2] - a[2]
        t = (ox * dx + oy * dy + oz * dz) / max(dx * dx + dy * dy + dz * dz, 1e-9)
        t = min(1.0, max(0.0, t))
        gap = (ox - t * dx) ** 2 + (oy - t * dy) ** 2 + (oz - t * dz) ** 2
        k = _NEAREST - 1
        if gap >= gaps[k]:
            continue
        while k > 0 and gaps[k - 1] > gap:
            gaps[k], edges[k] = gaps[k - 1], edges[k - 1]
            k -= 1
        gaps[k], edges[k] = gap, e
    return edges


_nearest_edges = numba.njit(cache=True)(_nearest_edges)


def _length(a: Array, b: Array) -> float:
    return float(np.sqrt((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2))


_length = numba.njit(cache=True)(_length)


def _added_volume(start: Array, end: Array, fork: Array, point: Array, carried: float, draw: float) -> float:
    # Volume is length times r², and r² goes as Q^(2/3). Branches lean the way the blood
    # flows: to leave at a right angle is dearer, and to turn back dearer still.
    before = max(carried, 0.25 * draw) ** (2 / 3)
    new, whole = _length(fork, point), _length(start, end)
    cost = _length(start, fork) * (carried + draw) ** (2 / 3) + (_length(fork, end) - whole) * before
    cost = max(cost + new * draw ** (2 / 3), 1e-6)
    along = (point[0] - fork[0]) * (end[0] - start[0]) + (point[1] - fork[1]) * (end[1] - start[1])
    along += (point[2] - fork[2]) * (end[2] - start[2])
    sideways = max(0.0, 0.5 - along / max(new * whole, 1e-9))
    return float(cost * (1.0 + 2.0 * sideways * sideways))


_added_volume = numba.njit(cache=True)(_added_volume)


def _inward(fork: Array, point: Array, source: Array) -> float:
    # How much dearer a new segment is for running back to where the vessels come from.
    if np.isnan(source[0]):
        return 1.0
    out = float((point - fork) @ (point - source)) / max(_length(fork, point) * _length(source, point), 1e-9)
    return float(1.0 + 2.0 * max(0.0, 0.4 - out) ** 2)


_inward = numba.njit(cache=True)(_inward)


def _best_fork(
    position: Array,
    parent: IntArray,
    flow: Array,
    edges: IntArray,
    point: Array,
    draw: float,
    spheres: Array,
    source: Array,
    least: float,
    best_fork: Array,
) -> int:
    # The edge to join, -1 when every way is blocked; the bifurcation point goes to best_fork.
    best, cheapest = -1, np.inf
    fork = np.empty(3)
    for e in edges:
        if e < 0:
            break
        start, end = position[parent[e]], position[e]
        crossed = _blocked(start, end, spheres)
        for k in range(len(_ALONG)):
            for c in range(3):
                fork[c] = (1 - _PULL[k]) * (start[c] + _ALONG[k] * (end[c] - start[c])) + _PULL[k] * point[c]
            cost = _added_volume(start, end, fork, point, flow[e], draw) * _inward(fork, point, source)
            if cost >= cheapest or min(_length(fork, point), _length(start, fork), _length(fork, end)) < least:
                continue
            if _blocked(fork, point, spheres):
                continue
            if not crossed and (_blocked(start, fork, spheres) or _blocked(fork, end, spheres)):
                continue
            best, cheapest = e, cost
            best_fork[:] = fork
    return best


_best_fork = numba.njit(cache=True)(_best_fork)


def _join_all(
    position: Array,
    parent: IntArray,
    flow: Array,
    usable: BoolArray,
    split: IntArray,
    count: int,
    points: Array,
    draws: Array,
    spheres: Array,
    source: Array,
    least: float,
) -> IntArray:
    ends = np.full(len(points), -1, np.int64)
    fork = np.empty(3)
    for i in range(len(points)):
        edges = _nearest_edges(position, parent, usable, count, points[i])
        edge = _best_fork(position, parent, flow, edges, points[i], draws[i], spheres, source, least, fork)
        if edge < 0:
            continue
        position[count], position[count + 1] = fork, points[i]
        parent[count], parent[edge], parent[count + 1] = parent[edge], count, count
        flow[count], split[count] = flow[edge], edge
        usable[count] = usable[count + 1] = True
        ends[i] = count + 1
        node = count + 1
        while node >= 0:
            flow[node] += draws[i]
            node = parent[node]
        count += 2
    return ends


_join_all = numba.njit(cache=True)(_join_all)
