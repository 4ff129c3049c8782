"""Fixtures shared by all rooms."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from filelock import FileLock
from threadpoolctl import threadpool_limits

from angio_pipeline.core.provenance import Source
from angio_pipeline.core.runs import AngioRun, Quantity
from angio_pipeline.workers import warm_up

cv2.setNumThreads(1)
# For what is loaded later and for processes that tests start: several share the cores.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

ROOT = Path(__file__).resolve().parents[1]
# The sample as scripts/run has just analysed it under the key of ANGIO_PSEUDONYM_KEY_FILE; what is not of this code or
# this key is analysed anew.
SAMPLE_RESULTS = os.environ.get("ANGIO_SAMPLE_RESULTS")


@pytest.fixture(autouse=True, scope="module")
def _one_thread_of_linear_algebra() -> Iterator[None]:
    # Threads that wait for each other on shared cores took six times the time.
    with threadpool_limits(1, "blas"):
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real DICOM files, which is not part of the project."""
    folder = Path(os.environ.get("ANGIO_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real files at {folder}: set ANGIO_REAL_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def sample() -> Path:
    """The simulated sample patient that the project carries."""
    return ROOT / "data" / "sample"


@pytest.fixture(scope="session")
def shared_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of these tests share."""
    own = tmp_path_factory.getbasetemp()
    place = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    place.mkdir(exist_ok=True)
    return place


@pytest.fixture(autouse=True, scope="session")
def _own_pseudonym_key(shared_place: Path) -> Iterator[None]:
    # Tests never read or make the user's own key.
    key = shared_place / "key" / "pseudonym.key"
    if SAMPLE_RESULTS:
        with FileLock(shared_place / "key.lock"):
            key.parent.mkdir(exist_ok=True)
            shutil.copy(os.environ["ANGIO_PSEUDONYM_KEY_FILE"], key)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANGIO_PSEUDONYM_KEY_FILE", str(key))
        yield


@pytest.fixture(autouse=True, scope="session")
def _workers_are_born_warm(_own_pseudonym_key: None) -> None:
    # All batches of a long session start their workers from one server, whichever test comes first.
    if "PYTEST_XDIST_WORKER" in os.environ:
        warm_up()


@pytest.fixture(scope="session")
def sample_results(shared_place: Path, sample: Path, _own_pseudonym_key: None) -> Path:
    """What the README's first command leaves, made once for all; whoever changes it copies it before."""
    out, done = shared_place / "sample-results", shared_place / "sample-results.done"
    with FileLock(shared_place / "sample-results.lock"):
        if not done.exists():
            if SAMPLE_RESULTS:
                shutil.copytree(SAMPLE_RESULTS, out)
            command = [sys.executable, "-m", "angio_pipeline", "run", str(sample), "--out", str(out)]
            ended = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
            assert ended.returncode == 0, ended.stderr
            assert ended.stderr == ""
            done.touch()
    return out


@dataclass(frozen=True)
class Scene:
    """A run whose truth is known by construction: a Y of vessels over moving texture."""

    run: AngioRun
    contrast: npt.NDArray[np.float32]
    displacement: npt.NDArray[np.float32]
    artery: npt.NDArray[np.bool_]
    tumour: npt.NDArray[np.bool_]
    onset: int


TRUNK = ((236, 128), (150, 128))
LEFT = ((150, 128), (70, 70))
RIGHT = ((150, 128), (80, 200))
TUMOUR_CENTRE, TUMOUR_RADIUS = (62, 64), 20


def _bolus(times_s: npt.NDArray[np.float64], arrival_s: float) -> npt.NDArray[np.float64]:
    rise = 1 / (1 + np.exp(-(times_s - arrival_s) / 0.15))
    return np.asarray(rise * np.exp(-np.maximum(times_s - arrival_s - 2.5, 0) / 1.2))


def _line(shape: tuple[int, int], ends: tuple[tuple[int, int], tuple[int, int]], width: int) -> npt.NDArray[np.float32]:
    big = np.zeros((shape[0] * 4, shape[1] * 4), np.float32)
    (r0, c0), (r1, c1) = ends
    cv2.line(big, (c0 * 4, r0 * 4), (c1 * 4, r1 * 4), 1.0, width * 4)
    return np.asarray(cv2.resize(big, shape[::-1], interpolation=cv2.INTER_AREA))


@pytest.fixture(scope="session")
def make_scene() -> Callable[..., Scene]:
    """Return a maker of scenes: `amplitude_px` of smooth motion, `noise`, `pre` frames without contrast."""

    def make(*, amplitude_px: float = 0.0, noise: float = 0.01, pre: int = 3, frames: int = 20, seed: int = 0) -> Scene:
        rng = np.random.default_rng(seed)
        shape = (256, 256)
        pad = 24
        times = np.arange(frames) * 0.4
        start = times[pre] if pre else -0.8
        padded = (shape[0] + 2 * pad, shape[1] + 2 * pad)
        texture = sum(
            0.06 * s**0.3 * g / g.std()
            for s in (2, 5, 15)
            for g in [cv2.GaussianBlur(rng.standard_normal(padded), (0, 0), s)]
        )
        parts = [(TRUNK, 7, start + 0.1, 0.5), (LEFT, 5, start + 0.6, 0.35), (RIGHT, 5, start + 0.6, 0.35)]
        drawn = [(_line(shape, ends, width), at, amount) for ends, width, at, amount in parts]
        rows, cols = np.mgrid[: shape[0], : shape[1]]
        disc = np.hypot(rows - TUMOUR_CENTRE[0], cols - TUMOUR_CENTRE[1]) <= TUMOUR_RADIUS
        soft = cv2.GaussianBlur(disc.astype(np.float32), (0, 0), 2)
        contrast = np.zeros((frames, *shape), np.float32)
        for t in range(frames):
            vessel = np.max([image * amount * _bolus(times, at)[t] for image, at, amount in drawn], axis=0)
            blush = 0.14 * soft / (1 + np.exp(-(times[t] - start - 2.0) / 0.3))
            contrast[t] = vessel + blush
        grid_r, grid_c = np.mgrid[: padded[0], : padded[1]].astype(np.float32)
        out, moved = np.empty((frames, *shape), np.float32), np.empty((frames, *shape, 2), np.float32)
        for t in range(frames):
            swing = amplitude_px * np.sin(1.3 * times[t])
            u_r, u_c = swing * (1 - 0.5 * grid_r / padded[0]), 0.3 * swing * grid_c / padded[1]
            still = texture.astype(np.float32) + np.pad(contrast[t], pad)
            at_c, at_r = (grid_c - u_c).astype(np.float32), (grid_r - u_r).astype(np.float32)
            frame = cv2.remap(still, at_c, at_r, cv2.INTER_CUBIC)[pad:-pad, pad:-pad]
            out[t] = frame + 2 + noise * rng.standard_normal(shape)
            moved[t] = np.stack([u_r, u_c], -1)[pad:-pad, pad:-pad]
        artery = np.max([image for image, _, _ in drawn], axis=0) >= 0.5
        run = AngioRun(out, times, Quantity.ATTENUATION, np.ones(shape, bool), Source("1.2.3", "1.2"))
        return Scene(run, contrast, moved, artery, disc, pre)

    return make


@pytest.fixture(scope="session")
def still_scene(make_scene: Callable[..., Scene]) -> Scene:
    """A scene without motion."""
    return make_scene()


@pytest.fixture(scope="session")
def breathing_scene(make_scene: Callable[..., Scene]) -> Scene:
    """A scene with three pixels of smooth motion."""
    return make_scene(amplitude_px=3.0)


@dataclass
class ModelFolder:
    """A folder of small networks with random weights; `add` writes one and lists it in the manifest."""

    folder: Path
    listed: dict[str, str] = field(default_factory=dict)

    def add(
        self,
        name: str = "frame",
        *,
        kind: str = "frame",
        channels: tuple[str, ...] = ("detail", "context"),
        classes: tuple[str, ...] = ("vessel",),
        seed: int = 0,
        working_px: int | None = None,
        **calibrated: Any,
    ) -> Path:
        """Write one network and return its file; `calibrated` changes parts of its calibration."""
        import torch

        from angio_pipeline.networks.weights import Architecture, Calibration, save_model

        told = Architecture(
            kind=kind,
            channels=channels,
            classes=classes,
            widths=(4, 8),
            working_px=working_px or (512 if kind == "run" else 64),
        )
        usual = {
            "scale": np.ones(len(classes)),
            "offset": np.zeros(len(classes)),
            "threshold": np.full(len(classes), 0.5),
            "centre": np.zeros(8),
            "whiten": np.eye(8),
            "limit": 1e6,
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = told.build()
            for part in network.modules():
                if isinstance(part, torch.nn.BatchNorm2d):
                    part.running_mean.normal_(0, 0.3)
                    part.running_var.uniform_(0.5, 2.0)
        path = self.folder / f"{name}.safetensors"
        self.enter(name, path, save_model(path, told, network, Calibration(**{**usual, **calibrated})))
        return path

    def enter(self, name: str, path: Path, sha256: str) -> None:
        """Write a manifest that names this file beside those listed before."""
        self.listed[name] = (
            f'[[model]]\nname = "{name}"\nfile = "{path.name}"\nsha256 = "{sha256}"\n'
            'licence = "Apache-2.0"\ntraining_data = "none: random"\ncard = "none.md"\n'
        )
        text = 'schema = "angio-pipeline/models/1"\n' + "".join(self.listed.values())
        (self.folder / "manifest.toml").write_text(text, encoding="utf-8")


@pytest.fixture
def models(tmp_path: Path) -> ModelFolder:
    """A writer of small networks with random weights into `tmp_path / "models"`."""
    folder = tmp_path / "models"
    folder.mkdir()
    return ModelFolder(folder)
