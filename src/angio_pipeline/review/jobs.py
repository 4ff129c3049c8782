"""Re-analyses that readers ask for: one at a time, each in a process of its own, with how far it is."""

from __future__ import annotations

import multiprocessing
import queue
import secrets
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from typing import Any

from angio_pipeline.review.answers import JobAnswer, JobState
from angio_pipeline.review.orders import Order, carry_out_order
from angio_pipeline.review.problems import ReviewProblem, not_found
from angio_pipeline.workers import start_method

__all__ = ["Job", "Jobs"]

_MOST_WAITING = 50
_MOST_KEPT = 500


@dataclass(slots=True)
class Job:
    """One re-analysis."""

    reader: str
    case: str
    revision: int
    order: Order
    id: str = field(default_factory=lambda: "j" + secrets.token_hex(8))
    state: JobState = JobState.WAITING
    done: int = 0
    total: int = 0
    sentence: str = "Waiting for its turn."
    not_applied: tuple[str, ...] = ()

    def answer(self) -> JobAnswer:
        """Return the job as the page is told of it."""
        return JobAnswer(
            id=self.id,
            case=self.case,
            state=self.state,
            done=self.done,
            total=self.total,
            sentence=self.sentence,
            revision=self.revision,
            not_applied=list(self.not_applied),
        )


class Jobs:
    """All re-analyses since the server was started."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[Job | None] = queue.Queue()
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._process: BaseProcess | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def add(self, job: Job) -> Job:
        """Return the job, or the one that waits or runs for the same case of the same reader.

        Raises
        ------
        ReviewProblem
            429, when too many wait.
        """
        with self._lock:
            open_jobs = [one for one in self._jobs.values() if one.state in (JobState.WAITING, JobState.RUNNING)]
            for one in open_jobs:
                if (one.reader, one.case, one.revision) == (job.reader, job.case, job.revision):
                    return one
            if len(open_jobs) >= _MOST_WAITING:
                raise ReviewProblem(429, "busy", "Expected few analyses that wait, found many; try again later.")
            for old in list(self._jobs)[: max(0, len(self._jobs) - _MOST_KEPT)]:
                if self._jobs[old].state in (JobState.DONE, JobState.FAILED):
                    del self._jobs[old]
            self._jobs[job.id] = job
        self._waiting.put(job)
        return job

    def find(self, reader: str, job_id: str) -> Job:
        """Return a job of a reader's own.

        Raises
        ------
        ReviewProblem
            404, when there is none.
        """
        with self._lock:
            job = self._jobs.get(job_id)
        if job is None or job.reader != reader:
            raise not_found("this analysis")
        return job

    def close(self) -> None:
        """End what runs, and take nothing more."""
        self._closed = True
        self._waiting.put(None)
        if self._process is not None:
            with suppress(OSError, ValueError):
                self._process.terminate()
        self._thread.join(timeout=10)

    def _work(self) -> None:
        while (job := self._waiting.get()) is not None and not self._closed:
            job.state, job.sentence = JobState.RUNNING, "Reading the source."
            try:
                self._carry_out(job)
            except Exception as error:
                self._end(job, f"Expected an analysis, found that it could not be started ({type(error).__name__}).")

    def _carry_out(self, job: Job) -> None:
        # Not a fork of this process, which would carry its locks along.
        context: Any = multiprocessing.get_context(start_method())
        told, telling = context.Pipe(duplex=False)
        self._process = context.Process(target=carry_out_order, args=(job.order, telling))
        self._process.start()
        telling.close()
        try:
            while job.state is JobState.RUNNING:
                what, value = told.recv()
                if what == "plan":
                    job.total, job.sentence = value, "Analysing."
                elif what == "done":
                    job.done = value
                elif what == "failed":
                    self._end(job, value)
                else:
                    job.not_applied = tuple(value)
                    job.state, job.sentence = JobState.DONE, "Analysed with the corrections."
        except EOFError:
            self._end(job, "Expected an analysis, found that its process ended (a crash or too little memory).")
        finally:
            told.close()
            self._process.join()
            self._process = None

    def _end(self, job: Job, sentence: str) -> None:
        job.state, job.sentence = JobState.FAILED, sentence
