"""What is left outside vessels after each layer of the correction, and what follows from it.

Contrast and frames are (T, H, W) float32, attenuation, and valid areas (H, W) bool.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from angio_pipeline.core.runs import AngioRun, MotionReport
from angio_pipeline.dsa.alignment import Alignment
from angio_pipeline.dsa.linear import linear_frame
from angio_pipeline.dsa.mask_frames import MaskScope, MaskSet
from angio_pipeline.numerics.compiled import each_in_threads
from angio_pipeline.numerics.filters import block_mean, difference_noise_sd, gaussian
from angio_pipeline.numerics.sampling import difference_at, readable

__all__ = [
    "exposure_drift",
    "frame_noise_sd",
    "last_layer",
    "median_noise_sd",
    "residual_layers",
    "root_mean_square",
    "vessel_free",
]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

# Residuals are sampled at every so many rows and columns: enough pixels to know a standard deviation.
_STEP = 4


def residual_layers(
    run: AngioRun, plain: FloatArray, masks: MaskSet, alignment: Alignment, free: BoolArray, factor: int
) -> npt.NDArray[np.float64]:
    """Return what each layer leaves of each frame, (4, T) attenuation units: none, shift, field, choice of masks.

    Root-mean-square over the vessel-free region about its own mean, at full size.

    Parameters
    ----------
    plain : ndarray, (H, W) float32
        The mask without any correction.
    alignment : Alignment
        In pixels of a copy of the run smaller by `factor`.
    free : ndarray, (h, w) bool
        Vessel-free region of that copy.
    """
    core = readable(run.valid)
    step = _STEP if min(run.shape[1:]) >= 256 else 1
    size = (-(-run.shape[1] // step), -(-run.shape[2] // step))
    region = cv2.resize(free.astype(np.uint8), (size[1], size[0]), interpolation=cv2.INTER_NEAREST) > 0
    shared = masks.scope is MaskScope.RUN
    mean = replace(masks, scope=MaskScope.RUN, shares=masks.shares.mean(axis=(0, 2, 3), keepdims=True)).image(0)
    out = np.empty((4, run.shape[0]))
    still = np.zeros((1, 1, 2), np.float32)

    def one(t: int) -> None:
        frame = linear_frame(run, t)
        layers = [(plain, still), (mean, alignment.shifts[t]), (mean, alignment.fields[t])]
        if not shared:
            layers.append((masks.image(t), alignment.fields[t]))
        for k, (mask, field) in enumerate(layers):
            seen, left = np.ones(size, np.bool_), np.empty(size, np.float32)
            difference_at(frame, mask, None, factor * field, out=left, seen=seen, valid=core, step=step)
            out[k, t] = _spread(left[region & seen])
        if shared:
            out[3, t] = out[2, t]

    each_in_threads(one, run.shape[0])
    return out


def _spread(inside: FloatArray) -> float:
    return float(inside.std(dtype=np.float64)) if inside.size else float("nan")


def last_layer(report: MotionReport) -> npt.NDArray[np.float64]:
    """Return what the last layer that was applied left of each frame, (T,)."""
    layers = (report.residual_masks, report.residual_field, report.residual_shift)
    return next((layer for layer in layers if not np.isnan(layer).all()), report.residual_none)


def vessel_free(contrast: FloatArray, valid: BoolArray) -> BoolArray:
    """Return valid pixels away from lasting enhancement, where a residual can only be motion or noise, (H, W) bool."""
    mean = gaussian(contrast.mean(axis=0, dtype=np.float32), 2 * max(valid.shape) / 512)
    level = np.percentile(mean[valid], 60) if valid.any() else 0.0
    free: BoolArray = valid & (mean <= level)
    return free


def exposure_drift(contrast: FloatArray, valid: BoolArray, masks: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Return what each frame gained everywhere against the mask frames, (T,), by the blocks that gained least."""
    size = max(4, min(contrast.shape[1:]) // 16)
    whole = block_mean(valid.astype(np.float32), size) == 1
    if not whole.any():
        return np.zeros(len(contrast))
    low = np.array([np.percentile(block_mean(f, size)[whole], 10) for f in contrast])
    return np.asarray(low - (np.median(low[list(masks)]) if masks else np.min(low)))


def root_mean_square(per_frame: npt.NDArray[np.float64]) -> float:
    """Return the root of the mean square of residuals (T,), NaN for nothing."""
    return float(np.sqrt(np.mean(per_frame**2))) if len(per_frame) else float("nan")


def frame_noise_sd(run: AngioRun, valid: BoolArray) -> float:
    """Return the usual standard deviation of white noise of a frame as acquired, attenuation units, at full size."""
    sample = [t for t in range(run.shape[0]) if t not in run.broken]
    sample = sample[:: max(1, len(sample) // 6)]
    return float(np.median([difference_noise_sd(linear_frame(run, t), valid) for t in sample])) if sample else 0.0


def median_noise_sd(frames: FloatArray, valid: BoolArray) -> float:
    """Return the usual standard deviation of white noise of a few frames, NaN for none."""
    sample = frames[:: max(1, len(frames) // 6)]
    return float(np.median([difference_noise_sd(frame, valid) for frame in sample])) if len(sample) else float("nan")
