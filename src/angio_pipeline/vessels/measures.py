"""What is measured on each branch of the rooted tree: order, shape, arrival and velocity of flow."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from angio_pipeline.core.measures import BranchMeasures, VelocityState
from angio_pipeline.core.params import Params
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import PerfusionMaps, SubtractedRun
from angio_pipeline.core.vessels import Branch, VesselGraph
from angio_pipeline.vessels.bolus import BolusParams, along_px, bolus_frames, bolus_times
from angio_pipeline.vessels.velocity import Flow, VelocityParams, fit_flow

__all__ = ["MeasureParams", "generations", "measure_branches", "strahler_orders"]


class MeasureParams(Params):
    """Settings of `measure_branches`."""

    bolus: BolusParams = BolusParams()
    velocity: VelocityParams = VelocityParams()


def measure_branches(
    graph: VesselGraph,
    artery: npt.NDArray[np.bool_],
    sub: SubtractedRun,
    maps: PerfusionMaps,
    *,
    params: MeasureParams,
) -> tuple[tuple[BranchMeasures, ...], Quality]:
    """Return the measures of every branch, in the order of `graph.branches`, and whether none has a velocity.

    Parameters
    ----------
    graph : VesselGraph
        Velocities are those along its branches; one that runs against the flow has none.
    artery : ndarray, (H, W) bool
    """
    flow = _flow(graph, artery, sub, maps, params)
    orders, numbers = strahler_orders(graph), generations(graph)
    timed = bool(flow.state) and VelocityState.NOT_TIMED not in flow.state
    lost = timed and VelocityState.MEASURED not in flow.state
    measures = tuple(
        BranchMeasures(
            branch=branch.id,
            strahler_order=orders[k],
            generation=numbers[k],
            length_px=branch.length_px,
            tortuosity=_tortuosity(branch),
            diameter_px=_diameter(branch),
            taper=_taper(branch),
            arrival_start_s=float(flow.start_s[k]),
            arrival_end_s=float(flow.end_s[k]),
            velocity_px_s=float(flow.velocity_px_s[k]),
            velocity_interval_px_s=(float(flow.interval_px_s[k, 0]), float(flow.interval_px_s[k, 1])),
            velocity_state=flow.state[k],
        )
        for k, branch in enumerate(graph.branches)
    )
    return measures, Quality.FLOW_NOT_RESOLVED if lost else Quality.NONE


def strahler_orders(graph: VesselGraph) -> tuple[int, ...]:
    """Return each branch's Strahler order: 1 at the ends, 1 more where two of the greatest order come together.

    Strahler 1957, doi:10.1029/TR038i006p00913. A branch that leads back into itself counts as an end.
    """
    children = graph.children()
    orders = [0] * len(graph.branches)
    for k in _ends_first(graph):
        below = sorted((orders[c] for c in children[k]), reverse=True)
        top = below[0] if below else 0
        orders[k] = max(1, top + (len(below) > 1 and below[1] == top))
    return tuple(orders)


def generations(graph: VesselGraph) -> tuple[int | None, ...]:
    """Return for each branch the bifurcations between the root and it; None where the root does not reach."""
    children, parents = graph.children(), graph.parents()
    numbers: list[int | None] = [None] * len(graph.branches)
    for k in reversed(_ends_first(graph)):
        above = parents[k]
        if above is None or above == k:
            numbers[k] = 0 if graph.branches[k].start == graph.root else None
        elif (before := numbers[above]) is not None:
            numbers[k] = before + (len(children[above]) > 1)
    return tuple(numbers)


def _ends_first(graph: VesselGraph) -> list[int]:
    """Return all branches so that each comes after those that it flows into; a circle is cut somewhere."""
    children, parents = graph.children(), graph.parents()
    tops = [k for k, parent in enumerate(parents) if parent is None or parent == k]
    out: list[int] = []
    seen: set[int] = set()
    for top in [*tops, *range(len(graph.branches))]:
        stack = [top]
        while stack:
            here = stack.pop()
            if here not in seen:
                seen.add(here)
                out.append(here)
                stack.extend(children[here])
    return out[::-1]


def _tortuosity(branch: Branch) -> float:
    if len(branch.centreline) < 2:
        return float("nan")
    chord = float(np.linalg.norm(branch.centreline[-1] - branch.centreline[0]))
    # Ends less than two pixels apart are a loop: any ratio would be chance.
    return max(1.0, branch.length_px / chord) if chord >= 2 else float("nan")


def _diameter(branch: Branch) -> float:
    return float(2 * np.mean(branch.radius_px)) if len(branch.radius_px) else float("nan")


def _taper(branch: Branch) -> float:
    way = along_px(branch)
    if len(way) < 3 or way[-1] <= 0:
        return float("nan")
    return float(-2 * np.polyfit(way, branch.radius_px, 1)[0])


def _flow(
    graph: VesselGraph,
    artery: npt.NDArray[np.bool_],
    sub: SubtractedRun,
    maps: PerfusionMaps,
    params: MeasureParams,
) -> Flow:
    count, frames = len(graph.branches), bolus_frames(sub, maps)
    if not count or len(frames) < 2 or not sub.timing_measurable:
        nothing = np.full(count, np.nan)
        return Flow(nothing, nothing, nothing, np.full((count, 2), np.nan), (VelocityState.NOT_TIMED,) * count)
    return fit_flow(
        bolus_times(graph, artery, sub, maps, params=params.bolus),
        np.array([branch.length_px for branch in graph.branches]),
        np.array([_diameter(branch) for branch in graph.branches]),
        graph.parents(),
        interval_s=float(np.median(np.diff(sub.times_s[frames]))),
        scale=max(artery.shape) / 512,
        params=params.velocity,
    )
