"""Regions of a tissue stain that stand out of what lies around them.

Strategy: differences of Gaussian means over a range of sizes start candidates (Lindeberg 1998,
doi:10.1023/A:1008045108935); each is outlined where the stain falls to a share of its height above
the ring around it, then once more with the size that this gave. Of several shares the one counts
whose outline runs where the stain falls most steeply: a ball of stained tissue, seen as its chord,
falls steeply only at the very edge; a ring with a dark core, or a tumour on uneven liver, higher up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from angio_pipeline.numerics.filters import gaussian
from angio_pipeline.tumour.tissue import TissuePicture

__all__ = ["edge_slope", "find_candidates"]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
Seed = tuple[float, float, float]

_RADII_PX = (5, 7, 10, 14, 20, 28)
_FEWEST_PIXELS = 20
_FIRST_SHARES = (0.5,)
_SHARES = (0.2, 0.3, 0.4, 0.55)
_WIDER = 1.4
_SAME = 0.7


def find_candidates(picture: TissuePicture, *, seed_in_liver: float, per_size: int) -> list[BoolArray]:
    """Return (h, w) masks on the picture's grid, no two nearly the same.

    Parameters
    ----------
    seed_in_liver : float
        Least difference of Gaussian means that starts a candidate, in liver enhancements.
    per_size : int
        Most candidates of one size.
    """
    first = (_outline(picture, seed, _FIRST_SHARES) for seed in _seeds(picture, seed_in_liver, per_size))
    second = (_outline(picture, _seed_of(region), _SHARES) for region in _distinct(first))
    return _distinct(second)


def _distinct(found: Iterable[BoolArray | None]) -> list[BoolArray]:
    kept: list[BoolArray] = []
    for region in found:
        if region is not None and all(_overlap(region, other) < _SAME for other in kept):
            kept.append(region)
    return kept


def _seeds(picture: TissuePicture, seed_in_liver: float, per_size: int) -> list[Seed]:
    """Return (row, col, radius) of places that are brighter than their surroundings."""
    weight = picture.inside.astype(np.float32)
    stain = np.where(picture.inside, picture.stain, 0).astype(np.float32)
    seeds: list[Seed] = []
    for radius in _RADII_PX:
        inner, outer = (_mean(stain, weight, share * radius) for share in (0.6, 1.5))
        rise = np.where(picture.inside, inner - outer, 0).astype(np.float32)
        size = 2 * (radius // 2) + 3
        highest = cv2.dilate(rise, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
        places = np.argwhere((rise >= highest) & (rise > seed_in_liver * picture.liver))
        strongest = places[np.argsort(-rise[tuple(places.T)], kind="stable")][:per_size]
        seeds += [(float(row), float(col), float(radius)) for row, col in strongest]
    return seeds


def _mean(stain: FloatArray, weight: FloatArray, sigma_px: float) -> FloatArray:
    mean = gaussian(stain, sigma_px) / np.maximum(gaussian(weight, sigma_px), 1e-3)
    return np.asarray(mean, dtype=np.float32)


def _outline(picture: TissuePicture, seed: Seed, shares: Sequence[float]) -> BoolArray | None:
    """Return the region about a seed at the steepest of the shares; None where nothing stands out."""
    row, col, radius = seed
    window = _window(seed, 2.6 * radius + 2, picture.stain.shape)
    stain, inside = picture.stain[window], picture.inside[window]
    rows, cols = np.mgrid[window]
    away = np.hypot(rows - row, cols - col)
    ring, core = (away > 1.6 * radius) & (away < 2.5 * radius) & inside, (away < 0.8 * radius) & inside
    if np.count_nonzero(ring) < _FEWEST_PIXELS or not core.any():
        return None
    # Beside the liver's edge the ring is liver on one side only: the brighter part of it counts.
    low, high = float(np.percentile(stain[ring], 70)), float(np.percentile(stain[core], 75))
    if high <= low:
        return None
    near = inside & (away < 1.7 * radius)
    levels = (low + share * (high - low) for share in shares)
    drawn = [_region(near & (stain > level), core, radius) for level in levels]
    regions = [region for region in drawn if np.count_nonzero(region) >= _FEWEST_PIXELS]
    if not regions:
        return None
    whole = np.zeros(picture.stain.shape, dtype=np.bool_)
    whole[window] = max(regions, key=lambda region: edge_slope(region, picture.slope[window]))
    return whole


def _region(above: BoolArray, core: BoolArray, radius: float) -> BoolArray:
    """Return the part that covers the core, holes filled and threads cut."""
    return _cut_threads(np.asarray(ndimage.binary_fill_holes(_largest(above, core))), radius)


def edge_slope(region: BoolArray, slope: FloatArray) -> float:
    """Return the mean of `slope` along the outline of a region."""
    body = region.astype(np.uint8)
    outline = (body > 0) & (cv2.erode(body, np.ones((3, 3), np.uint8)) == 0)
    return float(slope[outline].mean())


def _window(seed: Seed, half: float, shape: tuple[int, ...]) -> tuple[slice, slice]:
    rows, cols = (slice(max(0, int(at - half)), min(n, int(at + half) + 1)) for at, n in zip(seed, shape, strict=False))
    return rows, cols


def _largest(region: BoolArray, among: BoolArray) -> BoolArray:
    """Return the connected part that covers most of `among`; nothing where none does."""
    parts, count = ndimage.label(region)
    held = np.bincount(parts[among], minlength=count + 1)
    held[0] = 0
    return np.asarray((parts == held.argmax()) & (held.max() > 0))


def _cut_threads(region: BoolArray, radius: float) -> BoolArray:
    size = 2 * max(1, int(radius) // 4) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    opened = cv2.morphologyEx(region.astype(np.uint8), cv2.MORPH_OPEN, disc) > 0
    return _largest(np.asarray(opened), np.asarray(opened))


def _seed_of(region: BoolArray) -> Seed:
    rows, cols = np.nonzero(region)
    return float(rows.mean()), float(cols.mean()), _WIDER * float(np.sqrt(len(rows) / np.pi))


def _overlap(one: BoolArray, other: BoolArray) -> float:
    together = int(np.count_nonzero(one | other))
    return int(np.count_nonzero(one & other)) / max(1, together)
