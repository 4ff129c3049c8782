"""Second step: how the second view lies against the first, beyond what the tags tell.

All that one plane through both sources holds is seen on one line of either view, and the contrast on both lines is
one and the same, as long as the same arteries are filled (the consistency that Aichert and others, doi:10.1109/
TMI.2015.2426417, derive for whole pictures; here it is read on the arteries, whose background is none). The profiles
of contrast over all planes therefore agree, and the shift at which they do tells how far table and breath have moved
the patient across these lines; how well they do tells whether both views show one injection at all.

Landmarks (the catheter's tip, the tree's root, tumours) then refine displacement and angles by Gauss-Newton with
what is usual as prior; a landmark that does not agree is left out, as it may have been found wrongly in one view.
Along the line between the sources a displacement is seen as depth and not told apart from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.params import Params
from angio_pipeline.core.projections import Landmark, ViewAlignment
from angio_pipeline.core.results import RunResult
from angio_pipeline.projections.geometry import PairGeometry, View, height_axis, plane_heights_mm

__all__ = ["AlignmentParams", "align_views", "arterial_mean", "contrast_shift"]

Array = npt.NDArray[np.float64]


class AlignmentParams(Params):
    """Settings of `align_views`; all chosen by hand."""

    bin_mm: float = Field(1.0, gt=0, description="width of the planes over which contrast is summed")
    fine_mm: float = Field(1.2, gt=0, description="blur of the profiles")
    coarse_mm: float = Field(10.0, gt=0, description="slower changes of the profiles are ignored")
    largest_mm: float = Field(30.0, gt=0, description="farthest that table and breath are looked for")
    least_match: float = Field(0.75, ge=0, le=1, description="correlation from which on both show one injection")
    profile_mm: float = Field(1.5, gt=0, description="SD of the shift by the profiles")
    tip_probability: float = Field(0.6, ge=0, le=1, description="of a catheter tip that is taken for a landmark")
    tip_mm: float = Field(3.0, gt=0, description="SD of a tip or root")
    tumour_mm: float = Field(4.0, gt=0, description="SD of a tumour's centre")
    farthest_sd: float = Field(3.0, gt=0, description="a landmark farther off was found wrongly in one view")
    shift_mm: float = Field(8.0, gt=0, description="usual displacement between runs, each axis")
    turn_deg: float = Field(1.0, gt=0, description="usual error of an angle")


@dataclass(frozen=True, slots=True)
class _Pair:
    """A point of both views, with its SD."""

    name: str
    first: tuple[float, float]
    second: tuple[float, float]
    sd_mm: float


def arterial_mean(result: RunResult) -> npt.NDArray[np.float32]:
    """Return the mean of the usable frames of the arterial phase, (H, W)."""
    sub, phase = result.subtracted, result.maps.phases.arterial
    chosen = [t for t in range(phase.first, phase.last + 1) if sub.usable[t]] or [sub.reference_frame]
    return np.asarray(sub.frames[chosen].mean(axis=0, dtype=np.float32))


def align_views(
    views: tuple[View, View], results: tuple[RunResult, RunResult], *, params: AlignmentParams
) -> tuple[PairGeometry, ViewAlignment]:
    """Return the geometry of both views with the second where what both show agrees, and how that was found.

    Raises
    ------
    InputRefused
        `not_aligned` when neither the contrast on corresponding lines nor two landmarks agree.
    """
    prior = np.diag([params.shift_mm] * 3 + [params.turn_deg] * 2) ** 2
    start = PairGeometry(views[0], views[1], prior)
    shift, match = contrast_shift(start, results, params=params)
    by_profile = match >= params.least_match
    # Where the second view shows everything higher by this much, the patient lay higher there.
    moved = start.moved(np.append(shift * height_axis(start), [0.0, 0.0])) if by_profile else start
    found = _landmarks(moved, results, by_profile, params)
    if not by_profile and len(found) < 2:
        raise InputRefused(
            f"Expected the contrast of both views to agree on corresponding lines (correlation of "
            f"{params.least_match:g} or more) or two landmarks to, found "
            f"{f'{match:.2f}' if np.isfinite(match) else 'no arteries'} and {len(found)}; check that both runs show "
            "one injection of one patient.",
            reason="not_aligned",
        )
    middle = tuple(float((side - 1) / 2) for side in (*views[0].size, *views[1].size))
    profile = [_Pair("profile", (middle[0], middle[1]), (middle[2], middle[3]), params.profile_mm)] * by_profile
    anchors = [_anchored(moved, one) for one in profile]
    pair = _refined(moved, [*anchors, *found], prior)
    second = pair.second
    every = _candidates(results, params)
    told = tuple(Landmark(one.name, _apart(pair, one), one in found) for one in every)
    centre = np.array([[middle[0], middle[1]]]), np.array([[middle[2], middle[3]]])
    sd = float(pair.spreads_mm(*centre)[0])
    return pair, ViewAlignment(second.shift_mm, second.turn_deg, sd, match, told)


def _anchored(pair: PairGeometry, one: _Pair) -> _Pair:
    """Return the pair of points with the second on the line of the first: what the profiles have found stays."""
    line = pair.lines(np.array([one.first]))[0]
    second = np.array(one.second) - (line[:2] @ np.array(one.second) + line[2]) * line[:2]
    return _Pair(one.name, one.first, (float(second[0]), float(second[1])), one.sd_mm)


def contrast_shift(
    pair: PairGeometry, results: tuple[RunResult, RunResult], *, params: AlignmentParams
) -> tuple[float, float]:
    """Return by how many mm the second view shows the arteries' contrast higher than the first, and the correlation.

    The correlation is NaN where a view shows no arteries, and the shift then 0.
    """
    heights, weights = [], []
    for result, second in zip(results, (False, True), strict=True):
        artery = result.vessels.artery
        if not artery.any():
            return 0.0, float("nan")
        heights.append(plane_heights_mm(pair, np.argwhere(artery).astype(np.float64), second=second))
        weights.append(np.maximum(arterial_mean(result)[artery].astype(np.float64), 0))
    low = min(h.min() for h in heights) - params.largest_mm
    high = max(h.max() for h in heights) + params.largest_mm
    edges = np.arange(low, high + params.bin_mm, params.bin_mm)
    one, other = (_banded(np.histogram(h, edges, weights=w)[0], params) for h, w in zip(heights, weights, strict=True))
    reach = round(params.largest_mm / params.bin_mm)
    # Outside its own arteries a profile is nothing, so that rolling it by less than the margin loses nothing.
    size = float(np.sqrt((one @ one) * (other @ other)))
    if size <= 0:
        return 0.0, float("nan")
    matches = np.array([one @ np.roll(other, -k) for k in range(-reach, reach + 1)]) / size
    best = int(np.argmax(matches))
    inside = 0 < best < 2 * reach
    bend = matches[best - 1] - 2 * matches[best] + matches[best + 1] if inside else 0.0
    between = 0.5 * (matches[best - 1] - matches[best + 1]) / bend if bend < 0 else 0.0
    return float((best - reach + between) * params.bin_mm), float(matches[best])


def _banded(profile: Array, params: AlignmentParams) -> Array:
    fine, coarse = (_blurred(profile, sd / params.bin_mm) for sd in (params.fine_mm, params.coarse_mm))
    return np.asarray(fine - coarse)


def _blurred(profile: Array, sd: float) -> Array:
    reach = int(np.ceil(3 * sd))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sd) ** 2)
    return np.convolve(np.pad(profile, reach), kernel / kernel.sum(), "valid")


def _candidates(results: tuple[RunResult, RunResult], params: AlignmentParams) -> list[_Pair]:
    """Return what may be one point in both views: tips, roots, each tumour with each."""
    out = []
    tips = [r.tip if r.tip is not None and r.tip.probability >= params.tip_probability else None for r in results]
    if tips[0] is not None and tips[1] is not None:
        out.append(_Pair("catheter tip", (tips[0].row, tips[0].col), (tips[1].row, tips[1].col), params.tip_mm))
    elif results[0].graph.root is not None and results[1].graph.root is not None:
        roots = [r.graph.nodes[r.graph.root] for r in results if r.graph.root is not None]
        one, other = ((float(row), float(col)) for row, col in roots)
        out.append(_Pair("root of the tree", one, other, params.tip_mm))
    out += [
        _Pair(f"tumour {one.id} as {other.id}", one.centroid, other.centroid, params.tumour_mm)
        for one in results[0].tumours
        for other in results[1].tumours
    ]
    return out


def _landmarks(
    pair: PairGeometry, results: tuple[RunResult, RunResult], by_profile: bool, params: AlignmentParams
) -> list[_Pair]:
    """Return the landmarks that agree: with the profiles where these do, else with each other.

    A tumour counts once, as the one that it agrees with best.
    """
    every = _candidates(results, params)
    if by_profile:
        return _once([(abs(_apart(pair, one)), one) for one in every], params)
    best: list[_Pair] = []
    for anchor in every:
        axis = height_axis(pair)
        # Distances grow with a displacement along the axis, with either sign.
        slope = (_apart(pair.moved(np.append(axis, [0.0, 0.0])), anchor) - _apart(pair, anchor)) or 1.0
        shift = -_apart(pair, anchor) / slope
        if abs(shift) > params.largest_mm:
            continue
        moved = pair.moved(np.append(shift * axis, [0.0, 0.0]))
        agreeing = _once([(abs(_apart(moved, one)), one) for one in every], params)
        best = agreeing if len(agreeing) > len(best) else best
    return best


def _once(ranked: Sequence[tuple[float, _Pair]], params: AlignmentParams) -> list[_Pair]:
    out: list[_Pair] = []
    for apart, one in sorted(ranked, key=lambda item: item[0]):
        taken = any(one.first == other.first or one.second == other.second for other in out)
        if apart <= params.farthest_sd * np.hypot(one.sd_mm, params.profile_mm) and not taken:
            out.append(one)
    return out


def _apart(pair: PairGeometry, one: _Pair) -> float:
    return float(pair.distances_mm(np.array([one.first]), np.array([one.second]))[0, 0])


def _refined(pair: PairGeometry, points: Sequence[_Pair], prior: Array) -> PairGeometry:
    """Return the pair after Gauss-Newton on displacement and turn, with the covariance that is left.

    The prior holds about where the pair stands at first: what the profiles have found is no error.
    """
    weight = np.linalg.inv(prior)
    total = np.zeros(5)
    step = np.array([0.5, 0.5, 0.5, 0.1, 0.1])
    information = weight
    for _ in range(5):
        here = pair.moved(total)
        information, pull = weight.copy(), -weight @ total
        for one in points:
            slope = np.array(
                [
                    (_apart(here.moved(d), one) - _apart(here.moved(-d), one)) / (2 * step[k])
                    for k, d in enumerate(np.diag(step))
                ]
            )
            information += np.outer(slope, slope) / one.sd_mm**2
            pull -= slope * _apart(here, one) / one.sd_mm**2
        total = total + np.linalg.solve(information, pull)
    found = pair.moved(total)
    return PairGeometry(found.first, found.second, np.asarray(np.linalg.inv(information)))
