"""How much a region of a tissue stain looks like a tumour, by named measurements.

A tumour stands out of the liver on every side of it, does so while the arteries' contrast adds
up and less and less after (its curve is that of the arteries, held for some seconds), and is
compact. A vein comes last and grows; an artery leaves with the others; a moved edge has a dark side
and is there before contrast comes.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import numpy.typing as npt

from angio_pipeline.tumour.candidates import edge_slope
from angio_pipeline.tumour.tissue import TissuePicture

__all__ = ["measure_evidence", "tumour_probability"]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]
Curve = npt.NDArray[np.float64]

_SECTORS = 8
_FEWEST_PIXELS = 8
_HELD_S = 8.0

# A logistic model of what `measure_evidence` returns: (centre, scale, weight). Fitted, with a ridge
# penalty of 1 on the standardised weights, to the candidates in frontal and oblique runs of
# simulated patients, presets easy and clinical, seeds 9100 to 9119. A candidate with IoU >= 0.3 of a
# visible tumour is one, one with IoU < 0.1 of every tumour is none, others took no part. Never
# fitted to patients: on real runs it ranks, and is not calibrated.
_BIAS = -5.014
_MODEL: Mapping[str, tuple[float, float, float]] = {
    "over": (0.613, 0.527, 0.493),
    "least_over": (0.254, 0.651, 0.907),
    "in_grain": (2.525, 0.859, 1.072),
    "sharp": (2.752, 0.955, 0.561),
    "roundness": (0.642, 0.144, 1.131),
    "size": (-0.302, 0.671, 1.120),
    "follows": (0.653, 0.275, 0.848),
    "early": (0.820, 0.884, -0.810),
    "late": (0.958, 0.722, -2.131),
    "before": (0.559, 0.575, -1.186),
    "dark": (0.012, 0.080, -1.225),
}


def tumour_probability(evidence: Mapping[str, float]) -> float:
    """Return the probability of a tumour, from what `measure_evidence` returns."""
    score = _BIAS + sum(weight * (evidence[name] - mid) / scale for name, (mid, scale, weight) in _MODEL.items())
    return float(1 / (1 + np.exp(-np.clip(score, -30, 30))))


def measure_evidence(region: BoolArray, picture: TissuePicture) -> dict[str, float] | None:
    """Return named measurements of a region; None where there is too little of it, or of what surrounds it.

    over, least_over : rise above the bright part, and above the brightest eighth, of the ring, in liver enhancements
    in_grain : logarithm of 1 + that rise in SDs of the stain's grain
    follows : correlation in time of the rise with the arteries' curve held for some seconds
    early, late, before : the rise while arteries are full, in the last two frames, and before they fill, over that
        in the stain
    sharp : slope along the outline over the mean slope from the middle to the outline
    roundness : 4 pi area over squared outline
    size : logarithm of the radius in 1/20 of the grid's side
    dark : how far the darkest eighth of the ring lies below nothing, in liver enhancements
    """
    window = _around(region)
    inside, body = picture.inside[window], region[window]
    ring = _ring(body, inside)
    if np.count_nonzero(ring) < 2 * _FEWEST_PIXELS or np.count_nonzero(body & inside) < _FEWEST_PIXELS:
        return None
    stain = picture.stain[window]
    sectors = _sector_levels(stain, body, ring)
    height = float(np.median(stain[body & inside]))
    over = height - float(np.percentile(sectors, 65))
    # Of the ring the liver counts: what lies outside it is darker, a neighbouring tumour brighter.
    dim, bright = np.percentile(stain[ring], [40, 80])
    liver_side = ring & (stain >= dim) & (stain <= bright)
    frames = picture.frames[:, window[0], window[1]]
    rise = frames[:, body & inside].mean(axis=1) - frames[:, liver_side].mean(axis=1)
    return {
        "over": min(over / picture.liver, 4.0),
        "least_over": min((height - float(sectors.max())) / picture.liver, 4.0),
        "in_grain": float(np.log1p(max(over, 0.0) / picture.grain)),
        "sharp": _sharpness(body, picture.slope[window], max(over, 0.1 * picture.liver)),
        **_shape(body),
        **_course(np.asarray(rise, dtype=np.float64), picture),
        "dark": min(max(0.0, -float(sectors.min())) / picture.liver, 1.0),
    }


def _around(region: BoolArray) -> tuple[slice, slice]:
    """Return the window that holds a region and the ring about it."""
    where = np.nonzero(region)
    reach = 3 + int(np.sqrt(len(where[0]) / np.pi))
    rows, cols = (
        slice(max(0, int(at.min()) - reach), min(n, int(at.max()) + reach + 1))
        for at, n in zip(where, region.shape, strict=True)
    )
    return rows, cols


def _ring(body: BoolArray, inside: BoolArray) -> BoolArray:
    radius = float(np.sqrt(np.count_nonzero(body) / np.pi))
    away = cv2.distanceTransform((~body).astype(np.uint8), cv2.DIST_L2, 3)
    return np.asarray((away > max(2.0, 0.25 * radius)) & (away < max(5.0, 0.9 * radius)) & inside)


def _sector_levels(stain: FloatArray, body: BoolArray, ring: BoolArray) -> Curve:
    """Return the median of each eighth of the ring that is in view."""
    rows, cols = np.nonzero(ring)
    middle = np.argwhere(body).mean(axis=0)
    turn = (np.arctan2(rows - middle[0], cols - middle[1]) / (2 * np.pi)) % 1.0
    sector = np.minimum((turn * _SECTORS).astype(int), _SECTORS - 1)
    values = stain[rows, cols]
    seen = [values[sector == k] for k in range(_SECTORS)]
    return np.array([np.median(part) for part in seen if len(part) > 3])


def _sharpness(body: BoolArray, slope: FloatArray, over: float) -> float:
    radius = float(np.sqrt(np.count_nonzero(body) / np.pi))
    return min(edge_slope(body, slope) * radius / over, 4.0)


def _shape(body: BoolArray) -> dict[str, float]:
    lines, _ = cv2.findContours(body.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    # A contour runs through pixel centres: half a pixel within the outline.
    outline = max((cv2.arcLength(line, True) for line in lines), default=0.0) + np.pi
    area = float(np.count_nonzero(body))
    return {
        "roundness": min(4 * np.pi * area / outline**2, 1.2),
        "size": float(np.log(np.sqrt(area / np.pi) / 12.8)),
    }


def _course(rise: Curve, picture: TissuePicture) -> dict[str, float]:
    """Return how the rise over the ring runs in time, against the arteries."""
    artery = np.maximum(picture.artery, 0)
    top = max(float(artery.max()), 1e-9)
    now = max(float(rise[picture.first : picture.last + 1].mean()), 1e-2 * picture.liver)
    starts = int(np.argmax(artery > 0.3 * top))
    return {
        "follows": _correlation(rise, _held(artery, picture.times_s)),
        "early": float(np.clip(rise[artery > 0.5 * top].mean() / now, -1, 3)),
        "late": float(np.clip(rise[-2:].mean() / now, -1, 3)),
        "before": float(min(np.abs(rise[: starts + 1]).max() / now, 2.0)),
    }


def _held(artery: Curve, times_s: Curve) -> Curve:
    """Return what tissue holds that the arteries fill and that lets go exponentially."""
    held = np.zeros(len(artery))
    for t in range(1, len(artery)):
        step = times_s[t] - times_s[t - 1]
        held[t] = held[t - 1] * np.exp(-step / _HELD_S) + artery[t] * step
    return held


def _correlation(one: Curve, other: Curve) -> float:
    if one.std() == 0 or other.std() == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])
