"""Lines held flat: steps, smoothing along, filling."""

from __future__ import annotations

import numpy as np
import pytest

from angio_pipeline.numerics.polylines import Polylines, filled_along, smooth_along, smooth_paths

LINES = Polylines.of([np.array([[0.0, 0.0], [0.0, 10.5]]), np.array([[5.0, 5.0], [5.2, 5.1]]), np.zeros((1, 2))])


def test_steps_are_equal_and_no_longer_than_a_pixel() -> None:
    fine = LINES.resampled()
    first, second, third = fine.split(fine.points)
    steps = np.linalg.norm(np.diff(first, axis=0), axis=1)
    assert steps.max() <= 1.0
    assert steps == pytest.approx(steps[0])
    assert first[-1] == pytest.approx([0, 10.5])
    assert len(second) == 2
    assert len(third) == 1


def test_the_length_of_a_bent_line_is_kept() -> None:
    angle = np.linspace(0, np.pi, 400)
    arc = 20 * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    fine = Polylines.of([arc]).resampled()
    assert np.linalg.norm(np.diff(fine.points, axis=0), axis=1).sum() == pytest.approx(20 * np.pi, rel=1e-3)


def test_a_staircase_becomes_a_slope_and_its_ends_stay() -> None:
    steps = np.stack([np.arange(60.0), np.arange(60.0) // 2], axis=1)
    smooth = smooth_paths(Polylines.of([steps]), 3.0).points
    assert smooth[[0, -1]] == pytest.approx(steps[[0, -1]])
    assert np.abs(np.diff(smooth[10:-10, 1]) - 0.5).max() < 0.05


def test_smoothing_along_one_line_leaves_the_next_alone() -> None:
    lines = Polylines.of([np.zeros((30, 2)), np.zeros((30, 2))])
    values = np.repeat([1.0, 5.0], 30)
    assert smooth_along(lines, values, 4.0) == pytest.approx(values)


def test_what_is_unknown_takes_no_part_in_smoothing() -> None:
    lines = Polylines.of([np.zeros((40, 2))])
    values = np.full(40, 2.0)
    values[10:13] = np.nan
    assert smooth_along(lines, values, 2.0) == pytest.approx(2.0)
    assert np.isnan(smooth_along(lines, np.full(40, np.nan), 2.0)).all()


def test_gaps_are_filled_straight_and_ends_with_the_nearest() -> None:
    lines = Polylines.of([np.zeros((6, 2)), np.zeros((3, 2))])
    nan = np.nan
    values = np.array([nan, 1.0, nan, nan, 4.0, nan, nan, nan, nan])
    filled = filled_along(lines, values)
    assert filled[:6] == pytest.approx([1, 1, 2, 3, 4, 4])
    assert np.isnan(filled[6:]).all()


def test_no_line_is_no_trouble() -> None:
    none = Polylines.of([])
    assert len(none.resampled().points) == 0
    assert len(smooth_along(none, np.empty(0), 2.0)) == 0
