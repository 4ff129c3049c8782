"""Last step of the subtraction: every frame minus its background, aligned to the reference frame.

The mask's anatomy is warped, not the vessels' timing: each frame is sampled where its anatomy
stands, and all frames are laid where the vessels stand in the frame of greatest contrast.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import ndimage

from angio_pipeline.core.params import Params
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import AngioRun, Background, SubtractedRun
from angio_pipeline.dsa.masking import MaskChoice
from angio_pipeline.dsa.motion import MotionParams, estimate_motion
from angio_pipeline.dsa.vessel_layer import VesselLayerParams, follow_vessels
from angio_pipeline.numerics.fields import compose_at, expand_field, invert_field, sampling_grid, warp
from angio_pipeline.numerics.filters import block_mean, difference_noise_sd, gaussian, resize, robust_sd, shrink

__all__ = ["SubtractParams", "subtract"]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


class SubtractParams(Params):
    """Settings of `subtract`."""

    motion: MotionParams = MotionParams()
    vessel_layer: VesselLayerParams = VesselLayerParams()
    spatial_background_px: float = Field(31.0, gt=3, description="scale of the surroundings, for a 512-pixel frame")
    temporal_quantile: float = Field(0.1, ge=0, lt=0.5, description="quantile over time that stands for no contrast")
    unusable_residual: float = Field(8.0, gt=1, description="residual over noise that ends in the spatial background")
    exclude_residual: float = Field(3.0, gt=1, description="frames whose residual is this many times the median go")
    large_residual: float = Field(4.0, gt=1, description="residual over noise beyond which motion is called large")
    correct_exposure: bool = True


@dataclass(frozen=True, slots=True)
class _Aligned:
    """Intermediate: subtracted frames in the geometry of the reference frame."""

    frames: FloatArray
    valid: BoolArray
    motion_px: npt.NDArray[np.float64]
    residual_before: float
    residual_after: float
    per_frame: npt.NDArray[np.float64]
    uncorrected: FloatArray


def subtract(run: AngioRun, choice: MaskChoice, *, params: SubtractParams) -> SubtractedRun:
    """Return the run after subtraction.

    Parameters
    ----------
    run : AngioRun
        In attenuation units (`linearise`).
    choice : MaskChoice
        What to subtract (`choose_mask`).

    Raises
    ------
    ValueError
        When the run has a single frame or is not in attenuation units.
    """
    _check(run)
    reference = int(np.argmax(choice.filling))
    choice, aligned = _align_or_fall_back(run, choice, reference, params)
    usable, quality = _usable_frames(aligned, choice, params, noise := _noise(aligned.frames, aligned.valid))
    usable[list(run.broken)] = False
    for frame in aligned.frames:
        frame[~aligned.valid] = 0
    return SubtractedRun(
        frames=aligned.frames,
        times_s=run.times_s,
        valid=aligned.valid,
        usable=usable,
        background=choice.background,
        mask_frames=choice.frames,
        reference_frame=reference,
        motion_px=aligned.motion_px,
        residual_before=aligned.residual_before,
        residual_after=aligned.residual_after,
        noise_sd=noise,
        uncorrected=aligned.uncorrected,
        attenuation=run.frames[reference],
        source=run.source,
        spacing=run.spacing,
        pose=run.pose,
        provenance=run.provenance.then(
            "subtract", background=choice.background.value, mask_frames=choice.frames, reference_frame=reference
        ),
        quality=run.quality | choice.quality | quality,
    )


def _check(run: AngioRun) -> None:
    if run.quantity.value != "attenuation":
        raise ValueError(f"Expected a run in attenuation units, found {run.quantity.value}; call linearise first.")
    if run.shape[0] < 2:
        raise ValueError("Expected at least 2 frames to subtract, found 1.")


def _align_or_fall_back(
    run: AngioRun, choice: MaskChoice, reference: int, params: SubtractParams
) -> tuple[MaskChoice, _Aligned]:
    """Return the aligned frames; where that fails, frames minus their surroundings, and a choice that says so."""
    aligned = _align(run, choice, reference, params)
    if not _beyond_correction(aligned, params):
        return choice, aligned
    # A beating heart, say: what the frames share is less than what moved.
    flags = Quality.MOTION_LARGE | Quality.MOTION_UNCORRECTED | Quality.SPATIAL_BACKGROUND
    kept = choice.quality & ~Quality.TEMPORAL_BACKGROUND
    alone = replace(choice, background=Background.SPATIAL, frames=(), quality=kept | flags)
    return alone, _align(run, alone, reference, params)


def _beyond_correction(aligned: _Aligned, params: SubtractParams) -> bool:
    """Return whether alignment failed: it leaves far more than noise, and did not even help much."""
    if np.isnan(aligned.per_frame).all():
        return False
    noise = max(_noise(aligned.frames, aligned.valid), 1e-9)
    helped = aligned.residual_after < 0.7 * aligned.residual_before
    return float(np.nanmedian(aligned.per_frame)) > params.unusable_residual * noise and not helped


def _align(run: AngioRun, choice: MaskChoice, reference: int, params: SubtractParams) -> _Aligned:
    match choice.background:
        case Background.ALREADY_SUBTRACTED:
            return _as_it_is(run, choice, reference)
        case Background.SPATIAL:
            return _minus_surroundings(run, reference, params)
        case Background.TEMPORAL:
            low = _low_quantile(run.frames, params.temporal_quantile)
            return _minus_mask(run, low, choice, reference, params)
        case _:
            mask = _mean_mask(run, choice.frames, params)
            return _minus_mask(run, _shifted(mask, choice.shift_px), choice, reference, params)


def _low_quantile(frames: FloatArray, share: float) -> FloatArray:
    """Return the frame that holds each pixel's low quantile over time, strip by strip to spare memory."""
    rank = int(share * (len(frames) - 1))
    strips = [np.partition(frames[:, row : row + 64], rank, axis=0)[rank] for row in range(0, frames.shape[1], 64)]
    return np.concatenate(strips)


