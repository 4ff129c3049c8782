"""Solids and fine grids into voxels: the body by the share of each voxel that a solid fills, oil by its mass.

Strategy: solids are painted in order, slice by slice, each only in its bounding box; the share of a
voxel inside a solid follows from its distance to the surface, taken as flat within the voxel. All
contrast phases of a study are painted at once, since only the values differ. Fine grids (tumours,
oil) are poured the other way, cell by cell into the voxels that the cell overlaps, so that their
volume and mass are kept to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from angio_pipeline.simulate.aftermath.ct_placement import Placement, into_patient, into_scanner
from angio_pipeline.simulate.radiograph.projection import Ellipsoids, Tubes

__all__ = ["Paint", "VoxelGrid", "Window", "paint", "pour"]

Array = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class VoxelGrid:
    """Voxels of a scan: LPS centre of voxel (0, 0, 0), spacing and shape (z, y, x), thickness of a slice."""

    origin_mm: Array
    spacing_mm: tuple[float, float, float]
    shape: tuple[int, int, int]
    slice_mm: float

    @property
    def voxel_ml(self) -> float:
        """Volume that one voxel stands for."""
        return float(np.prod(self.spacing_mm)) / 1000


@dataclass(frozen=True, slots=True, eq=False)
class Paint:
    """Solids of one tissue; `values` holds Hounsfield units for each phase, `wave_mm` makes outlines organic."""

    solids: Ellipsoids | Tubes
    values: tuple[float, ...]
    viscera: bool
    wave_mm: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Part of a scan's voxels and values (F, z, y, x) there."""

    where: tuple[slice, slice, slice]
    values: FloatArray


def paint(paints: Sequence[Paint], grid: VoxelGrid, placement: Placement, empty: float = -1000.0) -> FloatArray:
    """Return (phases, Z, Y, X) Hounsfield units of solids painted in order, the first ones covered by later ones."""
    out = np.full((len(paints[0].values), *grid.shape), empty, np.float32)
    rows = [row for one in paints for row in _rows(one)]
    kind = np.array([r[0] for r in rows], np.int64)
    solid = np.array([r[1] for r in rows])
    extra = np.array([r[2] for r in rows])
    values = np.array([r[3] for r in rows], np.float32)
    low, high = _boxes(kind, solid, extra, grid, placement)
    numbers = np.array([*grid.origin_mm, *grid.spacing_mm[::-1], grid.slice_mm])
    _paint(out, kind, solid, extra, values, low, high, numbers, placement.numbers())
    return out


def _rows(one: Paint) -> list[tuple[int, Array, Array, tuple[float, ...]]]:
    # One row of numbers a solid: 0 ellipsoid (centre, 3 x 3 shape), 1 tube (start, direction, length, radius).
    moved = float(one.viscera)
    if isinstance(one.solids, Ellipsoids):
        both = zip(one.solids.centre, one.solids.shape, strict=True)
        return [
            (0, np.concatenate([c, (s.T @ s).ravel()]), np.array([moved, one.wave_mm]), one.values) for c, s in both
        ]
    along = one.solids.end - one.solids.start
    length = np.linalg.norm(along, axis=1)
    keep = length > 1e-9
    unit = along[keep] / length[keep, None]
    solid = np.column_stack(
        [one.solids.start[keep], unit, length[keep], one.solids.radius[keep], np.zeros((len(unit), 4))]
    )
    return [(1, row, np.array([moved, 0.0]), one.values) for row in solid]


def _boxes(
    kind: IntArray, solid: Array, extra: Array, grid: VoxelGrid, placement: Placement
) -> tuple[IntArray, IntArray]:
    # First and last voxel (z, y, x) that each solid can touch.
    half, centre = np.empty((len(kind), 3)), np.empty((len(kind), 3))
    ball = kind == 0
    centre[ball] = solid[ball, :3]
    inverse = np.linalg.inv(solid[ball, 3:].reshape(-1, 3, 3))
    half[ball] = np.sqrt(np.einsum("kii->ki", inverse))
    along = solid[~ball, 3:6] * solid[~ball, 6:7]
    centre[~ball] = solid[~ball, :3] + 0.5 * along
    half[~ball] = 0.5 * np.abs(along) + solid[~ball, 7:8]
    half += extra[:, 1:2] + extra[:, :1] * placement.slope * half.max(axis=1, keepdims=True)
    c, s = np.cos(placement.turn_rad), np.sin(placement.turn_rad)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    viscera = extra[:, 0] > 0
    at = placement.to_scanner(centre, viscera=False)
    at[viscera] = placement.to_scanner(centre[viscera], viscera=True)
    reach = half @ np.abs(turn).T + 0.75 * np.array([*grid.spacing_mm[:0:-1], grid.slice_mm]) + 0.5
    spacing = np.array(grid.spacing_mm[::-1])
    low = np.floor((at - reach - grid.origin_mm) / spacing)[:, ::-1]
    high = np.ceil((at + reach - grid.origin_mm) / spacing)[:, ::-1]
    last = np.array(grid.shape) - 1
    return np.clip(low, 0, last + 1).astype(np.int64), np.clip(high, -1, last).astype(np.int64)


