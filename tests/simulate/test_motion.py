"""Layers move as the anatomy in them does, and no two by the same law."""

import numpy as np
import pytest
from pydantic import ValidationError

from angio_pipeline.simulate.radiograph.body import HEART_MM, HEART_RADIUS_MM, Layer
from angio_pipeline.simulate.radiograph.motion import (
    Breathing,
    MotionMode,
    MotionParams,
    draw_breathing,
    flow_field,
    warp_layer,
)
from angio_pipeline.simulate.radiograph.projection import CArm

ARM = CArm(128, 128, 2.4, 1100.0, 750.0)
TIMES = np.arange(40) / 4.0
LIVER = np.array([[-60.0, 10.0, 0.0]])


def moving(seed: int = 1, **changed: object) -> Breathing:
    params = MotionParams.model_validate({"amplitude_mm": 4.0, "drift_mm": 2.0, **changed})
    return draw_breathing(params, TIMES, np.random.default_rng(seed))


def height(breathing: Breathing, points: np.ndarray = LIVER, layer: Layer = Layer.VISCERA) -> np.ndarray:
    return np.array([breathing.displacement(points, k, layer)[0, 2] for k in range(len(TIMES))])


@pytest.mark.parametrize("layer", [Layer.VISCERA, Layer.BOWEL, Layer.CHEST])
def test_a_layer_moves_as_the_points_in_it(layer: Layer) -> None:
    points = np.array([[-40.0, 0.0, 30.0], [20.0, 0.0, -25.0]])
    breath = moving()
    for frame in range(0, 40, 5):
        moved = ARM.project(points + breath.displacement(points, frame, layer)) - ARM.project(points)
        down, right = flow_field(breath, ARM, frame, layer, step=4)
        at = np.rint(ARM.project(points)).astype(int)
        np.testing.assert_allclose(down[tuple(at.T)], moved[:, 0], atol=0.05)
        np.testing.assert_allclose(right[tuple(at.T)], moved[:, 1], atol=0.05)


def test_the_hearts_layer_moves_as_the_points_of_the_heart() -> None:
    breath = moving(amplitude_mm=0.0, drift_mm=0.0, heart_mm=6.0)
    rim = (HEART_MM + np.array([0.0, 0.0, -HEART_RADIUS_MM]))[None]
    wide = CArm(256, 256, 2.4, 1100.0, 750.0)
    frame = int(np.argmax(breath.beat))
    moved = wide.project(rim + breath.displacement(rim, frame, Layer.HEART)) - wide.project(rim)
    at = np.rint(wide.project(rim)).astype(int)[0]
    down, _ = flow_field(breath, wide, frame, Layer.HEART, step=4)
    assert moved[0, 0] < -1
    assert down[tuple(at)] == pytest.approx(moved[0, 0], abs=0.1)


def test_bones_and_table_do_not_breathe() -> None:
    points = np.array([[38.0, 66.0, 0.0]])
    for layer in (Layer.STATIC, Layer.TABLE):
        assert not moving().displacement(points, 3, layer).any()
        assert not moving().moves(layer)


def test_quiet_breathing_swings_by_its_amplitude_with_its_period() -> None:
    path = height(moving(drift_mm=0.0, period_s=4.0, bending=0.0, left_lobe_mm=0.0))
    assert np.ptp(path) == pytest.approx(8.0, rel=0.03)
    np.testing.assert_allclose(path[16:], path[:-16], atol=1e-9)


def test_a_held_breath_only_drifts() -> None:
    path = height(moving(mode="hold", left_lobe_mm=0.0, bending=0.0))
    assert np.ptp(path) == pytest.approx(2.0, rel=0.1)
    fast, slow = np.abs(path[10] - path[0]), np.abs(path[-1] - path[-11])
    assert fast > 2 * slow


def test_a_hold_that_fails_jerks_and_then_breathes() -> None:
    path = height(moving(mode="jerk", jerk_mm=12.0, drift_mm=0.0, left_lobe_mm=0.0))
    steps = np.abs(np.diff(path))
    when = int(np.argmax(steps))
    assert steps[when] > 6
    assert steps[: when - 1].max(initial=0) < 0.1
    assert np.ptp(path[when + 10 :]) > 1


def test_a_jerk_without_a_size_is_refused() -> None:
    with pytest.raises(ValidationError, match="jerk_mm must be above 0 when mode is jerk"):
        MotionParams(mode=MotionMode.JERK)


def test_the_heart_moves_the_left_lobe_and_leaves_the_right_alone() -> None:
    breath = moving(amplitude_mm=0.0, drift_mm=0.0, left_lobe_mm=2.0)
    left, right = np.array([[40.0, -30.0, 60.0]]), np.array([[-90.0, 20.0, -30.0]])
    assert np.ptp(height(breath, left)) > 1.0
    assert np.ptp(height(breath, right)) < 0.05


def test_the_whole_patient_shifts_on_the_table() -> None:
    breath = moving(amplitude_mm=0.0, drift_mm=0.0, bulk_mm=3.0, left_lobe_mm=0.0)
    spine = breath.displacement(np.array([[38.0, 66.0, 0.0]]), len(TIMES) - 1, Layer.STATIC)
    assert np.linalg.norm(spine) == pytest.approx(3.0)
    assert breath.moves(Layer.STATIC)
    assert not breath.moves(Layer.TABLE)


def test_no_single_shift_explains_two_layers() -> None:
    breath = moving(seed=3)
    layers = (Layer.STATIC, Layer.CHEST, Layer.VISCERA, Layer.BOWEL)
    paths = [height(breath, np.array([[10.0, 0.0, -40.0]]), layer) for layer in layers]
    for i, first in enumerate(paths):
        for second in paths[i + 1 :]:
            assert np.abs(first - second).max() > 0.3


def test_warping_carries_the_content_along() -> None:
    image = np.zeros((40, 40))
    image[20, 20] = 1.0
    moved = warp_layer(image, np.full((40, 40), 3.0), np.full((40, 40), -2.0))
    assert np.unravel_index(np.argmax(moved), moved.shape) == (23, 18)


def test_the_same_seed_moves_the_same_way() -> None:
    np.testing.assert_array_equal(height(moving(seed=7)), height(moving(seed=7)))
