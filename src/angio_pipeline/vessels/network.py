"""The undirected network of centrelines: traced, pruned, bridged, measured.

Strategy: the skeleton of the mask is traced into edges; short spurs, which are the raggedness of a
vessel's edge and not a branch, go; open ends that point at another piece across a small gap are
joined (`gaps`). Each edge is then moved onto the middle of the attenuation across it, between
pixels, and carries radius and contrast (both from the profile across the vessel) and arrival
(leading edge of its own smoothed curve). Places where edges meet stay as they are: what is a fork
and what passes over what is decided where directions are known (`junctions`, `tree`).
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import ndimage
from skimage.morphology import skeletonize

from angio_pipeline.core.params import Params
from angio_pipeline.core.runs import PerfusionMaps, SubtractedRun
from angio_pipeline.numerics.curves import first_crossing
from angio_pipeline.numerics.filters import gaussian
from angio_pipeline.numerics.polylines import Polylines, filled_along, smooth_along, smooth_paths
from angio_pipeline.numerics.skeletons import trace_skeleton
from angio_pipeline.vessels.profiles import ProfileParams, centred, measure_profiles

__all__ = ["Draft", "Edge", "Network", "NetworkParams", "Piece", "build_network", "with_node_near"]

Line = npt.NDArray[np.float64]
Image = npt.NDArray[np.float32]


class NetworkParams(Params):
    """Settings of `build_network`; lengths are for a 512-pixel frame and grow with it."""

    spur_px: float = Field(
        3.0, ge=0, description="open ends that stick out of a vessel by less than this and their own radius are pruned"
    )
    gap_px: float = Field(24.0, ge=0, description="longest gap between ends of centrelines that is bridged")
    gap_angle_deg: float = Field(
        40.0, gt=0, le=90, description="how far a bridge may turn from the branches it joins, degrees"
    )
    smoothing_px: float = Field(0.7, ge=0, description="Gaussian over each frame before it is read")
    along_px: float = Field(1.5, ge=0, description="Gaussian along the centreline")
    arrival_smoothing_px: float = Field(6.0, ge=0, description="Gaussian along the centreline, of arrival times")
    profiles: ProfileParams = ProfileParams()


@dataclass(frozen=True, slots=True, eq=False)
class Edge:
    """An undirected piece of vessel between nodes `a` and `b`, path from a to b.

    `contrast` is the attenuation of the centre above the tissue beside it, as it is seen: where
    vessels overlap it is what they attenuate together. `arrival_sd_s` is by how much arrival scatters
    from point to point before it is smoothed along the edge.
    """

    a: int
    b: int
    path: Line
    radius_px: npt.NDArray[np.float64]
    arrival_s: npt.NDArray[np.float64]
    contrast: npt.NDArray[np.float64]
    bridged: bool = False
    arrival_sd_s: float = float("nan")

    @property
    def length_px(self) -> float:
        """Length along the path."""
        return _length(self.path)


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


@dataclass(slots=True, eq=False)
class Piece:
    """An edge before it is measured."""

    a: int
    b: int
    path: Line
    bridged: bool = False


@dataclass(slots=True, eq=False)
class Draft:
    """A network while it is put in order; `inside` (H, W) float32 is the distance to the mask's edge."""

    nodes: list[Line]
    pieces: list[Piece]
    inside: Image = field(repr=False)

    def degrees(self) -> dict[int, int]:
        """Return how many ends of pieces each node has."""
        degree: dict[int, int] = defaultdict(int)
        for piece in self.pieces:
            degree[piece.a] += 1
            degree[piece.b] += 1
        return degree

    def radius_at(self, point: Line) -> float:
        """Return the distance from a point to the mask's edge; at least half a pixel, as a node may lie beside it."""
        row, col = (min(max(round(float(v)), 0), n - 1) for v, n in zip(point, self.inside.shape, strict=True))
        return max(float(self.inside[row, col]), 0.5)


