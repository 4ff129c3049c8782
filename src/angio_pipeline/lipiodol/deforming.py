"""The liver's own shape at each date, on top of the rigid motion: found by its edges, never by its oil.

Breathing shifts, turns and bends the liver against spine and ribs. A smooth displacement is fitted to
the edges in and around the liver (`numerics.deformation`); oil and what lies near it are left out of
both scans, so the displacement there follows from its surroundings, and bone is left out because the
liver slides along it. A displacement that folds, or swells tissue more than a liver can, is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.lipiodol.matching import Compared
from angio_pipeline.lipiodol.tissue import Tissue
from angio_pipeline.numerics import rigid
from angio_pipeline.numerics import volumes as space
from angio_pipeline.numerics.deformation import Deformation, fit_deformation, lattice_over

__all__ = ["Bend", "DeformationParams", "bend_liver", "seen_parts", "why_not"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


class DeformationParams(Params):
    """Settings of the deformable alignment; what holds it is told by `fit_deformation`."""

    enabled: bool = Field(True, description="whether the liver may bend")
    node_mm: float = Field(16.0, ge=6.0, le=60.0, description="distance between the nodes of the displacement, mm")
    blurs_mm: tuple[float, ...] = Field(
        (5.0, 2.5, 1.5), min_length=1, description="blurs of the steps, coarse to fine, SD in mm"
    )
    rounds: int = Field(8, ge=1, le=50, description="steps at one blur")
    bending: float = Field(20.0, gt=0.0, description="what holds the displacement from bending")
    stretching: float = Field(0.05, gt=0.0, description="what holds it from stretching")
    shell_mm: float = Field(8.0, ge=0.0, le=30.0, description="how far around the liver edges are used, mm")
    bone_mm: float = Field(
        4.0, ge=0.0, le=20.0, description="what is left out around bone, mm: the liver slides along it"
    )
    edge_factor: float = Field(2.0, ge=1.0, le=10.0, description="how far above the noise an edge must stand")
    samples: int = Field(40_000, ge=1_000, description="greatest number of edge voxels that are compared")
    volume_change: tuple[float, float] = Field(
        (0.6, 1.6), description="least and greatest local change of volume that is believed"
    )
    greatest_mm: float = Field(30.0, gt=0.0, description="how far it may go from the rigid motion, mm")


@dataclass(frozen=True, slots=True, eq=False)
class Bend:
    """A displacement and what it does to the reference's liver.

    Attributes
    ----------
    reach_mm : float
        The 95th percentile of the displacement on top of the rigid motion.
    volume_change : (float, float)
        Least and greatest local change of volume: 1 keeps it, 0 and less folds.
    """

    deformation: Deformation
    reach_mm: float
    volume_change: tuple[float, float]


def bend_liver(
    reference: Compared, scan: Compared, motion: FloatArray, *, params: DeformationParams, seed: int
) -> Bend | None:
    """Return the displacement of the liver on top of a rigid motion; None without a liver, or without edges."""
    tissue = reference.tissue
    if not tissue.liver.any():
        return None
    near = space.dilate(tissue.liver, tissue.affine, params.shell_mm) & tissue.body
    mask, usable = seen_parts(reference, scan, params=params)
    shape, grid = lattice_over(near, tissue.affine, params.node_mm)
    found = Deformation(motion, np.zeros((*shape, 3)), grid)
    rng = np.random.default_rng(seed)
    for blur_mm in params.blurs_mm:
        grey = space.smooth(reference.grey, tissue.affine, blur_mm)
        where = _edges(grey, tissue, mask & rigid.inner_part(mask.shape, tissue.affine, blur_mm), params)
        if len(where) < 200:
            return None
        where = where[rng.permutation(len(where))[: params.samples]]
        moving = rigid.moving_image(scan.grey, usable, scan.tissue.affine, blur_mm=blur_mm)
        found = fit_deformation(
            grey[tuple(where.T)],
            space.to_world(tissue.affine, where),
            moving,
            found,
            bending=params.bending,
            stretching=params.stretching,
            rounds=params.rounds,
        )
    return _measured(found, tissue)


def seen_parts(reference: Compared, scan: Compared, *, params: DeformationParams) -> tuple[BoolArray, BoolArray]:
    """Return what of the reference (the liver and a shell) and of the scan is compared: no oil, no bone."""
    tissue = reference.tissue
    near = space.dilate(tissue.liver, tissue.affine, params.shell_mm) & tissue.body
    mask = near & reference.clean & ~_bone(tissue, params.bone_mm)
    return mask, scan.clean & ~_bone(scan.tissue, params.bone_mm)


def why_not(bend: Bend, *, params: DeformationParams) -> str | None:
    """Return in one sentence why a displacement cannot be that of a liver, None when it can."""
    low, high = bend.volume_change
    if low <= 0:
        return f"Expected a displacement without folds, found one that folds the liver (volume change {low:.2f})."
    least, most = params.volume_change
    if low < least or high > most:
        return (
            f"Expected tissue of the liver to keep {least:g} to {most:g} of its volume, found {low:.2f} to {high:.2f}."
        )
    if bend.reach_mm > params.greatest_mm:
        return f"Expected the liver to bend by {params.greatest_mm:g} mm at most, found {bend.reach_mm:.0f} mm."
    return None


def _bone(tissue: Tissue, around_mm: float) -> BoolArray:
    # The liver slides along ribs and spine: they and their rims say nothing about where it is.
    return space.dilate(tissue.bright & ~tissue.liver, tissue.affine, around_mm)


def _edges(
    grey: npt.NDArray[np.float32], tissue: Tissue, mask: BoolArray, params: DeformationParams
) -> npt.NDArray[np.int64]:
    """Return the voxels of a mask whose slope stands out of the liver's own, which is mostly noise."""
    slope = np.sqrt(sum(g**2 for g in np.gradient(grey)))
    inner = mask & space.dilate(tissue.liver, tissue.affine, -10.0)
    noise = float(np.median(slope[inner])) if np.count_nonzero(inner) > 100 else 0.0
    return np.argwhere(mask & (slope > params.edge_factor * noise))


def _measured(found: Deformation, tissue: Tissue) -> Bend:
    box = space.bounding_box(tissue.liver, tissue.affine, margin_mm=2 * float(space.spacing_mm(tissue.affine)[0]))
    affine, liver = space.crop_affine(tissue.affine, box), tissue.liver[box]
    change = found.volume_change_on(liver.shape, affine)[liver]
    shift = np.linalg.norm(found.shift_at(space.to_world(affine, np.argwhere(liver))), axis=1)
    return Bend(found, float(np.percentile(shift, 95)), (float(change.min()), float(change.max())))
