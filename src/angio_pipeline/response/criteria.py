"""Second step: what each criterion says of its targets, as one row of numbers a criterion.

RECIST 1.1 doi:10.1016/j.ejca.2008.10.026; mRECIST doi:10.1055/s-0030-1247132; EASL
doi:10.1016/S0168-8278(01)00130-1; WHO doi:10.1002/1097-0142(19810101)47:1<207::AID-CNCR2820470134>3.0.CO;2-6;
Choi doi:10.1200/JCO.2006.07.3049; RECICL doi:10.1111/hepr.12542; qEASL is EASL by volume with a fall of 65 %.

Progression goes before response. The nadir is the least sum so far, the one before treatment included. A
rise from a nadir of 0 is disease that has come back, whatever its size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from angio_pipeline.core.response import Call, Criterion

__all__ = ["RULES", "Measure", "Rule", "Sums", "Verdict", "judge_targets"]

# Sums are rounded: exactly 30 % is 30 %.
_EXACT = 1e-9


class Measure(StrEnum):
    """What is summed over the targets."""

    DIAMETER = "mm"
    PRODUCT = "mm2"
    VOLUME = "ml"


@dataclass(frozen=True, slots=True)
class Rule:
    """One criterion; shares are relative changes, and None where it has no such clause.

    Attributes
    ----------
    viable : bool
        Whether it looks at what enhances: then the convention of the oil matters.
    targets_by_viable : bool
        Whether a target has to enhance before treatment, and is measured by what does.
    fall : float or None
        Least fall from baseline for a response.
    rise, rise_included, rise_from_nadir, least_rise_mm
        Rise for progression; whether exactly that much suffices; from the nadir or from baseline; and how
        many millimetres it has to be at least.
    density_fall : float or None
        Fall of mean attenuation that is a response by itself, and excuses growth.
    effect : float or None
        Necrotic share of the targets (or shrinkage) that is a response; all of it is a complete one.
    new_enhancement : bool
        Whether a treated lesion that enhances anew is progression.
    joined : bool
        Whether other and new lesions count (RECIST 1.1, tables 1 and 2).
    complete, partial, stable, progressive : Call
        What its answers are called; `complete` is None where it has none.
    """

    criterion: Criterion
    measure: Measure
    viable: bool
    targets_by_viable: bool
    fall: float | None
    rise: float | None
    rise_included: bool = True
    rise_from_nadir: bool = True
    least_rise_mm: float = 0.0
    density_fall: float | None = None
    effect: float | None = None
    new_enhancement: bool = False
    joined: bool = True
    complete: Call | None = Call.CR
    partial: Call = Call.PR
    stable: Call = Call.SD
    progressive: Call = Call.PD


RULES: Mapping[Criterion, Rule] = {
    rule.criterion: rule
    for rule in (
        Rule(Criterion.RECIST, Measure.DIAMETER, False, False, 0.30, 0.20, least_rise_mm=5.0),
        Rule(Criterion.MRECIST, Measure.DIAMETER, True, True, 0.30, 0.20),
        Rule(Criterion.EASL, Measure.PRODUCT, True, True, 0.50, 0.25, rise_included=False, new_enhancement=True),
        Rule(Criterion.WHO, Measure.PRODUCT, False, False, 0.50, 0.25, rise_included=False),
        Rule(Criterion.QEASL, Measure.VOLUME, True, True, 0.65, None, joined=False, complete=None),
        Rule(Criterion.CHOI, Measure.DIAMETER, False, False, 0.10, 0.10, density_fall=0.15),
        Rule(
            Criterion.RECICL, Measure.PRODUCT, True, False, None, 0.25, rise_included=False, rise_from_nadir=False,
            effect=0.50, joined=False,
            complete=Call.TE4, partial=Call.TE3, stable=Call.TE2, progressive=Call.TE1,
        ),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sums:
    """What a criterion has to judge its targets by, at one date.

    Attributes
    ----------
    value : float or None
        Sum now; None when a target cannot be evaluated.
    least_value : float
        What the targets that were evaluated add up to: the sum is at least that.
    gone : bool
        Whether every target is gone (a node: below 10 mm across), which a sum with nodes does not show.
    density_change : float or None
        Relative change of mean attenuation; None where unknown, or invalid when `density_valid` is False.
    effect : float or None
        Necrotic share of the targets by volume.
    new_enhancement : bool
        Whether a treated lesion that did not enhance at the date before does.
    missing : str
        Why `value` (or density, or effect) is None.
    """

    value: float | None
    least_value: float
    baseline: float
    nadir: float
    gone: bool = False
    density_valid: bool = True
    density_change: float | None = None
    effect: float | None = None
    new_enhancement: bool = False
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A call of the targets, the name of the rule that made it, and the numbers in a few words."""

    call: Call
    rule: str
    because: str


