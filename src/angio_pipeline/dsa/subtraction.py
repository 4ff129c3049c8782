"""Last step of the subtraction: every frame minus its background, aligned to the reference frame.

Anatomy and vessels move differently, so they are treated one after the other: the mask is laid
upon each frame by its anatomy, and the difference is laid upon the reference frame (the one of
greatest contrast) by its vessels. Both displacements are found on a smaller copy of the run and
joined, so that each frame and each mask is sampled once, at full size, in a single pass.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import ndimage

from angio_pipeline.core.params import Params
from angio_pipeline.core.provenance import Provenance
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import AngioRun, Background, Correction, MotionReport, Quantity, SubtractedRun
from angio_pipeline.dsa.alignment import Alignment, align_anatomy, differences, not_vessel
from angio_pipeline.dsa.linear import linear_frame, linear_shrunk, white_level
from angio_pipeline.dsa.masking import MaskChoice
from angio_pipeline.dsa.masks import MaskScope, MaskSet, PatchMaskParams, align_candidates, choose_by_residual
from angio_pipeline.dsa.motion import MotionParams
from angio_pipeline.dsa.vessel_layer import VesselLayer, VesselLayerParams, follow_vessels
from angio_pipeline.numerics.compiled import each_in_threads
from angio_pipeline.numerics.fields import compose_at
from angio_pipeline.numerics.filters import block_mean, difference_noise_sd, gaussian, resize, robust_sd, shrink
from angio_pipeline.numerics.sampling import difference_at

__all__ = ["SubtractParams", "subtract"]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

# Residuals are sampled at every so many rows and columns: enough pixels to know a standard deviation.
_RESIDUAL_STEP = 4


class SubtractParams(Params):
    """Settings of `subtract`."""

    motion: MotionParams = MotionParams()
    masks: PatchMaskParams = PatchMaskParams()
    vessel_layer: VesselLayerParams = VesselLayerParams()
    pixel_shift_px: tuple[float, float] | None = Field(
        None, description="(row, col) by which the mask is moved; takes the place of all automatic correction"
    )
    working_px: int = Field(512, ge=64, le=4096, description="longer side of the copy on which motion is found")
    spatial_background_px: float = Field(31.0, gt=3, description="scale of the surroundings, for a 512-pixel frame")
    temporal_quantile: float = Field(0.1, ge=0, lt=0.5, description="quantile over time that stands for no contrast")
    unusable_residual: float = Field(8.0, gt=1, description="residual over noise that ends in the spatial background")
    exclude_residual: float = Field(3.0, gt=1, description="frames whose residual is this many times the median go")
    large_residual: float = Field(4.0, gt=1, description="residual over noise beyond which motion is called large")
    correct_exposure: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class _Aligned:
    """Intermediate: subtracted frames in the geometry of the reference frame.

    `per_frame` is what is left outside vessels in each frame; NaN, like `motion`, where there is no mask.
    """

    frames: FloatArray
    valid: BoolArray
    usable: BoolArray
    motion_px: npt.NDArray[np.float64]
    per_frame: npt.NDArray[np.float64]
    uncorrected: FloatArray
    mask_frames: tuple[int, ...] = ()
    motion: MotionReport | None = None


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
    for frame in aligned.frames:
        frame[~aligned.valid] = 0
    noise = _noise(aligned.frames, aligned.valid)
    live = np.setdiff1d(np.arange(len(aligned.frames)), choice.frames)
    return SubtractedRun(
        frames=aligned.frames,
        times_s=run.times_s,
        valid=aligned.valid,
        usable=aligned.usable,
        background=choice.background,
        mask_frames=aligned.mask_frames,
        reference_frame=reference,
        motion_px=aligned.motion_px,
        residual_before=_rms(aligned.motion.residual_none[live]) if aligned.motion else float("nan"),
        residual_after=_rms(aligned.per_frame[live]),
        noise_sd=noise,
        uncorrected=aligned.uncorrected,
        attenuation=linear_frame(run, reference),
        source=run.source,
        spacing=run.spacing,
        pose=run.pose,
        motion=aligned.motion,
        provenance=_provenance(run, choice, aligned, reference),
        quality=run.quality | choice.quality | _motion_quality(run, aligned, live, noise, params),
    )


def _provenance(run: AngioRun, choice: MaskChoice, aligned: _Aligned, reference: int) -> Provenance:
    linear = run.provenance
    if run.quantity is not Quantity.ATTENUATION:
        linear = linear.then("linearise", quantity=run.quantity.value, white_level=white_level(run))
    told = {"background": choice.background.value, "mask_frames": aligned.mask_frames, "reference_frame": reference}
    if aligned.motion is not None:
        told |= {"correction": aligned.motion.correction.value, "mask_scope": aligned.motion.mask_scope}
    return linear.then("subtract", **told)


def _check(run: AngioRun) -> None:
    if run.shape[0] < 2:
        raise ValueError("Expected at least 2 frames to subtract, found 1.")


def _align_or_fall_back(
    run: AngioRun, choice: MaskChoice, reference: int, params: SubtractParams
) -> tuple[MaskChoice, _Aligned]:
    """Return the aligned frames; where that fails, frames minus their surroundings, and a choice that says so."""
    if choice.background is Background.ALREADY_SUBTRACTED:
        return choice, _as_it_is(run, choice, reference)
    if choice.background is Background.SPATIAL:
        return choice, _minus_surroundings(run, reference, params)
    aligned = _minus_mask(run, choice, reference, params)
    if aligned is not None:
        return choice, aligned
    # A beating heart, say: what the frames share is less than what moved.
    flags = Quality.MOTION_LARGE | Quality.MOTION_UNCORRECTED | Quality.SPATIAL_BACKGROUND
    kept = choice.quality & ~Quality.TEMPORAL_BACKGROUND
    alone = replace(choice, background=Background.SPATIAL, frames=(), quality=kept | flags)
    return alone, _minus_surroundings(run, reference, params)


def _low_quantile(run: AngioRun, share: float) -> FloatArray:
    """Return the attenuation that each pixel falls short of for a share of the time, strip by strip to spare memory."""
    count, rows, _ = run.shape
    linear = run.quantity is Quantity.ATTENUATION
    # Where values rise with the beam, little attenuation is a high value.
    rank = int(share * (count - 1)) if linear else count - 1 - int(share * (count - 1))
    strips = [np.partition(run.frames[:, row : row + 64], rank, axis=0)[rank] for row in range(0, rows, 64)]
    return linear_frame(replace(run, frames=np.concatenate(strips)[None], times_s=run.times_s[:1], broken=()), 0)


def _as_it_is(run: AngioRun, choice: MaskChoice, reference: int) -> _Aligned:
    frames = np.empty(run.shape, np.float32)
    sign = np.float32(-1 if choice.inverted else 1)
    for t in range(len(frames)):
        frame = linear_frame(run, t)
        level = np.median(frame[run.valid]) if run.valid.any() else np.float32(0)
        frames[t] = sign * (frame - level)
    return _unmoved(run, frames, run.valid & ~_dark_frame(frames), reference)


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
    frames = np.empty(run.shape, np.float32)

    def one(t: int) -> None:
        frame = linear_frame(run, t)
        frames[t] = frame - _surroundings(frame, run.valid, sigma)

    each_in_threads(one, len(frames))
    # Near the collimator the surroundings are half shadow: nothing there can be told from an edge.
    margin = np.ones((2 * round(sigma / 3) + 1,) * 2, np.uint8)
    inner = cv2.erode(run.valid.astype(np.uint8), margin, borderValue=0) > 0
    return _unmoved(run, frames, np.asarray(inner), reference)


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


def _unmoved(run: AngioRun, frames: FloatArray, valid: BoolArray, reference: int) -> _Aligned:
    unknown = np.full(len(frames), np.nan)
    return _Aligned(
        frames=frames,
        valid=valid,
        usable=_whole(run),
        motion_px=np.full((len(frames), 2), np.nan),
        per_frame=unknown,
        uncorrected=np.array(frames[reference], copy=True),
    )


def _whole(run: AngioRun) -> BoolArray:
    usable = np.ones(run.shape[0], np.bool_)
    usable[list(run.broken)] = False
    return usable


def _minus_mask(run: AngioRun, choice: MaskChoice, reference: int, params: SubtractParams) -> _Aligned | None:
    """Return the run minus its mask, None where the mask cannot be laid upon it."""
    factor = max(1, round(max(run.shape[1:]) / params.working_px))
    small = _Working(linear_shrunk(run, factor), shrink(run.valid.astype(np.float32), factor) == 1, factor)
    masks = _candidates(run, small, choice, params)
    alignment, correction = _anatomy(small, masks, choice, params)
    masks = _mask_of_each_frame(small, masks, alignment, choice, correction, params)
    contrast = _contrast(small, masks, alignment.fields)
    residuals = _residual_layers(run, masks, alignment, _vessel_free(contrast, small.valid), factor)
    report = _report(residuals, masks, correction, choice, params)
    left = _last_layer(report)
    usable = _whole(run) & _correctable(left, choice, params)
    if _beyond_correction(report, left, choice, contrast[usable], small.valid, params):
        return None
    layer = _vessels(small, contrast, alignment, choice, reference, correction, params)
    drift = _exposure_drift(contrast, small.valid, choice) if params.correct_exposure else np.zeros(len(contrast))
    frames, valid = _full_size(run, masks, alignment.fields, layer.fields, factor, usable, drift)
    uncorrected = linear_frame(run, reference) - masks.image(reference)
    motion_px = factor * layer.motion_px if correction is not Correction.NONE else np.full((len(frames), 2), np.nan)
    return _Aligned(frames, valid, usable, motion_px, left, uncorrected, masks.used, report)


@dataclass(frozen=True, slots=True, eq=False)
class _Working:
    """The run in attenuation units, smaller by a factor, on which motion is found."""

    frames: FloatArray
    valid: BoolArray
    factor: int


def _candidates(run: AngioRun, small: _Working, choice: MaskChoice, params: SubtractParams) -> MaskSet:
    if choice.background is Background.MASK:
        return align_candidates(run, small.frames, choice.frames, small.factor, params=params.motion)
    image = _low_quantile(run, params.temporal_quantile)[None]
    return MaskSet((), image, MaskScope.RUN, np.ones((1, 1, 1, 1), np.float32))


def _anatomy(
    small: _Working, masks: MaskSet, choice: MaskChoice, params: SubtractParams
) -> tuple[Alignment, Correction]:
    """Return how the frames lie against the mask: by hand, by what is seen, or by the file's word alone."""
    count = len(small.frames)
    told = params.pixel_shift_px or choice.shift_px
    # A mask that moves down shows at x what it held above x.
    shift = np.tile(-np.asarray(told, np.float32) / small.factor, (count, 1, 1, 1))
    mask = shrink(masks.images.mean(axis=0), small.factor)
    filled = np.arange(count) >= choice.onset
    if params.pixel_shift_px is None and params.motion.enabled:
        start = shift if choice.shift_px != (0.0, 0.0) else None
        found = align_anatomy(small.frames, mask, small.valid, filled=filled, start=start, params=params.motion)
        return found, Correction.AUTOMATIC
    weight = not_vessel(differences(small.frames[filled], mask, shift[filled], small.valid), small.valid)
    if params.pixel_shift_px is not None:
        return Alignment(shift, shift, weight), Correction.HAND
    return Alignment(shift, shift, weight), Correction.HEADER if choice.shift_px != (0.0, 0.0) else Correction.NONE


