"""What speaks for and against each reading of a place, on arms that are laid out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from angio_pipeline.vessels.junction_readings import FEATURES, Readings, readings_of
from angio_pipeline.vessels.junctions import Arm, Arms, Junction

# By which arm each arm is fed; -1 where flow comes in. Arms 0 and 2, and 1 and 3, lie opposite each other.
CROSSING = (-1, -1, 0, 1)
THREE_WAYS = (-1, 0, 0, 0)


def _star(headings_deg: list[float], *, middle: float, shares: list[float] | None = None, **told: list[float]):
    """A node with arms that leave in given directions; contrast and radius follow each arm's share."""
    count = len(headings_deg)
    share = np.array(shares or [1.0] * count)
    angle = np.deg2rad(headings_deg)
    heading = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    nothing = np.full(count, np.nan)
    arms = Arms(
        start=np.zeros(count, dtype=np.int64),
        place=100 + 6 * heading,
        heading=heading,
        radius_px=3 * share,
        contrast=0.2 * share,
        arrival_s=np.array(told.get("arrival_s", nothing)),
        slowness=np.array(told.get("slowness", np.zeros(count))),
        way_px=np.full(count, 10.0),
        arrival_sd_s=np.array(told.get("sd_s", [0.02] * count)),
        middle=np.array([0.2 * middle]),
    )
    names = tuple(Arm(k, 0) for k in range(count))
    return Junction((0,), (), names, (0,) * count, np.zeros((0, count), dtype=np.bool_)), arms


def _cost(readings: Readings, fed_by: tuple[int, ...]) -> float:
    (at,) = np.flatnonzero((readings.fed_by == fed_by).all(axis=1))
    return float(readings.cost()[at])


def _feature(readings: Readings, fed_by: tuple[int, ...], name: str) -> float:
    (at,) = np.flatnonzero((readings.fed_by == fed_by).all(axis=1))
    return float(readings.features[at, FEATURES.index(name)])


@pytest.mark.slow
@pytest.mark.parametrize("arms", [2, 3, 4])
def test_every_way_to_feed_arms_from_arms_is_a_reading(arms: int) -> None:
    readings = readings_of(*_star(list(np.linspace(0, 300, arms)), middle=1.0), 1.0)
    # With i arms that bring flow, each of the others may be fed by any of them.
    expected = {2: 2 + 1, 3: 3 + 3 * 2 + 1, 4: 4 + 6 * 4 + 4 * 3 + 1}[arms]
    assert len(readings.fed_by) == expected
    assert len({tuple(row) for row in readings.fed_by.tolist()}) == expected


@pytest.mark.slow
def test_two_straight_lines_that_meet_are_a_crossing() -> None:
    readings = readings_of(*_star([0, 60, 180, 240], middle=2.0), 1.0)
    best = readings.fed_by[int(np.argmin(readings.cost()))]
    passes = {frozenset((k, int(by))) for k, by in enumerate(best) if by >= 0}
    assert passes == {frozenset((0, 2)), frozenset((1, 3))}


def test_a_wide_vessel_with_two_thinner_ones_beyond_divides() -> None:
    readings = readings_of(*_star([180, 30, -30], middle=1.0, shares=[1.0, 0.8, 0.8]), 1.0)
    assert readings.fed_by[int(np.argmin(readings.cost()))].tolist() == [-1, 0, 0]


def test_attenuation_that_adds_up_speaks_for_an_overlap() -> None:
    # The same arms: where they overlap, both attenuate; where one divides, none does more than it.
    both, one = (readings_of(*_star([180, 90, 0, -90], middle=m), 1.0) for m in (2.0, 1.0))
    assert _feature(both, CROSSING, "sum_over") == pytest.approx(0, abs=1e-6)
    assert _feature(both, THREE_WAYS, "sum_over") == pytest.approx(np.log(2), abs=1e-6)
    assert _feature(one, CROSSING, "sum_under") == pytest.approx(np.log(2), abs=1e-6)
    gained = [_cost(r, THREE_WAYS) - _cost(r, CROSSING) for r in (both, one)]
    assert gained[0] > gained[1] + 0.5


def test_contrast_that_comes_before_it_can_speaks_against_a_step() -> None:
    def cost_of_pairs(late_s: float) -> float:
        arrival = [1.0, 1.0, 1.1, 1.1 - late_s]
        slowness = [-0.004, -0.004, 0.004, 0.004]
        return _cost(
            readings_of(*_star([180, 90, 0, -90], middle=2.0, arrival_s=arrival, slowness=slowness), 1.0), CROSSING
        )

    on_time, early = cost_of_pairs(0.0), cost_of_pairs(0.4)
    assert early > on_time + 2


def test_what_is_not_timed_speaks_neither_way() -> None:
    readings = readings_of(*_star([180, 90, 0, -90], middle=2.0), 1.0)
    timed = [FEATURES.index(n) for n in FEATURES if n.endswith(("_untimely", "_early", "_late"))]
    assert np.all(readings.features[:, timed] == 0)


@given(st.floats(0.1, 3.0), st.floats(0, 360), st.lists(st.floats(0.3, 1.5), min_size=4, max_size=4))
def test_neither_units_of_contrast_nor_the_pictures_turn_change_a_reading(
    unit: float, turn_deg: float, shares: list[float]
) -> None:
    first = [180.0, 75.0, 10.0, -90.0]
    junction, arms = _star(first, middle=1.3, shares=shares)
    _, turned = _star([a + turn_deg for a in first], middle=1.3, shares=shares)
    brighter = Arms(
        turned.start, turned.place, turned.heading, turned.radius_px, unit * turned.contrast, turned.arrival_s,
        turned.slowness, turned.way_px, turned.arrival_sd_s, unit * turned.middle,
    )  # fmt: skip
    assert readings_of(junction, brighter, 1.0).cost() == pytest.approx(
        readings_of(junction, arms, 1.0).cost(), abs=1e-6
    )


@given(st.permutations(range(4)))
def test_the_order_of_arms_changes_no_reading(order: list[int]) -> None:
    headings, shares = [180.0, 75.0, 10.0, -90.0], [1.0, 0.6, 0.9, 0.5]
    plain = readings_of(*_star(headings, middle=1.3, shares=shares), 1.0)
    mixed = readings_of(*_star([headings[k] for k in order], middle=1.3, shares=[shares[k] for k in order]), 1.0)
    where = {old: new for new, old in enumerate(order)}
    for fed_by, cost in zip(plain.fed_by.tolist(), plain.cost(), strict=True):
        same = tuple(where[fed_by[k]] if fed_by[k] >= 0 else -1 for k in order)
        assert _cost(mixed, same) == pytest.approx(cost, abs=1e-9)
