"""A task as it crosses to a worker, and what the worker does with it.

What crosses are paths, identifiers and settings; pixels stay on disk. A job says nothing of itself when it is
printed, because a path may hold a name and schedulers print what failed.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing import parent_process
from multiprocessing.process import BaseProcess

from angio_pipeline.batch.tasks import (
    Outcome,
    Settings,
    Task,
    code_version,
    fail_task,
    run_task,
    task_id,
    told_full_disk,
)
from angio_pipeline.batch.watch import Limits, past_attempts, watched
from angio_pipeline.core.errors import AngioError
from angio_pipeline.workers import hold_threads, release_memory

__all__ = ["Job", "do_job", "give_up", "live_with_parent", "make_jobs"]

_SENTENCES = {
    "timed_out": "Expected the analysis to take at most {task_s:g} s, found that it did not end; it was ended, the "
    "rest went on. Look at the file, or allow more with --task-timeout.",
    "out_of_memory": "Expected the analysis to take at most {memory_mb:.0f} MB of memory, found that it takes more; "
    "use fewer workers, or allow more with --memory-limit.",
    "worker_died": "Analysis ended the worker process twice (a crash or too little memory); the rest went on.",
}


@dataclass(frozen=True, slots=True, repr=False)
class Job:
    """One task of a batch, with all that a worker anywhere needs to know; `code` is the version that made the plan."""

    task: Task
    settings: Settings
    limits: Limits
    batch: str
    code: str
    threads: int = 1

    @property
    def id(self) -> str:
        """The task's pseudonymous name."""
        return task_id(self.task)


def make_jobs(tasks: Sequence[Task], settings: Settings, limits: Limits, batch: str) -> list[Job]:
    """Return a job for each task."""
    return [Job(task, settings, limits, batch, code_version()) for task in tasks]


def do_job(job: Job) -> Outcome:
    """Return what became of a job's task, in a process whose time and memory are watched.

    A task that ended its worker before, in the same batch, is refused instead once it may not be begun again.

    Raises
    ------
    AngioError
        When this worker has other code than the plan was made by, or the disk of the results is full.
    """
    _prepare(job.threads)
    if job.code != code_version():
        raise AngioError(
            f"Expected every worker to have the code of this command ({job.code}), found {code_version()}; "
            "install the same version on all machines.",
            reason="other_code",
        )
    past = past_attempts(job.settings.out, job.batch, job.id)
    if past.given_up:
        return give_up(job, past.given_up)
    with (
        told_full_disk(job.settings.out),
        watched(job.settings.out, job.batch, job.id, job.limits, past.count + 1) as watch,
    ):
        outcome = run_task(job.task, job.settings, watch.stages.begin)
        release_memory()
        return replace(outcome, cost=watch.cost())


def give_up(job: Job, reason: str) -> Outcome:
    """Return the refusal of a task that ended its worker; nothing of it stays behind."""
    sentence = _SENTENCES[reason].format(task_s=job.limits.task_s, memory_mb=job.limits.memory_mb or float("nan"))
    with told_full_disk(job.settings.out):
        return fail_task(job.task, job.settings, reason, sentence)


@lru_cache(maxsize=1)
def _prepare(threads: int) -> None:
    hold_threads(threads)


def live_with_parent() -> None:
    """Let this worker end when the process that started it is killed, and leave interrupts to that process.

    Else a worker would finish a task while the same batch, begun again, works on it, too.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
