"""Which frame holds the most arterial contrast: the reference frame, in whose geometry all results are drawn.

Contrast in vessels is narrow, tissue stain is broad, and both add up linearly: the sum of what rises above
its surroundings follows the iodine in vessels and little else. Brightest pixels would not do: the trunk is full
long before its branches are.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from angio_pipeline.numerics.filters import gaussian, shrink

__all__ = ["arterial_filling", "fullest_frame", "shows_vessels"]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

# Found on copies of about this size; narrow is what a blur of the second width takes away.
_COPY_PX, _FINE_PX, _BROAD_PX = 256, 0.5, 4.0
_AS_FULL = 0.02
# A frame that has less than this share of the greatest excess of bright over dark shows edges of what moved.
_ONE_SIGNED = 0.75


def arterial_filling(contrast: FloatArray, valid: BoolArray) -> npt.NDArray[np.float64]:
    """Return (T,) the narrow contrast of each subtracted frame (T, H, W), mean over the valid pixels, above the least.

    The least frame's is what noise and anatomy leave in every frame.
    """
    narrow = _narrow(contrast, valid)
    out = np.array([float(np.maximum(frame, 0).mean()) if len(frame) else 0.0 for frame in narrow])
    return np.asarray(out - out.min())


def shows_vessels(contrast: FloatArray, valid: BoolArray, usable: BoolArray) -> BoolArray:
    """Return (T,) which usable frames of a subtracted run (T, H, W) have narrow contrast as vessels have it.

    Vessels are bright alone; an edge that moved leaves as much dark as bright, however full it makes a frame look.
    Frames before the vessels are full are not told apart from such frames.
    """
    excess = np.array([float((frame * np.abs(frame)).sum()) for frame in _narrow(contrast, valid)])
    most = excess[usable].max(initial=0.0)
    return np.asarray(usable & ((excess >= _ONE_SIGNED * most) | (most <= 0)))


def _narrow(contrast: FloatArray, valid: BoolArray) -> list[FloatArray]:
    """Return for each frame what is narrow of its contrast, (N,) at the valid pixels of a small copy."""
    factor = max(1, round(max(valid.shape) / _COPY_PX))
    inside = shrink(valid.astype(np.float32), factor) == 1
    small = (shrink(frame, factor) for frame in contrast)
    return [np.asarray((gaussian(one, _FINE_PX) - gaussian(one, _BROAD_PX))[inside]) for one in small]


def fullest_frame(filling: npt.ArrayLike, usable: BoolArray) -> int:
    """Return the usable frame of greatest filling, 0 where none is usable.

    Of frames that hold as much, to within two in a hundred, the last: branches go on filling when the trunk is full.
    """
    if not usable.any():
        return 0
    held = np.where(usable & np.isfinite(filling), filling, -np.inf)
    if not np.isfinite(held).any():
        return int(np.flatnonzero(usable)[0])
    return int(np.flatnonzero(held >= held.max() - _AS_FULL * abs(held.max()))[-1])
