"""A reader's word: each edit on the still scene, whose vessels and tumour are known by construction."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from angio_pipeline.core.corrections import (
    AcceptFeeder,
    AddFeeder,
    AddTumour,
    FeederPlace,
    GivenEdit,
    MoveTarget,
    Note,
    RedrawTumour,
    RejectFeeder,
    RemoveTumour,
    TumourPlace,
    correction_quality,
)
from angio_pipeline.core.followups import FilmRoi
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.tumours import ByHand, LesionOrigin, Tumour
from angio_pipeline.core.vessels import Branch, VesselGraph
from angio_pipeline.dsa import MaskParams, SubtractParams, choose_mask, subtract
from angio_pipeline.perfusion import PerfusionParams, measure
from angio_pipeline.tumour import (
    CorrectionParams,
    FeederParams,
    correct_feeders,
    correct_tumours,
    find_feeders,
    place_edits,
    tumours_from_rois,
)
from angio_pipeline.tumour.placing import anatomy_shift
from angio_pipeline.vessels import GraphParams, SegmentParams, build_graph, segment

PARAMS, FEEDERS = CorrectionParams(), FeederParams()
ALL = FeederParams(min_probability=0, target_probability=0)
FORK, LEFT_END, RIGHT_END, ROOT = (150.0, 128.0), (70.0, 70.0), (80.0, 200.0), (236.0, 128.0)
T1 = TumourPlace(id="T1", point=(62.0, 64.0))
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def sub(still_scene):
    run = still_scene.run
    return subtract(run, choose_mask(run, params=MaskParams()), params=SubtractParams())


@pytest.fixture(scope="module")
def graph(sub):
    maps = measure(sub, params=PerfusionParams())
    return build_graph(segment(sub, maps, params=SegmentParams()), sub, maps, params=GraphParams())[0]


@pytest.fixture(scope="module")
def left(still_scene, graph, sub) -> Tumour:
    """The tumour at the end of the left branch with the feeder that the software finds."""
    bare = Tumour("T1", still_scene.tumour, 0.7, LesionOrigin.DETECTED)
    return find_feeders(bare, graph, sub, params=FEEDERS)[0]


@pytest.fixture(scope="module")
def fork() -> VesselGraph:
    """A trunk that divides into branches to the left (radius 2), to the right and to elsewhere (radius 3)."""
    nodes = np.array([ROOT, FORK, LEFT_END, RIGHT_END, (200, 220)], float)
    branches = []
    for k, (a, b) in enumerate([(0, 1), (1, 2), (1, 3), (1, 4)]):
        line = np.linspace(nodes[a], nodes[b], int(np.linalg.norm(nodes[b] - nodes[a])) + 1)
        branches.append(
            Branch(k, a, b, line, np.full(len(line), 2.0 if k == 1 else 3.0), np.full(len(line), float(k > 0)))
        )
    return VesselGraph(nodes, tuple(branches), 0)


@pytest.fixture(scope="module")
def between(fork, sub) -> Tumour:
    """A tumour that two of the three branches run into, with both as feeders, however likely."""
    rows, cols = np.mgrid[:256, :256]
    bare = Tumour("T1", (abs(rows - 74) < 16) & (abs(cols - 135) < 70), 0.7, LesionOrigin.DETECTED)
    found = find_feeders(bare, fork, sub, params=ALL)[0]
    assert len(found.feeders) == 2
    return found


def middle(start, end, share=0.5):
    return tuple(float(a + share * (b - a)) for a, b in zip(start, end, strict=True))


def disc(centre, radius=15.0):
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return (tuple((float(centre[0] + radius * np.sin(a)), float(centre[1] + radius * np.cos(a))) for a in turn),)


def given(kind, name="e1", minutes=0, **told):
    return GivenEdit(kind(id=name, time=NOON + timedelta(minutes=minutes), **told), reference_frame=9)


def feeders_after(tumours, edits, graph, sub, quality=Quality.NONE, feeders=FEEDERS):
    return correct_feeders(tumours, quality, edits, graph, sub, feeders=feeders, params=PARAMS)


def tumours_after(found, edits, quality=Quality.NONE):
    return correct_tumours(found, quality, edits, (256, 256), params=PARAMS)


def off_line(point, start, end):
    """Distance of a point from the straight line between two others."""
    along = np.subtract(end, start) / np.linalg.norm(np.subtract(end, start))
    offset = np.subtract(point, start)
    return float(np.linalg.norm(offset - (offset @ along) * along))


# --- feeders ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_accepted_feeder_is_certain_and_says_who_decided(left, graph, sub) -> None:
    before = left.feeders[0]
    edit = given(AcceptFeeder, tumour=T1, feeder=FeederPlace(id="T9-F9", point=middle(FORK, LEFT_END)))
    (tumour,), quality, (told,) = feeders_after([left], [edit], graph, sub)
    (feeder,) = tumour.feeders
    assert feeder.probability == 1.0
    assert feeder.corrected is ByHand.ACCEPTED
    assert feeder.evidence["set_by_hand"] == 1.0
    assert feeder.evidence["probability_before"] == before.probability < 1.0
    assert np.array_equal(feeder.centreline, before.centreline)
    assert told.applied
    assert quality is Quality.NONE


@pytest.mark.slow
def test_a_rejected_feeder_is_gone_and_takes_its_targets_along(left, graph, sub) -> None:
    edit = given(RejectFeeder, tumour=T1, feeder=FeederPlace(branch_start=FORK))
    (tumour,), quality, (told,) = feeders_after([left], [edit], graph, sub)
    assert tumour.feeders == ()
    assert tumour.targets == ()
    assert quality is Quality.NO_FEEDER
    assert told.applied


def test_the_contributions_of_those_that_are_left_sum_to_one(between, fork, sub) -> None:
    edit = given(RejectFeeder, tumour=TumourPlace(id="T1"), feeder=FeederPlace(point=middle(FORK, RIGHT_END)))
    (tumour,), _, _ = feeders_after([between], [edit], fork, sub, feeders=ALL)
    (feeder,) = tumour.feeders
    assert feeder.contribution == pytest.approx(1.0)
    assert feeder.rank == 1
    assert off_line(feeder.centreline[-1], FORK, LEFT_END) < 4
    assert [target.covers for target in tumour.targets] == [(feeder.id,)]


def test_flow_of_a_rejected_branch_counts_as_going_elsewhere(between, fork, sub) -> None:
    # Flow follows the cube of the radius: 8 to the left, 27 to the right, 27 to elsewhere.
    trunk = {"tumour": TumourPlace(id="T1"), "to": middle(ROOT, FORK)}
    move = given(MoveTarget, "e2", 1, **trunk)
    reject = given(RejectFeeder, tumour=TumourPlace(id="T1"), feeder=FeederPlace(point=middle(FORK, RIGHT_END)))
    (both,), _, _ = feeders_after([between], [move], fork, sub, feeders=ALL)
    (one,), _, _ = feeders_after([between], [reject, move], fork, sub, feeders=ALL)
    assert both.targets[0].non_target_fraction == pytest.approx(27 / 62)
    assert one.targets[0].non_target_fraction == pytest.approx(54 / 62)


@pytest.mark.slow
def test_one_click_lays_the_way_from_the_root_through_it_to_the_tumour(left, graph, sub) -> None:
    bare = replace(left, feeders=(), targets=())
    row, col = middle(FORK, LEFT_END)
    edit = given(AddFeeder, tumour=T1, click=(row + 3, col + 3))
    (tumour,), _, (told,) = feeders_after([bare], [edit], graph, sub)
    (feeder,) = tumour.feeders
    line = feeder.centreline
    assert told.applied
    assert feeder.corrected is ByHand.ADDED
    assert (feeder.id, feeder.probability, feeder.contribution) == ("T1-F1", 1.0, 1.0)
    assert np.linalg.norm(line[0] - ROOT) < 12
    assert np.linalg.norm(np.array(feeder.branch_start) - FORK) < 10
    assert max(min(off_line(p, ROOT, FORK), off_line(p, FORK, LEFT_END)) for p in line) < 4
    assert left.mask[tuple(np.round(line[-1]).astype(int))] or np.linalg.norm(line[-1] - LEFT_END) < 10
    assert [target.covers for target in tumour.targets] == [("T1-F1",)]
    assert off_line((tumour.targets[0].row, tumour.targets[0].col), FORK, LEFT_END) < 4


def test_a_feeder_that_is_laid_equals_the_one_that_is_found(left, graph, sub) -> None:
    bare = replace(left, feeders=(), targets=())
    edit = given(AddFeeder, tumour=T1, click=middle(FORK, LEFT_END))
    (tumour,), _, _ = feeders_after([bare], [edit], graph, sub)
    found, laid = left.feeders[0], tumour.feeders[0]
    assert np.array_equal(laid.centreline, found.centreline)
    assert laid.branch_start == found.branch_start
    assert (laid.diameter_px, laid.arrival_s) == (found.diameter_px, found.arrival_s)
    assert (laid.target.row, laid.target.col) == (found.target.row, found.target.col)
    assert laid.target.path_length_px == pytest.approx(found.target.path_length_px)


def test_a_click_on_a_feeder_that_is_listed_accepts_it_and_one_that_was_rejected_comes_back(left, graph, sub) -> None:
    place = FeederPlace(point=middle(FORK, LEFT_END))
    reject = given(RejectFeeder, tumour=T1, feeder=place)
    add = given(AddFeeder, "e2", 1, tumour=T1, click=middle(FORK, LEFT_END, 0.4))
    (tumour,), _, told = feeders_after([left], [reject, add], graph, sub)
    assert [(f.id, f.corrected) for f in tumour.feeders] == [("T1-F1", ByHand.ACCEPTED)]
    (again,), _, _ = feeders_after([left], [add, reject], graph, sub)
    assert again.feeders == ()
    assert all(one.applied for one in told)


def test_a_feeder_that_was_accepted_is_kept_when_the_software_no_longer_lists_it(left, graph, sub) -> None:
    bare = replace(left, feeders=(), targets=())
    edit = given(AcceptFeeder, tumour=T1, feeder=FeederPlace(point=middle(FORK, LEFT_END)))
    (tumour,), _, (told,) = feeders_after([bare], [edit], graph, sub)
    assert [f.corrected for f in tumour.feeders] == [ByHand.ACCEPTED]
    assert "not listed any more" in told.sentence


def test_an_added_feeder_shares_the_inflow_by_its_calibre(between, fork, sub) -> None:
    alone = replace(between, feeders=tuple(f for f in between.feeders if f.centreline[-1][1] < 128))
    edit = given(AddFeeder, tumour=TumourPlace(id="T1"), click=middle(FORK, RIGHT_END))
    (tumour,), _, _ = feeders_after([alone], [edit], fork, sub, feeders=ALL)
    shares = {f.corrected: f.contribution for f in tumour.feeders}
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares[ByHand.ADDED] / shares[None] == pytest.approx(3 / 2)
    assert tumour.feeders[0].corrected is ByHand.ADDED
    assert len({f.id for f in tumour.feeders}) == 2


@pytest.mark.parametrize(
    ("kind", "told", "words"),
    [
        (RejectFeeder, {"feeder": FeederPlace(id="T1-F1", point=middle(FORK, RIGHT_END))}, "a feeder to reject"),
        (AcceptFeeder, {"feeder": FeederPlace(branch_start=RIGHT_END)}, "a feeder to accept"),
        (AddFeeder, {"click": (20.0, 230.0)}, "a vessel within 6 px"),
        (AddFeeder, {"click": middle(FORK, RIGHT_END)}, "lead to T1"),
    ],
)
def test_an_edit_that_fits_nothing_changes_nothing_and_says_why(left, graph, sub, kind, told, words) -> None:
    edit = given(kind, tumour=T1, **told)
    (tumour,), quality, (answer,) = feeders_after([left], [edit], graph, sub)
    assert not answer.applied
    assert words in answer.sentence
    assert [f.id for f in tumour.feeders] == [f.id for f in left.feeders]
    assert tumour.feeders[0].probability == left.feeders[0].probability
    assert quality is Quality.NONE
    assert correction_quality([answer]) is Quality.CORRECTION_NOT_APPLIED


@pytest.mark.parametrize("kind", [AcceptFeeder, RejectFeeder])
def test_a_feeder_is_not_met_by_its_id_alone(left, graph, sub, kind) -> None:
    edit = given(kind, tumour=T1, feeder=FeederPlace(id="T1-F1", point=RIGHT_END))
    _, _, (answer,) = feeders_after([left], [edit], graph, sub)
    assert not answer.applied


def test_an_edit_of_a_tumour_that_is_not_there_is_told(left, graph, sub) -> None:
    place = TumourPlace(id="T1", point=(200.0, 30.0))
    edit = given(RejectFeeder, tumour=place, feeder=FeederPlace(point=middle(FORK, LEFT_END)))
    (tumour,), _, (answer,) = feeders_after([left], [edit], graph, sub)
    assert tumour is left
    assert not answer.applied
    assert "T1 at (200, 30)" in answer.sentence


def test_without_edits_nothing_is_touched(left, graph, sub) -> None:
    (tumour,), quality, told = feeders_after([left], [given(Note, text="seen")], graph, sub, Quality.OVERLAP_AMBIGUOUS)
    assert tumour is left
    assert quality is Quality.OVERLAP_AMBIGUOUS
    assert told == ()


def test_a_reader_decides_what_overlap_left_open(left, graph, sub) -> None:
    open_ = replace(left, feeders=(replace(left.feeders[0], overlap_ambiguous=True),))
    edit = given(AcceptFeeder, tumour=T1, feeder=FeederPlace(point=middle(FORK, LEFT_END)))
    (tumour,), quality, _ = feeders_after([open_], [edit], graph, sub, Quality.OVERLAP_AMBIGUOUS)
    assert not tumour.feeders[0].overlap_ambiguous
    assert quality is Quality.NONE


def test_an_empty_tree_refuses_a_click_with_a_sentence(left, sub) -> None:
    empty = VesselGraph(np.empty((0, 2)), (), None)
    edit = given(AddFeeder, tumour=T1, click=middle(FORK, LEFT_END))
    _, _, (answer,) = feeders_after([replace(left, feeders=(), targets=())], [edit], empty, sub)
    assert not answer.applied
    assert "found none in the tree" in answer.sentence


@pytest.fixture
def wrong_way(fork) -> VesselGraph:
    """The same branches, but the left one is told to flow out of the tumour, from a piece of its own."""
    left = fork.branches[1]
    nodes = np.vstack([fork.nodes, [FORK]])
    turned = Branch(1, 2, 5, left.centreline[::-1], left.radius_px, left.arrival_s)
    return VesselGraph(nodes, (fork.branches[0], turned, *fork.branches[2:]), 0)


def test_a_click_is_followed_against_the_flow_where_the_tree_runs_the_wrong_way(left, wrong_way, sub) -> None:
    bare = replace(left, feeders=(), targets=())
    add = given(AddFeeder, tumour=T1, click=middle(FORK, LEFT_END))
    (tumour,), _, (told,) = feeders_after([bare], [add], wrong_way, sub)
    (feeder,), (target,) = tumour.feeders, tumour.targets
    assert tuple(feeder.centreline[0]) == ROOT
    assert max(min(off_line(p, ROOT, FORK), off_line(p, FORK, LEFT_END)) for p in feeder.centreline) < 1
    assert feeder.branch_start == FORK
    assert left.mask[tuple(np.round(feeder.centreline[-1]).astype(int))]
    assert feeder.evidence["as_the_tree_flows"] == 0
    assert "otherwise than the tree" in told.sentence
    assert off_line((target.row, target.col), FORK, LEFT_END) < 1
    assert target.covers == (feeder.id,)
    # The tree cannot say what else lies beyond.
    assert np.isnan(target.non_target_fraction)
    again = given(AddFeeder, "e2", 1, tumour=T1, click=middle(FORK, LEFT_END, 0.3))
    (twice,), _, _ = feeders_after([bare], [add, again], wrong_way, sub)
    assert len(twice.feeders) == 1


def test_the_tree_is_followed_where_it_leads(left, fork, sub) -> None:
    bare = replace(left, feeders=(), targets=())
    add = given(AddFeeder, tumour=T1, click=middle(FORK, LEFT_END))
    (tumour,), _, _ = feeders_after([bare], [add], fork, sub)
    assert tumour.feeders[0].evidence["as_the_tree_flows"] == 1
    assert tumour.targets[0].non_target_fraction == 0


def test_what_a_reader_calls_a_feeder_ends_in_the_tumour_with_all_it_carries(fork, sub) -> None:
    # The left branch runs past the tumour and ends far beyond it: by itself the tree sees no flow end there.
    rows, cols = np.mgrid[:256, :256]
    passed = middle(FORK, LEFT_END)
    tumour = Tumour("T1", np.hypot(rows - passed[0], cols - passed[1]) < 6, 0.7, LesionOrigin.DETECTED)
    assert find_feeders(tumour, fork, sub, params=ALL)[0].feeders == ()
    add = given(AddFeeder, tumour=TumourPlace(id="T1"), click=middle(FORK, LEFT_END, 0.2))
    (fed,), _, _ = feeders_after([tumour], [add], fork, sub)
    (target,) = fed.targets
    assert target.non_target_fraction == 0
    assert np.hypot(*(fed.feeders[0].centreline[-1] - passed)) < 7


# --- targets ---------------------------------------------------------------------------------------


def test_a_moved_target_stays_where_it_was_put_on_the_nearest_vessel(left, graph, sub) -> None:
    row, col = middle(FORK, LEFT_END, 0.3)
    edit = given(MoveTarget, tumour=T1, origin=(left.targets[0].row, left.targets[0].col), to=(row + 2, col - 2))
    (tumour,), quality, (told,) = feeders_after([left], [edit], graph, sub)
    (target,) = tumour.targets
    assert np.hypot(target.row - row, target.col - col) < 5
    assert off_line((target.row, target.col), FORK, LEFT_END) < 2
    assert target.corrected is ByHand.MOVED
    assert target.covers == ("T1-F1",)
    assert (tumour.feeders[0].target.row, tumour.feeders[0].target.col) == (target.row, target.col)
    assert target.path_length_px < left.targets[0].path_length_px
    assert told.applied
    assert quality is Quality.NONE


def test_a_target_off_every_vessel_stays_there_unmeasured_and_is_flagged(left, graph, sub) -> None:
    edit = given(MoveTarget, tumour=T1, origin=(left.targets[0].row, left.targets[0].col), to=(200.0, 200.0))
    (tumour,), quality, (told,) = feeders_after([left], [edit], graph, sub)
    (target,) = tumour.targets
    assert (target.row, target.col) == (200.0, 200.0)
    assert np.isnan([target.diameter_px, target.path_length_px, target.non_target_fraction]).all()
    assert target.covers == ("T1-F1",)
    assert quality is Quality.TARGET_OFF_VESSEL
    assert told.applied
    assert "no vessel was found" in told.sentence


def test_a_target_that_is_led_astray_still_serves_the_feeder_it_was_for(left, graph, sub) -> None:
    edit = given(MoveTarget, tumour=T1, to=middle(FORK, RIGHT_END))
    (tumour,), _, _ = feeders_after([left], [edit], graph, sub)
    (target,) = tumour.targets
    assert off_line((target.row, target.col), FORK, RIGHT_END) < 2
    assert target.covers == ("T1-F1",)
    assert target.non_target_fraction == 1


def test_a_target_moved_twice_is_one_target(left, graph, sub) -> None:
    first, second = middle(FORK, LEFT_END, 0.3), middle(FORK, LEFT_END, 0.6)
    edits = [
        given(MoveTarget, "e1", 0, tumour=T1, origin=(left.targets[0].row, left.targets[0].col), to=first),
        given(MoveTarget, "e2", 1, tumour=T1, origin=first, to=second),
    ]
    (tumour,), _, told = feeders_after([left], edits, graph, sub)
    (target,) = tumour.targets
    assert np.hypot(target.row - second[0], target.col - second[1]) < 4
    assert [one.applied for one in told] == [True, True]


def test_feeders_that_a_moved_target_no_longer_reaches_get_one_of_their_own(between, fork, sub) -> None:
    trunk = given(MoveTarget, "e1", tumour=TumourPlace(id="T1"), to=middle(ROOT, FORK))
    (whole,), _, _ = feeders_after([between], [trunk], fork, sub, feeders=ALL)
    assert [set(target.covers) for target in whole.targets] == [{f.id for f in between.feeders}]
    beyond = given(MoveTarget, "e1", tumour=TumourPlace(id="T1"), to=middle(FORK, LEFT_END))
    (split,), _, _ = feeders_after([between], [beyond], fork, sub, feeders=ALL)
    assert len(split.targets) == 2
    assert {name for target in split.targets for name in target.covers} == {f.id for f in between.feeders}


def test_the_trade_off_of_positions_is_that_of_the_feeders_that_are_left(between, fork, sub) -> None:
    assert [len(option.targets) for option in between.options] == [1, 2]
    edit = given(RejectFeeder, tumour=TumourPlace(id="T1"), feeder=FeederPlace(point=middle(FORK, LEFT_END)))
    (tumour,), _, _ = feeders_after([between], [edit], fork, sub)
    (option,) = tumour.options
    assert option.targets == tumour.targets
    assert option.non_target_fraction == 0


def test_the_trade_off_of_positions_takes_in_a_feeder_that_was_added(between, fork, sub) -> None:
    known = max(between.feeders, key=lambda f: off_line(f.centreline[-1], FORK, LEFT_END))
    alone = replace(between, feeders=(known,), targets=(known.target,), options=())
    edit = given(AddFeeder, tumour=TumourPlace(id="T1"), click=middle(FORK, LEFT_END))
    (tumour,), _, _ = feeders_after([alone], [edit], fork, sub, feeders=ALL)
    assert [len(option.targets) for option in tumour.options] == [1, 2]
    assert {name for t in tumour.options[-1].targets for name in t.covers} == {f.id for f in tumour.feeders}


def test_a_target_put_by_hand_says_how_its_way_turns_and_how_far_past_the_fork_it_lies(between, fork, sub) -> None:
    to = middle(FORK, LEFT_END)
    (tumour,), _, _ = feeders_after([between], [given(MoveTarget, tumour=TumourPlace(id="T1"), to=to)], fork, sub)
    target = next(t for t in tumour.targets if t.corrected)
    straight_on, leftwards = np.subtract(FORK, ROOT), np.subtract(LEFT_END, FORK)
    cosine = straight_on @ leftwards / np.linalg.norm(straight_on) / np.linalg.norm(leftwards)
    assert target.turns_deg == pytest.approx([np.degrees(np.arccos(cosine))])
    assert target.beyond_last_branch_px == pytest.approx(np.linalg.norm(np.subtract(to, FORK)), abs=1)


def test_a_target_put_before_a_branch_to_elsewhere_lies_past_no_last_branch(between, fork, sub) -> None:
    edit = given(MoveTarget, tumour=TumourPlace(id="T1"), to=middle(ROOT, FORK))
    (tumour,), _, _ = feeders_after([between], [edit], fork, sub, feeders=ALL)
    (target,) = tumour.targets
    assert target.turns_deg == ()
    assert np.isnan(target.beyond_last_branch_px)


def test_a_feeder_read_from_a_map_beside_the_tree_keeps_the_branch_it_runs_along(fork, sub) -> None:
    rows, cols = np.mgrid[:256, :256]
    bare = Tumour("T1", np.hypot(rows - LEFT_END[0], cols - LEFT_END[1]) < 15, 0.7, LesionOrigin.DETECTED)
    (of_tree,) = find_feeders(bare, fork, sub, params=ALL)[0].feeders
    # Two pixels to the side: nearer to this branch than to any other, and on none of its points.
    start = of_tree.centreline[-60] + (-1.2, 1.6)
    line = np.linspace(start, of_tree.centreline[-1] + (-1.2, 1.6), 60)
    of_map = replace(of_tree, centreline=line, branch_start=tuple(line[0]))
    click = given(AddFeeder, tumour=TumourPlace(id="T1"), click=middle(FORK, LEFT_END))
    (tumour,), _, (told,) = feeders_after([replace(bare, feeders=(of_map,))], [click], fork, sub)
    assert told.sentence == f"{of_tree.id} was accepted."
    assert [set(option.targets[0].covers) for option in tumour.options] == [{of_tree.id}]


# --- tumours ---------------------------------------------------------------------------------------


def test_a_redrawn_tumour_takes_the_place_of_the_one_found_and_keeps_its_name(left) -> None:
    edit = given(RedrawTumour, tumour=T1, polygons=disc((66, 68), 12))
    (tumour,), _, (told,) = tumours_after([left], [edit])
    assert (tumour.id, tumour.probability, tumour.origin) == ("T1", 1.0, LesionOrigin.ROI)
    assert tumour.corrected is ByHand.REDRAWN
    assert tumour.feeders == ()
    assert tumour.centroid == pytest.approx((66, 68), abs=0.1)
    assert tumour.area_px == pytest.approx(np.pi * 12**2, rel=0.03)
    assert told.applied


def test_an_added_tumour_stands_beside_those_found(left) -> None:
    edit = given(AddTumour, polygons=disc(RIGHT_END))
    tumours, _, _ = tumours_after([left], [edit])
    assert [t.id for t in tumours] == ["T1", "T2"]
    assert tumours[0] is left
    assert tumours[1].corrected is ByHand.ADDED


def test_an_added_tumour_takes_the_place_of_one_found_that_it_covers(left) -> None:
    edit = given(AddTumour, tumour_id="L3", polygons=disc((62, 64), 22))
    (tumour,), _, (told,) = tumours_after([left], [edit])
    assert tumour.id == "L3"
    assert "T1" in told.sentence


def test_a_mask_file_draws_as_well_as_a_polygon(left) -> None:
    mask = np.zeros((256, 256), bool)
    mask[30:50, 40:60] = True
    one = replace(given(RedrawTumour, tumour=T1, mask="t1.png"), mask=mask)
    (tumour,), _, _ = tumours_after([left], [one])
    assert np.array_equal(tumour.mask, mask)


def test_a_removed_tumour_is_gone_and_one_that_is_not_there_is_told(left) -> None:
    tumours, _, (told,) = tumours_after([left], [given(RemoveTumour, tumour=T1)])
    assert tumours == ()
    assert told.applied
    tumours, _, (told,) = tumours_after([left], [given(RemoveTumour, tumour=TumourPlace(point=(200, 200)))])
    assert tumours == (left,)
    assert not told.applied
    assert "(200, 200)" in told.sentence


def test_a_drawn_tumour_that_is_not_found_any_more_still_stands() -> None:
    edit = given(RedrawTumour, tumour=T1, polygons=disc((62, 64)))
    (tumour,), quality, (told,) = tumours_after([], [edit], Quality.NO_TUMOUR_BLUSH)
    assert tumour.id == "T1"
    assert "any more" in told.sentence
    assert quality is Quality.NONE


def test_an_outline_outside_the_frame_draws_nothing(left) -> None:
    tumours, _, (told,) = tumours_after([left], [given(AddTumour, polygons=disc((900, 900)))])
    assert tumours == (left,)
    assert not told.applied


def test_a_tumour_is_meant_by_its_place_when_its_id_has_gone_to_another(left) -> None:
    other = Tumour("T1", np.roll(left.mask, 120, axis=1), 0.9, LesionOrigin.DETECTED)
    second = replace(left, id="T2")
    tumours, _, _ = tumours_after([other, second], [given(RemoveTumour, tumour=T1)])
    assert tumours == (other,)


def test_a_point_beside_another_tumour_does_not_mean_it(left) -> None:
    # Two pixels beyond the edge of T2; the T1 that was meant is gone.
    second = replace(left, id="T2")
    tumours, _, (told,) = tumours_after([second], [given(RemoveTumour, tumour=TumourPlace(id="T1", point=(62, 86.5)))])
    assert tumours == (second,)
    assert not told.applied


# --- places ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def breathing(breathing_scene):
    run = breathing_scene.run
    return subtract(run, choose_mask(run, params=MaskParams()), params=SubtractParams())


@pytest.mark.slow
def test_a_place_is_moved_with_the_anatomy_to_another_reference_frame(breathing, breathing_scene) -> None:
    reference = breathing.reference_frame
    moved = np.linalg.norm(
        breathing_scene.displacement[:, 62, 64] - breathing_scene.displacement[reference, 62, 64], axis=-1
    )
    other = int(np.argmax(np.where(np.isfinite(breathing.motion_px[:, 0]), moved, 0)))
    shift = breathing_scene.displacement[reference, 62, 64] - breathing_scene.displacement[other, 62, 64]
    assert np.hypot(*shift) > 3
    edit = GivenEdit(Note(id="n", time=NOON, text="here", point=(62.0, 64.0)), reference_frame=other)
    (placed,), refused = place_edits([edit], breathing, params=PARAMS)
    assert refused == ()
    assert np.hypot(*(np.subtract(placed.edit.point, (62, 64)) - shift)) < 1.2
    assert np.hypot(*placed.shift_px) > 2


@pytest.mark.slow
def test_a_mask_is_moved_with_the_anatomy_as_well(breathing) -> None:
    other = int(
        np.argmax(np.nan_to_num(np.abs(breathing.motion_px[:, 0] - breathing.motion_px[breathing.reference_frame, 0])))
    )
    mask = np.zeros((256, 256), bool)
    mask[100:120, 100:120] = True
    edit = replace(given(RedrawTumour, tumour=T1, mask="a.png"), reference_frame=other, mask=mask)
    (placed,), _ = place_edits([edit], breathing, params=PARAMS)
    centre = np.argwhere(placed.mask).mean(axis=0)
    assert centre == pytest.approx(np.add((109.5, 109.5), placed.shift_px), abs=0.6)


def test_a_region_drawn_on_another_frame_is_laid_where_the_anatomy_stands_in_the_reference_frame(breathing) -> None:
    other = int(
        np.argmax(np.nan_to_num(abs(breathing.motion_px - breathing.motion_px[breathing.reference_frame])[:, 0]))
    )
    mask = np.zeros((256, 256), bool)
    mask[100:120, 100:120] = True
    shift = anatomy_shift(breathing, (other,))
    assert np.hypot(*shift) > 2
    rois = [
        FilmRoi("A", mask, "1.2.3", frames=(other,)),
        FilmRoi("B", mask, "1.2.3"),
        FilmRoi("C", mask, "1.2.3", (99,)),
    ]
    (moved, kept), quality = tumours_from_rois(rois, breathing)
    assert moved.centroid == pytest.approx(np.add((109.5, 109.5), shift), abs=0.6)
    assert kept.centroid == (109.5, 109.5)
    assert quality is Quality.ROI_NOT_MATCHED


def test_in_the_same_reference_frame_nothing_moves(sub) -> None:
    edit = replace(given(AddFeeder, tumour=T1, click=(10, 10)), reference_frame=sub.reference_frame)
    (placed,), refused = place_edits([edit], sub, params=PARAMS)
    assert placed is edit
    assert refused == ()


def test_a_run_that_was_not_moved_is_taken_to_stand_still(sub) -> None:
    still = replace(sub, motion_px=np.full_like(sub.motion_px, np.nan))
    edit = replace(given(AddFeeder, tumour=T1, click=(10, 10)), reference_frame=(sub.reference_frame + 2) % 20)
    (placed,), _ = place_edits([edit], still, params=PARAMS)
    assert placed.edit.click == (10, 10)


def test_an_edit_is_refused_rather_than_misplaced(breathing) -> None:
    reference = breathing.reference_frame
    unknown = replace(
        breathing,
        motion_px=np.full_like(breathing.motion_px, np.nan),
        quality=breathing.quality | Quality.MOTION_LARGE,
    )
    far = breathing.motion_px.copy()
    far[reference] = 40.0
    far[0] = 0.0
    far = replace(breathing, motion_px=far)
    click = {"tumour": T1, "click": (100.0, 100.0)}
    cases = [
        (unknown, replace(given(AddFeeder, **click), reference_frame=0), "Expected to know how the anatomy moves"),
        (far, replace(given(AddFeeder, **click), reference_frame=0), "px away"),
        (breathing, replace(given(AddFeeder, **click), reference_frame=99), "found 99"),
        (breathing, replace(given(AddFeeder, **click), reference_frame=reference, size=(512, 512)), "512 x 512"),
        (
            breathing,
            replace(given(AddFeeder, tumour=T1, click=(100.0, 300.0)), reference_frame=reference),
            "inside the frame",
        ),
        (
            breathing,
            replace(given(AddTumour, mask="a.png"), reference_frame=reference, mask=np.ones((9, 9), bool)),
            "found one of 9 x 9",
        ),
    ]
    for run, edit, words in cases:
        placed, (told,) = place_edits([edit], run, params=PARAMS)
        assert placed == ()
        assert not told.applied
        assert words in told.sentence
        assert told.sentence.startswith("Expected")
