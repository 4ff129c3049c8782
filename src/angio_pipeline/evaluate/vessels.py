"""How well the artery mask agrees with the truth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt, label
from skimage.morphology import skeletonize

from angio_pipeline.evaluate.documents import RunPair, read_mask

__all__ = ["TOLERANCE_PX", "dice", "mask_scores", "score_vessels"]

BoolArray = npt.NDArray[np.bool_]
TOLERANCE_PX = 3.0
_EVERY_DIRECTION = np.ones((3, 3), bool)


def score_vessels(pair: RunPair) -> dict[str, float]:
    """Return the vessel metrics of one run; a run without a result scores 0, and its components all count."""
    truth = read_mask(pair.truth_dir / pair.truth.artery_mask)
    predicted = np.zeros_like(truth)
    if pair.result is not None and pair.result_dir is not None:
        predicted = read_mask(pair.result_dir / pair.result["vessels"]["artery_mask"])
    if pair.truth.ignore_mask is not None:
        predicted = predicted & ~read_mask(pair.truth_dir / pair.truth.ignore_mask)
    scores = mask_scores(predicted, truth)
    if pair.result is None:
        scores = {name: (scores[name] if name == "betti0_error" else 0.0) for name in scores}
    return scores


def mask_scores(predicted: BoolArray, truth: BoolArray) -> dict[str, float]:
    """Return Dice, clDice, precision, recall, the same within 3 px, and the Betti-0 error.

    clDice: Shit et al., doi:10.1109/CVPR46437.2021.01629.
    """
    scores = {"dice": dice(predicted, truth)}
    scores["precision"] = _share(predicted, truth)
    scores["recall"] = _share(truth, predicted)
    lines = skeletonize(predicted), skeletonize(truth)
    scores["cldice"] = _harmonic(_share(lines[0], truth), _share(lines[1], predicted))
    wide = _grown(predicted), _grown(truth)
    scores["precision_3px"] = _share(predicted, wide[1])
    scores["recall_3px"] = _share(truth, wide[0])
    scores["dice_3px"] = _harmonic(scores["precision_3px"], scores["recall_3px"])
    scores["cldice_3px"] = _harmonic(_share(lines[0], wide[1]), _share(lines[1], wide[0]))
    count = [label(mask, structure=_EVERY_DIRECTION)[1] for mask in (predicted, truth)]
    scores["betti0_error"] = float(abs(count[0] - count[1]))
    return scores


def dice(predicted: BoolArray, truth: BoolArray) -> float:
    """Return the Dice overlap; two empty masks agree fully."""
    total = np.count_nonzero(predicted) + np.count_nonzero(truth)
    return 2 * np.count_nonzero(predicted & truth) / total if total else 1.0


def _share(part: BoolArray, whole: BoolArray) -> float:
    # Share of `part` inside `whole`; nothing to judge is right only when there is nothing to find.
    size = np.count_nonzero(part)
    if size == 0:
        return 0.0 if whole.any() else 1.0
    return np.count_nonzero(part & whole) / size


def _harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b > 0 else 0.0


def _grown(mask: BoolArray) -> BoolArray:
    if not mask.any():
        return mask
    return np.asarray(distance_transform_edt(~mask) <= TOLERANCE_PX)
