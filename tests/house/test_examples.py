"""What is shown of the interface in Python runs as it stands."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "examples" / "run.ipynb"
# In a process of its own: the warnings of a notebook's machinery are not those of the program.
EXECUTE = """
import sys
import nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[2])
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder of the project's own shape, where examples may write."""
    shutil.copytree(
        ROOT / "data" / "sample" / "case-000" / "dicom", tmp_path / "data" / "sample" / "case-000" / "dicom"
    )
    return tmp_path


@pytest.mark.slow
def test_the_notebook_runs_and_shows_the_run(place: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, str(NOTEBOOK), "done.ipynb"], cwd=place, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    cells = json.loads((place / "done.ipynb").read_text())["cells"]
    shown = [output["data"] for cell in cells for output in cell.get("outputs", ()) if "data" in output]
    assert sum("image/png" in data for data in shown) == 2
    assert any("RunAnalysis" in "".join(data.get("text/plain", ())) for data in shown)
    assert any("T1-F1" in "".join(data.get("text/html", ())) for data in shown)


def test_the_notebook_is_stored_without_what_it_showed() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)


@pytest.mark.slow
def test_the_lines_of_the_page_run(place: Path) -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    done = subprocess.run([sys.executable, "-c", lines], cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.startswith("<RunAnalysis: 20 frames of 512 x 512, ")
    assert (place / "feeders.csv").read_text().count("\n") > 3
    assert (place / "frontal" / "analysis.json").is_file()
    assert (place / "overlay.png").stat().st_size > 100_000
