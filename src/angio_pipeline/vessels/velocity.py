"""Velocity of flow along the tree, from the times at which the bolus passes.

Strategy: a branch is a few frame intervals long at best, so that no branch is left to itself.
Unknown are the time at the middle of each branch and the logarithm of its slowness (seconds per
pixel). Known, each with its error: the branch's own times and their slope along it; that between
the middles of two neighbours half of each is travelled; and that velocity seldom changes beyond
some factor from a branch to the next, less where a vessel only gives off a twig and goes on as wide
as it was. All is solved at once, a sparse least-squares problem, by Gauss-Newton steps; what
contradicts the rest counts less (weights of Cauchy's distribution: Holland and Welsch 1977,
doi:10.1080/03610927708827533). The inverse of the normal matrix gives the errors.

Noise is not what limits velocity: interpolation between frames, vessels behind each other and
contrast that is not mixed give times an error that is shared along a branch. Part of it grows with
the frame interval, part does not; without it in the model short branches would look precise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import sparse
from scipy.sparse.linalg import SuperLU, splu

from angio_pipeline.core.measures import VelocityState
from angio_pipeline.core.params import Params
from angio_pipeline.vessels.bolus import BolusTimes

__all__ = ["Flow", "VelocityParams", "fit_flow", "fit_line"]

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
_STEPS = 40


class VelocityParams(Params):
    """Settings of `fit_flow`; chosen by hand, and the shares so that intervals hold on simulated patients."""

    shared_error_s: float = Field(
        0.05, ge=0, description="error of times that a branch shares from end to end, whatever the frame rate"
    )
    shared_error: float = Field(0.12, gt=0, description="what interpolation adds to it, in frame intervals")
    piece_error: float = Field(0.06, gt=0, description="error of a piece's time beside noise, in frame intervals")
    fork_error: float = Field(0.15, gt=0, description="error of the time from a branch to the next, in frame intervals")
    stem_error: float = Field(0.08, gt=0, description="the same where a vessel goes on, in frame intervals")
    likeness: float = Field(
        0.6, gt=0, description="SD of the change of velocity from a branch to the next, natural logarithm"
    )
    stem_likeness: float = Field(0.4, gt=0, description="the same where a vessel goes on")
    stem_width: float = Field(
        0.74, gt=0, le=1, description="share of its width that a vessel keeps where it goes on beyond a fork"
    )
    outlier: float = Field(2.0, gt=0, description="what is off by more than this many SDs counts less than half")
    least_px: float = Field(
        24.0, ge=0, description="shorter branches have no velocity of their own; for a 512-pixel frame"
    )
    least_transit: float = Field(
        0.3, ge=0, description="what passes a branch in less than this share of a frame interval is not resolved"
    )
    largest_log_sd: float = Field(0.3, gt=0, description="SD of the velocity's logarithm up to which it is told")
    largest_scatter: float = Field(
        0.5,
        gt=0,
        description="median distance of a branch's times from a line up to which it is told, in frame intervals",
    )
    contradiction: float = Field(
        3.0, gt=0, description="SDs by which a branch may be off the fit, or off the branch that it comes from"
    )


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A straight line through the times of one branch: time `time_s` at `along_px`, and its slope.

    Without two pieces the slope is NaN. `scatter_s` is the median distance of the times from the line.
    """

    along_px: float
    time_s: float
    time_sd_s: float
    slope_s_px: float = float("nan")
    slope_sd_s_px: float = float("nan")
    scatter_s: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """The flow in each of B branches; NaN where nothing is known.

    Attributes
    ----------
    start_s, end_s : ndarray, (B,) float64
        When the edge passes the ends; NaN in branches that show no edge.
    velocity_px_s : ndarray, (B,) float64
        NaN unless `state` is measured.
    interval_px_s : ndarray, (B, 2) float64
        95 % interval of the velocity.
    """

    start_s: Array
    end_s: Array
    velocity_px_s: Array
    interval_px_s: Array
    state: tuple[VelocityState, ...]


