"""The loop: AdamW on a warmed-up cosine, averaged weights, checkpoints that go on where they ended.

What a step sees depends on seed and step (`batches`), and a checkpoint holds everything else, so a training
that was stopped ends where an unbroken one does, to rounding.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import nn

from angio_pipeline.core.params import Params
from angio_pipeline.training.batches import Batch
from angio_pipeline.training.losses import class_losses, skeleton_recall_loss, soft_cldice_loss

__all__ = ["LoopParams", "LossParams", "Trained", "train_loop"]

Tensor = torch.Tensor
_ARTERY, _CENTRELINE = 0, -1


class LossParams(Params):
    """How the parts of the loss weigh; classes in the order of the network's outputs, a centreline the last if any."""

    classes: tuple[float, ...] = Field(min_length=1)
    skeleton_recall: float = Field(0.5, ge=0)
    cldice: float = Field(0.3, ge=0)
    cldice_rounds: int = Field(3, ge=1, le=20)


class LoopParams(Params):
    """How long and how fast."""

    steps: int = Field(ge=1)
    learning_rate: float = Field(2e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    warm_up_steps: int = Field(200, ge=0)
    average: float = Field(0.998, ge=0, lt=1, description="decay of the average over weights")
    log_every: int = Field(20, ge=1)
    check_every: int = Field(500, ge=1, description="steps between validations, each followed by a checkpoint")
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """The averaged network, ready for prediction, and how long it took on this machine."""

    network: nn.Module
    seconds: float


def train_loop(
    network: nn.Module,
    batches: Callable[[int], Iterator[Batch]],
    validate: Callable[[nn.Module], Mapping[str, float]],
    *,
    params: LoopParams,
    loss: LossParams,
    folder: Path,
    tell: Callable[[int, Mapping[str, float]], None] = lambda step, values: None,
) -> Trained:
    """Return the network after training; go on from `folder`/checkpoint.pt when there is one.

    Parameters
    ----------
    batches : callable
        Given a step, yields the batches from there on.
    validate : callable
        Given the averaged network in evaluation mode, returns named figures.
    folder : Path
        Takes `checkpoint.pt`, `log.csv` (training) and `validation.csv`.
    """
    torch.manual_seed(params.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    parts = _Parts.of(network.to(device), params)
    first, seconds = _restore(folder, parts, device)
    started, sums = time.monotonic() - seconds, _Sums()
    parts.network.train()
    for done, batch in enumerate(batches(first), start=first + 1):
        sums.add(_learn(parts, batch, loss, device))
        last = done == params.steps
        if done % params.log_every == 0 or last:
            rate = float(parts.schedule.get_last_lr()[0])
            row = {"step": done, "rate": rate, **sums.means(), "seconds": time.monotonic() - started}
            _append(folder / "log.csv", row)
            tell(done, row)
        if done % params.check_every == 0 or last:
            figures = parts.looked_at(validate)
            seconds = time.monotonic() - started
            row = {"step": done, **figures, "seconds": seconds}
            _append(folder / "validation.csv", row)
            tell(done, row)
            _save(folder, parts, done, seconds)
    parts.averaged.module.eval()
    # As the last checkpoint has it, so that a training that is asked for again tells the same.
    return Trained(parts.averaged.module, seconds)


@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    """What learns, and what a checkpoint holds."""

    network: nn.Module
    averaged: torch.optim.swa_utils.AveragedModel
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LambdaLR

    @classmethod
    def of(cls, network: nn.Module, params: LoopParams) -> _Parts:
        """Return a network that begins to learn."""
        nn.utils.convert_conv2d_weight_memory_format(network, torch.channels_last)
        decay = torch.optim.swa_utils.get_ema_multi_avg_fn(params.average)  # type: ignore[no-untyped-call]  # torch gives it no types
        averaged = torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=decay, use_buffers=True)
        optimiser = torch.optim.AdamW(network.parameters(), lr=params.learning_rate, weight_decay=params.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, params))
        return cls(network, averaged, optimiser, schedule)

    def looked_at(self, validate: Callable[[nn.Module], Mapping[str, float]]) -> Mapping[str, float]:
        """Return what `validate` says of the averaged network."""
        self.averaged.module.eval()
        figures = validate(self.averaged.module)
        self.averaged.module.train()
        return figures

    def states(self) -> dict[str, Any]:
        """Return each part by name."""
        return {name: getattr(self, name) for name in ("network", "averaged", "optimiser", "schedule")}


