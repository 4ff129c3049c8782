"""Tissue's picture, drainages and ways of a tree where times, lengths and levels are known by construction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from angio_pipeline.core.provenance import Source
from angio_pipeline.core.runs import Background, SubtractedRun
from angio_pipeline.core.tumours import ShuntKind
from angio_pipeline.core.vessels import Branch, CatheterTip, VesselGraph, VesselSegmentation
from angio_pipeline.tumour import ShuntParams
from angio_pipeline.tumour.courses import Course, branch_courses
from angio_pipeline.tumour.early_veins import EarlyVeinParams, drainage_features, drainages
from angio_pipeline.tumour.filling import Filling, features
from angio_pipeline.tumour.shunts import _judge
from angio_pipeline.tumour.tissue import picture_tissue
from angio_pipeline.tumour.ways import TreeFlow, tree_ways

SIDE = 256
TIMES = np.arange(14) * 0.5
#        0  .5   1  1.5   2  2.5   3   3.5   4   4.5  5  5.5  6  6.5 s
FULL = [0, 0, 0.5, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2, 0.1, 0, 0, 0, 0]
ARTERY, TISSUE = np.array(FULL), np.clip((TIMES - 2.0) / 4.0, 0, 1)


def run(frames, usable=None):
    flat = np.zeros(frames.shape[1:], np.float32)
    usable = np.ones(len(frames), bool) if usable is None else usable
    return SubtractedRun(
        frames.astype(np.float32), TIMES[: len(frames)], np.ones(flat.shape, bool), usable, Background.MASK, (0, 1), 3,
        np.zeros((len(frames), 2)), 1.0, 0.5, 0.01, flat, flat, Source("1.2.3", "1.2"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def painted():
    """An artery, a band 9 px wide, in tissue that comes later; the frames, and the artery."""
    artery = np.zeros((SIDE, SIDE), bool)
    artery[:, 100:109] = True
    frames = 0.2 * TISSUE[:, None, None] * np.ones((SIDE, SIDE)) + ARTERY[:, None, None] * artery
    return frames, artery


def pictured(frames, artery, *, window_s=1.0, emptied_share=0.3, usable=None):
    vessels = VesselSegmentation(artery.astype(np.float32), artery)
    return picture_tissue(run(frames, usable), vessels, window_s=window_s, emptied_share=emptied_share)


def test_the_curve_of_the_arteries_is_what_they_hold_above_the_tissue_beside_them(painted):
    assert pictured(*painted).artery == pytest.approx(ARTERY, abs=1e-4)


@pytest.mark.parametrize(("share", "first"), [(0.65, 6), (0.45, 7), (0.3, 8), (0.15, 9)])
def test_the_stain_begins_when_the_arteries_have_emptied_and_lasts_as_long_as_asked(painted, share, first):
    for window_s, count in ((0.0, 1), (1.0, 3), (2.0, 5)):
        told = pictured(*painted, window_s=window_s, emptied_share=share)
        assert (told.first, told.last) == (first, min(first + count - 1, 13))


def test_the_stain_is_the_mean_of_its_frames_and_the_liver_is_what_lies_beside_the_arteries(painted):
    told = pictured(*painted)
    tissue = 0.2 * TISSUE[told.first : told.last + 1].mean()
    assert told.stain[30, 30] == pytest.approx(tissue, rel=1e-4)
    assert told.liver == pytest.approx(tissue, rel=0.02)
    assert told.inside.all()
    assert told.times_s == pytest.approx(TIMES)


def test_frames_that_could_not_be_aligned_take_no_part(painted):
    usable = np.ones(14, bool)
    usable[[4, 9]] = False
    told = pictured(*painted, usable=usable)
    assert len(told.frames) == 12
    assert told.times_s == pytest.approx(TIMES[usable])


def test_where_arteries_stay_full_the_last_frames_count_and_the_arteries_are_left_out(painted):
    _, artery = painted
    stays = np.clip((TIMES - 1.0) / 1.0, 0, 1)
    frames = stays[:, None, None] * artery + 0.1 * TISSUE[:, None, None]
    told = pictured(frames, artery)
    assert told.last == 13
    assert told.first == 12
    assert not told.inside[:, 102:107].any()
    assert told.inside[:, :95].all()


def test_without_an_artery_the_brightest_pixel_tells_the_time_and_bright_tissue_the_liver():
    level = np.where(np.arange(SIDE) < SIDE // 2, 0.1, 0.3)[None, :] * np.ones((SIDE, 1))
    told = pictured(ARTERY[:, None, None] * level, np.zeros((SIDE, SIDE), bool))
    assert told.artery == pytest.approx(0.3 * ARTERY, rel=1e-5)
    # Of the stain's pixels half are bright: so is the one that three quarters do not pass.
    assert told.liver == pytest.approx(float(told.stain[:, -20:].mean()), rel=1e-3)


def test_a_large_frame_is_looked_at_on_a_coarse_grid():
    frames = np.kron(0.2 * TISSUE[:4, None, None] * np.ones((8, 8)), np.ones((64, 64)))
    told = pictured(frames, np.zeros((512, 512), bool))
    assert told.stain.shape == (256, 256)


def test_a_slope_is_told_in_units_a_grid_pixel(painted):
    ramp = 0.01 * np.arange(SIDE)[None, :] * np.ones((SIDE, 1))
    told = pictured(np.ones(14)[:, None, None] * ramp, np.zeros((SIDE, SIDE), bool))
    assert told.slope[100, 100] == pytest.approx(0.01, rel=1e-3)


# --- drainages ------------------------------------------------------------------------------------


def course(row, length, *, radius=3.0, branch=None):
    points = np.column_stack([np.full(length, float(row)), np.arange(float(length))])
    return Course(points, np.full(length, radius), branch)


def filled(courses, *, noise=20.0):
    evidence = tuple({"contrast_in_noise": noise, "radius_px": float(one.radius_px[0])} for one in courses)
    return Filling(evidence, np.zeros(len(courses)))


def drained(courses, likely, *, scale=1.0, noise=20.0):
    return drainages(courses, filled(courses, noise=noise), np.array(likely), params=EarlyVeinParams(), scale=scale)


def test_pieces_within_reach_are_one_drainage_and_the_longest_comes_first():
    courses = [course(0, 20), course(100, 60), course(111, 60), course(124, 60)]
    found = drained(courses, [1.0, 1.0, 1.0, 1.0])
    assert [one.pieces for one in found] == [(1, 2), (3,), (0,)]
    # What lies together in a frame of half the size lies nearer together.
    assert [one.pieces for one in drained(courses, [1.0] * 4, scale=0.5)] == [(1,), (2,), (3,), (0,)]
    assert len(drained(courses, [1.0] * 4, scale=2.0)) == 2


def test_a_drainage_is_weighed_by_how_likely_its_pieces_are():
    courses = [course(100, 60, radius=2.0, branch=0), course(105, 40, radius=6.0)]
    (found,) = drained(courses, [0.5, 1.0], scale=1.0)
    assert found.evidence["length_px"] == pytest.approx(30 + 40)
    assert found.evidence["radius_px"] == pytest.approx((30 * 2 + 40 * 6) / 70)
    assert found.evidence["told"] == pytest.approx(40 / 70)
    (larger,) = drained(courses, [0.5, 1.0], scale=2.0)
    assert larger.evidence["length_px"] == pytest.approx(35)


def test_unlikely_pieces_and_those_within_the_noise_drain_nothing():
    courses = [course(100, 60), course(105, 60)]
    least = EarlyVeinParams()
    assert [one.pieces for one in drained(courses, [1.0, least.likely - 0.01])] == [(0,)]
    assert [one.pieces for one in drained(courses, [1.0, least.likely])] == [(0, 1)]
    assert drained(courses, [0.0, 0.0]) == []
    assert drained(courses, [1.0, 1.0], noise=least.over_noise - 0.1) == []
    assert len(drained(courses, [1.0, 1.0], noise=least.over_noise)) == 1


def test_a_branch_is_the_same_course_at_half_the_size():
    line = np.column_stack([np.arange(0.0, 41.0), np.full(41, 8.0)])
    graph = VesselGraph(line[[0, -1]], (Branch(0, 0, 1, line, np.full(41, 4.0), np.zeros(41)),), 0)
    (half,) = branch_courses(graph, 2)
    assert half.points == pytest.approx(line[::2] / 2)
    assert half.radius_px == pytest.approx(np.full(21, 2.0))
    assert (half.branch, half.length_px) == (0, 21.0)


def test_what_a_drainage_says_grows_with_the_logarithm():
    known = {"length_px": 0.0, "radius_px": 1.0, "told": 0.4}
    assert drainage_features(known) == pytest.approx({"length": 0.0, "radius": 0.0, "told": 0.4})
    assert drainage_features(known | {"length_px": np.e - 1})["length"] == pytest.approx(1.0)
    assert drainage_features(known | {"radius_px": np.e})["radius"] == pytest.approx(1.0)
    least = drainage_features(known | {"radius_px": 0.3})["radius"]
    assert drainage_features(known | {"radius_px": 0.0})["radius"] == pytest.approx(least)


KNOWN = {
    "radius_px": 2.0, "length_px": 30.0, "contrast_in_noise": 20.0, "contrast_share": 0.5, "density": 0.5,
    "evenness": 0.4, "arrival_s": 0.2, "emptying_s": 0.3, "passage_s": 0.4, "late": 0.2, "vein": 0.3, "artery": 0.8,
    "over_parent": -0.2, "supply": -1.0,
}  # fmt: skip


def test_features_are_logarithms_log_odds_and_times():
    told = features(KNOWN)
    expected = {
        "radius": np.log(2), "length": np.log(30), "contrast_in_noise": np.log(20), "contrast_share": np.log(0.5),
        "density": np.log(0.5), "evenness": np.log(0.4 / 0.5), "arrival": 0.2, "emptying": 0.3, "passage": 0.4,
        "late": 0.2, "vein": np.log(3 / 7), "artery": np.log(4), "over_parent": -0.2, "supply": -1.0,
    }  # fmt: skip
    assert told == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "told", "end", "beyond"),
    [
        ("radius_px", "radius", 0.3, 0.01),
        ("contrast_in_noise", "contrast_in_noise", 1.0, 0.1),
        ("contrast_in_noise", "contrast_in_noise", 200.0, 900.0),
        ("contrast_share", "contrast_share", 0.02, 0.0),
        ("contrast_share", "contrast_share", 3.0, 9.0),
        ("density", "density", 0.02, -1.0),
        ("density", "density", 3.0, 9.0),
        ("evenness", "evenness", 0.02, -1.0),
        ("arrival_s", "arrival", -1.0, -4.0),
        ("emptying_s", "emptying", 2.0, 7.0),
        ("passage_s", "passage", 2.0, 7.0),
        ("late", "late", -0.5, -3.0),
        ("late", "late", 2.0, 3.0),
        ("vein", "vein", 0.01, 0.0),
        ("artery", "artery", 0.99, 1.0),
    ],
)
def test_features_end_where_they_say_no_more(name, told, end, beyond):
    at_end = features(KNOWN | {name: end})[told]
    assert features(KNOWN | {name: beyond})[told] == pytest.approx(at_end)
    assert features(KNOWN)[told] != pytest.approx(at_end)


# --- shunts without a network -----------------------------------------------------------------------


def judged(*, lead=2.0, length=80, rows=(100, 106), tip=None, params=None, scale=1.0):
    region = np.zeros((512, 512), bool)
    region[rows[0] : rows[1], 100 : 100 + length] = True
    graph = VesselGraph(np.array([[100.0, 60.0], [100.0, 90.0]]), (), 0)
    return _judge(region, 3.0, 3.0 + lead, graph, tip, params or ShuntParams(), scale)


def test_a_filling_that_does_not_lead_tissue_is_no_shunt():
    least = ShuntParams().lead_s
    assert judged(lead=least - 0.01) is None
    assert judged(lead=float("nan")) is None
    assert judged(lead=least) is not None


def test_an_earlier_and_a_longer_filling_is_likelier_and_lies_in_its_middle():
    plain, earlier, longer = judged(), judged(lead=3.0), judged(length=200)
    assert plain.probability < earlier.probability
    assert plain.probability < longer.probability
    assert (plain.row, plain.col) == pytest.approx((102.5, 139.5))
    assert plain.arrival_s == 3.0

    def log_odds(shunt):
        return np.log(shunt.probability / (1 - shunt.probability))

    # Each second, and each pixel of length, is worth the same wherever it is added.
    assert log_odds(judged(lead=4.0)) - log_odds(earlier) == pytest.approx(log_odds(earlier) - log_odds(plain))
    steps = np.diff([log_odds(judged(length=n)) for n in (100, 150, 200)])
    assert steps[0] == pytest.approx(steps[1], rel=0.1)
    assert steps[0] > 0


def test_what_drains_near_the_hilum_is_portal_and_what_drains_far_from_it_is_not():
    assert judged().kind is ShuntKind.ARTERIOPORTAL
    away = CatheterTip(400.0, 100.0, 1.0)
    assert judged(tip=away).kind is ShuntKind.ARTERIOVENOUS
    # In a frame of twice the size twice as far is as near.
    assert judged(tip=CatheterTip(300.0, 100.0, 1.0)).kind is ShuntKind.ARTERIOVENOUS
    assert judged(tip=CatheterTip(300.0, 100.0, 1.0), scale=2.0).kind is ShuntKind.ARTERIOPORTAL


# --- ways of the tree ---------------------------------------------------------------------------------


def straight(first, last, radius=2.0):
    line = np.linspace(first, last, 61)
    branch = Branch(0, 0, 1, line, np.full(61, radius), np.zeros(61))
    return VesselGraph(np.array([first, last], float), (branch,), 0)


def ways(graph, *, reach=5.0, into=1.0):
    rows, cols = np.mgrid[:128, :128]
    distance = distance_transform_edt(np.hypot(rows - 64, cols - 64) > 20)
    return tree_ways(graph, TreeFlow(np.ones(1), np.array([into])), distance, reach_px=reach, own_share=0.7)


def test_a_branch_that_ends_within_reach_of_the_tumour_comes_in_and_one_that_ends_farther_does_not():
    near = straight((10.0, 64.0), (40.0, 64.0))  # 4 px before the edge, which lies at row 44
    assert len(ways(near, reach=5.0)) == 1
    assert ways(near, reach=3.0) == []
    assert ways(near, into=0.0) == []


def test_a_branch_that_leaves_the_tumour_or_runs_over_it_does_not_come_in():
    assert ways(straight((64.0, 64.0), (10.0, 64.0))) == []
    assert ways(straight((10.0, 64.0), (120.0, 64.0))) == []
    assert ways(straight((40.0, 64.0), (10.0, 64.0))) == []


def test_a_way_ends_where_it_comes_in_and_goes_on_inside_to_its_end():
    (way,) = ways(straight((10.0, 64.0), (70.0, 64.0)))
    assert way.own[-1] == pytest.approx((44, 64), abs=1)
    assert way.line[-1] == pytest.approx((70, 64))
    assert way.line[0] == pytest.approx((10, 64))
    assert (way.before, way.branches, len(way.upstream)) == ((), (0,), 0)


def test_a_branch_before_it_that_also_feeds_something_else_is_upstream():
    first, last = straight((10.0, 20.0), (10.0, 64.0)).branches[0], straight((10.0, 64.0), (60.0, 64.0)).branches[0]
    nodes = np.array([[10.0, 20.0], [10.0, 64.0], [60.0, 64.0]])
    graph = VesselGraph(nodes, (first, replace(last, id=1, start=1, end=2)), 0)
    rows, cols = np.mgrid[:128, :128]
    distance = distance_transform_edt(np.hypot(rows - 64, cols - 64) > 20)
    for share, before, branches in ((0.69, (0,), (1,)), (0.7, (), (0, 1))):
        flow = TreeFlow(np.array([2.0, 1.0]), np.array([2 * share, 1.0]))
        (way,) = tree_ways(graph, flow, distance, reach_px=5.0, own_share=0.7)
        assert (way.before, way.branches) == (before, branches)
        assert way.line[0] == pytest.approx((10, 20))
        steps = np.linalg.norm(np.diff(way.line, axis=0), axis=1)
        assert steps.min() > 0
        assert steps.max() < 1.1
