"""How fast the oil leaves: half-life with an interval, by the formula for two dates or by a fit.

The fit is by maximum likelihood of the masses with each scan's own error: normal in log-mass
where the mass stands well above its error, normal in mass where it does not (log-mass is
undefined when nothing is left). One or two exponentials, chosen by AICc; the interval is the
profile likelihood's, and its upper end is infinite when the data do not bound it. Where one exponential
does not fit and there are too few dates for two, the dates between which half was passed tell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy
from pydantic import Field

from angio_pipeline.core.followups import Kinetics, KineticsModel
from angio_pipeline.core.params import Params
from angio_pipeline.core.quality import Quality

__all__ = ["KineticsParams", "fit_kinetics", "two_point_half_life"]

FloatArray = npt.NDArray[np.float64]


class KineticsParams(Params):
    """Settings of the fit."""

    scatter: float = Field(
        0.03, ge=0.0, le=0.5, description="how far true courses may stray from an exponential, relative"
    )
    clear: float = Field(4.0, ge=1.0, description="errors that a mass must stand above 0 to be used in logarithms")
    least_bi_dates: int = Field(6, ge=5, description="dates that two exponentials ask for")
    fits: float = Field(0.10, gt=0.0, lt=0.5, description="how improbable a misfit may be")
    draws: int = Field(1000, ge=100, description="draws of the interval")
    curve_points: int = Field(60, ge=2, description="points of the drawn curve")
    moment_days: float = Field(1 / 24, ge=1e-4, le=1.0, description="amounts closer in time are one moment's, days")


@dataclass(frozen=True, slots=True, eq=False)
class _Course:
    days: FloatArray
    mass: FloatArray
    sd: FloatArray
    clear: float

    def misfit(self, model: FloatArray) -> float:
        """Return twice the negative log-likelihood, up to a constant."""
        model = np.maximum(model, 1e-300)
        high = self.mass > self.clear * self.sd
        log_term = (np.log(self.mass[high] / model[high]) * self.mass[high] / self.sd[high]) ** 2
        low_term = ((self.mass[~high] - model[~high]) / self.sd[~high]) ** 2
        return float(log_term.sum() + low_term.sum())


def two_point_half_life(first_mg: float, second_mg: float, days: float) -> float:
    """Return ln 2 x days / ln(first / second); infinite when the mass did not fall.

    Raises
    ------
    ValueError
        When the interval or the first mass is not positive.
    """
    if days <= 0 or first_mg <= 0:
        raise ValueError(f"Expected a positive interval and first mass, found {days} days and {first_mg} mg.")
    if second_mg <= 0:
        return 0.0
    fall = np.log(first_mg / second_mg)
    return float(np.log(2) * days / fall) if fall > 0 else float("inf")


def fit_kinetics(
    days: npt.ArrayLike, mass: npt.ArrayLike, sd: npt.ArrayLike, *, params: KineticsParams
) -> tuple[Kinetics | None, Quality]:
    """Return the half-life with its 95 % interval, and the flags that go with it.

    Parameters
    ----------
    days, mass, sd : array_like, (N,)
        Times that do not decrease, amounts, and standard deviations of the amounts without what
        all dates share (such a factor does not move a half-life).

    Returns
    -------
    kinetics : Kinetics or None
        None with fewer than two distinct moments or when the first amount is not above its error.
    quality : Quality
        FEW_TIMEPOINTS when no fit was possible for want of dates, or the two-point formula was used.
    """
    t, m = np.asarray(days, dtype=np.float64), np.asarray(mass, dtype=np.float64)
    s = np.hypot(np.asarray(sd, dtype=np.float64), params.scatter * np.abs(m))
    s = np.maximum(s, 1e-9 * max(float(np.abs(m).max(initial=0.0)), 1e-9))
    t, m, s = _one_a_moment(t, m, s, params.moment_days)
    if len(t) < 2 or m[0] <= 2 * s[0]:
        return None, Quality.FEW_TIMEPOINTS if len(t) < 2 else Quality.NONE
    course = _Course(t - t[0], m, s, params.clear)
    result = _two_point(course) if len(t) == 2 else _fitted(course, params)
    curve_days, curve = _draw(result, course, params)
    quality = Quality.FEW_TIMEPOINTS if len(t) == 2 else Quality.NONE
    if not np.isfinite(result.interval[1]):
        quality |= Quality.HALF_LIFE_UNBOUNDED
    shifted = tuple((curve_days + t[0]).tolist())
    kinetics = Kinetics(result.model, result.half_life, result.interval, shifted, tuple(curve.tolist()))
    return kinetics, quality


def _one_a_moment(
    days: FloatArray, mass: FloatArray, sd: FloatArray, gap_days: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return times, amounts and errors with one entry a moment: what lies within `gap_days` is averaged."""
    if len(days) == 0:
        return days, mass, sd
    starts = [0]
    for k in range(1, len(days)):
        if days[k] - days[starts[-1]] >= gap_days:
            starts.append(k)
    counts = np.diff([*starts, len(days)])
    mean = np.add.reduceat(mass, starts) / counts
    return days[starts], mean, np.sqrt(np.add.reduceat(sd**2, starts)) / counts


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    model: KineticsModel
    half_life: float
    interval: tuple[float, float]
    shape: FloatArray  # log amplitude(s) and rate(s), as `_predict` takes them
    joined: bool = False  # whether the amounts themselves are the curve


