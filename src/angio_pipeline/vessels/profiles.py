"""Where a vessel's middle lies between pixels, and how wide it is, from the attenuation across it.

A round vessel of radius R filled evenly attenuates by its chord, and detector, focal spot and pixels spread
it: p(x) = b + m x + a (2 sqrt(R^2 - x^2) * G_s)(x), with s the spread. At every point of a centreline the
middle is the centroid of p above the tissue on either side, and R is the one whose profile fits best in
least squares, with a, b and m free (model-based sizing; Hoffmann et al. 2002, doi:10.1118/1.1488603).
Below the spread's own width all R look alike; there the amount of iodine tells (densitometry, ibid.): a, the
attenuation of a pixel's length of blood, is held near what the tree's wide vessels show.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.numerics.compiled import compiled
from angio_pipeline.numerics.polylines import Polylines, smooth_along

__all__ = ["ProfileParams", "Profiles", "centred", "measure_profiles"]

Array = npt.NDArray[np.float64]
Image = npt.NDArray[np.float32]

_SAMPLES = 33
_STEP_PX = 0.25
# A pixel is a mean over its square (variance 1/12), and between pixels an image is read straight from one to
# the next, which spreads it by a triangle two pixels wide (variance 1/6).
_GRID_SD_PX = 0.5
# Radii of which profiles are held ready, px: 0.25 to 64 in equal ratios.
_RADII = np.geomspace(0.25, 64.0, 65)


class ProfileParams(Params):
    """Settings of the measurement across vessels; lengths are for a 512-pixel frame and grow with it."""

    spread_px: float = Field(0.6, ge=0.1, description="sd of detector and focal spot, set by hand")
    along_px: float = Field(2.0, ge=0, description="Gaussian along the vessel, of its middle and of its radius")
    dilution_sd: float = Field(
        0.3, gt=0, description="how far blood's attenuation may differ from that in wide vessels (sd of its log)"
    )
    misfit: float = Field(0.02, ge=0, description="what a profile may differ from the model's, as a share of its peak")


@dataclass(frozen=True, slots=True, eq=False)
class Profiles:
    """What is measured across each of N points of centrelines.

    Attributes
    ----------
    radius_px, peak, base : ndarray, (N,) float64
        Radius, height of the fitted profile above the tissue, and the tissue's level; NaN where nothing was fitted.
    """

    radius_px: Array
    peak: Array
    base: Array


def centred(
    image: Image, mask: npt.NDArray[np.uint8], lines: Polylines, inside: Image, free: Array, sigma: float
) -> Polylines:
    """Return the lines moved sideways onto the middle of the attenuation.

    Parameters
    ----------
    image : ndarray, (H, W) float32
        Attenuation.
    mask, inside : ndarray, (H, W) uint8 and float32
        The vessels, and the distance to their edge.
    free : ndarray, (N,) float64
        0 to 1: how little of another vessel there is at a point; where there is much, the shift is its neighbours'.
    sigma : float
        Gaussian along the lines by which shifts are smoothed.
    """
    if not len(lines.points):
        return lines
    normal = _normals(lines.points, lines.first)
    shift = _shifts(image, mask, inside, lines.points, normal)
    shift[free < 0.5] = np.nan
    smooth = np.nan_to_num(smooth_along(lines, shift, sigma))
    return Polylines(lines.points + (smooth * free)[:, None] * normal, lines.first)


def measure_profiles(
    image: Image,
    mask: npt.NDArray[np.uint8],
    lines: Polylines,
    inside: Image,
    free: Array,
    *,
    spread_px: float,
    noise_sd: float,
    grain_px: float,
    along: int,
    params: ProfileParams,
) -> Profiles:
    """Return radius, peak and base at every point, from the mean profile of `along` points to either side.

    Parameters
    ----------
    image : ndarray, (H, W) float32
        Contrast, vessels bright.
    mask : ndarray, (H, W) uint8
        Which pixels are vessel.
    inside : ndarray, (H, W) float32
        How far each pixel of the mask lies from its edge, pixels.
    free : ndarray, (N,) float64
        0 to 1: how far each point is from where vessels meet.
    spread_px : float
        Standard deviation of what has spread the profile, save for the grid of pixels.
    noise_sd, grain_px : float
        Noise of `image`, and the length over which it hangs together.
    """
    normal = _normals(lines.points, lines.first)
    # Neighbours share their profiles: every so many points are enough, those between are filled in by the caller.
    chosen = (free >= 0.5) & (np.arange(len(free)) % max(1, along // 2) == 0)
    across = _sample(image, mask, inside, lines.points, normal, lines.first, chosen, along)
    spread_px = float(np.hypot(spread_px, _GRID_SD_PX))
    table = _chords(round(spread_px, 3))
    noise = max(noise_sd, 1e-9)
    fitted = _fit(across, chosen, table, 0.0, params.dilution_sd, noise, grain_px, params.misfit)
    blood = _blood(fitted, spread_px)
    if blood > 0:
        fitted = _fit(across, chosen, table, blood, params.dilution_sd, noise, grain_px, params.misfit)
    radius, peak, base, _ = fitted.T
    return Profiles(radius, peak, base)


def _blood(fitted: Array, spread_px: float) -> float:
    """Return the attenuation of a pixel's length of blood, from vessels wider than the spread; 0 without any."""
    radius, _, _, blood = fitted.T
    wide = np.isfinite(radius) & (radius > 2.0 * spread_px) & (blood > 0)
    return float(np.median(blood[wide])) if np.count_nonzero(wide) >= 20 else 0.0