def _paint(
    out: FloatArray,
    kind: IntArray,
    solid: Array,
    extra: Array,
    values: FloatArray,
    low: IntArray,
    high: IntArray,
    grid: Array,
    p: Array,
) -> None:
    phases, depth, rows, cols = out.shape
    # Points of a slice in the patient, and the wave that makes outlines organic: static body, viscera.
    at = np.empty((2, rows, cols, 6), np.float32)
    for k in range(depth):
        z = grid[2] + k * grid[5]
        for j in range(rows):
            for moved in range(2):
                _locate_row(at[moved, j], grid[0], grid[1] + j * grid[4], z, grid[3], p, moved == 1)
        for n in range(len(kind)):
            if low[n, 0] > k or high[n, 0] < k:
                continue
            moved, wave = int(extra[n, 0]), extra[n, 1]
            for j in range(low[n, 1], high[n, 1] + 1):
                for i in range(low[n, 2], high[n, 2] + 1):
                    here = at[moved, j, i]
                    x, y, z = here[0] - solid[n, 0], here[1] - solid[n, 1], here[2] - solid[n, 2]
                    if kind[n] == 0:
                        x, y, z = x + wave * here[3], y + wave * here[4], z + wave * here[5]
                        share = _in_ellipsoid(x, y, z, solid[n], grid)
                    else:
                        share = _in_tube(x, y, z, solid[n], grid)
                    if share > 0.0:
                        for c in range(phases):
                            out[c, k, j, i] += share * (values[n, c] - out[c, k, j, i])


def _locate_row(row: FloatArray, x: float, y: float, z: float, step: float, p: Array, viscera: bool) -> None:
    # Exact at every fourth voxel and linear between: the field is far smoother than that.
    last = len(row) - 1
    i = 0
    while True:
        px, py, pz = into_patient(x + i * step, y, z, p, viscera)
        row[i, 0], row[i, 1], row[i, 2] = px, py, pz
        row[i, 3] = np.sin(pz / 23.0 + py / 31.0)
        row[i, 4] = np.sin(px / 27.0 + pz / 19.0)
        row[i, 5] = np.sin(px / 21.0 + py / 29.0)
        before = ((i - 1) // 4) * 4
        for n in range(before + 1, i):
            part = (n - before) / (i - before)
            for c in range(6):
                row[n, c] = row[before, c] + part * (row[i, c] - row[before, c])
        if i == last:
            return
        i = min(i + 4, last)


def _in_ellipsoid(x: float, y: float, z: float, s: Array, grid: Array) -> float:
    gx = s[3] * x + s[4] * y + s[5] * z
    gy = s[6] * x + s[7] * y + s[8] * z
    gz = s[9] * x + s[10] * y + s[11] * z
    squared = gx * x + gy * y + gz * z
    if squared < 0.25:
        return 1.0
    f = np.sqrt(squared)
    steep = np.sqrt(gx * gx + gy * gy + gz * gz)
    # Extent of a voxel along the surface's normal, and the distance to the surface.
    width = (abs(gx) * grid[3] + abs(gy) * grid[4] + abs(gz) * grid[6]) / steep
    return float(min(1.0, max(0.0, 0.5 - (f - 1.0) * f / steep / width)))


def _in_tube(x: float, y: float, z: float, s: Array, grid: Array) -> float:
    t = x * s[3] + y * s[4] + z * s[5]
    ends = abs(s[3]) * grid[3] + abs(s[4]) * grid[4] + abs(s[5]) * grid[6]
    beyond = max(-t, t - s[6])
    if beyond >= ends:
        return 0.0
    rx, ry, rz = x - t * s[3], y - t * s[4], z - t * s[5]
    away = np.sqrt(rx * rx + ry * ry + rz * rz)
    across = max(away, 1e-6)
    width = (abs(rx) * grid[3] + abs(ry) * grid[4] + abs(rz) * grid[6]) / across
    width = max(width, 0.5 * grid[3])
    share = min(1.0, 0.5 - (away - s[7]) / width)
    # A tube thinner than a voxel fills it in part only.
    fill = min(1.0, 2.0 * s[7] / width)
    return float(max(0.0, share) * fill * (1.0 - max(0.0, beyond) / ends))


_in_ellipsoid = numba.njit(cache=True)(_in_ellipsoid)
_in_tube = numba.njit(cache=True)(_in_tube)
_locate_row = numba.njit(cache=True)(_locate_row)
_paint = numba.njit(cache=True)(_paint)


def pour(fields: FloatArray, centre_mm: Array, step_mm: float, grid: VoxelGrid, placement: Placement) -> Window | None:
    """Return what cells of fine grids bring into the voxels they overlap; None when all lie outside the scan.

    Parameters
    ----------
    fields : (F, z, y, x) float32
        Amounts by volume (shares, mg/ml) in cubes of `step_mm` about `centre_mm`, in the patient.

    Returns
    -------
    Window
        The same by volume in voxels: a voxel all of whose volume lies in cells of value 1 has 1. Slices are
        boxes of the slice's thickness.
    """
    numbers = np.array([*grid.origin_mm, *grid.spacing_mm[::-1], grid.slice_mm])
    reach = 0.5 * step_mm * np.array(fields.shape[:0:-1])
    corners = placement.to_scanner(centre_mm)[0]
    reach = reach * 1.05 + placement.reach_mm + np.array([*grid.spacing_mm[:0:-1], grid.slice_mm])
    low = np.floor((corners - reach - grid.origin_mm) / grid.spacing_mm[::-1])[::-1]
    high = np.ceil((corners + reach - grid.origin_mm) / grid.spacing_mm[::-1])[::-1] + 1
    low = np.clip(low, 0, grid.shape).astype(np.int64)
    high = np.clip(high, 0, grid.shape).astype(np.int64)
    if np.any(high <= low):
        return None
    out = np.zeros((len(fields), *(high - low)), np.float32)
    _pour(out, fields, np.asarray(centre_mm, float), step_mm, numbers, low, placement.numbers())
    return Window((slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])), out)


