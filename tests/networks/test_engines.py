"""Whatever runs a network, the answer is the same."""

from __future__ import annotations

import copy
import sys

import numpy as np
import pytest
import torch

from angio_pipeline.core.errors import AngioError
from angio_pipeline.networks import engines
from angio_pipeline.networks.definition import SmallUNet
from angio_pipeline.networks.engines import Engine, OpenVinoEngine, make_engine
from angio_pipeline.networks.layers import PlainLayers, Tensors, run_layers
from angio_pipeline.networks.torch_engine import TorchEngine, fused


def _picture(rows: int = 48, columns: int = 40, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (2, rows, columns)).astype(np.float32)


@pytest.fixture(scope="module")
def torch_engine(network: SmallUNet) -> Engine:
    return TorchEngine(network, threads=1)


@pytest.fixture(scope="module")
def tensors(network: SmallUNet) -> Tensors:
    return {name: value.numpy() for name, value in network.state_dict().items()}


@pytest.fixture(scope="module")
def openvino_engine(tensors: Tensors) -> Engine:
    pytest.importorskip("openvino")
    return OpenVinoEngine(tensors, threads=1)


def test_fused_is_what_it_was_before(network: SmallUNet) -> None:
    given = torch.from_numpy(_picture()[None])
    with torch.inference_mode():
        for whole, joined in zip(network(given), fused(network)(given), strict=True):
            torch.testing.assert_close(joined, whole, rtol=0, atol=1e-3)


def test_fusing_leaves_no_normalisation_and_touches_no_network(network: SmallUNet) -> None:
    before = copy.deepcopy(network.state_dict())
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in fused(network).modules())
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_an_engine_says_what_the_network_says(network: SmallUNet, torch_engine: Engine) -> None:
    with torch.inference_mode():
        logits, description = network(torch.from_numpy(_picture()[None]))
    np.testing.assert_allclose(torch_engine(_picture())[0], logits[0].numpy(), atol=1e-3)
    np.testing.assert_allclose(torch_engine(_picture())[1], description[0].numpy(), atol=1e-3)


@pytest.mark.parametrize("size", [(64, 64), (48, 40), (34, 130)])
def test_torch_and_openvino_agree_at_every_size(
    torch_engine: Engine, openvino_engine: Engine, size: tuple[int, int]
) -> None:
    for one, other in zip(torch_engine(_picture(*size)), openvino_engine(_picture(*size)), strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype == np.float32
        np.testing.assert_allclose(other, one, atol=1e-2)


@pytest.mark.parametrize("engine", ["torch_engine", "openvino_engine"])
def test_the_same_picture_gets_the_same_answer_twice(request: pytest.FixtureRequest, engine: str) -> None:
    run: Engine = request.getfixturevalue(engine)
    first = run(_picture())
    run(_picture(seed=1))
    for one, other in zip(first, run(_picture()), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-6)


def test_torch_is_held_to_the_threads_it_is_given(network: SmallUNet) -> None:
    TorchEngine(network, threads=2)
    assert torch.get_num_threads() == 2


def test_threads_that_are_not_named_stay_as_they_are(network: SmallUNet) -> None:
    before = torch.get_num_threads()
    TorchEngine(network)
    assert torch.get_num_threads() == before


def test_openvino_is_held_to_the_threads_it_is_given(openvino_engine: OpenVinoEngine) -> None:
    assert openvino_engine._compiled.get_property("INFERENCE_NUM_THREADS") == 1


def test_without_openvino_auto_is_torch(tensors: Tensors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert make_engine(tensors, threads=1).name == "torch"


def test_openvino_that_is_asked_for_and_missing_is_an_error(tensors: Tensors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(AngioError, match=r"Expected the extra \[fast\] for OpenVINO, found none"):
        make_engine(tensors, threads=1, choice="openvino")


def test_where_openvino_is_installed_auto_takes_it(tensors: Tensors) -> None:
    pytest.importorskip("openvino")
    wanted = "torch" if torch.cuda.is_available() else "openvino"
    assert make_engine(tensors, threads=1).name == wanted


def test_another_engine_is_refused_by_name(tensors: Tensors) -> None:
    with pytest.raises(ValueError, match="Expected auto, torch or openvino, found 'abacus'"):
        make_engine(tensors, choice="abacus")


def test_plain_layers_say_what_the_network_says(network: SmallUNet, tensors: Tensors) -> None:
    with torch.inference_mode():
        whole = network(torch.from_numpy(_picture()[None]))
    for told, expected in zip(run_layers(PlainLayers(), tensors, _picture()[None]), whole, strict=True):
        np.testing.assert_allclose(told, expected.numpy(), atol=1e-3)


def test_an_engine_that_computes_something_else_is_not_taken(tensors: Tensors, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(OpenVinoEngine):
        def __call__(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            logits, description = super().__call__(image)
            return logits + 1, description

    pytest.importorskip("openvino")
    monkeypatch.setattr(engines, "OpenVinoEngine", Broken)
    assert make_engine(tensors, threads=1).name == "torch"