def _mask_of_each_frame(
    small: _Working,
    masks: MaskSet,
    alignment: Alignment,
    choice: MaskChoice,
    correction: Correction,
    params: SubtractParams,
) -> MaskSet:
    if correction is Correction.HAND or (choice.from_header and params.masks.scope is MaskScope.AUTO):
        return masks
    live = np.ones(len(small.frames), np.bool_)
    live[list(masks.frames)] = False
    weight = alignment.vessel_weight * small.valid
    return choose_by_residual(masks, small.frames, alignment.fields, weight, live=live, params=params.masks)


def _contrast(small: _Working, masks: MaskSet, fields: FloatArray) -> FloatArray:
    """Return each frame minus its mask, at working size, where the frame was acquired."""
    images = np.stack([shrink(image, small.factor) for image in masks.images])
    little = replace(masks, images=images)
    if masks.scope is MaskScope.RUN:
        return differences(small.frames, little.image(0), fields, small.valid)
    parts = [
        differences(small.frames[t : t + 1], little.image(t), fields[t : t + 1], small.valid)
        for t in range(len(small.frames))
    ]
    return np.concatenate(parts)


def _residual_layers(
    run: AngioRun, masks: MaskSet, alignment: Alignment, free: BoolArray, factor: int
) -> npt.NDArray[np.float64]:
    """Return what each layer of the correction leaves outside vessels, (4, T): none, shift, field, choice of masks."""
    step = _RESIDUAL_STEP if min(run.shape[1:]) >= 256 else 1
    size = (-(-run.shape[1] // step), -(-run.shape[2] // step))
    region = cv2.resize(free.astype(np.uint8), (size[1], size[0]), interpolation=cv2.INTER_NEAREST) > 0
    mean = replace(masks, scope=MaskScope.RUN, shares=masks.shares.mean(axis=(0, 2, 3), keepdims=True)).image(0)
    out = np.empty((4, run.shape[0]))
    still = np.zeros((1, 1, 2), np.float32)

    def one(t: int) -> None:
        frame = linear_frame(run, t)
        own = mean if masks.scope is MaskScope.RUN else masks.image(t)
        layers = ((mean, still), (mean, alignment.shifts[t]), (mean, alignment.fields[t]), (own, alignment.fields[t]))
        for k, (mask, field) in enumerate(layers):
            if k == 3 and masks.scope is MaskScope.RUN:
                out[3, t] = out[2, t]
                continue
            seen, left = np.ones(size, np.bool_), np.empty(size, np.float32)
            difference_at(frame, mask, None, factor * field, out=left, seen=seen, valid=run.valid, step=step)
            out[k, t] = _residual(left, region & seen)

    each_in_threads(one, run.shape[0])
    return out


def _report(
    residuals: npt.NDArray[np.float64],
    masks: MaskSet,
    correction: Correction,
    choice: MaskChoice,
    params: SubtractParams,
) -> MotionReport:
    unknown = np.full(residuals.shape[1], np.nan)
    moved, finer = correction is not Correction.NONE, masks.scope is not MaskScope.RUN
    return MotionReport(
        correction=correction,
        mask_shift_px=params.pixel_shift_px or choice.shift_px,
        mask_scope=masks.scope.value,
        residual_none=residuals[0],
        residual_shift=residuals[1] if moved else unknown,
        residual_field=residuals[2] if correction is Correction.AUTOMATIC else unknown,
        residual_masks=residuals[3] if finer else unknown,
    )


def _last_layer(report: MotionReport) -> npt.NDArray[np.float64]:
    """Return what the last layer that was applied left of each frame."""
    layers = (report.residual_masks, report.residual_field, report.residual_shift, report.residual_none)
    return next(layer for layer in layers if not np.isnan(layer).all() or layer is report.residual_none)


def _vessels(
    small: _Working,
    contrast: FloatArray,
    alignment: Alignment,
    choice: MaskChoice,
    reference: int,
    correction: Correction,
    params: SubtractParams,
) -> VesselLayer:
    """Return where the vessels stand; frames that are not followed automatically stay where they are."""
    if correction is not Correction.AUTOMATIC:
        moved = -_mean_offset(alignment.fields)
        return VesselLayer(np.zeros_like(alignment.fields), moved)
    noise = max(_noise(contrast, small.valid), 1e-6)
    filling = np.array(choice.filling)
    fields, masks = alignment.fields, choice.frames
    return follow_vessels(
        contrast, small.valid, fields, filling, reference, noise, masks=masks, params=params.vessel_layer
    )


def _mean_offset(fields: FloatArray) -> npt.NDArray[np.float64]:
    """Return the mean offset of each lattice, (T, 2)."""
    return fields.mean(axis=(1, 2), dtype=np.float64)


def _full_size(
    run: AngioRun,
    masks: MaskSet,
    anatomy: FloatArray,
    vessels: FloatArray,
    factor: int,
    usable: BoolArray,
    drift: npt.NDArray[np.float64],
) -> tuple[FloatArray, BoolArray]:
    """Return the subtracted frames in the reference frame's geometry, and where all usable ones show something."""
    shape = (run.shape[1], run.shape[2])
    frames = np.empty(run.shape, np.float32)
    seen = np.ones(run.shape, np.bool_)
    shared = masks.image(0) if masks.scope is MaskScope.RUN else None

    def one(t: int) -> None:
        mask = masks.image(t) if shared is None else shared
        there = factor * vessels[t]
        against = there + compose_at(factor * anatomy[t], there, shape)
        moved = there if vessels[t].any() else None
        difference_at(
            *(linear_frame(run, t), mask, moved, against),
            **{"out": frames[t], "seen": seen[t], "valid": run.valid, "offset": float(drift[t])},
        )

    each_in_threads(one, len(frames))
    return frames, run.valid & seen[usable].all(axis=0)


def _exposure_drift(contrast: FloatArray, valid: BoolArray, choice: MaskChoice) -> npt.NDArray[np.float64]:
    """Return what each frame gained everywhere, (T,), judged by the blocks that gained least."""
    size = max(4, min(contrast.shape[1:]) // 16)
    whole = block_mean(valid.astype(np.float32), size) == 1
    if not whole.any():
        return np.zeros(len(contrast))
    low = np.array([np.percentile(block_mean(f, size)[whole], 10) for f in contrast])
    return low - (np.median(low[list(choice.frames)]) if choice.frames else np.min(low))


def _vessel_free(contrast: FloatArray, valid: BoolArray) -> BoolArray:
    """Return valid pixels away from lasting enhancement, where a residual can only be motion or noise."""
    mean = gaussian(contrast.mean(axis=0, dtype=np.float32), 2 * max(valid.shape) / 512)
    level = np.percentile(mean[valid], 60) if valid.any() else 0.0
    free: BoolArray = valid & (mean <= level)
    return free


def _residual(frame: FloatArray, region: BoolArray) -> float:
    """Return the root-mean-square of a frame over the region, about its own mean; NaN for an empty region."""
    inside = frame[region]
    return float(inside.std(dtype=np.float64)) if inside.size else float("nan")


def _rms(per_frame: npt.NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(per_frame**2))) if len(per_frame) else float("nan")


def _noise(frames: FloatArray, valid: BoolArray) -> float:
    sample = frames[:: max(1, len(frames) // 6)]
    return float(np.median([difference_noise_sd(frame, valid) for frame in sample])) if len(sample) else float("nan")


def _correctable(left: npt.NDArray[np.float64], choice: MaskChoice, params: SubtractParams) -> BoolArray:
    """Return which frames are laid upon the mask about as well as most."""
    others = np.delete(left, list(choice.frames)) if choice.frames else left
    if np.isnan(others).all():
        return np.ones(len(left), np.bool_)
    return np.asarray(left <= params.exclude_residual * np.nanmedian(others))


def _beyond_correction(
    report: MotionReport,
    left: npt.NDArray[np.float64],
    choice: MaskChoice,
    contrast: FloatArray,
    valid: BoolArray,
    params: SubtractParams,
) -> bool:
    """Return whether alignment failed: it leaves far more than noise, and did not even help much."""
    live = np.setdiff1d(np.arange(len(left)), choice.frames)
    if report.correction is not Correction.AUTOMATIC or np.isnan(left[live]).all():
        return False
    helped = _rms(left[live]) < 0.7 * _rms(report.residual_none[live])
    return float(np.nanmedian(left)) > params.unusable_residual * max(_noise(contrast, valid), 1e-9) and not helped


def _motion_quality(
    run: AngioRun, aligned: _Aligned, live: npt.NDArray[np.intp], noise_sd: float, params: SubtractParams
) -> Quality:
    """Return what to say about motion."""
    if aligned.motion is None or np.isnan(aligned.per_frame[live]).all():
        return Quality.NONE
    followed = bool((aligned.usable == _whole(run)).all())
    quality = Quality.NONE if followed else Quality.FRAMES_EXCLUDED | Quality.MOTION_UNCORRECTED
    if np.nanmedian(aligned.per_frame[live]) > params.large_residual * max(noise_sd, 1e-9):
        quality |= Quality.MOTION_LARGE
    return quality
