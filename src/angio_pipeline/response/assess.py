"""Fourth step: all criteria, conventions and dates of one patient from the lesions as they were measured.

Where a number is missing that a criterion needs, its call is NE and the sentence says what is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from angio_pipeline.core.readings import Statement
from angio_pipeline.core.response import (
    BestResponse,
    Call,
    Criterion,
    CriterionCall,
    Extent,
    LesionAtDate,
    LesionHistory,
    OilConvention,
    ResponseDate,
)
from angio_pipeline.response.criteria import RULES, Measure, Rule, Sums, Verdict, judge_targets
from angio_pipeline.response.overall import BestParams, join, tell_best
from angio_pipeline.response.targets import Candidate, TargetParams, choose_targets

__all__ = ["baseline_of", "judge_dates", "tell_best_of"]

_QUANTITY = {Measure.DIAMETER: "longest_mm", Measure.PRODUCT: "product_mm2", Measure.VOLUME: "volume_ml"}


@dataclass(frozen=True, slots=True)
class _Case:
    """One criterion under one convention, for one patient."""

    rule: Rule
    convention: OilConvention | None
    targets: tuple[LesionHistory, ...]
    others: tuple[LesionHistory, ...]
    new: tuple[LesionHistory, ...]
    baseline: int
    params: TargetParams
    missing: str = ""

    @property
    def name(self) -> str:
        """The criterion, and the convention where one matters."""
        return self.rule.criterion.value + (f"/{self.convention.value}" if self.convention else "")


def baseline_of(lesions: Sequence[LesionHistory]) -> int | None:
    """Return the position of the last date before treatment at which a lesion was measured, None without one.

    Raises
    ------
    ValueError
        When lesions do not share their dates, or the dates do not increase.
    """
    days = [[at.days for at in lesion.dates] for lesion in lesions]
    if any(own != days[0] for own in days) or any(list(own) != sorted(own) for own in days):
        raise ValueError("Expected every lesion at the same dates in order of time, found others; fill in the missing.")
    before = [k for k in range(len(days[0]) if days else 0) if days[0][k] < 0]
    measured = [k for k in before if any(lesion.dates[k].whole is not None for lesion in lesions)]
    return measured[-1] if measured else None


def judge_dates(lesions: Sequence[LesionHistory], *, params: TargetParams) -> tuple[ResponseDate, ...]:
    """Return the calls of every date after treatment; none when nothing was measured before treatment.

    Raises
    ------
    ValueError
        As `baseline_of`.
    """
    baseline = baseline_of(lesions)
    if baseline is None:
        return ()
    cases = [
        _case(rule, convention, lesions, baseline, params)
        for rule in RULES.values()
        for convention in (OilConvention if rule.viable else (None,))
    ]
    dates = lesions[0].dates
    return tuple(
        ResponseDate(dates[k].date, dates[k].days, tuple(_call(case, k) for case in cases))
        for k in range(baseline + 1, len(dates))
        if dates[k].days >= 0
    )


def tell_best_of(
    dates: Sequence[ResponseDate], baseline_days: float, *, params: BestParams
) -> tuple[BestResponse, ...]:
    """Return the best overall response by every criterion and convention."""
    out = []
    for k, first in enumerate(dates[0].calls if dates else ()):
        rule = RULES[first.criterion]
        said = [date.calls[k].call for date in dates]
        best = tell_best([date.days for date in dates], _plain(rule, said), baseline_days, params=params)
        call = _named(rule, best.call)
        at = None if best.at is None else dates[best.at].days
        words = " ".join(f"{value.value} on day {date.days:.0f}," for value, date in zip(said, dates, strict=True))
        out.append(BestResponse(first.name, call, best.rule, words.rstrip(","), at, best.confirmed))
    return tuple(out)


def _plain(rule: Rule, calls: Sequence[Call]) -> list[Call]:
    names = {rule.complete: Call.CR, rule.partial: Call.PR, rule.stable: Call.SD, rule.progressive: Call.PD}
    return [names.get(call, call) for call in calls]


def _named(rule: Rule, call: Call) -> Call:
    names = {Call.CR: rule.complete, Call.PR: rule.partial, Call.SD: rule.stable, Call.PD: rule.progressive}
    return names.get(call) or call


# --- who is a target ------------------------------------------------------------------------------


def _case(
    rule: Rule,
    convention: OilConvention | None,
    lesions: Sequence[LesionHistory],
    baseline: int,
    params: TargetParams,
) -> _Case:
    known = [lesion for lesion in lesions if lesion.new_on is None]
    candidates = [one for lesion in known if (one := _candidate(rule, lesion, baseline)) is not None]
    ids = choose_targets(candidates, params=params)
    targets = tuple(lesion for name in ids for lesion in known if lesion.id == name)
    others = tuple(lesion for lesion in known if lesion.id not in ids)
    new = tuple(lesion for lesion in lesions if lesion.new_on is not None)
    missing = "" if targets else _why_no_target(rule, known, baseline)
    return _Case(rule, convention, targets, others, new, baseline, params, missing)


def _candidate(rule: Rule, lesion: LesionHistory, baseline: int) -> Candidate | None:
    at = lesion.dates[baseline]
    # Before treatment there is no oil: what enhances is the same under every convention.
    extent = next(iter(at.viable.values()), None) if rule.targets_by_viable else at.whole
    if extent is None:
        return None
    size = extent.across_mm if lesion.node else extent.longest_mm
    return Candidate(lesion.id, size, lesion.organ, lesion.node, lesion.measurable, lesion.slice_mm)


def _why_no_target(rule: Rule, lesions: Sequence[LesionHistory], baseline: int) -> str:
    at = [lesion.dates[baseline] for lesion in lesions]
    if rule.targets_by_viable:
        reasons = [one.viable_missing for one in at if not one.viable and one.viable_missing]
        return reasons[0] if reasons else "no lesion is large enough or enhances enough before treatment"
    reasons = [one.missing for one in at if one.whole is None and one.missing]
    return reasons[0] if reasons else "no lesion is large enough before treatment"


# --- one call -------------------------------------------------------------------------------------


def _call(case: _Case, k: int) -> CriterionCall:
    made = _judged(case, k)
    return replace(made, sentence=made.sentence + _by_reader(case, made.new_lesions, k))


def _by_reader(case: _Case, new: Sequence[str], k: int) -> str:
    """Return what a reader said up to a date of the lesions that count here: an earlier word may be the nadir's."""
    others = case.others if case.rule.joined else ()
    counted = [(lesion, lesion not in others) for lesion in (*case.targets, *others)]
    counted += [(lesion, False) for lesion in case.new if lesion.id in new]
    words = [
        f"{lesion.id} {at.reading} on {at.date}"
        for lesion, target in counted
        for at in lesion.dates[: k + 1]
        if at.reading is not None and not (target and at.reading is Statement.WORSE)
    ]
    return f" By a reader: {', '.join(words)}." if words else ""


