"""Feeders and targets against the true branches.

A predicted feeder is right when its tumour overlaps the true one (IoU of at least 0.1, or the
region was given) and at least 70 % of the true branch, from where it leaves the vessel that also
feeds something else to the tumour, lies within 3 mm (12 px without spacing) of its centreline.
Each truth is matched once, the most probable prediction first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from angio_pipeline.evaluate.documents import FeederTruth, RunPair, read_mask
from angio_pipeline.evaluate.lines import branch_between, distance_to_line, resampled

__all__ = [
    "FeederCall",
    "FeederScores",
    "TargetScores",
    "average_precision",
    "calibration_error",
    "false_tumours",
    "match_feeders",
    "match_targets",
]

BoolArray = npt.NDArray[np.bool_]
MIN_IOU = 0.1
MIN_COVERED = 0.7
MIN_PROBABILITY = 0.5


@dataclass(frozen=True, slots=True)
class FeederCall:
    """One predicted feeder that counts: how probable it was called, and whether it was right."""

    probability: float
    right: bool


@dataclass(frozen=True, slots=True)
class FeederScores:
    """The feeders of one run: every call, and the number of true feeders."""

    calls: tuple[FeederCall, ...]
    truths: int


@dataclass(frozen=True, slots=True)
class TargetScores:
    """The targets of one run.

    `right` of `given` targets lie on a true branch; `covered` of `truths` branches hold a target;
    `excess` is each target's true non-target fraction above the best possible (1 off the tree).
    A target of a tumour that is not there is given and wrong, with an excess of 1.
    """

    right: int
    given: int
    covered: int
    truths: int
    excess: tuple[float, ...]


def overlap(predicted: BoolArray, truth: BoolArray) -> float:
    """Return intersection over union."""
    union = np.count_nonzero(predicted | truth)
    return np.count_nonzero(predicted & truth) / union if union else 0.0


def predicted_tumours(pair: RunPair) -> list[tuple[Mapping[str, Any], BoolArray]]:
    """Return the result's tumours with their masks; empty without a result."""
    if pair.result is None or pair.result_dir is None:
        return []
    return [(t, read_mask(pair.result_dir / t["mask"])) for t in pair.result.get("tumours", [])]


def false_tumours(pair: RunPair) -> list[Mapping[str, Any]]:
    """Return the detected tumours that meet no true one, seen or not; a region that was given is none."""
    names = [t.mask for t in pair.truth.tumours] + [t.mask for t in pair.truth.tumours_not_visible]
    known = [read_mask(pair.truth_dir / name) for name in names]
    return [
        call
        for call, mask in predicted_tumours(pair)
        if call.get("origin") != "roi" and all(overlap(mask, other) < MIN_IOU for other in known)
    ]


def match_feeders(pair: RunPair) -> FeederScores:
    """Return the judged feeders of one run; a call that fits a faint feeder is left out."""
    tolerance = pair.tolerance_px()
    places = [
        (read_mask(pair.truth_dir / tumour.mask), feeder, faint)
        for tumour in pair.truth.tumours
        for faint, feeders in ((False, tumour.feeders), (True, tumour.faint_feeders))
        for feeder in feeders
    ]
    taken: set[int] = set()
    calls = []
    for tumour, mask, feeder in _by_probability(predicted_tumours(pair)):
        fits = [
            i
            for i, (true_mask, truth, _) in enumerate(places)
            if _same_tumour(tumour, mask, true_mask)
            and covered_share(truth, feeder["centreline"], tolerance) >= MIN_COVERED
        ]
        free = [i for i in fits if i not in taken and not places[i][2]]
        if not free and any(places[i][2] for i in fits):
            continue
        if free:
            best = max(free, key=lambda i: covered_share(places[i][1], feeder["centreline"], tolerance))
            taken.add(best)
        calls.append(FeederCall(float(feeder["probability"]), bool(free)))
    return FeederScores(tuple(calls), sum(not faint for _, _, faint in places))


