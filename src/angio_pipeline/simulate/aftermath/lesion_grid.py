"""One lesion on a fine grid about its centre: what is tumour, what died, and how far across it is.

The grid moves, shrinks and grows with the lesion: a lesion of scale s has cells of s times the
step. Everything that is true of a lesion at a date is read from here.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numba
import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from angio_pipeline.simulate.anatomy.lesions import TumourBody
from angio_pipeline.simulate.radiograph.projection import Ellipsoids

__all__ = ["Extent", "LesionGrid", "fraction_inside", "longest_axial", "make_grid", "smooth_noise"]

Array = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
_ANGLES = 24


@dataclass(frozen=True, slots=True, eq=False)
class LesionGrid:
    """A lesion before treatment on cubes of `step_mm`.

    Attributes
    ----------
    centre_mm : (3,) LPS; the grid's middle
    solid : (Z, Y, X) float32
        Share of each cell that is tumour.
    core : (Z, Y, X) bool
        The avascular core of a rim-enhancing tumour.
    distance_mm : (Z, Y, X) float32
        From the surface, negative inside; true near the surface.
    """

    centre_mm: Array
    step_mm: float
    solid: FloatArray
    core: BoolArray
    distance_mm: FloatArray

    @property
    def volume_mm3(self) -> float:
        """Volume of the tumour before treatment."""
        return float(self.solid.sum(dtype=float)) * self.step_mm**3

    @property
    def core_share(self) -> float:
        """Share of the tumour that is avascular core."""
        return float(self.solid[self.core].sum(dtype=float) / self.solid.sum(dtype=float))

    def axis_mm(self) -> Array:
        """Return (N,) offsets of the cells from the centre along any axis."""
        n = len(self.solid)
        return np.asarray((np.arange(n) - (n - 1) / 2) * self.step_mm)

    def points_mm(self, chosen: BoolArray) -> Array:
        """Return (K, 3) LPS centres of the chosen cells."""
        z, y, x = np.nonzero(chosen)
        axis = self.axis_mm()
        return np.asarray(self.centre_mm + np.stack([axis[x], axis[y], axis[z]], axis=1))


@dataclass(frozen=True, slots=True)
class Extent:
    """Longest straight line within an axial slice that stays inside, and the longest across it, mm."""

    longest_mm: float
    across_mm: float

    @property
    def product_mm2(self) -> float:
        """Cross-product of the two."""
        return self.longest_mm * self.across_mm


def make_grid(body: TumourBody) -> LesionGrid:
    """Return one lesion's fine grid, cells of 0.5 to 1.2 mm, with at least 6 mm of surroundings."""
    step = float(np.clip(body.radius_mm / 20, 0.5, 1.2))
    half = int(np.ceil((1.35 * body.radius_mm + 6) / step))
    axis = np.asarray((np.arange(2 * half) - half + 0.5) * step, dtype=np.float64)
    solid, distance = fraction_inside(body.solid, body.centre_mm, axis, step)
    core = np.zeros(solid.shape, bool)
    if body.core is not None:
        core = (fraction_inside(body.core, body.centre_mm, axis, step)[0] > 0.5) & (solid > 0)
    return LesionGrid(np.asarray(body.centre_mm, float), step, solid, core, distance)


def fraction_inside(solids: Ellipsoids, centre_mm: Array, axis: Array, step_mm: float) -> tuple[FloatArray, FloatArray]:
    """Return (Z, Y, X) share of each cell inside the union of solids, and distance from its surface in mm.

    Cells are cubes of `step_mm` whose offsets from `centre_mm` are `axis` along x, y and z. The surface
    is taken as flat within a cell; distances are exact to first order near it.
    """
    shape = (len(axis),) * 3
    distance, share = np.full(shape, np.inf, np.float32), np.zeros(shape, np.float32)
    _measure(distance, share, solids.centre - centre_mm, solids.shape, axis, step_mm)
    return share, distance


def _measure(distance: FloatArray, share: FloatArray, centre: Array, shape: Array, axis: Array, step: float) -> None:
    n = len(axis)
    for e in range(len(centre)):
        a = shape[e]
        g = a.T @ a
        for k in range(n):
            for j in range(n):
                for i in range(n):
                    x, y, z = axis[i] - centre[e, 0], axis[j] - centre[e, 1], axis[k] - centre[e, 2]
                    gx = g[0, 0] * x + g[0, 1] * y + g[0, 2] * z
                    gy = g[1, 0] * x + g[1, 1] * y + g[1, 2] * z
                    gz = g[2, 0] * x + g[2, 1] * y + g[2, 2] * z
                    f = np.sqrt(max(gx * x + gy * y + gz * z, 1e-12))
                    steep = np.sqrt(gx * gx + gy * gy + gz * gz) / f
                    away = (f - 1.0) / max(steep, 1e-9)
                    if away < distance[k, j, i]:
                        distance[k, j, i] = away
                        width = step * (abs(gx) + abs(gy) + abs(gz)) / f / max(steep, 1e-9)
                        share[k, j, i] = min(1.0, max(0.0, 0.5 - away / width))


_measure = numba.njit(cache=True)(_measure)


