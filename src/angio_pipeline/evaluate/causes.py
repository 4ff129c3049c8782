"""Why true feeders were missed and false ones called, told from the files that a result consists of.

Each missed or false feeder has one cause: the first that applies, in the order in which the causes stand here. All
lengths and shares are those by which feeders are judged: a course is covered where at least 70 % of it lies within
3 mm (12 px without spacing).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from angio_pipeline.evaluate.answers import GraphAnswer, read_graph
from angio_pipeline.evaluate.documents import RunPair
from angio_pipeline.evaluate.feeders import (
    MIN_COVERED,
    Fate,
    FeederPlace,
    JudgedFeeder,
    covered_share,
    feeder_places,
    judge_calls,
    judge_feeders,
)
from angio_pipeline.evaluate.lines import branch_between, distance_to_line, resampled

__all__ = ["FalseCause", "FeederErrors", "MissedCause", "feeder_errors"]

BoolArray = npt.NDArray[np.bool_]
Array = npt.NDArray[np.float64]
MIN_FOLLOWED = 0.3


class MissedCause(StrEnum):
    """Why a true feeder was missed."""

    NO_RESULT = "no result"
    NO_TUMOUR = "tumour not found"
    AMBIGUOUS = "listed, overlap ambiguous"
    IMPROBABLE = "listed, improbable"
    SHARED = "listed as one with another"
    NOT_SEGMENTED = "not in the artery mask"
    NOT_IN_TREE = "not in the tree"
    NO_WAY = "no way of the tree"
    NOT_LISTED = "way not listed"


class FalseCause(StrEnum):
    """Why a feeder was called that is none."""

    NO_TUMOUR = "no tumour there"
    TWICE = "true feeder called twice"
    OTHER_TUMOUR = "feeds another tumour"
    IN_PART = "true feeder in part"
    NO_ARTERY = "no artery there"
    PASSES = "artery that does not feed"


@dataclass(frozen=True, slots=True, eq=False)
class FeederErrors:
    """True feeders of one run that were missed, and false ones that were called, each with its cause."""

    missed: tuple[tuple[FeederPlace, MissedCause], ...]
    false: tuple[tuple[JudgedFeeder, FalseCause], ...]

    def missed_counts(self) -> dict[str, int]:
        """Return how many were missed, by cause."""
        return _counts(cause for _, cause in self.missed)

    def false_counts(self) -> dict[str, int]:
        """Return how many were called wrongly, by cause."""
        return _counts(cause for _, cause in self.false)


def feeder_errors(pair: RunPair) -> FeederErrors:
    """Return what is wrong with the feeders of one run, and why."""
    places = feeder_places(pair)
    judged = judge_feeders(pair, places)
    found = {one.place for one in judged if one.called}
    missed = [place for k, place in enumerate(places) if k not in found and not place.faint]
    false = [one for one in judged if one.called and one.place is None]
    return FeederErrors(
        tuple(zip(missed, _missed(pair, places, judged, missed), strict=True)),
        tuple(zip(false, _false(pair, places, false), strict=True)),
    )


def _counts(causes: Iterable[StrEnum]) -> dict[str, int]:
    return {cause.value: number for cause, number in Counter(causes).items()}


def _missed(
    pair: RunPair, places: Sequence[FeederPlace], judged: Sequence[JudgedFeeder], missed: Sequence[FeederPlace]
) -> list[MissedCause]:
    # Mask and tree are read only where something was missed.
    if pair.answer is None or pair.answer_dir is None:
        return [MissedCause.NO_RESULT] * len(missed)
    tumours = {i for call in judge_calls(pair) for i in call.meets}
    causes = [
        _listed_cause(place, places, judged) if place.tumour in tumours else MissedCause.NO_TUMOUR for place in missed
    ]
    if all(cause is not None for cause in causes):
        return [cause for cause in causes if cause is not None]
    vessels = pair.answer.vessels
    artery = np.zeros((1, 1), bool) if vessels is None else pair.answer_mask(vessels.artery_mask)
    told = None if vessels is None else vessels.graph
    graph = GraphAnswer() if told is None else read_graph(pair.answer_dir / told)
    reach = pair.tolerance_px()
    return [
        cause if cause is not None else _unlisted_cause(_own_course(place), artery, graph, reach)
        for place, cause in zip(missed, causes, strict=True)
    ]


def _listed_cause(
    place: FeederPlace, places: Sequence[FeederPlace], judged: Sequence[JudgedFeeder]
) -> MissedCause | None:
    # None where nothing that was listed covers the feeder.
    k = next(index for index, other in enumerate(places) if other is place)
    for one in judged:
        if one.place == k:
            return MissedCause.AMBIGUOUS if one.feeder.overlap_ambiguous else MissedCause.IMPROBABLE
    return MissedCause.SHARED if any(k in one.covers for one in judged) else None


def _unlisted_cause(course: Array, artery: BoolArray, graph: GraphAnswer, reach_px: float) -> MissedCause:
    if _share_near(course, artery, reach_px) < MIN_COVERED:
        return MissedCause.NOT_SEGMENTED
    near = _near_branches(course, graph, reach_px)
    if not near or np.any(list(near.values()), axis=0).mean() < MIN_COVERED:
        return MissedCause.NOT_IN_TREE
    if max(_near_way(index, near, graph).mean() for index in near) < MIN_COVERED:
        return MissedCause.NO_WAY
    return MissedCause.NOT_LISTED


def _own_course(place: FeederPlace) -> Array:
    return resampled(branch_between(place.feeder.centreline, place.feeder.branch_start))


def _share_near(course: Array, mask: BoolArray, reach_px: float) -> float:
    """Return the share of a course that lies within reach of a mask."""
    where = np.argwhere(mask)
    if not len(where):
        return 0.0
    return float((KDTree(where).query(course, distance_upper_bound=reach_px + 1)[0] <= reach_px).mean())


def _near_branches(course: Array, graph: GraphAnswer, reach_px: float) -> dict[int, BoolArray]:
    """Return for each branch that comes near the course which of the course's points it is near to."""
    low, high = course.min(axis=0) - reach_px, course.max(axis=0) + reach_px
    near = {}
    for index, branch in enumerate(graph.branches):
        line = np.asarray(branch.centreline, float).reshape(-1, 2)
        # Most branches lie elsewhere: their distances are not worth measuring.
        if len(line) == 0 or (line.max(axis=0) < low).any() or (line.min(axis=0) > high).any():
            continue
        here = distance_to_line(course, line) <= reach_px
        if here.any():
            near[index] = here
    return near


