"""Truth and answer in the same frame: vessels breathe, and each is drawn as they stand in a frame of its own choice.

Which frame holds the most arterial contrast is often a matter of a percent, and a breath away lie several
millimetres. The truth is therefore moved to where the vessels stand in the answer's frame, as a whole, by the true
motion. What the vessels do beyond their mean motion is not undone, and counts against the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Shift", "moved", "moved_mask", "shift_between"]

BoolArray = npt.NDArray[np.bool_]
Shift = tuple[float, float]
_STILL: Shift = (0.0, 0.0)


def shift_between(motion_px: Sequence[tuple[float, float]] | None, before: int, now: int | None) -> Shift:
    """Return how far (rows, columns) the vessels stand in frame `now` from where they stand in frame `before`.

    Nothing where the motion or the frame is not known.
    """
    if motion_px is None or now is None or not (0 <= before < len(motion_px) and 0 <= now < len(motion_px)):
        return _STILL
    (row, col), (row_before, col_before) = motion_px[now], motion_px[before]
    return row - row_before, col - col_before


def moved(told: Any, shift: Shift) -> Any:
    """Return what `truth.json` holds, as JSON has it, with everything that has a place moved by `shift`."""
    if not isinstance(told, Mapping):
        return [moved(one, shift) for one in told] if isinstance(told, list) else told
    out = {name: moved(value, shift) for name, value in told.items()}
    for name in ("catheter_tip", "branch_start"):
        if told.get(name) is not None:
            out[name] = _point(told[name], shift)
    if told.get("centreline") is not None:
        out["centreline"] = [_point(point, shift) for point in told["centreline"]]
    if "row" in told and "col" in told:
        out["row"], out["col"] = _point((told["row"], told["col"]), shift)
    return out


def _point(point: Sequence[float], shift: Shift) -> list[float]:
    return [point[0] + shift[0], point[1] + shift[1]]


def moved_mask(mask: BoolArray, shift: Shift, *, beyond: bool) -> BoolArray:
    """Return a mask (H, W) moved by whole pixels; `beyond` is what comes in over the border."""
    by = [round(value) for value in shift]
    if not any(by):
        return mask
    out = np.full_like(mask, beyond)
    to, of = zip(*(_span(step, side) for step, side in zip(by, mask.shape, strict=True)), strict=True)
    out[to] = mask[of]
    return out


def _span(step: int, side: int) -> tuple[slice, slice]:
    kept = max(0, side - abs(step))
    to, of = max(step, 0), max(-step, 0)
    return slice(to, to + kept), slice(of, of + kept)
