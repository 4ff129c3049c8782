"""The catheter's tip, from where a network tells the catheter: which point of it is its end, and lets contrast out.

Strategy: every point of the catheter's middle line could be the tip. It is where the catheter lies to one
side alone, in an artery, where contrast is seen first and is dense, near the band that marks the tip and is
dark in the mask. A catheter that doubles back, or that is told in pieces, has several ends or none; so
the points are scored one by one, by evidence of which none decides alone, and not walked along.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field
from skimage.filters import apply_hysteresis_threshold
from skimage.morphology import skeletonize

from angio_pipeline.core.params import Params
from angio_pipeline.core.runs import Background, PerfusionMaps, SubtractedRun
from angio_pipeline.core.vessels import CatheterTip, VesselSegmentation
from angio_pipeline.numerics.filters import gaussian

__all__ = ["CatheterParams", "TipEvidence", "find_tip", "weigh_points"]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


class TipWeights(Params):
    """Weight of each kind of evidence in the log odds of a point being the tip; fitted by benchmarks/tip.py."""

    one_sided: float = Field(10.7, description="the line lies to one side of the point")
    contrast_share: float = Field(2.8, description="the first contrast is there, over the fullest arteries")
    artery: float = Field(7.0, description="probability of artery there")
    arrival_s: float = Field(-2.2, description="how late contrast comes, a second")
    dark_band: float = Field(1.0, description="the mask shows a marker nearby")
    catheter: float = Field(7.0, description="probability of catheter there")
    offset: float = Field(-24.5, description="log odds where none of these speaks")


class CatheterParams(Params):
    """Settings of `find_tip`; lengths are for a 512-pixel frame and grow with it."""

    follow: float = Field(0.08, gt=0, lt=1, description="probability down to which a catheter is followed")
    least_piece_px: float = Field(8.0, ge=0, description="shorter pieces are none")
    least_length_px: float = Field(40.0, gt=0, description="length, all pieces together, from which on one is believed")
    reach_px: float = Field(10.0, gt=0, description="how far to both sides of a point the catheter is looked for")
    early_s: float = Field(0.7, gt=0, description="how long after onset contrast counts as the first")
    rim_px: float = Field(14.0, ge=0, description="an end nearer than this to the picture's rim leads out of it")
    even_score: float = Field(-4.2, description="log odds of the best point at which it is as likely right as wrong")
    certainty: float = Field(0.6, gt=0, description="how fast the odds of being right change with them")
    weights: TipWeights = TipWeights()


_KINDS = len(TipWeights.model_fields) - 1


@dataclass(frozen=True, slots=True, eq=False)
class TipEvidence:
    """Points (K, 2) (row, col) of a catheter's middle line, and what speaks for each, (K, 6) in the weights' order."""

    points: npt.NDArray[np.int64]
    evidence: npt.NDArray[np.float64]


def find_tip(
    vessels: VesselSegmentation, sub: SubtractedRun, maps: PerfusionMaps, *, params: CatheterParams
) -> CatheterTip | None:
    """Return the likeliest place of the tip, however likely, or None where no catheter is told or it ends out of view.

    Returns
    -------
    CatheterTip or None
        `probability` is how likely the tip lies within 3 mm.
    """
    found = weigh_points(vessels, sub, maps, params=params)
    if not len(found.points):
        return None
    weights = np.array([v for name, v in params.weights.model_dump().items() if name != "offset"])
    score = found.evidence @ weights + params.weights.offset
    best = int(np.argmax(score))
    probability = 1 / (1 + np.exp(-params.certainty * (score[best] - params.even_score)))
    row, col = found.points[best]
    return CatheterTip(float(row), float(col), float(probability))


def weigh_points(
    vessels: VesselSegmentation, sub: SubtractedRun, maps: PerfusionMaps, *, params: CatheterParams
) -> TipEvidence:
    """Return the points that could be the tip with their evidence; none where no catheter is told."""
    nothing = TipEvidence(np.zeros((0, 2), np.int64), np.zeros((0, _KINDS)))
    if vessels.catheter is None or vessels.catheter_probability is None or not vessels.catheter.any():
        return nothing
    scale = max(sub.valid.shape) / 512
    line = _middle_line(vessels.catheter, vessels.catheter_probability, sub.valid, params, scale)
    if np.count_nonzero(line) < params.least_length_px * scale:
        return nothing
    inside = np.pad(sub.valid, 1).astype(np.uint8)
    rim = np.asarray(cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1])
    points = np.argwhere(line & (rim > params.rim_px * scale))
    # What is asked of each point lies within reach of the line.
    window = _window(line, round((params.reach_px + 10) * scale))
    at = tuple((points - [part.start for part in window]).T)
    weight = np.where(line, vessels.catheter_probability, 0).astype(np.float32)
    contrast, arrival_s = _first_contrast(vessels.artery, sub, maps, window, params, scale)
    pictures = (
        _one_sided(weight[window], params.reach_px * scale),
        contrast,
        gaussian(vessels.probability[window], 2 * scale),
        arrival_s,
        _dark_band(sub, window, scale),
        vessels.catheter_probability[window],
    )
    return TipEvidence(points, np.stack([picture[at] for picture in pictures], axis=1).astype(np.float64))


def _middle_line(
    catheter: BoolArray, probability: FloatArray, valid: BoolArray, params: CatheterParams, scale: float
) -> BoolArray:
    whole = np.zeros(catheter.shape, dtype=np.bool_)
    followed = catheter | (probability > params.follow)
    window = _window(followed, 2)
    seeds = np.where(catheter, np.float32(1), probability)[window]
    body = apply_hysteresis_threshold(seeds, params.follow, 0.999) & valid[window]
    line = skeletonize(body)
    count, pieces = cv2.connectedComponents(body.astype(np.uint8), connectivity=8)
    lengths = np.bincount(pieces[line], minlength=count)
    whole[window] = line & (lengths >= params.least_piece_px * scale)[pieces]
    return whole


def _window(mask: BoolArray, margin: int) -> tuple[slice, slice]:
    """Return the part of the picture that holds the mask and what lies around it."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        slice(max(0, int(rows[0]) - margin), int(rows[-1]) + margin + 1),
        slice(max(0, int(cols[0]) - margin), int(cols[-1]) + margin + 1),
    )


