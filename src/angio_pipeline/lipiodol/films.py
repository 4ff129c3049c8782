"""Radiographs: relative amounts of oil in a given region, compared within one patient only.

After linearisation, attenuation above the local anatomy is proportional to the oil's thickness.
The amount on the reference film stands on a smooth background fitted in a ring; every other
film is aligned with it and matched to its greys by the anatomy around the lesion (the internal
reference), so that ribs and spine cancel in the difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import ndimage

from angio_pipeline.core.followups import AlignedView, FilmRoi, LesionCourse, LipiodolTimepoint, Radiograph
from angio_pipeline.core.params import Params
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.results import Refusal
from angio_pipeline.core.runs import Quantity
from angio_pipeline.core.tumours import LesionOrigin
from angio_pipeline.lipiodol.film_alignment import FilmAlignmentParams, align_film
from angio_pipeline.lipiodol.kinetics import KineticsParams, fit_kinetics
from angio_pipeline.lipiodol.scans import order_sources

__all__ = ["FilmParams", "add_films", "film_attenuation"]

Image = npt.NDArray[np.float64]
BoolImage = npt.NDArray[np.bool_]

_LIMITS = Quality.RELATIVE_ONLY | Quality.PROJECTION_LIMIT
_NO_LESION = "Expected a region on a film or a lesion found on CT, found none; give a region with --roi."


class FilmParams(Params):
    """Settings of the radiographs.

    `ring` is the ring's width over the region's radius; `alike` the correlation of aligned
    films under which the anatomy is no reference; `pose_deg` how far angulations may differ.
    `scatter` is the assumed scatter over primary behind the grid, spread over `veil` of the
    picture's width: anything from none to twice as much enters the interval, because scatter
    hides oil where little else gets through. `model_sd` is what each film adds, of the reference's
    amount, that nothing here models.
    """

    ring: float = Field(1.0, ge=0.2, le=5.0)
    gap: float = Field(0.3, ge=0.0, le=1.0)
    alike: float = Field(0.5, ge=0.0, le=1.0)
    pose_deg: float = Field(5.0, ge=0.0)
    alignment: FilmAlignmentParams = Field(default_factory=FilmAlignmentParams)
    scatter: float = Field(0.4, ge=0.0, le=2.0)
    veil: float = Field(0.1, gt=0.0, le=1.0)
    model_sd: float = Field(0.03, ge=0.0, le=0.5)
    draws: int = Field(2000, ge=100)
    seed: int = Field(20_001, ge=0)
    view_px: int = Field(160, ge=16)


@dataclass(frozen=True, slots=True, eq=False)
class _Film:
    """One film in its place in the course."""

    film: Radiograph
    days: float
    baseline: bool
    roi: FilmRoi | None

    def layers(self, params: FilmParams) -> list[Image]:
        """Return its attenuation with the assumed scatter, with none, and with twice as much."""
        return [film_attenuation(self.film, k * params.scatter, veil=params.veil) for k in (1.0, 0.0, 2.0)]


@dataclass(frozen=True, slots=True, eq=False)
class _Amount:
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


def add_films(
    lesions: Sequence[LesionCourse],
    films: Sequence[Radiograph],
    rois: Sequence[FilmRoi],
    *,
    treated: datetime | None,
    zero: datetime | None,
    params: FilmParams,
    kinetics: KineticsParams,
) -> tuple[list[LesionCourse], Quality, list[Refusal]]:
    """Return the courses with the films' timepoints added, flags about the films, and the films left out.

    A region belongs to the lesion of its id, or to the only lesion there is; otherwise it opens
    a course of its own. Films without a region (and none to map from) are listed without amounts
    in the courses there are; where there is no course at all they are left out.
    """
    courses = list(lesions)
    if not films:
        return courses, Quality.NONE, []
    known = {film.source.sop_instance_uid for film in films}
    usable = [roi for roi in rois if roi.sop_instance_uid in known and roi.mask.any()]
    names = list(dict.fromkeys(roi.id for roi in usable))
    if not names and not courses:
        return courses, _LIMITS, [Refusal(film.source.file, "no_lesion", _NO_LESION) for film in films]
    adopted: set[str] = set()
    for name in names:
        placed = _place(films, [roi for roi in usable if roi.id == name], treated, zero)
        points, sds = _measure(placed, params)
        home = _home(courses, names, name)
        if home is None:
            courses.append(_film_course(name, points, sds, kinetics))
        else:
            courses[home] = _merged(courses[home], points)
        adopted.add(name if home is None else courses[home].id)
    placed = _place(films, [], treated, zero)
    empty = [_without_amount(item, Quality.ROI_NOT_MATCHED) for item in placed]
    courses = [course if course.id in adopted else _merged(course, empty) for course in courses]
    return courses, _LIMITS, []


def _place(
    films: Sequence[Radiograph], rois: Sequence[FilmRoi], treated: datetime | None, zero: datetime | None
) -> list[_Film]:
    order = order_sources([film.source for film in films], treated, zero)
    by_uid = {roi.sop_instance_uid: roi for roi in rois if roi.mask.any()}
    out = []
    for i, days, baseline in order:
        film = films[i]
        roi = by_uid.get(film.source.sop_instance_uid)
        fits = roi is not None and roi.mask.shape == film.image.shape
        out.append(_Film(film, days, baseline, roi if fits else None))
    return out


def _home(courses: Sequence[LesionCourse], names: Sequence[str], name: str) -> int | None:
    for k, course in enumerate(courses):
        if course.id == name:
            return k
    return 0 if len(courses) == 1 and len(names) == 1 else None


def _merged(course: LesionCourse, points: Sequence[LipiodolTimepoint]) -> LesionCourse:
    together = sorted((*course.timepoints, *points), key=lambda point: point.days)
    return replace(course, timepoints=tuple(together))


def _film_course(
    name: str, points: Sequence[LipiodolTimepoint], sds: Sequence[float | None], params: KineticsParams
) -> LesionCourse:
    seen = [
        (point.days, point.relative_amount, sd)
        for point, sd in zip(points, sds, strict=True)
        if point.relative_amount is not None and point.retention is not None and sd is not None
    ]
    fit, quality = (
        fit_kinetics(*(np.array(column) for column in zip(*seen, strict=True)), params=params)
        if seen
        else (
            None,
            Quality.FEW_TIMEPOINTS,
        )
    )
    return LesionCourse(name, tuple(points), fit, None, LesionOrigin.ROI, quality)


def _without_amount(item: _Film, why: Quality) -> LipiodolTimepoint:
    return LipiodolTimepoint(item.film.source, item.days, None, None, quality=item.film.quality | _LIMITS | why)


def _measure(placed: Sequence[_Film], params: FilmParams) -> tuple[list[LipiodolTimepoint], list[float | None]]:
    """Return a timepoint for every film and the standard deviation of each amount."""
    outlined = [item for item in placed if item.roi is not None]
    if not outlined:
        return [_without_amount(item, Quality.ROI_NOT_MATCHED) for item in placed], [None] * len(placed)
    reference = next((item for item in outlined if not item.baseline), outlined[0])
    assert reference.roi is not None
    rng = np.random.default_rng(params.seed)
    scatter = rng.uniform(-1, 1, params.draws)
    layers = reference.layers(params)
    base = _amount_on_reference(reference, reference.roi.mask, layers, scatter, params, rng)
    points: list[LipiodolTimepoint] = []
    sds: list[float | None] = []
    for item in placed:
        amount = base if item is reference else _amount_on_other(item, reference, layers, base, scatter, params, rng)
        if isinstance(amount, Quality):
            points.append(_without_amount(item, amount))
            sds.append(None)
            continue
        points.append(_film_point(item, reference, amount, base, params))
        sds.append(float(np.std(amount.draws / base.draws)) * base.value)
    return points, sds


def _film_point(item: _Film, reference: _Film, amount: _Amount, base: _Amount, params: FilmParams) -> LipiodolTimepoint:
    retention, interval = None, None
    quality = item.film.quality | _LIMITS | amount.quality
    if not item.baseline and float(np.percentile(base.draws, 2.5)) > 0:
        retention, interval = 1.0, (1.0, 1.0)
        if item is not reference:
            low, high = np.percentile(amount.draws / base.draws, [2.5, 97.5])
            retention, interval = amount.value / base.value, (float(low), float(high))
    if float(np.percentile(amount.draws, 2.5)) <= 0:
        quality |= Quality.NO_LIPIODOL
    view = _view(amount.image, base.image, reference, params)
    return LipiodolTimepoint(
        item.film.source, item.days, retention, interval, relative_amount=amount.value, views=view, quality=quality
    )


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


def _gain(film: Radiograph, reference: Radiograph, aligned: Image, fixed: Image, ring: BoolImage) -> float:
    """Return the film's greys over the reference's, from the anatomy in the ring.

    -ln of transmission needs none: exposure is an offset. Logarithms and display values of
    unknown scale do; the ratio of spreads is taken, which noise alike in both films leaves alone.
    """
    linear = {Quantity.INTENSITY, Quantity.ATTENUATION}
    if film.quantity in linear and reference.quantity in linear:
        return 1.0
    return float(np.clip(aligned[ring].std() / max(float(fixed[ring].std()), 1e-9), 0.2, 5.0))


def _amount_on_reference(
    item: _Film,
    mask: BoolImage,
    layers: Sequence[Image],
    scatter: Image,
    params: FilmParams,
    rng: np.random.Generator,
) -> _Amount:
    area = _pixel_area(item.film)
    inside = mask & item.film.valid
    ring = _ring(mask, item.film.valid, params)
    fits = [_smooth_background(layer, inside, ring) for layer in layers]
    values = [float((layer[inside] - fit[0]).sum()) * area for layer, fit in zip(layers, fits, strict=True)]
    sd = fits[0][1] * float(np.count_nonzero(inside)) * area
    draws = _with_scatter(values, scatter) + rng.normal(0, sd, params.draws)
    return _Amount(values[0], draws, layers[0], Quality.NONE)


def _with_scatter(values: Sequence[float], scatter: Image) -> Image:
    """Return values for scatter between none (-1) and twice the assumed (1), by a parabola through three."""
    middle, none, twice = values
    return middle + 0.5 * (twice - none) * scatter + (0.5 * (twice + none) - middle) * scatter**2


def _amount_on_other(
    item: _Film,
    reference: _Film,
    layers: Sequence[Image],
    base: _Amount,
    scatter: Image,
    params: FilmParams,
    rng: np.random.Generator,
) -> _Amount | Quality:
    """Return the amount on another film in the reference's greys, or the flag that says why there is none."""
    assert reference.roi is not None
    if _turned(item.film, reference.film, params):
        return Quality.REGISTRATION_POOR
    mask, area = reference.roi.mask, _pixel_area(reference.film)
    own = item.layers(params)
    aligned, seen = align_film(item.film, own, reference.film, layers[0], mask, params=params.alignment)
    inside = mask & reference.film.valid
    ring = _ring(mask, reference.film.valid & seen, params)
    if np.count_nonzero(ring) < 50 or not seen[inside].all():
        return Quality.REGISTRATION_POOR
    if float(np.corrcoef(aligned[0][ring], layers[0][ring])[0, 1]) < params.alike:
        # Without common anatomy there is no reference between the films: the film stands on its own.
        alone = _amount_on_reference(replace(item, film=reference.film), mask, aligned, scatter, params, rng)
        return replace(alone, quality=Quality.REFERENCE_MISSING | Quality.REGISTRATION_POOR)
    gain = _gain(item.film, reference.film, aligned[0], layers[0], ring)
    changes = [layer / gain - fixed for layer, fixed in zip(aligned, layers, strict=True)]
    fits = [_smooth_background(change, inside, ring) for change in changes]
    values = [float((change[inside] - fit[0]).sum()) * area for change, fit in zip(changes, fits, strict=True)]
    sd = fits[0][1] * float(np.count_nonzero(inside)) * area
    sd = float(np.hypot(sd, params.model_sd * base.value))
    draws = base.draws + _with_scatter(values, scatter) + rng.normal(0, sd, params.draws)
    return _Amount(base.value + values[0], draws, aligned[0], Quality.NONE)


def _turned(a: Radiograph, b: Radiograph, params: FilmParams) -> bool:
    if a.pose is None or b.pose is None:
        return False
    turn = abs(a.pose.primary_deg - b.pose.primary_deg)
    return max(turn, abs(a.pose.secondary_deg - b.pose.secondary_deg)) > params.pose_deg


def _view(image: Image, fixed: Image, reference: _Film, params: FilmParams) -> AlignedView:
    """Return the film around the region, on the reference's pixels, brighter where it attenuates more."""
    assert reference.roi is not None
    mask = reference.roi.mask
    rows, cols = np.nonzero(mask)
    half = max(params.view_px // 2, int(0.8 * max(np.ptp(rows), np.ptp(cols))) + 1)
    middle = (int(rows.mean()), int(cols.mean()))
    box = tuple(slice(max(0, m - half), min(n, m + half)) for m, n in zip(middle, mask.shape, strict=True))
    low, high = np.percentile(fixed[box], [1, 99.5])
    empty = np.zeros(mask[box].shape, dtype=np.bool_)
    window = (float(low), float(max(high, low + 1e-6)))
    return AlignedView(image[box].astype(np.float32), empty, mask[box], window, unit="attenuation")