def _as_it_is(run: AngioRun, choice: MaskChoice, reference: int) -> _Aligned:
    level = np.median(run.frames[:, run.valid], axis=1).astype(np.float32) if run.valid.any() else np.float32(0)
    sign = np.float32(-1 if choice.inverted else 1)
    frames = sign * (run.frames - np.reshape(level, (-1, 1, 1)))
    return _unmoved(frames, run.valid & ~_dark_frame(frames), reference)


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


def _minus_surroundings(run: AngioRun, reference: int, params: SubtractParams) -> _Aligned:
    """Return each frame minus the median of its surroundings: vessels thinner than that stay."""
    sigma = params.spatial_background_px * max(run.shape[1:]) / 512
    frames = np.empty_like(run.frames)
    for t, frame in enumerate(run.frames):
        frames[t] = frame - _surroundings(frame, run.valid, sigma)
    # Near the collimator the surroundings are half shadow: nothing there can be told from an edge.
    margin = np.ones((2 * round(sigma / 3) + 1,) * 2, np.uint8)
    inner = cv2.erode(run.valid.astype(np.uint8), margin, borderValue=0) > 0
    return _unmoved(frames, np.asarray(inner), reference)


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


def _unmoved(frames: FloatArray, valid: BoolArray, reference: int) -> _Aligned:
    n = len(frames)
    return _Aligned(
        frames,
        valid,
        np.full((n, 2), np.nan),
        np.nan,
        np.nan,
        np.full(n, np.nan),
        np.array(frames[reference], copy=True),
    )


def _mean_mask(run: AngioRun, frames: tuple[int, ...], params: SubtractParams) -> FloatArray:
    """Return the mean of the mask frames, each aligned to the last: breathing must not blur the mask."""
    last = run.frames[frames[-1]]
    if len(frames) == 1:
        return np.array(last, copy=True)
    shape = (run.shape[1], run.shape[2])
    chosen = run.frames[list(frames[:-1])]
    total = np.array(last, copy=True)
    if params.motion.enabled:
        fields = estimate_motion(chosen, last, run.valid, params=params.motion)
        grid = sampling_grid(shape)
        for frame, field in zip(chosen, fields, strict=True):
            total += warp(frame, grid + expand_field(field, shape))
    else:
        total += chosen.sum(axis=0)
    return np.asarray(total / len(frames), dtype=np.float32)


