"""Frames read where their anatomy stands, minus a mask read where its anatomy stands. Knows no medicine.

Strip by strip, so that coordinates and warped pixels stay in the core's cache and only the
difference goes to memory. Sampling is cubic convolution with Keys' own kernel (1981,
doi:10.1109/TASSP.1981.1163711), from a table of 256 steps a pixel. It reads a slope where it is;
OpenCV's cubic has another kernel, and reads small shifts of a slope by a quarter to a half too far.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from angio_pipeline.numerics.compiled import compiled
from angio_pipeline.numerics.fields import continued, cubic_convolution, lattice_row, spreading

__all__ = ["blend", "difference_at", "readable", "sample_lattice"]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

_STEPS = 256


# Weights of the four neighbours for each step between two pixels.
_CUBIC = cubic_convolution(np.abs(np.arange(_STEPS + 1)[:, None] / _STEPS - np.arange(-1, 3)))

# Rows at a time: wide enough to keep calls few, small enough for the cache.
_STRIP = 128


def difference_at(
    frame: FloatArray,
    mask: FloatArray,
    frame_field: npt.NDArray[np.floating] | None,
    mask_field: npt.NDArray[np.floating],
    *,
    out: FloatArray,
    seen: BoolArray,
    valid: BoolArray,
    offset: float = 0.0,
    step: int = 1,
) -> FloatArray:
    """Return frame(x + frame_field(x)) - mask(x + mask_field(x)) - offset, written to `out`.

    Parameters
    ----------
    frame, mask : ndarray, (H, W) float32
    frame_field, mask_field : ndarray, (h, w, 2)
        Lattice displacements in pixels; None reads the frame where it is.
    out : ndarray, (ceil(H / step), ceil(W / step)) float32
    seen : ndarray, of `out`'s shape, bool
        Cleared where either position lies outside its image or outside `valid`.
    valid : ndarray, (H, W) bool
        Tested at the nearest pixel; leave out what lies within two pixels of the invalid (`readable`), or the
        kernel reaches it.
    step : int
        Only every so many rows and columns are computed.
    """
    frame_at = None if frame_field is None else _Placed(frame_field, mask.shape)
    mask_at = _Placed(mask_field, mask.shape)
    frame, mask = (np.ascontiguousarray(image, dtype=np.float32) for image in (frame, mask))
    here, there = (np.empty((_STRIP, out.shape[1]), np.float32) for _ in range(2))
    for first in range(0, out.shape[0], _STRIP):
        rows = slice(first, min(first + _STRIP, out.shape[0]))
        if frame_at is None:
            live = frame[rows.start * step : (rows.stop - 1) * step + 1 : step, ::step]
        else:
            live = frame_at.read(frame, rows, step, valid, seen, here)
        _subtract(live, mask_at.read(mask, rows, step, valid, seen, there), np.float32(offset), out[rows])
    if frame_at is None:
        seen &= valid[::step, ::step]
    return out


@compiled
def _subtract(frame: FloatArray, mask: FloatArray, offset: np.float32, out: FloatArray) -> None:
    for r in range(out.shape[0]):
        for c in range(out.shape[1]):
            out[r, c] = frame[r, c] - mask[r, c] - offset


def readable(valid: BoolArray) -> BoolArray:
    """Return the pixels whose neighbourhood, as far as the kernel reaches, is valid as well, (H, W) bool."""
    core = cv2.erode(valid.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=1)
    return np.asarray(core, dtype=np.bool_)


class _Placed:
    """A lattice field, ready to be read at the pixels of an image."""

    __slots__ = ("across", "down", "lattice", "x", "y")

    def __init__(self, field: npt.NDArray[np.floating], shape: tuple[int, ...]) -> None:
        self.lattice = continued(field)
        self.down, self.across = spreading(field.shape[0], shape[0]), spreading(field.shape[1], shape[1])
        self.y, self.x = np.empty((2, _STRIP, shape[1]), np.float32)

    def read(
        self, image: FloatArray, rows: slice, step: int, valid: BoolArray, seen: BoolArray, out: FloatArray
    ) -> FloatArray:
        """Return some rows of the image at x + field(x), in `out`; clear `seen` where nothing valid is read."""
        count, across = rows.stop - rows.start, seen.shape[1]
        y, x = self.y[:count, :across], self.x[:count, :across]
        down, sideways = self.down, self.across
        _positions(
            self.lattice,
            down.first,
            down.weights,
            sideways.first,
            sideways.weights,
            rows.start,
            step,
            valid,
            y,
            x,
            seen[rows],
        )
        here = out[:count]
        _sample(image, y, x, _CUBIC, here)
        return here


def blend(images: FloatArray, shares: FloatArray, chosen: npt.NDArray[np.intp]) -> FloatArray:
    """Return the sum of the chosen images, each weighted by its share, (H, W) float32.

    Parameters
    ----------
    images : ndarray, (K, H, W) float32
    shares : ndarray, (K, h, w) float32
        By patch; straight lines between the patches' centres keep a sum of 1 over K a sum of 1.
    chosen : ndarray of int
        Images to add.
    """
    shape = images.shape[1:]
    out = np.zeros(shape, np.float32)
    weight = np.empty(shape, np.float32)
    for k in chosen:
        cv2.resize(shares[k], (shape[1], shape[0]), dst=weight, interpolation=cv2.INTER_LINEAR)
        _add_weighted(images[k], weight, out)
    return out


@compiled
def _add_weighted(image: FloatArray, weight: FloatArray, out: FloatArray) -> None:
    for r in range(out.shape[0]):
        for c in range(out.shape[1]):
            out[r, c] += weight[r, c] * image[r, c]


def sample_lattice(
    image: FloatArray, field: npt.NDArray[np.floating], valid: BoolArray
) -> tuple[FloatArray, BoolArray]:
    """Return the image at x + field(x), and where that lies inside it and inside `valid`."""
    image = np.ascontiguousarray(image, dtype=np.float32)
    out, seen = np.empty(image.shape, np.float32), np.ones(image.shape, np.bool_)
    at = _Placed(field, image.shape)
    for first in range(0, len(image), _STRIP):
        rows = slice(first, min(first + _STRIP, len(image)))
        at.read(image, rows, 1, valid, seen, out[rows])
    return out, seen


@compiled
def _positions(
    lattice: FloatArray,
    down: npt.NDArray[np.int64],
    down_weights: FloatArray,
    across: npt.NDArray[np.int64],
    across_weights: FloatArray,
    first: int,
    step: int,
    valid: BoolArray,
    y: FloatArray,
    x: FloatArray,
    seen: BoolArray,
) -> None:
    """Write where each pixel of some rows is read, and clear `seen` where that is outside."""
    rows, cols = valid.shape
    line = np.empty((lattice.shape[1], 2), np.float32)
    half = np.float32(0.5)
    for i in range(y.shape[0]):
        r = (first + i) * step
        lattice_row(lattice, down, down_weights, r, line)
        for j in range(y.shape[1]):
            c = j * step
            left = across[c]
            a, b, d, e = across_weights[c, 0], across_weights[c, 1], across_weights[c, 2], across_weights[c, 3]
            u = a * line[left, 0] + b * line[left + 1, 0] + d * line[left + 2, 0] + e * line[left + 3, 0]
            v = a * line[left, 1] + b * line[left + 1, 1] + d * line[left + 2, 1] + e * line[left + 3, 1]
            y[i, j], x[i, j] = np.float32(r) + u, np.float32(c) + v
            near_row, near_col = int(np.floor(y[i, j] + half)), int(np.floor(x[i, j] + half))
            if not (0 <= near_row < rows and 0 <= near_col < cols and valid[near_row, near_col]):
                seen[i, j] = False


@compiled
def _sample(image: FloatArray, y: FloatArray, x: FloatArray, weights: FloatArray, out: FloatArray) -> None:
    """Write the image at (y, x); beyond its edges the outermost pixels are repeated."""
    rows, cols = image.shape
    steps, half = np.float32(weights.shape[0] - 1), np.float32(0.5)
    bottom, right = np.float32(rows - 1), np.float32(cols - 1)
    for r in range(out.shape[0]):
        for c in range(out.shape[1]):
            row, col = min(max(y[r, c], np.float32(0)), bottom), min(max(x[r, c], np.float32(0)), right)
            i, j = int(row), int(col)
            down = int((row - np.float32(i)) * steps + half)
            across = int((col - np.float32(j)) * steps + half)
            a, b, d, e = weights[across, 0], weights[across, 1], weights[across, 2], weights[across, 3]
            total = np.float32(0)
            if 1 <= i < rows - 2 and 1 <= j < cols - 2:
                for k in range(4):
                    line = i - 1 + k
                    total += weights[down, k] * (
                        a * image[line, j - 1] + b * image[line, j] + d * image[line, j + 1] + e * image[line, j + 2]
                    )
            else:
                j0, j2, j3 = max(j - 1, 0), min(j + 1, cols - 1), min(j + 2, cols - 1)
                for k in range(4):
                    line = min(max(i - 1 + k, 0), rows - 1)
                    total += weights[down, k] * (
                        a * image[line, j0] + b * image[line, j] + d * image[line, j2] + e * image[line, j3]
                    )
            out[r, c] = total
