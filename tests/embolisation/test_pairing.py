from __future__ import annotations

from datetime import datetime

import pytest

from angio_pipeline.core.provenance import Source
from angio_pipeline.core.runs import Stage
from angio_pipeline.embolisation import PairedBy, PairingParams, RunPair, RunView, choose_pairs

FRONTAL, OBLIQUE = (0.0, 0.0), (-30.0, 10.0)


def view(minute: int | None, angles=FRONTAL, stage=None, day=2) -> RunView:
    acquired = None if minute is None else datetime(2025, 1, day, 10, minute)
    return RunView(Source(f"1.{minute}", "1", acquired=acquired), angles, stage)


def pairs(*runs: RunView, **settings) -> list[tuple[int, int, str]]:
    found = choose_pairs(runs, angle_deg=3.0, params=PairingParams(**settings))
    return [(pair.before, pair.after, pair.by.value) for pair in found]


def test_a_run_called_post_is_held_against_the_latest_earlier_run_of_its_view():
    runs = (view(0), view(10), view(20, OBLIQUE), view(30, stage=Stage.AFTER), view(40, OBLIQUE, stage=Stage.AFTER))
    assert pairs(*runs) == [(1, 3, "label"), (2, 4, "label")]


def test_the_order_of_the_list_does_not_matter():
    runs = (view(30, stage=Stage.AFTER), view(10), view(20, OBLIQUE))
    assert choose_pairs(runs, angle_deg=3.0, params=PairingParams()) == (RunPair(1, 0, PairedBy.LABEL),)


def test_a_run_called_post_without_its_view_goes_to_the_latest_so_that_the_refusal_is_told():
    assert pairs(view(0), view(10), view(20, OBLIQUE, stage=Stage.AFTER)) == [(1, 2, "label")]
    assert pairs(view(0), view(10, None, stage=Stage.AFTER)) == [(0, 1, "label")]


def test_a_run_called_post_alone_or_before_all_others_is_no_pair():
    assert pairs(view(0, stage=Stage.AFTER)) == []
    assert pairs(view(0, stage=Stage.AFTER), view(10)) == []
    assert pairs(view(0, stage=Stage.AFTER), view(10, stage=Stage.AFTER)) == []


def test_where_only_runs_before_are_called_so_the_later_ones_are_after():
    assert pairs(view(0, stage=Stage.BEFORE), view(10), view(20)) == [(0, 1, "label"), (0, 2, "label")]


def test_without_words_first_and_last_of_a_view_are_taken_by_order():
    runs = (view(0), view(3), view(10, OBLIQUE), view(20), view(22, OBLIQUE))
    assert pairs(*runs) == [(0, 3, "order"), (2, 4, "order")]
    assert pairs(*runs, by_order=False) == []


def test_repeats_within_minutes_are_no_pair():
    assert pairs(view(0), view(3)) == []
    assert pairs(view(0), view(3), least_minutes=2.0) == [(0, 1, "order")]


@pytest.mark.parametrize("other", [view(30, OBLIQUE), view(30, day=9), view(None)])
def test_another_view_another_day_or_no_time_is_no_pair(other):
    assert pairs(view(0), other) == []


def test_runs_that_tell_no_angles_pair_among_themselves_only():
    assert pairs(view(0, None), view(20, None), view(30)) == [(0, 1, "order")]
