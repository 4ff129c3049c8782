from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from angio_pipeline.core.provenance import Source
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import AngioRun, Background, MaskHint, MaskOperation, Quantity
from angio_pipeline.dsa import (
    MaskParams,
    MotionParams,
    SubtractParams,
    choose_mask,
    estimate_motion,
    linearise,
    set_aside_broken,
    subtract,
)
from angio_pipeline.numerics.fields import expand_field

VALID = np.ones((256, 256), bool)


def _subtract(run: AngioRun, **changes: object):
    return subtract(run, choose_mask(run, params=MaskParams()), params=SubtractParams(**changes))


def test_intensity_becomes_attenuation_by_beer_lambert() -> None:
    thickness = np.linspace(0, 3, 32 * 32, dtype=np.float32).reshape(1, 32, 32)
    counts = 60000 * np.exp(-thickness)
    run = AngioRun(
        counts, np.zeros(1), Quantity.INTENSITY, np.ones((32, 32), bool), Source("1", "1"), white_level=65535
    )
    values = linearise(run).frames
    np.testing.assert_allclose(values - values[0, 0, 0], thickness, atol=1e-3)


def test_log_images_are_not_logged_again() -> None:
    stored = np.linspace(0, 4095, 32 * 32, dtype=np.float32).reshape(1, 32, 32)
    run = AngioRun(
        stored, np.zeros(1), Quantity.LOG_INTENSITY, np.ones((32, 32), bool), Source("1", "1"), white_level=4095
    )
    steps = np.diff(linearise(run).frames.ravel())
    assert steps.max() < 0
    np.testing.assert_allclose(steps, steps[0], rtol=1e-2)


def test_linearise_leaves_attenuation_alone(still_scene) -> None:
    assert linearise(still_scene.run) is still_scene.run


def test_the_mask_is_what_comes_before_contrast(still_scene) -> None:
    choice = choose_mask(still_scene.run, params=MaskParams())
    assert choice.background is Background.MASK
    assert max(choice.frames) < still_scene.onset <= choice.onset <= still_scene.onset + 1


def test_breathing_is_not_taken_for_contrast(breathing_scene) -> None:
    choice = choose_mask(breathing_scene.run, params=MaskParams())
    assert choice.background is Background.MASK
    assert max(choice.frames) < breathing_scene.onset


def test_mask_frames_named_by_the_file_are_used(still_scene) -> None:
    hint = MaskHint(MaskOperation.AVG_SUB, mask_frames=(0, 1), sub_pixel_shift_px=(0.5, 0.0))
    run = replace(still_scene.run, mask_hint=hint)
    choice = choose_mask(run, params=MaskParams())
    assert choice.frames == (0, 1)
    assert choice.shift_px == (0.5, 0.0)


@pytest.mark.parametrize("operation", [MaskOperation.TID, MaskOperation.REV_TID, MaskOperation.NONE])
def test_display_differences_name_no_mask(still_scene, operation) -> None:
    run = replace(still_scene.run, mask_hint=MaskHint(operation, mask_frames=(12,)))
    assert 12 not in choose_mask(run, params=MaskParams()).frames


def test_a_run_filled_from_its_first_frame_is_flagged_and_keeps_its_vessels(still_scene) -> None:
    static = np.repeat(still_scene.run.frames[9:10], 6, axis=0)
    static = static + np.random.default_rng(0).normal(0, 0.01, static.shape).astype(np.float32)
    sub = _subtract(replace(still_scene.run, frames=static, times_s=np.arange(6.0)))
    assert sub.background is Background.SPATIAL
    assert Quality.NO_MASK_FRAME in sub.quality
    assert Quality.FILLED_FROM_FIRST_FRAME in sub.quality
    frame = sub.frames[0]
    assert frame[still_scene.artery].mean() > 5 * abs(np.median(frame[~still_scene.artery]))


def test_contrast_in_the_first_frame_falls_back_to_the_least_filled(make_scene) -> None:
    sub = _subtract(make_scene(pre=0, frames=24).run)
    assert sub.background is Background.TEMPORAL
    assert Quality.TEMPORAL_BACKGROUND in sub.quality


