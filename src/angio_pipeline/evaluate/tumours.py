"""Tumours, shunts, the catheter's tip and motion of one run against the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from angio_pipeline.evaluate.documents import RunPair
from angio_pipeline.evaluate.feeders import MIN_PROBABILITY, Fate, judge_calls
from angio_pipeline.evaluate.vessels import dice

__all__ = [
    "MotionScores",
    "ShuntScores",
    "TipScores",
    "TumourScores",
    "judge_shunts",
    "judge_tumours",
    "measure_motion",
    "measure_tip",
]

_SHUNT_MM_OVER_TOLERANCE = 10.0 / 3.0


@dataclass(frozen=True, slots=True)
class TumourScores:
    """Dice of each true tumour (0 when missed), how many were found, and wrong calls; None without a result."""

    dice: tuple[float, ...]
    found: int
    false_positives: int | None


def judge_tumours(pair: RunPair) -> TumourScores:
    """Return the tumour scores of one run; a call that is neither right nor wrong does not count."""
    calls = judge_calls(pair)
    best = []
    for i, tumour in enumerate(pair.truth.tumours):
        truth = pair.truth_mask(tumour.mask)
        best.append(max((dice(call.mask, truth) for call in calls if i in call.meets), default=0.0))
    wrong = sum(call.fate is Fate.FALSE for call in calls) if pair.answer is not None else None
    return TumourScores(tuple(best), sum(value > 0 for value in best), wrong)


@dataclass(frozen=True, slots=True)
class ShuntScores:
    """Whether the run shows a shunt, whether one was called, and whether it is judged and answered at all.

    `located` of `places` true shunts have a call of their kind within 10 mm (40 px where there is no spacing).
    """

    present: bool
    called: bool
    answered: bool
    judged: bool
    located: int
    places: int

    @property
    def found(self) -> bool:
        """A shunt that is there was called."""
        return self.present and self.called

    @property
    def cleared(self) -> bool:
        """No shunt is there and the result says so; no result says nothing."""
        return not self.present and self.answered and not self.called


def judge_shunts(pair: RunPair) -> ShuntScores:
    """Return the shunt call of one run; no result is wrong whether there is a shunt or not.

    A run whose only shunts cannot be seen is not judged.
    """
    told = None if pair.answer is None else pair.answer.shunts
    calls = [shunt for shunt in told or () if shunt.probability >= MIN_PROBABILITY]
    reach = _SHUNT_MM_OVER_TOLERANCE * pair.tolerance_px()
    located = sum(
        any(c.kind == s.kind and np.hypot(c.row - s.row, c.col - s.col) <= reach for c in calls)
        for s in pair.truth.shunts
    )
    present = bool(pair.truth.shunts)
    judged = present or not pair.truth.shunts_not_visible
    return ShuntScores(present, bool(calls), told is not None, judged, located, len(pair.truth.shunts))


@dataclass(frozen=True, slots=True)
class TipScores:
    """The catheter's tip: whether it is in view, was found within 3 mm (12 px), and how far off it was called."""

    present: bool
    found: bool
    distance_px: float


def measure_tip(pair: RunPair) -> TipScores:
    """Return the tip scores of one run; the distance is NaN without a call or a true tip."""
    truth = pair.truth.catheter_tip
    told = None if pair.answer is None else pair.answer.catheter_tip
    if truth is None or told is None:
        return TipScores(truth is not None, False, float("nan"))
    away = float(np.hypot(told.row - truth[0], told.col - truth[1]))
    return TipScores(True, away <= pair.tolerance_px(), away)


@dataclass(frozen=True, slots=True)
class MotionScores:
    """Residuals as the result measured them, and the end-point error in pixels; NaN where there is none."""

    residual_before: float
    residual_after: float
    end_point_error_px: float


def measure_motion(pair: RunPair) -> MotionScores:
    """Return the motion scores of one run.

    The truth is taken against the mean position in the frames that the result used as its mask,
    so that both speak of the same zero.
    """
    if pair.answer is None:
        return MotionScores(float("nan"), float("nan"), float("nan"))
    told = pair.answer.subtraction
    return MotionScores(_number(told.residual_before), _number(told.residual_after), _end_point_error(pair))


def _end_point_error(pair: RunPair) -> float:
    if pair.answer is None or pair.truth.motion_px is None:
        return float("nan")
    told, masks = pair.answer.subtraction.motion_px or (), pair.answer.subtraction.mask_frames
    truth = np.asarray(pair.truth.motion_px, float)
    if not masks or len(told) != len(truth) or not all(0 <= frame < len(truth) for frame in masks):
        return float("nan")
    predicted = np.array([[_number(value) for value in row] for row in told])
    gap = predicted - (truth - truth[list(masks)].mean(axis=0))
    known = np.isfinite(gap).all(axis=1)
    return float(np.linalg.norm(gap[known], axis=1).mean()) if known.any() else float("nan")


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
