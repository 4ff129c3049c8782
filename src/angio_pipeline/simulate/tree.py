"""A vascular tree that grows by adding terminals where they cost least blood volume.

Constrained constructive optimisation (Schreiner and Buxbaum, doi:10.1109/10.243413): each new
terminal joins the segment, and at the bifurcation point, that add the least volume. Radii follow
from flow by Murray's law (doi:10.1073/pnas.12.3.207): r³ is proportional to Q, hence
r_parent³ = r_left³ + r_right³ at every bifurcation.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

import numpy as np
import numpy.typing as npt

__all__ = ["Territory", "Tree"]

Array = npt.NDArray[np.float64]

# Places tried for a bifurcation: along the segment, and pulled towards the new terminal.
_ALONG = np.repeat([0.2, 0.4, 0.6, 0.8], 3)
_PULL = np.tile([0.05, 0.2, 0.4], 4)


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
    name : list of str
        Of named arteries and veins ("celiac", "right hepatic", ...); "" for grown twigs.
    radius_at_1_ml_s : float
        Murray's constant k of r = k * Q^(1/3), mm.
    group : list of int
        Edges that may be joined together when growing (each feeder's own vessels).
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
        self, parent: int, positions: npt.ArrayLike, territory: Territory, tumour: int = -1, name: str = ""
    ) -> int:
        """Return the last node of a chain of new nodes through `positions` (K, 3)."""
        for position in np.atleast_2d(np.asarray(positions, float)):
            parent = self.add(parent, position, territory, tumour, name=name)
        return parent

    def split(self, edge: int, position: npt.ArrayLike) -> int:
        """Return a new node that divides `edge`; it carries the edge's flow."""
        territory = Territory(self.territory[edge])
        node = self.add(self.parent[edge], position, territory, self.tumour[edge], self.group[edge], self.name[edge])
        self.flow[node] = self.flow[edge]
        self.parent[edge] = node
        return node

    def supply(self, terminal: int, flow: float) -> None:
        """Add `flow` along the way from the root to `terminal`."""
        node = terminal
        while node >= 0:
            self.flow[node] += flow
            node = self.parent[node]

    def children(self) -> list[list[int]]:
        """Return the list of child nodes of every node."""
        found: list[list[int]] = [[] for _ in range(len(self))]
        for node, parent in enumerate(self.parent):
            if parent >= 0:
                found[parent].append(node)
        return found

    def radii_mm(self, _root_radius_mm: float | None = None) -> Array:
        """Return (N,) radii in mm by Murray's law."""
        return np.asarray(self.radius_at_1_ml_s * np.cbrt(np.asarray(self.flow)))

    def grow(
        self,
        points: Array,
        flow: float,
        territory: Territory,
        *,
        tumour: int = -1,
        group: int = 0,
        penalty: Callable[[Array, Array], Array] | None = None,
    ) -> list[int]:
        """Return the terminals added, one for each of `points` (K, 3), each drawing `flow`.

        Only edges of the same territory, tumour and group are joined. `penalty(start, end)` gives the
        factor by which candidate segments (M, 3) are dearer, for instance through a tumour.
        """
        return [self._join(point, flow, territory, (tumour, group), penalty) for point in points]

    def _join(
        self,
        point: Array,
        flow: float,
        territory: Territory,
        owner: tuple[int, int],
        penalty: Callable[[Array, Array], Array] | None,
    ) -> int:
        edges = self._nearest(point, territory, owner)
        start = np.repeat([self.position[self.parent[e]] for e in edges], len(_ALONG), axis=0)
        end = np.repeat([self.position[e] for e in edges], len(_ALONG), axis=0)
        carried = np.repeat([self.flow[e] for e in edges], len(_ALONG))
        along, pull = np.tile(_ALONG, len(edges))[:, None], np.tile(_PULL, len(edges))[:, None]
        fork = (1 - pull) * (start + along * (end - start)) + pull * point
        cost = _added_volume(start, end, fork, point, carried, flow)
        if penalty is not None:
            cost = cost * penalty(fork, np.broadcast_to(point, fork.shape))
        best = int(np.argmin(cost))
        node = self.split(edges[best // len(_ALONG)], fork[best])
        terminal = self.add(node, point, territory, *owner)
        self.supply(terminal, flow)
        return terminal

    def _nearest(self, point: Array, territory: Territory, owner: tuple[int, int], count: int = 12) -> list[int]:
        parent = np.asarray(self.parent)
        same = (np.asarray(self.territory) == int(territory)) & (parent >= 0)
        same &= (np.asarray(self.tumour) == owner[0]) & (np.asarray(self.group) == owner[1])
        edges = np.flatnonzero(same)
        position = np.asarray(self.position)
        start, end = position[parent[edges]], position[edges]
        direction = end - start
        length2 = np.maximum((direction**2).sum(axis=1), 1e-9)
        along = np.clip(((point - start) * direction).sum(axis=1) / length2, 0, 1)
        distance = np.linalg.norm(start + along[:, None] * direction - point, axis=1)
        return [int(e) for e in edges[np.argsort(distance, kind="stable")[:count]]]


def _added_volume(start: Array, end: Array, fork: Array, point: Array, carried: Array, flow: float) -> Array:
    # Volume is length times r², and r² goes as Q^(2/3). Turning back against the flow is dear.
    def length(a: Array, b: Array) -> Array:
        return np.asarray(np.linalg.norm(b - a, axis=1))

    before = np.maximum(carried, 0.25 * flow) ** (2 / 3)
    upstream = (carried + flow) ** (2 / 3)
    new = length(fork, np.broadcast_to(point, fork.shape))
    cost = length(start, fork) * upstream + length(fork, end) * before + new * flow ** (2 / 3)
    cost = cost - length(start, end) * before
    cosine = ((point - fork) * (end - start)).sum(axis=1) / np.maximum(new * length(start, end), 1e-9)
    return np.asarray(np.maximum(cost, 1e-6) * np.where(cosine < -0.2, 3.0, 1.0))
