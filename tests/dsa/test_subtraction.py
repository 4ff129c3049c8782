"""The run minus its background, in the geometry of the reference frame."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
import pytest

from angio_pipeline.core.provenance import Source
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import AngioRun, Background, Correction, FrameShift, MaskHint, MaskOperation, Quantity
from angio_pipeline.dsa import MaskParams, MotionParams, SubtractParams, choose_mask, set_aside_broken, subtract
from angio_pipeline.dsa.mask_frames import MaskScope, PatchMaskParams


def _subtract(run: AngioRun, **changes: object):
    return subtract(run, choose_mask(run, params=MaskParams()), params=SubtractParams(**changes))


def test_a_run_filled_from_its_first_frame_is_flagged_and_keeps_its_vessels(still_scene) -> None:
    static = np.repeat(still_scene.run.frames[9:10], 6, axis=0)
    static = static + np.random.default_rng(0).normal(0, 0.01, static.shape).astype(np.float32)
    sub = _subtract(replace(still_scene.run, frames=static, times_s=np.arange(6.0)))
    assert sub.background is Background.SPATIAL
    assert Quality.NO_MASK_FRAME in sub.quality
    assert Quality.FILLED_FROM_FIRST_FRAME in sub.quality
    frame = sub.frames[0]
    assert frame[still_scene.artery].mean() > 5 * abs(np.median(frame[~still_scene.artery]))


@pytest.mark.slow
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


@pytest.mark.parametrize("sign", [1, -1])
def test_an_edge_that_moves_does_not_turn_a_subtracted_export_over(still_scene, sign: int) -> None:
    """What a breath leaves at the diaphragm is larger and stronger than the vessels, and of the other sign."""
    rows = np.arange(256)[:, None] - 128 - 40 * np.cos(np.linspace(-1, 1, 256))[None, :]
    band = np.where(np.abs(rows) < 14, 0.5, 0.0).astype(np.float32)
    breath = np.linspace(0, 1, len(still_scene.contrast), dtype=np.float32)[:, None, None]
    stored = 2048 - sign * 2000 * (still_scene.contrast - breath * band)
    stored = stored + np.random.default_rng(1).normal(0, 20, stored.shape)
    run = replace(still_scene.run, frames=stored.astype(np.float32), quantity=Quantity.STORED, white_level=4095.0)
    sub = _subtract(run)
    assert (Quality.PHOTOMETRIC_ASSUMED in sub.quality) == (sign < 0)


@pytest.mark.slow
def test_anatomy_is_not_taken_for_a_subtracted_export(still_scene) -> None:
    counts = 4000 * np.exp(-still_scene.run.frames / 2)
    run = replace(still_scene.run, frames=counts, quantity=Quantity.STORED, white_level=4095.0)
    rows = np.linspace(-1000, 1000, 256, dtype=np.float32)[None, :, None]
    run = replace(run, frames=np.clip(run.frames + rows, 0, 4095))
    assert _subtract(run).background is Background.MASK


@pytest.mark.slow
def test_without_motion_subtraction_returns_the_contrast(still_scene) -> None:
    sub = _subtract(still_scene.run)
    t = sub.reference_frame
    error = sub.frames[t][sub.valid] - still_scene.contrast[t][sub.valid]
    assert np.sqrt(np.mean(error**2)) < 0.02
    inside = still_scene.artery & sub.valid
    assert sub.frames[t][inside].mean() == pytest.approx(still_scene.contrast[t][inside].mean(), rel=0.03)


@pytest.mark.slow
def test_zero_motion_changes_nothing_beyond_interpolation(still_scene) -> None:
    corrected = _subtract(still_scene.run, correct_exposure=False, masks=PatchMaskParams(scope=MaskScope.RUN))
    plain = _subtract(
        still_scene.run,
        motion=MotionParams(enabled=False),
        correct_exposure=False,
        masks=PatchMaskParams(scope=MaskScope.RUN),
    )
    inside = corrected.valid
    t = corrected.reference_frame
    assert np.abs(corrected.frames[t] - plain.frames[t])[inside].mean() < 0.2 * plain.noise_sd
    assert np.abs(corrected.motion_px).mean() < 0.03


@pytest.mark.slow
def test_correction_removes_most_of_the_residual_and_keeps_the_vessels(breathing_scene) -> None:
    sub = _subtract(breathing_scene.run)
    assert sub.residual_after < 0.5 * sub.residual_before
    t = sub.reference_frame
    u = breathing_scene.displacement[t]
    rows, cols = np.mgrid[:256, :256].astype(np.float32)
    there = cv2.remap(breathing_scene.contrast[t], cols - u[..., 1], rows - u[..., 0], cv2.INTER_LINEAR)
    vessel = (there > 0.25) & sub.valid
    assert sub.frames[t][vessel].mean() == pytest.approx(there[vessel].mean(), rel=0.05)


@pytest.mark.slow
def test_reported_motion_is_that_of_the_vessels(breathing_scene) -> None:
    sub = _subtract(breathing_scene.run)
    at_vessel = np.array([u[breathing_scene.artery].mean(axis=0) for u in breathing_scene.displacement])
    difference = sub.motion_px - (at_vessel - at_vessel[list(sub.mask_frames)].mean(axis=0))
    assert np.abs(difference).max() < 0.3


@pytest.mark.slow
def test_stored_integers_and_attenuation_give_the_same_subtraction(breathing_scene) -> None:
    white = 60000.0
    counts = np.round(white * np.exp(-(breathing_scene.run.frames - 1.2))).astype(np.uint16)
    stored = replace(breathing_scene.run, frames=counts, quantity=Quantity.INTENSITY, white_level=white)
    found, wanted = _subtract(stored), _subtract(breathing_scene.run)
    assert found.mask_frames == wanted.mask_frames
    np.testing.assert_allclose(found.frames[found.reference_frame], wanted.frames[wanted.reference_frame], atol=0.01)


@pytest.mark.slow
def test_concurrent_calls_on_shared_input_agree(breathing_scene) -> None:
    choice = choose_mask(breathing_scene.run, params=MaskParams())
    with ThreadPoolExecutor(3) as pool:
        first, *others = pool.map(lambda _: subtract(breathing_scene.run, choice, params=SubtractParams()), range(3))
    for other in others:
        np.testing.assert_array_equal(other.frames, first.frames)


def test_motion_off_gives_plain_subtraction_and_claims_no_motion(breathing_scene) -> None:
    run = breathing_scene.run
    scope = PatchMaskParams(scope=MaskScope.RUN)
    sub = _subtract(run, motion=MotionParams(enabled=False), correct_exposure=False, masks=scope)
    mask = run.frames[list(sub.mask_frames)].mean(axis=0)
    np.testing.assert_allclose(sub.frames[8][sub.valid], (run.frames[8] - mask)[sub.valid], atol=1e-4)
    assert np.isnan(sub.motion_px).all()
    assert sub.residual_before == sub.residual_after
    assert sub.motion.correction is Correction.NONE


def test_a_shift_by_hand_moves_the_mask_by_just_that(still_scene) -> None:
    rolled = np.array(still_scene.run.frames)
    rolled[3:] = np.roll(rolled[3:], (2, -1), axis=(1, 2))
    run = replace(still_scene.run, frames=rolled)
    sub = _subtract(run, pixel_shift_px=(2.0, -1.0), correct_exposure=False)
    assert sub.motion.correction is Correction.HAND
    np.testing.assert_array_equal(sub.motion.mask_shift_px, np.tile((2.0, -1.0), (20, 1)))
    np.testing.assert_allclose(sub.motion_px, np.tile((2.0, -1.0), (20, 1)), atol=1e-6)
    mask = np.roll(run.frames[list(sub.mask_frames)].mean(axis=0), (2, -1), axis=(0, 1))
    np.testing.assert_allclose(sub.frames[8][8:-8, 8:-8], (rolled[8] - mask)[8:-8, 8:-8], atol=0.02)
    assert sub.residual_after < 0.5 * sub.residual_before


@pytest.mark.slow
@pytest.mark.parametrize("automatic", [True, False])
def test_the_mask_shift_of_the_file_is_honoured_and_reported(still_scene, automatic: bool) -> None:
    rolled = np.array(still_scene.run.frames)
    rolled[8:] = np.roll(rolled[8:], (6, 0), axis=(1, 2))
    hint = MaskHint(MaskOperation.AVG_SUB, mask_frames=(0, 1, 2), sub_pixel_shifts=(FrameShift(8, 19, (6.0, 0.0)),))
    run = replace(still_scene.run, frames=rolled, mask_hint=hint)
    sub = _subtract(run, motion=MotionParams(enabled=automatic))
    assert sub.motion.correction is (Correction.AUTOMATIC if automatic else Correction.HEADER)
    np.testing.assert_array_equal(sub.motion.mask_shift_px[[7, 8]], [(0, 0), (6, 0)])
    assert sub.residual_after < 0.4 * sub.residual_before


@pytest.mark.slow
def test_each_layer_of_the_correction_leaves_less(breathing_scene) -> None:
    report = _subtract(breathing_scene.run).motion
    live = np.arange(20) >= breathing_scene.onset
    none, shift, field = (
        np.sqrt(np.mean(layer[live] ** 2))
        for layer in (report.residual_none, report.residual_shift, report.residual_field)
    )
    assert none > shift > field


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_wrecked_frame_is_excluded_not_blurred_in(breathing_scene) -> None:
    frames = np.array(breathing_scene.run.frames)
    frames[12] = np.roll(frames[12], 90, axis=0)[::-1]
    sub = _subtract(replace(breathing_scene.run, frames=frames))
    assert not sub.usable[12]
    assert sub.usable.sum() >= 18
    assert Quality.FRAMES_EXCLUDED in sub.quality


@pytest.mark.slow
def test_exposure_drift_is_taken_out(still_scene) -> None:
    drift = np.linspace(0, 0.3, 20, dtype=np.float32)[:, None, None]
    sub = _subtract(replace(still_scene.run, frames=still_scene.run.frames + drift))
    background = sub.frames[:, 200:250, 10:60].mean(axis=(1, 2))
    assert np.abs(background).max() < 0.02


def test_one_frame_is_misuse(still_scene) -> None:
    choice = choose_mask(still_scene.run, params=MaskParams())
    single = replace(still_scene.run, frames=still_scene.run.frames[:1], times_s=still_scene.run.times_s[:1])
    with pytest.raises(ValueError, match="at least 2 frames"):
        subtract(single, choice, params=SubtractParams())


@pytest.mark.parametrize("size", [(203, 319), (257, 250)])
def test_a_still_run_of_any_size_stays_still(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(5)
    anatomy = 2 + 0.3 * cv2.GaussianBlur(rng.standard_normal(size), (0, 0), 3)
    vessel = np.zeros(size)
    vessel[:, 120:124] = vessel[90:94, 60:200] = 0.4
    filling = np.clip(np.arange(12) - 3, 0, 3) / 3
    counts = 60000 * np.exp(-(anatomy + filling[:, None, None] * vessel))
    frames = np.round(counts + rng.normal(0, 60, counts.shape)).astype(np.uint16)
    run = AngioRun(
        frames, np.arange(12) * 0.3, Quantity.INTENSITY, np.ones(size, bool), Source("1", "2"), white_level=65535.0
    )
    sub = _subtract(run, working_px=96)
    assert sub.background is Background.MASK
    assert sub.usable.all()
    assert np.abs(sub.motion_px).max() < 0.15


@pytest.mark.slow
@pytest.mark.parametrize("behind", [0.0, 4.0, 9.0])
def test_what_lies_behind_a_shutter_never_reaches_what_is_valid(breathing_scene, behind: float) -> None:
    valid = np.ones((256, 256), bool)
    valid[:, :60] = valid[:50] = False
    run = replace(breathing_scene.run, frames=np.where(valid, breathing_scene.run.frames, behind), valid=valid)
    sub = _subtract(run)
    assert sub.usable.all()
    t = sub.reference_frame
    edge = sub.valid & (cv2.erode(sub.valid.astype(np.uint8), np.ones((5, 5), np.uint8)) == 0)
    assert np.abs(sub.frames[t][edge]).max() < 0.8


@pytest.mark.slow
def test_the_reference_is_a_frame_that_can_be_used(breathing_scene) -> None:
    frames = np.array(breathing_scene.run.frames)
    frames[14] = np.roll(frames[14], 90, axis=0)[::-1]
    frames[14, 60:200, 60:200] += 1.5
    sub = _subtract(replace(breathing_scene.run, frames=frames))
    assert not sub.usable[14]
    assert sub.usable[sub.reference_frame]


@pytest.mark.slow
@pytest.mark.parametrize("cells", [1, 12, 20])
def test_any_lattice_of_the_anatomy_will_do_for_the_vessels(breathing_scene, cells: int) -> None:
    sub = _subtract(breathing_scene.run, motion=MotionParams(cells=cells))
    assert sub.background is Background.MASK
    assert sub.residual_after < sub.residual_before


def test_a_shift_by_hand_is_flagged_and_one_that_makes_worse_as_well(still_scene) -> None:
    harmful = _subtract(still_scene.run, pixel_shift_px=(4.0, 3.0)).quality
    assert Quality.SHIFTED_BY_HAND in harmful
    assert Quality.SHIFT_MAKES_WORSE in harmful
    assert Quality.SHIFT_MAKES_WORSE not in _subtract(still_scene.run, pixel_shift_px=(0.0, 0.0)).quality


@pytest.mark.slow
def test_motion_correction_that_is_off_is_flagged(still_scene) -> None:
    assert Quality.MOTION_CORRECTION_OFF in _subtract(still_scene.run, motion=MotionParams(enabled=False)).quality
    assert Quality.MOTION_CORRECTION_OFF not in _subtract(still_scene.run).quality


def test_a_shift_is_flagged_where_there_is_no_mask_to_move_and_only_there(still_scene, make_scene) -> None:
    static = np.repeat(still_scene.run.frames[9:10], 6, axis=0)
    static = static + np.random.default_rng(0).normal(0, 0.01, static.shape).astype(np.float32)
    filled = _subtract(replace(still_scene.run, frames=static, times_s=np.arange(6.0)), pixel_shift_px=(1.0, 0.0))
    assert filled.background is Background.SPATIAL
    assert Quality.PIXEL_SHIFT_NOT_APPLIED in filled.quality
    least = _subtract(make_scene(pre=0, frames=24).run, pixel_shift_px=(1.0, 0.0))
    assert least.background is Background.TEMPORAL
    assert least.motion.correction is Correction.HAND
    assert Quality.PIXEL_SHIFT_NOT_APPLIED not in least.quality


@pytest.mark.parametrize("wrong", [(np.nan, 0.0), (0.0, 1e9), (1.0,)])
def test_a_shift_out_of_range_is_refused(wrong: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="pixel_shift_px"):
        SubtractParams(pixel_shift_px=wrong)
