"""Where results cannot be written, a command says so in one sentence and leaves nothing behind."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from command_here import angio

from angio_pipeline.cli.ending import need_place_for


@pytest.fixture
def words(tmp_path: Path) -> dict[str, tuple[object, ...]]:
    """What each command is given to work on."""
    (tmp_path / "results" / "subjects").mkdir(parents=True)
    (tmp_path / "image.png").write_bytes(b"")
    return {
        "cohort": ("cohort", tmp_path / "results", "--out"),
        "segment": ("segment", tmp_path / "image.png", "--out"),
        "simulate": ("simulate", "--cases", 1, "--seed", 1, "--preset", "easy"),
    }


@pytest.mark.parametrize("command", ["cohort", "segment", "simulate"])
def test_below_a_file_no_folder_can_be(words: dict[str, tuple[object, ...]], tmp_path: Path, command: str) -> None:
    (tmp_path / "notes.txt").write_text("not a folder")
    done = angio(*words[command], tmp_path / "notes.txt" / "out")
    assert done.returncode == 2
    assert "Expected a folder for results that can be written" in done.stderr
    assert os.strerror(errno.ENOTDIR) in done.stderr
    assert (tmp_path / "notes.txt").read_text() == "not a folder"


def test_a_place_is_looked_at_and_not_made(tmp_path: Path) -> None:
    need_place_for(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
