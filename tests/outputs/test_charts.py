"""Charts of pages: names stand at the ends of their lines, and a cohort's flow holds its numbers."""

import re
from itertools import pairwise
from xml.etree import ElementTree

from angio_pipeline.outputs.charts import Series, line_chart
from angio_pipeline.outputs.cohort.flow_chart import flow_chart
from angio_pipeline.response.cohort.data import Table


def names(chart):
    return {text: float(y) for y, text in re.findall(r'series-label[^>]*y="([\d.]+)">([^<]+)<', chart)}


def chart(series):
    return line_chart(series, x_label="x", y_label="y", title="t", from_zero=True)


def test_a_series_without_a_name_takes_no_place_beside_the_lines() -> None:
    lines = [Series("a", (0, 1), (1, 0.2), "s0"), Series("b", (0, 1), (1, 0.5), "s1")]
    points = [Series("", (0, 1), (1, 0.2), "s0", line=False, points=True)] * 2
    assert names(chart([*lines, *points])) == names(chart([*lines, points[0]]))
    assert set(names(chart([*lines, *points]))) == {"a", "b"}


def test_names_of_lines_that_end_together_stay_above_the_axis_and_apart() -> None:
    told = sorted(names(chart([Series(f"arm {i}", (0, 1), (1, 0.0), f"s{i}") for i in range(6)])).values())
    assert len(told) == 6
    assert max(told) <= 270 - 44 + 4
    assert min(b - a for a, b in pairwise(told)) >= 15


def test_the_flow_of_a_cohort_holds_its_numbers_and_any_name_of_an_arm() -> None:
    steps = ("planned", "results only", "no images", "refused", "analysed", "flagged")
    counts = (("9", "5"), ("2", "0"), ("3", "1"), ("1", "1"), ("7", "3"), ("2", "2"))
    flow = Table("Flow", ("", "all", "oil <b> & more"), tuple((s, *c) for s, c in zip(steps, counts, strict=True)))
    words = [text.text for text in ElementTree.fromstring(flow_chart(flow)).iter("text")]
    assert "In the records: 9" in words
    assert "With images: 8" in words
    assert "oil <b> & more: 3 analysed, 2 of these flagged" in words
