"""What of a lesion enhances in the arterial phase, with the threshold that told it.

By subtraction where the same visit has a plain scan: what contrast medium adds is seen through oil, too. A
scan before treatment without a plain one beside it is read as a reader does: tumour enhances where it is
brighter than liver. After treatment oil is bright as well, and without a plain scan nothing is told.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import ndimage

from angio_pipeline.core.params import Params
from angio_pipeline.core.response import LesionSight
from angio_pipeline.numerics import volumes as space

__all__ = ["EnhancementParams", "Enhancing", "enhancing_part", "on_grid"]

BoolArray = npt.NDArray[np.bool_]
Volume = npt.NDArray[np.float32]


class EnhancementParams(Params):
    """Settings of what counts as enhancing.

    The threshold is `share` of the lesion's own strongest enhancement (its 90th percentile), so that the
    edge of what enhances lies half-way, but no less than `least_hu` by subtraction, `least_above_liver_hu`
    against liver.
    """

    least_hu: float = Field(20.0, ge=5, le=100, description="least threshold where scans are subtracted, HU")
    least_above_liver_hu: float = Field(10.0, ge=2, le=100, description="least threshold against the liver beside, HU")
    share: float = Field(
        0.5, gt=0, lt=1, description="threshold as a share of the lesion's strongest enhancement (90th percentile)"
    )
    smoothing_mm: float = Field(1.8, ge=0, le=6, description="standard deviation of the blur against noise")
    least_ml: float = Field(0.1, ge=0, le=5, description="smaller pieces are noise")
    least_share: float = Field(0.2, ge=0, le=1, description="of the lesion: a piece so large is none, however small")
    clipped_share: float = Field(
        0.02, ge=0, le=1, description="of the lesion at the top of the scale: subtraction is not told then"
    )


@dataclass(frozen=True, slots=True, eq=False)
class Enhancing:
    """The enhancing part of a lesion on the grid of `outline`; `mask` is None where it cannot be told."""

    mask: BoolArray | None
    by: str | None = None
    threshold_hu: float | None = None
    missing: str = ""


def enhancing_part(
    arterial: LesionSight | None, plain: LesionSight | None, outline: BoolArray, *, params: EnhancementParams
) -> Enhancing:
    """Return what of a lesion enhances at one visit.

    Parameters
    ----------
    arterial, plain : LesionSight or None
        Of one visit and one grid (see `on_grid`), when there are such.
    outline : ndarray, (Z, Y, X) bool
        The lesion on that grid.
    """
    if arterial is None:
        return Enhancing(None, missing="no scan in the arterial phase at this date")
    if plain is not None:
        return _by_subtraction(arterial, plain, outline, params)
    if not arterial.baseline:
        return Enhancing(None, missing="no plain scan beside the arterial phase to tell oil from enhancement")
    if not np.isfinite(arterial.liver_hu):
        return Enhancing(None, missing="no liver was found to compare enhancement with")
    blurred = space.smooth(arterial.hu, arterial.affine, params.smoothing_mm) - np.float32(arterial.liver_hu)
    return _thresholded(blurred, outline, arterial, "above liver", params.least_above_liver_hu, params)


def on_grid(sight: LesionSight, other: LesionSight) -> Volume | None:
    """Return `other` on the grid of `sight`; None where they share no frame of reference or do not overlap."""
    if sight.frame_of_reference_uid is None or sight.frame_of_reference_uid != other.frame_of_reference_uid:
        return None
    moved = space.resample(other.hu, other.affine, sight.hu.shape, sight.affine, fill=-2048.0)
    return moved if (moved[sight.carried] > -1500).all() else None


def _by_subtraction(
    arterial: LesionSight, plain: LesionSight, outline: BoolArray, params: EnhancementParams
) -> Enhancing:
    moved = on_grid(arterial, plain)
    if moved is None:
        return Enhancing(None, missing="the plain and the arterial scan are not in one frame of reference")
    top = float(arterial.hu.max())
    clipped = outline & (arterial.hu >= top) & (moved >= top)
    if top >= 3000 and np.count_nonzero(clipped) > params.clipped_share * np.count_nonzero(outline):
        return Enhancing(None, missing="oil reaches the top of the scale, where nothing can be subtracted")
    gain = space.smooth(np.where(moved > -1500, arterial.hu - moved, 0.0), arterial.affine, params.smoothing_mm)
    return _thresholded(gain, outline, arterial, "arterial minus plain", params.least_hu, params)


def _thresholded(
    gain: Volume, outline: BoolArray, sight: LesionSight, by: str, least_hu: float, params: EnhancementParams
) -> Enhancing:
    if not outline.any():
        return Enhancing(np.zeros(outline.shape, dtype=np.bool_), by, least_hu)
    threshold = max(least_hu, params.share * float(np.percentile(gain[outline], 90)))
    least = min(params.least_ml, params.least_share * float(np.count_nonzero(outline)) * _voxel_ml(sight))
    return Enhancing(_without_specks(outline & (gain >= threshold), sight, least), by, threshold)


def _without_specks(mask: BoolArray, sight: LesionSight, least_ml: float) -> BoolArray:
    labels, count = ndimage.label(mask)
    kept = np.bincount(labels.ravel(), minlength=count + 1) * _voxel_ml(sight) >= least_ml
    kept[0] = False
    return np.asarray(kept[labels])


def _voxel_ml(sight: LesionSight) -> float:
    return abs(float(np.linalg.det(sight.affine[:3, :3]))) / 1000
