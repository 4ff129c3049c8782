"""Iodised oil: how much each tumour took and in which pattern, how it leaves, and how it looks on a film.

Oil is a concentration of iodine on a fine grid, so that its mass is known exactly whatever a scan
or a film makes of it. A grid that shrinks with its lesion keeps its mass: the oil grows denser.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator
from scipy.optimize import brentq

from angio_pipeline.core.followups import Pattern
from angio_pipeline.core.params import Params
from angio_pipeline.simulate.aftermath.lesion_grid import LesionGrid, smooth_noise
from angio_pipeline.simulate.radiograph.projection import CArm, Ellipsoids, project_gaussians

__all__ = [
    "OIL_MG_PER_ML",
    "Deposit",
    "DepositParams",
    "HoldsOil",
    "OilGrid",
    "Washout",
    "draw_washout",
    "make_deposit",
    "oil_areal_density",
    "oil_attenuation",
    "wall_oil",
]

Array = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
OIL_MG_PER_ML = 480.0
# Cells with less than this share of the lesion's mean concentration count as empty.
_HELD = 0.1
# Standard deviation of a blob over the distance of blobs: their mesh shows less than two in a thousand.
_BLOB = 0.6


class DepositParams(Params):
    """Oil left in tumours and beside them, and how it leaves."""

    concentration_min_mg_ml: float = Field(
        14.0, gt=0, le=400, description="least mean iodine over an oil-holding tumour, mg/ml"
    )
    concentration_max_mg_ml: float = Field(
        30.0, gt=0, le=400, description="greatest mean iodine over an oil-holding tumour, mg/ml"
    )
    faint_mg_ml: float = Field(2.5, gt=0, le=20, description="mean iodine over a tumour of the faint pattern, mg/ml")
    dense_share: float = Field(0.0, ge=0, le=1, description="share of tumours so dense with oil that 12-bit CT clips")
    dense_mg_ml: float = Field(150.0, gt=0, le=400, description="mean iodine over such a tumour, mg/ml")
    homogeneous: float = Field(0.45, ge=0, le=1, description="weight of pattern I, oil throughout")
    defective: float = Field(0.25, ge=0, le=1, description="weight of pattern II, a part without oil")
    inhomogeneous: float = Field(0.2, ge=0, le=1, description="weight of pattern III, patches")
    faint: float = Field(0.1, ge=0, le=1, description="weight of pattern IV, hardly any oil")
    unevenness: float = Field(
        0.25, ge=0, le=1.5, description="standard deviation of the log of concentration; twice that in pattern III"
    )
    defect: float = Field(
        0.3, ge=0, le=0.8, description="share of the tumour without oil in patterns II and III, on average"
    )
    half_life_min_days: float = Field(35.0, gt=0, le=2000, description="least half-life in tumour, days (slow part)")
    half_life_max_days: float = Field(80.0, gt=0, le=2000, description="greatest half-life in tumour, days (slow part)")
    fast_share: float = Field(
        0.25, ge=0, le=0.9, description="share of oil that leaves fast where washout is bi-exponential"
    )
    fast_half_life_days: float = Field(6.0, gt=0, le=400, description="half-life of the fast part, days")
    biexponential: float = Field(0.3, ge=0, le=1, description="share of tumours with bi-exponential washout")
    liver_mg_ml: float = Field(
        0.6, ge=0, le=20, description="iodine in normal liver at the tumour's surface, fading over 3 mm, mg/ml"
    )
    segment_mg_ml: float = Field(
        0.5, ge=0, le=20, description="iodine in the liver of the embolised segment, at its densest, mg/ml"
    )
    liver_half_life_days: float = Field(4.0, gt=0, le=400, description="half-life in normal liver, days")
    wall_mg: float = Field(12.0, ge=0, le=1000, description="iodine in the wall of an organ reached by mistake, mg")
    wall_half_life_days: float = Field(9.0, gt=0, le=400, description="half-life in such a wall, days")

    @model_validator(mode="after")
    def _some_pattern(self) -> DepositParams:
        if self.homogeneous + self.defective + self.inhomogeneous + self.faint <= 0:
            raise ValueError("homogeneous, defective, inhomogeneous and faint must not all be 0")
        return self


@dataclass(frozen=True, slots=True)
class Washout:
    """One or two exponentials: `fast_share` leaves with one half-life, the rest with the other."""

    half_life_days: float
    fast_share: float = 0.0
    fast_half_life_days: float = 1.0

    def left(self, days: float) -> float:
        """Return the share of the oil left after `days`; before treatment nothing is there."""
        if days < 0:
            return 0.0
        fast = self.fast_share * 2.0 ** (-days / self.fast_half_life_days)
        return float(fast + (1 - self.fast_share) * 2.0 ** (-days / self.half_life_days))

    def days_to_half(self, first_day: float = 0.0) -> float:
        """Return the days from `first_day` until half of what was there on that day is left."""
        if self.fast_share == 0:
            return self.half_life_days
        half = 0.5 * self.left(first_day)
        longest = max(self.half_life_days, self.fast_half_life_days)
        return float(brentq(lambda t: self.left(first_day + t) - half, 0.0, 1.0001 * longest, xtol=1e-9))


def draw_washout(params: DepositParams, factor: float, rng: np.random.Generator) -> Washout:
    """Return one tumour's washout; `factor` multiplies its half-lives."""
    slow = factor * float(rng.uniform(params.half_life_min_days, params.half_life_max_days))
    two, share = rng.random() < params.biexponential, params.fast_share * rng.uniform(0.6, 1.4)
    if not two or share <= 0:
        return Washout(slow)
    return Washout(slow, min(float(share), 0.95), min(factor * params.fast_half_life_days, slow))


