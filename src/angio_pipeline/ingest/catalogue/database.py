"""The catalogue's file: a draft beside it takes what is read, a transaction a chunk, and replaces it at the end.

Whatever ends a scan leaves the former catalogue as it was and a draft that the next scan goes on from. What a
draft or a catalogue knows is only believed where the folders still list the same file, so that neither can
make a wrong catalogue.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from angio_pipeline.core.errors import ConfigError
from angio_pipeline.ingest.catalogue.tables import READ, VERSION, comments_sql, create_sql

__all__ = [
    "Error",
    "Known",
    "Sources",
    "delete_files",
    "finish_scan",
    "insert",
    "known_files",
    "open_draft",
    "read_sources",
    "replace_catalogue",
    "set_digests",
]

Error = duckdb.Error
Known = dict[str, tuple[str, int, int, int]]
"""file_id -> (source_id, size_bytes, mtime_ns, inode) of the files outside of archives."""

Sources = dict[str, tuple[str, int]]
"""source_id -> (digest of what its folders list, number of files)."""

# A scan stays small beside its workers; what does not fit the database keeps on disk by itself.
_MEMORY = "96MB"


def draft_of(catalogue: Path) -> Path:
    """Return where the draft of a catalogue is."""
    return catalogue.with_name(catalogue.name + ".partial")


def _connect(path: Path, *, read_only: bool = False) -> Any:
    config = {"threads": 1, "memory_limit": _MEMORY, "temp_directory": f"{draft_of(path)}.tmp"}
    try:
        return duckdb.connect(str(path), read_only=read_only, config=config)
    except duckdb.Error as error:
        raise _refusal(path, error) from None


def _refusal(path: Path, error: Exception) -> ConfigError:
    if "lock" in str(error):
        return ConfigError(
            f"Expected {path.name} for this scan alone, found it open in another process; wait for that one."
        )
    return ConfigError(
        f"Expected a catalogue at {path.name}, found another or a damaged file; move it away or name another file."
    )


def read_sources(catalogue: Path, check: str) -> Sources | None:
    """Return what the sources of a catalogue listed; None where there is none or other rules wrote it.

    Raises
    ------
    ConfigError
        When the file is no catalogue, is in use, or was made with another pseudonym key.
    """
    if not catalogue.is_file():
        return None
    connection = _connect(catalogue, read_only=True)
    try:
        return _sources(connection, check)
    except (duckdb.Error, TypeError) as error:
        raise _refusal(catalogue, error) from None
    finally:
        connection.close()


def _sources(connection: Any, check: str) -> Sources | None:
    told = connection.execute("SELECT version, key_check FROM scans ORDER BY scan DESC LIMIT 1").fetchone()
    version, key_check = told
    if key_check != check:
        raise ConfigError(
            "Expected the pseudonym key that the catalogue was made with, found another one; use that key, "
            "or name another file."
        )
    if version != VERSION:
        return None
    rows = connection.execute("SELECT source_id, listing_digest, files FROM sources").fetchall()
    return {source: (digest, files) for source, digest, files in rows}


def known_files(connection: Any) -> Known:
    """Return the files that an open catalogue or draft holds."""
    asked = connection.execute(
        "SELECT file_id, source_id, size_bytes, mtime_ns, inode FROM files WHERE archive_id IS NULL"
    )
    known: Known = {}
    while rows := asked.fetchmany(10_000):  # all at once would be held twice
        known.update((file_id, (sys.intern(source), *facts)) for file_id, source, *facts in rows)
    return known


def open_draft(catalogue: Path, check: str, sources: Sequence[str], *, take_over: bool) -> Any:
    """Return a connection to the draft: that of an ended scan of these sources, else a new one.

    Parameters
    ----------
    take_over : bool
        Whether a new draft begins with what the catalogue holds.

    Raises
    ------
    ConfigError
        When another scan is writing it.
    """
    draft = draft_of(catalogue)
    if draft.exists():
        connection = _gone_on(draft, check, sources)
        if connection is not None:
            return connection
    remove_draft(catalogue)
    connection = _connect(draft)
    draft.chmod(0o600)
    if take_over:
        connection.execute(f"ATTACH '{_quoted(catalogue)}' AS former (READ_ONLY)")
    connection.begin()
    for name in READ:
        connection.execute(create_sql(name))
        if take_over:
            connection.execute(f'INSERT INTO "{name}" SELECT * FROM former."{name}"')
    _begin_scan(connection, check, sources)
    connection.commit()
    if take_over:
        connection.execute("DETACH former")
    return connection


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _gone_on(draft: Path, check: str, sources: Sequence[str]) -> Any:
    """Return a connection to the draft that an ended scan left, None where it is of no use."""
    try:
        connection = duckdb.connect(str(draft), config={"threads": 1, "memory_limit": _MEMORY})
    except duckdb.Error as error:
        if "lock" in str(error):
            raise _refusal(draft, error) from None
        return None
    with suppress(duckdb.Error, TypeError):
        last = connection.execute("SELECT version, key_check, sources FROM scans ORDER BY scan DESC LIMIT 1").fetchone()
        # Of a source that is not scanned now the draft would hold a part for good.
        if last[0] == VERSION and last[1] == check and set(last[2].split()) <= set(sources):
            connection.execute(
                "UPDATE scans SET sources = ? WHERE scan = (SELECT max(scan) FROM scans)", [_told(sources)]
            )
            return connection
    connection.close()
    return None


def _told(sources: Sequence[str]) -> str:
    return " ".join(sorted(sources))


def _begin_scan(connection: Any, check: str, sources: Sequence[str]) -> None:
    connection.execute(
        "INSERT INTO scans SELECT coalesce(max(scan), 0) + 1, ?, ?, ?, ?, NULL, NULL, NULL, NULL FROM scans",
        [VERSION, check, _told(sources), datetime.now(UTC).replace(tzinfo=None)],
    )


def remove_draft(catalogue: Path) -> None:
    """Remove the draft and what the database keeps beside it."""
    draft = draft_of(catalogue)
    for path in (draft, draft.with_name(draft.name + ".wal")):
        path.unlink(missing_ok=True)


def insert(connection: Any, table: str, rows: Iterable[Sequence[Any]]) -> None:
    """Add rows, column by column: row by row would take a millisecond each."""
    columns = [_column(values) for values in zip(*rows, strict=True)]
    if not columns:
        return
    kinds = [kind for kind, _ in READ[table].columns.values()]
    connection.register("arrived", {f"c{k}": column for k, column in enumerate(columns)})
    casts = ", ".join(f"CAST(c{k} AS {kind})" for k, kind in enumerate(kinds))
    connection.execute(f'INSERT INTO "{table}" SELECT {casts} FROM arrived')
    connection.unregister("arrived")


def _column(values: Sequence[Any]) -> np.ndarray[Any, Any]:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def delete_files(connection: Any, file_ids: Sequence[str]) -> None:
    """Forget files, and the members of those that are archives."""
    if not file_ids:
        return
    connection.register("leaving", {"file_id": _column(file_ids)})
    connection.execute("CREATE TEMP TABLE gone AS SELECT CAST(file_id AS VARCHAR) AS file_id FROM leaving")
    connection.unregister("leaving")
    connection.execute("INSERT INTO gone SELECT file_id FROM files WHERE archive_id IN (SELECT file_id FROM gone)")
    for table in ("headers", "listed", "files"):
        connection.execute(f"DELETE FROM {table} WHERE file_id IN (SELECT file_id FROM gone)")
    connection.execute("DROP TABLE gone")


def set_digests(connection: Any, digests: Sequence[tuple[str, str | None]]) -> None:
    """Enter the digests of whole files by their identifier."""
    if digests:
        ids, sha256 = (_column(values) for values in zip(*digests, strict=True))
        connection.register("arrived", {"file_id": ids, "sha256": sha256})
        connection.execute(
            "UPDATE files SET content_sha256 = CAST(arrived.sha256 AS VARCHAR) FROM arrived "
            "WHERE files.file_id = CAST(arrived.file_id AS VARCHAR)"
        )
        connection.unregister("arrived")


def finish_scan(connection: Any, facts: Sequence[float], sources: Sources) -> None:
    """Enter what a scan did (seconds, files found, read, removed) and what its sources list now."""
    connection.execute(
        "UPDATE scans SET seconds = ?, found = ?, read = ?, removed = ? WHERE scan = (SELECT max(scan) FROM scans)",
        list(facts),
    )
    for source_id, (digest, files) in sources.items():
        connection.execute("DELETE FROM sources WHERE source_id = ?", [source_id])
        connection.execute("INSERT INTO sources VALUES (?, ?, ?)", [source_id, digest, files])


def replace_catalogue(connection: Any, catalogue: Path) -> None:
    """Close the draft and put it in the catalogue's place: a reader sees the former one or the new one."""
    connection.execute(comments_sql())
    connection.execute("CHECKPOINT")
    connection.close()
    # A log that somebody left beside the former catalogue must not be played into the new one.
    catalogue.with_name(catalogue.name + ".wal").unlink(missing_ok=True)
    draft_of(catalogue).replace(catalogue)
