"""Branches that supply a tumour, from the directed tree and the blush.

Strategy: every place where a branch runs into the blush, with the flow, is a candidate. Going
upstream from there, a branch is the tumour's own as long as nearly all of the flow beyond it
ends in the tumour; where that stops is the branch's start, the last place that also feeds
something else. Candidates that share a start are one feeder. Flow follows calibre (Murray's
law: flow ~ radius^3). Each feeder carries the evidence that its probability comes from; no
patient has calibrated it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import ndimage

from angio_pipeline.core.params import Params
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import SubtractedRun
from angio_pipeline.core.tumours import Feeder, Tumour
from angio_pipeline.core.vessels import Branch, VesselGraph
from angio_pipeline.numerics.curves import first_crossing
from angio_pipeline.tumour.targets import TargetParams, choose_targets, place_target

__all__ = ["FeederParams", "TreeFlow", "feeder_reach_px", "find_feeders", "tree_flow"]

Line = npt.NDArray[np.float64]


class FeederParams(Params):
    """Settings of `find_feeders`; pixel lengths are for a 512-pixel frame and grow with it."""

    reach_mm: float = Field(5.0, gt=0, description="a leaf this near the blush ends in it; used when calibrated")
    reach_px: float = Field(15.0, gt=0, description="the same without calibration")
    own_share: float = Field(0.7, gt=0, le=1, description="share of a branch's flow that makes it the tumour's own")
    min_probability: float = Field(0.1, ge=0, le=1, description="less likely branches are not listed")
    target_probability: float = Field(0.3, ge=0, le=1, description="feeders as likely as this are given targets")
    max_count: int = Field(5, ge=1)
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
    tumour: Tumour, graph: VesselGraph, sub: SubtractedRun, *, params: FeederParams
) -> tuple[Tumour, Quality]:
    """Return the tumour with its feeders ranked by probability and its targets, and flags."""
    if not graph.branches:
        return tumour, Quality.NO_FEEDER
    distance = ndimage.distance_transform_edt(~tumour.mask)
    reach_px = feeder_reach_px(sub, params)
    flow = tree_flow(graph, distance, reach_px)
    blush_arrival = _blush_arrival(tumour, sub)
    ways = _entries(graph, flow, distance, reach_px, params)
    strongest = max((_contrast(graph.branches[way[-1]]) for way in ways), default=0.0)
    found: dict[float, Feeder] = {}
    entries: dict[float, int] = {}
    for way in ways:
        feeder = _feeder(graph, flow, way, tumour, distance, blush_arrival, strongest, reach_px, params)
        start = feeder.evidence["branch"]
        # Ways with the same beginning are one feeder; the likeliest way in stands for it.
        if start not in found or feeder.probability > found[start].probability:
            found[start], entries[start] = feeder, way[-1]
    likely = [f for f in found.values() if f.probability >= params.min_probability]
    ranked = sorted(likely, key=lambda f: -f.probability)[: params.max_count]
    if not ranked:
        return tumour, Quality.NO_FEEDER
    total = sum(f.contribution for f in ranked)
    # Where no flow is seen to end in the tumour, no feeder can be said to give more than another.
    shares = [f.contribution / total if total > 0 else 1 / len(ranked) for f in ranked]
    feeders = tuple(_named(f, f"{tumour.id}-F{k + 1}", k + 1, shares[k]) for k, f in enumerate(ranked))
    sure = [f for f in feeders if f.probability >= params.target_probability] or feeders[:1]
    ends = {f.id: entries[f.evidence["branch"]] for f in sure}
    alone = {f.id: f.target for f in sure}
    targets = choose_targets(graph, flow.flow, flow.into_tumour, ends, params=params.targets, own_targets=alone)
    quality = Quality.OVERLAP_AMBIGUOUS if any(f.overlap_ambiguous for f in feeders) else Quality.NONE
    return replace(tumour, feeders=feeders, targets=targets), quality


def _named(feeder: Feeder, name: str, rank: int, contribution: float) -> Feeder:
    target = replace(feeder.target, covers=(name,))
    return replace(feeder, id=name, rank=rank, contribution=contribution, target=target)


def feeder_reach_px(sub: SubtractedRun, params: FeederParams) -> float:
    """Return how near the blush a leaf of the tree ends in it, pixels."""
    if sub.spacing is not None and sub.spacing.in_patient:
        return params.reach_mm / sub.spacing.mean_mm
    return params.reach_px * float(max(sub.frames.shape[1:])) / 512


def tree_flow(graph: VesselGraph, distance: npt.NDArray[np.float64], reach_px: float) -> TreeFlow:
    """Return the flow in each branch; a leaf within `reach_px` of the tumour ends in it."""
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


def _entries(
    graph: VesselGraph, flow: TreeFlow, distance: npt.NDArray[np.float64], reach_px: float, params: FeederParams
) -> list[list[int]]:
    """Return the ways into the blush, each the branches from where the tumour's own vessel begins.

    A branch enters when it starts outside the blush and ends inside, or is open-ended within
    reach of it; one that goes in and comes out again without a branch only lies over it.
    """
    parents = graph.parents()
    own = (flow.share >= params.own_share) & (flow.into_tumour > 0)
    ways = []
    for k, branch in enumerate(graph.branches):
        along = ndimage.map_coordinates(distance, branch.centreline.T, order=1, mode="nearest")
        comes_in = along[0] >= 1 and along[-1] < 1
        ends_near = along[0] > along[-1] and along[-1] <= reach_px and flow.into_tumour[k] == flow.flow[k]
        if not (comes_in or (ends_near and flow.flow[k] > 0 and _is_leaf(graph, k))):
            continue
        way = [k]
        while (parent := parents[way[0]]) is not None and own[parent] and parent not in way:
            way.insert(0, parent)
        ways.append(way)
    return ways


def _is_leaf(graph: VesselGraph, index: int) -> bool:
    end = graph.branches[index].end
    return all(branch.start != end for branch in graph.branches)


def _contrast(branch: Branch) -> float:
    return float(np.median(branch.contrast)) if branch.contrast is not None and len(branch.contrast) else 0.0


def _calibre(graph: VesselGraph, index: int) -> float:
    return float(np.median(graph.branches[index].radius_px))


def _line_of(graph: VesselGraph, indices: list[int]) -> Line:
    parts = [graph.branches[indices[0]].centreline]
    parts += [graph.branches[k].centreline[1:] for k in indices[1:]]
    return np.vstack(parts)


def _feeder(
    graph: VesselGraph,
    flow: TreeFlow,
    way: list[int],
    tumour: Tumour,
    distance: npt.NDArray[np.float64],
    blush_arrival_s: float,
    strongest: float,
    reach_px: float,
    params: FeederParams,
) -> Feeder:
    start = way[0]
    upstream = graph.path_to(start)[:-1]
    own_line = _line_of(graph, way)
    last = graph.branches[way[-1]].centreline
    at = len(own_line) - len(last) + _entry(last, distance)
    line = own_line[: at + 1]
    whole = np.vstack([_line_of(graph, upstream), line[1:]]) if upstream else line
    branch = graph.branches[start]
    evidence = _evidence(graph, flow, way, line, tumour, distance, blush_arrival_s, strongest, reach_px)
    ambiguous = any(graph.branches[k].overlap_ambiguous for k in way)
    return Feeder(
        id="candidate",
        rank=0,
        probability=_probability(evidence),
        contribution=min(1.0, float(flow.into_tumour[start] / max(flow.into_tumour.max(), 1e-9))),
        centreline=whole,
        branch_start=(float(line[0, 0]), float(line[0, 1])),
        diameter_px=branch.diameter_px,
        arrival_s=_mean_or_nan(branch.arrival_s),
        overlap_ambiguous=ambiguous,
        target=place_target(graph, upstream, way, line, flow.share, params=params.targets),
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
    way: list[int],
    line: Line,
    tumour: Tumour,
    distance: npt.NDArray[np.float64],
    blush_arrival_s: float,
    strongest: float,
    reach_px: float,
) -> dict[str, float]:
    """Return the named measurements behind a feeder's probability."""
    last = graph.branches[way[-1]]
    heading = line[-1] - line[max(0, len(line) - 11)]
    to_centre = np.array(tumour.centroid) - line[-1]
    sizes = float(np.linalg.norm(heading) * np.linalg.norm(to_centre))
    into = np.vstack([graph.branches[k].centreline for k in graph.beyond(way[-1])])
    depth = ndimage.map_coordinates(distance, into.T, order=1, mode="nearest")
    radius = float(np.sqrt(tumour.area_px / np.pi))
    entry_arrival = _mean_or_nan(last.arrival_s)
    return {
        "gap_over_reach": float(distance[tuple(np.round(line[-1]).astype(int))] / reach_px),
        "heading": float(heading @ to_centre / sizes) if sizes > 0 else 0.0,
        "length_inside_over_radius": float((depth < 1).sum() / max(radius, 1.0)),
        "inside_share": float((depth < 1).sum() / max(len(depth), 1)),
        "own_share": float(flow.share[way[-1]]),
        "calibre_over_widest": _calibre(graph, way[-1])
        / max(float(max(np.median(b.radius_px) for b in graph.branches)), 0.5),
        "blush_delay_s": blush_arrival_s - entry_arrival,
        "contrast_over_strongest": _contrast(last) / max(strongest, 1e-6),
        "rooted": float(graph.root is not None and graph.branches[graph.path_to(way[0])[0]].start == graph.root),
    }


def _probability(evidence: dict[str, float]) -> float:
    """Return a logistic of the evidence; its weights were chosen on simulated patients, not on real ones.

    A feeder heads for the tumour's middle, goes on inside it, gives its flow to it, and is the
    strongest of the vessels that come in.
    """
    score = -9.6
    score += 3.8 * evidence["heading"]
    score += 0.55 * min(evidence["length_inside_over_radius"], 3.0)
    score += 2.6 * evidence["own_share"]
    score += 2.8 * evidence["contrast_over_strongest"]
    return float(1 / (1 + np.exp(-score)))


def _blush_arrival(tumour: Tumour, sub: SubtractedRun) -> float:
    """Return when the tumour's mean curve rises through half its peak, seconds; NaN when it never does."""
    curve = sub.frames[:, tumour.mask].mean(axis=1)[sub.usable].astype(np.float32)
    level = np.array(0.5 * curve.max(), dtype=np.float32)
    return float(first_crossing(curve[:, None], sub.times_s[sub.usable], level[None])[0])