def _shifted(mask: FloatArray, shift_px: tuple[float, float]) -> FloatArray:
    """Return the mask moved by (row, col), as Mask Sub-pixel Shift (0028,6114) asks."""
    if shift_px == (0.0, 0.0):
        return mask
    grid = sampling_grid((mask.shape[0], mask.shape[1]))
    return warp(mask, grid - np.array(shift_px, dtype=np.float32))


def _minus_mask(
    run: AngioRun, mask: FloatArray, choice: MaskChoice, reference: int, params: SubtractParams
) -> _Aligned:
    shape = (run.shape[1], run.shape[2])
    fields = _motion(run, mask, choice, params)
    back = invert_field(fields[reference], shape)
    frames = np.empty_like(run.frames)
    grid = sampling_grid(shape)
    mask_at = grid + expand_field(back, shape)
    mask_here = warp(mask, mask_at)
    valid = run.valid & _seen(mask_at, run.valid)
    for t, frame in enumerate(run.frames):
        at = grid + expand_field(back + compose_at(fields[t], back, shape), shape)
        np.subtract(warp(frame, at), mask_here, out=frames[t])
        valid &= _seen(at, run.valid)
    if params.correct_exposure:
        _remove_exposure_drift(frames, valid, choice)
    vessel_free = _vessel_free(frames, valid)
    after = np.array([_residual(frame, vessel_free) for frame in frames])
    before = np.array([_residual(frame - mask, vessel_free) for frame in run.frames])
    motion_px = _mean_motion(fields, frames, valid)
    if not params.motion.enabled:
        motion_px, before = np.full_like(motion_px, np.nan), np.full_like(before, np.nan)
    if params.motion.enabled and params.vessel_layer.enabled:
        motion_px, valid = _align_vessels(frames, valid, motion_px, choice, reference, params)
    return _Aligned(
        frames, valid, motion_px, _rms(before, choice), _rms(after, choice), after, run.frames[reference] - mask
    )


def _align_vessels(
    frames: FloatArray,
    valid: BoolArray,
    background_px: npt.NDArray[np.float64],
    choice: MaskChoice,
    reference: int,
    params: SubtractParams,
) -> tuple[npt.NDArray[np.float64], BoolArray]:
    """Lay the vessels of all frames upon each other, in place; return their motion and what stays valid."""
    noise = max(_noise(frames, valid), 1e-6)
    layer = follow_vessels(
        frames, valid, background_px, np.array(choice.filling), reference, noise, params=params.vessel_layer
    )
    shape = (frames.shape[1], frames.shape[2])
    grid = sampling_grid(shape)
    kept = valid
    for t, frame in enumerate(frames):
        if t in choice.frames or not layer.fields[t].any():
            continue
        at = grid + expand_field(layer.fields[t], shape)
        frames[t] = warp(frame, at)
        kept = kept & _seen(at, valid)
    return layer.motion_px, kept


def _seen(at: FloatArray, valid: BoolArray) -> BoolArray:
    """Return where the sampled positions lie inside the valid part of the frame."""
    inside = cv2.remap(
        valid.astype(np.uint8), at[..., 1], at[..., 0], cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT
    )
    return np.asarray(inside, dtype=np.bool_)


