"""One patient's runs of different angulation, joined from what their analyses wrote.

A step of its own after all runs of the patient, like the comparison of two runs of one view: tumours, feeders, tree and
masks are read from each run's folder, and only its frames are read and subtracted again. What the pair says of a
feeder is added to its run's `analysis.json`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from angio_pipeline import ingest, outputs, projections
from angio_pipeline.batch.comparisons import analysed_runs, read_result
from angio_pipeline.batch.plan import ProjectionTask, RunTask
from angio_pipeline.config import PipelineConfig
from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.projections import ProjectionPair
from angio_pipeline.core.results import RunResult

__all__ = ["join_task"]

Masks = Mapping[str, npt.NDArray[np.bool_]]


def join_task(
    task: ProjectionTask,
    folder: Path,
    config: PipelineConfig,
    origin_of: Callable[[ingest.Item], outputs.Origin] | None = None,
) -> None:
    """Join every two projections among one patient's runs and write what came of it into `folder`.

    Parameters
    ----------
    origin_of : callable, optional
        Takes a run to what its DICOM objects say of it; without it no report is written.
    """
    from angio_pipeline.pipeline import join_pair

    folders = {run.name: run for run in outputs.read_subject(folder.parent).runs}
    runs = analysed_runs(task.runs, folders)
    seen = [_view(one, folders[one.folder]) for one in runs]
    params = config.projections
    joined: list[ProjectionPair] = []
    masks: list[tuple[Masks, Masks]] = []
    refused: list[outputs.RunsNotJoined] = []
    taken: set[int] = set()
    for pair in projections.choose_projections(
        seen, least_apart_deg=params.view.least_apart_deg, params=params.choosing
    ):
        if taken & set(pair):
            continue
        first, second = (read_result(runs[k], folders[runs[k].folder], config) for k in pair)
        try:
            joined.append(join_pair(first, second, config=config))
            masks.append((_masks(first), _masks(second)))
            taken |= set(pair)
        except InputRefused as error:
            sources = [runs[k].item.source for k in pair]
            refused.append(outputs.RunsNotJoined(sources[0], sources[1], error.reason, error.sentence))
    if not joined and not refused:
        refused.append(_no_pair(seen, params))
    outputs.write_projections(
        joined,
        refused,
        folder,
        runs={one.item.source.sop_instance_uid: folders[one.folder].path for one in runs},
        masks=masks,
        settings={"projections": params.model_dump(mode="json")},
        origins=[origin_of(one.item) for one in runs] if origin_of is not None and joined else (),
    )


def _masks(result: RunResult) -> Masks:
    return {tumour.id: tumour.mask for tumour in result.tumours}


def _view(task: RunTask, run: outputs.RunFolder) -> projections.SeenRun:
    angles = run.document.image.pose_deg if run.document is not None else None
    return projections.SeenRun(task.item.source, angles, task.item.stage)


def _no_pair(seen: Sequence[projections.SeenRun], params: projections.ProjectionParams) -> outputs.RunsNotJoined:
    without = sum(run.angles_deg is None for run in seen)
    if without and len(seen) - without < 2:
        sentence = f"Expected the C-arm's angles of two runs, found none for {without} of {len(seen)}."
        return outputs.RunsNotJoined(None, None, "angle_unknown", sentence)
    sentence = (
        f"Expected two runs of one stage of treatment, within {params.choosing.most_minutes:g} minutes and at least "
        f"{params.view.least_apart_deg:g} degrees apart, found none among {len(seen)}; nearly one view does not tell "
        "depth."
    )
    return outputs.RunsNotJoined(None, None, "views_alike", sentence)
