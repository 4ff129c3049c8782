"""Laws of the half-life."""

from __future__ import annotations

import numpy as np
import pytest

from angio_pipeline.core.followups import KineticsModel
from angio_pipeline.core.quality import Quality
from angio_pipeline.lipiodol.kinetics import KineticsParams, fit_kinetics, two_point_half_life

PARAMS = KineticsParams()


def test_two_dates_give_the_formula():
    fit, quality = fit_kinetics([1, 31], [100, 60], [2, 2], params=PARAMS)
    assert fit is not None
    assert fit.model is KineticsModel.TWO_POINT
    assert fit.half_life_days == pytest.approx(np.log(2) * 30 / np.log(100 / 60), rel=1e-6)
    assert fit.half_life_days == pytest.approx(two_point_half_life(100, 60, 30), rel=1e-6)
    low, high = fit.half_life_interval
    assert low < fit.half_life_days < high < np.inf
    assert quality == Quality.FEW_TIMEPOINTS


def test_retention_that_does_not_fall_is_unbounded_and_said():
    fit, quality = fit_kinetics([1, 31], [100, 101], [3, 3], params=PARAMS)
    assert fit is not None
    assert np.isinf(fit.half_life_days)
    assert np.isinf(fit.half_life_interval[1])
    assert 30 < fit.half_life_interval[0] < np.inf
    assert Quality.HALF_LIFE_UNBOUNDED in quality


def test_a_fall_within_the_errors_has_no_upper_end():
    fit, quality = fit_kinetics([1, 31], [100, 97], [5, 5], params=PARAMS)
    assert fit is not None
    assert np.isfinite(fit.half_life_days)
    assert np.isinf(fit.half_life_interval[1])
    assert Quality.HALF_LIFE_UNBOUNDED in quality


def test_nothing_left_bounds_the_half_life_from_above():
    fit, _ = fit_kinetics([1, 31], [100, -0.5], [2, 1.5], params=PARAMS)
    assert fit is not None
    assert fit.half_life_interval[1] < 10


def test_one_date_or_no_oil_at_first_has_no_half_life():
    assert fit_kinetics([1], [100], [2], params=PARAMS)[0] is None
    assert fit_kinetics([1, 30], [1, 5], [2, 2], params=PARAMS)[0] is None
    with pytest.raises(ValueError, match="positive interval"):
        two_point_half_life(10, 5, 0)


def test_amounts_of_one_moment_have_no_half_life():
    for days in ([1, 1], [1, 1, 1], [1, 1 + 1e-9]):
        mass = 100.0 - np.arange(len(days))
        assert fit_kinetics(days, mass, np.ones(len(days)), params=PARAMS) == (None, Quality.FEW_TIMEPOINTS)
    assert fit_kinetics([], [], [], params=PARAMS) == (None, Quality.FEW_TIMEPOINTS)


@pytest.mark.parametrize("days", [[1, 1, 31], [1, 31, 31]])
def test_amounts_of_one_moment_count_as_one_date(days):
    mass = [102, 98, 60] if days[1] == 1 else [100, 63, 57]
    fit, quality = fit_kinetics(days, mass, [2, 2, 2], params=PARAMS)
    assert fit is not None
    assert fit.model is KineticsModel.TWO_POINT
    assert fit.half_life_days == pytest.approx(two_point_half_life(100, 60, 30), rel=1e-6)
    assert quality == Quality.FEW_TIMEPOINTS


def test_a_weak_start_is_no_want_of_dates():
    assert fit_kinetics([1, 30, 60], [1, 5, 5], [2, 2, 2], params=PARAMS) == (None, Quality.NONE)


def test_a_single_exponential_is_found_again():
    days = np.array([1.0, 7, 28, 60, 120])
    rng = np.random.default_rng(1)
    mass = 150 * np.exp(-np.log(2) * days / 45) * np.exp(rng.normal(0, 0.03, 5))
    fit, quality = fit_kinetics(days, mass, 0.03 * mass, params=PARAMS)
    assert fit is not None
    assert fit.model is KineticsModel.MONO
    assert fit.half_life_days == pytest.approx(45, rel=0.08)
    assert fit.half_life_interval[0] <= 45 <= fit.half_life_interval[1]
    assert quality == Quality.NONE


@pytest.mark.slow
def test_two_exponentials_are_chosen_when_the_data_ask_for_them():
    days = np.array([1.0, 4, 8, 15, 30, 60, 120, 240])
    mass = 100 * (0.6 * np.exp(-days / 5) + 0.4 * np.exp(-days / 150))
    fit, _ = fit_kinetics(days, mass, 0.02 * mass, params=PARAMS)
    assert fit is not None
    assert fit.model is KineticsModel.BI
    at = np.interp(fit.half_life_days, np.array(fit.curve_days) - 1, fit.curve_retention)
    assert at == pytest.approx(0.5, abs=0.05)
    assert fit.half_life_interval[0] < fit.half_life_days < fit.half_life_interval[1]


@pytest.mark.slow
def test_the_interval_holds_the_true_half_life():
    days, hits = np.array([1.0, 14, 45, 90]), []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        truth = 100 * np.exp(-np.log(2) * (days - 1) / 40)
        sd = np.hypot(0.04 * truth, 1.5)
        fit, _ = fit_kinetics(days, truth + rng.normal(0, sd), sd, params=PARAMS)
        assert fit is not None
        hits.append(fit.half_life_interval[0] <= 40 <= fit.half_life_interval[1])
    assert np.mean(hits) >= 0.88


def test_the_curve_is_not_drawn_beyond_the_dates():
    fit, _ = fit_kinetics([2, 10, 40], [100, 80, 40], [3, 3, 3], params=PARAMS)
    assert fit is not None
    assert fit.curve_days[0] == 2
    assert fit.curve_days[-1] == pytest.approx(40)


def test_where_one_exponential_fails_half_is_read_between_the_dates_about_it():
    days = np.array([1.0, 28, 84])
    left = 0.4 * 2.0 ** (-(days - 1) / 6) + 0.6 * 2.0 ** (-(days - 1) / 60)
    fit, _ = fit_kinetics(days, 100 * left, 2 * left, params=PARAMS)
    assert fit is not None
    assert fit.model is KineticsModel.TWO_POINT
    # Half of the first amount is left after 21.7 days: between the first two dates, on a straight line of the log.
    assert fit.half_life_days == pytest.approx(21.7, rel=0.12)
    assert fit.half_life_interval[0] < fit.half_life_days < fit.half_life_interval[1]
    at_second = np.interp(28, fit.curve_days, fit.curve_retention)
    assert at_second == pytest.approx(left[1], rel=0.02)
