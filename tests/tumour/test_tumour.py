from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from angio_pipeline.core.followups import FilmRoi
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.tumours import Feeder, LesionOrigin, Tumour
from angio_pipeline.core.vessels import Branch, VesselGraph
from angio_pipeline.dsa import MaskParams, SubtractParams, choose_mask, subtract
from angio_pipeline.perfusion import PerfusionParams, measure
from angio_pipeline.tumour import (
    BlushParams,
    FeederParams,
    ShuntParams,
    TargetParams,
    choose_targets,
    find_blush,
    find_feeders,
    find_shunts,
    tumours_from_rois,
    weigh_options,
)
from angio_pipeline.vessels import GraphParams, SegmentParams, build_graph, segment


@pytest.fixture(scope="module")
def stages(still_scene):
    run = still_scene.run
    sub = subtract(run, choose_mask(run, params=MaskParams()), params=SubtractParams())
    maps = measure(sub, params=PerfusionParams())
    vessels = segment(sub, maps, params=SegmentParams())
    graph, tip = build_graph(vessels, sub, maps, params=GraphParams())
    return sub, maps, vessels, graph, tip


def _iou(a, b) -> float:
    return np.count_nonzero(a & b) / np.count_nonzero(a | b)


@pytest.mark.slow
def test_the_blush_is_found_where_it_is_and_nowhere_else(stages, still_scene) -> None:
    sub, maps, vessels, _, _ = stages
    (found,), quality = find_blush(sub, maps, vessels, params=BlushParams())
    assert _iou(found.mask, still_scene.tumour) > 0.6
    assert found.probability > 0.5
    assert quality is Quality.NONE


@pytest.mark.slow
def test_the_feeder_is_the_branch_that_ends_in_the_blush(stages, still_scene) -> None:
    sub, _maps, _, graph, _ = stages
    tumour = Tumour("T1", still_scene.tumour, 1.0, LesionOrigin.ROI)
    fed, _ = find_feeders(tumour, graph, sub, params=FeederParams())
    (feeder,) = fed.feeders
    assert np.linalg.norm(np.array(feeder.branch_start) - (150, 128)) < 10
    assert feeder.probability > 0.4
    assert feeder.contribution == pytest.approx(1.0)
    assert np.linalg.norm(feeder.centreline[0] - (236, 128)) < 12
    end = feeder.centreline[-1]
    assert still_scene.tumour[round(end[0]), round(end[1])] or np.hypot(end[0] - 62, end[1] - 64) < 25


def test_the_target_lies_on_the_feeding_branch_beyond_what_feeds_others(stages, still_scene) -> None:
    sub, _maps, _, graph, _ = stages
    fed, _ = find_feeders(Tumour("T1", still_scene.tumour, 1.0, LesionOrigin.ROI), graph, sub, params=FeederParams())
    (target,) = fed.targets
    start, end = np.array([150.0, 128.0]), np.array([70.0, 70.0])
    direction = (end - start) / np.linalg.norm(end - start)
    offset = np.array([target.row, target.col]) - start
    along = offset @ direction
    assert 0 < along < np.linalg.norm(end - start)
    assert np.linalg.norm(offset - along * direction) < 4
    assert target.non_target_fraction == 0
    assert target.covers == ("T1-F1",)


def test_a_region_given_takes_the_place_of_detection(stages, still_scene) -> None:
    sub = stages[0]
    (tumour,), quality = tumours_from_rois([FilmRoi("L7", still_scene.tumour, "1.2.3")], sub)
    assert tumour.origin is LesionOrigin.ROI
    assert tumour.id == "L7"
    assert quality is Quality.NONE


def test_a_region_of_another_size_is_flagged_not_stretched(stages) -> None:
    found, quality = tumours_from_rois([FilmRoi("L1", np.ones((9, 9), bool), "1.2.3")], stages[0])
    assert found == ()
    assert quality is Quality.ROI_NOT_MATCHED


