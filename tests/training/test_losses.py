"""Losses: nothing for what is right, nothing for what is not known, and more for a vessel that is broken."""

from __future__ import annotations

import pytest
import torch

from angio_pipeline.training.losses import (
    class_losses,
    skeleton_recall_loss,
    soft_cldice_loss,
    soft_dice_loss,
    soft_skeleton,
)


def _random(seed: int, shape: tuple[int, ...] = (2, 3, 16, 16)) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(shape, generator=source)
    truth, known = ((torch.rand(shape, generator=source) < share).float() for share in (0.3, 0.7))
    return logits, truth, known


def _bar(first: int = 10, breadth: int = 5, start: int = 5, end: int = 45) -> torch.Tensor:
    out = torch.zeros(1, 32, 64)
    out[:, first : first + breadth, start:end] = 1
    return out


LINE = _bar(12, 1)
KNOWN = torch.ones(1, 32, 64)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_right_and_sure_costs_nothing(seed: int) -> None:
    _, truth, known = _random(seed)
    assert class_losses(40 * truth - 20, truth, known).max() < 1e-3


@pytest.mark.parametrize("seed", range(5))
def test_what_is_wrong_and_sure_costs_a_lot(seed: int) -> None:
    _, truth, known = _random(seed)
    assert class_losses(20 - 40 * truth, truth, known).min() > 10


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_where_nothing_is_known_neither_truth_nor_prediction_counts(seed: int) -> None:
    logits, truth, known = _random(seed)
    others, other_truth, _ = _random(seed + 100)
    expected = class_losses(logits, truth, known)
    mixed = torch.where(known > 0, logits, others), torch.where(known > 0, truth, other_truth)
    torch.testing.assert_close(class_losses(*mixed, known), expected)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_not_known_pulls_at_no_prediction(seed: int) -> None:
    logits, truth, known = _random(seed)
    logits.requires_grad_()
    class_losses(logits, truth, known).sum().backward()
    assert logits.grad is not None
    assert (logits.grad[known == 0] == 0).all()
    assert (logits.grad[known > 0] != 0).all()


def test_a_class_of_which_nothing_is_known_costs_nothing() -> None:
    logits, truth, known = _random(0)
    known[:, 1] = 0
    assert class_losses(logits, truth, known)[1] == 0


@pytest.mark.parametrize("seed", range(5))
def test_soft_dice_of_masks_is_their_dice(seed: int) -> None:
    logits, truth, known = _random(seed, (2, 3, 64, 64))
    told = (logits > 0).float()
    inside = known > 0
    for k, loss in enumerate(soft_dice_loss(told, truth, known)):
        a, b = (part[:, k][inside[:, k]] > 0 for part in (told, truth))
        total = int(a.sum() + b.sum())
        # One pixel is added to both sides of the fraction, so that two empty masks agree.
        assert 1 - float(loss) == pytest.approx(2 * int((a & b).sum()) / total, abs=1 / total)


def test_two_empty_masks_agree() -> None:
    empty = torch.zeros(1, 1, 8, 8)
    assert soft_dice_loss(empty, empty, torch.ones_like(empty)) == 0


def test_each_pixel_of_a_centreline_that_is_missed_costs_its_share() -> None:
    told = LINE.clone()
    losses = []
    for column in range(5, 45):
        losses.append(float(skeleton_recall_loss(told, LINE)))
        told[:, 12, column] = 0
    assert losses == pytest.approx([k / 41 for k in range(40)], abs=1e-6)


def test_beside_a_centreline_recall_asks_for_nothing() -> None:
    assert skeleton_recall_loss(_bar(), LINE) == skeleton_recall_loss(LINE, LINE) == 0


def test_the_soft_skeleton_of_a_bar_is_its_middle_line() -> None:
    skeleton = soft_skeleton(_bar(), rounds=4)
    assert (skeleton[_bar() == 0] == 0).all()
    middle = skeleton[0, :, 10:40]
    assert (middle[12] == 1).all()
    assert (middle.sum(dim=0) == 1).all()


def test_a_skeleton_needs_as_many_rounds_as_half_the_breadth() -> None:
    assert soft_skeleton(_bar(breadth=5), rounds=1)[0, 12, 20] == 0
    assert soft_skeleton(_bar(breadth=5), rounds=2)[0, 12, 20] == 1


@pytest.mark.parametrize("breadth", [1, 3, 5, 9])
def test_identical_masks_have_no_topology_to_mend(breadth: int) -> None:
    bar, line = _bar(8, breadth), _bar(8 + breadth // 2, 1)
    assert soft_cldice_loss(bar, bar, line, KNOWN, rounds=5) == pytest.approx(0, abs=1e-6)


def test_a_vessel_cut_in_two_costs_more_than_one_whose_wall_is_thinner() -> None:
    cut, thin = _bar(), _bar()
    cut[:, :, 23:27] = 0
    thin[:, 14, 15:35] = 0
    assert cut.sum() == thin.sum()
    costs = [float(soft_cldice_loss(told, _bar(), LINE, KNOWN, rounds=4)) for told in (cut, thin)]
    assert costs[0] > 2 * costs[1]


def test_a_vessel_that_is_not_there_costs_unless_nothing_is_known_there() -> None:
    invented = _bar() + _bar(22)
    unknown = KNOWN.clone()
    unknown[:, 20:] = 0
    assert soft_cldice_loss(invented, _bar(), LINE, KNOWN, rounds=4) > 0.2
    assert soft_cldice_loss(invented, _bar(), LINE, unknown, rounds=4) == pytest.approx(0, abs=1e-6)


def test_losses_of_topology_can_be_learned_from() -> None:
    probability = (0.2 + 0.6 * _bar(breadth=3)).requires_grad_()
    soft_cldice_loss(probability, _bar(breadth=3), _bar(11, 1), KNOWN, rounds=3).backward()
    assert probability.grad is not None
    assert torch.isfinite(probability.grad).all()
    assert (probability.grad[_bar(11, 1) > 0] < 0).any()
