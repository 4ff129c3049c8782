"""From the undirected network to a rooted tree whose branches run with the flow.

Strategy: every place where edges meet is read (`junctions`), the likeliest directions and readings
of all places together are found (`orientation`), and the branches are put together from them
(`assembly`). What the root does not reach is fed from an end of its own. Where another reading is
nearly as likely, the branches that hang on it are marked ambiguous rather than guessed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.vessels import VesselGraph
from angio_pipeline.numerics.compiled import compiled
from angio_pipeline.vessels.assembly import Assembly
from angio_pipeline.vessels.junction_readings import readings_of
from angio_pipeline.vessels.junctions import find_junctions, measure_arms
from angio_pipeline.vessels.network import Network
from angio_pipeline.vessels.orientation import Choice, Place, solve

__all__ = ["TreeParams", "along_features", "root_tree"]

Array = npt.NDArray[np.float64]

# Log-odds that flow runs a way, from what lies along an edge; fitted with the weights of `junction_readings`.
_LATER, _THINNER = 4.2, 0.8
_SUREST_S, _UNSURE_S = 0.02, 0.15
_ENDS_TRIED = 3


class TreeParams(Params):
    """Settings of `root_tree`."""

    out_of_tumour: float = Field(
        2.0, ge=0, description="for leaving a tumour, in log-likelihood: its vessels are end arteries; set by hand"
    )
    ambiguous_probability: float = Field(
        0.25, gt=0, le=1, description="a branch as likely as this to be fed otherwise is ambiguous"
    )


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
        Tumours: a way that leads out of one is taken only where there is no likelier one.
    """
    if not network.edges or root is None:
        return VesselGraph(np.empty((0, 2)), (), None, quality=Quality.NO_VESSELS)
    junctions = find_junctions(network, scale, alone=frozenset({root}))
    arms = measure_arms(network, junctions, scale)
    places = []
    for junction, measured in zip(junctions, arms, strict=True):
        if root in junction.nodes:
            places.append(Place.root(junction))
        elif len(junction.arms) == 1:
            places.append(Place.end(junction))
        else:
            readings = readings_of(junction, measured, scale)
            places.append(Place.of(junction, readings.fed_by, readings.pattern, readings.cost()))
    along = _along(network, _nodes_inside(network, end_region), params)
    assembly = Assembly(network, places, arms, scale=scale, doubt=params.ambiguous_probability)
    first = next(k for k, junction in enumerate(junctions) if root in junction.nodes)
    choice = solve(places, along, first)
    start = assembly.add(choice, first)
    settled = set(choice.reversed)
    for begin, piece in _islands(network, places, along, settled):
        assembly.add(piece, begin)
    unresolved = any(branch.overlap_ambiguous for branch in assembly.branches)
    return VesselGraph(
        nodes=np.array(assembly.nodes),
        branches=tuple(assembly.branches),
        root=start,
        crossings=np.array(assembly.crossings).reshape(-1, 2),
        quality=Quality.CROSSINGS_UNRESOLVED if unresolved else Quality.NONE,
        crossing_probability=np.array(assembly.probabilities, dtype=np.float64),
    )


def _along(network: Network, inside: npt.NDArray[np.bool_], params: TreeParams) -> Array:
    """Return (E, 2) the cost of each edge's running from a to b, and from b to a."""
    odds = along_features(network) @ np.array([_LATER, _THINNER])
    cost = np.stack([np.logaddexp(0, -odds), np.logaddexp(0, odds)], axis=1)
    a, b = (np.array([getattr(e, end) for e in network.edges]) for end in ("a", "b"))
    cost[:, 0] += params.out_of_tumour * (inside[a] & ~inside[b])
    cost[:, 1] += params.out_of_tumour * (inside[b] & ~inside[a])
    return np.asarray(cost)


