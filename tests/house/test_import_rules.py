"""The floors of the house: what the import rules say, and that they would notice."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(tree / "src")}
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=120)


def broken_contract(output: str) -> list[str]:
    # A contract with exceptions says how many after its verdict.
    lines = [line for line in output.splitlines() if re.search(r" BROKEN( \(\d+ ignored imports?\))?\s*$", line)]
    return [" ".join(line.split()[:4]) for line in lines]


def test_the_code_keeps_every_import_rule() -> None:
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("numerics/curves.py", "from angio_pipeline import dsa", "An arrow only goes"),
        ("outputs/labels.py", "from angio_pipeline import ingest", "An arrow only goes"),
        ("lipiodol/mass.py", "from angio_pipeline import vessels", "An arrow only goes"),
        ("core/runs.py", "import pathlib", "Science, numerics and core"),
        ("dsa/mask_choice.py", "import pydicom", "Science, numerics and core"),
        ("vessels/network.py", "import torch", "Science, numerics and core"),
        ("simulate/anatomy/tree.py", "from angio_pipeline import vessels", "The simulator and the"),
        ("outputs/labels.py", "import distributed", "Dask lives only in"),
        ("pipeline.py", "import torch", "Torch lives only in"),
    ],
)
def test_a_forbidden_import_is_noticed(tmp_path: Path, file: str, line: str, contract: str) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    spoiled = tmp_path / "src" / "angio_pipeline" / file
    spoiled.write_text(f"{spoiled.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    result = lint(tmp_path)
    assert result.returncode == 1, result.stdout
    assert contract in broken_contract(result.stdout), result.stdout