def _one_sided(weight: FloatArray, reach_px: float) -> FloatArray:
    """Return 0 where as much of a line lies to each side within reach, up to 1 where all of it lies to one side."""
    side = np.arange(-int(reach_px), int(reach_px) + 1, dtype=np.float32)
    rows, cols = np.meshgrid(side, side, indexing="ij")
    distance = np.hypot(rows, cols)
    inside = distance <= reach_px
    down, right, all_of_it = (
        cv2.filter2D(weight, cv2.CV_32F, np.where(inside, kernel, 0), borderType=cv2.BORDER_CONSTANT)
        for kernel in (rows, cols, distance)
    )
    return np.asarray(np.hypot(down, right) / np.maximum(all_of_it, 1e-6), dtype=np.float32)


def _first_contrast(
    artery: BoolArray,
    sub: SubtractedRun,
    maps: PerfusionMaps,
    window: tuple[slice, slice],
    params: CatheterParams,
    scale: float,
) -> tuple[FloatArray, FloatArray]:
    """Return the first contrast as a share of what the fullest arteries hold then, and how late it comes, seconds."""
    since_s = sub.times_s - sub.times_s[maps.phases.arterial.first]
    first = np.flatnonzero(sub.usable & (since_s > -0.05) & (since_s <= params.early_s))
    chosen = first if len(first) else np.array([maps.phases.arterial.first])
    image = gaussian(sub.frames[chosen].mean(axis=0), 2 * scale)
    fullest = max(float(np.percentile(image[artery], 95)) if artery.any() else 0.0, 1e-6)
    onset = sub.times_s[maps.phases.arterial.first]
    known = artery[window] & np.isfinite(maps.arrival_s[window])
    arrival = np.where(known, maps.arrival_s[window] - onset, np.float32(2))
    earliest = cv2.erode(arrival, _square(9 * scale))
    return np.clip(image[window] / fullest, 0, 1), np.clip(earliest, -0.5, 1.5)


def _square(side_px: float) -> npt.NDArray[np.uint8]:
    return np.ones((int(side_px) | 1,) * 2, np.uint8)


def _dark_band(sub: SubtractedRun, window: tuple[slice, slice], scale: float) -> FloatArray:
    """Return how dark a spot of a marker's size the mask shows nearby: the logarithm of times the usual."""
    usual = 0.0
    if sub.background is not Background.ALREADY_SUBTRACTED:
        # The mask as it was moved onto the reference frame: the tip is told where it stands there.
        mask = sub.attenuation - sub.frames[sub.reference_frame]
        spots = gaussian(mask, 1.2 * scale) - gaussian(mask, 4 * scale)
        usual = float(np.percentile(np.abs(spots[sub.valid]), 75))
    if usual < 1e-5:
        # No mask to see it in says nothing: the same for every point.
        return np.full(sub.valid[window].shape, np.log1p(3.0), np.float32)
    near = cv2.dilate(np.clip(spots[window] / usual, 0, 20), _square(10 * scale))
    return np.asarray(np.log1p(near), dtype=np.float32)
