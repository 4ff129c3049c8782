"""The tutorial's commands do what the tutorial says, as they stand there."""

from __future__ import annotations

import csv
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tutorial.md"


def commands() -> list[str]:
    """The commands on the sample, in the order of the page."""
    blocks = re.findall(r"^```\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("angio ")]
    return [line for line in lines if "data/sample" in line or "out/sample" in line]


def call(command: str, place: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "angio_pipeline", *shlex.split(command)[1:]]
    return subprocess.run(words, cwd=place, capture_output=True, text=True, timeout=900)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder from which the sample is where the tutorial has it."""
    (tmp_path / "data").symlink_to(ROOT / "data")
    (tmp_path / "out").mkdir()
    return tmp_path


def test_what_the_tutorial_shows_before_an_analysis_works(place: Path) -> None:
    (ingest,) = [command for command in commands() if command.startswith("angio ingest")]
    done = call(ingest, place)
    assert done.returncode == 0, done.stderr
    assert (place / "out" / "sample.duckdb").is_file()
    assert "1 patient" in done.stdout


def test_the_tutorial_leads_from_an_export_to_a_table(place: Path, sample_results: Path) -> None:
    # What the first command makes was made by the same command for all tests: here it goes on from there.
    shutil.copytree(sample_results, place / "out" / "sample")
    assert [command.split()[1] for command in commands()] == ["run", "ingest", "status", "cohort", "evaluate"]
    for command in commands():
        done = call(command, place)
        assert done.returncode == 0, f"{command}: {done.stderr}"
    assert (place / "out" / "sample" / "index.html").is_file()
    assert len(list((place / "out" / "sample" / "subjects").glob("*/report.html"))) == 1
    for name in ("cohort.html", "table1.csv", "necrosis.csv", "methods.md"):
        assert (place / "out" / "tables" / name).is_file(), name
    with (place / "out" / "tables" / "cohort.csv").open(encoding="utf-8", newline="") as stream:
        (patient,) = csv.DictReader(stream)
    assert patient["procedure"] == "cTACE"
    assert patient["state"] in ("analysed", "flagged")
