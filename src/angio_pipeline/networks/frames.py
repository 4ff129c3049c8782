"""One unsubtracted frame as the frame network sees it: local contrast, whatever the display did to it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from angio_pipeline.numerics.filters import resize, wide_gaussian
from angio_pipeline.vessels import working_shape

__all__ = ["FRAME_CHANNELS", "MIN_PX", "picture_frame"]

FloatArray = npt.NDArray[np.float32]
FRAME_CHANNELS = ("detail", "context")
MIN_PX = 32
# Detail is what differs from some vessels' breadth around, context from some organs' breadth.
_DETAIL_PX, _CONTEXT_PX = 12.0, 60.0


def picture_frame(image: npt.NDArray[np.floating], *, working_px: int) -> FloatArray:
    """Return (2, h, w) of a frame (H, W) in which contrast is dark; contrast is positive in it.

    Each channel is the frame below its surroundings, over the surroundings' spread, so that gain, offset and
    smooth display curves drop out. All zeros where the frame is constant.

    Raises
    ------
    ValueError
        When the image is not two-dimensional or smaller than 32 x 32.
    """
    if image.ndim != 2 or min(image.shape) < MIN_PX:
        raise ValueError(
            f"Expected an image of one channel and at least {MIN_PX} x {MIN_PX} pixels, found {image.shape}."
        )
    known = np.isfinite(image)
    if not known.any():
        return np.zeros((len(FRAME_CHANNELS), *working_shape(_two(image.shape), working_px)), np.float32)
    filled = (image if known.all() else _continued(image, known)).astype(np.float32)
    size = working_shape(_two(image.shape), working_px)
    return local_contrast(filled if image.shape == size else resize(filled, size))


def _continued(image: npt.NDArray[np.floating], known: npt.NDArray[np.bool_]) -> npt.NDArray[np.floating]:
    """Return the image with what lies beside them where pixels are unknown: the edge of a shutter is no vessel."""
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.asarray(image[tuple(nearest)])


def local_contrast(image: FloatArray) -> FloatArray:
    """Return (2, H, W) of an image at the working size."""
    spread = float(image.std())
    if spread <= 1e-6 * max(1.0, float(np.abs(image).max())):
        return np.zeros((len(FRAME_CHANNELS), *image.shape), np.float32)
    plain = (image - np.float32(image.mean())) / np.float32(spread)
    out = []
    for sigma in (_DETAIL_PX, _CONTEXT_PX):
        mean = wide_gaussian(plain, sigma)
        squares = wide_gaussian((plain - mean) ** 2, 2 * sigma)
        # A flat place is not blown up to look like a vessel: at least a twentieth of the frame's own spread.
        out.append((mean - plain) / np.sqrt(np.maximum(squares, 0.0025)))
    return np.clip(np.stack(out), -6, 6).astype(np.float32)


def _two(shape: tuple[int, ...]) -> tuple[int, int]:
    rows, columns = shape
    return rows, columns