def _motion(run: AngioRun, mask: FloatArray, choice: MaskChoice, params: SubtractParams) -> FloatArray:
    """Return the lattice fields, estimated twice: the second time the vessels found take no part."""
    if not params.motion.enabled:
        return np.zeros((run.shape[0], 1, 1, 2), dtype=np.float32)
    first = estimate_motion(run.frames, mask, run.valid, params=params.motion)
    # Half size is enough to see where vessels are, and four times cheaper.
    shape = (mask.shape[0] // 2, mask.shape[1] // 2)
    grid, small_mask = sampling_grid(shape), shrink(mask, 2)
    mean = np.zeros(shape, dtype=np.float32)
    late = range(choice.onset, run.shape[0])
    for t in late:
        mean += warp(shrink(run.frames[t], 2), grid + expand_field(first[t] / 2, shape), cubic=False) - small_mask
    mean = resize(mean / max(len(late), 1), mask.shape)
    weight = _not_vessel(mean, run.valid)
    return estimate_motion(run.frames, mask, run.valid, params=params.motion, vessel_weight=weight)


def _not_vessel(mean: FloatArray, valid: BoolArray) -> FloatArray:
    """Return weights that fall where the mean over time stays darker than its surroundings."""
    local = gaussian(mean, 1.5) - gaussian(mean, 12)
    inside = local[valid]
    if inside.size == 0:
        return np.ones_like(mean)
    scale = 1.4826 * float(np.median(np.abs(inside))) + 1e-6
    dark = gaussian(np.clip(local / (3 * scale), 0, 4), 1.5)
    return np.asarray(1.0 / (1.0 + dark**2), dtype=np.float32)


def _remove_exposure_drift(frames: FloatArray, valid: BoolArray, choice: MaskChoice) -> None:
    """Take out, in place, what a frame gained everywhere, judged by the blocks that gained least."""
    size = max(4, min(frames.shape[1:]) // 16)
    whole = block_mean(valid.astype(np.float32), size) == 1
    if not whole.any():
        return
    low = np.array([np.percentile(block_mean(f, size)[whole], 10) for f in frames], dtype=np.float32)
    low -= np.median(low[list(choice.frames)]) if choice.frames else np.min(low)
    frames -= low[:, None, None]


def _vessel_free(frames: FloatArray, valid: BoolArray) -> BoolArray:
    """Return valid pixels away from lasting enhancement, where a residual can only be motion or noise."""
    mean = gaussian(frames.mean(axis=0, dtype=np.float32), 2)
    level = np.percentile(mean[valid], 60) if valid.any() else 0.0
    free: BoolArray = valid & (mean <= level)
    return free


def _residual(frame: FloatArray, region: BoolArray) -> float:
    """Return the root-mean-square of a frame over the region, about its own mean; NaN for an empty region."""
    inside = frame[region]
    return float(inside.std(dtype=np.float64)) if inside.size else float("nan")


def _rms(per_frame: npt.NDArray[np.float64], choice: MaskChoice) -> float:
    others = np.delete(per_frame, list(choice.frames))
    return float(np.sqrt(np.mean(others**2))) if len(others) else float("nan")


def _mean_motion(fields: FloatArray, frames: FloatArray, valid: BoolArray) -> npt.NDArray[np.float64]:
    """Return the mean displacement over the anatomy that carries contrast, (T, 2) pixels."""
    peak = gaussian(frames.max(axis=0), 2) * valid
    carries = np.clip(peak - np.percentile(peak, 80), 0, None)
    weight = resize(carries, fields.shape[1:3]) + 1e-9
    return np.asarray(np.einsum("thwk,hw->tk", fields.astype(np.float64), weight) / float(weight.sum()))


def _noise(frames: FloatArray, valid: BoolArray) -> float:
    sample = frames[:: max(1, len(frames) // 6)]
    return float(np.median([difference_noise_sd(frame, valid) for frame in sample]))


def _usable_frames(
    aligned: _Aligned, choice: MaskChoice, params: SubtractParams, noise: float
) -> tuple[BoolArray, Quality]:
    """Return which frames take part in the maps, and what to say about motion."""
    residual = aligned.per_frame
    usable = np.ones(len(residual), dtype=np.bool_)
    if np.isnan(residual).all():
        return usable, Quality.NONE
    others = np.delete(residual, list(choice.frames)) if choice.frames else residual
    usable = residual <= params.exclude_residual * np.median(others)
    quality = Quality.NONE if usable.all() else Quality.FRAMES_EXCLUDED | Quality.MOTION_UNCORRECTED
    if np.median(others) > params.large_residual * max(noise, 1e-9):
        quality |= Quality.MOTION_LARGE
    return usable, quality
