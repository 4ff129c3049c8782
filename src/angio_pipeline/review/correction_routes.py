"""What a reader says of a case: edits, undo and redo, state, draft, masks; export; the analysis made anew."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import APIRouter, Body, Path, Response

from angio_pipeline.core.corrections import AddTumour, Note, RedrawTumour
from angio_pipeline.review.answers import (
    AuditAnswer,
    AuditLine,
    CaseKind,
    CorrectionsAnswer,
    JobAnswer,
    MaskAnswer,
    ReadersAnswer,
)
from angio_pipeline.review.asking import (
    PROBLEMS,
    CaseId,
    Changer,
    DraftAsk,
    EditAsk,
    OnRevision,
    Part,
    Reader,
    ReviewOf,
    StateAsk,
)
from angio_pipeline.review.case_routes import PNG
from angio_pipeline.review.export import edits_table, zip_of
from angio_pipeline.review.index import CaseEntry
from angio_pipeline.review.masks import checked_mask
from angio_pipeline.review.problems import ReviewProblem, not_found, unusable
from angio_pipeline.review.readings import masks_of
from angio_pipeline.review.regions import RedrawLesion
from angio_pipeline.review.state import Review

__all__ = ["router"]

router = APIRouter(prefix="/api", tags=["corrections"], responses=PROBLEMS)

EditId = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


def _told(answer: CorrectionsAnswer, response: Response) -> CorrectionsAnswer:
    response.headers["ETag"] = f'"{answer.revision}"'
    return answer


@router.get("/cases/{case}/corrections")
def corrections(case: CaseId, session: Reader, review: ReviewOf, response: Response) -> CorrectionsAnswer:
    """Return what this reader says of a case; the ETag is the revision."""
    return _told(review.readings.of(session.reader, review.index.entry(case).id), response)


@router.post("/cases/{case}/edits", status_code=201)
def add_edit(
    case: CaseId, ask: EditAsk, session: Changer, review: ReviewOf, on: OnRevision, response: Response
) -> CorrectionsAnswer:
    """Add one edit; 409 when the case was edited elsewhere since the revision in If-Match."""
    entry = review.index.entry(case)
    frame = _check_fits(review, entry, ask)
    return _told(review.readings.add(session.reader, entry.id, ask.edit, on, reference_frame=frame), response)


def _check_fits(review: Review, entry: CaseEntry, ask: EditAsk) -> int | None:
    """Return the reference frame that the places of an edit are in, None for a follow-up.

    Raises
    ------
    ReviewProblem
        422, when the edit is not of this kind of case, or its mask has not the size of the run's frames.
    """
    edit = ask.edit
    if not isinstance(edit, Note) and isinstance(edit, RedrawLesion) != (entry.kind == CaseKind.FOLLOW_UP):
        raise unusable("Expected an edit of this kind of case, found one of another kind.")
    if entry.kind == CaseKind.FOLLOW_UP or not entry.analysed:
        return None
    document = review.files.run(review.settings.out / entry.folder)
    if isinstance(edit, (AddTumour, RedrawTumour)) and edit.mask is not None:
        png = review.journal.mask(edit.mask)
        if png is None or checked_mask(png).shape != (document.image.rows, document.image.columns):
            raise unusable("Expected a mask of the run's own size that was sent before, found none; send it first.")
    return document.subtraction.reference_frame


@router.delete("/cases/{case}/edits/{edit}")
def remove_edit(
    case: CaseId, edit: EditId, session: Changer, review: ReviewOf, on: OnRevision, response: Response
) -> CorrectionsAnswer:
    """Take one edit back, wherever it stands; the journal keeps it."""
    return _told(review.readings.remove(session.reader, review.index.entry(case).id, edit, on), response)


@router.post("/cases/{case}/undo")
def undo(case: CaseId, session: Changer, review: ReviewOf, on: OnRevision, response: Response) -> CorrectionsAnswer:
    """Take the last step back."""
    return _told(review.readings.step(session.reader, review.index.entry(case).id, "undo", on), response)


@router.post("/cases/{case}/redo")
def redo(case: CaseId, session: Changer, review: ReviewOf, on: OnRevision, response: Response) -> CorrectionsAnswer:
    """Take the last step that was undone again."""
    return _told(review.readings.step(session.reader, review.index.entry(case).id, "redo", on), response)


@router.put("/cases/{case}/state")
def set_state(
    case: CaseId, ask: StateAsk, session: Changer, review: ReviewOf, on: OnRevision, response: Response
) -> CorrectionsAnswer:
    """Say how far the reader is; any edit makes it `in_progress` again."""
    return _told(review.readings.set_state(session.reader, review.index.entry(case).id, ask.state, on), response)


@router.put("/cases/{case}/draft")
def keep_draft(
    case: CaseId, ask: DraftAsk, session: Changer, review: ReviewOf, response: Response
) -> CorrectionsAnswer:
    """Keep text that is being typed, at most two seconds after the last key; it needs no revision."""
    return _told(review.readings.keep_draft(session.reader, review.index.entry(case).id, ask.text), response)


@router.post("/cases/{case}/drawn-masks", status_code=201)
def send_mask(
    case: CaseId,
    session: Changer,
    review: ReviewOf,
    png: Annotated[bytes, Body(media_type="image/png", description="8 bits, 0 and 255, of the frame's size.")],
) -> MaskAnswer:
    """Send a mask that was painted; the answer names it for `mask` of an edit."""
    review.index.entry(case, CaseKind.RUN)
    mask = checked_mask(png)
    return MaskAnswer(mask=review.journal.keep_mask(png), rows=mask.shape[0], columns=mask.shape[1])


@router.get("/cases/{case}/drawn-masks/{name}", response_class=Response, responses=PNG)
def drawn_mask(case: CaseId, name: Part, session: Reader, review: ReviewOf) -> Response:
    """Return a mask that an edit of this reader holds, as it was sent."""
    entry = review.index.entry(case, CaseKind.RUN)
    held = [edit.model_dump(mode="json") for edit in review.readings.of(session.reader, entry.id).edits]
    png = review.journal.mask(name) if name in masks_of(held) else None
    if png is None:
        raise not_found("this mask")
    return Response(png, media_type="image/png")


@router.get("/cases/{case}/readers")
def readers(case: CaseId, session: Reader, review: ReviewOf) -> ReadersAnswer:
    """Return what every reader says of a case; refused while readers are blinded."""
    entry = review.index.entry(case)
    if not review.settings.unblinded:
        raise ReviewProblem(403, "blinded", "Expected readers who may see each other, found them blinded by the owner.")
    return ReadersAnswer(readers=review.readings.of_all(entry.id))


@router.get("/cases/{case}/audit")
def audit(case: CaseId, session: Reader, review: ReviewOf) -> AuditAnswer:
    """Return the journal of a case: this reader's own part while readers are blinded."""
    reader = None if review.settings.unblinded else session.reader
    events = review.journal.events(case=review.index.entry(case).id, reader=reader)
    return AuditAnswer(
        events=[
            AuditLine(
                seq=one.seq,
                at=one.at,
                reader=one.reader,
                revision=one.revision,
                action=one.action,
                before=one.before,
                after=one.after,
            )
            for one in events
        ]
    )


