"""What of two scans is compared when one is laid upon the other, and how well they then agree.

Oil is left out: bright tissue inside the liver of both, the lesions given on the reference there. Washout is no motion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from angio_pipeline.lipiodol.tissue import Tissue
from angio_pipeline.numerics import volumes as space

__all__ = ["Compared", "edge_gap_mm", "match"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Place = Callable[[FloatArray], FloatArray]

_ENOUGH = 50_000


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """One scan as it is compared.

    Attributes
    ----------
    grey : ndarray, (Z, Y, X) float32
        Attenuation within the window, HU.
    clean : ndarray, (Z, Y, X) bool
        Voxels away from oil.
    """

    tissue: Tissue
    grey: npt.NDArray[np.float32]
    clean: BoolArray

    @classmethod
    def of(
        cls, tissue: Tissue, *, window_hu: tuple[float, float], avoid_mm: float, avoid: BoolArray | None = None
    ) -> Compared:
        """Return a scan without its oil and, where given, without the lesions in `avoid`."""
        oil = tissue.bright & tissue.liver
        if avoid is not None:
            oil |= avoid
        return cls(tissue, np.clip(tissue.hu, *window_hu), ~space.dilate(oil, tissue.affine, avoid_mm))


def match(reference: Compared, scan: Compared, mask: BoolArray, place: Place) -> float:
    """Return the correlation over a mask of the reference where both scans are seen; NaN when too little is.

    Parameters
    ----------
    place : callable
        Takes LPS points of the reference to LPS points of the scan.
    """
    where = np.argwhere(mask)
    # A part of the voxels, evenly taken, tells as much.
    where = where[:: max(len(where) // _ENOUGH, 1)]
    seen, values = _seen(scan, place(space.to_world(reference.tissue.affine, where)), scan.grey)
    if np.count_nonzero(seen) < max(200, 0.25 * len(where)):
        return float("nan")
    a, b = reference.grey[tuple(where[seen].T)], values[seen]
    spread = float(a.std() * b.std())
    return float(np.mean((a - a.mean()) * (b - b.mean())) / spread) if spread > 0 else float("nan")


def edge_gap_mm(
    reference: Compared, scan: Compared, mask: BoolArray, place: Place, *, blur_mm: float, least_hu_per_mm: float
) -> float:
    """Return how far the scan's edges lie from the reference's, the median over a mask; NaN without edges.

    To first order an edge that is off by d changes the attenuation under it by d times its slope. Noise adds
    to it, so it is an upper bound where it is small; it stands in for landmarks, which nobody has set.
    """
    affine = reference.tissue.affine
    fixed, moving = space.smooth(reference.grey, affine, blur_mm), space.smooth(scan.grey, scan.tissue.affine, blur_mm)
    slope = _slope(fixed, affine)
    where = np.argwhere(mask & (slope > least_hu_per_mm))
    if len(where) < 200:
        return float("nan")
    seen, values = _seen(scan, place(space.to_world(affine, where)), moving)
    if np.count_nonzero(seen) < 200:
        return float("nan")
    at = tuple(where[seen].T)
    return float(np.median(np.abs(fixed[at] - values[seen]) / slope[at]))


def _slope(values: npt.NDArray[np.float32], affine: FloatArray) -> npt.NDArray[np.float32]:
    steps = space.spacing_mm(affine)
    return np.asarray(np.sqrt(sum(g**2 for g in np.gradient(values, *steps))), dtype=np.float32)


def _seen(
    scan: Compared, points: FloatArray, values: npt.NDArray[np.float32]
) -> tuple[BoolArray, npt.NDArray[np.float32]]:
    """Return which points lie in the scan away from oil, and what it shows there."""
    index = space.to_index(scan.tissue.affine, points).T
    size = np.array(values.shape)[:, None]
    seen = np.all((index >= 0) & (index <= size - 1), axis=0)
    nearest = np.rint(index[:, seen]).astype(int)
    seen[seen] = scan.clean[tuple(nearest)]
    shown = ndimage.map_coordinates(values, index, order=1, mode="nearest")
    return seen, np.asarray(shown, dtype=np.float32)
