"""First look at a scan: on a coarse grid, what is body, liver-like tissue and bright.

Everything that needs anatomy rather than numbers (registration, finding deposits, telling oil
from bone) works on this grid of a few millimetres; amounts are measured on the scan itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import ndimage

from angio_pipeline.core.followups import CtVolume
from angio_pipeline.core.params import Params
from angio_pipeline.numerics import volumes as space

__all__ = ["Tissue", "TissueParams", "aorta_hu", "has_enhanced_aorta", "liver_around", "survey", "with_given_liver"]

BoolArray = npt.NDArray[np.bool_]

_IN_PLANE = ndimage.generate_binary_structure(2, 1)[None]


class TissueParams(Params):
    """Settings of the coarse look at a scan."""

    grid_mm: float = Field(2.5, ge=1.0, le=8.0, description="side of a cubic voxel of the coarse grid, mm")
    body_hu: float = Field(-300.0, ge=-700.0, le=-50.0, description="denser than this is patient, HU")
    liver_range_hu: tuple[float, float] = Field(
        (25.0, 170.0), description="where the liver's own attenuation is looked for, contrast medium included, HU"
    )
    tissue_band_hu: float = Field(
        25.0,
        ge=5.0,
        le=80.0,
        description="how far liver's tissue may lie from the liver's most frequent attenuation, HU",
    )
    smoothing_mm: float = Field(
        2.5, ge=0.0, le=8.0, description="blur before tissue is told by its attenuation, SD in mm"
    )
    opening_mm: float = Field(
        7.5,
        ge=1.0,
        le=25.0,
        description="radius of the ball that has to fit into liver, mm: parts it from muscle and bowel",
    )
    bright_hu: float = Field(60.0, ge=20.0, le=400.0, description="how far above the liver a voxel is bright, HU")


@dataclass(frozen=True, slots=True, eq=False)
class Tissue:
    """A scan on a coarse grid along the patient's axes, and what was seen there.

    Attributes
    ----------
    hu : ndarray, (Z, Y, X) float32
        Air outside the scan.
    affine : ndarray, (4, 4) float64
    body, like, liver, bright : ndarray, (Z, Y, X) bool
        The patient; tissue as dense as liver; its largest smooth piece with holes filled (it may
        reach into neighbouring organs); voxels well above it.
    liver_hu : float
        The liver's most frequent attenuation, NaN when no tissue was found.
    """

    hu: npt.NDArray[np.float32]
    affine: npt.NDArray[np.float64]
    body: BoolArray
    like: BoolArray
    liver: BoolArray
    bright: BoolArray
    liver_hu: float
    opening_mm: float = 7.5

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel."""
        return abs(float(np.linalg.det(self.affine[:3, :3]))) / 1000.0


def survey(volume: CtVolume, *, params: TissueParams) -> Tissue:
    """Return the scan on the coarse grid with body, liver and bright voxels."""
    shape, grid = space.isotropic_grid(volume.hu.shape, volume.affine, params.grid_mm)
    blurred = _anti_alias(volume, params.grid_mm)
    hu = space.resample(blurred, volume.affine, shape, grid, fill=-1000.0)
    body = _find_body(hu, params.body_hu)
    if body.any():
        box = space.bounding_box(body, grid, margin_mm=4 * params.grid_mm)
        hu, body, grid = hu[box], body[box], space.crop_affine(grid, box)
    smoothed = space.smooth(hu, grid, params.smoothing_mm)
    like, liver, liver_hu = _find_liver(smoothed, body, grid, params)
    bright = body & (hu > (liver_hu if np.isfinite(liver_hu) else 60.0) + params.bright_hu)
    return Tissue(hu, grid, body, like, liver, bright, liver_hu, params.opening_mm)


def with_given_liver(tissue: Tissue, liver: BoolArray, *, params: TissueParams) -> Tissue:
    """Return the first look with a liver that was drawn, whose commonest attenuation is the liver's.

    Parameters
    ----------
    liver : ndarray, the tissue's grid, bool
        One that holds next to nothing of the patient changes nothing.
    """
    own = np.asarray(liver & tissue.body)
    low, high = params.liver_range_hu
    mode = space.mode_of(tissue.hu[own], low, high, width=4.0) if np.count_nonzero(own) >= 1000 else float("nan")
    if not np.isfinite(mode):
        return tissue
    # What is as dense as liver, and what well above it, are told anew.
    smoothed = space.smooth(tissue.hu, tissue.affine, params.smoothing_mm)
    like = tissue.body & (np.abs(smoothed - mode) < params.tissue_band_hu)
    bright = tissue.body & (tissue.hu > mode + params.bright_hu)
    return replace(tissue, liver=own, like=like, bright=bright, liver_hu=mode)


def liver_around(tissue: Tissue, lesion: BoolArray) -> tuple[BoolArray, space.Box]:
    """Return the liver about a lesion with the thin rim that the lesion had parted from it, and its box.

    Oil is no gap in the liver: with the lesion (and its blurred edge) counted as liver, the ball
    that has to fit reaches the tissue beyond it.

    Parameters
    ----------
    lesion : ndarray, the tissue's grid, bool
        Not empty.
    """
    reach = 3 * tissue.opening_mm
    box = space.bounding_box(lesion, tissue.affine, margin_mm=2 * reach)
    step = float(space.spacing_mm(tissue.affine)[0])
    own = space.dilate(lesion[box], tissue.affine, 2 * step)
    opened = space.open_by_ball((tissue.like[box] & tissue.body[box]) | own, tissue.affine, tissue.opening_mm)
    near = space.dilate(lesion[box], tissue.affine, reach)
    labels, count = ndimage.label((opened & near) | tissue.liver[box])
    kept = np.zeros(count + 1, dtype=np.bool_)
    kept[np.unique(labels[tissue.liver[box]])] = True
    kept[0] = False
    # What was lent to the ball is given back where it is neither the lesion nor liver-like.
    return np.asarray(kept[labels] & (tissue.like[box] | tissue.liver[box] | lesion[box])), box


