"""The network written out layer by layer, for whatever knows these layers: no torch, which takes seconds to load.

`definition.SmallUNet` is what learns; its tensors, by name, are what is read here. Normalisation, which is fixed once
learning is over, is folded into the convolutions before it. `PlainLayers` computes with NumPy: too slow for a picture,
quick for the few pixels that show whether another engine can be trusted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Layers", "PlainLayers", "Tensors", "expected_shapes", "inputs_of", "multiple_of", "run_layers"]

FloatArray = npt.NDArray[np.float32]
Tensors = Mapping[str, npt.NDArray[Any]]
# What torch adds to a variance before it divides by its root.
_EPSILON = 1e-5
_NORM = ("weight", "bias", "running_mean", "running_var")


class Layers(Protocol):
    """What the network is made of; a value is (1, channels, h, w), or a graph's name for it."""

    def convolve(self, value: Any, weight: FloatArray, bias: FloatArray | None) -> Any:
        """Return the convolution of one or three pixels' breadth, zeros around."""
        ...

    def rectify(self, value: Any) -> Any:
        """Return the value, 0 where it is negative."""
        ...

    def halve(self, value: Any) -> Any:
        """Return the greatest of each two by two pixels."""
        ...

    def double(self, value: Any) -> Any:
        """Return the value at twice the size, by straight lines between the centres of pixels."""
        ...

    def add(self, one: Any, other: Any) -> Any:
        """Return the sum."""
        ...

    def join(self, one: Any, other: Any) -> Any:
        """Return the channels of both."""
        ...

    def mean(self, value: Any) -> Any:
        """Return the mean of each channel, (1, channels)."""
        ...


def run_layers(layers: Layers, tensors: Tensors, picture: Any) -> tuple[Any, Any]:
    """Return logits (1, classes, h, w) and the description (1, D) of a picture (1, C, h, w)."""
    levels = [picture]
    for k in range(_count(tensors, "down")):
        value = layers.halve(levels[-1]) if k else picture
        levels.append(_block(layers, tensors, f"down.{k}", value))
    value = levels[-1]
    description = layers.mean(value)
    for k in range(_count(tensors, "up")):
        grown = layers.double(layers.convolve(value, tensors[f"narrow.{k}.weight"], None))
        value = _block(layers, tensors, f"up.{k}", layers.join(grown, levels[-2 - k]))
    return layers.convolve(value, tensors["head.weight"], tensors["head.bias"]), description


def _block(layers: Layers, tensors: Tensors, name: str, value: Any) -> Any:
    inner = layers.rectify(layers.convolve(value, *_folded(tensors, f"{name}.first")))
    inner = layers.convolve(inner, *_folded(tensors, f"{name}.second"))
    skip = tensors.get(f"{name}.skip.weight")
    return layers.rectify(layers.add(inner, value if skip is None else layers.convolve(value, skip, None)))


def _folded(tensors: Tensors, name: str) -> tuple[FloatArray, FloatArray]:
    """Return weight and bias of a convolution and the normalisation after it, as one."""
    gain, bias, mean, variance = (tensors[f"{name}_norm.{part}"].astype(np.float64) for part in _NORM)
    scale = gain / np.sqrt(variance + _EPSILON)
    weight = tensors[f"{name}.weight"] * scale[:, None, None, None]
    return weight.astype(np.float32), (bias - mean * scale).astype(np.float32)


def _count(tensors: Tensors, kind: str) -> int:
    return len({key.split(".")[1] for key in tensors if key.startswith(f"{kind}.")})


def inputs_of(tensors: Tensors) -> int:
    """Return how many pictures the network is shown."""
    return int(tensors["down.0.first.weight"].shape[1])


def multiple_of(tensors: Tensors) -> int:
    """Return of what the sides of a picture must be multiples."""
    return int(2 ** _count(tensors, "up"))


def expected_shapes(inputs: int, classes: int, widths: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of a network, by its name."""
    shapes: dict[str, tuple[int, ...]] = {}
    for k, (before, width) in enumerate(zip((inputs, *widths), widths, strict=False)):
        shapes |= _block_shapes(f"down.{k}", before, width)
    for k, (before, width) in enumerate(zip(widths[::-1], widths[-2::-1], strict=False)):
        shapes[f"narrow.{k}.weight"] = (width, before, 1, 1)
        shapes |= _block_shapes(f"up.{k}", 2 * width, width)
    return shapes | {"head.weight": (classes, widths[0], 1, 1), "head.bias": (classes,)}


def _block_shapes(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for part, channels in (("first", inputs), ("second", outputs)):
        shapes[f"{name}.{part}.weight"] = (outputs, channels, 3, 3)
        shapes |= {f"{name}.{part}_norm.{of}": (outputs,) for of in _NORM}
        shapes[f"{name}.{part}_norm.num_batches_tracked"] = ()
    if inputs != outputs:
        shapes[f"{name}.skip.weight"] = (outputs, inputs, 1, 1)
    return shapes


class PlainLayers:
    """The layers by NumPy."""

    def convolve(self, value: FloatArray, weight: FloatArray, bias: FloatArray | None) -> FloatArray:
        """Return the convolution of one or three pixels' breadth, zeros around."""
        edge = weight.shape[-1] // 2
        padded = np.pad(value, ((0, 0), (0, 0), (edge, edge), (edge, edge)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[-2:], axis=(2, 3))
        out = np.tensordot(weight, windows[0], axes=((1, 2, 3), (0, 3, 4)))[None]
        return np.asarray(out if bias is None else out + bias[:, None, None], np.float32)

    def rectify(self, value: FloatArray) -> FloatArray:
        """Return the value, 0 where it is negative."""
        return np.maximum(value, 0)

    def halve(self, value: FloatArray) -> FloatArray:
        """Return the greatest of each two by two pixels."""
        _, channels, rows, columns = value.shape
        return np.asarray(value.reshape(1, channels, rows // 2, 2, columns // 2, 2).max(axis=(3, 5)))

    def double(self, value: FloatArray) -> FloatArray:
        """Return the value at twice the size, by straight lines between the centres of pixels."""
        for axis in (2, 3):
            near = np.repeat(value, 2, axis=axis)
            # A new pixel's centre lies a quarter of the way to the neighbour on its own side.
            before, after = (np.take(value, _kept(value.shape[axis], step), axis=axis) for step in (-1, 1))
            far = np.stack([before, after], axis=axis + 1).reshape(near.shape)
            value = np.float32(0.75) * near + np.float32(0.25) * far
        return value

    def add(self, one: FloatArray, other: FloatArray) -> FloatArray:
        """Return the sum."""
        return one + other

    def join(self, one: FloatArray, other: FloatArray) -> FloatArray:
        """Return the channels of both."""
        return np.concatenate([one, other], axis=1)

    def mean(self, value: FloatArray) -> FloatArray:
        """Return the mean of each channel, (1, channels)."""
        return np.asarray(value.mean(axis=(2, 3)))


def _kept(length: int, step: int) -> npt.NDArray[np.intp]:
    return np.clip(np.arange(length) + step, 0, length - 1)
