"""The source distribution: what git keeps and nothing else, and the wheel made of it is the wheel made of the tree."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import angio_pipeline

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
# What only serves the work on the project; PKG-INFO is made, and .gitignore is always taken.
LEFT_OUT = {".ci", ".github", ".gitattributes", ".pre-commit-config.yaml"}
MADE = {"PKG-INFO", ".gitignore"}


def build(kind: str, tree: Path, folder: Path) -> Path:
    """What the project's own build backend makes of a tree, without a download."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (path,) = (p for p in folder.iterdir() if p.is_file())
    return path


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


def files_in_git() -> set[str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip("no git repository here to compare with")
    return {name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()}


def test_the_source_distribution_holds_what_git_keeps_and_nothing_else(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        held = {member.name.partition("/")[2] for member in archive if member.isfile()}
    kept = {name for name in files_in_git() if name.split("/")[0] not in LEFT_OUT}
    assert kept - held == set()
    assert held - kept - MADE == set()


def contents(wheel: Path) -> dict[str, int]:
    with zipfile.ZipFile(wheel) as archive:
        return {entry.filename: entry.CRC for entry in archive.infolist()}


def test_the_wheel_of_the_source_distribution_is_that_of_the_tree(sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "tree", filter="data")
    (tree,) = (tmp_path / "tree").iterdir()
    made, own = (build("wheel", place, tmp_path / name) for name, place in (("made", tree), ("own", ROOT)))
    assert contents(made) == contents(own)
    assert made.name == own.name


def test_the_version_is_told_in_one_place() -> None:
    told = [line for line in (ROOT / "pyproject.toml").read_text().splitlines() if line.startswith("version = ")]
    (version,) = (line.split('"')[1] for line in told)
    assert angio_pipeline.__version__ == version
    assert version in (ROOT / "CHANGELOG.md").read_text()
    code = [p for p in (ROOT / "src").rglob("*.py") if f'"{version}"' in p.read_text(encoding="utf-8")]
    page = [p for p in (ROOT / "review-page").glob("package*.json") if f'"version": "{version}"' in p.read_text()[:400]]
    assert code + page == []
