"""Whatever runs a network, the answer is the same."""

from __future__ import annotations

import copy
import sys

import numpy as np
import pytest
import torch

from angio_pipeline.core.errors import AngioError
from angio_pipeline.networks.definition import SmallUNet
from angio_pipeline.networks.engines import Engine, OpenVinoEngine, TorchEngine, fused, make_engine

# OpenVINO reads networks by a way that torch has begun to give up.
READS_BY_TRACING = "ignore:.*torch.jit.*:DeprecationWarning"


def _picture(rows: int = 48, columns: int = 40, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (2, rows, columns)).astype(np.float32)


@pytest.fixture(scope="module")
def torch_engine(network: SmallUNet) -> Engine:
    return TorchEngine(network, threads=1)


@pytest.fixture(scope="module")
def openvino_engine(network: SmallUNet) -> Engine:
    pytest.importorskip("openvino")
    return OpenVinoEngine(network, inputs=2, threads=1)


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


@pytest.mark.filterwarnings(READS_BY_TRACING)
@pytest.mark.parametrize("size", [(64, 64), (48, 40), (34, 130)])
def test_torch_and_openvino_agree_at_every_size(
    torch_engine: Engine, openvino_engine: Engine, size: tuple[int, int]
) -> None:
    for one, other in zip(torch_engine(_picture(*size)), openvino_engine(_picture(*size)), strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype == np.float32
        np.testing.assert_allclose(other, one, atol=1e-2)


@pytest.mark.filterwarnings(READS_BY_TRACING)
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


@pytest.mark.filterwarnings(READS_BY_TRACING)
def test_openvino_is_held_to_the_threads_it_is_given(openvino_engine: OpenVinoEngine) -> None:
    assert openvino_engine._compiled.get_property("INFERENCE_NUM_THREADS") == 1


def test_without_openvino_auto_is_torch(network: SmallUNet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert make_engine(network, inputs=2, threads=1).name == "torch"


def test_openvino_that_is_asked_for_and_missing_is_an_error(
    network: SmallUNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(AngioError, match=r"Expected the extra \[fast\] for OpenVINO, found none"):
        make_engine(network, inputs=2, threads=1, choice="openvino")


@pytest.mark.filterwarnings(READS_BY_TRACING)
def test_where_openvino_is_installed_auto_takes_it(network: SmallUNet) -> None:
    pytest.importorskip("openvino")
    wanted = "torch" if torch.cuda.is_available() else "openvino"
    assert make_engine(network, inputs=2, threads=1).name == wanted


def test_another_engine_is_refused_by_name(network: SmallUNet) -> None:
    with pytest.raises(ValueError, match="Expected auto, torch or openvino, found 'abacus'"):
        make_engine(network, inputs=2, choice="abacus")
