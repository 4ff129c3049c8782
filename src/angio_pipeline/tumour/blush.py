"""Tumour blush: compact regions that enhance beyond the liver around them after the arteries.

Strategy: the parenchymal phase is averaged, vessels are taken out and filled from beside; what
rises above a large-scale background by more than its own grain is a candidate, outlined at
a share of its height. Contrast to liver and compactness give a probability.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import ndimage
from skimage.measure import label, regionprops
from skimage.morphology import h_maxima
from skimage.segmentation import watershed

from angio_pipeline.core.followups import FilmRoi
from angio_pipeline.core.params import Params
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import PerfusionMaps, SubtractedRun
from angio_pipeline.core.tumours import LesionOrigin, Tumour
from angio_pipeline.core.vessels import VesselSegmentation
from angio_pipeline.numerics.filters import masked_gaussian, resize, robust_sd, shrink

__all__ = ["BlushParams", "find_blush", "late_image", "tumours_from_rois"]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


class BlushParams(Params):
    """Settings of `find_blush`; lengths are for a 512-pixel frame and grow with it."""

    smoothing_px: float = Field(4.0, gt=0)
    background_px: float = Field(220.0, gt=10, description="window of the large-scale background")
    background_percentile: float = Field(40.0, gt=0, lt=100)
    seed_in_grain: float = Field(4.0, gt=0, description="height that starts a candidate, in SDs of the picture's grain")
    least_of_artery: float = Field(0.01, ge=0, description="grain counts as at least this share of arterial contrast")
    outline_fraction: float = Field(0.42, gt=0, lt=1)
    min_area_px: float = Field(250.0, gt=0)
    max_area_fraction: float = Field(0.35, gt=0, le=1, description="of the valid frame; larger is 'everywhere'")
    min_probability: float = Field(0.4, ge=0, le=1)
    max_count: int = Field(6, ge=1)


def late_image(sub: SubtractedRun, maps: PerfusionMaps) -> FloatArray:
    """Return the mean of the parenchymal frames, or of the last third when that phase was not seen."""
    phase = maps.phases.parenchymal
    n = len(sub.frames)
    first, last = (phase.first, phase.last) if phase else (n - max(1, n // 3), n - 1)
    chosen = [t for t in range(first, last + 1) if sub.usable[t]] or [last]
    return np.asarray(sub.frames[chosen].mean(axis=0), dtype=np.float32)


def find_blush(
    sub: SubtractedRun, maps: PerfusionMaps, vessels: VesselSegmentation, *, params: BlushParams
) -> tuple[tuple[Tumour, ...], Quality]:
    """Return the tumours found, likeliest first, and flags.

    A blush is told from a vessel by when it comes: where contrast is not seen to come none is
    looked for, and the flag says that none was found.
    """
    if not sub.timing_measurable or (maps.phases.parenchymal is None and len(sub.frames) < 4):
        return (), Quality.NO_TUMOUR_BLUSH
    scale = max(sub.frames.shape[1:]) / 512
    tissue, height, grain = _height(sub, maps, vessels, params, scale)
    candidates = _candidates(height, grain, sub.valid, params, scale)
    if any(c.sum() > params.max_area_fraction * sub.valid.sum() for c in candidates):
        return (), Quality.NO_TUMOUR_BLUSH | Quality.BLUSH_EVERYWHERE
    scored = [(_probability(c, tissue, height, sub.valid), c) for c in candidates]
    likely = sorted((s for s in scored if s[0] >= params.min_probability), key=lambda s: -s[0])[: params.max_count]
    tumours = tuple(Tumour(f"T{k + 1}", mask, p, LesionOrigin.DETECTED) for k, (p, mask) in enumerate(likely))
    return tumours, Quality.NONE if tumours else Quality.NO_TUMOUR_BLUSH


def tumours_from_rois(rois: Sequence[FilmRoi], sub: SubtractedRun) -> tuple[tuple[Tumour, ...], Quality]:
    """Return the regions given for this run as tumours; one of another size is flagged, not stretched."""
    size = sub.frames.shape[1:]
    fitting = [roi for roi in rois if roi.mask.shape == size and roi.mask.any()]
    names: list[str] = []
    for roi in fitting:
        taken = sum(name == roi.id or name.startswith(f"{roi.id}-") for name in names)
        names.append(f"{roi.id}-{taken + 1}" if roi.id in names else roi.id)
    tumours = tuple(Tumour(n, roi.mask, 1.0, LesionOrigin.ROI) for n, roi in zip(names, fitting, strict=True))
    return tumours, Quality.NONE if len(fitting) == len(rois) else Quality.ROI_NOT_MATCHED


def _height(
    sub: SubtractedRun, maps: PerfusionMaps, vessels: VesselSegmentation, params: BlushParams, scale: float
) -> tuple[FloatArray, FloatArray, float]:
    """Return tissue enhancement, its height above the large-scale background, and the grain's SD."""
    tissue_only = sub.valid & ~ndimage.binary_dilation(vessels.artery, iterations=max(2, round(3 * scale)))
    tissue = masked_gaussian(late_image(sub, maps), tissue_only, params.smoothing_px * scale)
    factor = max(4, round(8 * scale))
    small = shrink(tissue, factor)
    window = max(3, round(params.background_px * scale / factor))
    low = ndimage.percentile_filter(small, params.background_percentile, size=window, mode="nearest")
    height = tissue - resize(ndimage.gaussian_filter(low, window / 6), tissue.shape)
    inside = height[sub.valid]
    grain = robust_sd(inside[inside < np.percentile(inside, 75)]) if inside.size else 0.0
    # In a quiet picture what vessels leave behind would stand out of the grain: judge it by them too.
    artery = float(np.nanmedian(maps.peak[vessels.artery])) if vessels.artery.any() else 0.0
    grain = max(grain, params.least_of_artery * artery, 1e-6)
    return tissue, np.where(sub.valid, height, 0).astype(np.float32), grain


