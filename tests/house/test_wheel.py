"""The wheel is the whole program: package, settings, models and sample, and it runs from an empty environment."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
ASSETS = {"configs": "configs", "models": "models", "data/sample": "sample"}


def call(*command: str | Path, cwd: Path | None = None) -> str:
    result = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, f"{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
    return result.stdout


def files_below(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def members(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_file_of_the_package(members: set[str]) -> None:
    missing = {f"angio_pipeline/{name}" for name in files_below(ROOT / "src" / "angio_pipeline")} - members
    assert not missing


@pytest.mark.parametrize("source", ASSETS)
def test_the_wheel_holds_settings_models_and_sample(members: set[str], source: str) -> None:
    expected = files_below(ROOT / source)
    assert expected
    packed = {f"angio_pipeline/_assets/{ASSETS[source]}/{name}" for name in expected}
    assert not packed - members


def test_the_wheel_holds_a_sample_with_images_and_truth(members: set[str]) -> None:
    sample = [name for name in members if name.startswith("angio_pipeline/_assets/sample/")]
    assert any(name.endswith("/truth.json") for name in sample)
    assert any(name.endswith(".dcm") for name in sample)


def test_the_wheel_holds_nothing_else(members: set[str]) -> None:
    assert {name.split("/")[0].partition("-")[0] for name in members} == {"angio_pipeline"}


def test_the_wheel_carries_licence_and_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        info = metadata.removesuffix("METADATA")
        assert "License-Expression: Apache-2.0" in archive.read(metadata).decode()
        assert "Apache License" in archive.read(f"{info}licenses/LICENSE").decode()
        assert "angio = angio_pipeline.cli.main:main" in archive.read(f"{info}entry_points.txt").decode()


def test_the_wheel_alone_analyses_a_run_and_a_scan_of_its_sample(wheel: Path, tmp_path: Path) -> None:
    place = tmp_path / "empty"
    call(sys.executable, "-m", "venv", place)
    commands = place / ("Scripts" if sys.platform == "win32" else "bin")
    # What is never imported is never compiled.
    install = ("-m", "pip", "install", "-q", "--no-compile", "-c", ROOT / "constraints.txt")
    call(commands / "python", *install, wheel, cwd=tmp_path)
    find = "from angio_pipeline.assets import sample_dir; print(sample_dir())"
    sample = Path(call(commands / "python", "-c", find, cwd=tmp_path).strip())
    assert sample.is_relative_to(place)
    (run,), (scan,) = sample.rglob("frontal.dcm"), sample.rglob("day001-ct")
    call(commands / "angio", "run", run, scan, "--out", tmp_path / "out", cwd=tmp_path)
    assert list((tmp_path / "out" / "subjects").glob("*/report.html"))
    assert list((tmp_path / "out" / "subjects").glob("*/*/*/analysis.json"))
    (course,) = (tmp_path / "out").rglob("lipiodol.json")
    assert json.loads(course.read_text())["lesions"]
