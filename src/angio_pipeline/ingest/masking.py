"""What the file's Mask Subtraction Sequence asks for (PS3.3 C.7.6.10), with frames counted from 0."""

from __future__ import annotations

from pydicom.dataset import Dataset

from angio_pipeline.core.runs import MaskHint, MaskOperation
from angio_pipeline.ingest.headers import integer, items, numbers, text

__all__ = ["mask_hint"]


def mask_hint(dataset: Dataset, frames: int) -> MaskHint | None:
    """Return the first usable mask operation, None where the file has no Mask Subtraction Sequence.

    Frame numbers outside the run are dropped; an average of no frames left is no operation.
    """
    hints = [_hint(item, frames) for item in items(dataset, "MaskSubtractionSequence")]
    usable = [hint for hint in hints if hint.operation is not MaskOperation.NONE]
    found = usable or hints
    return found[0] if found else None


def _hint(item: Dataset, frames: int) -> MaskHint:
    name = text(item, "MaskOperation").upper()
    operation = MaskOperation(name) if name in MaskOperation.__members__ else MaskOperation.NONE
    mask_frames = tuple(int(n) - 1 for n in numbers(item, "MaskFrameNumbers") if 1 <= n <= frames)
    if operation is MaskOperation.AVG_SUB and not mask_frames:
        operation = MaskOperation.NONE
    shift = numbers(item, "MaskSubPixelShift")
    offset = integer(item, "TIDOffset")
    return MaskHint(
        operation,
        mask_frames,
        _ranges(numbers(item, "ApplicableFrameRange"), frames),
        tid_offset=1 if offset is None else offset,
        sub_pixel_shift_px=(shift[0], shift[1]) if len(shift) == 2 else (0.0, 0.0),
    )


def _ranges(values: tuple[float, ...], frames: int) -> tuple[tuple[int, int], ...]:
    pairs = zip(values[::2], values[1::2], strict=False)
    inside = ((max(int(first), 1), min(int(last), frames)) for first, last in pairs)
    return tuple((first - 1, last - 1) for first, last in inside if first <= last)
