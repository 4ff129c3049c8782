"""From the undirected network to a rooted tree whose branches run with the flow.

Strategy: each edge can be entered from either end. Going on from one edge to another through a
node costs more the sharper the turn, the earlier the arrival beyond it and the more the calibre
grows; at a place where four arms meet, anything but straight on costs extra, because it looks
like a crossing. The cheapest way from the root (Dijkstra over directed edges) gives every edge
its direction; then each edge takes as its parent the one of all edges that flow into its start
that goes on into it most naturally, whatever it cost to get there. Two edges at one node with
different parents pass over each other, and the node is split. Where the second-best parent is
nearly as cheap, the branch is marked ambiguous rather than guessed.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.vessels import Branch, VesselGraph
from angio_pipeline.vessels.network import Edge, Network, reversed_edge

__all__ = ["TreeParams", "root_tree"]

State = tuple[int, int]
"""An edge's number and the node it is left by."""


class TreeParams(Params):
    """Costs of `root_tree`."""

    turn: float = Field(1.0, ge=0, description="times 1 - cos(turn)")
    arrival_per_s: float = Field(0.8, ge=0, description="per second that arrival falls beyond a node")
    widening: float = Field(0.8, ge=0, description="per doubling of calibre, as contrast tells it, beyond 1.1")
    crossing: float = Field(0.7, ge=0, description="for not going straight on where four arms meet")
    length_per_px: float = Field(0.002, ge=0, description="for a 512-pixel frame")
    out_of_tumour: float = Field(10.0, ge=0, description="for leaving a tumour: its vessels are end arteries")
    ambiguous_margin: float = Field(0.35, ge=0, description="a second-best parent within this is ambiguous")


@dataclass(slots=True)
class _Search:
    """Dijkstra's books: cost and parent of each directed edge, and what every parent would cost."""

    cost: dict[State, float] = field(default_factory=dict)
    parent: dict[State, State | None] = field(default_factory=dict)


def root_tree(
    network: Network,
    root: int | None,
    *,
    scale: float,
    params: TreeParams,
    end_region: npt.NDArray[np.bool_] | None = None,
) -> VesselGraph:
    """Return the directed tree grown from `root`, and every other piece from its own best end.

    Parameters
    ----------
    network : Network
    root : int or None
        A node of the network.
    scale : float
        Frame size over 512.
    end_region : ndarray, (H, W) bool, optional
        Tumours: a way that leads out of one is taken only where there is no other.
    """
    if not network.edges or root is None:
        return VesselGraph(np.empty((0, 2)), (), None, quality=Quality.NO_VESSELS)
    at = network.incident()
    search = _Search()
    directed: dict[int, State] = {}
    inside = _nodes_inside(network, end_region)
    for start in [root, *_island_roots(network, at, root)]:
        _grow(network, at, start, search, directed, inside, scale, params)
    _choose_parents(network, at, search, directed, params)
    return _assemble(network, at, search, directed, root, params)


def _choose_parents(
    network: Network, at: dict[int, list[int]], search: _Search, directed: dict[int, State], params: TreeParams
) -> None:
    """Let each edge choose its parent anew by the transition alone, as long as no circle closes."""
    for number, state in directed.items():
        parent = search.parent[state]
        if parent is None:
            continue
        entry = parent[1]
        rivals = [directed[k] for k in at[entry] if k != number and directed.get(k, (k, -1))[1] == entry]
        for rival in sorted(rivals, key=lambda r: _transition(network, at, r, number, params)):
            if not _descends(search, rival, state):
                search.parent[state] = rival
                break


def _descends(search: _Search, state: State | None, ancestor: State) -> bool:
    """Return whether a directed edge hangs below another."""
    while state is not None:
        if state == ancestor:
            return True
        state = search.parent[state]
    return False


def _grow(
    network: Network,
    at: dict[int, list[int]],
    root: int,
    search: _Search,
    directed: dict[int, State],
    inside: npt.NDArray[np.bool_],
    scale: float,
    params: TreeParams,
) -> None:
    """Settle every edge that can be reached from `root`."""
    queue: list[tuple[float, int, State, State | None]] = []
    for number in at[root]:
        edge = network.edges[number]
        for leave in {_other(edge, root)} if edge.a != edge.b else {edge.b}:
            heapq.heappush(queue, (params.length_per_px * edge.length_px / scale, number, (number, leave), None))
    while queue:
        cost, _, state, parent = heapq.heappop(queue)
        number, leave = state
        if number in directed:
            continue
        directed[number] = state
        search.cost[state], search.parent[state] = cost, parent
        for following in at[leave]:
            if following == number or following in directed:
                continue
            edge = network.edges[following]
            onward = (following, _other(edge, leave))
            step = _transition(network, at, state, following, params)
            total = cost + step + params.length_per_px * edge.length_px / scale
            total += params.out_of_tumour * bool(inside[leave] and not inside[onward[1]])
            heapq.heappush(queue, (total, following, onward, state))


def _nodes_inside(network: Network, region: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.bool_]:
    """Return which nodes lie in the region, (N,) bool."""
    if region is None:
        return np.zeros(len(network.nodes), dtype=np.bool_)
    rows, cols = np.round(network.nodes).astype(int).T
    return np.asarray(region[np.clip(rows, 0, region.shape[0] - 1), np.clip(cols, 0, region.shape[1] - 1)])


def _other(edge: Edge, node: int) -> int:
    return edge.b if edge.a == node else edge.a


