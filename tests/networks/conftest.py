"""Small networks on one thread, and pictures to show them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from angio_pipeline.networks.definition import SmallUNet


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def network() -> SmallUNet:
    """A network of two pictures and three classes whose normalisation is not the identity."""
    generator = torch.Generator().manual_seed(3)
    made = SmallUNet(2, 3, (4, 8))
    with torch.no_grad():
        for part in made.modules():
            if isinstance(part, torch.nn.Conv2d):
                part.weight.normal_(0, 0.4, generator=generator)
            elif isinstance(part, torch.nn.BatchNorm2d):
                part.running_mean.normal_(0, 0.5, generator=generator)
                part.running_var.uniform_(0.3, 3.0, generator=generator)
                part.weight.normal_(1, 0.3, generator=generator)
                part.bias.normal_(0, 0.3, generator=generator)
    return made.eval()


@pytest.fixture(scope="session")
def angiogram() -> Callable[..., np.ndarray]:
    """Return a maker of frames (rows, columns): dark, curved vessels on smooth bright anatomy."""
    return _angiogram


def _angiogram(rows: int = 64, columns: int = 80, *, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    anatomy = cv2.GaussianBlur(rng.standard_normal((rows, columns)).astype(np.float32), (0, 0), 8)
    vessels = np.zeros((rows, columns), np.float32)
    for k in range(3):
        points = rng.uniform((0, 0), (columns, rows), (3, 2)).astype(np.int32)
        cv2.polylines(vessels, [points], False, 1.0, 2 + k)
    noise = rng.normal(0, 1, (rows, columns))
    return np.asarray(150 + 200 * anatomy - 40 * cv2.GaussianBlur(vessels, (0, 0), 0.7) + noise, dtype=np.float32)


@pytest.fixture
def change_byte() -> Callable[[Path, int], None]:
    """Return what flips one bit of a file."""

    def change(path: Path, at: int) -> None:
        content = bytearray(path.read_bytes())
        content[at] ^= 1
        path.write_bytes(content)

    return change