def aorta_hu(tissue: Tissue, *, least_hu: float = 130.0, length_mm: float = 50.0) -> float:
    """Return the attenuation of an even vessel brighter than blood along the body's middle, NaN when there is none.

    Unenhanced blood is below 70 HU. Bone is as bright, but vertebrae are wider and ribs thinner; oil
    lies in the liver and is not as long. Discs at one place must add up to `length_mm` of the body's length
    (where branches leave, the aorta is no disc).
    """
    step = float(space.spacing_mm(tissue.affine)[0])
    middle = int(np.median(np.nonzero(tissue.body)[2])) if tissue.body.any() else 0
    near = slice(max(middle - round(40 / step), 0), middle + round(40 / step))
    discs = np.stack([_even_discs(plane, least_hu, step) for plane in tissue.hu[:, :, near]])
    seen = ndimage.binary_dilation(discs, _IN_PLANE, iterations=2).sum(axis=0)
    if float(seen.max(initial=0)) * step < length_mm:
        return float("nan")
    # The vessel bends: discs about the place that most of them share.
    about = ndimage.binary_dilation(seen == seen.max(), iterations=2)
    return float(np.median(tissue.hu[:, :, near][discs & about]))


def has_enhanced_aorta(tissue: Tissue) -> bool:
    """Return whether contrast medium fills the aorta."""
    return bool(np.isfinite(aorta_hu(tissue)))


def _even_discs(plane: npt.NDArray[np.float32], least_hu: float, step: float) -> BoolArray:
    """Return pieces of a slice that are bright and even, and as wide as the inside of an aorta."""
    # Where vessel and bone touch, the step between them is not even and parts them.
    mean = ndimage.uniform_filter(plane, 3)
    spread = np.sqrt(np.maximum(ndimage.uniform_filter(plane**2, 3) - mean**2, 0.0))
    labels, _ = ndimage.label((mean > least_hu) & (mean < 700.0) & (spread < 30.0))
    out = np.zeros(plane.shape, dtype=np.bool_)
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        piece = labels[box] == label
        sides = np.array(piece.shape) * step
        # The rim, one pixel all around, is uneven: an aorta of 12 to 32 mm has an inside of 7 to 27 mm.
        disc = sides.min() >= 7.0 and sides.max() <= 27.0 and sides.max() <= 1.7 * sides.min()
        if disc and piece.mean() >= 0.6:
            out[box] |= piece
    return out


def _anti_alias(volume: CtVolume, step_mm: float) -> npt.NDArray[np.float32]:
    spacing = space.spacing_mm(volume.affine)
    sigma = 0.42 * np.sqrt(np.maximum(step_mm**2 - spacing**2, 0.0)) / spacing
    return np.asarray(ndimage.gaussian_filter(volume.hu, sigma, mode="nearest"), dtype=np.float32)


def _find_body(hu: npt.NDArray[np.float32], threshold_hu: float) -> BoolArray:
    # The couch is thin: an opening parts it from the patient. Lungs are holes of the slices.
    solid = ndimage.binary_opening(hu > threshold_hu, iterations=1)
    body = space.largest_component(solid)
    return np.stack([ndimage.binary_fill_holes(plane) for plane in body]) if body.any() else body


def _find_liver(
    smoothed: npt.NDArray[np.float32], body: BoolArray, grid: npt.NDArray[np.float64], params: TissueParams
) -> tuple[BoolArray, BoolArray, float]:
    # The liver is the largest smooth organ on the patient's right (LPS x below the body's middle).
    # Its attenuation is the mode there; a ball then has to fit, which leaves muscle and bowel out.
    low, high = params.liver_range_hu
    right = np.zeros(body.shape, dtype=np.bool_)
    middle = int(np.median(np.nonzero(body)[2])) if body.any() else 0
    right[:, :, : middle + 1] = True
    inner = ndimage.binary_erosion(body, iterations=4) & right
    candidates = space.open_by_ball(inner & (smoothed > low) & (smoothed < high), grid, params.opening_mm)
    mode = space.mode_of(smoothed[candidates], low, high, width=4.0)
    if not np.isfinite(mode):
        nothing = np.zeros(body.shape, dtype=np.bool_)
        return nothing, nothing, float("nan")
    near = body & (np.abs(smoothed - mode) < params.tissue_band_hu)
    labels, count = ndimage.label(space.open_by_ball(near, grid, params.opening_mm))
    sizes = np.bincount(labels[right].ravel(), minlength=count + 1)
    sizes[0] = 0
    if sizes.max() == 0:
        return near, np.zeros(body.shape, dtype=np.bool_), mode
    return near, _fill(labels == int(sizes.argmax())), mode


def _fill(mask: BoolArray) -> BoolArray:
    # A deposit at the rim of a slice is enclosed in some planes only: fill in all three, keep two of three.
    votes = np.zeros(mask.shape, dtype=np.int8)
    for axis in range(3):
        planes = np.moveaxis(mask, axis, 0)
        filled = np.stack([ndimage.binary_fill_holes(plane) for plane in planes])
        votes += np.moveaxis(filled, 0, axis).astype(np.int8)
    return np.asarray((votes >= 2) | mask)
