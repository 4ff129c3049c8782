"""Pixel values to attenuation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from angio_pipeline.core.provenance import Source
from angio_pipeline.core.runs import AngioRun, Quantity
from angio_pipeline.dsa.linear import linear_frame, linear_shrunk, linearise
from angio_pipeline.numerics.filters import shrink

VALID = np.ones((32, 32), bool)


def _run(frames: np.ndarray, quantity: Quantity, white: float | None) -> AngioRun:
    return AngioRun(frames, np.arange(len(frames)) * 0.5, quantity, VALID, Source("1", "1"), white_level=white)


def test_intensity_becomes_attenuation_by_beer_lambert() -> None:
    thickness = np.linspace(0, 3, 32 * 32, dtype=np.float32).reshape(1, 32, 32)
    values = linearise(_run(60000 * np.exp(-thickness), Quantity.INTENSITY, 65535)).frames
    np.testing.assert_allclose(values - values[0, 0, 0], thickness, atol=1e-3)


def test_log_images_are_not_logged_again() -> None:
    stored = np.linspace(0, 4095, 32 * 32, dtype=np.float32).reshape(1, 32, 32)
    steps = np.diff(linearise(_run(stored, Quantity.LOG_INTENSITY, 4095)).frames.ravel())
    assert steps.max() < 0
    np.testing.assert_allclose(steps, steps[0], rtol=1e-2)


def test_linearise_leaves_attenuation_alone(still_scene) -> None:
    assert linearise(still_scene.run) is still_scene.run


@pytest.mark.parametrize("quantity", [Quantity.INTENSITY, Quantity.LOG_INTENSITY, Quantity.STORED])
def test_stored_integers_and_the_same_numbers_as_floats_become_the_same(quantity: Quantity) -> None:
    stored = np.random.default_rng(0).integers(0, 4096, (3, 32, 32)).astype(np.uint16)
    whole, real = _run(stored, quantity, 4095.0), _run(stored.astype(np.float32), quantity, 4095.0)
    assert whole.frames.dtype == np.uint16
    np.testing.assert_allclose(linearise(whole).frames, linearise(real).frames, atol=2e-6)
    np.testing.assert_allclose(linear_frame(whole, 1), linearise(real).frames[1], atol=2e-6)
    np.testing.assert_allclose(linear_shrunk(whole, 4), linear_shrunk(real, 4), atol=2e-5)


def test_shrinking_averages_attenuation_not_counts() -> None:
    stored = np.random.default_rng(1).integers(100, 60000, (2, 32, 32)).astype(np.uint16)
    run = _run(stored, Quantity.INTENSITY, 65535.0)
    wanted = np.stack([shrink(frame, 4) for frame in linearise(run).frames])
    np.testing.assert_allclose(linear_shrunk(run, 4), wanted, atol=1e-4)


def test_nothing_stored_is_still_finite() -> None:
    run = _run(np.zeros((2, 32, 32), np.uint16), Quantity.INTENSITY, 4095.0)
    assert np.isfinite(linearise(run).frames).all()


def test_nan_is_refused_with_a_sentence() -> None:
    frames = np.ones((2, 32, 32), np.float32)
    frames[1, 3, 3] = np.nan
    with pytest.raises(ValueError, match=r"Expected finite frames, found NaN or infinity; mark undefined pixels"):
        _run(frames, Quantity.ATTENUATION, None)


def test_frames_of_different_size_are_refused_with_a_sentence() -> None:
    ragged = [np.ones((32, 32), np.float32), np.ones((16, 32), np.float32)]
    with pytest.raises(ValueError, match=r"Expected frames of one shape, found several"):
        _run(ragged, Quantity.ATTENUATION, None)  # type: ignore[arg-type]  # what is wrong with it is the point


def test_a_linearised_run_says_so() -> None:
    run = linearise(_run(np.full((2, 32, 32), 7, np.uint16), Quantity.INTENSITY, 255.0))
    assert run.quantity is Quantity.ATTENUATION
    assert run.provenance.operations[-1].name == "linearise"
    assert replace(run, frames=run.frames).frames.dtype == np.float32