@dataclass(frozen=True, slots=True, eq=False)
class OilGrid:
    """Iodine on cubes: `mg_ml` (Z, Y, X) float32 about `centre_mm` (3,), cells of `step_mm`."""

    centre_mm: Array
    step_mm: float
    mg_ml: FloatArray

    @property
    def iodine_mg(self) -> float:
        """All the iodine on the grid."""
        return float(self.mg_ml.sum(dtype=float)) * self.step_mm**3 / 1000

    def changed(self, left: float, scale: float = 1.0) -> OilGrid:
        """Return the grid with a share of its oil left in a lesion of another scale: mass follows `left` alone."""
        return OilGrid(self.centre_mm, self.step_mm * scale, self.mg_ml * np.float32(left / scale**3))


@dataclass(frozen=True, slots=True, eq=False)
class Deposit:
    """Oil of one tumour at day 0, on the lesion's own grid.

    Attributes
    ----------
    oil : OilGrid
        In the tumour.
    rim : OilGrid
        In liver at the tumour's surface.
    region : (Z, Y, X) bool
        Cells that hold the tumour's oil: at least a tenth of its mean concentration.
    """

    pattern: Pattern
    oil: OilGrid
    rim: OilGrid
    region: BoolArray


def draw_pattern(params: DepositParams, necrosis: float, rng: np.random.Generator) -> Pattern:
    """Return a pattern I to IV; what died more (`necrosis` 0 to 1) took oil more completely."""
    weights = {
        Pattern.HOMOGENEOUS: params.homogeneous * (0.3 + 1.4 * necrosis),
        Pattern.DEFECTIVE: params.defective,
        Pattern.INHOMOGENEOUS: params.inhomogeneous * (1.4 - 0.8 * necrosis),
        Pattern.FAINT: params.faint * (1.7 - 1.4 * necrosis),
    }
    share = np.array(list(weights.values()))
    return list(weights)[int(rng.choice(len(share), p=share / share.sum()))]


def draw_concentration(params: DepositParams, pattern: Pattern, rng: np.random.Generator) -> float:
    """Return the mean iodine over one tumour, mg/ml."""
    usual = float(rng.uniform(params.concentration_min_mg_ml, params.concentration_max_mg_ml))
    dense, spread = rng.random() < params.dense_share, float(np.exp(rng.normal(0, 0.2)))
    if pattern is Pattern.FAINT:
        return params.faint_mg_ml * spread
    return params.dense_mg_ml * spread if dense else usual


def make_deposit(
    grid: LesionGrid,
    pattern: Pattern,
    mean_mg_ml: float,
    params: DepositParams,
    rng: np.random.Generator,
    unreached: BoolArray | None = None,
) -> Deposit:
    """Return one tumour's oil right after treatment.

    Parameters
    ----------
    mean_mg_ml : float
        Iodine over the whole tumour, empty parts included.
    unreached : (Z, Y, X) bool, optional
        The part of a feeder that was missed: it takes none.
    """
    texture = _texture(grid, pattern, params, rng)
    if unreached is not None and not unreached[grid.solid > 0].all():
        texture[unreached] = 0
    taken = grid.solid * texture
    taken *= np.float32(mean_mg_ml * grid.solid.sum(dtype=float) / taken.sum(dtype=float))
    # In liver the oil lies within a few millimetres; where the tumour's edge is taken it counts as the tumour's.
    beside = np.exp(-np.clip(grid.distance_mm, 0, None) / 3.0) * (1 - grid.solid)
    share = min(1.0, mean_mg_ml / params.concentration_min_mg_ml)
    rim = np.where(np.isfinite(beside), beside, 0).astype(np.float32) * np.float32(params.liver_mg_ml * share)
    region = (taken >= _HELD * mean_mg_ml * grid.solid) & (taken > 0)
    return Deposit(
        pattern,
        OilGrid(grid.centre_mm, grid.step_mm, taken),
        OilGrid(grid.centre_mm, grid.step_mm, rim),
        np.asarray(region),
    )


