"""`angio pacs` as users call it, and what it says and leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import command_here
import pydicom
import pytest
from pacs_server import missing


def need_orthanc() -> None:
    """Skip where the server is not installed; fail where it has to be."""
    lacking = missing()
    if lacking is not None:
        tell = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        tell(lacking)


def angio(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """What the command says and leaves; in this process, as its libraries take a second to load."""
    return command_here.angio("pacs", *arguments, **environment)


def start(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    """The command in a process of its own, for what has to be killed or ended by a signal."""
    command = [sys.executable, "-m", "angio_pipeline", "pacs", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # A shell that has its tests in the background hands on that Ctrl-C is ignored.
    heeds = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(command, text=True, env={**os.environ, **environment}, preexec_fn=heeds, **pipes)


def ended(child: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """What a command in a process of its own said, after it ended by itself."""
    stdout, stderr = child.communicate(timeout=120)
    return subprocess.CompletedProcess(child.args, child.returncode, stdout, stderr)


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
