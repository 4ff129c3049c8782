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
import SimpleITK as sitk
from pydantic import Field
from scipy import ndimage

from angio_pipeline.core.followups import AlignedView, FilmRoi, LesionCourse, LipiodolTimepoint, Radiograph
from angio_pipeline.core.params import Params
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import Quantity
from angio_pipeline.core.tumours import LesionOrigin
from angio_pipeline.lipiodol.kinetics import KineticsParams, fit_kinetics
from angio_pipeline.lipiodol.scans import order_sources
from angio_pipeline.numerics import rigid

__all__ = ["FilmParams", "add_films", "film_attenuation"]

Image = npt.NDArray[np.float64]
BoolImage = npt.NDArray[np.bool_]

_LIMITS = Quality.RELATIVE_ONLY | Quality.PROJECTION_LIMIT


class FilmParams(Params):
    """Settings of the radiographs.

    `ring` is the ring's width over the region's radius; `alike` the correlation of aligned
    films under which the anatomy is no reference; `pose_deg` how far angulations may differ.
    """

    ring: float = Field(1.0, ge=0.2, le=5.0)
    gap: float = Field(0.15, ge=0.0, le=1.0)
    alike: float = Field(0.5, ge=0.0, le=1.0)
    pose_deg: float = Field(5.0, ge=0.0)
    working_px: int = Field(256, ge=64, le=1024)
    iterations: int = Field(150, ge=1)
    threads: int = Field(1, ge=1)
    draws: int = Field(2000, ge=100)
    seed: int = Field(20_001, ge=0)
    view_px: int = Field(160, ge=16)


@dataclass(frozen=True, slots=True, eq=False)
class _Film:
    """One film in its place in the course, as attenuation."""

    film: Radiograph
    days: float
    baseline: bool
    attenuation: Image
    roi: FilmRoi | None


@dataclass(frozen=True, slots=True, eq=False)
class _Amount:
    value: float
    draws: Image
    image: Image
    quality: Quality


def film_attenuation(film: Radiograph) -> Image:
    """Return what rises with attenuation, (H, W): -ln of transmission where the film allows it.

    LOG_INTENSITY and STORED keep an unknown scale: relative values only.
    """
    image = film.image.astype(np.float64)
    if film.quantity is Quantity.INTENSITY:
        white = film.white_level or float(image.max())
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
) -> tuple[list[LesionCourse], Quality]:
    """Return the courses with the films' timepoints added, and flags about the films as a whole.

    A region belongs to the lesion of its id, or to the only lesion there is; otherwise it opens
    a course of its own. Films without a region (and none to map from) are listed without amounts.
    """
    courses = list(lesions)
    if not films:
        return courses, Quality.NONE
    known = {film.source.sop_instance_uid for film in films}
    usable = [roi for roi in rois if roi.sop_instance_uid in known and roi.mask.any()]
    names = list(dict.fromkeys(roi.id for roi in usable))
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
    return courses, _LIMITS


def _place(
    films: Sequence[Radiograph], rois: Sequence[FilmRoi], treated: datetime | None, zero: datetime | None
) -> list[_Film]:
    order = order_sources([film.source for film in films], treated, zero, distinct=False)
    by_uid = {roi.sop_instance_uid: roi for roi in rois if roi.mask.any()}
    out = []
    for i, days, baseline in order:
        film = films[i]
        roi = by_uid.get(film.source.sop_instance_uid)
        fits = roi is not None and roi.mask.shape == film.image.shape
        out.append(_Film(film, days, baseline, film_attenuation(film), roi if fits else None))
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
    base = _amount_on_reference(reference, reference.roi.mask, params, rng)
    points: list[LipiodolTimepoint] = []
    sds: list[float | None] = []
    for item in placed:
        amount = base if item is reference else _amount_on_other(item, reference, base, params, rng)
        if isinstance(amount, Quality):
            points.append(_without_amount(item, amount))
            sds.append(None)
            continue
        points.append(_film_point(item, reference, amount, base, params))
        sds.append(float(np.std(amount.draws)))
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
    view = _view(amount.image, reference, params)
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


def _terms(rows: Image, cols: Image, order: int) -> Image:
    columns = [rows**i * cols**j for i in range(order + 1) for j in range(order + 1 - i)]
    return np.stack(columns, axis=-1)


