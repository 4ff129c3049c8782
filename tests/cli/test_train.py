"""`angio train` says in one sentence what is wrong, and where the weights are when nothing is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from angio_pipeline import training
from angio_pipeline.cli.main import main

Angio = Callable[..., tuple[int, str, str]]


@pytest.fixture
def angio_train(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Angio:
    """Return a caller of the command: its exit code, and what it wrote to standard output and error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["angio", "train", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        code = ended.value.code
        return (0 if code is None else int(code), said.out, said.err)

    return call


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What reached the training, which only says that it is done."""
    seen: dict[str, Any] = {}

    def train(recipe: training.Recipe, folder: Path, **options: Any) -> Path:
        seen.update(recipe=recipe.name, folder=folder, **options)
        options["progress"]("steps", 1, 2)
        return folder / f"{recipe.name}.safetensors"

    monkeypatch.setattr(training, "train", train)
    return seen


def test_recipe_folders_and_workers_reach_the_training(angio_train: Angio, given: dict, tmp_path: Path) -> None:
    options = ("--out", tmp_path / "out", "--data", tmp_path / "d", "--real", tmp_path / "r", "--workers", 3)
    code, out, err = angio_train("frame", *options)
    assert (code, err) == (0, "")
    del given["progress"]
    assert given == {
        "recipe": "frame", "folder": tmp_path / "out", "data": tmp_path / "d", "real": tmp_path / "r", "workers": 3,
    }  # fmt: skip
    assert f"Weights: {tmp_path / 'out' / 'frame.safetensors'}" in out.replace("\n", " ")
    assert "summary.json" in out


def test_what_is_left_out_is_left_to_the_training(angio_train: Angio, given: dict, tmp_path: Path) -> None:
    assert angio_train("run", "--out", tmp_path / "out")[0] == 0
    assert (given["data"], given["real"]) == (None, None)
    assert given["workers"] >= 1


def test_a_training_that_is_interrupted_says_how_it_goes_on(
    angio_train: Angio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*given: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", interrupted)
    code, out, err = angio_train("run", "--out", tmp_path / "out")
    assert (code, out) == (130, "")
    assert "goes on from the last checkpoint" in err


def test_an_unknown_recipe_is_refused_with_the_names_of_those_there_are(angio_train: Angio, tmp_path: Path) -> None:
    code, _, err = angio_train("nonsense", "--out", tmp_path / "out")
    assert code == 2
    assert err.startswith("angio: Expected a recipe (feeder, feeder-first, frame, frame-simulation, run, run-first)")
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_unknown_setting_is_named(angio_train: Angio, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('name = "mine"\nspeed = 3\n')
    code, _, err = angio_train(tmp_path / "mine.toml", "--out", tmp_path / "out")
    assert code == 2
    assert err.startswith("angio: Expected a valid setting")
    assert err.count("\n") == 1


def test_without_real_images_a_recipe_that_needs_some_is_refused(angio_train: Angio, tmp_path: Path) -> None:
    code, _, err = angio_train("frame", "--out", tmp_path / "out")
    assert code == 2
    assert err.startswith("angio: Expected --real FOLDER")
    assert err.count("\n") == 1
    assert not (tmp_path / "out" / "data").exists()


def test_a_file_is_no_folder_for_weights(angio_train: Angio, given: dict, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    code, _, err = angio_train("run", "--out", tmp_path / "out")
    assert code == 2
    assert err.startswith("angio: Expected --out to name a folder")
    assert not given


@pytest.mark.parametrize("arguments", [("run",), ("run", "--out", "o", "--workers", "0"), ("--out", "o")])
def test_what_is_missing_or_impossible_is_a_usage_error(
    angio_train: Angio, given: dict, tmp_path: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert angio_train(*arguments)[0] == 2
    assert not given
