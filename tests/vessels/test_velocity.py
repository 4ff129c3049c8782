"""The fit over the tree, from times that are given: laws of units, outliers, and what its intervals hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from angio_pipeline.core.measures import VelocityState
from angio_pipeline.vessels.bolus import BolusTimes
from angio_pipeline.vessels.velocity import Flow, VelocityParams, fit_flow

INTERVAL_S = 0.33
# A trunk, two arms, and two twigs on each arm.
LENGTH = np.array([120.0, 90.0, 80.0, 50.0, 60.0, 40.0, 70.0])
DIAMETER = np.array([8.0, 6.0, 5.0, 3.0, 3.0, 3.0, 3.0])
PARENTS = (None, 0, 0, 1, 1, 2, 2)
VELOCITY = np.array([240.0, 180.0, 150.0, 100.0, 110.0, 90.0, 120.0])


def exact(velocity: np.ndarray = VELOCITY, slip_s: np.ndarray | None = None) -> list[BolusTimes]:
    """Times without an error, or with one that grows from end to end of each branch by `slip_s`."""
    begin = np.zeros(len(LENGTH))
    found = []
    for k, parent in enumerate(PARENTS):
        if parent is not None:
            begin[k] = begin[parent] + LENGTH[parent] / velocity[parent]
        along = np.arange(4.0, LENGTH[k], 8.0)
        slip = 0.0 if slip_s is None else slip_s[k] * (along / LENGTH[k] - 0.5)
        found.append(BolusTimes(along, 1.0 + begin[k] + along / velocity[k] + slip, np.full(len(along), 0.01)))
    return found


def fitted(
    times: Sequence[BolusTimes],
    *,
    length: np.ndarray = LENGTH,
    interval_s: float = INTERVAL_S,
    params: VelocityParams | None = None,
) -> Flow:
    params = params or VelocityParams()
    return fit_flow(times, length, DIAMETER, PARENTS, interval_s=interval_s, scale=1.0, params=params)


def test_times_without_an_error_give_the_velocity_of_every_branch() -> None:
    flow = fitted(exact())
    assert set(flow.state) <= {VelocityState.MEASURED, VelocityState.UNRESOLVED}
    known = np.isfinite(flow.velocity_px_s)
    assert known.sum() >= 5
    assert flow.velocity_px_s[known] == pytest.approx(VELOCITY[known], rel=0.08)
    assert flow.start_s[1] == pytest.approx(1 + 0.5, abs=0.03)


def test_a_slower_clock_is_a_lower_velocity() -> None:
    slow = [BolusTimes(t.along_px, 2 * t.time_s, 2 * t.sd_s) for t in exact()]
    params = VelocityParams(shared_error_s=2 * VelocityParams().shared_error_s)
    one, two = fitted(exact()), fitted(slow, interval_s=2 * INTERVAL_S, params=params)
    assert two.state == one.state
    assert two.velocity_px_s == pytest.approx(one.velocity_px_s / 2, rel=1e-3, nan_ok=True)
    assert two.interval_px_s == pytest.approx(one.interval_px_s / 2, rel=1e-3, nan_ok=True)


def test_longer_pixels_are_a_higher_velocity() -> None:
    long = [BolusTimes(2 * t.along_px, t.time_s, t.sd_s) for t in exact()]
    one, two = fitted(exact()), fitted(long, length=2 * LENGTH)
    known = np.isfinite(one.velocity_px_s)
    assert two.velocity_px_s[known] == pytest.approx(2 * one.velocity_px_s[known], rel=1e-3)


def test_one_piece_that_lies_upon_another_vessel_hardly_counts() -> None:
    times = exact()
    wrong = times[0].time_s.copy()
    wrong[3] += 3.0
    spoilt = [BolusTimes(times[0].along_px, wrong, times[0].sd_s), *times[1:]]
    assert fitted(spoilt).velocity_px_s[0] == pytest.approx(fitted(times).velocity_px_s[0], rel=0.15)


def test_times_that_scatter_wider_than_frames_give_no_velocity() -> None:
    times = exact()
    scattered = times[1].time_s + np.where(np.arange(len(times[1].time_s)) % 2, 1.0, -1.0)
    flow = fitted([times[0], BolusTimes(times[1].along_px, scattered, times[1].sd_s), *times[2:]])
    assert flow.state[1] is not VelocityState.MEASURED
    assert np.isnan(flow.velocity_px_s[1])
    assert np.isfinite(flow.velocity_px_s[0])


def test_a_branch_many_times_slower_than_all_about_it_is_not_believed() -> None:
    times = exact()
    crawling = BolusTimes(times[6].along_px, times[6].time_s[0] + times[6].along_px / 3, times[6].sd_s)
    flow = fitted([*times[:6], crawling])
    assert flow.state[6] is VelocityState.CONTRADICTORY
    assert np.isfinite(flow.start_s[6])


def test_a_branch_without_times_has_no_arrival_and_leaves_its_neighbours_theirs() -> None:
    times = exact()
    nothing = BolusTimes(np.empty(0), np.empty(0), np.empty(0))
    flow = fitted([times[0], nothing, *times[2:]])
    assert flow.state[1] is VelocityState.NOT_FILLED
    assert np.isnan([flow.start_s[1], flow.velocity_px_s[1]]).all()
    assert flow.velocity_px_s[0] == pytest.approx(VELOCITY[0], rel=0.08)


def test_times_that_all_run_backwards_give_none() -> None:
    backwards = [BolusTimes(t.along_px, 5 - t.time_s, t.sd_s) for t in exact()]
    flow = fitted(backwards)
    assert np.isnan(flow.velocity_px_s).all()


@pytest.mark.slow
def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(8)
    held = []
    for _ in range(150):
        velocity = VELOCITY * np.exp(rng.normal(0, 0.2, len(VELOCITY)))
        times = exact(velocity, rng.normal(0, 0.2 * INTERVAL_S, len(VELOCITY)))
        noisy = [BolusTimes(t.along_px, t.time_s + rng.normal(0, 0.02, len(t.time_s)), t.sd_s) for t in times]
        low, high = fitted(noisy).interval_px_s.T
        held += ((low <= velocity) & (velocity <= high))[np.isfinite(low)].tolist()
    assert len(held) > 400
    assert 0.9 < np.mean(held) <= 1.0
