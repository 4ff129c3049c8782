from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from command_here import angio, angio_apart
from small_runs import FAST, write_small_runs

from angio_pipeline import ingest
from angio_pipeline.config import load_config
from angio_pipeline.core.errors import ConfigError
from angio_pipeline.pipeline import subtract_run


@pytest.mark.slow
def test_real_angiograms_are_analysed_and_described_as_the_schema_says(real_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = angio_apart("run", real_data / "xa_phantom", real_data / "xa_coronary", "--out", out)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    documents = [json.loads(p.read_text()) for p in out.rglob("analysis.json")]
    assert len(documents) == 5
    schema = json.loads(angio("schema").stdout)
    for document in documents:
        jsonschema.validate(document, schema)
        assert document["image"]["spacing_plane"] in ("none", "detector")
        assert document["vessels"]["length_mm"] is None
        assert document["vessels"]["branches"] > 0
        assert "NOT_CALIBRATED" in document["quality"]
    phantom = [d for d in documents if d["image"]["frames"] < 20]
    assert all("FILLED_FROM_FIRST_FRAME" in d["quality"] for d in phantom)
    (coronary,) = (d for d in documents if d["image"]["frames"] == 96)
    assert "MOTION_LARGE" in coronary["quality"]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [("empty.dcm", b"", "empty_file"), ("notes.txt", b"not an image", "not_dicom")],
)
def test_nothing_to_analyse_is_exit_1_with_one_sentence(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    done = angio("run", tmp_path / name, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert reason in (tmp_path / "out" / "refused.csv").read_text()


def test_an_object_that_there_is_not_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "x.dcm").touch()
    done = angio("run", tmp_path / "x.dcm", "--out", tmp_path / "out", "--dicom", "overlay")
    assert done.returncode == 2
    assert "Expected --dicom as one of seg, sr, summary" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_missing_source_and_an_unknown_setting_are_usage_errors(tmp_path: Path) -> None:
    done = angio("run", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "nowhere" in done.stderr
    (tmp_path / "wrong.toml").write_text("[mask]\nonset = 3\n")
    (tmp_path / "x.dcm").touch()
    done = angio("run", tmp_path / "x.dcm", "--out", tmp_path / "out", "--config", tmp_path / "wrong.toml")
    assert done.returncode == 2
    assert "mask.onset" in done.stderr
    assert "Traceback" not in done.stderr


def test_one_missing_source_of_several_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not an image")
    done = angio("run", tmp_path / "notes.txt", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert done.returncode == 1
    refused = (tmp_path / "out" / "refused.csv").read_text()
    assert "not_found" in refused
    assert "not_dicom" in refused


@pytest.mark.parametrize("name", ["default", "fast", "research"])
def test_presets_load(name: str) -> None:
    load_config(name)


def test_the_default_preset_is_the_defaults() -> None:
    assert load_config("default") == load_config(None)


def test_settings_out_of_range_name_the_field(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[subtract.motion]\nstiffness = -1.0\n")
    with pytest.raises(ConfigError, match=r"subtract\.motion\.stiffness"):
        load_config(str(tmp_path / "c.toml"))
    with pytest.raises(ConfigError, match="found neither"):
        load_config("nonsense")


@pytest.mark.slow
def test_benchmark_prints_a_table_for_a_small_case() -> None:
    done = angio_apart("benchmark", "--case", "128x6", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert row["frames"] == 6
    assert row["wall_s"] > 0
    assert 0 < row["peak_gb"] < 4
    assert {"read", "subtract", "segment", "graph", "feeders"} <= set(row["stages_s"])
    assert 0 < sum(row["stages_s"].values()) < row["wall_s"]


def test_a_case_that_is_none_is_a_usage_error() -> None:
    assert angio("benchmark", "--case", "huge").returncode == 2


def test_a_shift_by_hand_reaches_the_results(tmp_path: Path) -> None:
    (run,) = write_small_runs(tmp_path / "in", 1)
    (tmp_path / "fast.toml").write_text(FAST)
    words = ("--config", tmp_path / "fast.toml", "--pixel-shift", "-1.5,0.25")
    done = angio("run", run, "--out", tmp_path / "out", "--debug", *words)
    assert done.returncode == 0, done.stderr
    (document,) = [json.loads(p.read_text()) for p in (tmp_path / "out").rglob("analysis.json")]
    assert document["subtraction"]["correction"] == "hand"
    assert document["subtraction"]["mask_shift_px"] == [[-1.5, 0.25]] * document["image"]["frames"]
    assert document["settings"]["subtract"]["pixel_shift_px"] == [-1.5, 0.25]


@pytest.mark.parametrize("wrong", ["1.5", "1,2,3", "down,2", "nan,0", "500,0"])
def test_a_shift_that_is_none_is_a_usage_error(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "x.dcm").touch()
    done = angio("run", tmp_path / "x.dcm", "--out", tmp_path / "out", "--pixel-shift", wrong)
    assert done.returncode == 2
    assert "Expected --pixel-shift" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("preset", ["fast", "research"])
def test_every_preset_lays_the_sample_upon_its_mask(sample: Path, tmp_path: Path, preset: str) -> None:
    path = sample / "case-000" / "dicom" / "day000" / "frontal.dcm"
    (item,) = ingest.discover([path], workspace=tmp_path).runs
    cut, _ = subtract_run(ingest.read_run(item), config=load_config(preset))
    assert cut.motion is not None
    assert (cut.background, cut.motion.correction) == ("mask", "automatic")
    assert cut.residual_after < cut.residual_before


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["fast", "research"])
def test_every_preset_analyses_a_run_with_its_own_settings(tmp_path: Path, preset: str) -> None:
    (run,) = write_small_runs(tmp_path / "in", 1)
    done = angio_apart("run", run, "--out", tmp_path / "out", "--config", preset)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (document,) = [json.loads(p.read_text()) for p in (tmp_path / "out").rglob("analysis.json")]
    for stage in ("subtract", "segment"):
        assert document["settings"][stage] == load_config(preset).model_dump(mode="json")[stage]
    # The bolus is half there in frame 4, over a texture that never moves.
    assert document["phases"]["arterial"][0] == 4
    assert np.abs(document["subtraction"]["motion_px"]).max() < 0.5
    assert document["vessels"]["method"] == "network"
    assert list((tmp_path / "out").rglob("report.html"))
