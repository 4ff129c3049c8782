"""Third step of the subtraction: how the anatomy of each frame lies against the mask.

Strategy: a displacement field u(x) on a coarse lattice with frame(x + u(x)) = mask(x).
Each cell of the lattice gives the normal equations of a Gauss-Newton step (Lucas & Kanade
1981); the cells are coupled by a thin membrane, so that a cell without structure follows its
neighbours and one with structure stands for itself. Coarse to fine over an image pyramid.
Contrast is an outlier, not motion: pixels that darken more than the noise explains lose their
weight (Cauchy weights with a sharper scale on the positive side), and both images are
high-passed, so that exposure and parenchymal enhancement do not pull.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.linalg import solveh_banded

from angio_pipeline.core.params import Params
from angio_pipeline.numerics.fields import expand_field, sampling_grid, warp
from angio_pipeline.numerics.filters import gaussian, resize, robust_sd, shrink

__all__ = ["MotionParams", "estimate_motion"]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


class MotionParams(Params):
    """Settings of `estimate_motion`."""

    enabled: bool = True
    cell_px: int = Field(32, ge=8, le=256, description="lattice cell at full resolution, for a 512-pixel frame")
    levels: tuple[int, ...] = Field((8, 4, 2), description="pyramid: shrink factors, coarse to fine")
    iterations: int = Field(4, ge=1, le=50, description="Gauss-Newton steps a level")
    stiffness: float = Field(1.0, gt=0, description="membrane weight, as a share of the mean structure of a cell")
    high_pass_px: float = Field(24.0, gt=1, description="scale of slow changes to ignore, full-resolution pixels")
    max_shift_px: float = Field(40.0, gt=0, description="displacements beyond this are clipped")


@dataclass(frozen=True, slots=True)
class _Level:
    """One pyramid level of the fixed image, with what does not change between frames."""

    factor: int
    fixed: FloatArray
    weight: FloatArray
    grid: FloatArray


def estimate_motion(
    frames: npt.NDArray[np.float32],
    mask_image: FloatArray,
    valid: BoolArray,
    *,
    params: MotionParams,
    vessel_weight: FloatArray | None = None,
) -> FloatArray:
    """Return the lattice displacement of each frame against the mask, (T, h, w, 2) float32 pixels.

    Parameters
    ----------
    frames : ndarray, (T, H, W) float32, attenuation
    mask_image : ndarray, (H, W) float32, attenuation without contrast
    valid : ndarray, (H, W) bool
    vessel_weight : ndarray, (H, W) float32, optional
        0 to 1; pixels known to carry contrast get little weight.
    """
    shape = mask_image.shape
    cells = _lattice_shape((shape[0], shape[1]), params)
    base = valid.astype(np.float32) if vessel_weight is None else valid * vessel_weight
    levels = [
        _make_level(mask_image, valid, base.astype(np.float32), factor, params) for factor in _factors(params, shape)
    ]
    out = np.zeros((len(frames), *cells, 2), dtype=np.float32)
    previous = np.zeros((*cells, 2), dtype=np.float32)
    for t, frame in enumerate(frames):
        previous = out[t] = _register(frame, levels, valid, previous, params)
    return out


def _factors(params: MotionParams, shape: tuple[int, ...]) -> list[int]:
    """Return the shrink factors for a frame of this size: larger frames start and end coarser."""
    extra = max(1, round(max(shape) / 512))
    return [f * extra for f in params.levels if min(shape) // (f * extra) >= 16] or [1]


def _lattice_shape(shape: tuple[int, int], params: MotionParams) -> tuple[int, int]:
    cell = params.cell_px * max(1.0, max(shape) / 512)
    return max(1, round(shape[0] / cell)), max(1, round(shape[1] / cell))


def _high_pass(image: FloatArray, factor: int, params: MotionParams) -> FloatArray:
    return image - gaussian(image, max(2.0, params.high_pass_px / factor))


def _fill_invalid(image: FloatArray, valid: BoolArray) -> FloatArray:
    """Return the image with pixels outside `valid` set to the median: a shutter edge must not hold the field."""
    if valid.all():
        return image
    return np.where(valid, image, np.float32(np.median(image[valid])) if valid.any() else np.float32(0))


def _make_level(
    mask_image: FloatArray, valid: BoolArray, weight: FloatArray, factor: int, params: MotionParams
) -> _Level:
    fixed = _high_pass(shrink(_fill_invalid(mask_image, valid), factor), factor, params)
    inside = cv2.erode(valid.astype(np.uint8), np.ones((2 * factor + 1,) * 2, np.uint8), borderValue=0)
    return _Level(factor, fixed, shrink(weight * inside, factor), sampling_grid((fixed.shape[0], fixed.shape[1])))


def _register(
    frame: FloatArray,
    levels: list[_Level],
    valid: BoolArray,
    start: FloatArray,
    params: MotionParams,
) -> FloatArray:
    field = start.copy()
    filled = _fill_invalid(frame, valid)
    for level in levels:
        moving = _high_pass(shrink(filled, level.factor), level.factor, params)
        gradient = _gradient(moving)
        for _ in range(params.iterations):
            step = _gauss_newton_step(level, moving, gradient, field, params)
            field = np.clip(field + step, -params.max_shift_px, params.max_shift_px)
            if float(np.abs(step).max()) < 0.01 * level.factor:
                break
    return field


def _gradient(image: FloatArray) -> tuple[FloatArray, FloatArray]:
    rows, cols = (np.asarray(cv2.Scharr(image, cv2.CV_32F, dx, 1 - dx) / 32, dtype=np.float32) for dx in (0, 1))
    return rows, cols


def _gauss_newton_step(
    level: _Level,
    moving: FloatArray,
    gradient: tuple[FloatArray, FloatArray],
    field: FloatArray,
    params: MotionParams,
) -> FloatArray:
    """Return the lattice update in full-resolution pixels."""
    size = (level.fixed.shape[0], level.fixed.shape[1])
    at = level.grid + expand_field(field / level.factor, size)
    residual = warp(moving, at, cubic=False) - level.fixed
    rows, cols = (warp(g, at, cubic=False) for g in gradient)
    weight = level.weight * _contrast_weight(residual, level.weight)
    cells = (field.shape[0], field.shape[1])
    count = float(size[0] * size[1]) / (cells[0] * cells[1])

    def cell_sum(image: FloatArray) -> npt.NDArray[np.float64]:
        mean = resize(image, cells)
        return np.asarray(mean * count, dtype=np.float64)

    weighted_rows, weighted_cols = weight * rows, weight * cols
    structure = np.stack(
        [cell_sum(weighted_rows * rows), cell_sum(weighted_rows * cols), cell_sum(weighted_cols * cols)]
    )
    pull = np.stack([-cell_sum(weighted_rows * residual), -cell_sum(weighted_cols * residual)])
    stiffness = params.stiffness * 0.5 * float(np.mean(structure[0] + structure[2])) + 1e-6
    update = _solve(structure, pull, stiffness, field / level.factor)
    return np.asarray(np.clip(update, -4, 4) * level.factor, dtype=np.float32)


def _solve(
    structure: npt.NDArray[np.float64], pull: npt.NDArray[np.float64], stiffness: float, field: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """Return the lattice update that balances each cell's normal equations against the membrane.

    The membrane pulls on the whole field, not on the update, or small steps would add up to a
    rough field. Unknowns are interleaved (row, col) cell by cell, so that the matrix is a band
    as wide as one line of the lattice.

    Parameters
    ----------
    structure : ndarray, (3, h, w)
        Sums of weight times gradient products: row-row, row-col, col-col.
    pull : ndarray, (2, h, w)
        Right-hand side of the normal equations.
    field : ndarray, (h, w, 2)
        The present field, in pixels of the level.
    """
    h, w = field.shape[:2]
    degree = np.full((h, w), 4.0)
    for edge in (degree[0], degree[-1], degree[:, 0], degree[:, -1]):
        edge -= 1
    held = field.astype(np.float64)
    laplacian = degree[..., None] * held
    laplacian[1:] -= held[:-1]
    laplacian[:-1] -= held[1:]
    laplacian[:, 1:] -= held[:, :-1]
    laplacian[:, :-1] -= held[:, 1:]
    band = np.zeros((2 * w + 1, h, w, 2))
    band[0, ..., 0], band[0, ..., 1] = structure[0], structure[2]
    band[0] += stiffness * (degree + 1e-4)[..., None]
    band[1, ..., 0] = structure[1]
    if w > 1:
        band[2, :, :-1] -= stiffness
    band[2 * w, :-1] -= stiffness
    rhs = np.moveaxis(pull, 0, -1) - stiffness * laplacian
    return np.asarray(solveh_banded(band.reshape(2 * w + 1, -1), rhs.ravel(), lower=True).reshape(h, w, 2))


def _contrast_weight(residual: FloatArray, weight: FloatArray) -> FloatArray:
    """Return robust weights: Cauchy, twice as strict on added attenuation, which contrast can explain."""
    # Every few pixels are enough for a scale.
    sample = (slice(None, None, 1 + residual.shape[0] // 96), slice(None, None, 1 + residual.shape[1] // 96))
    scale = max(robust_sd(residual[sample][weight[sample] > 0.5]), 1e-6)
    scaled = residual / np.where(residual > 0, scale, 2 * scale).astype(np.float32)
    return (1.0 / (1.0 + scaled * scaled)).astype(np.float32)
