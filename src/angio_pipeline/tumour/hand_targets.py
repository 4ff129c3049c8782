"""Targets that a reader moved stay where they were put; the other feeders get the smallest set of positions besides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from angio_pipeline.core.corrections import CorrectionOutcome, GivenEdit, MoveTarget, outcome
from angio_pipeline.core.tumours import ByHand, CannulationTarget, Feeder
from angio_pipeline.tumour.tree_places import TreePlaces, own_line, target_at
from angio_pipeline.tumour.ways import TreeFlow

__all__ = ["MovedTarget", "Reached", "move_target", "without_replaced"]

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Reached:
    """The feeders of one tumour as a target may reach them.

    Attributes
    ----------
    ends : mapping of str to int
        The branch by which a feeder enters the tumour; a feeder that runs along no branch of the tree is left out.
    before : sequence of CannulationTarget
        The positions that the software had chosen.
    """

    feeders: Sequence[Feeder]
    ends: Mapping[str, int]
    before: Sequence[CannulationTarget]


@dataclass(frozen=True, slots=True, eq=False)
class MovedTarget:
    """A target as a reader put it; `own` is the feeder whose own target it is, None where it serves several."""

    given: GivenEdit
    edit: MoveTarget
    target: CannulationTarget
    own: str | None
    outcome: CorrectionOutcome


def move_target(
    given: GivenEdit,
    edit: MoveTarget,
    meant: Feeder | None,
    reached: Reached,
    places: TreePlaces,
    flow: TreeFlow,
    *,
    reach_px: float,
    same_px: float,
) -> MovedTarget:
    """Return a target where a reader put it, on the vessel nearest to it.

    Parameters
    ----------
    meant : Feeder or None
        The feeder that the edit names.
    reach_px : float
        Where no vessel is this near, the target stays off the tree, and what only the tree can tell is NaN.
    same_px : float
        Places this near to each other are the same.
    """
    found = places.nearest(edit.to, reach_px)
    if found:
        target = target_at(places.graph, found[0], flow.share)
        covers = _beyond(found[0].branch, (target.row, target.col), reached, places, same_px)
    else:
        target, covers = _off_vessel(edit.to, places), set()
    # The reader's word counts where the tree leads elsewhere.
    covers = covers or _covered_before(edit, reached, same_px)
    if meant is not None:
        covers = covers | {meant.id}
    own = meant.id if meant is not None else next(iter(covers)) if len(covers) == 1 else None
    target = replace(target, covers=tuple(sorted(covers)), corrected=ByHand.MOVED)
    return MovedTarget(given, edit, target, own, outcome(given, _words(target, on_vessel=bool(found))))


def without_replaced(moved: Sequence[MovedTarget], same_px: float) -> list[MovedTarget]:
    """Return the targets without those that were moved again later: from there, or for the same feeders."""
    kept: list[MovedTarget] = []
    for one in moved:
        kept = [earlier for earlier in kept if not _replaces(one, earlier, same_px)]
        kept.append(one)
    return kept


def _replaces(later: MovedTarget, earlier: MovedTarget, same_px: float) -> bool:
    if later.edit.origin is not None:
        stood = ((earlier.target.row, earlier.target.col), earlier.edit.to)
        if min(float(np.linalg.norm(np.subtract(later.edit.origin, place))) for place in stood) <= same_px:
            return True
    same_own = later.own is not None and later.own == earlier.own
    return same_own or bool(later.target.covers and later.target.covers == earlier.target.covers)


def _beyond(branch: int, point: Point, reached: Reached, places: TreePlaces, same_px: float) -> set[str]:
    """Return the feeders beyond a branch, and those off the tree whose own vessel runs past the point."""
    further = set(places.graph.beyond(branch))
    covers = {name for name, end in reached.ends.items() if end in further}
    for feeder in reached.feeders:
        if feeder.id not in reached.ends:
            away = np.linalg.norm(own_line(feeder) - np.asarray(point), axis=1).min()
            covers |= {feeder.id} if away <= same_px else set()
    return covers


def _off_vessel(point: Point, places: TreePlaces) -> CannulationTarget:
    """Return a position of which nothing is known but the bifurcations on the way to the nearest vessel."""
    nearest = places.nearest(point, float("inf"))
    turns = len(places.graph.path_to(nearest[0].branch)) - 1 if nearest else 0
    unknown = float("nan")
    return CannulationTarget(point[0], point[1], unknown, unknown, turns, unknown, unknown)


def _covered_before(edit: MoveTarget, reached: Reached, same_px: float) -> set[str]:
    """Return what the target reached that stood where this one was taken from; a tumour's only one needs no origin."""
    stood = [t for t in reached.before if edit.origin is None or _apart(t, edit.origin) <= same_px]
    if not stood or (edit.origin is None and len(stood) > 1):
        return set()
    return {feeder.id for feeder in reached.feeders} & set(stood[0].covers)


def _apart(target: CannulationTarget, point: Point) -> float:
    return float(np.hypot(target.row - point[0], target.col - point[1]))


def _words(target: CannulationTarget, *, on_vessel: bool) -> str:
    at = f"({target.row:.0f}, {target.col:.0f})"
    reaches = f"it reaches {', '.join(target.covers)}" if target.covers else "no feeder lies beyond it"
    if on_vessel:
        return f"The target was put at {at}; {reaches}."
    return f"The target was put at {at}, where no vessel was found; its diameter and path are unknown, and {reaches}."
