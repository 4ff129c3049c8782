"""Where to put the catheter: on the tumour's own branches, or before them where little else is fed.

Strategy: on the rooted tree, at every branch that leads to a feeder, either one position here
covers all feeders beyond it at the price of the other flow it would reach, or the question is
passed on to the branches beyond. The cheapest answer at the root is the set of positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.core.tumours import CannulationTarget
from angio_pipeline.core.vessels import VesselGraph
from angio_pipeline.tumour.ways import Way

__all__ = ["TargetParams", "choose_targets", "place_target"]

Line = npt.NDArray[np.float64]


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
    )


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
    chosen: list[int] = []
    roots = {graph.path_to(k)[0] for k in ends.values()}
    for root in sorted(roots):
        chosen += _cover(graph, root, set(ends.values()), (flow - into_tumour) / total, params.per_position)[1]
    positions = [_at_branch(graph, k, flow, into_tumour, ends, params) for k in chosen]
    alone = own_targets or {}
    return tuple(alone.get(p.covers[0], p) if len(p.covers) == 1 else p for p in positions)


def _cover(
    graph: VesselGraph, start: int, ends: set[int], other: npt.NDArray[np.float64], price: float
) -> tuple[float, list[int]]:
    """Return the least cost of covering all ends at or beyond `start`, and the positions."""
    children = graph.children()
    answer: dict[int, tuple[float, list[int]]] = {}
    stack = [(start, False)]
    while stack:
        here, ready = stack.pop()
        if not ready:
            stack.append((here, True))
            stack.extend((c, False) for c in children[here])
            continue
        beyond = [answer[c] for c in children[here] if answer[c][1]]
        cut = (price + float(other[here]), [here])
        if here in ends:
            answer[here] = cut
        elif not beyond:
            answer[here] = (0.0, [])
        else:
            passed_on = (sum(cost for cost, _ in beyond), [k for _, positions in beyond for k in positions])
            answer[here] = min(cut, passed_on, key=lambda option: option[0])
    return answer[start]


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
    target = place_target(graph, way, share, params=params)
    return replace(target, covers=tuple(sorted(name for name, k in ends.items() if index in graph.path_to(k))))
