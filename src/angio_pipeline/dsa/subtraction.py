"""Last step of the subtraction: every frame minus its background, aligned to the reference frame.

Anatomy and vessels move differently, so they are treated one after the other: the mask is laid
upon each frame by its anatomy, and the difference is laid upon the reference frame (the one of
greatest contrast) by its vessels. Both displacements are found on a smaller copy of the run and
joined, so that each frame and each mask is sampled once, at full size, in a single pass.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.core.provenance import Provenance
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import AngioRun, Background, Correction, MotionReport, Quantity, SubtractedRun
from angio_pipeline.dsa.alignment import Alignment, align_anatomy, differences, not_vessel
from angio_pipeline.dsa.backgrounds import as_it_is, low_quantile, minus_surroundings
from angio_pipeline.dsa.fullness import arterial_filling, fullest_frame, shows_vessels
from angio_pipeline.dsa.linear import linear_frame, linear_shrunk, stored_integers, table_of, white_level
from angio_pipeline.dsa.mask_choice import MaskChoice
from angio_pipeline.dsa.mask_frames import MaskScope, MaskSet, PatchMaskParams, align_candidates, choose_by_residual
from angio_pipeline.dsa.motion import MotionParams
from angio_pipeline.dsa.residuals import (
    exposure_drift,
    frame_noise_sd,
    last_layer,
    median_noise_sd,
    residual_layers,
    root_mean_square,
    vessel_free,
)
from angio_pipeline.dsa.vessel_layer import VesselLayer, VesselLayerParams, follow_vessels
from angio_pipeline.numerics.compiled import each_in_threads
from angio_pipeline.numerics.fields import compose_at
from angio_pipeline.numerics.filters import shrink
from angio_pipeline.numerics.sampling import difference_at, readable
from angio_pipeline.numerics.tables import look_up_minus

__all__ = ["SubtractParams", "subtract"]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


class SubtractParams(Params):
    """Settings of `subtract`."""

    motion: MotionParams = MotionParams()
    masks: PatchMaskParams = PatchMaskParams()
    vessel_layer: VesselLayerParams = VesselLayerParams()
    pixel_shift_px: tuple[Annotated[float, Field(ge=-200, le=200)], Annotated[float, Field(ge=-200, le=200)]] | None = (
        Field(None, description="(row, col) by which the mask is moved; takes the place of all automatic correction")
    )
    working_px: int = Field(512, ge=64, le=4096, description="longer side of the copy on which motion is found")
    spatial_background_px: float = Field(31.0, gt=3, description="scale of the surroundings, for a 512-pixel frame")
    temporal_quantile: float = Field(0.1, ge=0, lt=0.5, description="quantile over time that stands for no contrast")
    unusable_residual: float = Field(8.0, gt=1, description="residual over noise that ends in the spatial background")
    exclude_residual: float = Field(3.0, gt=1, description="frames whose residual is this many times the median go")
    large_residual: float = Field(4.0, gt=1, description="residual over noise beyond which motion is called large")
    correct_exposure: bool = Field(
        True, description="whether a brightness that drifts from frame to frame is taken out"
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Subtracted:
    """Intermediate: subtracted frames in the geometry of the reference frame.

    `left` is what is left outside vessels in each frame; NaN, like `motion`, where there is no mask.
    """

    frames: FloatArray
    valid: BoolArray
    usable: BoolArray
    motion_px: npt.NDArray[np.float64]
    left: npt.NDArray[np.float64]
    uncorrected: FloatArray
    reference: int
    noise_sd: float = 0.0
    mask_frames: tuple[int, ...] = ()
    motion: MotionReport | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Working:
    """The run in attenuation units, smaller by a factor, on which motion is found."""

    frames: FloatArray
    valid: BoolArray
    factor: int


def subtract(run: AngioRun, choice: MaskChoice, *, params: SubtractParams) -> SubtractedRun:
    """Return the run after subtraction, in attenuation units, contrast positive.

    Parameters
    ----------
    run : AngioRun
        As read, in any unit, or linearised.
    choice : MaskChoice
        What to subtract (`choose_mask`).

    Raises
    ------
    ValueError
        When the run has a single frame.
    """
    if run.shape[0] < 2:
        raise ValueError("Expected at least 2 frames to subtract, found 1.")
    choice, found = _subtract_or_fall_back(run, choice, params)
    found.frames[:, ~found.valid] = 0
    noise = median_noise_sd(found.frames, found.valid)
    live = np.setdiff1d(np.flatnonzero(found.usable), choice.frames)
    return SubtractedRun(
        frames=found.frames,
        times_s=run.times_s,
        valid=found.valid,
        usable=found.usable,
        background=choice.background,
        mask_frames=found.mask_frames,
        reference_frame=found.reference,
        motion_px=found.motion_px,
        residual_before=root_mean_square(found.motion.residual_none[live]) if found.motion else float("nan"),
        residual_after=root_mean_square(found.left[live]),
        noise_sd=noise,
        uncorrected=found.uncorrected,
        attenuation=linear_frame(run, found.reference),
        source=run.source,
        spacing=run.spacing,
        pose=run.pose,
        motion=found.motion,
        provenance=_provenance(run, choice, found),
        quality=run.quality | choice.quality | _motion_quality(run, found, live, params),
    )


def _provenance(run: AngioRun, choice: MaskChoice, found: _Subtracted) -> Provenance:
    linear = run.provenance
    if run.quantity is not Quantity.ATTENUATION:
        linear = linear.then("linearise", quantity=run.quantity.value, white_level=white_level(run))
    told = {"background": choice.background.value, "mask_frames": found.mask_frames, "reference_frame": found.reference}
    if found.motion is not None:
        told |= {"correction": found.motion.correction.value, "mask_scope": found.motion.mask_scope}
    return linear.then("subtract", **told)


def _subtract_or_fall_back(run: AngioRun, choice: MaskChoice, params: SubtractParams) -> tuple[MaskChoice, _Subtracted]:
    """Return the run minus its mask; where that fails, minus its surroundings, and a choice that says so."""
    reference = fullest_frame(choice.filling, _whole(run))
    maskless = choice.background in (Background.ALREADY_SUBTRACTED, Background.SPATIAL)
    if params.pixel_shift_px is not None and maskless:
        choice = replace(choice, quality=choice.quality | Quality.PIXEL_SHIFT_NOT_APPLIED)
    scale_px = params.spatial_background_px * max(run.shape[1:]) / 512
    if choice.background is Background.ALREADY_SUBTRACTED:
        frames, valid = as_it_is(run, inverted=choice.inverted)
        return choice, _unmoved(run, frames, valid, fullest_frame(arterial_filling(frames, valid), _whole(run)))
    if choice.background is Background.SPATIAL:
        return choice, _unmoved(run, *minus_surroundings(run, scale_px), reference)
    found = _minus_mask(run, choice, params)
    if found is not None:
        return choice, found
    # A beating heart, say: what the frames share is less than what moved.
    flags = Quality.MOTION_LARGE | Quality.MOTION_UNCORRECTED | Quality.SPATIAL_BACKGROUND
    kept = choice.quality & ~Quality.TEMPORAL_BACKGROUND
    alone = replace(choice, background=Background.SPATIAL, frames=(), quality=kept | flags)
    return alone, _unmoved(run, *minus_surroundings(run, scale_px), reference)


def _unmoved(run: AngioRun, frames: FloatArray, valid: BoolArray, reference: int) -> _Subtracted:
    return _Subtracted(
        frames=frames,
        valid=valid,
        usable=_whole(run),
        motion_px=np.full((len(frames), 2), np.nan),
        left=np.full(len(frames), np.nan),
        uncorrected=np.array(frames[reference], copy=True),
        reference=reference,
    )


def _whole(run: AngioRun) -> BoolArray:
    usable = np.ones(run.shape[0], np.bool_)
    usable[list(run.broken)] = False
    return usable


def _minus_mask(run: AngioRun, choice: MaskChoice, params: SubtractParams) -> _Subtracted | None:
    """Return the run minus its mask, None where the mask cannot be laid upon it."""
    factor = max(1, round(max(run.shape[1:]) / params.working_px))
    small = _Working(linear_shrunk(run, factor), shrink(run.valid.astype(np.float32), factor) == 1, factor)
    masks = _candidates(run, small, choice, params)
    alignment, correction = _anatomy(small, masks, choice, params)
    masks = _mask_of_each_frame(run, small, masks, alignment, choice, correction, params)
    contrast = _contrast(small, masks, alignment.fields)
    plain = _plain_mask(run, masks, choice)
    residuals = residual_layers(run, plain, masks, alignment, vessel_free(contrast, small.valid), factor)
    report = _report(residuals, masks, correction, choice, params)
    # Of a difference: the frame's own noise and that of the mask.
    noise = frame_noise_sd(run, run.valid) * float(np.sqrt(1 + 1 / max(len(masks.used), 1)))
    usable = _whole(run) & _correctable(last_layer(report), choice, noise, params)
    if _beyond_correction(report, choice, noise, params):
        return None
    # What motion leaves in a frame that cannot be corrected is narrow, too.
    filling = np.where(usable, arterial_filling(contrast, small.valid), 0.0)
    reference = fullest_frame(filling, shows_vessels(contrast, small.valid, usable))
    layer = _vessels(small, contrast, alignment, masks, filling, reference, correction, params)
    drift = np.zeros(len(contrast))
    if params.correct_exposure:
        drift = exposure_drift(contrast, small.valid, choice.frames)
    frames, valid = _full_size(run, masks, alignment.fields, layer.fields, factor, usable, drift)
    return _Subtracted(
        frames=frames,
        valid=valid,
        usable=usable,
        motion_px=layer.motion_px * (np.nan if correction is Correction.NONE else factor) + 0.0,
        left=last_layer(report),
        uncorrected=linear_frame(run, reference) - plain,
        reference=reference,
        noise_sd=noise,
        mask_frames=masks.used,
        motion=report,
    )


def _candidates(run: AngioRun, small: _Working, choice: MaskChoice, params: SubtractParams) -> MaskSet:
    if choice.background is Background.MASK:
        # Where the user moves the mask, nothing else does.
        by_hand = params.pixel_shift_px is not None
        motion = params.motion.model_copy(update={"enabled": False}) if by_hand else params.motion
        return align_candidates(run, small.frames, choice.frames, small.factor, params=motion)
    image = low_quantile(run, params.temporal_quantile)[None]
    return MaskSet((), image, MaskScope.RUN, np.ones((1, 1, 1, 1), np.float32))


def _plain_mask(run: AngioRun, masks: MaskSet, choice: MaskChoice) -> FloatArray:
    """Return the mean of the candidates where they were acquired: what would be subtracted without any correction."""
    if choice.background is not Background.MASK:
        return masks.image(0)
    total = linear_frame(run, choice.frames[0]).copy()
    for t in choice.frames[1:]:
        total += linear_frame(run, t)
    return np.asarray(total / np.float32(len(choice.frames)))


def _anatomy(
    small: _Working, masks: MaskSet, choice: MaskChoice, params: SubtractParams
) -> tuple[Alignment, Correction]:
    """Return how the frames lie against the mask: by hand, by what is seen, or by the file's word alone."""
    count = len(small.frames)
    # A mask that moves down shows at x what it held above x.
    shift = (-_told_shifts(count, choice, params) / small.factor).astype(np.float32)[:, None, None, :]
    mask = shrink(masks.images.mean(axis=0), small.factor)
    filled = np.arange(count) >= choice.onset
    filled[list(choice.frames)] = False
    if params.pixel_shift_px is None and params.motion.enabled:
        start = shift if choice.shifts_px else None
        found = align_anatomy(small.frames, mask, small.valid, filled=filled, start=start, params=params.motion)
        return found, Correction.AUTOMATIC
    weight = not_vessel(differences(small.frames[filled], mask, shift[filled], small.valid), small.valid)
    if params.pixel_shift_px is not None:
        return Alignment(shift, shift, weight), Correction.HAND
    return Alignment(shift, shift, weight), Correction.HEADER if choice.shifts_px else Correction.NONE


