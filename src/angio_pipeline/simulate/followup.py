"""After treatment: the oil in each tumour, CT scans that hold it, and its washout.

The deposit is a concentration of iodine on a fine grid about the tumour, so that its mass is
known exactly; a scan samples it with its own voxels, slice profile, kernel and noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numba
import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.ndimage import gaussian_filter, gaussian_filter1d, map_coordinates

from angio_pipeline.core.params import Params
from angio_pipeline.simulate.anatomy import TumourBody
from angio_pipeline.simulate.body import Body
from angio_pipeline.simulate.projection import Ellipsoids, Tubes

__all__ = ["CtParams", "CtScan", "Deposit", "DepositParams", "make_deposit", "remaining", "scan"]

Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
_GRID_MM = 0.75
HU_PER_MG_ML = {80: 41.0, 100: 31.5, 120: 25.0, 140: 21.2}


class DepositParams(Params):
    """Oil left in a tumour, and how it leaves."""

    concentration_min_mg_ml: float = Field(14.0, gt=0, le=400, description="mean over the tumour, iodine")
    concentration_max_mg_ml: float = Field(30.0, gt=0, le=400)
    unevenness: float = Field(0.25, ge=0, le=1.5, description="standard deviation of the log of concentration")
    defect: float = Field(0.0, ge=0, le=0.8, description="share of the tumour that took no oil")
    half_life_min_days: float = Field(35.0, gt=0, le=2000)
    half_life_max_days: float = Field(80.0, gt=0, le=2000)
    liver_mg_ml: float = Field(0.6, ge=0, le=20, description="oil about the tumour in normal liver, mean at its rim")
    liver_half_life_days: float = Field(4.0, gt=0, le=400)


class CtParams(Params):
    """The follow-up scans."""

    days: tuple[float, ...] = (1.0, 28.0)
    kvp: int = Field(120, ge=80, le=140)
    matrix: int = Field(256, ge=64, le=1024)
    field_mm: float = Field(400.0, ge=200, le=500)
    slice_mm: float = Field(3.0, ge=0.5, le=10)
    noise_hu: float = Field(14.0, ge=0, le=100)
    kernel_mm: float = Field(0.7, ge=0, le=3, description="standard deviation of the in-plane kernel")
    shift_mm: float = Field(4.0, ge=0, le=40, description="standard deviation of the patient's position between dates")
    turn_deg: float = Field(1.5, ge=0, le=20, description="standard deviation of the patient's roll between dates")


@dataclass(frozen=True, slots=True, eq=False)
class Deposit:
    """Oil of one tumour on a fine grid (Z, Y, X) of `_GRID_MM`, mg I/ml at day 0; `rim` is oil in liver beside it."""

    origin_mm: Array
    tumour_mg_ml: Array
    rim_mg_ml: Array
    half_life_days: float
    rim_half_life_days: float

    @property
    def iodine_mg(self) -> float:
        """Iodine in the tumour at day 0."""
        return float(self.tumour_mg_ml.sum() * _GRID_MM**3 / 1000)


@dataclass(frozen=True, slots=True, eq=False)
class CtScan:
    """One scan: stored Hounsfield units, geometry, and truth in the same voxels.

    `origin_mm` is the LPS centre of voxel (0, 0, 0); axes are along LPS; `spacing_mm` is (z, y, x).
    """

    days: float
    hu: npt.NDArray[np.int16]
    origin_mm: Array
    spacing_mm: tuple[float, float, float]
    kvp: int
    lesions: dict[str, BoolArray]
    deposits: dict[str, BoolArray]
    iodine_mg: dict[str, float]
    centroid_mm: dict[str, Array]


def make_deposit(tumour: TumourBody, params: DepositParams, rng: np.random.Generator) -> Deposit:
    """Return the oil of one tumour right after treatment."""
    reach = 1.35 * tumour.radius_mm + 6
    n = int(np.ceil(2 * reach / _GRID_MM))
    axis = (np.arange(n) - (n - 1) / 2) * _GRID_MM
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    offset = np.stack([x, y, z], axis=-1)
    distance = np.full(z.shape, np.inf)
    for centre, shape in zip(tumour.solid.centre - tumour.centre_mm, tumour.solid.shape, strict=True):
        away = np.sqrt((np.einsum("ij,zyxj->zyxi", shape, offset - centre) ** 2).sum(axis=-1))
        # As a distance from the surface, in units of the tumour's radius.
        distance = np.minimum(distance, 1 + (away - 1) / np.cbrt(np.linalg.det(shape)) / tumour.radius_mm)
    edge = np.clip(0.5 - (distance - 1) * tumour.radius_mm / (2 * _GRID_MM), 0, 1)
    lumps = gaussian_filter(rng.standard_normal(distance.shape), 0.16 * tumour.radius_mm / _GRID_MM)
    pattern = np.exp(params.unevenness * lumps / lumps.std())
    if params.defect > 0:
        hole = gaussian_filter(rng.standard_normal(distance.shape), 0.3 * tumour.radius_mm / _GRID_MM)
        pattern *= hole > np.quantile(hole[distance < 1], params.defect)
    taken = edge * pattern
    mean = rng.uniform(params.concentration_min_mg_ml, params.concentration_max_mg_ml)
    taken *= mean * edge.sum() / taken.sum()
    rim = params.liver_mg_ml * np.exp(-np.clip(distance - 1, 0, None) * tumour.radius_mm / 3.0) * (1 - edge)
    half_life = float(rng.uniform(params.half_life_min_days, params.half_life_max_days))
    origin = tumour.centre_mm + axis[0]
    return Deposit(origin, taken, rim, half_life, params.liver_half_life_days)


def remaining(deposit: Deposit, days: float) -> float:
    """Return the share of a tumour's oil that is left after `days`."""
    return float(2.0 ** (-days / deposit.half_life_days))


