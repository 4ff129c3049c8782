"""Forks, crossings and directions, on tubes whose courses are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from vessel_tubes import Tube, TubeRun, tube_run

from angio_pipeline.core.vessels import VesselGraph
from angio_pipeline.perfusion import PerfusionParams, measure
from angio_pipeline.vessels import NetworkParams, TreeParams, build_network, root_tree

TRUNK = Tube([(470, 250), (400, 250)], 5.0, start_s=0.6)


def _tree(run: TubeRun, root: tuple[float, float] = (470, 250)) -> VesselGraph:
    network = build_network(run.artery, run.sub, run.maps, params=NetworkParams())
    node = int(np.argmin(np.linalg.norm(network.nodes - root, axis=1)))
    return root_tree(network, node, scale=1.0, params=TreeParams())


def _way_to(graph: VesselGraph, tip: tuple[float, float]) -> np.ndarray:
    """The line from the root to the branch that ends nearest to a place."""
    k = min(range(len(graph.branches)), key=lambda k: np.linalg.norm(graph.branches[k].centreline[-1] - tip))
    assert np.linalg.norm(graph.branches[k].centreline[-1] - tip) < 10
    return np.vstack([graph.branches[j].centreline for j in graph.path_to(k)])


def _passes(way: np.ndarray, place: tuple[float, float], within: float = 5.0) -> bool:
    return bool(np.linalg.norm(way - place, axis=1).min() < within)


def _two_that_cross(meet: float, left_s: float = 0.85, right_s: float = 0.85) -> TubeRun:
    """A trunk that divides in two, which cross further on at the height `meet` (row)."""
    left = Tube([(400, 250), (350, 200), (300, 200), (meet, 250), (60, 310)], 2.6, start_s=left_s)
    right = Tube([(400, 250), (350, 300), (300, 300), (meet, 250), (60, 190)], 2.6, start_s=right_s)
    return tube_run(TRUNK, left, right)


@pytest.mark.parametrize("meet", [260, 220, 180])
def test_two_vessels_that_cross_are_two_branches(meet: float) -> None:
    graph = _tree(_two_that_cross(meet))
    assert len(graph.branches) == 3
    assert _passes(_way_to(graph, (60, 310)), (320, 200))
    assert _passes(_way_to(graph, (60, 190)), (320, 300))
    assert len(graph.crossings) == 1
    assert graph.crossings[0] == pytest.approx([meet, 250], abs=12)


def test_a_crossing_at_a_small_angle_shares_a_stretch_and_stays_two_branches() -> None:
    left = Tube([(400, 250), (360, 226), (300, 226), (100, 274), (60, 284)], 3.0, start_s=0.85)
    right = Tube([(400, 250), (360, 274), (300, 274), (100, 226), (60, 216)], 3.0, start_s=0.85)
    graph = _tree(tube_run(TRUNK, left, right))
    assert _passes(_way_to(graph, (60, 284)), (320, 226))
    assert _passes(_way_to(graph, (60, 216)), (320, 274))
    assert len({branch.id for branch in graph.branches}) == len(graph.branches)


def test_every_branch_has_a_line_of_its_own_through_a_crossing() -> None:
    graph = _tree(_two_that_cross(220))
    lines = [b.centreline for b in graph.branches if np.linalg.norm(b.centreline - (220, 250), axis=1).min() < 3]
    assert len(lines) == 2
    for line in lines:
        assert np.linalg.norm(np.diff(line, axis=0), axis=1).max() < 3
        turns = np.diff(np.unwrap(np.arctan2(*np.diff(line[5:-5:5], axis=0).T)))
        assert np.abs(turns).max() < 0.9


def test_a_fork_stands_where_the_childs_line_meets_the_parents() -> None:
    side = Tube([(300, 250), (180, 370)], 2.0, start_s=0.95)
    graph = _tree(tube_run(Tube([(470, 250), (60, 250)], 5.0, start_s=0.6), side))
    assert len(graph.branches) == 3
    (fork,) = {b.start for b in graph.branches} - {graph.root}
    assert graph.nodes[fork] == pytest.approx([300, 250], abs=3)


def test_flow_runs_away_from_the_root_into_every_tip() -> None:
    graph = _tree(_two_that_cross(220))
    for branch in graph.branches:
        assert branch.arrival_s[len(branch.arrival_s) // 5] < branch.arrival_s[-len(branch.arrival_s) // 5]


def test_arrival_tells_which_of_two_vessels_goes_on() -> None:
    # Both pairings are as straight; contrast comes to the right one a second later.
    graph = _tree(_crossing_at_right_angles(late_s=1.0))
    assert _passes(_way_to(graph, (60, 250)), (290, 250))


def _crossing_at_right_angles(late_s: float) -> TubeRun:
    along = Tube([(470, 250), (60, 250)], 3.0, start_s=0.6)
    across = Tube([(400, 250), (400, 120), (200, 120), (200, 400)], 2.4, start_s=0.85 + late_s, px_per_s=400)
    return tube_run(along, across)


def test_a_thin_vessel_over_a_wide_one_leaves_it_whole() -> None:
    graph = _tree(_crossing_at_right_angles(late_s=0.0))
    assert len(graph.branches) == 3
    assert _passes(_way_to(graph, (200, 400)), (300, 120))


def test_branches_of_one_vessel_are_no_crossing() -> None:
    twigs = [Tube([(300, 250), (240, 330)], 2.0, start_s=1.2), Tube([(292, 250), (230, 170)], 2.0, start_s=1.2)]
    graph = _tree(tube_run(Tube([(470, 250), (60, 250)], 4.0, start_s=0.6), *twigs))
    assert len(graph.branches) == 5
    assert len(graph.crossings) == 0
    assert not any(branch.overlap_ambiguous for branch in graph.branches)


def test_two_readings_that_are_as_likely_are_marked() -> None:
    # A cross in which every arm could carry on every other: equal widths, right angles, equal times.
    first = Tube([(400, 250), (330, 180), (250, 180), (200, 250), (130, 320)], 2.6, start_s=0.85)
    second = Tube([(400, 250), (330, 320), (250, 320), (200, 250), (130, 180)], 2.6, start_s=0.85)
    bounce = tube_run(TRUNK, first, second)
    clear = _tree(bounce)
    params = TreeParams(ambiguous_probability=1e-6)
    network = build_network(bounce.artery, bounce.sub, bounce.maps, params=NetworkParams())
    node = int(np.argmin(np.linalg.norm(network.nodes - (470, 250), axis=1)))
    strict = root_tree(network, node, scale=1.0, params=params)
    assert any(b.overlap_ambiguous for b in strict.branches)
    assert len(strict.branches) == len(clear.branches)
    assert ((clear.crossing_probability > 0) & (clear.crossing_probability <= 1)).all()


def test_what_stands_alone_begins_at_its_wide_end() -> None:
    alone = [Tube([(60, 60), (160, 60)], 4.0, start_s=1.0), Tube([(160, 60), (230, 90)], 2.4, start_s=1.4)]
    alone += [Tube([(160, 60), (240, 40)], 2.4, start_s=1.4)]
    graph = _tree(tube_run(TRUNK, *alone))
    island = [b for b in graph.branches if b.centreline[0, 1] < 150]
    (first,) = (b for b in island if all(other.end != b.start for other in island))
    assert first.centreline[0] == pytest.approx([60, 60], abs=10)


@pytest.mark.parametrize("turns", [1, 2])
def test_turning_the_picture_turns_the_tree(turns: int) -> None:
    run = _two_that_cross(220)
    seen = {"frames": np.rot90(run.sub.frames, turns, axes=(1, 2)).copy()}
    for name in ("valid", "uncorrected", "attenuation"):
        seen[name] = np.rot90(getattr(run.sub, name), turns).copy()
    sub = replace(run.sub, **seen)
    turned = TubeRun(np.rot90(run.artery, turns).copy(), sub, measure(sub, params=PerfusionParams()))

    def place(row: float, col: float) -> tuple[float, float]:
        for _ in range(turns):
            row, col = 511 - col, row
        return row, col

    graph = _tree(turned, place(470, 250))
    assert len(graph.branches) == len(_tree(run).branches)
    assert _passes(_way_to(graph, place(60, 310)), place(320, 200))
    assert _passes(_way_to(graph, place(60, 190)), place(320, 300))


def test_where_vessels_overlap_each_keeps_the_width_that_it_has_beside() -> None:
    graph = _tree(_crossing_at_right_angles(late_s=0.0))
    way = next(b for b in graph.branches if np.linalg.norm(b.centreline[-1] - (200, 400)) < 10)
    away = np.abs(way.centreline[:, 1] - 250) + np.abs(way.centreline[:, 0] - 200)
    over = way.radius_px[away < 4]
    assert len(over) >= 3
    assert over == pytest.approx(2.4, rel=0.12)
