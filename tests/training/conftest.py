"""Packed examples whose geometry is known, and networks that learn in no time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from angio_pipeline.networks.definition import SmallUNet
from angio_pipeline.training.batches import Batch
from angio_pipeline.training.examples import Label
from angio_pipeline.training.packing import CENTRELINE, Packed
from angio_pipeline.training.recipe import Recipe
from angio_pipeline.vessels import CHANNELS


def _scene(side: int = 96, shift: int = 0) -> np.ndarray:
    """Return labels: an L of an artery with its centreline, a vein below, a blush disc, a catheter on the right."""
    labels = np.zeros((side, side), np.uint8)
    unit, at = side // 32, side // 4 + shift
    for part in (np.s_[at : at + 2 * unit, 3 * unit : 22 * unit], np.s_[at : 20 * unit, 3 * unit : 5 * unit]):
        labels[part] |= Label.ARTERY
    labels[at + unit, 4 * unit : 21 * unit] |= CENTRELINE
    labels[at + unit : 19 * unit, 4 * unit] |= CENTRELINE
    labels[24 * unit : 26 * unit, 2 * unit : 24 * unit] |= Label.VEIN
    disc = cv2.circle(np.zeros_like(labels), (15 * unit, 17 * unit), 3 * unit, 1, -1)
    labels[disc > 0] |= Label.BLUSH
    labels[2 * unit : 30 * unit, 26 * unit : 27 * unit] |= Label.CATHETER
    return labels


@pytest.fixture(scope="session")
def scene() -> Callable[..., np.ndarray]:
    """Return a maker of label pictures, (side, side), with every class in a place of its own."""
    return _scene


@pytest.fixture(scope="session")
def pack() -> Callable[..., Packed]:
    """Return a maker of packed examples: pictures show what the labels say, and no tumour, unless told otherwise."""
    return _pack


def _pack(
    folder: Path,
    labels: np.ndarray,
    name: str = "00000-frontal",
    *,
    pictures: np.ndarray | None = None,
    frame: np.ndarray | None = None,
    tumours: np.ndarray | None = None,
) -> Packed:
    folder.mkdir(parents=True, exist_ok=True)
    packed = Packed(*(folder / f"{name}.{part}.npy" for part in ("pictures", "labels", "frame", "tumours")))
    np.save(packed.pictures, _shown(labels).astype(np.float16) if pictures is None else pictures.astype(np.float16))
    np.save(packed.labels, labels)
    np.save(packed.frame, _frame(labels).astype(np.float16) if frame is None else frame.astype(np.float16))
    told = np.zeros((0, 3, *labels.shape), bool) if tumours is None else tumours
    np.save(packed.tumours, np.packbits(told, axis=-1))
    return packed


def _shown(labels: np.ndarray) -> np.ndarray:
    channels = np.zeros((len(CHANNELS), *labels.shape), np.float32)
    for name, bit in (
        ("arterial", Label.ARTERY),
        ("last", Label.BLUSH),
        ("contrast_9_s", Label.VEIN),
        ("anatomy", Label.CATHETER),
    ):
        channels[CHANNELS.index(name)] = (labels & bit) > 0
    channels[CHANNELS.index("valid")] = 1
    return channels


def _frame(labels: np.ndarray) -> np.ndarray:
    contrast = 0.5 * ((labels & Label.ARTERY) > 0)
    anatomy = np.random.default_rng(1).normal(2, 0.02, labels.shape)
    return np.stack([anatomy + contrast, contrast, contrast / 0.02])


@pytest.fixture
def tiny_recipe() -> Callable[..., Recipe]:
    """Return a maker of recipes that are trained within a second."""
    return _tiny_recipe


def _tiny_recipe(kind: str = "run", **changes: Any) -> Recipe:
    classes = {"run": 5, "frame": 2, "feeder": 1}[kind]
    usual: dict[str, Any] = {
        "name": f"tiny-{kind}",
        "kind": kind,
        "widths": (4, 8),
        "data": {"seed": 7, "patients": 2, "runs_each": 1, "held_out_seed": 8, "held_out_patients": 2},
        "crops": {"size_px": 32, "batch": 2},
        "loss": {"classes": (1.0,) * classes, "cldice_rounds": 1},
        "loop": {"steps": 4, "warm_up_steps": 1, "average": 0.5, "log_every": 2, "check_every": 2, "seed": 9},
    }
    return Recipe.model_validate(usual | changes)


@pytest.fixture
def tiny_network() -> Callable[[], SmallUNet]:
    """Return a maker of the same small network, three channels in and two classes out."""
    return _tiny_network


def _tiny_network() -> SmallUNet:
    torch.manual_seed(5)
    return SmallUNet(3, 2, (4, 8))


@pytest.fixture
def bright_batch() -> Callable[[int], Batch]:
    """Return what a step sees: bars that are brighter than noise, and their middle lines."""
    return _bright_batch


def _bright_batch(step: int) -> Batch:
    rng = np.random.default_rng([3, step])
    targets = np.zeros((2, 2, 16, 16), np.float32)
    for n in range(2):
        at = int(rng.integers(1, 12))
        targets[n, 0, at : at + 3] = 1
        targets[n, 1, at + 1] = 1
    inputs = rng.normal(0, 0.2, (2, 3, 16, 16)).astype(np.float32) + targets[:, :1]
    return Batch(inputs, targets, np.ones_like(targets))