def _near_way(index: int, near: dict[int, BoolArray], graph: GraphAnswer) -> BoolArray:
    """Return which of the course's points the way down to the end of a branch is near to, from its piece's root."""
    into = {branch.end: k for k, branch in enumerate(graph.branches)}
    here = near[index]
    passed = {index}
    while (above := into.get(graph.branches[index].start)) is not None and above not in passed:
        index = above
        passed.add(index)
        here = here | near.get(index, np.zeros_like(here))
    return here


def _false(pair: RunPair, places: Sequence[FeederPlace], false: Sequence[JudgedFeeder]) -> list[FalseCause]:
    if not false:
        return []
    arteries = pair.truth_mask(pair.truth.artery_mask)
    if pair.truth.ignore_mask is not None:
        arteries = arteries | pair.truth_mask(pair.truth.ignore_mask)
    return [_false_cause(one, places, arteries, pair.tolerance_px()) for one in false]


def _false_cause(one: JudgedFeeder, places: Sequence[FeederPlace], arteries: BoolArray, reach_px: float) -> FalseCause:
    if one.tumour.fate is Fate.FALSE:
        return FalseCause.NO_TUMOUR
    if one.covers:
        return FalseCause.TWICE
    shares = [(place, covered_share(place.feeder, one.feeder.centreline, reach_px)) for place in places]
    if any(share >= MIN_COVERED for place, share in shares if place.tumour not in one.tumour.meets):
        return FalseCause.OTHER_TUMOUR
    if any(share >= MIN_FOLLOWED for place, share in shares if place.tumour in one.tumour.meets):
        return FalseCause.IN_PART
    line, start = one.feeder.centreline, one.feeder.branch_start
    if (
        len(line) < 2
        or _share_near(resampled(branch_between(line, start or line[0])), arteries, reach_px) < MIN_COVERED
    ):
        return FalseCause.NO_ARTERY
    return FalseCause.PASSES
