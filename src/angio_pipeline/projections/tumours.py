"""Fourth step: which blush of one view is which blush of the other, and where the tumour lies in space.

A ball is seen between the same two planes through both sources in either view: the heights that a blush spans tell as
much as where its middle is. Each tumour is matched at most once, so that the sum of agreements is greatest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy
from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.core.projections import TumourMatch
from angio_pipeline.core.tumours import Tumour
from angio_pipeline.projections.geometry import PairGeometry, plane_heights_mm, triangulate

__all__ = ["TumourParams", "match_tumours"]


class TumourParams(Params):
    """Settings of `match_tumours`; all chosen by hand."""

    centre_mm: float = Field(3.0, gt=0, description="SD of a blush's middle in one view")
    centre_share: float = Field(0.15, ge=0, description="the same, as a share of its radius, added in squares")
    farthest_sd: float = Field(3.0, gt=0, description="a middle farther from its line is another tumour's")
    least_overlap: float = Field(0.3, ge=0, le=1, description="of the heights that both span, over those either does")
    rival: float = Field(
        0.5, ge=0, le=1, description="agreement over the chosen one's, from which another is meant too"
    )


def match_tumours(
    pair: PairGeometry, first: Sequence[Tumour], second: Sequence[Tumour], *, params: TumourParams
) -> tuple[TumourMatch, ...]:
    """Return the tumours that both views show, in order of the first view's."""
    if not first or not second:
        return ()
    spans = [[_span(pair, t, second=k == 1) for t in tumours] for k, tumours in enumerate((first, second))]
    agreement = np.array(
        [
            [_agreement(pair, a, b, spans[0][i], spans[1][j], params) for j, b in enumerate(second)]
            for i, a in enumerate(first)
        ]
    )
    rows, cols = scipy.optimize.linear_sum_assignment(-agreement)
    out = []
    for i, j in zip(rows, cols, strict=True):
        if agreement[i, j] > 0:
            others = np.concatenate([np.delete(agreement[i], j), np.delete(agreement[:, j], i)])
            alone = bool((others < params.rival * agreement[i, j]).all())
            out.append(_match(pair, first[i], second[j], alone=alone))
    return tuple(out)


def _span(pair: PairGeometry, tumour: Tumour, *, second: bool) -> tuple[float, float]:
    places = np.argwhere(tumour.mask).astype(np.float64)
    # A mask's pixels reach half a pixel beyond their centres; a few stray ones do not count.
    low, high = np.percentile(plane_heights_mm(pair, places, second=second), [2, 98])
    half = 0.5 * (pair.second if second else pair.first).pixel_mm
    return float(low) - half, float(high) + half


def _agreement(
    pair: PairGeometry,
    one: Tumour,
    other: Tumour,
    span: tuple[float, float],
    with_span: tuple[float, float],
    params: TumourParams,
) -> float:
    """Return how well two blushes may be one, 0 (they are not) to 1."""
    at = np.array([one.centroid]), np.array([other.centroid])
    apart = float(pair.distances_mm(*at)[0, 0])
    radius = 0.5 * (_radius_mm(one, pair.first.pixel_mm) + _radius_mm(other, pair.second.pixel_mm))
    own = np.sqrt(2) * np.hypot(params.centre_mm, params.centre_share * radius)
    sds = abs(apart) / np.hypot(own, float(pair.spreads_mm(*at)[0]))
    shared = min(span[1], with_span[1]) - max(span[0], with_span[0])
    overlap = max(0.0, shared) / (max(span[1], with_span[1]) - min(span[0], with_span[0]))
    if sds > params.farthest_sd or overlap < params.least_overlap:
        return 0.0
    return float(np.exp(-0.5 * sds**2) * overlap)


def _radius_mm(tumour: Tumour, pixel_mm: float) -> float:
    return float(np.sqrt(tumour.area_px / np.pi)) * pixel_mm


def _match(pair: PairGeometry, one: Tumour, other: Tumour, *, alone: bool) -> TumourMatch:
    at = np.array([one.centroid]), np.array([other.centroid])
    centre, _ = triangulate(pair, *at)
    x, y, z = (float(v) for v in centre[0])
    return TumourMatch(
        first=one.id,
        second=other.id,
        centre_mm=(x, y, z),
        radius_mm=0.5 * (_radius_mm(one, pair.first.pixel_mm) + _radius_mm(other, pair.second.pixel_mm)),
        apart_mm=float(pair.distances_mm(*at)[0, 0]),
        alone=alone,
    )