def _two_point(course: _Course) -> _Fit:
    interval = _profile(course, lambda rate: _best_amplitude(course, rate)[1])
    first, second = course.mass.tolist()
    if second > 0:
        half_life = two_point_half_life(first, second, float(course.days[1]))
        rate = float(np.log(first / second) / course.days[1])  # negative where the mass grew
    else:
        rate = _mono(course)[1]
        half_life = float(np.log(2) / rate) if rate > 0 else float("inf")
    interval = (min(interval[0], half_life), max(interval[1], half_life))
    return _Fit(KineticsModel.TWO_POINT, half_life, interval, np.array([np.log(course.mass[0]), rate]))


def _fitted(course: _Course, params: KineticsParams) -> _Fit:
    log_amplitude, rate, misfit = _mono(course)
    count = len(course.days)
    # Scatter beyond the errors given widens the interval (never narrows it).
    inflation = max(1.0, misfit / max(count - 2, 1))
    interval = _profile(course, lambda r: _best_amplitude(course, r)[1], inflation)
    half_life = float(np.log(2) / rate) if rate > 0 else float("inf")
    mono = _Fit(KineticsModel.MONO, half_life, interval, np.array([log_amplitude, rate]))
    if count < params.least_bi_dates:
        unlikely = misfit > scipy.stats.chi2.ppf(1 - params.fits, count - 2)
        return (_between(course, mono.shape, params) if unlikely else None) or mono
    shape, bi_misfit = _bi(course)
    if _aicc(bi_misfit, 4, count) >= _aicc(misfit, 2, count):
        return mono
    return _describe_bi(course, shape, bi_misfit)


def _between(course: _Course, shape: FloatArray, params: KineticsParams) -> _Fit | None:
    """Return the half-life by the two dates between which half was passed, None when it was not or nothing is left.

    The interval is that of the amounts drawn anew within their errors.
    """
    half_life = _passed(course.days, course.mass)
    if half_life is None:
        return None
    rng = np.random.default_rng(len(course.days))
    drawn = course.mass + rng.normal(0, course.sd, (params.draws, len(course.mass)))
    times = [_passed(course.days, masses) for masses in drawn]
    known = np.array([np.inf if time is None else time for time in times])
    low, high = float(np.quantile(known, 0.025)), float(np.quantile(known, 0.975, method="higher"))
    return _Fit(KineticsModel.TWO_POINT, half_life, (min(low, half_life), max(high, half_life)), shape, joined=True)


