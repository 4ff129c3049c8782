"""An injection is what the injector says; the impossible is refused by its name."""

import numpy as np
import pytest
from pydantic import ValidationError

from angio_pipeline.simulate.circulation.contrast import ContrastParams, Injection, Pulse


def test_a_pulse_gives_rate_times_duration_whatever_its_ramp() -> None:
    for ramp in (0.1, 0.3, 1.0):
        pulse = Pulse(np.array([5.0]), np.array([0.0]), np.array([2.6]), ramp)
        assert pulse.integral(np.array([10.0]))[0] == pytest.approx(5.0 * 2.6)


def test_the_integral_of_a_pulse_is_the_area_under_it() -> None:
    pulse = Pulse(np.array([3.0, -1.0]), np.array([0.2, 1.0]), np.array([2.0, np.inf]), 0.4)
    times = np.arange(0.0, 4.0, 0.001)
    area = np.concatenate([[0.0], np.cumsum(0.0005 * (pulse.at(times)[1:] + pulse.at(times)[:-1]))])
    np.testing.assert_allclose(pulse.integral(times), area, atol=1e-5)


def test_an_injection_holds_rate_times_duration_times_concentration() -> None:
    assert Injection(3, 5.0, 3.0, 300.0).iodine_mg == pytest.approx(4500.0)


@pytest.mark.parametrize("field", ["rate_ml_s", "duration_s", "iodine_mg_per_ml", "ramp_s"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_an_injection_of_nothing_is_refused_by_its_field(field: str, value: float) -> None:
    right = {"rate_ml_s": 4.0, "duration_s": 2.0, "iodine_mg_per_ml": 300.0, "ramp_s": 0.3}
    with pytest.raises(ValueError, match=f"{field} of the injection above 0"):
        Injection(1, **{**right, field: value})


def test_a_tip_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="tip_node"):
        Injection(-1, 4.0, 2.0, 300.0)


@pytest.mark.parametrize("field", ["injection_ml_s", "injection_s", "dispersion_s", "cardiac_output_ml_s"])
def test_settings_below_their_range_are_refused(field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        ContrastParams.model_validate({field: -1.0})