def judge_targets(rule: Rule, now: Sums) -> Verdict:
    """Return what a criterion says of its targets; NE where what it needs is not known.

    A target that cannot be evaluated leaves only one thing to be told: progression that the others show
    already (RECIST 1.1, 4.4.2).

    Raises
    ------
    ValueError
        When the sum before treatment is not positive: there is nothing to respond.
    """
    if now.baseline <= 0:
        raise ValueError(f"Expected a positive sum before treatment, found {now.baseline}; choose targets first.")
    if rule.new_enhancement and now.new_enhancement:
        return _verdict(rule, rule.progressive, "new-enhancement", "a treated lesion enhances anew")
    by_density = _by_density(rule, now)
    if by_density is None and _rises(rule, now):
        if not _density_unknown(rule, now):
            return _progression(rule, now)
        return _verdict(rule, Call.NE, "not-evaluable", _needs(now, "attenuation, which may excuse growth"))
    if now.value is None:
        return by_density or _verdict(rule, Call.NE, "not-evaluable", now.missing or "a target was not evaluated")
    return _complete(rule, now) or by_density or _response(rule, now) or _rest(rule, now)


def _verdict(rule: Rule, call: Call, name: str, because: str) -> Verdict:
    return Verdict(call, f"{rule.criterion.value}/{name}", because)


def _needs(now: Sums, what: str) -> str:
    return f"needs {what}: {now.missing}" if now.missing else f"needs {what}"


def _by_density(rule: Rule, now: Sums) -> Verdict | None:
    if rule.density_fall is None or not now.density_valid or now.density_change is None:
        return None
    if now.density_change > -rule.density_fall + _EXACT:
        return None
    return _verdict(rule, rule.partial, "attenuation-fall", f"attenuation {100 * now.density_change:+.0f} %")


def _density_unknown(rule: Rule, now: Sums) -> bool:
    return rule.density_fall is not None and now.density_valid and now.density_change is None


def _rises(rule: Rule, now: Sums) -> bool:
    if rule.rise is None:
        return False
    reference = now.nadir if rule.rise_from_nadir else now.baseline
    if reference <= 0:
        return now.least_value > 0
    share = now.least_value / reference - 1
    enough = share >= rule.rise - _EXACT if rule.rise_included else share > rule.rise + _EXACT
    return enough and now.least_value - reference >= rule.least_rise_mm - _EXACT


def _progression(rule: Rule, now: Sums) -> Verdict:
    unit, at_least = rule.measure.value, "" if now.value is not None else "at least "
    reference, name = (now.nadir, "nadir") if rule.rise_from_nadir else (now.baseline, "baseline")
    if reference <= 0:
        return _verdict(rule, rule.progressive, "came-back", f"{now.least_value:.4g} {unit} after nothing was left")
    change = 100 * (now.least_value / reference - 1)
    words = f"{at_least}{change:+.0f} % from {name} ({reference:.4g} to {now.least_value:.4g} {unit})"
    return _verdict(rule, rule.progressive, f"rise-from-{name}", words)


def _complete(rule: Rule, now: Sums) -> Verdict | None:
    if rule.complete is None:
        return None
    if rule.effect is None:
        return _verdict(rule, rule.complete, "nothing-left", "nothing is left of the targets") if now.gone else None
    if now.gone or (now.effect is not None and now.effect >= 1 - _EXACT):
        return _verdict(rule, rule.complete, "full-effect", "all of the targets is necrotic or gone")
    return None


def _response(rule: Rule, now: Sums) -> Verdict | None:
    assert now.value is not None
    fall = 1 - now.value / now.baseline
    if rule.effect is not None:
        if now.effect is None:
            return None
        effect = max(now.effect, fall)
        enough = effect >= rule.effect - _EXACT
        return _verdict(rule, rule.partial, "effect", f"{100 * effect:.0f} % effect") if enough else None
    if rule.fall is None or fall < rule.fall - _EXACT:
        return None
    words = f"{-100 * fall:+.0f} % from baseline ({now.baseline:.4g} to {now.value:.4g} {rule.measure.value})"
    return _verdict(rule, rule.partial, "fall-from-baseline", words)


def _rest(rule: Rule, now: Sums) -> Verdict:
    assert now.value is not None
    if _density_unknown(rule, now):
        return _verdict(rule, Call.NE, "not-evaluable", _needs(now, "attenuation"))
    if rule.effect is not None and now.effect is None:
        return _verdict(rule, Call.NE, "not-evaluable", _needs(now, "the necrotic share"))
    change = 100 * (now.value / now.baseline - 1)
    words = f"{change:+.0f} % from baseline ({now.baseline:.4g} to {now.value:.4g} {rule.measure.value})"
    return _verdict(rule, rule.stable, "between-limits", words)
