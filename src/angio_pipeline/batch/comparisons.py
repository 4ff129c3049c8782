"""One patient's runs before and after embolisation, compared from what their analyses wrote.

A step of its own after all runs of the patient: each run's tumours, feeders, tree and masks are read from its
folder, as the pages are, and only its frames are read and subtracted again, which costs little beside
its networks. So runs stay tasks of their own, in any order and on any worker, and the
comparison stands on what a reader of the results sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from angio_pipeline import embolisation, ingest, outputs
from angio_pipeline.batch.plan import ComparisonTask, RunTask
from angio_pipeline.config import PipelineConfig
from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.results import RunResult
from angio_pipeline.core.runs import Stage
from angio_pipeline.core.words import counted

__all__ = ["analysed_runs", "compare_task", "read_result"]


def compare_task(task: ComparisonTask, folder: Path, config: PipelineConfig) -> None:
    """Compare every pair of runs of one patient and write what came of it into `folder`."""
    from angio_pipeline.pipeline import compare_pair

    folders = {run.name: run for run in outputs.read_subject(folder.parent).runs}
    analysed = analysed_runs(task.runs, folders)
    compared, refused = [], _unanalysed(task.runs, folders)
    pairs = embolisation.choose_pairs(
        [_view(one, folders[one.folder]) for one in analysed],
        angle_deg=config.embolisation.geometry.angle_deg,
        params=config.embolisation.pairing,
    )
    for pair in pairs:
        runs = analysed[pair.before], analysed[pair.after]
        try:
            before, after = (read_result(one, folders[one.folder], config) for one in runs)
            found = compare_pair(before, after, config=config)
            compared.append(outputs.ComparedRuns(found, pair.by.value, before.subtracted.spacing))
        except InputRefused as error:
            sources = [one.item.source for one in runs]
            refused.append(outputs.RunsNotCompared(sources[0], sources[1], error.reason, error.sentence))
    if not compared and not refused:
        refused.append(_no_pair(analysed, config))
    settings = {"embolisation": config.embolisation.model_dump(mode="json")}
    outputs.write_comparisons(compared, refused, folder, settings=settings)


def analysed_runs(runs: Sequence[RunTask], folders: dict[str, outputs.RunFolder]) -> list[RunTask]:
    """Return the runs whose analyses have written something that can be read."""
    return [one for one in runs if _analysed(one, folders)]


def _analysed(task: RunTask, folders: dict[str, outputs.RunFolder]) -> bool:
    return task.folder in folders and folders[task.folder].document is not None


def _view(task: RunTask, run: outputs.RunFolder) -> embolisation.RunView:
    angles = run.document.image.pose_deg if run.document is not None else None
    return embolisation.RunView(task.item.source, angles, task.item.stage)


def _unanalysed(runs: Sequence[RunTask], folders: dict[str, outputs.RunFolder]) -> list[outputs.RunsNotCompared]:
    """Return what to say of runs after embolisation that could not be analysed."""
    sentence = "Expected the run after embolisation to be analysed, found that it was refused; refused.csv says why."
    return [
        outputs.RunsNotCompared(None, one.item.source, "not_analysed", sentence)
        for one in runs
        if one.item.stage is Stage.AFTER and not _analysed(one, folders)
    ]


def _no_pair(analysed: Sequence[RunTask], config: PipelineConfig) -> outputs.RunsNotCompared:
    minutes = config.embolisation.pairing.least_minutes
    sentence = (
        "Expected a run that its file calls post with an earlier one on the same day, or two runs of one view at least "
        f"{minutes:g} minutes apart, found neither among {counted(len(analysed), 'run')}; name the series in the suite."
    )
    return outputs.RunsNotCompared(None, None, "no_pair", sentence)


def read_result(task: RunTask, run: outputs.RunFolder, config: PipelineConfig) -> RunResult:
    """Return a run's result from what its analysis wrote, its frames read and subtracted again.

    Raises
    ------
    AngioError
        When a file is missing or damaged, or was written for another subtraction.
    """
    from angio_pipeline.pipeline import subtract_run

    read = ingest.read_run(task.item, limits=config.limits)
    subtracted, maps = subtract_run(read, config=config)
    return outputs.read_run_result(run.path, read, subtracted, maps)
