import numpy as np
import pytest

from angio_pipeline.numerics.fields import compose_at, expand_field, invert_field, sampling_grid, warp
from angio_pipeline.numerics.filters import difference_noise_sd, gaussian, masked_gaussian, robust_sd, wide_gaussian
from angio_pipeline.numerics.ridges import bright_ridges, ridge_noise_sd
from angio_pipeline.numerics.skeletons import trace_skeleton


def test_noise_is_measured_under_a_smooth_picture() -> None:
    rng = np.random.default_rng(0)
    smooth = gaussian(rng.standard_normal((200, 200)).astype(np.float32), 12) * 50
    noisy = smooth + rng.normal(0, 0.3, smooth.shape).astype(np.float32)
    assert difference_noise_sd(noisy) == pytest.approx(0.3, rel=0.05)


def test_noise_of_a_large_picture_is_measured_from_a_part_of_its_pixels() -> None:
    noise = np.random.default_rng(0).normal(0, 0.3, (1000, 1200)).astype(np.float32)
    assert difference_noise_sd(noise) == pytest.approx(0.3, rel=0.02)


def test_noise_is_measured_inside_the_mask_only() -> None:
    noise = np.random.default_rng(0).normal(0, 0.3, (1000, 1200)).astype(np.float32)
    noise[:, 600:] *= 10
    mask = np.zeros(noise.shape, bool)
    mask[:, :595] = True
    assert difference_noise_sd(noise, mask) == pytest.approx(0.3, rel=0.02)


@pytest.mark.parametrize("sigma_px", [2.0, 6.0, 12.0, 20.0, 30.0])
def test_a_wide_blur_of_a_point_has_the_width_asked_for(sigma_px: float) -> None:
    point = np.zeros((257, 243), np.float32)
    point[128, 121] = 1
    blurred = wide_gaussian(point, sigma_px)
    away = np.arange(257) - 128
    profile = blurred.sum(axis=1) / blurred.sum()
    assert (profile * away).sum() == pytest.approx(0, abs=0.01)
    assert np.sqrt((profile * away**2).sum()) == pytest.approx(sigma_px, rel=0.05)


@pytest.mark.parametrize("sigma_px", [8.0, 12.0, 20.0])
def test_a_wide_blur_is_the_blur_to_a_hundredth_within_the_picture(sigma_px: float) -> None:
    edge = np.repeat((np.arange(256) > 100).astype(np.float32)[:, None], 240, axis=1)
    np.testing.assert_allclose(wide_gaussian(edge, sigma_px), gaussian(edge, sigma_px), atol=0.01)


@pytest.mark.parametrize("sigma_px", [0.0, 5.0, 8.0, 20.0])
def test_a_wide_blur_leaves_a_constant(sigma_px: float) -> None:
    np.testing.assert_allclose(wide_gaussian(np.full((130, 97), 3.0, np.float32), sigma_px), 3.0, rtol=1e-6)


def test_a_picture_too_small_to_shrink_is_blurred_as_it_is() -> None:
    small = np.random.default_rng(0).random((12, 200)).astype(np.float32)
    np.testing.assert_array_equal(wide_gaussian(small, 9.0), gaussian(small, 9.0))


def test_robust_sd_ignores_outliers() -> None:
    values = np.concatenate([np.random.default_rng(0).normal(0, 2, 10_000), np.full(500, 1e6)])
    assert robust_sd(values) == pytest.approx(2, rel=0.1)


def test_masked_mean_of_a_constant_is_that_constant_beside_a_hole() -> None:
    image = np.full((60, 60), 3.0, np.float32)
    image[20:40, 20:40] = 1e6
    mask = np.ones((60, 60), bool)
    mask[20:40, 20:40] = False
    np.testing.assert_allclose(masked_gaussian(image, mask, 5)[mask], 3.0, rtol=1e-4)


def test_warp_by_a_whole_pixel_moves_the_picture() -> None:
    image = np.random.default_rng(0).random((40, 50)).astype(np.float32)
    moved = warp(image, sampling_grid((40, 50)) + np.array([1, 2], np.float32))
    np.testing.assert_allclose(moved[5:-5, 5:-5], image[6:-4, 7:-3], atol=1e-5)


