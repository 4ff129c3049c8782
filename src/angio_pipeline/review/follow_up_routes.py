"""Follow-ups side by side: slices of all dates on one grid, deposits, stored pictures."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from angio_pipeline.review import follow_ups
from angio_pipeline.review.answers import CaseKind, ContoursAnswer, FollowUpAnswer, Plane, ResultKind, Window
from angio_pipeline.review.asking import PROBLEMS, CaseId, Frame, Reader, ReviewOf
from angio_pipeline.review.case_routes import PNG, PNG_OR_RAW
from angio_pipeline.review.frames import Prepared
from angio_pipeline.review.pictures import grey_png
from angio_pipeline.review.problems import ReviewProblem

__all__ = ["router"]

router = APIRouter(prefix="/api/follow-ups/{case}", tags=["follow-up"], responses=PROBLEMS)

Scan = Annotated[int, Path(ge=0, le=10000)]


def _folder(case: CaseId, session: Reader, review: ReviewOf, result: ResultKind = ResultKind.ORIGINAL) -> FilePath:
    entry = review.index.entry(case, CaseKind.FOLLOW_UP)
    if not entry.analysed:
        raise ReviewProblem(404, "not_analysed", entry.problem or "These follow-ups were not analysed.")
    return review.folder(entry, session.reader, result)


Folder = Annotated[FilePath, Depends(_folder)]


def _ready(folder: Folder, review: ReviewOf) -> Prepared:
    prepared = follow_ups.prepared_follow_up(review, folder)
    if isinstance(prepared, Prepared):
        return prepared
    sentence = prepared or "Expected scans that are prepared, found that they are being prepared; ask again."
    raise ReviewProblem(409, "no_source" if prepared else "preparing", sentence)


Scans = Annotated[Prepared, Depends(_ready)]


@router.get("")
def follow_up(folder: Folder, review: ReviewOf) -> FollowUpAnswer:
    """Return the dates side by side and the documents as written; the first request has the slices made."""
    return follow_ups.describe(review, folder)


@router.get("/views/{number}", response_class=Response, responses=PNG)
def view(folder: Folder, number: Scan) -> Response:
    """Return a stored picture of an aligned slice."""
    return Response(follow_ups.view_path(folder, number).read_bytes(), media_type="image/png")


@router.get("/scans/{scan}/{plane}/{position}", response_class=Response, responses=PNG_OR_RAW)
def scan_slice(
    prepared: Scans,
    scan: Scan,
    plane: Plane,
    position: Frame,
    raw: Annotated[bool, Query(description="Little-endian uint16 instead of a picture.")] = False,
    center: Annotated[float, Query(ge=-5000, le=70000)] = 100.0,
    width: Annotated[float, Query(gt=0, le=100000)] = 600.0,
) -> Response:
    """Return one slice of a scan on the reference grid, in one window for all dates."""
    stored = follow_ups.plane_of(prepared, scan, plane, position)
    slope, intercept = prepared.info["slope"], prepared.info["intercept"]
    headers = {
        "X-Rows": str(stored.shape[0]),
        "X-Columns": str(stored.shape[1]),
        "X-Slope": repr(slope),
        "X-Intercept": repr(intercept),
    }
    if raw:
        return Response(stored.astype("<u2").tobytes(), media_type="application/octet-stream", headers=headers)
    content = grey_png(stored, slope, intercept, Window(center=center, width=width), inverted=False)
    return Response(content, media_type="image/png", headers=headers)


@router.get("/scans/{scan}/{plane}/{position}/contours")
def scan_contours(prepared: Scans, scan: Scan, plane: Plane, position: Frame) -> ContoursAnswer:
    """Return the outlines of the deposits on one slice."""
    return ContoursAnswer(contours=follow_ups.contours(prepared, scan, plane, position))
