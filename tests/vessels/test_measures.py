"""Orders, shape and velocity of branches whose geometry and bolus are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy.spatial import cKDTree
from scipy.special import ndtr

from angio_pipeline.core.measures import BranchMeasures, VelocityState
from angio_pipeline.core.provenance import Source
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import Background, PerfusionMaps, PhaseRange, Phases, SubtractedRun
from angio_pipeline.core.vessels import Branch, VesselGraph
from angio_pipeline.vessels.measures import MeasureParams, generations, measure_branches, strahler_orders

Array = npt.NDArray[np.float64]
SIZE = 256
RISE_SD_S = 0.25
NOISE = 0.005


def straight(start: tuple[float, float], end: tuple[float, float]) -> Array:
    length = float(np.hypot(end[0] - start[0], end[1] - start[1]))
    return np.linspace(start, end, max(2, round(length) + 1))


def branch(number: int, start: int, end: int, line: Array, radius_px: float | Array = 3.0) -> Branch:
    radius = np.broadcast_to(np.asarray(radius_px, float), (len(line),))
    return Branch(number, start, end, line, radius, np.full(len(line), np.nan))


def tree(nodes: list[tuple[float, float]], joins: list[tuple[int, int]], root: int = 0) -> VesselGraph:
    branches = [branch(k, a, b, straight(nodes[a], nodes[b])) for k, (a, b) in enumerate(joins)]
    return VesselGraph(np.array(nodes, float), tuple(branches), root)


def arrivals(graph: VesselGraph, velocity_px_s: list[float], first_s: float) -> list[Array]:
    """When contrast passes each point, from the lengths and velocities on the way."""
    found: list[Array] = []
    for k, one in enumerate(graph.branches):
        way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(one.centreline, axis=0), axis=1))])
        above = graph.parents()[k]
        found.append((first_s if above is None else found[above][-1]) + way / velocity_px_s[k])
    return found


def drawn_run(
    graph: VesselGraph, times_of: list[Array], *, fps: float = 3.0, noise: float = NOISE, strength: float = 0.02
) -> tuple[npt.NDArray[np.bool_], SubtractedRun, PerfusionMaps]:
    """A run in which each round vessel fills when its arrival comes, with an edge of RISE_SD_S."""
    times_s = np.arange(0, 5, 1 / fps)
    points = np.vstack([b.centreline for b in graph.branches])
    radius = np.concatenate([b.radius_px for b in graph.branches])
    pixels = np.argwhere(np.ones((SIZE, SIZE), bool))
    away, nearest = cKDTree(points).query(pixels)
    depth = 2 * np.sqrt(np.maximum(radius[nearest] ** 2 - away**2, 0)).reshape(SIZE, SIZE)
    arrival = np.concatenate(times_of)[nearest].reshape(SIZE, SIZE)
    frames = strength * depth * ndtr((times_s[:, None, None] - arrival) / RISE_SD_S)
    frames = (frames + np.random.default_rng(5).normal(0, noise, frames.shape)).astype(np.float32)
    valid = np.ones((SIZE, SIZE), np.bool_)
    sub = SubtractedRun(
        frames=frames,
        times_s=times_s,
        valid=valid,
        usable=np.ones(len(times_s), np.bool_),
        background=Background.MASK,
        mask_frames=(0,),
        reference_frame=len(times_s) - 1,
        motion_px=np.zeros((len(times_s), 2)),
        residual_before=0.0,
        residual_after=0.0,
        noise_sd=noise,
        uncorrected=frames[-1],
        attenuation=frames[-1],
        source=Source("1", "2"),
    )
    blank = np.full((SIZE, SIZE), np.nan, np.float32)
    phases = Phases(PhaseRange(0, 1), PhaseRange(2, len(times_s) - 1), None, None)
    maps = PerfusionMaps(blank, blank, frames.max(axis=0), blank, blank, phases, 1 / fps)
    return depth > 0, sub, maps


def measured(
    graph: VesselGraph, velocity_px_s: list[float], *, first_s: float = 1.2, **kwargs: float
) -> tuple[BranchMeasures, ...]:
    artery, sub, maps = drawn_run(graph, arrivals(graph, velocity_px_s, first_s), **kwargs)
    return measure_branches(graph, artery, sub, maps, params=MeasureParams())[0]


TUBE = tree([(128, 20), (128, 236)], [(0, 1)])
Y = tree([(128, 16), (128, 100), (60, 220), (200, 220)], [(0, 1), (1, 2), (1, 3)])


@pytest.mark.parametrize("velocity", [120.0, 240.0, 400.0])
def test_the_velocity_of_a_straight_tube_is_found_and_its_interval_holds_it(velocity: float) -> None:
    (tube,) = measured(TUBE, [velocity])
    assert tube.velocity_state is VelocityState.MEASURED
    assert tube.velocity_px_s == pytest.approx(velocity, rel=0.1)
    low, high = tube.velocity_interval_px_s
    assert low < velocity < high


def test_arrival_at_both_ends_is_that_of_the_edge() -> None:
    (tube,) = measured(TUBE, [240.0], first_s=1.3)
    assert tube.arrival_start_s == pytest.approx(1.3, abs=0.05)
    assert tube.arrival_end_s == pytest.approx(1.3 + 216 / 240, abs=0.05)


def test_times_begun_later_change_arrival_and_not_velocity() -> None:
    (early,), (late,) = (measured(TUBE, [200.0], first_s=s) for s in (1.0, 1.0 + 2 / 3))
    assert late.arrival_start_s - early.arrival_start_s == pytest.approx(2 / 3, abs=0.03)
    assert late.velocity_px_s == pytest.approx(early.velocity_px_s, rel=0.03)


def test_frames_further_apart_give_a_wider_interval() -> None:
    def width(fps: float) -> float:
        low, high = measured(TUBE, [200.0], fps=fps)[0].velocity_interval_px_s
        return float(np.log(high / low))

    assert width(6.0) < width(3.0) < width(2.0)


def test_what_runs_through_between_two_frames_has_no_velocity() -> None:
    (tube,) = measured(TUBE, [4000.0])
    assert tube.velocity_state is VelocityState.UNRESOLVED
    assert np.isnan(tube.velocity_px_s)
    assert np.isnan(tube.velocity_interval_px_s).all()


def test_a_vessel_as_faint_as_the_noise_has_neither_arrival_nor_velocity() -> None:
    (tube,) = measured(TUBE, [200.0], strength=0.0003)
    assert tube.velocity_state is VelocityState.NOT_FILLED
    assert np.isnan([tube.arrival_start_s, tube.velocity_px_s]).all()


def test_a_branch_directed_against_the_flow_has_no_velocity() -> None:
    line = TUBE.branches[0].centreline
    against = replace(TUBE, branches=(branch(0, 1, 0, line[::-1]),), root=1)
    artery, sub, maps = drawn_run(TUBE, arrivals(TUBE, [150.0], 1.2))
    ((tube,), quality) = measure_branches(against, artery, sub, maps, params=MeasureParams())
    assert tube.velocity_state in (VelocityState.UNRESOLVED, VelocityState.CONTRADICTORY)
    assert np.isnan(tube.velocity_px_s)
    assert Quality.FLOW_NOT_RESOLVED in quality


def test_a_run_that_does_not_show_contrast_coming_is_not_timed() -> None:
    artery, sub, maps = drawn_run(Y, arrivals(Y, [150.0] * 3, 1.2))
    filled = replace(sub, quality=Quality.FILLED_FROM_FIRST_FRAME)
    found, quality = measure_branches(Y, artery, filled, maps, params=MeasureParams())
    assert {m.velocity_state for m in found} == {VelocityState.NOT_TIMED}
    assert np.isnan([m.arrival_start_s for m in found]).all()
    assert [m.strahler_order for m in found] == [2, 1, 1]
    assert quality is Quality.NONE


def test_each_arm_of_a_y_has_its_own_velocity() -> None:
    truth = [220.0, 150.0, 90.0]
    found = measured(Y, truth)
    assert [m.velocity_px_s for m in found] == pytest.approx(truth, rel=0.2)
    for one, velocity in zip(found, truth, strict=True):
        assert one.velocity_interval_px_s[0] < velocity < one.velocity_interval_px_s[1]
    assert found[1].arrival_start_s == pytest.approx(found[0].arrival_end_s, abs=0.06)


def test_a_short_branch_leans_on_its_neighbours_and_says_how_little_it_knows() -> None:
    nodes = [(128.0, 10.0), (128.0, 110.0), (128.0, 140.0), (128.0, 240.0), (60.0, 110.0), (60.0, 140.0)]
    chain = tree(nodes, [(0, 1), (1, 2), (2, 3), (1, 4), (2, 5)])
    found = measured(chain, [150.0] * 5)
    short, long = found[1], found[0]
    spread = [np.log(m.velocity_interval_px_s[1] / m.velocity_interval_px_s[0]) for m in (short, long)]
    assert short.velocity_state is VelocityState.MEASURED
    assert short.velocity_interval_px_s[0] < 150 < short.velocity_interval_px_s[1]
    assert spread[0] > spread[1]


def test_sideways_motion_that_is_left_does_not_change_velocity() -> None:
    artery, sub, maps = drawn_run(TUBE, arrivals(TUBE, [200.0], 1.2))
    swayed = np.stack([np.roll(f, 2 * (k % 3) - 2, axis=0) for k, f in enumerate(sub.frames)])
    (tube,), _ = measure_branches(TUBE, artery, replace(sub, frames=swayed), maps, params=MeasureParams())
    assert tube.velocity_px_s == pytest.approx(200, rel=0.1)


def test_scaling_the_contrast_with_its_noise_changes_nothing() -> None:
    artery, sub, maps = drawn_run(Y, arrivals(Y, [200.0, 150.0, 120.0], 1.2))
    louder = replace(sub, frames=4 * sub.frames, noise_sd=4 * sub.noise_sd)
    one, two = (measure_branches(Y, artery, s, maps, params=MeasureParams())[0] for s in (sub, louder))
    assert [m.velocity_px_s for m in one] == pytest.approx([m.velocity_px_s for m in two], rel=1e-4)


def test_strahler_rises_only_where_equals_meet() -> None:
    #       0 - 1 < 2 < 4, 5       two ends make 2, and an end that joins a 2 leaves it 2
    #             \ 3
    graph = tree([(0, 0), (0, 10), (10, 20), (-10, 20), (20, 30), (10, 30)], [(0, 1), (1, 2), (1, 3), (2, 4), (2, 5)])
    assert strahler_orders(graph) == (2, 2, 1, 1, 1)
    two = tree(
        [(0, 0), (0, 10), (10, 20), (-10, 20), (20, 30), (10, 30), (-20, 30), (-10, 30)],
        [(0, 1), (1, 2), (1, 3), (2, 4), (2, 5), (3, 6), (3, 7)],
    )
    assert strahler_orders(two) == (3, 2, 2, 1, 1, 1, 1)


def test_generation_counts_bifurcations_and_not_nodes() -> None:
    nodes = [(0.0, 0.0), (0.0, 10.0), (0.0, 20.0), (10.0, 30.0), (-10.0, 30.0), (50.0, 50.0), (60.0, 60.0)]
    # Node 1 only continues; the last branch is a piece that the root does not reach.
    graph = tree(nodes, [(0, 1), (1, 2), (2, 3), (2, 4), (5, 6)])
    assert generations(graph) == (0, 0, 1, 1, None)


def test_a_loop_has_orders_and_generations_for_every_branch() -> None:
    nodes = [(0.0, 0.0), (0.0, 10.0), (10.0, 20.0), (-10.0, 20.0), (0.0, 30.0), (0.0, 40.0)]
    graph = tree(nodes, [(0, 1), (1, 2), (1, 3), (2, 4), (3, 4), (4, 5)])
    assert min(strahler_orders(graph)) >= 1
    assert None not in generations(graph)
    circle = tree([(0, 0), (0, 9), (9, 9)], [(0, 1), (1, 2), (2, 0)])
    assert all(order == 1 for order in strahler_orders(circle))
    assert len(generations(circle)) == 3


def test_velocity_is_measured_round_a_loop_too() -> None:
    nodes = [(128.0, 10.0), (128.0, 80.0), (70.0, 130.0), (190.0, 130.0), (128.0, 180.0), (128.0, 245.0)]
    graph = tree(nodes, [(0, 1), (1, 2), (1, 3), (2, 4), (3, 4), (4, 5)])
    found = measured(graph, [150.0] * 6)
    known = [m.velocity_px_s for m in found if m.velocity_state is VelocityState.MEASURED]
    assert len(known) >= 4
    assert known == pytest.approx([150.0] * len(known), rel=0.25)


def test_shape_follows_geometry() -> None:
    angle = np.linspace(0, np.pi, 200)
    half = 60 * np.stack([np.sin(angle), -np.cos(angle)], axis=1) + 128
    arc = branch(0, 0, 1, half, np.linspace(5, 2, 200))
    graph = VesselGraph(np.array([half[0], half[-1]]), (arc,), 0)
    artery, sub, maps = drawn_run(graph, [np.ones(200)])
    ((one,), _) = measure_branches(graph, artery, sub, maps, params=MeasureParams())
    assert one.length_px == pytest.approx(60 * np.pi, rel=0.01)
    assert one.tortuosity == pytest.approx(np.pi / 2, rel=0.01)
    assert one.diameter_px == pytest.approx(7, rel=0.01)
    assert one.taper == pytest.approx(6 / (60 * np.pi), rel=0.02)
    assert (one.strahler_order, one.generation, one.branch) == (1, 0, 0)


def test_twice_the_size_is_twice_the_length_and_the_same_tortuosity() -> None:
    def measures(scale: float) -> BranchMeasures:
        line = scale * np.array([[10.0, 10.0], [20.0, 30.0], [10.0, 50.0]])
        graph = VesselGraph(line[[0, -1]], (branch(0, 0, 1, line, 2 * scale),), 0)
        artery, sub, maps = drawn_run(graph, [np.ones(3)])
        return measure_branches(graph, artery, sub, maps, params=MeasureParams())[0][0]

    one, two = measures(1), measures(2)
    assert two.length_px == pytest.approx(2 * one.length_px)
    assert two.diameter_px == pytest.approx(2 * one.diameter_px)
    assert two.tortuosity == pytest.approx(one.tortuosity)


def test_a_branch_back_to_its_start_has_no_tortuosity() -> None:
    angle = np.linspace(0, 2 * np.pi, 100)
    ring = 40 * np.stack([np.sin(angle), np.cos(angle)], axis=1) + 128
    graph = VesselGraph(ring[:1], (branch(0, 0, 0, ring),), 0)
    artery, sub, maps = drawn_run(graph, [np.ones(100)])
    ((one,), _) = measure_branches(graph, artery, sub, maps, params=MeasureParams())
    assert np.isnan(one.tortuosity)
    assert one.length_px == pytest.approx(80 * np.pi, rel=0.01)


def test_an_empty_graph_has_no_measures() -> None:
    artery, sub, maps = drawn_run(TUBE, arrivals(TUBE, [200.0], 1.2))
    empty = VesselGraph(np.empty((0, 2)), (), None)
    assert measure_branches(empty, artery & False, sub, maps, params=MeasureParams()) == ((), Quality.NONE)
