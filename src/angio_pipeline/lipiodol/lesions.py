"""Which lesions to follow, and where each lies in every scan.

A lesion keeps the mask and geometry it was drawn in; what changes between scans is only the
motion that leads there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage, spatial

from angio_pipeline.core.followups import CtVolume, VolumeRoi
from angio_pipeline.core.tumours import LesionOrigin
from angio_pipeline.numerics import volumes as space

__all__ = ["Lesion", "Patch", "convex", "cut_patch", "lesion_from_deposit", "lesion_from_roi"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Lesion:
    """A lesion's outline and how to reach it from the reference scan.

    Attributes
    ----------
    mask : ndarray, (Z, Y, X) bool
        Cut to the lesion.
    affine : ndarray, (4, 4) float64
    from_reference : ndarray, (4, 4) float64
        Takes LPS points of the reference scan to the LPS points that `affine` speaks of.
    """

    id: str
    mask: BoolArray
    affine: FloatArray
    from_reference: FloatArray
    origin: LesionOrigin

    @property
    def centroid_mm(self) -> tuple[float, float, float]:
        """Mean LPS point at the reference scan."""
        own = space.to_world(self.affine, np.argwhere(self.mask).mean(axis=0))
        x, y, z = space.to_world(_inverse(self.from_reference), own).tolist()
        return x, y, z

    @property
    def diameter_mm(self) -> float:
        """Diameter of the ball of equal volume."""
        volume = float(np.count_nonzero(self.mask)) * abs(float(np.linalg.det(self.affine[:3, :3])))
        return float(2 * (3 * volume / (4 * np.pi)) ** (1 / 3))

    def points_in(self, motion: FloatArray) -> FloatArray:
        """Return the lesion's voxels as LPS points of a scan, (N, 3)."""
        own = space.to_world(self.affine, np.argwhere(self.mask))
        return space.to_world(motion @ _inverse(self.from_reference), own)

    def mask_on(self, shape: tuple[int, ...], affine: FloatArray, motion: FloatArray) -> BoolArray:
        """Return the lesion on a scan's grid, where `motion` leads from the reference to the scan."""
        back = self.from_reference @ _inverse(motion)
        return space.resample_mask(self.mask, self.affine, shape, affine, motion=back)


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """The part of a scan around one lesion, on the scan's own voxels.

    Attributes
    ----------
    hu : ndarray, (Z, Y, X) float32
    lesion, others : ndarray, (Z, Y, X) bool
        The lesion, and the lesions that are followed beside it.
    box : Box
        Where the patch lies in the scan.
    cut : bool
        Whether the lesion (with its padding) reaches beyond the scan.
    """

    hu: npt.NDArray[np.float32]
    affine: FloatArray
    lesion: BoolArray
    others: BoolArray
    box: space.Box
    cut: bool

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel."""
        return abs(float(np.linalg.det(self.affine[:3, :3]))) / 1000.0


def lesion_from_roi(roi: VolumeRoi, from_reference: FloatArray) -> Lesion:
    """Return a given region as a lesion.

    Parameters
    ----------
    from_reference : ndarray, (4, 4)
        Motion from the reference scan's world points to those of the region's scan, mm.

    Raises
    ------
    ValueError
        When the region is empty.
    """
    box = space.bounding_box(roi.mask, roi.affine, margin_mm=0.0)
    padded = np.pad(roi.mask[box], 1)
    affine = space.crop_affine(roi.affine, box)
    affine[:3, 3] = space.to_world(affine, [-1, -1, -1])
    return Lesion(roi.id, padded, affine, from_reference, LesionOrigin.ROI)


def lesion_from_deposit(
    lesion: Lesion, patch: Patch, oil: BoolArray, motion: FloatArray, *, closing_mm: float
) -> Lesion:
    """Return a found lesion with the outline of its oil on the scan's own voxels, gaps closed.

    Parameters
    ----------
    oil : ndarray, the patch's grid, bool
    motion : ndarray, (4, 4)
        From the reference to the scan of the patch.
    """
    if not oil.any():
        return lesion
    # A defect at the surface is a notch in the oil: what is closed grows with the lesion.
    radius = (3000 * float(np.count_nonzero(oil)) * patch.voxel_ml / (4 * np.pi)) ** (1 / 3)
    closing_mm = max(closing_mm, 0.4 * radius)
    closed = space.dilate(space.dilate(oil, patch.affine, closing_mm), patch.affine, -closing_mm)
    hull = np.asarray(ndimage.binary_fill_holes(closed | oil))
    return Lesion(lesion.id, hull, patch.affine, motion, lesion.origin)


def cut_patch(
    volume: CtVolume,
    motion: FloatArray,
    lesion: Lesion,
    others: Sequence[Lesion],
    *,
    margin_mm: float,
    padding_mm: float,
) -> Patch | None:
    """Return the scan around a lesion, None when less than half of the lesion is in the scan."""
    shape = volume.hu.shape
    index = space.to_index(volume.affine, lesion.points_in(motion))
    inside = np.all((index > -0.5) & (index < np.array(shape) - 0.5), axis=1)
    if inside.mean() < 0.5:
        return None
    spacing = space.spacing_mm(volume.affine)
    reach, padding = margin_mm / spacing, padding_mm / spacing
    low, high = index.min(axis=0), index.max(axis=0)
    cut = bool(np.any(low - padding < -0.5) or np.any(high + padding > np.array(shape) - 0.5))
    first = np.maximum(np.floor(low - reach), 0).astype(int).tolist()
    last = np.minimum(np.ceil(high + reach) + 1, shape).astype(int).tolist()
    box = (slice(first[0], last[0]), slice(first[1], last[1]), slice(first[2], last[2]))
    affine = space.crop_affine(volume.affine, box)
    hu = volume.hu[box]
    beside = np.zeros(hu.shape, dtype=np.bool_)
    for other in others:
        beside |= other.mask_on(hu.shape, affine, motion)
    own = lesion.mask_on(hu.shape, affine, motion)
    return Patch(hu, affine, own, beside & ~own, box, cut) if own.any() else None


def convex(mask: BoolArray) -> BoolArray:
    """Return the convex outline of a mask: a tumour is round where its oil has a notch.

    A mask in one plane stays as it is.
    """
    rim = mask & ~ndimage.binary_erosion(mask)
    points = np.argwhere(rim)
    if len(points) < 10 or np.ptp(points, axis=0).min() < 2:
        return mask
    everywhere = np.argwhere(np.ones(mask.shape, dtype=np.bool_))
    inside = spatial.Delaunay(points).find_simplex(everywhere) >= 0
    return np.asarray(inside.reshape(mask.shape) | mask)


def _inverse(motion: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.inv(motion), dtype=np.float64)
