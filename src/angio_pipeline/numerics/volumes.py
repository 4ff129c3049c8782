"""Three-dimensional arrays in space: grids, resampling, distances, shells, trends, noise of sums.

Arrays are (Z, Y, X). An `affine` is (4, 4) and takes (z, y, x, 1) indices to world millimetres;
a `motion` is (4, 4) and takes world points of the target to world points of the source, so that
`resample` pulls values from where the target's voxels came from.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

__all__ = [
    "Box",
    "bounding_box",
    "correlation_volume",
    "crop_affine",
    "dilate",
    "distance_mm",
    "fit_trend",
    "isotropic_grid",
    "largest_component",
    "mode_of",
    "noise_left",
    "open_by_ball",
    "resample",
    "resample_mask",
    "smooth",
    "spacing_mm",
    "to_index",
    "to_world",
]

Box = tuple[slice, slice, slice]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


def spacing_mm(affine: FloatArray) -> FloatArray:
    """Return the distance between voxel centres along (z, y, x), (3,) mm."""
    return np.asarray(np.linalg.norm(affine[:3, :3], axis=0), dtype=np.float64)


def to_world(affine: FloatArray, points: npt.ArrayLike) -> FloatArray:
    """Return (z, y, x) indices (..., 3) as world points (..., 3), mm."""
    p = np.asarray(points, dtype=np.float64)
    return np.asarray(p @ affine[:3, :3].T + affine[:3, 3])


def to_index(affine: FloatArray, points: npt.ArrayLike) -> FloatArray:
    """Return world points (..., 3) as indices (..., 3), not rounded."""
    return to_world(np.asarray(np.linalg.inv(affine), dtype=np.float64), points)


def isotropic_grid(
    shape: tuple[int, ...], affine: FloatArray, step_mm: float
) -> tuple[tuple[int, int, int], FloatArray]:
    """Return (shape, affine) of a grid of cubic voxels along the world's axes that covers a volume.

    The grid's index axes (z, y, x) run along the world's third, second and first axis.
    """
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij")).reshape(3, -1).T
    world = to_world(affine, corners)
    low, high = world.min(axis=0), world.max(axis=0)
    count = np.maximum(np.floor((high - low) / step_mm + 1e-6).astype(int) + 1, 1)
    grid = np.eye(4)
    grid[:3, :3] = np.array([[0, 0, step_mm], [0, step_mm, 0], [step_mm, 0, 0]])
    grid[:3, 3] = low + 0.5 * ((high - low) - (count - 1) * step_mm)
    return (int(count[2]), int(count[1]), int(count[0])), grid


def resample(
    values: npt.NDArray[Any],
    affine: FloatArray,
    to_shape: tuple[int, ...],
    to_affine: FloatArray,
    *,
    motion: FloatArray | None = None,
    order: int = 1,
    fill: float = 0.0,
) -> npt.NDArray[np.float32]:
    """Return `values` on another grid: (to_shape) float32, `fill` outside the source."""
    through = np.eye(4) if motion is None else motion
    index = np.linalg.inv(affine) @ through @ to_affine
    source = np.asarray(values, dtype=np.float32)
    linear = index[:3, :3]
    diagonal = np.diag(linear)
    matrix = diagonal if np.allclose(linear, np.diag(diagonal), atol=1e-9) else linear
    out = ndimage.affine_transform(
        source, matrix, index[:3, 3], output_shape=tuple(to_shape), order=order, mode="constant", cval=fill
    )
    return np.asarray(out, dtype=np.float32)


def resample_mask(
    mask: BoolArray,
    affine: FloatArray,
    to_shape: tuple[int, ...],
    to_affine: FloatArray,
    *,
    motion: FloatArray | None = None,
) -> BoolArray:
    """Return a mask on another grid (half-way contour of the linearly interpolated mask)."""
    return np.asarray(resample(mask, affine, to_shape, to_affine, motion=motion) >= 0.5)


def bounding_box(mask: BoolArray, affine: FloatArray, *, margin_mm: float = 0.0) -> Box:
    """Return the slices that hold a mask and a margin around it, cut at the array's edges.

    Raises
    ------
    ValueError
        When the mask is empty.
    """
    if not mask.any():
        raise ValueError("Expected a mask with at least one voxel, found none.")
    margin = np.ceil(margin_mm / spacing_mm(affine)).astype(int)
    slices = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        low, high = int(hit[0]) - int(margin[axis]), int(hit[-1]) + int(margin[axis]) + 1
        slices.append(slice(max(low, 0), min(high, mask.shape[axis])))
    return slices[0], slices[1], slices[2]


def crop_affine(affine: FloatArray, box: Box) -> FloatArray:
    """Return the (4, 4) affine of the part of an array that `box` cuts out."""
    out = affine.copy()
    out[:3, 3] = to_world(affine, [s.start for s in box])
    return out


def distance_mm(mask: BoolArray, affine: FloatArray) -> npt.NDArray[np.float32]:
    """Return each voxel's distance to the mask, (Z, Y, X) mm; 0 inside, infinity when the mask is empty."""
    if not mask.any():
        return np.full(mask.shape, np.inf, dtype=np.float32)
    return np.asarray(ndimage.distance_transform_edt(~mask, sampling=spacing_mm(affine)), dtype=np.float32)


def dilate(mask: BoolArray, affine: FloatArray, radius_mm: float) -> BoolArray:
    """Return the mask grown by a radius in millimetres (shrunk when it is negative)."""
    out = np.zeros(mask.shape, dtype=np.bool_)
    if not mask.any():
        return out
    # Only the mask's surroundings can change: the distances are taken there.
    step = float(spacing_mm(affine).max())
    box = bounding_box(mask, affine, margin_mm=max(radius_mm, 0.0) + step)
    if radius_mm < 0:
        out[box] = mask[box] & (distance_mm(~mask[box], affine) > -radius_mm)
    else:
        out[box] = distance_mm(mask[box], affine) <= radius_mm
    return out