def _pour(
    out: FloatArray, fields: FloatArray, centre: Array, step: float, grid: Array, low: IntArray, p: Array
) -> None:
    count, depth, rows, cols = fields.shape
    box = np.array([grid[6], grid[4], grid[3]])
    gap = np.array([grid[5], grid[4], grid[3]])
    start = np.array([grid[2], grid[1], grid[0]]) + low * gap
    first, last = np.zeros(3, np.int64), np.zeros(3, np.int64)
    at = np.zeros(3)
    # Thick slices may be wider than their distance: a cell then lies in several.
    share = np.zeros((3, 64))
    for k in range(depth):
        for j in range(rows):
            for i in range(cols):
                used = False
                for f in range(count):
                    used = used or fields[f, k, j, i] != 0.0
                if not used:
                    continue
                x, y, z = into_scanner(
                    centre[0] + (i - 0.5 * (cols - 1)) * step,
                    centre[1] + (j - 0.5 * (rows - 1)) * step,
                    centre[2] + (k - 0.5 * (depth - 1)) * step,
                    p,
                    True,
                )
                at[0], at[1], at[2] = z, y, x
                for a in range(3):
                    reach = 0.5 * (box[a] + step)
                    first[a] = max(0, int(np.ceil((at[a] - reach - start[a]) / gap[a])))
                    last[a] = min(out.shape[a + 1] - 1, int(np.floor((at[a] + reach - start[a]) / gap[a])))
                    last[a] = min(last[a], first[a] + 63)
                    for n in range(first[a], last[a] + 1):
                        middle = start[a] + n * gap[a]
                        overlap = min(middle + 0.5 * box[a], at[a] + 0.5 * step)
                        overlap -= max(middle - 0.5 * box[a], at[a] - 0.5 * step)
                        share[a, n - first[a]] = max(overlap, 0.0) / box[a]
                for n0 in range(first[0], last[0] + 1):
                    for n1 in range(first[1], last[1] + 1):
                        part = share[0, n0 - first[0]] * share[1, n1 - first[1]]
                        for n2 in range(first[2], last[2] + 1):
                            weight = part * share[2, n2 - first[2]]
                            for f in range(count):
                                out[f, n0, n1, n2] += weight * fields[f, k, j, i]


_pour = numba.njit(cache=True)(_pour)
