"""Edits and regions to where the anatomy stands now: the first step of every correction.

What a reader draws lies in the geometry of one frame. Another version of the software may choose another reference
frame, in which the anatomy stands elsewhere. The difference of the two frames' mean displacements moves a place along;
where it is not known, or too large for a mean to stand for all of it, the edit is refused rather than misplaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from pydantic import Field

from angio_pipeline.core.corrections import AddTumour, CorrectionOutcome, GivenEdit, Note, RedrawTumour, outcome
from angio_pipeline.core.followups import FilmRoi
from angio_pipeline.core.params import Params
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import SubtractedRun
from angio_pipeline.numerics.polygons import shifted_mask

__all__ = ["CorrectionParams", "anatomy_shift", "place_edits", "place_region"]


class CorrectionParams(Params):
    """Tolerances of a reader's corrections, all set by hand; lengths are for a 512-pixel frame and grow with it."""

    most_shift_px: float = Field(
        16.0, ge=0, description="a place is moved along with the anatomy between reference frames by at most this"
    )
    tumour_reach_px: float = Field(12.0, ge=0, description="a tumour is meant by a point at most this far from it")
    covered_share: float = Field(
        0.5, gt=0, le=1, description="a tumour found of which a drawn one covers this much is the same tumour"
    )
    same_place_px: float = Field(8.0, gt=0, description="a feeder or target this near the place told is the one meant")
    click_reach_px: float = Field(12.0, gt=0, description="how far from a vessel a click may be")
    target_reach_px: float = Field(8.0, gt=0, description="how far from a vessel a target may be put")
    detour_px: float = Field(
        30.0, ge=0, description="what leaving the tree's own way costs the way of a click, as length"
    )
    gap_px: float = Field(48.0, ge=0, description="how far before the tumour the vessel of a click may end")


def anatomy_shift(sub: SubtractedRun, frames: Sequence[int]) -> tuple[float, float] | None:
    """Return (row, col) pixels from where the anatomy stands in `frames` to where it stands in the reference frame.

    The mean over several frames; None where the motion of one of them is not known. Frames of a run that was not moved
    at all are taken to stand still, unless it is seen to move far.
    """
    if set(frames) == {sub.reference_frame}:
        return 0.0, 0.0
    if not np.isfinite(sub.motion_px).any():
        return None if Quality.MOTION_LARGE in sub.quality else (0.0, 0.0)
    row, col = sub.motion_px[sub.reference_frame] - np.mean(sub.motion_px[list(frames)], axis=0)
    return (float(row), float(col)) if np.isfinite([row, col]).all() else None


def place_region(roi: FilmRoi, sub: SubtractedRun) -> FilmRoi | None:
    """Return a region where the anatomy stands in the reference frame; None where that is not known.

    One that was drawn on no frame in particular stays where it is.
    """
    if not roi.frames:
        return roi
    shift = anatomy_shift(sub, roi.frames) if max(roi.frames) < len(sub.frames) else None
    return None if shift is None else replace(roi, mask=shifted_mask(roi.mask, shift))


def place_edits(
    given: Sequence[GivenEdit], sub: SubtractedRun, *, params: CorrectionParams
) -> tuple[tuple[GivenEdit, ...], tuple[CorrectionOutcome, ...]]:
    """Return the edits with their places in the present reference frame, and those refused with a reason."""
    placed, refused = [], []
    for one in given:
        answer = _placed(one, sub, params)
        if isinstance(answer, GivenEdit):
            placed.append(answer)
        else:
            refused.append(outcome(one, answer, applied=False))
    return tuple(placed), tuple(refused)


def _placed(one: GivenEdit, sub: SubtractedRun, params: CorrectionParams) -> GivenEdit | str:
    """Return the edit where it belongs now, or the sentence that says why it belongs nowhere."""
    frames, *size = sub.frames.shape
    drawn = (one.size, one.mask.shape if one.mask is not None else (None, None))
    for told in drawn:
        if any(want is not None and want != have for want, have in zip(told, size, strict=True)):
            rows, columns = ("?" if n is None else n for n in told)
            return f"Expected a correction of {size[0]} x {size[1]} frames, found one of {rows} x {columns}."
    if not one.edit.points() and one.mask is None:
        return one
    if one.reference_frame >= frames:
        return f"Expected a reference frame from 0 to {frames - 1}, found {one.reference_frame}."
    shift = anatomy_shift(sub, (one.reference_frame,))
    now = f"the reference frame is now {sub.reference_frame}, not {one.reference_frame}"
    if shift is None:
        return f"Expected to know how the anatomy moves between frames, found that it is not; {now}. Correct it again."
    if float(np.hypot(*shift)) > params.most_shift_px * max(size) / 512:
        far = f"{np.hypot(*shift):.0f} px"
        return f"Expected the anatomy to stand about where it was drawn, found it {far} away; {now}. Correct it again."
    moved = _moved(one, shift) if shift != (0.0, 0.0) else one
    return moved if _in_view(moved, (size[0], size[1])) else "Expected a place inside the frame, found one outside."


def _moved(one: GivenEdit, shift: tuple[float, float]) -> GivenEdit:
    def along(point: tuple[float, float]) -> tuple[float, float]:
        return point[0] + shift[0], point[1] + shift[1]

    mask = None if one.mask is None else shifted_mask(one.mask, shift)
    return replace(one, edit=one.edit.with_places(along), mask=mask, shift_px=shift)


def _in_view(one: GivenEdit, size: tuple[int, int]) -> bool:
    """Return whether every place lies in the frame; an outline may leave it, as long as something is left."""
    if isinstance(one.edit, (AddTumour, RedrawTumour, Note)):
        return True
    return all(-0.5 <= row <= size[0] - 0.5 and -0.5 <= col <= size[1] - 0.5 for row, col in one.edit.points())