def test_a_blush_over_the_whole_frame_is_no_tumour(stages) -> None:
    sub, maps, vessels, _, _ = stages
    rows, cols = np.mgrid[:256, :256]
    wide = np.exp(-((rows - 128) ** 2 + (cols - 128) ** 2) / (2 * 90.0**2)).astype(np.float32)
    rise = (np.arange(20) > 8).astype(np.float32)[:, None, None]
    everywhere = replace(sub, frames=sub.frames * 0.01 + rise * wide)
    found, quality = find_blush(everywhere, maps, vessels, params=BlushParams())
    assert found == ()
    assert Quality.NO_TUMOUR_BLUSH in quality


def test_without_timing_no_blush_is_looked_for(stages) -> None:
    sub, maps, vessels, _, _ = stages
    untimed = replace(sub, quality=sub.quality | Quality.FILLED_FROM_FIRST_FRAME)
    assert find_blush(untimed, maps, vessels, params=BlushParams()) == ((), Quality.NO_TUMOUR_BLUSH)


def test_no_vein_gives_no_shunt(stages) -> None:
    sub, maps, vessels, graph, tip = stages
    found, _ = find_shunts(sub, maps, vessels, graph, (), tip=tip, params=ShuntParams())
    assert found == ()


def _branch(k: int, start: int, end: int, nodes: np.ndarray, radius: float) -> Branch:
    line = np.linspace(nodes[start], nodes[end], 21)
    return Branch(k, start, end, line, np.full(21, radius), np.full(21, float(k)))


@pytest.fixture
def comb() -> tuple[VesselGraph, np.ndarray, np.ndarray]:
    """A trunk with a side branch to the liver, then a fork into two branches to the tumour."""
    nodes = np.array([[0, 0], [20, 0], [20, 30], [40, 0], [60, -20], [60, 20]], float)
    pairs = [(0, 1), (1, 2), (1, 3), (3, 4), (3, 5)]
    graph = VesselGraph(nodes, tuple(_branch(k, a, b, nodes, 2.0) for k, (a, b) in enumerate(pairs)), 0)
    flow = np.array([3.0, 1.0, 2.0, 1.0, 1.0])
    into = np.array([2.0, 0.0, 2.0, 1.0, 1.0])
    return graph, flow, into


def test_one_position_serves_two_feeders_when_nothing_else_is_reached(comb) -> None:
    graph, flow, into = comb
    (target,) = choose_targets(graph, flow, into, {"F1": 3, "F2": 4}, params=TargetParams())
    assert target.covers == ("F1", "F2")
    assert target.non_target_fraction == 0
    assert target.bifurcations == 1


def test_two_positions_are_kept_apart_when_one_would_reach_liver(comb) -> None:
    graph, flow, into = comb
    into = into.copy()
    into[2] = 1.0
    into[0] = 1.0
    into[4] = 0.0
    targets = choose_targets(graph, flow, into, {"F1": 3}, params=TargetParams())
    assert [t.covers for t in targets] == [("F1",)]
    assert targets[0].non_target_fraction == 0


def test_the_trade_off_names_the_best_set_of_each_number_as_long_as_more_reach_less(comb) -> None:
    graph, _, _ = comb
    # Between the fork and the two ends something else is fed, and beyond the second end, too.
    flow = np.array([5.0, 1.0, 4.0, 1.0, 2.0])
    into = np.array([2.0, 0.0, 2.0, 1.0, 1.0])
    one, two = weigh_options(graph, flow, into, {"F1": 3, "F2": 4}, params=TargetParams())
    assert [len(option.targets) for option in (one, two)] == [1, 2]
    assert one.non_target_fraction == pytest.approx(2 / 4)
    assert two.non_target_fraction == pytest.approx(1 / 3)
    assert {target.covers for target in two.targets} == {("F1",), ("F2",)}


