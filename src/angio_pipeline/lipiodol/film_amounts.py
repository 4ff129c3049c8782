"""How much oil a region of a radiograph holds, in the reference film's own units.

Two films are compared only when they can be: values of one kind (logarithms of the beam, or one
display), one angulation, and the same anatomy seen around the region, which is the internal
reference. Where logarithms have no known scale (films for presentation, CR), the anatomy that both
films show gives it: the spread of its greys over that of the reference's attenuation. Without it
the amounts of two films have different units, and no ratio of them means anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import ndimage

from angio_pipeline.core.followups import FilmRoi, Radiograph
from angio_pipeline.core.params import Params
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import Quantity
from angio_pipeline.lipiodol.film_alignment import AlignedFilm, FilmAlignmentParams, align_film

__all__ = ["Amount", "Film", "FilmParams", "amount_on_other", "amount_on_reference", "film_attenuation"]

Image = npt.NDArray[np.float64]
BoolImage = npt.NDArray[np.bool_]

_NO_COMPARISON = Quality.FILMS_NOT_COMPARABLE
_KNOWN_SCALE = (Quantity.INTENSITY, Quantity.ATTENUATION)


class FilmParams(Params):
    """Settings of the radiographs.

    Scatter hides oil where little else gets through, so that its whole range enters the interval.
    """

    ring: float = Field(1.0, ge=0.2, le=5.0, description="width of the ring around a region, over the region's radius")
    gap: float = Field(0.3, ge=0.0, le=1.0, description="what is left out between them, over the region's radius")
    alike: float = Field(
        0.5, ge=0.0, le=1.0, description="correlation of aligned films below which the anatomy is no reference"
    )
    pose_deg: float = Field(5.0, ge=0.0, description="how far angulations may differ, degrees")
    alignment: FilmAlignmentParams = Field(default_factory=FilmAlignmentParams)
    scatter: float = Field(
        0.4,
        ge=0.0,
        le=2.0,
        description="assumed scatter over primary behind the grid; none to twice as much enters the interval",
    )
    veil: float = Field(0.1, gt=0.0, le=1.0, description="how wide scatter spreads, over the picture's width")
    independent: float = Field(
        20.0, ge=2.0, description="pieces of anatomy by which greys are matched, as far as its error goes"
    )
    model_sd: float = Field(0.03, ge=0.0, le=0.5, description="what each film adds, of the reference's amount")
    draws: int = Field(2000, ge=100, description="draws of the interval")
    seed: int = Field(20_001, ge=0, description="draws the interval")
    view_px: int = Field(160, ge=16, description="side of the pictures, pixels")


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """One film in its place in the course."""

    film: Radiograph
    days: float
    baseline: bool
    roi: FilmRoi | None

    def layers(self, params: FilmParams) -> list[Image]:
        """Return its attenuation with the assumed scatter, with none, and with twice as much."""
        return [film_attenuation(self.film, k * params.scatter, veil=params.veil) for k in (1.0, 0.0, 2.0)]


@dataclass(frozen=True, slots=True, eq=False)
class Amount:
    """Oil on one film, what it could as well have been, and the film on the reference's pixels."""

    value: float
    draws: Image
    image: Image
    quality: Quality


def film_attenuation(film: Radiograph, scatter: float = 0.0, *, veil: float = 0.1) -> Image:
    """Return what rises with attenuation, (H, W): -ln of transmission where the film allows it.

    With `scatter` (over primary), a veil as wide as `veil` of the picture is taken off before
    the logarithm. LOG_INTENSITY and STORED keep an unknown scale: relative values only.
    """
    image = film.image.astype(np.float64)
    if film.quantity is Quantity.INTENSITY:
        white = film.white_level or float(image.max())
        if scatter > 0:
            blurred = ndimage.gaussian_filter(image, veil * max(image.shape), mode="nearest", truncate=2.5)
            image = np.maximum(image - scatter / (1 + scatter) * blurred, 0.05 * image)
        return np.asarray(-np.log(np.maximum(image, 1.0) / max(white, 1.0)))
    return image if film.quantity is Quantity.ATTENUATION else -image


def _pixel_area(film: Radiograph) -> float:
    """Return mm2 in the patient where calibrated, else 1 (pixels)."""
    if film.spacing is None or not film.spacing.in_patient:
        return 1.0
    return film.spacing.row_mm * film.spacing.col_mm


def _ring(mask: BoolImage, valid: BoolImage, params: FilmParams) -> BoolImage:
    radius = float(np.sqrt(np.count_nonzero(mask) / np.pi))
    distance = ndimage.distance_transform_edt(~mask)
    near, far = max(1.5, params.gap * radius), max(4.0, (params.gap + params.ring) * radius)
    return np.asarray((distance > near) & (distance <= near + far) & valid)


def _terms(rows: Image, cols: Image) -> Image:
    return np.stack([np.ones_like(rows), rows, cols, rows**2, rows * cols, cols**2], axis=-1)


