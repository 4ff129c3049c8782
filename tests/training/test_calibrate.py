"""Calibration: probabilities mean what they say, and what is unlike all that was learned from is told."""

from __future__ import annotations

import numpy as np
import pytest

from angio_pipeline.training.calibrate import HeldOut, best_thresholds, fit_calibration, fit_logistic, reliability

ONE, NONE = np.ones(1, np.float32), np.zeros(1, np.float32)


def _logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _held_out(logits: np.ndarray, truth: np.ndarray, known: np.ndarray | None = None, description=(0.0,)) -> HeldOut:
    shape = (1, *np.atleast_2d(logits).shape)
    return HeldOut(
        np.reshape(logits, shape).astype(np.float32),
        np.reshape(truth, shape),
        np.ones(shape, bool) if known is None else np.reshape(known, shape),
        np.array(description, np.float32),
    )


def _of_probability(probability: np.ndarray) -> np.ndarray:
    return np.log(probability / (1 - probability))


@pytest.mark.parametrize(("scale", "offset"), [(0.5, -1.0), (1.0, 0.0), (2.0, 0.7)])
def test_the_scale_and_offset_that_made_the_truth_are_found(scale: float, offset: float) -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, 60000)
    truth = rng.random(60000) < _logistic(scale * logits + offset)
    assert fit_logistic(logits, truth.astype(float)) == pytest.approx((scale, offset), abs=0.05)


@pytest.mark.parametrize("kind", [0.0, 1.0])
def test_from_one_kind_alone_nothing_is_fitted(kind: float) -> None:
    assert fit_logistic(np.arange(5.0), np.full(5, kind)) == (1.0, 0.0)


def test_what_can_be_told_apart_without_fault_ends_at_a_finite_scale() -> None:
    scale, offset = fit_logistic(np.repeat([-1.0, 3.0], 50), np.repeat([0.0, 1.0], 50))
    assert 1 < scale <= 20
    assert scale * -1 + offset < 0 < scale * 3 + offset


@pytest.mark.parametrize(("below", "above"), [(0.24, 0.28), (0.48, 0.52), (0.71, 0.74)])
def test_a_class_begins_where_its_dice_is_best(below: float, above: float) -> None:
    rng = np.random.default_rng(2)
    truth = rng.random(400) < 0.3
    logits = _of_probability(np.where(truth, above, below))
    (threshold,) = best_thresholds([_held_out(logits, truth)], ONE, NONE)
    assert below < threshold <= above


def test_thresholds_are_of_calibrated_probabilities() -> None:
    rng = np.random.default_rng(3)
    truth = rng.random(400) < 0.3
    logits = _of_probability(np.where(truth, 0.62, 0.58))
    held = [_held_out((logits - 0.4) / 2, truth)]
    (threshold,) = best_thresholds(held, 2 * ONE, NONE + np.float32(0.4))
    assert 0.58 < threshold <= 0.62


def test_every_picture_has_the_same_say_in_a_threshold_whatever_its_size() -> None:
    truth = np.array([True, False] * 8)
    small = [_held_out(_of_probability(np.where(truth, 0.71, 0.61)), truth)] * 4
    large = _held_out(_of_probability(np.where(np.tile(truth, 50), 0.5, 0.4)), np.tile(truth, 50))
    (threshold,) = best_thresholds([*small, large], ONE, NONE)
    assert 0.61 < threshold <= 0.71


def test_pixels_that_are_not_known_and_pictures_without_the_class_move_no_threshold() -> None:
    truth = np.array([True, True, False, False, False, False])
    known = np.array([True, True, True, True, False, False])
    shown = _held_out(_of_probability(np.array([0.5, 0.5, 0.44, 0.44, 0.9, 0.9])), truth, known)
    without = _held_out(_of_probability(np.full(6, 0.75)), np.zeros(6, bool))
    (threshold,) = best_thresholds([shown, without], ONE, NONE)
    assert 0.44 < threshold <= 0.5


