"""The network of a mask: spurs, gaps, pinholes, places to cut."""

from __future__ import annotations

import numpy as np
import pytest
from vessel_tubes import Tube, TubeRun, tube_run

from angio_pipeline.vessels import Network, NetworkParams, build_network
from angio_pipeline.vessels.network import with_node_near

STRAIGHT = Tube([(60, 100), (300, 100)], 4.0)


def _network(run: TubeRun, artery: np.ndarray | None = None, **params: float) -> Network:
    mask = run.artery if artery is None else artery
    return build_network(mask, run.sub, run.maps, params=NetworkParams(**params))


def test_a_ragged_edge_grows_no_branches() -> None:
    run = tube_run(STRAIGHT)
    rng = np.random.default_rng(3)
    ragged = run.artery.copy()
    for row in rng.integers(80, 280, 40):
        ragged[row, 105 : 105 + rng.integers(1, 4)] = True
    assert len(_network(run, ragged).edges) == 1


def test_a_branch_that_sticks_out_further_than_noise_stays() -> None:
    run = tube_run(STRAIGHT, Tube([(180, 100), (170, 122)], 1.5))
    assert len(_network(run).edges) == 3


def test_holes_of_a_few_pixels_make_no_loop() -> None:
    run = tube_run(STRAIGHT)
    holed = run.artery.copy()
    holed[150:153, 99:101] = False
    assert len(_network(run, holed).edges) == 1


def _with_gap(run: TubeRun, rows: slice) -> np.ndarray:
    broken = run.artery.copy()
    broken[rows] = False
    return broken


def test_a_gap_that_both_ends_point_across_is_bridged() -> None:
    run = tube_run(STRAIGHT)
    broken = _with_gap(run, slice(172, 184))
    (edge,) = _network(run, broken).edges
    assert edge.length_px == pytest.approx(240, rel=0.06)


def test_a_gap_wider_than_the_reach_stays() -> None:
    run = tube_run(STRAIGHT)
    assert len(_network(run, _with_gap(run, slice(172, 184)), gap_px=12.0).edges) == 2


def test_pieces_that_fill_seconds_apart_are_not_joined() -> None:
    early, late = Tube([(60, 100), (170, 100)], 3.0), Tube([(186, 100), (300, 100)], 3.0, start_s=2.8)
    assert len(_network(tube_run(early, late)).edges) == 2
    together = Tube([(186, 100), (300, 100)], 3.0, start_s=1.2)
    assert len(_network(tube_run(early, together)).edges) == 1


def test_an_end_that_points_elsewhere_is_not_joined() -> None:
    run = tube_run(Tube([(60, 100), (170, 100)], 3.0), Tube([(180, 112), (180, 260)], 3.0))
    assert len(_network(run).edges) == 2


def test_an_end_that_points_at_a_vessels_side_is_joined_to_it() -> None:
    run = tube_run(Tube([(60, 40), (60, 260)], 4.0), Tube([(74, 150), (240, 150)], 2.0))
    assert len(_network(run).edges) == 3


def test_a_node_is_cut_into_an_edge_where_none_is_near() -> None:
    network = _network(tube_run(STRAIGHT))
    cut, node = with_node_near(network, (180.0, 110.0), 8.0, piece_of=network.edges[0].a)
    assert len(cut.edges) == 2
    assert cut.nodes[node] == pytest.approx([180, 100], abs=1)
    assert sum(e.length_px for e in cut.edges) == pytest.approx(network.edges[0].length_px, rel=0.01)


def test_a_node_that_is_near_is_taken_as_it_is() -> None:
    network = _network(tube_run(STRAIGHT))
    same, node = with_node_near(network, (62.0, 101.0), 12.0, piece_of=network.edges[0].a)
    assert same is network
    assert network.nodes[node][0] < 80


def test_arrival_along_an_edge_follows_the_flow() -> None:
    (edge,) = _network(tube_run(Tube([(60, 100), (300, 100)], 4.0, px_per_s=400.0))).edges
    inner = slice(20, -20)
    fitted = np.polyfit(edge.path[inner, 0], edge.arrival_s[inner], 1)[0]
    assert fitted == pytest.approx(1 / 400, rel=0.1)
    assert edge.arrival_sd_s < 0.05
