"""Kinds of networks: each is given and asked for what it says, while it learns and when it is looked at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from angio_pipeline.training.batches import CropParams
from angio_pipeline.training.examples import Label
from angio_pipeline.training.kinds import KINDS, KindName
from angio_pipeline.training.packing import Packed

CROPS = CropParams(size_px=32, batch=3)


@pytest.fixture
def packed(tmp_path: Path, scene: Callable[..., np.ndarray], pack: Callable[..., Packed]) -> Packed:
    labels = scene()
    blush, artery = (labels & Label.BLUSH) > 0, (labels & Label.ARTERY) > 0
    return pack(tmp_path, labels, tumours=np.stack([blush, artery, np.zeros_like(blush)])[None])


@pytest.mark.parametrize("name", KINDS)
def test_crops_and_whole_pictures_have_the_inputs_and_the_classes_of_their_kind(packed: Packed, name: KindName) -> None:
    kind = KINDS[name]
    given, told = len(kind.channels), len(kind.classes)
    (batch,) = kind.batches([packed], None, CROPS, 1, 0, 1)
    assert batch.inputs.shape == (3, given, 32, 32)
    assert batch.targets.shape == batch.known.shape == (3, told, 32, 32)
    ((pictures, targets, known),) = kind.pictures(packed)
    assert pictures.shape == (given, 96, 96)
    assert targets.shape == known.shape == (told, 96, 96)
    for array in (batch.inputs, batch.targets, batch.known, pictures, targets, known):
        assert array.dtype == np.float32
        assert np.isfinite(array).all()


@pytest.mark.parametrize("name", KINDS)
def test_a_training_of_any_kind_goes_on_at_the_step_it_asks_for(packed: Packed, name: KindName) -> None:
    whole = list(KINDS[name].batches([packed], None, CROPS, 4, 0, 3))
    rest = list(KINDS[name].batches([packed], None, CROPS, 4, 1, 3))
    assert len(whole) == 3
    assert len(rest) == 2
    for one, other in zip(whole[1:], rest, strict=True):
        for part in ("inputs", "targets", "known"):
            np.testing.assert_array_equal(getattr(one, part), getattr(other, part))
