"""Sums of delayed signals in many places at once: what fills vessels and what tissue holds."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from angio_pipeline.simulate.circulation.signals import EARLY_S, SLOT_S, STEP_S, Signals, Tables, Terms

__all__ = ["Filling", "Mixture", "stay"]

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Shifts at which passages are sampled; terms a group below which signals are read one by one.
_SHIFT_S = 0.2
_FEW = 4


def _read(values: Array, delays: Array, slot: IntArray, signal: int, delay: float, age: float) -> float:
    place = (age + EARLY_S) / STEP_S
    if place < 0.0 or age + delay < 0.0 or delay >= delays[-1]:
        return 0.0
    delay = max(delay, 0.0)
    d = slot[int(delay / SLOT_S)]
    u = (delay - delays[d]) / (delays[d + 1] - delays[d])
    place = min(place, values.shape[2] - 1.001)
    i = int(place)
    v = place - i
    low = (1 - v) * values[signal, d, i] + v * values[signal, d, i + 1]
    high = (1 - v) * values[signal, d + 1, i] + v * values[signal, d + 1, i + 1]
    return float((1 - u) * low + u * high)


_read = numba.njit(cache=True)(_read)


def _sum_terms(
    values: Array, delays: Array, slot: IntArray, start: IntArray, signal: IntArray, delay: Array, wait: Array,
    weight: Array, group: IntArray, shift: Array, strength: Array, time: float, out: Array,
) -> None:  # fmt: skip
    for k in range(len(group)):
        total = 0.0
        if strength[k] != 0.0:
            for n in range(start[group[k]], start[group[k] + 1]):
                late = delay[n] + shift[k]
                total += weight[n] * _read(values, delays, slot, signal[n], late, time - late - wait[n])
        out[k] = strength[k] * total


_sum_terms = numba.njit(cache=True)(_sum_terms)


def _sum_rows(
    rows: Array, low: float, start: IntArray, row: IntArray, delay: Array, weight: Array, group: IntArray, shift: Array,
    strength: Array, out: Array,
) -> None:  # fmt: skip
    for k in range(len(group)):
        total = 0.0
        if strength[k] != 0.0:
            for n in range(start[group[k]], start[group[k] + 1]):
                place = (delay[n] + shift[k] - low) / STEP_S
                i = int(place)
                total += weight[n] * (rows[row[n], i] + (place - i) * (rows[row[n], i + 1] - rows[row[n], i]))
        out[k] = strength[k] * total


_sum_rows = numba.njit(cache=True)(_sum_rows)


def _read_rows(
    values: Array, delays: Array, slot: IntArray, signals: IntArray, low: float, time: float, rows: Array
) -> None:
    for r in range(rows.shape[0]):
        for i in range(rows.shape[1]):
            late = low + i * STEP_S
            rows[r, i] = _read(values, delays, slot, signals[r], late, time - late)


_read_rows = numba.njit(cache=True)(_read_rows)


def _half_peak(curve: Array, times: Array, peak: Array, rise: Array) -> None:
    for k in range(curve.shape[1]):
        high = 0.0
        for j in range(len(times)):
            high = max(high, curve[j, k])
        peak[k], rise[k] = high, np.nan
        if high <= 0.0:
            continue
        j = 0
        while curve[j, k] < 0.5 * high:
            j += 1
        rise[k] = times[j]
        if j > 0:
            rise[k] -= (times[j] - times[j - 1]) * (curve[j, k] - 0.5 * high) / (curve[j, k] - curve[j - 1, k])


_half_peak = numba.njit(cache=True)(_half_peak)


def _ranges(group: IntArray, shift: Array) -> tuple[Array, IntArray]:
    # Of each group the least shift, and into how many steps its range falls.
    count = int(group.max(initial=-1)) + 1
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, group, shift)
    np.maximum.at(high, group, shift)
    low = np.where(np.isfinite(low), low, 0.0)
    return low, np.ceil(np.maximum(high - low, 0.0) / _SHIFT_S - 1e-9).astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """Sums of delayed signals in places (S,): those of the place's group, all later by the place's own shift.

    Attributes
    ----------
    start : (G + 1,) where each group's terms begin in `terms`
    terms : Terms
        Sorted by owner, which is the group.
    group : (S,) int64; shift_s : (S,); strength : (S,) factor on the sum
    """

    tables: Tables
    start: IntArray
    terms: Terms
    group: IntArray
    shift_s: Array
    strength: Array

    @classmethod
    def of(cls, tables: Tables, terms: Terms, group: IntArray, shift_s: Array, strength: Array) -> Mixture:
        """Return the mixture of `terms`, whose owners are groups."""
        count = int(group.max(initial=-1)) + 1
        order = np.argsort(terms.owner, kind="stable")
        names = ("owner", "signal", "delay_s", "weight", "wait_s")
        terms = Terms(*(np.ascontiguousarray(getattr(terms, name)[order]) for name in names))
        start = np.searchsorted(terms.owner, np.arange(count + 1)).astype(np.int64)
        return cls(tables, start, terms, group.astype(np.int64), shift_s, strength)

    def at(self, age_s: float) -> Array:
        """Return (S,) the sums `age_s` after the injection's start."""
        out = np.zeros(len(self.group))
        table, terms = self.tables, self.terms
        if len(terms.weight) < _FEW * len(self.start) or terms.wait_s.any():
            _sum_terms(
                table.values, table.delays_s, table.slot, self.start, terms.signal, terms.delay_s, terms.wait_s,
                terms.weight, self.group, self.shift_s, self.strength, age_s, out,
            )  # fmt: skip
            return out
        # Many terms share few signals: read those once for all delays.
        signals, row = np.unique(terms.signal, return_inverse=True)
        low = float(terms.delay_s.min() + self.shift_s.min())
        high = float(terms.delay_s.max() + self.shift_s.max())
        rows = np.zeros((len(signals), int((high - low) / STEP_S) + 3))
        _read_rows(table.values, table.delays_s, table.slot, signals, low, age_s, rows)
        _sum_rows(rows, low, self.start, row, terms.delay_s, terms.weight, self.group, self.shift_s, self.strength, out)
        return out

    def over(self, ages_s: Array) -> Array:
        """Return (N, S) the sums at ages (N,)."""
        return np.stack([self.at(float(age)) for age in ages_s]) if len(ages_s) else np.zeros((0, len(self.group)))

    def peak_and_rise(self, ages_s: Array) -> tuple[Array, Array]:
        """Return (S,) the greatest sums, and the ages of half of them on the rising side (NaN for nothing).

        Within a group the curves change slowly with the shift, so that a few shifts serve for all its places.
        """
        low, pieces = _ranges(self.group, self.shift_s)
        first = np.concatenate([[0], np.cumsum(pieces + 1)])
        group = np.repeat(np.arange(len(pieces)), pieces + 1)
        shift = low[group] + _SHIFT_S * (np.arange(len(group)) - first[group])
        sampled = Mixture(self.tables, self.start, self.terms, group, shift, np.ones(len(group)))
        peak, rise = np.zeros(len(group)), np.zeros(len(group))
        _half_peak(sampled.over(ages_s), ages_s, peak, rise)
        place = (self.shift_s - low[self.group]) / _SHIFT_S
        k = np.minimum(place.astype(np.int64), np.maximum(pieces[self.group] - 1, 0))
        u, k = place - k, k + first[self.group]
        after = np.minimum(k + 1, first[self.group + 1] - 1)
        late = rise - shift
        rise = (1 - u) * late[k] + u * late[after] + self.shift_s
        return ((1 - u) * peak[k] + u * peak[after]) * self.strength, np.where(self.strength > 0, rise, np.nan)


