"""A reader's word on feeders and targets, after the software's own.

Strategy: each tumour that an edit concerns is opened once. Feeders are met by their place; what was rejected is set
aside, what was accepted or added is certain, and targets follow from what is left. Shares of the inflow are made to
sum to one again; a feeder that was added takes part by its calibre (Murray's law: flow ~ radius^3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from angio_pipeline.core.corrections import (
    AcceptFeeder,
    AddFeeder,
    CorrectionOutcome,
    FeederPlace,
    GivenEdit,
    MoveTarget,
    RejectFeeder,
    outcome,
)
from angio_pipeline.core.geometry import PixelSpacing
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import SubtractedRun
from angio_pipeline.core.tumours import ByHand, CannulationTarget, Feeder, TargetOption, Tumour
from angio_pipeline.core.vessels import VesselGraph
from angio_pipeline.tumour.clicks import ClickedTree, LaidFeeder, lay_feeder, told_flow
from angio_pipeline.tumour.feeders import FeederParams, feeder_reach_px
from angio_pipeline.tumour.feeding import FeedingPath
from angio_pipeline.tumour.hand_drawn import find_tumour, next_number, place_words
from angio_pipeline.tumour.hand_targets import MovedTarget, Reached, move_target, without_replaced
from angio_pipeline.tumour.placing import CorrectionParams
from angio_pipeline.tumour.targets import choose_targets, weigh_options
from angio_pipeline.tumour.tree_places import TreePlace, TreePlaces, own_line
from angio_pipeline.tumour.ways import TreeFlow, mapped_ways, tree_flow

__all__ = ["correct_feeders", "try_click"]

_ON_LINE_PX = 1.0
"""A target this near to a branch stands on it."""


@dataclass(slots=True)
class _Listed:
    """A feeder with the branches that it runs along, and whether a reader set it aside."""

    feeder: Feeder
    branches: tuple[int, ...]
    rejected: bool = False


@dataclass(slots=True)
class _Case:
    """One tumour while it is corrected: its feeders, and the targets to be moved once they are settled."""

    around: ClickedTree
    feeders: list[_Listed]
    moves: list[tuple[GivenEdit, MoveTarget]] = field(default_factory=list)

    @property
    def tumour(self) -> Tumour:
        return self.around.tumour

    @property
    def present(self) -> list[_Listed]:
        return [one for one in self.feeders if not one.rejected]


def correct_feeders(
    tumours: Sequence[Tumour],
    quality: Quality,
    edits: Sequence[GivenEdit],
    graph: VesselGraph,
    sub: SubtractedRun,
    *,
    feeders: FeederParams,
    params: CorrectionParams,
) -> tuple[tuple[Tumour, ...], Quality, tuple[CorrectionOutcome, ...]]:
    """Return the tumours as a reader set their feeders and targets, the flags that now hold, what became of each edit.

    Parameters
    ----------
    quality : Quality
        What was said of the search for feeders.
    edits : sequence of GivenEdit
        In the present reference frame (`place_edits`), in their order in time; those of other things are passed over.
    feeders : FeederParams
        As the feeders were sought.
    """
    mine = [
        (one, one.edit) for one in edits if isinstance(one.edit, (AcceptFeeder, RejectFeeder, AddFeeder, MoveTarget))
    ]
    if not mine:
        return tuple(tumours), quality, ()
    places, cases, told = TreePlaces.of(graph), dict[str, _Case](), list[CorrectionOutcome]()
    for one, edit in mine:
        tumour = find_tumour(tumours, edit.tumour, params)
        if tumour is None:
            sentence = f"Expected a tumour that the correction is about, found none for {place_words(edit.tumour)}."
            told.append(outcome(one, sentence, applied=False))
            continue
        if tumour.id not in cases:
            cases[tumour.id] = _opened(tumour, places, sub.spacing, feeders, params)
        if isinstance(edit, MoveTarget):
            cases[tumour.id].moves.append((one, edit))
        else:
            told.append(_change_feeder(cases[tumour.id], one, edit, params))
    if not cases:
        return tuple(tumours), quality, tuple(told)
    settled = {name: _settled(case, feeders, params) for name, case in cases.items()}
    told += [answer for _, answers in settled.values() for answer in answers]
    corrected = tuple(settled[one.id][0] if one.id in settled else one for one in tumours)
    return corrected, _flags(corrected, quality), tuple(told)


def _opened(
    tumour: Tumour, places: TreePlaces, spacing: PixelSpacing | None, feeders: FeederParams, params: CorrectionParams
) -> _Case:
    distance = ndimage.distance_transform_edt(~tumour.mask)
    reach_px = feeder_reach_px(spacing, tumour.mask.shape, feeders)
    flow = tree_flow(places.graph, distance, reach_px)
    detour_px = params.detour_px * float(max(tumour.mask.shape)) / 512
    around = ClickedTree(places, tumour, flow, distance, reach_px, feeders.own_share, feeders.targets.along, detour_px)
    near_px = feeders.near_px * float(max(tumour.mask.shape)) / 512
    return _Case(around, [_Listed(f, _branches_under(own_line(f), places, distance, near_px)) for f in tumour.feeders])


def _branches_under(
    own: npt.NDArray[np.float64], places: TreePlaces, distance: npt.NDArray[np.float64], near_px: float
) -> tuple[int, ...]:
    """Return the branches that a feeder runs along: a part of the tree exactly, a line of the map as it was laid."""
    exactly = tuple(places.along(own))
    if exactly or not places.graph.branches:
        return exactly
    (way,) = mapped_ways(places.graph, [FeedingPath(own, np.ones(len(own)))], distance, near_px=near_px)
    return way.branches


def _scaled(length_px: float, case: _Case) -> float:
    return length_px * float(max(case.tumour.mask.shape)) / 512


def try_click(
    click: tuple[float, float],
    tumour: Tumour,
    graph: VesselGraph,
    spacing: PixelSpacing | None,
    *,
    feeders: FeederParams,
    params: CorrectionParams,
) -> LaidFeeder | str:
    """Return the feeder that a click would add to a tumour, or the sentence that says why there is none."""
    case = _opened(tumour, TreePlaces.of(graph), spacing, feeders, params)
    reach_px, gap_px = _scaled(params.click_reach_px, case), _scaled(params.gap_px, case)
    return lay_feeder(click, case.around, reach_px=reach_px, most_gap_px=gap_px, mark=ByHand.ADDED)


# --- one edit ------------------------------------------------------------------------------------


def _change_feeder(
    case: _Case, one: GivenEdit, edit: AcceptFeeder | RejectFeeder | AddFeeder, params: CorrectionParams
) -> CorrectionOutcome:
    if isinstance(edit, AddFeeder):
        return _lay(case, one, edit.click, ByHand.ADDED, params)
    meant = _meant(case.feeders, edit.feeder, _scaled(params.same_place_px, case))
    if isinstance(edit, RejectFeeder):
        if meant is None:
            return outcome(one, f"Expected a feeder to reject, found none {_where(edit.feeder, case)}.", applied=False)
        meant.rejected = True
        return outcome(one, f"{meant.feeder.id} was rejected.")
    if meant is not None:
        return _accept(meant, one)
    if edit.feeder.point is None:
        return outcome(one, f"Expected a feeder to accept, found none {_where(edit.feeder, case)}.", applied=False)
    return _lay(case, one, edit.feeder.point, ByHand.ACCEPTED, params)


def _meant(feeders: Sequence[_Listed], place: FeederPlace, within_px: float) -> _Listed | None:
    """Return the feeder that runs through the place; the id decides between equals, and nothing else."""
    found = []
    for number, one in enumerate(feeders):
        starts = (
            np.inf if place.branch_start is None else _away(np.array([one.feeder.branch_start]), place.branch_start)
        )
        away = starts if place.point is None else _away(own_line(one.feeder), place.point)
        if away <= within_px:
            also = starts if np.isfinite(starts) else 0.0
            found.append((round(away), one.feeder.id != place.id, also, number))
    return feeders[min(found)[-1]] if found else None


def _away(line: npt.NDArray[np.float64], point: tuple[float, float]) -> float:
    return float(np.linalg.norm(line - np.asarray(point), axis=1).min())


def _where(place: FeederPlace, case: _Case) -> str:
    row, col = place.point or place.branch_start or (np.nan, np.nan)
    name = f" ({place.id} when it was corrected)" if place.id else ""
    return f"of {case.tumour.id} at ({row:.0f}, {col:.0f}){name}"


def _accept(listed: _Listed, one: GivenEdit) -> CorrectionOutcome:
    listed.rejected = False
    feeder = listed.feeder
    if feeder.corrected is None:
        evidence = {**feeder.evidence, "set_by_hand": 1.0, "probability_before": feeder.probability}
        listed.feeder = replace(
            feeder, probability=1.0, overlap_ambiguous=False, evidence=evidence, corrected=ByHand.ACCEPTED
        )
    return outcome(one, f"{feeder.id} was accepted.")


def _runs_by(known: _Listed, point: tuple[float, float], nearest: Sequence[TreePlace], ways: set[int]) -> bool:
    """Return whether a listed feeder is the vessel at a click: by its branches, or, off the tree, by its line."""
    if known.branches:
        return bool(ways & set(known.branches))
    return bool(nearest) and _away(own_line(known.feeder), point) <= nearest[0].distance_px + 1


def _lay(
    case: _Case, one: GivenEdit, point: tuple[float, float], mark: ByHand, params: CorrectionParams
) -> CorrectionOutcome:
    """Return what became of a feeder through a point: one that is listed is meant, else its way is laid."""
    reach_px, gap_px = _scaled(params.click_reach_px, case), _scaled(params.gap_px, case)
    nearest = case.around.places.nearest(point, reach_px)[:1]
    laid = lay_feeder(point, case.around, reach_px=reach_px, most_gap_px=gap_px, mark=mark)
    ends = () if isinstance(laid, str) else laid.branches[-1:]
    ways = {*(place.branch for place in nearest), *ends}
    listed = next((known for known in case.feeders if _runs_by(known, point, nearest, ways)), None)
    if listed is not None:
        return _accept(listed, one)
    if isinstance(laid, str):
        return outcome(one, laid, applied=False)
    name = f"{case.tumour.id}-F{next_number([f.feeder.id for f in case.feeders], f'{case.tumour.id}-F')}"
    case.feeders.append(_Listed(replace(laid.feeder, id=name), laid.branches))
    again = f"The feeder is not listed any more; it was laid anew as {name}"
    words = f"{name} was added" if mark is ByHand.ADDED else again
    words += f"; its vessel ends {laid.gap_px:.0f} px before the tumour" if laid.gap_px > case.around.reach_px else ""
    words += "" if laid.branches else "; it runs otherwise than the tree has it"
    return outcome(one, f"{words}.")


# --- what follows from all edits -----------------------------------------------------------------


def _settled(
    case: _Case, params: FeederParams, tolerances: CorrectionParams
) -> tuple[Tumour, tuple[CorrectionOutcome, ...]]:
    """Return the corrected tumour, ranked, shared out and with its targets, and what became of the moves."""
    ranked = sorted(_shared_out(case), key=lambda one: -one.feeder.probability)
    ends = {one.feeder.id: one.branches[-1] for one in ranked if one.branches}
    flow = told_flow(
        case.around.graph,
        case.around.flow,
        into={one.branches[-1] for one in ranked if one.branches and one.feeder.corrected},
        elsewhere={one.branches[0] for one in case.feeders if one.rejected and one.branches},
    )
    feeders = [_ranked(case, one, rank, flow) for rank, one in enumerate(ranked, start=1)]
    # The trade-off is the software's own, of what it may choose: a target that was moved is no answer to it.
    options = _options(case, feeders, ends, flow, params)
    moved = _moved(case, feeders, ends, flow, tolerances)
    kept = without_replaced(moved, _scaled(tolerances.same_place_px, case))
    own = {one.own: one.target for one in kept if one.own is not None}
    feeders = [replace(f, target=replace(own[f.id], covers=(f.id,))) if f.id in own else f for f in feeders]
    targets = (*(one.target for one in kept), *_other_targets(case, feeders, ends, flow, kept, params))
    settled = replace(case.tumour, feeders=tuple(feeders), targets=targets, options=options)
    return settled, tuple(one.outcome for one in moved)


def _ranked(case: _Case, one: _Listed, rank: int, flow: TreeFlow) -> Feeder:
    """Return a feeder with its rank; what else its own target reaches follows from where flow ends by now."""
    feeder, target = one.feeder, replace(one.feeder.target, covers=(one.feeder.id,))
    near = case.around.places.nearest((target.row, target.col), _ON_LINE_PX)
    on = [place.branch for place in near if place.branch in one.branches]
    if on:
        target = replace(target, non_target_fraction=float(np.clip(1 - flow.share[on[0]], 0, 1)))
    return replace(feeder, rank=rank, target=target)


def _shared_out(case: _Case) -> list[_Listed]:
    """Return the feeders that count, with shares of the inflow that sum to one."""
    found = [one for one in case.feeders if one.feeder.contribution > 0]
    calibre = sum(_calibre(one.feeder) for one in found)
    per_calibre = sum(one.feeder.contribution for one in found) / calibre if calibre > 0 else 1.0

    def share(feeder: Feeder) -> float:
        by_hand = feeder.corrected is not None and feeder.contribution == 0
        return per_calibre * _calibre(feeder) if by_hand else feeder.contribution

    shares = [share(one.feeder) for one in case.present]
    total = sum(shares)
    even = 1 / max(len(shares), 1)
    return [
        replace(one, feeder=replace(one.feeder, contribution=min(1.0, given / total) if total > 0 else even))
        for one, given in zip(case.present, shares, strict=True)
    ]


def _calibre(feeder: Feeder) -> float:
    width = float(feeder.target.diameter_px)
    return width if np.isfinite(width) else 0.0


def _moved(
    case: _Case, feeders: Sequence[Feeder], ends: dict[str, int], flow: TreeFlow, params: CorrectionParams
) -> list[MovedTarget]:
    same_px, reach_px = _scaled(params.same_place_px, case), _scaled(params.target_reach_px, case)
    listed = [_Listed(feeder, ()) for feeder in feeders]
    reached = Reached(feeders, ends, case.tumour.targets)
    moved = []
    for given, edit in case.moves:
        meant = None if edit.feeder is None else _meant(listed, edit.feeder, same_px)
        feeder = None if meant is None else meant.feeder
        options = {"reach_px": reach_px, "same_px": same_px}
        moved.append(move_target(given, edit, feeder, reached, case.around.places, flow, **options))
    return moved


def _sure(feeders: Sequence[Feeder], params: FeederParams) -> list[Feeder]:
    """Return the feeders that are given targets: the likelier ones, or else the likeliest."""
    return [f for f in feeders if f.probability >= params.target_probability] or list(feeders[:1])


def _options(
    case: _Case, feeders: Sequence[Feeder], ends: dict[str, int], flow: TreeFlow, params: FeederParams
) -> tuple[TargetOption, ...]:
    """Return the trade-off between positions for the feeders that are left."""
    sure = _sure(feeders, params)
    on_tree = {f.id: ends[f.id] for f in sure if f.id in ends}
    given = (case.around.graph, flow.flow, flow.into_tumour, on_tree)
    return weigh_options(*given, params=params.targets, own_targets={f.id: f.target for f in sure})


def _other_targets(
    case: _Case,
    feeders: Sequence[Feeder],
    ends: dict[str, int],
    flow: TreeFlow,
    kept: Sequence[MovedTarget],
    params: FeederParams,
) -> tuple[CannulationTarget, ...]:
    """Return the smallest set of positions for the likelier feeders that no moved target reaches."""
    covered = {name for one in kept for name in one.target.covers}
    left = [f for f in _sure(feeders, params) if f.id not in covered]
    on_tree = {f.id: ends[f.id] for f in left if f.id in ends}
    alone = {f.id: f.target for f in left}
    chosen: tuple[CannulationTarget, ...] = ()
    if on_tree:
        given = (case.around.graph, flow.flow, flow.into_tumour, on_tree)
        chosen = choose_targets(*given, params=params.targets, own_targets=alone)
    # A feeder that no branch of the tree lies under is reached in itself alone.
    return (*chosen, *(f.target for f in left if f.id not in ends))


def _flags(tumours: Sequence[Tumour], quality: Quality) -> Quality:
    """Return the flags of the search that still hold, and what is to be said of the targets."""
    quality &= ~(Quality.NO_FEEDER | Quality.OVERLAP_AMBIGUOUS)
    if any(not one.feeders for one in tumours):
        quality |= Quality.NO_FEEDER
    if any(f.overlap_ambiguous and f.worth_showing for one in tumours for f in one.feeders):
        quality |= Quality.OVERLAP_AMBIGUOUS
    if any(t.corrected and not np.isfinite(t.path_length_px) for one in tumours for t in one.targets):
        quality |= Quality.TARGET_OFF_VESSEL
    return quality
