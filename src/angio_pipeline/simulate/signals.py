"""Curves of contrast for any delay and any chain of tissues, and sums of them.

Vessels are tanks in series: after a mean delay tau a curve is convolved with a gamma density of
mean tau and variance tau * dispersion_s. Gamma densities of one scale are closed under
convolution, so any way of cutting a path into pieces gives the same curve, and iodine is kept.
Tissue is a chain of well-mixed tanks: exponential transit, what leaves one enters the next.
All of it is linear and the same at all times, so the order of vessels and tissues on the way does
not matter, and one table for each chain of tissues serves every vessel; where vessels join, the
curves of all tributaries are summed term by term.

What flows through a cross-section and what stands in it differ where there is dispersion: iodine is
kept when a vessel holds the flux concentration convolved with E1(t / D) / D, the inverse transform
of ln(1 + sD) / (sD) (flux and resident concentrations: Kreft and Zuber, doi:10.1016/0009-2509(78)85196-3).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numba
import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import lfilter, oaconvolve
from scipy.special import exp1
from scipy.stats import gamma

__all__ = ["BIN_S", "STEP_S", "Filling", "Mixture", "Signals", "Tables", "Terms", "stay"]

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

STEP_S = 0.025
_EARLY_S = 8.0
BIN_S = 0.125
_SHIFT_S = 0.1
# Delays of the tables, multiples of _SLOT_S: between two of them mass, mean and variance stay exact.
_SLOT_S = 0.05
_KNOTS_S = np.array([0, 0.05, 0.1, 0.2, 0.4, 0.7, 1, 1.5, 2, 3, 4, 6, 8, 11, 14, 18, 24, 32, 44, 60, 80, 104, 136.0])


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """Curves for every delay: `values` (M, D, N), by delay (D,) and by age, the time since that delay.

    In age the curves of neighbouring delays lie on each other, so that few delays serve.
    """

    values: Array
    delays_s: Array
    slot: IntArray


class Signals:
    """The curves that enter vessels: each source's own, and what tissues make of it.

    A signal's number is the row of `Tables.values` that it will have; `through` gives the number of
    the same signal after one more tank.
    """

    def __init__(self, horizon_s: float, dispersion_s: float) -> None:
        self._dispersion_s = dispersion_s
        self._horizon_s = horizon_s
        last = int(np.searchsorted(_KNOTS_S, horizon_s + _EARLY_S)) + 1
        self._delays = _KNOTS_S[:last]
        reach = horizon_s + float(np.diff(self._delays).max())
        self.times_s: Array = np.arange(int(np.ceil(reach / STEP_S)) + 2).astype(float) * STEP_S
        self._curves: list[Array] = []
        self._next: dict[tuple[int, float], int] = {}
        self._bins: list[int] = []

    def add(self, curve: Array) -> int:
        """Return the number of a new signal sampled at `times_s`."""
        self._curves.append(np.asarray(curve, float))
        self._bins.append(1)
        return len(self._curves) - 1

    def curve(self, signal: int) -> Array:
        """Return (N,) a signal without delay, at `times_s`."""
        return self._curves[signal]

    def through(self, signals: IntArray, transit_s: float) -> IntArray:
        """Return the signals that leave a tank of mean transit `transit_s`; infinite: what it has gathered."""
        found, where = np.unique(signals, return_inverse=True)
        return np.asarray([self._after(int(s), transit_s) for s in found], dtype=np.int64)[where]

    def _after(self, signal: int, transit_s: float) -> int:
        key = (signal, transit_s)
        if key not in self._next:
            self._next[key] = self.add(_mixed_tank(self._curves[signal], transit_s))
            self._bins[-1] = max(self._bins[signal], 4 if transit_s > 2 else 1)
        return self._next[key]

    def resident(self, signals: IntArray) -> IntArray:
        """Return the signals as vessels hold them, from those that flow through."""
        found, where = np.unique(signals, return_inverse=True)
        return np.asarray([self._held(int(s)) for s in found], dtype=np.int64)[where]

    def _held(self, signal: int) -> int:
        key = (signal, 0.0)
        if key not in self._next:
            u = np.maximum(np.arange(len(self.times_s) + 1) - 0.5, 0) * STEP_S / self._dispersion_s
            below = 1 - np.exp(-u) + np.where(u > 0, u * exp1(np.maximum(u, 1e-12)), 0.0)
            held = oaconvolve(self._curves[signal], np.diff(below))[: len(self.times_s)]
            self._next[key] = self.add(np.maximum(held, 0.0))
            self._bins[-1] = self._bins[signal]
        return self._next[key]

    def binned(self, terms: Terms) -> Terms:
        """Return fewer terms: delays gathered on a grid, coarser for slow signals; amounts and mean delays are kept."""
        width = BIN_S * np.asarray(self._bins, float)[terms.signal]
        place = terms.delay_s / width
        low = np.floor(place)
        bins = np.concatenate([low, low + 1]) * np.tile(width / BIN_S, 2)
        weight = np.concatenate([terms.weight * (low + 1 - place), terms.weight * (place - low)])
        key = np.stack([np.tile(terms.owner, 2), np.tile(terms.signal, 2), np.rint(bins).astype(np.int64)])
        key, weight = key[:, weight != 0], weight[weight != 0]
        if len(weight) == 0:
            return Terms.none()
        found, where = np.unique(key, axis=1, return_inverse=True)
        total = np.bincount(where.ravel(), weight, minlength=found.shape[1])
        return Terms(found[0], found[1], found[2].astype(float) * BIN_S, np.asarray(total, float))

    def tables(self) -> Tables:
        """Return the tables of all signals for all delays."""
        count = len(self.times_s)
        size = next_fast_len(2 * count, real=True)
        edges = (np.arange(count + 1) - 0.5) * STEP_S
        ages = np.arange(round((_EARLY_S + self._horizon_s) / STEP_S) + 2) - round(_EARLY_S / STEP_S)
        spectrum = rfft(np.asarray(self._curves).reshape(-1, count), size)
        values = np.zeros((len(self._curves), len(self._delays), len(ages)))
        for d, delay in enumerate(self._delays):
            # Exact mass of the density in each step, so that no iodine is lost to sampling.
            below = gamma.cdf(np.maximum(edges, 0), delay / self._dispersion_s, scale=self._dispersion_s)
            kernel = rfft(np.diff(below) if delay > 0 else np.eye(1, count)[0], size)
            curves = irfft(spectrum * kernel, size)[:, :count]
            at = ages + round(float(delay) / STEP_S)
            inside = (at >= 0) & (at < count)
            values[:, d, inside] = np.maximum(curves[:, at[inside]], 0.0)
        slots = np.arange(int(self._delays[-1] / _SLOT_S) + 1) * _SLOT_S
        slot = np.searchsorted(self._delays, slots + 1e-9, side="right") - 1
        return Tables(values, self._delays, np.minimum(slot, len(self._delays) - 2).astype(np.int64))


def _mixed_tank(curve: Array, transit_s: float) -> Array:
    if np.isinf(transit_s):
        return np.concatenate([[0.0], np.cumsum(0.5 * STEP_S * (curve[1:] + curve[:-1]))])
    keep = np.exp(-STEP_S / transit_s)
    gain = 0.5 * STEP_S / transit_s
    return np.asarray(lfilter([gain, gain * keep], [1.0, -keep], curve))


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """Contributions (K,): to whom, of which signal, after which delay, and how much.

    `delay_s` disperses; `wait_s` only shifts.
    """

    owner: IntArray
    signal: IntArray
    delay_s: Array
    weight: Array
    wait_s: Array = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        if len(self.wait_s) != len(self.weight):
            object.__setattr__(self, "wait_s", np.zeros(len(self.weight)))

    def scaled(self, factor: float, extra_delay_s: float = 0.0) -> Terms:
        """Return all terms scaled, and later by `extra_delay_s`."""
        return Terms(self.owner, self.signal, self.delay_s + extra_delay_s, self.weight * factor, self.wait_s)

    def given_to(self, owners: IntArray | int) -> Terms:
        """Return the terms with owner k renamed `owners[k]`, or all given to one."""
        new = np.full_like(self.owner, owners) if isinstance(owners, int) else np.asarray(owners)[self.owner]
        return Terms(new, self.signal, self.delay_s, self.weight, self.wait_s)

    @classmethod
    def none(cls) -> Terms:
        """Return no contributions."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0))

    @classmethod
    def join(cls, parts: list[Terms]) -> Terms:
        """Return the contributions of all parts."""
        names = ("owner", "signal", "delay_s", "weight", "wait_s")
        parts = parts or [cls.none()]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def of(self, owners: IntArray, extra_delay_s: Array, factor: Array) -> Terms:
        """Return copies for new owners: owner k takes the terms of `owners[k]`, later and scaled by its own."""
        order = np.argsort(self.owner, kind="stable")
        first = np.searchsorted(self.owner[order], owners, side="left")
        count = np.searchsorted(self.owner[order], owners, side="right") - first
        new = np.repeat(np.arange(len(owners)), count)
        start = np.repeat(first - np.concatenate([[0], np.cumsum(count)[:-1]]) if len(owners) else first, count)
        pick = order[start + np.arange(len(new))]
        return Terms(
            new,
            self.signal[pick],
            self.delay_s[pick] + extra_delay_s[new],
            self.weight[pick] * factor[new],
            self.wait_s[pick],
        )


def _read(values: Array, delays: Array, slot: IntArray, signal: int, delay: float, age: float) -> float:
    place = (age + _EARLY_S) / STEP_S
    if place < 0.0 or delay >= delays[-1]:
        return 0.0
    delay = max(delay, 0.0)
    d = slot[int(delay / _SLOT_S)]
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
        _sum_terms(
            table.values, table.delays_s, table.slot, self.start, terms.signal, terms.delay_s, terms.wait_s,
            terms.weight, self.group, self.shift_s, self.strength, age_s, out,
        )  # fmt: skip
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