def smooth_noise(shape: tuple[int, ...], sd_cells: float, rng: np.random.Generator) -> FloatArray:
    """Return (Z, Y, X) random values of mean 0 and standard deviation 1 that vary over about `sd_cells`."""
    # Drawn coarsely and enlarged: the same look for a fraction of the cost.
    coarse = max(1, int(sd_cells // 2))
    small = rng.standard_normal([int(np.ceil(n / coarse)) + 1 for n in shape], dtype=np.float32)
    small = gaussian_filter(small, sd_cells / coarse)
    for axis, n in enumerate(shape):
        small = _enlarge(small, axis, n, coarse)
    return np.asarray((small - small.mean()) / max(float(small.std()), 1e-9), dtype=np.float32)


def _enlarge(values: FloatArray, axis: int, n: int, factor: int) -> FloatArray:
    at = np.arange(n) / factor
    low = np.minimum(at.astype(int), values.shape[axis] - 2)
    part = (at - low).astype(np.float32)
    part = part.reshape([-1 if a == axis else 1 for a in range(values.ndim)])
    return np.asarray(np.take(values, low, axis) * (1 - part) + np.take(values, low + 1, axis) * part)


def longest_axial(field: FloatArray, step_mm: float) -> Extent:
    """Return the longest axial diameter where `field` (Z, Y, X) is at least one half, and the one across it.

    Both lines stay inside the body, as a reader measures viable tumour without the necrosis between
    (mRECIST, doi:10.1055/s-0030-1247132); both lie in one slice, at right angles. Zero when nothing is inside.
    """
    planes = {int(k): _crop(field[k]) for k in np.flatnonzero((field >= 0.5).any(axis=(1, 2)))}
    bound = {k: _reach(plane >= 0.5) for k, plane in planes.items()}
    best, where, angle = 0.0, -1, 0.0
    for k in sorted(bound, key=lambda k: (-bound[k], k)):
        # No line inside a slice is longer than the slice is wide.
        if bound[k] <= best:
            break
        length, turned = _longest_line(planes[k], np.arange(_ANGLES) * np.pi / _ANGLES, best)
        if length > best:
            best, where, angle = length, k, turned
    if where < 0:
        return Extent(0.0, 0.0)
    fine = angle + np.arange(-2, 3) * np.pi / _ANGLES / 3
    best, angle = _longest_line(planes[where], fine, 0.0)
    across, _ = _longest_line(planes[where], np.array([angle + np.pi / 2]), 0.0)
    return Extent(best * step_mm, across * step_mm)


def _crop(plane: FloatArray) -> FloatArray:
    # What is inside with two cells of surroundings.
    rows, cols = np.flatnonzero((plane >= 0.5).any(axis=1)), np.flatnonzero((plane >= 0.5).any(axis=0))
    low = max(0, rows[0] - 2), max(0, cols[0] - 2)
    return np.ascontiguousarray(plane[low[0] : rows[-1] + 3, low[1] : cols[-1] + 3])


def _reach(mask: BoolArray) -> float:
    # Greatest distance between any two points of a slice, in cells, with half a cell at both ends.
    rows, cols = np.nonzero(mask)
    hull = cv2.convexHull(np.stack([cols, rows], axis=1).astype(np.int32))[:, 0].astype(float)
    return float(np.sqrt(((hull[:, None] - hull[None]) ** 2).sum(axis=2)).max() + np.sqrt(2))


def _longest_line(plane: FloatArray, angles: Array, least: float) -> tuple[float, float]:
    # Parallel lines a cell apart, walked in half cells; only what is longer than `least` is looked for.
    rows, cols = plane.shape
    best, turned = least, angles[0]
    half = 0.5 * np.sqrt(rows * rows + cols * cols)
    for angle in angles:
        c, s = np.cos(angle), np.sin(angle)
        for line in range(-int(half), int(half) + 1):
            within = half * half - line * line
            if within <= 0.0 or 2.0 * np.sqrt(within) <= best:
                continue
            run = _longest_run(plane, 0.5 * (rows - 1) + line * c, 0.5 * (cols - 1) - line * s, s, c, half)
            if run > best:
                best, turned = run, angle
    return best, turned


def _longest_run(plane: FloatArray, y0: float, x0: float, dy: float, dx: float, half: float) -> float:
    # Along one line: the ends are where the bilinear value passes one half, found between two steps.
    rows, cols = plane.shape
    best, run, before, n = 0.0, 0.0, 0.0, int(2.0 * half) + 1
    for k in range(-n, n + 1):
        y, x = y0 + 0.5 * k * dy, x0 + 0.5 * k * dx
        value = 0.0
        if 0.0 <= y < rows - 1 and 0.0 <= x < cols - 1:
            j, i = int(y), int(x)
            fy, fx = y - j, x - i
            upper = (1 - fx) * plane[j, i] + fx * plane[j, i + 1]
            value = (1 - fy) * upper + fy * ((1 - fx) * plane[j + 1, i] + fx * plane[j + 1, i + 1])
        if value >= 0.5:
            run += 0.5 if before >= 0.5 else 0.5 * (value - 0.5) / (value - before)
        elif before >= 0.5:
            run += 0.5 * (before - 0.5) / (before - value)
        best = max(best, run)
        if value < 0.5:
            run = 0.0
        before = value
    return best


_longest_run = numba.njit(cache=True)(_longest_run)
_longest_line = numba.njit(cache=True)(_longest_line)
