"""The way of a catheter from the root through a clicked vessel to the tumour, also where the tree flows otherwise.

Strategy: where vessels cross or arrival times are poor, the tree may run the wrong way past a click, and the reader
knows better. So each branch may be run through either way, and any two that meet may follow each other; but to go on
otherwise than the tree does costs a detour, so that the tree is left only where it leads elsewhere. A way costs its
length, little of it where it runs with the tree's flow, more inside the tumour, whose vessels are end arteries, and
most where it stops short of the tumour. The cheapest counts (Dijkstra).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from angio_pipeline.core.vessels import VesselGraph
from angio_pipeline.tumour.tree_places import TreePlace

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["Route", "find_route"]

Depths = list[npt.NDArray[np.float64]]
Step = tuple[int, bool]
Reached = tuple[dict[Step, float], dict[Step, list[Step]]]

# A pixel of way, of a way with the tree's flow, of tumour, of what is missing; set by hand on simulated patients.
_FLOW_COST = 0.1
_GAP_COST = 5.0
_INSIDE_COST = 10.0
_ROOT: Step = (-1, True)


@dataclass(frozen=True, slots=True)
class Route:
    """A way along branches.

    Attributes
    ----------
    steps : tuple of (int, bool)
        Branches in order, each with whether it is run through as the tree has it flow.
    clicked : int
        Which of the steps was clicked.
    stop : int
        Index at which the last step ends, counted along the way.
    gap_px : float
        What is missing to the tumour.
    cost : float
    """

    steps: tuple[Step, ...]
    clicked: int
    stop: int
    gap_px: float
    cost: float

    def follows(self, graph: VesselGraph) -> bool:
        """Return whether the tree itself leads this way."""
        return all(flows for _, flows in self.steps) and [k for k, _ in self.steps] == graph.path_to(self.steps[-1][0])


def find_route(graph: VesselGraph, click: TreePlace, depths: Depths, *, detour_px: float) -> Route:
    """Return the cheapest way from the root through a place to the tumour.

    Where the place lies on a piece that the root does not reach, the way begins at that piece's own root.

    Parameters
    ----------
    depths : list of ndarray
        For each branch the distance of each of its points from the tumour, pixels; 0 inside.
    detour_px : float
        Going on otherwise than the tree does costs as much as this length.
    """
    costs = _costs(graph, depths)
    place = _meeting_places(graph)
    own_root = graph.branches[graph.path_to(click.branch)[0]].start
    for root in (graph.root, own_root):
        network = _network(graph, place, costs, root, detour_px)
        above = _reached(network, _ROOT)
        begins = [step for step in ((click.branch, True), (click.branch, False)) if step in above[0]]
        if begins:
            break
    options = [
        route for begin in begins for route in _onward(graph, network, costs, click, begin, above=above, depths=depths)
    ]
    return min(options, key=lambda route: route.cost)


def _costs(graph: VesselGraph, depths: Depths) -> dict[Step, float]:
    """Return what each branch costs when it is run through as a whole, either way."""
    costs: dict[Step, float] = {}
    for k, branch in enumerate(graph.branches):
        inside = _INSIDE_COST * float(np.count_nonzero(depths[k] < 0.5))
        for flows in (True, False):
            costs[k, flows] = inside + _per_px(flows) * branch.length_px
    return costs


def _per_px(flows: bool) -> float:
    return _FLOW_COST if flows else 1.0


def _meeting_places(graph: VesselGraph) -> list[int]:
    """Return for each node the first that lies at the same place: the copies at a crossing are one."""
    first: dict[tuple[float, float], int] = {}
    return [first.setdefault((round(row, 2), round(col, 2)), k) for k, (row, col) in enumerate(graph.nodes.tolist())]


def _network(
    graph: VesselGraph, place: list[int], costs: dict[Step, float], root: int | None, detour_px: float
) -> nx.DiGraph[Step]:
    """Return which step may follow which, at what cost; the first is any that leaves the root."""
    import networkx as nx

    leaving: dict[int, list[Step]] = defaultdict(list)
    for k, branch in enumerate(graph.branches):
        leaving[place[branch.start]].append((k, True))
        leaving[place[branch.end]].append((k, False))
    network: nx.DiGraph[Step] = nx.DiGraph()
    for step in leaving[place[root]] if root is not None else []:
        network.add_edge(_ROOT, step, weight=costs[step])
    for k, branch in enumerate(graph.branches):
        for flows, end in ((True, branch.end), (False, branch.start)):
            for after in (step for step in leaving[place[end]] if step[0] != k):
                as_tree = flows and after[1] and graph.branches[after[0]].start == branch.end
                network.add_edge((k, flows), after, weight=costs[after] + (0.0 if as_tree else detour_px))
    return network


def _reached(network: nx.DiGraph[Step], source: Step) -> Reached:
    """Return for each step that can follow what the way there costs, it included, and the steps to it."""
    import networkx as nx

    if source not in network:
        return {}, {}
    costs, paths = nx.single_source_dijkstra(network, source)
    return cast(Reached, (costs, paths))


def _onward(
    graph: VesselGraph,
    network: nx.DiGraph[Step],
    costs: dict[Step, float],
    click: TreePlace,
    begin: Step,
    *,
    above: Reached,
    depths: Depths,
) -> Iterator[Route]:
    """Yield the ways on from a click, run through in one direction, one for each step that may be the last."""
    up = above[1][begin][1:]
    before = above[0][begin] - costs[begin]
    count = len(graph.branches[click.branch].centreline)
    at = click.index if begin[1] else count - 1 - click.index
    index, gap = _nearest(_along(depths[click.branch], begin[1])[at:])
    if index == 0 and gap == 0:
        # A click inside the tumour says that the vessel is still on its way there, so far as it is seen.
        index = count - 1 - at
    yield Route(tuple(up), len(up) - 1, at + index, gap, before + _per_px(begin[1]) * (at + index) + _GAP_COST * gap)
    reached, paths = _reached(network, begin)
    for last, path in paths.items():
        steps = (*up, *path[1:])
        if last == begin or len({k for k, _ in steps}) < len(steps):
            continue
        index, gap = _nearest(_along(depths[last[0]], last[1]))
        down = reached[last] - costs[last] + _per_px(last[1]) * index
        yield Route(steps, len(up) - 1, index, gap, above[0][begin] + down + _GAP_COST * gap)


def _along(values: npt.NDArray[np.float64], flows: bool) -> npt.NDArray[np.float64]:
    return values if flows else values[::-1]


def _nearest(depth: npt.NDArray[np.float64]) -> tuple[int, float]:
    """Return the first index inside the tumour and no gap, else the index nearest to it and what is missing."""
    inside = depth < 0.5
    if inside.any():
        return int(np.argmax(inside)), 0.0
    index = int(np.argmin(depth))
    return index, float(depth[index])