def build_network(
    artery: npt.NDArray[np.bool_], sub: SubtractedRun, maps: PerfusionMaps, *, params: NetworkParams
) -> Network:
    """Return the network of an artery mask with radius, contrast and arrival along each edge.

    Parameters
    ----------
    artery : ndarray, (H, W) bool
    """
    # Gaps are bridged on the draft that is told here.
    from angio_pipeline.vessels.gaps import bridge_gaps

    scale = max(artery.shape) / 512
    if not artery.any():
        return Network(np.empty((0, 2)), ())
    # All that follows looks at the part of the picture that holds vessels.
    window = _window(artery, round(16 * scale))
    mask = _without_pinholes(artery[window], max(4, round(12 * scale**2)))
    draft = _trace(mask)
    _prune(draft, params.spur_px * scale)
    _join_chains(draft)
    bridge_gaps(draft, maps.arrival_s[window], params.gap_px * scale, params.gap_angle_deg, scale)
    _prune(draft, params.spur_px * scale)
    _join_chains(draft)
    if not draft.pieces:
        return Network(np.empty((0, 2)), ())
    frames = _smoothed_frames(sub, maps, window, params.smoothing_px * scale)
    network = _measured(draft, mask, frames, sub, maps, params, scale)
    low = np.array([window[0].start, window[1].start], dtype=np.float64)
    return Network(network.nodes + low, tuple(replace(edge, path=edge.path + low) for edge in network.edges))


Window = tuple[slice, slice]


def _window(mask: npt.NDArray[np.bool_], margin: int) -> Window:
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    low, high = (int(rows[0]), int(cols[0])), (int(rows[-1]) + 1, int(cols[-1]) + 1)
    first, second = (slice(max(0, a - margin), b + margin) for a, b in zip(low, high, strict=True))
    return first, second


def _without_pinholes(artery: npt.NDArray[np.bool_], largest: int) -> npt.NDArray[np.uint8]:
    """Return the mask, 0 or 1, without holes of a few pixels: noise inside a vessel would become a loop."""
    mask = artery.astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(1 - mask, connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] <= largest
    small[0] = False
    if small.any():
        mask[small[labels]] = 1
    return mask


def _trace(mask: npt.NDArray[np.uint8]) -> Draft:
    # Beyond the picture nothing is vessel. Distances count to the first pixel outside: half a pixel too far.
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    away = np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1])
    inside = np.maximum(away - 0.5, 0.5) * mask
    traced = trace_skeleton(skeletonize(mask > 0))
    pieces = [Piece(a, b, path) for a, b, path in traced.edges]
    return Draft(list(traced.nodes), pieces, inside.astype(np.float32))


def _length(path: Line) -> float:
    step = path[1:] - path[:-1]
    return float(np.sqrt((step * step).sum(axis=1)).sum())


def _prune(draft: Draft, spur_px: float) -> None:
    """Drop open ends that hardly stick out of the vessel they leave, the shortest first."""
    degree, gone = draft.degrees(), set()
    queue: list[tuple[float, int]] = []

    def look(number: int) -> None:
        piece = draft.pieces[number]
        if piece.bridged or (degree[piece.a] == 1) == (degree[piece.b] == 1):
            return
        base, tip = (piece.b, piece.a) if degree[piece.a] == 1 else (piece.a, piece.b)
        if degree[base] < 3:
            return
        out = _length(piece.path) - draft.radius_at(draft.nodes[base])
        if out < spur_px + draft.radius_at(draft.nodes[tip]):
            heapq.heappush(queue, (out, number))

    at: dict[int, list[int]] = defaultdict(list)
    for number, piece in enumerate(draft.pieces):
        at[piece.a].append(number)
        at[piece.b].append(number)
        look(number)
    while queue:
        _, number = heapq.heappop(queue)
        piece = draft.pieces[number]
        base = piece.b if degree[piece.a] == 1 else piece.a
        if number in gone or degree[base] < 3:
            continue
        gone.add(number)
        degree[piece.a] -= 1
        degree[piece.b] -= 1
    draft.pieces = [piece for number, piece in enumerate(draft.pieces) if number not in gone]


def _join_chains(draft: Draft) -> None:
    """Join two pieces that meet alone at a node into one."""
    pieces: list[Piece | None] = list(draft.pieces)
    at: dict[int, list[int]] = defaultdict(list)
    for number, piece in enumerate(draft.pieces):
        at[piece.a].append(number)
        at[piece.b].append(number)
    for node in list(at):
        numbers = at[node]
        if len(numbers) != 2 or numbers[0] == numbers[1]:
            continue
        first, second = pieces[numbers[0]], pieces[numbers[1]]
        if first is None or second is None:
            continue
        joined = _concatenate(first, second, node)
        pieces[numbers[0]], pieces[numbers[1]] = joined, None
        at[joined.b] = [numbers[0] if n == numbers[1] else n for n in at[joined.b]]
        at[node] = []
    draft.pieces = [piece for piece in pieces if piece is not None]