def fit_flow(
    times: Sequence[BolusTimes],
    length_px: Array,
    diameter_px: Array,
    parents: Sequence[int | None],
    *,
    interval_s: float,
    scale: float,
    params: VelocityParams,
) -> Flow:
    """Return the velocity in each branch with its interval, from all branches' times together.

    Parameters
    ----------
    times : sequence of BolusTimes
        Of each branch; empty where no edge was seen.
    length_px, diameter_px : ndarray, (B,)
    parents : sequence of int or None
        For each branch the one that flows into it.
    interval_s : float
        Frame interval while contrast comes.
    scale : float
        Frame size over 512.
    """
    lines = [fit_line(t, floor_s=params.piece_error * interval_s) for t in times]
    guess = _typical_slowness(lines, length_px)
    if guess is None:
        return _unknown(lines, VelocityState.UNRESOLVED)
    forks = _Forks.of(parents, diameter_px, interval_s, params)
    system = _System(lines, np.maximum(length_px, 1e-6), forks, guess, interval_s, params)
    middle, log_slowness = system.solve()
    return _told(lines, system, middle, log_slowness, interval_s, scale)


def fit_line(times: BolusTimes, *, floor_s: float) -> Line | None:
    """Return the line through one branch's times, outlying ones weighing less; None without a time.

    The errors are those of noise and `floor_s`, or those that the times' scatter shows when that is more.
    """
    s, t, sd = times.along_px, times.time_s, np.hypot(times.sd_s, floor_s)
    if len(s) == 0:
        return None
    if len(s) == 1:
        return Line(float(s[0]), float(t[0]), float(sd[0]))
    trust = np.ones(len(s))
    for _ in range(15):
        weight = trust / sd**2
        at, time = np.average(s, weights=weight), np.average(t, weights=weight)
        spread = float((weight * (s - at) ** 2).sum())
        slope = float((weight * (s - at) * (t - time)).sum()) / spread
        off = np.abs(t - time - slope * (s - at)) / sd
        typical = max(1.0, 1.4826 * float(np.median(off))) if len(s) > 3 else 1.0
        trust = 1 / np.maximum(1.0, off / (1.5 * typical))
    freedom = float(trust.sum()) - 2
    excess = max(1.0, np.sqrt(float((trust * off**2).sum()) / max(freedom, 1.0))) if len(s) > 2 else 1.0
    time_sd, slope_sd = excess / np.sqrt(weight.sum()), excess / np.sqrt(spread)
    scatter = float(np.median(off * sd))
    return Line(float(at), float(time), float(time_sd), slope, float(slope_sd), scatter)


def _typical_slowness(lines: Sequence[Line | None], length_px: Array) -> float | None:
    """Return the slowness about which half of the tree is faster, by length; None when none flows with the tree."""
    known = [(line.slope_s_px, length) for line, length in zip(lines, length_px, strict=True) if line is not None]
    forward = sorted((slope, length) for slope, length in known if slope > 0)
    if not forward:
        return None
    slope, length = np.array(forward).T
    return float(slope[np.searchsorted(np.cumsum(length), 0.5 * length.sum())])


