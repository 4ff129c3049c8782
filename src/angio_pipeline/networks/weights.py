"""Weights on disk, read into a network: whole and unchanged, or a stated error.

One file of weights in safetensors format holds everything a prediction needs: the network's tensors, how its
outputs are calibrated, where each class begins, and what familiar pictures are like. Nothing is unpickled, and
nothing here needs torch to be loaded.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from angio_pipeline.core.errors import ModelError
from angio_pipeline.networks.layers import Tensors, expected_shapes
from angio_pipeline.networks.manifest import model_entry, verified_weights

if TYPE_CHECKING:
    import torch

    from angio_pipeline.networks.definition import SmallUNet

__all__ = ["Architecture", "Calibration", "LoadedModel", "load_model", "read_weights", "save_model"]

_FORMAT = "angio-pipeline/weights/1"
_CALIBRATED = ("scale", "offset", "threshold", "centre", "whiten")
FloatArray = npt.NDArray[np.float32]


class Architecture(BaseModel):
    """What has to be known to build a network: its kind, inputs, outputs and widths."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    channels: tuple[str, ...] = Field(min_length=1)
    classes: tuple[str, ...] = Field(min_length=1)
    widths: tuple[int, ...] = Field(min_length=2)
    working_px: int = Field(ge=64)

    @property
    def multiple_px(self) -> int:
        """Sides of an input must be multiples of this."""
        return int(2 ** (len(self.widths) - 1))

    def build(self) -> SmallUNet:
        """Return the network without weights, for torch."""
        from angio_pipeline.networks.definition import SmallUNet

        return SmallUNet(len(self.channels), len(self.classes), self.widths)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each of the network's tensors."""
        return expected_shapes(len(self.channels), len(self.classes), self.widths)


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """From logits to probabilities, to masks, and to whether a picture is familiar.

    Attributes
    ----------
    scale, offset : ndarray, (classes,) float32
        Probability is the logistic of scale x logit + offset.
    threshold : ndarray, (classes,) float32
        A pixel belongs to a class from this probability on.
    centre : ndarray, (D,); whiten : ndarray, (D, D)
        Of the descriptions of pictures trained on; the distance of another is the length of (it - centre) @ whiten.
    limit : float
        Distances above are unfamiliar.
    """

    scale: FloatArray
    offset: FloatArray
    threshold: FloatArray
    centre: FloatArray
    whiten: FloatArray
    limit: float

    def distance(self, description: npt.NDArray[np.floating]) -> float:
        """Return how far a picture's description is from those trained on."""
        return float(np.linalg.norm((description - self.centre) @ self.whiten))


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A network: what it is of, and its tensors by name."""

    name: str
    sha256: str
    architecture: Architecture
    tensors: Tensors
    calibration: Calibration

    @property
    def label(self) -> str:
        """Name and beginning of the hash, by which results say what told them."""
        return f"{self.name} {self.sha256[:12]}"


def load_model(name: str, folder: Path | None = None) -> LoadedModel:
    """Return the network of that name.

    Raises
    ------
    ModelError
        When the manifest does not list it, its file is missing or has changed by a byte, or its tensors do not
        fit the network it says it is.
    """
    path = verified_weights(name, folder)
    architecture, tensors = read_weights(path)
    return _assemble(name, path, architecture, tensors, model_entry(name, folder).sha256)


def read_weights(path: Path) -> tuple[Architecture, dict[str, npt.NDArray[Any]]]:
    """Return what a file of weights says it is of, and all its tensors by name.

    Raises
    ------
    ModelError
        When it is unreadable or of another format.
    """
    try:
        with safe_open(path, framework="np") as stored:
            told = (stored.metadata() or {}).get("architecture", "{}")
            names = stored.keys()
            tensors = {name: stored.get_tensor(name) for name in names}
        document: dict[str, Any] = json.loads(told)
        if document.pop("format", None) != _FORMAT:
            raise ModelError(f"Expected {path.name} to be weights of format {_FORMAT}, found others.")
        return Architecture.model_validate(document), tensors
    except (SafetensorError, OSError, ValueError) as problem:
        raise ModelError(f"Expected {path.name} to hold weights as safetensors, found it unreadable.") from problem


def _assemble(name: str, path: Path, architecture: Architecture, tensors: Tensors, sha256: str) -> LoadedModel:
    own = {key.removeprefix("network."): value for key, value in tensors.items() if key.startswith("network.")}
    stored = {f"calibration.{key}" for key in (*_CALIBRATED, "limit")}
    if {key: value.shape for key, value in own.items()} != architecture.shapes or not stored <= tensors.keys():
        raise ModelError(
            f"Expected {path.name} to hold a network of {len(architecture.channels)} inputs and"
            f" {len(architecture.classes)} classes with its calibration, found tensors that do not fit."
        )
    parts = {key: tensors[f"calibration.{key}"] for key in _CALIBRATED}
    limit = float(tensors["calibration.limit"])
    if any(parts[key].shape != (len(architecture.classes),) for key in ("scale", "offset", "threshold")):
        raise ModelError(f"Expected {path.name} to calibrate {len(architecture.classes)} classes, found another count.")
    wide = architecture.widths[-1]
    if parts["centre"].shape != (wide,) or parts["whiten"].shape != (wide, wide):
        raise ModelError(f"Expected {path.name} to know descriptions of {wide} numbers, found another count.")
    return LoadedModel(name, sha256, architecture, own, Calibration(**parts, limit=limit))


def save_model(path: Path, architecture: Architecture, network: torch.nn.Module, calibration: Calibration) -> str:
    """Write weights and calibration as safetensors and return the SHA-256 of the file."""
    state = network.state_dict()
    tensors = {f"network.{key}": value.detach().cpu().contiguous().numpy() for key, value in state.items()}
    for key in _CALIBRATED:
        tensors[f"calibration.{key}"] = np.array(getattr(calibration, key), dtype=np.float32, order="C")
    tensors["calibration.limit"] = np.array(calibration.limit, dtype=np.float32)
    document = {"format": _FORMAT, **architecture.model_dump(mode="json")}
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_suffix(".unfinished")
    save_file(tensors, hidden, metadata={"architecture": json.dumps(document, sort_keys=True)})
    hidden.rename(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()
