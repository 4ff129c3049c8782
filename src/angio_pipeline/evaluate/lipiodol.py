"""Iodine mass, retention, deposit and half-life against the truth.

A lesion or date without an answer counts as an answer of 0: a relative error of 1, a Dice of 0,
an interval that misses. An error is |answer - truth| / max(truth, a floor of 1 mg, 1 % or 1 day),
so that a lesion whose oil is gone is judged by the floor and not divided by nothing; no answer is an
error of 1 there too. A lesion that never held oil has no course to be right about: only the iodine
that is claimed for it counts. The pattern is judged on the first scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.optimize import linear_sum_assignment

from angio_pipeline.evaluate.answers import CourseAnswer, Interval, LesionAnswer, TimepointAnswer
from angio_pipeline.evaluate.documents import CasePair, CourseTruth, LesionTruth, TimepointTruth

__all__ = ["LipiodolScores", "match_lesions", "score_lipiodol"]

MATCH_MM = 25.0
FLOOR_MG = 1.0
FLOOR_RETENTION = 0.01
FLOOR_DAYS = 1.0
_CT = ("CT", "CBCT")
_NOTHING = TimepointAnswer()


@dataclass(slots=True)
class LipiodolScores:
    """The oil of one case: one number a date (or lesion) in every list."""

    mass_error: list[float] = field(default_factory=list)
    mass_in_interval: list[float] = field(default_factory=list)
    retention_error: list[float] = field(default_factory=list)
    retention_in_interval: list[float] = field(default_factory=list)
    film_retention_error: list[float] = field(default_factory=list)
    deposit_dice: list[float] = field(default_factory=list)
    half_life_error: list[float] = field(default_factory=list)
    half_life_in_interval: list[float] = field(default_factory=list)
    pattern_agreement: list[float] = field(default_factory=list)
    completeness_agreement: list[float] = field(default_factory=list)
    margin_grade_agreement: list[float] = field(default_factory=list)
    false_deposits: list[float] = field(default_factory=list)
    false_iodine_mg: list[float] = field(default_factory=list)
    liver_mass_error: list[float] = field(default_factory=list)
    liver_retention_error: list[float] = field(default_factory=list)
    liver_half_life_error: list[float] = field(default_factory=list)


def score_lipiodol(case: CasePair) -> LipiodolScores:
    """Return the oil scores of one case."""
    scores = LipiodolScores()
    if case.lipiodol is None:
        return scores
    told = [(patient.lipiodol, patient.folder) for patient in case.patients if patient.lipiodol is not None]
    pool = [(lesion, folder) for answer, folder in told for lesion in answer.lesions]
    matches = match_lesions(case.lipiodol.lesions, pool)
    if told:
        scores.false_deposits.append(float(sum(_detected(pool[j][0]) for j in set(range(len(pool))) - set(matches))))
    for truth, match in zip(case.lipiodol.lesions, matches, strict=True):
        lesion, folder = pool[match] if match is not None else (LesionAnswer(), None)
        if any(point.iodine_mg > 0 for point in truth.timepoints):
            _score_lesion(scores, truth, lesion, case.truth_dir, folder)
        else:
            scores.false_iodine_mg += [point.iodine_mg or 0.0 for point in _answers(truth, lesion)]
    if case.lipiodol.liver is not None:
        livers = [answer.liver for answer, _ in told if answer.liver is not None]
        _score_liver(scores, case.lipiodol.liver, livers[0] if livers else CourseAnswer())
    return scores


def match_lesions(truths: Sequence[LesionTruth], pool: Sequence[tuple[LesionAnswer, Path]]) -> list[int | None]:
    """Return for each true lesion the position of its answer in the pool, None where there is none."""
    # Lesions meet by where they are, all together: each answer serves one truth.
    away = np.full((len(truths), len(pool)), 1e6)
    for i, truth in enumerate(truths):
        for j, (lesion, _) in enumerate(pool):
            if lesion.centroid_mm is not None and truth.centroid_mm is not None:
                away[i, j] = np.linalg.norm(np.subtract(lesion.centroid_mm, truth.centroid_mm))
    # Beyond reach all are equally far, so that a near pair is never given up for a less far one.
    rows, columns = linear_sum_assignment(np.where(away <= MATCH_MM, away, 1e3))
    found = {int(i): int(j) for i, j in zip(rows, columns, strict=True) if away[i, j] <= MATCH_MM}
    return [found.get(i) for i in range(len(truths))]


def _detected(lesion: LesionAnswer) -> bool:
    # A deposit that was called on CT; films and regions that were given have no place of their own to be wrong about.
    return lesion.origin != "roi" and lesion.centroid_mm is not None


def _answers(truth: CourseTruth, told: CourseAnswer) -> list[TimepointAnswer]:
    by_series = {point.series_instance_uid: point for point in told.timepoints}
    return [by_series.get(point.series_instance_uid, _NOTHING) for point in truth.timepoints]


def _score_lesion(
    scores: LipiodolScores, truth: LesionTruth, lesion: LesionAnswer, truth_dir: Path, folder: Path | None
) -> None:
    first = _first_days(truth)
    for point, answer in zip(truth.timepoints, _answers(truth, lesion), strict=True):
        _score_retention(scores, point, answer, first[point.modality])
        if truth.pattern is not None and point.modality in _CT and point.days == first[point.modality]:
            scores.pattern_agreement.append(float(answer.pattern == truth.pattern))
        if point.modality not in _CT:
            continue
        scores.mass_error.append(_relative_error(answer.iodine_mg, point.iodine_mg, FLOOR_MG))
        scores.mass_in_interval.append(_holds(answer.iodine_mg_interval, point.iodine_mg))
        if point.deposit_mask is not None:
            scores.deposit_dice.append(_deposit_dice(truth_dir, point.deposit_mask, answer, folder))
        for name in ("completeness", "margin_grade"):
            if getattr(point, name) is not None:
                getattr(scores, f"{name}_agreement").append(float(getattr(answer, name) == getattr(point, name)))
    if truth.half_life_days is not None:
        kinetics = lesion.kinetics
        told = None if kinetics is None else kinetics.half_life_days
        scores.half_life_error.append(_relative_error(told, truth.half_life_days, FLOOR_DAYS))
        interval = None if kinetics is None else kinetics.half_life_interval
        scores.half_life_in_interval.append(_holds(interval, truth.half_life_days))


def _first_days(truth: CourseTruth) -> dict[str, float]:
    # The first image of each modality.
    first: dict[str, float] = {}
    for point in truth.timepoints:
        first[point.modality] = min(point.days, first.get(point.modality, point.days))
    return first


def _score_retention(scores: LipiodolScores, point: TimepointTruth, answer: TimepointAnswer, first: float) -> None:
    # Retention at the first image is 1 by definition: nothing to be right about.
    if point.retention is None or (point.days == first and point.retention == 1):
        return
    error = _relative_error(answer.retention, point.retention, FLOOR_RETENTION)
    if point.modality in _CT:
        scores.retention_error.append(error)
        scores.retention_in_interval.append(_holds(answer.retention_interval, point.retention))
    else:
        scores.film_retention_error.append(error)


def _score_liver(scores: LipiodolScores, truth: CourseTruth, told: CourseAnswer) -> None:
    first = _first_days(truth)
    for point, answer in zip(truth.timepoints, _answers(truth, told), strict=True):
        if point.modality not in _CT:
            continue
        scores.liver_mass_error.append(_relative_error(answer.iodine_mg, point.iodine_mg, FLOOR_MG))
        if point.retention is not None and point.days > first[point.modality]:
            error = _relative_error(answer.retention, point.retention, FLOOR_RETENTION)
            scores.liver_retention_error.append(error)
    if truth.half_life_days is not None:
        half_life = None if told.kinetics is None else told.kinetics.half_life_days
        scores.liver_half_life_error.append(_relative_error(half_life, truth.half_life_days, FLOOR_DAYS))


def _relative_error(answer: float | None, truth: float, floor: float) -> float:
    if answer is None:
        return 1.0
    return abs(answer - truth) / max(truth, floor)


def _holds(interval: Interval | None, truth: float) -> float:
    # An open end is written as null; an interval without any end says nothing.
    if interval is None or interval == (None, None):
        return 0.0
    low, high = interval
    return float((low is None or low <= truth) and (high is None or truth <= high))


def _deposit_dice(truth_dir: Path, name: str, answer: TimepointAnswer, folder: Path | None) -> float:
    if answer.deposit_mask is None or folder is None or not (folder / answer.deposit_mask).is_file():
        return 0.0
    truth = sitk.ReadImage(str(truth_dir / name)) > 0
    try:
        found = sitk.ReadImage(str(folder / answer.deposit_mask)) > 0
        told = sitk.Resample(found, truth, sitk.Transform(), sitk.sitkNearestNeighbor)
    except RuntimeError:
        # What no reader takes for a volume is no deposit.
        return 0.0
    a, b = sitk.GetArrayFromImage(truth) > 0, sitk.GetArrayFromImage(told) > 0
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return 2 * np.count_nonzero(a & b) / total if total else 1.0
