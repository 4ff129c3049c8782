"""Tumours, shunts and motion of one run against the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from angio_pipeline.evaluate.documents import RunPair, read_mask
from angio_pipeline.evaluate.feeders import MIN_IOU, MIN_PROBABILITY, false_tumours, overlap, predicted_tumours
from angio_pipeline.evaluate.vessels import dice

__all__ = ["MotionScores", "ShuntScores", "TumourScores", "judge_shunts", "judge_tumours", "measure_motion"]


@dataclass(frozen=True, slots=True)
class TumourScores:
    """Dice of each true tumour (0 when missed), how many were found, how many calls were wrong."""

    dice: tuple[float, ...]
    found: int
    false_positives: int


def judge_tumours(pair: RunPair) -> TumourScores:
    """Return the tumour scores of one run; a call on a tumour that cannot be seen does not count."""
    calls = predicted_tumours(pair)
    truths = [read_mask(pair.truth_dir / t.mask) for t in pair.truth.tumours]
    best = []
    for truth in truths:
        shares = [dice(mask, truth) for _, mask in calls if overlap(mask, truth) >= MIN_IOU]
        best.append(max(shares, default=0.0))
    return TumourScores(tuple(best), sum(value > 0 for value in best), len(false_tumours(pair)))


@dataclass(frozen=True, slots=True)
class ShuntScores:
    """Whether the run holds a shunt, whether one was called, and whether there is an answer at all."""

    present: bool
    called: bool
    answered: bool

    @property
    def found(self) -> bool:
        """A shunt that is there was called."""
        return self.present and self.called

    @property
    def cleared(self) -> bool:
        """No shunt is there and the result says so; no result says nothing."""
        return not self.present and self.answered and not self.called


def judge_shunts(pair: RunPair) -> ShuntScores:
    """Return the shunt call of one run; no result is wrong whether there is a shunt or not."""
    calls = (pair.result or {}).get("shunts", [])
    called = any(float(s["probability"]) >= MIN_PROBABILITY for s in calls)
    return ShuntScores(bool(pair.truth.shunts), called, pair.result is not None)


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
    nan = float("nan")
    subtraction = (pair.result or {}).get("subtraction") or {}
    before, after = (_number(subtraction.get(key)) for key in ("residual_before", "residual_after"))
    told, masks = subtraction.get("motion_px"), subtraction.get("mask_frames")
    if not told or not masks or pair.truth.motion_px is None or len(told) != len(pair.truth.motion_px):
        return MotionScores(before, after, nan)
    truth = np.asarray(pair.truth.motion_px, float)
    predicted = np.array([[_number(value) for value in row] for row in told])
    gap = predicted - (truth - truth[list(masks)].mean(axis=0))
    known = np.isfinite(gap).all(axis=1)
    error = float(np.linalg.norm(gap[known], axis=1).mean()) if known.any() else nan
    return MotionScores(before, after, error)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")
