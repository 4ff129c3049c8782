"""The runs that belong to a run: before or after embolisation, or another projection of the same injection."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from angio_pipeline.outputs.folders import EMBOLISATION, PROJECTIONS
from angio_pipeline.review.answers import CaseKind, LinkedCase, Relation
from angio_pipeline.review.index import CaseEntry
from angio_pipeline.review.problems import not_found
from angio_pipeline.review.results import read_plain

if TYPE_CHECKING:
    from angio_pipeline.review.state import Review

__all__ = ["link_picture", "linked_cases"]


def _subject_folder(review: Review, entry: CaseEntry) -> Path:
    return review.settings.out / "/".join(entry.folder.split("/")[:2])


def _listed(folder: Path, relation: Relation) -> tuple[Path, list[dict[str, Any]]]:
    """Return the folder of a document over two runs, and its entries."""
    joined = relation is Relation.PROJECTION
    inner = folder / (PROJECTIONS if joined else EMBOLISATION)
    document = read_plain(inner / ("projections.json" if joined else "embolisation.json")) or {}
    found = document.get("pairs" if joined else "comparisons")
    return inner, [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def linked_cases(review: Review, entry: CaseEntry) -> list[LinkedCase]:
    """Return the cases that a run was compared or joined with."""
    folder = _subject_folder(review, entry)
    known = {one.sop_instance_uid: one for one in review.index.entries() if one.subject == entry.subject}
    sides = {
        Relation.BEFORE: ("after", "before", "The run before embolisation."),
        Relation.AFTER: ("before", "after", "The run after embolisation."),
    }
    found = []
    for relation, (own, other, sentence) in sides.items():
        found += [
            _linked(relation, number, one, other, known, sentence)
            for number, one in enumerate(_listed(folder, relation)[1])
            if _uid(one, own) == entry.sop_instance_uid
        ]
    for number, one in enumerate(_listed(folder, Relation.PROJECTION)[1]):
        for own, other in (("first", "second"), ("second", "first")):
            if _uid(one, own) == entry.sop_instance_uid:
                words = "Another projection of the same injection."
                found.append(_linked(Relation.PROJECTION, number, one, other, known, words))
    return found


def _uid(one: dict[str, Any], side: str) -> str:
    return str((one.get(side) or {}).get("sop_instance_uid", ""))


def _linked(
    relation: Relation, number: int, one: dict[str, Any], other: str, known: dict[str, CaseEntry], sentence: str
) -> LinkedCase:
    case = known.get(_uid(one, other))
    is_run = case is not None and case.kind == CaseKind.RUN
    return LinkedCase(
        id=case.id if case is not None and is_run else None,
        relation=relation,
        document=number,
        sentence=sentence,
        picture=bool(one.get("picture")),
    )


def link_picture(review: Review, entry: CaseEntry, relation: Relation, number: int) -> tuple[Path, str]:
    """Return the folder and the name of the picture of a comparison or of two projections.

    Raises
    ------
    ReviewProblem
        404, when there is none.
    """
    folder, found = _listed(_subject_folder(review, entry), relation)
    if number >= len(found) or not isinstance(found[number].get("picture"), str):
        raise not_found("this picture")
    return folder, found[number]["picture"]
