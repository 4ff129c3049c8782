"""The liver's shape follows its settings, and its landmarks lie inside it."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from angio_pipeline.simulate.anatomy.liver import Liver, LiverParams, draw_liver, inside, points_within, spread_points


def _liver(seed: int = 0, **settings: Any) -> Liver:
    return draw_liver(LiverParams(**settings), np.random.default_rng(seed))


def _extent(liver: Liver) -> tuple[np.ndarray, np.ndarray]:
    radii = 1 / np.diagonal(liver.lobes.shape, axis1=1, axis2=2)
    return (liver.lobes.centre - radii).min(axis=0), (liver.lobes.centre + radii).max(axis=0)


def _volume_ml(liver: Liver) -> float:
    axis = np.linspace(-150, 150, 61)
    grid = np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(-1, 3)
    return float(inside(liver.lobes, grid).mean() * 300**3 / 1000)


@pytest.mark.slow
def test_volume_goes_as_the_cube_of_size() -> None:
    small = _liver(liver_size_min=0.8, liver_size_max=0.8)
    large = _liver(liver_size_min=1.0, liver_size_max=1.0)
    assert _volume_ml(large) / _volume_ml(small) == pytest.approx(1 / 0.8**3, rel=0.08)


@pytest.mark.slow
def test_a_liver_of_usual_size_holds_between_one_and_two_litres() -> None:
    assert all(1000 < _volume_ml(_liver(seed, liver_size_min=1.0, liver_size_max=1.0)) < 2000 for seed in range(5))


def test_a_longer_left_lobe_reaches_further_left() -> None:
    short = _liver(left_lobe_length_min=0.7, left_lobe_length_max=0.7)
    long = _liver(left_lobe_length_min=1.4, left_lobe_length_max=1.4)
    assert _extent(long)[1][0] > _extent(short)[1][0] + 40


def test_a_riedel_tongue_reaches_further_down() -> None:
    with_tongue, without = _liver(riedel_probability=1.0), _liver(riedel_probability=0.0)
    assert with_tongue.riedel
    assert not without.riedel
    assert _extent(with_tongue)[0][2] < _extent(without)[0][2] - 15


def test_the_left_artery_supplies_what_lies_to_the_left() -> None:
    liver = _liver()
    left = liver.of_left(np.array([[60.0, -24.0, 32.0], [-60.0, 6.0, 20.0]]))
    np.testing.assert_array_equal(left, [True, False])


def test_landmarks_lie_inside_the_liver() -> None:
    for seed in range(10):
        liver = _liver(seed)
        places = [liver.at(lobe, unit) for lobe in range(3) for unit in ((0.5, -0.4, -0.5), (-0.5, 0.35, 0.6))]
        assert inside(liver.lobes, np.array(places)).all()


def test_points_within_lie_within() -> None:
    liver = _liver()
    assert inside(liver.lobes, points_within(liver.lobes, 500, np.random.default_rng(1))).all()


def test_spread_points_keep_further_apart_than_random_ones() -> None:
    pool = np.random.default_rng(2).uniform(0, 100, (600, 3))

    def closest(points: np.ndarray) -> float:
        gap = np.linalg.norm(points[:, None] - points[None], axis=2) + np.diag(np.full(len(points), np.inf))
        return float(np.median(gap.min(axis=1)))

    assert closest(spread_points(pool, 100)) > 1.3 * closest(pool[:100])


def test_a_least_size_above_the_greatest_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="liver_size_min must not exceed liver_size_max"):
        LiverParams(liver_size_min=1.1, liver_size_max=0.9)