@lru_cache(maxsize=8)
def _chords(spread_px: float) -> Array:
    """Return (R, X): the spread chord 2 sqrt(R^2 - x^2) of each radius at steps of `_STEP_PX` from its middle."""
    x = np.arange(0.0, 2.0 * _RADII[-1] + 4.0, _STEP_PX)
    angle = (np.arange(512) + 0.5) / 512 * np.pi - 0.5 * np.pi
    out = np.empty((len(_RADII), len(x)))
    for k, radius in enumerate(_RADII):
        weight = 2.0 * radius**2 * np.cos(angle) ** 2 * np.pi / 512 / (spread_px * np.sqrt(2 * np.pi))
        reach = x <= radius + 6.0 * spread_px
        away = x[reach][:, None] - radius * np.sin(angle)
        out[k] = 0.0
        out[k, reach] = np.exp(-0.5 * (away / spread_px) ** 2) @ weight
    return out


@compiled
def _normals(points: Array, first: npt.NDArray[np.int64]) -> Array:
    out = np.zeros((len(points), 2))
    for line in range(len(first) - 1):
        low, high = first[line], first[line + 1]
        for k in range(low, high):
            a, b = max(low, k - 3), min(high - 1, k + 3)
            dr, dc = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1]
            length = max(np.hypot(dr, dc), 1e-9)
            out[k, 0], out[k, 1] = -dc / length, dr / length
    return out


@compiled
def _value(image: Image, row: float, col: float) -> float:
    # Bilinear; beyond the edge the nearest pixel.
    row = min(max(row, 0.0), image.shape[0] - 1.0)
    col = min(max(col, 0.0), image.shape[1] - 1.0)
    r, c = min(int(row), image.shape[0] - 2), min(int(col), image.shape[1] - 2)
    y, x = row - r, col - c
    top = (1.0 - x) * image[r, c] + x * image[r, c + 1]
    low = (1.0 - x) * image[r + 1, c] + x * image[r + 1, c + 1]
    return float((1.0 - y) * top + y * low)


