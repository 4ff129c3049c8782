"""How much iodine: the integral of attenuation above the tissue's own, over a padded region.

Strategy. Blur spreads oil but loses none, so the sum is taken over the deposit and the lesion
grown by more than the blur, never over a threshold mask; the price is that the background has
to be right. It is a robust linear trend through liver-like tissue in a shell around the region;
inside the lesion an offset is added, because a tumour without oil need not be as dense as
liver. Everything uncertain is drawn: noise (with its correlation), the background's level, the
lesion's offset, what growing the region adds, the slope from attenuation to iodine, and the
voxels at the top of the scale. What the scans of a lesion share is drawn once for all: the slope and what
no model says cancel in ratios, the offset, which adds the same to a lot of oil and to little, does so in part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import special

from angio_pipeline.core.followups import CtVolume
from angio_pipeline.core.params import Params
from angio_pipeline.core.quality import Quality
from angio_pipeline.lipiodol.deposit import Deposit, DepositParams, segment_deposit
from angio_pipeline.lipiodol.lesions import Patch
from angio_pipeline.numerics import volumes as space

__all__ = [
    "OIL_IODINE_MG_PER_ML",
    "Background",
    "MassEstimate",
    "MassParams",
    "Offset",
    "SharedDraws",
    "Surroundings",
    "estimate_background",
    "estimate_offset",
    "iodine_slope",
    "look_around",
    "measure_mass",
    "slope_error",
    "thin_oil",
]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

OIL_IODINE_MG_PER_ML = 480.0
"""Iodine in one millilitre of iodised oil."""

_THIN_OIL_HU = 12.0


class MassParams(Params):
    """Settings of the iodine mass.

    `offset_hu` and its error: on unenhanced CT living tumour is somewhat darker than liver (0 to 25 HU) and dead tissue
    lies near 34 HU, more than 20 HU below liver, so that a tumour of which half has died is expected between the two.
    """

    slopes: tuple[tuple[float, float], ...] = Field(
        ((80.0, 41.0), (100.0, 31.5), (120.0, 25.0), (140.0, 21.2)), description="HU per (mg iodine per ml) at each kVp"
    )
    padding_mm: float = Field(
        5.0, ge=0.0, le=20.0, description="how far around oil its blur is summed, mm (a slice at least)"
    )
    gap_mm: float = Field(2.0, ge=0.0, le=10.0, description="what is left out between that and the background, mm")
    shell_mm: float = Field(12.0, ge=3.0, le=40.0, description="thickness of the background around it, mm")
    tissue_band_hu: float = Field(
        40.0, ge=10.0, description="background lies no farther from its most frequent attenuation, HU"
    )
    gradient_sd_hu_per_mm: float = Field(0.15, gt=0.0, description="expected slope of the background, HU per mm")
    level_sd_hu: float = Field(0.5, ge=0.0, description="what the background's level may be off, HU")
    offset_hu: float = Field(
        -16.0,
        ge=-40.0,
        le=40.0,
        description="a treated lesion without oil above liver, HU, where the patient's scans do not tell",
    )
    offset_sd_hu: float = Field(7.0, ge=0.0, description="how well that is known, HU")
    offset_range_hu: tuple[float, float] = Field((-30.0, 15.0), description="offsets that are believed, HU")
    slope_sd: float = Field(0.02, ge=0.0, le=0.3, description="relative uncertainty of the slope between scanners")
    assumed_slope_sd: float = Field(
        0.25, ge=0.0, le=1.0, description="the same where the tube voltage had to be assumed"
    )
    model_sd: float = Field(0.02, ge=0.0, le=0.3, description="relative error that all scans of a lesion share")
    own_model_sd: float = Field(0.01, ge=0.0, le=0.3, description="relative error that each scan adds")
    early_days: float = Field(7.0, ge=0.0, description="until then liver beside a lesion may hold oil, days")
    change_sd_hu: float = Field(3.0, ge=0.0, description="what death and shrinkage between dates add to the offset, HU")
    enhancement_sd_hu: float = Field(30.0, ge=0.0, description="what contrast medium adds to the offset, HU")
    outline_mm: float = Field(0.7, ge=0.0, le=5.0, description="how far the edge at fat or lung may be off, mm")
    correlation_mm: float = Field(5.0, ge=0.0, description="how far noise is looked for to be correlated, mm")
    neat_oil_hu: float = Field(
        12_000.0, gt=0.0, description="attenuation of undiluted oil, HU: bounds what clipped voxels hide"
    )
    draws: int = Field(2000, ge=100, description="draws of the interval")
    seed: int = Field(20_000, ge=0, description="draws the interval")


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """The tissue that the oil lies in, as a linear trend about `centre_mm`.

    Attributes
    ----------
    noise_hu : float
        Standard deviation of one voxel.
    correlation : float
        Voxels' worth of variance that one voxel carries into a sum.
    level_sd_hu : float
        Uncertainty of the level, from how much the directions around the lesion differ.
    """

    level_hu: float
    gradient_hu_per_mm: tuple[float, float, float]
    centre_mm: tuple[float, float, float]
    noise_hu: float
    correlation: float
    level_sd_hu: float

    def on(self, affine: FloatArray, shape: tuple[int, ...]) -> FloatArray:
        """Return the trend on a grid, (Z, Y, X)."""
        gradient = np.array(self.gradient_hu_per_mm)
        per_index = gradient @ affine[:3, :3]
        constant = self.level_hu + gradient @ (affine[:3, 3] - np.array(self.centre_mm))
        z, y, x = (np.arange(n, dtype=np.float64) for n in shape)
        plane = per_index[0] * z[:, None, None] + per_index[1] * y[None, :, None] + per_index[2] * x[None, None, :]
        return np.asarray(constant + plane)


@dataclass(frozen=True, slots=True)
class Offset:
    """How far a lesion without oil lies above (below) the liver around it, and how well that is known."""

    hu: float
    sd_hu: float
    own_sd_hu: float = 0.0
    """What each scan adds of its own: tumour dies, shrinks and is resorbed between dates."""


@dataclass(frozen=True, slots=True, eq=False)
class SharedDraws:
    """Standard normal draws that all scans of a lesion share, (draws,) each."""

    offset: FloatArray
    slope: FloatArray
    model: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class MassEstimate:
    """Iodine of one lesion in one scan.

    Attributes
    ----------
    mg : float
        May be below 0 by noise when there is no oil.
    draws_mg : ndarray, (draws,)
        What it could as well have been; the interval holds their middle 95 %.
    """

    mg: float
    draws_mg: FloatArray
    deposit: Deposit
    background: Background
    deposit_mm3: float
    clipped_voxels: int
    slope: float
    slope_sd: float
    quality: Quality

    @property
    def interval_mg(self) -> tuple[float, float]:
        """The 95 % interval."""
        low, high = np.percentile(self.draws_mg, [2.5, 97.5])
        return float(low), float(high)


def iodine_slope(kvp: float | None, *, params: MassParams) -> tuple[float, Quality]:
    """Return HU per (mg iodine per ml) at a tube voltage, with KVP_ASSUMED when 120 kVp had to be assumed."""
    volts, slopes = np.array(sorted(params.slopes)).T
    if kvp is None or not 60.0 <= kvp <= 160.0:
        return float(np.interp(120.0, volts, slopes)), Quality.KVP_ASSUMED
    return float(np.interp(kvp, volts, slopes)), Quality.NONE


def slope_error(quality: Quality, *, params: MassParams) -> float:
    """Return the slope's relative standard deviation, by the flag that `iodine_slope` gave with it."""
    return params.assumed_slope_sd if quality & Quality.KVP_ASSUMED else params.slope_sd