@dataclass(frozen=True, slots=True, eq=False)
class _Forks:
    """The (F,) steps from a branch, `parent`, to the next, `child`, and the SDs of their times and velocities."""

    parent: IntArray
    child: IntArray
    time_sd: Array
    log_sd: Array

    @classmethod
    def of(cls, parents: Sequence[int | None], diameter_px: Array, interval_s: float, params: VelocityParams) -> _Forks:
        pairs = [(p, k) for k, p in enumerate(parents) if p is not None and p != k]
        parent, child = np.array(pairs, np.int64).reshape(-1, 2).T
        widest = np.zeros(len(parents))
        np.maximum.at(widest, parent, diameter_px[child])
        # Of the branches beyond a fork the widest is the vessel itself, unless it is much narrower.
        goes_on = (diameter_px[child] >= widest[parent]) & (
            diameter_px[child] >= params.stem_width * diameter_px[parent]
        )
        time_sd = interval_s * np.where(goes_on, params.stem_error, params.fork_error)
        return cls(parent, child, time_sd, np.where(goes_on, params.stem_likeness, params.likeness))


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Equations: residuals, their standard deviations, and the Jacobian with respect to (middle, log slowness)."""

    residual: Array
    sd: Array
    jacobian: sparse.csr_matrix
    robust: bool

    def weight(self, outlier: float) -> Array:
        plain = 1 / self.sd**2
        return plain / (1 + (self.residual / self.sd / outlier) ** 2) if self.robust else plain


class _System:
    """All that is known of times and slowness in a tree, as equations."""

    def __init__(
        self,
        lines: Sequence[Line | None],
        length_px: Array,
        forks: _Forks,
        guess: float,
        interval_s: float,
        params: VelocityParams,
    ) -> None:
        self.length, self.guess, self.params = length_px, guess, params
        self.count = len(length_px)
        self.timed = np.array([k for k, line in enumerate(lines) if line is not None], np.int64)
        seen = [line for line in lines if line is not None]
        shared = float(np.hypot(params.shared_error_s, params.shared_error * interval_s))
        self.off = np.array([line.along_px for line in seen]) - 0.5 * length_px[self.timed]
        self.time = np.array([line.time_s for line in seen])
        self.time_sd = np.hypot([line.time_sd_s for line in seen], 0.5 * shared)
        slope = np.array([line.slope_s_px for line in seen])
        sloped = np.isfinite(slope)
        self.sloped, self.slope = self.timed[sloped], slope[sloped]
        own = np.array([line.slope_sd_s_px for line in seen])[sloped]
        self.slope_sd = np.hypot(own, shared / length_px[self.sloped])
        self.forks = forks
        self.scatter = np.zeros(self.count)
        self.scatter[self.timed] = [line.scatter_s / interval_s for line in seen]

    def solve(self) -> tuple[Array, Array]:
        """Return (B,) the times at the branches' middles and the logarithms of their slowness."""
        x = np.full(self.count, np.log(self.guess))
        m = np.full(self.count, float(np.median(self.time)))
        m[self.timed] = self.time - self.guess * self.off
        for _ in range(_STEPS):
            normal, downhill = self._normal(m, x)
            step = normal.solve(downhill)
            m = m + step[: self.count]
            # A logarithm is far from straight: long steps would overshoot.
            change = np.clip(step[self.count :], -0.5, 0.5)
            x = x + change
            if np.abs(change).max() < 1e-3:
                break
        return m, x

    def log_sd(self, m: Array, x: Array) -> Array:
        """Return (B,) the standard deviation of the logarithm of slowness, a few branches at a time."""
        normal, _ = self._normal(m, x)
        found = np.empty(self.count)
        for first in range(0, self.count, 256):
            some = np.arange(first, min(first + 256, self.count))
            unit = np.zeros((2 * self.count, len(some)))
            unit[self.count + some, some - first] = 1.0
            found[some] = normal.solve(unit)[self.count + some, some - first]
        return np.sqrt(found)

    def contradiction(self, x: Array) -> Array:
        """Return (B,) by how many SDs a branch's own slope is off the fit, or its velocity off its parent's."""
        found = np.zeros(self.count)
        found[self.sloped] = np.abs(self.slope - np.exp(x[self.sloped])) / self.slope_sd
        change = np.abs(x[self.forks.child] - x[self.forks.parent]) / self.params.likeness
        found[self.forks.child] = np.maximum(found[self.forks.child], change)
        return found

    def _normal(self, m: Array, x: Array) -> tuple[SuperLU, Array]:
        size = 2 * self.count
        # Hardly a constraint: times of pieces without any are free otherwise.
        normal = sparse.identity(size, format="csc") * 1e-6
        downhill = np.zeros(size)
        for rows in self._equations(m, x):
            weight = rows.weight(self.params.outlier)
            normal = normal + rows.jacobian.T @ sparse.diags_array(weight) @ rows.jacobian
            downhill += rows.jacobian.T @ (weight * rows.residual)
        return splu(sparse.csc_matrix(normal)), downhill

    def _equations(self, m: Array, x: Array) -> list[_Rows]:
        u, n, forks = np.exp(x), self.count, self.forks
        at, of, child, parent = self.timed, self.sloped, forks.child, forks.parent
        one = np.ones(len(child))
        halves = 0.5 * u * self.length
        rooted = np.setdiff1d(np.arange(n), child)
        return [
            _Rows(
                self.time - m[at] - u[at] * self.off,
                self.time_sd,
                self._jacobian((at, np.ones(len(at))), (n + at, u[at] * self.off)),
                True,
            ),
            _Rows(self.slope - u[of], self.slope_sd, self._jacobian((n + of, u[of])), True),
            _Rows(
                m[parent] + halves[parent] + halves[child] - m[child],
                forks.time_sd,
                self._jacobian(
                    (child, one), (parent, -one), (n + child, -halves[child]), (n + parent, -halves[parent])
                ),
                True,
            ),
            _Rows(x[parent] - x[child], forks.log_sd, self._jacobian((n + child, one), (n + parent, -one)), False),
            # Where a piece begins, velocity is that of the tree within a factor of e^1.5.
            _Rows(
                np.log(self.guess) - x[rooted],
                np.full(len(rooted), 1.5),
                self._jacobian((n + rooted, np.ones(len(rooted)))),
                False,
            ),
        ]

    def _jacobian(self, *parts: tuple[IntArray, Array]) -> sparse.csr_matrix:
        rows = np.concatenate([np.arange(len(column)) for column, _ in parts])
        columns = np.concatenate([column for column, _ in parts])
        values = np.concatenate([value for _, value in parts])
        return sparse.csr_matrix((values, (rows, columns)), shape=(len(parts[0][0]), 2 * self.count))


