"""The undirected network of centrelines: traced, pruned, bridged, measured.

Strategy: the skeleton of the mask is traced into edges; short spurs, which are the width of the
vessel and not a branch, go; two junctions closer than the vessel is wide are one place; open
ends that point at another piece across a small gap are joined. Each edge then carries radius
(distance to the mask's edge) and arrival (leading edge of its own smoothed curve).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import ndimage
from skimage.morphology import remove_small_holes, skeletonize

from angio_pipeline.core.params import Params
from angio_pipeline.core.runs import PerfusionMaps, SubtractedRun
from angio_pipeline.numerics.curves import first_crossing
from angio_pipeline.numerics.filters import gaussian
from angio_pipeline.numerics.skeletons import trace_skeleton

__all__ = ["Edge", "Network", "NetworkParams", "build_network", "reversed_edge"]

Line = npt.NDArray[np.float64]


class NetworkParams(Params):
    """Settings of `build_network`; lengths are for a 512-pixel frame and grow with it."""

    spur_px: float = Field(8.0, ge=0, description="open ends shorter than this plus the local radius are pruned")
    merge_px: float = Field(2.0, ge=0, description="junctions closer than this plus the local radius are one")
    gap_px: float = Field(24.0, ge=0, description="longest gap that is bridged")
    gap_angle_deg: float = Field(40.0, gt=0, le=90)
    smoothing_px: float = Field(2.0, ge=0, description="Gaussian along the centreline")
    arrival_smoothing_px: float = Field(6.0, ge=0, description="Gaussian along the centreline, of arrival times")


@dataclass(frozen=True, slots=True, eq=False)
class Edge:
    """An undirected piece of vessel between nodes `a` and `b`, path from a to b.

    `contrast` is the attenuation of the centre above the tissue beside it. It follows the
    thickness of iodine, and so tells the calibre of vessels too thin for a radius in pixels.
    """

    a: int
    b: int
    path: Line
    radius_px: npt.NDArray[np.float64]
    arrival_s: npt.NDArray[np.float64]
    contrast: npt.NDArray[np.float64]
    bridged: bool = False

    @property
    def length_px(self) -> float:
        """Length along the path."""
        return float(np.linalg.norm(np.diff(self.path, axis=0), axis=1).sum())


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """Nodes (N, 2) and the edges between them."""

    nodes: Line
    edges: tuple[Edge, ...]

    def incident(self) -> dict[int, list[int]]:
        """Return the edge numbers at each node (a loop stands twice)."""
        at: dict[int, list[int]] = defaultdict(list)
        for number, edge in enumerate(self.edges):
            at[edge.a].append(number)
            at[edge.b].append(number)
        return at


def build_network(
    artery: npt.NDArray[np.bool_],
    contrast: npt.NDArray[np.float32],
    sub: SubtractedRun,
    maps: PerfusionMaps,
    *,
    params: NetworkParams,
) -> Network:
    """Return the network of an artery mask with radius, contrast and arrival along each edge.

    Parameters
    ----------
    artery : ndarray, (H, W) bool
    contrast : ndarray, (H, W) float32
        Attenuation above the tissue beside each pixel (`vessel_contrast`).
    """
    scale = max(artery.shape) / 512
    inside = ndimage.distance_transform_edt(artery)
    # A hole of a few pixels inside a vessel is noise; left open it would become a loop.
    filled = remove_small_holes(np.array(artery), max_size=max(4, round(12 * scale**2)))
    traced = trace_skeleton(skeletonize(filled))
    edges = [_bare(a, b, path) for a, b, path in traced.edges]
    network = Network(traced.nodes, tuple(edges))
    network = _prune(_with_radius(network, inside), params.spur_px * scale)
    network = _merge_close_nodes(network, params.merge_px * scale)
    network = _bridge_gaps(network, params, scale)
    network = _prune(_join_chains(network), params.spur_px * scale)
    network = _join_chains(network)
    network = _with_contrast(_with_radius(_smooth(network, params.smoothing_px), inside), contrast)
    return _with_arrival(network, sub, maps, params, scale)


def _bare(a: int, b: int, path: Line, *, bridged: bool = False) -> Edge:
    blank = np.full(len(path), np.nan)
    return Edge(a, b, path, blank, blank, blank, bridged)


def _with_radius(network: Network, inside: npt.NDArray[np.float64]) -> Network:
    edges = []
    for edge in network.edges:
        # The distance transform counts to the first pixel outside: half a pixel too far.
        radius = ndimage.map_coordinates(inside, edge.path.T, order=1, mode="nearest") - 0.5
        edges.append(replace(edge, radius_px=np.maximum(radius, 0.5)))
    return Network(network.nodes, tuple(edges))


def _with_contrast(network: Network, contrast: npt.NDArray[np.float32]) -> Network:
    edges = []
    for edge in network.edges:
        values = ndimage.map_coordinates(contrast, edge.path.T, order=1, mode="nearest").astype(np.float64)
        edges.append(replace(edge, contrast=np.maximum(values, 0)))
    return Network(network.nodes, tuple(edges))


def _prune(network: Network, spur_px: float) -> Network:
    """Drop open-ended edges shorter than `spur_px` plus the radius where they leave, shortest first."""
    edges = list(network.edges)
    lengths = [edge.length_px for edge in edges]
    while True:
        degree = _degrees(edges)
        spurs = []
        for number, edge in enumerate(edges):
            free_a, free_b = degree[edge.a] == 1, degree[edge.b] == 1
            if free_a == free_b or edge.bridged:
                continue
            base_radius = edge.radius_px[-1 if free_a else 0]
            if lengths[number] < spur_px + base_radius:
                spurs.append((lengths[number], number))
        if not spurs:
            return Network(network.nodes, tuple(edges))
        shortest = min(spurs)[1]
        edges.pop(shortest)
        lengths.pop(shortest)


def _degrees(edges: list[Edge]) -> dict[int, int]:
    degree: dict[int, int] = defaultdict(int)
    for edge in edges:
        degree[edge.a] += 1
        degree[edge.b] += 1
    return degree


def _merge_close_nodes(network: Network, merge_px: float) -> Network:
    """Make one node of junctions joined by an edge shorter than the vessel is wide there."""
    degree = _degrees(list(network.edges))
    same = np.arange(len(network.nodes))
    kept = []
    for edge in network.edges:
        close = edge.length_px < merge_px + 1.2 * float(np.mean(edge.radius_px))
        if close and edge.a != edge.b and degree[edge.a] > 2 and degree[edge.b] > 2:
            same[same == same[edge.b]] = same[edge.a]
        else:
            kept.append(edge)
    nodes = network.nodes.copy()
    for group in np.unique(same):
        nodes[same == group] = network.nodes[same == group].mean(axis=0)
    edges = [_reattach(edge, int(same[edge.a]), int(same[edge.b]), nodes) for edge in kept]
    return Network(nodes, tuple(e for e in edges if not (e.a == e.b and e.length_px < 3 * merge_px + 6)))


def _reattach(edge: Edge, a: int, b: int, nodes: Line) -> Edge:
    path = edge.path.copy()
    path[0], path[-1] = nodes[a], nodes[b]
    return replace(edge, a=a, b=b, path=path)


def _join_chains(network: Network) -> Network:
    """Join two edges that meet alone at a node into one."""
    edges: list[Edge | None] = list(network.edges)
    at = {node: list(numbers) for node, numbers in network.incident().items()}
    for node in list(at):
        numbers = at[node]
        if len(numbers) != 2 or numbers[0] == numbers[1]:
            continue
        first, second = edges[numbers[0]], edges[numbers[1]]
        if first is None or second is None:
            continue
        joined = _concatenate(_ending_at(first, node), _starting_at(second, node))
        edges[numbers[0]], edges[numbers[1]] = joined, None
        at[joined.b] = [numbers[0] if n == numbers[1] else n for n in at[joined.b]]
        at[node] = []
    return Network(network.nodes, tuple(e for e in edges if e is not None))


def reversed_edge(edge: Edge) -> Edge:
    """Return the same edge run from the other end."""
    return replace(
        edge,
        a=edge.b,
        b=edge.a,
        path=edge.path[::-1],
        radius_px=edge.radius_px[::-1],
        arrival_s=edge.arrival_s[::-1],
        contrast=edge.contrast[::-1],
    )


def _ending_at(edge: Edge, node: int) -> Edge:
    return edge if edge.b == node else reversed_edge(edge)


def _starting_at(edge: Edge, node: int) -> Edge:
    return edge if edge.a == node else reversed_edge(edge)


def _concatenate(first: Edge, second: Edge) -> Edge:
    return Edge(
        first.a,
        second.b,
        np.vstack([first.path, second.path[1:]]),
        np.concatenate([first.radius_px, second.radius_px[1:]]),
        np.concatenate([first.arrival_s, second.arrival_s[1:]]),
        np.concatenate([first.contrast, second.contrast[1:]]),
        first.bridged and second.bridged,
    )


def _bridge_gaps(network: Network, params: NetworkParams, scale: float) -> Network:
    """Join open ends to what they point at across a gap, each to its nearest partner."""
    ends = _open_ends(network)
    if not ends or params.gap_px == 0:
        return network
    component = _components(network)
    owner = np.concatenate([np.full(len(e.path), k) for k, e in enumerate(network.edges)])
    points = np.vstack([e.path for e in network.edges])
    nodes, edges = list(network.nodes), list(network.edges)
    cosine = np.cos(np.deg2rad(params.gap_angle_deg))
    splits: dict[int, list[tuple[int, int]]] = defaultdict(list)
    joined: set[tuple[int, int]] = set()
    for node, outward in ends:
        offset = points - network.nodes[node]
        distance = np.linalg.norm(offset, axis=1)
        reach = (distance > 0) & (distance <= params.gap_px * scale)
        reach &= component[[network.edges[k].a for k in owner]] != component[node]
        reach &= (offset @ outward) >= cosine * distance
        if not reach.any():
            continue
        hit = int(np.flatnonzero(reach)[np.argmin(distance[reach])])
        partner = int(owner[hit])
        pair = (min(component[node], c := component[network.edges[partner].a]), max(component[node], c))
        if pair in joined:
            continue
        joined.add(pair)
        index = hit - int(np.flatnonzero(owner == partner)[0])
        target = _node_on(network, partner, index, nodes, splits)
        edges.append(_bare(node, target, np.array([network.nodes[node], nodes[target]]), bridged=True))
    return _with_splits(Network(np.array(nodes), tuple(edges)), splits)


def _open_ends(network: Network) -> list[tuple[int, Line]]:
    """Return nodes with one edge, and the unit direction in which that edge leaves them behind."""
    ends = []
    for node, numbers in network.incident().items():
        if len(numbers) == 1:
            path = _ending_at(network.edges[numbers[0]], node).path
            back = path[max(0, len(path) - 9)]
            outward = path[-1] - back
            length = float(np.linalg.norm(outward))
            if length > 0:
                ends.append((node, outward / length))
    return ends


def _components(network: Network) -> npt.NDArray[np.int64]:
    """Return the component number of each node."""
    label = np.arange(len(network.nodes))
    for edge in network.edges:
        low, high = sorted((label[edge.a], label[edge.b]))
        label[label == high] = low
    return label


def _node_on(
    network: Network, number: int, index: int, nodes: list[Line], splits: dict[int, list[tuple[int, int]]]
) -> int:
    """Return a node at a point of an edge: an end when it is near one, else a new one."""
    edge = network.edges[number]
    if index <= 3:
        return edge.a
    if index >= len(edge.path) - 4:
        return edge.b
    nodes.append(edge.path[index])
    splits[number].append((index, len(nodes) - 1))
    return len(nodes) - 1


def _with_splits(network: Network, splits: dict[int, list[tuple[int, int]]]) -> Network:
    edges = []
    for number, edge in enumerate(network.edges):
        start, node = 0, edge.a
        for index, middle in sorted(splits.get(number, [])):
            edges.append(_part(edge, start, index, node, middle))
            start, node = index, middle
        edges.append(_part(edge, start, len(edge.path) - 1, node, edge.b))
    return Network(network.nodes, tuple(edges))


def _part(edge: Edge, first: int, last: int, a: int, b: int) -> Edge:
    piece = slice(first, last + 1)
    return Edge(
        a, b, edge.path[piece], edge.radius_px[piece], edge.arrival_s[piece], edge.contrast[piece], edge.bridged
    )


def _smooth(network: Network, sigma: float) -> Network:
    """Smooth each path along itself, its ends held, so that lengths are not those of a staircase."""
    edges = []
    for edge in network.edges:
        path = _resample(edge.path)
        if len(path) > 4 and sigma > 0:
            inner = ndimage.gaussian_filter1d(path, sigma, axis=0, mode="nearest")
            hold = np.exp(-0.5 * (np.minimum(np.arange(len(path)), np.arange(len(path))[::-1]) / sigma) ** 2)[:, None]
            path = hold * path + (1 - hold) * inner
        edges.append(_bare(edge.a, edge.b, path, bridged=edge.bridged))
    return Network(network.nodes, tuple(edges))


def _resample(path: Line) -> Line:
    """Return the path with points about one pixel apart."""
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    if along[-1] < 1:
        return path
    at = np.linspace(0, along[-1], int(np.ceil(along[-1])) + 1)
    return np.stack([np.interp(at, along, path[:, k]) for k in range(2)], axis=1)


def _with_arrival(
    network: Network, sub: SubtractedRun, maps: PerfusionMaps, params: NetworkParams, scale: float
) -> Network:
    """Give each point the leading edge of its own curve, within the arterial phase.

    Later frames are left out: parenchyma and veins that overlap would move the peak.
    """
    if not network.edges or not sub.timing_measurable:
        return network
    last = maps.phases.arterial.last
    frames = [t for t in range(min(last + 2, len(sub.frames))) if sub.usable[t]]
    points = np.vstack([edge.path for edge in network.edges]).T
    values = np.stack(
        [ndimage.map_coordinates(gaussian(sub.frames[t], 1.0 * scale), points, order=1) for t in frames]
    ).astype(np.float32)
    arrival = first_crossing(values, sub.times_s[frames], np.float32(0.5) * values.max(axis=0)).astype(np.float64)
    arrival[values.max(axis=0) < 3 * sub.noise_sd] = np.nan
    edges, start = [], 0
    for edge in network.edges:
        piece = arrival[start : start + len(edge.path)]
        start += len(edge.path)
        edges.append(replace(edge, arrival_s=_smooth_times(piece, params.arrival_smoothing_px * scale)))
    return Network(network.nodes, tuple(edges))


def _smooth_times(times_s: npt.NDArray[np.float64], sigma: float) -> npt.NDArray[np.float64]:
    known = np.isfinite(times_s)
    if not known.any() or sigma <= 0:
        return times_s
    weight = ndimage.gaussian_filter1d(known.astype(np.float64), sigma, mode="nearest")
    total = ndimage.gaussian_filter1d(np.where(known, times_s, 0.0), sigma, mode="nearest")
    return np.where(weight > 0.05, total / np.maximum(weight, 0.05), np.nan)