def _by_probability(
    tumours: Iterable[tuple[Mapping[str, Any], BoolArray]],
) -> list[tuple[Mapping[str, Any], BoolArray, Mapping[str, Any]]]:
    every = [(tumour, mask, feeder) for tumour, mask in tumours for feeder in tumour.get("feeders", [])]
    return sorted(every, key=lambda item: -float(item[2]["probability"]))


def _same_tumour(tumour: Mapping[str, Any], mask: BoolArray, truth: BoolArray) -> bool:
    return tumour.get("origin") == "roi" or overlap(mask, truth) >= MIN_IOU


def covered_share(truth: FeederTruth, centreline: Sequence[Sequence[float]], tolerance_px: float) -> float:
    """Return the share of the true branch within `tolerance_px` of a predicted centreline."""
    if not centreline:
        return 0.0
    branch = resampled(branch_between(truth.centreline, truth.branch_start))
    return float((distance_to_line(branch, centreline) <= tolerance_px).mean())


def match_targets(pair: RunPair) -> TargetScores:
    """Return the judged targets of one run; those for a tumour that cannot be seen do not count."""
    tolerance = pair.tolerance_px()
    found = predicted_tumours(pair)
    right = given = covered = truths = 0
    excess: list[float] = []
    for tumour in pair.truth.tumours:
        true_mask = read_mask(pair.truth_dir / tumour.mask)
        targets = [
            target for call, mask in found if overlap(mask, true_mask) >= MIN_IOU for target in _target_points(call)
        ]
        known = tumour.feeders + tumour.faint_feeders
        branches = [branch_between(f.centreline, f.branch_start) for f in known]
        near = np.array([[distance_to_line(t, b)[0] <= tolerance for b in branches] for t in targets], bool)
        near = near.reshape(len(targets), len(branches))
        right += int(near.any(axis=1).sum())
        given += len(targets)
        covered += int(near[:, : len(tumour.feeders)].any(axis=0).sum())
        truths += len(tumour.feeders)
        excess += [_excess(t, known, tolerance) for t in targets]
    astray = sum(len(_target_points(call)) for call in false_tumours(pair))
    return TargetScores(right, given + astray, covered, truths, (*excess, *[1.0] * astray))


def _target_points(tumour: Mapping[str, Any]) -> list[tuple[float, float]]:
    return [(float(t["row"]), float(t["col"])) for t in tumour.get("targets", [])]


def _excess(target: tuple[float, float], feeders: Sequence[FeederTruth], tolerance_px: float) -> float:
    # What lies downstream of the nearest point of the true courses, less the least on any course.
    here, best = 1.0, 1.0
    nearest = tolerance_px
    for feeder in feeders:
        if feeder.non_target_along is None:
            continue
        best = min(best, *feeder.non_target_along)
        away = np.linalg.norm(np.asarray(feeder.centreline) - target, axis=1)
        if away.min() <= nearest:
            nearest = float(away.min())
            here = feeder.non_target_along[int(np.argmin(away))]
    return max(0.0, here - best)


def average_precision(calls: Sequence[FeederCall], truths: int) -> float:
    """Return the area under precision against recall, every step of recall at its precision; NaN without truths."""
    if truths == 0:
        return float("nan")
    ranked = sorted(calls, key=lambda call: -call.probability)
    # Calls of equal probability stand or fall together.
    total = right = 0
    area = 0.0
    for value in sorted({call.probability for call in ranked}, reverse=True):
        level = [call for call in ranked if call.probability == value]
        gained = sum(call.right for call in level)
        total, right = total + len(level), right + gained
        area += gained / truths * right / total
    return area


def calibration_error(calls: Sequence[FeederCall], bins: int = 10) -> float:
    """Return the expected calibration error over `bins` equal bins of probability; NaN without calls."""
    if not calls:
        return float("nan")
    probability = np.array([call.probability for call in calls])
    right = np.array([call.right for call in calls], float)
    which = np.minimum((probability * bins).astype(int), bins - 1)
    gaps = [
        np.count_nonzero(which == b) * abs(probability[which == b].mean() - right[which == b].mean())
        for b in np.unique(which)
    ]
    return float(sum(gaps) / len(calls))
