"""`angio simulate` refuses in one sentence and makes nothing then."""

import subprocess
import sys
from pathlib import Path

import pytest
from command_here import angio

from angio_pipeline.cli.main import main


def simulate(*arguments: object) -> subprocess.CompletedProcess[str]:
    return angio("simulate", *arguments)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[contrast]\ninjection_ml_s = -1.0\n", "contrast.injection_ml_s"),
        ("[anatomy]\nfeeders_min = 3\nfeeders_max = 1\n", "anatomy.feeders_min"),
        ("[ct]\ndays = [28.0, 1.0]\n", "ct.days"),
    ],
)
def test_impossible_settings_end_in_one_sentence_that_names_the_field(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    said = simulate(tmp_path / "out", "--preset", tmp_path / "mine.toml")
    assert said.returncode == 2
    assert said.stderr.startswith("angio: Expected")
    assert named in said.stderr
    assert said.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_unknown_preset_is_refused(tmp_path: Path) -> None:
    said = simulate(tmp_path / "out", "--preset", "impossible")
    assert said.returncode == 2
    assert "clinical" in said.stderr


def test_a_file_is_no_folder_for_patients(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    said = simulate(tmp_path / "out")
    assert said.returncode == 2
    assert said.stderr.startswith("angio: Expected a folder")


@pytest.mark.parametrize("option", [("--workers", 0), ("--cases", 0), ("--seed", -1)])
def test_impossible_numbers_are_usage_errors(tmp_path: Path, option: tuple[str, int]) -> None:
    assert simulate(tmp_path / "out", *option).returncode == 2


@pytest.mark.parametrize("runs_only", [True, False])
def test_runs_only_is_what_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs_only: bool) -> None:
    given: dict[str, object] = {}
    monkeypatch.setattr("angio_pipeline.simulate.simulate", lambda out, **options: given.update(options))
    words = ["angio", "simulate", str(tmp_path / "out"), *(["--runs-only"] if runs_only else [])]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert given["runs_only"] is runs_only
