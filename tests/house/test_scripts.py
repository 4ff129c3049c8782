"""The two commands for a fresh machine: what they pass on, when they do nothing, how they fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the scripts are for a POSIX shell")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout under a path with spaces, without an environment."""
    tree = tmp_path / "a place" / "angio pipeline"
    (tree / "src").mkdir(parents=True)
    shutil.copytree(ROOT / "scripts", tree / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tree)
    return tree


@pytest.fixture
def installed(checkout: Path) -> Path:
    """The same with an environment that is up to date; its programs only print what they are asked for."""
    programs = checkout / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "angio"):
        stub = programs / name
        stub.write_text(f'#!/bin/sh\nprintf "{name}"\nprintf " [%s]" "$@"\necho\n', encoding="utf-8")
        stub.chmod(0o755)
    sourced = ["sh", "-c", '. "$1/scripts/environment.sh"; checksum', str(checkout / "scripts" / "run"), str(checkout)]
    checksum = subprocess.run(sourced, capture_output=True, text=True, check=True).stdout
    for stamp in ("installed-run", "installed-dev"):
        (checkout / ".venv" / stamp).write_text(checksum, encoding="utf-8")
    return checkout


def call(script: Path, *arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(script), *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_run_without_arguments_analyses_the_sample_from_anywhere(installed: Path, tmp_path: Path) -> None:
    result = call(installed / "scripts" / "run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"angio [run] [{installed}/data/sample] [--out] [{installed}/out/sample]\n"


def test_run_passes_its_arguments_on_as_they_are(installed: Path, tmp_path: Path) -> None:
    result = call(installed / "scripts" / "run", "my scans", "--out", "my results", cwd=tmp_path)
    assert result.stdout == "angio [run] [my scans] [--out] [my results]\n"


def test_nothing_is_installed_twice(installed: Path, tmp_path: Path) -> None:
    assert call(installed / "scripts" / "run", cwd=tmp_path).stderr == ""


def test_a_change_of_the_lock_is_installed(installed: Path, tmp_path: Path) -> None:
    with (installed / "constraints.txt").open("a", encoding="utf-8") as lock:
        lock.write("# another version\n")
    result = call(installed / "scripts" / "run", cwd=tmp_path)
    assert "Installing" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "passed_on"),
    [
        (["-k", "motion law"], "[-m] [not slow] [-k] [motion law]"),
        (["--slow", "-x"], "[-x]"),
        (["-m", "slow"], "[-m] [slow]"),
        (["tests/house"], "[-m] [not slow] [tests/house]"),
    ],
)
def test_test_passes_its_arguments_to_pytest(installed: Path, arguments: list[str], passed_on: str) -> None:
    result = call(installed / "scripts" / "test", *arguments, cwd=installed)
    assert result.stdout.splitlines()[-1] == f"python [-m] [pytest] {passed_on}"


SHARED = "[-n] [logical] [--dist] [loadfile]"


def test_all_tests_are_shared_out_over_the_cores(installed: Path) -> None:
    result = call(installed / "scripts" / "test", "--slow", cwd=installed)
    assert result.stdout.splitlines()[-1] == f"python [-m] [pytest] {SHARED}"


def test_test_without_arguments_analyses_the_sample_first(installed: Path, tmp_path: Path) -> None:
    result = call(installed / "scripts" / "test", cwd=tmp_path)
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["angio", "python"]
    assert result.stdout.endswith(f"python [-m] [pytest] [-m] [not slow] {SHARED}\n")


@pytest.mark.parametrize("script", ["run", "test"])
def test_a_python_that_is_too_old_is_one_line(checkout: Path, tmp_path: Path, script: str) -> None:
    result = call(checkout / "scripts" / script, cwd=tmp_path, PYTHON="/no/such/python")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith(f"{script}: Expected Python 3.11 or later")
    assert not (checkout / ".venv").exists()


@pytest.mark.slow
def test_an_install_that_fails_is_one_line_and_is_tried_again(checkout: Path, tmp_path: Path) -> None:
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_CONFIG_FILE": os.devnull}
    for _ in range(2):
        result = call(checkout / "scripts" / "run", cwd=tmp_path, PYTHON=sys.executable, **offline)
        assert result.returncode == 1
        assert result.stderr.splitlines()[-1].startswith("run: Could not install: ERROR: No matching distribution")
        assert "Traceback" not in result.stderr
