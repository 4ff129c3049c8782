"""When the bolus passes: times of its leading edge along every branch.

Strategy: a branch is cut into short pieces. Of each piece and frame the mean profile across the
vessel is taken above the tissue beside it (a mean of pixels that are no vessel), and of the
profile the greatest value: breathing that was not corrected moves a vessel sideways, and its
centre with it. The piece's curve reaches half of its greatest value at the time that is kept,
interpolated between two frames. Half, because dispersion widens an edge about its middle: lower
levels come earlier the further contrast has gone, and would feign speed.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import ndimage

from angio_pipeline.core.params import Params
from angio_pipeline.core.runs import PerfusionMaps, SubtractedRun
from angio_pipeline.core.vessels import Branch, VesselGraph
from angio_pipeline.numerics.compiled import each_in_threads
from angio_pipeline.numerics.filters import masked_blur

__all__ = ["BolusParams", "BolusTimes", "along_px", "bolus_frames", "bolus_times", "edge_times", "piece_curves"]

Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
# Places across the vessel at which a profile is read.
_ACROSS = np.linspace(-1, 1, 15)


class BolusParams(Params):
    """Settings of `bolus_times`; lengths are for a 512-pixel frame and grow with it. All were chosen by hand."""

    piece_px: float = Field(8.0, ge=2, description="length of the pieces that a branch is cut into")
    reach_px: float = Field(2.5, ge=0, description="how far beyond its edge a vessel is looked for in each frame")
    apart_px: float = Field(2.0, ge=0, description="what is nearer to a vessel's edge is no tissue beside it")
    tissue_px: float = Field(6.0, gt=0, description="Gaussian over the tissue beside a vessel")
    level: float = Field(0.5, gt=0, lt=1, description="share of the greatest contrast at which the edge has come")
    least_in_noise: float = Field(6.0, ge=0, description="pieces that show less than this many noise SDs have no edge")


@dataclass(frozen=True, slots=True, eq=False)
class BolusTimes:
    """Times at which the edge passes the pieces of one branch.

    Attributes
    ----------
    along_px : ndarray, (M,) float64
        Middle of each piece, from the branch's start.
    time_s, sd_s : ndarray, (M,) float64
        When the edge passes, and the standard deviation that noise gives it.
    """

    along_px: Array
    time_s: Array
    sd_s: Array


def bolus_times(
    graph: VesselGraph, artery: BoolArray, sub: SubtractedRun, maps: PerfusionMaps, *, params: BolusParams
) -> tuple[BolusTimes, ...]:
    """Return for each branch when contrast passes it; without a piece where no edge is seen.

    Parameters
    ----------
    artery : ndarray, (H, W) bool
        What is no tissue beside the vessels.
    """
    frames = bolus_frames(sub, maps)
    nothing = BolusTimes(np.empty(0), np.empty(0), np.empty(0))
    if not graph.branches or len(frames) < 2 or not sub.timing_measurable:
        return tuple(nothing for _ in graph.branches)
    pieces = piece_curves(graph, artery, sub, frames, params=params)
    return tuple(edge_times(*piece, sub.times_s[frames], sub.noise_sd, params) for piece in pieces)


def bolus_frames(sub: SubtractedRun, maps: PerfusionMaps) -> list[int]:
    """Return the frames that show contrast coming: the usable ones up to one after the arterial phase."""
    last = min(maps.phases.arterial.last + 1, len(sub.frames) - 1)
    return [t for t in range(last + 1) if sub.usable[t]]


def along_px(branch: Branch) -> Array:
    """Return (K,) the distance of each point of a branch from its start, along the centreline."""
    steps = np.linalg.norm(np.diff(branch.centreline, axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)])[: len(branch.centreline)]


def piece_curves(
    graph: VesselGraph, artery: BoolArray, sub: SubtractedRun, frames: list[int], *, params: BolusParams
) -> list[tuple[Array, Array, Array]]:
    """Return for each branch the middles of its pieces (M,), their curves (T, M), and how many points made each (M,).

    What lies outside the valid area, or inside the vessel that a branch comes from, makes no piece.
    """
    scale = max(artery.shape) / 512
    points, radius = _stack(graph, "centreline"), np.maximum(_stack(graph, "radius_px"), 1.0)
    number, middle = _pieces(graph, sub.valid, params.piece_px * scale)
    if not (number >= 0).any():
        return [(np.empty(0), np.empty((len(frames), 0)), np.empty(0)) for _ in graph.branches]
    used = number >= 0
    reach = radius[used] + params.reach_px * scale
    across = points[used][:, None] + (reach[:, None] * _ACROSS)[..., None] * _normals(graph)[used][:, None]
    beside = _beside(artery, sub.valid, params.apart_px * scale)
    starts = np.flatnonzero(np.diff(number[used], prepend=-1))
    count = np.diff(np.append(starts, used.sum()))
    curves = np.empty((len(frames), len(starts)))
    tissue = masked_blur(beside, params.tissue_px * scale)

    def one(row: int) -> None:
        above = sub.frames[frames[row]] - tissue(sub.frames[frames[row]])
        profile = ndimage.map_coordinates(above, across.reshape(-1, 2).T, order=1, mode="nearest")
        profile = profile.reshape(len(across), len(_ACROSS))
        curves[row] = (np.add.reduceat(profile, starts, axis=0) / count[:, None]).max(axis=1)

    each_in_threads(one, len(frames))
    along = np.add.reduceat(middle[used], starts) / count
    owner = np.concatenate([np.full(len(b.centreline), k) for k, b in enumerate(graph.branches)])[used][starts]
    return [(along[owner == k], curves[:, owner == k], count[owner == k]) for k in range(len(graph.branches))]


def _stack(graph: VesselGraph, name: str) -> Array:
    return np.concatenate([getattr(branch, name) for branch in graph.branches])


def _pieces(graph: VesselGraph, valid: BoolArray, piece_px: float) -> tuple[npt.NDArray[np.int64], Array]:
    """Return the number of the piece that each point belongs to, -1 for none, and the distance along its branch."""
    parents, numbers, along, count = graph.parents(), [], [], 0
    for k, branch in enumerate(graph.branches):
        way, above = along_px(branch), parents[k]
        length = max(float(way[-1]), 1e-9) if len(way) else 1.0
        pieces = max(1, round(length / piece_px))
        number = np.minimum((way / length * pieces).astype(np.int64), pieces - 1) + count
        # Up to the edge of the vessel that it comes from, its points lie inside that vessel.
        hidden = way < (graph.branches[above].radius_px[-1] if above is not None and above != k else 0.0)
        numbers.append(np.where(hidden, -1, number))
        along.append(way)
        count += pieces
    inside = ndimage.map_coordinates(valid.astype(np.float32), _stack(graph, "centreline").T, order=1) > 0.99
    number = np.where(inside, np.concatenate(numbers), -1)
    # Two points are no piece.
    held = np.bincount(number[number >= 0], minlength=count)
    return np.where((number >= 0) & (held[np.maximum(number, 0)] >= 3), number, -1), np.concatenate(along)


def _normals(graph: VesselGraph) -> Array:
    """Return (N, 2) unit vectors across the vessels at the points of all branches."""
    found = []
    for branch in graph.branches:
        line = branch.centreline
        if len(line) < 3:
            found.append(np.zeros_like(line))
            continue
        way = np.gradient(ndimage.gaussian_filter1d(line, 2.0, axis=0, mode="nearest"), axis=0)
        way /= np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-9)
        found.append(np.stack([-way[:, 1], way[:, 0]], axis=1))
    return np.concatenate(found)


def _beside(artery: BoolArray, valid: BoolArray, apart_px: float) -> BoolArray:
    size = 2 * round(apart_px) + 1
    grown = cv2.dilate(artery.astype(np.uint8), np.ones((size, size), np.uint8)) > 0
    return np.asarray(valid & ~grown)


def edge_times(
    along: Array, curves: Array, points: Array, times_s: Array, noise_sd: float, params: BolusParams
) -> BolusTimes:
    """Return when each curve last rises through `level` of its greatest value before it; pieces without are left out.

    Parameters
    ----------
    along : ndarray, (M,)
        Middles of the pieces.
    curves : ndarray, (T, M)
    points : ndarray, (M,)
        Points of the centreline, a pixel apart, that were averaged into each curve.
    noise_sd : float
        Of a pixel of one frame.
    """
    found = [
        (place, *edge)
        for place, curve, count in zip(along, curves.T, points, strict=True)
        # Neighbouring points of a line share pixels: about every second one brings noise of its own.
        if (edge := _edge(curve, times_s, noise_sd / np.sqrt(max(0.5 * count, 1.0)), params)) is not None
    ]
    place, time, sd = np.array(found).reshape(-1, 3).T
    return BolusTimes(place, time, sd)


def _edge(curve: Array, times_s: Array, noise_sd: float, params: BolusParams) -> tuple[float, float] | None:
    peak = int(np.argmax(curve))
    level = params.level * curve[peak]
    if not curve[peak] > params.least_in_noise * noise_sd:
        return None
    below = np.flatnonzero(curve[:peak] < level)
    if not len(below):
        return None
    first = int(below[-1])
    rise = curve[first + 1] - curve[first]
    share = (level - curve[first]) / rise
    step = times_s[first + 1] - times_s[first]
    # Noise of both samples, and of the greatest value that sets the level.
    sd = noise_sd * np.sqrt((1 - share) ** 2 + share**2 + params.level**2) * step / rise
    return float(times_s[first] + share * step), float(sd)