def concentration(deposit: Deposit, days: float) -> Array:
    """Return (Z, Y, X) mg I/ml of tumour and rim at `days`."""
    rim = deposit.rim_mg_ml * 2.0 ** (-days / deposit.rim_half_life_days)
    return np.asarray(deposit.tumour_mg_ml * remaining(deposit, days) + rim)


def scan(
    body: Body,
    tumours: tuple[TumourBody, ...],
    deposits: tuple[Deposit, ...],
    days: float,
    params: CtParams,
    extent_mm: tuple[float, float],
    rng: np.random.Generator,
) -> CtScan:
    """Return one CT scan `days` after treatment, over `extent_mm` (feet, head) of LPS z."""
    dz, dy, dx = params.slice_mm, params.field_mm / params.matrix, params.field_mm / params.matrix
    slices = round((extent_mm[1] - extent_mm[0]) / dz) + 1
    shift = rng.normal(0, params.shift_mm, 3)
    turn = np.deg2rad(rng.normal(0, params.turn_deg))
    half = 0.5 * params.field_mm - 0.5 * dx
    origin = np.array([38 - half, 0 - half, extent_mm[0]]) + np.round(rng.normal(0, 2, 3) * [1, 1, 0], 1)
    z = origin[2] + dz * np.arange(slices)
    y, x = origin[1] + dy * np.arange(params.matrix), origin[0] + dx * np.arange(params.matrix)
    points = _to_patient(np.meshgrid(z, y, x, indexing="ij"), shift, turn)
    hu = paint(body, points, min(dx, dz))
    for tumour in tumours:
        for one in tumour.solid.each():
            _paint_ellipsoid(hu, points, one, 46.0, 0.0, 1.2)
    voxel = (dz, dy, dx)
    iodine = {f"L{i + 1}": _resample(d, concentration(d, days), points, voxel) for i, d in enumerate(deposits)}
    slope = HU_PER_MG_ML[min(HU_PER_MG_ML, key=lambda k: abs(k - params.kvp))]
    oil = sum(iodine.values(), np.zeros(hu.shape)) * slope
    blurred = _blur(hu + oil, voxel, params) + _noise(hu.shape, params, rng)
    stored = np.clip(np.rint(np.where(points[..., 0] > -1e8, blurred, -1000)), -1024, 3071).astype(np.int16)
    lesions, traces, mass, centre = {}, {}, {}, {}
    for i, (tumour, deposit) in enumerate(zip(tumours, deposits, strict=True)):
        name = f"L{i + 1}"
        lesions[name] = _inside(tumour.solid, points)
        own = _resample(deposit, deposit.tumour_mg_ml * remaining(deposit, days), points, voxel)
        traces[name] = own >= 3.0
        mass[name] = deposit.iodine_mg * remaining(deposit, days)
        centre[name] = _from_patient(tumour.centre_mm, shift, turn)
    return CtScan(days, stored, origin, voxel, params.kvp, lesions, traces, mass, centre)