@compiled
def _reach(mask: npt.NDArray[np.uint8], row: float, col: float, dr: float, dc: float, most: float) -> float:
    # How far one can go sideways before another vessel begins, after this one has ended.
    left, at = False, 0.0
    while at < most:
        at += 0.5
        r, c = int(np.rint(row + at * dr)), int(np.rint(col + at * dc))
        if r < 0 or c < 0 or r >= mask.shape[0] or c >= mask.shape[1]:
            return at - 0.5
        if mask[r, c] == 0:
            left = True
        elif left:
            return max(at - 1.5, 0.5)
    return most


@compiled
def _half_width(radius: float) -> float:
    return 1.6 * radius + 3.0


@compiled
def _beside(image: Image, row: float, col: float, dr: float, dc: float, first: float, second: float) -> float:
    # Mean of two samples so far to the side.
    one = _value(image, row + first * dr, col + first * dc)
    return 0.5 * (one + _value(image, row + second * dr, col + second * dc))


@compiled
def _shifts(image: Image, mask: npt.NDArray[np.uint8], inside: Image, points: Array, normal: Array) -> Array:
    # Centroid of what lies above the line through the tissue on either side, twice.
    out = np.zeros(len(points))
    for k in range(len(points)):
        row, col, dr, dc = points[k, 0], points[k, 1], normal[k, 0], normal[k, 1]
        radius = max(_value(inside, row, col), 0.7)
        most = _half_width(radius)
        low, high = -_reach(mask, row, col, -dr, -dc, most), _reach(mask, row, col, dr, dc, most)
        near = radius + 1.0
        shift = 0.0
        for _ in range(2):
            left, right = max(low, shift - near - 1.0), min(high, shift + near + 1.0)
            base_l = _beside(image, row, col, dr, dc, left, left + 0.5)
            base_r = _beside(image, row, col, dr, dc, right, right - 0.5)
            total = moment = 0.0
            for n in range(_SAMPLES):
                x = left + (right - left) * n / (_SAMPLES - 1)
                base = base_l + (base_r - base_l) * n / (_SAMPLES - 1)
                above = max(0.0, _value(image, row + x * dr, col + x * dc) - base)
                total += above
                moment += above * x
            if total <= 0.0:
                shift = np.nan
                break
            shift = min(max(moment / total, -0.5 * radius - 0.5), 0.5 * radius + 0.5)
        out[k] = shift
    return out


@compiled
def _sample(
    image: Image, mask: npt.NDArray[np.uint8], inside: Image, points: Array, normal: Array,
    first: npt.NDArray[np.int64], chosen: npt.NDArray[np.bool_], along: int,
) -> Array:  # fmt: skip
    # Of each chosen point: half width, share that is known, and the mean profile of its neighbours along the line;
    # NaN where another vessel begins.
    width = np.empty(len(points))
    for k in range(len(points)):
        width[k] = max(_value(inside, points[k, 0], points[k, 1]), 0.7)
    own = np.empty((len(points), _SAMPLES))
    half = np.empty(len(points))
    for line in range(len(first) - 1):
        low, high = first[line], first[line + 1]
        for k in range(low, high):
            total = 0.0
            a, b = max(low, k - 4), min(high, k + 5)
            for n in range(a, b):
                total += width[n]
            half[k] = _half_width(total / (b - a))
            row, col, dr, dc = points[k, 0], points[k, 1], normal[k, 0], normal[k, 1]
            left, right = _reach(mask, row, col, -dr, -dc, half[k]), _reach(mask, row, col, dr, dc, half[k])
            for n in range(_SAMPLES):
                x = half[k] * (2.0 * n / (_SAMPLES - 1) - 1.0)
                known = -left <= x <= right
                own[k, n] = _value(image, row + x * dr, col + x * dc) if known else np.nan
    out = np.empty((len(points), _SAMPLES + 1))
    for line in range(len(first) - 1):
        low, high = first[line], first[line + 1]
        for k in range(low, high):
            if not chosen[k]:
                continue
            out[k, 0] = half[k]
            for n in range(_SAMPLES):
                total, count = 0.0, 0
                for m in range(max(low, k - along), min(high, k + along + 1)):
                    if own[m, n] == own[m, n]:
                        total += own[m, n]
                        count += 1
                out[k, n + 1] = total / count if own[k, n] == own[k, n] else np.nan
    return out


