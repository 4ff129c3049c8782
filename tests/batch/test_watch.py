"""A worker ends itself where a limit is passed, and the sign that it leaves says why."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from angio_pipeline.batch.watch import Attempts, Limits, clear_signs, past_attempts, read_signs, watched

PROGRAM = """
import os, re, signal, sys, time
from pathlib import Path
from angio_pipeline.batch.watch import Limits, watched
with watched(Path({out!r}), "00001", "P1/a", Limits(**{limits!r}), {attempt}) as watch:
    {fault}
print("went on")
"""
HANG = 're.match(r"(a+)+$", "a" * 80 + "b")'
HOARD = "held = [b'x' * 10_000_000 for _ in range(300)]"
DIE = "os.kill(os.getpid(), signal.SIGKILL)"


def _work(out: Path, fault: str, attempt: int = 1, **limits: float) -> str:
    program = PROGRAM.format(out=str(out), limits=limits, attempt=attempt, fault=fault)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120).stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "limits", "ended"),
    [(HANG, {"task_s": 0.5}, "timed_out"), (HOARD, {"memory_mb": 1000.0}, "out_of_memory"), (DIE, {}, "")],
    ids=["hangs in native code", "takes all memory", "dies"],
)
def test_a_worker_that_ends_leaves_why(tmp_path: Path, fault: str, limits: dict[str, float], ended: str) -> None:
    assert _work(tmp_path, fault, **limits) == ""
    assert past_attempts(tmp_path, "00001", "P1/a") == Attempts(1, ended)
    assert [sign["task"] for sign in read_signs(tmp_path, "00001")] == ["P1/a"]


@pytest.mark.slow
def test_what_died_twice_is_given_up_and_what_passed_a_limit_at_once(tmp_path: Path) -> None:
    _work(tmp_path, DIE)
    assert past_attempts(tmp_path, "00001", "P1/a").given_up == ""
    _work(tmp_path, DIE, attempt=2)
    assert past_attempts(tmp_path, "00001", "P1/a").given_up == "worker_died"
    assert Attempts(1, "timed_out").given_up == "timed_out"


@pytest.mark.slow
def test_an_earlier_batch_says_nothing_of_this_one(tmp_path: Path) -> None:
    _work(tmp_path, DIE)
    assert past_attempts(tmp_path, "00002", "P1/a") == Attempts()
    assert read_signs(tmp_path, "00002") == []
    clear_signs(tmp_path)
    assert not list((tmp_path / "logs" / "running").iterdir())


def test_what_ends_well_leaves_no_sign_and_tells_what_it_took(tmp_path: Path) -> None:
    with watched(tmp_path, "00001", "P1/a", Limits(task_s=60), 1) as watch:
        watch.stages.begin("read")
        assert [sign["attempt"] for sign in read_signs(tmp_path, "00001")] == [1]
        cost = watch.cost()
    assert cost.seconds >= cost.stages["read"] >= 0
    assert not list((tmp_path / "logs" / "running").iterdir())


def test_an_error_goes_through_and_leaves_no_sign(tmp_path: Path) -> None:
    with pytest.raises(KeyError), watched(tmp_path, "00001", "P1/a", Limits(), 1):
        raise KeyError
    assert not list((tmp_path / "logs" / "running").iterdir())
