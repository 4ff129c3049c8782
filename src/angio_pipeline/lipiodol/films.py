"""Radiographs: relative amounts of oil in a given region, compared within one patient only.

After linearisation, attenuation above the local anatomy is proportional to the oil's thickness.
The reference is the first film after treatment on which the outlined region holds oil. Its amount
stands on a smooth background fitted in a ring; every other film is aligned with it and matched to
its greys by the anatomy that both show (the internal reference), so that ribs and spine cancel in
the difference. A film that cannot be matched has no retention: `film_amounts` says when.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np
import numpy.typing as npt

from angio_pipeline.core.followups import AlignedView, FilmRoi, LesionCourse, LipiodolTimepoint, Radiograph
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.results import Refusal
from angio_pipeline.core.tumours import LesionOrigin
from angio_pipeline.lipiodol.film_amounts import (
    Amount,
    Film,
    FilmParams,
    amount_on_other,
    amount_on_reference,
)
from angio_pipeline.lipiodol.kinetics import KineticsParams, fit_kinetics
from angio_pipeline.lipiodol.scans import order_sources

__all__ = ["FilmParams", "add_films"]

Image = npt.NDArray[np.float64]

_LIMITS = Quality.RELATIVE_ONLY | Quality.PROJECTION_LIMIT
_NO_LESION = "Expected a region on a film or a lesion found on CT, found none; give a region with --roi."


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
) -> list[Film]:
    order = order_sources([film.source for film in films], treated, zero)
    by_uid = {roi.sop_instance_uid: roi for roi in rois if roi.mask.any()}
    out = []
    for i, days, baseline in order:
        film = films[i]
        roi = by_uid.get(film.source.sop_instance_uid)
        fits = roi is not None and roi.mask.shape == film.image.shape
        out.append(Film(film, days, baseline, roi if fits else None))
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


def _without_amount(item: Film, why: Quality) -> LipiodolTimepoint:
    return LipiodolTimepoint(item.film.source, item.days, None, None, quality=item.film.quality | _LIMITS | why)


def _measure(placed: Sequence[Film], params: FilmParams) -> tuple[list[LipiodolTimepoint], list[float | None]]:
    """Return a timepoint for every film and the standard deviation of each amount."""
    outlined = [item for item in placed if item.roi is not None]
    if not outlined:
        return [_without_amount(item, Quality.ROI_NOT_MATCHED) for item in placed], [None] * len(placed)
    rng = np.random.default_rng(params.seed)
    reference, layers, base = _reference(outlined, params, rng)
    points: list[LipiodolTimepoint] = []
    sds: list[float | None] = []
    for item in placed:
        amount = base if item is reference else amount_on_other(item, reference, layers, base, params, rng)
        if isinstance(amount, Quality):
            points.append(_without_amount(item, amount))
            sds.append(None)
            continue
        points.append(_film_point(item, reference, amount, base, params))
        sds.append(float(np.std(amount.draws / base.draws)) * base.value)
    return points, sds


def _reference(
    outlined: Sequence[Film], params: FilmParams, rng: np.random.Generator
) -> tuple[Film, list[Image], Amount]:
    """Return the first film after treatment whose region surely holds oil, else the first after it, else the first."""
    after = [item for item in outlined if not item.baseline] or outlined[:1]
    tried = []
    for item in after:
        layers = item.layers(params)
        tried.append((item, layers, amount_on_reference(item, layers, params, rng)))
        if float(np.percentile(tried[-1][2].draws, 2.5)) > 0:
            return tried[-1]
    return tried[0]


def _film_point(item: Film, reference: Film, amount: Amount, base: Amount, params: FilmParams) -> LipiodolTimepoint:
    retention, interval = None, None
    quality = item.film.quality | _LIMITS | amount.quality
    if not item.baseline and item.days >= reference.days and float(np.percentile(base.draws, 2.5)) > 0:
        retention, interval = 1.0, (1.0, 1.0)
        if item is not reference:
            low, high = np.percentile(amount.draws / base.draws, [2.5, 97.5])
            # Noise may take an amount below 0; what is left of something cannot be.
            retention, interval = max(amount.value / base.value, 0.0), (max(float(low), 0.0), max(float(high), 0.0))
    if float(np.percentile(amount.draws, 2.5)) <= 0:
        quality |= Quality.NO_LIPIODOL
    view = _view(amount.image, base.image, reference, params)
    return LipiodolTimepoint(
        item.film.source, item.days, retention, interval, relative_amount=amount.value, views=view, quality=quality
    )


def _view(image: Image, fixed: Image, reference: Film, params: FilmParams) -> AlignedView:
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
