"""A mask that a reader painted, checked before it is kept."""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

from angio_pipeline.review.problems import unusable

__all__ = ["checked_mask"]

_MOST_PX = 1 << 25
_START = b"\x89PNG\r\n\x1a\n"


def checked_mask(png: bytes) -> npt.NDArray[np.bool_]:
    """Return the mask in a PNG, (H, W) bool; its size is read before it is decoded.

    Raises
    ------
    ReviewProblem
        422, when it is no 8-bit PNG of 0 and 255 of a usual size.
    """
    import cv2

    size = struct.unpack(">LL", png[16:24]) if png[:8] == _START and len(png) >= 24 else (0, 0)
    if not 0 < size[0] * size[1] <= _MOST_PX:
        raise unusable("Expected a PNG of the frame's size, found something else.")
    image = cv2.imdecode(np.frombuffer(png, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype != np.uint8 or image.ndim != 2 or not np.isin(image, (0, 255)).all():
        raise unusable("Expected a PNG of one 8-bit channel that holds 0 and 255 alone, found another.")
    return np.asarray(image > 0)
