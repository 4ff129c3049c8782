"""The log of a batch, one JSON object a line, and the lock that says whether its process lives.

`OUT/logs/<run id>.jsonl` is written by the main process alone, so that lines are whole; a line that was cut short
when the process was killed is the last one, and is passed over by who reads. Identifiers are pseudonyms: no path of
a source is ever written. Time of day is told, but never computed with: durations come from a clock that cannot go back.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import psutil

from angio_pipeline.core.errors import AngioError
from angio_pipeline.core.locks import try_lock

__all__ = ["FOLDER", "BatchLog", "held", "latest_log", "now_text", "open_log", "read_events", "resident_mb"]

FOLDER = "logs"
_SCHEMA = "angio-pipeline/log/1"
_LOCK = "lock"
_TRIES, _BETWEEN_S = 5, 0.1


def now_text() -> str:
    """Return the time of day in UTC, as ISO 8601 in milliseconds."""
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds")


def resident_mb() -> float:
    """Return the memory that this process holds, MB."""
    return float(psutil.Process().memory_info().rss) / 1e6


@dataclass(slots=True)
class BatchLog:
    """An open log; every line says which batch it belongs to and how long that has gone on."""

    run_id: str
    stream: IO[str]
    began: float = field(default_factory=time.monotonic)

    def elapsed_s(self) -> float:
        """Return the seconds since the batch began; a clock that was set back makes no difference."""
        return time.monotonic() - self.began

    def write(self, event: str, **fields: object) -> None:
        """Append one line and hand it to the system.

        Raises
        ------
        OSError
            When it cannot be written.
        """
        head = {"run_id": self.run_id, "time": now_text(), "elapsed_s": round(self.elapsed_s(), 3), "event": event}
        self.stream.write(json.dumps(head | fields, ensure_ascii=False, allow_nan=False) + "\n")
        self.stream.flush()


@contextmanager
def open_log(out: Path) -> Iterator[BatchLog]:
    """Yield the log of a new batch below `out`, whose lock is held meanwhile.

    Raises
    ------
    AngioError
        When another batch is at work in the same folder.
    OSError
        When the folder cannot be written.
    """
    folder = out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(folder / _LOCK):
        # Numbered, since a clock that was set back would let a later batch look like an earlier one.
        number = 1 + max((int(path.name[:5]) for path in _logs(folder)), default=0)
        run_id = f"{number:05d}-{now_text()[:19].replace(':', '').replace('-', '')}"
        with (folder / f"{run_id}.jsonl").open("a", encoding="utf-8") as stream:
            log = BatchLog(run_id, stream)
            log.write("begin", schema=_SCHEMA, host=socket.gethostname(), pid=os.getpid())
            yield log


def _logs(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.jsonl") if path.name[:5].isdigit())


def latest_log(out: Path) -> Path | None:
    """Return the log of the last batch below `out`, None where there was none."""
    logs = _logs(out / FOLDER)
    return logs[-1] if logs else None


def read_events(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the lines of a log; one that was cut short is left out."""
    with path.open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            with suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict):
                    yield event


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    # The system gives the lock back when the process ends, however it ends.
    with path.open("a", encoding="utf-8") as stream:
        if _lock_stays_held(stream):
            raise AngioError(
                f"Expected no other batch at work in {path.parent.parent}, found one; "
                "wait for it (angio status), or name another --out.",
                reason="busy",
            )
        yield


def _lock_stays_held(stream: IO[str]) -> bool:
    # Whoever asks how a batch stands has the lock for a moment.
    for _ in range(_TRIES):
        if try_lock(stream) is not False:
            return False
        time.sleep(_BETWEEN_S)
    return True


def held(out: Path) -> bool | None:
    """Return whether a batch is at work below `out`; None where that cannot be told."""
    path = out / FOLDER / _LOCK
    if not path.is_file():
        return False
    with path.open(encoding="utf-8") as stream:
        had = try_lock(stream)
    return None if had is None else not had
