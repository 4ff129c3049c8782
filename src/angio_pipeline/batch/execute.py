"""Carry a plan out: tasks in worker processes, then each patient's page, the worklist, the tables.

Tasks run in processes of their own even when there is one worker, because a decoder that
crashes on a hostile file must not take its neighbours along. A worker that dies is replaced;
its unfinished tasks are tried once more one by one, and the one that kills again is refused.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from angio_pipeline import outputs
from angio_pipeline.batch.plan import Plan
from angio_pipeline.batch.tasks import Outcome, Settings, Task, refuse, run_task
from angio_pipeline.core.errors import AngioError
from angio_pipeline.core.results import Refusal
from angio_pipeline.workers import hold_threads, import_ahead, start_method

__all__ = ["BatchReport", "execute"]


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What became of a batch."""

    analysed: int
    resumed: int
    refusals: tuple[Refusal, ...]
    subjects: tuple[str, ...]


def execute(
    plan: Plan,
    settings: Settings,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Callable[[Outcome], None] = lambda outcome: None,
) -> BatchReport:
    """Return what became of every task, after all files are written.

    Parameters
    ----------
    workers : int
        Processes on this machine.
    scheduler : str, optional
        Address of a running Dask scheduler that is used instead (needs the extra `[cluster]`).
    progress : callable
        Told of each outcome as it comes.
    """
    tasks: list[Task] = [*plan.runs, *plan.follow_ups]
    outcomes = []
    for outcome in _outcomes(tasks, settings, workers, scheduler):
        outcomes.append(outcome)
        progress(outcome)
    # Projections and comparisons stand on what their runs' analyses wrote; they are no input, and not counted as one.
    together: list[Task] = [*plan.projections, *plan.comparisons]
    compared = []
    for outcome in _outcomes(together, settings, workers, scheduler):
        compared.append(outcome)
        progress(outcome)
    refusals = (*plan.refusals, *(r for o in (*outcomes, *compared) for r in o.refusals))
    subjects = tuple(sorted({task.subject for task in tasks}))
    _write_pages(settings, subjects, refusals)
    return BatchReport(
        analysed=sum(o.analysed for o in outcomes),
        resumed=sum(o.resumed for o in outcomes),
        refusals=refusals,
        subjects=subjects,
    )


def _write_pages(settings: Settings, subjects: Sequence[str], refusals: Sequence[Refusal]) -> None:
    settings.out.mkdir(parents=True, exist_ok=True)
    outputs.write_refused(settings.out, refusals)
    for subject in subjects:
        folder = settings.out / "subjects" / subject
        if folder.is_dir():
            outputs.write_report(folder)
    outputs.write_tables(settings.out)
    outputs.write_index(settings.out)


def _outcomes(tasks: Sequence[Task], settings: Settings, workers: int, scheduler: str | None) -> Iterator[Outcome]:
    if settings.debug and scheduler is None:
        yield from (run_task(task, settings) for task in tasks)
        return
    unfinished = yield from _round(tasks, settings, lambda: _pool(min(workers, len(tasks)), scheduler))
    for task in unfinished:
        again = yield from _round([task], settings, lambda: _pool(1, scheduler))
        if again:
            sentence = "Analysis ended the worker process twice (a crash or too little memory); the rest went on."
            yield Outcome(task.subject, analysed=False, refusals=refuse(task, "worker_died", sentence))


def _round(
    tasks: Sequence[Task], settings: Settings, make_pool: Callable[[], AbstractContextManager[Executor]]
) -> Generator[Outcome, None, list[Task]]:
    """Yield the outcomes of tasks whose worker lived; return the tasks whose worker died."""
    died: list[Task] = []
    if not tasks:
        return died
    with make_pool() as pool:
        waiting = {pool.submit(run_task, task, settings): task for task in tasks}
        # For the pages, while others work.
        import_ahead("duckdb", "jinja2")
        for future in as_completed(waiting):
            try:
                yield future.result()
            except BrokenProcessPool:
                died.append(waiting[future])
    return died


@contextmanager
def _pool(workers: int, scheduler: str | None) -> Iterator[Executor]:
    if scheduler is None:
        context = multiprocessing.get_context(start_method())
        threads = max(1, (os.cpu_count() or 1) // max(1, workers))
        with ProcessPoolExecutor(
            max(1, workers), mp_context=context, initializer=hold_threads, initargs=(threads,)
        ) as pool:
            yield pool
        return
    try:
        from distributed import Client
    except ImportError:
        raise AngioError(
            "Expected the extra [cluster] for --scheduler, found no dask.distributed; install angio-pipeline[cluster].",
            reason="missing_extra",
        ) from None
    with Client(scheduler, timeout="10s") as client:
        # A cluster has as many worker processes as it should use cores.
        client.run(hold_threads, 1)
        yield client.get_executor()
