"""Work that several connections share, and that goes on over new connections when some are lost."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

from angio_pipeline.core.errors import PacsError
from angio_pipeline.pacs.settings import Retry

__all__ = ["ConnectionLost", "waits_s", "work_through"]

Job = TypeVar("Job")
Line = TypeVar("Line")


class ConnectionLost(PacsError):
    """The server is not there, or went away: what was being done may be tried again."""


def waits_s(retry: Retry, rng: random.Random) -> Iterator[float]:
    """Yield how long is waited before each further attempt, in seconds; one less than there are attempts."""
    for attempt in range(retry.attempts - 1):
        wait = min(retry.first_wait_s * retry.factor**attempt, retry.longest_wait_s)
        yield wait * (1 + retry.jitter * rng.uniform(-1, 1))


def work_through(
    jobs: Iterable[Job],
    *,
    connect: Callable[[], AbstractContextManager[Line]],
    do: Callable[[Line, Job], None],
    workers: int,
    retry: Retry,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Do every job, by so many connections at once; a job whose connection is lost is done again over a new one.

    Raises
    ------
    PacsError
        The first error that stopped a worker: a lasting one, or a connection lost `retry.attempts` times
        without a single job done in between. Jobs that were begun are ended, others are left.
    """
    crew = _Crew(jobs, connect, do, retry, sleep)
    threads = [
        threading.Thread(target=crew.work, args=(random.Random(retry.seed if retry.seed is None else retry.seed + n),))
        for n in range(min(workers, len(crew.waiting)))
    ]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    finally:  # on Ctrl-C the workers end with the jobs that they are at
        crew.ended.set()
        for thread in threads:
            thread.join()
    if crew.errors:
        raise crew.errors[0]


class _Crew(Generic[Job, Line]):
    """The jobs that wait, and the workers that take them."""

    def __init__(
        self,
        jobs: Iterable[Job],
        connect: Callable[[], AbstractContextManager[Line]],
        do: Callable[[Line, Job], None],
        retry: Retry,
        sleep: Callable[[float], object],
    ) -> None:
        self.waiting, self.errors, self.ended = deque(jobs), list[BaseException](), threading.Event()
        self._connect, self._do, self._retry, self._sleep = connect, do, retry, sleep

    def work(self, rng: random.Random) -> None:
        """Take jobs until none is left, with a new connection whenever one is lost."""
        waits = waits_s(self._retry, rng)
        while not self.ended.is_set():
            try:
                with self._connect() as line:
                    while (job := self._take()) is not None:
                        self._try(line, job)
                        waits = waits_s(self._retry, rng)
                return
            except ConnectionLost as error:
                wait = next(waits, None)
                if wait is None:
                    return self._stop(error)
                self._sleep(wait)
            except BaseException as error:
                return self._stop(error)

    def _try(self, line: Line, job: Job) -> None:
        try:
            self._do(line, job)
        except ConnectionLost:
            self.waiting.appendleft(job)
            raise

    def _take(self) -> Job | None:
        if self.ended.is_set():
            return None
        try:
            return self.waiting.popleft()
        except IndexError:
            return None

    def _stop(self, error: BaseException) -> None:
        self.errors.append(error)
        self.ended.set()
