"""Where the oil of a lesion is in one scan: its outline, and what is foreign around it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import ndimage

from angio_pipeline.core.params import Params
from angio_pipeline.lipiodol.lesions import Patch
from angio_pipeline.numerics import volumes as space

__all__ = ["Deposit", "DepositParams", "segment_deposit", "with_faint_oil"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


class DepositParams(Params):
    """Settings of outlining oil."""

    smoothings_mm: tuple[float, ...] = Field(
        (0.8, 1.5, 2.5), description="blurs that are tried until oil stands out of the noise, SD in mm"
    )
    least_excess_hu: float = Field(15.0, ge=5.0, description="least rise above the tissue that is called oil, HU")
    speck_ml: float = Field(0.03, ge=0.0, description="smaller pieces are no oil, ml")
    slack_mm: float = Field(1.5, ge=0.0, description="how far oil may reach out of its outline, mm")
    breath_mm: float = Field(
        5.0, ge=0.0, le=15.0, description="how far a lesion may have moved against the liver around it, mm"
    )
    noise_factor: float = Field(3.0, ge=1.0, description="standard deviations of the noise that oil must exceed")
    edge_fraction: float = Field(
        0.45, gt=0.0, lt=1.0, description="share of the oil beside it at which a voxel of the edge is filled"
    )
    edge_mm: float = Field(1.0, ge=0.0, le=10.0, description="width of the edge beside the blur's own, mm")
    held: float = Field(0.1, ge=0.0, lt=1.0, description="share of the mean below which there is no oil")
    plateau_mm: float = Field(4.0, ge=1.0, le=20.0, description="how far around the oil beside an edge is averaged, mm")
    reach_mm: float = Field(8.0, ge=0.0, le=40.0, description="how far around a lesion its oil may lie, mm")
    fat_hu: float = Field(-60.0, le=-20.0, description="what lies that far from liver is fat or gas, HU")


@dataclass(frozen=True, slots=True, eq=False)
class Deposit:
    """The oil of a lesion in one scan, on the patch's voxels.

    Attributes
    ----------
    mask : ndarray, (Z, Y, X) bool
        The oil.
    foreign : ndarray, (Z, Y, X) bool
        What must not enter a sum around the lesion: bone, other bright structures, fat, gas and
        other lesions' oil.
    """

    mask: BoolArray
    foreign: BoolArray


def segment_deposit(
    patch: Patch, liver: BoolArray, level_hu: float, noise_hu: float, *, params: DepositParams
) -> Deposit:
    """Return the oil of a lesion and what is foreign around it.

    Parameters
    ----------
    liver : ndarray, (Z, Y, X) bool
        The liver on the patch's grid: oil outside the lesion's outline is the lesion's only there.
    level_hu, noise_hu : float
        The tissue around the lesion, and the standard deviation of its voxels.
    """
    excess, spread, blur_mm = _denoised(patch, level_hu, noise_hu, params)
    bright = _outlined(excess, spread, patch.affine, blur_mm, params)
    own, foreign = _part(bright, liver, patch, params)
    fat = space.smooth(patch.hu, patch.affine, 1.5) - level_hu < params.fat_hu
    fat = space.dilate(fat & ~patch.lesion, patch.affine, 1.5) & ~space.dilate(own | patch.lesion, patch.affine, 1.5)
    return Deposit(own, (foreign | fat) & ~own)


def with_faint_oil(
    patch: Patch,
    deposit: Deposit,
    held: BoolArray,
    level_hu: float,
    level_sd_hu: float,
    noise_hu: float,
    *,
    params: DepositParams,
) -> Deposit:
    """Return the deposit with what held oil before and still stands above the lesion's own tissue.

    Oil leaves a place, it does not come to it: where there was some, less evidence is asked for what is left.

    Parameters
    ----------
    held : ndarray, the patch's grid, bool
        The deposit of an earlier scan.
    level_hu, level_sd_hu : float
        The lesion without oil, and how well that is known.
    """
    blur_mm = params.smoothings_mm[-1]
    excess = space.smooth(patch.hu, patch.affine, blur_mm) - level_hu
    spread = noise_hu * space.noise_left(patch.affine, blur_mm)
    # What lies about the deposit may be its blur, where the lesion has shrunk: only what it encloses is added. Where
    # next to nothing is outlined, nothing is blurred either; but there the lesion itself may look like faint oil.
    reach = params.breath_mm
    outlined = np.count_nonzero(deposit.mask) > params.held * np.count_nonzero(held)
    within = space.dilate(space.dilate(deposit.mask, patch.affine, reach), patch.affine, -reach) if outlined else held
    least_hu = max(params.least_excess_hu, params.noise_factor * spread) + (0.0 if outlined else level_sd_hu)
    faint = within & held & (excess > least_hu) & ~deposit.foreign
    return Deposit(deposit.mask | faint, deposit.foreign)


def _denoised(
    patch: Patch, level_hu: float, noise_hu: float, params: DepositParams
) -> tuple[npt.NDArray[np.float32], float, float]:
    """Return the excess, blurred no more than its faintness asks for, the noise that is left, and the blur."""
    for sigma_mm in params.smoothings_mm:
        excess = space.smooth(patch.hu, patch.affine, sigma_mm) - level_hu
        quiet = excess[np.abs(excess) < 3 * noise_hu]
        spread = 1.4826 * float(np.median(np.abs(quiet - np.median(quiet)))) if quiet.size else noise_hu
        typical = float(np.percentile(excess[patch.lesion], 75))
        if params.noise_factor * spread <= params.edge_fraction * typical:
            break
    return excess, spread, sigma_mm


def _outlined(
    excess: npt.NDArray[np.float32], spread: float, affine: FloatArray, blur_mm: float, params: DepositParams
) -> BoolArray:
    """Return what holds oil: inside, whatever stands out of the noise; at the edge, what is at least half filled.

    Oil is uneven: beside a dense lump there is thin oil, which a share of the local maximum would leave out. Only
    next to tissue without oil does a faint voxel mean one that is filled in part; how full, the oil inside tells.
    """
    low = excess > max(params.least_excess_hu, params.noise_factor * spread)
    if not low.any():
        return low
    low &= excess > params.held * float(excess[low].mean())
    inside = _eroded(low, affine, params.edge_mm + 1.5 * blur_mm)
    share = space.smooth(inside.astype(np.float32), affine, params.plateau_mm)
    level = space.smooth(np.where(inside, excess, 0).astype(np.float32), affine, params.plateau_mm)
    thick = share > 0.02
    near = np.where(thick, level / np.maximum(share, 0.02), _plateau(excess, affine, params.plateau_mm))
    return np.asarray(inside | (low & (excess > params.edge_fraction * near)))


def _eroded(mask: BoolArray, affine: FloatArray, reach_mm: float) -> BoolArray:
    # By a voxel at least along every axis: a slice may be thicker than the blur.
    reach = np.maximum(np.rint(reach_mm / space.spacing_mm(affine)), 1).astype(int)
    size = tuple((2 * reach + 1).tolist())
    return np.asarray(ndimage.minimum_filter(mask, size=size, mode="nearest"))


def _plateau(excess: npt.NDArray[np.float32], affine: FloatArray, reach_mm: float) -> npt.NDArray[np.float32]:
    size = (2 * np.floor(reach_mm / space.spacing_mm(affine)) + 1).astype(int)
    return np.asarray(ndimage.maximum_filter(excess, size=tuple(size.tolist())), dtype=np.float32)


def _part(bright: BoolArray, liver: BoolArray, patch: Patch, params: DepositParams) -> tuple[BoolArray, BoolArray]:
    # A bright piece belongs to the lesion when most of it lies in the lesion's reach (oil that
    # breathing or an outline drawn tight has left outside) and, beyond the outline, in the liver;
    # the rest (a rib that touches, a neighbour's oil) is foreign.
    reach = space.dilate(patch.lesion, patch.affine, params.reach_mm)
    # Oil that a breath has moved a little lies between the outline and the liver beyond it: no liver by its
    # attenuation, but in a gap that is closed. Behind a rib there is none.
    home = liver | space.dilate(patch.lesion, patch.affine, params.slack_mm)
    home |= space.dilate(space.dilate(home, patch.affine, params.breath_mm), patch.affine, -params.breath_mm)
    nearer = space.distance_mm(patch.lesion, patch.affine) <= space.distance_mm(patch.others, patch.affine)
    labels, count = ndimage.label(bright & nearer & home)
    total = np.bincount(labels.ravel(), minlength=count + 1)
    within = np.bincount(labels[reach], minlength=count + 1)
    touching = np.bincount(labels[patch.lesion], minlength=count + 1) > 0
    large = total * patch.voxel_ml >= params.speck_ml
    whole = touching & large & (within >= 0.6 * np.maximum(total, 1))
    partly = touching & large
    whole[0] = partly[0] = False
    own = whole[labels] | (partly[labels] & patch.lesion)
    stray = bright & ~own & ~patch.lesion
    return own, space.dilate(stray, patch.affine, params.slack_mm) & ~own & ~patch.lesion if stray.any() else stray
