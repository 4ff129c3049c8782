"""What one reader says of one case, told from the journal: edits that hold, state, draft; undo and redo are events too.

Readers are blind to each other because everything here is asked for by reader, and the reader is the session's own.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from pydantic import TypeAdapter

from angio_pipeline.review.answers import AnyReviewEdit, CorrectionsAnswer, ReviewState
from angio_pipeline.review.journal import Event, Journal
from angio_pipeline.review.problems import ReviewProblem, not_found, unusable

__all__ = ["MOST_EDITS", "Reading", "Readings", "masks_of"]

MOST_EDITS = 10000
"""As many edits as one run may have in the document."""
_KEPT = 256
_ADAPTER: TypeAdapter[Any] = TypeAdapter(AnyReviewEdit)


@dataclass(slots=True)
class Reading:
    """One reader's word on one case after all events; `done` and `undone` hold (action, edit)."""

    reader: str
    revision: int = 0
    state: ReviewState = ReviewState.NEW
    draft: str = ""
    updated: datetime | None = None
    done: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    undone: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @property
    def edits(self) -> list[dict[str, Any]]:
        """The edits that hold, in their order."""
        held: dict[str, dict[str, Any]] = {}
        for action, edit in self.done:
            if action == "edit":
                held[edit["id"]] = edit
            else:
                held.pop(edit["id"], None)
        return list(held.values())

    def take(self, event: Event) -> None:
        """Take in the next event of this reader and case."""
        if event.revision is None:
            if event.action == "draft":
                self.draft = str(event.after)
            return
        self.revision, self.updated = event.revision, event.at
        if event.action == "state":
            self.state = ReviewState(event.after)
            return
        self.state = ReviewState.IN_PROGRESS
        if event.action == "undo":
            self.undone.append(self.done.pop())
        elif event.action == "redo":
            self.done.append(self.undone.pop())
        else:
            self.done.append((event.action, event.after if event.action == "edit" else event.before))
            self.undone.clear()

    def answer(self) -> CorrectionsAnswer:
        """Return the reading as the page is told of it."""
        return CorrectionsAnswer(
            reader=self.reader,
            revision=self.revision,
            state=self.state,
            edits=[_ADAPTER.validate_python(edit) for edit in self.edits],
            can_undo=bool(self.done),
            can_redo=bool(self.undone),
            draft=self.draft,
            updated=self.updated,
        )


