"""After training: probabilities that mean what they say, thresholds, and what a familiar picture is.

Probabilities and thresholds come from held-out simulated patients and, for frames, a few real images kept for it;
what is familiar from pictures that were learned from. A logistic with a scale and an offset for each class (Platt
1999; temperature scaling with an offset, Guo et al. 2017, arXiv:1706.04599) is fitted to pixels drawn evenly
from all pictures. A class begins at the probability of the best mean Dice over pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize

from angio_pipeline.networks.weights import Calibration

__all__ = ["HeldOut", "best_thresholds", "fit_calibration", "fit_logistic", "reliability"]

FloatArray = npt.NDArray[np.float32]
_PIXELS_EACH, _LIMIT_MARGIN = 20000, 1.25
_THRESHOLDS: npt.NDArray[np.float64] = np.round(np.arange(0.2, 0.81, 0.025), 3)


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """One held-out picture: logits, truth and what is known of it, (classes, H, W) each; its description (D,)."""

    logits: FloatArray
    truth: npt.NDArray[np.bool_]
    known: npt.NDArray[np.bool_]
    description: FloatArray


def fit_calibration(
    held_out: Sequence[HeldOut], familiar: npt.NDArray[np.floating], *, rng: np.random.Generator
) -> Calibration:
    """Return the calibration; `familiar` (N, D) are descriptions of pictures that were trained on."""
    classes = len(held_out[0].logits)
    fitted = [fit_logistic(*_pixels(held_out, k, rng)) for k in range(classes)]
    scale, offset = (np.array(part, dtype=np.float32) for part in zip(*fitted, strict=True))
    centre = familiar.mean(axis=0)
    # Shrunk towards a sphere: there are hardly more pictures than numbers in a description.
    spread = np.cov(familiar.T) if len(familiar) > 1 else np.eye(familiar.shape[1])
    spread = 0.9 * spread + 0.1 * np.eye(len(spread)) * np.trace(spread) / len(spread)
    values, vectors = np.linalg.eigh(spread)
    whiten = vectors / np.sqrt(np.maximum(values, 1e-12))
    away = [float(np.linalg.norm((one.description - centre) @ whiten)) for one in held_out]
    return Calibration(
        scale=scale,
        offset=offset,
        threshold=best_thresholds(held_out, scale, offset),
        centre=centre.astype(np.float32),
        whiten=whiten.astype(np.float32),
        limit=_LIMIT_MARGIN * max(away),
    )


def _pixels(
    held_out: Sequence[HeldOut], k: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    logits, truth = [], []
    for one in held_out:
        where = np.flatnonzero(one.known[k].ravel())
        chosen = rng.choice(where, size=min(_PIXELS_EACH, len(where)), replace=False)
        logits.append(one.logits[k].ravel()[chosen].astype(np.float64))
        truth.append(one.truth[k].ravel()[chosen].astype(np.float64))
    return np.concatenate(logits), np.concatenate(truth)


def fit_logistic(logits: npt.NDArray[np.float64], truth: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return scale and offset of the likeliest logistic; 1 and 0 where there is only one kind."""
    if truth.size == 0 or truth.min() == truth.max():
        return 1.0, 0.0

    def cost(at: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        scaled = at[0] * logits + at[1]
        value = float(np.mean(np.logaddexp(0, scaled) - truth * scaled))
        wrong = 1 / (1 + np.exp(-np.clip(scaled, -60, 60))) - truth
        return value, np.array([np.mean(wrong * logits), np.mean(wrong)])

    found = optimize.minimize(cost, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0.05, 20), (-20, 20)])
    return float(found.x[0]), float(found.x[1])


def best_thresholds(held_out: Sequence[HeldOut], scale: FloatArray, offset: FloatArray) -> FloatArray:
    """Return for each class the probability of the best mean Dice over pictures that show it."""
    totals: npt.NDArray[np.float64] = np.zeros((len(scale), len(_THRESHOLDS)))
    for one in held_out:
        for k in range(len(scale)):
            known = one.known[k]
            truth = one.truth[k][known]
            if not truth.any():
                continue
            scaled = scale[k] * one.logits[k][known] + offset[k]
            levels: npt.NDArray[np.float64] = np.log(_THRESHOLDS / (1 - _THRESHOLDS))
            totals[k] += [_dice(scaled >= level, truth) for level in levels]
    best = _THRESHOLDS[np.argmax(totals, axis=1)]
    # A class that no picture shows begins where it is as likely as not.
    return np.where(totals.max(axis=1) > 0, best, 0.5).astype(np.float32)


def _dice(told: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> float:
    return 2 * float(np.count_nonzero(told & truth)) / max(1.0, float(np.count_nonzero(told) + np.count_nonzero(truth)))


def reliability(
    probability: npt.NDArray[np.floating], truth: npt.NDArray[np.bool_], *, bins: int = 10
) -> list[tuple[float, float, int]]:
    """Return (mean probability, share that is true, count) in each bin of probability that holds any."""
    which = np.minimum((probability * bins).astype(int), bins - 1)
    out = []
    for k in range(bins):
        inside = which == k
        count = int(np.count_nonzero(inside))
        if count:
            out.append((float(probability[inside].mean()), float(truth[inside].mean()), count))
    return out
