"""Fourth step: what becomes of each feeder, read along the part that is the tumour's own.

The area under a vessel's curve is that of the artery it comes from, however slowly blood runs through
it: what flows in has to flow out (Stewart 1897, Hamilton 1932). So the ratio of areas, after over before, tells
whether a feeder is filled at all. How slowly is told by the mean transit time from the
reference artery, the difference of both curves' first moments (Meier & Zierler 1954, doi:10.1152/jappl.1954.6.12.731).

Where another branch of the tree lies over the feeder nothing is read: its contrast would stay when the feeder's
goes. Noise: the same strip is laid beside the vessel, several times, where no vessel is; what is read there is
what an empty feeder would show.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.spatial import cKDTree

from angio_pipeline.core.embolisation import FeederChange, Patency, ReferenceArtery
from angio_pipeline.core.params import Params
from angio_pipeline.core.tumours import Feeder
from angio_pipeline.core.vessels import VesselGraph
from angio_pipeline.embolisation.reference_artery import Clock, own_part
from angio_pipeline.embolisation.strips import Strip, StripParams, lay_strip, read_strip
from angio_pipeline.numerics.filters import robust_sd

__all__ = ["ArterialWindow", "FrameSet", "PatencyParams", "arterial_window", "feeder_change"]

Line = npt.NDArray[np.float64]
Curve = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
_TWO_SIDED = 1.96


class PatencyParams(Params):
    """Settings of `feeder_change`; all chosen by hand."""

    least_in_noise: float = Field(
        4.0, gt=0, description="a feeder's contrast before, over its noise, to be read at all"
    )
    open_ratio: float = Field(0.5, gt=0, le=1, description="of areas; from here on a feeder is filled")
    closed_ratio: float = Field(0.2, ge=0, le=1, description="of areas; up to here a feeder is closed")
    slow_s: float = Field(0.5, gt=0, description="longer transit that makes a filled feeder slowed; at least a frame")
    window_s: float = Field(3.0, gt=0, description="read until this long after the reference artery has emptied")
    emptied: float = Field(0.2, gt=0, lt=1, description="of its peak: the reference artery has emptied")
    in_view: float = Field(0.7, gt=0, le=1, description="share of a feeder that both runs have to show")
    least_length_px: float = Field(6.0, gt=0, description="of a feeder's own part, for a 512-pixel frame")
    repeat_error: float = Field(0.08, ge=0, le=1, description="relative standard error between two runs of one feeder")
    beside: int = Field(4, ge=1, le=20, description="strips beside the vessel, on each side")


@dataclass(frozen=True, slots=True, eq=False)
class FrameSet:
    """The usable frames of both runs in the geometry of the run before.

    Attributes
    ----------
    before, after : ndarray, (T, H, W) float32
    noise_sd : pair of float
        Of one frame of each run.
    seen : ndarray, (H, W) bool
        What both runs show.
    vessels : ndarray, (H, W) bool
        Arteries of either run.
    pixel_mm : float or None
        In the patient; None where it is not known.
    """

    before: FloatArray
    after: FloatArray
    noise_sd: tuple[float, float]
    seen: BoolArray
    vessels: BoolArray
    pixel_mm: float | None = None

    @property
    def scale(self) -> float:
        """Frame size over 512."""
        return float(max(self.seen.shape)) / 512


@dataclass(frozen=True, slots=True, eq=False)
class RunWindow:
    """One run over the time in which feeders are read.

    Attributes
    ----------
    frames : ndarray, (T, H, W) float32
    taking : ndarray, (G, T) float64
        From frames to the shared times of the window.
    areas : ndarray, (H, W) float32
        Integral of the frames over the window, attenuation times seconds.
    artery : ndarray, (G,) float64
        The reference artery's contrast.
    noise_sd, area_noise_sd : float
        Of a pixel of one frame, and of `areas`.
    """

    frames: FloatArray
    taking: npt.NDArray[np.float64]
    areas: FloatArray
    artery: Curve
    noise_sd: float
    area_noise_sd: float


@dataclass(frozen=True, slots=True, eq=False)
class ArterialWindow:
    """Both runs from before the reference artery fills until a while after it has emptied."""

    times_s: Curve
    frame_s: float
    before: RunWindow
    after: RunWindow


def arterial_window(
    frames: FrameSet, clock: Clock, reference: ReferenceArtery, *, params: PatencyParams
) -> ArterialWindow:
    """Return both runs over the time in which feeders are read."""
    last = 0
    for curve in (reference.before, reference.after):
        last = max(last, int(np.flatnonzero(curve >= params.emptied * curve.max())[-1]))
    until = clock.times_s[last] + params.window_s
    end = int(np.searchsorted(clock.times_s, until + 1e-9, side="right"))
    times = clock.times_s[:end]

    def one(stack: FloatArray, taking: npt.NDArray[np.float64], artery: Curve, noise_sd: float) -> RunWindow:
        weights = np.trapezoid(taking[:end], times, axis=0)
        areas = np.tensordot(weights.astype(np.float32), stack, axes=1)
        spread = noise_sd * float(np.sqrt(np.sum(weights**2)))
        return RunWindow(stack, taking[:end], areas, artery[:end], noise_sd, spread)

    return ArterialWindow(
        times,
        clock.frame_s,
        one(frames.before, clock.before, reference.before, frames.noise_sd[0]),
        one(frames.after, clock.after, reference.after, frames.noise_sd[1]),
    )


@dataclass(frozen=True, slots=True)
class _Reading:
    """Area over the reference artery's, its noise, and the transit time from it."""

    area: float
    noise: float
    delay_s: float