def test_an_already_subtracted_run_passes_unharmed(still_scene) -> None:
    rng = np.random.default_rng(1)
    stored = 2048 - 2000 * still_scene.contrast + rng.normal(0, 20, still_scene.contrast.shape)
    run = replace(still_scene.run, frames=stored.astype(np.float32), quantity=Quantity.STORED, white_level=4095.0)
    sub = _subtract(run)
    assert sub.background is Background.ALREADY_SUBTRACTED
    assert Quality.ALREADY_SUBTRACTED in sub.quality
    t = sub.reference_frame
    truth = still_scene.contrast[t] * 2000 / 4095
    assert np.corrcoef(sub.frames[t].ravel(), truth.ravel())[0, 1] > 0.95
    assert np.polyfit(truth.ravel(), sub.frames[t].ravel(), 1)[0] == pytest.approx(1, rel=0.03)


def test_bright_vessels_of_a_subtracted_export_become_positive(still_scene) -> None:
    stored = 2048 + 2000 * still_scene.contrast + np.random.default_rng(1).normal(0, 20, still_scene.contrast.shape)
    run = replace(still_scene.run, frames=stored.astype(np.float32), quantity=Quantity.STORED, white_level=4095.0)
    sub = _subtract(run)
    assert Quality.PHOTOMETRIC_ASSUMED in sub.quality
    assert sub.frames[sub.reference_frame][still_scene.artery].mean() > 0.1


def test_anatomy_is_not_taken_for_a_subtracted_export(still_scene) -> None:
    counts = 4000 * np.exp(-still_scene.run.frames / 2)
    run = replace(still_scene.run, frames=counts, quantity=Quantity.STORED, white_level=4095.0)
    rows = np.linspace(-1000, 1000, 256, dtype=np.float32)[None, :, None]
    run = replace(run, frames=np.clip(run.frames + rows, 0, 4095))
    assert _subtract(run).background is Background.MASK


def test_without_motion_subtraction_returns_the_contrast(still_scene) -> None:
    sub = _subtract(still_scene.run)
    t = sub.reference_frame
    error = sub.frames[t][sub.valid] - still_scene.contrast[t][sub.valid]
    assert np.sqrt(np.mean(error**2)) < 0.02
    inside = still_scene.artery & sub.valid
    assert sub.frames[t][inside].mean() == pytest.approx(still_scene.contrast[t][inside].mean(), rel=0.03)


