"""The program in Python: the same figures as the command's, in a few lines."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from small_runs import FAST, SIZE_PX, write_small_runs

import angio_pipeline as ap
from angio_pipeline import batch, embolisation, ingest
from angio_pipeline.batch.tasks import Settings, run_task
from angio_pipeline.config import load_config
from angio_pipeline.core.errors import InputRefused

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("api")
    write_small_runs(place / "in", 2)
    (place / "fast.toml").write_text(FAST)
    return place


@pytest.fixture(scope="module")
def analysis(folder: Path) -> ap.RunAnalysis:
    return ap.analyse_run(ap.read_run(folder / "in" / "run0000.dcm"), config=folder / "fast.toml")


def test_the_figures_are_those_of_the_command(analysis: ap.RunAnalysis, folder: Path, tmp_path: Path) -> None:
    found = ingest.discover([folder / "in" / "run0000.dcm"], workspace=tmp_path / "work")
    (task,) = batch.make_plan(found).runs
    assert run_task(task, Settings(tmp_path / "out", load_config(str(folder / "fast.toml")))).analysed
    (written,) = (tmp_path / "out").rglob("analysis.json")
    assert analysis.document == json.loads(written.read_text())


def test_what_is_written_is_what_was_shown(analysis: ap.RunAnalysis, tmp_path: Path) -> None:
    written = analysis.write(tmp_path / "run")
    assert json.loads((written / "analysis.json").read_text()) == analysis.document
    assert (written / "overlay.png").is_file()


def test_a_notebook_shows_a_picture_and_a_line(analysis: ap.RunAnalysis) -> None:
    assert analysis._repr_png_().startswith(b"\x89PNG")
    assert repr(analysis).startswith(f"<RunAnalysis: 10 frames of {SIZE_PX} x {SIZE_PX}, ")
    figure = analysis.plot()
    (axes,) = figure.axes
    (picture,) = axes.images
    height, width = picture.get_size()
    assert figure.get_size_inches().tolist() == [width / 100, height / 100]


def test_a_row_a_feeder_of_a_tumour_that_was_drawn(folder: Path) -> None:
    run = ap.read_run(folder / "in" / "run0001.dcm")
    drawn = np.zeros((SIZE_PX, SIZE_PX), dtype=bool)
    drawn[20:40, 60:90] = True
    given = ap.analyse_run(run, config=folder / "fast.toml", tumours=[drawn])
    (tumour,) = given.document["tumours"]
    assert (tumour["id"], tumour["area_px"]) == ("T1", 600)
    table = given.feeders()
    assert table["probability"].tolist() == [feeder["probability"] for feeder in tumour["feeders"]]
    assert table["target_row"].tolist() == [feeder["target"]["row"] for feeder in tumour["feeders"]]
    with pytest.raises(ValueError, match=r"shape \(128, 128\)"):
        ap.analyse_run(run, config=folder / "fast.toml", tumours=[drawn[:-1]])


def test_none_and_several_runs_are_refused_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="found 2; name a single file"):
        ap.read_run(folder / "in")
    with pytest.raises(InputRefused, match="found 0") as refused:
        ap.read_run(folder / "fast.toml")
    assert refused.value.reason == "no_run"
    cut = tmp_path / "cut.dcm"
    cut.write_bytes((folder / "in" / "run0000.dcm").read_bytes()[:100_000])
    with pytest.raises(InputRefused) as refused:
        ap.read_run(cut)
    assert refused.value.reason == "truncated"


@pytest.mark.parametrize("package", [ap, batch, embolisation, ingest], ids=lambda package: package.__name__)
def test_the_public_names_are_sorted_and_there(package: ModuleType) -> None:
    assert package.__all__ == sorted(package.__all__)
    assert [name for name in package.__all__ if not hasattr(package, name)] == []
