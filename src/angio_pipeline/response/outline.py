"""Where a lesion's surface lies in a scan that nobody drew on: one outline, shifted, grown or shrunk to the image.

An outline that was drawn on another scan is carried over by the alignment of the scans. It lies right to a
few millimetres, and keeps the size it was drawn with; taken as it is it would say that nothing ever shrinks.
So all outlines at one distance within or around it are tried, each a few millimetres aside, and the one along
which the image changes most is taken: a lesion may be brighter than liver here and darker there. Oil is far
brighter than anything else, so attenuation is cut to a window about the liver's own. Where no outline
stands out from the others nothing is told.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import fft

from angio_pipeline.core.params import Params
from angio_pipeline.numerics import volumes as space

__all__ = ["FittedOutline", "OutlineParams", "fit_outline"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Volume = npt.NDArray[np.float32]


class OutlineParams(Params):
    """Settings of the fit."""

    window_hu: float = Field(60.0, ge=20, le=200, description="attenuation is cut to so much about the liver's")
    smoothing_mm: float = Field(1.5, ge=0, le=5, description="standard deviation of the blur before edges are told")
    shift_mm: float = Field(6.0, ge=0, le=20, description="greatest shift in any direction")
    shift_sd_mm: float = Field(4.0, gt=0, le=20, description="how far an alignment usually is off")
    growth: float = Field(0.6, gt=0, lt=1, description="greatest growth or shrinkage, in radii of the lesion")
    growth_sd: float = Field(0.5, gt=0, le=2, description="how much is usual, in radii")
    stands_out: float = Field(1.5, ge=1, le=10, description="edge along the outline over that along all others")


@dataclass(frozen=True, slots=True, eq=False)
class FittedOutline:
    """An outline on a scan's grid, how it was moved and grown, and how far its edge stands out."""

    mask: BoolArray
    shift_mm: tuple[float, float, float]
    growth_mm: float
    stands_out: float


def fit_outline(
    hu: Volume, affine: FloatArray, carried: BoolArray, liver_hu: float, *, params: OutlineParams
) -> FittedOutline | None:
    """Return the outline where a scan shows its edge, None where none stands out.

    Parameters
    ----------
    hu : ndarray, (Z, Y, X) float32
        The scan around the lesion.
    carried : ndarray, (Z, Y, X) bool
        The outline as the alignment brought it.
    liver_hu : float
        The liver's attenuation in this scan.
    """
    if not carried.any() or not np.isfinite(liver_hu):
        return None
    volume = float(np.count_nonzero(carried)) * abs(float(np.linalg.det(affine[:3, :3])))
    radius = (3 * volume / (4 * np.pi)) ** (1 / 3)
    step = float(np.clip(radius / 9, 1.0, 2.0))
    edges, signed, grid = _prepare(hu, affine, carried, liver_hu, step, radius, params)
    growths = np.arange(-np.floor(params.growth * radius / step * 2), params.growth * radius / step * 2 + 1) * step / 2
    best = _search(edges, signed, growths, step, radius, params)
    if best is None or best[0] < params.stands_out:
        return None
    stands_out, growth, shift = best
    # The mask is pulled from where the outline was before it was moved.
    moved = np.eye(4)
    moved[:3, 3] = -(grid[:3, :3] @ shift)
    own = space.resample(signed, grid, hu.shape, affine, motion=moved, fill=float(signed.max()))
    x, y, z = (grid[:3, :3] @ shift).tolist()
    return FittedOutline(np.asarray(own <= growth), (x, y, z), float(growth), float(stands_out))


def _prepare(
    hu: Volume,
    affine: FloatArray,
    carried: BoolArray,
    liver_hu: float,
    step: float,
    radius: float,
    params: OutlineParams,
) -> tuple[Volume, Volume, FloatArray]:
    """Return (Z, Y, X) the steepness of the image and the signed distance to the outline, on one cubic grid."""
    margin = params.growth * radius + params.shift_mm + 3 * step
    box = space.bounding_box(carried, affine, margin_mm=margin)
    own = space.crop_affine(affine, box)
    shape, grid = space.isotropic_grid(hu[box].shape, own, step)
    cut = np.clip(hu[box], liver_hu - params.window_hu, liver_hu + params.window_hu)
    image = space.resample(space.smooth(cut, own, params.smoothing_mm), own, shape, grid, fill=liver_hu)
    slope = np.gradient(image, step)
    edges = np.sqrt(sum(part**2 for part in slope)).astype(np.float32)
    mask = space.resample_mask(carried[box], own, shape, grid)
    signed = np.where(mask, -space.distance_mm(~mask, grid), space.distance_mm(mask, grid)).astype(np.float32)
    # Between the centres of the last voxel inside and the first outside lies the surface.
    return edges, signed + np.where(mask, 0.5 * step, -0.5 * step).astype(np.float32), grid


def _search(
    edges: Volume, signed: Volume, growths: FloatArray, step: float, radius: float, params: OutlineParams
) -> tuple[float, float, FloatArray] | None:
    """Return (how far it stands out, growth, shift in voxels) of the best outline."""
    reach = int(np.floor(params.shift_mm / step))
    offsets = np.arange(-reach, reach + 1)
    near = np.ix_(offsets, offsets, offsets)
    aside = np.sqrt(sum(part.astype(np.float64) ** 2 for part in np.meshgrid(*3 * [offsets], indexing="ij"))) * step
    usual = np.exp(-0.5 * (aside / params.shift_sd_mm) ** 2)
    size = [fft.next_fast_len(n + reach, real=True) for n in edges.shape]
    spectrum = fft.rfftn(edges, size)
    found: list[tuple[float, float, float, FloatArray]] = []
    level: list[float] = []
    for growth in growths:
        shell = np.abs(signed - growth) < 0.5 * step
        if np.count_nonzero(shell) < 20:
            continue
        along = fft.irfftn(spectrum * np.conj(fft.rfftn(shell.astype(np.float32), size)), size)[near]
        along /= np.count_nonzero(shell)
        level.append(float(np.median(along)))
        # Noise makes every place steep: only what rises above that counts.
        risen = np.maximum(along - level[-1], 0.0) ** 2
        weighed = risen * usual * np.exp(-0.5 * (growth / (params.growth_sd * radius)) ** 2)
        at = np.unravel_index(int(weighed.argmax()), weighed.shape)
        shift = np.array([offsets[i] for i in at], dtype=np.float64)
        found.append((float(weighed[at]), float(along[at]), float(growth), shift))
    if not found or np.median(level) <= 0:
        return None
    _, edge, growth, shift = max(found, key=lambda one: one[0])
    return edge / float(np.median(level)), growth, shift
