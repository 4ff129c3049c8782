"""Where the tasks of a batch are worked on: in this process, in a pool, on a Dask cluster here or elsewhere.

All engines give a worker one task at a time and hold the rest back. So when a worker dies it is known which task it
had, none of its neighbours is under suspicion for waiting behind it, and the scheduler holds few tasks of many.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future as PoolFuture
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from angio_pipeline.batch.jobs import Job, do_job, give_up, live_with_parent
from angio_pipeline.batch.tasks import Outcome, run_task
from angio_pipeline.workers import process_pool

__all__ = ["Engine", "Finished", "Future", "choose_engine", "in_window", "work_here"]

MOST_IN_POOL = 64
_BEAT_S = 1.0
_PRELOAD = "angio_pipeline.batch.beforehand"

Finished = tuple[Job, Outcome]


class Future(Protocol):
    """What both a pool and a cluster promise of a job."""

    def add_done_callback(self, fn: Callable[[Any], Any], /) -> object:
        """Call `fn` with this future when it is done."""

    def result(self) -> Any:
        """Return the outcome, or raise what went wrong."""


@dataclass(frozen=True, slots=True)
class Engine:
    """Works on jobs.

    Attributes
    ----------
    name : str
        `process`, `pool` or `dask`.
    work : callable
        From jobs to each job with its outcome, as they come.
    workers : callable
        How many workers there are now.
    dashboard : str
        Address of a page about the work, empty where there is none.
    """

    name: str
    work: Callable[[Sequence[Job]], Generator[Finished, None, None]]
    workers: Callable[[], int]
    dashboard: str = ""


@contextmanager
def choose_engine(
    tasks: int,
    *,
    workers: int,
    scheduler: str | None,
    memory_mb: float | None,
    debug: bool,
    beat: Callable[[], None],
) -> Iterator[Engine]:
    """Yield the engine for a batch: a pool for few tasks, whose start takes no time, Dask for many.

    Parameters
    ----------
    scheduler : str, optional
        `local` for Dask on this machine whatever the number, or the address of a running scheduler.
    beat : callable
        Called about once a second.

    Raises
    ------
    AngioError
        When the scheduler cannot be reached.
    """
    if debug and scheduler is None:
        yield Engine("process", work_here, lambda: 1)
    elif scheduler is None and tasks <= MOST_IN_POOL:
        width = max(1, min(workers, tasks))
        yield Engine("pool", partial(_pool_work, width=width, beat=beat), lambda: width)
    else:
        from angio_pipeline.batch.cluster import open_cluster

        address = None if scheduler in (None, "local") else scheduler
        with open_cluster(address, workers=max(1, workers), memory_mb=memory_mb, beat=beat) as engine:
            yield engine


def work_here(jobs: Sequence[Job]) -> Generator[Finished, None, None]:
    """Yield the outcomes of jobs done in this process, without watch or limits."""
    for job in jobs:
        yield job, run_task(job.task, job.settings)


def in_window(
    waiting: deque[Job], submit: Callable[[Job], Future], *, width: Callable[[], int], beat: Callable[[], None]
) -> Iterator[tuple[Job, Future]]:
    """Yield jobs as they are done, never more than `width` at a time; when that is 0 the rest stays in `waiting`."""
    done: SimpleQueue[tuple[Job, Future]] = SimpleQueue()
    at_work, beaten_s = 0, time.monotonic()
    while at_work or (waiting and width() > 0):
        while waiting and at_work < width():
            job = waiting.popleft()
            submit(job).add_done_callback(partial(_tell, done, job))
            at_work += 1
        with suppress(Empty):
            finished = done.get(timeout=_BEAT_S)
            at_work -= 1
            yield finished
        if time.monotonic() - beaten_s >= _BEAT_S:
            beaten_s = time.monotonic()
            beat()


def _tell(done: SimpleQueue[tuple[Job, Future]], job: Job, future: Future) -> None:
    done.put((job, future))


def _pool_work(jobs: Sequence[Job], *, width: int, beat: Callable[[], None]) -> Generator[Finished, None, None]:
    """Yield outcomes from a pool; when a worker dies the pool is made anew, its jobs tried once more one by one."""
    # Few workers share the cores: one may use several, while many have one each.
    threads = max(1, (os.cpu_count() or 1) // width)
    waiting = deque(replace(job, threads=threads) for job in jobs)
    while waiting:
        suspects = yield from _until_one_dies(waiting, width, beat)
        for job in suspects:
            yield job, _alone(job, beat)


def _until_one_dies(waiting: deque[Job], width: int, beat: Callable[[], None]) -> Generator[Finished, None, list[Job]]:
    died: list[Job] = []
    with process_pool(width, initializer=live_with_parent, preload=_PRELOAD) as pool:
        # After a death what was not yet given to a worker waits for the next pool.
        in_turn = in_window(waiting, partial(_submit, pool), width=lambda: 0 if died else width, beat=beat)
        for job, future in in_turn:
            try:
                yield job, future.result()
            except BrokenProcessPool:
                died.append(job)
    return died


def _submit(pool: ProcessPoolExecutor, job: Job) -> Future:
    try:
        return pool.submit(do_job, job)
    except BrokenProcessPool as error:
        failed: PoolFuture[Outcome] = PoolFuture()
        failed.set_exception(error)
        return failed


def _alone(job: Job, beat: Callable[[], None]) -> Outcome:
    # The second attempt may die as well; the third reads the sign of that and says why.
    for _ in range(3):
        with process_pool(1, initializer=live_with_parent, preload=_PRELOAD) as pool:
            try:
                return pool.submit(do_job, job).result()
            except BrokenProcessPool:
                beat()
    return give_up(job, "worker_died")
