"""Third step of the subtraction: how the anatomy of each frame lies against the mask.

Strategy: a displacement field w(x) on a coarse lattice with mask(x + w(x)) = frame(x), so that
the mask is what gets warped and the live frame keeps its place, its noise and its timing. First
one shift for the whole frame, then a field. Each cell of the lattice gives the normal equations
of a Gauss-Newton step (Lucas & Kanade 1981); the cells are coupled by a thin plate, so that one
without structure follows its neighbours and one with structure stands for itself. Coarse to
fine over an image pyramid. Contrast is an outlier, not motion: pixels that darken more than the
noise explains lose their weight (Cauchy weights with a sharper scale on that side), and both
images are high-passed, so that exposure and parenchymal enhancement do not pull.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.numerics.compiled import each_in_threads
from angio_pipeline.numerics.fields import expand_field, sampling_grid, warp
from angio_pipeline.numerics.filters import robust_sd, shrink, wide_gaussian
from angio_pipeline.numerics.lattice import normal_equations, solve_lattice

__all__ = ["MotionParams", "estimate_motion", "estimate_shifts"]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


class MotionParams(Params):
    """Settings of `estimate_motion`; lengths are shares of the frame's longer side."""

    enabled: bool = Field(True, description="whether motion is corrected")
    cells: int = Field(16, ge=1, le=64, description="cells of the lattice along the longer side; 1: one shift a frame")
    levels_px: tuple[int, ...] = Field((64, 128, 256), description="pyramid: longer side at each level, coarse to fine")
    iterations: int = Field(4, ge=1, le=50, description="Gauss-Newton steps a level")
    plate: float = Field(1.0, ge=0, description="weight of bending, as a share of the mean structure of a cell")
    membrane: float = Field(0.1, ge=0, description="weight of stretching, as a share of the mean structure of a cell")
    high_pass: float = Field(0.047, gt=0, le=1, description="scale of slow changes to ignore")
    excess_factor: float = Field(2.0, ge=1, description="how much stricter to be on what only contrast can add")
    largest_shift: float = Field(0.08, gt=0, le=0.5, description="displacements beyond this are clipped")


@dataclass(frozen=True, slots=True, eq=False)
class _Level:
    """One pyramid level of the mask: what does not change between frames.

    Attributes
    ----------
    moving : ndarray, (h, w, 3)
        Image, derivative along rows, derivative along columns.
    base, slow_base : ndarray, (h, w)
        What counts at all, and its wide blur: the denominator of what `_high_passed` takes out.
    weight : ndarray, (h, w)
        What counts in the fit: not what borders on the invalid.
    grid : ndarray, (h, w, 2)
        Row and column of every pixel.
    """

    factor: int
    moving: FloatArray
    base: FloatArray
    slow_base: FloatArray
    weight: FloatArray
    grid: FloatArray


def estimate_motion(
    frames: FloatArray,
    mask_image: FloatArray,
    valid: BoolArray,
    *,
    params: MotionParams,
    vessel_weight: FloatArray | None = None,
    start: FloatArray | None = None,
) -> FloatArray:
    """Return where in the mask the anatomy of each frame stands, (T, h, w, 2) float32 lattice offsets in pixels.

    Parameters
    ----------
    frames : ndarray, (T, H, W) float32, attenuation
    mask_image : ndarray, (H, W) float32, attenuation without contrast
    valid : ndarray, (H, W) bool
    vessel_weight : ndarray, (H, W) float32, optional
        0 to 1; pixels known to carry contrast get little weight.
    start : ndarray, (T, h, w, 2), optional
        Offsets to begin from; a single shift, (T, 1, 1, 2), is one of several beginnings that are tried.

    Raises
    ------
    ValueError
        When frames, mask and valid area differ in size.
    """
    size = (mask_image.shape[0], mask_image.shape[1])
    if frames.shape[1:] != size or valid.shape != size:
        raise ValueError(f"Expected frames and valid area of the mask's size {size}, found {frames.shape[1:]}.")
    base = valid.astype(np.float32) if vessel_weight is None else (valid * vessel_weight).astype(np.float32)
    levels = [_make_level(mask_image, valid, base, factor, params) for factor in _factors(params, size)]
    cells = _lattice_shape(size, params)
    out = np.zeros((len(frames), *cells, 2), dtype=np.float32)

    def one(t: int) -> None:
        begin = None if start is None else start[t]
        out[t] = _register(frames[t], levels, cells, begin, params)

    each_in_threads(one, len(frames))
    return out


def estimate_shifts(
    frames: FloatArray,
    mask_image: FloatArray,
    valid: BoolArray,
    *,
    params: MotionParams,
    start: FloatArray | None = None,
) -> npt.NDArray[np.float64]:
    """Return by how much (row, col) the anatomy of each frame lies beside that of the mask, (T, 2) pixels.

    One shift a frame, to a few hundredths of a pixel: one level finer than a field is worth.
    `mask_image` is (H, W), attenuation, and `start` (T, 1, 1, 2), pixels.
    Parameters are those of `estimate_motion`.

    Raises
    ------
    ValueError
        When frames, mask and valid area differ in size.
    """
    finest = max(params.levels_px)
    fine = params.model_copy(update={"cells": 1, "levels_px": (*params.levels_px, 2 * finest)})
    offsets = estimate_motion(frames, mask_image, valid, params=fine, start=start)
    return -offsets[:, 0, 0].astype(np.float64)


