"""Results of a real analysis of a small run, made once, and servers over copies of them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from review_server import Browser, Served, serve

from angio_pipeline.simulate.dicom.common import Case
from angio_pipeline.simulate.dicom.xa import write_xa
from angio_pipeline.simulate.radiograph.exports import ExportParams
from angio_pipeline.simulate.radiograph.projection import CArm

WHEN = datetime(2024, 3, 4, 10, 0)


@dataclass(frozen=True)
class Results:
    """What `angio run` wrote, and the image that it read."""

    out: Path
    source: Path
    frames: np.ndarray

    @property
    def run(self) -> Path:
        (path,) = self.out.glob("subjects/*/*/*/analysis.json")
        return path.parent


@pytest.fixture(scope="session")
def results(still_scene: Any, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """One run with a tumour that was drawn among the sources, analysed by the command itself."""
    folder = tmp_path_factory.mktemp("review")
    source, out = folder / "source", folder / "out"
    (source / "rois").mkdir(parents=True)
    attenuation = still_scene.run.frames
    stored = np.round(4000 * np.exp(-(attenuation - attenuation.min()) / 2)).astype(np.uint16)
    uid = write_xa(
        source / "run1.dcm", Case(1, 0, WHEN), study="a", series="b", number=101, when=WHEN, frames=stored,
        times_s=still_scene.run.times_s, carm=CArm(256, 256, 0.4, 1100.0, 750.0, 10.0, -5.0),
        export=ExportParams(bits=12), mask_frames=3,
    )  # fmt: skip
    assert cv2.imwrite(str(source / "rois" / f"{uid}-L1.png"), still_scene.tumour.astype(np.uint8) * 255)
    (folder / "filter.toml").write_text('[segment]\nmethod = "filter"\n')
    command = [sys.executable, "-m", "angio_pipeline", "run", source, "--out", out, "--workers", "1", "--quiet"]
    command += ["--config", folder / "filter.toml"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return Results(out, source, stored)


@pytest.fixture
def copied(results: Results, tmp_path: Path) -> Results:
    """The results in a folder of this test's own."""
    out = tmp_path / "out"
    shutil.copytree(results.out, out, ignore=shutil.ignore_patterns("review"))
    return Results(out, results.source, results.frames)


@pytest.fixture
def started(copied: Results) -> Iterator[Callable[..., Served]]:
    """A starter of servers over the copied results, with further options; all of them end with the test."""
    with ExitStack() as stack:
        yield lambda *options: stack.enter_context(serve(copied.out, *options))


@pytest.fixture(scope="module")
def shared(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server with sources for tests that change nothing that another one sees."""
    out = tmp_path_factory.mktemp("shared") / "out"
    shutil.copytree(results.out, out, ignore=shutil.ignore_patterns("review"))
    with serve(out, "--source", results.source) as served:
        yield served


@pytest.fixture(scope="module")
def reader(shared: Served) -> Browser:
    """A reader at the shared server."""
    return shared.browser("Reader 1")


@pytest.fixture(scope="module")
def case(reader: Browser) -> str:
    """The only run at the shared server."""
    (found,) = reader.cases()
    return str(found["id"])


@pytest.fixture(scope="session")
def followed(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sample's scans with their regions, analysed: the results, and the sources."""
    folder = tmp_path_factory.mktemp("followed")
    for name in ("day001-ct", "day028-ct"):
        shutil.copytree(sample / "case-000" / "dicom" / name, folder / "source" / name)
    (folder / "source" / "rois").mkdir()
    for path in (sample / "case-000" / "rois").glob("*.dcm"):
        shutil.copy(path, folder / "source" / "rois")
    command = [sys.executable, "-m", "angio_pipeline", "run", folder / "source", "--out", folder / "out"]
    done = subprocess.run(
        [*map(str, command), "--workers", "1", "--quiet"], capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    return folder / "out", folder / "source"
