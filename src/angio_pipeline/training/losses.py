"""What training makes small: cross-entropy and overlap of each class, and centrelines that are missed.

Pixels about which the truth says nothing take no part. Overlap is soft Dice (Milletari et al. 2016,
doi:10.1109/3DV.2016.79) over the whole batch; topology is kept by skeleton recall (Kirchhoff et al. 2024,
doi:10.1007/978-3-031-72980-5_13) and by soft clDice (Shit et al. 2021, doi:10.1109/CVPR46437.2021.01629).
"""

from __future__ import annotations

import torch
from torch.nn import functional

__all__ = ["class_losses", "skeleton_recall_loss", "soft_cldice_loss", "soft_dice_loss", "soft_skeleton"]

Tensor = torch.Tensor


def class_losses(logits: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Return (classes,) cross-entropy plus soft Dice of each class; all arguments are (N, classes, H, W)."""
    entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none") * known
    mean = entropy.sum(dim=(0, 2, 3)) / known.sum(dim=(0, 2, 3)).clamp(min=1)
    return mean + soft_dice_loss(torch.sigmoid(logits), truth, known)


def soft_dice_loss(probability: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Return (classes,) one minus the soft Dice over the batch."""
    both = (probability * truth * known).sum(dim=(0, 2, 3))
    total = ((probability + truth) * known).sum(dim=(0, 2, 3))
    return 1 - (2 * both + 1) / (total + 1)


def skeleton_recall_loss(probability: Tensor, centreline: Tensor) -> Tensor:
    """Return the share of the true centreline that is missed; (N, H, W) both."""
    return 1 - ((probability * centreline).sum() + 1) / (centreline.sum() + 1)


def soft_cldice_loss(probability: Tensor, truth: Tensor, centreline: Tensor, known: Tensor, *, rounds: int) -> Tensor:
    """Return one minus the soft clDice; (N, H, W) all, `centreline` that of the truth."""
    told = soft_skeleton(probability, rounds) * known
    precision = ((told * truth).sum() + 1) / (told.sum() + 1)
    recall = ((probability * centreline).sum() + 1) / (centreline.sum() + 1)
    return 1 - 2 * precision * recall / (precision + recall)


def soft_skeleton(probability: Tensor, rounds: int) -> Tensor:
    """Return the soft skeleton of (N, H, W): what each erosion takes away that an opening would have kept."""
    image = probability[:, None]
    skeleton = functional.relu(image - _opened(image))
    for _ in range(rounds):
        image = _eroded(image)
        rest = functional.relu(image - _opened(image))
        skeleton = skeleton + functional.relu(rest - skeleton * rest)
    return skeleton[:, 0]


def _eroded(image: Tensor) -> Tensor:
    rows = -functional.max_pool2d(-image, (3, 1), 1, (1, 0))
    columns = -functional.max_pool2d(-image, (1, 3), 1, (0, 1))
    return torch.minimum(rows, columns)


def _opened(image: Tensor) -> Tensor:
    return functional.max_pool2d(_eroded(image), 3, 1, 1)
