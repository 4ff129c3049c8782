"""Regions that touch are told apart where they are narrow, and only there."""

from __future__ import annotations

import numpy as np
import pytest

from angio_pipeline.tumour.waists import split_at_waists

ROWS, COLUMNS = np.mgrid[:160, :240]


def _disc(row: float, column: float, radius: float) -> np.ndarray:
    return np.hypot(ROWS - row, COLUMNS - column) <= radius


def _ellipse(short: float, long: float, turned_deg: float) -> np.ndarray:
    turn = np.deg2rad(turned_deg)
    down, right = ROWS - 80, COLUMNS - 120
    along, across = down * np.sin(turn) + right * np.cos(turn), down * np.cos(turn) - right * np.sin(turn)
    return (across / short) ** 2 + (along / long) ** 2 <= 1


@pytest.mark.parametrize("radius", [5, 12, 30])
def test_a_disc_stays_whole(radius: float) -> None:
    disc = _disc(80, 120, radius)
    (part,) = split_at_waists(disc, least_px=4)
    np.testing.assert_array_equal(part, disc)


@pytest.mark.parametrize("short", [6.0, 9.5, 12.0, 20.0])
@pytest.mark.parametrize("turned_deg", range(0, 180, 20))
def test_an_ellipse_stays_whole_however_it_lies(short: float, turned_deg: float) -> None:
    # Along its axis many pixels are about as deep; none of them is a part of its own.
    ellipse = _ellipse(short, 70, turned_deg)
    assert len(split_at_waists(ellipse, least_px=4)) == 1


@pytest.mark.parametrize("apart", [50, 56, 60])
def test_two_discs_that_touch_are_cut_where_they_touch(apart: int) -> None:
    left, right = _disc(80, 90, 30), _disc(80, 90 + apart, 30)
    parts = split_at_waists(left | right, least_px=4)
    assert len(parts) == 2
    assert not (parts[0] & parts[1]).any()
    np.testing.assert_array_equal(parts[0] | parts[1], left | right)
    for part in parts:
        side = part & ((90 + apart / 2 - COLUMNS) * np.sign(part[80, 80] - 0.5) > 1)
        assert np.count_nonzero(side) > 0.97 * np.count_nonzero(part)


@pytest.mark.parametrize("apart", [20, 30, 36])
def test_two_discs_that_overlap_widely_are_one(apart: int) -> None:
    assert len(split_at_waists(_disc(80, 90, 30) | _disc(80, 90 + apart, 30), least_px=4)) == 1


def test_how_narrow_a_waist_is_can_be_chosen() -> None:
    # The neck of these is 0.55 of their radius.
    pair = _disc(80, 90, 30) | _disc(80, 140, 30)
    assert len(split_at_waists(pair, least_px=4, waist=0.65)) == 2
    assert len(split_at_waists(pair, least_px=4, waist=0.45)) == 1


def test_twice_the_size_is_cut_alike() -> None:
    pair = _disc(40, 45, 15) | _disc(40, 70, 12)
    sizes = [part.sum() for part in split_at_waists(pair, least_px=4)]
    double = [part.sum() for part in split_at_waists(np.kron(pair, np.ones((2, 2), bool)).astype(bool), least_px=8)]
    assert double == pytest.approx([4 * size for size in sizes], rel=0.05)


def test_a_part_that_is_small_is_dropped_and_its_neighbour_kept() -> None:
    parts = split_at_waists(_disc(80, 60, 20) | _disc(80, 150, 3), least_px=4)
    assert len(parts) == 1
    np.testing.assert_array_equal(parts[0], _disc(80, 60, 20))


@pytest.mark.parametrize("region", [np.zeros((40, 40), bool), np.eye(40, dtype=bool)])
def test_where_nothing_is_thick_enough_there_is_nothing(region: np.ndarray) -> None:
    assert split_at_waists(region, least_px=4) == []


def test_parts_come_largest_first() -> None:
    parts = split_at_waists(_disc(30, 30, 8) | _disc(100, 60, 25) | _disc(60, 180, 15), least_px=4)
    assert [round(np.sqrt(part.sum() / np.pi)) for part in parts] == [25, 15, 8]


def test_a_ring_counts_with_its_core() -> None:
    (part,) = split_at_waists(_disc(80, 120, 30) & ~_disc(80, 120, 15), least_px=4)
    np.testing.assert_array_equal(part, _disc(80, 120, 30))


def test_a_region_that_the_frame_cuts_stays_whole() -> None:
    half = _disc(0, 120, 30)
    (part,) = split_at_waists(half, least_px=4)
    np.testing.assert_array_equal(part, half)


def test_a_frame_that_is_all_region_is_one() -> None:
    assert len(split_at_waists(np.ones((50, 60), bool), least_px=4)) == 1
