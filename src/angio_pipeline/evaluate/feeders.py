"""Feeders and targets against the true branches.

A predicted feeder is right when its tumour overlaps the true one (IoU of at least 0.1, or the
region was given) and at least 70 % of the true branch, from where it leaves the vessel that also
feeds something else to the tumour, lies within 3 mm (12 px without spacing) of its centreline.
Each truth is matched once, the most probable prediction first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

import numpy as np
import numpy.typing as npt

from angio_pipeline.evaluate.answers import FeederAnswer, TumourAnswer
from angio_pipeline.evaluate.documents import FeederTruth, RunPair
from angio_pipeline.evaluate.lines import branch_between, distance_to_line, resampled

__all__ = [
    "Fate",
    "FeederCall",
    "FeederPlace",
    "FeederScores",
    "JudgedFeeder",
    "TargetScores",
    "TumourCall",
    "average_precision",
    "calibration_error",
    "covered_share",
    "feeder_places",
    "judge_calls",
    "judge_feeders",
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
    `excess` is each target's true non-target fraction above the best possible (1 off the tree), and 1 for
    each tumour with feeders that got no target. A target of a tumour that is not there is given and wrong,
    with an excess of 1.
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


class Fate(StrEnum):
    """What a tumour call is worth: on a true tumour, wrong, or neither right nor wrong."""

    TRUE = "true"
    FALSE = "false"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True, eq=False)
class TumourCall:
    """One tumour of the result: its mask, and the true tumours that it meets."""

    answer: TumourAnswer
    mask: BoolArray
    meets: tuple[int, ...]
    fate: Fate


def judge_calls(pair: RunPair) -> list[TumourCall]:
    """Return the result's tumours, each with what it meets; none without a result.

    A region that was given is on no false place. A call on a tumour that cannot be seen, or on blood that
    left the vessels, is neither right nor wrong.
    """
    if pair.answer is None:
        return []
    truths = [pair.truth_mask(tumour.mask) for tumour in pair.truth.tumours]
    hidden = [pair.truth_mask(tumour.mask) for tumour in pair.truth.tumours_not_visible]
    calls = []
    for answer in pair.answer.tumours:
        mask = pair.answer_mask(answer.mask)
        meets = tuple(i for i, truth in enumerate(truths) if overlap(mask, truth) >= MIN_IOU)
        excused = any(overlap(mask, other) >= MIN_IOU for other in hidden) or _holds_bleed(pair, mask)
        fate = Fate.TRUE if meets else Fate.NEITHER if excused else Fate.FALSE
        if not meets and not excused and answer.origin == "roi":
            meets, fate = tuple(range(len(truths))), Fate.TRUE if truths else Fate.NEITHER
        calls.append(TumourCall(answer, mask, meets, fate))
    return calls


def _holds_bleed(pair: RunPair, mask: BoolArray) -> bool:
    reach = pair.tolerance_px()
    where = np.argwhere(mask)
    return any(
        len(where) > 0 and float(np.linalg.norm(where - (bleed.row, bleed.col), axis=1).min()) <= reach
        for bleed in pair.truth.extravasations
    )


@dataclass(frozen=True, slots=True, eq=False)
class FeederPlace:
    """A true feeder of one run and which tumour it feeds; a faint one is neither right nor wrong."""

    tumour: int
    feeder: FeederTruth
    faint: bool


@dataclass(frozen=True, slots=True, eq=False)
class JudgedFeeder:
    """A predicted feeder: the true feeders that it covers (indices), and which of them it is taken for.

    `counts` is False where it is neither right nor wrong.
    """

    tumour: TumourCall
    feeder: FeederAnswer
    covers: tuple[int, ...]
    place: int | None
    counts: bool

    @property
    def called(self) -> bool:
        """It counts, and is probable enough to be called one."""
        return self.counts and self.feeder.probability >= MIN_PROBABILITY


def feeder_places(pair: RunPair) -> list[FeederPlace]:
    """Return every true feeder of one run, faint ones too."""
    return [
        FeederPlace(i, feeder, faint)
        for i, tumour in enumerate(pair.truth.tumours)
        for faint, feeders in ((False, tumour.feeders), (True, tumour.faint_feeders))
        for feeder in feeders
    ]


def match_feeders(pair: RunPair) -> FeederScores:
    """Return the judged feeders of one run; a call that fits a faint feeder or a hidden tumour is left out."""
    places = feeder_places(pair)
    judged = judge_feeders(pair, places)
    calls = tuple(FeederCall(one.feeder.probability, one.place is not None) for one in judged if one.counts)
    return FeederScores(calls, sum(not place.faint for place in places))


def judge_feeders(pair: RunPair, places: Sequence[FeederPlace]) -> list[JudgedFeeder]:
    """Return every predicted feeder of one run with the true feeder that it is, the most probable first."""
    tolerance = pair.tolerance_px()
    taken: set[int] = set()
    judged = []
    for tumour, feeder in _by_probability(judge_calls(pair)):
        shares = {
            k: covered_share(place.feeder, feeder.centreline, tolerance)
            for k, place in enumerate(places)
            if place.tumour in tumour.meets
        }
        fits = tuple(k for k, share in shares.items() if share >= MIN_COVERED)
        free = [k for k in fits if k not in taken and not places[k].faint]
        found = max(free, key=lambda k: shares[k]) if free else None
        excused = tumour.fate is Fate.NEITHER or any(places[k].faint for k in fits)
        if found is not None:
            taken.add(found)
        judged.append(JudgedFeeder(tumour, feeder, fits, found, found is not None or not excused))
    return judged


def _by_probability(calls: Iterable[TumourCall]) -> list[tuple[TumourCall, FeederAnswer]]:
    every = [(call, feeder) for call in calls for feeder in call.answer.feeders]
    return sorted(every, key=lambda item: -item[1].probability)


def covered_share(truth: FeederTruth, centreline: Sequence[tuple[float, float]], tolerance_px: float) -> float:
    """Return the share of the true branch within `tolerance_px` of a predicted centreline."""
    if not centreline:
        return 0.0
    branch = resampled(branch_between(truth.centreline, truth.branch_start))
    return float((distance_to_line(branch, centreline) <= tolerance_px).mean())


def match_targets(pair: RunPair) -> TargetScores:
    """Return the judged targets of one run; those for a tumour that cannot be seen do not count.

    A tumour with feeders for which no target is given counts as one excess of 1.
    """
    tolerance = pair.tolerance_px()
    known = [tumour.feeders + tumour.faint_feeders for tumour in pair.truth.tumours]
    right = given = 0
    covered: set[tuple[int, int]] = set()
    served: set[int] = set()
    excess: list[float] = []
    for call in judge_calls(pair):
        for target in () if call.fate is Fate.NEITHER else call.answer.targets:
            at = (target.row, target.col)
            hits = {(i, j) for i in call.meets for j, f in enumerate(known[i]) if _on_branch(at, f, tolerance)}
            given += 1
            right += bool(hits)
            covered |= hits
            served.update(call.meets)
            excess.append(_excess(at, [f for i in call.meets for f in known[i]], tolerance))
    truths = {(i, j) for i, tumour in enumerate(pair.truth.tumours) for j in range(len(tumour.feeders))}
    unserved = sum(bool(tumour.feeders) and i not in served for i, tumour in enumerate(pair.truth.tumours))
    return TargetScores(right, given, len(covered & truths), len(truths), (*excess, *[1.0] * unserved))


def _on_branch(at: tuple[float, float], feeder: FeederTruth, tolerance_px: float) -> bool:
    return bool(distance_to_line(at, branch_between(feeder.centreline, feeder.branch_start))[0] <= tolerance_px)


def _excess(target: tuple[float, float], feeders: Sequence[FeederTruth], tolerance_px: float) -> float:
    # What lies downstream of the nearest point of the true courses, less the least on any course; 1 off the tree,
    # NaN where the truth does not tell.
    if not feeders:
        return 1.0
    along = [f for f in feeders if f.non_target_along is not None and len(f.non_target_along) == len(f.centreline)]
    if not along:
        return float("nan")
    best = min(min(f.non_target_along or ()) for f in along)
    away = [np.linalg.norm(np.asarray(f.centreline) - target, axis=1) for f in along]
    nearest = int(np.argmin([d.min() for d in away]))
    if away[nearest].min() > tolerance_px:
        return 1.0
    here = (along[nearest].non_target_along or ())[int(np.argmin(away[nearest]))]
    return max(0.0, here - best)


def average_precision(calls: Sequence[FeederCall], truths: int) -> float:
    """Return the area under precision against recall, every step of recall at its precision; NaN without truths."""
    if truths == 0:
        return float("nan")
    ranked = sorted(calls, key=lambda call: -call.probability)
    # Calls of equal probability stand or fall together.
    total = right = 0
    area = 0.0
    for _, tied in groupby(ranked, key=lambda call: call.probability):
        level = list(tied)
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