def test_counts_of_all_bins_are_all_pixels() -> None:
    rng = np.random.default_rng(4)
    probability = np.concatenate([rng.random(997), [0.0, 1.0, 0.5]])
    curve = reliability(probability, rng.random(1000) < 0.5)
    assert sum(count for _, _, count in curve) == 1000
    assert len(curve) == 10


def test_where_probabilities_mean_what_they_say_each_bin_is_true_as_often() -> None:
    rng = np.random.default_rng(5)
    probability = rng.random(50000)
    for mean, share, count in reliability(probability, rng.random(50000) < probability):
        assert share == pytest.approx(mean, abs=4 * np.sqrt(0.25 / count))


def test_a_bin_that_holds_nothing_is_left_out() -> None:
    curve = reliability(np.array([0.05, 0.07, 0.95]), np.array([False, True, True]))
    assert curve == [(pytest.approx(0.06), 0.5, 2), (pytest.approx(0.95), 1.0, 1)]


@pytest.fixture(scope="module")
def calibrated() -> tuple[list[HeldOut], np.ndarray, object]:
    """Held-out pictures and familiar descriptions that lie about (3, 3, 3, 3), long in one direction."""
    rng = np.random.default_rng(6)
    stretch = np.diag([5.0, 1.0, 1.0, 0.2])
    familiar = 3 + rng.normal(size=(200, 4)) @ stretch
    held = []
    for _ in range(12):
        logits = rng.normal(0, 3, 2500)
        truth = rng.random(2500) < _logistic(0.5 * logits - 0.5)
        held.append(_held_out(logits, truth, description=3 + rng.normal(size=4) @ stretch))
    return held, familiar, fit_calibration(held, familiar, rng=np.random.default_rng(7))


def test_held_out_pictures_are_familiar(calibrated) -> None:
    held, _, calibration = calibrated
    assert max(calibration.distance(one.description) for one in held) < calibration.limit


def test_a_picture_unlike_all_others_is_beyond_the_limit(calibrated) -> None:
    _, _, calibration = calibrated
    for axis in range(4):
        assert calibration.distance(3 + 60 * np.eye(4)[axis]) > calibration.limit


def test_what_is_usual_in_one_direction_is_far_in_another(calibrated) -> None:
    _, _, calibration = calibrated
    along, across = (calibration.distance(3 + 6 * np.eye(4)[axis]) for axis in (0, 1))
    assert across > 2 * along


def test_the_middle_of_what_was_learned_from_is_at_no_distance(calibrated) -> None:
    _, familiar, calibration = calibrated
    assert calibration.distance(familiar.mean(axis=0)) == pytest.approx(0, abs=1e-5)


def test_a_calibration_makes_probabilities_mean_what_they_say(calibrated) -> None:
    _held, _, calibration = calibrated
    assert (calibration.scale[0], calibration.offset[0]) == pytest.approx((0.5, -0.5), abs=0.05)
    assert calibration.threshold.shape == (1,)


def test_the_same_draw_gives_the_same_calibration(calibrated) -> None:
    held, familiar, calibration = calibrated
    again = fit_calibration(held, familiar, rng=np.random.default_rng(7))
    for name in ("scale", "offset", "threshold", "centre", "whiten", "limit"):
        np.testing.assert_array_equal(getattr(again, name), getattr(calibration, name))


def test_pixels_that_are_not_known_move_no_calibration() -> None:
    rng = np.random.default_rng(8)
    familiar = rng.normal(size=(30, 4))
    logits = rng.normal(0, 3, 2000)
    truth, known = rng.random(2000) < _logistic(logits), rng.random(2000) < 0.5
    found = [
        fit_calibration(
            [_held_out(logits, np.where(known, truth, other), known, np.zeros(4))],
            familiar,
            rng=np.random.default_rng(9),
        )
        for other in (False, True)
    ]
    assert found[0].scale == found[1].scale
    assert found[0].offset == found[1].offset