class Readings:
    """All readings of a folder of results."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._lock = threading.Lock()
        self._turns: dict[tuple[str, str], threading.Lock] = {}
        self._recent: OrderedDict[tuple[str, str], Reading] = OrderedDict()
        self._told: dict[str, dict[str, tuple[ReviewState, int]]] = {}
        for (reader, case), events in groupby(journal.by_reader_and_case(), key=lambda one: (one.reader, one.case)):
            reading = Reading(reader)
            for event in events:
                reading.take(event)
            self._tell(reader, case, reading)

    def _tell(self, reader: str, case: str, reading: Reading) -> None:
        told = reading.state, len(reading.edits)
        with self._lock:
            self._told.setdefault(reader, {})[case] = told

    @contextmanager
    def _turn(self, reader: str, case: str) -> Iterator[Reading]:
        """Yield a reading for one request alone; those of other readers and cases go on meanwhile."""
        with self._lock:
            turn = self._turns.setdefault((reader, case), threading.Lock())
        with turn:
            yield self._reading(reader, case)

    def _reading(self, reader: str, case: str) -> Reading:
        """Return a reading as the journal has it; the last ones that were asked for are kept."""
        key = reader, case
        with self._lock:
            known, touched = self._recent.pop(key, None), case in self._told.get(reader, {})
        reading = known or Reading(reader)
        if known is None and touched:
            for event in self.journal.events(case=case, reader=reader):
                reading.take(event)
        with self._lock:
            self._recent[key] = reading
            while len(self._recent) > _KEPT:
                self._recent.popitem(last=False)
        return reading

    def of(self, reader: str, case: str) -> CorrectionsAnswer:
        """Return what a reader says of a case."""
        with self._turn(reader, case) as reading:
            return reading.answer()

    def summary(self, reader: str) -> dict[str, tuple[ReviewState, int]]:
        """Return by case how far a reader is, and how many edits hold; cases never touched are left out."""
        with self._lock:
            return dict(self._told.get(reader, {}))

    def of_all(self, case: str) -> list[CorrectionsAnswer]:
        """Return what each reader says of a case."""
        with self._lock:
            readers = sorted(who for who, told in self._told.items() if case in told)
        return [self.of(who, case) for who in readers]

    def cases_of(self, reader: str) -> list[str]:
        """Return the cases that a reader has edits of."""
        return [case for case, (_, edits) in self.summary(reader).items() if edits]

    def _append(
        self, reading: Reading, case: str, action: str, on_revision: int | None, before: Any, after: Any
    ) -> CorrectionsAnswer:
        reader = reading.reader
        reading.take(self.journal.append(reader, case, action, before=before, after=after, on_revision=on_revision))
        self._tell(reader, case, reading)
        return reading.answer()

    def add(
        self, reader: str, case: str, edit: AnyReviewEdit, on_revision: int, *, reference_frame: int | None
    ) -> CorrectionsAnswer:
        """Return the reading with one more edit, its time and reader set here; one sent twice counts once.

        Parameters
        ----------
        reference_frame : int or None
            Of the result that the places are in; that result may be made anew before the edits are carried out.

        Raises
        ------
        ReviewProblem
            409 on another revision, 422 for an id that another edit has, an unknown mask, or too many edits.
        """
        own = {"time": datetime.now(UTC), "reviewer": reader, "reference_frame": reference_frame}
        told = edit.model_copy(update=own)
        content = told.model_dump(mode="json")
        for name in masks_of([content]):
            if self.journal.mask(name) is None:
                raise unusable("Expected a mask that was sent before, found none of that name; send the mask first.")
        with self._turn(reader, case) as known:
            same = next((one for action, one in known.done if action == "edit" and one["id"] == edit.id), None)
            if same is not None and _without_time(same) == _without_time(content):
                return known.answer()
            if same is not None or any(one["id"] == edit.id for _, one in known.undone):
                raise unusable("Expected an edit with an id of its own, found one that another edit has.")
            if len(known.done) >= MOST_EDITS:
                raise unusable(f"Expected at most {MOST_EDITS} edits of one case, found more.")
            return self._append(known, case, "edit", on_revision, None, content)

    def remove(self, reader: str, case: str, edit_id: str, on_revision: int) -> CorrectionsAnswer:
        """Return the reading without one of its edits.

        Raises
        ------
        ReviewProblem
            404 for an edit that does not hold, 409 on another revision.
        """
        with self._turn(reader, case) as known:
            found = next((one for one in known.edits if one["id"] == edit_id), None)
            if found is None:
                raise not_found("this edit")
            return self._append(known, case, "remove", on_revision, found, None)

    def step(self, reader: str, case: str, action: str, on_revision: int) -> CorrectionsAnswer:
        """Return the reading after `undo` or `redo` of one step.

        Raises
        ------
        ReviewProblem
            409, when there is nothing to undo or redo, or on another revision.
        """
        with self._turn(reader, case) as known:
            steps = known.done if action == "undo" else known.undone
            if not steps:
                raise ReviewProblem(409, "nothing_left", f"Expected something to {action}, found nothing.")
            what, edit = steps[-1]
            goes = (what == "edit") == (action == "undo")
            return self._append(known, case, action, on_revision, edit if goes else None, None if goes else edit)

    def set_state(self, reader: str, case: str, state: ReviewState, on_revision: int) -> CorrectionsAnswer:
        """Return the reading with another state.

        Raises
        ------
        ReviewProblem
            409, on another revision.
        """
        with self._turn(reader, case) as known:
            return self._append(known, case, "state", on_revision, known.state.value, state.value)

    def keep_draft(self, reader: str, case: str, text: str) -> CorrectionsAnswer:
        """Return the reading with text that is still being typed; it is no edit, and conflicts with none."""
        with self._turn(reader, case) as known:
            return (
                known.answer() if text == known.draft else self._append(known, case, "draft", None, known.draft, text)
            )


def masks_of(edits: Sequence[dict[str, Any]]) -> list[str]:
    """Return the names of the masks that edits use."""
    return [str(edit["mask"]) for edit in edits if edit.get("mask")]


def _without_time(edit: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in edit.items() if name != "time"}
