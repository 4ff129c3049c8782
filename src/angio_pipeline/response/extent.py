"""First step: how far across a lesion is, in the axial plane and in space, and how much of it there is.

Lines in the plane stay inside, as a reader measures viable tumour without the necrosis between
(mRECIST, doi:10.1055/s-0030-1247132); for a whole lesion without gaps that is its longest diameter
(RECIST 1.1, doi:10.1016/j.ejca.2008.10.026). Ends lie where the linearly interpolated mask passes one half.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist

from angio_pipeline.core.response import Extent
from angio_pipeline.numerics import volumes as space

__all__ = ["NOTHING", "add_pieces", "measure_extent"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

NOTHING = Extent(0.0, 0.0, 0.0, 0.0, 0.0)
_ANGLES = 36
_OBLIQUE = 0.985  # cosine of 10 degrees


def measure_extent(mask: BoolArray, affine: FloatArray) -> Extent:
    """Return the size of a mask, zeros when it is empty.

    Parameters
    ----------
    mask : ndarray, (Z, Y, X) bool
    affine : ndarray, (4, 4)
        (z, y, x, 1) indices to LPS millimetres. Slices that are not axial are resampled to such.
    """
    if not mask.any():
        return NOTHING
    volume_ml = float(np.count_nonzero(mask)) * abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    box = space.bounding_box(mask, affine)
    cut, own = np.pad(mask[box], 1), space.crop_affine(affine, box)
    longest_3d = _greatest_distance(_surface_points(cut, own))
    longest, across = _in_plane(*_axial(cut, own))
    return Extent(longest, across, longest * across, volume_ml, longest_3d)


def add_pieces(pieces: Sequence[Extent]) -> Extent:
    """Return the extent of a lesion in pieces: diameters, products and volumes are summed (RECIST 1.1, appendix II)."""
    if not pieces:
        return NOTHING
    return Extent(
        sum(p.longest_mm for p in pieces),
        sum(p.across_mm for p in pieces),
        sum(p.product_mm2 for p in pieces),
        sum(p.volume_ml for p in pieces),
        sum(p.longest_3d_mm for p in pieces),
    )


def _surface_points(mask: BoolArray, affine: FloatArray) -> FloatArray:
    """Return (N, 3) the middles of the faces between inside and outside, mm; only differences mean anything."""
    points = []
    for axis in range(3):
        first = np.argwhere(np.diff(mask.astype(np.int8), axis=axis) != 0).astype(np.float64)
        first[:, axis] += 0.5
        points.append(first)
    return space.to_world(affine, np.concatenate(points))


def _greatest_distance(points: FloatArray) -> float:
    try:
        points = points[ConvexHull(points).vertices]
    except QhullError:
        points = np.unique(points, axis=0)
    return float(pdist(points).max())


def _axial(mask: BoolArray, affine: FloatArray) -> tuple[BoolArray, tuple[float, float]]:
    """Return the mask in axial slices, and the (row, col) spacing there."""
    spacing = space.spacing_mm(affine)
    normal = np.cross(affine[:3, 1], affine[:3, 2])
    if abs(normal[2]) >= _OBLIQUE * float(np.linalg.norm(normal)):
        return mask, (float(spacing[1]), float(spacing[2]))
    step = float(spacing.min())
    shape, grid = space.isotropic_grid(mask.shape, affine, step)
    return space.resample_mask(mask, affine, shape, grid), (step, step)


def _in_plane(mask: BoolArray, spacing_mm: tuple[float, float]) -> tuple[float, float]:
    planes = [np.pad(_cropped(plane), 1).astype(np.float32) for plane in mask if plane.any()]
    angles = np.arange(_ANGLES) * np.pi / _ANGLES
    # No line inside a slice is longer than the slice is wide along it: most need not be walked.
    widths = np.array([_widths(plane, spacing_mm, angles) for plane in planes])
    best, where, turned = 0.0, -1, 0.0
    for flat in np.argsort(-widths, axis=None, kind="stable"):
        k, i = divmod(int(flat), _ANGLES)
        if widths[k, i] <= best:
            break
        length = _longest_chord(planes[k], spacing_mm, float(angles[i]))
        if length > best:
            best, where, turned = length, k, float(angles[i])
    if where < 0:
        return 0.0, 0.0
    finer = turned + np.arange(-3, 4) * np.pi / _ANGLES / 4
    lengths = [_longest_chord(planes[where], spacing_mm, float(angle)) for angle in finer]
    turned = float(finer[int(np.argmax(lengths))])
    return max(lengths), _longest_chord(planes[where], spacing_mm, turned + np.pi / 2)


def _cropped(plane: BoolArray) -> BoolArray:
    box = ndimage.find_objects(plane.astype(np.int8))[0]
    return np.asarray(plane[box])


def _widths(plane: npt.NDArray[np.float32], spacing_mm: tuple[float, float], angles: FloatArray) -> FloatArray:
    """Return how wide a slice is along each angle, mm, with a pixel to spare."""
    points = np.argwhere(plane > 0.5) * np.asarray(spacing_mm)
    along = points @ np.stack([np.sin(angles), np.cos(angles)])
    return np.asarray(np.ptp(along, axis=0) + np.hypot(*spacing_mm))


def _longest_chord(plane: npt.NDArray[np.float32], spacing_mm: tuple[float, float], angle: float) -> float:
    """Return the longest run inside along parallel lines at an angle, mm."""
    step = min(spacing_mm) / 2
    size = (np.array(plane.shape) - 1) * np.asarray(spacing_mm)
    reach = np.arange(-np.ceil(np.hypot(*size) / 2 / step) - 1, np.ceil(np.hypot(*size) / 2 / step) + 2) * step
    aside, along = np.meshgrid(reach, reach, indexing="ij")
    row = size[0] / 2 + along * np.sin(angle) + aside * np.cos(angle)
    col = size[1] / 2 + along * np.cos(angle) - aside * np.sin(angle)
    values = ndimage.map_coordinates(plane, [row / spacing_mm[0], col / spacing_mm[1]], order=1, mode="constant")
    # The last sample of every line is outside, so that runs of neighbouring lines do not join.
    return _longest_run(values.ravel()) * step


def _longest_run(values: npt.NDArray[np.float32]) -> float:
    """Return the longest run of values of at least one half, in samples; its ends are interpolated."""
    inside = values >= 0.5
    if not inside.any():
        return 0.0
    number = np.cumsum(inside & ~np.concatenate([[False], inside[:-1]]))
    a, b, first, second = inside[:-1], inside[1:], values[:-1], values[1:]
    lengths = np.bincount(number[:-1][a & b], minlength=number[-1] + 1).astype(np.float64)
    leaves, enters = a & ~b, ~a & b
    share = (first[leaves] - 0.5) / (first[leaves] - second[leaves])
    lengths += np.bincount(number[:-1][leaves], weights=share, minlength=number[-1] + 1)
    share = (second[enters] - 0.5) / (second[enters] - first[enters])
    lengths += np.bincount(number[1:][enters], weights=share, minlength=number[-1] + 1)
    return float(lengths.max())
