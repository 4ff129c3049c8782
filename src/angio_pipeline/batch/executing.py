"""Carry a plan out: tasks in worker processes, then each patient's page, the worklist, the tables.

Tasks run in processes of their own even when there is one worker, because a decoder that
crashes on a hostile file must not take its neighbours along. A worker that dies is replaced;
its task is tried once more, and one that kills again is refused. What is done is told in the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from angio_pipeline import outputs
from angio_pipeline.batch.engines import Engine, choose_engine, work_here
from angio_pipeline.batch.jobs import Job, make_jobs
from angio_pipeline.batch.logs import BatchLog, open_log, resident_mb
from angio_pipeline.batch.plan import Plan, ReportTask
from angio_pipeline.batch.tasks import Outcome, Settings, Task, code_version, task_kind, told_full_disk
from angio_pipeline.batch.watch import Limits, clear_signs
from angio_pipeline.core.errors import AngioError
from angio_pipeline.core.results import Refusal
from angio_pipeline.workers import import_ahead

__all__ = ["BatchReport", "execute"]

_BEAT_S = 30.0


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
    limits: Limits | None = None,
    progress: Callable[[Outcome], None] = lambda outcome: None,
    started: Callable[[Engine], None] = lambda engine: None,
) -> BatchReport:
    """Return what became of every task, after all files are written.

    Parameters
    ----------
    workers : int
        Processes on this machine.
    scheduler : str, optional
        `local` for Dask on this machine also for few tasks, or the address of a Dask scheduler that runs already.
    limits : Limits, optional
        What one task may take.
    progress : callable
        Told of each outcome as it comes.
    started : callable
        Told of the engine when it is there.

    Raises
    ------
    AngioError
        When another batch is at work in the same folder, the disk is full, or the scheduler does not answer.
    """
    given = limits or Limits()
    with told_full_disk(settings.out), open_log(settings.out) as log, _told_end(log):
        book = _Book(log, progress)
        clear_signs(settings.out)
        _clear_leftovers(settings)
        log.write("plan", code=code_version(), **_planned(plan), task_s=given.task_s, memory_mb=given.memory_mb)
        with choose_engine(
            len(plan),
            workers=workers,
            scheduler=scheduler,
            memory_mb=given.memory_mb,
            debug=settings.debug,
            beat=book.beat,
        ) as engine:
            log.write("engine", name=engine.name, workers=engine.workers())
            started(engine)
            make = partial(make_jobs, settings=settings, limits=given, batch=log.run_id)
            report = _carry_out(plan, engine, book, make, settings.out)
        log.write("tables")
        _write_overview(settings, report.refusals)
        return report


def _carry_out(
    plan: Plan, engine: Engine, book: _Book, make: Callable[[Sequence[Task]], list[Job]], out: Path
) -> BatchReport:
    tasks: list[Task] = [*plan.runs, *plan.follow_ups]
    outcomes = book.follow(engine, make(tasks))
    # Projections and comparisons stand on what their runs' analyses wrote; they are no input, and not counted as one.
    compared = book.follow(engine, make([*plan.projections, *plan.comparisons]))
    subjects = tuple(sorted({task.subject for task in tasks}))
    # Whatever changes a patient's results takes the page away; one that is there need not be written anew.
    outdated = [ReportTask(subject) for subject in subjects if not _page(out, subject).exists()]
    pages = book.write_reports(engine, make(outdated))
    return BatchReport(
        analysed=sum(o.analysed for o in outcomes),
        resumed=sum(o.resumed for o in outcomes),
        refusals=(*plan.refusals, *(r for o in (*outcomes, *compared, *pages) for r in o.refusals)),
        subjects=subjects,
    )


def _page(out: Path, subject: str) -> Path:
    return out / "subjects" / subject / ReportTask(subject).folder


def _planned(plan: Plan) -> dict[str, object]:
    parts = {
        "run": len(plan.runs),
        "follow-ups": len(plan.follow_ups),
        "projections": len(plan.projections),
        "comparison": len(plan.comparisons),
    }
    return {"tasks": len(plan), "kinds": parts, "refused_before": len(plan.refusals)}


@dataclass(slots=True)
class _Book:
    """Enters every outcome into the log, and now and then that the batch still lives."""

    log: BatchLog
    progress: Callable[[Outcome], None]
    _beaten_s: float = field(default=0.0)

    def follow(self, engine: Engine, jobs: Sequence[Job]) -> list[Outcome]:
        """Return the outcome of each job, in the order of the jobs, whoever came first."""
        if not jobs:
            return []
        found: dict[str, Outcome] = {}
        with closing(engine.work(jobs)) as finished:
            # For the pages, while others work.
            import_ahead("duckdb", "jinja2")
            for job, outcome in finished:
                found[job.id] = outcome
                self._enter(job, outcome)
                self.progress(outcome)
                self.beat()
        return [found[job.id] for job in jobs]

    def write_reports(self, engine: Engine, jobs: Sequence[Job]) -> list[Outcome]:
        """Return what became of each patient's page: few are written here, where all is loaded, many by the workers."""
        self.log.write("reports", subjects=len(jobs))
        outcomes = []
        finished = engine.work(jobs) if engine.name == "dask" else work_here(jobs)
        with closing(finished):
            for job, outcome in finished:
                outcomes.append(outcome)
                if not outcome.analysed:
                    self._enter(job, outcome)
                self.beat()
        return outcomes

    def _enter(self, job: Job, outcome: Outcome) -> None:
        state = "resumed" if outcome.resumed else "analysed" if outcome.analysed else "refused"
        reasons = sorted({refusal.reason for refusal in outcome.refusals})
        cost = asdict(outcome.cost) if outcome.cost else {}
        kind, held_mb = task_kind(job.task), round(resident_mb(), 1)
        told = {"state": state, "reasons": reasons, "refusals": len(outcome.refusals)}
        self.log.write("task", kind=kind, task=job.id, **told, main_mb=held_mb, **cost)

    def beat(self) -> None:
        """Say that the batch lives, when that was not said for a while."""
        now = self.log.elapsed_s()
        if now - self._beaten_s >= _BEAT_S:
            self._beaten_s = now
            self.log.write("alive", main_mb=round(resident_mb(), 1))


@contextmanager
def _told_end(log: BatchLog) -> Iterator[None]:
    """Let the last line of the log say how the batch ended, also when it did not end well."""
    try:
        yield
    except BaseException as error:
        reason = error.reason if isinstance(error, AngioError) else type(error).__name__
        stopped = isinstance(error, KeyboardInterrupt)
        with suppress(OSError):
            log.write("end", state="stopped" if stopped else "failed", reason="" if stopped else reason)
        raise
    log.write("end", state="finished", reason="", main_mb=round(resident_mb(), 1))


def _clear_leftovers(settings: Settings) -> None:
    # What was being written for everybody when an earlier batch was killed; each task clears its own folder.
    for pattern in (".tmp-*", "subjects/*/.tmp-*"):
        for path in settings.out.glob(pattern):
            path.unlink(missing_ok=True)


def _write_overview(settings: Settings, refusals: Sequence[Refusal]) -> None:
    outputs.write_refused(settings.out, refusals)
    outputs.write_tables(settings.out)
    outputs.write_index(settings.out)