def _candidates(
    height: FloatArray, grain: float, valid: BoolArray, params: BlushParams, scale: float
) -> list[BoolArray]:
    """Return the masks of regions that stand out, each outlined at a share of its own peak."""
    peaks = label(h_maxima(height, params.seed_in_grain * grain / 2) > 0)
    if peaks.max() == 0:
        return []
    basins = watershed(-height, markers=peaks, mask=valid & (height > 0))
    top = ndimage.maximum(height, basins, index=np.arange(basins.max() + 1))
    threshold = params.outline_fraction * np.asarray(top)[basins]
    strong = np.asarray(top) >= params.seed_in_grain * grain
    region = label((basins > 0) & strong[basins] & (height >= threshold))
    out = []
    for found in regionprops(region):
        if found.area >= params.min_area_px * scale**2:
            out.append(ndimage.binary_fill_holes(region == found.label))
    return out


def _probability(mask: BoolArray, tissue: FloatArray, height: FloatArray, valid: BoolArray) -> float:
    """Return a hand-set logistic of how a blush looks; not calibrated on patients.

    A hypervascular tumour rises above the liver beside it by more than the liver itself
    enhances, and it is compact; parenchyma that only fills unevenly does not.
    """
    shape = regionprops(mask.astype(np.uint8))[0]
    liver = max(float(np.percentile(tissue[valid], 75)), 1e-6)
    over_liver = float(np.percentile(height[mask], 75)) / liver
    touches_edge = 0 in shape.bbox[:2] or shape.bbox[2] == mask.shape[0] or shape.bbox[3] == mask.shape[1]
    score = 4.0 * (min(over_liver, 3.0) - 1.7) + 3.0 * (float(shape.solidity) - 0.85)
    score -= 20.0 * max(0.0, float(shape.eccentricity) - 0.9) + 1.0 * touches_edge
    return float(1 / (1 + np.exp(-score)))
