"""Maps of the passage of contrast: arrival, time to peak, peak, area, wash-in.

Times between frames come from linear interpolation of the rise (arrival) and a parabola (peak);
differences finer than `frame_interval_s` are interpolated, and the map carries that interval.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import PerfusionMaps, Phases, SubtractedRun
from angio_pipeline.numerics.compiled import each_in_threads
from angio_pipeline.numerics.curves import first_crossing, parabolic_peak, steepest_rise, trapezoid
from angio_pipeline.numerics.filters import gaussian
from angio_pipeline.perfusion.phases import PhaseParams, find_phases

__all__ = ["PerfusionParams", "measure"]

_BAND_ROWS = 16


class PerfusionParams(Params):
    """Settings of `measure`."""

    phases: PhaseParams = PhaseParams()
    smoothing_px: float = Field(1.0, ge=0, le=10, description="Gaussian applied to each frame, for a 512-pixel frame")
    arrival_fraction: float = Field(0.5, gt=0, lt=1, description="share of the peak that counts as arrived")
    min_peak_in_noise: float = Field(4.0, gt=0, description="times are undefined below this many noise SDs")


def measure(sub: SubtractedRun, *, params: PerfusionParams) -> PerfusionMaps:
    """Return the maps of one subtracted run; excluded frames take no part.

    Times are NaN where the peak does not stand out of the noise, and everywhere when the run
    does not show contrast coming; outside the valid area every map is NaN. Arrival is when the
    curve last rises through `arrival_fraction` of its peak before it peaks (leading edge).
    """
    sigma = params.smoothing_px * max(sub.frames.shape[1:]) / 512
    stack = np.stack([gaussian(f, sigma) for f, ok in zip(sub.frames, sub.usable, strict=True) if ok])
    times = sub.times_s[sub.usable]
    phases = find_phases(sub, params.phases)
    least = params.min_peak_in_noise * _smoothed_noise(sub.noise_sd, sigma)
    arrival, to_peak, peak, auc, wash_in = (np.full(sub.valid.shape, np.nan, np.float32) for _ in range(5))

    def one(band: int) -> None:
        rows = slice(band * _BAND_ROWS, (band + 1) * _BAND_ROWS)
        curves, valid = stack[:, rows], sub.valid[rows]
        top = curves.max(axis=0)
        if sub.timing_measurable:
            timed = valid & (top >= least)
            arrival[rows] = _where(timed, first_crossing(curves, times, np.float32(params.arrival_fraction) * top))
            to_peak[rows] = _where(timed, parabolic_peak(curves, times))
        peak[rows] = _where(valid, top)
        auc[rows] = _where(valid, trapezoid(curves, times))
        wash_in[rows] = _where(valid, steepest_rise(curves, times))

    # Few rows at a time: what is read of them again and again stays in the core's own cache.
    each_in_threads(one, -(-len(sub.valid) // _BAND_ROWS))
    return PerfusionMaps(
        arrival_s=arrival,
        time_to_peak_s=to_peak,
        peak=peak,
        auc=auc,
        wash_in=wash_in,
        phases=phases,
        frame_interval_s=float(np.median(np.diff(times))),
        quality=_quality(sub, phases),
    )


def _where(defined: npt.NDArray[np.bool_], values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.where(defined, values, np.float32(np.nan))


def _smoothed_noise(noise_sd: float, sigma_px: float) -> float:
    """Return what a Gaussian leaves of white noise: 1 / (2 sigma sqrt(pi)), at most all of it."""
    return noise_sd * min(1.0, 1.0 / (2.0 * sigma_px * np.sqrt(np.pi))) if sigma_px > 0 else noise_sd


def _quality(sub: SubtractedRun, phases: Phases) -> Quality:
    quality = Quality.NONE
    if Quality.TIMES_UNKNOWN not in sub.quality and float(np.median(np.diff(sub.times_s))) > 0.5:
        quality |= Quality.LOW_TIME_RESOLUTION
    if phases.venous is None and sub.timing_measurable:
        quality |= Quality.NO_WASHOUT_SEEN
    return quality
