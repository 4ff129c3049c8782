"""Laws of grids, shells, trends and noise in three dimensions."""

from __future__ import annotations

import numpy as np
import pytest

from angio_pipeline.numerics import volumes as v


def affine(z: float = 3.0, y: float = 1.0, x: float = 1.5) -> np.ndarray:
    out = np.eye(4)
    out[:3, :3] = [[0, 0, x], [0, y, 0], [z, 0, 0]]
    out[:3, 3] = [-20.0, 5.0, 100.0]
    return out


def test_world_and_index_are_inverse():
    points = np.array([[0.0, 0, 0], [3, 4.5, 7]])
    np.testing.assert_allclose(v.to_index(affine(), v.to_world(affine(), points)), points, atol=1e-12)


def test_spacing_is_read_per_index_axis():
    np.testing.assert_allclose(v.spacing_mm(affine()), [3.0, 1.0, 1.5])


def test_isotropic_grid_covers_a_volume_and_not_more():
    shape, grid = v.isotropic_grid((10, 31, 21), affine(), 1.0)
    assert shape == (28, 31, 31)
    np.testing.assert_allclose(v.to_world(grid, [0, 0, 0]), v.to_world(affine(), [0, 0, 0]))


def test_resampling_a_linear_field_is_exact():
    source = affine()
    shape, grid = v.isotropic_grid((10, 31, 21), source, 1.0)
    field = np.array([1.0, -2.0, 0.5])
    idx = np.moveaxis(np.indices((10, 31, 21)), 0, -1)
    out = v.resample(v.to_world(source, idx) @ field, source, shape, grid)
    want = v.to_world(grid, np.moveaxis(np.indices(shape), 0, -1)) @ field
    np.testing.assert_allclose(out, want, atol=1e-3)


def test_motion_takes_target_points_to_source_points():
    image = np.zeros((9, 9, 9))
    image[4, 4, 6] = 1
    eye = affine(1, 1, 1)
    motion = np.eye(4)
    motion[0, 3] = 2.0
    out = v.resample(image, eye, image.shape, eye, motion=motion)
    assert out[4, 4, 4] == pytest.approx(1)


def test_mask_keeps_its_volume_on_a_finer_grid():
    z, y, x = np.indices((20, 40, 40))
    ball = (3 * (z - 10)) ** 2 + (y - 20.0) ** 2 + (1.5 * (x - 20)) ** 2 < 12**2
    shape, grid = v.isotropic_grid(ball.shape, affine(), 1.0)
    fine = v.resample_mask(ball, affine(), shape, grid)
    assert fine.sum() == pytest.approx(ball.sum() * 4.5, rel=0.05)


def test_box_holds_the_mask_and_its_margin():
    mask = np.zeros((20, 20, 20), dtype=bool)
    mask[10, 5, 5] = True
    box = v.bounding_box(mask, affine(), margin_mm=3.0)
    assert box == (slice(9, 12), slice(2, 9), slice(3, 8))
    np.testing.assert_allclose(v.crop_affine(affine(), box)[:3, 3], v.to_world(affine(), [9, 2, 3]))


def test_box_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one voxel"):
        v.bounding_box(np.zeros((3, 3, 3), dtype=bool), np.eye(4))


def test_distance_counts_millimetres():
    mask = np.zeros((5, 5, 5), dtype=bool)
    mask[2, 2, 2] = True
    distance = v.distance_mm(mask, affine())
    assert (distance[2, 2, 2], distance[3, 2, 2], distance[2, 2, 3]) == (0, 3, 1.5)
    assert np.isinf(v.distance_mm(~np.ones((2, 2, 2), dtype=bool), affine())).all()


def test_growing_and_shrinking_a_ball_changes_its_radius():
    grid = affine(1, 1, 1)
    z, y, x = np.indices((41, 41, 41)) - 20
    r = np.sqrt(z**2 + y**2 + x**2)
    assert v.dilate(r <= 10, grid, 4).sum() == pytest.approx((r <= 14).sum(), rel=0.08)
    assert v.dilate(r <= 10, grid, -4).sum() == pytest.approx((r <= 6).sum(), rel=0.1)


def test_opening_removes_what_is_thinner_than_the_ball():
    mask = np.zeros((30, 30, 30), dtype=bool)
    mask[5:25, 5:25, 5:15] = True
    mask[14:16, 14:16, 15:30] = True
    opened = v.open_by_ball(mask, affine(1, 1, 1), 4)
    assert opened[15, 15, 10]
    assert not opened[:, :, 17:].any()


def test_largest_component_wins_and_nothing_stays_nothing():
    mask = np.zeros((5, 5, 9), dtype=bool)
    mask[0, 0, 0] = mask[2, 2, 4:8] = True
    assert v.largest_component(mask).sum() == 4
    assert not v.largest_component(np.zeros((2, 2, 2), dtype=bool)).any()


def test_mode_ignores_a_minority_elsewhere():
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(60, 10, 20000), rng.normal(110, 10, 8000)])
    assert v.mode_of(values, 0, 200, width=6.0) == pytest.approx(60, abs=1.5)
    assert np.isnan(v.mode_of(values, 900, 1000, width=6.0))


def test_trend_is_found_among_outliers():
    rng = np.random.default_rng(2)
    points = rng.uniform(-20, 20, (4000, 3))
    values = 55 + points @ [0.3, 0.0, -0.2] + rng.normal(0, 8, 4000)
    values[:200] += 300
    trend, spread = v.fit_trend(values, points, gradient_sd=1.0)
    assert trend[0] == pytest.approx(55, abs=1.2)
    np.testing.assert_allclose(trend[1:], [0.3, 0, -0.2], atol=0.05)
    assert spread == pytest.approx(8, rel=0.15)


def test_sum_of_correlated_noise_has_the_variance_foretold():
    rng = np.random.default_rng(3)
    grid = affine(1, 1, 1)
    mask = np.zeros((24, 32, 32), dtype=bool)
    mask[4:20, 4:28, 4:28] = True
    sums, factors = [], []
    for _ in range(60):
        noise = v.smooth(rng.normal(0, 10, mask.shape), grid, 1.0)
        sums.append(noise[8:14, 8:18, 8:18].sum())
        factors.append(v.correlation_volume(noise, mask, grid, reach_mm=4.0) * noise[mask].var())
    predicted = np.sqrt(np.mean(factors) * 600)
    assert np.std(sums) == pytest.approx(predicted, rel=0.3)


def test_white_noise_has_a_correlation_volume_of_one():
    noise = np.random.default_rng(4).normal(0, 1, (20, 30, 30))
    mask = np.ones(noise.shape, dtype=bool)
    assert v.correlation_volume(noise, mask, affine(), reach_mm=3.0) == pytest.approx(1, abs=0.3)
