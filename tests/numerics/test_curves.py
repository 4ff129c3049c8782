import numpy as np
import pytest

from angio_pipeline.numerics.curves import first_crossing, parabolic_peak, steepest_rise, trapezoid

TIMES = np.array([0.0, 0.5, 1.0, 2.0, 4.0])


def _stack(curve: list[float]) -> np.ndarray:
    return np.array(curve, dtype=np.float32)[:, None]


def test_crossing_is_interpolated_between_uneven_samples() -> None:
    at = first_crossing(_stack([0, 0, 0, 1, 1]), TIMES, np.array([0.25], np.float32))
    assert at[0] == pytest.approx(1.25)


def test_a_noise_spike_before_the_rise_is_not_the_arrival() -> None:
    at = first_crossing(_stack([0, 0.6, 0, 0.4, 1]), TIMES, np.array([0.5], np.float32))
    assert at[0] > 2.0


def test_a_curve_below_its_level_has_no_arrival() -> None:
    assert np.isnan(first_crossing(_stack([0, 0, 0.1, 0.2, 0]), TIMES, np.array([0.5], np.float32))[0])


def test_a_curve_that_starts_above_its_level_arrives_at_the_first_sample() -> None:
    assert first_crossing(_stack([1, 0.9, 0.8, 0.5, 0]), TIMES, np.array([0.5], np.float32))[0] == 0.0


def test_the_peak_of_a_parabola_is_found_between_samples() -> None:
    times = np.arange(6.0)
    curve = 1 - (times - 2.3) ** 2 / 10
    assert parabolic_peak(curve[:, None].astype(np.float32), times)[0] == pytest.approx(2.3, abs=1e-4)


def test_a_peak_at_the_end_is_the_last_time() -> None:
    assert parabolic_peak(_stack([0, 1, 2, 3, 4]), TIMES)[0] == 4.0


def test_area_of_a_ramp_and_its_slope_follow_the_times() -> None:
    ramp = (2 * TIMES).astype(np.float32)[:, None]
    assert trapezoid(ramp, TIMES)[0] == pytest.approx(16.0)
    assert steepest_rise(ramp, TIMES)[0] == pytest.approx(2.0)
