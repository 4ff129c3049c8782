"""Distances between points and polylines, pixels, (row, col)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["branch_between", "distance_to_line", "resampled"]

Array = npt.NDArray[np.float64]


def resampled(line: npt.ArrayLike, step_px: float = 0.5) -> Array:
    """Return (K, 2) points along a polyline no further apart than `step_px`."""
    points = np.asarray(line, float).reshape(-1, 2)
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    if length[-1] <= 0:
        return points[:1]
    where = np.linspace(0, length[-1], int(np.ceil(length[-1] / step_px)) + 1)
    return np.stack([np.interp(where, length, points[:, k]) for k in (0, 1)], axis=1)


def distance_to_line(points: npt.ArrayLike, line: npt.ArrayLike) -> Array:
    """Return (N,) the distance of each point to the polyline."""
    points = np.atleast_2d(np.asarray(points, float))
    corners = np.asarray(line, float).reshape(-1, 2)
    if len(corners) == 1:
        return np.asarray(np.linalg.norm(points - corners[0], axis=1))
    start, step = corners[:-1], np.diff(corners, axis=0)
    along = ((points[:, None] - start) * step).sum(axis=2) / np.maximum((step**2).sum(axis=1), 1e-12)
    nearest = start + np.clip(along, 0, 1)[..., None] * step
    return np.asarray(np.linalg.norm(points[:, None] - nearest, axis=2).min(axis=1))


def branch_between(centreline: npt.ArrayLike, branch_start: npt.ArrayLike) -> Array:
    """Return (K, 2) the part of a centreline from the point nearest `branch_start` to its end."""
    points = np.asarray(centreline, float).reshape(-1, 2)
    first = int(np.argmin(np.linalg.norm(points - np.asarray(branch_start, float), axis=1)))
    return points[min(first, len(points) - 2) :]
