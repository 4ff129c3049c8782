"""Third step: the artery that both runs are measured by, and the time that they share.

A linear system: what is injected stronger, longer or later changes artery and tissue alike, so that
amplitudes over those of an artery, and times from it, do not change. The artery has to be large,
near the catheter, open in both runs and no feeder of a tumour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.embolisation import ReferenceArtery
from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.params import Params
from angio_pipeline.core.tumours import Feeder, Tumour
from angio_pipeline.core.vessels import VesselGraph
from angio_pipeline.embolisation.strips import Strip, StripParams, lay_strip, read_strip
from angio_pipeline.numerics.curves import first_crossing

__all__ = [
    "Clock",
    "ReferenceParams",
    "choose_reference",
    "own_part",
    "reference_artery",
    "set_clock",
    "trunk_branches",
]

Line = npt.NDArray[np.float64]
Curve = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


class ReferenceParams(Params):
    """Settings of `choose_reference` and `set_clock`; all chosen by hand."""

    reach: float = Field(0.25, gt=0, le=1, description="from the root, as a share of the frame's longer side")
    as_dark: float = Field(0.6, gt=0, le=1, description="of the darkest artery's contrast: as large as that")
    feeder_probability: float = Field(0.5, ge=0, le=1, description="feeders as likely as this are no reference")
    least_length_px: float = Field(8.0, gt=0, description="of the part that is read, for a 512-pixel frame")
    least_in_noise: float = Field(10.0, gt=0, description="contrast over a frame's noise in both runs")
    least_ratio: float = Field(0.2, ge=0, le=1, description="contrast after over before: below, it is not filled")
    lead_s: float = Field(2.0, ge=0, description="read from this long before the artery fills")
    least_s: float = Field(3.0, gt=0, description="both runs have to go on this long after the artery fills")


@dataclass(frozen=True, slots=True, eq=False)
class Clock:
    """Times that both runs share, 0 when the reference artery has half its contrast.

    Attributes
    ----------
    times_s : ndarray, (G,) float64
        Evenly spaced.
    before, after : ndarray, (G, T) float64
        Takes values at the frames of a run to values at `times_s`, in straight lines.
    frame_s : float
        The longer of both runs' median frame intervals: nothing finer is told.
    """

    times_s: Curve
    before: npt.NDArray[np.float64]
    after: npt.NDArray[np.float64]
    frame_s: float


def own_part(feeder: Feeder) -> Line:
    """Return the part of a feeder's centreline that supplies the tumour alone, (K, 2)."""
    line = feeder.centreline
    start = int(np.argmin(np.linalg.norm(line - np.array(feeder.branch_start), axis=1)))
    return np.asarray(line[start:])


def trunk_branches(
    graph: VesselGraph, tumours: Sequence[Tumour], reach_px: float, *, params: ReferenceParams
) -> list[int]:
    """Return branches that begin within reach of the root and belong to no likely feeder, nearest first.

    Pieces that the tree does not join count as well: a catheter often parts the first of them from the rest.
    """
    if graph.root is None:
        return []
    likely = [f for t in tumours for f in t.feeders if f.probability >= params.feeder_probability]
    owned: set[int] = set()
    for start in (np.array(feeder.branch_start) for feeder in likely):
        for index, branch in enumerate(graph.branches):
            if index not in owned and np.linalg.norm(branch.centreline[0] - start) < 1.5:
                owned.update(graph.beyond(index))
    away = [float(np.linalg.norm(branch.centreline[0] - graph.nodes[graph.root])) for branch in graph.branches]
    near = [index for index, distance in enumerate(away) if distance <= reach_px and index not in owned]
    return sorted(near, key=lambda index: away[index])


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    """A branch that may serve: its contrast before, and after over before."""

    index: int
    radius_px: float
    strip: Strip
    contrast: float
    change: float