def _passed(days: FloatArray, mass: FloatArray) -> float | None:
    # Exponential between two dates, so that the formula for two dates is this one of two dates.
    below = np.flatnonzero(mass <= 0.5 * mass[0])
    if len(below) == 0 or mass[0] <= 0 or mass[below[0]] <= 0:
        return None
    k = int(below[0])
    share = np.log(2 * mass[k - 1] / mass[0]) / np.log(mass[k - 1] / mass[k])
    return float(days[k - 1] + share * (days[k] - days[k - 1]))


def _aicc(misfit: float, parameters: int, count: int) -> float:
    spare = count - parameters - 1
    return misfit + 2 * parameters + (2 * parameters * (parameters + 1) / spare if spare > 0 else np.inf)


def _predict(shape: FloatArray, days: FloatArray) -> FloatArray:
    """Return the sum of exponentials; `shape` is (log amplitude, rate) once or twice."""
    pairs = shape.reshape(-1, 2)
    with np.errstate(over="ignore"):
        return np.asarray(sum(np.exp(a - r * days) for a, r in pairs))


def _best_amplitude(course: _Course, rate: float) -> tuple[float, float]:
    """Return the log amplitude that fits best at a rate, and its misfit."""
    guess = float(np.log(course.mass[0]))
    span = 3.0 + abs(rate) * float(course.days[-1])
    found = scipy.optimize.minimize_scalar(
        lambda a: course.misfit(_predict(np.array([a, rate]), course.days)),
        bounds=(guess - span, guess + span),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(found.x), float(found.fun)


def _rates(course: _Course) -> FloatArray:
    # From growing threefold over the follow-up to gone within a tenth of its first interval.
    fastest = np.log(2) / max(0.1 * float(course.days[1]), 1e-6)
    slowest = np.log(2) / (200.0 * float(course.days[-1]))
    falling = np.geomspace(slowest, fastest, 160)
    rising = -np.linspace(np.log(3) / float(course.days[-1]), 0.0, 30)
    return np.concatenate([rising, falling])


def _mono(course: _Course) -> tuple[float, float, float]:
    rates = _rates(course)
    misfits = [_best_amplitude(course, float(r))[1] for r in rates]
    k = int(np.argmin(misfits))
    low, high = rates[max(k - 1, 0)], rates[min(k + 1, len(rates) - 1)]
    found = scipy.optimize.minimize_scalar(
        lambda r: _best_amplitude(course, float(r))[1], bounds=(low, high), method="bounded", options={"xatol": 1e-9}
    )
    amplitude, misfit = _best_amplitude(course, float(found.x))
    return amplitude, float(found.x), misfit


def _profile(course: _Course, misfit_at: Callable[[float], float], inflation: float = 1.0) -> tuple[float, float]:
    """Return the half-lives whose profile misfit lies within the 95 % bound of the least."""
    # The best rate is one of them: where amounts are sure, the interval lies between two rates of the grid.
    rates = np.union1d(_rates(course), _mono(course)[1])
    misfits = np.array([misfit_at(float(r)) for r in rates])
    bound = float(misfits.min()) + float(scipy.special.chdtri(1, 0.05)) * inflation
    inside = np.flatnonzero(misfits <= bound)
    slow = _crossing(misfit_at, rates, int(inside[0]), -1, bound)
    fast = _crossing(misfit_at, rates, int(inside[-1]), 1, bound)
    upper = float(np.log(2) / slow) if slow > 0 else float("inf")
    lower = float(np.log(2) / fast) if fast > 0 else float("inf")
    return lower, upper


def _crossing(misfit_at: Callable[[float], float], rates: FloatArray, k: int, side: int, bound: float) -> float:
    """Return the rate at which the profile crosses the bound beside index `k`."""
    beyond = k + side
    if not 0 <= beyond < len(rates):
        # Never crosses: growing masses fit as well (slow side), or vanishing at once does (fast side).
        return 0.0 if side < 0 else float(rates[-1])
    return float(scipy.optimize.brentq(lambda r: misfit_at(float(r)) - bound, rates[k], rates[beyond], xtol=1e-12))


def _bi(course: _Course) -> tuple[FloatArray, float]:
    amplitude, rate, _ = _mono(course)
    rate = max(rate, 1e-6)
    best: tuple[FloatArray, float] = (np.array([amplitude, rate, amplitude - 30, rate]), np.inf)

    def unpack(p: FloatArray) -> FloatArray:
        slow = np.exp(np.clip(p[1], -30, 10))
        return np.array([p[0], slow, p[2], slow + np.exp(np.clip(p[3], -30, 10))])

    for share in (0.2, 0.5, 0.8):
        for ratio in (3.0, 10.0, 40.0):
            start = [amplitude + np.log(1 - share), np.log(rate * 0.6), amplitude + np.log(share), np.log(rate * ratio)]
            found = scipy.optimize.minimize(
                lambda p: course.misfit(_predict(unpack(p), course.days)),
                start,
                method="Nelder-Mead",
                options={"maxiter": 2000, "xatol": 1e-5, "fatol": 1e-6},
            )
            if found.fun < best[1]:
                best = (unpack(found.x), float(found.fun))
    return best


def _describe_bi(course: _Course, shape: FloatArray, misfit: float) -> _Fit:
    # The half-life of a sum of two is the time at which half of the first amount is left; its
    # interval is a parametric bootstrap of the slow and fast parts by their curvature.
    half_life = _time_to_half(shape)
    inflation = max(1.0, misfit / max(len(course.days) - 4, 1))
    draws = _bi_draws(course, shape, inflation)
    times = np.array([_time_to_half(d) for d in draws])
    low, high = float(np.quantile(times, 0.025)), float(np.quantile(times, 0.975, method="higher"))
    return _Fit(KineticsModel.BI, half_life, (min(low, half_life), max(high, half_life)), shape)


def _bi_draws(course: _Course, shape: FloatArray, inflation: float) -> list[FloatArray]:
    rng = np.random.default_rng(len(course.days))
    truth = _predict(shape, course.days)
    relative = course.sd / np.maximum(truth, 1e-12)
    draws = []
    for _ in range(100):
        noisy = truth * np.exp(np.clip(rng.normal(0, relative * np.sqrt(inflation)), -3, 3))
        again = _Course(course.days, noisy, course.sd, course.clear)
        start = np.array([shape[0], np.log(max(shape[1], 1e-9)), shape[2], np.log(max(shape[3], 1e-9))])

        def cost(p: FloatArray, of: _Course = again) -> float:
            return of.misfit(_predict(np.array([p[0], np.exp(p[1]), p[2], np.exp(p[3])]), of.days))

        p = scipy.optimize.minimize(cost, start, method="Nelder-Mead", options={"maxiter": 400}).x
        draws.append(np.array([p[0], np.exp(p[1]), p[2], np.exp(p[3])]))
    return draws


def _time_to_half(shape: FloatArray) -> float:
    whole = float(_predict(shape, np.zeros(1))[0])
    slowest = float(shape.reshape(-1, 2)[:, 1].min())
    if slowest <= 0:
        return float("inf")
    end = 60.0 / slowest
    return float(scipy.optimize.brentq(lambda t: float(_predict(shape, np.array([t]))[0]) - whole / 2, 0.0, end))


def _draw(fit: _Fit, course: _Course, params: KineticsParams) -> tuple[FloatArray, FloatArray]:
    """Return the fitted course over the dates seen (never beyond), as retention against the first mass."""
    days = np.linspace(0.0, float(course.days[-1]), params.curve_points)
    if fit.joined:
        logs = np.log(np.maximum(course.mass, 1e-9 * course.mass[0]))
        return days, np.exp(np.interp(days, course.days, logs)) / course.mass[0]
    return days, _predict(fit.shape, days) / course.mass[0]