def _shapes(mask: BoolImage) -> Image:
    """Return how thick a round and a flat deposit of the mask's outline would look, (H, W, 2)."""
    depth = ndimage.distance_transform_edt(mask)
    share = depth / max(float(depth.max()), 1.0)
    return np.stack([np.sqrt(1 - (1 - share) ** 2), mask.astype(np.float64)], axis=-1)


def _smooth_background(image: Image, mask: BoolImage, ring: BoolImage) -> tuple[Image, float]:
    """Return a smooth background in the mask, and the standard deviation of its level.

    A quadratic through the ring alone would extrapolate its slope across the mask. It is fitted
    to mask and ring together, with the deposit's own thickness (round and flat) beside it, so
    that the mask's edge parts oil from background. Ribs cross the mask as they cross the ring
    and belong to the level; only what stands far out (a catheter, a clip) loses weight.
    """
    centre = np.argwhere(mask).mean(axis=0)
    scale = max(float(np.sqrt(np.count_nonzero(mask))), 1.0)

    def design(where: BoolImage) -> Image:
        rows, cols = ((np.argwhere(where) - centre) / scale).T
        return _terms(rows, cols)

    both = mask | ring
    columns, y = np.hstack([design(both), _shapes(mask)[both]]), image[both]
    weight = np.ones(len(y))
    for _ in range(8):
        coefficients = np.linalg.lstsq(columns * weight[:, None], y * weight, rcond=None)[0]
        residual = y - columns @ coefficients
        spread = max(float(np.sqrt(np.mean(weight**2 * residual**2))), 1e-9)
        weight = np.sqrt(np.minimum(1.0, 4.0 * spread / np.maximum(np.abs(residual), 1e-12)))
    outside = residual[ring[both]]
    angle = np.arctan2(*((np.argwhere(ring) - centre).T))
    sector = np.floor((angle + np.pi) / (2 * np.pi) * 8).astype(int) % 8
    levels = np.array([float(outside[sector == k].mean()) for k in range(8) if np.any(sector == k)])
    return design(mask) @ coefficients[:6], float(levels.std()) if len(levels) > 1 else spread


def amount_on_reference(item: Film, layers: Sequence[Image], params: FilmParams, rng: np.random.Generator) -> Amount:
    """Return the amount in the film's own region, above a smooth background.

    Raises
    ------
    ValueError
        When the film has no region.
    """
    if item.roi is None:
        raise ValueError("Expected a film with a region, found none.")
    area = _pixel_area(item.film)
    inside = item.roi.mask & item.film.valid
    ring = _ring(item.roi.mask, item.film.valid, params)
    fits = [_smooth_background(layer, inside, ring) for layer in layers]
    values = [float((layer[inside] - fit[0]).sum()) * area for layer, fit in zip(layers, fits, strict=True)]
    sd = fits[0][1] * float(np.count_nonzero(inside)) * area
    draws = _with_scatter(values, _scatter_draws(params)) + rng.normal(0, sd, params.draws)
    return Amount(values[0], draws, layers[0], Quality.NONE)


def _scatter_draws(params: FilmParams) -> Image:
    # Scatter is the table's and the patient's: one draw for all films of a course.
    return np.random.default_rng(params.seed + 1).uniform(-1, 1, params.draws)


def _with_scatter(values: Sequence[float], scatter: Image) -> Image:
    """Return values for scatter between none (-1) and twice the assumed (1), by a parabola through three."""
    middle, none, twice = values
    return middle + 0.5 * (twice - none) * scatter + (0.5 * (twice + none) - middle) * scatter**2


def amount_on_other(
    item: Film, reference: Film, layers: Sequence[Image], base: Amount, params: FilmParams, rng: np.random.Generator
) -> Amount | Quality:
    """Return the amount on another film in the reference's units, or the flags that say why there is none.

    Parameters
    ----------
    layers : sequence of ndarray, (H, W)
        The reference's attenuation (`Film.layers`).
    base : Amount
        What the reference holds.

    Raises
    ------
    ValueError
        When the reference has no region.
    """
    if reference.roi is None:
        raise ValueError("Expected a reference film with a region, found none.")
    if not _same_kind(item.film, reference.film) or _turned(item.film, reference.film, params):
        return _NO_COMPARISON
    own = item.layers(params)
    seen_as = own[1] if item.film.quantity is not reference.film.quantity else own[0]
    fixed = layers[1] if item.film.quantity is not reference.film.quantity else layers[0]
    avoid = reference.roi.mask
    placed = align_film(
        item.film, seen_as, reference.film, fixed, avoid, _region_shift(item, reference), params=params.alignment
    )
    scale = _scale(item.film, reference.film, placed, fixed, avoid, params)
    if scale is None:
        return _NO_COMPARISON | Quality.REFERENCE_MISSING
    layers_there = [placed.carry(layer) for layer in _in_units(item, own, reference.film, scale[0], params)]
    return _difference(item, reference, placed, layers_there, layers, base, scale[1], params, rng)


