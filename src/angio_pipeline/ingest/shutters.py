"""Which pixels mean something: inside shutters and collimators, on the detector, not under graphics.

Tags come first, then the pixels themselves, because many exports burn the shutter in and drop
the tag. Pixel evidence is about pixels that never change: a border that is constant in time
and space, a dark blade with a sharp edge, small high-contrast marks (letters) in a noisy image.
Thin dark structures that touch the border, such as a catheter, must survive: border areas are
opened with a disc wider than any vessel before they count.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from angio_pipeline.core.params import Params
from angio_pipeline.core.quality import Quality
from angio_pipeline.ingest.headers import as_numbers, element_value, integer, number, numbers, text, texts
from angio_pipeline.ingest.intensity import Frames
from angio_pipeline.ingest.pixels import PixelFormat

__all__ = [
    "BorderParams",
    "Extent",
    "ValidArea",
    "find_borders",
    "find_graphics",
    "over_time",
    "spoilt_pixels",
    "tagged_area",
    "valid_area",
]

Mask = npt.NDArray[np.bool_]
Image = npt.NDArray[np.float32]


class BorderParams(Params):
    """How borders and burnt-in graphics are told from anatomy."""

    dark_fraction: float = Field(default=0.03, gt=0, le=0.5, description="of the range from darkest to typical")
    constant_fraction: float = Field(default=0.02, ge=0, le=0.2, description="change that counts as none, lossy files")
    disc_fraction: float = Field(default=0.05, gt=0, le=0.2, description="width below which a border area is anatomy")
    least_border_px: int = Field(default=2, ge=1, description="narrowest border")
    largest_border: float = Field(default=0.6, gt=0, lt=1, description="share of the frame that one blade may cover")
    blade_levels: tuple[float, ...] = Field(default=(0.1, 0.2, 0.3, 0.4), description="darkness tried, of typical")
    blade_contrast: float = Field(default=0.4, gt=0, le=1, description="jump across a blade's edge, of typical")
    sharp_share: float = Field(default=0.85, gt=0, le=1, description="share of the edge that must be sharp")
    edge_px: int = Field(default=8, ge=1, description="greatest width of a blade's edge")
    margin_px: int = Field(default=2, ge=0, description="how far the blur of an edge reaches")
    least_letters: int = Field(default=4, ge=1, description="marks close together that make a text")
    letter_contrast: float = Field(default=0.25, gt=0, le=1, description="of a mark against its surroundings")
    least_valid: float = Field(default=0.05, ge=0, le=1, description="share of the frame below which evidence is wrong")


@dataclass(frozen=True, slots=True, eq=False)
class Extent:
    """Least, greatest and mean value of each pixel over time, each (H, W) float32."""

    least: Image
    greatest: Image
    mean: Image
    frames: int


@dataclass(frozen=True, slots=True, eq=False)
class ValidArea:
    """(H, W) bool, False where a pixel means nothing, and what that was concluded from."""

    valid: Mask
    quality: Quality
    how: str


def valid_area(dataset: Dataset, frames: Frames, spoilt: Mask, *, lossy: bool) -> ValidArea:
    """Return the part of the frame that means something.

    Parameters
    ----------
    frames : ndarray, (T, H, W) uint16 or float32
        Brighter means more X-rays.
    spoilt : ndarray, (H, W) bool
        Pixels of `spoilt_pixels`.
    lossy : bool
        Whether compression may have changed constant pixels a little.
    """
    params = BorderParams()
    shape = (frames.shape[1], frames.shape[2])
    valid, how, quality = np.ones(shape, dtype=np.bool_), [], Quality.NONE
    extent = over_time(frames)
    borders = find_borders(extent, lossy=lossy, params=params)
    for name, area in (("tags", tagged_area(dataset, *shape)), ("padding", ~spoilt), ("borders", ~borders)):
        if not area.all() and np.mean(valid & area) >= params.least_valid:
            valid &= area
            how.append(name)
            quality |= Quality.COLLIMATED
    graphics = find_graphics(extent, valid, lossy=lossy, params=params)
    if graphics.any():
        valid &= ~graphics
        how.append("graphics")
    if graphics.any() or text(dataset, "BurnedInAnnotation").upper() == "YES":
        quality |= Quality.BURNT_IN_OVERLAY
    return ValidArea(valid, quality, ", ".join(how) or "whole frame")


def tagged_area(dataset: Dataset, rows: int, columns: int) -> Mask:
    """Return what the shutter and collimator tags leave open (PS3.3 C.7.6.11, C.8.7.3)."""
    area = np.ones((rows, columns), dtype=np.bool_)
    for kind in ("Shutter", "Collimator"):
        for shape in texts(dataset, f"{kind}Shape"):
            opening = _opening(dataset, kind, shape.upper(), rows, columns)
            if opening is not None:
                area &= opening
    return area


def _opening(dataset: Dataset, kind: str, shape: str, rows: int, columns: int) -> Mask | None:
    if shape == "RECTANGULAR":
        return _rectangle(dataset, kind, rows, columns)
    if shape == "CIRCULAR":
        centre, radius = numbers(dataset, f"CenterOfCircular{kind}"), number(dataset, f"RadiusOfCircular{kind}")
        if len(centre) != 2 or not radius or radius <= 0:
            return None
        row, col = np.ogrid[1 : rows + 1, 1 : columns + 1]
        return np.asarray((row - centre[0]) ** 2 + (col - centre[1]) ** 2 < radius**2)
    vertices = numbers(dataset, f"VerticesOfThePolygonal{kind}") if shape == "POLYGONAL" else ()
    if len(vertices) < 6 or len(vertices) % 2:
        return None
    drawn = np.zeros((rows, columns), dtype=np.uint8)
    corners = np.asarray(vertices, dtype=np.float64).reshape(-1, 2)[:, ::-1] - 1
    cv2.fillPoly(drawn, [np.clip(corners, -32768, 32767).round().astype(np.int32)], 1)
    return drawn.astype(np.bool_)


def _rectangle(dataset: Dataset, kind: str, rows: int, columns: int) -> Mask | None:
    names = ("LeftVertical", "RightVertical", "UpperHorizontal", "LowerHorizontal")
    edges = [integer(dataset, f"{kind}{name}Edge") for name in names]
    known = [edge for edge in edges if edge is not None]
    if len(known) != 4 or known[0] >= known[1] or known[2] >= known[3]:
        return None
    left, right, upper, lower = known
    # Edges count from 1 and lie on the blade, unless they are the frame's own.
    inside_columns = slice(left if left > 1 else 0, right - 1 if right < columns else columns)
    inside_rows = slice(upper if upper > 1 else 0, lower - 1 if lower < rows else rows)
    area = np.zeros((rows, columns), dtype=np.bool_)
    area[inside_rows, inside_columns] = True
    return area


def spoilt_pixels(dataset: Dataset, stored: Frames, found: PixelFormat) -> Mask:
    """Return pixels that hold padding in any frame, or an overlay within the stored bits.

    Overlays in the unused bits spoil nothing: those bits were dropped when the file was read.
    """
    spoilt = np.zeros(stored.shape[1:], dtype=np.bool_)
    first = integer(dataset, "PixelPaddingValue")
    if first is not None:
        limit = integer(dataset, "PixelPaddingRangeLimit")
        low, high = sorted((first, first if limit is None else limit))
        for frame in stored:
            spoilt |= (frame >= low) & (frame <= high)
    least = found.high_bit - found.stored + 1
    for group in range(0x6000, 0x6020, 2):
        bit = as_numbers(element_value(dataset, Tag(group, 0x0102)))
        if (group, 0x3000) not in dataset and bit and bit[0] > 0 and least <= bit[0] <= found.high_bit:
            for frame in stored:
                spoilt |= (frame.astype(np.int64) >> (int(bit[0]) - least)) & 1 == 1
    return spoilt


def find_borders(extent: Extent, *, lossy: bool, params: BorderParams) -> Mask:
    """Return (H, W) bool, True on constant borders, dead corners and collimator blades."""
    least, greatest, mean = extent.least, extent.greatest, extent.mean
    low, typical = float(least.min()), float(np.median(_middle(mean)))
    tolerance = params.constant_fraction * (float(greatest.max()) - low) if lossy else 0.0
    border = _constant_lines(least, greatest, tolerance, params)
    border |= _dead_areas(least, greatest, low + params.dark_fraction * (typical - low), tolerance, params)
    level = (cv2.medianBlur(mean, 5) - low) / max(typical - low, 1e-6)
    for dark in params.blade_levels:
        border |= _collimated(level, level < dark, border, params)
    return border


def over_time(frames: Frames) -> Extent:
    """Return each pixel's least, greatest and mean value over the frames."""
    least, greatest, total = frames[0].copy(), frames[0].copy(), frames[0].astype(np.float64)
    for frame in frames[1:]:
        np.minimum(least, frame, out=least)
        np.maximum(greatest, frame, out=greatest)
        total += frame
    mean = (total / len(frames)).astype(np.float32)
    return Extent(least.astype(np.float32), greatest.astype(np.float32), mean, len(frames))