def estimate_background(
    patch: Patch, liver: BoolArray, liver_hu: float, deposit: Deposit | None, *, params: MassParams
) -> Background | None:
    """Return the trend of the tissue around a lesion, None when fewer than 100 voxels of it are in the patch.

    Parameters
    ----------
    liver : ndarray, (Z, Y, X) bool
        The liver on the patch's grid; used where it holds a third of the shell or more.
    liver_hu : float
        Where the tissue's attenuation is looked for, NaN when unknown.
    deposit : Deposit, optional
        Oil and foreign structures, kept out of the shell.
    """
    oil = patch.lesion if deposit is None else patch.lesion | deposit.mask
    foreign = patch.others if deposit is None else deposit.foreign | patch.others
    inner = _padding(patch, params) + params.gap_mm
    distance = space.distance_mm(oil, patch.affine)
    shell = (distance > inner) & (distance <= inner + params.shell_mm) & ~foreign
    if np.count_nonzero(shell & liver) > max(300, 0.33 * np.count_nonzero(shell)):
        shell &= liver
    smoothed = space.smooth(patch.hu, patch.affine, 1.5)
    middle = liver_hu if np.isfinite(liver_hu) else 55.0
    mode = space.mode_of(smoothed[shell], middle - 60, middle + 60, width=4.0)
    if np.isfinite(mode):
        shell &= np.abs(smoothed - mode) < params.tissue_band_hu
    if np.count_nonzero(shell) < 100 or not np.isfinite(mode):
        return None
    return _fit_background(patch, shell, oil, params)


