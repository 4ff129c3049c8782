"""A batch on Dask: a cluster of this machine's own, or one that runs already.

Dask carries jobs to workers and outcomes back, replaces workers that die and gives their jobs to others. How often a
job is begun is decided by its sign (`watch`), the same for every engine, so Dask is told to try more often than that.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from itertools import count
from typing import Any

import dask
from distributed import Client, LocalCluster
from distributed.scheduler import KilledWorker
from distributed.security import Security

from angio_pipeline.batch.engines import Engine, Finished, Future, in_window
from angio_pipeline.batch.jobs import Job, do_job, give_up
from angio_pipeline.batch.tasks import task_kind
from angio_pipeline.core.errors import AngioError
from angio_pipeline.workers import start_method

__all__ = ["open_cluster"]

_MOST_ATTEMPTS = 5
_CONNECT_S = 10
_SETTINGS: dict[str, Any] = {
    "distributed.scheduler.allowed-failures": _MOST_ATTEMPTS,
    "distributed.worker.multiprocessing-method": start_method(),
    "distributed.worker.preload": ["angio_pipeline.batch.dask_worker"],
    # Results are a few words: nothing to spill, and a worker that pauses for its memory would never go on.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    # A worker that is over its limit ends itself and says so; this is for one that no longer can.
    "distributed.worker.memory.terminate": 1.1,
    # Its profiler keeps the call trees of a thousand seconds: two hundred megabytes in every process.
    "distributed.worker.profile.enabled": False,
    # It keeps the last thousand messages of every connection, jobs included, to look at afterwards.
    "distributed.admin.low-level-log-length": 20,
    "distributed.worker.http.routes": [],
    "distributed.admin.tick.limit": "1h",
}


@contextmanager
def open_cluster(
    address: str | None, *, workers: int, memory_mb: float | None, beat: Callable[[], None]
) -> Iterator[Engine]:
    """Yield an engine on the cluster at `address`, or on one of `workers` processes here when that is None.

    Raises
    ------
    AngioError
        When no scheduler answers, or workers have more than one thread.
    """
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    if address is not None:
        with _connect(address) as client:
            yield _engine(client, "dask", beat)
        return
    with dask.config.set(_settings()), _local_cluster(workers, memory_mb) as cluster, Client(cluster) as client:
        yield _engine(client, "dask", beat)


def _settings() -> dict[str, Any]:
    # Without bokeh there is no dashboard, and the scheduler has no pages to show.
    return _SETTINGS if find_spec("bokeh") else _SETTINGS | {"distributed.scheduler.http.routes": []}


def _local_cluster(workers: int, memory_mb: float | None) -> LocalCluster:
    """Return a cluster that listens on loopback alone, and to nobody without the key made for it."""
    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        security=Security.temporary(),
        memory_limit=int(memory_mb * 1e6) if memory_mb else 0,
        silence_logs=logging.CRITICAL,
    )


@contextmanager
def _connect(address: str) -> Iterator[Client]:
    try:
        client = Client(address, timeout=_CONNECT_S)
    except (OSError, TimeoutError, ValueError) as error:
        raise AngioError(
            f"Expected a Dask scheduler at {address}, found none that answers ({type(error).__name__}); "
            "check the address, or leave --scheduler out.",
            reason="no_scheduler",
        ) from None
    with client:
        if any(threads != 1 for threads in client.nthreads().values()):
            raise AngioError(
                "Expected workers of one thread each, found more; start them with --nthreads 1 and as many --nworkers "
                "as there are cores.",
                reason="threaded_workers",
            )
        yield client


def _engine(client: Client, name: str, beat: Callable[[], None]) -> Engine:
    link = client.dashboard_link if find_spec("bokeh") else ""
    return Engine(name, partial(_work, client, beat=beat), lambda: len(client.nthreads()), link or "")


def _work(client: Client, jobs: Sequence[Job], *, beat: Callable[[], None]) -> Generator[Finished, None, None]:
    numbers = count()
    width = _Width(client)

    def submit(job: Job) -> Future:
        # One group for all jobs of a kind: the scheduler never forgets a group.
        key = (task_kind(job.task), f"{job.id}#{next(numbers)}")
        future: Future = client.submit(do_job, job, key=key, pure=False)
        return future

    def look() -> None:
        width.look()
        beat()

    for job, future in in_window(deque(jobs), submit, width=lambda: width.now, beat=look):
        try:
            yield job, future.result()
        except KilledWorker:
            yield job, give_up(job, "worker_died")


class _Width:
    """How many workers there are; a cluster grows and shrinks while a batch goes on."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.look()

    def look(self) -> None:
        if self._client.status != "running":
            raise AngioError(
                "Expected the Dask scheduler to go on answering, found that it is gone; "
                "run the same command again to go on.",
                reason="no_scheduler",
            )
        self.now = max(1, len(self._client.nthreads()))
