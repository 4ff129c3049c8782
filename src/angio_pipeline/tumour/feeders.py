"""Branches that supply a tumour, from the directed tree and the blush.

Strategy: a leaf of the tree that ends in or near the blush drains into it. Going upstream from
there, a branch is the tumour's own as long as nearly all of the flow beyond it ends in the
tumour; where that stops is the branch's start, the last place that also feeds something else.
Flow follows calibre (Murray's law: flow ~ radius^3). Each feeder carries the evidence that its
probability comes from; the weights are set by hand and not calibrated on patients.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import ndimage

from angio_pipeline.core.params import Params
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import PerfusionMaps, SubtractedRun
from angio_pipeline.core.tumours import Feeder, Tumour
from angio_pipeline.core.vessels import VesselGraph
from angio_pipeline.numerics.curves import first_crossing
from angio_pipeline.tumour.targets import TargetParams, choose_targets, place_target

__all__ = ["FeederParams", "TreeFlow", "find_feeders"]

Line = npt.NDArray[np.float64]


class FeederParams(Params):
    """Settings of `find_feeders`; pixel lengths are for a 512-pixel frame and grow with it."""

    reach_mm: float = Field(5.0, gt=0, description="a leaf this near the blush ends in it; used when calibrated")
    reach_px: float = Field(15.0, gt=0, description="the same without calibration")
    own_share: float = Field(0.7, gt=0, le=1, description="share of a branch's flow that makes it the tumour's own")
    min_probability: float = Field(0.05, ge=0, le=1)
    max_count: int = Field(8, ge=1)
    targets: TargetParams = TargetParams()


@dataclass(frozen=True, slots=True, eq=False)
class TreeFlow:
    """What each branch of the tree carries and where it ends.

    Attributes
    ----------
    flow : ndarray, (B,) float64
        Sum of radius^3 over the leaves beyond each branch.
    into_tumour : ndarray, (B,) float64
        The part of it that ends in the tumour.
    """

    flow: npt.NDArray[np.float64]
    into_tumour: npt.NDArray[np.float64]

    @property
    def share(self) -> npt.NDArray[np.float64]:
        """Share of each branch's flow that ends in the tumour."""
        return self.into_tumour / np.maximum(self.flow, 1e-9)


def find_feeders(
    tumour: Tumour, graph: VesselGraph, sub: SubtractedRun, maps: PerfusionMaps, *, params: FeederParams
) -> tuple[Tumour, Quality]:
    """Return the tumour with its feeders ranked by probability and its targets, and flags."""
    if not graph.branches:
        return tumour, Quality.NO_FEEDER
    distance = ndimage.distance_transform_edt(~tumour.mask)
    flow = _flow(graph, distance, _reach_px(sub, params))
    starts = _own_branches(graph, flow, params)
    blush_arrival = _blush_arrival(tumour, sub)
    found = [_feeder(graph, flow, start, tumour, distance, blush_arrival, sub, params) for start in starts]
    likely = [f for f in found if f.probability >= params.min_probability]
    ranked = sorted(likely, key=lambda f: -f.probability)[: params.max_count]
    if not ranked:
        return tumour, Quality.NO_FEEDER
    total = sum(f.contribution for f in ranked)
    feeders = tuple(_named(f, f"{tumour.id}-F{k + 1}", k + 1, f.contribution / total) for k, f in enumerate(ranked))
    own = {f.id: int(f.evidence["branch"]) for f in feeders}
    targets = choose_targets(graph, flow.flow, flow.into_tumour, own, params=params.targets)
    quality = Quality.OVERLAP_AMBIGUOUS if any(f.overlap_ambiguous for f in feeders) else Quality.NONE
    return replace(tumour, feeders=feeders, targets=targets), quality


def _named(feeder: Feeder, name: str, rank: int, contribution: float) -> Feeder:
    target = replace(feeder.target, covers=(name,))
    return replace(feeder, id=name, rank=rank, contribution=contribution, target=target)


def _reach_px(sub: SubtractedRun, params: FeederParams) -> float:
    if sub.spacing is not None and sub.spacing.in_patient:
        return params.reach_mm / sub.spacing.mean_mm
    return params.reach_px * float(max(sub.frames.shape[1:])) / 512


def _flow(graph: VesselGraph, distance: npt.NDArray[np.float64], reach_px: float) -> TreeFlow:
    children = graph.children()
    flow = np.zeros(len(graph.branches))
    into = np.zeros(len(graph.branches))
    for index in _leaves_first(graph, children):
        branch = graph.branches[index]
        if children[index]:
            flow[index] = sum(flow[c] for c in children[index])
            into[index] = sum(into[c] for c in children[index])
        else:
            flow[index] = float(np.median(branch.radius_px)) ** 3
            row, col = np.round(branch.centreline[-1]).astype(int)
            inside = distance[min(row, distance.shape[0] - 1), min(col, distance.shape[1] - 1)] <= reach_px
            into[index] = flow[index] * inside
    return TreeFlow(flow, into)


def _leaves_first(graph: VesselGraph, children: tuple[tuple[int, ...], ...]) -> list[int]:
    """Return branch indices so that every branch comes after those it flows into."""
    order: list[int] = []
    parents = graph.parents()
    stack = [k for k, parent in enumerate(parents) if parent is None or parent == k]
    while stack:
        here = stack.pop()
        order.append(here)
        stack.extend(children[here])
    return order[::-1]


