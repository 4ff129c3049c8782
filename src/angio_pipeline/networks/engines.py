"""What runs a network: torch everywhere, OpenVINO where it is installed and gives about the same answer.

Both take (C, h, w) float32 and give logits (classes, h, w) and a description (D,). A process is held to the
threads that it is given: two busy processes of two threads on two cores slow each other manyfold.
"""

from __future__ import annotations

import copy
import sys
import warnings
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from angio_pipeline.core.errors import AngioError
from angio_pipeline.networks.definition import SmallUNet

__all__ = ["Engine", "OpenVinoEngine", "TorchEngine", "fused", "make_engine"]

FloatArray = npt.NDArray[np.float32]
_TOLERANCE = 1e-2


class Engine(Protocol):
    """Something that runs one network."""

    name: str

    def __call__(self, image: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return logits and description of a picture (C, h, w)."""
        ...


def fused(network: SmallUNet) -> SmallUNet:
    """Return a copy for prediction only, its normalisation folded into the convolutions."""
    copied = copy.deepcopy(network).eval()
    for block in [*copied.down, *copied.up]:
        for part in ("first", "second"):
            joined = fuse_conv_bn_eval(getattr(block, part), getattr(block, f"{part}_norm"))
            setattr(block, part, joined)
            setattr(block, f"{part}_norm", nn.Identity())
    return copied


class TorchEngine:
    """Runs on a GPU where torch finds one, otherwise on the processor; channels last, single precision."""

    name = "torch"

    def __init__(self, network: SmallUNet, *, threads: int | None = None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network = fused(network).to(self._device)
        nn.utils.convert_conv2d_weight_memory_format(self._network, torch.channels_last)

    def __call__(self, image: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return logits and description of a picture (C, h, w)."""
        given = torch.from_numpy(image[None]).to(self._device).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            logits, description = self._network(given)
        return logits[0].float().cpu().contiguous().numpy(), description[0].float().cpu().numpy()


class OpenVinoEngine:
    """Runs on the processor by OpenVINO (the extra `[fast]`).

    Raises
    ------
    ImportError
        Without openvino.
    """

    name = "openvino"

    def __init__(self, network: SmallUNet, *, inputs: int, threads: int | None = None) -> None:
        # Importing openvino would report its use to its makers; without this package it has none to report with.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: Python's word for "never"
        import openvino

        core = openvino.Core()
        example = torch.zeros(1, inputs, 64, 64)
        with warnings.catch_warnings():
            # It traces the network, which torch would rather have exported.
            warnings.simplefilter("ignore", DeprecationWarning)
            model = openvino.convert_model(fused(network), example_input=example, input=[-1, inputs, -1, -1])
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        self._compiled = core.compile_model(model, "CPU", settings)

    def __call__(self, image: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return logits and description of a picture (C, h, w)."""
        # A request of its own for each call: threads may call at once.
        out = self._compiled.create_infer_request().infer([np.ascontiguousarray(image[None], dtype=np.float32)])
        return np.array(out[0][0]), np.array(out[1][0])


def make_engine(network: SmallUNet, *, inputs: int, threads: int | None = None, choice: str = "auto") -> Engine:
    """Return the engine of that name; `auto` is torch with a GPU, else OpenVINO where it agrees with torch, else torch.

    Raises
    ------
    ValueError
        For another name.
    AngioError
        When openvino is asked for and not installed.
    """
    if choice == "torch" or (choice == "auto" and torch.cuda.is_available()):
        return TorchEngine(network, threads=threads)
    if choice == "openvino":
        try:
            return OpenVinoEngine(network, inputs=inputs, threads=threads)
        except ImportError:
            sentence = "Expected the extra [fast] for OpenVINO, found none; install angio-pipeline[fast]."
            raise AngioError(sentence, reason="missing_extra") from None
    if choice != "auto":
        raise ValueError(f"Expected auto, torch or openvino, found {choice!r}.")
    plain = TorchEngine(network, threads=threads)
    try:
        fast = OpenVinoEngine(network, inputs=inputs, threads=threads)
        return fast if _agree(plain, fast, inputs) else plain
    except Exception:  # whatever ails an optional accelerator, the answer is the same without it
        return plain


def _agree(one: Engine, other: Engine, inputs: int) -> bool:
    """Return whether two engines give probabilities within a hundredth of each other on a picture of noise."""
    picture = np.random.default_rng(0).standard_normal((inputs, 64, 64), dtype=np.float32)
    with np.errstate(over="ignore"):
        first, second = (1 / (1 + np.exp(-engine(picture)[0])) for engine in (one, other))
    return bool(np.abs(first - second).max() < _TOLERANCE)
