"""Closed outlines to masks, and back to places."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.draw import polygon

__all__ = ["fill_polygons", "shifted_mask"]


def fill_polygons(outlines: Iterable[npt.ArrayLike], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return (H, W) the pixels whose centre lies inside any of the outlines.

    Parameters
    ----------
    outlines : iterable of (K, 2) array_like
        (row, col), pixel centres on integers; the last point is joined to the first. What lies outside the frame is
        left out.
    """
    mask = np.zeros(shape, dtype=np.bool_)
    for outline in outlines:
        points = np.asarray(outline, dtype=np.float64)
        mask[polygon(points[:, 0], points[:, 1], shape)] = True
    return mask


def shifted_mask(mask: npt.NDArray[np.bool_], shift_px: tuple[float, float]) -> npt.NDArray[np.bool_]:
    """Return the mask moved by (row, col) pixels; what leaves the frame is lost."""
    moved = ndimage.shift(mask.astype(np.float32), shift_px, order=1, mode="constant")
    return np.asarray(moved > 0.5)
