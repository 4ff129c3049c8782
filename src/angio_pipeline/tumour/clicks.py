"""From one click on a vessel to the feeder that runs through it.

Strategy: the click is put on the nearest branch, and the way through it is sought (`routes`). Where the tree itself
leads that way, the feeder is a part of it like any other; else it is reached in itself alone, and what lies beyond a
position in it is not known. Flow is not asked whether the branch feeds the tumour: the reader has said so.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from angio_pipeline.core.tumours import ByHand, CannulationTarget, Feeder, Tumour
from angio_pipeline.core.vessels import VesselGraph
from angio_pipeline.tumour.routes import Route, find_route
from angio_pipeline.tumour.tree_places import TreePlace, TreePlaces, target_at, target_on
from angio_pipeline.tumour.ways import TreeFlow, seen_inside

__all__ = ["ClickedTree", "LaidFeeder", "lay_feeder", "told_flow"]

Line = npt.NDArray[np.float64]


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
    detour_px : float
        Leaving the tree's own way costs as much as this length.
    """

    places: TreePlaces
    tumour: Tumour
    flow: TreeFlow
    distance: npt.NDArray[np.float64]
    reach_px: float
    own_share: float
    along: float
    detour_px: float

    @property
    def graph(self) -> VesselGraph:
        """The tree itself."""
        return self.places.graph

    def depth(self, line: Line) -> npt.NDArray[np.float64]:
        """Return the distance of each point of a line from the tumour, pixels."""
        return np.asarray(ndimage.map_coordinates(self.distance, line.T, order=1, mode="nearest"))


@dataclass(frozen=True, slots=True, eq=False)
class LaidFeeder:
    """A feeder through a click, and its own branches; none where the tree does not lead that way."""

    feeder: Feeder
    branches: tuple[int, ...]
    gap_px: float


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
    depths = [around.depth(branch.centreline) for branch in around.graph.branches]
    route = find_route(around.graph, places[0], depths, detour_px=around.detour_px)
    if route.gap_px > most_gap_px:
        ends = f"it ends {route.gap_px:.0f} px away"
        return f"Expected the vessel at {at} to lead to {around.tumour.id}, found that {ends}; click nearer to it."
    return _laid(route, places[0], around, mark)


def _laid(route: Route, place: TreePlace, around: ClickedTree, mark: ByHand) -> LaidFeeder:
    graph = around.graph
    follows = route.follows(graph)
    branches = [k for k, _ in route.steps]
    flow = told_flow(graph, around.flow, into=branches[-1:]) if follows else around.flow
    first = _own_from(route, around, flow if follows else None)
    upstream, own = _line(graph, route.steps[:first]), _line(graph, route.steps[first:])
    last = len(graph.branches[branches[-1]].centreline)
    end = max(len(own) - last + route.stop, 1)
    own = own[: end + 1]
    inside = seen_inside(_line(graph, route.steps[-1:]), own[-1], around.distance)
    start = graph.branches[branches[first]]
    arrival = start.arrival_s[np.isfinite(start.arrival_s)]
    feeder = Feeder(
        id="laid",
        rank=0,
        probability=1.0,
        contribution=0.0,
        centreline=np.vstack([upstream, own[1:] if len(upstream) else own, inside]),
        branch_start=(float(own[0, 0]), float(own[0, 1])),
        diameter_px=start.diameter_px,
        arrival_s=float(arrival.mean()) if arrival.size else float("nan"),
        overlap_ambiguous=False,
        target=_target(route, first, round(around.along * end), graph, flow if follows else None),
        evidence={
            "set_by_hand": 1.0,
            "click_off_vessel_px": place.distance_px,
            "gap_to_tumour_px": route.gap_px,
            "as_the_tree_flows": float(follows),
            "rooted": float(graph.root is not None and np.array_equal(_begin(graph, route), graph.nodes[graph.root])),
        },
        corrected=mark,
    )
    return LaidFeeder(feeder, tuple(branches[first:]) if follows else (), route.gap_px)


def _line(graph: VesselGraph, steps: Sequence[tuple[int, bool]]) -> Line:
    """Return the centrelines along a way as one, (K, 2); where branches meet the point counts once."""
    lines = [graph.branches[k].centreline[:: 1 if flows else -1] for k, flows in steps]
    return np.vstack([lines[0], *(line[1:] for line in lines[1:])]) if lines else np.empty((0, 2))


def _begin(graph: VesselGraph, route: Route) -> Line:
    return np.asarray(_line(graph, route.steps[:1])[0])


def _own_from(route: Route, around: ClickedTree, flow: TreeFlow | None) -> int:
    """Return the step with which the tumour's own vessel begins: the clicked one, or one before it that is its own too.

    Without a flow, which the tree has only where it leads this way, a step before the clicked one is the tumour's own
    only as far as the way runs inside the tumour.
    """
    first = route.clicked
    while first > 0:
        begins = _line(around.graph, route.steps[first : first + 1])[:1]
        before = route.steps[first - 1][0]
        own = flow is not None and flow.into_tumour[before] > 0 and flow.share[before] >= around.own_share
        if not own and float(around.depth(begins)[0]) >= 0.5:
            break
        first -= 1
    return first


def _target(route: Route, first: int, index: int, graph: VesselGraph, flow: TreeFlow | None) -> CannulationTarget:
    """Return the position at an index of the own line; what else it would reach is unknown without a flow."""
    number = first
    while number < len(route.steps) - 1 and index >= (
        steps := len(graph.branches[route.steps[number][0]].centreline) - 1
    ):
        index -= steps
        number += 1
    k, flows = route.steps[number]
    count = len(graph.branches[k].centreline)
    place = TreePlace(k, index if flows else count - 1 - index, 0.0)
    if flow is not None:
        return target_at(graph, place, flow.share)
    lines = [_line(graph, [step]) for step in route.steps[: number + 1]]
    return target_on(lines, index, place.radius_px(graph), float("nan"))
