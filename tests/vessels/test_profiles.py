"""Middle and radius from the attenuation across a vessel, against tubes of known place and width."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from vessel_tubes import BLUR_PX, Tube, tube_run

from angio_pipeline.numerics.polylines import Polylines
from angio_pipeline.vessels import NetworkParams, build_network
from angio_pipeline.vessels.profiles import ProfileParams, Profiles, centred, measure_profiles

LINE = np.stack([np.linspace(60, 200, 141), np.full(141, 100.0)], axis=1)


def _across(radius: float, place: float = 100.0, noise: float = 0.0, spread: float = 0.7) -> np.ndarray:
    """An upright tube of attenuation 0.02 a pixel at column `place`, spread by a Gaussian, seen by square pixels."""
    fine = np.arange(-0.475, 199.5, 0.05)
    chord = 0.02 * 2 * np.sqrt(np.maximum(radius**2 - (fine - place) ** 2, 0))
    kernel = np.exp(-0.5 * (np.arange(-6, 6.01, 0.05) / spread) ** 2)
    profile = np.convolve(chord, kernel / kernel.sum(), mode="same").reshape(-1, 20).mean(axis=1)
    rng = np.random.default_rng(1)
    return (np.tile(profile, (260, 1)) + 0.1 + rng.normal(0, noise, (260, len(profile)))).astype(np.float32)


def _measured(image: np.ndarray, radius: float, **params: float) -> Profiles:
    mask = (np.abs(np.arange(image.shape[1]) - 100) <= max(radius, 0.6)).astype(np.uint8)
    mask = np.tile(mask, (image.shape[0], 1))
    inside = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    lines = Polylines.of([LINE])
    return measure_profiles(
        image, mask, lines, inside, np.ones(len(LINE)), spread_px=0.7, noise_sd=0.001, grain_px=1.0, along=2,
        params=ProfileParams(**params),
    )  # fmt: skip


@pytest.mark.parametrize("radius", [1.2, 1.8, 2.5, 4.0, 6.5, 11.0])
def test_the_radius_is_that_of_the_tube(radius: float) -> None:
    found = _measured(_across(radius), radius)
    assert np.median(found.radius_px) == pytest.approx(radius, rel=0.04)
    assert np.median(found.base) == pytest.approx(0.1, abs=0.015 * 0.04 * radius)


def test_twice_the_attenuation_is_not_twice_the_radius() -> None:
    image = _across(3.0)
    louder = 2 * (image - 0.1) + 0.1
    assert np.median(_measured(louder, 3.0).radius_px) == pytest.approx(
        np.median(_measured(image, 3.0).radius_px), 1e-3
    )


def test_a_mask_drawn_too_wide_widens_no_vessel() -> None:
    image = _across(3.0)
    assert np.median(_measured(image, 4.5).radius_px) == pytest.approx(3.0, rel=0.05)


@pytest.mark.parametrize("radius", [0.4, 0.6])
def test_below_the_spread_the_amount_of_iodine_tells_the_radius(radius: float) -> None:
    run = tube_run(Tube([(60, 100), (220, 100)], 4.0), Tube([(60, 300), (220, 300)], radius), noise=0.0005)
    network = build_network(run.artery, run.sub, run.maps, params=NetworkParams())
    thin = min(network.edges, key=lambda edge: float(np.median(edge.radius_px)))
    assert np.median(thin.radius_px) == pytest.approx(radius, rel=0.2)


@pytest.mark.parametrize("aside", [-0.4, 0.25, 0.7])
def test_the_line_is_moved_onto_the_middle_between_pixels(aside: float) -> None:
    image = _across(2.5, 100 + aside)
    mask = np.tile((np.abs(np.arange(image.shape[1]) - 100) <= 3).astype(np.uint8), (image.shape[0], 1))
    inside = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    moved = centred(image, mask, Polylines.of([LINE]), inside, np.ones(len(LINE)), 2.0)
    assert moved.points[20:-20, 1] == pytest.approx(100 + aside, abs=0.05)


def test_a_vessel_beside_it_moves_no_line_and_widens_no_radius() -> None:
    alone = tube_run(Tube([(60, 100), (220, 100)], 3.0))
    beside = tube_run(Tube([(60, 100), (220, 100)], 3.0), Tube([(60, 110), (220, 110)], 3.0))
    for run in (alone, beside):
        network = build_network(run.artery, run.sub, run.maps, params=NetworkParams())
        edge = min(network.edges, key=lambda e: abs(float(e.path[:, 1].mean()) - 100))
        inner = edge.path[20:-20]
        assert np.sqrt(np.mean((inner[:, 1] - 100) ** 2)) < 0.2
        assert np.median(edge.radius_px) == pytest.approx(3.0, rel=0.08)


def test_doubling_the_noise_moves_no_radius_by_much() -> None:
    clean, noisy = _measured(_across(2.0), 2.0), _measured(_across(2.0, noise=0.004), 2.0)
    assert np.median(noisy.radius_px) == pytest.approx(np.median(clean.radius_px), rel=0.05)


def test_the_spread_that_is_assumed_is_that_of_the_tubes() -> None:
    assert ProfileParams().spread_px == pytest.approx(BLUR_PX)
