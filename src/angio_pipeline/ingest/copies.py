"""Files that claim to be one object: the first stands for it, and of the others it is said whether they are the same.

Damaged files are refused before they come here, by their own reason, so that a whole one stands for the object.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from angio_pipeline.core.results import Refusal
from angio_pipeline.ingest.files import Candidate

__all__ = ["without_copies"]

_T = TypeVar("_T")


def without_copies(
    entries: Sequence[_T],
    refusals: list[Refusal],
    *,
    uid_of: Callable[[_T], str],
    candidate_of: Callable[[_T], Candidate],
) -> list[_T]:
    """Return the first file of each SOP instance, in order; the others become refusals.

    Parameters
    ----------
    uid_of : callable
        SOP instance UID of a file; one without is kept as it is.
    refusals : list of Refusal
        Gains `duplicate` for a file of the same bytes, `conflicting_duplicate` for one that differs, and
        `unreadable` for one that is gone before it could be compared.
    """
    kept: list[_T] = []
    first: dict[str, _T] = {}
    for entry in entries:
        uid = uid_of(entry)
        known = first.setdefault(uid, entry) if uid else entry
        if known is entry:
            kept.append(entry)
        else:
            refusals.append(_refusal(candidate_of(known), candidate_of(entry)))
    return kept


def _refusal(known: Candidate, other: Candidate) -> Refusal:
    try:
        same = _content(known.path) == _content(other.path)
    except OSError as error:
        sentence = f"Expected a readable file, found one that cannot be read ({type(error).__name__})."
        return Refusal(other.shown, "unreadable", sentence)
    if same:
        sentence = "Expected each object once, found a copy of another file; the first one was used."
        return Refusal(other.shown, "duplicate", sentence)
    sentence = "Expected one object a UID, found two that differ; the first one was used. Check the export."
    return Refusal(other.shown, "conflicting_duplicate", sentence)


def _content(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