def feeder_change(
    feeder: Feeder,
    frames: FrameSet,
    window: ArterialWindow,
    graph: VesselGraph,
    *,
    placed: bool,
    avoid: BoolArray,
    strips: StripParams,
    params: PatencyParams,
) -> FeederChange:
    """Return what becomes of one feeder.

    Parameters
    ----------
    graph : VesselGraph
        The tree before: where another of its branches lies over the feeder, nothing is read.
    placed : bool
        Whether vessels were aligned by vessels; by bone alone a thin feeder would be missed.
    avoid : ndarray, (H, W) bool
        Where no strip is laid to know the noise: vessels and tumours.
    """
    line = own_part(feeder)
    problem = _problem(line, frames, placed, params)
    if problem:
        return _unknown(feeder, line, problem)
    # Nothing thinner than a pixel and a half can be told from its blur.
    radius = max(0.75, 0.5 * feeder.diameter_px) if np.isfinite(feeder.diameter_px) else 1.5 * frames.scale
    crossing = painted_branches(graph, frames.seen.shape, besides=line, scale=frames.scale)
    strip = lay_strip(line, radius, frames.vessels, scale=frames.scale, params=strips, crossing=crossing)
    if len(strip) < params.least_length_px / strips.step_px:
        return _unknown(feeder, line, "other vessels lie over most of it")
    empty = _beside(line, radius, frames, avoid, strips, params)
    before, after = (_read(run, window.times_s, strip, empty) for run in (window.before, window.after))
    return _judged(feeder, line, before, after, window.frame_s, params)


def painted_branches(graph: VesselGraph, size: tuple[int, ...], *, besides: Line, scale: float) -> BoolArray:
    """Return where branches lie that do not run along a line, with the pixel that they are blurred by, (H, W) bool."""
    out = np.zeros(size, np.uint8)
    own = cKDTree(besides)
    for branch in graph.branches:
        away, _ = own.query(branch.centreline)
        other = away > 2 * scale
        for (row, col), radius in zip(branch.centreline[other], branch.radius_px[other], strict=True):
            cv2.circle(out, (round(float(col)), round(float(row))), int(np.ceil(radius + scale)), 1, -1)
    return np.asarray(out > 0)


def _problem(line: Line, frames: FrameSet, placed: bool, params: PatencyParams) -> str:
    """Return why a feeder cannot be read, empty when it can."""
    if not placed:
        return "the vessels of both runs could not be laid upon each other"
    length = float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum()) if len(line) > 1 else 0.0
    if length < params.least_length_px * frames.scale:
        return "its own part is too short"
    rows, cols = (np.clip(np.rint(line[:, k]).astype(int), 0, frames.seen.shape[k] - 1) for k in (0, 1))
    if float(frames.seen[rows, cols].mean()) < params.in_view:
        return "it lies outside what both runs show"
    return ""


def _beside(
    line: Line, radius_px: float, frames: FrameSet, avoid: BoolArray, strips: StripParams, params: PatencyParams
) -> list[Strip]:
    """Return strips beside the vessel that hold none, at least a quarter of its length each."""
    width = 2 * radius_px + 2 * (strips.margin_px + strips.gap_px) * frames.scale
    found = []
    for k in range(1, params.beside + 1):
        for side in (-1, 1):
            strip = lay_strip(
                line,
                radius_px,
                avoid,
                scale=frames.scale,
                params=strips,
                offset_px=side * (k + 0.5) * width,
                crossing=avoid,
            )
            if len(strip) >= 8:
                found.append(strip)
    return found