@dataclass(frozen=True, slots=True, eq=False)
class Filling:
    """What fills the segments (S,) of a tree, before the tables are made; the fields are those of `Mixture`."""

    terms: Terms
    group: IntArray
    shift_s: Array
    strength: Array

    def held(self, signals: Signals) -> Filling:
        """Return the filling as vessels hold it, from what flows through them."""
        terms = self.terms
        resident = Terms(terms.owner, signals.resident(terms.signal), terms.delay_s, terms.weight, terms.wait_s)
        return Filling(resident, self.group, self.shift_s, self.strength)

    def mixture(self, tables: Tables) -> Mixture:
        """Return the filling with its curves."""
        return Mixture.of(tables, self.terms, self.group, self.shift_s, self.strength)


def stay(signals: Signals, terms: Terms, tanks: tuple[float, ...]) -> tuple[Terms, Terms]:
    """Return what a chain of tanks holds (mg for 1 ml/s), and the concentration of what leaves it (mg/ml).

    `terms` are the concentrations that enter; a tank of infinite transit gathers and lets nothing go.
    """
    held = []
    for transit in tanks:
        passed = signals.through(terms.signal, transit)
        left = Terms(terms.owner, passed, terms.delay_s, terms.weight, terms.wait_s)
        held.append(left if np.isinf(transit) else left.scaled(transit))
        terms = Terms.none() if np.isinf(transit) else left
    return Terms.join(held), terms
