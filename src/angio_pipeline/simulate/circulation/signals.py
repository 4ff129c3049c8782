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

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import lfilter, oaconvolve
from scipy.special import exp1
from scipy.stats import gamma

__all__ = ["BIN_S", "EARLY_S", "SLOT_S", "STEP_S", "Signals", "Tables", "Terms", "running_integral"]

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

STEP_S = 0.025
EARLY_S = 8.0
BIN_S = STEP_S
# Bins of delay, in steps, for signals of at least some variance (s^2) that tissue gave them.
_BINS = ((55.0, 40), (5.0, 20), (0.5, 4), (0.0, 1))
# Delays of the tables, multiples of SLOT_S: between two of them mass, mean and variance stay exact.
SLOT_S = STEP_S
_KNOTS_S = np.array(
    [
        0,
        0.025,
        0.05,
        0.1,
        0.15,
        0.2,
        0.3,
        0.4,
        0.55,
        0.75,
        1,
        1.5,
        2,
        3,
        4,
        6,
        8,
        11,
        14,
        18,
        24,
        32,
        44,
        60,
        80,
        104,
        136.0,
    ]
)


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
        last = int(np.searchsorted(_KNOTS_S, horizon_s + EARLY_S)) + 1
        self._delays = _KNOTS_S[:last]
        reach = horizon_s + float(np.diff(self._delays).max())
        self.times_s: Array = np.arange(int(np.ceil(reach / STEP_S)) + 2).astype(float) * STEP_S
        self._curves: list[Array] = []
        self._next: dict[tuple[int, float], int] = {}
        self._bins: list[int] = []
        self._variance: list[float] = []

    def add(self, curve: Array, *, standing: bool = False) -> int:
        """Return the number of a new signal sampled at `times_s`; a standing column holds just what it shows."""
        self._curves.append(np.asarray(curve, float))
        self._bins.append(1)
        self._variance.append(0.0)
        number = len(self._curves) - 1
        if standing:
            self._next[(number, 0.0)] = number
        return number

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
            # Delays of a slow signal need only be known to half a second, past two tissues to a whole one.
            self._variance[-1] = self._variance[signal] + (transit_s**2 if np.isfinite(transit_s) else 0.0)
            self._bins[-1] = next(bins for least, bins in _BINS if self._variance[-1] >= least)
        return self._next[key]

    def resident(self, signals: IntArray) -> IntArray:
        """Return the signals as vessels hold them, from those that flow through."""
        found, where = np.unique(signals, return_inverse=True)
        return np.asarray([self._held(int(s)) for s in found], dtype=np.int64)[where]

    def _held(self, signal: int) -> int:
        key = (signal, 0.0)
        if key not in self._next:
            held = oaconvolve(self._curves[signal], _resident_weights(len(self.times_s), self._dispersion_s))
            held = held[: len(self.times_s)]
            self._next[key] = self.add(np.maximum(held, 0.0))
            self._bins[-1], self._variance[-1] = self._bins[signal], self._variance[signal]
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
        ages = np.arange(round((EARLY_S + self._horizon_s) / STEP_S) + 2) - round(EARLY_S / STEP_S)
        spectrum = rfft(np.asarray(self._curves).reshape(-1, count), size)
        values = np.zeros((len(self._curves), len(self._delays), len(ages)))
        for d, delay in enumerate(self._delays):
            kernel = rfft(_gamma_weights(count, float(delay), self._dispersion_s), size)
            curves = irfft(spectrum * kernel, size)[:, :count]
            at = ages + round(float(delay) / STEP_S)
            inside = (at >= 0) & (at < count)
            values[:, d, inside] = np.maximum(curves[:, at[inside]], 0.0)
        slots = np.arange(int(self._delays[-1] / SLOT_S) + 1) * SLOT_S
        slot = np.searchsorted(self._delays, slots + 1e-9, side="right") - 1
        return Tables(values, self._delays, np.minimum(slot, len(self._delays) - 2).astype(np.int64))


def _hat_weights(below: Array) -> Array:
    # Weights of a density on a grid, from the integral of its distribution at -1, 0, 1, ... steps:
    # linear sharing between neighbours keeps mass and mean exactly.
    return np.asarray(np.diff(below, 2) / STEP_S)


def _gamma_weights(count: int, delay_s: float, dispersion_s: float) -> Array:
    if delay_s <= 0:
        return np.asarray(np.eye(1, count)[0])
    x = np.maximum(np.arange(-1, count + 1), 0) * STEP_S
    shape = delay_s / dispersion_s
    below = x * gamma.cdf(x, shape, scale=dispersion_s) - delay_s * gamma.cdf(x, shape + 1, scale=dispersion_s)
    return _hat_weights(np.asarray(below))


def _resident_weights(count: int, dispersion_s: float) -> Array:
    # The density E1(t / D) / D.
    u = np.maximum(np.arange(-1, count + 1), 0) * STEP_S / dispersion_s
    tail = np.where(u > 0, 0.5 * u * u * exp1(np.maximum(u, 1e-12)), 0.0)
    return _hat_weights(dispersion_s * (tail + 0.5 * (1 - np.exp(-u) * (1 + u)) + u - 1 + np.exp(-u)))


def running_integral(curve: Array) -> Array:
    """Return (N,) the area under a curve sampled every STEP_S, up to each sample."""
    return np.concatenate([[0.0], np.cumsum(0.5 * STEP_S * (curve[1:] + curve[:-1]))])


def _mixed_tank(curve: Array, transit_s: float) -> Array:
    if np.isinf(transit_s):
        return running_integral(curve)
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