# --- analysed again ------------------------------------------------------------------------------


@router.post("/cases/{case}/reanalysis", status_code=202)
def reanalyse(case: CaseId, session: Changer, review: ReviewOf) -> JobAnswer:
    """Analyse the case again with this reader's corrections; ask `jobs/{job}` how far it is, then `result=mine`."""
    entry = review.index.entry(case)
    job = review.jobs.add(review.order(session.reader, entry))
    review.journal.append(session.reader, entry.id, "reanalysis", after={"revision": job.revision})
    return job.answer()


@router.get("/jobs/{job}")
def job(job: Part, session: Reader, review: ReviewOf) -> JobAnswer:
    """Return how far a re-analysis is."""
    return review.jobs.find(session.reader, job).answer()


# --- taken away ----------------------------------------------------------------------------------


@router.get("/export/corrections.zip", response_class=Response, responses={200: {"content": {"application/zip": {}}}})
def export_corrections(session: Reader, review: ReviewOf) -> Response:
    """Return this reader's `corrections.json` for `angio run --corrections`, with its masks beside it."""
    document, masks = review.corrections(session.reader)
    files = {"corrections.json": json.dumps(document, indent=1, ensure_ascii=False).encode(), **masks}
    _exported(review, session.reader, "corrections")
    return _attached(zip_of(files), "application/zip", "corrections.zip")


@router.get("/export/edits.csv", response_class=Response, responses={200: {"content": {"text/csv": {}}}})
def export_table(session: Reader, review: ReviewOf) -> Response:
    """Return this reader's events as a table."""
    places = {one.id: (one.subject, one.date, one.label) for one in review.index.entries()}
    events = [one for one in review.journal.events(reader=session.reader) if one.case]
    table = edits_table(events, places)
    _exported(review, session.reader, "edits")
    return _attached(table.encode(), "text/csv; charset=utf-8", "edits.csv")


@router.get("/cases/{case}/regions.zip", response_class=Response, responses={200: {"content": {"application/zip": {}}}})
def export_regions(case: CaseId, session: Reader, review: ReviewOf) -> Response:
    """Return the lesions that this reader outlined, as NIfTI for `angio run --roi`."""
    entry = review.index.entry(case, CaseKind.FOLLOW_UP)
    return _attached(zip_of(review.regions(session.reader, entry)), "application/zip", "regions.zip")


def _exported(review: Review, reader: str, what: str) -> None:
    review.journal.append(reader, "", "exported", after={"what": what})


def _attached(content: bytes, kind: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=kind, headers=headers)