def along_features(network: Network) -> Array:
    """Return (E, 2): whether an edge fills later at b than at a (-1 to 1), and by how much it attenuates less (log)."""
    first = np.concatenate([[0], np.cumsum([len(e.path) for e in network.edges])]).astype(np.int64)
    arrival, contrast = (np.concatenate([getattr(e, n) for e in network.edges]) for n in ("arrival_s", "contrast"))
    return _compare_ends(first, arrival, contrast, np.array([e.arrival_sd_s for e in network.edges]))


@compiled
def _compare_ends(first: npt.NDArray[np.int64], arrival: Array, contrast: Array, spread: Array) -> Array:
    out = np.zeros((len(first) - 1, 2))
    for line in range(len(first) - 1):
        low, high = first[line], first[line + 1]
        size = high - low
        if size < 6:
            continue
        span, margin = max(2, size // 3), min(2, size // 4)
        early, late = arrival[low + margin : low + span + 1], arrival[high - span - 1 : high - margin]
        apart = np.nanmean(late) - np.nanmean(early)
        if apart == apart:
            sure = _SUREST_S + (spread[line] if spread[line] == spread[line] else _UNSURE_S)
            out[line, 0] = np.tanh(apart / sure)
        thick = np.median(contrast[low + margin : low + span + 1])
        thin = np.median(contrast[high - span - 1 : high - margin])
        if thick > 0 and thin > 0:
            out[line, 1] = min(max(np.log(thick / thin), -1.0), 1.0)
    return out


def _nodes_inside(network: Network, region: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.bool_]:
    """Return which nodes lie in the region, (N,) bool."""
    if region is None:
        return np.zeros(len(network.nodes), dtype=np.bool_)
    rows, cols = np.round(network.nodes).astype(int).T
    return np.asarray(region[np.clip(rows, 0, region.shape[0] - 1), np.clip(cols, 0, region.shape[1] - 1)])


def _islands(network: Network, places: list[Place], along: Array, settled: set[int]) -> list[tuple[int, Choice]]:
    """Return for each piece that the root does not feed the place where it begins, and how it runs.

    Of its widest open ends the one counts from which the piece is likeliest.
    """
    found = []
    of_edge: dict[int, list[int]] = {}
    for number, place in enumerate(places):
        for arm in place.junction.arms:
            of_edge.setdefault(arm.edge, []).append(number)
    for edge in of_edge:
        if edge in settled:
            continue
        members, piece = _piece(places, of_edge, edge)
        settled |= piece
        best: tuple[int, Choice] | None = None
        for begin in _likely_begins(network, places, members):
            kept = places[begin]
            places[begin] = Place.root(kept.junction)
            choice = solve(places, along, begin)
            if best is None or choice.cost < best[1].cost:
                best = begin, choice
            places[begin] = kept
        if best is not None:
            places[best[0]] = Place.root(places[best[0]].junction)
            found.append(best)
    return found


def _piece(places: list[Place], of_edge: dict[int, list[int]], edge: int) -> tuple[set[int], set[int]]:
    members: set[int] = set()
    edges: set[int] = set()
    stack = list(of_edge[edge])
    while stack:
        number = stack.pop()
        if number in members:
            continue
        members.add(number)
        for arm in places[number].junction.arms:
            edges.add(arm.edge)
            stack.extend(of_edge[arm.edge])
    return members, edges


def _likely_begins(network: Network, places: list[Place], members: set[int]) -> list[int]:
    """Return the places at which a piece may begin: its widest open ends, or its widest place if it has none."""

    def width(number: int) -> float:
        widths = []
        for arm in places[number].junction.arms:
            edge = network.edges[arm.edge]
            part = slice(0, 12) if arm.end == 0 else slice(-12, None)
            widths.append(float(np.mean(edge.contrast[part])))
        return max(widths, default=0.0)

    ends = [number for number in members if len(places[number].junction.arms) == 1]
    ranked = sorted(ends or members, key=lambda number: -width(number))
    return ranked[: _ENDS_TRIED if ends else 1]
