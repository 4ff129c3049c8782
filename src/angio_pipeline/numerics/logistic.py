"""Probabilities that are a logistic of a few named numbers, as scripts fit them to examples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

__all__ = ["Table", "logistic", "logit"]

# Bias, and for each number its middle, its spread and its weight.
Table = tuple[float, Mapping[str, tuple[float, float, float]]]


def logistic(table: Table, known: Mapping[str, float]) -> float:
    """Return the probability; a number that is NaN is not known, and speaks neither for nor against."""
    score, weights = table
    for name, (middle, spread, weight) in weights.items():
        if np.isfinite(known[name]):
            score += weight * (known[name] - middle) / spread
    return float(1 / (1 + np.exp(-score)))


def logit(share: float, *, least: float) -> float:
    """Return the log odds of a probability, which is taken to be at least `least` away from 0 and from 1."""
    held = float(np.clip(share, least, 1 - least))
    return float(np.log(held / (1 - held)))
