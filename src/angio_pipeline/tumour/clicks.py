"""From one click on a vessel to the feeder that runs through it.

Strategy: the click is put on the nearest branch of the tree; at a crossing, on the one that comes nearer to the tumour.
The way up is the tree's own way to its root; the way down is the one, of all that lead on from the click, that comes
nearest to the tumour. Flow cannot be asked whether the branch feeds the tumour: the reader has said so.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from angio_pipeline.core.tumours import ByHand, Feeder, Tumour
from angio_pipeline.core.vessels import VesselGraph
from angio_pipeline.tumour.feeders import TreeFlow
from angio_pipeline.tumour.tree_places import TreePlace, TreePlaces, joined_line, target_at

__all__ = ["ClickedTree", "LaidFeeder", "lay_feeder", "told_flow"]

Line = npt.NDArray[np.float64]

_AS_NEAR_PX = 1.5
"""Two branches whose distances to a click differ by less, in a 512-pixel frame, are equally near."""


@dataclass(frozen=True, slots=True, eq=False)
class ClickedTree:
    """The tree beside one tumour.

    Attributes
    ----------
    distance : ndarray, (H, W) float64
        Distance from the tumour, pixels; 0 inside.
    reach_px : float
        A vessel that ends this near to the tumour ends in it.
    own_share : float
        Share of a branch's flow into the tumour that makes it the tumour's own.
    along : float
        How far into its own branch a feeder's target is put, as a share of the branch's length.
    """

    places: TreePlaces
    tumour: Tumour
    flow: TreeFlow
    distance: npt.NDArray[np.float64]
    reach_px: float
    own_share: float
    along: float

    @property
    def graph(self) -> VesselGraph:
        """The tree itself."""
        return self.places.graph

    def depth(self, line: Line) -> npt.NDArray[np.float64]:
        """Return the distance of each point of a line from the tumour, pixels."""
        return np.asarray(ndimage.map_coordinates(self.distance, line.T, order=1, mode="nearest"))


@dataclass(frozen=True, slots=True, eq=False)
class LaidFeeder:
    """A feeder through a click, and its own branches from where it begins to the tumour."""

    feeder: Feeder
    branches: tuple[int, ...]
    gap_px: float


@dataclass(frozen=True, slots=True)
class _WayDown:
    """The point beyond a click that comes nearest to the tumour, on the last of `branches`."""

    branches: tuple[int, ...]
    index: int
    gap_px: float
    length_px: float


def told_flow(
    graph: VesselGraph, flow: TreeFlow, *, into: Collection[int] = (), elsewhere: Collection[int] = ()
) -> TreeFlow:
    """Return the flow when all beyond the branches `into` ends in the tumour, and nothing beyond `elsewhere` does."""
    inside = {k for start in into for k in graph.beyond(start)}
    outside = {k for start in elsewhere for k in graph.beyond(start)} - inside
    ends = flow.into_tumour.copy()
    children = graph.children()
    for leaf in (k for k in inside | outside if not children[k]):
        change = (flow.flow[leaf] if leaf in inside else 0.0) - flow.into_tumour[leaf]
        ends[graph.path_to(leaf)] += change
    return replace(flow, into_tumour=np.clip(ends, 0, None))


def lay_feeder(
    click: tuple[float, float], around: ClickedTree, *, reach_px: float, most_gap_px: float, mark: ByHand
) -> LaidFeeder | str:
    """Return the feeder through a click, or the sentence that says why there is none.

    Parameters
    ----------
    click : (row, col)
    reach_px : float
        How far the click may be from a vessel.
    most_gap_px : float
        How far before the tumour the vessel may end.
    """
    places = around.places.nearest(click, reach_px)
    at = f"({click[0]:.0f}, {click[1]:.0f})"
    if not places:
        return f"Expected a vessel within {reach_px:.0f} px of {at}, found none in the tree; click on a vessel."
    as_near = places[0].distance_px + _AS_NEAR_PX * max(around.distance.shape) / 512
    options = [(place, _way_down(place, around)) for place in places if place.distance_px <= as_near]
    place, way = min(options, key=lambda option: (option[1].gap_px, option[0].distance_px))
    if way.gap_px > most_gap_px:
        return (
            f"Expected the vessel at {at} to lead to {around.tumour.id}, found that it ends {way.gap_px:.0f} px away, "
            "as the tree has it; click nearer to the tumour."
        )
    return _laid(place, way, around, mark)


def _way_down(place: TreePlace, around: ClickedTree) -> _WayDown:
    """Return the way on from a place that comes nearest to the tumour; of equals, the shortest."""
    graph = around.graph
    found = []
    for k in graph.beyond(place.branch):
        path = graph.path_to(k)
        path = path[path.index(place.branch) :]
        first = place.index if k == place.branch else 0
        along = around.depth(graph.branches[k].centreline[first:])
        inside = along < 0.5
        index = int(np.argmax(inside)) if inside.any() else int(np.argmin(along))
        gap = 0.0 if inside.any() else float(along[index])
        length = index + sum(graph.branches[b].length_px for b in path[:-1])
        found.append(_WayDown(tuple(path), first + index, gap, length))
    return min(found, key=lambda way: (way.gap_px, way.length_px))


def _laid(place: TreePlace, way: _WayDown, around: ClickedTree, mark: ByHand) -> LaidFeeder:
    graph = around.graph
    last = way.branches[-1]
    flow = told_flow(graph, around.flow, into={last})
    own = _own_branches(list(way.branches), around, flow)
    line = joined_line(graph, own)
    end = _first_inside(around.depth(line), len(line) - len(graph.branches[last].centreline) + way.index)
    line = line[: end + 1]
    upstream = graph.path_to(own[0])[:-1]
    start = graph.branches[own[0]]
    arrival = start.arrival_s[np.isfinite(start.arrival_s)]
    aim = _place_along(graph, own, round(around.along * end))
    feeder = Feeder(
        id="laid",
        rank=0,
        probability=1.0,
        contribution=0.0,
        centreline=np.vstack([joined_line(graph, upstream), line[1:]]) if upstream else line,
        branch_start=(float(line[0, 0]), float(line[0, 1])),
        diameter_px=start.diameter_px,
        arrival_s=float(arrival.mean()) if arrival.size else float("nan"),
        overlap_ambiguous=False,
        target=target_at(graph, aim, flow.share),
        evidence={
            "set_by_hand": 1.0,
            "click_off_vessel_px": place.distance_px,
            "gap_to_tumour_px": way.gap_px,
            "own_share": float(around.flow.share[last]),
            "rooted": float(graph.root is not None and graph.branches[graph.path_to(own[0])[0]].start == graph.root),
        },
        corrected=mark,
    )
    return LaidFeeder(feeder, tuple(own), way.gap_px)


def _own_branches(way: list[int], around: ClickedTree, flow: TreeFlow) -> list[int]:
    """Return the way with the branches before it that are the tumour's own, or lie in it, as well."""
    parents = around.graph.parents()
    own = (flow.share >= around.own_share) & (flow.into_tumour > 0)
    while (parent := parents[way[0]]) is not None and parent not in way:
        begins_inside = float(around.depth(around.graph.branches[way[0]].centreline[:1])[0]) < 0.5
        if not (own[parent] or begins_inside):
            break
        way.insert(0, parent)
    return way


def _first_inside(depth: npt.NDArray[np.float64], index: int) -> int:
    """Return where the stretch inside the tumour that holds `index` begins; `index` itself when it lies outside."""
    while index > 1 and depth[index] < 0.5 and depth[index - 1] < 0.5:
        index -= 1
    return max(index, min(1, len(depth) - 1))


def _place_along(graph: VesselGraph, branches: list[int], index: int) -> TreePlace:
    """Return the point of the tree at an index of the joined centreline of branches."""
    for k in branches[:-1]:
        steps = len(graph.branches[k].centreline) - 1
        if index <= steps:
            return TreePlace(k, index, 0.0)
        index -= steps
    return TreePlace(branches[-1], min(index, len(graph.branches[branches[-1]].centreline) - 1), 0.0)
