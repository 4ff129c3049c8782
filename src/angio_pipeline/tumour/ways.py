"""Ways into a tumour: those that the tree has, and those along a map of what feeds it.

Strategy: every place where a branch runs into the blush, with the flow, is the end of a way. Going upstream from
there, a branch is the tumour's own as long as nearly all of the flow beyond it ends in the tumour; where that stops
the tumour's own vessel begins. A way of the map begins where the map ends, and is led on to the root by the tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import KDTree

from angio_pipeline.core.vessels import VesselGraph
from angio_pipeline.tumour.feeding import FeedingPath

__all__ = ["TreeFlow", "Way", "mapped_ways", "seen_inside", "tree_flow", "tree_ways"]

Line = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class TreeFlow:
    """What each branch of the tree carries and where it ends; flow follows calibre (Murray's law: flow ~ radius^3).

    Attributes
    ----------
    flow : ndarray, (B,) float64
        Sum of radius^3 over the leaves beyond each branch.
    into_tumour : ndarray, (B,) float64
        The part of it that ends in the tumour.
    """

    flow: npt.NDArray[np.float64]
    into_tumour: npt.NDArray[np.float64]

    @property
    def share(self) -> npt.NDArray[np.float64]:
        """Share of each branch's flow that ends in the tumour."""
        return self.into_tumour / np.maximum(self.flow, 1e-9)


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """A way into a tumour.

    Attributes
    ----------
    upstream : ndarray, (J, 2) float64
        (row, col) from the tree's root to where the tumour's own vessel begins; empty where the tree does not lead
        there.
    own : ndarray, (K, 2) float64
        From there to the tumour.
    before : tuple of int
        Branches from the root to there.
    branches : tuple of int
        Branches that `own` runs along, in order; empty where no branch of the tree lies under it.
    inside : ndarray, (L, 2) float64
        On within the tumour, as far as the last branch is seen there. A blush reaches a little over its tumour, so
        that the end of the vessel lies inside.
    """

    upstream: Line
    own: Line
    before: tuple[int, ...]
    branches: tuple[int, ...]
    inside: Line = field(default_factory=lambda: np.empty((0, 2)))

    @property
    def line(self) -> Line:
        """(row, col) from the root into the tumour."""
        return np.vstack([self.upstream, self.own, self.inside])


def tree_flow(graph: VesselGraph, distance: npt.NDArray[np.float64], reach_px: float) -> TreeFlow:
    """Return the flow in each branch; a leaf whose `distance` (H, W) to the tumour is within `reach_px` ends in it."""
    children = graph.children()
    flow = np.zeros(len(graph.branches))
    into = np.zeros(len(graph.branches))
    for index in _leaves_first(graph, children):
        branch = graph.branches[index]
        if children[index]:
            flow[index] = sum(flow[c] for c in children[index])
            into[index] = sum(into[c] for c in children[index])
        else:
            flow[index] = float(np.median(branch.radius_px)) ** 3
            row, col = np.round(branch.centreline[-1]).astype(int)
            inside = distance[min(row, distance.shape[0] - 1), min(col, distance.shape[1] - 1)] <= reach_px
            into[index] = flow[index] * inside
    return TreeFlow(flow, into)


def _leaves_first(graph: VesselGraph, children: tuple[tuple[int, ...], ...]) -> list[int]:
    """Return branch indices so that every branch comes after those it flows into."""
    order: list[int] = []
    parents = graph.parents()
    stack = [k for k, parent in enumerate(parents) if parent is None or parent == k]
    while stack:
        here = stack.pop()
        order.append(here)
        stack.extend(children[here])
    return order[::-1]


def tree_ways(
    graph: VesselGraph, flow: TreeFlow, distance: npt.NDArray[np.float64], *, reach_px: float, own_share: float
) -> list[Way]:
    """Return the ways that the tree has into the tumour.

    A branch enters when it starts outside the blush and ends inside, or is open-ended within
    reach of it; one that goes in and comes out again without a branch only lies over it.

    Parameters
    ----------
    distance : ndarray, (H, W) float64
        Distance from the tumour, pixels; 0 inside.
    own_share : float
        Share of a branch's flow into the tumour that makes it the tumour's own.
    """
    parents = graph.parents()
    own = (flow.share >= own_share) & (flow.into_tumour > 0)
    leads_on = {branch.start for branch in graph.branches}
    ways = []
    for k, branch in enumerate(graph.branches):
        along = ndimage.map_coordinates(distance, branch.centreline.T, order=1, mode="nearest")
        comes_in = along[0] >= 1 and along[-1] < 1
        ends_near = along[0] > along[-1] and along[-1] <= reach_px and flow.into_tumour[k] == flow.flow[k]
        if not (comes_in or (ends_near and flow.flow[k] > 0 and branch.end not in leads_on)):
            continue
        chain = [k]
        while (parent := parents[chain[0]]) is not None and own[parent] and parent not in chain:
            chain.insert(0, parent)
        ways.append(_way_through(graph, chain, distance))
    return ways


def _way_through(graph: VesselGraph, chain: Sequence[int], distance: npt.NDArray[np.float64]) -> Way:
    before = graph.path_to(chain[0])[:-1]
    line = _line_of(graph, chain)
    last = graph.branches[chain[-1]].centreline
    at = len(line) - len(last) + _entry(last, distance)
    upstream = _line_of(graph, before)[:-1] if before else np.empty((0, 2))
    own = line[: at + 1]
    return Way(upstream, own, tuple(before), tuple(chain), seen_inside(last, own[-1], distance))


def seen_inside(last: Line, end: npt.NDArray[np.float64], distance: npt.NDArray[np.float64]) -> Line:
    """Return how the last branch goes on from its point nearest to where a way ends, until it leaves the tumour."""
    rest = last[int(np.linalg.norm(last - end, axis=1).argmin()) + 1 :]
    outside = ndimage.map_coordinates(distance, rest.T, order=1, mode="nearest") >= 1
    came_in = int(np.argmin(outside)) if len(outside) else 0
    leaves = outside[came_in:]
    return rest[: came_in + int(np.argmax(leaves))] if leaves.any() and not leaves[0] else rest


def _line_of(graph: VesselGraph, indices: Sequence[int]) -> Line:
    parts = [graph.branches[indices[0]].centreline]
    parts += [graph.branches[k].centreline[1:] for k in indices[1:]]
    return np.vstack(parts)


def _entry(line: Line, distance: npt.NDArray[np.float64]) -> int:
    """Return the index of the first point inside the tumour, or of the point nearest to it."""
    along = ndimage.map_coordinates(distance, line.T, order=1, mode="nearest")
    inside = along < 0.5
    return int(np.argmax(inside)) if inside.any() else int(np.argmin(along))


def mapped_ways(
    graph: VesselGraph, paths: Sequence[FeedingPath], distance: npt.NDArray[np.float64], *, near_px: float
) -> list[Way]:
    """Return a way for each path of a map, led on to the root from the branch within `near_px` of where it begins."""
    points = np.vstack([branch.centreline for branch in graph.branches])
    owner = np.concatenate([np.full(len(b.centreline), k) for k, b in enumerate(graph.branches)])
    first = np.concatenate([[0], np.cumsum([len(b.centreline) for b in graph.branches])])
    nearest = KDTree(points)
    ways = []
    for path in paths:
        away, at = nearest.query(path.line, distance_upper_bound=near_px)
        under = np.where(np.isfinite(away), owner[np.minimum(at, len(owner) - 1)], -1)
        runs = [(int(k), len(list(group))) for k, group in groupby(under)]
        along = tuple(dict.fromkeys(k for k, length in runs if k >= 0 and length >= _LEAST_RUN))
        inside = np.empty((0, 2))
        if along:
            inside = seen_inside(graph.branches[along[-1]].centreline, path.line[-1], distance)
        if under[0] < 0:
            ways.append(Way(np.empty((0, 2)), path.line, (), along, inside))
            continue
        before = graph.path_to(int(under[0]))
        reached = graph.branches[before[-1]].centreline[: int(at[0]) - int(first[under[0]]) + 1]
        upstream = np.vstack([_line_of(graph, before[:-1])[:-1], reached]) if len(before) > 1 else reached
        ways.append(Way(upstream, path.line, tuple(before[:-1]), along, inside))
    return ways


_LEAST_RUN = 3
