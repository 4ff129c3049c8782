"""Living tumour beside oil: what the arterial phase shows above the portal one.

Oil adds the same to both phases, so that it cancels in their difference, streaks and blooming with it; what is dead
does not enhance. A tumour fed by arteries is brighter in the arterial phase and washes out; liver, fed by the portal
vein, does the opposite. A tumour without that washout cannot be seen this way, which is no proof that it is dead.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import ndimage

from angio_pipeline.core.followups import ResidualTumour
from angio_pipeline.core.params import Params
from angio_pipeline.lipiodol.lesions import Lesion, Patch
from angio_pipeline.lipiodol.mass import Background
from angio_pipeline.lipiodol.scans import Scan, made_alike
from angio_pipeline.lipiodol.tissue import aorta_hu
from angio_pipeline.numerics import volumes as space

__all__ = ["ResidualParams", "find_phases", "measure_residual"]


class ResidualParams(Params):
    """Settings of the residual tumour."""

    within_h: float = Field(1.0, gt=0.0, description="hours within which both phases lie")
    aorta_fall_hu: float = Field(40.0, ge=0.0, description="least fall of the aorta between them, HU")
    blur_mm: float = Field(2.0, ge=0.0, le=8.0, description="blur of the difference, SD in mm")
    misplaced_mm: float = Field(0.5, ge=0.0, le=5.0, description="least gap of edges that is allowed for, mm")
    least_hu: float = Field(15.0, ge=0.0, description="least difference of living tumour, HU")
    noise_factor: float = Field(3.0, ge=1.0, description="standard deviations that it must exceed")
    least_ml: float = Field(0.1, ge=0.0, description="least piece, ml")
    level_sd_hu: float = Field(2.0, ge=0.0, description="how well the scales of two scans agree, HU")


def find_phases(scans: Sequence[Scan], *, params: ResidualParams) -> dict[int, int]:
    """Return the position of the portal scan that belongs to each arterial one.

    The phase is told by the aorta: in the arterial phase it is brighter than in the next scan with contrast medium.
    Oil cancels only between scans of one known tube voltage, kernel and voxel size: others are not compared.
    """
    with_contrast = [k for k, scan in enumerate(scans) if scan.contrast]
    aortas = {k: aorta_hu(scans[k].tissue) for k in with_contrast}
    return {
        early: late
        for early, late in pairwise(with_contrast)
        if 24 * (scans[late].days - scans[early].days) <= params.within_h
        and aortas[early] - np.nan_to_num(aortas[late]) >= params.aorta_fall_hu
        and scans[early].volume.kvp is not None
        and scans[early].volume.kvp == scans[late].volume.kvp
        and made_alike(scans[early].volume, scans[late].volume)
    }


def measure_residual(
    lesion: Lesion, patch: Patch, background: Background, arterial: Scan, portal: Scan, *, params: ResidualParams
) -> ResidualTumour | None:
    """Return how far a lesion is brighter in the arterial phase, None when the portal scan does not hold it.

    Parameters
    ----------
    patch : Patch
        The lesion in the arterial scan.
    background : Background
        Of the arterial scan; the portal one is taken to be as noisy.
    """
    motion = portal.motion_to(lesion) @ np.linalg.inv(arterial.motion_to(lesion))
    grid = (patch.hu.shape, patch.affine)
    late = space.resample(portal.volume.hu, portal.volume.affine, *grid, motion=motion, fill=np.nan)
    known = np.isfinite(late) & patch.lesion
    if np.count_nonzero(known) < 0.9 * np.count_nonzero(patch.lesion):
        return None
    late = np.where(np.isfinite(late), late, patch.hu)
    difference = space.smooth(patch.hu - late, patch.affine, params.blur_mm)
    left = space.noise_left(patch.affine, params.blur_mm)
    spread = np.sqrt(2.0 * background.correlation) * background.noise_hu * left
    edges = _misplaced_mm(arterial, portal, params) * _steepness(0.5 * (patch.hu + late), patch.affine, params.blur_mm)
    least = np.maximum(params.least_hu, params.noise_factor * np.hypot(spread, edges))
    living_ml = _pieces(known & (difference > least), patch.voxel_ml, params.least_ml) * patch.voxel_ml
    # At its edge a lesion is blurred with liver, which does the opposite.
    inside = _inner(patch, known, params)
    # At the edges of oil the difference says how well the scans lie upon each other, not what enhances.
    weight = 1.0 / (spread**2 + edges[inside] ** 2)
    mean = float(np.average(difference[inside], weights=weight))
    # Neighbours share their noise: as many are independent as blurs fit into the lesion.
    count = max(len(weight) * left**2, 1.0)
    half = 1.96 * float(np.hypot(1.0 / np.sqrt(weight.mean() * count), params.level_sd_hu))
    return ResidualTumour(mean, (mean - half, mean + half), living_ml, portal.volume.source.series_instance_uid)


def _misplaced_mm(arterial: Scan, portal: Scan, params: ResidualParams) -> float:
    """Return how far the two scans' edges may lie apart, by how far they lie from the reference's where known."""
    gaps = (scan.alignment.edge_gap_mm[1] for scan in (arterial, portal))
    return max([params.misplaced_mm, *(gap for gap in gaps if np.isfinite(gap))])


def _inner(patch: Patch, known: npt.NDArray[np.bool_], params: ResidualParams) -> npt.NDArray[np.bool_]:
    for depth_mm in (2 * params.blur_mm, params.blur_mm):
        inside = known & space.dilate(patch.lesion, patch.affine, -depth_mm)
        if np.count_nonzero(inside) >= 30:
            return np.asarray(inside)
    return known


def _steepness(hu: npt.NDArray[np.float32], affine: npt.NDArray[np.float64], blur_mm: float) -> npt.NDArray[np.float32]:
    """Return how steep blurred attenuation is, in HU a millimetre."""
    parts = np.gradient(space.smooth(hu, affine, blur_mm), *space.spacing_mm(affine))
    return np.asarray(np.sqrt(sum(part**2 for part in parts)), dtype=np.float32)


def _pieces(mask: npt.NDArray[np.bool_], voxel_ml: float, least_ml: float) -> int:
    """Return how many voxels lie in pieces that are large enough."""
    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    return int(sizes[sizes * voxel_ml >= least_ml].sum())
