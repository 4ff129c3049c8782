"""The loop: where it was stopped does not matter, and what is not known is not learned."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from angio_pipeline.training.batches import Batch
from angio_pipeline.training.loop import LoopParams, LossParams, Trained, train_loop

PARAMS = LoopParams(steps=8, learning_rate=1e-2, warm_up_steps=2, average=0.5, log_every=1, check_every=4, seed=4)
LOSS = LossParams(classes=(1.0, 0.5), cldice_rounds=2)


class Stopped(Exception):
    """What a power cut is to a training."""


@pytest.fixture
def run(tiny_network, bright_batch) -> Callable[..., Trained]:
    """Return a trainer of the small network into a folder, stopped before `stop` when it is given."""

    def train(
        folder: Path,
        *,
        stop: int | None = None,
        params: LoopParams = PARAMS,
        make: Callable[[int], Batch] = bright_batch,
        **options: Any,
    ) -> Trained:
        def batches(first: int) -> Iterator[Batch]:
            for step in range(first, params.steps):
                if step == stop:
                    raise Stopped
                yield make(step)

        options = {"loss": LOSS, "validate": _mean_weight, **options}
        return train_loop(tiny_network(), batches, params=params, folder=folder, **options)

    return train


def _mean_weight(network: nn.Module) -> Mapping[str, float]:
    return {"mean_weight": float(next(network.parameters()).detach().mean())}


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def _steps(path: Path) -> list[int]:
    return [int(row["step"]) for row in _rows(path)]


def _apart(one: nn.Module, other: nn.Module) -> float:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return max(float((a.float() - b.float()).abs().max()) for a, b in pairs)


@pytest.mark.slow
def test_a_training_that_was_stopped_ends_where_an_unbroken_one_does(run, tmp_path: Path) -> None:
    unbroken = run(tmp_path / "unbroken")
    with pytest.raises(Stopped):
        run(tmp_path / "stopped", stop=6)
    resumed = run(tmp_path / "stopped")
    assert _apart(unbroken.network, resumed.network) < 1e-6
    for name in ("log.csv", "validation.csv"):
        for one, other in zip(_rows(tmp_path / "unbroken" / name), _rows(tmp_path / "stopped" / name), strict=True):
            for key in one.keys() - {"seconds"}:
                assert float(one[key]) == pytest.approx(float(other[key]), rel=1e-4, abs=1e-6)


def test_rows_that_were_logged_after_the_checkpoint_are_learned_and_logged_again(run, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        run(tmp_path, stop=6)
    assert _steps(tmp_path / "log.csv") == [1, 2, 3, 4, 5, 6]
    with pytest.raises(Stopped):
        run(tmp_path, stop=4)
    assert _steps(tmp_path / "log.csv") == [1, 2, 3, 4]
    run(tmp_path)
    assert _steps(tmp_path / "log.csv") == list(range(1, 9))
    assert _steps(tmp_path / "validation.csv") == [4, 8]


def test_without_a_checkpoint_old_logs_are_of_another_training(run, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        run(tmp_path, stop=3)
    assert not (tmp_path / "checkpoint.pt").exists()
    run(tmp_path)
    assert _steps(tmp_path / "log.csv") == list(range(1, 9))


def test_a_training_that_has_ended_learns_nothing_more(run, tmp_path: Path) -> None:
    first = run(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    again = run(tmp_path, stop=8)
    assert _apart(first.network, again.network) == 0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert again.seconds == first.seconds


class _Trap:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_nothing_in_a_checkpoint_is_ever_run(run, tmp_path: Path) -> None:
    torch.save({"step": _Trap(tmp_path / "mark")}, tmp_path / "checkpoint.pt")
    with pytest.raises(UnpicklingError, match=r"[Ww]eights.only"):
        run(tmp_path)
    assert not (tmp_path / "mark").exists()


def test_a_checkpoint_of_another_network_is_not_gone_on_from(run, tmp_path: Path) -> None:
    run(tmp_path)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    state["network"].popitem()
    torch.save(state, tmp_path / "checkpoint.pt")
    with pytest.raises(RuntimeError, match="Missing key"):
        run(tmp_path)


def test_the_network_learns_what_it_is_shown(run, tmp_path: Path) -> None:
    params = PARAMS.model_copy(update={"steps": 40, "check_every": 40})
    run(tmp_path, params=params)
    losses = [float(row["loss"]) for row in _rows(tmp_path / "log.csv")]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def test_what_is_not_known_is_not_learned(run, bright_batch, tmp_path: Path) -> None:
    # The truth of an unknown half, centreline and all, may be what it likes.
    def half_known(step: int, *, claimed: float) -> Batch:
        batch = bright_batch(step)
        targets, known = batch.targets.copy(), batch.known.copy()
        targets[..., 8:], known[..., 8:] = claimed, 0
        return replace(batch, targets=targets, known=known)

    nothing, everything = (
        run(tmp_path / str(claimed), make=lambda step, claimed=claimed: half_known(step, claimed=claimed))
        for claimed in (0.0, 1.0)
    )
    assert _apart(nothing.network, everything.network) < 1e-6


def test_a_class_without_weight_is_not_learned(run, bright_batch, tmp_path: Path) -> None:
    def other_line(step: int) -> Batch:
        batch = bright_batch(step)
        targets = batch.targets.copy()
        targets[:, 1] = 1 - targets[:, 1]
        return replace(batch, targets=targets)

    loss = LossParams(classes=(1.0, 0.0), skeleton_recall=0.0, cldice=0.0)
    one, other = (
        run(tmp_path / name, make=make, loss=loss) for name, make in (("line", bright_batch), ("other", other_line))
    )
    assert _apart(one.network, other.network) == 0


def test_what_is_returned_is_the_average_over_steps(run, tmp_path: Path) -> None:
    run(tmp_path, params=PARAMS.model_copy(update={"average": 0.9}))
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    averaged = {key.removeprefix("module."): value for key, value in state["averaged"].items() if "module." in key}
    assert averaged.keys() == state["network"].keys()
    assert any(not torch.equal(averaged[key], value) for key, value in state["network"].items())


def test_without_averaging_the_last_weights_are_returned(run, tmp_path: Path) -> None:
    trained = run(tmp_path, params=PARAMS.model_copy(update={"average": 0.0}))
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    for key, value in trained.network.state_dict().items():
        torch.testing.assert_close(value, state["network"][key], rtol=0, atol=1e-7)


def test_networks_are_looked_at_and_returned_as_they_predict(run, tmp_path: Path) -> None:
    seen = []

    def validate(network: nn.Module) -> Mapping[str, float]:
        seen.append(network.training)
        return {}

    assert not run(tmp_path, validate=validate).network.training
    assert seen == [False, False]


def test_the_rate_warms_up_to_its_greatest_and_ends_at_a_hundredth(run, tmp_path: Path) -> None:
    run(tmp_path, params=PARAMS.model_copy(update={"steps": 12, "warm_up_steps": 4, "check_every": 12}))
    rates = [float(row["rate"]) for row in _rows(tmp_path / "log.csv")]
    assert rates[:3] == pytest.approx([5e-3, 7.5e-3, 1e-2])
    assert max(rates) == pytest.approx(1e-2)
    assert all(after < before for before, after in pairwise(rates[3:]))
    assert rates[-1] == pytest.approx(1e-4)


def test_what_is_logged_is_told(run, tmp_path: Path) -> None:
    told: list[int] = []
    run(tmp_path, params=PARAMS.model_copy(update={"log_every": 3}), tell=lambda step, values: told.append(step))
    assert _steps(tmp_path / "log.csv") == [3, 6, 8]
    assert told == [3, 4, 6, 8, 8]
