"""Noise taken out of a sequence by its courses in time."""

from __future__ import annotations

import numpy as np
import pytest

from angio_pipeline.numerics.low_rank import keep_significant

TIMES = np.arange(24.0)
SHAPE = (60, 66)
BLOCK = 12
RISE, HOLD, FALL = 4.0, 4.0, 12.0


def _bolus(start: float) -> np.ndarray:
    """Return a course that rises straight from 0 at `start` to 1, half of it after half the rise."""
    rise = np.clip((TIMES - start) / RISE, 0, 1)
    return rise * np.exp(-np.maximum(TIMES - start - RISE - HOLD, 0) / FALL)


def _stripe(first: int, width: int) -> np.ndarray:
    region = np.zeros(SHAPE, bool)
    region[:, first : first + width] = True
    return region


VESSEL = _stripe(28, 4)


def _noise(sd: float, seed: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, sd, (len(TIMES), *shape)).astype(np.float32)


def _filled(region: np.ndarray, course: np.ndarray) -> np.ndarray:
    return (course[:, None, None] * region).astype(np.float32)


def _half_rise(curve: np.ndarray) -> float:
    """Return the first time at 0.5, in frame intervals."""
    after = int(np.argmax(curve >= 0.5))
    low, high = curve[after - 1], curve[after]
    return float(TIMES[after - 1] + (0.5 - low) / (high - low))


def test_pure_noise_is_mostly_removed() -> None:
    assert keep_significant(_noise(0.3, 0), block_px=BLOCK).std() < 0.3 / 3


def test_of_noise_within_the_frame_a_tenth_is_left() -> None:
    cleaned = keep_significant(_noise(0.3, 0, (120, 120)), block_px=BLOCK)
    assert cleaned[:, 24:-24, 24:-24].std() < 0.03


def test_noise_at_the_frames_edge_is_removed_as_within() -> None:
    cleaned = keep_significant(_noise(0.3, 0, (120, 120)), block_px=BLOCK)
    assert cleaned[:, :6].std() < 1.5 * cleaned[:, 24:-24, 24:-24].std()


def test_noise_beside_a_vessel_is_removed_too() -> None:
    frames = _filled(VESSEL, _bolus(5.3)) + _noise(0.1, 0)
    beside = keep_significant(frames, block_px=BLOCK)[:, 12:-12, 16:28]
    assert beside.std() < 0.1 / 3


@pytest.mark.parametrize("seed", range(3))
def test_the_course_of_a_vessel_is_kept(seed: int) -> None:
    frames = _filled(VESSEL, _bolus(5.3)) + _noise(0.1, seed)
    before, after = (stack[:, VESSEL].mean(axis=1) for stack in (frames, keep_significant(frames, block_px=BLOCK)))
    np.testing.assert_allclose(after, before, atol=0.02)


@pytest.mark.parametrize("start", [5.0, 5.3, 5.5, 5.8])
def test_half_the_rise_is_when_it_was_between_frames(start: float) -> None:
    frames = _filled(VESSEL, _bolus(start)) + _noise(0.05, 0)
    curve = keep_significant(frames, block_px=BLOCK)[:, VESSEL].mean(axis=1)
    assert _half_rise(curve) == pytest.approx(start + RISE / 2, abs=0.05)


def test_two_vessels_of_one_block_that_fill_a_frame_apart_stay_a_frame_apart() -> None:
    early, late = _stripe(24, 3), _stripe(30, 3)
    frames = _filled(early, _bolus(5.0)) + _filled(late, _bolus(6.0)) + _noise(0.05, 0)
    cleaned = keep_significant(frames, block_px=BLOCK)
    first, second = (_half_rise(cleaned[:, region].mean(axis=1)) for region in (early, late))
    assert second - first == pytest.approx(1.0, abs=0.05)


def test_a_vessel_is_no_wider_and_its_edge_no_softer() -> None:
    frames = _filled(VESSEL, _bolus(5.3)) + _noise(0.1, 0)
    profile = keep_significant(frames, block_px=BLOCK)[10:14].mean(axis=(0, 1))
    np.testing.assert_allclose(profile, VESSEL[0], atol=0.05)


@pytest.mark.parametrize("value", [0.0, 0.1, -3.0])
def test_a_constant_stays_as_it_is(value: float) -> None:
    frames = np.full((6, 30, 31), value, np.float32)
    np.testing.assert_allclose(keep_significant(frames, block_px=8), frames, atol=1e-6)


def test_what_all_pixels_do_together_passes_whole() -> None:
    course = np.random.default_rng(0).standard_normal(len(TIMES)).astype(np.float32)
    frames = _filled(VESSEL, _bolus(5.3)) + _noise(0.1, 0)
    wanted = keep_significant(frames, block_px=BLOCK) + course[:, None, None]
    np.testing.assert_allclose(keep_significant(frames + course[:, None, None], block_px=BLOCK), wanted, atol=1e-5)


def test_the_order_of_frames_is_of_no_account() -> None:
    order = np.random.default_rng(0).permutation(len(TIMES))
    frames = _filled(VESSEL, _bolus(5.3)) + _noise(0.1, 0)
    wanted = keep_significant(frames, block_px=BLOCK)[order]
    np.testing.assert_allclose(keep_significant(frames[order], block_px=BLOCK), wanted, atol=1e-5)


def test_twice_the_contrast_is_twice_the_result() -> None:
    frames = _filled(VESSEL, _bolus(5.3)) + _noise(0.1, 0)
    np.testing.assert_allclose(
        keep_significant(2 * frames, block_px=BLOCK), 2 * keep_significant(frames, block_px=BLOCK), atol=1e-5
    )


@pytest.mark.parametrize("shape", [(12, 12), (5, 40), (37, 12), (61, 50)])
@pytest.mark.parametrize("block_px", [8, 9])
def test_frames_of_any_size_come_back_in_their_size(shape: tuple[int, int], block_px: int) -> None:
    frames = _noise(0.1, 0, shape)
    cleaned = keep_significant(frames, block_px=block_px)
    assert cleaned.shape == frames.shape
    assert cleaned.dtype == np.float32
    assert np.abs(cleaned).max() <= np.abs(frames).max() * 2


def test_the_frames_given_are_not_written_to() -> None:
    frames = _noise(0.1, 0)
    frames.flags.writeable = False
    keep_significant(frames, block_px=BLOCK)
    np.testing.assert_array_equal(frames, _noise(0.1, 0))


def test_a_vessel_without_noise_is_kept_whole() -> None:
    frames = _filled(VESSEL, _bolus(5.3))
    np.testing.assert_allclose(keep_significant(frames, block_px=BLOCK), frames, atol=1e-3)


@pytest.mark.parametrize("averaged", [2, 3, 5])
def test_a_vessel_is_kept_after_the_mean_of_some_frames_is_subtracted(averaged: int) -> None:
    frames = _filled(VESSEL, _bolus(9.3)) + _noise(0.1, 0)
    frames = frames - frames[:averaged].mean(axis=0)
    before, after = (stack[:, VESSEL].mean(axis=1) for stack in (frames, keep_significant(frames, block_px=BLOCK)))
    np.testing.assert_allclose(after, before, atol=0.03)


def test_noise_is_removed_from_a_sequence_with_an_empty_frame() -> None:
    frames = _noise(0.3, 0)
    frames[0] = 0
    assert keep_significant(frames, block_px=BLOCK)[1:, 12:-12, 12:-12].std() < 0.1