def _told_shifts(count: int, choice: MaskChoice, params: SubtractParams) -> npt.NDArray[np.float64]:
    """Return by how much the user, or else the file, asks the mask to be moved for each frame, (T, 2)."""
    if params.pixel_shift_px is not None:
        return np.tile(np.asarray(params.pixel_shift_px, np.float64), (count, 1))
    return np.asarray(choice.shifts_px, np.float64) if choice.shifts_px else np.zeros((count, 2))


def _mask_of_each_frame(
    run: AngioRun,
    small: _Working,
    masks: MaskSet,
    alignment: Alignment,
    choice: MaskChoice,
    correction: Correction,
    params: SubtractParams,
) -> MaskSet:
    if correction is Correction.HAND or (choice.from_header and params.masks.scope is MaskScope.AUTO):
        return masks
    weight = alignment.vessel_weight * small.valid
    fields = alignment.fields
    return choose_by_residual(masks, small.frames, fields, weight, small.factor, whole=_whole(run), params=params.masks)


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
        mask_shift_px=_told_shifts(len(unknown), choice, params),
        mask_scope=masks.scope.value,
        residual_none=residuals[0],
        residual_shift=residuals[1] if moved else unknown,
        residual_field=residuals[2] if correction is Correction.AUTOMATIC else unknown,
        residual_masks=residuals[3] if finer else unknown,
    )


