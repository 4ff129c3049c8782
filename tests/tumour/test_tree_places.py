"""Places, ways and positions on a tree whose lengths, angles and flows are known by construction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from angio_pipeline.core.tumours import Feeder
from angio_pipeline.core.vessels import Branch, VesselGraph
from angio_pipeline.tumour.clicks import told_flow
from angio_pipeline.tumour.routes import find_route
from angio_pipeline.tumour.targets import TargetParams, place_target, turns_deg
from angio_pipeline.tumour.tree_places import TreePlace, TreePlaces, own_line, target_at, target_on
from angio_pipeline.tumour.ways import TreeFlow, Way

# A trunk down, a fork, one branch to the right with a fork of its own, one further down.
NODES = np.array([[0, 20], [40, 20], [40, 60], [80, 20], [10, 60], [70, 60]], float)
PAIRS = ((0, 1), (1, 2), (1, 3), (2, 4), (2, 5))
RADII = (5.0, 3.0, 4.0, 2.0, 1.0)


def tree(root=0, pairs=PAIRS, nodes=NODES):
    branches = []
    for k, (a, b) in enumerate(pairs):
        steps = round(float(np.linalg.norm(nodes[b] - nodes[a]))) + 1
        line = np.linspace(nodes[a], nodes[b], steps)
        branches.append(Branch(k, a, b, line, np.full(steps, RADII[k]), np.full(steps, float(k))))
    return VesselGraph(nodes, tuple(branches), root)


@pytest.fixture
def places():
    return TreePlaces.of(tree())


def test_the_nearest_place_of_each_branch_is_told_the_nearest_branch_first(places):
    found = places.nearest((42.0, 50.0), 15.0)
    assert [(place.branch, place.index) for place in found][:1] == [(1, 30)]
    assert found[0].distance_px == pytest.approx(2.0)
    away = [place.distance_px for place in found]
    assert away == sorted(away)
    # The two branches beyond begin ten columns further on.
    assert {place.branch for place in found[1:]} == {3, 4}
    assert found[1].distance_px == pytest.approx(10.0)


def test_a_place_out_of_reach_is_none_and_an_empty_tree_has_none(places):
    assert places.nearest((42.0, 50.0), 1.9) == []
    empty = TreePlaces.of(VesselGraph(np.empty((0, 2)), (), None))
    assert empty.nearest((1.0, 1.0), 1e9) == []
    assert empty.along(np.zeros((3, 2))) == []


def test_a_line_runs_along_the_branches_that_it_lies_on_in_its_own_order(places):
    lines = [branch.centreline for branch in tree().branches]
    assert places.along(np.vstack([lines[0], lines[1], lines[3]]) + 0.4) == [0, 1, 3]
    assert places.along(lines[1][::-1]) == [1]
    assert places.along(lines[1] + 5.0) == []
    assert places.along(np.empty((0, 2))) == []
    # Only the first third lies on the tree.
    assert places.along(np.vstack([lines[0][:10], lines[0][:20] + 30.0])) == []


def test_the_radius_of_a_place_is_that_of_the_branch_about_it():
    graph = tree()
    wide = np.where(np.arange(41) < 20, 8.0, 2.0)
    graph = replace(graph, branches=(replace(graph.branches[0], radius_px=wide), *graph.branches[1:]))
    assert [TreePlace(0, at, 0.0).radius_px(graph) for at in (0, 10, 30, 40)] == [8.0, 8.0, 2.0, 2.0]


SHARE = np.array([0.2, 0.9, 0.0, 1.0, 0.75])


def test_a_position_tells_the_way_to_it():
    target = target_at(tree(), TreePlace(3, 15, 0.0), SHARE)
    assert (target.row, target.col) == (25.0, 60.0)
    assert target.path_length_px == pytest.approx(40 + 40 + 15)
    assert target.tortuosity == pytest.approx(95 / np.hypot(25, 40))
    assert target.bifurcations == 2
    # A right angle to the right, and another one up.
    assert target.turns_deg == pytest.approx((90.0, 90.0))
    assert target.diameter_px == 4.0
    assert target.non_target_fraction == pytest.approx(0.0)
    # Past the trunk, the last that feeds more than the tumour: 40 px to the next fork and 15 beyond it.
    assert target.beyond_last_branch_px == pytest.approx(55.0)


def test_a_position_in_a_vessel_that_feeds_something_else_lies_beyond_nothing():
    target = target_at(tree(), TreePlace(0, 10, 0.0), SHARE)
    assert np.isnan(target.beyond_last_branch_px)
    assert target.non_target_fraction == pytest.approx(0.8)
    assert target.turns_deg == ()
    assert (target.bifurcations, target.tortuosity) == (0, 1.0)


def test_where_the_whole_tree_feeds_the_tumour_a_position_is_as_far_on_as_its_way_is_long():
    target = target_at(tree(), TreePlace(1, 10, 0.0), np.ones(5))
    assert target.beyond_last_branch_px == pytest.approx(50.0)


@pytest.mark.parametrize(("told", "kept"), [(-0.1, 0.0), (0.4, 0.4), (1.2, 1.0)])
def test_a_share_stays_between_none_and_all(told, kept):
    assert target_on([tree().branches[0].centreline], 5, 1.0, told).non_target_fraction == kept


def test_a_way_of_one_point_is_not_tortuous():
    assert target_on([tree().branches[0].centreline], 0, 1.0, 0.0).tortuosity == 1.0


@pytest.mark.parametrize("degrees", [0.0, 30.0, 90.0, 150.0, 180.0])
def test_a_turn_is_the_angle_between_what_comes_and_what_goes_on(degrees):
    angle = np.radians(degrees)
    onward = np.linspace((30.0, 0.0), (30 + 20 * np.cos(angle), 20 * np.sin(angle)), 21)
    (turn,) = turns_deg([np.linspace((0.0, 0.0), (30.0, 0.0), 31), onward])
    assert turn == pytest.approx(degrees, abs=1e-5)


def test_a_turn_is_told_where_the_branches_meet_and_not_by_where_they_end():
    # Both begin and end elsewhere; within ten points of the fork the one comes down and the other goes across.
    coming = np.vstack([np.linspace((0, 50), (0, 0), 51)[:-1], np.linspace((0, 0), (30, 0), 31)])
    going = np.vstack([np.linspace((30, 0), (30, 20), 21), np.linspace((31, 20), (80, 20), 50)])
    assert turns_deg([coming, going]) == pytest.approx((90.0,))


def test_a_feeders_own_line_begins_where_it_leaves_the_shared_vessel():
    line = np.vstack([branch.centreline for branch in tree().branches[:2]])
    target = target_on([line], 5, 1.0, 0.0)
    feeder = Feeder("F", 1, 1.0, 1.0, line, (40.2, 20.3), 2.0, 0.0, False, target)
    own = own_line(feeder)
    assert own[0] == pytest.approx((40, 20))
    assert own[-1] == pytest.approx((40, 60))


def test_a_target_lies_as_far_into_the_feeders_own_part_as_asked():
    graph = tree()
    lines = [branch.centreline for branch in graph.branches]
    way = Way(lines[0], lines[1], (0,), (1,))
    for along in (0.0, 0.5, 1.0):
        target = place_target(graph, way, SHARE, params=TargetParams(along=along))
        assert (target.row, target.col) == pytest.approx((40, 20 + 40 * along))
        assert target.path_length_px == pytest.approx(40 + 40 * along)
        assert target.beyond_last_branch_px == pytest.approx(40 * along)
        assert (target.bifurcations, target.diameter_px) == (1, 6.0)
        assert target.non_target_fraction == pytest.approx(0.1)
        assert target.turns_deg == pytest.approx((90.0,))


def test_a_target_in_the_second_branch_of_a_way_has_passed_the_first():
    graph = tree()
    lines = [branch.centreline for branch in graph.branches]
    way = Way(lines[0], np.vstack([lines[1], lines[3][1:]]), (0,), (1, 3))
    target = place_target(graph, way, SHARE, params=TargetParams(along=1.0))
    assert target.bifurcations == 2
    assert target.diameter_px == 4.0
    assert target.turns_deg == pytest.approx((90.0, 90.0))
    assert target.non_target_fraction == 0.0


def test_a_target_off_the_tree_is_as_wide_as_the_usual_branch_and_the_tumours_own():
    line = np.linspace((0.0, 0.0), (0.0, 10.0), 11)
    target = place_target(tree(), Way(np.empty((0, 2)), line, (), ()), SHARE, params=TargetParams(along=1.0))
    assert target.diameter_px == 2 * np.median(RADII)
    assert target.non_target_fraction == 0.0
    assert target.path_length_px == pytest.approx(10.0)
    assert (target.bifurcations, target.tortuosity, target.turns_deg) == (0, 1.0, ())


def flow_of_leaves():
    # Leaves: branch 2 with 64, branch 3 with 8, branch 4 with 1, of which branch 3 ends in the tumour.
    return TreeFlow(np.array([73.0, 9.0, 64.0, 8.0, 1.0]), np.array([8.0, 8.0, 0.0, 8.0, 0.0]))


def test_what_a_reader_says_of_a_branch_changes_the_flow_of_all_before_it():
    more = told_flow(tree(), flow_of_leaves(), into=[4])
    assert more.into_tumour == pytest.approx([9, 9, 0, 8, 1])
    less = told_flow(tree(), flow_of_leaves(), elsewhere=[1])
    assert less.into_tumour == pytest.approx([0, 0, 0, 0, 0])
    assert more.flow == pytest.approx(flow_of_leaves().flow)


def test_a_branch_that_is_said_to_feed_the_tumour_does_so_within_one_that_is_said_not_to():
    both = told_flow(tree(), flow_of_leaves(), into=[4], elsewhere=[1])
    assert both.into_tumour == pytest.approx([1, 1, 0, 0, 1])


def depths(graph, centre, radius):
    return [np.maximum(np.linalg.norm(b.centreline - centre, axis=1) - radius, 0.0) for b in graph.branches]


def route(click, centre, radius=5.0, graph=None, detour_px=50.0):
    graph = tree() if graph is None else graph
    return find_route(graph, click, depths(graph, np.array(centre, float), radius), detour_px=detour_px)


def test_the_way_through_a_click_on_the_vessel_that_ends_in_the_tumour_is_the_trees():
    found = route(TreePlace(3, 5, 0.0), (10, 60))
    assert found.steps == ((0, True), (1, True), (3, True))
    assert found.clicked == 2
    assert found.follows(tree())
    assert found.gap_px == 0.0
    # The first point of the branch within half a pixel of the tumour: 25 px along a branch of 30.
    assert found.stop == 25


def test_a_click_before_a_fork_leads_on_to_the_branch_that_reaches_the_tumour():
    up, down = route(TreePlace(1, 20, 0.0), (10, 60)), route(TreePlace(1, 20, 0.0), (70, 60))
    assert (up.steps[-1], down.steps[-1]) == ((3, True), (4, True))
    assert up.clicked == down.clicked == 1


def test_what_is_missing_to_the_tumour_is_told():
    found = route(TreePlace(3, 5, 0.0), (-10, 60), radius=5.0)
    assert found.stop == 30
    assert found.gap_px == pytest.approx(15.0)


def test_a_way_with_the_flow_costs_a_tenth_of_its_length():
    found = route(TreePlace(3, 5, 0.0), (10, 60), radius=0.6)
    before = 0.1 * (40 + 40)
    assert found.cost == pytest.approx(before + 0.1 * found.stop)


def test_a_click_inside_the_tumour_follows_the_vessel_to_its_end():
    found = route(TreePlace(3, 28, 0.0), (10, 60))
    assert (found.stop, found.gap_px) == (30, 0.0)


def test_where_the_tree_runs_the_wrong_way_past_a_click_the_way_leaves_it():
    # The last branch has its ends the wrong way round: as the tree has it, it flows from the tumour to the fork.
    wrong = tree(pairs=((0, 1), (1, 2), (1, 3), (4, 2), (2, 5)))
    found = route(TreePlace(3, 20, 0.0), (10, 60), graph=wrong)
    assert found.steps == ((0, True), (1, True), (3, False))
    assert not found.follows(wrong)
    assert found.gap_px == 0.0


def test_on_a_piece_that_the_root_does_not_reach_the_way_begins_at_the_pieces_own_root():
    nodes = np.vstack([NODES, [[0, 200], [50, 200]]])
    graph = tree(nodes=nodes)
    line = np.linspace(nodes[6], nodes[7], 51)
    graph = replace(graph, nodes=nodes, branches=(*graph.branches, Branch(5, 6, 7, line, np.ones(51), np.ones(51))))
    found = route(TreePlace(5, 10, 0.0), (50, 200), graph=graph)
    assert found.steps == ((5, True),)
    assert found.stop == 45
