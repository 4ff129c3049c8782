"""`angio` as users call it, in this process: what it says and its status, without the seconds that its libraries take.

For what a command says and writes. Whatever is killed, stopped or watched is begun in a process of its own, and so is
what must not be printed: workers and decoders write on descriptors that this process does not look at.
"""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout

import pytest

from angio_pipeline.cli.main import main


def angio_apart(*arguments: object) -> subprocess.CompletedProcess[str]:
    """What the command, its workers and its libraries write on both descriptors, in a process of its own."""
    told = [sys.executable, "-m", "angio_pipeline", *map(str, arguments)]
    # Any byte may come: `os.fsencode` gives back those that are no text.
    return subprocess.run(told, capture_output=True, text=True, errors="surrogateescape", timeout=600, check=False)


def angio(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """What the command says and leaves; `environment` is set for its time."""
    told = ["angio", *map(str, arguments)]
    stdout, stderr, status = io.StringIO(), io.StringIO(), 0
    before = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(stdout), redirect_stderr(stderr):
        patch.setattr(sys, "argv", told)
        for name, value in environment.items():
            patch.setenv(name, value)
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
        finally:
            signal.signal(signal.SIGTERM, before)
    return subprocess.CompletedProcess(told, status, stdout.getvalue(), stderr.getvalue())
