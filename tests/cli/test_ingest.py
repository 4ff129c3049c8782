from __future__ import annotations

import csv
import json
import stat
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

pytestmark = pytest.mark.slow


def _angio(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "angio_pipeline", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_the_sample_is_catalogued_and_told_in_a_few_lines(sample: Path, tmp_path: Path) -> None:
    catalogue = tmp_path / "disk.duckdb"
    done = _angio("ingest", sample, "--catalogue", catalogue)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    assert "1 patient, 5 studies, 9 series" in lines[1]
    again = _angio("ingest", sample, "--catalogue", catalogue, "--json")
    told = json.loads(again.stdout)
    assert told["scan"]["read"] == 0
    assert told["catalogue"]["series"]["dsa_run"] == 3
    assert told["catalogue"]["pairs"] == 1
    assert _angio("ingest", sample, "--catalogue", catalogue, "--quiet").stdout == ""


def test_paths_are_written_where_they_are_asked_for_and_for_their_owner_alone(sample: Path, tmp_path: Path) -> None:
    catalogue, paths = tmp_path / "disk.duckdb", tmp_path / "paths.csv"
    assert _angio("ingest", sample, "--catalogue", catalogue, "--paths", paths).returncode == 0
    with paths.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    with duckdb.connect(str(catalogue), read_only=True) as connection:
        held = {file_id for (file_id,) in connection.execute("SELECT file_id FROM files").fetchall()}
    assert {row["file_id"] for row in rows} == held
    assert all(Path(row["path"]).is_file() for row in rows)
    assert stat.S_IMODE(paths.stat().st_mode) == stat.S_IMODE(catalogue.stat().st_mode) == 0o600


def test_a_disk_without_dicom_is_exit_1_with_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("no image")
    done = _angio("ingest", tmp_path / "in", "--catalogue", tmp_path / "c.duckdb")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "no DICOM object was found in 1 file" in done.stderr


def test_wrong_use_is_exit_2_with_one_sentence(sample: Path, tmp_path: Path) -> None:
    other = tmp_path / "mine.txt"
    other.write_text("mine")
    for arguments in (
        (tmp_path / "nowhere", "--catalogue", tmp_path / "c.duckdb"),
        (sample, "--catalogue", tmp_path / "no" / "c.duckdb"),
        (sample, "--catalogue", tmp_path),
        (sample, "--catalogue", other),
    ):
        done = _angio("ingest", *arguments)
        assert done.returncode == 2
        assert done.stderr.startswith("angio: Expected ")
        assert done.stderr.count("\n") == 1
    assert other.read_text() == "mine"
