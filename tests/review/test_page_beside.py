"""Two runs beside each other in a real browser: before and after embolisation, and two projections."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_reader import ONCE, PageReader
from review_server import Browser, Served, serve, wait_for

pytestmark = [pytest.mark.slow, ONCE]

Visit = Callable[..., PageReader]


@pytest.fixture(scope="module")
def served(sample_results: Path, sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server over the sample, which has a run before and after embolisation, and another projection."""
    out = shutil.copytree(sample_results, tmp_path_factory.mktemp("beside") / "out")
    with serve(out, "--source", sample) as found:
        yield found


@pytest.fixture(scope="module")
def reader(served: Served) -> Browser:
    return served.browser()


@pytest.fixture(scope="module")
def frontal(reader: Browser) -> dict[str, Any]:
    """The run that has both a run after embolisation and another projection."""
    for row in reader.cases(kind="run"):
        told = reader.told(f"/cases/{row['id']}")
        if {"after", "projection"} <= {one["relation"] for one in told["linked"] if one["id"]}:
            return told
    raise AssertionError("no run was compared and joined")


def beside(tab: PageReader, words: str) -> None:
    """Choose the run beside, and wait until its corrected frames are there."""
    tab.page.get_by_label("Beside", exact=True).select_option(label=words)
    tab.page.locator(".pane").nth(1).and_(tab.page.locator("[data-shown*='/corrected/']")).wait_for()


def nearest(times_s: list[float], time_s: float) -> int:
    return int(np.argmin(np.abs(np.array(times_s) - time_s)))


@pytest.mark.parametrize(
    ("relation", "words"), [("after", "Run after embolisation"), ("projection", "Other projection")]
)
def test_the_run_beside_shows_the_same_moment(
    served: Served, reader: Browser, frontal: dict[str, Any], visit: Visit, relation: str, words: str
) -> None:
    case = frontal["row"]["id"]
    (other,) = [one["id"] for one in frontal["linked"] if one["relation"] == relation]
    times = {one: reader.frames(one)["times_s"] for one in (case, other)}
    begins = {one: reader.told(f"/cases/{one}/analysis")["phases"]["arterial"][0] for one in (case, other)}
    later_s = times[other][begins[other]] - times[case][begins[case]] if relation == "after" else 0.0
    tab = visit(served).open(case)
    beside(tab, words)
    for key in ("End", "Home", "ArrowRight", "ArrowRight"):
        before = tab.shown()
        tab.page.keyboard.press(key)
        wait_for(lambda before=before: tab.shown() != before)
        expected = nearest(times[other], times[case][tab.frame()] + later_s)
        wait_for(lambda expected=expected: tab.frame(1) == expected)
    assert tab.complaints == []


def test_window_place_and_layer_of_the_run_beside_follow(served: Served, frontal: dict[str, Any], visit: Visit) -> None:
    tab = visit(served).open(frontal["row"]["id"])
    beside(tab, "Run after embolisation")
    still = tab.picture(1)

    def changed(act: Callable[[], object]) -> None:
        before = tab.picture(1)
        act()
        wait_for(lambda: np.abs(tab.picture(1).astype(float) - before).mean() > 3)

    changed(lambda: tab.page.keyboard.press("i"))
    changed(lambda: tab.page.keyboard.press("i"))
    changed(lambda: tab.page.keyboard.press("+"))
    changed(lambda: tab.page.keyboard.press("r"))
    wait_for(lambda: np.abs(tab.picture(1).astype(float) - still).mean() < 1)
    tab.page.keyboard.press("1")
    tab.page.locator(".pane").nth(1).and_(tab.page.locator("[data-shown*='/raw/']")).wait_for()
    tab.page.get_by_label("Beside", exact=True).select_option(label="Nothing")
    wait_for(lambda: tab.page.locator(".pane").count() == 1)
    assert tab.complaints == []
