"""Torch as an engine: everywhere, and on a GPU where it finds one."""

from __future__ import annotations

import copy

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from angio_pipeline.networks.definition import SmallUNet

__all__ = ["TorchEngine", "fused"]

FloatArray = npt.NDArray[np.float32]


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
