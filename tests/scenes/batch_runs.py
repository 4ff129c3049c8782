"""Whole batches as their users begin them: in a process of their own that can be stopped, killed and led astray."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from command_here import angio

ENGINES = {"pool": (), "dask": ("--scheduler", "local")}


def begin_batch(source: Path, out: Path, *options: object, faults: str = "", **how: Any) -> subprocess.Popen[str]:
    """Return the process of `angio run`; `faults` is Python that every process of it runs when it starts."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    if faults:
        folder = out.parent / "faults"
        folder.mkdir(exist_ok=True)
        (folder / "sitecustomize.py").write_text(faults)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(folder), environment.get("PYTHONPATH"))))
    words = ["run", source, "--out", out, "--workers", 2, "--quiet", *options]
    return subprocess.Popen(
        [sys.executable, "-m", "angio_pipeline", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
        **how,
    )


def run_to_end(source: Path, out: Path, *options: object) -> None:
    """Let `angio run` end by itself, in this process and with workers that are born warm: all goes well."""
    done = angio("run", source, "--out", out, "--workers", 2, "--quiet", *options)
    assert (done.returncode, done.stderr) == (0, "")


def finish(batch: subprocess.Popen[str]) -> tuple[int, str]:
    """Return the exit status and standard error of a batch that is left alone."""
    _, said = batch.communicate(timeout=300)
    return batch.returncode, said


def read_log(out: Path) -> list[dict[str, Any]]:
    """Return the lines of all batches in a folder of results."""
    lines = [line for path in sorted((out / "logs").glob("*.jsonl")) for line in path.read_text().splitlines()]
    return [json.loads(line) for line in lines if line.endswith("}")]


def signs(batch: subprocess.Popen[str], out: Path) -> list[dict[str, Any]]:
    """Return what the tasks say of themselves that are at work in a batch."""
    own = {line["run_id"] for line in read_log(out) if line["event"] == "begin" and line["pid"] == batch.pid}
    found = []
    for path in (out / "logs" / "running").glob("*.json"):
        try:
            found.append(json.loads(path.read_text()))
        except FileNotFoundError:
            continue
    return [sign for sign in found if sign["batch"] in own]


def wait_for_work(batch: subprocess.Popen[str], out: Path) -> None:
    """Return when the first task is at work, or all are done."""
    deadline = time.monotonic() + 120
    while not signs(batch, out) and batch.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def contents(out: Path) -> dict[str, bytes]:
    """Return every file of the results but the logs, which tell times."""
    files = (path for path in sorted(out.rglob("*")) if path.is_file() and "logs" not in path.relative_to(out).parts)
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def kill_job(batch: subprocess.Popen[str]) -> None:
    """Kill the main process as the system would, and return when its workers have noticed."""
    family = psutil.Process(batch.pid).children(recursive=True)
    os.kill(batch.pid, signal.SIGKILL)
    batch.communicate()
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive, "workers outlive the batch that was killed"