def _to_patient(grid: list[Array] | tuple[Array, ...], shift: Array, turn: float) -> npt.NDArray[np.float32]:
    # Scanner (z, y, x) to anatomy (x, y, z): the patient lies shifted and rolled about the long axis.
    z, y, x = grid
    c, s = np.cos(turn), np.sin(turn)
    px, py = x - shift[0], y - shift[1]
    return np.stack([c * px + s * py, -s * px + c * py, z - shift[2]], axis=-1).astype(np.float32)


def _from_patient(point: Array, shift: Array, turn: float) -> Array:
    c, s = np.cos(turn), np.sin(turn)
    return np.array([c * point[0] - s * point[1], s * point[0] + c * point[1], point[2]]) + shift


def _resample(deposit: Deposit, values: Array, points: npt.NDArray[np.float32], voxel: tuple[float, ...]) -> Array:
    # Average the fine grid over a voxel first, so that sampling keeps the mass.
    size = np.maximum(np.round(np.asarray(voxel) / _GRID_MM / np.sqrt(12), 3), 0.0)
    smooth = gaussian_filter(np.pad(values, 8), size)
    index = (points[..., ::-1] - deposit.origin_mm[::-1]) / _GRID_MM + 8
    low = index.reshape(-1, 3)
    near = np.all((low > 0) & (low < np.array(smooth.shape) - 1), axis=1)
    out = np.zeros(len(low))
    out[near] = map_coordinates(smooth, low[near].T, order=1)
    return out.reshape(points.shape[:-1])


def _inside(solid: Ellipsoids, points: npt.NDArray[np.float32]) -> BoolArray:
    share = np.zeros(points.shape[:-1])
    for one in solid.each():
        _paint_ellipsoid(share, points, one, 1.0, 0.0, 1e-3)
    return np.asarray(share > 0.5)


def _blur(hu: Array, voxel: tuple[float, float, float], params: CtParams) -> Array:
    for axis, sd in ((0, 0.35), (1, params.kernel_mm / voxel[1]), (2, params.kernel_mm / voxel[2])):
        hu = gaussian_filter1d(hu, sd, axis=axis, mode="nearest") if sd > 0 else hu
    return hu


def _noise(shape: tuple[int, ...], params: CtParams, rng: np.random.Generator) -> Array:
    # Noise of a reconstruction is coloured: weakly correlated between neighbours.
    noise = np.empty(shape)
    for k in range(shape[0]):
        noise[k] = cv2.GaussianBlur(rng.standard_normal(shape[1:]), (0, 0), 0.6)
    return params.noise_hu * noise / max(float(noise.std()), 1e-9)


