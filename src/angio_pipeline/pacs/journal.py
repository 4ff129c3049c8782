"""What was done already, a line each, so that a second call goes on where the first one ended.

Lines are only ever added, and a line that was cut off by a crash counts as not written. The name is hidden,
as `angio run` leaves hidden files alone.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["NAME", "Journal", "Kept", "digest_of"]

NAME = ".pacs-state.jsonl"


@dataclass(frozen=True, slots=True)
class Kept:
    """One instance as it lies in the folder: file relative to it, size and SHA-256."""

    uid: str
    file: str
    size: int
    sha256: str


class Journal:
    """The memory of one folder; safe for several threads of one process."""

    def __init__(self, folder: Path) -> None:
        """Read what the folder remembers.

        Raises
        ------
        OSError
            When the folder cannot be made or its memory not be read.
        """
        self.folder = folder
        self._path = folder / NAME
        self._lock = threading.Lock()
        self._kept: dict[str, Kept] = {}
        self._pushed: set[tuple[str, str, str]] = set()
        self._analysed: dict[str, str] = {}
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for line in _lines(self._path):
            self._learn(line)

    def kept(self, uid: str) -> Kept | None:
        """Return where an instance lies, or None; whether the file is still whole is another question."""
        return self._kept.get(uid)

    def all_kept(self) -> list[Kept]:
        """Return every instance that was stored, in the order of storing."""
        return list(self._kept.values())

    def note_kept(self, kept: Kept) -> None:
        """Remember that an instance is stored."""
        self._add({"kept": kept.uid, "file": kept.file, "size": kept.size, "sha256": kept.sha256})

    def was_pushed(self, server: str, uid: str, sha256: str) -> bool:
        """Return whether a server has taken an instance with just these bytes."""
        return (server, uid, sha256) in self._pushed

    def note_pushed(self, server: str, uid: str, sha256: str) -> None:
        """Remember that a server has taken an instance."""
        self._add({"pushed": uid, "server": server, "sha256": sha256})

    def forget_pushed(self, server: str, uid: str) -> None:
        """Remember that a server has not got an instance, whatever it answered when it was sent."""
        self._add({"lacking": uid, "server": server})

    def analysed(self, study: str) -> str | None:
        """Return the digest of the study when it was last analysed, or None."""
        return self._analysed.get(study)

    def note_analysed(self, study: str, digest: str) -> None:
        """Remember that a study was analysed with what it held then."""
        self._add({"analysed": study, "digest": digest})

    def _add(self, entry: dict[str, Any]) -> None:
        with self._lock:
            self._learn(entry)
            with self._path.open("ab") as stream:
                start = "\n" if stream.tell() and not _ends_a_line(self._path) else ""
                stream.write((start + json.dumps(entry) + "\n").encode())

    def _learn(self, entry: dict[str, Any]) -> None:
        match entry:
            case {"kept": str(uid), "file": str(file), "size": int(size), "sha256": str(sha256)}:
                self._kept[uid] = Kept(uid, file, size, sha256)
            case {"pushed": str(uid), "server": str(server), "sha256": str(sha256)}:
                self._pushed.add((server, uid, sha256))
            case {"lacking": str(uid), "server": str(server)}:
                self._pushed = {one for one in self._pushed if one[:2] != (server, uid)}
            case {"analysed": str(study), "digest": str(digest)}:
                self._analysed[study] = digest
            case _:
                pass


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        return
    for line in path.read_bytes().splitlines():
        try:
            entry = json.loads(line)
        except ValueError:  # the line at which a crash came
            continue
        if isinstance(entry, dict):
            yield entry


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(-1, 2)
        return stream.read(1) == b"\n"


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises
    ------
    OSError
        When it cannot be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