def _factors(params: MotionParams, size: tuple[int, int]) -> list[int]:
    factors = [max(1, round(max(size) / side)) for side in params.levels_px]
    return sorted({factor for factor in factors if min(size) // factor >= 16}, reverse=True) or [1]


def _lattice_shape(size: tuple[int, int], params: MotionParams) -> tuple[int, int]:
    cell = max(size) / params.cells
    return max(1, round(size[0] / cell)), max(1, round(size[1] / cell))


def _make_level(
    mask_image: FloatArray, valid: BoolArray, base: FloatArray, factor: int, params: MotionParams
) -> _Level:
    inside = cv2.erode(valid.astype(np.uint8), np.ones((2 * factor + 1,) * 2, np.uint8), borderValue=0)
    small = _smaller(base, factor)
    slow = np.maximum(wide_gaussian(small, _high_pass_px(small, params)), 1e-3)
    image = _high_passed(mask_image, small, slow, factor, params)
    rows, cols = (cv2.Scharr(image, cv2.CV_32F, dx, 1 - dx) / 32 for dx in (0, 1))
    moving = np.ascontiguousarray(np.stack([image, rows, cols], axis=-1), dtype=np.float32)
    grid = sampling_grid((small.shape[0], small.shape[1]))
    return _Level(factor, moving, small, slow, _smaller(base * inside, factor), grid)


def _smaller(image: FloatArray, factor: int) -> FloatArray:
    return shrink(image, factor) if factor > 1 else np.asarray(image, dtype=np.float32)


def _high_pass_px(image: FloatArray, params: MotionParams) -> float:
    return max(2.0, params.high_pass * float(max(image.shape)))


def _high_passed(
    image: FloatArray, base: FloatArray, slow_base: FloatArray, factor: int, params: MotionParams
) -> FloatArray:
    """Return the image at a level, without its slow changes; neither shutters nor vessels count among these."""
    small = _smaller(image, factor)
    slow = wide_gaussian(small * base, _high_pass_px(small, params)) / slow_base
    return np.asarray((small - slow) * (base > 0), dtype=np.float32)


def _register(
    frame: FloatArray,
    levels: list[_Level],
    cells: tuple[int, int],
    start: FloatArray | None,
    params: MotionParams,
) -> FloatArray:
    """Return the lattice of one frame: one shift by the coarser levels, then the field by all of them."""
    limit = params.largest_shift * max(frame.shape)
    fixed = [_high_passed(frame, level.base, level.slow_base, level.factor, params) for level in levels]
    shifted = start is None or start.shape[:2] == (1, 1)
    field = start.astype(np.float32) if start is not None else np.zeros((1, 1, 2), np.float32)
    if shifted:
        field = _best_start(fixed[0], levels[0], start, limit)
    if start is None or cells == (1, 1):
        for image, level in zip(fixed, levels, strict=True):
            field = _refine(image, level, field, limit, params)
    if cells == (1, 1):
        return field
    if field.shape[:2] != cells:
        field = expand_field(field, cells)
    for image, level in zip(fixed, levels, strict=True):
        field = _refine(image, level, field, limit, params)
    return field


def _best_start(fixed: FloatArray, level: _Level, told: FloatArray | None, limit_px: float) -> FloatArray:
    """Return the best of no shift, that of phase correlation, and that told: a jerk may lie beyond Gauss-Newton."""
    window = cv2.createHanningWindow((fixed.shape[1], fixed.shape[0]), cv2.CV_32F)
    # OpenCV 5 writes into what it is given.
    (across, along), _ = cv2.phaseCorrelate(fixed * level.weight, level.moving[..., 0] * level.weight, window)
    shift = np.array([along, across]) * level.factor
    candidates = [np.zeros((1, 1, 2), np.float32)] if told is None else [np.zeros((1, 1, 2), np.float32), told]
    if np.isfinite(shift).all() and np.abs(shift).max() <= limit_px:
        candidates.append(shift.reshape(1, 1, 2).astype(np.float32))
    return min(candidates, key=lambda field: _typical_misfit(fixed, level, field))


def _typical_misfit(fixed: FloatArray, level: _Level, field: FloatArray) -> float:
    size = (fixed.shape[0], fixed.shape[1])
    at = level.grid + expand_field(field / level.factor, size)
    gap = np.abs(warp(level.moving[..., 0], at) - fixed)[level.weight > 0.5]
    return float(np.mean(np.minimum(gap, np.median(gap) * 3))) if gap.size else 0.0


def _refine(fixed: FloatArray, level: _Level, field: FloatArray, limit_px: float, params: MotionParams) -> FloatArray:
    size = (fixed.shape[0], fixed.shape[1])
    cells = (field.shape[0], field.shape[1])
    for _ in range(params.iterations):
        dense = expand_field(field / np.float32(level.factor), size)
        scale = _residual_scale(fixed, level, dense)
        equations = normal_equations(
            fixed, level.moving, dense, level.weight, cells, scale, excess_factor=params.excess_factor
        )
        typical = 0.5 * float(np.mean(equations.structure[0] + equations.structure[2])) + 1e-9
        update = solve_lattice(
            equations, field / level.factor, membrane=params.membrane * typical, plate=params.plate * typical
        )
        step = np.clip(update, -4, 4) * level.factor
        field = np.clip(field + step, -limit_px, limit_px).astype(np.float32)
        if float(np.abs(step).max()) < 0.02 * level.factor:
            break
    return field


def _residual_scale(fixed: FloatArray, level: _Level, dense: FloatArray) -> float:
    """Return the usual residual; every few pixels are enough to know it."""
    sample = (slice(None, None, 1 + fixed.shape[0] // 40), slice(None, None, 1 + fixed.shape[1] // 40))
    gap = warp(level.moving[..., 0], level.grid[sample] + dense[sample]) - fixed[sample]
    return max(robust_sd(gap[level.weight[sample] > 0.5]), 1e-6)