def _fit_background(patch: Patch, shell: BoolArray, oil: BoolArray, params: MassParams) -> Background:
    points = space.to_world(patch.affine, np.argwhere(shell))
    centre = space.to_world(patch.affine, np.argwhere(oil).mean(axis=0))
    values = patch.hu[shell]
    trend, noise = space.fit_trend(values, points - centre, gradient_sd=params.gradient_sd_hu_per_mm)
    residual = np.zeros(patch.hu.shape)
    residual[shell] = values - trend[0] - (points - centre) @ trend[1:]
    bounded = np.clip(residual, -4 * noise, 4 * noise)
    correlation = space.correlation_volume(bounded, shell, patch.affine, reach_mm=params.correlation_mm)
    octant = ((points - centre) > 0) @ np.array([1, 2, 4])
    groups = [residual[shell][octant == k] for k in range(8)]
    levels = np.array([float(np.median(g)) for g in groups if len(g) >= 30])
    between = float(levels.std(ddof=1)) / np.sqrt(len(levels)) if len(levels) > 1 else noise / 2
    sd = float(np.hypot(between, params.level_sd_hu))
    x, y, z = centre.tolist()
    gradient = (float(trend[1]), float(trend[2]), float(trend[3]))
    return Background(float(trend[0]), gradient, (x, y, z), noise, correlation, sd)


def estimate_offset(
    patches: list[tuple[Patch, Background]], known: list[tuple[Patch, Background]], *, params: MassParams
) -> Offset:
    """Return the lesion's own attenuation without oil against the liver around it.

    Parameters
    ----------
    patches : list
        The lesion in scans that may hold oil: oil only adds, so that the darkest part of the lesion
        bounds the offset from above; below that bound it is distributed as the settings say.
    known : list
        The lesion in scans before treatment: where there are some, they alone tell.
    """
    medians = [float(np.median(values)) for values in (_inside(p, b) for p, b in known) if values.size >= 20]
    if medians:
        levels = [background.level_sd_hu for _, background in known]
        sd = float(np.hypot(max(1.0, float(np.std(medians))), float(np.mean(levels))))
        return Offset(float(np.clip(np.mean(medians), *params.offset_range_hu)), sd)
    bounds = [_upper_bound(patch, background) for patch, background in patches]
    return _bounded_offset(min((b for b in bounds if b is not None), default=np.inf), params)


def _upper_bound(patch: Patch, background: Background) -> float | None:
    # A low percentile of blurred voxels, with what is left of the noise taken out: oil only adds.
    values = _inside(patch, background)
    if values.size < 100:
        return None
    left = background.noise_hu * np.sqrt(background.correlation) * space.noise_left(patch.affine, 2.0)
    return float(np.percentile(values, 4) + 1.75 * left)


def _bounded_offset(bound: float, params: MassParams) -> Offset:
    """Return mean and spread of the settings' normal distribution below a bound."""
    sd = params.offset_sd_hu
    if sd == 0 or not np.isfinite(bound):
        return Offset(params.offset_hu, sd)
    b = float(np.clip((bound - params.offset_hu) / sd, -6.0, 6.0))
    ratio = float(np.exp(-0.5 * b**2 - special.log_ndtr(b)) / np.sqrt(2 * np.pi))
    mean, variance = params.offset_hu - sd * ratio, sd**2 * max(1 - b * ratio - ratio**2, 0.0)
    return Offset(float(max(mean, params.offset_range_hu[0])), float(np.hypot(np.sqrt(variance), 1.0)))