def _judged(case: _Case, k: int) -> CriterionCall:
    rule = case.rule
    new = tuple(lesion.id for lesion in case.new if _is_new(case, lesion, k)) if rule.joined else ()
    others = _others(case, k) if rule.joined else None
    if not case.targets:
        return _without_targets(case, new, others)
    now = _sums(case, k)
    verdict = judge_targets(rule, now)
    call, row = (verdict.call, None) if not rule.joined else join(verdict.call, others, bool(new))
    return CriterionCall(
        name=case.name,
        criterion=rule.criterion,
        convention=case.convention,
        call=call,
        rule=verdict.rule,
        sentence=_sentence(verdict, call, others, new),
        table_row=row,
        target_call=verdict.call,
        non_target_call=others,
        new_lesions=new,
        targets=tuple(lesion.id for lesion in case.targets),
        non_targets=tuple(lesion.id for lesion in case.others) if rule.joined else (),
        unit=rule.measure.value,
        value=now.value,
        baseline=now.baseline,
        nadir=now.nadir,
        density_valid=now.density_valid if rule.density_fall is not None else None,
        density_change=now.density_change,
        effect=now.effect,
    )


def _without_targets(case: _Case, new: tuple[str, ...], others: Call | None) -> CriterionCall:
    name = f"{case.rule.criterion.value}/no-target"
    words = f"Not evaluable: {case.missing}."
    unknown = CriterionCall(case.name, case.rule.criterion, case.convention, Call.NE, name, words)
    if not case.rule.joined or others is None:
        return unknown
    call, row = join(None, others, bool(new))
    words = f"No target ({case.missing}); other lesions {others.value}, new lesions {', '.join(new) or 'none'}."
    return replace(
        unknown,
        call=call,
        sentence=words,
        table_row=row,
        non_target_call=others,
        new_lesions=new,
        non_targets=tuple(lesion.id for lesion in case.others),
        unit=case.rule.measure.value,
    )


