"""What stands in for a mask: nothing, each pixel's own past, or its surroundings."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from angio_pipeline.core.runs import AngioRun, Quantity
from angio_pipeline.dsa.linear import linear_frame, white_level
from angio_pipeline.numerics.compiled import each_in_threads
from angio_pipeline.numerics.filters import gaussian, resize, robust_sd, shrink

__all__ = ["as_it_is", "low_quantile", "minus_surroundings"]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


def low_quantile(run: AngioRun, share: float) -> FloatArray:
    """Return the attenuation that each pixel falls short of for a share of the time, (H, W) float32.

    Taken strip by strip, to spare memory.
    """
    count, rows, _ = run.shape
    # Where values rise with the beam, little attenuation is a high value.
    rank = int(share * (count - 1))
    rank = rank if run.quantity is Quantity.ATTENUATION else count - 1 - rank
    strips = [np.partition(run.frames[:, row : row + 64], rank, axis=0)[rank] for row in range(0, rows, 64)]
    low, white = np.concatenate(strips)[None], white_level(run)
    return linear_frame(replace(run, frames=low, times_s=run.times_s[:1], broken=(), white_level=white), 0)


def as_it_is(run: AngioRun, *, inverted: bool) -> tuple[FloatArray, BoolArray]:
    """Return the frames of a subtracted export, contrast positive, and where they are valid.

    Frames are (T, H, W) float32 about their flat level.
    """
    frames = np.empty(run.shape, np.float32)
    sign = np.float32(-1 if inverted else 1)
    for t in range(len(frames)):
        frame = linear_frame(run, t)
        level = np.median(frame[run.valid]) if run.valid.any() else np.float32(0)
        frames[t] = sign * (frame - level)
    return frames, run.valid & ~_dark_frame(frames)


def _dark_frame(frames: FloatArray) -> BoolArray:
    """Return the rim of a subtracted export that departs from its flat level, (H, W) bool.

    What departs and hangs on the frame's edge is rim; an opening keeps it from reaching along
    a vessel that enters there.
    """
    mean = gaussian(frames.mean(axis=0, dtype=np.float32), 1.5)
    scale = max(mean.shape) / 512
    reach = max(3, round(10 * scale))
    departs = np.abs(mean) > 5 * max(robust_sd(mean), 1e-6)
    padded = np.pad(departs, 3 * reach, constant_values=True)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    opened = cv2.morphologyEx(padded.astype(np.uint8), cv2.MORPH_OPEN, disc)
    parts, _ = ndimage.label(opened)
    rim = parts == parts[0, 0]
    grown = cv2.dilate(rim.astype(np.uint8), np.ones((reach // 2 * 2 + 1,) * 2, np.uint8)) > 0
    return np.asarray(grown[3 * reach : -3 * reach, 3 * reach : -3 * reach])


def minus_surroundings(run: AngioRun, scale_px: float) -> tuple[FloatArray, BoolArray]:
    """Return each frame minus the median of its surroundings, (T, H, W), and where that is valid; thin vessels stay.

    Parameters
    ----------
    scale_px : float
        Size of the surroundings.
    """
    frames = np.empty(run.shape, np.float32)

    def one(t: int) -> None:
        frame = linear_frame(run, t)
        frames[t] = frame - _surroundings(frame, run.valid, scale_px)

    each_in_threads(one, len(frames))
    # Near the collimator the surroundings are half shadow: nothing there can be told from an edge.
    margin = np.ones((2 * round(scale_px / 3) + 1,) * 2, np.uint8)
    inner = cv2.erode(run.valid.astype(np.uint8), margin, borderValue=0) > 0
    return frames, np.asarray(inner)


def _surroundings(frame: FloatArray, valid: BoolArray, scale_px: float) -> FloatArray:
    """Return the local median at a quarter of the resolution, where it is cheap and just as smooth."""
    filled = np.where(valid, frame, np.float32(np.median(frame[valid])) if valid.any() else np.float32(0))
    small = shrink(filled, 4)
    low, high = float(small.min()), float(small.max())
    size = int(scale_px / 4) | 1
    grey = np.round((small - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)
    median = cv2.medianBlur(grey, max(3, size)).astype(np.float32) * ((high - low) / 255) + low
    smooth = gaussian(median, max(1.0, size / 4))
    return resize(smooth, frame.shape)
