"""One real analysis with every object written, and a small synthetic run with the header that it would have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from dicom_objects import xa_header

from angio_pipeline import batch, ingest
from angio_pipeline.batch.tasks import run_task
from angio_pipeline.config import PipelineConfig
from angio_pipeline.core.results import RunResult
from angio_pipeline.outputs.dicom import Origin, choose_objects


@pytest.fixture(scope="session")
def analysed(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one run of the sample, with all objects; made once."""
    root = tmp_path_factory.mktemp("objects")
    found = ingest.discover([next(sample.glob("*/dicom/day000/frontal.dcm"))], workspace=root / "workspace")
    (task,) = batch.make_plan(found).runs
    settings = batch.Settings(root / "out", PipelineConfig(), debug=True, objects=choose_objects(["all"]))
    assert run_task(task, settings).analysed
    return root / "out" / "subjects" / task.subject / task.folder


@pytest.fixture(scope="session")
def origin_of() -> Callable[[RunResult], Origin]:
    """A function that makes the origin of a synthetic run; options go into its header."""
    return lambda result, **header: Origin(result.run.source, (xa_header(result.run.source, **header),))


@pytest.fixture
def origin(run_result: RunResult, origin_of: Callable[[RunResult], Origin]) -> Origin:
    """The origin of the ordinary synthetic run."""
    return origin_of(run_result)