def _concatenate(first: Piece, second: Piece, node: int) -> Piece:
    start, before = (first.a, first.path) if first.b == node else (first.b, first.path[::-1])
    end, after = (second.b, second.path) if second.a == node else (second.a, second.path[::-1])
    return Piece(start, end, np.concatenate([before, after[1:]]), first.bridged and second.bridged)


def _smoothed_frames(sub: SubtractedRun, maps: PerfusionMaps, window: Window, sigma: float) -> dict[int, Image]:
    """Return the frames up to just after the arterial phase, smoothed; later ones show tissue and veins."""
    arterial = maps.phases.arterial
    last = min(arterial.last + 1, len(sub.frames) - 1)
    usable = [t for t in range(last + 1) if sub.usable[t]] or [sub.reference_frame]
    if not sub.timing_measurable:
        # Then the others tell nothing: no arrival is read.
        usable = [t for t in usable if arterial.first <= t <= arterial.last] or usable
    return {t: gaussian(sub.frames[t][window], sigma) for t in usable}


def _arterial_image(frames: dict[int, Image], sub: SubtractedRun, maps: PerfusionMaps) -> Image:
    """Return the greatest contrast of each pixel in the arterial phase; the mean where it is not seen to come."""
    arterial = maps.phases.arterial
    chosen = [image for t, image in frames.items() if arterial.first <= t <= arterial.last] or list(frames.values())
    if not sub.timing_measurable:
        return np.asarray(np.mean(chosen, axis=0), dtype=np.float32)
    out = chosen[0].copy()
    for image in chosen[1:]:
        np.maximum(out, image, out=out)
    return out


def _measured(
    draft: Draft,
    mask: npt.NDArray[np.uint8],
    frames: dict[int, Image],
    sub: SubtractedRun,
    maps: PerfusionMaps,
    params: NetworkParams,
    scale: float,
) -> Network:
    """Return the network with its lines between pixels, and what is measured along them."""
    image = _arterial_image(frames, sub, maps)
    lines = smooth_paths(Polylines.of([p.path for p in draft.pieces]).resampled(), params.along_px * scale)
    free = _free_of_others(draft, lines)
    along = params.profiles.along_px * scale
    lines = smooth_paths(centred(image, mask, lines, draft.inside, free, along), params.along_px * scale)
    radius, contrast = _radius_and_contrast(draft, image, mask, lines, free, sub.noise_sd, params, scale)
    seen_s = _arrival(lines, frames, free, sub)
    arrival = smooth_along(lines, seen_s, params.arrival_smoothing_px * scale)
    parts = (lines.split(values) for values in (lines.points, radius, arrival, contrast, np.abs(seen_s - arrival)))
    edges = [
        Edge(piece.a, piece.b, path, r, t, c, piece.bridged, _scatter(apart))
        for piece, path, r, t, c, apart in zip(draft.pieces, *parts, strict=True)
    ]
    return Network(np.array(draft.nodes), tuple(edges))