def _own_branches(graph: VesselGraph, flow: TreeFlow, params: FeederParams) -> list[int]:
    """Return the branches that are the tumour's own while the one before them is not."""
    parents = graph.parents()
    own = (flow.share >= params.own_share) & (flow.into_tumour > 0)
    starts = []
    for k, mine in enumerate(own):
        parent = parents[k]
        if mine and (parent is None or not own[parent]):
            starts.append(k)
    return starts


def _main_leaf(graph: VesselGraph, flow: TreeFlow, start: int) -> list[int]:
    """Return the branches from `start` down the greatest flow into the tumour."""
    children = graph.children()
    path = [start]
    while children[path[-1]]:
        following = max(children[path[-1]], key=lambda c: flow.into_tumour[c])
        if flow.into_tumour[following] <= 0:
            break
        path.append(following)
    return path


def _line_of(graph: VesselGraph, indices: list[int]) -> Line:
    parts = [graph.branches[indices[0]].centreline]
    parts += [graph.branches[k].centreline[1:] for k in indices[1:]]
    return np.vstack(parts)


def _feeder(
    graph: VesselGraph,
    flow: TreeFlow,
    start: int,
    tumour: Tumour,
    distance: npt.NDArray[np.float64],
    blush_arrival_s: float,
    sub: SubtractedRun,
    params: FeederParams,
) -> Feeder:
    upstream = graph.path_to(start)[:-1]
    down = _main_leaf(graph, flow, start)
    own_line = _line_of(graph, down)
    at_tumour = _entry(own_line, distance)
    line = own_line[: at_tumour + 1]
    whole = np.vstack([_line_of(graph, upstream), line[1:]]) if upstream else line
    branch = graph.branches[start]
    evidence = _evidence(graph, flow, start, down, distance, blush_arrival_s, _reach_px(sub, params), upstream)
    ambiguous = any(graph.branches[k].overlap_ambiguous for k in [*upstream[-1:], *down])
    target = place_target(
        graph, [*upstream, *down], len(upstream), line, float(flow.share[start]), params=params.targets
    )
    return Feeder(
        id="candidate",
        rank=0,
        probability=_probability(evidence, ambiguous),
        contribution=min(1.0, float(flow.into_tumour[start] / max(flow.into_tumour.max(), 1e-9))),
        centreline=whole,
        branch_start=(float(branch.centreline[0, 0]), float(branch.centreline[0, 1])),
        diameter_px=branch.diameter_px,
        arrival_s=_mean_or_nan(branch.arrival_s),
        overlap_ambiguous=ambiguous,
        target=target,
        evidence={**evidence, "branch": float(start)},
    )


def _mean_or_nan(values: npt.NDArray[np.float64]) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _entry(line: Line, distance: npt.NDArray[np.float64]) -> int:
    """Return the index of the first point inside the tumour, or of the point nearest to it."""
    along = ndimage.map_coordinates(distance, line.T, order=1, mode="nearest")
    inside = along < 0.5
    return int(np.argmax(inside)) if inside.any() else int(np.argmin(along))


def _evidence(
    graph: VesselGraph,
    flow: TreeFlow,
    start: int,
    down: list[int],
    distance: npt.NDArray[np.float64],
    blush_arrival_s: float,
    reach_px: float,
    upstream: list[int],
) -> dict[str, float]:
    """Return the named measurements behind a feeder's probability."""
    line = _line_of(graph, down)
    along = ndimage.map_coordinates(distance, line.T, order=1, mode="nearest")
    branch = graph.branches[start]
    arrival = _mean_or_nan(branch.arrival_s)
    parent_diameter = graph.branches[upstream[-1]].diameter_px if upstream else branch.diameter_px
    return {
        "gap_over_reach": float(along.min() / reach_px),
        "length_in_reach": float((along <= reach_px).sum() / max(reach_px, 1.0)),
        "own_share": float(flow.share[start]),
        "own_length_over_reach": float(len(line) / max(reach_px, 1.0)),
        "blush_delay_s": blush_arrival_s - arrival,
        "calibre_over_parent": float(branch.diameter_px / max(parent_diameter, 0.5)),
        "rooted": float(graph.root is not None and graph.branches[graph.path_to(start)[0]].start == graph.root),
    }


def _probability(evidence: dict[str, float], ambiguous: bool) -> float:
    """Return a hand-set logistic of the evidence.

    Contrast must pass the branch before it shows in the blush; a feeder reaches the blush, is
    long enough to be a vessel rather than a spur, hangs on the tree, and is thinner than what
    it leaves.
    """
    score = 0.6
    score -= 1.5 * evidence["gap_over_reach"]
    score += 0.8 * min(evidence["length_in_reach"], 2.0)
    score += 0.9 * min(evidence["own_length_over_reach"], 2.0) - 0.9
    score += 1.0 * evidence["rooted"] - 0.5
    score -= 0.8 * max(0.0, evidence["calibre_over_parent"] - 1.2)
    delay = evidence["blush_delay_s"]
    if np.isfinite(delay):
        score += 0.6 if delay >= -0.2 else -1.0
    score -= 1.0 * ambiguous
    return float(1 / (1 + np.exp(-score)))


def _blush_arrival(tumour: Tumour, sub: SubtractedRun) -> float:
    """Return when the tumour's mean curve rises through half its peak, seconds; NaN when it never does."""
    curve = sub.frames[:, tumour.mask].mean(axis=1)[sub.usable].astype(np.float32)
    level = np.array(0.5 * curve.max(), dtype=np.float32)
    return float(first_crossing(curve[:, None], sub.times_s[sub.usable], level[None])[0])
