"""Rigid motion between two volumes: robust Gauss-Newton on sampled points.

Each round linearises the moving volume about the present motion, refits the linear relation
between the two scales of grey (gain and offset are nuisances), weighs outliers down and solves
for six numbers. It needs a start within about the width of the blur, and a few rounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from angio_pipeline.numerics.volumes import smooth, spacing_mm, to_index, to_world

__all__ = ["MovingImage", "fit_rigid", "inner_part", "match_greys", "moving_image", "rotation_about", "search_shift"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class MovingImage:
    """A blurred volume with its gradient in world axes, and where it may be used."""

    values: npt.NDArray[np.float32]
    gradient: tuple[npt.NDArray[np.float32], ...]
    usable: npt.NDArray[np.bool_]
    affine: FloatArray


def moving_image(
    values: npt.NDArray[np.float32], usable: npt.NDArray[np.bool_], affine: FloatArray, *, blur_mm: float
) -> MovingImage:
    """Return the volume (Z, Y, X) blurred by a Gaussian and ready to be sampled with its gradient.

    The rim that the blur fills with invented values is marked unusable.
    """
    blurred = smooth(values, affine, blur_mm)
    return MovingImage(blurred, tuple(np.gradient(blurred)), usable & inner_part(values.shape, affine, blur_mm), affine)


def inner_part(shape: tuple[int, ...], affine: FloatArray, rim_mm: float) -> npt.NDArray[np.bool_]:
    """Return which voxels lie at least `rim_mm` from the array's faces (at most a quarter is cut off a side)."""
    inner = np.zeros(shape, dtype=np.bool_)
    cut = [
        min(math.ceil(rim_mm / step), size // 4) for size, step in zip(shape, spacing_mm(affine).tolist(), strict=True)
    ]
    inner[tuple(slice(c, size - c) for c, size in zip(cut, shape, strict=True))] = True
    return inner


def rotation_about(centre: FloatArray, rotation_vector: FloatArray, shift: FloatArray) -> FloatArray:
    """Return the (4, 4) motion that turns about `centre` by a vector in radians and then shifts, mm, (3,) each."""
    angle = float(np.linalg.norm(rotation_vector))
    out = np.eye(4)
    if angle > 0:
        x, y, z = rotation_vector / angle
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        out[:3, :3] += np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    out[:3, 3] = centre - out[:3, :3] @ centre + shift
    return out


def fit_rigid(
    fixed_values: npt.NDArray[np.float32],
    points: FloatArray,
    moving: MovingImage,
    start: FloatArray,
    *,
    rounds: int = 25,
    tolerance_mm: float = 0.01,
    tuning: float = 2.0,
) -> FloatArray:
    """Return the (4, 4) motion from fixed to moving world points.

    Parameters
    ----------
    fixed_values : ndarray, (N,)
        The fixed volume, blurred alike, at `points`.
    points : ndarray, (N, 3)
        World points of the fixed volume.
    start : ndarray, (4, 4)
        The motion to begin with, right to about the width of the blur.
    tuning : float
        Residuals beyond this many robust spreads lose weight (Huber).

    References
    ----------
    S. Baker and I. Matthews, doi:10.1023/B:VISI.0000011205.11775.fd
    """
    motion, damping = start.copy(), 1e-3
    reach = float(np.sqrt(((points - points.mean(axis=0)) ** 2).sum(axis=1).mean()))
    # Outliers are judged by the start's residuals: one bound for all motions, so that costs compare.
    current = _linearise(fixed_values, points, moving, motion, None, tuning)
    for _ in range(rounds):
        if current is None:
            return start
        cost, normal, slope, centre, bound = current
        damped = normal + damping * np.diag(np.diag(normal) + 1e-9)
        step = np.asarray(np.linalg.solve(damped, slope), dtype=np.float64)
        trial = rotation_about(centre, step[3:], step[:3]) @ motion
        following = _linearise(fixed_values, points, moving, trial, bound, tuning)
        if following is not None and following[0] <= cost:
            motion, current, damping = trial, following, max(damping / 5, 1e-6)
        else:
            damping *= 10
        moved = float(np.linalg.norm(step[:3]) + reach * np.linalg.norm(step[3:]))
        if moved < tolerance_mm or damping > 1e6:
            break
    return motion


def _linearise(
    fixed: npt.NDArray[np.float32],
    points: FloatArray,
    moving: MovingImage,
    motion: FloatArray,
    bound: float | None,
    tuning: float,
) -> tuple[float, FloatArray, FloatArray, FloatArray, float] | None:
    """Return the robust cost, normal matrix, right side, turning centre and outlier bound; None without overlap."""
    world = to_world(motion, points)
    index = to_index(moving.affine, world).T
    nearest = np.rint(index).astype(int)
    inside = np.all((nearest >= 0) & (nearest < np.array(moving.values.shape)[:, None]), axis=0)
    inside[inside] = moving.usable[tuple(nearest[:, inside])]
    if np.count_nonzero(inside) < max(50, 0.2 * len(points)):
        return None
    index, world, f = index[:, inside], world[inside], fixed[inside].astype(np.float64)
    m = ndimage.map_coordinates(moving.values, index, order=1, mode="nearest").astype(np.float64)
    per_index = np.stack([ndimage.map_coordinates(g, index, order=1, mode="nearest") for g in moving.gradient], axis=1)
    gradient = per_index @ np.linalg.inv(moving.affine[:3, :3])
    gain, residual = match_greys(f, m)
    if bound is None:
        bound = tuning * max(1.4826 * float(np.median(np.abs(residual))), 1e-3)
    size = np.maximum(np.abs(residual), 1e-9)
    centre = world.mean(axis=0)
    jacobian = gain * np.hstack([gradient, np.cross(world - centre, gradient)])
    cost = float(np.mean(np.where(size > bound, bound * (2 * size - bound), size**2)))
    weighted = jacobian * np.minimum(1.0, bound / size)[:, None]
    return cost, weighted.T @ jacobian, weighted.T @ residual, centre, bound


def match_greys(fixed: FloatArray, moving: FloatArray) -> tuple[float, FloatArray]:
    """Return the gain from moving to fixed greys (N,), and what is left of fixed, (N,), with the median taken out."""
    variance = float(moving.var())
    covariance = float(np.mean((moving - moving.mean()) * (fixed - fixed.mean())))
    gain = float(np.clip(covariance / variance, 0.3, 3.0)) if variance > 1e-12 else 1.0
    residual = fixed - gain * moving
    return gain, residual - float(np.median(residual))


def search_shift(
    fixed: npt.NDArray[np.float32], moving: npt.NDArray[np.float32], *, least_overlap: float = 0.35
) -> npt.NDArray[np.int64]:
    """Return the index shift (one number an axis) that takes fixed to moving with the least mean squared difference.

    All shifts are tried at once by Fourier correlation; only those under which at least
    `least_overlap` of the smaller array meets the other count, and the rest of either array
    does not pull.
    """
    # It loads statistics with it, which takes longer than all else that a run needs of SciPy.
    from scipy import signal

    a, b = np.asarray(fixed, dtype=np.float64), np.asarray(moving, dtype=np.float64)

    def correlate(p: FloatArray, q: FloatArray) -> FloatArray:
        return np.asarray(signal.fftconvolve(q, np.flip(p), mode="full"), dtype=np.float64)

    overlap = correlate(np.ones_like(a), np.ones_like(b))
    error = correlate(a**2, np.ones_like(b)) + correlate(np.ones_like(a), b**2) - 2 * correlate(a, b)
    enough = overlap > least_overlap * min(a.size, b.size)
    error = np.where(enough, error / np.maximum(overlap, 1.0), np.inf)
    best = np.array(np.unravel_index(int(error.argmin()), error.shape))
    return np.asarray(best - (np.array(a.shape) - 1), dtype=np.int64)