def _rate(step: int, params: LoopParams) -> float:
    if step < params.warm_up_steps:
        return (step + 1) / params.warm_up_steps
    share = (step - params.warm_up_steps) / max(1, params.steps - params.warm_up_steps)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


def _learn(parts: _Parts, batch: Batch, weights: LossParams, device: torch.device) -> dict[str, float]:
    """Take one step and return what it said of the loss."""
    network, optimiser = parts.network, parts.optimiser
    inputs = torch.from_numpy(batch.inputs).to(device).contiguous(memory_format=torch.channels_last)
    targets, known = (torch.from_numpy(array).to(device) for array in (batch.targets, batch.known))
    with torch.autocast(device.type, dtype=torch.bfloat16):
        logits, _ = network(inputs)
    logits = logits.float()
    by_class = class_losses(logits, targets, known)
    total = (by_class * torch.tensor(weights.classes, device=device)).sum()
    probability = torch.sigmoid(logits[:, _ARTERY])
    # A vessel that is neither right nor wrong must not be asked for by its centreline either.
    centreline = targets[:, _CENTRELINE] * known[:, _CENTRELINE]
    missed = skeleton_recall_loss(probability, centreline)
    total = total + weights.skeleton_recall * missed
    if weights.cldice > 0:
        # Crops are drawn at random, so half of a batch tells the same at half the price.
        half = slice(0, (len(inputs) + 1) // 2)
        topology = soft_cldice_loss(
            probability[half],
            targets[half, _ARTERY],
            centreline[half],
            known[half, _ARTERY],
            rounds=weights.cldice_rounds,
        )
        total = total + weights.cldice * topology
    optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(total)
    nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimiser.step()
    parts.schedule.step()
    parts.averaged.update_parameters(network)
    values = {f"loss_{k}": float(value) for k, value in enumerate(by_class.detach())}
    return {"loss": float(total.detach()), "centreline_missed": float(missed.detach()), **values}


class _Sums:
    def __init__(self) -> None:
        self._rows: list[dict[str, float]] = []

    def add(self, values: dict[str, float]) -> None:
        self._rows.append(values)

    def means(self) -> dict[str, float]:
        names = self._rows[0] if self._rows else {}
        out = {name: float(np.mean([row[name] for row in self._rows])) for name in names}
        self._rows = []
        return out


def _append(path: Path, row: Mapping[str, float]) -> None:
    new = not path.is_file()
    with path.open("a", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(row), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow({name: f"{value:.6g}" for name, value in row.items()})


def _save(folder: Path, parts: _Parts, step: int, seconds: float) -> None:
    state = {name: part.state_dict() for name, part in parts.states().items()}
    hidden = folder / "checkpoint.unfinished"
    torch.save({**state, "step": step, "seconds": seconds}, hidden)
    hidden.rename(folder / "checkpoint.pt")


def _restore(folder: Path, parts: _Parts, device: torch.device) -> tuple[int, float]:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "checkpoint.pt"
    if not path.is_file():
        for name in ("log.csv", "validation.csv"):
            (folder / name).unlink(missing_ok=True)
        return 0, 0.0
    state = torch.load(path, map_location=device, weights_only=True)
    for name, part in parts.states().items():
        part.load_state_dict(state[name])
    for name in ("log.csv", "validation.csv"):
        _cut(folder / name, int(state["step"]))
    return int(state["step"]), float(state["seconds"])


def _cut(path: Path, last_step: int) -> None:
    """Leave out what was logged after the checkpoint: it is learned again."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        names, rows = list(reader.fieldnames or ()), [row for row in reader if float(row["step"]) <= last_step]
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
