"""A reader's corrections from their files: JSON documents, and PNG masks beside them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from angio_pipeline.core.corrections import AddTumour, AnyEdit, CorrectionsDocument, GivenEdit, RedrawTumour, RunEdits
from angio_pipeline.core.errors import InputRefused
from angio_pipeline.ingest.rois import read_mask

__all__ = ["check_corrections", "corrected_runs", "edits_digest", "read_corrections"]

_SCHEMA = "angio-pipeline/corrections/1"
_MOST_BYTES = 64 << 20


def corrected_runs(path: Path) -> dict[str, int]:
    """Return the SOP instance UIDs of the runs that a file corrects, each with the number of its edits.

    Raises
    ------
    InputRefused
        `bad_corrections`, when the file is no such document.
    """
    return {uid: len(run.edits) for uid, run in _document(path).runs.items() if run.edits}


def read_corrections(paths: Sequence[Path], sop_instance_uid: str) -> tuple[GivenEdit, ...]:
    """Return all edits of one run, in their order in time; one that stands in two files counts once.

    Raises
    ------
    InputRefused
        `bad_corrections`, when a file is no such document, a mask is missing, or two edits share an id and differ.
    """
    found: dict[str, GivenEdit] = {}
    for path in paths:
        run = _document(path).runs.get(sop_instance_uid)
        for edit in run.edits if run is not None else ():
            assert run is not None
            given = _given(path, run, edit)
            known = found.setdefault(edit.id, given)
            if _as_text(known) != _as_text(given):
                raise _refused(f"each edit to have an id of its own, found two that differ and are both {edit.id}")
    return tuple(sorted(found.values(), key=lambda given: (given.edit.time, given.edit.id)))


def check_corrections(paths: Sequence[Path]) -> None:
    """Look at every edit and mask of the files before any work is done.

    Raises
    ------
    InputRefused
        As `read_corrections` does for the run that it concerns.
    """
    for uid in sorted({uid for path in paths for uid in corrected_runs(path)}):
        read_corrections(paths, uid)


def edits_digest(edits: Sequence[GivenEdit]) -> str:
    """Return the SHA-256 of edits with their masks, as hexadecimal; where their files lie makes no difference."""
    return hashlib.sha256("\n".join(_as_text(given) for given in edits).encode()).hexdigest()


def _as_text(given: GivenEdit) -> str:
    mask = "" if given.mask is None else hashlib.sha256(given.mask.tobytes()).hexdigest()
    return f"{given.edit.model_dump_json()} {given.reference_frame} {given.size} {mask}"


def _given(path: Path, run: RunEdits, edit: AnyEdit) -> GivenEdit:
    frame = run.reference_frame if edit.reference_frame is None else edit.reference_frame
    mask = None
    if isinstance(edit, (AddTumour, RedrawTumour)) and edit.mask is not None:
        beside = path.parent / edit.mask
        if not beside.is_file():
            raise _refused(f"the mask {edit.mask} of edit {edit.id} beside {path.name}, found none")
        mask = read_mask(beside)
    return GivenEdit(edit, frame, (run.rows, run.columns), mask, file=str(path))


def _document(path: Path) -> CorrectionsDocument:
    if not path.is_file() or path.stat().st_size > _MOST_BYTES:
        raise _refused(f"{path.name} to be a file of at most {_MOST_BYTES >> 20} MiB, found another")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_each_key_once)
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise _refused(f"{path.name} to hold JSON, found something else, or a name that stands twice") from None
    told = content.get("schema") if isinstance(content, dict) else None
    if told != _SCHEMA:
        shown = told if isinstance(told, str) and len(told) < 60 else "none"
        raise _refused(f"{path.name} to say that its schema is {_SCHEMA}, found {shown}")
    try:
        return CorrectionsDocument.model_validate(content)
    except ValidationError as error:
        raise _refused(f"{path.name} to follow its schema, found {_first(error)}") from None


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; a name that stands twice would cost the first of its values without a word."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _first(error: ValidationError) -> str:
    """Return where the first error is and what is wrong, in words."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"] if part != "[key]")
    what = first["msg"].removeprefix("Value error, ").removesuffix(".")
    return f"at {where}: {what[:1].lower()}{what[1:]}"


def _refused(expected_and_found: str) -> InputRefused:
    sentence = f"Expected {expected_and_found}; `angio schema corrections` prints what is read."
    return InputRefused(sentence, reason="bad_corrections")
