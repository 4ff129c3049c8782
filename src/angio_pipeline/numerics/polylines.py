"""Many lines in the plane, held flat: points of all lines one after the other, and where each begins.

Knows no medicine. One compiled loop over all points costs less than a call for each line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from angio_pipeline.numerics.compiled import compiled

__all__ = ["Polylines", "filled_along", "smooth_along", "smooth_paths"]

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Polylines:
    """Lines: `points` (N, 2) float64 as (row, col), and `first` (L + 1,) int64, where each begins and the last ends."""

    points: Array
    first: IntArray

    @classmethod
    def of(cls, paths: Sequence[Array]) -> Polylines:
        """Return the lines of (K, 2) paths."""
        first = np.concatenate([[0], np.cumsum([len(p) for p in paths])]).astype(np.int64)
        return cls(np.ascontiguousarray(np.concatenate(paths) if paths else np.empty((0, 2)), dtype=np.float64), first)

    def split(self, values: npt.NDArray[np.float64]) -> list[npt.NDArray[np.float64]]:
        """Return what belongs to each line of values (N, ...) at all points."""
        bounds = self.first.tolist()
        return [values[a:b] for a, b in pairwise(bounds)]

    def resampled(self) -> Polylines:
        """Return the lines with points at equal steps of at most one pixel; those shorter than a pixel as they are."""
        points, first = _resample(self.points, self.first)
        return Polylines(points, first)


def smooth_along(lines: Polylines, values: Array, sigma: float) -> Array:
    """Return (N,) values smoothed along each line by a Gaussian of `sigma` points; NaN takes no part.

    Beyond its ends a line goes on with nothing. Where hardly anything is known nearby the result is NaN.
    """
    if sigma <= 0 or not len(values):
        return values
    return _smooth_known(np.ascontiguousarray(values, dtype=np.float64), lines.first, sigma)


def filled_along(lines: Polylines, values: Array) -> Array:
    """Return (N,) values with NaN replaced: straight between what is known on the line, the nearest beyond it.

    A line on which nothing is known stays NaN.
    """
    return _fill(np.ascontiguousarray(values, dtype=np.float64), lines.first)


def smooth_paths(lines: Polylines, sigma: float) -> Polylines:
    """Return the lines smoothed along themselves by a Gaussian of `sigma` points, their ends held."""
    if sigma <= 0 or not len(lines.points):
        return lines
    return Polylines(_smooth_held(lines.points, lines.first, sigma), lines.first)


@compiled
def _resample(points: Array, first: IntArray) -> tuple[Array, IntArray]:
    starts = np.zeros(len(first), dtype=np.int64)
    along = np.zeros(len(points))
    for line in range(len(first) - 1):
        for k in range(first[line] + 1, first[line + 1]):
            step = np.hypot(points[k, 0] - points[k - 1, 0], points[k, 1] - points[k - 1, 1])
            along[k] = along[k - 1] + step
        count = first[line + 1] - first[line]
        length = along[first[line + 1] - 1] if count > 0 else 0.0
        starts[line + 1] = starts[line] + (int(np.ceil(length)) + 1 if length >= 1 else count)
    out = np.empty((starts[-1], 2))
    for line in range(len(first) - 1):
        low, high, count = first[line], first[line + 1], starts[line + 1] - starts[line]
        if count == high - low and (count == 0 or along[high - 1] < 1):
            out[starts[line] : starts[line + 1]] = points[low:high]
            continue
        k = low
        for n in range(count):
            at = along[high - 1] * n / (count - 1)
            while k < high - 2 and along[k + 1] < at:
                k += 1
            share = min(1.0, (at - along[k]) / max(along[k + 1] - along[k], 1e-12))
            for c in range(2):
                out[starts[line] + n, c] = points[k, c] + share * (points[k + 1, c] - points[k, c])
    return out, starts


@compiled
def _kernel(sigma: float) -> Array:
    reach = int(np.ceil(3.0 * sigma))
    out = np.empty(reach + 1)
    for k in range(reach + 1):
        out[k] = np.exp(-0.5 * (k / sigma) ** 2)
    return out


@compiled
def _smooth_known(values: Array, first: IntArray, sigma: float) -> Array:
    kernel = _kernel(sigma)
    whole = 2.0 * kernel.sum() - kernel[0]
    out = np.full(len(values), np.nan)
    for line in range(len(first) - 1):
        for k in range(first[line], first[line + 1]):
            total = weight = 0.0
            low, high = max(first[line], k - len(kernel) + 1), min(first[line + 1], k + len(kernel))
            for n in range(low, high):
                if values[n] == values[n]:
                    total += kernel[abs(n - k)] * values[n]
                    weight += kernel[abs(n - k)]
            if weight > 0.05 * whole:
                out[k] = total / weight
    return out


@compiled
def _smooth_held(points: Array, first: IntArray, sigma: float) -> Array:
    kernel = _kernel(sigma)
    out = points.copy()
    for line in range(len(first) - 1):
        low, high = first[line], first[line + 1]
        if high - low <= 4:
            continue
        for k in range(low, high):
            held = np.exp(-0.5 * (min(k - low, high - 1 - k) / sigma) ** 2)
            for c in range(2):
                total = weight = 0.0
                for n in range(k - len(kernel) + 1, k + len(kernel)):
                    total += kernel[abs(n - k)] * points[min(max(n, low), high - 1), c]
                    weight += kernel[abs(n - k)]
                out[k, c] = held * points[k, c] + (1.0 - held) * total / weight
    return out


@compiled
def _fill(values: Array, first: IntArray) -> Array:
    out = values.copy()
    for line in range(len(first) - 1):
        known = -1
        for k in range(first[line], first[line + 1]):
            if values[k] != values[k]:
                continue
            for n in range(max(known + 1, first[line]), k):
                share = (n - known) / (k - known)
                out[n] = values[k] if known < 0 else values[known] + share * (values[k] - values[known])
            known = k
        if known >= 0:
            out[known + 1 : first[line + 1]] = values[known]
    return out