def _told(lines: Sequence[Line | None], system: _System, m: Array, x: Array, interval_s: float, scale: float) -> Flow:
    params, sd = system.params, system.log_sd(m, x)
    seen = np.array([line is not None for line in lines])
    half = 0.5 * np.exp(x) * system.length
    long_enough = system.length >= params.least_px * scale
    slow_enough = 2 * half >= params.least_transit * interval_s
    sloped = long_enough & np.isin(np.arange(system.count), system.sloped)
    sure = sloped & slow_enough & (sd <= params.largest_log_sd)
    agreed = ~sloped | (system.contradiction(x) <= params.contradiction) & (system.scatter <= params.largest_scatter)
    velocity = np.where(seen & sure & agreed, np.exp(-x), np.nan)
    # Errors of times are errors of slowness: towards fast flow the interval reaches further than its logarithm says.
    low, high = velocity * np.exp(-1.96 * sd), velocity / np.maximum(1 - 1.96 * sd, 0.05)
    return Flow(
        np.where(seen, m - half, np.nan),
        np.where(seen, m + half, np.nan),
        velocity,
        np.stack([low, high], axis=1),
        tuple(_state(*each) for each in zip(seen, sure, agreed, strict=True)),
    )


def _state(seen: bool, sure: bool, agreed: bool) -> VelocityState:
    if not seen:
        return VelocityState.NOT_FILLED
    if not agreed:
        return VelocityState.CONTRADICTORY
    return VelocityState.MEASURED if sure else VelocityState.UNRESOLVED


def _unknown(lines: Sequence[Line | None], state: VelocityState) -> Flow:
    time = np.array([np.nan if line is None else line.time_s for line in lines])
    nothing = np.full(len(lines), np.nan)
    states = tuple(VelocityState.NOT_FILLED if line is None else state for line in lines)
    return Flow(time, time, nothing, np.full((len(lines), 2), np.nan), states)
