"""What a reader takes away: the document for `angio run --corrections`, masks and regions beside it, and a table."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from angio_pipeline.core.corrections import CorrectionsDocument
from angio_pipeline.outputs.schemas import RunDocument
from angio_pipeline.review.journal import Event

__all__ = ["corrections_document", "edits_table", "zip_of"]


def corrections_document(edits: Iterable[tuple[RunDocument, Sequence[Mapping[str, Any]]]]) -> dict[str, Any]:
    """Return the public document of the edits of runs.

    Raises
    ------
    ValueError
        When what was kept does not follow the schema.
    """
    runs = {
        document.source.sop_instance_uid: {
            "reference_frame": document.subtraction.reference_frame,
            "rows": document.image.rows,
            "columns": document.image.columns,
            "made_on": None if document.software is None else document.software.version,
            "edits": [dict(edit) for edit in held],
        }
        for document, held in edits
        if held
    }
    told = {"schema": "angio-pipeline/corrections/1", "runs": runs}
    return CorrectionsDocument.model_validate(told).model_dump(mode="json", by_alias=True)


_HEADER = ("number", "time", "reader", "subject", "date", "series", "revision", "action", "kind", "edit", "comment")


def edits_table(events: Iterable[Event], places: Mapping[str, tuple[str, str, str]]) -> str:
    """Return one line for each event of a reader as CSV; `places` is subject, date and series by case.

    A cell that a spreadsheet would take for a formula begins with an apostrophe.
    """
    stream = io.StringIO()
    rows = csv.writer(stream)
    rows.writerow(_HEADER)
    for event in events:
        edit = event.after if isinstance(event.after, dict) else event.before
        edit = edit if isinstance(edit, dict) else {}
        where = places.get(event.case, ("", "", ""))
        words = edit.get("text") or edit.get("comment") or (event.after if event.action == "state" else "")
        told = (event.seq, event.at.isoformat(), event.reader, *where, event.revision, event.action)
        rows.writerow(map(_inert, (*told, edit.get("kind", ""), edit.get("id", ""), words)))
    return stream.getvalue()


def _inert(value: object) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def zip_of(files: Mapping[str, bytes]) -> bytes:
    """Return files as one archive, the same bytes for the same files."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), files[name])
    return stream.getvalue()
