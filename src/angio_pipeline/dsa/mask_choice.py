"""Second step of the subtraction: which frames hold no contrast, and what to subtract.

Strategy: contrast only ever adds attenuation, what motion leaves behind adds and removes it
alike. So, after a coarse alignment to the first frame, the asymmetry of the difference (its
high percentile plus its low one) follows the contrast. Frames before that curve rises for good
may make the mask. When it never rises the run was filled from its first frame and no frame will do.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.params import Params
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import AngioRun, Background, MaskOperation, Quantity
from angio_pipeline.dsa.alignment import differences
from angio_pipeline.dsa.linear import linear_shrunk
from angio_pipeline.dsa.motion import MotionParams, estimate_motion
from angio_pipeline.numerics.filters import block_mean, difference_noise_sd, gaussian, shrink

__all__ = ["MaskChoice", "MaskParams", "choose_mask", "filling_curve", "looks_subtracted"]


# On quarter-size frames; enough to keep moving edges from being taken for contrast.
_COARSE_MOTION = MotionParams(cells=8, levels_px=(64, 128), iterations=3, high_pass=0.094, largest_shift=0.094)

# The width of a vessel that tells a subtracted export's polarity, in a frame of so many pixels, and the
# difference of strengths from which vessels are taken to be bright, against the usual display.
_THIN_PX, _THIN_AT_PX, _BRIGHT_VOTE = 12, 512, 0.03


class MaskParams(Params):
    """Settings of `choose_mask`."""

    onset_fraction: float = Field(0.08, gt=0, lt=0.5, description="share of the full filling at which contrast is in")
    min_filling_in_noise: float = Field(1.5, gt=0, description="filling below this many noise SDs is no filling")
    most_candidates: int = Field(10, ge=1, description="at most this many frames before contrast are considered")
    honour_header: bool = Field(True, description="use mask frames and mask shifts that the file names")
    flat_fraction: float = Field(0.8, gt=0, le=1, description="share of flat background that tells a subtracted export")
    flat_band: float = Field(0.05, gt=0, lt=0.5, description="half-width of 'flat', as a share of the full scale")


@dataclass(frozen=True, slots=True)
class MaskChoice:
    """What to subtract.

    Attributes
    ----------
    background : Background
    frames : tuple of int
        Candidates for the mask, 0-based; empty unless `background` is MASK.
    onset : int
        First frame that holds contrast.
    filling : tuple of float
        Contrast in each frame, attenuation units, 0 for the least filled.
    inverted : bool
        An already subtracted export whose vessels are bright.
    shifts_px : tuple of (float, float)
        Mask shift (row, col) that the file asks for, for each frame; empty where it asks for none.
    from_header : bool
        The file names the mask frames.
    """

    background: Background
    frames: tuple[int, ...]
    onset: int
    filling: tuple[float, ...]
    inverted: bool = False
    shifts_px: tuple[tuple[float, float], ...] = ()
    from_header: bool = False
    quality: Quality = Quality.NONE


def filling_curve(small: npt.NDArray[np.float32], inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return how much contrast each frame holds, (T,) attenuation units, the least filled at 0.

    Aligned to the first frame, the 0.5 and 99.5 percentiles of the difference are added, after
    its median (exposure drift) is removed.

    Parameters
    ----------
    small : ndarray, (T, h, w) float32
        Attenuation at quarter size or so: what is wanted here is not in the details.
    inside : ndarray, (h, w) bool
        Pixels that lie wholly in the valid area: collimated black takes no part.
    """
    margin = 2 * min(4, min(inside.shape) // 16) + 1
    core = cv2.erode(inside.astype(np.uint8), np.ones((margin, margin), np.uint8), borderValue=0) > 0
    if not core.any():
        return np.zeros(len(small))
    fields = estimate_motion(small, small[0], inside, params=_COARSE_MOTION)
    difference = differences(small, small[0], fields, inside)[:, core]
    difference -= np.median(difference, axis=1, keepdims=True)
    low, high = np.percentile(difference, [0.5, 99.5], axis=1)
    curve = low + high
    return np.asarray(curve - curve.min(), dtype=np.float64)


def looks_subtracted(run: AngioRun, params: MaskParams) -> bool:
    """Return whether the background is flat mid-grey, as only subtraction leaves it.

    Anatomy spreads the large-scale grey levels widely; after subtraction most 16-pixel blocks
    lie within a narrow band around one level that is neither black nor white.
    """
    if run.already_subtracted:
        return True
    if run.quantity not in (Quantity.STORED, Quantity.LOG_INTENSITY) or not run.valid.any():
        return False
    white = run.white_level or max(float(run.frames.max()), 1.0)
    size = max(4, min(16, min(run.shape[1:]) // 8))
    means = block_mean(run.frames[0], size)[block_mean(run.valid.astype(np.float32), size) == 1] / white
    if means.size < 16:
        return False
    level = float(np.median(means))
    flat = np.abs(means - level) < params.flat_band
    return bool(flat.mean() >= params.flat_fraction and 0.15 < level < 0.85)


def choose_mask(run: AngioRun, *, params: MaskParams) -> MaskChoice:
    """Return what to subtract from the run.

    Raises
    ------
    InputRefused
        When nothing changes in any frame: then there is nothing to see.
    """
    small = linear_shrunk(run, 4)
    inside = shrink(run.valid.astype(np.float32), 4) == 1
    _check_something_changes(run)
    filling = filling_curve(small, inside)
    subtracted = looks_subtracted(run, params)
    inverted = subtracted and _vessels_bright(run)
    if inverted:
        filling = filling.max() - filling
    onset = _onset(small[0], filling, params)
    shifts = _shifts_from_header(run, params)
    if subtracted:
        quality = Quality.ALREADY_SUBTRACTED | (Quality.PHOTOMETRIC_ASSUMED if inverted else Quality.NONE)
        if onset is None:
            quality |= Quality.FILLED_FROM_FIRST_FRAME
        return MaskChoice(
            Background.ALREADY_SUBTRACTED, (), onset or 0, tuple(filling), inverted=inverted, quality=quality
        )
    if onset is None:
        quality = Quality.NO_MASK_FRAME | Quality.SPATIAL_BACKGROUND | Quality.FILLED_FROM_FIRST_FRAME
        return MaskChoice(Background.SPATIAL, (), 0, tuple(filling), quality=quality)
    asked = _frames_from_header(run, params)
    if asked:
        return MaskChoice(Background.MASK, asked, onset, tuple(filling), shifts_px=shifts, from_header=True)
    if onset == 0:
        quality = Quality.NO_MASK_FRAME | Quality.TEMPORAL_BACKGROUND
        return MaskChoice(Background.TEMPORAL, (), 0, tuple(filling), quality=quality)
    # A breath may let the curve rise a little before the onset; what rises half as far as contrast does is contrast.
    frames = tuple(t for t in range(onset) if filling[t] < 0.5 * filling.max() and t not in run.broken)
    frames = frames[-params.most_candidates :]
    if not frames:
        quality = Quality.NO_MASK_FRAME | Quality.TEMPORAL_BACKGROUND
        return MaskChoice(Background.TEMPORAL, (), 0, tuple(filling), quality=quality)
    return MaskChoice(Background.MASK, frames, onset, tuple(filling), shifts_px=shifts)


def _check_something_changes(run: AngioRun) -> None:
    first = run.frames[0]
    if all(np.array_equal(frame, first) for frame in run.frames[1:]):
        raise InputRefused(
            f"Expected frames that differ, found {run.shape[0]} equal ones; export the whole run.",
            reason="constant_frames",
        )
    if all(frame.min() == frame.max() for frame in run.frames):
        raise InputRefused(
            f"Expected frames that show something, found {run.shape[0]} of one value each; export the images.",
            reason="constant_frames",
        )


def _onset(quarter: npt.NDArray[np.float32], filling: npt.NDArray[np.float64], params: MaskParams) -> int | None:
    """Return the first frame from which on contrast is in, 0 when it is in the first, None when none comes or goes.

    Contrast that is in stays in until the peak; a rise that goes back before is a breath.
    """
    noise = max(difference_noise_sd(quarter), 1e-6)
    peak = int(np.argmax(filling))
    # The first frame's filling is its excess over the least filled frame before the peak or after it.
    if len(filling) < 2 or filling[peak] < params.min_filling_in_noise * noise:
        return None
    before = filling[: peak + 1]
    # Contrast that is already there when the run starts shows as a later fall below the start.
    if float(before.min()) > params.onset_fraction * 2 * filling[peak]:
        return 0
    return int(np.flatnonzero(before <= _level(filling, params))[-1]) + 1


def _level(filling: npt.NDArray[np.float64], params: MaskParams) -> float:
    """Return the filling above which a frame holds contrast."""
    peak = int(np.argmax(filling))
    start = float(filling[: peak + 1].min())
    return start + params.onset_fraction * float(filling[peak] - start)


def _frames_from_header(run: AngioRun, params: MaskParams) -> tuple[int, ...]:
    hint = run.mask_hint
    if not params.honour_header or hint is None or hint.operation is not MaskOperation.AVG_SUB:
        # TID and REV_TID difference neighbouring frames for display; they name no frame free of contrast.
        return ()
    frames = dict.fromkeys(f for f in hint.mask_frames if 0 <= f < run.shape[0] and f not in run.broken)
    return tuple(frames)


def _shifts_from_header(run: AngioRun, params: MaskParams) -> tuple[tuple[float, float], ...]:
    if not _frames_from_header(run, params) or run.mask_hint is None:
        return ()
    shifts = run.mask_hint.shifts_px(run.shape[0])
    return tuple((float(row), float(col)) for row, col in shifts) if shifts.any() else ()


def _vessels_bright(run: AngioRun) -> bool:
    """Return whether the thin structures of a subtracted export are bright, so that its attenuation is negative.

    What motion leaves (a diaphragm's edge) may be stronger than vessels, but it is broad, or bright beside
    dark: of a white and a black top-hat, which keep what is thin, that of the vessels is the stronger one.
    """
    frames = linear_shrunk(run, max(1, round(max(run.shape[1:]) / _THIN_AT_PX)))
    size = max(3, 2 * round(_THIN_PX / 2 * max(frames.shape[1:]) / _THIN_AT_PX) + 1)
    inside = cv2.resize(run.valid.astype(np.uint8), frames.shape[:0:-1], interpolation=cv2.INTER_NEAREST)
    core = cv2.erode(inside, np.ones((size, size), np.uint8), iterations=2, borderValue=0) > 0
    if not core.any():
        return False
    element = np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)
    votes = [_attenuating_share(gaussian(frame, 1.5), core, element) for frame in frames]
    return float(np.mean(votes)) < -_BRIGHT_VOTE


def _attenuating_share(
    frame: npt.NDArray[np.float32], core: npt.NDArray[np.bool_], element: npt.NDArray[np.uint8]
) -> float:
    """Return how much stronger thin structures that attenuate are than those that do the opposite, -1 to 1."""
    more, less = (
        float(np.percentile(np.asarray(cv2.morphologyEx(frame, how, element), np.float32)[core], 99.5))
        for how in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT)
    )
    return (more - less) / max(more + less, 1e-6)
