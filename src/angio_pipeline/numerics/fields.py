"""Smooth displacement fields on a coarse lattice, and warps by them. Knows no medicine.

A lattice field has shape (h, w, 2): displacement (row, col) in full-resolution pixels at the
centres of h x w equal cells that tile the image. It is expanded by cubic interpolation.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["compose_at", "expand_field", "invert_field", "sampling_grid", "warp"]

FloatArray = npt.NDArray[np.float32]


def expand_field(lattice: npt.NDArray[np.floating], shape: tuple[int, int]) -> FloatArray:
    """Return the field at every pixel, (H, W, 2) float32."""
    if lattice.shape[:2] == (1, 1):
        return np.broadcast_to(lattice.astype(np.float32), (*shape, 2)).copy()
    return np.asarray(cv2.resize(lattice.astype(np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC))


def sampling_grid(shape: tuple[int, int]) -> FloatArray:
    """Return the (row, col) of every pixel, (H, W, 2) float32."""
    rows, cols = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    return np.stack([rows, cols], axis=-1)


def warp(image: FloatArray, at: FloatArray, *, cubic: bool = True) -> FloatArray:
    """Return `image` sampled at the positions `at`, (H, W) float32; edges are repeated.

    Parameters
    ----------
    image : ndarray, (H, W) float32
    at : ndarray, (H', W', 2) float32
        (row, col) to sample.
    """
    order = cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR
    image = np.ascontiguousarray(image, dtype=np.float32)
    out = cv2.remap(image, at[..., 1], at[..., 0], order, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out, dtype=np.float32)


def compose_at(lattice: FloatArray, offset: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """Return the lattice field `lattice` read at each lattice point displaced by `offset`."""
    h, w = lattice.shape[:2]
    cell = np.array([shape[0] / h, shape[1] / w], dtype=np.float32)
    at = sampling_grid((h, w)) + offset / cell
    return np.stack([warp(lattice[..., k], at, cubic=False) for k in range(2)], axis=-1)


def invert_field(lattice: FloatArray, shape: tuple[int, int], *, iterations: int = 6) -> FloatArray:
    """Return v with v(y) = -u(y + v(y)), the inverse of the lattice field u, by fixed point."""
    inverse = -lattice.astype(np.float32)
    for _ in range(iterations):
        inverse = -compose_at(lattice.astype(np.float32), inverse, shape)
    return inverse