def _inside(patch: Patch, background: Background) -> FloatArray:
    """Return blurred values against the trend in the lesion, as far from its edge as the blur asks for."""
    excess = space.smooth(patch.hu, patch.affine, 2.0) - background.on(patch.affine, patch.hu.shape)
    for depth_mm in (4.0, 2.0):
        inner = space.dilate(patch.lesion, patch.affine, -depth_mm)
        if np.count_nonzero(inner) >= 100:
            return np.asarray(excess[inner], dtype=np.float64)
    return np.asarray(excess[patch.lesion], dtype=np.float64)


def measure_mass(
    patch: Patch,
    volume: CtVolume,
    background: Background,
    deposit: Deposit,
    offset: Offset,
    shared: SharedDraws,
    *,
    thin_oil_hu: float = 0.0,
    params: MassParams,
    rng: np.random.Generator,
) -> MassEstimate:
    """Return the iodine mass of a lesion in one scan with its draws.

    Parameters
    ----------
    thin_oil_hu : float
        What oil in the liver beside the lesion adds in the outer part of the margin (`thin_oil`).
    """
    slope, quality = iodine_slope(volume.kvp, params=params)
    slope_sd = slope_error(quality, params=params)
    region = _region_of(patch, background, deposit, params)
    inside = region.within()
    scale = patch.voxel_ml / slope
    lesion_ml = float(np.count_nonzero(patch.lesion & region.allowed)) * patch.voxel_ml
    mg = float(region.excess[inside].sum()) * scale - offset.hu * lesion_ml / slope
    # Towards the lesion there is more of it; how much more is not known well.
    beside = 1.5 * thin_oil_hu * float(np.count_nonzero(inside & (region.distance_mm > 0)))
    mg -= beside * scale
    clipped = inside & (patch.hu >= (np.inf if volume.clip_hu is None else volume.clip_hu))
    draws = params.draws
    error = _draw_sum_errors(region, background, scale, draws, rng)
    error -= offset.sd_hu * shared.offset * lesion_ml / slope
    error -= rng.normal(0, offset.own_sd_hu, draws) * lesion_ml / slope
    error += rng.normal(0, 0.5 * beside * scale, draws)
    error += rng.normal(0, _dark_border(patch, region, background, params) * scale, draws)
    hidden = _clipped_excess(region.excess, clipped, volume, params) * scale
    # Between nothing and twice what the tail says: in the middle, so that the amount lies within its interval.
    mg += hidden
    error += hidden * rng.uniform(-1, 1, draws)
    error += (params.model_sd * shared.model + rng.normal(0, params.own_model_sd, draws)) * mg
    samples = (mg + error) * np.exp(slope_sd * shared.slope)
    quality |= Quality.CLIPPED_HU if clipped.any() else Quality.NONE
    quality |= Quality.LESION_AT_EDGE if patch.cut else Quality.NONE
    volume_mm3 = float(np.count_nonzero(deposit.mask)) * patch.voxel_ml * 1000
    count = int(np.count_nonzero(clipped))
    return MassEstimate(mg, samples, deposit, background, volume_mm3, count, slope, slope_sd, quality)


@dataclass(frozen=True, slots=True, eq=False)
class _Region:
    """A lesion with its deposit and what lies around them; grids are (Z, Y, X).

    Attributes
    ----------
    excess : ndarray, float64
        HU above the background's trend.
    distance_mm : ndarray, float32
        From lesion and deposit; 0 within them.
    pad_mm : float
        How far blur carries oil.
    allowed : ndarray, bool
        Neither foreign nor nearer to another lesion.
    """

    excess: FloatArray
    distance_mm: npt.NDArray[np.float32]
    pad_mm: float
    allowed: BoolArray

    def within(self, paddings: float = 1.0) -> BoolArray:
        """Return what lies no farther than so many paddings."""
        return np.asarray((self.distance_mm <= paddings * self.pad_mm) & self.allowed)


def _region_of(patch: Patch, background: Background, deposit: Deposit, params: MassParams) -> _Region:
    excess = patch.hu - background.on(patch.affine, patch.hu.shape)
    distance = space.distance_mm(patch.lesion | deposit.mask, patch.affine)
    nearer_to_others = space.distance_mm(patch.others, patch.affine) < distance
    return _Region(excess, distance, _padding(patch, params), np.asarray(~deposit.foreign & ~nearer_to_others))


