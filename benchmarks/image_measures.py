"""What is measured on an angiogram, real or simulated, by the same rules.

Grey is linear in the stored value and never calibrated on real files, so everything is relative: shares of the
white, natural logarithms of grey (for a linear storage those are attenuations), pixels, shares of the picture's
width. Points are (row, col).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.morphology import skeletonize

Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

BAND_WIDTHS = (1 / 256, 1 / 128, 1 / 64, 1 / 32, 1 / 16, 1 / 8)  # of the picture's width
PATCH = 64
COMMON = 256  # width to which pictures are brought before their structure is compared
FREQUENCY_BINS = np.linspace(0.0, 0.5, 26)  # cycles a pixel
SIDE = 14  # pixels of a vessel's profile to either side, beyond its own half width


def open_area(grey: Array) -> BoolArray:
    """Return (H, W) the picture without its shutter: dark (or blank white) regions that touch the border."""
    bright = np.percentile(grey, 95)
    dark = ndimage.uniform_filter(grey, 5) < 0.1 * bright
    dark = ndimage.binary_opening(np.pad(dark, 8, mode="edge"), iterations=4)[8:-8, 8:-8]  # vessels that leave stay
    labels, count = ndimage.label(dark)
    border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    touching = np.isin(labels, border[border > 0]) if count else np.zeros_like(dark)
    margin = max(3, grey.shape[1] // 64)
    inner = np.zeros_like(dark)
    inner[margin:-margin, margin:-margin] = True
    return np.asarray(inner & ~ndimage.binary_dilation(touching, iterations=margin))


def log_grey(grey: Array) -> Array:
    """Return the natural logarithm of grey, with half a thousandth of the white as the floor."""
    return np.asarray(np.log(np.maximum(grey, 0.0005 * np.percentile(grey, 99.5))))


def grey_levels(grey: Array, area: BoolArray) -> Array:
    """Return the open pixels as shares of the white (their 99.5th percentile)."""
    values = grey[area]
    return np.asarray(values / np.percentile(values, 99.5))


def noise_spectrum(frames: Array, area: BoolArray, *, pairs: bool) -> tuple[Array, float]:
    """Return the noise power of ln grey in each of `FREQUENCY_BINS` (px²), and its standard deviation.

    Parameters
    ----------
    frames : (T, H, W)
        Neighbouring frames without contrast; of a single picture (1, H, W).
    pairs : bool
        True: half the difference of neighbours, where anatomy that stands still is gone. False: the
        flattest patches of the one picture less a quadratic surface; what anatomy they hold stays in.
    """
    logs = [log_grey(f) for f in frames]
    fields = [(b - a) / np.sqrt(2) for a, b in pairwise(logs)] if pairs else logs
    found = [_flattened(field[s]) for field in fields for s in _patches(area)]
    if not found:
        return np.full(len(FREQUENCY_BINS) - 1, np.nan), float("nan")
    spread = np.array([patch.std() for patch in found])
    # Where something moved between two frames, or anatomy is dense, a patch says nothing of noise.
    keep = np.argsort(spread)[: max(4, len(found) // (4 if pairs else 10))]
    window = np.outer(np.hanning(PATCH), np.hanning(PATCH))
    power = np.mean([np.abs(np.fft.fft2(found[k] * window)) ** 2 for k in keep], axis=0) / (window**2).sum()
    return _radial(power), float(np.sqrt(np.mean(spread[keep] ** 2)))


def _patches(area: BoolArray) -> list[tuple[slice, slice]]:
    rows, columns = area.shape
    starts = [(r, c) for r in range(0, rows - PATCH + 1, PATCH // 2) for c in range(0, columns - PATCH + 1, PATCH // 2)]
    slices = [(slice(r, r + PATCH), slice(c, c + PATCH)) for r, c in starts]
    return [s for s in slices if area[s].all()]


def _flattened(patch: Array) -> Array:
    r, c = np.indices(patch.shape).reshape(2, -1) / patch.shape[0] - 0.5
    basis = np.stack([np.ones_like(r), r, c, r * r, c * c, r * c], axis=1)
    weight = np.linalg.lstsq(basis, patch.ravel(), rcond=None)[0]
    return np.asarray(patch - (basis @ weight).reshape(patch.shape))


def _radial(power: Array) -> Array:
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(power.shape[0]), np.fft.fftfreq(power.shape[1]), indexing="ij"))
    which = np.digitize(frequency.ravel(), FREQUENCY_BINS) - 1
    inside = (which >= 0) & (which < len(FREQUENCY_BINS) - 1)
    total = np.bincount(which[inside], power.ravel()[inside], len(FREQUENCY_BINS) - 1)
    count = np.bincount(which[inside], minlength=len(FREQUENCY_BINS) - 1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def fine_over_coarse(power: Array) -> float:
    """Return noise power at 0.35 to 0.45 cycles a pixel over that at 0.06 to 0.16: 1 for white noise."""
    middle = 0.5 * (FREQUENCY_BINS[1:] + FREQUENCY_BINS[:-1])
    fine, coarse = (middle > 0.35) & (middle < 0.45), (middle > 0.06) & (middle < 0.16)
    return float(np.nanmean(power[fine]) / np.nanmean(power[coarse]))


def background_slope(grey: Array, area: BoolArray, hidden: BoolArray) -> float:
    """Return b where the power spectrum of ln grey falls as frequency to the power -b.

    The picture is brought to `COMMON` pixels across, `hidden` (vessels) filled in from around; between 3 and
    20 cycles in half its width.
    """
    small = _common(_filled(log_grey(grey), area & ~ndimage.binary_dilation(hidden, iterations=2)))
    seen = _common(area.astype(float)) > 0.99
    half = COMMON // 2
    window = np.outer(np.hanning(half), np.hanning(half))
    found = []
    for r in range(0, small.shape[0] - half + 1, half // 4):
        for c in range(0, COMMON - half + 1, half // 4):
            if seen[r : r + half, c : c + half].mean() > 0.97:
                patch = small[r : r + half, c : c + half]
                found.append(np.abs(np.fft.fft2((patch - patch.mean()) * window)) ** 2)
    if not found:
        return float("nan")
    k = half * np.hypot(*np.meshgrid(np.fft.fftfreq(half), np.fft.fftfreq(half), indexing="ij"))
    mean = np.mean(found, axis=0)
    rings = [mean[(k >= n - 0.5) & (k < n + 0.5)].mean() for n in range(3, 21)]
    return float(-np.polyfit(np.log(np.arange(3, 21)), np.log(rings), 1)[0])


def _filled(field: Array, known: BoolArray) -> Array:
    # What is not known is an average of what is, near by first.
    sigma = field.shape[1] / 64
    weight = cv2.blur(cv2.GaussianBlur(known.astype(float), (0, 0), sigma), (5, 5)) + 1e-9
    around = (_blur(field * known, sigma) + 1e-9 * field[known].mean()) / weight
    return np.where(known, field, around)


def _blur(field: Array, sigma: float) -> Array:
    return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma))


def band_structure(grey: Array, area: BoolArray, hidden: BoolArray, noise: Array | None) -> tuple[Array, Array]:
    """Return of ln grey in octaves of scale (see `BAND_WIDTHS`) the standard deviation and the excess kurtosis.

    The picture is brought to `COMMON` pixels across; shutter and `hidden` (vessels) count for nothing. Standard
    deviations are the median over the picture of local ones. Kurtosis is 0 for an even mottle and large for a
    smooth ground with few sharp edges. `noise` (H, W) is a sample of this picture's noise, if there is one: its
    share is taken off the deviations.
    """
    known = _common((area & ~ndimage.binary_dilation(hidden, iterations=2)).astype(float))
    bands = [_band(_common(log_grey(grey)), known, share) for share in BAND_WIDTHS]
    spread = np.array([_local_median(band, known) for band in bands])
    if noise is not None:
        own = [_local_median(_band(_common(noise), known, share), known) for share in BAND_WIDTHS]
        spread = np.sqrt(np.maximum(spread**2 - np.array(own) ** 2, 0.0))
    inside = [band[known > 0.99] for band in bands]
    return spread, np.array([float((b**4).mean() / (b**2).mean() ** 2 - 3) for b in inside])


def _common(field: Array) -> Array:
    size = (COMMON, round(COMMON * field.shape[0] / field.shape[1]))
    return np.asarray(cv2.resize(field, size, interpolation=cv2.INTER_AREA))


def _band(field: Array, known: Array, share: float) -> Array:
    # Averages over what is known only, so that the edge of the shutter is no structure.
    low, high = (share * COMMON * k for k in (1, 2))
    return (_blur(field * known, low) + 1e-12) / (_blur(known, low) + 1e-12) - (_blur(field * known, high) + 1e-12) / (
        _blur(known, high) + 1e-12
    )


def _local_median(band: Array, known: Array, reach: int = 17) -> float:
    local = cv2.blur(band**2 * known, (reach, reach)) / np.maximum(cv2.blur(known, (reach, reach)), 1e-6)
    return float(np.sqrt(np.median(local[known > 0.99])))


def pixel_noise(grey: Array, area: BoolArray) -> float:
    """Return the standard deviation of ln grey from pixel to pixel: diagonal differences, of which anatomy has few."""
    mixed = _diagonal(log_grey(grey))[area]
    return float(1.4826 * np.median(np.abs(mixed - np.median(mixed))))


def _diagonal(field: Array) -> Array:
    mixed = np.zeros_like(field)
    mixed[:-1, :-1] = (field[1:, 1:] + field[:-1, :-1] - field[1:, :-1] - field[:-1, 1:]) / 2
    return mixed


def dark_ridges(grey: Array, area: BoolArray, least: float = 0.15) -> BoolArray:
    """Return (H, W) narrow dark structures at least `least` deep in ln grey: vessels nobody outlined, and the catheter.

    Widths of what a threshold finds say little; its depth, sharpness and contrast to noise are those of the
    plainest vessels.
    """
    field = _blur(_filled(log_grey(grey), area), grey.shape[1] / 512)
    size = 2 * (grey.shape[1] // 50) + 1
    hat = cv2.morphologyEx(field, cv2.MORPH_BLACKHAT, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    labels, _ = ndimage.label((hat > least) & area, np.ones((3, 3)))
    return np.asarray((np.bincount(labels.ravel()) > 0.001 * grey.size)[labels] & (labels > 0))


def widths_px(mask: BoolArray) -> Array:
    """Return the widths of the vessels in a mask at each pixel of their skeleton.

    Right to the pixel for odd widths along the grid, up to a pixel and a half too small for others.
    """
    distance = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    return np.asarray(2 * distance[skeletonize(mask)] - 1)


@dataclass(frozen=True)
class Crossings:
    """Vessels measured across, one value a place.

    Attributes
    ----------
    width_px : the mask's width
    depth : ln grey of the surroundings less that of the vessel's middle
    to_noise : depth over the standard deviation of one pixel's noise there
    to_clutter : depth over the standard deviation of ln grey around (anatomy and noise)
    edge_px : distance over which a side goes from 10 to 90 % of the depth
    """

    width_px: Array
    depth: Array
    to_noise: Array
    to_clutter: Array
    edge_px: Array


def measure_crossings(grey: Array, mask: BoolArray, area: BoolArray, rng: np.random.Generator) -> Crossings:
    """Return vessels measured across at up to 1500 places of the skeleton of `mask`."""
    field = log_grey(grey)
    distance = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    places = np.argwhere(skeletonize(mask) & area)
    if len(places) > 1500:
        places = places[rng.choice(len(places), 1500, replace=False)]
    sigma, clutter = _local_noise(field, mask), _local_clutter(field, mask)
    rows = []
    for place in places:
        width = 2 * distance[tuple(place)] - 1
        across = _across(mask, place)
        profile = None if across is None else _profile(field, mask, place, across, width)
        if profile is not None:
            depth, edge = profile
            rows.append((width, depth, depth / sigma[tuple(place)], depth / clutter[tuple(place)], edge))
    table = np.array(rows).reshape(-1, 5).T
    return Crossings(*table)


def _local_noise(field: Array, mask: BoolArray) -> Array:
    # The same rule for every picture: what differs from one diagonal neighbour to the other.
    mixed = _diagonal(field)
    return _local_spread(mixed, mask, field.shape[1] / 20)


def _local_clutter(field: Array, mask: BoolArray) -> Array:
    smooth = _filled(field, ~ndimage.binary_dilation(mask, iterations=2))
    away = field - _wide_mean(smooth, field.shape[1] / 20)
    return _local_spread(away, mask, field.shape[1] / 20)


def _local_spread(away: Array, mask: BoolArray, reach: float) -> Array:
    known = (~ndimage.binary_dilation(mask, iterations=2)).astype(float)
    weight = np.maximum(_wide_mean(known, reach), 1e-6)
    return np.asarray(np.sqrt(np.maximum(_wide_mean(away**2 * known, reach), 0.0) / weight) + 1e-6)


def _wide_mean(field: Array, reach: float) -> Array:
    size = 2 * round(1.5 * reach) + 1
    return np.asarray(cv2.blur(field, (size, size)))


def _across(mask: BoolArray, place: npt.NDArray[np.int64], reach: int = 9) -> Array | None:
    # The vessel's own direction is the long axis of the mask nearby; a blob or a fork has none.
    r, c = place
    window = mask[max(0, r - reach) : r + reach + 1, max(0, c - reach) : c + reach + 1]
    own = ndimage.label(window)[0]
    points = np.argwhere(own == own[min(r, reach), min(c, reach)]).astype(float)
    if len(points) < 6:
        return None
    values, vectors = np.linalg.eigh(np.cov((points - points.mean(axis=0)).T))
    return np.asarray(vectors[:, 0]) if values[1] > 2.5 * max(values[0], 0.05) else None


def _profile(
    field: Array, mask: BoolArray, place: npt.NDArray[np.int64], across: Array, width: float
) -> tuple[float, float] | None:
    step = 0.25
    reach = width / 2 + SIDE
    t = np.arange(-reach, reach + step, step)
    along = np.array([-across[1], across[0]])
    at = place[:, None, None] + across[:, None, None] * t[None, :, None] + along[:, None, None] * np.array([-1.0, 0, 1])
    line = ndimage.map_coordinates(field, at, order=1, mode="nearest").mean(axis=1)
    other = ndimage.map_coordinates(mask.astype(float), at, order=1, mode="nearest").max(axis=1) > 0.3
    beyond = np.abs(t) > width / 2 + 2
    near = beyond & (np.abs(t) < width / 2 + 8) & ~other
    left, right = near & (t < 0), near & (t > 0)
    if left.sum() < 8 or right.sum() < 8:
        return None
    level = 0.5 * (np.median(line[left]) + np.median(line[right]))
    middle = np.abs(t) <= max(width / 6, 0.6)
    depth = float(level - line[middle].mean())
    return depth, _edge(t, (level - line) / depth, width) if depth > 0.02 else float("nan")


def _edge(t: Array, share: Array, width: float) -> float:
    # Mean over both sides of the way from the last 90 % to the first 10 % of the depth.
    found = []
    for sign in (-1.0, 1.0):
        order = np.argsort(sign * t)
        side = order[sign * t[order] >= 0]
        high = np.flatnonzero(share[side] >= 0.9)
        high = high[np.abs(t[side][high]) <= width / 2 + 1]
        if len(high):
            low = np.flatnonzero(share[side][high[-1] :] <= 0.1)
            if len(low):
                found.append(abs(t[side][high[-1] + low[0]] - t[side][high[-1]]))
    return float(np.mean(found)) if found else float("nan")


def contrast_curve(frames: Array, where: BoolArray, masks: int) -> Array:
    """Return (T,) how much contrast vessels show: the mean fall of ln grey below the mask in the darkest hundredth.

    The darkest hundredth of `where` is chosen anew in each frame, so that what beats or breathes needs no tracking.
    What falls evenly over a tenth of the picture (stain of tissue) is no vessel's, and what the mask frames
    themselves show is taken off.
    """
    width = frames.shape[2]
    logs = np.stack([_blur(log_grey(f), width / 256) for f in frames])
    fall = logs[:masks].mean(axis=0) - logs
    fall = np.stack([f - _wide_mean(f, width / 30) for f in fall])
    count = max(1, int(where.sum() / 100))
    curve = np.array([np.partition(f[where], -count)[-count:].mean() for f in fall])
    return np.asarray(curve - curve[:masks].mean())


def rise_and_width_s(curve: Array, times_s: Array) -> tuple[float, float]:
    """Return seconds from 10 to 90 % of the peak on the way up, and seconds spent above half of it.

    NaN where the run ends before that much was seen.
    """
    fine = np.linspace(times_s[0], times_s[-1], 2000)
    value = np.interp(fine, times_s, curve) / curve.max()
    top = int(np.argmax(value))
    low = np.flatnonzero(value[: top + 1] <= 0.1)
    high = np.flatnonzero(value[: top + 1] >= 0.9)
    rise = fine[high[0]] - fine[low[low <= high[0]][-1]] if len(low) and len(high) else float("nan")
    above = float((value >= 0.5).mean() * (times_s[-1] - times_s[0]))
    return float(rise), above if value[-1] < 0.5 else float("nan")
