"""What depends on a reader's corrections, analysed anew in a process of its own, as `angio run --corrections` does.

It goes into a folder of this reader's: what was given to review stays as it is, and no reader sees another's result.
Runs that are not corrected are taken over as they are, so that comparisons and projections find them, and are left
alone by the same digests that let `angio run` resume.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from angio_pipeline import batch, ingest, outputs
from angio_pipeline.batch.plan import ProjectionTask
from angio_pipeline.batch.tasks import Task, run_task
from angio_pipeline.core.errors import AngioError
from angio_pipeline.core.tumours import LesionOrigin
from angio_pipeline.outputs.folders import RunFolder, SubjectFolder
from angio_pipeline.review.orders import Order
from angio_pipeline.workers import end_with_parent

__all__ = ["carry_out"]


def carry_out(order: Order, told: Connection) -> None:
    """Analyse, and tell on the way: ("plan", count), ("done", number), then ("end", sentences) or ("failed", one)."""
    end_with_parent()
    logging.disable(logging.WARNING)
    try:
        told.send(("end", _analyse(order, told)))
    except AngioError as error:
        told.send(("failed", error.sentence))
    except Exception as error:
        # The message of an unforeseen error may quote a header; only its kind is safe to pass on.
        told.send(("failed", f"Expected an analysis, found that it ended with an unforeseen {type(error).__name__}."))


def _analyse(order: Order, told: Connection) -> list[str]:
    """Return what was not applied, a sentence each."""
    from angio_pipeline.config import PipelineConfig

    subject = outputs.read_subject(order.out / "/".join(order.folder.split("/")[:2]))
    run = next((one for one in subject.runs if one.path == order.out / order.folder), None)
    config = PipelineConfig.model_validate(_settings(subject, run))
    plan = batch.make_plan(order.found.unpack(), order.rois, order.corrections, order.readings)
    tasks = _tasks(plan, order.folder, order.rois)
    if run is not None:
        _check_run(order, run, tasks)
        _take_over(order, tasks)
    else:
        _check_follow_ups(order, subject, tasks)
    told.send(("plan", len(tasks)))
    sentences: list[str] = []
    settings = batch.Settings(order.target, config)
    for number, task in enumerate(tasks, start=1):
        outcome = run_task(task, settings)
        sentences += [refusal.sentence for refusal in outcome.refusals]
        told.send(("done", number))
        if number == 1 and not outcome.analysed:
            raise AngioError(outcome.refusals[0].sentence, reason=outcome.refusals[0].reason)
    return sentences if run is not None else [*sentences, *_lesions_lost(order, subject)]


def _settings(subject: SubjectFolder, run: RunFolder | None) -> dict[str, Any]:
    """Return the settings that the results were made with, from wherever they stand."""
    told: dict[str, Any] = {}
    if run is not None and run.document is not None:
        told |= run.document.settings
    if subject.follow_up is not None:
        told["lipiodol"] = subject.follow_up.settings
    if subject.response is not None:
        told["response"] = subject.response.settings
    for document in (subject.embolisation, subject.projections):
        told |= {} if document is None else document.settings
    return {name: value for name, value in told.items() if value}


def _lesions_lost(order: Order, before: SubjectFolder) -> list[str]:
    """Return a sentence for each lesion that is followed no more: once one is outlined, no other is looked for."""
    after = outputs.read_subject(order.target / order.folder).follow_up
    found = set() if after is None else {lesion.id for lesion in after.lesions}
    lost = [one.id for one in before.follow_up.lesions if one.id not in found] if before.follow_up is not None else []
    return [f"{name} was found by the program and is not in this analysis; outline it as well." for name in lost]


def _tasks(plan: batch.Plan, folder: str, first: Sequence[Path]) -> list[Task]:
    """Return the task of the case itself first, then what stands on it.

    Of two outlines of one lesion the analysis takes the first: those of the reader come `first`.

    Raises
    ------
    AngioError
        When the sources hold no such case.
    """
    name = "/".join(folder.split("/")[2:])
    if not name:
        ordered = [replace(one, rois=tuple(sorted(one.rois, key=lambda p: p not in first))) for one in plan.follow_ups]
        return [*ordered] or _refuse_missing()
    own = [task for task in plan.runs if task.folder == name]
    if not own:
        _refuse_missing()
    together: list[ProjectionTask | batch.ComparisonTask] = [*plan.projections, *plan.comparisons]
    concerned = [task for task in together if own[0].folder in {run.folder for run in task.runs}]
    beside = {run.folder: run for task in concerned for run in task.runs if run.folder != name}
    return [*own, *beside.values(), *concerned]


def _refuse_missing() -> list[Task]:
    raise AngioError("Expected the source images of this case, found none; start the server with --source FOLDER.")


def _check_run(order: Order, run: RunFolder, tasks: Sequence[Task]) -> None:
    """See that what the analysis under review was told is told again.

    Raises
    ------
    AngioError
        When a region or an edit that it holds is not among what was given.
    """
    if run.document is None:
        return
    edits = {one.id for one in run.document.corrections}
    if not edits <= _edits_in(order.corrections):
        raise _lost("corrections")
    drawn = [one for one in run.document.tumours if one.origin == LesionOrigin.ROI and one.corrected is None]
    if drawn and not any(isinstance(task, batch.RunTask) and task.rois for task in tasks[:1]):
        raise _lost("roi")


def _check_follow_ups(order: Order, subject: SubjectFolder, tasks: Sequence[Task]) -> None:
    """See that what the follow-ups under review were told is told again.

    Raises
    ------
    AngioError
        When a region or a reading that they hold is not among what was given.
    """
    drawn = [one for one in subject.follow_up.lesions if one.origin is LesionOrigin.ROI] if subject.follow_up else []
    given = [path for task in tasks if isinstance(task, batch.FollowUpTask) for path in task.rois]
    if drawn and all(path.is_relative_to(order.target) for path in given):  # the reader's own stand for no others
        raise _lost("roi")
    lesions = subject.response.lesions if subject.response is not None else []
    if not order.readings and any(point.reading for lesion in lesions for point in lesion.timepoints):
        raise _lost("readings")


def _lost(option: str) -> AngioError:
    return AngioError(
        f"Expected all that the result under review was made with, found no --{option}; start the server with it."
    )


def _take_over(order: Order, tasks: Sequence[Task]) -> None:
    """Copy the results of the other runs, where this reader has none of them."""
    subject = Path(*order.folder.split("/")[:2])
    for task in tasks[1:]:
        if isinstance(task, batch.RunTask):
            source, target = order.out / subject / task.folder, order.target / subject / task.folder
            if source.is_dir() and not target.exists():
                shutil.copytree(source, target)


def _edits_in(paths: Sequence[Path]) -> frozenset[str]:
    """Return the ids of all edits in files of corrections."""
    uids = {uid for path in paths for uid in ingest.corrected_runs(path)}
    return frozenset(given.edit.id for uid in uids for given in ingest.read_corrections(paths, uid))
