"""Results of a real analysis of a small run, made once, and servers over copies of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from command_here import angio
from filelock import FileLock
from page_reader import PAINTERS, PageReader, chromium_with
from playwright.sync_api import Browser as Chromium
from review_server import Browser, Served, serve
from small_runs import FAST

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
def results(still_scene: Any, shared_place: Path) -> Results:
    """One run with a tumour that was drawn among the sources, analysed by the command itself."""
    folder = shared_place / "review"
    attenuation = still_scene.run.frames
    stored = np.round(4000 * np.exp(-(attenuation - attenuation.min()) / 2)).astype(np.uint16)
    with made_once(folder) as source:
        if source is not None:
            (source / "rois").mkdir()
            uid = write_xa(
                source / "run1.dcm", Case(1, 0, WHEN), study="a", series="b", number=101, when=WHEN, frames=stored,
                times_s=still_scene.run.times_s, carm=CArm(256, 256, 0.4, 1100.0, 750.0, 10.0, -5.0),
                export=ExportParams(bits=12), mask_frames=3,
            )  # fmt: skip
            assert cv2.imwrite(str(source / "rois" / f"{uid}-L1.png"), still_scene.tumour.astype(np.uint8) * 255)
    return Results(folder / "out", folder / "source", stored)


@contextmanager
def made_once(folder: Path) -> Iterator[Path | None]:
    """Yield where to write sources, which are analysed then; None where another process of these tests has done so."""
    source, out, done = folder / "source", folder / "out", folder / "done"
    with FileLock(folder.with_suffix(".lock")):
        if done.exists():
            yield None
            return
        source.mkdir(parents=True)
        yield source
        # What is under review does not depend on networks.
        (folder / "fast.toml").write_text(FAST)
        words = ("--out", out, "--config", folder / "fast.toml", "--workers", "1", "--quiet")
        told = angio("run", source, *words)
        assert told.returncode == 0, told.stderr
        done.touch()


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
def followed(sample: Path, shared_place: Path) -> tuple[Path, Path]:
    """The sample's scans with their regions, every second slice, analysed: the results, and the sources."""
    folder = shared_place / "followed"
    with made_once(folder) as source:
        if source is not None:
            for name in ("day001-ct", "day028-ct"):
                for path in sorted((sample / "case-000" / "dicom" / name).rglob("*.dcm"))[::2]:
                    (source / name).mkdir(exist_ok=True)
                    shutil.copy(path, source / name)
            (source / "rois").mkdir()
            for path in (sample / "case-000" / "rois").glob("*.dcm"):
                shutil.copy(path, source / "rois")
    return folder / "out", folder / "source"


# --- in a browser --------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=list(PAINTERS))
def painter(request: pytest.FixtureRequest) -> str:
    """What draws the frames: every test runs once with WebGL and once without, but for those marked `ONCE`."""
    return str(request.param)


@pytest.fixture(scope="module")
def chromium(painter: str) -> Iterator[Chromium]:
    """A browser that draws in this way."""
    with chromium_with(painter) as found:
        yield found


@pytest.fixture
def visit(chromium: Chromium) -> Iterator[Callable[..., PageReader]]:
    """A starter of tabs, each with a session of its own; all of them end with the test."""
    with ExitStack() as stack:

        def opened(served: Served, name: str = "Reader 1", **more: tuple[int, int]) -> PageReader:
            tab = PageReader(chromium, served.address, **more)
            stack.callback(tab.close)
            return tab.sign_in(name)

        yield opened
