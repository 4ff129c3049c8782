"""What the folders list, without opening a single file: path, size, time of change and inode."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from angio_pipeline.ingest.files import wanted_folder

__all__ = ["UNREADABLE", "Entry", "entries"]

_LOWER = (1 << 63) - 1
UNREADABLE = -1
"""The size that stands for what is there and cannot be listed: a folder without permission, a broken link."""


class Entry(NamedTuple):
    """A file as its folder lists it."""

    path: str
    size: int
    mtime_ns: int
    inode: int


def entries(source: Path) -> Iterator[Entry]:
    """Yield every file below a folder (or the file itself), in a fixed order.

    Left out, as everywhere: hidden files, folders named `truth`, results of earlier runs. Links to folders are
    followed, each folder once. What cannot be listed comes with the size `UNREADABLE`.
    """
    if source.is_file():
        facts = source.stat()
        yield Entry(str(source), facts.st_size, facts.st_mtime_ns, facts.st_ino & _LOWER)
        return
    facts = source.stat()
    yield from _below(str(source), {(facts.st_dev, facts.st_ino)})


def _below(folder: str, seen: set[tuple[int, int]]) -> Iterator[Entry]:
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            with os.scandir(here) as listing:
                found = sorted(listing, key=lambda entry: entry.name)
        except OSError:
            yield Entry(here, UNREADABLE, 0, 0)
            continue
        folders = []
        for entry in found:
            if entry.name.startswith("."):
                continue
            try:
                facts = entry.stat()
                is_folder = entry.is_dir()
            except OSError:  # a broken link
                yield Entry(entry.path, UNREADABLE, 0, 0)
                continue
            if not is_folder:
                size = facts.st_size if entry.is_file() else UNREADABLE
                yield Entry(entry.path, size, facts.st_mtime_ns, facts.st_ino & _LOWER)
            elif (facts.st_dev, facts.st_ino) not in seen and wanted_folder(Path(entry.path)):
                seen.add((facts.st_dev, facts.st_ino))
                folders.append(entry.path)
        waiting += reversed(folders)
