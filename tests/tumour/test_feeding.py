"""Paths out of a map of what feeds a tumour: where they run, where they end, and how the tree leads on from them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from angio_pipeline.core.vessels import Branch, VesselGraph
from angio_pipeline.tumour.feeder_evidence import feeder_probability
from angio_pipeline.tumour.feeding import FeedingParams, feeding_paths
from angio_pipeline.tumour.ways import mapped_ways, tree_flow, tree_ways

SIZE = 512


def _map(*lines: list[tuple[int, int]], level: float = 0.9) -> np.ndarray:
    """Return a map that is certain along the lines, (row, col), and knows nothing elsewhere."""
    image = np.zeros((SIZE, SIZE), np.float32)
    for line in lines:
        cv2.polylines(image, [np.array(line)[:, ::-1].astype(np.int32)], False, level, 3)
    return image


@pytest.fixture
def tumour() -> np.ndarray:
    rows, columns = np.mgrid[:SIZE, :SIZE]
    return np.asarray(np.hypot(rows - 250, columns - 250) < 30)


def test_a_path_runs_along_the_map_to_the_tumour(tumour: np.ndarray) -> None:
    (path,) = feeding_paths(_map([(150, 250), (225, 250)]), tumour, params=FeedingParams())
    assert np.abs(path.line[:, 1] - 250).max() <= 3
    assert path.line[0, 0] == pytest.approx(150, abs=4)
    assert path.line[-1, 0] == pytest.approx(220, abs=6)
    assert path.probability.mean() > 0.8


def test_branches_that_join_before_the_tumour_are_told_apart(tumour: np.ndarray) -> None:
    shown = _map([(150, 210), (200, 250), (222, 250)], [(150, 290), (200, 250)])
    starts = sorted(path.line[0, 1] for path in feeding_paths(shown, tumour, params=FeedingParams()))
    assert starts == pytest.approx([210, 290], abs=6)


def test_what_does_not_reach_the_tumour_is_no_path(tumour: np.ndarray) -> None:
    assert feeding_paths(_map([(20, 20), (90, 20)]), tumour, params=FeedingParams()) == []


def test_a_faint_map_is_no_path(tumour: np.ndarray) -> None:
    assert feeding_paths(_map([(150, 250), (225, 250)], level=0.3), tumour, params=FeedingParams()) == []


def test_an_empty_map_has_no_path(tumour: np.ndarray) -> None:
    assert feeding_paths(np.zeros((SIZE, SIZE), np.float32), tumour, params=FeedingParams()) == []


def _branch(k: int, start: tuple[float, float], end: tuple[float, float]) -> Branch:
    line = np.linspace(start, end, 51)
    return Branch(k, k, k + 1, line, np.full(51, 2.0), np.full(51, float(k)))


@pytest.fixture
def trunk() -> VesselGraph:
    """A trunk from the left edge that turns down towards the tumour."""
    branches = (_branch(0, (150, 100), (150, 250)), _branch(1, (150, 250), (225, 250)))
    return VesselGraph(np.array([(150.0, 100.0), (150.0, 250.0), (225.0, 250.0)]), branches, 0)


def test_the_tree_leads_from_the_root_to_where_a_path_begins(tumour: np.ndarray, trunk: VesselGraph) -> None:
    paths = feeding_paths(_map([(180, 250), (225, 250)]), tumour, params=FeedingParams())
    (way,) = mapped_ways(trunk, paths, distance_transform_edt(~tumour), near_px=4.0)
    assert way.before == (0,)
    assert way.branches == (1,)
    assert way.line[0] == pytest.approx((150, 100))
    steps = np.linalg.norm(np.diff(way.line, axis=0), axis=1)
    assert steps.max() < 8
    assert way.line[-1, 0] == pytest.approx(220, abs=6)


def test_a_path_far_from_the_tree_stands_alone(tumour: np.ndarray, trunk: VesselGraph) -> None:
    paths = feeding_paths(_map([(250, 360), (250, 275)]), tumour, params=FeedingParams())
    (way,) = mapped_ways(trunk, paths, distance_transform_edt(~tumour), near_px=4.0)
    assert way.before == way.branches == ()
    assert len(way.upstream) == 0
    assert np.array_equal(way.line, way.own)


@pytest.mark.parametrize(("end", "last_row"), [((225, 250), 225), ((290, 250), 259)])
def test_a_way_goes_on_inside_until_the_branch_ends_or_leaves(end: tuple[int, int], last_row: float) -> None:
    branches = (_branch(0, (150, 100), (150, 250)), _branch(1, (150, 250), end))
    tree = VesselGraph(np.array([(150.0, 100.0), (150.0, 250.0), end]), branches, 0)
    blush = np.zeros((SIZE, SIZE), bool)
    blush[200:260, 220:280] = True
    distance = distance_transform_edt(~blush)
    ways = tree_ways(tree, tree_flow(tree, distance, 50.0), distance, reach_px=50.0, own_share=0.7)
    assert ways
    assert all(way.own[-1, 0] == pytest.approx(200, abs=3) for way in ways)
    assert all(way.line[-1, 0] == pytest.approx(last_row, abs=3) for way in ways)


EVIDENCE = {
    "mapped": 0.6, "mapped_least": 0.4, "own_length_over_reach": 3.0, "gap_over_reach": 0.0, "heading": 0.9,
    "length_inside_over_radius": 0.8, "inside_share": 0.5, "own_share": 1.0, "calibre_over_widest": 0.3,
    "contrast_over_strongest": 0.7, "blush_delay_s": 0.4, "rooted": 1.0, "beside_likelier": 0.0,
}  # fmt: skip


@pytest.mark.parametrize("mapped", [0.6, float("nan")], ids=["with a map", "by the tree alone"])
def test_a_way_beside_a_likelier_one_is_less_likely_and_one_that_shares_its_beginning_is_not(mapped: float) -> None:
    known = EVIDENCE | {"mapped": mapped, "mapped_least": mapped}
    alone, sharing, beside = (feeder_probability(known | {"beside_likelier": share}) for share in (0.0, 0.45, 0.95))
    assert alone == sharing > beside + 0.1


@pytest.mark.parametrize("mapped", [0.6, float("nan")], ids=["with a map", "by the tree alone"])
def test_a_longer_own_part_and_a_surer_heading_speak_for_a_way(mapped: float) -> None:
    known = EVIDENCE | {"mapped": mapped, "mapped_least": mapped}
    assert feeder_probability(known) > feeder_probability(known | {"own_length_over_reach": 0.5})
    assert feeder_probability(known) > feeder_probability(known | {"heading": -0.5})