def choose_reference(
    graph: VesselGraph,
    tumours: Sequence[Tumour],
    arterial: tuple[FloatArray, FloatArray],
    noise_sd: tuple[float, float],
    vessels: BoolArray,
    blocked: BoolArray,
    *,
    strips: StripParams,
    params: ReferenceParams,
) -> tuple[Strip, int, str]:
    """Return where to read the reference artery, its branch, and how it was chosen.

    Of the branches within reach of the root that no likely feeder belongs to and that stand out of the noise in
    both runs, the darkest are the largest; of these the one is taken whose contrast changed between the runs as
    their median did, so that a branch which another vessel crosses in one run is none.

    Parameters
    ----------
    arterial : pair of ndarray, (H, W) float32
        Mean of the arterial phase before and after, in one geometry.
    blocked : ndarray, (H, W) bool
        Where nothing may be read: a catheter, or what one of the runs does not show.

    Raises
    ------
    InputRefused
        `no_artery` without such a branch before, `artery_not_filled` when none of them is filled after.
    """
    near = trunk_branches(graph, tumours, params.reach * max(vessels.shape), params=params)
    read = (_candidate(graph, index, arterial, vessels, blocked, strips, params) for index in near)
    seen = [one for one in read if one is not None and one.contrast >= params.least_in_noise * noise_sd[0]]
    if not seen:
        raise InputRefused(
            "Expected a large artery near the root that stands out before embolisation, found none; there is nothing "
            "to measure blush and feeders by.",
            reason="no_artery",
        )
    least = params.least_in_noise * noise_sd[1]
    filled = [one for one in seen if one.change >= max(params.least_ratio, least / one.contrast)]
    if not filled:
        raise InputRefused(
            f"Expected one of {len(seen)} large arteries near the root to be filled after embolisation as well, found "
            "none; the catheter may stand elsewhere or the injection may have failed: compare runs of one position.",
            reason="artery_not_filled",
        )
    darkest = max(one.contrast for one in filled)
    large = sorted((one for one in filled if one.contrast >= params.as_dark * darkest), key=lambda one: one.change)
    chosen = large[(len(large) - 1) // 2]
    how = (
        f"Of {len(filled)} arteries near the root that are no likely feeder and filled in both runs, the {len(large)} "
        "with the most contrast; of these the one that changed between the runs as their median did "
        f"({2 * chosen.radius_px:.1f} px wide)."
    )
    return chosen.strip, chosen.index, how


def _candidate(
    graph: VesselGraph,
    index: int,
    arterial: tuple[FloatArray, FloatArray],
    vessels: BoolArray,
    blocked: BoolArray,
    strips: StripParams,
    params: ReferenceParams,
) -> _Candidate | None:
    """Return a branch with its contrast in both runs; None where too little of it can be read."""
    branch, scale = graph.branches[index], max(vessels.shape) / 512
    radius = 0.5 * branch.diameter_px
    line = _free_middle(branch.centreline, radius, blocked)
    if len(line) < 2 or _length(line) < params.least_length_px * scale:
        return None
    strip = lay_strip(line, radius, vessels, scale=scale, params=strips)
    before, after = (read_strip(image, strip) for image in arterial)
    return _Candidate(index, radius, strip, before, after / before) if len(strip) and before > 0 else None


def _free_middle(line: Line, radius_px: float, blocked: BoolArray) -> Line:
    """Return the longest stretch of a branch that is not blocked, without the ends that bifurcations widen."""
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    margin = min(radius_px, 0.25 * along[-1])
    rows, cols = np.rint(line).astype(int).T
    inside = (rows >= 0) & (rows < blocked.shape[0]) & (cols >= 0) & (cols < blocked.shape[1])
    free = inside & (along >= margin) & (along <= along[-1] - margin)
    free[inside] &= ~blocked[rows[inside], cols[inside]]
    edges = np.flatnonzero(np.diff(np.concatenate([[0], free.astype(int), [0]])))
    stretches = [(along[last - 1] - along[first], first, last) for first, last in zip(*[iter(edges)] * 2, strict=True)]
    if not stretches:
        return np.empty((0, 2))
    _, first, last = max(stretches)
    return line[first:last]


def _length(line: Line) -> float:
    return float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())


def set_clock(curves: tuple[Curve, Curve], times: tuple[Curve, Curve], *, params: ReferenceParams) -> Clock:
    """Return the times that both runs share.

    Parameters
    ----------
    curves, times : pair of ndarray, (T,) float64
        The reference artery's contrast at the usable frames of each run, and when these are.

    Raises
    ------
    InputRefused
        `run_too_short` when a run ends too soon after the artery fills.
    """
    begins = [_half_way(curve, at) for curve, at in zip(curves, times, strict=True)]
    lead = min(params.lead_s, *(begin - at[0] for begin, at in zip(begins, times, strict=True)))
    rest = [at[-1] - begin for begin, at in zip(begins, times, strict=True)]
    if min(rest) < params.least_s:
        name = "before" if rest[0] < rest[1] else "after"
        raise InputRefused(
            f"Expected both runs to go on for {params.least_s:g} s after the arteries fill, found {min(rest):.1f} s in "
            f"the run {name}; compare longer runs.",
            reason="run_too_short",
        )
    steps = [float(np.median(np.diff(at))) for at in times]
    grid = np.arange(round((lead + min(rest)) / min(steps)) + 1) * min(steps) - lead
    grid = grid[grid <= min(rest) + 1e-9]
    taking = [_interpolation(at - begin, grid) for begin, at in zip(begins, times, strict=True)]
    return Clock(grid, taking[0], taking[1], max(steps))


def _half_way(curve: Curve, times: Curve) -> float:
    """Return when the curve last rises through half its maximum before it."""
    stack = curve[:, None].astype(np.float32)
    return float(first_crossing(stack, times, np.float32(0.5) * stack.max(axis=0))[0])


def _interpolation(times: Curve, grid: Curve) -> npt.NDArray[np.float64]:
    """Return (G, T) the weights of each sample at each time of the grid, in straight lines."""
    return np.stack([np.interp(grid, times, unit) for unit in np.eye(len(times))], axis=1)


def reference_artery(
    strip: Strip, diameter_px: float, curves: tuple[Curve, Curve], clock: Clock, how: str
) -> ReferenceArtery:
    """Return the chosen artery with its contrast at the shared times."""
    middle = strip.at[:, strip.at.shape[1] // 2].astype(np.float64)
    before, after = clock.before @ curves[0], clock.after @ curves[1]
    areas = tuple(float(np.trapezoid(curve, clock.times_s)) for curve in (before, after))
    return ReferenceArtery(middle, diameter_px, before, after, (areas[0], areas[1]), how)
