"""Every case below a folder of results: read once, and again where a folder has changed.

Files are replaced by renaming (`outputs.files`), so whatever is written changes the time of its folder: a folder whose
time is the same holds what it held. What the worklist shows of a case is kept in one small file, so that the next start
reads only what is new. Requests name cases by opaque ids that are looked up here; no path comes from outside.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from angio_pipeline.core.words import counted
from angio_pipeline.outputs.files import write_json
from angio_pipeline.review.answers import CaseKind
from angio_pipeline.review.problems import not_found

__all__ = ["CaseEntry", "CaseIndex", "case_id"]

_Reader = Callable[[Path, str, int], "CaseEntry | None"]
_SCHEMA = "angio-pipeline/review-index/1"
_LIKELY = 0.5


@dataclass(frozen=True, slots=True)
class CaseEntry:
    """What the worklist knows of one case; `folder` lies below the results, `stamp_ns` is the time of that folder."""

    id: str
    kind: str
    subject: str
    folder: str
    stamp_ns: int
    date: str
    label: str
    analysed: bool
    problem: str | None
    findings: int
    likely_feeders: int
    flags: tuple[str, ...]
    thumbnail: bool
    sop_instance_uid: str


def case_id(folder: str) -> str:
    """Return the opaque id of the case in a folder, the same at every start."""
    return "c" + hashlib.sha256(folder.encode()).hexdigest()[:16]


class CaseIndex:
    """All cases of one folder of results.

    Parameters
    ----------
    out : Path
        What `angio run` wrote.
    kept : Path
        File that the index is kept in between two starts; it may be deleted at any time.
    refresh_s : float
        How long folders are trusted not to have changed.
    """

    def __init__(self, out: Path, kept: Path, *, refresh_s: float = 2.0) -> None:
        self._out, self._kept, self._refresh_s = out, kept, refresh_s
        self._entries: dict[str, CaseEntry] = {}
        self._lock, self._looking = threading.Lock(), threading.Lock()
        self._looked_at, self._complete = 0.0, False

    @property
    def complete(self) -> bool:
        """Whether all folders have been looked at once."""
        return self._complete

    @property
    def age_s(self) -> float:
        """How long ago the folders were looked at."""
        return time.monotonic() - self._looked_at if self._looked_at else 0.0

    def entries(self) -> list[CaseEntry]:
        """Return all cases, after a look at the folders where the last one is a while ago."""
        if self._complete and self.age_s > self._refresh_s:
            self.refresh()
        with self._lock:
            return list(self._entries.values())

    def entry(self, case: str, kind: CaseKind | None = None) -> CaseEntry:
        """Return one case.

        Raises
        ------
        ReviewProblem
            404, when there is none of that id and kind.
        """
        with self._lock:
            found = self._entries.get(case)
        if found is None or (kind is not None and found.kind != kind):
            raise not_found("this case")
        return found

    def of_subject(self, subject: str) -> list[CaseEntry]:
        """Return the cases of one patient, oldest first.

        Raises
        ------
        ReviewProblem
            404, when there is none.
        """
        found = [one for one in self.entries() if one.subject == subject]
        if not found:
            raise not_found("this patient")
        return sorted(found, key=lambda one: (one.date, one.kind, one.label))

    def refresh(self) -> None:
        """Look at all folders and read those that have changed; one look at a time."""
        if not self._looking.acquire(blocking=not self._complete):
            return
        try:
            known = {one.folder: one for one in (self._entries or self._read_kept()).values()}
            found: dict[str, CaseEntry] = {}
            for entry in _walk(self._out, known):
                found[entry.id] = entry
                if not self._complete:  # a first look may take a while: what is there is shown
                    with self._lock:
                        self._entries[entry.id] = entry
            changed = {one.folder: one for one in found.values()} != known
            with self._lock:
                self._entries = found
            self._looked_at, self._complete = time.monotonic(), True
            if changed:
                self._keep(found)
        finally:
            self._looking.release()

    def _read_kept(self) -> dict[str, CaseEntry]:
        try:
            content = json.loads(self._kept.read_bytes())
            if content["schema"] != _SCHEMA or content["fields"] != _names():
                return {}
            made = [CaseEntry(**{**row, "flags": tuple(row["flags"])}) for row in content["cases"]]
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return {one.id: one for one in made}

    def _keep(self, found: dict[str, CaseEntry]) -> None:
        with suppress(OSError):  # without it only the next start is slower
            rows = [asdict(one) for one in found.values()]
            write_json(self._kept, {"schema": _SCHEMA, "fields": _names(), "cases": rows})


def _names() -> list[str]:
    return [field.name for field in fields(CaseEntry)]


def _walk(out: Path, known: dict[str, CaseEntry]) -> Iterator[CaseEntry]:
    for subject in _folders(out / "subjects"):
        folder = f"subjects/{subject.name}"
        entry = _looked(out, folder, known, _read_follow_up)
        if entry is not None:
            yield entry
        for day in _folders(Path(subject.path)):
            for series in _folders(Path(day.path)):
                entry = _looked(out, f"{folder}/{day.name}/{series.name}", known, _read_run)
                if entry is not None:
                    yield entry


def _folders(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            inner = [one for one in found if not one.name.startswith(".") and one.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return sorted(inner, key=lambda one: one.name)


def _looked(out: Path, folder: str, known: dict[str, CaseEntry], read: _Reader) -> CaseEntry | None:
    """Return the case in a folder: as it is known where the folder has not changed, else as it reads."""
    try:
        stamp_ns = (out / folder).stat().st_mtime_ns
    except OSError:
        return None
    before = known.get(folder)
    if before is not None and before.stamp_ns == stamp_ns:
        return before
    return read(out, folder, stamp_ns)


def _read_run(out: Path, folder: str, stamp_ns: int) -> CaseEntry | None:
    path = out / folder
    record, document = _read(path / "record.json"), _read(path / "analysis.json")
    failure = record.get("sentence") or record.get("reason")
    if failure is None and not document:
        return None if not (path / "analysis.json").exists() else _failed(path, folder, stamp_ns, _DAMAGED)
    if failure is not None:
        return _failed(path, folder, stamp_ns, str(failure))
    try:
        return _run_entry(path, folder, stamp_ns, document)
    except (KeyError, TypeError, AttributeError):
        return _failed(path, folder, stamp_ns, _DAMAGED)


_DAMAGED = "analysis.json is there but does not follow the schema: analyse this input again."


def _run_entry(path: Path, folder: str, stamp_ns: int, document: dict[str, Any]) -> CaseEntry:
    source, tumours = document["source"], document["tumours"]
    likely = sum(feeder["probability"] >= _LIKELY for tumour in tumours for feeder in tumour["feeders"])
    return CaseEntry(
        id=case_id(folder),
        kind=CaseKind.RUN.value,
        subject=path.parent.parent.name,
        folder=folder,
        stamp_ns=stamp_ns,
        date=path.parent.name,
        label=str(source.get("description") or path.name),
        analysed=True,
        problem=None,
        findings=len(tumours),
        likely_feeders=likely,
        flags=tuple(map(str, document["quality"])),
        thumbnail=(path / "thumbnail.png").is_file(),
        sop_instance_uid=str(source["sop_instance_uid"]),
    )


def _failed(path: Path, folder: str, stamp_ns: int, sentence: str) -> CaseEntry:
    return CaseEntry(
        id=case_id(folder),
        kind=CaseKind.RUN.value,
        subject=path.parent.parent.name,
        folder=folder,
        stamp_ns=stamp_ns,
        date=path.parent.name,
        label=path.name,
        analysed=False,
        problem=sentence,
        findings=0,
        likely_feeders=0,
        flags=(),
        thumbnail=False,
        sop_instance_uid="",
    )


def _read_follow_up(out: Path, folder: str, stamp_ns: int) -> CaseEntry | None:
    path = out / folder
    failure = _read(path / "record.json").get("sentence")
    document = {} if failure else _read(path / "lipiodol.json")
    if not document and failure is None:
        return None
    lesions = document.get("lesions") or []
    liver = document.get("liver") or {}
    try:
        points = [point for lesion in (*lesions, liver) for point in lesion.get("timepoints", ())]
        flags = {str(flag) for point in points for flag in point["quality"]} | set(document.get("quality", ()))
        dates = sorted({str(point["date"]) for point in points})
    except (KeyError, TypeError, AttributeError):
        failure, flags, dates = "lipiodol.json is there but does not follow the schema: analyse it again.", set(), []
    return CaseEntry(
        id=case_id(folder),
        kind=CaseKind.FOLLOW_UP.value,
        subject=path.name,
        folder=folder,
        stamp_ns=stamp_ns,
        date=dates[-1] if dates else "undated",
        label=counted(len(dates), "date"),
        analysed=failure is None,
        problem=None if failure is None else str(failure),
        findings=len(lesions),
        likely_feeders=0,
        flags=tuple(sorted(flags)),
        thumbnail=False,
        sop_instance_uid="",
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
