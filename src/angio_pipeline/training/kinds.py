"""The kinds of networks: what each is given, what it tells, and where its crops and held-out pictures come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from angio_pipeline.networks.feeders import FEEDER_CHANNELS
from angio_pipeline.networks.frames import FRAME_CHANNELS
from angio_pipeline.training.batches import (
    FEEDER_CLASSES,
    FRAME_CLASSES,
    RUN_CLASSES,
    Batch,
    CropParams,
    run_batches,
    targets_of,
)
from angio_pipeline.training.feeder_batches import feeder_batches, feeder_pictures
from angio_pipeline.training.frame_batches import RealFrames, frame_batches, frame_pictures
from angio_pipeline.training.packing import Packed
from angio_pipeline.vessels import CHANNELS

__all__ = ["KINDS", "Kind", "KindName"]

FloatArray = npt.NDArray[np.float32]
KindName = Literal["run", "frame", "feeder"]
Pictured = tuple[FloatArray, FloatArray, FloatArray]


@dataclass(frozen=True, slots=True)
class Kind:
    """What one kind of network is given and tells.

    Attributes
    ----------
    channels, classes : tuple of str
        Inputs and outputs, in order.
    batches : callable
        Given examples, real frames (for frame networks), how crops are cut, a seed, a first step and the number of
        steps, yields the batches from the first step on.
    pictures : callable
        Given an example, returns its pictures, targets and what is known of them, whole. In frames shutters stay as
        they are; prediction fills in what is behind them.
    """

    channels: tuple[str, ...]
    classes: tuple[str, ...]
    batches: Callable[[Sequence[Packed], RealFrames | None, CropParams, int, int, int], Iterator[Batch]]
    pictures: Callable[[Packed], list[Pictured]]


def _run_batches(
    packed: Sequence[Packed], real: RealFrames | None, params: CropParams, seed: int, first: int, steps: int
) -> Iterator[Batch]:
    return run_batches(packed, params, seed=seed, first_step=first, steps=steps)


def _frame_batches(
    packed: Sequence[Packed], real: RealFrames | None, params: CropParams, seed: int, first: int, steps: int
) -> Iterator[Batch]:
    return frame_batches(packed, real, params, seed=seed, first_step=first, steps=steps)


def _feeder_batches(
    packed: Sequence[Packed], real: RealFrames | None, params: CropParams, seed: int, first: int, steps: int
) -> Iterator[Batch]:
    return feeder_batches(packed, params, seed=seed, first_step=first, steps=steps)


def _run_pictures(packed: Packed) -> list[Pictured]:
    pictures = np.load(packed.pictures).astype(np.float32)
    targets, known = targets_of(np.load(packed.labels))
    return [(pictures, targets, np.asarray(known * (pictures[-1:] > 0.5), np.float32))]


KINDS: Mapping[KindName, Kind] = {
    "run": Kind(CHANNELS, RUN_CLASSES, _run_batches, _run_pictures),
    "frame": Kind(FRAME_CHANNELS, FRAME_CLASSES, _frame_batches, lambda packed: [frame_pictures(packed)]),
    "feeder": Kind(FEEDER_CHANNELS, FEEDER_CLASSES, _feeder_batches, feeder_pictures),
}
