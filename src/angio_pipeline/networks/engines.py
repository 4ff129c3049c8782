"""What runs a network: torch everywhere, OpenVINO where it is installed and computes what the network says.

Both take (C, h, w) float32 and give logits (classes, h, w) and a description (D,). A process is held to the
threads that it is given: two busy processes of two threads on two cores slow each other manyfold. Torch takes
seconds to load, so it is imported only where it runs the network.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from angio_pipeline.core.errors import AngioError
from angio_pipeline.networks.layers import PlainLayers, Tensors, inputs_of, multiple_of, run_layers

__all__ = ["Engine", "OpenVinoEngine", "graphics_processors", "make_engine"]

FloatArray = npt.NDArray[np.float32]
_TOLERANCE = 1e-2


class Engine(Protocol):
    """Something that runs one network."""

    name: str

    def __call__(self, image: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return logits and description of a picture (C, h, w)."""
        ...


class OpenVinoEngine:
    """Runs on the processor by OpenVINO (the extra `[fast]`).

    Raises
    ------
    ImportError
        Without openvino.
    """

    name = "openvino"

    def __init__(self, tensors: Tensors, *, threads: int | None = None) -> None:
        from angio_pipeline.networks.quiet_openvino import openvino

        layers = _OpenVinoLayers()
        picture = layers.of.parameter([1, inputs_of(tensors), -1, -1], np.float32)
        model = openvino.Model(list(run_layers(layers, tensors, picture)), [picture])
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        self._compiled = openvino.Core().compile_model(model, "CPU", settings)

    def __call__(self, image: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return logits and description of a picture (C, h, w)."""
        # A request of its own for each call: threads may call at once.
        out = self._compiled.create_infer_request().infer([np.ascontiguousarray(image[None], dtype=np.float32)])
        return np.array(out[0][0]), np.array(out[1][0])


class _OpenVinoLayers:
    """The layers as nodes of OpenVINO's graph."""

    def __init__(self) -> None:
        from openvino import opset13

        self.of: Any = opset13

    def convolve(self, value: Any, weight: FloatArray, bias: FloatArray | None) -> Any:
        edge = [weight.shape[-1] // 2] * 2
        out = self.of.convolution(value, np.ascontiguousarray(weight), [1, 1], edge, edge, [1, 1])
        return out if bias is None else self.of.add(out, bias.reshape(1, -1, 1, 1))

    def rectify(self, value: Any) -> Any:
        return self.of.relu(value)

    def halve(self, value: Any) -> Any:
        return self.of.max_pool(value, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2]).output(0)

    def double(self, value: Any) -> Any:
        twice, sides = np.array([2, 2], np.float32), np.array([2, 3])
        return self.of.interpolate(value, twice, "linear_onnx", "scales", axes=sides)

    def add(self, one: Any, other: Any) -> Any:
        return self.of.add(one, other)

    def join(self, one: Any, other: Any) -> Any:
        return self.of.concat([one, other], 1)

    def mean(self, value: Any) -> Any:
        return self.of.reduce_mean(value, np.array([2, 3]), keep_dims=False)


def make_engine(tensors: Tensors, *, threads: int | None = None, choice: str = "auto") -> Engine:
    """Return the engine of that name for a network of these tensors.

    `auto` is torch with a GPU, else OpenVINO where it is there and computes what the network says, else torch.

    Raises
    ------
    ValueError
        For another name.
    AngioError
        When openvino is asked for and not installed.
    """
    if choice not in ("auto", "torch", "openvino"):
        raise ValueError(f"Expected auto, torch or openvino, found {choice!r}.")
    if choice == "openvino":
        try:
            return OpenVinoEngine(tensors, threads=threads)
        except ImportError:
            sentence = "Expected the extra [fast] for OpenVINO, found none; install angio-pipeline[fast]."
            raise AngioError(sentence, reason="missing_extra") from None
    fast = _trusted(tensors, threads) if choice == "auto" and not _has_gpu() else None
    return fast or _torch_engine(tensors, threads)


def _torch_engine(tensors: Tensors, threads: int | None) -> Engine:
    from angio_pipeline.networks.definition import network_of
    from angio_pipeline.networks.torch_engine import TorchEngine

    return TorchEngine(network_of(tensors), threads=threads)


def _has_gpu() -> bool:
    if version("torch").endswith("+cpu"):
        return False
    import torch

    return bool(torch.cuda.is_available())


def _trusted(tensors: Tensors, threads: int | None) -> Engine | None:
    try:
        fast = OpenVinoEngine(tensors, threads=threads)
        return fast if _computes(fast, tensors) else None
    except Exception:  # whatever ails an optional accelerator, the answer is the same without it
        return None


def _computes(engine: Engine, tensors: Tensors) -> bool:
    """Return whether an engine's probabilities are those of the plain layers, to a hundredth, on a picture of noise."""
    side = 2 * multiple_of(tensors)
    picture = np.random.default_rng(0).standard_normal((inputs_of(tensors), side, side), dtype=np.float32)
    told, _ = run_layers(PlainLayers(), tensors, picture[None])
    with np.errstate(over="ignore"):
        first, second = (1 / (1 + np.exp(-logits)) for logits in (engine(picture)[0], told[0]))
    return bool(np.abs(first - second).max() < _TOLERANCE)


def graphics_processors() -> list[str]:
    """Return the names of the graphics processors that torch can use here."""
    import torch

    return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