def _smooth_background(
    image: Image, mask: BoolImage, ring: BoolImage, order: int, carrier: Image | None = None
) -> tuple[Image, Image, float]:
    """Return the fitted background in the mask, the coefficients, and the sd of its level.

    A polynomial in place, robustly fitted in the ring; with a `carrier`, its multiple as well
    (the first coefficient).
    """
    centre = np.argwhere(mask).mean(axis=0)
    scale = max(float(np.sqrt(np.count_nonzero(mask))), 1.0)

    def design(where: BoolImage) -> Image:
        rows, cols = ((np.argwhere(where) - centre) / scale).T
        terms = _terms(rows, cols, order)
        return terms if carrier is None else np.column_stack([carrier[where], terms])

    inside, y = design(ring), image[ring]
    weight = np.ones(len(y))
    coefficients: Image = np.zeros(inside.shape[1])
    for _ in range(8):
        solved = np.linalg.lstsq(inside * weight[:, None], y * weight, rcond=None)[0]
        coefficients = np.asarray(solved, dtype=np.float64)
        residual = y - inside @ coefficients
        spread = max(1.4826 * float(np.median(np.abs(residual))), 1e-9)
        weight = np.sqrt(np.minimum(1.0, 1.345 * spread / np.maximum(np.abs(residual), 1e-12)))
    angle = np.arctan2(*((np.argwhere(ring) - centre).T))
    sector = np.floor((angle + np.pi) / (2 * np.pi) * 8).astype(int) % 8
    levels = np.array([float(np.median(residual[sector == k])) for k in range(8) if np.any(sector == k)])
    return design(mask) @ coefficients, coefficients, float(levels.std()) if len(levels) > 1 else spread


def _amount_on_reference(item: _Film, mask: BoolImage, params: FilmParams, rng: np.random.Generator) -> _Amount:
    area = _pixel_area(item.film)
    inside = mask & item.film.valid
    background, _, level_sd = _smooth_background(item.attenuation, inside, _ring(mask, item.film.valid, params), 2)
    value = float((item.attenuation[inside] - background).sum()) * area
    sd = level_sd * float(np.count_nonzero(inside)) * area
    return _Amount(value, value + rng.normal(0, sd, params.draws), item.attenuation, Quality.NONE)


def _amount_on_other(
    item: _Film, reference: _Film, base: _Amount, params: FilmParams, rng: np.random.Generator
) -> _Amount | Quality:
    """Return the amount on another film in the reference's greys, or the flag that says why there is none."""
    assert reference.roi is not None
    if _turned(item.film, reference.film, params):
        return Quality.REGISTRATION_POOR
    mask = reference.roi.mask
    aligned, seen = _align(item, reference, mask, params)
    inside = mask & reference.film.valid
    ring = _ring(mask, reference.film.valid & seen, params)
    if np.count_nonzero(ring) < 50 or not seen[inside].all():
        return Quality.REGISTRATION_POOR
    alike = float(np.corrcoef(aligned[ring], reference.attenuation[ring])[0, 1])
    if alike < params.alike:
        # Without common anatomy there is no reference between the films: the film stands on its own.
        own = _smooth_background(aligned, inside, ring, 2)
        change = (aligned[inside] - own[0]).sum() * _pixel_area(reference.film) - base.value
        level_sd, quality = own[2], Quality.REFERENCE_MISSING | Quality.REGISTRATION_POOR
    else:
        background, coefficients, level_sd = _smooth_background(aligned, inside, ring, 1, reference.attenuation)
        gain = float(np.clip(coefficients[0], 0.2, 5.0))
        change = float((aligned[inside] - background).sum()) / gain * _pixel_area(reference.film)
        level_sd, quality = level_sd / gain, Quality.NONE
    sd = level_sd * float(np.count_nonzero(inside)) * _pixel_area(reference.film)
    value = base.value + float(change)
    return _Amount(value, base.draws + float(change) + rng.normal(0, sd, params.draws), aligned, quality)


def _turned(a: Radiograph, b: Radiograph, params: FilmParams) -> bool:
    if a.pose is None or b.pose is None:
        return False
    turn = abs(a.pose.primary_deg - b.pose.primary_deg)
    return max(turn, abs(a.pose.secondary_deg - b.pose.secondary_deg)) > params.pose_deg


