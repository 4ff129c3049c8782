"""Filters on images: smoothing that respects a mask, noise, block means. Knows no medicine.

Images are (H, W) float32, in and out, and masks (H, W) bool.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

__all__ = [
    "block_mean",
    "difference_noise_sd",
    "gaussian",
    "masked_blur",
    "masked_gaussian",
    "resize",
    "robust_sd",
    "shrink",
    "wide_gaussian",
]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


def gaussian(image: FloatArray, sigma_px: float) -> FloatArray:
    """Return the image blurred by a Gaussian; edges are mirrored; 0 returns the image."""
    if sigma_px <= 0:
        return image
    plain = np.ascontiguousarray(image, dtype=np.float32)
    blurred = cv2.GaussianBlur(plain, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(blurred, dtype=np.float32)


def wide_gaussian(image: FloatArray, sigma_px: float) -> FloatArray:
    """Return about what `gaussian` returns, in a time that does not grow with sigma.

    A blur wide against its pixels holds nothing that a smaller copy could not: the image is
    shrunk to 3 to 6 pixels a sigma (and no less than 8 a side), blurred there, and grown again.
    """
    factor = min(int(sigma_px // 3), min(image.shape) // 8)
    if factor < 2:
        return gaussian(image, sigma_px)
    size = (image.shape[0] // factor, image.shape[1] // factor)
    small = gaussian(resize(image, size), sigma_px / factor)
    grown = cv2.resize(small, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(grown, dtype=np.float32)


def masked_gaussian(image: FloatArray, mask: BoolArray, sigma_px: float) -> FloatArray:
    """Return the Gaussian mean over the pixels inside `mask` only (normalised convolution).

    Far from any masked-in pixel, where the weight vanishes, the result is 0.
    Knutsson & Westin 1993, doi:10.1109/CVPR.1993.341081.
    """
    return masked_blur(mask, sigma_px)(image)


def masked_blur(mask: BoolArray, sigma_px: float) -> Callable[[FloatArray], FloatArray]:
    """Return `masked_gaussian` for many images of one mask, whose weights are computed once."""
    weight = gaussian(mask.astype(np.float32), sigma_px)

    def blurred(image: FloatArray) -> FloatArray:
        total = gaussian(np.where(mask, image, 0).astype(np.float32), sigma_px)
        return np.where(weight > 1e-4, total / np.maximum(weight, 1e-4), 0).astype(np.float32)

    return blurred


def block_mean(image: npt.NDArray[np.floating], size_px: int) -> npt.NDArray[np.float32]:
    """Return means over whole blocks of size_px x size_px, (H // size_px, W // size_px); a ragged edge is left out."""
    h, w = (n // size_px * size_px for n in image.shape)
    blocks = image[:h, :w].reshape(h // size_px, size_px, w // size_px, size_px)
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float32))


def resize(image: npt.NDArray[np.floating], shape: tuple[int, ...]) -> FloatArray:
    """Return the image in `shape` (rows, columns): area means when shrinking, cubic when growing."""
    rows, cols = shape
    order = cv2.INTER_AREA if rows <= image.shape[0] else cv2.INTER_CUBIC
    out = cv2.resize(np.ascontiguousarray(image, dtype=np.float32), (cols, rows), interpolation=order)
    return np.asarray(out, dtype=np.float32)


def shrink(image: npt.NDArray[np.floating], factor: int) -> FloatArray:
    """Return the image smaller by a whole factor, (H // factor, W // factor), each pixel the mean of those it covers.

    A ragged edge is left out, as `tables.look_up_shrunk` does: stretched over it, what stands still would move.
    """
    rows, cols = max(1, image.shape[0] // factor), max(1, image.shape[1] // factor)
    return resize(image[: rows * factor, : cols * factor], (rows, cols))


def robust_sd(values: npt.NDArray[np.floating]) -> float:
    """Return 1.4826 times the median absolute deviation, 0 for an empty array."""
    if values.size == 0:
        return 0.0
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def difference_noise_sd(image: FloatArray, mask: BoolArray | None = None) -> float:
    """Return the standard deviation of white noise, from a Laplacian-like difference.

    Immerkaer 1996, doi:10.1006/cviu.1996.0060, with a median in place of the mean so that
    edges do not count.
    """
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
    response = np.asarray(cv2.filter2D(np.ascontiguousarray(image, dtype=np.float32), -1, kernel), dtype=np.float32)
    inside = response[mask] if mask is not None else response.ravel()
    # A hundred thousand pixels tell a standard deviation to a fifth of a percent.
    return robust_sd(inside[:: 1 + inside.size // 100_000]) / 6.0