def _same_kind(a: Radiograph, b: Radiograph) -> bool:
    # Linear values and logarithms are one kind: either becomes the other but for a scale. A display
    # transform is unknown: it may be compared with one like it only.
    return (a.quantity is Quantity.STORED) == (b.quantity is Quantity.STORED)


def _turned(a: Radiograph, b: Radiograph, params: FilmParams) -> bool:
    if a.pose is None or b.pose is None:
        return False
    turn = abs(a.pose.primary_deg - b.pose.primary_deg)
    return max(turn, abs(a.pose.secondary_deg - b.pose.secondary_deg)) > params.pose_deg


def _region_shift(item: Film, reference: Film) -> tuple[Image, Image] | None:
    """Return the middles (row, col) of the region on the reference and on the film, when both are outlined."""
    if item.roi is None or reference.roi is None:
        return None
    return np.argwhere(reference.roi.mask).mean(axis=0), np.argwhere(item.roi.mask).mean(axis=0)


def _scale(
    film: Radiograph, reference: Radiograph, placed: AlignedFilm, fixed: Image, avoid: BoolImage, params: FilmParams
) -> tuple[float, float] | None:
    """Return the film's greys over the reference's and the relative error of that; None without common anatomy.

    -ln of transmission needs no scale: exposure is an offset. What stands for it is the ratio of
    spreads over all that both films show, which blur and misplacement alike in both leave alone.
    """
    if film.quantity in _KNOWN_SCALE and reference.quantity in _KNOWN_SCALE:
        return 1.0, 0.0
    common = placed.seen & reference.valid & ~ndimage.binary_dilation(avoid, iterations=5)
    if np.count_nonzero(common) < 0.2 * common.size:
        return None
    blurred = [ndimage.gaussian_filter(image, 2.0) for image in (placed.picture, fixed)]
    there, here = (image[common] for image in blurred)
    likeness = float(np.corrcoef(there, here)[0, 1])
    if not likeness >= params.alike:
        return None
    error = float(np.sqrt((1 / likeness**2 - 1) / params.independent))
    return float(there.std() / max(float(here.std()), 1e-12)), error


def _in_units(
    item: Film, own: Sequence[Image], reference: Radiograph, scale: float, params: FilmParams
) -> Sequence[Image]:
    """Return the film's layers in the reference's units."""
    if item.film.quantity is Quantity.LOG_INTENSITY and reference.quantity in _KNOWN_SCALE:
        # With its scale known a logarithm is the beam again, and scatter can be taken off as on the reference.
        top = float(item.film.image[item.film.valid].max())
        beam = (60_000 * np.exp((item.film.image.astype(np.float64) - top) / scale)).astype(np.float32)
        linear = replace(item.film, image=beam, quantity=Quantity.INTENSITY, white_level=60_000.0)
        return replace(item, film=linear).layers(params)
    if item.film.quantity is not reference.quantity:
        return [own[1] / scale] * 3
    return [layer / scale for layer in own]


def _difference(
    item: Film,
    reference: Film,
    placed: AlignedFilm,
    moved: Sequence[Image],
    layers: Sequence[Image],
    base: Amount,
    scale_sd: float,
    params: FilmParams,
    rng: np.random.Generator,
) -> Amount | Quality:
    """Return the reference's amount plus what changed since, ribs and spine cancelled."""
    assert reference.roi is not None
    mask, area = reference.roi.mask, _pixel_area(reference.film)
    if item.roi is not None:
        own_region = placed.carry(item.roi.mask.astype(np.float64)) > 0.5
        if np.count_nonzero(own_region & mask) < 0.5 * min(np.count_nonzero(own_region), np.count_nonzero(mask)):
            return _NO_COMPARISON | Quality.REGISTRATION_POOR
        mask = mask | own_region
    inside = mask & reference.film.valid
    ring = _ring(mask, reference.film.valid & placed.seen, params)
    if np.count_nonzero(ring) < 50 or not placed.seen[inside].all():
        return _NO_COMPARISON | Quality.REGISTRATION_POOR
    if not float(np.corrcoef(moved[0][ring], layers[0][ring])[0, 1]) >= params.alike:
        return _NO_COMPARISON | Quality.REGISTRATION_POOR
    changes = [layer - fixed for layer, fixed in zip(moved, layers, strict=True)]
    fits = [_smooth_background(change, inside, ring) for change in changes]
    values = [float((change[inside] - fit[0]).sum()) * area for change, fit in zip(changes, fits, strict=True)]
    sd = fits[0][1] * float(np.count_nonzero(inside)) * area
    sd = float(np.hypot(sd, params.model_sd * base.value))
    draws = base.draws + _with_scatter(values, _scatter_draws(params)) + rng.normal(0, sd, params.draws)
    draws *= np.exp(rng.normal(0, scale_sd, params.draws))
    return Amount(base.value + values[0], draws, moved[0], Quality.NONE)
