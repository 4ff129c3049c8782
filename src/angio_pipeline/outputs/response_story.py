"""The response in words and tables, from the patient's `response.json` and nothing else."""

from __future__ import annotations

from typing import Any

from angio_pipeline.core.readings import Statement
from angio_pipeline.core.response import Call, Criterion, OilConvention, OutlineOrigin
from angio_pipeline.core.words import counted
from angio_pipeline.outputs.pages import UNKNOWN, day, fixed
from angio_pipeline.outputs.schemas import (
    ExtentDocument,
    LesionHistoryDocument,
    MeasuredLesionDocument,
    ReasonDocument,
    ResponseDocument,
    ResponseTimepointDocument,
)

__all__ = ["response_story"]

_CRITERIA = {
    Criterion.RECIST: "RECIST 1.1",
    Criterion.MRECIST: "mRECIST",
    Criterion.EASL: "EASL",
    Criterion.WHO: "WHO",
    Criterion.QEASL: "qEASL",
    Criterion.CHOI: "Choi",
    Criterion.RECICL: "RECICL",
}
_CONVENTIONS = {
    OilConvention.TISSUE: "through the oil",
    OilConvention.OIL_NECROTIC: "oil counts as necrotic",
    OilConvention.OIL_ENHANCING: "oil counts as enhancing",
}

# How the sentence goes on that begins with "Enhancement by".
_BY = {"above liver": "attenuation above that of the liver"}


def response_story(document: ResponseDocument | None, problem: str | None) -> dict[str, Any]:
    """Return what the report's section shows; the section stays away where there is nothing to tell."""
    if document is None:
        return {"response_told": problem is not None, "response_problem": problem, "response": None}
    return {
        # Without a region of a lesion nothing was asked, so nothing is told.
        "response_told": bool(document.lesions),
        "response_problem": None,
        "response": {
            "reason": document.reason,
            "dates": [f"{day(point.date)}, day {point.days:.0f}" for point in document.timepoints],
            "too_early": _too_early(document),
            "rows": _rows(document),
            "reasons": [_reasons(point) for point in document.timepoints],
            "lesions": [_lesion(lesion) for lesion in document.lesions],
            "references": [one.model_dump(mode="json") for one in document.necrosis],
            "methods": _methods(document),
        },
    }


def _named(criterion: Criterion, convention: OilConvention | None) -> str:
    return _CRITERIA[criterion] + (f", {_CONVENTIONS[convention]}" if convention is not None else "")


def _too_early(document: ResponseDocument) -> str:
    """Which dates tell no response yet, empty where all may; a call of the day after would read as an outcome."""
    early = [f"day {point.days:.0f}" for point in document.timepoints if point.too_early]
    if not early:
        return ""
    least = document.settings.get("assessed_from_days")
    since = f" (here from day {least:.0f})" if isinstance(least, int | float) else ""
    return (
        f"Too early to tell a response: {', '.join(early)}. It is assessed 4 to 8 weeks after treatment{since}; "
        "before, swelling and fresh oil hide what the treatment did."
    )


def _call_word(point: ResponseTimepointDocument, name: str) -> str:
    call = point.calls.get(name)
    return f"{call.value}, too early" if call is not None and point.too_early else _word(call)


def _word(call: Call | None) -> str:
    return UNKNOWN if call is None else call.value


def _rows(document: ResponseDocument) -> list[dict[str, Any]]:
    best = {one.name: one for one in document.best}
    if not document.timepoints:
        return []
    return [
        {
            "name": _named(first.criterion, first.convention),
            "calls": [_call_word(point, first.name) for point in document.timepoints],
            "best": _word(best[first.name].call if first.name in best else None),
        }
        for first in document.timepoints[0].reasons
    ]


def _reasons(point: ResponseTimepointDocument) -> dict[str, Any]:
    lines = [
        (_named(one.criterion, one.convention), _call_word(point, one.name), one.sentence, _rule(one))
        for one in point.reasons
    ]
    return {"date": day(point.date), "lines": lines}


def _rule(one: ReasonDocument) -> str:
    return one.rule if one.table_row is None else f"{one.rule}; {one.table_row}"


