"""Iodine mass, retention, deposit and half-life against the truth.

A lesion or date without an answer counts as an answer of 0: a relative error of 1, a Dice of 0,
an interval that misses. An error is |answer - truth| / max(truth, a floor of 1 mg, 1 % or 1 day),
so that a lesion whose oil is gone is judged by the floor and not divided by nothing; no answer is an
error of 1 there too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from angio_pipeline.evaluate.documents import CasePair, LesionTruth, TimepointTruth

__all__ = ["LipiodolScores", "score_lipiodol"]

MATCH_MM = 25.0
FLOOR_MG = 1.0
FLOOR_RETENTION = 0.01
FLOOR_DAYS = 1.0
_CT = ("CT", "CBCT")


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


def score_lipiodol(case: CasePair) -> LipiodolScores:
    """Return the oil scores of one case."""
    scores = LipiodolScores()
    if case.lipiodol is None:
        return scores
    pool = [(lesion, where) for document, where in case.lipiodol_results for lesion in document.get("lesions", [])]
    for truth in case.lipiodol.lesions:
        lesion, where = _nearest(truth, pool)
        _score_lesion(scores, truth, lesion, case.lipiodol_dir, where)
    return scores


def _nearest(truth: LesionTruth, pool: list[tuple[Any, Path]]) -> tuple[Mapping[str, Any], Path | None]:
    # Lesions meet by where they are; each answer serves one truth.
    def away(item: tuple[Any, Path]) -> float:
        at = item[0].get("centroid_mm")
        return float(np.linalg.norm(np.subtract(at, truth.centroid_mm))) if at else float("inf")

    if not pool:
        return {}, None
    best = min(range(len(pool)), key=lambda i: away(pool[i]))
    return pool.pop(best) if away(pool[best]) <= MATCH_MM else ({}, None)


def _score_lesion(
    scores: LipiodolScores, truth: LesionTruth, lesion: Mapping[str, Any], truth_dir: Path, where: Path | None
) -> None:
    told = {str(t.get("series_instance_uid")): t for t in lesion.get("timepoints", [])}
    first = min((t.days for t in truth.timepoints if t.modality in _CT), default=0.0)
    first_film = min((t.days for t in truth.timepoints if t.modality not in _CT), default=0.0)
    for point in truth.timepoints:
        answer = told.get(point.series_instance_uid, {})
        error = _relative_error(answer.get("retention"), point.retention, FLOOR_RETENTION)
        if point.modality not in _CT:
            if point.days > first_film:
                scores.film_retention_error.append(error)
            continue
        scores.mass_error.append(_relative_error(answer.get("iodine_mg"), point.iodine_mg, FLOOR_MG))
        scores.mass_in_interval.append(_holds(answer.get("iodine_mg_interval"), point.iodine_mg))
        # Retention at the first scan is 1 by definition: nothing to be right about.
        if point.days > first:
            scores.retention_error.append(error)
            scores.retention_in_interval.append(_holds(answer.get("retention_interval"), point.retention))
        if point.deposit_mask is not None:
            scores.deposit_dice.append(_deposit_dice(truth_dir, point, answer, where))
    kinetics = lesion.get("kinetics") or {}
    half_life = _relative_error(kinetics.get("half_life_days"), truth.half_life_days, FLOOR_DAYS)
    scores.half_life_error.append(half_life)
    scores.half_life_in_interval.append(_holds(kinetics.get("half_life_interval"), truth.half_life_days))


def _relative_error(answer: float | None, truth: float, floor: float) -> float:
    if answer is None:
        return 1.0
    return abs(answer - truth) / max(truth, floor)


def _holds(interval: list[float | None] | None, truth: float) -> float:
    # An open end is written as null.
    if not interval:
        return 0.0
    low, high = interval
    return float((low is None or low <= truth) and (high is None or truth <= high))


def _deposit_dice(truth_dir: Path, point: TimepointTruth, answer: Mapping[str, Any], where: Path | None) -> float:
    name = answer.get("deposit_mask")
    if not name or where is None or not (where / name).is_file() or point.deposit_mask is None:
        return 0.0
    truth = sitk.ReadImage(str(truth_dir / point.deposit_mask)) > 0
    told = sitk.Resample(sitk.ReadImage(str(where / name)) > 0, truth, sitk.Transform(), sitk.sitkNearestNeighbor)
    a, b = sitk.GetArrayFromImage(truth) > 0, sitk.GetArrayFromImage(told) > 0
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return 2 * np.count_nonzero(a & b) / total if total else 1.0
