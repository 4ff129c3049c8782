"""Oil that went elsewhere: bright pieces outside the lesions that another scan of the patient does not show.

Much is as bright as oil: bone, metal, stones, contrast medium in vessels and bowel. Nearly all of it stays, so that
a piece is listed only where a scan without that oil (the one before treatment, else the last one after it) shows
nothing nearly as bright about the place, whether the place goes with the breath as organs do or not, as bone. What the
comparison cannot tell is not listed, and no list is made without one.
Contrast medium that came into the bowel or the gallbladder between the two scans looks the same: the place is said,
the reader decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import ndimage

from angio_pipeline.core.followups import OilPlace, StrayOil, StrayOilSearch
from angio_pipeline.core.params import Params
from angio_pipeline.lipiodol.lesions import Lesion
from angio_pipeline.lipiodol.mass import MassParams, iodine_slope, slope_error
from angio_pipeline.lipiodol.scans import Scan
from angio_pipeline.lipiodol.tissue import Tissue
from angio_pipeline.numerics import volumes as space

__all__ = ["StrayOilParams", "find_stray_oil"]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]

_SOFT_HU = 100.0


class StrayOilParams(Params):
    """Settings of oil outside the lesions."""

    rise_hu: float = Field(60.0, ge=30.0, description="rise over all that is near in the other scan, HU")
    rise_share: float = Field(0.6, ge=0.0, description="rise as a share of what is denser there than soft tissue")
    least_ml: float = Field(0.25, ge=0.0, description="least piece, ml")
    lesion_mm: float = Field(12.0, ge=0.0, description="distance from lesions, mm")
    settled_mm: float = Field(7.5, ge=0.0, description="how far away the other scan is asked, mm")
    margin_mm: float = Field(5.0, ge=0.0, description="how far around a piece its blur is summed, mm")
    model_sd: float = Field(0.2, ge=0.0, description="share of the amount that alignment may cost")
    most: int = Field(20, ge=1, description="that many pieces are listed")


def find_stray_oil(
    scans: Sequence[Scan], lesions: Sequence[Lesion], *, mass: MassParams, params: StrayOilParams
) -> tuple[StrayOilSearch, ...]:
    """Return oil outside the lesions in every plain scan after treatment that another scan can be compared with."""
    searched = []
    for scan in scans:
        other = None if scan.baseline or scan.contrast else _comparison(scan, scans)
        if other is not None:
            searched.append(_search(scan, other, lesions, mass, params))
    return tuple(searched)


def _comparison(scan: Scan, scans: Sequence[Scan]) -> Scan | None:
    """Return the scan that lacks the oil: before treatment, plain if there is one, else the last plain one later."""
    before = sorted((other for other in scans if other.baseline), key=lambda other: other.contrast)
    later = [other for other in scans if not other.contrast and other.days > scan.days]
    return before[0] if before else later[-1] if later else None


def _search(
    scan: Scan, other: Scan, lesions: Sequence[Lesion], mass: MassParams, params: StrayOilParams
) -> StrayOilSearch:
    tissue = scan.tissue
    rise, new = _against(scan, other, params)
    bright = tissue.bright & new & ~_about_lesions(scan, lesions, params.lesion_mm)
    slope, quality = iodine_slope(scan.volume.kvp, params=mass)
    found = []
    for piece in _pieces(bright, params.least_ml / tissue.voxel_ml):
        amount, sd = _amount(piece, bright & ~piece, rise, tissue, params)
        relative = slope_error(quality, params=mass)
        per_hu = tissue.voxel_ml / slope
        mg, half = amount * per_hu, 1.96 * float(np.hypot(sd, relative * amount)) * per_hu
        if mg - half > 0:
            x, y, z = space.to_world(tissue.affine, np.argwhere(piece).mean(axis=0)).tolist()
            volume_ml = float(np.count_nonzero(piece)) * tissue.voxel_ml
            found.append(StrayOil(_place(piece, tissue), (x, y, z), volume_ml, mg, (mg - half, mg + half)))
    kept = sorted(found, key=lambda oil: -oil.iodine_mg)[: params.most]
    compared = other.volume.source.series_instance_uid
    return StrayOilSearch(scan.volume.source, scan.days, compared, other.baseline, tuple(kept), quality)


def _against(scan: Scan, other: Scan, params: StrayOilParams) -> tuple[FloatArray, BoolArray]:
    """Return how far a scan rises above another, and what nothing near it in the other scan comes close to."""
    tissue, before = scan.tissue, other.tissue
    size = 2 * round(params.settled_mm / float(space.spacing_mm(tissue.affine)[0])) + 1

    def there(own: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> FloatArray:
        motion = others @ np.linalg.inv(own)
        # Beyond the other scan nothing is known: nothing there is new.
        return space.resample(before.hu, before.affine, tissue.hu.shape, tissue.affine, motion=motion, fill=np.inf)

    # Organs go with the breath, ribs and spine do not.
    organs = there(scan.alignment.motion, other.alignment.motion)
    bone = there(scan.alignment.of_bone, other.alignment.of_bone)
    about = ndimage.maximum_filter(np.maximum(organs, bone), size)
    # What the scan's edge cuts is not seen whole.
    about[[0, -1]] = about[[1, -2]] = np.inf
    known = np.isfinite(organs)
    rise = np.where(known, tissue.hu - np.where(known, organs, 0.0), 0.0)
    return rise, tissue.hu > about + params.rise_hu + params.rise_share * np.maximum(about - _SOFT_HU, 0.0)


def _about_lesions(scan: Scan, lesions: Sequence[Lesion], reach_mm: float) -> BoolArray:
    tissue = scan.tissue
    own = np.zeros(tissue.hu.shape, dtype=np.bool_)
    for lesion in lesions:
        own |= lesion.mask_on(own.shape, tissue.affine, scan.motion_to(lesion))
    return space.dilate(own, tissue.affine, reach_mm)


def _pieces(mask: BoolArray, least_voxels: float) -> Iterator[BoolArray]:
    labels, count = ndimage.label(mask, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    yield from (labels == label for label in range(1, count + 1) if sizes[label] >= least_voxels)


def _amount(
    piece: BoolArray, others: BoolArray, rise: FloatArray, tissue: Tissue, params: StrayOilParams
) -> tuple[float, float]:
    """Return the sum of the rise above that of the surroundings, in HU x voxels, with its standard deviation."""
    box = space.bounding_box(piece, tissue.affine, margin_mm=3 * params.margin_mm)
    distance = space.distance_mm(piece[box], tissue.affine)
    # What lies between two pieces counts for the nearer one.
    region = (distance <= params.margin_mm) & (distance <= space.distance_mm(others[box], tissue.affine))
    around = (distance > params.margin_mm) & (distance <= 2 * params.margin_mm) & ~tissue.bright[box]
    values = rise[box][around]
    if values.size < 30:
        return 0.0, np.inf
    level = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - level)))
    total = float((rise[box][region] - level).sum())
    # Neighbours on the coarse grid share what they are off by: one in eight tells something of its own.
    level_sd = spread / np.sqrt(values.size / 8)
    return total, float(np.hypot(level_sd * np.count_nonzero(region), params.model_sd * total))


def _place(piece: BoolArray, tissue: Tissue) -> OilPlace:
    """Return the organ that a piece lies in or at, by what surrounds it."""
    box = space.bounding_box(piece, tissue.affine, margin_mm=25.0)
    distance, hu, body = space.distance_mm(piece[box], tissue.affine), tissue.hu[box], tissue.body[box]
    shell = (distance > 2.5) & (distance <= 8.0) & body
    wide = (distance > 2.5) & (distance <= 20.0) & body
    if not shell.any():
        return OilPlace.ELSEWHERE
    lung = _lungs(tissue)[box]
    if lung[shell].mean() > 0.4:
        return OilPlace.LUNG
    if tissue.liver[box][shell].mean() > 0.6:
        return OilPlace.LIVER_VESSEL if _is_long(piece, tissue) else OilPlace.LIVER
    water = (np.abs(space.smooth(hu, tissue.affine, 2.5) - 10.0) < 20.0) & wide
    near_liver = tissue.liver[box][wide].mean() > 0.1
    left = float(np.argwhere(piece)[:, 2].mean()) > float(np.median(np.nonzero(tissue.body)[2]))
    if near_liver and not left and water.sum() > 0.15 * wide.sum():
        return OilPlace.GALLBLADDER
    if ((hu < -200.0) & wide & ~lung).any():
        return OilPlace.STOMACH_OR_BOWEL
    if left and tissue.like[box][shell].mean() > 0.6:
        return OilPlace.SPLEEN
    return OilPlace.STOMACH_OR_BOWEL if left or water.sum() > 0.15 * wide.sum() else OilPlace.ELSEWHERE


def _lungs(tissue: Tissue) -> BoolArray:
    """Return air of the body that is large and reaches the scan's top, as gas of stomach and bowel seldom does."""
    air = tissue.body & (tissue.hu < -400.0)
    labels, count = ndimage.label(air)
    lungs = np.bincount(labels.ravel(), minlength=count + 1) * tissue.voxel_ml > 150.0
    at_top = np.zeros(count + 1, dtype=np.bool_)
    at_top[np.unique(labels[-3:])] = True
    lungs &= at_top
    lungs[0] = False
    return np.asarray(lungs[labels])


def _is_long(piece: BoolArray, tissue: Tissue) -> bool:
    """Return whether a piece is as long and thin as a vessel in which oil has stopped."""
    points = space.to_world(tissue.affine, np.argwhere(piece))
    if len(points) < 8:
        return False
    widths = np.sqrt(np.maximum(np.linalg.eigvalsh(np.cov(points.T)), 1e-6))
    return bool(widths[2] > 4 * widths[1])