def _texture(grid: LesionGrid, pattern: Pattern, params: DepositParams, rng: np.random.Generator) -> FloatArray:
    # Relative concentration: log-normal lumps, with one great hole (II) or many small ones (III).
    radius = np.cbrt(3 * grid.volume_mm3 / (4 * np.pi)) / grid.step_mm
    lumps = smooth_noise(grid.solid.shape, 0.16 * radius, rng)
    spread = params.unevenness * {Pattern.HOMOGENEOUS: 0.6, Pattern.INHOMOGENEOUS: 2.0}.get(pattern, 1.0)
    texture = np.exp(np.float32(spread) * lumps)
    size = {Pattern.DEFECTIVE: 0.45, Pattern.INHOMOGENEOUS: 0.2}.get(pattern)
    empty = min(0.9, params.defect * rng.uniform(0.6, 1.4))
    if size is not None and empty > 0:
        hole = smooth_noise(grid.solid.shape, size * radius, rng)
        texture[hole > np.quantile(hole[grid.solid > 0.5], 1 - empty)] = 0
    return np.asarray(texture, dtype=np.float32)


def wall_oil(organ: Ellipsoids, at_mm: Array, iodine_mg: float, thickness_mm: float = 2.5) -> OilGrid:
    """Return oil in a patch of an organ's wall about the point of it nearest to `at_mm`, spread over some 10 mm."""
    step = 0.8
    outward = organ.shape[0] @ (at_mm - organ.centre[0])
    on_wall = organ.centre[0] + np.linalg.solve(organ.shape[0], outward / np.linalg.norm(outward))
    axis = (np.arange(48) - 23.5) * step
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    offset = np.stack([x, y, z], axis=-1)
    depth = np.sqrt((((on_wall + offset - organ.centre[0]) @ organ.shape[0].T) ** 2).sum(axis=-1))
    radius = 1 / np.cbrt(np.linalg.det(organ.shape[0]))
    patch = np.exp(-0.5 * (offset**2).sum(axis=-1) / 6.0**2) * (np.abs(depth - 1) * radius < 0.5 * thickness_mm)
    mg_ml = (patch * iodine_mg * 1000 / (patch.sum() * step**3)).astype(np.float32)
    return OilGrid(on_wall, step, mg_ml)


class HoldsOil(Protocol):
    """Whatever can say where its oil is."""

    def oil(self, days: float) -> Sequence[OilGrid]:
        """Return all oil `days` after treatment."""


def oil_areal_density(carm: CArm, treatment: HoldsOil, days: float) -> Array:
    """Return (rows, columns) mg of iodine per mm² of all oil `days` after treatment; no iodine is lost.

    Blocks of cells are drawn as small Gaussian blobs, each with all the iodine of its block.
    """
    image = np.zeros((carm.rows, carm.columns))
    for grid in treatment.oil(days):
        centre, mass, size = _blocks(grid)
        image += project_gaussians(carm, centre, np.full(len(mass), _BLOB * size), mass)
    return image


def oil_attenuation(carm: CArm, treatment: HoldsOil, days: float, mass_attenuation_mm2_mg: float = 1.15) -> Array:
    """Return (rows, columns) attenuation of all oil `days` after treatment."""
    return mass_attenuation_mm2_mg * oil_areal_density(carm, treatment, days)


def _blocks(grid: OilGrid) -> tuple[Array, Array, float]:
    # Centres (K, 3), milligrams (K,) and edge length of cubes of about 2 mm.
    block = max(1, round(2.0 / grid.step_mm))
    whole = np.pad(grid.mg_ml, [(0, -n % block) for n in grid.mg_ml.shape])
    shape = [n // block for n in whole.shape]
    sums = whole.reshape(shape[0], block, shape[1], block, shape[2], block).sum(axis=(1, 3, 5), dtype=float)
    index = np.argwhere(sums > 1e-9)
    middle = (np.array(grid.mg_ml.shape) - 1) / 2
    offset = (index * block + (block - 1) / 2 - middle) * grid.step_mm
    mass = sums[tuple(index.T)] * grid.step_mm**3 / 1000
    return grid.centre_mm + offset[:, ::-1], mass, block * grid.step_mm
