"""Courses that contrast may take early: the branches of the arterial tree, and the middle lines of told veins.

A vein that fills with the arteries is often taken for one of them, so that both have to be asked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.morphology import skeletonize

from angio_pipeline.core.vessels import VesselGraph, VesselSegmentation
from angio_pipeline.numerics.filters import shrink
from angio_pipeline.numerics.skeletons import trace_skeleton

__all__ = ["Course", "branch_courses", "vein_courses"]

FloatArray = npt.NDArray[np.float64]
_PIECE_PX, _LEAST_PX = 30, 10


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """One line with its breadth, in pixels of the working size.

    Attributes
    ----------
    points : ndarray, (K, 2) float64
        (row, col), a pixel apart.
    radius_px : ndarray, (K,) float64
    branch : int or None
        Index of the branch of the arterial tree; None for the middle line of a vein.
    """

    points: FloatArray
    radius_px: FloatArray
    branch: int | None

    @property
    def length_px(self) -> float:
        """Length along the line."""
        return float(len(self.points))


def branch_courses(graph: VesselGraph, factor: int) -> list[Course]:
    """Return a course for every branch of the arterial tree, at a size smaller by `factor`."""
    return [
        Course(branch.centreline[::factor] / factor, branch.radius_px[::factor] / factor, number)
        for number, branch in enumerate(graph.branches)
    ]


def vein_courses(
    vessels: VesselSegmentation,
    probability: npt.NDArray[np.float32],
    factor: int,
    *,
    threshold: float,
    least_radius_px: float,
    catheter_px: float,
) -> list[Course]:
    """Return the middle lines of what a network tells as vein, in pieces, at a size smaller by `factor`.

    Parameters
    ----------
    probability : ndarray, (H, W) float32
        Of vein; 0 where nothing may be looked for.
    least_radius_px, catheter_px : float
        How wide a vein has to be, and how far from the catheter, at the smaller size.
    """
    vein = ndimage.binary_opening(shrink(probability, factor) > threshold, iterations=2)
    if vessels.catheter is not None and vessels.catheter.any():
        # Its lumen holds contrast before any vessel does.
        away = ndimage.distance_transform_edt(~vessels.catheter) > catheter_px * factor
        vein &= shrink(away.astype(np.float32), factor) > 0.5
    inside = ndimage.distance_transform_edt(vein)
    found: list[Course] = []
    for _, _, path in trace_skeleton(skeletonize(vein)).edges:
        if len(path) < _LEAST_PX:
            continue
        line = np.asarray(path, dtype=np.float64)
        radius = ndimage.map_coordinates(inside, line.T, order=1, mode="nearest")
        if np.median(radius) < least_radius_px:
            continue
        smooth = ndimage.gaussian_filter1d(line, 3.0, axis=0)
        for part in np.array_split(np.arange(len(line)), max(1, round(len(line) / _PIECE_PX))):
            found.append(Course(smooth[part], radius[part], None))
    return found