def test_a_field_after_its_inverse_is_the_identity() -> None:
    rows, cols = np.mgrid[:8, :8].astype(np.float32)
    field = np.stack([2 * np.sin(rows / 3), 1.5 * np.cos(cols / 3)], -1)
    back = invert_field(field, (256, 256))
    left = back + compose_at(field, back, (256, 256))
    assert float(np.abs(left).max()) < 0.02


def test_a_constant_lattice_expands_to_a_constant() -> None:
    field = expand_field(np.full((4, 5, 2), 1.5, np.float32), (64, 80))
    np.testing.assert_allclose(field, 1.5, atol=1e-6)


def test_a_ridge_answers_most_at_its_own_width_and_in_units_of_the_picture() -> None:
    _, cols = np.mgrid[:80, :80]
    profile = np.exp(-0.5 * ((cols - 40) / 2.0) ** 2).astype(np.float32)
    one = bright_ridges(profile, (1.0, 2.0, 2.83, 4.0, 6.0), noise_sd=0.01)
    three = bright_ridges(3 * profile, (2.83,), noise_sd=0.01)
    # A Gaussian ridge of height A answers A * 0.385 at sqrt(2) times its own width.
    assert float(one.strength[40, 40]) == pytest.approx(0.385, rel=0.03)
    assert float(three.strength[40, 40]) == pytest.approx(3 * 0.385, rel=0.03)


def test_a_dark_ridge_and_a_round_blob_answer_nothing() -> None:
    rows, cols = np.mgrid[:80, :80]
    ridge = np.exp(-0.5 * ((cols - 40) / 2.0) ** 2).astype(np.float32)
    blob = np.exp(-0.5 * ((cols - 40) ** 2 + (rows - 40) ** 2) / 16).astype(np.float32)
    assert bright_ridges(-ridge, (2.83,), noise_sd=0.01).strength[40, 40] == 0
    assert bright_ridges(blob, (2.83, 4.0), noise_sd=0.01).strength[40, 40] < 0.02


def test_the_shoulder_of_an_edge_is_no_ridge() -> None:
    _, cols = np.mgrid[:80, :80]
    edge = (cols > 40).astype(np.float32)
    ridge = (np.abs(cols - 40) <= 2).astype(np.float32)
    sigmas = (1.5, 2.83, 4.0)
    of_edge = bright_ridges(edge, sigmas, noise_sd=0.01).strength[20:60].max()
    of_ridge = bright_ridges(ridge, sigmas, noise_sd=0.01).strength[20:60].max()
    assert of_edge < 0.12 * of_ridge


def test_white_noise_gives_unit_responses_in_noise_units() -> None:
    noise = np.random.default_rng(0).normal(0, 0.5, (300, 300)).astype(np.float32)
    from scipy import ndimage

    second = 4.0 * ndimage.gaussian_filter(noise.astype(float), 2.0, order=(0, 2))
    assert second.std() == pytest.approx(ridge_noise_sd(0.5, 2.0), rel=0.05)


def test_a_cross_has_one_junction_and_four_arms() -> None:
    skeleton = np.zeros((41, 41), bool)
    skeleton[20, 5:36] = skeleton[5:36, 20] = True
    network = trace_skeleton(skeleton)
    assert len(network.edges) == 4
    degrees = np.bincount([n for a, b, _ in network.edges for n in (a, b)])
    assert sorted(degrees) == [1, 1, 1, 1, 4]


def test_a_ring_becomes_one_loop_and_a_line_one_edge() -> None:
    ring = np.zeros((40, 40), bool)
    angles = np.linspace(0, 2 * np.pi, 400)
    ring[np.round(20 + 10 * np.sin(angles)).astype(int), np.round(20 + 10 * np.cos(angles)).astype(int)] = True
    from skimage.morphology import skeletonize

    network = trace_skeleton(skeletonize(ring))
    assert len(network.edges) == 1
    assert network.edges[0][0] == network.edges[0][1]
    line = np.zeros((10, 30), bool)
    line[5, 3:25] = True
    (edge,) = trace_skeleton(line).edges
    assert len(edge[2]) == 22


def test_an_empty_skeleton_has_no_network() -> None:
    assert trace_skeleton(np.zeros((10, 10), bool)).edges == []