def test_no_second_position_is_offered_where_it_would_gain_nothing(comb) -> None:
    graph, flow, into = comb
    (only,) = weigh_options(graph, flow, into, {"F1": 3, "F2": 4}, params=TargetParams())
    assert len(only.targets) == 1
    assert only.non_target_fraction == 0


def test_a_target_tells_how_the_way_turns_and_how_far_past_the_fork_it_lies(comb) -> None:
    graph, flow, _ = comb
    # The other branch of the fork feeds something else, so the position lies beyond the fork.
    into = np.array([1.0, 0.0, 1.0, 1.0, 0.0])
    (target,) = choose_targets(graph, flow, into, {"F1": 3}, params=TargetParams())
    # Straight on past the side branch, then half a right angle.
    assert target.turns_deg == pytest.approx((0, 45), abs=1)
    assert target.beyond_last_branch_px == pytest.approx(0.85 * np.hypot(20, 20), rel=0.05)


def test_a_map_finds_the_feeder_that_the_tree_lost_and_says_so_in_its_evidence(stages, still_scene) -> None:
    sub, _maps, _, graph, _ = stages
    tumour = Tumour("T1", still_scene.tumour, 1.0, LesionOrigin.ROI)
    (known,) = find_feeders(tumour, graph, sub, params=FeederParams())[0].feeders
    own = known.centreline[np.linalg.norm(known.centreline - known.branch_start, axis=1).argmin() :]
    shown = np.zeros(sub.valid.shape, np.float32)
    cv2.polylines(shown, [np.rint(own[:, ::-1]).astype(np.int32)], False, 0.9, 3)
    trunk = replace(graph, branches=tuple(b for b in graph.branches if b.id != _last_of(graph, known).id))
    fed, _ = find_feeders(tumour, trunk, sub, params=FeederParams(), feeding=shown)
    assert fed.feeders[0].probability > 0.5
    assert fed.feeders[0].evidence["mapped"] > 0.7
    assert np.linalg.norm(np.array(fed.feeders[0].branch_start) - known.branch_start) < 12
    nothing, _ = find_feeders(tumour, graph, sub, params=FeederParams(), feeding=np.zeros_like(shown))
    assert all(feeder.probability < 0.5 for feeder in nothing.feeders)


def test_overlap_decides_nothing_only_where_no_map_speaks(stages, still_scene) -> None:
    sub, _maps, _, graph, _ = stages
    tumour = Tumour("T1", still_scene.tumour, 1.0, LesionOrigin.ROI)
    crossed = replace(graph, branches=tuple(replace(b, overlap_ambiguous=True) for b in graph.branches))
    (alone,) = find_feeders(tumour, crossed, sub, params=FeederParams())[0].feeders
    shown = np.zeros(sub.valid.shape, np.float32)
    cv2.polylines(shown, [np.rint(alone.centreline[:, ::-1]).astype(np.int32)], False, 0.9, 5)
    fed, quality = find_feeders(tumour, crossed, sub, params=FeederParams(), feeding=shown)
    assert alone.overlap_ambiguous
    assert not fed.feeders[0].overlap_ambiguous
    assert fed.feeders[0].probability > 0.5
    assert any(f.overlap_ambiguous for f in fed.feeders) == bool(quality & Quality.OVERLAP_AMBIGUOUS)


def _last_of(graph: VesselGraph, feeder: Feeder) -> Branch:
    end = feeder.centreline[-1]
    return min(graph.branches, key=lambda b: float(np.linalg.norm(b.centreline - end, axis=1).min()))


def test_an_empty_graph_feeds_nothing(stages, still_scene) -> None:
    sub, _maps, *_ = stages
    empty = VesselGraph(np.empty((0, 2)), (), None)
    tumour = Tumour("T1", still_scene.tumour, 1.0, LesionOrigin.ROI)
    fed, quality = find_feeders(tumour, empty, sub, params=FeederParams())
    assert fed.feeders == ()
    assert quality is Quality.NO_FEEDER