def _draw_sum_errors(
    region: _Region, background: Background, scale: float, draws: int, rng: np.random.Generator
) -> FloatArray:
    """Return (draws,) how far the sum over a region may be off by noise, by the background's level, by its reach."""
    inside = region.within()
    voxels, ring = int(np.count_nonzero(inside)), region.within(1.5) & ~inside
    growth = abs(float(region.excess[ring].sum()) * scale)
    ring_noise = _sum_noise(background, int(np.count_nonzero(ring))) * scale
    error = rng.normal(0, _sum_noise(background, voxels) * scale, draws)
    error += rng.normal(0, background.level_sd_hu, draws) * voxels * scale
    error += rng.normal(0, 0.5 * np.sqrt(max(growth**2 - ring_noise**2, 0.0)), draws)
    return np.asarray(error)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What lies just beyond the blur around a lesion, against the sum over the lesion itself."""

    level_hu: float
    total_hu: float
    level_sd_hu: float


def look_around(patch: Patch, background: Background, deposit: Deposit, *, params: MassParams) -> Surroundings:
    """Return the excess in the outer part of the margin, and the sum of the excess over the region (HU x voxels).

    The middle of the values is asked, since oil that blur or an outline has brought there is in places only.
    """
    region = _region_of(patch, background, deposit, params)
    inside = region.within()
    outer = inside & (region.distance_mm > 0.6 * region.pad_mm)
    level = float(np.median(region.excess[outer])) if np.count_nonzero(outer) >= 30 else 0.0
    return Surroundings(level, float(region.excess[inside].sum()), background.level_sd_hu)


def thin_oil(early: Surroundings, later: Sequence[Surroundings]) -> float:
    """Return how far oil in the liver at a lesion's surface raised it soon after treatment, in HU; 0 where untold.

    In the first days thin oil lies there all around, and is gone weeks later. Blur raises what is beside a lesion
    too, but in proportion to the lesion and at every date: later scans tell how much.
    """
    shares = [max(one.level_hu, 0.0) / one.total_hu for one in later if one.total_hu > 0]
    if not shares:
        return 0.0
    level = early.level_hu - float(np.median(shares)) * max(early.total_hu, 0.0)
    # Thin oil is not dense: more than this is something else.
    return min(level, _THIN_OIL_HU) if level > max(2 * early.level_sd_hu, 1.0) else 0.0


def _dark_border(patch: Patch, region: _Region, background: Background, params: MassParams) -> float:
    """Return how far the sum (HU x voxels) may be off where the lesion borders on fat or lung.

    There the region's edge decides whether a layer of `outline_mm` is liver or something far darker.
    """
    deficit = background.level_hu - space.smooth(patch.hu, patch.affine, 1.0)
    near = (region.distance_mm > 0) & (region.distance_mm <= region.pad_mm)
    return params.outline_mm / region.pad_mm * float(deficit[near & (deficit > params.tissue_band_hu)].sum())


def _padding(patch: Patch, params: MassParams) -> float:
    return max(params.padding_mm, 1.01 * float(space.spacing_mm(patch.affine).max()))


def _sum_noise(background: Background, voxels: int) -> float:
    """Return the standard deviation of a sum over that many voxels."""
    return float(background.noise_hu * np.sqrt(voxels * background.correlation))


def _clipped_excess(excess: FloatArray, clipped: BoolArray, volume: CtVolume, params: MassParams) -> float:
    """Return the HU that clipping may have hidden: the tail above the clip falls as the one below it does."""
    if not clipped.any() or volume.clip_hu is None:
        return 0.0
    top = float(excess[clipped].min())
    upper = excess[(excess > 0.5 * top) & ~clipped]
    tail = float((upper - 0.5 * top).mean()) if upper.size else 0.5 * top
    return float(np.count_nonzero(clipped)) * min(tail, params.neat_oil_hu - volume.clip_hu)


def prepare(
    patch: Patch, liver: BoolArray, liver_hu: float, *, mass: MassParams, deposit: DepositParams
) -> tuple[Background, Deposit] | None:
    """Return background and deposit of a patch, each refined once with the other; None without tissue around."""
    first = estimate_background(patch, liver, liver_hu, None, params=mass)
    if first is None:
        return None
    found = segment_deposit(patch, liver, first.level_hu, first.noise_hu, params=deposit)
    second = estimate_background(patch, liver, liver_hu, found, params=mass) or first
    return second, segment_deposit(patch, liver, second.level_hu, second.noise_hu, params=deposit)