def _radius_and_contrast(
    draft: Draft,
    image: Image,
    mask: npt.NDArray[np.uint8],
    lines: Polylines,
    free: npt.NDArray[np.float64],
    noise_sd: float,
    params: NetworkParams,
    scale: float,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return radius (pixels) and contrast above what lies beside, (N,) float64, of every point of the lines."""
    along = params.profiles.along_px * scale
    smoothed_px = params.smoothing_px * scale
    grain_px = 2 * np.sqrt(np.pi) * max(smoothed_px, 0.3)
    profiles = measure_profiles(
        image,
        mask,
        lines,
        draft.inside,
        free,
        spread_px=float(np.hypot(params.profiles.spread_px * scale, smoothed_px)),
        noise_sd=noise_sd / grain_px,
        grain_px=grain_px,
        along=round(along),
        params=params.profiles,
    )
    shadow = ndimage.map_coordinates(draft.inside, lines.points.T, order=1, mode="nearest").astype(np.float64)
    radius = np.exp(filled_along(lines, smooth_along(lines, np.log(profiles.radius_px), along)))
    radius = np.where(np.isfinite(radius), radius, np.maximum(shadow, 0.5))
    base = filled_along(lines, smooth_along(lines, profiles.base, 2 * along))
    seen = ndimage.map_coordinates(image, lines.points.T, order=1, mode="nearest").astype(np.float64)
    level = np.nanmedian(base) if np.isfinite(base).any() else 0.0
    contrast = np.maximum(seen - np.where(np.isfinite(base), base, level), 0.0)
    return radius, contrast


def _free_of_others(draft: Draft, lines: Polylines) -> npt.NDArray[np.float64]:
    """Return (N,) 0 to 1: 0 in the place where vessels meet, 1 from 1.3 of its radius on."""
    degree = draft.degrees()
    # Of each end of a piece the node; its radius is 0 where no others meet it.
    ends = np.array([(piece.a, piece.b) for piece in draft.pieces], dtype=np.int64)
    radius = {node: draft.radius_at(draft.nodes[node]) if count >= 3 else 0.0 for node, count in degree.items()}
    reach = np.array([[radius[a], radius[b]] for a, b in ends.tolist()])
    number = np.repeat(np.arange(len(ends)), np.diff(lines.first))
    free = np.ones(len(lines.points))
    nodes = np.array(draft.nodes)
    for end in (0, 1):
        meets = np.flatnonzero(reach[number, end] > 0)
        piece = number[meets]
        offset = lines.points[meets] - nodes[ends[piece, end]]
        away = np.hypot(offset[:, 0], offset[:, 1])
        free[meets] = np.minimum(free[meets], np.clip((away / reach[piece, end] - 0.7) / 0.6, 0, 1))
    return free


def _arrival(
    lines: Polylines, frames: dict[int, Image], free: npt.NDArray[np.float64], sub: SubtractedRun
) -> npt.NDArray[np.float64]:
    """Return the leading edge of each point's own curve within the arterial phase, seconds.

    Later frames are left out: parenchyma and veins that overlap would move the peak.
    """
    if not sub.timing_measurable:
        return np.full(len(lines.points), np.nan)
    at = lines.points.T
    values = np.stack([ndimage.map_coordinates(image, at, order=1, mode="nearest") for image in frames.values()])
    top = values.max(axis=0)
    arrival = first_crossing(values, sub.times_s[list(frames)], np.float32(0.5) * top).astype(np.float64)
    arrival[(top < 3 * sub.noise_sd) | (free < 0.5)] = np.nan
    return arrival


def _scatter(apart_s: npt.NDArray[np.float64]) -> float:
    """Return the standard deviation of what is left after smoothing, robustly; NaN where little is known."""
    known = apart_s[np.isfinite(apart_s)]
    return float(1.4826 * np.median(known)) if len(known) >= 5 else float("nan")


def with_node_near(network: Network, point: Sequence[float], reach_px: float, *, piece_of: int) -> tuple[Network, int]:
    """Return the network with a node at the place nearest to a point, and that node.

    It is one of the network's own where one lies within `reach_px` of that place; else an edge is cut there.

    Parameters
    ----------
    piece_of : int
        A node; only what hangs together with it counts.
    """
    target = np.asarray(point, dtype=np.float64)
    inside = _hanging_together(network, piece_of)
    away = [
        float(np.linalg.norm(edge.path - target, axis=1).min()) if edge.a in inside else np.inf
        for edge in network.edges
    ]
    number = int(np.argmin(away))
    edge = network.edges[number]
    index = int(np.argmin(np.linalg.norm(edge.path - target, axis=1)))
    for node, end in ((edge.a, edge.path[0]), (edge.b, edge.path[-1])):
        if np.linalg.norm(end - edge.path[index]) <= reach_px:
            return network, node
    middle = len(network.nodes)
    parts = (_cut(edge, slice(0, index + 1), edge.a, middle), _cut(edge, slice(index, None), middle, edge.b))
    edges = (*network.edges[:number], parts[0], *network.edges[number + 1 :], parts[1])
    return Network(np.vstack([network.nodes, edge.path[index]]), edges), middle


def _hanging_together(network: Network, node: int) -> set[int]:
    at, seen, stack = network.incident(), {node}, [node]
    while stack:
        for number in at[stack.pop()]:
            for other in (network.edges[number].a, network.edges[number].b):
                if other not in seen:
                    seen.add(other)
                    stack.append(other)
    return seen


def _cut(edge: Edge, part: slice, a: int, b: int) -> Edge:
    return Edge(
        a,
        b,
        edge.path[part],
        edge.radius_px[part],
        edge.arrival_s[part],
        edge.contrast[part],
        edge.bridged,
        edge.arrival_sd_s,
    )
