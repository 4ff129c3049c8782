"""Weights on disk: what was written is what is read; what does not fit is refused, in a sentence."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from angio_pipeline.core.errors import ModelError
from angio_pipeline.networks.definition import network_of
from angio_pipeline.networks.weights import load_model

TOLD = {
    "format": "angio-pipeline/weights/1",
    "kind": "frame",
    "channels": ["detail", "context"],
    "classes": ["vessel"],
    "widths": [4, 8],
    "working_px": 64,
}


def _rewrite(models, path: Path, told: dict[str, Any] | None = None, **tensors: torch.Tensor) -> None:
    """Write the file of a network anew, with other words or other tensors, and list it as it then is."""
    content = load_file(path) | {key.replace("_", ".", 1): value for key, value in tensors.items()}
    save_file(content, path, metadata={"architecture": json.dumps(TOLD if told is None else told)})
    models.enter("frame", path, hashlib.sha256(path.read_bytes()).hexdigest())


def test_a_network_reads_back_as_it_was_written(models) -> None:
    path = models.add(scale=[2.0], offset=[-1.0], threshold=[0.3], centre=np.arange(8), limit=7.0)
    model = load_model("frame", models.folder)
    stored = load_file(path)
    for key, value in network_of(model.tensors).state_dict().items():
        torch.testing.assert_close(value, stored[f"network.{key}"], rtol=0, atol=0)
    told = model.calibration
    assert (told.scale, told.offset, told.limit) == (2.0, -1.0, 7.0)
    assert told.threshold == pytest.approx([0.3])
    np.testing.assert_array_equal(told.centre, np.arange(8))
    np.testing.assert_array_equal(told.whiten, np.eye(8))


def test_the_digest_that_is_told_is_the_files(models) -> None:
    path = models.add()
    assert hashlib.sha256(path.read_bytes()).hexdigest() in models.listed["frame"]


def test_writing_leaves_one_file(models) -> None:
    models.add()
    assert sorted(p.name for p in models.folder.iterdir()) == ["frame.safetensors", "manifest.toml"]


def test_a_network_is_read_ready_to_predict(models) -> None:
    models.add()
    assert not network_of(load_model("frame", models.folder).tensors).training


def test_sides_are_multiples_of_two_for_every_halving(models) -> None:
    models.add()
    assert load_model("frame", models.folder).architecture.multiple_px == 2


def test_the_distance_of_a_description_is_measured_in_whitened_units(models) -> None:
    models.add(centre=np.full(8, 2.0), whiten=0.5 * np.eye(8))
    told = load_model("frame", models.folder).calibration
    assert told.distance(np.full(8, 2.0)) == 0
    assert told.distance(np.array([2.0, 5, 2, 2, 2, 2, 6, 2])) == pytest.approx(2.5)


class _Trap:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_a_pickle_in_the_weights_place_is_refused_and_never_run(models, tmp_path: Path) -> None:
    path = models.add()
    path.write_bytes(pickle.dumps(_Trap(tmp_path / "sprung")))
    models.enter("frame", path, hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(ModelError, match=r"Expected frame\.safetensors to hold weights as safetensors"):
        load_model("frame", models.folder)
    assert not (tmp_path / "sprung").exists()


def test_weights_of_torchs_own_format_are_refused(models) -> None:
    path = models.add()
    torch.save(load_file(path), path)
    models.enter("frame", path, hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(ModelError, match="found it unreadable"):
        load_model("frame", models.folder)


def test_an_empty_file_is_refused(models) -> None:
    path = models.add()
    path.write_bytes(b"")
    models.enter("frame", path, hashlib.sha256(b"").hexdigest())
    with pytest.raises(ModelError, match="found it unreadable"):
        load_model("frame", models.folder)


@pytest.mark.parametrize("told", [{}, {**TOLD, "format": "angio-pipeline/weights/9"}])
def test_weights_of_another_format_are_refused(models, told: dict[str, Any]) -> None:
    _rewrite(models, models.add(), told)
    with pytest.raises(ModelError, match="to be weights of format angio-pipeline/weights/1, found others"):
        load_model("frame", models.folder)


@pytest.mark.parametrize("change", [{"widths": [4]}, {"classes": []}, {"colour": "red"}, {"working_px": 8}])
def test_a_network_that_cannot_be_is_refused(models, change: dict[str, Any]) -> None:
    _rewrite(models, models.add(), {**TOLD, **change})
    with pytest.raises(ModelError, match="found it unreadable"):
        load_model("frame", models.folder)


@pytest.mark.parametrize(
    "change",
    [{"classes": ["artery", "vein"]}, {"channels": ["detail"]}, {"widths": [4, 16]}, {"widths": [4, 8, 8]}],
    ids=["classes", "channels", "wider", "deeper"],
)
def test_tensors_of_another_network_are_refused(models, change: dict[str, Any]) -> None:
    _rewrite(models, models.add(), {**TOLD, **change})
    with pytest.raises(ModelError, match="found tensors that do not fit"):
        load_model("frame", models.folder)


def test_a_tensor_too_many_is_refused(models) -> None:
    _rewrite(models, models.add(), network_more=torch.zeros(2))
    with pytest.raises(ModelError, match="found tensors that do not fit"):
        load_model("frame", models.folder)


@pytest.mark.parametrize("part", ["scale", "offset", "threshold"])
def test_a_calibration_of_another_number_of_classes_is_refused(models, part: str) -> None:
    _rewrite(models, models.add(), **{f"calibration_{part}": torch.ones(2)})
    with pytest.raises(ModelError, match=r"Expected frame\.safetensors to calibrate 1 classes, found another count"):
        load_model("frame", models.folder)


@pytest.mark.parametrize(("part", "size"), [("centre", (7,)), ("whiten", (8, 7)), ("whiten", (8,))])
def test_descriptions_of_another_length_are_refused(models, part: str, size: tuple[int, ...]) -> None:
    _rewrite(models, models.add(), **{f"calibration_{part}": torch.ones(size)})
    with pytest.raises(ModelError, match="to know descriptions of 8 numbers, found another count"):
        load_model("frame", models.folder)
