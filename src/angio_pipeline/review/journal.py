"""What readers did, as a list that only grows: who, when, before, after.

One row an event. A row is committed to the disk before its request is answered, so that a server that is killed has
lost nothing that it acknowledged. Triggers forbid to change or remove a row, and each row holds a hash over itself
and the row before it: whoever edits the file by other means breaks the chain (`Journal.first_broken`).
"""

from __future__ import annotations

import hashlib
import json
import queue
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from angio_pipeline.review.problems import ReviewProblem, conflict

__all__ = ["Event", "Journal"]

_TABLES = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    reader TEXT NOT NULL,
    case_id TEXT NOT NULL,
    revision INTEGER,
    action TEXT NOT NULL,
    before TEXT,
    after TEXT,
    hash TEXT NOT NULL,
    UNIQUE (case_id, reader, revision)
);
CREATE INDEX IF NOT EXISTS events_of_a_case ON events (case_id, reader, seq);
CREATE TABLE IF NOT EXISTS masks (name TEXT PRIMARY KEY, png BLOB NOT NULL) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS events_stay BEFORE UPDATE ON events
    BEGIN SELECT RAISE(ABORT, 'the journal only grows'); END;
CREATE TRIGGER IF NOT EXISTS events_remain BEFORE DELETE ON events
    BEGIN SELECT RAISE(ABORT, 'the journal only grows'); END;
CREATE TRIGGER IF NOT EXISTS masks_stay BEFORE UPDATE ON masks
    BEGIN SELECT RAISE(ABORT, 'the journal only grows'); END;
CREATE TRIGGER IF NOT EXISTS masks_remain BEFORE DELETE ON masks
    BEGIN SELECT RAISE(ABORT, 'the journal only grows'); END;
"""
_MOST_TOGETHER = 256
_COLUMNS = "seq, at, reader, case_id, revision, action, before, after"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that one reader did. `revision` counts what changes a case; None for what does not (a draft)."""

    seq: int
    at: datetime
    reader: str
    case: str
    revision: int | None
    action: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class _Asked:
    """An event that waits for the disk."""

    reader: str
    case: str
    action: str
    before: Any
    after: Any
    on_revision: int | None
    done: Future[Event] = field(default_factory=Future)