def _lesion(lesion: LesionHistoryDocument) -> dict[str, Any]:
    role = {None: "", "main": ", main tumour", "daughter": ", daughter nodule"}[lesion.role and lesion.role.value]
    new = f", new on day {lesion.new_on_days:.0f}" if lesion.new_on_days is not None else ""
    return {"id": lesion.id, "title": f"{lesion.id}{role}{new}", "points": [_point(at) for at in lesion.timepoints]}


def _point(at: MeasuredLesionDocument) -> dict[str, Any]:
    found = at.necrosis
    return {
        "date": day(at.date),
        "days": fixed(at.days, 0),
        "whole": _size(at.whole),
        "in_space": fixed(at.whole.longest_3d_mm if at.whole is not None else None, 1),
        "volume": fixed(at.whole.volume_ml if at.whole is not None else None, 1),
        "viable": " / ".join(_diameter(at.viable.get(one)) for one in OilConvention),
        "enhancing": _pair(found.enhancing_ml, found.non_enhancing_ml) if found is not None else UNKNOWN,
        "covered": fixed(found.covered_ml if found is not None else None, 1),
        "rim": _pair(found.rim_enhancing_ml, found.rim_ml) if found is not None else UNKNOWN,
        "outline": "drawn" if at.outline is OutlineOrigin.DRAWN else "fitted" if at.outline else UNKNOWN,
        "threshold": f"{_BY.get(at.viable_by, at.viable_by)}, {at.threshold_hu:.0f} HU"
        if at.viable_by and at.threshold_hu
        else "",
        "missing": _remark(at),
    }


def _remark(at: MeasuredLesionDocument) -> str:
    missing = at.missing or (f"No viable part: {at.viable_missing}." if at.viable_missing else "")
    return f"A reader says: {at.reading}. {missing}".rstrip() if at.reading else missing


def _size(extent: ExtentDocument | None) -> str:
    return UNKNOWN if extent is None else f"{extent.longest_mm:.1f} × {extent.across_mm:.1f}"


def _diameter(extent: ExtentDocument | None) -> str:
    return UNKNOWN if extent is None else f"{extent.longest_mm:.1f}"


def _pair(first: float | None, second: float | None) -> str:
    return f"{fixed(first, 1)} / {fixed(second, 1)}"


def _since_there(lesion: LesionHistoryDocument) -> list[MeasuredLesionDocument]:
    """Return a lesion's dates without those before it was new: there was nothing to evaluate."""
    new_on = lesion.new_on_days
    return [at for at in lesion.timepoints if new_on is None or at.days >= new_on]


def _methods(document: ResponseDocument) -> list[str]:
    targets, best = document.settings.get("targets", {}), document.settings.get("best", {})
    every = [at for lesion in document.lesions for at in _since_there(lesion)]
    outlines = [at.outline for at in every]
    drawn, fitted = outlines.count(OutlineOrigin.DRAWN), outlines.count(OutlineOrigin.FITTED)
    told = sum(at.reading in (Statement.GONE, Statement.TOO_SMALL) for at in every)
    said = f", {told} were gone or too small by a reader's word" if told else ""
    measured = counted(len(every), "lesion at a date", "lesions at dates")
    sentences = [
        f"Of {measured}, {drawn} were outlined by a reader, {fitted} by fitting such an outline "
        f"to the scan{said}, and {len(every) - drawn - fitted - told} were not evaluable.",
        f"Targets are the largest lesions, {targets.get('most')} at most and {targets.get('per_organ')} an organ, of "
        f"at least {targets.get('least_mm')} mm.",
        "Only a lesion that a reader drew or named can be new: what nobody saw is not counted.",
    ]
    if document.baseline_date is not None:
        sentences.append(f"All is compared with the scan of {day(document.baseline_date)}, before treatment.")
    confirmed = f"seen again after {best.get('confirm_days')} days" if best.get("confirm") else "not confirmed"
    sentences.append(
        f"The best response is {confirmed}; stable disease counts from day {best.get('stable_days')} after that scan."
    )
    return sentences