def _middle(image: Image) -> Image:
    rows, columns = image.shape
    return image[rows // 4 : rows - rows // 4, columns // 4 : columns - columns // 4]


def _constant_lines(least: Image, greatest: Image, tolerance: float, params: BorderParams) -> Mask:
    border = np.zeros(least.shape, dtype=np.bool_)
    for turned, low, high in ((border, least, greatest), (border.T, least.T, greatest.T)):
        constant = high.max(axis=1) - low.min(axis=1) <= tolerance
        for lines, marked in ((constant, turned), (constant[::-1], turned[::-1])):
            count = len(lines) if lines.all() else int(np.argmin(lines))
            if params.least_border_px <= count < len(lines):
                marked[: count + (params.margin_px if tolerance else 0)] = True
    return border


def _dead_areas(least: Image, greatest: Image, dark: float, tolerance: float, params: BorderParams) -> Mask:
    outside = _from_outside((greatest - least <= tolerance) & (greatest <= dark), params)
    # Lossy codecs ring within their block of 8 pixels around a hard edge.
    return _grown(outside, params.margin_px + (8 if tolerance else 0)) if outside.any() else outside


def _from_outside(dark: Mask, params: BorderParams) -> Mask:
    """Keep the part of a mask that touches the frame's border and is wider than any vessel."""
    width = max(3, round(params.disc_fraction * min(dark.shape))) | 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    # Beyond the frame everything is dark, so that a narrow border is as wide as it needs to be.
    padded = cv2.copyMakeBorder(dark.astype(np.uint8), width, width, width, width, cv2.BORDER_CONSTANT, value=1)
    _, labels = cv2.connectedComponents(cv2.morphologyEx(padded, cv2.MORPH_OPEN, disc))
    inside = np.asarray(labels == labels[0, 0])[width:-width, width:-width]
    # Where a vessel crosses the border the disc bites off a little of it: too small to be a border.
    count, parts, stats, _ = cv2.connectedComponentsWithStats(inside.astype(np.uint8), connectivity=8)
    large = [label for label in range(1, count) if stats[label, cv2.CC_STAT_AREA] >= 2 * width**2]
    return np.asarray(np.isin(parts, large))


def _grown(mask: Mask, pixels: int) -> Mask:
    square = np.ones((2 * pixels + 1, 2 * pixels + 1), np.uint8)
    return cv2.dilate(mask.astype(np.uint8), square).astype(np.bool_)


def _collimated(level: Image, dark: Mask, known: Mask, params: BorderParams) -> Mask:
    """Keep dark areas at the border whose edge is sharp nearly everywhere, as a blade's is and anatomy's is not."""
    kept = np.zeros(dark.shape, dtype=np.bool_)
    outside = _from_outside(dark, params)
    count, labels = cv2.connectedComponents(outside.astype(np.uint8), connectivity=8)
    for label in range(1, count):
        area = labels == label
        edge = _grown(area, 1) & ~area
        if not edge.any() or area.mean() > params.largest_border or known[area].mean() > 0.9:
            continue
        beyond = _grown(area, params.edge_px) & ~_grown(area, params.edge_px // 2)
        jump = _mean_near(level, beyond, params.edge_px) - _mean_near(level, area, params.edge_px)
        steep = jump[edge] > params.blade_contrast
        if np.mean(steep) >= params.sharp_share:
            kept |= _grown(area, params.margin_px + 1)
    return kept


def _mean_near(image: Image, mask: Mask, reach: int) -> Image:
    """Mean of the masked pixels within `reach`; NaN where there is none."""
    size = (2 * reach + 1, 2 * reach + 1)
    weight = cv2.boxFilter(mask.astype(np.float32), -1, size, normalize=False)
    total = cv2.boxFilter(np.where(mask, image, 0).astype(np.float32), -1, size, normalize=False)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weight > 0.5, total / weight, np.nan).astype(np.float32)


def find_graphics(extent: Extent, valid: Mask, *, lossy: bool, params: BorderParams) -> Mask:
    """Return (H, W) bool, True on burnt-in letters and marks; none can be told in fewer than 3 frames."""
    none = np.zeros(valid.shape, dtype=np.bool_)
    if extent.frames < 3:
        return none
    least, greatest, mean = extent.least, extent.greatest, extent.mean
    span = float(greatest.max()) - float(least.min())
    tolerance = params.constant_fraction * span if lossy else 0.0
    constant = (greatest - least <= tolerance) & valid
    if not span or np.mean(constant) > 0.5:  # a still image: constancy says nothing
        return none
    extreme = (mean >= greatest.max() - 2 * tolerance) | (mean <= least.min() + 2 * tolerance)
    marks = _marks(constant & extreme, constant, mean, params.letter_contrast * span)
    return _texts(marks, params)


def _marks(candidates: Mask, constant: Mask, mean: Image, contrast: float) -> Mask:
    """Keep small marks that stand out from surroundings that change."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(candidates.astype(np.uint8), connectivity=8)
    kept = np.zeros(candidates.shape, dtype=np.bool_)
    largest = max(400, candidates.size // 500)
    for label in range(1, count):
        left, top, width, height, area = (int(v) for v in stats[label])
        if not 3 <= area <= largest:
            continue
        box = np.s_[max(top - 3, 0) : top + height + 3, max(left - 3, 0) : left + width + 3]
        own = labels[box] == label
        ring = cv2.dilate(own.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(np.bool_) & ~candidates[box]
        if not ring.any() or constant[box][ring].mean() > 0.3:
            continue
        if abs(float(mean[box][own].mean()) - float(np.median(mean[box][ring]))) > contrast:
            kept[box] |= own
    return kept


def _texts(marks: Mask, params: BorderParams) -> Mask:
    """Keep marks that stand close together; one alone is noise or a clip."""
    count, labels = cv2.connectedComponents(marks.astype(np.uint8), connectivity=8)
    if count - 1 < params.least_letters:
        return np.zeros_like(marks)
    near = cv2.dilate(marks.astype(np.uint8), np.ones((25, 25), np.uint8))
    groups = cv2.connectedComponents(near, connectivity=8)[1]
    kept = np.zeros_like(marks)
    for group in range(1, int(groups.max()) + 1):
        inside = marks & (groups == group)
        if len(np.unique(labels[inside])) >= params.least_letters:
            kept |= inside
    return cv2.dilate(kept.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(np.bool_)