def paint(body: Body, points: npt.NDArray[np.float32], soft_mm: float) -> Array:
    """Return (Z, Y, X) Hounsfield units of the body at points (Z, Y, X, 3), edges softened over a voxel."""
    hu = np.full(points.shape[:-1], -1000.0)
    for part in body.parts:
        if isinstance(part.solids, Tubes):
            start, end, radius = part.solids.start, part.solids.end, part.solids.radius
            _paint_tubes(hu, points, start, end, radius, part.hu, soft_mm)
            continue
        for one in part.solids.each():
            _paint_ellipsoid(hu, points, one, part.hu, part.organic, soft_mm)
    return hu


def _paint_ellipsoid(
    hu: Array, points: npt.NDArray[np.float32], solid: Ellipsoids, value: float, organic_mm: float, soft_mm: float
) -> None:
    radius = float(1 / np.cbrt(np.linalg.det(solid.shape[0])))
    reach = float(solid.radii_mm()[0]) + 1.8 * organic_mm + soft_mm
    _blend_ellipsoid(hu, points, solid.centre[0], solid.shape[0], radius, reach, value, organic_mm, soft_mm)


def _blend_ellipsoid(
    hu: Array, points: npt.NDArray[np.float32], centre: Array, shape: Array, radius: float, reach: float,
    value: float, organic: float, soft: float,
) -> None:  # fmt: skip
    # A gentle wave makes the outline organic; the distance to it is exact enough near the surface.
    for k in range(hu.shape[0]):
        for j in range(hu.shape[1]):
            for i in range(hu.shape[2]):
                x, y, z = points[k, j, i, 0], points[k, j, i, 1], points[k, j, i, 2]
                if abs(x - centre[0]) > reach or abs(y - centre[1]) > reach or abs(z - centre[2]) > reach:
                    continue
                ux = x - centre[0] + organic * np.sin(z / 23.0 + y / 31.0)
                uy = y - centre[1] + organic * np.sin(x / 27.0 + z / 19.0)
                uz = z - centre[2] + organic * np.sin(x / 21.0 + y / 29.0)
                a = shape[0, 0] * ux + shape[0, 1] * uy + shape[0, 2] * uz
                b = shape[1, 0] * ux + shape[1, 1] * uy + shape[1, 2] * uz
                c = shape[2, 0] * ux + shape[2, 1] * uy + shape[2, 2] * uz
                share = 0.5 - (np.sqrt(a * a + b * b + c * c) - 1.0) * radius / soft
                if share > 0.0:
                    share = min(share, 1.0)
                    hu[k, j, i] += share * (value - hu[k, j, i])


_blend_ellipsoid = numba.njit(cache=True)(_blend_ellipsoid)


def _paint_tubes(
    hu: Array, points: npt.NDArray[np.float32], start: Array, end: Array, radius: Array, value: float, soft: float
) -> None:
    for k in range(hu.shape[0]):
        z_here = points[k, 0, 0, 2]
        for n in range(len(radius)):
            a, b, r = start[n], end[n], radius[n]
            if z_here < min(a[2], b[2]) - r - soft or z_here > max(a[2], b[2]) + r + soft:
                continue
            length = np.sqrt((b[0] - a[0]) ** 2 + (b[1] - a[1]) ** 2 + (b[2] - a[2]) ** 2)
            wx, wy, wz = (b[0] - a[0]) / length, (b[1] - a[1]) / length, (b[2] - a[2]) / length
            for j in range(hu.shape[1]):
                for i in range(hu.shape[2]):
                    dx, dy, dz = points[k, j, i, 0] - a[0], points[k, j, i, 1] - a[1], points[k, j, i, 2] - a[2]
                    t = dx * wx + dy * wy + dz * wz
                    beyond = max(-t, t - length, 0.0)
                    if beyond > soft:
                        continue
                    away = np.sqrt(max(dx * dx + dy * dy + dz * dz - t * t, 0.0))
                    share = min(1.0, 0.5 - (away - r) / soft) * max(0.0, 1.0 - beyond / soft)
                    if share > 0.0:
                        hu[k, j, i] += share * (value - hu[k, j, i])


_paint_tubes = numba.njit(cache=True)(_paint_tubes)
