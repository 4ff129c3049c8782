"""How the oil fills the lesion: coverage at several thresholds, completeness, pattern, margin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import Field
from scipy import ndimage

from angio_pipeline.core.followups import Completeness, MarginGrade, Pattern
from angio_pipeline.core.params import Params
from angio_pipeline.lipiodol.deposit import Deposit
from angio_pipeline.lipiodol.lesions import Patch
from angio_pipeline.numerics import volumes as space

__all__ = ["Coverage", "CoverageParams", "describe_coverage", "grade_margin"]


class CoverageParams(Params):
    """Settings of coverage, pattern and margin.

    No consensus exists for a threshold: the sweep is always reported together. Completeness and
    pattern use the deposit's own outline.
    """

    thresholds_hu: tuple[float, ...] = Field(
        (75.0, 160.0, 215.0), description="thresholds of the sweep, HU above which a voxel is covered"
    )
    complete: float = Field(0.90, gt=0.0, le=1.0, description="share of a lesion from which oil is complete")
    moderate: float = Field(0.50, gt=0.0, le=1.0, description="share from which it is moderate")
    defect: float = Field(0.08, gt=0.0, lt=1.0, description="share of a lesion that one gap must fill to be a defect")
    faint_hu: float = Field(70.0, ge=0.0, description="mean rise below which oil is faint, HU")
    variation: float = Field(
        0.55, gt=0.0, description="coefficient of variation above which oil with gaps is inhomogeneous"
    )
    one_gap: float = Field(
        0.05, gt=0.0, le=1.0, description="share of what is missing that the widest gap must hold to be a defect"
    )
    pattern_gap: float = Field(
        0.015, gt=0.0, lt=1.0, description="share of a lesion from which a gap counts for the pattern"
    )
    small_lesion_mm: float = Field(25.0, gt=0.0, description="diameter up to which a lesion is small, mm")
    small_margin_mm: float = Field(5.0, gt=0.0, description="margin asked of a small lesion, mm")
    large_margin_mm: float = Field(10.0, gt=0.0, description="margin asked of a larger one, mm")
    covered: float = Field(0.95, gt=0.5, le=1.0, description="share of a margin that counts as all of it")
    margin_days: tuple[float, float] = Field(
        (4.0, 14.0), description="days after treatment between which a margin is graded"
    )


@dataclass(frozen=True, slots=True)
class Coverage:
    """Share of the lesion, in percent, above each threshold; completeness class; pattern."""

    percent: dict[str, float]
    completeness: Completeness
    pattern: Pattern


def describe_coverage(
    patch: Patch, deposit: Deposit, level_hu: float, noise_hu: float, *, holds_oil: bool, params: CoverageParams
) -> Coverage:
    """Return coverage, completeness and pattern of a lesion.

    Parameters
    ----------
    holds_oil : bool
        Whether its iodine mass is above 0 with its interval.

    References
    ----------
    doi:10.1186/s40644-016-0090-4
    """
    inside = patch.hu[patch.lesion]
    percent = {f"{t:g}": 100.0 * float(np.mean(inside > t)) for t in params.thresholds_hu}
    filled = float(deposit.mask[patch.lesion].mean())
    gap = _greatest_gap(patch, deposit, of_radius=0.25, least_mm=2.0)
    if filled > params.complete and gap < params.defect:
        completeness = Completeness.COMPLETE
    elif filled >= params.moderate:
        completeness = Completeness.MODERATE
    else:
        completeness = Completeness.POOR
    pattern = _pattern(patch, deposit, level_hu, noise_hu, params) if holds_oil else Pattern.NONE
    return Coverage(percent, completeness, pattern)


def _greatest_gap(patch: Patch, deposit: Deposit, *, of_radius: float, least_mm: float) -> float:
    """Return the share of the lesion in its largest piece without oil that holds a ball.

    Between the grains of mottled oil, or along a rim where two outlines differ, no ball of a share of the lesion's
    radius fits.
    """
    missing = patch.lesion & ~deposit.mask
    radius = (3000 * float(np.count_nonzero(patch.lesion)) * patch.voxel_ml / (4 * np.pi)) ** (1 / 3)
    solid = space.open_by_ball(missing, patch.affine, max(least_mm, of_radius * radius))
    return float(np.count_nonzero(space.largest_component(solid))) / float(np.count_nonzero(patch.lesion))


def _pattern(patch: Patch, deposit: Deposit, level_hu: float, noise_hu: float, params: CoverageParams) -> Pattern:
    core = space.dilate(patch.lesion, patch.affine, -1.5)
    core = core if np.count_nonzero(core) >= 30 else patch.lesion
    excess = space.smooth(patch.hu, patch.affine, 1.0) - level_hu
    oiled = core & deposit.mask
    if float(excess[core].mean()) < params.faint_hu or not oiled.any():
        return Pattern.FAINT
    if _greatest_gap(patch, deposit, of_radius=0.15, least_mm=1.5) <= params.pattern_gap:
        return Pattern.HOMOGENEOUS
    values = excess[oiled]
    variation = np.sqrt(max(float(values.var()) - (0.3 * noise_hu) ** 2, 0.0)) / float(values.mean())
    # Patches are uneven through and through, and what parts them is narrow; oil with one hole is even beside it.
    hole = _greatest_gap(patch, deposit, of_radius=0.2, least_mm=1.5)
    narrow = hole < params.one_gap * float(np.mean(~deposit.mask[patch.lesion]))
    return Pattern.INHOMOGENEOUS if variation > params.variation or narrow else Pattern.DEFECTIVE


def grade_margin(patch: Patch, deposit: Deposit, diameter_mm: float, *, params: CoverageParams) -> MarginGrade:
    """Return the technical grade at one week: A with margin, B margin missing in parts, C lesion not covered.

    References
    ----------
    Miyayama, doi:10.18528/ijgii220029
    """
    margin = params.small_margin_mm if diameter_mm < params.small_lesion_mm else params.large_margin_mm
    # Blur and outlines differ by about a voxel: the deposit may fall short by that much.
    slack = float(np.median(space.spacing_mm(patch.affine)))
    oil = ndimage.binary_fill_holes(space.dilate(deposit.mask, patch.affine, slack))
    if float(oil[patch.lesion].mean()) < params.covered:
        return MarginGrade.C
    ring = space.dilate(patch.lesion, patch.affine, margin) & ~patch.lesion & ~deposit.foreign
    whole = bool(ring.any()) and float(oil[ring].mean()) >= params.covered
    return MarginGrade.A if whole else MarginGrade.B
