"""The shape of the networks: a small U-Net whose first blocks see every pixel.

Ronneberger et al. 2015, doi:10.1007/978-3-319-24574-4_28, with residual blocks (He et al. 2016,
doi:10.1109/CVPR.2016.90) and channel counts that are multiples of 16, on which processors are fast.
Each class has its own sigmoid, because vessels lie upon blush and upon each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

__all__ = ["SmallUNet", "network_of"]

Tensor = torch.Tensor


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.relu(self.first_norm(self.first(x)), inplace=True)
        inner = self.second_norm(self.second(inner))
        return functional.relu(inner + self.skip(x), inplace=True)


class SmallUNet(nn.Module):
    """Logits (N, classes, H, W) and a description (N, widths[-1]) of the picture, from (N, inputs, H, W).

    H and W must be multiples of 2 to the power of len(widths) - 1. The description is the mean of the
    deepest features: pictures unlike those that were trained on have another.
    """

    def __init__(self, inputs: int, classes: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.down = nn.ModuleList()
        before = inputs
        for width in widths:
            self.down.append(_Block(before, width))
            before = width
        self.narrow, self.up = nn.ModuleList(), nn.ModuleList()
        for width in list(widths[-2::-1]):
            self.narrow.append(nn.Conv2d(before, width, 1, bias=False))
            self.up.append(_Block(2 * width, width))
            before = width
        self.head = nn.Conv2d(before, classes, 1)
        # Each class is rare: beginning there, learning need not first find out that most pixels are background.
        nn.init.constant_(self.head.get_parameter("bias"), -3.0)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits and the description."""
        levels = []
        for k, block in enumerate(self.down):
            x = block(x if k == 0 else functional.max_pool2d(x, 2))
            levels.append(x)
        description = x.mean(dim=(2, 3))
        for narrow, block, level in zip(self.narrow, self.up, reversed(levels[:-1]), strict=True):
            # Narrowed first, then grown: the same result as the other way round, at a quarter of the cost.
            grown = functional.interpolate(narrow(x), scale_factor=2.0, mode="bilinear", align_corners=False)
            x = block(torch.cat([grown, level], dim=1))
        return self.head(x), description


def network_of(tensors: Mapping[str, npt.NDArray[Any]]) -> SmallUNet:
    """Return the network of these tensors, ready to predict.

    Raises
    ------
    RuntimeError
        When they are of no such network.
    """
    levels = len({key.split(".")[1] for key in tensors if key.startswith("down.")})
    widths = [len(tensors[f"down.{k}.first.weight"]) for k in range(levels)]
    network = SmallUNet(tensors["down.0.first.weight"].shape[1], len(tensors["head.bias"]), widths)
    network.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in tensors.items()})
    return network.eval()
