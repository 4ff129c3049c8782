"""Where the oil is: lesions found without a region given, and the deposit of a lesion in one scan.

Oil is bright and sits inside the liver. Bone, contrast in vessels or bowel, stones and metal are
bright too, but are not enclosed by liver, or are not bright or large enough; what cannot be told
apart is left to a region given by the reader.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import ndimage, spatial

from angio_pipeline.core.params import Params
from angio_pipeline.core.tumours import LesionOrigin
from angio_pipeline.lipiodol.lesions import Lesion, Patch
from angio_pipeline.lipiodol.tissue import Tissue, liver_around
from angio_pipeline.numerics import volumes as space

__all__ = ["Deposit", "DepositParams", "find_lesions", "segment_deposit", "with_faint_oil"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


class DepositParams(Params):
    """Settings of finding and outlining oil.

    `peak_hu` is how far above liver the densest tenth of a found deposit must lie; `enclosed` is
    the share of its surroundings that must be liver (about half, for a lesion at its surface). What
    is smaller than `metal_ml` and denser than `metal_hu` on the coarse grid is taken for a clip or a
    coil. `edge_fraction` places the deposit's edge between background and the oil within `plateau_mm`, where
    a blurred edge lies; the edge is `edge_mm` wide, and what blurs it. Less than `held` of the mean is no oil.
    `rib_mm` is more than half of a rib's thickness. A piece smaller than `nodule` of the main one may be a nodule
    beside it.
    `breath_mm` is how far the lesion may have moved against the liver around it.
    """

    peak_hu: float = Field(120.0, ge=30.0)
    enclosed: float = Field(0.5, ge=0.0, le=1.0)
    metal_ml: float = Field(1.5, ge=0.0)
    metal_hu: float = Field(800.0, ge=300.0)
    touching: float = Field(0.4, ge=0.0, le=1.0)
    least_ml: float = Field(0.1, ge=0.0)
    greatest_ml: float = Field(1500.0, gt=0.0)
    group_mm: float = Field(6.0, ge=0.0, le=30.0)
    rib_mm: float = Field(6.0, ge=1.0, le=20.0)
    nodule: float = Field(0.2, ge=0.0, le=1.0)
    most_lesions: int = Field(10, ge=1)
    smoothings_mm: tuple[float, ...] = (0.8, 1.5, 2.5)
    least_excess_hu: float = Field(15.0, ge=5.0)
    speck_ml: float = Field(0.03, ge=0.0)
    slack_mm: float = Field(1.5, ge=0.0)
    breath_mm: float = Field(5.0, ge=0.0, le=15.0)
    noise_factor: float = Field(3.0, ge=1.0)
    edge_fraction: float = Field(0.45, gt=0.0, lt=1.0)
    edge_mm: float = Field(1.0, ge=0.0, le=10.0)
    held: float = Field(0.1, ge=0.0, lt=1.0)
    plateau_mm: float = Field(4.0, ge=1.0, le=20.0)
    reach_mm: float = Field(8.0, ge=0.0, le=40.0)
    fat_hu: float = Field(-60.0, le=-20.0)


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


def find_lesions(tissue: Tissue, from_reference: FloatArray, *, params: DepositParams) -> tuple[Lesion, ...]:
    """Return the deposits enclosed by liver, greatest amount first, as lesions L1, L2, …"""
    if not tissue.liver.any():
        return ()
    found: list[tuple[float, BoolArray]] = []
    taken = np.zeros(tissue.bright.shape, dtype=np.bool_)
    for group in _groups(tissue, params):
        if (group & taken).any():
            continue
        if _is_metal(tissue, group, params):
            taken |= group  # nor are its pieces oil
            continue
        if not _is_oil(tissue, group, params):
            continue
        taken |= group
        found += [(float((tissue.hu[one] - tissue.liver_hu).sum()), one) for one in _parted(tissue, group, params)]
    found.sort(key=lambda item: -item[0])
    return tuple(
        _as_lesion(f"L{i + 1}", group, tissue, from_reference, params)
        for i, (_, group) in enumerate(found[: params.most_lesions])
    )


def _groups(tissue: Tissue, params: DepositParams) -> Iterable[BoolArray]:
    # Pieces that lie together are one lesion. Where such a group has swallowed a rib it fails as
    # a whole, and its pieces are tried one by one; last, what is thicker than a rib that it touches.
    joined, count = ndimage.label(space.dilate(tissue.bright, tissue.affine, params.group_mm / 2))
    single, single_count = ndimage.label(tissue.bright)
    thick, thick_count = ndimage.label(space.open_by_ball(tissue.bright, tissue.affine, params.rib_mm))
    near_liver = space.dilate(tissue.liver, tissue.affine, params.group_mm)
    for labels, number in ((joined, count), (single, single_count), (thick, thick_count)):
        hit = np.unique(labels[tissue.bright & near_liver])
        for label in hit[(hit > 0) & (hit <= number)]:
            yield (labels == label) & tissue.bright


def _parted(tissue: Tissue, group: BoolArray, params: DepositParams) -> list[BoolArray]:
    """Return the lesions of one group: the main one, and each nodule beside it.

    Fragments of one lesion lie within its outline or are of its size; a small piece whose middle lies outside the
    convex outline of the main piece is a nodule of its own.
    """
    labels, count = ndimage.label(group)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    main = int(sizes.argmax())
    points = np.argwhere(labels == main)
    # A plate has no convex outline in space.
    if count == 1 or sizes[main] < 30 or np.ptp(points, axis=0).min() < 2:
        return [group]
    outline = spatial.Delaunay(points)
    own, nodules = group.copy(), []
    for label in range(1, count + 1):
        piece = labels == label
        outside = outline.find_simplex(np.argwhere(piece).mean(axis=0)) < 0
        if label != main and sizes[label] < params.nodule * sizes[main] and outside and _is_oil(tissue, piece, params):
            nodules.append(piece)
            own &= ~piece
    return [own, *nodules]


def _is_metal(tissue: Tissue, group: BoolArray, params: DepositParams) -> bool:
    voxel_ml = abs(float(np.linalg.det(tissue.affine[:3, :3]))) / 1000
    small = float(np.count_nonzero(group)) * voxel_ml < params.metal_ml
    return small and float(tissue.hu[group].max()) > params.metal_hu


def _is_oil(tissue: Tissue, group: BoolArray, params: DepositParams) -> bool:
    voxel_ml = abs(float(np.linalg.det(tissue.affine[:3, :3]))) / 1000
    volume_ml = float(np.count_nonzero(group)) * voxel_ml
    if not params.least_ml <= volume_ml <= params.greatest_ml:
        return False
    if float(np.percentile(tissue.hu[group], 90)) < tissue.liver_hu + params.peak_hu:
        return False
    plain, restored = _enclosed(tissue, group)
    return plain >= params.touching and restored >= params.enclosed


def _enclosed(tissue: Tissue, group: BoolArray) -> tuple[float, float]:
    """Return the share of a bright piece's surroundings that is liver, before and after its rim is restored.

    Muscle may be as dense as liver and bone lies in it: such a piece is enclosed only by what was
    restored, hardly by the liver as first seen.
    """
    liver, box = liver_around(tissue, group)
    step = float(space.spacing_mm(tissue.affine)[0])
    distance = space.distance_mm(group[box], tissue.affine)
    shell = (distance > 2 * step) & (distance <= 4.5 * step) & ~tissue.bright[box]
    if not shell.any():
        return 0.0, 0.0
    return float(tissue.liver[box][shell].mean()), float(liver[shell].mean())


def _as_lesion(
    name: str, group: BoolArray, tissue: Tissue, from_reference: FloatArray, params: DepositParams
) -> Lesion:
    box = space.bounding_box(group, tissue.affine, margin_mm=params.group_mm + 5.0)
    affine = space.crop_affine(tissue.affine, box)
    closed = space.dilate(space.dilate(group[box], affine, params.group_mm), affine, -params.group_mm)
    hull = ndimage.binary_fill_holes(closed | group[box])
    return Lesion(name, np.asarray(hull), affine, from_reference, LesionOrigin.DETECTED)


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
    patch: Patch, deposit: Deposit, held: BoolArray, level_hu: float, noise_hu: float, *, params: DepositParams
) -> Deposit:
    """Return the deposit with what held oil before and still stands above the lesion's own tissue.

    Oil leaves a place, it does not come to it: where there was some, less evidence is asked for what is left.

    Parameters
    ----------
    held : ndarray, the patch's grid, bool
        The deposit of an earlier scan.
    level_hu : float
        The lesion without oil.
    """
    blur_mm = params.smoothings_mm[-1]
    excess = space.smooth(patch.hu, patch.affine, blur_mm) - level_hu
    spacing = space.spacing_mm(patch.affine)
    spread = noise_hu * float(np.sqrt(min(1.0, 1.0 / (8 * np.pi**1.5 * np.prod(np.maximum(blur_mm / spacing, 0.3))))))
    # What lies about the deposit may be its blur, where the lesion has shrunk: only what it encloses is added.
    reach = params.breath_mm
    within = space.dilate(space.dilate(deposit.mask, patch.affine, reach), patch.affine, -reach)
    faint = within & held & (excess > max(params.least_excess_hu, params.noise_factor * spread)) & ~deposit.foreign
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
