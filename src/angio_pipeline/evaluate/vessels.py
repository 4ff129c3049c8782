"""How well the masks of arteries and of veins agree with the truth."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy.ndimage import label
from skimage.morphology import skeletonize

from angio_pipeline.evaluate.documents import RunPair

__all__ = ["TOLERANCE_PX", "VeinScores", "dice", "mask_scores", "score_veins", "score_vessels"]

BoolArray = npt.NDArray[np.bool_]
TOLERANCE_PX = 3.0
_EVERY_DIRECTION = np.ones((3, 3), bool)
_REACH = np.arange(-int(TOLERANCE_PX), int(TOLERANCE_PX) + 1)
_DISC = (np.hypot(_REACH[:, None], _REACH) <= TOLERANCE_PX).astype(np.uint8)


def score_vessels(pair: RunPair) -> dict[str, float]:
    """Return the artery metrics of one run; a run without a mask scores 0, and its components all count."""
    truth = pair.truth_mask(pair.truth.artery_mask)
    ignore = np.zeros_like(truth)
    if pair.truth.ignore_mask is not None:
        ignore = pair.truth_mask(pair.truth.ignore_mask)
    if pair.answer is None or pair.answer.vessels is None:
        scores = mask_scores(np.zeros_like(truth), truth)
        return {name: (value if name == "betti0_error" else 0.0) for name, value in scores.items()}
    return mask_scores(pair.answer_mask(pair.answer.vessels.artery_mask), truth, ignore)


@dataclass(frozen=True, slots=True)
class VeinScores:
    """Veins of one run; empty lists where the truth shows none, zeros where the result tells none."""

    dice: tuple[float, ...] = ()
    precision: tuple[float, ...] = ()
    recall: tuple[float, ...] = ()
    dice_3px: tuple[float, ...] = ()
    unanswered: bool = False


def score_veins(pair: RunPair) -> VeinScores:
    """Return the vein metrics of one run; where a true artery crosses, a pixel counts neither way."""
    if pair.truth.vein_mask is None or not (truth := pair.truth_mask(pair.truth.vein_mask)).any():
        return VeinScores()
    vessels = None if pair.answer is None else pair.answer.vessels
    if vessels is None or vessels.vein_mask is None:
        return VeinScores((0.0,), (0.0,), (0.0,), (0.0,), unanswered=True)
    artery = pair.truth_mask(pair.truth.artery_mask)
    scores = mask_scores(pair.answer_mask(vessels.vein_mask), truth & ~artery, artery)
    one = {name: (scores[name],) for name in ("dice", "precision", "recall", "dice_3px")}
    return VeinScores(one["dice"], one["precision"], one["recall"], one["dice_3px"])


def mask_scores(predicted: BoolArray, truth: BoolArray, ignore: BoolArray | None = None) -> dict[str, float]:
    """Return Dice, clDice, precision, recall, the same within 3 px, and the Betti-0 error.

    What is predicted in `ignore` is neither right nor wrong; within 3 px, neither is what is that close to it
    and to no truth. Centrelines and components are those of the whole prediction, so that cutting out `ignore`
    makes no slivers and breaks nothing apart. clDice: Shit et al., doi:10.1109/CVPR46437.2021.01629.
    """
    ignore = np.zeros_like(truth) if ignore is None else ignore & ~truth
    wide_truth = _grown(truth)
    beside = _grown(ignore) & ~wide_truth
    judged, judged_3px = predicted & ~ignore, predicted & ~ignore & ~beside
    told, true = skeletonize(predicted), skeletonize(truth)
    scores = {
        "dice": dice(judged, truth),
        "precision": _share(judged, truth),
        "recall": _share(truth, judged),
        "cldice": _harmonic(_share(told & ~ignore, truth), _share(true, judged)),
        "precision_3px": _share(judged_3px, wide_truth),
        "recall_3px": _share(truth, _grown(judged)),
    }
    scores["dice_3px"] = _harmonic(scores["precision_3px"], scores["recall_3px"])
    line = _share(told & ~ignore & ~beside, wide_truth)
    scores["cldice_3px"] = _harmonic(line, _share(true, _grown(judged)))
    scores["betti0_error"] = float(abs(_components(predicted, judged_3px) - _components(truth, truth)))
    return scores


def _components(mask: BoolArray, judged: BoolArray) -> int:
    # Components of which at least a part is judged.
    labels = label(mask, structure=_EVERY_DIRECTION)[0]
    return len(np.unique(labels[judged & mask]))


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
    # All pixels within the tolerance; a disc laid upon each pixel is much quicker than distances from all of them.
    return np.asarray(cv2.dilate(mask.astype(np.uint8), _DISC, borderType=cv2.BORDER_CONSTANT, borderValue=0)) > 0
