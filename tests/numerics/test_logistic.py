"""Probabilities by a table: odds add up, what is not known says nothing, and log odds are held away from certainty."""

from __future__ import annotations

import math

import pytest

from angio_pipeline.numerics.logistic import Table, logistic, logit

TABLE: Table = (0.5, {"one": (2.0, 4.0, 1.5), "other": (-1.0, 0.5, -0.7)})


def test_the_log_odds_are_the_bias_and_the_weighted_distances_from_the_middles() -> None:
    expected = 0.5 + 1.5 * (5.0 - 2.0) / 4.0 - 0.7 * (0.0 + 1.0) / 0.5
    assert logit(logistic(TABLE, {"one": 5.0, "other": 0.0}), least=1e-9) == pytest.approx(expected)


def test_what_is_not_known_counts_as_the_middle() -> None:
    assert logistic(TABLE, {"one": math.nan, "other": 0.0}) == logistic(TABLE, {"one": 2.0, "other": 0.0})


def test_log_odds_are_symmetric_and_held() -> None:
    assert logit(0.3, least=0.01) == pytest.approx(-logit(0.7, least=0.01))
    assert logit(0.0, least=0.01) == pytest.approx(math.log(0.01 / 0.99)) == logit(0.005, least=0.01)