def open_by_ball(mask: BoolArray, affine: FloatArray, radius_mm: float) -> BoolArray:
    """Return what of a mask (Z, Y, X) a ball of the radius reaches from within; the array's faces do not cut it."""
    return dilate(dilate(mask, affine, -radius_mm), affine, radius_mm) & mask


def largest_component(mask: BoolArray) -> BoolArray:
    """Return the largest face-connected component of a mask, (Z, Y, X) bool; empty when the mask is."""
    labels, count = ndimage.label(mask)
    if count == 0:
        return np.zeros(mask.shape, dtype=np.bool_)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == int(sizes.argmax()))


def smooth(values: npt.NDArray[Any], affine: FloatArray, sigma_mm: float) -> npt.NDArray[np.float32]:
    """Return values blurred by a Gaussian of one width in millimetres along all axes, (Z, Y, X) float32."""
    sigma = sigma_mm / spacing_mm(affine)
    return np.asarray(ndimage.gaussian_filter(np.asarray(values, dtype=np.float32), sigma, mode="nearest"))


def noise_left(affine: FloatArray, sigma_mm: float) -> float:
    """Return the share of white noise (standard deviation) that a Gaussian blur leaves; at most 1."""
    # It keeps 1 / (8 pi^1.5 s_z s_y s_x) of the variance, widths s in voxels.
    widths = np.maximum(sigma_mm / spacing_mm(affine), 0.3)
    return float(np.sqrt(min(1.0, 1.0 / (8 * np.pi**1.5 * np.prod(widths)))))


def mode_of(values: npt.NDArray[Any], low: float, high: float, *, width: float) -> float:
    """Return the most frequent value between two bounds, NaN when there is none there.

    The histogram is blurred by `width` (standard deviation, in the values' unit) and the peak
    interpolated by a parabola.
    """
    bins = max(round((high - low) / (0.25 * width)), 8)
    counts, edges = np.histogram(values, bins=bins, range=(low, high))
    if counts.sum() == 0:
        return float("nan")
    density = ndimage.gaussian_filter1d(counts.astype(np.float64), 4.0, mode="constant")
    k = int(density.argmax())
    shift = 0.0
    if 0 < k < bins - 1:
        curvature = density[k - 1] - 2 * density[k] + density[k + 1]
        shift = 0.5 * (density[k - 1] - density[k + 1]) / curvature if curvature < 0 else 0.0
    return float(edges[0] + (k + 0.5 + shift) * (edges[1] - edges[0]))


def fit_trend(
    values: npt.NDArray[Any], points: FloatArray, *, gradient_sd: float, tuning: float = 1.345, rounds: int = 12
) -> tuple[FloatArray, float]:
    """Return a robust linear trend `(level, d/dx, d/dy, d/dz)` about the points' origin, and the residual's spread.

    Huber's M-estimate by reweighted least squares; the gradient is held near zero by a normal
    prior of standard deviation `gradient_sd` (value per millimetre), so that a one-sided set of
    points does not extrapolate.

    Parameters
    ----------
    values : ndarray, (N,)
    points : ndarray, (N, 3)
        Millimetres relative to where the level is wanted.

    References
    ----------
    P. J. Huber, doi:10.1214/aoms/1177703732
    """
    v = np.asarray(values, dtype=np.float64)
    design = np.column_stack([np.ones(len(v)), points])
    coefficients = np.array([np.median(v), 0.0, 0.0, 0.0])
    spread = 1.0
    for _ in range(rounds):
        residual = v - design @ coefficients
        spread = max(1.4826 * float(np.median(np.abs(residual - np.median(residual)))), 1e-6)
        weight = np.minimum(1.0, tuning * spread / np.maximum(np.abs(residual), 1e-12))
        prior = np.diag([0.0, *(3 * [(spread / gradient_sd) ** 2])])
        updated = np.linalg.solve((design.T * weight) @ design + prior, (design.T * weight) @ v)
        done = bool(np.abs(updated - coefficients).max() < 1e-6 * max(1.0, spread))
        coefficients = updated
        if done:
            break
    return coefficients, spread


def correlation_volume(residual: npt.NDArray[Any], mask: BoolArray, affine: FloatArray, *, reach_mm: float) -> float:
    """Return how many voxels' worth of variance one voxel carries into a sum, at least 0.05.

    It is the sum of the masked autocorrelation over lags up to `reach_mm`: the variance of the
    sum of N voxels is `N * sigma**2 * correlation_volume`. 1 is white noise.
    """
    lags = np.maximum(np.floor(reach_mm / spacing_mm(affine)).astype(int), 0)
    shape = [n + int(lag) for n, lag in zip(mask.shape, lags, strict=True)]
    spectrum = np.fft.rfftn(np.where(mask, residual, 0.0).astype(np.float64), s=shape, axes=(0, 1, 2))
    support = np.fft.rfftn(mask.astype(np.float64), s=shape, axes=(0, 1, 2))
    products = np.fft.irfftn(np.abs(spectrum) ** 2, s=shape, axes=(0, 1, 2))
    pairs = np.fft.irfftn(np.abs(support) ** 2, s=shape, axes=(0, 1, 2))
    near = np.ix_(*[np.arange(-lag, lag + 1) for lag in lags])
    enough = pairs[near] > 0.05 * pairs[0, 0, 0]
    covariance = np.where(enough, products[near] / np.maximum(pairs[near], 1.0), 0.0)
    variance = float(covariance[tuple(lags)])
    return max(float(covariance.sum()) / variance, 0.05) if variance > 0 else 1.0