def _align(item: _Film, reference: _Film, mask: BoolImage, params: FilmParams) -> tuple[Image, BoolImage]:
    """Return the film on the reference's pixels, and where it has data."""
    fixed = _normalised(reference.attenuation, reference.film.valid)
    moving = _normalised(item.attenuation, item.film.valid)
    spacing = [_spacing(film, item.film, reference.film) for film in (reference.film, item.film)]
    fixed_image, moving_image = _picture(fixed, spacing[0]), _picture(moving, spacing[1])
    near = ndimage.binary_dilation(mask, iterations=3)
    usable = _picture((reference.film.valid & ~near).astype(np.uint8), spacing[0])
    start = _first_shift(fixed, moving, spacing, params)
    transform = _refine(fixed_image, moving_image, usable, start, params)
    out = sitk.Resample(_picture(item.attenuation, spacing[1]), fixed_image, transform, sitk.sitkLinear, 0.0)
    seen = sitk.Resample(
        _picture(item.film.valid.astype(np.float64), spacing[1]), fixed_image, transform, sitk.sitkLinear, 0.0
    )
    return np.asarray(sitk.GetArrayFromImage(out), dtype=np.float64), sitk.GetArrayFromImage(seen) > 0.999


def _spacing(film: Radiograph, a: Radiograph, b: Radiograph) -> tuple[float, float]:
    # Millimetres only when both films have them in the same plane; otherwise pixels on both.
    if a.spacing is None or b.spacing is None or a.spacing.plane is not b.spacing.plane or film.spacing is None:
        return 1.0, 1.0
    return film.spacing.row_mm, film.spacing.col_mm


def _normalised(image: Image, valid: BoolImage) -> Image:
    values = image[valid] if valid.any() else image
    low, middle, high = np.percentile(values, [5, 50, 95])
    out = np.clip((image - middle) / max(high - low, 1e-9), -1.0, 1.0)
    return np.where(valid, out, 0.0)


def _picture(image: npt.NDArray[np.float64] | npt.NDArray[np.uint8], spacing: tuple[float, float]) -> sitk.Image:
    picture = sitk.GetImageFromArray(image if image.dtype == np.uint8 else image.astype(np.float32))
    picture.SetSpacing((spacing[1], spacing[0]))
    return picture


def _first_shift(
    fixed: Image, moving: Image, spacing: list[tuple[float, float]], params: FilmParams
) -> tuple[float, float]:
    """Return the (x, y) translation in the images' units that agrees best, on a coarse grid."""
    step = max(fixed.shape[0] * spacing[0][0], fixed.shape[1] * spacing[0][1]) / params.working_px * 4
    coarse = [
        np.asarray(ndimage.zoom(image, (s[0] / step, s[1] / step), order=1), dtype=np.float32)
        for image, s in zip((fixed, moving), spacing, strict=True)
    ]
    row, col = rigid.search_shift(coarse[0], coarse[1], least_overlap=0.5).tolist()
    return col * step, row * step


def _refine(
    fixed: sitk.Image, moving: sitk.Image, usable: sitk.Image, start: tuple[float, float], params: FilmParams
) -> sitk.Transform:
    similarity = sitk.Similarity2DTransform()
    size, spacing = fixed.GetSize(), fixed.GetSpacing()
    similarity.SetCenter([0.5 * n * s for n, s in zip(size, spacing, strict=True)])
    similarity.SetTranslation(start)
    shrink = max(1, round(max(size) / params.working_px))
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(params.threads)
    method.SetMetricAsCorrelation()
    method.SetMetricFixedMask(usable)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, params.iterations)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([2 * shrink, shrink])
    method.SetSmoothingSigmasPerLevel([2.0 * shrink, 0.5 * shrink])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOff()
    method.SetInitialTransform(similarity, inPlace=True)
    first = sitk.Similarity2DTransform(similarity)
    try:
        method.Execute(fixed, moving)
    except RuntimeError:
        return first  # all overlap was lost on the way: the coarse shift is the best that is known
    return similarity


def _view(image: Image, reference: _Film, params: FilmParams) -> AlignedView:
    """Return the film around the region, on the reference's pixels, brighter where it attenuates more."""
    assert reference.roi is not None
    mask = reference.roi.mask
    rows, cols = np.nonzero(mask)
    half = max(params.view_px // 2, int(0.8 * max(np.ptp(rows), np.ptp(cols))) + 1)
    middle = (int(rows.mean()), int(cols.mean()))
    box = tuple(slice(max(0, m - half), min(n, m + half)) for m, n in zip(middle, mask.shape, strict=True))
    low, high = np.percentile(reference.attenuation[box], [1, 99.5])
    empty = np.zeros(mask[box].shape, dtype=np.bool_)
    window = (float(low), float(max(high, low + 1e-6)))
    return AlignedView(image[box].astype(np.float32), empty, mask[box], window, unit="attenuation")
