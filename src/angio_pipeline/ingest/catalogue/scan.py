"""`scan`: from disks to a catalogue, reading only what changed since the last time.

1. The folders are listed; no file is opened.
2. What the catalogue (or the draft of a scan that was ended) does not hold as it is listed is read by
   worker processes, some hundred files at a time, each chunk one transaction.
3. Files that may be copies of each other are compared whole.
4. Series, patients, pairs, the timeline, look-alikes and problems follow from that.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

from angio_pipeline.core.errors import AngioError, ConfigError
from angio_pipeline.ingest.catalogue import database
from angio_pipeline.ingest.catalogue.derive import derive
from angio_pipeline.ingest.catalogue.keyed import file_key, key_check
from angio_pipeline.ingest.catalogue.reading import Rows, Task, content_digests, lost_digest, lost_file, read_files
from angio_pipeline.ingest.catalogue.walk import entries, listing_digest
from angio_pipeline.ingest.pseudonym import read_key
from angio_pipeline.workers import end_with_parent, process_pool, warm_up

__all__ = ["Progress", "ScanReport", "locate", "scan"]

Progress = Callable[[int, int], None]
"""Told after each chunk: files done so far, files in all."""

_CHUNK = 500
_PRELOAD = "angio_pipeline.ingest.catalogue.reading"
_FEW = 300
_Given = TypeVar("_Given")
_Got = TypeVar("_Got")


@dataclass(frozen=True, slots=True)
class ScanReport:
    """What a scan did.

    Attributes
    ----------
    found, read, removed : int
        Files that the folders list, that were opened, that were in the catalogue and are gone or changed.
    seconds : float
        Wall time.
    """

    found: int
    read: int
    removed: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Root:
    path: Path
    source_id: str
    apart: Path | None


@dataclass(slots=True)
class _Change:
    """What the folders list against what is known; `pending` are file_ids to read, `gone` those to forget."""

    found: Counter[str]
    pending: set[str]
    gone: list[str]


def scan(sources: Sequence[Path], catalogue: Path, *, workers: int = 1, progress: Progress | None = None) -> ScanReport:
    """Bring a catalogue up to date with its sources; what it holds of other sources stays.

    A scan that finds every file as it was writes nothing. Files are read by other processes, which load
    the script that calls this: it does so below `if __name__ == "__main__":`.

    Parameters
    ----------
    sources : sequence of Path
        DICOM files, folders, archives; a DICOMDIR stands for its folder.
    workers : int
        Processes that read; one when there are few files.

    Raises
    ------
    ConfigError
        When a source is not there, or the catalogue is another file, in use, or made with another key.
    AngioError
        When a worker process died or the disk is full; the same scan goes on from there.
    """
    start = perf_counter()
    key, catalogue = read_key(), catalogue.resolve()
    check, roots = key_check(key), _roots(sources, key, catalogue)
    former = database.read_sources(catalogue, check)
    listed = {root.source_id: listing_digest(root.path, key, root.apart) for root in roots}
    if former is not None and all(former.get(source, ("", 0))[0] == digest for source, digest in listed.items()):
        return ScanReport(sum(former[source][1] for source in listed), 0, 0, perf_counter() - start)
    warm_up([_PRELOAD])  # while the catalogue is opened; nothing where the server is there
    connection = database.open_draft(catalogue, check, list(listed), take_over=former is not None)
    try:
        change = _compare(roots, database.known_files(connection), key)
        _update(connection, catalogue, roots, change, key, workers, progress or (lambda done, total: None))
        report = ScanReport(sum(change.found.values()), len(change.pending), len(change.gone), perf_counter() - start)
        facts = (report.seconds, report.found, report.read, report.removed)
        counts = {source: (digest, change.found[source]) for source, digest in listed.items()}
        database.finish_scan(connection, facts, counts)
        database.replace_catalogue(connection, catalogue)
    except database.Error as error:
        sentence = (
            f"Expected to write {catalogue.name}, found a {type(error).__name__}; make room on its disk and scan again."
        )
        raise AngioError(sentence) from None
    finally:
        connection.close()
    return report


def locate(sources: Sequence[Path], file_ids: set[str] | None = None) -> Iterator[tuple[str, Path]]:
    """Yield the identifier and path of every file of the sources, or of those asked for.

    The catalogue holds no paths, as they may name patients; who has the disk and the key finds files so.

    Raises
    ------
    ConfigError
        When a source is not there.
    """
    key = read_key()
    for task in _tasks(_roots(sources, key), key):
        if file_ids is None or task.file_id in file_ids:
            yield task.file_id, Path(task.path)


def _roots(sources: Sequence[Path], key: bytes, apart: Path | None = None) -> list[_Root]:
    roots = {}
    for source in sources:
        if not source.exists():
            raise ConfigError(f"Expected a file or folder, found nothing at {source}.")
        whole = source.resolve()
        place = whole.parent if whole.is_file() and whole.name.upper() == "DICOMDIR" else whole
        roots[place] = _Root(place, file_key(f"source {place}", key), apart)
    return list(roots.values())


def _tasks(roots: Sequence[_Root], key: bytes) -> Iterator[Task]:
    """Yield every file that the folders list, each once."""
    for number, root in enumerate(roots):
        others = [other.path for other in roots[:number]]
        for entry in entries(root.path, root.apart):
            if not others or not any(Path(entry[0]).is_relative_to(other) for other in others):
                yield Task(entry, file_key(entry[0], key), root.source_id)


def _compare(roots: Sequence[_Root], known: database.Known, key: bytes) -> _Change:
    ours = {root.source_id for root in roots}
    left = dict(known)
    found: Counter[str] = Counter()
    pending = set()
    for (_, size, mtime_ns, inode), file_id, source_id, *_ in _tasks(roots, key):
        found[source_id] += 1
        before = left.get(file_id)
        if before is not None and before[1:] == (max(size, 0), mtime_ns, inode):
            del left[file_id]
        else:
            pending.add(file_id)
    return _Change(found, pending, [i for i, facts in left.items() if facts[0] in ours or i in pending])


def _update(
    connection: Any,
    catalogue: Path,
    roots: Sequence[_Root],
    change: _Change,
    key: bytes,
    workers: int,
    progress: Progress,
) -> None:
    workspace = catalogue.with_name(catalogue.name + ".unpacked")
    with _transaction(connection):
        database.delete_files(connection, change.gone)
    (number,) = connection.execute("SELECT max(scan) FROM scans").fetchone()
    tasks = (task for task in _tasks(roots, key) if task.file_id in change.pending)
    shutil.rmtree(workspace, ignore_errors=True)
    workspace.mkdir(mode=0o700)  # what is unpacked there names patients
    try:
        width = 1 if len(change.pending) <= _FEW else workers
        done = 0
        for chunk, rows in _each_chunk(width, tasks, read_files, lost_file, key, workspace, number):
            _store(connection, rows)
            done += len(chunk)
            progress(done, len(change.pending))
        _compare_copies(connection, roots, key, width)
    finally:
        shutil.rmtree(workspace, ignore_errors=True)
    with _transaction(connection):
        derive(connection)


@contextmanager
def _transaction(connection: Any) -> Iterator[None]:
    connection.begin()
    yield
    connection.commit()


def _each_chunk(
    workers: int,
    given: Iterator[_Given],
    work: Callable[..., _Got],
    lost: Callable[..., _Got],
    *arguments: object,
) -> Iterator[tuple[list[_Given], _Got]]:
    """Yield chunks with what `work` made of them, in any order; only a few are under way at a time.

    No file is opened in this process, however few there are: one that ends its reader would end the scan. When a worker
    dies, what was under way is done file by file, and what ends its worker then is given to `lost` in place of `work`.
    """
    chunks = iter(lambda: list(islice(given, _CHUNK)), [])
    while True:
        died: list[list[_Given]] = []
        with _pool(workers) as pool:
            yield from _until_one_dies(pool, 2 * workers, chunks, died, work, *arguments)
        if not died:
            return
        yield from _one_by_one([one for chunk in died for one in chunk], work, lost, *arguments)


def _pool(workers: int) -> AbstractContextManager[Executor]:
    return process_pool(workers, initializer=end_with_parent, preload=_PRELOAD)


def _until_one_dies(
    pool: Executor,
    width: int,
    chunks: Iterator[list[_Given]],
    died: list[list[_Given]],
    work: Callable[..., _Got],
    *arguments: object,
) -> Iterator[tuple[list[_Given], _Got]]:
    """Yield chunks that were done; once a worker dies none is begun, and those under way are added to `died`."""
    waiting: dict[Future[_Got], list[_Given]] = {}
    while True:
        while not died and len(waiting) <= width and (chunk := next(chunks, None)) is not None:
            try:
                waiting[pool.submit(work, chunk, *arguments)] = chunk
            except BrokenProcessPool:
                died.append(chunk)
        if not waiting:
            return
        for future in wait(waiting, return_when=FIRST_COMPLETED).done:
            chunk = waiting.pop(future)
            if isinstance(future.exception(), BrokenProcessPool):
                died.append(chunk)
            else:
                yield chunk, future.result()


def _one_by_one(
    waiting: list[_Given], work: Callable[..., _Got], lost: Callable[..., _Got], *arguments: object
) -> Iterator[tuple[list[_Given], _Got]]:
    """Yield each with what `work` made of it alone, or `lost` where that ended the worker; the next has another one."""
    rest = iter(waiting)
    for first in rest:
        with _pool(1) as pool:
            for one in chain([first], rest):
                try:
                    got = pool.submit(work, [one], *arguments).result()
                except BrokenProcessPool:
                    yield [one], lost(one, *arguments)
                    break
                yield [one], got


def _store(connection: Any, rows: Rows) -> None:
    with _transaction(connection):
        database.insert(connection, "files", rows.files)
        database.insert(connection, "headers", rows.headers)
        database.insert(connection, "persons", rows.persons)
        database.insert(connection, "listed", rows.listed)


_MAY_BE_COPIES = """
    WITH held AS (
        SELECT f.file_id, f.archive_id, f.content_sha256, h.sop_instance_uid, f.size_bytes, f.header_digest
        FROM files f JOIN headers h USING (file_id)
    )
    SELECT file_id FROM held WHERE archive_id IS NULL AND content_sha256 IS NULL AND (
        sop_instance_uid IN (SELECT sop_instance_uid FROM held GROUP BY ALL HAVING count(*) > 1)
        OR (size_bytes, header_digest) IN (SELECT (size_bytes, header_digest) FROM held
                                           GROUP BY size_bytes, header_digest HAVING count(*) > 1))
"""


def _compare_copies(connection: Any, roots: Sequence[_Root], key: bytes, workers: int) -> None:
    """Hash the whole content of those files that may be copies of others; nothing else is read whole."""
    wanted = {file_id for (file_id,) in connection.execute(_MAY_BE_COPIES).fetchall()}
    if not wanted:
        return
    found = ((task.file_id, task.path) for task in _tasks(roots, key) if task.file_id in wanted)
    for _, digests in _each_chunk(workers, found, content_digests, lost_digest):
        with _transaction(connection):
            database.set_digests(connection, digests)
