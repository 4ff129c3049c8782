"""Layers move as the anatomy in them does; stored values mean what they say."""

import numpy as np
import pytest

from angio_pipeline.simulate.body import Layer
from angio_pipeline.simulate.detector import DetectorParams, Storage, expose, exposure_level, log_noise, store
from angio_pipeline.simulate.motion import Breathing, MotionParams, draw_breathing, flow_field, warp_layer
from angio_pipeline.simulate.projection import CArm

ARM = CArm(128, 128, 2.4, 1100.0, 750.0)


def breathing() -> Breathing:
    times = np.arange(8) / 2.0
    return draw_breathing(MotionParams(amplitude_mm=4.0, drift_mm=2.0), times, np.random.default_rng(1))


def test_a_layer_moves_as_the_points_in_it() -> None:
    points = np.array([[-40.0, 0.0, 30.0], [20.0, 0.0, -25.0]])
    breath = breathing()
    for frame in range(8):
        moved = ARM.project(points + breath.displacement(points, frame)) - ARM.project(points)
        down, right = flow_field(breath, ARM, frame, Layer.VISCERA, step=4)
        at = np.rint(ARM.project(points)).astype(int)
        np.testing.assert_allclose(down[tuple(at.T)], moved[:, 0], atol=0.05)
        np.testing.assert_allclose(right[tuple(at.T)], moved[:, 1], atol=0.05)


def test_bones_do_not_breathe() -> None:
    points = np.array([[38.0, 66.0, 0.0]])
    assert not breathing().displacement(points, 3, Layer.STATIC).any()


def test_warping_carries_the_content_along() -> None:
    image = np.zeros((40, 40))
    image[20, 20] = 1.0
    moved = warp_layer(image, np.full((40, 40), 3.0), np.full((40, 40), -2.0))
    assert np.unravel_index(np.argmax(moved), moved.shape) == (23, 18)


def test_without_scatter_and_blur_contrast_is_beers_law() -> None:
    params = DetectorParams(rows=128, columns=128, scatter=0.0, blur_px=0.0)
    clear = np.full((128, 128), 2.0)
    absorbed = clear.copy()
    absorbed[60:70, 60:70] += 0.4
    level = exposure_level(clear)
    ratio = expose(absorbed, params, level)[65, 65] / expose(clear, params, level)[65, 65]
    assert -np.log(ratio) == pytest.approx(0.4)


def test_scatter_lessens_contrast() -> None:
    clear = np.full((128, 128), 2.0)
    absorbed = clear.copy()
    absorbed[60:70, 60:70] += 0.4
    params = DetectorParams(rows=128, columns=128, scatter=0.5)
    seen = -np.log(expose(absorbed, params, 2.0)[65, 65] / expose(clear, params, 2.0)[65, 65])
    assert 0.2 < seen < 0.35


def test_noise_is_that_of_the_quanta() -> None:
    params = DetectorParams(rows=256, columns=256, photons=2500.0)
    expected = np.full((256, 256), 2500.0)
    stored = store(expected, params, 5000.0, np.random.default_rng(0)).astype(float)
    assert stored.std() / stored.mean() == pytest.approx(float(log_noise(expected)[0, 0]), rel=0.02)
    assert stored.mean() == pytest.approx(4095 / 2, rel=0.001)


@pytest.mark.parametrize("storage", list(Storage))
def test_every_storage_keeps_brighter_brighter_and_within_its_bits(storage: Storage) -> None:
    params = DetectorParams(storage=storage, bits=10, photons=1e6)
    expected = np.linspace(1e4, 3e6, 50)[None]
    stored = store(expected, params, 2e6, np.random.default_rng(0))
    assert stored.max() == 1023
    assert (np.diff(stored.astype(int)[0]) >= 0).all()
