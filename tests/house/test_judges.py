"""What strangers say of our files: a DICOM validator of the sample, a browser of the report."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from dicom_objects import errors_in, program

pytestmark = pytest.mark.slow

FLICKER_BUTTON = r"<button(?![^>]*\bhidden\b)[^>]*>\s*(?:Pause|Play)\s*</button>"  # the page's script un-hides it
BROWSER_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--enable-logging=stderr", "--v=0",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=3000",
)  # fmt: skip


def kinds_of_files(sample: Path) -> list[Path]:
    """One file a folder of the sample: runs and films, each CT series, the regions."""
    folders = sorted({path.parent for path in sample.rglob("*.dcm")})
    runs = sorted(sample.glob("*/dicom/day000/*.dcm"))
    return [*runs, *(sorted(folder.glob("*.dcm"))[0] for folder in folders)]


def test_the_sample_is_valid_dicom(sample: Path) -> None:
    files = kinds_of_files(sample)
    assert len(files) >= 5
    for path in files:
        assert not errors_in(path, "-new"), path.name


@pytest.fixture(scope="module")
def results(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one run of the sample gives."""
    out = tmp_path_factory.mktemp("results")
    run = next(sample.glob("*/dicom/day000/frontal.dcm"))
    environment = {**os.environ, "ANGIO_PSEUDONYM_KEY_FILE": str(out / "key")}
    command = [sys.executable, "-m", "angio_pipeline", "run", str(run), "--out", str(out), "--quiet"]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=300)
    return out


def open_in_browser(page: Path, profile: Path) -> tuple[str, str]:
    """The page as it stands after its script ran, and what the console said."""
    command = [program("chromium"), *BROWSER_OPTIONS, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return shown.stdout, "\n".join(line for line in shown.stderr.splitlines() if ":CONSOLE" in line)


def test_the_report_shows_all_it_holds_without_a_network(results: Path, tmp_path: Path) -> None:
    (page,) = results.glob("subjects/*/report.html")
    shown, console = open_in_browser(page, tmp_path)
    assert re.search(FLICKER_BUTTON, shown), "the page's script did not run"
    assert console == ""


def test_the_worklist_shows_all_it_holds_without_a_network(results: Path, tmp_path: Path) -> None:
    shown, console = open_in_browser(results / "index.html", tmp_path)
    assert "report.html" in shown
    assert console == ""
