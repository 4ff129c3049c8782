"""Calls of response criteria against the truth.

A call that was not made, as where a phase is missing, is not wrong: agreement is over those that were made. Beside it
stand how many were not, and the agreement in which those count as wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

from angio_pipeline.evaluate.documents import CasePair

__all__ = ["ResponseScores", "score_response"]


@dataclass(frozen=True, slots=True)
class ResponseScores:
    """One patient: for each criterion whether the calls agreed, and how many were not made."""

    agreed: dict[str, tuple[bool, ...]]
    unanswered: int
    truths: int


def score_response(case: CasePair) -> ResponseScores:
    """Return the response scores of one patient; dates and criteria meet by name."""
    if case.response is None:
        return ResponseScores({}, 0, 0)
    told = {
        (point.date, criterion): call
        for patient in case.patients
        if patient.response is not None
        for point in patient.response.timepoints
        for criterion, call in point.calls.items()
    }
    agreed: dict[str, tuple[bool, ...]] = {}
    unanswered = truths = 0
    for point in case.response.timepoints:
        for criterion, call in point.calls.items():
            if call is None:
                continue
            truths += 1
            answer = None if point.date is None else told.get((point.date, criterion))
            if answer is None:
                unanswered += 1
            else:
                agreed[criterion] = (*agreed.get(criterion, ()), answer == call)
    return ResponseScores(agreed, unanswered, truths)
