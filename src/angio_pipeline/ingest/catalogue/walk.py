"""What the folders list, without opening a single file: path, size, time of change and inode."""

from __future__ import annotations

import hashlib
import marshal
import os
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

from angio_pipeline.ingest.files import own_tables, wanted_folder

__all__ = ["UNREADABLE", "Entry", "entries", "listing_digest"]

Entry = tuple[str, int, int, int]
"""A file as its folder lists it: path, bytes, time of change in nanoseconds, inode."""

UNREADABLE = -1
"""The size that stands for what is there and cannot be listed: a folder without permission, a broken link."""

_LOWER = (1 << 63) - 1
_by_name = attrgetter("name")


def entries(source: Path, apart: Path | None = None) -> Iterator[Entry]:
    """Yield every file below a folder (or the file itself), in a fixed order.

    Left out, as everywhere: hidden files, the truth of digital patients, results of earlier runs, tables beside
    de-identified copies. Links to folders are followed, each folder once. What cannot be listed comes with the
    size `UNREADABLE`. The catalogue itself and what lies beside it under its name (`apart`) is not of the disk.
    """
    for listed in _lists(source, apart):
        yield from listed


def listing_digest(source: Path, key: bytes, apart: Path | None = None) -> str:
    """Return a keyed hash of everything that the folders list: the same as long as no file changed."""
    total = hashlib.blake2b(key=key[:64], digest_size=16)
    for listed in _lists(source, apart):
        # Version 2 writes no references, so that equal lists give equal bytes.
        total.update(marshal.dumps(listed, 2))
    return total.hexdigest()


def _lists(source: Path, apart: Path | None) -> Iterator[list[Entry]]:
    ours = str(apart) if apart is not None else "\0"
    length = len(ours)
    facts = source.stat()
    if not source.is_dir():
        yield [(str(source), facts.st_size, facts.st_mtime_ns, facts.st_ino & _LOWER)]
        return
    seen = {(facts.st_dev, facts.st_ino)}
    waiting = [str(source)]
    while waiting:
        here = waiting.pop()
        listed: list[Entry] = []
        folders: list[str] = []
        try:
            with os.scandir(here) as listing:
                found = sorted(listing, key=_by_name)
        except OSError:
            yield [(here, UNREADABLE, 0, 0)]
            continue
        tables = own_tables([entry.name for entry in found])
        for entry in found:
            if entry.name[0] == "." or entry.name in tables:
                continue
            if entry.path[:length] == ours and entry.path[length : length + 1] in ("", "."):
                continue
            try:
                facts = entry.stat()
            except OSError:  # a broken link
                listed.append((entry.path, UNREADABLE, 0, 0))
                continue
            if entry.is_file():
                listed.append((entry.path, facts.st_size, facts.st_mtime_ns, facts.st_ino & _LOWER))
            elif not entry.is_dir():  # a pipe or a device
                listed.append((entry.path, UNREADABLE, 0, 0))
            elif (facts.st_dev, facts.st_ino) not in seen and wanted_folder(Path(entry.path)):
                seen.add((facts.st_dev, facts.st_ino))
                folders.append(entry.path)
        yield listed
        waiting += reversed(folders)
