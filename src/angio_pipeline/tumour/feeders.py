"""Branches that supply a tumour, from the directed tree, the blush, and a network's map of what feeds it.

Ways into the tumour are taken from the tree and from the map; each carries the evidence that its probability comes
from, and ways that share their last stretch are one feeder. No patient has calibrated the probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import ndimage
from scipy.spatial import KDTree

from angio_pipeline.core.geometry import PixelSpacing
from angio_pipeline.core.params import Params
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import SubtractedRun
from angio_pipeline.core.tumours import Feeder, Tumour
from angio_pipeline.core.vessels import VesselGraph
from angio_pipeline.tumour.feeder_evidence import Surroundings, feeder_probability, mean_arrival_s, measure_way
from angio_pipeline.tumour.feeding import FeedingParams, feeding_paths
from angio_pipeline.tumour.targets import TargetParams, choose_targets, place_target, weigh_options
from angio_pipeline.tumour.ways import TreeFlow, Way, mapped_ways, tree_flow, tree_ways

__all__ = ["FeederParams", "feeder_reach_px", "find_feeders"]


class FeederParams(Params):
    """Settings of `find_feeders`; pixel lengths are for a 512-pixel frame and grow with it."""

    network: str = Field("feeder", description="network that tells what feeds a tumour; empty: the tree alone")
    reach_mm: float = Field(5.0, gt=0, description="a leaf this near the blush ends in it; used when calibrated")
    reach_px: float = Field(15.0, gt=0, description="the same without calibration")
    own_share: float = Field(0.7, gt=0, le=1, description="share of a branch's flow that makes it the tumour's own")
    near_px: float = Field(4.0, gt=0, description="a branch this near a line of the map lies under it")
    same_share: float = Field(0.6, gt=0, le=1, description="ways that share this much of their own part are one")
    min_probability: float = Field(0.02, ge=0, le=1, description="less likely branches are not listed")
    target_probability: float = Field(
        0.5, ge=0, le=1, description="feeders as likely as this are given targets; where none is, the likeliest"
    )
    max_count: int = Field(8, ge=1, description="no more are listed, a tumour")
    map: FeedingParams = FeedingParams()
    targets: TargetParams = TargetParams()


def find_feeders(
    tumour: Tumour,
    graph: VesselGraph,
    sub: SubtractedRun,
    *,
    params: FeederParams,
    feeding: npt.NDArray[np.float32] | None = None,
) -> tuple[Tumour, Quality]:
    """Return the tumour with its feeders ranked by probability and its targets, and flags.

    Parameters
    ----------
    feeding : ndarray, (H, W) float32, optional
        Probability of belonging to a branch that feeds this tumour alone, from a network.
    """
    if not graph.branches:
        return tumour, Quality.NO_FEEDER
    scale = max(tumour.mask.shape) / 512
    distance = ndimage.distance_transform_edt(~tumour.mask)
    reach_px = feeder_reach_px(sub.spacing, sub.frames.shape[1:], params)
    flow = tree_flow(graph, distance, reach_px)
    ways = tree_ways(graph, flow, distance, reach_px=reach_px, own_share=params.own_share)
    if feeding is not None:
        paths = feeding_paths(feeding, tumour.mask, params=params.map)
        ways += mapped_ways(graph, paths, distance, near_px=params.near_px * scale)
    around = Surroundings.of(tumour, graph, flow, sub, ways, distance=distance, reach_px=reach_px, feeding=feeding)
    judged = [(way, _feeder(way, around, params)) for way in ways]
    # What is hardly a way is not told in place of one that it runs along with.
    likely = [pair for pair in judged if pair[1].probability >= params.min_probability]
    kept = _without_repetitions(sorted(likely, key=lambda pair: -pair[1].probability), params, scale)
    ranked = _beside_each_other(kept, tumour, params, scale)
    if not ranked:
        return tumour, Quality.NO_FEEDER
    return _with_targets(tumour, graph, flow, ranked[: params.max_count], params)


def feeder_reach_px(spacing: PixelSpacing | None, shape: Sequence[int], params: FeederParams) -> float:
    """Return how near the blush a leaf of the tree ends in it, pixels of a frame of (H, W)."""
    if spacing is not None and spacing.in_patient:
        return params.reach_mm / spacing.mean_mm
    return params.reach_px * float(max(shape)) / 512


def _feeder(way: Way, around: Surroundings, params: FeederParams) -> Feeder:
    graph, flow = around.graph, around.flow
    evidence = measure_way(way, around)
    target = place_target(graph, way, flow.share, params=params.targets)
    first = graph.branches[way.branches[0]] if way.branches else None
    return Feeder(
        id="candidate",
        rank=0,
        probability=around.tumour.probability * feeder_probability(evidence),
        # Flow goes with the third power of the calibre, and so would the calibre's error: feeders of one tumour differ
        # little more than that, and the calibre itself tells their shares better.
        contribution=min(1.0, 0.5 * target.diameter_px / around.widest),
        centreline=way.line,
        branch_start=(float(way.own[0, 0]), float(way.own[0, 1])),
        diameter_px=target.diameter_px if first is None else first.diameter_px,
        arrival_s=float("nan") if first is None else mean_arrival_s(first),
        overlap_ambiguous=_overlap_alone(way, graph, evidence, params),
        target=target,
        evidence=evidence,
    )


def _overlap_alone(way: Way, graph: VesselGraph, evidence: Mapping[str, float], params: FeederParams) -> bool:
    """Return whether nothing but the tree speaks for a way, where the tree cannot tell a crossing from a bifurcation.

    A map was learned from vessels that overlap: where it sees the feeder, overlap is not all there is.
    """
    crossed = any(graph.branches[k].overlap_ambiguous for k in way.branches)
    return crossed and not evidence["mapped"] >= params.map.seed


def _without_repetitions(
    ranked: Sequence[tuple[Way, Feeder]], params: FeederParams, scale: float
) -> list[tuple[Way, Feeder]]:
    """Return the ways, the likeliest first, so that those that mostly run where a likelier one does are one with it.

    Of those the one that is told has the longest course of its own: the surest way is often but the last piece, whose
    way up leads over a crossing.
    """
    near_px = params.near_px * scale
    groups: list[list[tuple[Way, Feeder]]] = []
    for way, feeder in ranked:
        same = (group for group in groups if max(_beside(way.own, group[0][0].own, near_px)) >= params.same_share)
        group = next(same, None)
        if group is None:
            groups.append([(way, feeder)])
        else:
            group.append((way, feeder))
    return [_longest(group, params, near_px) for group in groups]


def _longest(group: Sequence[tuple[Way, Feeder]], params: FeederParams, near_px: float) -> tuple[Way, Feeder]:
    """Return the longest way that holds most of the likeliest one's own course, judged as the likeliest one is.

    But for its own length, which is a longer one's own.
    """
    surest, likeliest = group[0]
    holds = [pair for pair in group if _beside(surest.own, pair[0].own, near_px)[0] >= params.same_share]
    way, feeder = max(holds, key=lambda pair: _length_px(pair[0].own))
    length = feeder.evidence["own_length_over_reach"]
    evidence = {**likeliest.evidence, "own_length_over_reach": length}
    return way, replace(feeder, probability=likeliest.probability, evidence=evidence)


def _beside_each_other(
    kept: Sequence[tuple[Way, Feeder]], tumour: Tumour, params: FeederParams, scale: float
) -> list[tuple[Way, Feeder]]:
    """Return the ways as likely as they are beside the likelier ones, the likeliest first.

    Of two ways that run together nearly all the way up, one is mostly a piece of the other.
    """
    near_px = params.near_px * scale
    judged: list[tuple[Way, Feeder]] = []
    for way, feeder in sorted(kept, key=lambda pair: -pair[1].probability):
        shared = max((_beside(way.line, other.line, near_px)[0] for other, _ in judged), default=0.0)
        evidence = {**feeder.evidence, "beside_likelier": shared}
        probability = tumour.probability * feeder_probability(evidence)
        judged.append((way, replace(feeder, probability=probability, evidence=evidence)))
    likely = (pair for pair in judged if pair[1].probability >= params.min_probability)
    return sorted(likely, key=lambda pair: -pair[1].probability)


def _length_px(line: npt.NDArray[np.float64]) -> float:
    return float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())


def _beside(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64], near_px: float) -> tuple[float, float]:
    """Return the share of either line that runs beside the other."""
    first, second = (float((KDTree(b).query(a)[0] <= near_px).mean()) for a, b in ((one, other), (other, one)))
    return first, second


def _with_targets(
    tumour: Tumour, graph: VesselGraph, flow: TreeFlow, ranked: Sequence[tuple[Way, Feeder]], params: FeederParams
) -> tuple[Tumour, Quality]:
    # What a feeder gives counts as far as it is likely one.
    given = [feeder.probability * feeder.contribution for _, feeder in ranked]
    total = sum(given)
    named = []
    for k, (way, feeder) in enumerate(ranked):
        # Without any calibre no feeder can be said to give more than another.
        share = given[k] / total if total > 0 else 1 / len(ranked)
        name = f"{tumour.id}-F{k + 1}"
        target = replace(feeder.target, covers=(name,))
        named.append((way, replace(feeder, id=name, rank=k + 1, contribution=share, target=target)))
    sure = [pair for pair in named if pair[1].probability >= params.target_probability] or named[:1]
    ends = {feeder.id: way.branches[-1] for way, feeder in sure if way.branches}
    alone = {feeder.id: feeder.target for _, feeder in sure}
    tree = (graph, flow.flow, flow.into_tumour, ends)
    targets = choose_targets(*tree, params=params.targets, own_targets=alone)
    options = weigh_options(*tree, params=params.targets, own_targets=alone)
    # A feeder that no branch of the tree lies under is reached in itself alone.
    targets += tuple(feeder.target for way, feeder in sure if not way.branches)
    feeders = tuple(feeder for _, feeder in named)
    undecided = any(f.overlap_ambiguous and f.worth_showing for f in feeders)
    quality = Quality.OVERLAP_AMBIGUOUS if undecided else Quality.NONE
    return replace(tumour, feeders=feeders, targets=targets, options=options), quality
