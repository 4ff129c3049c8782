"""Delay and tissue change the shape of a curve, never its iodine."""

import numpy as np
import numpy.typing as npt
import pytest

from angio_pipeline.simulate.circulation.contrast import Pulse
from angio_pipeline.simulate.circulation.mixtures import Mixture, stay
from angio_pipeline.simulate.circulation.signals import STEP_S, Signals, Terms

Array = npt.NDArray[np.float64]
BOLUS = Pulse(np.array([100.0]), np.array([0.0]), np.array([2.5]), 0.3)
AGES = np.arange(0.0, 40.0, STEP_S)


def signals_with_bolus() -> Signals:
    signals = Signals(60.0, 0.12)
    signals.add(BOLUS.at(signals.times_s))
    return signals


def terms(delay_s: list[float], weight: list[float] | None = None, signal: int = 0) -> Terms:
    count = len(delay_s)
    amounts = np.ones(count) if weight is None else np.array(weight)
    return Terms(np.arange(count), np.full(count, signal), np.array(delay_s), amounts)


def curves(signals: Signals, of: Terms, places: int | None = None) -> Array:
    count = len(of.weight) if places is None else places
    mixture = Mixture.of(signals.tables(), of, np.arange(count), np.zeros(count), np.ones(count))
    return mixture.over(AGES)


def moments(curve: Array) -> tuple[Array, Array, Array]:
    area = curve.sum(axis=0) * STEP_S
    mean = (AGES[:, None] * curve).sum(axis=0) * STEP_S / area
    variance = ((AGES[:, None] - mean) ** 2 * curve).sum(axis=0) * STEP_S / area
    return area, mean, variance


def test_any_delay_keeps_iodine_and_adds_its_own_mean_and_variance() -> None:
    delay = [0.0, 0.013, 0.3, 0.61, 1.7, 4.9, 9.3]
    area, mean, variance = moments(curves(signals_with_bolus(), terms(delay)))
    np.testing.assert_allclose(area, 250.0, rtol=1e-4)
    np.testing.assert_allclose(mean - mean[0], delay, atol=2e-3)
    np.testing.assert_allclose(variance - variance[0], 0.12 * np.array(delay), atol=4e-3)


def test_cutting_a_path_in_two_gives_the_same_curve() -> None:
    signals = signals_with_bolus()
    whole = curves(signals, terms([2.0]))[:, 0]
    first = curves(signals, terms([0.75]))[:, 0]
    again = Signals(60.0, 0.12)
    again.add(np.interp(again.times_s, AGES, first))
    second = curves(again, terms([1.25]))[:, 0]
    np.testing.assert_allclose(second, whole, atol=0.005 * whole.max())


def test_a_vessel_holds_what_went_in_less_what_came_out() -> None:
    signals = signals_with_bolus()
    edges = np.linspace(0.0, 2.0, 81)
    passing = curves(signals, terms([0.0, 2.0]))
    held = terms(list(0.5 * (edges[1:] + edges[:-1])), [0.025] * 80, int(signals.resident(np.zeros(1, np.int64))[0]))
    contents = curves(signals, held).sum(axis=1)
    kept = np.cumsum((passing[:, 0] - passing[:, 1]) * STEP_S)
    np.testing.assert_allclose(contents, kept, atol=0.01 * kept.max())


def test_tissue_holds_what_came_in_less_what_left() -> None:
    signals = signals_with_bolus()
    held, leaving = stay(signals, terms([1.0]), (3.0, 5.0))
    inside = curves(signals, held.given_to(0), 1)[:, 0]
    passing = curves(signals, Terms.join([terms([1.0]), leaving.given_to(np.array([1]))]))
    kept = np.cumsum((passing[:, 0] - passing[:, 1]) * STEP_S)
    np.testing.assert_allclose(inside, kept, atol=0.01 * kept.max())


def test_what_leaves_tissue_comes_later_by_its_transit() -> None:
    signals = signals_with_bolus()
    _, leaving = stay(signals, terms([1.0]), (1.5, 2.5))
    _, mean, _ = moments(curves(signals, Terms.join([terms([1.0]), leaving.given_to(np.array([1]))])))
    assert mean[1] - mean[0] == pytest.approx(4.0, abs=0.02)


def test_a_pool_keeps_all_it_gets() -> None:
    signals = signals_with_bolus()
    held, leaving = stay(signals, terms([1.0]), (np.inf,))
    inside = curves(signals, held)[:, 0]
    assert (np.diff(inside) > -1e-9).all()
    assert inside[-1] == pytest.approx(250.0, rel=1e-3)
    assert len(leaving.weight) == 0


def test_gathering_terms_keeps_amounts_and_mean_delays() -> None:
    signals = signals_with_bolus()
    slow = signals.through(signals.through(np.zeros(1, np.int64), 6.0), 6.0)
    rng = np.random.default_rng(4)
    many = Terms(np.zeros(200, np.int64), np.full(200, slow[0]), rng.uniform(0, 3, 200), rng.uniform(0, 1, 200))
    few = signals.binned(many)
    assert len(few.weight) < 20
    assert few.weight.sum() == pytest.approx(many.weight.sum())
    assert few.weight @ few.delay_s == pytest.approx(many.weight @ many.delay_s)
    before, after = curves(signals, many.given_to(0), 1), curves(signals, few, 1)
    np.testing.assert_allclose(after, before, atol=0.01 * before.max())


def test_reading_rows_equals_reading_one_by_one() -> None:
    signals = signals_with_bolus()
    second = int(signals.through(np.zeros(1, np.int64), 2.0)[0])
    rng = np.random.default_rng(5)
    many = Terms(rng.integers(0, 3, 60), rng.choice([0, second], 60), rng.uniform(0, 4, 60), rng.uniform(0, 1, 60))
    mixture = Mixture.of(signals.tables(), many, np.arange(3), np.array([0.0, 0.3, 0.7]), np.ones(3))
    alone = [
        Mixture.of(signals.tables(), many.of(np.array([k]), np.array([shift]), np.ones(1)), *one_place())
        for k, shift in enumerate((0.0, 0.3, 0.7))
    ]
    for age in (1.0, 2.4, 6.3):
        slowly = [sum_one_by_one(m, age) for m in alone]
        np.testing.assert_allclose(mixture.at(age), slowly, rtol=5e-3)


def one_place() -> tuple[npt.NDArray[np.int64], Array, Array]:
    return np.zeros(1, np.int64), np.zeros(1), np.ones(1)


def sum_one_by_one(mixture: Mixture, age: float) -> float:
    total = 0.0
    for k in range(len(mixture.terms.weight)):
        one = np.array([k])
        single = Terms(
            np.zeros(1, np.int64), mixture.terms.signal[one], mixture.terms.delay_s[one], mixture.terms.weight[one]
        )
        total += float(Mixture.of(mixture.tables, single, *one_place()).at(age)[0])
    return total


def test_passages_between_sampled_shifts_are_those_of_the_curve() -> None:
    signals = signals_with_bolus()
    shift = np.linspace(0.2, 3.0, 37)
    group = np.zeros(len(shift), np.int64)
    mixture = Mixture.of(signals.tables(), terms([0.0]), group, shift, np.full(len(shift), 2.0))
    peak, rise = mixture.peak_and_rise(AGES[::4])
    curve = mixture.over(AGES)
    np.testing.assert_allclose(peak, curve.max(axis=0), rtol=0.01)
    crossing = AGES[np.argmax(curve >= 0.5 * curve.max(axis=0), axis=0)]
    np.testing.assert_allclose(rise, crossing, atol=0.03)
    assert (np.diff(rise) > 0).all()
