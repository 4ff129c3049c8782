"""Laws of the order of time."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.provenance import Source
from angio_pipeline.lipiodol.scans import first_moment, order_sources


def source(date="20240101", acquired=None):
    return Source("1", "2", date=date, acquired=acquired)


def test_scans_come_in_order_with_days_since_treatment():
    sources = [source("20240131"), source("20231228"), source("20240102")]
    order = order_sources(sources, datetime(2024, 1, 1, 10), first_moment(sources))
    assert [(i, before) for i, _, before in order] == [(1, True), (2, False), (0, False)]
    assert order[1][1] == pytest.approx(14 / 24)


def test_without_treatment_days_count_from_the_first():
    sources = [source("20240131"), source("20240102")]
    assert [days for _, days, _ in order_sources(sources, None, first_moment(sources))] == [0, 29]


def test_the_day_of_treatment_without_a_time_is_after_it():
    assert order_sources([source("20240101")], datetime(2024, 1, 1, 10), None) == [(0, 0.0, False)]


def test_an_hour_before_treatment_is_a_baseline():
    early = source(acquired=datetime(2024, 1, 1, 9, tzinfo=UTC))
    assert order_sources([early], datetime(2024, 1, 1, 10), None)[0][2]


def test_equal_times_keep_their_order():
    assert [i for i, *_ in order_sources([source(), source()], None, None)] == [0, 1]


def test_two_times_on_one_day_are_two_scans():
    hours = [source(acquired=datetime(2024, 1, 1, h)) for h in (18, 9)]
    assert [i for i, *_ in order_sources(hours, None, first_moment(hours))] == [1, 0]


def test_a_date_is_needed_for_more_than_one():
    assert order_sources([source("undated")], None, None) == [(0, 0.0, False)]
    with pytest.raises(InputRefused, match="Expected a date"):
        order_sources([source("undated"), source()], None, None)
