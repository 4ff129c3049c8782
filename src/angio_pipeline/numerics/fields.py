"""Smooth displacement fields on a coarse lattice, and warps by them. Knows no medicine.

A lattice field has shape (h, w, 2): displacement (row, col) in full-resolution pixels at the
centres of h x w equal cells that tile the image. It is expanded by cubic interpolation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from angio_pipeline.numerics.compiled import compiled

__all__ = [
    "compose_at",
    "continued",
    "cubic_convolution",
    "expand_field",
    "invert_field",
    "lattice_row",
    "sampling_grid",
    "spreading",
    "warp",
]

FloatArray = npt.NDArray[np.float32]


def expand_field(lattice: npt.NDArray[np.floating], shape: tuple[int, int]) -> FloatArray:
    """Return the field at every pixel, (H, W, 2) float32: cubic between cells, straight on beyond the outer ones."""
    out = np.empty((*shape, 2), np.float32)
    rows, cols = spreading(lattice.shape[0], shape[0]), spreading(lattice.shape[1], shape[1])
    padded = continued(lattice)
    _expand(padded, rows.first, rows.weights, cols.first, cols.weights, out)
    return out


@dataclass(frozen=True, slots=True, eq=False)
class Spreading:
    """How values at cells reach pixels along one axis: four neighbours of a continued lattice each.

    Attributes
    ----------
    first : ndarray, (pixels,) int64
        First of the four, counted in the lattice that `continued` returns.
    weights : ndarray, (pixels, 4) float32
    """

    first: npt.NDArray[np.int64]
    weights: FloatArray


def cubic_convolution(away: npt.NDArray[np.float64]) -> FloatArray:
    """Return the weights, float32, of neighbours at distances in cells (any shape, not negative).

    Keys 1981, doi:10.1109/TASSP.1981.1163711, with his a = -1/2: a slope stays a slope.
    """
    near = (1.5 * away - 2.5) * away * away + 1
    far = ((-0.5 * away + 2.5) * away - 4) * away + 2
    return np.where(away <= 1, near, np.where(away < 2, far, 0)).astype(np.float32)


@lru_cache(maxsize=64)
def spreading(cells: int, pixels: int) -> Spreading:
    """Return how values at the centres of cells reach the centres of pixels, by cubic convolution."""
    place = (np.arange(pixels) + 0.5) * cells / pixels - 0.5
    before = np.floor(place).astype(np.int64)
    weights = cubic_convolution(np.abs((place - before)[:, None] - np.arange(-1, 3)))
    first = before + 1
    weights.flags.writeable = first.flags.writeable = False
    return Spreading(first, weights)


def continued(lattice: npt.NDArray[np.floating]) -> FloatArray:
    """Return a lattice (h, w, 2) with two more cells on each side, in a straight line from the outer ones, float32."""
    out = lattice.astype(np.float32)
    for axis in (0, 1):
        for _ in range(2):
            low, high = np.take(out, [0], axis), np.take(out, [-1], axis)
            if lattice.shape[axis] > 1:
                low, high = 2 * low - np.take(out, [1], axis), 2 * high - np.take(out, [-2], axis)
            out = np.concatenate([low, out, high], axis=axis)
    return np.ascontiguousarray(out)


@compiled
def lattice_row(
    lattice: FloatArray, first: npt.NDArray[np.int64], weights: FloatArray, row: int, line: FloatArray
) -> None:
    """Write the continued lattice as it is at one row of pixels, (cells, 2), into `line`."""
    top = first[row]
    for k in range(lattice.shape[1]):
        for d in range(2):
            line[k, d] = (
                weights[row, 0] * lattice[top, k, d]
                + weights[row, 1] * lattice[top + 1, k, d]
                + weights[row, 2] * lattice[top + 2, k, d]
                + weights[row, 3] * lattice[top + 3, k, d]
            )


@compiled
def _expand(
    lattice: FloatArray,
    first_row: npt.NDArray[np.int64],
    row_weights: FloatArray,
    first_col: npt.NDArray[np.int64],
    col_weights: FloatArray,
    out: FloatArray,
) -> None:
    line = np.empty((lattice.shape[1], 2), np.float32)
    for r in range(out.shape[0]):
        lattice_row(lattice, first_row, row_weights, r, line)
        for c in range(out.shape[1]):
            left = first_col[c]
            a, b, d, e = col_weights[c, 0], col_weights[c, 1], col_weights[c, 2], col_weights[c, 3]
            out[r, c, 0] = a * line[left, 0] + b * line[left + 1, 0] + d * line[left + 2, 0] + e * line[left + 3, 0]
            out[r, c, 1] = a * line[left, 1] + b * line[left + 1, 1] + d * line[left + 2, 1] + e * line[left + 3, 1]


def sampling_grid(shape: tuple[int, int]) -> FloatArray:
    """Return the (row, col) of every pixel, (H, W, 2) float32."""
    rows, cols = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    return np.stack([rows, cols], axis=-1)


def warp(image: FloatArray, at: FloatArray) -> FloatArray:
    """Return `image` sampled at the positions `at` in straight lines between pixels, float32; edges are repeated.

    Parameters
    ----------
    image : ndarray, (H, W) float32
    at : ndarray, (H', W', 2) float32
        (row, col) to sample.
    """
    image = np.ascontiguousarray(image, dtype=np.float32)
    out = cv2.remap(image, at[..., 1], at[..., 0], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out, dtype=np.float32)


def compose_at(lattice: FloatArray, offset: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """Return the field (h, w, 2) of a frame of `shape` read at its lattice's points displaced by `offset`, pixels.

    Straight lines between cells, and straight on beyond the outer ones as in `expand_field`.
    """
    h, w = lattice.shape[:2]
    cell = np.array([shape[0] / h, shape[1] / w], dtype=np.float32)
    # Two cells were added on each side; nothing is read further out.
    at = sampling_grid((h, w)) + offset / cell + 2
    wider = continued(lattice)
    return np.stack([warp(wider[..., k], at) for k in range(2)], axis=-1)


def invert_field(lattice: FloatArray, shape: tuple[int, int], *, iterations: int = 6) -> FloatArray:
    """Return v with v(y) = -u(y + v(y)), the inverse of the lattice field u, by fixed point."""
    inverse = -lattice.astype(np.float32)
    for _ in range(iterations):
        inverse = -compose_at(lattice.astype(np.float32), inverse, shape)
    return inverse
