"""Between measuring and judging: a reader's word takes the place of what was measured of a lesion on a date.

An outline that was drawn on that very date is the same reader's word, and in numbers: it is not overruled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from angio_pipeline.core.readings import Reading, Statement, UnusedReading
from angio_pipeline.core.response import Extent, LesionAtDate, LesionHistory, OilConvention, OutlineOrigin, ResponseDate

__all__ = ["apply_readings", "told_in_vain", "worse_in_vain"]

_NOTHING = Extent(0.0, 0.0, 0.0, 0.0, 0.0)
_OF_SIZE = (Statement.GONE, Statement.TOO_SMALL, Statement.NOT_EVALUABLE)
_AFTER_TREATMENT = (Statement.GONE, Statement.WORSE, Statement.NEW)
# The name of a new lesion goes into every result: it is a name and no sentence about the patient.
_NAME = re.compile(r"[A-Za-z]{1,4}[-_]?\d{1,3}")


def apply_readings(
    lesions: Sequence[LesionHistory], readings: Sequence[Reading]
) -> tuple[tuple[LesionHistory, ...], tuple[UnusedReading, ...]]:
    """Return the lesions as a reader has them, and the statements that fit nothing.

    Parameters
    ----------
    lesions : sequence of LesionHistory
        At least one, all at the same dates.
    """
    told = {lesion.id: lesion for lesion in lesions}
    dates, unused = lesions[0].dates, []
    # New lesions come first, so that what else is said of them finds them.
    for reading in sorted(readings, key=lambda one: one.statement is not Statement.NEW):
        k = max((k for k, at in enumerate(dates) if at.date == reading.date), default=None)
        lesion = told.get(reading.lesion_id)
        wrong = _contradiction(reading, readings) or _misfit(reading, lesion, k, dates, told)
        if wrong or k is None:
            unused.append(UnusedReading(reading, wrong))
            continue
        known = lesion or LesionHistory(reading.lesion_id, tuple(_undrawn(at) for at in dates), new_on=dates[k].days)
        told[reading.lesion_id] = _told(known, k, reading.statement)
    return tuple(told.values()), tuple(unused)


def worse_in_vain(
    readings: Sequence[Reading], dates: Sequence[ResponseDate], unused: Sequence[UnusedReading]
) -> tuple[UnusedReading, ...]:
    """Return the statements of worsening that no criterion counts: those of targets and of new lesions."""
    others = {name for date in dates for call in date.calls for name in call.non_targets}
    known = [one.reading for one in unused]
    sentence = (
        "Expected worse of a lesion that is no target, found one that is a target, or new, by every criterion; its "
        "size counts instead, so draw it on that date."
    )
    return tuple(
        UnusedReading(one, sentence)
        for one in readings
        if dates and one.statement is Statement.WORSE and one.lesion_id not in others and one not in known
    )


def told_in_vain(
    readings: Sequence[Reading], reason: str, unused: Sequence[UnusedReading]
) -> tuple[UnusedReading, ...]:
    """Return what else a reader said of a patient who is judged on no date; `reason` says why not."""
    known = [one.reading for one in unused]
    sentence = (
        f"Expected a patient whose response can be judged, found {reason}; give scans before and after treatment on "
        "which a lesion can be measured."
    )
    return tuple(UnusedReading(one, sentence) for one in readings if one not in known)


def _contradiction(reading: Reading, readings: Sequence[Reading]) -> str:
    said = {one.statement for one in readings if (one.lesion_id, one.date) == (reading.lesion_id, reading.date)}
    if len(said) == 1:
        return ""
    return f"Expected one statement a lesion and date, found {_listed(sorted(said))}; none of them counts, so keep one."


def _misfit(
    reading: Reading,
    lesion: LesionHistory | None,
    k: int | None,
    dates: Sequence[LesionAtDate],
    told: Mapping[str, LesionHistory],
) -> str:
    """Return what of a statement fits nothing; empty where it fits."""
    said = reading.statement
    if k is None:
        days = _listed(list(dict.fromkeys(at.date for at in dates)))
        return f"Expected the date of a scan of this patient ({days}), found another; correct it."
    if dates[k].days < 0 and said in _AFTER_TREATMENT:
        return f"Expected {said} on a date after treatment, found it on one before; correct the date."
    if said is Statement.NEW:
        if lesion is None and not _NAME.fullmatch(reading.lesion_id):
            return "Expected letters and a number as the name of a new lesion, such as N1, found another; rename it."
        if lesion is not None and lesion.new_on is None:
            return "Expected a lesion that was not there before, found one that was drawn from the start; rename it."
    elif lesion is None:
        return f"Expected a lesion that was drawn on a CT or is called new ({_listed(list(told))}), found another name."
    elif said in _OF_SIZE and lesion.dates[k].outline is OutlineOrigin.DRAWN:
        return f"Expected no outline of a lesion that is {said}, found one drawn on that date, which counts; drop one."
    return ""


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words)


def _undrawn(at: LesionAtDate) -> LesionAtDate:
    reason = "nobody drew it"
    return LesionAtDate(at.date, at.days, None, missing=reason, viable_missing=reason)


def _told(lesion: LesionHistory, k: int, said: Statement) -> LesionHistory:
    at = lesion.dates[k]
    dates = (*lesion.dates[:k], _at_date(at, said), *lesion.dates[k + 1 :])
    if said is Statement.WORSE:
        return replace(lesion, dates=dates, worse=(*lesion.worse, at.days))
    if said is Statement.NEW and lesion.new_on is not None:
        return replace(lesion, dates=dates, new_on=min(lesion.new_on, at.days))
    return replace(lesion, dates=dates)


def _at_date(at: LesionAtDate, said: Statement) -> LesionAtDate:
    if said not in _OF_SIZE:
        return replace(at, reading=said)
    bare = LesionAtDate(at.date, at.days, None, reading=said)
    if said is Statement.GONE:
        return replace(bare, whole=_NOTHING, viable=dict.fromkeys(OilConvention, _NOTHING), holds_oil=False, pieces=0)
    reason = f"a reader calls it {said}{' to measure' if said is Statement.TOO_SMALL else ''}"
    return replace(bare, too_small=said is Statement.TOO_SMALL, missing=reason, viable_missing=reason)
