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
from scipy import sparse
from scipy.sparse.linalg import splu

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
    membrane = _membrane(cells)
    out = np.zeros((len(frames), *cells, 2), dtype=np.float32)
    previous = np.zeros((*cells, 2), dtype=np.float32)
    for t, frame in enumerate(frames):
        previous = out[t] = _register(frame, levels, valid, previous, membrane, params)
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
    membrane: sparse.csc_matrix,
    params: MotionParams,
) -> FloatArray:
    field = start.copy()
    filled = _fill_invalid(frame, valid)
    for level in levels:
        moving = _high_pass(shrink(filled, level.factor), level.factor, params)
        gradient = _gradient(moving)
        for _ in range(params.iterations):
            step = _gauss_newton_step(level, moving, gradient, field, membrane, params)
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
    membrane: sparse.csc_matrix,
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
        return np.asarray(mean * count, dtype=np.float64).ravel()

    weighted_rows, weighted_cols = weight * rows, weight * cols
    h_rr, h_rc, h_cc = cell_sum(weighted_rows * rows), cell_sum(weighted_rows * cols), cell_sum(weighted_cols * cols)
    g_r, g_c = -cell_sum(weighted_rows * residual), -cell_sum(weighted_cols * residual)
    stiffness = params.stiffness * 0.5 * float(np.mean(h_rr + h_cc)) + 1e-6
    smooth = stiffness * membrane
    flat = (field / level.factor).reshape(-1, 2).astype(np.float64)
    # The membrane pulls on the whole field, not on the update, or small steps would add up to a rough field.
    matrix = sparse.bmat(
        [[sparse.diags(h_rr) + smooth, sparse.diags(h_rc)], [sparse.diags(h_rc), sparse.diags(h_cc) + smooth]]
    )
    rhs = np.concatenate([g_r - smooth @ flat[:, 0], g_c - smooth @ flat[:, 1]])
    ridge = sparse.identity(matrix.shape[0]) * (1e-4 * stiffness)
    update = splu((matrix + ridge).tocsc()).solve(rhs)
    limited = np.clip(update.reshape(2, -1).T, -4, 4)
    return np.asarray(limited.reshape(*field.shape) * level.factor, dtype=np.float32)


def _contrast_weight(residual: FloatArray, weight: FloatArray) -> FloatArray:
    """Return robust weights: Cauchy, twice as strict on added attenuation, which contrast can explain."""
    scale = max(robust_sd(residual[weight > 0.5]), 1e-6)
    scaled = residual / np.where(residual > 0, scale, 2 * scale).astype(np.float32)
    return (1.0 / (1.0 + scaled * scaled)).astype(np.float32)


def _membrane(cells: tuple[int, int]) -> sparse.csc_matrix:
    """Return the graph Laplacian of the lattice: zero on a constant, so a translation costs nothing."""

    def path(n: int) -> sparse.csc_matrix:
        degree = np.full(n, 2.0)
        degree[[0, -1]] = 1.0 if n > 1 else 0.0
        return sparse.diags([degree, -np.ones(max(n - 1, 0)), -np.ones(max(n - 1, 0))], [0, 1, -1]).tocsc()

    rows, cols = cells
    return (sparse.kron(path(rows), sparse.identity(cols)) + sparse.kron(sparse.identity(rows), path(cols))).tocsc()
