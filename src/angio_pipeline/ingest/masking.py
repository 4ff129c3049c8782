"""What the file's Mask Subtraction Sequence asks for (PS3.3 C.7.6.10), with frames counted from 0."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pydicom.dataset import Dataset

from angio_pipeline.core.runs import FrameShift, MaskHint, MaskOperation
from angio_pipeline.ingest.headers import integer, items, numbers, text

__all__ = ["mask_hint"]


def mask_hint(dataset: Dataset, frames: int) -> MaskHint | None:
    """Return the first usable mask operation, None where the file has no Mask Subtraction Sequence.

    Frame numbers outside the run are dropped; an average of no frames left is no operation.
    """
    hints = [_hint(item, frames) for item in items(dataset, "MaskSubtractionSequence")]
    usable = [hint for hint in hints if hint.operation is not MaskOperation.NONE]
    found = usable or hints
    if not found:
        return None
    # A station that shifts the mask anew for some frames adds an operation for those; one with another mask is
    # another subtraction.
    same = [hint for hint in usable if hint.mask_frames == found[0].mask_frames]
    return replace(found[0], sub_pixel_shifts=tuple(shift for hint in same for shift in hint.sub_pixel_shifts))


def _hint(item: Dataset, frames: int) -> MaskHint:
    name = text(item, "MaskOperation").upper()
    operation = MaskOperation(name) if name in MaskOperation.__members__ else MaskOperation.NONE
    mask_frames = tuple(int(n) - 1 for n in numbers(item, "MaskFrameNumbers") if 1 <= n <= frames)
    if operation is MaskOperation.AVG_SUB and not mask_frames:
        operation = MaskOperation.NONE
    applicable = _ranges(numbers(item, "ApplicableFrameRange"), frames)
    offset = integer(item, "TIDOffset")
    return MaskHint(
        operation,
        mask_frames,
        applicable,
        tid_offset=1 if offset is None else offset,
        sub_pixel_shifts=_shifts(item, operation, applicable or ((0, frames - 1),)),
    )


def _shifts(item: Dataset, operation: MaskOperation, applicable: tuple[tuple[int, int], ...]) -> tuple[FrameShift, ...]:
    """Return Mask Sub-pixel Shift (0028,6114) as pixels down and right, for each range of frames that it is meant for.

    By DICOM PS3.3 C.7.6.10.1.2 its rows go down where they are positive, but its columns to the left.
    """
    shift = numbers(item, "MaskSubPixelShift")
    if operation is not MaskOperation.AVG_SUB or len(shift) != 2 or not any(shift) or not np.isfinite(shift).all():
        return ()
    return tuple(FrameShift(first, last, (shift[0], 0.0 - shift[1])) for first, last in applicable)


def _ranges(values: tuple[float, ...], frames: int) -> tuple[tuple[int, int], ...]:
    pairs = zip(values[::2], values[1::2], strict=False)
    inside = ((max(int(first), 1), min(int(last), frames)) for first, last in pairs)
    return tuple((first - 1, last - 1) for first, last in inside if first <= last)
