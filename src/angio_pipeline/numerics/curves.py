"""Measurements on stacks of sampled curves, time along the first axis. Knows no medicine.

A stack is (T, ...) float32 with its times (T,) float64, increasing, in any unit; what is returned is (...), a value for
each curve.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["first_crossing", "parabolic_peak", "peak_index", "steepest_rise", "trapezoid"]

FloatArray = npt.NDArray[np.float32]


def first_crossing(stack: FloatArray, times: npt.NDArray[np.float64], level: FloatArray) -> FloatArray:
    """Return when each curve first reaches `level` for good before its maximum, by linear interpolation.

    Searching backwards from the maximum keeps a noisy sample before the rise from counting.

    Parameters
    ----------
    stack : ndarray, (T, ...) float32
    times : ndarray, (T,) float64, increasing
    level : ndarray, (...) float32

    Returns
    -------
    ndarray, (...) float32
        NaN where the curve never reaches its level; the first time where it starts above it.
    """
    peak_at = peak_index(stack)
    out = np.full(level.shape, np.nan, dtype=np.float32)
    reached = np.take_along_axis(stack, peak_at[None], axis=0)[0] >= level
    out[reached & (stack[0] >= level)] = times[0]
    for t in range(1, len(times)):
        rises = (stack[t - 1] < level) & (stack[t] >= level) & (t <= peak_at)
        if not rises.any():
            continue
        low, high = stack[t - 1][rises], stack[t][rises]
        share = (level[rises] - low) / (high - low)
        # A later rise overwrites an earlier one: the last crossing before the maximum stands.
        out[rises] = times[t - 1] + share * (times[t] - times[t - 1])
    return np.where(reached, out, np.float32(np.nan))


def peak_index(stack: FloatArray) -> npt.NDArray[np.intp]:
    """Return the index of each curve's first maximum, (...); sample by sample, which is kind to memory."""
    best = np.zeros(stack.shape[1:], dtype=np.intp)
    top = np.array(stack[0], copy=True)
    for t in range(1, len(stack)):
        higher = stack[t] > top
        best[higher] = t
        np.maximum(top, stack[t], out=top)
    return best


def parabolic_peak(stack: FloatArray, times: npt.NDArray[np.float64]) -> FloatArray:
    """Return the time of each curve's maximum, (...) float32, by a parabola through its three top samples."""
    n = len(times)
    at = peak_index(stack)
    inner = np.clip(at, 1, max(n - 2, 1)) if n >= 3 else at
    if n < 3:
        return np.asarray(times[at], dtype=np.float32)
    y0, y1, y2 = (np.take_along_axis(stack, (inner + k)[None], axis=0)[0] for k in (-1, 0, 1))
    x0, x1, x2 = (times[inner + k] for k in (-1, 0, 1))
    slope_left, slope_right = (y1 - y0) / (x1 - x0), (y2 - y1) / (x2 - x1)
    curvature = (slope_right - slope_left) / (x2 - x0)
    with np.errstate(divide="ignore", invalid="ignore"):
        vertex = 0.5 * (x0 + x1) - slope_left / (2 * curvature)
    at_end = (at != inner) | (curvature >= 0)
    return np.asarray(np.where(at_end, times[at], np.clip(vertex, x0, x2)), dtype=np.float32)


def steepest_rise(stack: FloatArray, times: npt.NDArray[np.float64]) -> FloatArray:
    """Return the greatest slope between neighbouring samples, (...) float32 per unit of time."""
    out = np.full(stack.shape[1:], -np.inf, dtype=np.float32)
    for t in range(1, len(times)):
        np.maximum(out, (stack[t] - stack[t - 1]) / np.float32(times[t] - times[t - 1]), out=out)
    return out


def trapezoid(stack: FloatArray, times: npt.NDArray[np.float64]) -> FloatArray:
    """Return the integral of each curve over time, (...) float32 in units of the stack times units of the times."""
    out = np.zeros(stack.shape[1:], dtype=np.float32)
    for t in range(1, len(times)):
        out += np.float32(0.5 * (times[t] - times[t - 1])) * (stack[t] + stack[t - 1])
    return out