@compiled
def _solve(profile: Array, half: float, chord: Array) -> tuple[float, float, float, float]:
    # Least squares of a chord + b + m x: a, b, the sum of squares left, and the number of samples.
    sf = sx = sff = sfx = sxx = sy = sfy = sxy = syy = 0.0
    count = 0
    for n in range(_SAMPLES):
        y = profile[n]
        if y != y:
            continue
        x = half * (2.0 * n / (_SAMPLES - 1) - 1.0)
        at = abs(x) / _STEP_PX
        low = int(at)
        f = chord[low] + (at - low) * (chord[low + 1] - chord[low])
        count += 1
        sf, sx, sy = sf + f, sx + x, sy + y
        sff, sfx, sxx = sff + f * f, sfx + f * x, sxx + x * x
        sfy, sxy, syy = sfy + f * y, sxy + x * y, syy + y * y
    if count < 8:
        return 0.0, 0.0, np.inf, 0.0
    mf, mx, my = sf / count, sx / count, sy / count
    ff, fx, xx = sff - count * mf * mf, sfx - count * mf * mx, sxx - count * mx * mx
    fy, xy, yy = sfy - count * mf * my, sxy - count * mx * my, syy - count * my * my
    det = ff * xx - fx * fx
    if det <= 1e-12 * ff * xx:
        return 0.0, 0.0, np.inf, 0.0
    a, m = (fy * xx - xy * fx) / det, (xy * ff - fy * fx) / det
    return a, my - a * mf - m * mx, max(yy - a * fy - m * xy, 0.0), float(count)


@compiled
def _fit(
    across: Array, chosen: npt.NDArray[np.bool_], table: Array, blood: float, dilution_sd: float, noise_sd: float,
    grain_px: float, misfit: float,
) -> Array:  # fmt: skip
    # Of each point: radius, peak, base, attenuation of a pixel's length of blood.
    out = np.full((len(across), 4), np.nan)
    ratio = np.log(_RADII[1] / _RADII[0])
    cost = np.empty(len(_RADII))
    for k in range(len(across)):
        if not chosen[k]:
            continue
        half, profile = across[k, 0], across[k, 1:]
        guess = (half - 3.0) / 1.6
        low = max(1, int(np.log(max(0.3 * guess, _RADII[1]) / _RADII[0]) / ratio))
        high = min(len(_RADII) - 2, int(np.log((1.8 * guess + 1.0) / _RADII[0]) / ratio) + 1)
        best, least = -1, np.inf
        for r in range(low - 1, high + 2):
            a, _, left, count = _solve(profile, half, table[r])
            cost[r] = np.inf
            if count == 0.0 or a <= 0.0:
                continue
            sd = np.hypot(noise_sd, misfit * a * table[r, 0])
            # Samples closer than the noise's grain count once.
            independent = min(1.0, 2.0 * half / (_SAMPLES - 1) / grain_px)
            cost[r] = left / (sd * sd) * independent
            if blood > 0.0:
                cost[r] += (np.log(a / blood) / dilution_sd) ** 2
            if low <= r <= high and cost[r] < least:
                best, least = r, cost[r]
        if best < 0:
            continue
        step = 0.0
        bend = cost[best - 1] - 2.0 * cost[best] + cost[best + 1]
        if bend > 0.0 and bend < np.inf:
            step = min(max(0.5 * (cost[best - 1] - cost[best + 1]) / bend, -0.5), 0.5)
        a, b, _, _ = _solve(profile, half, table[best])
        out[k, 0] = _RADII[best] * np.exp(step * ratio)
        out[k, 1], out[k, 2], out[k, 3] = a * table[best, 0], b, a
    return out
