"""A real Orthanc, and the command as users call it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pacs_server import Archive, missing, orthanc


def need_orthanc() -> None:
    """Skip where the server is not installed; fail where it has to be."""
    lacking = missing()
    if lacking is not None:
        tell = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        tell(lacking)


@pytest.fixture(scope="session")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    need_orthanc()
    with orthanc(tmp_path_factory.mktemp("orthanc")) as archive:
        yield archive


@pytest.fixture
def archive(_running: Archive) -> Iterator[Archive]:
    """An empty Orthanc."""
    yield _running
    _running.empty()


def angio(*arguments: object, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
    """What the command says and leaves."""
    command = [sys.executable, "-m", "angio_pipeline", "pacs", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, env={**os.environ, **environment}, check=False
    )


def one_sentence(done: subprocess.CompletedProcess[str], status: int = 1) -> str:
    """The one line on standard error of a command that failed with this status."""
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def by_uid(folder: Path) -> dict[str, Path]:
    """The DICOM files below a folder by their UID."""
    files = [path for path in folder.rglob("*.dcm") if not path.name.startswith(".")]
    return {str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID): path for path in files}


@pytest.fixture(scope="session")
def images(sample: Path) -> dict[str, Path]:
    """The files of the sample patient by their UID."""
    return by_uid(sample / "case-000" / "dicom")