def test_a_known_translation_is_found_and_contrast_does_not_drag_it(still_scene) -> None:
    import cv2

    run = still_scene.run
    for shift in ((1.4, -0.7), (0.3, 2.2)):
        matrix = np.array([[1, 0, shift[1]], [0, 1, shift[0]]], np.float32)
        moved = cv2.warpAffine(run.frames[10], matrix, (256, 256), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        field = estimate_motion(moved[None], run.frames[0], VALID, params=MotionParams())[0]
        np.testing.assert_allclose(np.median(field.reshape(-1, 2), axis=0), shift, atol=0.08)


def test_smooth_motion_is_followed_within_a_fifth_of_a_pixel(breathing_scene) -> None:
    run = breathing_scene.run
    fields = estimate_motion(run.frames, run.frames[0], VALID, params=MotionParams())
    for t in range(len(run.frames)):
        truth = breathing_scene.displacement[t] - breathing_scene.displacement[0]
        found = expand_field(fields[t], (256, 256))
        error = np.linalg.norm(found - truth, axis=-1)[16:-16, 16:-16]
        assert error.mean() < 0.3


def test_correction_removes_most_of_the_residual_and_keeps_the_vessels(breathing_scene) -> None:
    sub = _subtract(breathing_scene.run)
    assert sub.residual_after < 0.5 * sub.residual_before
    t = sub.reference_frame
    u = breathing_scene.displacement[t]
    import cv2

    rows, cols = np.mgrid[:256, :256].astype(np.float32)
    there = cv2.remap(breathing_scene.contrast[t], cols - u[..., 1], rows - u[..., 0], cv2.INTER_LINEAR)
    vessel = (there > 0.25) & sub.valid
    assert sub.frames[t][vessel].mean() == pytest.approx(there[vessel].mean(), rel=0.05)


def test_reported_motion_is_that_of_the_vessels(breathing_scene) -> None:
    sub = _subtract(breathing_scene.run)
    at_vessel = np.array([u[breathing_scene.artery].mean(axis=0) for u in breathing_scene.displacement])
    difference = (sub.motion_px - sub.motion_px[5]) - (at_vessel - at_vessel[5])
    assert np.abs(difference).max() < 0.6


def test_motion_off_gives_plain_subtraction_and_claims_no_motion(breathing_scene) -> None:
    run = breathing_scene.run
    sub = _subtract(run, motion=MotionParams(enabled=False), correct_exposure=False)
    mask = run.frames[list(sub.mask_frames)].mean(axis=0)
    np.testing.assert_allclose(sub.frames[8][sub.valid], (run.frames[8] - mask)[sub.valid], atol=1e-4)
    assert np.isnan(sub.motion_px).all()
    assert np.isnan(sub.residual_before)


@pytest.mark.parametrize("position", [8, 19, 0])
def test_a_black_frame_is_set_aside_and_the_rest_is_analysed(still_scene, position: int) -> None:
    frames = np.array(still_scene.run.frames)
    frames[position] = 9.0
    run = set_aside_broken(replace(still_scene.run, frames=frames))
    assert run.broken == (position,)
    sub = _subtract(run)
    assert sub.background is Background.MASK
    assert not sub.usable[position]
    assert position not in sub.mask_frames
    assert Quality.FRAMES_DROPPED in sub.quality
    t = sub.reference_frame
    error = sub.frames[t][sub.valid] - still_scene.contrast[t][sub.valid]
    assert np.sqrt(np.mean(error**2)) < 0.02


def test_a_whole_run_has_no_broken_frame(still_scene) -> None:
    assert set_aside_broken(still_scene.run) is still_scene.run


def test_a_wrecked_frame_is_excluded_not_blurred_in(breathing_scene) -> None:
    frames = np.array(breathing_scene.run.frames)
    frames[12] = np.roll(frames[12], 90, axis=0)[::-1]
    sub = _subtract(replace(breathing_scene.run, frames=frames))
    assert not sub.usable[12]
    assert sub.usable.sum() >= 18
    assert Quality.FRAMES_EXCLUDED in sub.quality


def test_exposure_drift_is_taken_out(still_scene) -> None:
    drift = np.linspace(0, 0.3, 20, dtype=np.float32)[:, None, None]
    sub = _subtract(replace(still_scene.run, frames=still_scene.run.frames + drift))
    background = sub.frames[:, 200:250, 10:60].mean(axis=(1, 2))
    assert np.abs(background).max() < 0.02


def test_one_frame_and_stored_values_are_misuse(still_scene) -> None:
    run = still_scene.run
    choice = choose_mask(run, params=MaskParams())
    with pytest.raises(ValueError, match="call linearise first"):
        subtract(replace(run, quantity=Quantity.STORED), choice, params=SubtractParams())
    single = replace(run, frames=run.frames[:1], times_s=run.times_s[:1])
    with pytest.raises(ValueError, match="at least 2 frames"):
        subtract(single, choice, params=SubtractParams())


def test_a_constant_run_gives_zeros_and_says_there_is_no_mask() -> None:
    run = AngioRun(
        np.full((5, 64, 64), 1.0), np.arange(5.0), Quantity.ATTENUATION, np.ones((64, 64), bool), Source("1", "1")
    )
    sub = _subtract(run)
    assert np.abs(sub.frames).max() < 1e-5
    assert Quality.NO_MASK_FRAME in sub.quality


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="greater than"):
        MotionParams(stiffness=-1)
    with pytest.raises(ValueError, match="Extra inputs"):
        MaskParams(onset=3)
