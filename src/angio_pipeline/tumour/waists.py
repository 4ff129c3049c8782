"""Regions that touch, told apart where they are narrow."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

__all__ = ["split_at_waists"]

BoolArray = npt.NDArray[np.bool_]


def split_at_waists(region: BoolArray, *, least_px: float, waist: float = 0.75) -> list[BoolArray]:
    """Return the parts of a region, each thicker than `least_px` in radius, largest first.

    Two round parts that touch are cut apart where the neck between them is less than `waist` of the smaller
    one's radius: a watershed of the distance to the edge (Meyer 1994, doi:10.1016/0165-1684(94)90060-4).
    """
    whole = ndimage.binary_fill_holes(region)
    depth = ndimage.distance_transform_edt(whole)
    if depth.max() < least_px:
        return []
    # On a logarithm a neck of a given share is a step of a given height, whatever the size.
    height = np.log(np.maximum(depth, 0.5)) - np.log(0.5)
    # Cut off by that step, a peak is one plateau, however many pixels of a blunt one are equally deep.
    plateaus = local_maxima(reconstruction(height + np.log(waist), height))
    seeds = ndimage.label(plateaus, structure=np.ones((3, 3)))[0]
    parts = watershed(-depth, seeds, mask=whole)
    masks = [parts == k for k in range(1, int(parts.max()) + 1)]
    thick = [mask for mask in masks if depth[mask].max() >= least_px]
    return sorted(thick, key=np.count_nonzero, reverse=True)