def _transition(network: Network, at: dict[int, list[int]], state: State, following: int, params: TreeParams) -> float:
    """Return the cost of going on from a directed edge to the edge `following`."""
    number, node = state
    before, after = network.edges[number], network.edges[following]
    turn = 1 - float(_direction_in(before, node) @ -_direction_in(after, node))
    cost = params.turn * turn
    cost += params.arrival_per_s * max(0.0, _end_value(before, node, "arrival_s") - _mean_arrival(after) - 0.1)
    wide, narrow = _end_value(after, node, "contrast"), _end_value(before, node, "contrast")
    if wide > 0:
        cost += params.widening * min(3.0, max(0.0, float(np.log2(wide / max(narrow, 1e-6) / 1.1))))
    if len(at[node]) >= 4 and turn > 0.3:
        cost += params.crossing
    return cost


def _direction_in(edge: Edge, node: int) -> npt.NDArray[np.float64]:
    """Return the unit direction in which the edge runs into the node."""
    path = edge.path if edge.b == node else edge.path[::-1]
    reach = min(len(path) - 1, max(6, round(3 * float(np.nanmean(edge.radius_px)))))
    vector = path[-1] - path[-1 - reach]
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9))


def _end_value(edge: Edge, node: int, name: str) -> float:
    """Return the mean of a quantity over the part of the edge next to the node, 0 when unknown."""
    values: npt.NDArray[np.float64] = getattr(edge, name)
    near = values[-12:-2] if edge.b == node else values[2:12]
    near = near if len(near) else values
    return float(np.nanmean(near)) if np.isfinite(near).any() else 0.0


def _mean_arrival(edge: Edge) -> float:
    """Return the edge's mean arrival; unknown counts as no evidence (infinitely late)."""
    return float(np.nanmean(edge.arrival_s)) if np.isfinite(edge.arrival_s).any() else float("inf")


def _island_roots(network: Network, at: dict[int, list[int]], root: int) -> list[int]:
    """Return one node for each piece that the root cannot reach: the widest open end."""
    seen = _reachable(network, at, root)
    roots = []
    for node in sorted(at, key=lambda n: -max(_end_value(network.edges[k], n, "radius_px") for k in at[n])):
        if node not in seen:
            part = _reachable(network, at, node)
            seen |= part
            ends = [n for n in part if len(at[n]) == 1] or [node]
            roots.append(max(ends, key=lambda n: _end_value(network.edges[at[n][0]], n, "radius_px")))
    return roots


def _reachable(network: Network, at: dict[int, list[int]], start: int) -> set[int]:
    seen, stack = {start}, [start]
    while stack:
        node = stack.pop()
        for number in at[node]:
            other = _other(network.edges[number], node)
            if other not in seen:
                seen.add(other)
                stack.append(other)
    return seen


def _assemble(
    network: Network,
    at: dict[int, list[int]],
    search: _Search,
    directed: dict[int, State],
    root: int,
    params: TreeParams,
) -> VesselGraph:
    """Return the graph with nodes split where edges pass over each other."""
    nodes: list[npt.NDArray[np.float64]] = []
    copy_of: dict[tuple[int, State | None], int] = {}

    def node_copy(node: int, via: State | None) -> int:
        key = (node, via)
        if key not in copy_of:
            copy_of[key] = len(nodes)
            nodes.append(network.nodes[node])
        return copy_of[key]

    start_copy = node_copy(root, None)
    branches = []
    for number in sorted(directed):
        edge, state = network.edges[number], directed[number]
        flows = edge if state[1] == edge.b else reversed_edge(edge)
        entry = _other(edge, state[1])
        branches.append(
            Branch(
                id=number,
                start=node_copy(entry, search.parent[state]),
                end=node_copy(state[1], state),
                centreline=flows.path,
                radius_px=flows.radius_px,
                arrival_s=flows.arrival_s,
                overlap_ambiguous=_is_ambiguous(network, at, search, directed, number, params),
                contrast=flows.contrast,
            )
        )
    crossings = _crossings(directed, search, network)
    quality = Quality.CROSSINGS_UNRESOLVED if any(b.overlap_ambiguous for b in branches) else Quality.NONE
    return VesselGraph(np.array(nodes), tuple(branches), start_copy, crossings, quality)


def _is_ambiguous(
    network: Network,
    at: dict[int, list[int]],
    search: _Search,
    directed: dict[int, State],
    number: int,
    params: TreeParams,
) -> bool:
    """Return whether another incoming edge would have been nearly as cheap a parent."""
    state = directed[number]
    parent = search.parent[state]
    if parent is None:
        return False
    entry = parent[1]
    chosen = _transition(network, at, parent, number, params)
    for other in at[entry]:
        rival = directed.get(other)
        if other in (number, parent[0]) or rival is None or rival[1] != entry:
            continue
        if _transition(network, at, rival, number, params) - chosen < params.ambiguous_margin:
            return True
    return False


def _crossings(directed: dict[int, State], search: _Search, network: Network) -> npt.NDArray[np.float64]:
    """Return the places where more than one parent passes a node and goes on."""
    going_on: dict[int, set[State]] = defaultdict(set)
    for state in directed.values():
        parent = search.parent[state]
        if parent is not None:
            going_on[parent[1]].add(parent)
    places = [network.nodes[node] for node, parents in going_on.items() if len(parents) > 1]
    return np.array(places) if places else np.empty((0, 2))
