"""The worklist: which cases there are, filtered and sorted, a page at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from angio_pipeline.outputs.folders import EMBOLISATION, PROJECTIONS
from angio_pipeline.review.answers import CaseKind, Facets, ReviewState, SubjectAnswer, WorklistAnswer
from angio_pipeline.review.asking import PROBLEMS, Reader, ReviewOf
from angio_pipeline.review.index import CaseEntry
from angio_pipeline.review.results import read_plain

__all__ = ["router"]

router = APIRouter(prefix="/api", tags=["worklist"], responses=PROBLEMS)

Summary = dict[str, tuple[ReviewState, int]]


class SortBy(StrEnum):
    """What the worklist is sorted by; cases that are equal in it stand by patient and date."""

    SUBJECT = "subject"
    DATE = "date"
    STATE = "state"
    FINDINGS = "findings"
    FLAGS = "flags"
    EDITS = "edits"


def _key(by: SortBy, summary: Summary) -> Callable[[CaseEntry], tuple[Any, ...]]:
    order, new = list(ReviewState), (ReviewState.NEW, 0)
    values: dict[SortBy, Callable[[CaseEntry], Any]] = {
        SortBy.SUBJECT: lambda one: one.subject,
        SortBy.DATE: lambda one: one.date,
        SortBy.STATE: lambda one: order.index(summary.get(one.id, new)[0]),
        SortBy.FINDINGS: lambda one: one.findings,
        SortBy.FLAGS: lambda one: len(one.flags),
        SortBy.EDITS: lambda one: summary.get(one.id, new)[1],
    }
    value = values[by]
    return lambda one: (value(one), one.subject, one.date, one.label, one.id)


@router.get("/worklist")
def worklist(
    session: Reader,
    review: ReviewOf,
    q: Annotated[str, Query(max_length=100, description="Part of the pseudonym or of the series.")] = "",
    kind: CaseKind | None = None,
    state: ReviewState | None = None,
    flag: Annotated[str, Query(max_length=100, description="A quality flag, as `MOTION_LARGE`.")] = "",
    first_date: Annotated[str, Query(pattern=r"^([0-9]{8})?$")] = "",
    last_date: Annotated[str, Query(pattern=r"^([0-9]{8})?$")] = "",
    analysed: bool | None = None,
    sort: SortBy = SortBy.SUBJECT,
    descending: bool = False,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> WorklistAnswer:
    """Return one page of the cases that fit; state and edits are this reader's own."""
    summary, words = review.readings.summary(session.reader), q.casefold()

    def fits(one: CaseEntry) -> bool:
        return (
            (not words or words in one.subject.casefold() or words in one.label.casefold())
            and kind in (None, one.kind)
            and (state is None or summary.get(one.id, (ReviewState.NEW, 0))[0] is state)
            and (not flag or flag in one.flags)
            and (not first_date or (one.date >= first_date and one.date != "undated"))
            and (not last_date or one.date <= last_date)
            and analysed in (None, one.analysed)
        )

    found = sorted(filter(fits, review.index.entries()), key=_key(sort, summary), reverse=descending)
    return WorklistAnswer(
        total=len(found),
        offset=offset,
        cases=[review.row(one, summary) for one in found[offset : offset + limit]],
        indexing=not review.index.complete,
        index_age_s=review.index.age_s,
    )


@router.get("/worklist/facets")
def facets(session: Reader, review: ReviewOf) -> Facets:
    """Return what the worklist can be filtered by."""
    entries, summary = review.index.entries(), review.readings.summary(session.reader)
    dates = sorted({one.date for one in entries if one.date != "undated"})
    states = Counter(summary.get(one.id, (ReviewState.NEW, 0))[0].value for one in entries)
    flags = Counter(flag for one in entries for flag in one.flags)
    return Facets(
        subjects=len({one.subject for one in entries}),
        kinds=dict(Counter(one.kind for one in entries)),
        states=dict(states),
        flags=dict(flags.most_common()),
        first_date=dates[0] if dates else None,
        last_date=dates[-1] if dates else None,
    )


@router.get("/subjects/{subject}")
def subject(
    subject: Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")], session: Reader, review: ReviewOf
) -> SubjectAnswer:
    """Return one patient's cases, oldest first, and the documents over several of them."""
    entries, summary = review.index.of_subject(subject), review.readings.summary(session.reader)
    folder = review.settings.out / "/".join(entries[0].folder.split("/")[:2])
    return SubjectAnswer(
        subject=subject,
        cases=[review.row(one, summary) for one in entries],
        embolisation=read_plain(folder / EMBOLISATION / "embolisation.json"),
        projections=read_plain(folder / PROJECTIONS / "projections.json"),
        response=read_plain(folder / "response.json"),
    )