def _correctable(
    left: npt.NDArray[np.float64], choice: MaskChoice, noise_sd: float, params: SubtractParams
) -> BoolArray:
    """Return which frames are laid upon the mask about as well as most, or leave little more than noise."""
    others = np.delete(left, list(choice.frames)) if choice.frames else left
    if np.isnan(others).all():
        return np.ones(len(left), np.bool_)
    limit = max(params.exclude_residual * float(np.nanmedian(others)), params.large_residual * noise_sd)
    return np.asarray(left <= limit)


def _beyond_correction(report: MotionReport, choice: MaskChoice, noise_sd: float, params: SubtractParams) -> bool:
    """Return whether alignment failed: it leaves far more than noise, and did not even help much."""
    left = last_layer(report)
    live = np.setdiff1d(np.arange(len(left)), choice.frames)
    if report.correction is not Correction.AUTOMATIC or np.isnan(left[live]).all():
        return False
    helped = root_mean_square(left[live]) < 0.7 * root_mean_square(report.residual_none[live])
    return float(np.nanmedian(left)) > params.unusable_residual * max(noise_sd, 1e-9) and not helped


def _vessels(
    small: _Working,
    contrast: FloatArray,
    alignment: Alignment,
    masks: MaskSet,
    filling: npt.NDArray[np.float64],
    reference: int,
    correction: Correction,
    params: SubtractParams,
) -> VesselLayer:
    """Return where the vessels stand; where motion is not found automatically, frames stay where they are."""
    fields = alignment.fields
    if correction is not Correction.AUTOMATIC:
        return VesselLayer(np.zeros_like(fields), -fields.mean(axis=(1, 2), dtype=np.float64))
    return follow_vessels(
        contrast,
        small.valid,
        fields,
        filling,
        reference,
        max(median_noise_sd(contrast, small.valid), 1e-6),
        masks=masks.used,
        params=params.vessel_layer,
    )


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
    shared = masks.image(0) if masks.scope is MaskScope.RUN else None
    stored = stored_integers(run)
    if shared is not None and stored is not None and not anatomy.any() and not vessels.any():
        frames = look_up_minus(stored, table_of(run), shared)
        frames -= drift[:, None, None].astype(np.float32)
        return frames, np.array(run.valid)
    frames = np.empty(run.shape, np.float32)
    seen = np.ones(run.shape, np.bool_)
    core = readable(run.valid)

    def one(t: int) -> None:
        mask = masks.image(t) if shared is None else shared
        there = factor * vessels[t]
        against = there + compose_at(factor * anatomy[t], there, shape)
        moved = there if vessels[t].any() else None
        images = (linear_frame(run, t), mask)
        difference_at(*images, moved, against, out=frames[t], seen=seen[t], valid=core, offset=float(drift[t]))

    each_in_threads(one, len(frames))
    return frames, run.valid & seen[usable].all(axis=0)


def _motion_quality(run: AngioRun, found: _Subtracted, live: npt.NDArray[np.intp], params: SubtractParams) -> Quality:
    """Return what to say about motion."""
    if found.motion is None or np.isnan(found.left[live]).all():
        return Quality.NONE
    followed = bool((found.usable == _whole(run)).all())
    quality = Quality.NONE if followed else Quality.FRAMES_EXCLUDED | Quality.MOTION_UNCORRECTED
    if np.nanmedian(found.left[live]) > params.large_residual * max(found.noise_sd, 1e-9):
        quality |= Quality.MOTION_LARGE
    told = found.motion.correction
    quality |= Quality.SHIFTED_BY_HAND if told is Correction.HAND else Quality.NONE
    quality |= Quality.MOTION_CORRECTION_OFF if told in (Correction.NONE, Correction.HEADER) else Quality.NONE
    before = root_mean_square(found.motion.residual_none[live])
    if told in (Correction.HAND, Correction.HEADER) and root_mean_square(found.left[live]) > 1.01 * before:
        quality |= Quality.SHIFT_MAKES_WORSE
    return quality