def _read(run: RunWindow, times: Curve, strip: Strip, empty: list[Strip]) -> _Reading:
    reference_area = float(np.trapezoid(run.artery, times))
    curve = run.taking @ np.array([read_strip(frame, strip) for frame in run.frames])
    beside = np.array([read_strip(run.areas, one) for one in empty])
    # A median is a quarter less sure than a mean.
    counted = 1.25 / np.sqrt(max(strip.core_px, 1.0))
    floor = counted * run.area_noise_sd
    spread = max(robust_sd(beside), floor) if len(beside) >= 4 else 3 * floor
    delay = _moment(curve, times, 2 * counted * run.noise_sd) - _moment(run.artery, times, 0.0)
    return _Reading(float(np.trapezoid(curve, times)) / reference_area, spread / reference_area, delay)


def _moment(curve: Curve, times: Curve, least: float) -> float:
    """Return the first moment of what of the curve stands above `least`; NaN where nothing does."""
    above = np.clip(curve - least, 0, None)
    total = float(np.trapezoid(above, times))
    return float(np.trapezoid(above * times, times)) / total if total > 0 else float("nan")


def _judged(
    feeder: Feeder, line: Line, before: _Reading, after: _Reading, frame_s: float, params: PatencyParams
) -> FeederChange:
    ratio = after.area / before.area if before.area > 0 else float("nan")
    noise = float(np.hypot(after.noise, ratio * before.noise)) / before.area if before.area > 0 else float("nan")
    error = _TWO_SIDED * float(np.hypot(noise, params.repeat_error * ratio))
    interval = (max(0.0, ratio - error), max(0.0, ratio) + error)
    seen_after = after.area >= 3 * after.noise
    delays = (before.delay_s, after.delay_s if seen_after else float("nan"))
    patency, reason = _verdict(ratio, interval, before, delays[1] - delays[0], frame_s, params)
    return FeederChange(
        id=feeder.id,
        probability=feeder.probability,
        contribution=feeder.contribution,
        line=line,
        patency=patency,
        contrast_before=before.area,
        contrast_after=after.area,
        ratio=ratio,
        ratio_interval=interval,
        delay_before_s=delays[0],
        delay_after_s=delays[1],
        reason=reason,
    )


def _verdict(
    ratio: float, interval: tuple[float, float], before: _Reading, later_s: float, frame_s: float, params: PatencyParams
) -> tuple[Patency, str]:
    if not before.area >= params.least_in_noise * before.noise:
        times = f"{before.area / before.noise:.1f}" if before.noise > 0 else "not"
        return Patency.UNKNOWN, f"It does not stand out before embolisation ({times} times its noise)."
    told = f"{100 * ratio:.0f} % of its contrast is left ({100 * interval[0]:.0f} to {100 * interval[1]:.0f} %)"
    if interval[0] < params.closed_ratio and interval[1] > params.open_ratio:
        return Patency.UNKNOWN, f"{told}: noise covers closed and open alike."
    if ratio <= params.closed_ratio:
        return Patency.CLOSED, f"{told}, at most {100 * params.closed_ratio:.0f} %."
    slow = max(params.slow_s, frame_s)
    if np.isfinite(later_s) and later_s >= slow:
        return Patency.SLOWED, f"{told}, {later_s:.1f} s later than before (at least {slow:.1f} s)."
    if ratio < params.open_ratio:
        # Slow blood brings as much contrast as fast blood, only later.
        return Patency.UNKNOWN, f"{told}{_when(later_s)}: narrower, or another vessel that lies over it."
    return Patency.OPEN, f"{told}{_when(later_s)}."


def _when(later_s: float) -> str:
    """Return in words how much later a feeder fills than before."""
    if not np.isfinite(later_s):
        return ""
    if abs(later_s) < 0.05:
        return ", as fast as before"
    return f", {abs(later_s):.1f} s {'later' if later_s > 0 else 'sooner'} than before"


def _unknown(feeder: Feeder, line: Line, problem: str) -> FeederChange:
    nothing = float("nan")
    return FeederChange(
        feeder.id,
        feeder.probability,
        feeder.contribution,
        line,
        Patency.UNKNOWN,
        nothing,
        nothing,
        nothing,
        (nothing, nothing),
        nothing,
        nothing,
        f"It cannot be read: {problem}.",
    )