class Journal:
    """The events of one folder of results, in SQLite.

    Raises
    ------
    sqlite3.Error
        When the file is no database, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writing, self._reading = threading.Lock(), threading.Lock()
        self._writer, self._reader = _opened(path), _opened(path)
        # REPLACE INTO would remove a row without its trigger otherwise.
        self._writer.execute("PRAGMA recursive_triggers = ON")
        self._writer.executescript(_TABLES)
        path.chmod(0o600)
        self._waiting: queue.Queue[_Asked | None] = queue.Queue()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what waits, and close the file."""
        self._waiting.put(None)
        self._thread.join(timeout=30)
        self._reader.close()
        self._writer.close()

    def append(
        self,
        reader: str,
        case: str,
        action: str,
        *,
        before: Any = None,
        after: Any = None,
        on_revision: int | None = None,
    ) -> Event:
        """Return the event after it is on the disk.

        Parameters
        ----------
        on_revision : int, optional
            The revision of this reader's case that the change was made on; the event becomes the next one. Without it
            the event stands beside the revisions.

        Raises
        ------
        ReviewProblem
            409, when the case has another revision by now.
        """
        asked = _Asked(reader, case, action, before, after, on_revision)
        self._waiting.put(asked)
        return asked.done.result()

    def _write(self) -> None:
        """Write what waits: what came while the disk was busy goes there together, so that readers share the wait."""
        going_on = True
        while going_on:
            together = [self._waiting.get()]
            while len(together) < _MOST_TOGETHER and not self._waiting.empty():
                together.append(self._waiting.get())
            going_on = None not in together
            self._commit([one for one in together if one is not None])

    def _commit(self, together: Sequence[_Asked]) -> None:
        told: list[Event | ReviewProblem] = []
        try:
            with self._writing, self._writer:
                self._writer.execute("BEGIN IMMEDIATE")
                for one in together:
                    told.append(self._insert(one))
        except Exception as error:  # nothing of it is on the disk, and nobody is told that it is
            for one in together:
                one.done.set_exception(error)
            return
        for one, answer in zip(together, told, strict=True):
            if isinstance(answer, Event):
                one.done.set_result(answer)
            else:
                one.done.set_exception(answer)

    def _insert(self, one: _Asked) -> Event | ReviewProblem:
        """Return the event that was added, or why it is none."""
        if one.on_revision is not None:
            found = self._revision(one.case, one.reader)
            if found != one.on_revision:
                return conflict(one.on_revision, found)
        at = datetime.now(UTC)
        revision = None if one.on_revision is None else one.on_revision + 1
        told = (None if value is None else _text(value) for value in (one.before, one.after))
        row = (at.isoformat(), one.reader, one.case, revision, one.action, *told)
        last = self._writer.execute("SELECT hash FROM events ORDER BY seq DESC LIMIT 1").fetchone()
        chained = (*row, _hash(last[0] if last else "", row))
        seq = self._writer.execute(
            "INSERT INTO events (at, reader, case_id, revision, action, before, after, hash) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            chained,
        ).lastrowid
        assert seq is not None
        return Event(seq, at, one.reader, one.case, revision, one.action, one.before, one.after)

    def _revision(self, case: str, reader: str) -> int:
        found = self._writer.execute(
            "SELECT MAX(revision) FROM events WHERE case_id = ? AND reader = ?", (case, reader)
        ).fetchone()[0]
        return found or 0

    def events(self, *, case: str | None = None, reader: str | None = None) -> list[Event]:
        """Return the events of a case, of a reader, of both, or all of them, in their order."""
        told = {"case_id": case, "reader": reader}
        wanted = [name for name, value in told.items() if value is not None]
        where = " AND ".join(f"{name} = ?" for name in wanted) or "1"
        values = [told[name] for name in wanted]
        with self._reading:
            rows = self._reader.execute(f"SELECT {_COLUMNS} FROM events WHERE {where} ORDER BY seq", values).fetchall()
        return [_event(row) for row in rows]

    def by_reader_and_case(self) -> Iterator[Event]:
        """Yield all events, those of one reader and one case together and in their order; none is kept."""
        with self._reading:
            order = "ORDER BY reader, case_id, seq"
            for row in self._reader.execute(f"SELECT {_COLUMNS} FROM events WHERE case_id != '' {order}"):
                yield _event(row)

    def keep_mask(self, png: bytes) -> str:
        """Return the name under which a mask is kept; the same mask has the same name."""
        name = f"m-{hashlib.sha256(png).hexdigest()[:32]}.png"
        with self._writing, self._writer:
            self._writer.execute("INSERT OR IGNORE INTO masks (name, png) VALUES (?, ?)", (name, png))
        return name

    def mask(self, name: str) -> bytes | None:
        """Return a mask that was kept, as PNG."""
        with self._reading:
            row = self._reader.execute("SELECT png FROM masks WHERE name = ?", (name,)).fetchone()
        return None if row is None else bytes(row[0])

    def first_broken(self) -> int | None:
        """Return the number of the first event that was changed after it was written, None where none was."""
        with self._reading:
            rows = self._reader.execute(
                "SELECT seq, at, reader, case_id, revision, action, before, after, hash FROM events ORDER BY seq"
            ).fetchall()
        last = ""
        for expected, (seq, *row, kept) in enumerate(rows, start=1):
            last = _hash(last, row)
            if kept != last or seq != expected:
                return expected
        return None


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _hash(last: str, row: Sequence[Any]) -> str:
    return hashlib.sha256((last + _text(list(row))).encode()).hexdigest()


def _event(row: tuple[Any, ...]) -> Event:
    seq, at, reader, case, revision, action, before, after = row
    found = (None if text is None else json.loads(text) for text in (before, after))
    return Event(seq, datetime.fromisoformat(at), reader, case, revision, action, *found)