def _sentence(verdict: Verdict, call: Call, others: Call | None, new: tuple[str, ...]) -> str:
    words = f"Targets {verdict.call.value}: {verdict.because}"
    if others is not None:
        words += f"; other lesions {others.value}"
    if new:
        words += f"; new: {', '.join(new)}"
    return f"{words}; together {call.value}." if others is not None or new else f"{words}."


def _is_new(case: _Case, lesion: LesionHistory, k: int) -> bool:
    at = lesion.dates[k]
    if lesion.new_on is None or lesion.new_on > at.days:
        return False
    if case.rule.criterion is Criterion.MRECIST:
        # Only a nodule of some size is one: smaller ones wait until they have grown.
        seen = [one.whole.longest_mm for one in lesion.dates[: k + 1] if one.whole is not None]
        return max(seen, default=0.0) >= case.params.new_viable_mm - 1e-9
    return at.whole is None or not at.whole.gone


def _others(case: _Case, k: int) -> Call | None:
    """Return what lesions that are no targets say together, None without any."""
    if not case.others:
        return None
    day = case.others[0].dates[k].days
    if any(worse <= day for lesion in case.others for worse in lesion.worse):
        return Call.PD
    gone = [_gone(case, lesion, k) for lesion in case.others]
    if any(one is False for one in gone):
        return Call.NON_CR_NON_PD if None not in gone else Call.NE
    return Call.NE if None in gone else Call.CR


def _gone(case: _Case, lesion: LesionHistory, k: int) -> bool | None:
    """Return whether a lesion is gone, or a node normal; None when it was not evaluated."""
    at = lesion.dates[k]
    if at.merged_into is not None:
        return False
    if at.too_small:
        # A node that is too small to measure is a normal one; another lesion is there still.
        return lesion.node and case.rule.measure is Measure.DIAMETER
    extent = _extent(case, at)
    if case.rule.viable and not _enhanced_before(lesion, case.baseline):
        # What never enhanced cannot stop enhancing: it is gone when it is no longer there.
        extent = at.whole
    if extent is None:
        return None
    if lesion.node and case.rule.measure is Measure.DIAMETER:
        return extent.across_mm < case.params.normal_node_mm - 1e-9
    return extent.gone


def _enhanced_before(lesion: LesionHistory, baseline: int) -> bool:
    return any(not extent.gone for extent in lesion.dates[baseline].viable.values())


# --- sums over the targets ------------------------------------------------------------------------


def _extent(case: _Case, at: LesionAtDate) -> Extent | None:
    if case.convention is not None and case.rule.targets_by_viable:
        return at.viable.get(case.convention)
    return at.whole


def _size(case: _Case, lesion: LesionHistory, k: int) -> float | None:
    at = lesion.dates[k]
    if at.merged_into is not None:
        # Lesions that have grown together are one, and counted once (RECIST 1.1, appendix II).
        return 0.0 if any(other.id == at.merged_into for other in case.targets) else None
    extent = _extent(case, at)
    if k == case.baseline and extent is None and case.rule.targets_by_viable:
        extent = next(iter(at.viable.values()), None)
    if at.too_small and case.rule.measure is Measure.DIAMETER:
        return case.params.too_small_mm
    if extent is None:
        return None
    if lesion.node and case.rule.measure is Measure.DIAMETER:
        return extent.across_mm
    return float(getattr(extent, _QUANTITY[case.rule.measure]))


