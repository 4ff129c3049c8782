"""How the anatomy of a frame lies against the mask."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from angio_pipeline.dsa import MotionParams, estimate_motion, estimate_shifts
from angio_pipeline.dsa.alignment import align_anatomy
from angio_pipeline.numerics.fields import expand_field

VALID = np.ones((256, 256), bool)


def _shifted(frame: np.ndarray, shift: tuple[float, float]) -> np.ndarray:
    matrix = np.array([[1, 0, shift[1]], [0, 1, shift[0]]], np.float32)
    size = frame.shape[::-1]
    return cv2.warpAffine(frame, matrix, size, flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT)


@pytest.mark.parametrize("shift", [(1.4, -0.7), (0.3, 2.2), (-0.5, 0.5), (0.0, 0.25)])
def test_a_known_sub_pixel_shift_returns_within_a_twentieth_of_a_pixel(still_scene, shift) -> None:
    run = still_scene.run
    moved = np.stack([_shifted(frame, shift) for frame in run.frames[[1, 6, 10]]])
    found = estimate_shifts(moved, run.frames[0], VALID, params=MotionParams())
    np.testing.assert_allclose(found, np.tile(shift, (3, 1)), atol=0.05)


def test_contrast_does_not_drag_the_field(still_scene) -> None:
    run = still_scene.run
    moved = _shifted(run.frames[10], (1.4, -0.7))
    filled = np.array([False, True])
    found = align_anatomy(np.stack([run.frames[1], moved]), run.frames[0], VALID, filled=filled, params=MotionParams())
    field = -expand_field(found.fields[1], (256, 256))
    np.testing.assert_allclose(field[still_scene.artery].mean(axis=0), (1.4, -0.7), atol=0.1)


@pytest.mark.parametrize("shift", [(14.0, 9.0), (-17.0, 3.0)])
def test_a_jerk_is_found(still_scene, shift) -> None:
    run = still_scene.run
    found = estimate_shifts(_shifted(run.frames[10], shift)[None], run.frames[0], VALID, params=MotionParams())
    np.testing.assert_allclose(found[0], shift, atol=0.1)


def test_smooth_motion_is_followed_within_a_fifth_of_a_pixel(breathing_scene) -> None:
    run = breathing_scene.run
    filled = np.arange(20) >= breathing_scene.onset
    found = align_anatomy(run.frames, run.frames[0], VALID, filled=filled, params=MotionParams())
    for t in range(len(run.frames)):
        truth = breathing_scene.displacement[t] - breathing_scene.displacement[0]
        error = np.linalg.norm(-expand_field(found.fields[t], (256, 256)) - truth, axis=-1)[16:-16, 16:-16]
        assert error.mean() < 0.2


def test_no_motion_is_no_field(still_scene) -> None:
    field = estimate_motion(still_scene.run.frames[:3], still_scene.run.frames[0], VALID, params=MotionParams())
    assert np.abs(field[0]).max() < 1e-3
    assert np.abs(field[1:]).mean() < 0.05


def test_what_lies_behind_a_shutter_does_not_hold_the_field(still_scene) -> None:
    valid = VALID.copy()
    valid[:, :60] = False
    frame, mask = (
        np.where(valid, image, 5)
        for image in (_shifted(still_scene.run.frames[1], (1.5, 1.0)), still_scene.run.frames[0])
    )
    found = estimate_shifts(frame[None], mask, valid, params=MotionParams())
    np.testing.assert_allclose(found[0], (1.5, 1.0), atol=0.06)


@pytest.mark.slow
def test_concurrent_calls_on_shared_input_agree(breathing_scene) -> None:
    run = breathing_scene.run

    def find(_: int) -> np.ndarray:
        return estimate_motion(run.frames[:8], run.frames[0], VALID, params=MotionParams())

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(find, range(4))
    for other in others:
        np.testing.assert_array_equal(other, first)


def test_images_of_different_size_are_misuse(still_scene) -> None:
    with pytest.raises(ValueError, match=r"Expected frames and valid area of the mask's size \(128, 256\), found"):
        estimate_motion(still_scene.run.frames, still_scene.run.frames[0, :128], VALID, params=MotionParams())


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="greater than"):
        MotionParams(plate=-1)
    with pytest.raises(ValueError, match="Extra inputs"):
        MotionParams(stiffness=1)
