"""The picture of stained tissue: what enhances once the arteries have emptied and before the veins fill.

Strategy: the arteries' own curve (what they hold above the tissue beside them) tells when they
have emptied. A tumour stands out best in the two or three seconds that follow: arteries no longer
cover it, liver has not caught up, and veins have not filled. Work is done on a coarse grid, as no
tumour that can be told from a vessel is smaller than a few of its pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from angio_pipeline.core.runs import SubtractedRun
from angio_pipeline.core.vessels import VesselSegmentation
from angio_pipeline.numerics.filters import gaussian, masked_gaussian, resize, robust_sd

__all__ = ["GRID_PX", "TissuePicture", "picture_tissue"]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
Curve = npt.NDArray[np.float64]

GRID_PX = 256
_SMOOTHING_PX = 1.0
_GRAIN_PX = 3.0
_BESIDE_PX = 11
_FEWEST_PIXELS = 20
_LEAST_LIVER_OF_ARTERY = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class TissuePicture:
    """A run on the coarse grid, and its tissue stain.

    Attributes
    ----------
    frames : ndarray, (T, h, w) float32
        Usable frames only; attenuation units.
    times_s, artery : ndarray, (T,) float64
        Start of those frames, and the arteries' curve above the tissue beside them.
    first, last : int
        The frames that were averaged into `stain`.
    stain : ndarray, (h, w) float32
    slope : ndarray, (h, w) float32
        Steepness of the stain, attenuation units a grid pixel.
    inside : ndarray, (h, w) bool
        Pixels that mean something in `stain`.
    valid : ndarray, (h, w) bool
    liver : float
        Enhancement of the tissue beside the arteries in `stain`, attenuation units.
    grain : float
        Standard deviation of the stain's fine structure, attenuation units.
    """

    frames: FloatArray
    times_s: Curve
    artery: Curve
    first: int
    last: int
    stain: FloatArray
    slope: FloatArray
    inside: BoolArray
    valid: BoolArray
    liver: float
    grain: float


def picture_tissue(
    sub: SubtractedRun, vessels: VesselSegmentation, *, window_s: float, emptied_share: float
) -> TissuePicture:
    """Return the tissue stain of a run in which contrast is seen to come.

    Parameters
    ----------
    window_s : float
        How long after the arteries have emptied frames are averaged.
    emptied_share : float
        The arteries have emptied when this share of what they lose is left.
    """
    rows, columns = sub.valid.shape
    factor = max(1, round(max(rows, columns) / GRID_PX))
    shape = (rows // factor, columns // factor)
    kept = np.flatnonzero(sub.usable)
    frames = np.stack([resize(sub.frames[t], shape) for t in kept])
    times = np.asarray(sub.times_s[kept], dtype=np.float64)
    valid = resize(sub.valid.astype(np.float32), shape) > 0.99
    share = resize(vessels.artery.astype(np.float32), shape)
    beside = _beside(share > 0, valid)
    artery = _artery_curve(frames, share, beside, valid)
    first, last, emptied = _window(times, artery, window_s, emptied_share)
    inside = valid if emptied else valid & (share < 0.3)
    mean = np.asarray(frames[first : last + 1].mean(axis=0), dtype=np.float32)
    stain = masked_gaussian(mean, inside, _SMOOTHING_PX)
    liver = _level(stain, beside & inside, inside)
    return TissuePicture(
        frames=frames,
        times_s=times,
        artery=artery,
        first=first,
        last=last,
        stain=stain,
        slope=_slope(stain),
        inside=inside,
        valid=valid,
        # Where hardly any tissue shows, a share of the arteries' contrast stands for it.
        liver=max(liver, _LEAST_LIVER_OF_ARTERY * float(artery.max()), 1e-6),
        grain=max(robust_sd((stain - gaussian(stain, _GRAIN_PX))[inside]), 1e-6),
    )


def _beside(touched: BoolArray, valid: BoolArray) -> BoolArray:
    """Return the tissue next to the arteries."""
    seen = touched.astype(np.uint8)
    wide = cv2.dilate(seen, np.ones((_BESIDE_PX, _BESIDE_PX), np.uint8)) > 0
    near = cv2.dilate(seen, np.ones((3, 3), np.uint8)) > 0
    return np.asarray(wide & ~near & valid)


def _artery_curve(frames: FloatArray, share: FloatArray, beside: BoolArray, valid: BoolArray) -> Curve:
    """Return (T,) contrast of the arteries above the tissue beside them."""
    core = (share > 0.5) & valid
    if np.count_nonzero(core) < _FEWEST_PIXELS:
        core = (share > 0.2) & valid
    around = frames[:, beside].mean(axis=1) if beside.any() else 0.0
    if core.any():
        return np.asarray(frames[:, core].mean(axis=1) - around, dtype=np.float64)
    return np.asarray(frames.reshape(len(frames), -1).max(axis=1), dtype=np.float64)


def _window(times: Curve, artery: Curve, window_s: float, emptied_share: float) -> tuple[int, int, bool]:
    """Return the first and last frame of the tissue stain, and whether the arteries have emptied by then."""
    top = int(np.argmax(artery))
    floor = float(artery[top:].min())
    emptied = floor < 0.5 * float(artery[top])
    if emptied:
        left = floor + emptied_share * (float(artery[top]) - floor)
        first = top + int(np.argmax(artery[top:] <= left))
    else:
        first = max(top, len(artery) - 1 - max(1, len(artery) // 8))
    last = int(np.flatnonzero(times <= times[first] + window_s)[-1])
    return first, last, emptied


def _slope(stain: FloatArray) -> FloatArray:
    down, across = (cv2.Sobel(stain, cv2.CV_32F, dx, 1 - dx, ksize=3, scale=0.125) for dx in (0, 1))
    return np.asarray(np.hypot(down, across), dtype=np.float32)


def _level(stain: FloatArray, beside: BoolArray, inside: BoolArray) -> float:
    if beside.any():
        return float(np.median(stain[beside]))
    return float(np.percentile(stain[inside], 75)) if inside.any() else 0.0