def _sums(case: _Case, k: int) -> Sums:
    rule = case.rule
    totals = [_total(case, i) for i in range(k + 1)]
    baseline = totals[case.baseline]
    assert baseline is not None
    earlier = [total for total in totals[case.baseline : k] if total is not None]
    sizes = [_size(case, lesion, k) for lesion in case.targets]
    valid, density = _density(case, k) if rule.density_fall is not None else (True, None)
    return Sums(
        value=totals[k],
        least_value=sum(size for size in sizes if size is not None),
        baseline=baseline,
        nadir=min(earlier),
        gone=all(_gone(case, lesion, k) or lesion.dates[k].merged_into is not None for lesion in case.targets)
        and any(lesion.dates[k].merged_into is None for lesion in case.targets),
        density_valid=valid,
        density_change=density,
        effect=_effect(case, k) if rule.effect is not None else None,
        new_enhancement=rule.new_enhancement and _enhances_anew(case, k),
        missing=_missing(case, k),
    )


def _total(case: _Case, k: int) -> float | None:
    sizes = [_size(case, lesion, k) for lesion in case.targets]
    return None if any(size is None for size in sizes) else float(sum(size for size in sizes if size is not None))


def _missing(case: _Case, k: int) -> str:
    lacking = [lesion for lesion in case.targets if _size(case, lesion, k) is None]
    if not lacking:
        first = case.targets[0].dates[k]
        return first.viable_missing if case.rule.viable else ""
    at = lacking[0].dates[k]
    reason = at.missing if at.whole is None else at.viable_missing
    return f"{', '.join(lesion.id for lesion in lacking)}: {reason or 'not evaluated at this date'}"


def _density(case: _Case, k: int) -> tuple[bool, float | None]:
    """Return whether attenuation means anything, and its relative change from baseline, weighted by volume.

    Oil makes a lesion dense whatever lives in it: with it in any target the arm is invalid.
    """
    now = [lesion.dates[k] for lesion in case.targets]
    before = [lesion.dates[case.baseline] for lesion in case.targets]
    if any(at.holds_oil for at in now):
        return False, None
    phases = {at.phase for at in (*now, *before) if at.whole is None or not at.whole.gone}
    if any(at.holds_oil is None for at in now) or len(phases) != 1:
        return True, None
    level, reference = _mean_hu(now), _mean_hu(before)
    if level is None or reference is None or reference <= 0:
        return True, None
    return True, level / reference - 1


def _mean_hu(dates: Sequence[LesionAtDate]) -> float | None:
    there = [at for at in dates if at.whole is not None and not at.whole.gone]
    values = [at.mean_hu for at in there]
    if not there or any(value is None for value in values):
        return None
    weights = [at.whole.volume_ml for at in there if at.whole is not None]
    return float(np.average(np.array(values, dtype=np.float64), weights=weights))


def _effect(case: _Case, k: int) -> float | None:
    whole = [lesion.dates[k].whole for lesion in case.targets]
    viable = [_viable_now(case, lesion.dates[k]) for lesion in case.targets]
    if any(one is None for one in (*whole, *viable)):
        return None
    volume = sum(one.volume_ml for one in whole if one is not None)
    alive = sum(one.volume_ml for one in viable if one is not None)
    return 1.0 if volume <= 0 else min(max(1 - alive / volume, 0.0), 1.0)


def _viable_now(case: _Case, at: LesionAtDate) -> Extent | None:
    if at.whole is not None and at.whole.gone:
        return at.whole
    return None if case.convention is None else at.viable.get(case.convention)


def _enhances_anew(case: _Case, k: int) -> bool:
    treated = [lesion for lesion in (*case.targets, *case.others) if _enhanced_before(lesion, case.baseline)]
    return any(_came_back([_extent(case, at) for at in lesion.dates[case.baseline : k + 1]]) for lesion in treated)


def _came_back(extents: Sequence[Extent | None]) -> bool:
    """Return whether something is there at the last date that was not at the evaluated one before it."""
    earlier = [one for one in extents[:-1] if one is not None]
    return extents[-1] is not None and not extents[-1].gone and bool(earlier) and earlier[-1].gone
