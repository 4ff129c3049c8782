"""Where to put the catheter: on the tumour's own branches, or before them where little else is fed.

Strategy: on the rooted tree, at every branch that leads to a feeder, either one position here
covers all feeders beyond it at the price of the other flow it would reach, or the question is
passed on to the branches beyond. The cheapest answer at the root is the set of positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.core.tumours import CannulationTarget, TargetOption
from angio_pipeline.core.vessels import VesselGraph
from angio_pipeline.tumour.ways import Way

__all__ = ["OWN_SHARE", "TargetParams", "choose_targets", "place_target", "turns_deg", "weigh_options"]

Line = npt.NDArray[np.float64]
OWN_SHARE = 0.7
"""Share of a branch's flow into the tumour from which on it counts as the tumour's own; set by hand."""
# Points beside a bifurcation that tell its angle.
_TURN_POINTS = 10


class TargetParams(Params):
    """Settings of `choose_targets` and `place_target`."""

    per_position: float = Field(
        0.05, ge=0, description="other flow, as a share of the tumour's, that is worth one position less"
    )
    along: float = Field(
        0.85, ge=0, le=1, description="how far into the branch, as a share of its length to the tumour"
    )


def place_target(
    graph: VesselGraph, way: Way, share: npt.NDArray[np.float64], *, params: TargetParams
) -> CannulationTarget:
    """Return a position on the way into the tumour.

    Parameters
    ----------
    share : ndarray, (B,) float64
        Share of the flow beyond each branch that ends in the tumour.
    """
    index = round(params.along * (len(way.own) - 1))
    row, col = way.own[index]
    walked = np.vstack([way.upstream, way.own[: index + 1]])
    length = float(np.linalg.norm(np.diff(walked, axis=0), axis=1).sum())
    straight = float(np.linalg.norm(walked[-1] - walked[0]))
    under = _branch_under(graph, way, way.own[index])
    if under is None:
        # No branch lies there: as wide as the tree's usual branch, and by the way's meaning the tumour's own.
        diameter = 2 * float(np.median([np.median(branch.radius_px) for branch in graph.branches]))
        passed, other = len(way.branches), 0.0
    else:
        passed, at = under
        number = way.branches[passed]
        diameter = 2 * float(np.median(graph.branches[number].radius_px[max(0, at - 4) : at + 5]))
        other = float(np.clip(1 - share[number], 0, 1))
    return CannulationTarget(
        row=float(row),
        col=float(col),
        diameter_px=diameter,
        path_length_px=length,
        bifurcations=len(way.before) + passed,
        tortuosity=max(1.0, length / straight) if straight > 0 else 1.0,
        non_target_fraction=other,
        turns_deg=turns_deg([graph.branches[k].centreline for k in (*way.before, *way.branches[: passed + 1])]),
        beyond_last_branch_px=float(np.linalg.norm(np.diff(way.own[: index + 1], axis=0), axis=1).sum()),
    )


def turns_deg(lines: Sequence[Line]) -> tuple[float, ...]:
    """Return how far a way turns from each of its branches, (K, 2) along the way, into the next."""
    turns = []
    for one, two in pairwise(lines):
        incoming = _direction(one[-_TURN_POINTS:])
        outgoing = _direction(two[:_TURN_POINTS])
        turns.append(float(np.degrees(np.arccos(np.clip(incoming @ outgoing, -1, 1)))))
    return tuple(turns)


def _direction(line: Line) -> Line:
    step = line[-1] - line[0]
    return np.asarray(step / max(float(np.linalg.norm(step)), 1e-9))


def _branch_under(graph: VesselGraph, way: Way, point: Line) -> tuple[int, int] | None:
    """Return which branch of the way lies nearest to a point, and the nearest of its points; None without branches."""
    if not way.branches:
        return None
    away = [np.linalg.norm(graph.branches[k].centreline - point, axis=1) for k in way.branches]
    nearest = int(np.argmin([float(one.min()) for one in away]))
    return nearest, int(np.argmin(away[nearest]))


def choose_targets(
    graph: VesselGraph,
    flow: npt.NDArray[np.float64],
    into_tumour: npt.NDArray[np.float64],
    ends: Mapping[str, int],
    *,
    params: TargetParams,
    own_targets: Mapping[str, CannulationTarget] | None = None,
) -> tuple[CannulationTarget, ...]:
    """Return the smallest set of positions that covers all feeders with the least other flow beyond them.

    Parameters
    ----------
    flow, into_tumour : ndarray, (B,) float64
        Flow beyond each branch, and the part that ends in the tumour.
    ends : mapping of str to int
        Feeder id to the branch by which it enters the tumour.
    own_targets : mapping of str to CannulationTarget, optional
        The position in each feeder itself, used where a position serves that feeder alone.
    """
    # Against the tumour's own flow: against the whole tree's, how selective a position has to be would hang on
    # where the run was injected, and a small tumour would be given up to its neighbourhood.
    total = max(float(into_tumour[sorted(set(ends.values()))].sum()), 1e-9)
    answers = _answers(graph, flow - into_tumour, ends)
    if not answers:
        return ()
    count = min(answers, key=lambda n: answers[n][0] / total + params.per_position * n)
    return _positions(graph, answers[count][1], flow, into_tumour, ends, params, own_targets or {})


def weigh_options(
    graph: VesselGraph,
    flow: npt.NDArray[np.float64],
    into_tumour: npt.NDArray[np.float64],
    ends: Mapping[str, int],
    *,
    params: TargetParams,
    own_targets: Mapping[str, CannulationTarget] | None = None,
) -> tuple[TargetOption, ...]:
    """Return the best set of one position, of two, and so on, as long as one more reaches less other tissue.

    Parameters are those of `choose_targets`.
    """
    options: list[TargetOption] = []
    least = float("inf")
    for _, (other, chosen) in sorted(_answers(graph, flow - into_tumour, ends).items()):
        if other < least - 1e-9:
            least = other
            targets = _positions(graph, chosen, flow, into_tumour, ends, params, own_targets or {})
            share = other / max(float(flow[list(chosen)].sum()), 1e-9)
            options.append(TargetOption(targets, float(np.clip(share, 0, 1))))
    return tuple(options)


Answer = tuple[float, tuple[int, ...]]
"""Other flow beyond a set of positions, and the branches that hold them."""


def _answers(graph: VesselGraph, other: npt.NDArray[np.float64], ends: Mapping[str, int]) -> dict[int, Answer]:
    """Return for each number of positions the set that covers all ends with the least other flow."""
    if not ends:
        return {}
    roots = sorted({graph.path_to(k)[0] for k in ends.values()})
    total: dict[int, Answer] = {0: (0.0, ())}
    for root in roots:
        total = _together(total, _cover(graph, root, set(ends.values()), other))
    return total


def _together(one: Mapping[int, Answer], two: Mapping[int, Answer]) -> dict[int, Answer]:
    """Return the best answers to two questions at once, by the number of positions."""
    out: dict[int, Answer] = {}
    for (count, (cost, positions)), (more, (further, others)) in product(one.items(), two.items()):
        answer = (cost + further, (*positions, *others))
        if count + more not in out or answer[0] < out[count + more][0]:
            out[count + more] = answer
    return out


def _cover(graph: VesselGraph, start: int, ends: set[int], other: npt.NDArray[np.float64]) -> dict[int, Answer]:
    """Return the best ways to cover all ends at or beyond `start`: with a position here, or with those beyond."""
    children = graph.children()
    answers: dict[int, dict[int, Answer]] = {}
    stack = [(start, False)]
    while stack:
        here, ready = stack.pop()
        if not ready:
            stack.append((here, True))
            stack.extend((c, False) for c in children[here])
            continue
        beyond = [answers[c] for c in children[here] if answers[c]]
        passed_on: dict[int, Answer] = {0: (0.0, ())}
        for answer in beyond:
            passed_on = _together(passed_on, answer)
        if here in ends:
            answers[here] = {1: (float(other[here]), (here,))}
        elif not beyond:
            answers[here] = {}
        else:
            cut = (float(other[here]), (here,))
            answers[here] = {**passed_on, 1: min(cut, passed_on.get(1, cut), key=lambda one: one[0])}
    return answers[start]


def _positions(
    graph: VesselGraph,
    chosen: Sequence[int],
    flow: npt.NDArray[np.float64],
    into_tumour: npt.NDArray[np.float64],
    ends: Mapping[str, int],
    params: TargetParams,
    own_targets: Mapping[str, CannulationTarget],
) -> tuple[CannulationTarget, ...]:
    positions = [_at_branch(graph, k, flow, into_tumour, ends, params) for k in chosen]
    return tuple(own_targets.get(p.covers[0], p) if len(p.covers) == 1 else p for p in positions)


def _at_branch(
    graph: VesselGraph,
    index: int,
    flow: npt.NDArray[np.float64],
    into_tumour: npt.NDArray[np.float64],
    ends: Mapping[str, int],
    params: TargetParams,
) -> CannulationTarget:
    share = into_tumour / np.maximum(flow, 1e-9)
    upstream = graph.path_to(index)[:-1]
    lines = [graph.branches[k].centreline for k in upstream]
    before = np.vstack(lines) if lines else np.empty((0, 2))
    way = Way(before, graph.branches[index].centreline, tuple(upstream), (index,))
    covers = tuple(sorted(name for name, k in ends.items() if index in graph.path_to(k)))
    placed = place_target(graph, way, share, params=params)
    # The branch is the tumour's own only where next to nothing else flows through it.
    own = placed.non_target_fraction <= 1 - OWN_SHARE
    return replace(placed, covers=covers, beyond_last_branch_px=placed.beyond_last_branch_px if own else float("nan"))
