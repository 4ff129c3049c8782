"""The shape of a network: what goes in, what comes out."""

from __future__ import annotations

import pytest
import torch

from angio_pipeline.networks.definition import SmallUNet
from angio_pipeline.networks.layers import expected_shapes


def _shown(network: SmallUNet, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    picture = torch.randn(*shape, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return network(picture)


@pytest.mark.parametrize("size", [(8, 8), (34, 20)])
def test_each_class_gets_one_logit_a_pixel(network: SmallUNet, size: tuple[int, int]) -> None:
    assert _shown(network, 2, 2, *size)[0].shape == (2, 3, *size)


def test_the_description_has_one_number_for_each_deepest_feature(network: SmallUNet) -> None:
    description = _shown(network, 2, 2, 16, 16)[1]
    assert description.shape == (2, 8)
    assert (description >= 0).all()


def test_pictures_of_one_batch_do_not_know_each_other(network: SmallUNet) -> None:
    pair = torch.randn(2, 2, 16, 16, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        together, alone = network(pair)[0][:1], network(pair[:1])[0]
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-3)


def test_more_widths_are_more_halvings() -> None:
    assert _shown(SmallUNet(1, 1, (4, 4, 4)).eval(), 1, 1, 12, 8)[0].shape == (1, 1, 12, 8)


def test_the_tensors_that_are_expected_are_those_of_the_network() -> None:
    for inputs, classes, widths in ((2, 3, (4, 8)), (5, 1, (5, 8, 8, 16))):
        made = SmallUNet(inputs, classes, widths).state_dict()
        assert {name: tuple(value.shape) for name, value in made.items()} == expected_shapes(inputs, classes, widths)
