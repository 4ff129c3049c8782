"""Other ways to a branch's velocity, for comparison; each sees the same pieces of one branch and nothing else.

All take the middles of the pieces (M,) in pixels, their curves (T, M) and the frames' times (T,), and return the
slowness in seconds per pixel, NaN where they have no answer.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares
from scipy.special import ndtr

from angio_pipeline.vessels.bolus import BolusParams, BolusTimes, edge_times
from angio_pipeline.vessels.velocity import fit_line

Array = npt.NDArray[np.float64]
Estimator = Callable[[Array, Array, Array], float]
_STEP_S = 0.01


def leading_edge(along: Array, curves: Array, times: Array) -> float:
    """Return the slope of a robust line through the times at which the pieces reach half of their greatest value."""
    return _slope(_edges(along, curves, times))


def first_moment(along: Array, curves: Array, times: Array) -> float:
    """Return the slope of the mean time of each piece's rise: dispersion does not move a mean."""
    mean = np.full(len(along), np.nan)
    for k, curve in enumerate(curves.T):
        peak = int(np.argmax(curve))
        if peak > 0 and curve[peak] > 0:
            rise = np.diff(np.maximum.accumulate(np.maximum(curve[: peak + 1], 0)))
            mean[k] = np.average(0.5 * (times[1 : peak + 1] + times[:peak]), weights=np.maximum(rise, 1e-12))
    return _slope(_times(along, mean))


def cross_correlation(along: Array, curves: Array, times: Array) -> float:
    """Return the slope of the delays at which each piece's curve correlates most with the branch's mean curve.

    The mean is made anew of the curves laid upon each other, three times.
    """
    if len(along) < 2:
        return float("nan")
    shape = curves / np.maximum(curves.max(axis=0), 1e-9)
    delay = np.zeros(len(along))
    lags = np.arange(-1.5, 1.5, _STEP_S)
    for _ in range(3):
        common = np.mean([np.interp(times, times - d, c) for d, c in zip(delay, shape.T, strict=True)], axis=0)
        moved = np.stack([np.interp(times - lag, times, common) for lag in lags])
        moved = moved - moved.mean(axis=1, keepdims=True)
        centred = shape - shape.mean(axis=0)
        likeness = (moved @ centred) / np.maximum(np.linalg.norm(moved, axis=1)[:, None], 1e-9)
        delay = lags[np.argmax(likeness, axis=0)]
    return _slope(_times(along, delay))


def fitted_edge(along: Array, curves: Array, times: Array) -> float:
    """Return the slowness of an edge of error-function shape fitted to all pieces of the branch at once.

    Fitted are begin, slowness, width and a slope of the plateau, up to each piece's greatest value.
    """
    begin = _edges(along, curves, times)
    if len(begin.time_s) < 2:
        return float("nan")
    greatest = curves.max(axis=0)
    rising = np.arange(len(times))[:, None] <= np.argmax(curves, axis=0)
    shape = curves / np.maximum(greatest, 1e-9)

    def misfit(found: Array) -> Array:
        first, slowness, width, tilt = found
        since = times[:, None] - first - slowness * along
        model = ndtr(since / width) * (1 + tilt * (since - 1))
        return np.asarray(((shape - model) * rising).ravel() / 0.05)

    slope = float(np.clip(np.nan_to_num(_slope(begin)), 1e-4, 0.2))
    start = np.array([float(np.median(begin.time_s)) - slope * float(np.median(along)), slope, 0.25, 0.0])
    bounds = ([-20, -0.5, 0.05, -0.3], [60, 0.5, 1.5, 0.3])
    return float(least_squares(misfit, np.clip(start, *bounds), loss="soft_l1", bounds=bounds).x[1])


def continuity(along: Array, curves: Array, times: Array) -> float:
    """Return the slowness by which the rise in time makes up for the fall along the branch: dc/ds + u dc/dt = 0."""
    if len(along) < 3:
        return float("nan")
    shape = curves / np.maximum(curves.max(axis=0), 1e-9)
    last = int(np.median(np.argmax(curves, axis=0)))
    in_time = np.diff(shape, axis=0)[:last] / np.diff(times)[:last, None]
    in_space = np.gradient(shape, along, axis=1)
    in_space = 0.5 * (in_space[1:] + in_space[:-1])[:last]
    power = float((in_time**2).sum())
    return -float((in_time * in_space).sum()) / power if power > 0 else float("nan")


ESTIMATORS: dict[str, Estimator] = {
    "leading edge, line a branch": leading_edge,
    "mean time of the rise, line a branch": first_moment,
    "cross-correlation with the branch's mean curve": cross_correlation,
    "edge of one shape fitted to all of the branch": fitted_edge,
    "continuity equation": continuity,
}


def _edges(along: Array, curves: Array, times: Array) -> BolusTimes:
    return edge_times(along, curves, np.full(len(along), 2.0), times, 0.0, BolusParams())


def _times(along: Array, time: Array) -> BolusTimes:
    known = np.isfinite(time)
    return BolusTimes(along[known], time[known], np.zeros(int(known.sum())))


def _slope(times: BolusTimes) -> float:
    line = fit_line(times, floor_s=0.02)
    return float("nan") if line is None else line.slope_s_px
