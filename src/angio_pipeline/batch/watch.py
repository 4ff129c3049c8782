"""What a worker does around a task: says that it is at work, measures it, and ends itself where a limit is passed.

While a task is worked on, `OUT/logs/running/` holds its sign: which batch, which attempt, since when, where. The sign
outlives a worker that dies, whatever killed it and whoever started it, and the next attempt reads there what became of
the last one. So one law holds for a pool, a local cluster and one of many machines: a task that killed its worker
twice is not begun a third time, one that passed a limit not a second time.
"""

from __future__ import annotations

import faulthandler
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from angio_pipeline.batch.logs import FOLDER, now_text

__all__ = [
    "Attempts",
    "Cost",
    "Limits",
    "Stages",
    "clear_signs",
    "limit_tasks",
    "past_attempts",
    "read_signs",
    "watched",
]

_SAMPLE_S = 0.05
_MOST_ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class Limits:
    """What one task may take.

    Attributes
    ----------
    task_s : float
        Seconds after which a task is ended.
    memory_mb : float, optional
        Memory of its worker process at which a task is ended; None for no limit.
    """

    task_s: float = 3600.0
    memory_mb: float | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not self.task_s > 0:
            raise ValueError(f"Expected task_s above 0, found {self.task_s}.")
        if self.memory_mb is not None and not self.memory_mb > 0:
            raise ValueError(f"Expected memory_mb above 0, found {self.memory_mb}.")


def limit_tasks(task_s: float, memory_gb: float | None, *, workers: int, elsewhere: bool) -> Limits:
    """Return the limits of a task: the memory asked for, or an equal share of this machine's.

    Machines of a cluster `elsewhere` have limits of their own, so there nothing is assumed.
    """
    if memory_gb is None:
        return Limits(task_s, None if elsewhere else _machine_mb() / workers)
    return Limits(task_s, memory_gb * 1000)


def _machine_mb() -> float:
    """Return the memory of this machine, or of the container that this process is in."""
    most = float(psutil.virtual_memory().total)
    with suppress(OSError, ValueError):
        most = min(most, float(Path("/sys/fs/cgroup/memory.max").read_text()))
    return most / 1e6


@dataclass(frozen=True, slots=True)
class Cost:
    """What a task took: seconds, seconds of each stage, greatest memory of its process, where, at which attempt."""

    seconds: float
    stages: dict[str, float]
    peak_mb: float
    host: str
    pid: int
    attempt: int


@dataclass(slots=True)
class Stages:
    """A stopwatch: a stage lasts until the next one begins."""

    seconds: dict[str, float] = field(default_factory=dict)
    _name: str = ""
    _since: float = 0.0

    def begin(self, name: str) -> None:
        """Let the stage `name` begin, and the one before it end."""
        now = time.perf_counter()
        if self._name:
            self.seconds[self._name] = self.seconds.get(self._name, 0.0) + now - self._since
        self._name, self._since = name, now


@dataclass(frozen=True, slots=True)
class Attempts:
    """What became of a task's earlier attempts in this batch; `ended` is the limit that was passed, if one was."""

    count: int = 0
    ended: str = ""

    @property
    def given_up(self) -> str:
        """Why the task is not begun again: a reason's code, empty when it may be."""
        return self.ended or ("worker_died" if self.count >= _MOST_ATTEMPTS else "")


def _sign_path(out: Path, task_id: str) -> Path:
    return out / FOLDER / "running" / (task_id.replace("/", "~") + ".json")


def read_signs(out: Path, batch: str) -> list[dict[str, Any]]:
    """Return the signs of the tasks that are at work in a batch, or were when it was killed."""
    found = []
    for path in sorted((out / FOLDER / "running").glob("*.json")):
        sign = _read(path)
        if sign.get("batch") == batch:
            found.append(sign)
    return found


def clear_signs(out: Path) -> None:
    """Remove what earlier batches left, as no other is at work."""
    for path in (out / FOLDER / "running").glob("*"):
        path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        sign = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return sign if isinstance(sign, dict) else {}


def past_attempts(out: Path, batch: str, task_id: str) -> Attempts:
    """Return what the sign of a task says of its earlier attempts in this batch."""
    path = _sign_path(out, task_id)
    sign = _read(path)
    if sign.get("batch") != batch:
        return Attempts()
    with suppress(OSError):
        # The system's watchdog could do no more than write where the task hung.
        if path.with_suffix(".stack").stat().st_size > 0:
            return Attempts(sign["attempt"], "timed_out")
    return Attempts(sign["attempt"], sign.get("ended", ""))


@contextmanager
def watched(out: Path, batch: str, task_id: str, limits: Limits, attempt: int) -> Iterator[_Watch]:
    """Yield the watch over one task; its process ends when a limit is passed, and the sign says which.

    Raises
    ------
    OSError
        When the sign cannot be written.
    """
    path = _sign_path(out, task_id)
    sign = {"batch": batch, "task": task_id, "attempt": attempt, "since": now_text(), **_here()}
    _write(path, sign)
    watch = _Watch(path, sign, limits)
    stack = path.with_suffix(".stack")
    try:
        with stack.open("w", encoding="utf-8") as stream:
            # A thread of the interpreter's core that needs no lock: it also ends native code that hangs.
            faulthandler.dump_traceback_later(limits.task_s, exit=True, file=stream)
            try:
                with watch:
                    yield watch
            finally:
                faulthandler.cancel_dump_traceback_later()
    finally:
        stack.unlink(missing_ok=True)
        path.unlink(missing_ok=True)


def _here() -> dict[str, str | int]:
    return {"host": socket.gethostname(), "pid": os.getpid()}


class _Watch:
    """Samples the memory of this process until the task is done."""

    def __init__(self, path: Path, sign: dict[str, Any], limits: Limits) -> None:
        self.stages = Stages()
        self._path, self._sign, self._limits = path, sign, limits
        self._process, self._peak = psutil.Process(), 0.0
        self._began, self._done = time.perf_counter(), threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()
        self.stages.begin("")

    def cost(self) -> Cost:
        """Return what the task took until now."""
        self.stages.begin("")
        stages = {name: round(seconds, 4) for name, seconds in self.stages.seconds.items() if name}
        here, took = self._sign, time.perf_counter() - self._began
        return Cost(round(took, 4), stages, round(self._peak, 1), here["host"], here["pid"], here["attempt"])

    def _sample(self) -> None:
        while True:
            held_mb = self._process.memory_info().rss / 1e6
            self._peak = max(self._peak, held_mb)
            if self._limits.memory_mb is not None and held_mb > self._limits.memory_mb:
                with suppress(OSError):
                    _write(self._path, self._sign | {"ended": "out_of_memory"})
                os._exit(1)
            if self._done.wait(_SAMPLE_S):
                return


def _write(path: Path, sign: dict[str, Any]) -> None:
    # Loaded where signs are written: who only reads them need not wait for what writes results.
    from angio_pipeline.outputs.files import write_json

    write_json(path, sign)
