"""Follow-ups in a real browser: dates side by side, lesions outlined by hand, the course measured anew."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from page_reader import ONCE, PageReader
from review_server import Browser, Served, serve, wait_for

from angio_pipeline.numerics.polygons import fill_polygons

pytestmark = pytest.mark.slow

Visit = Callable[..., PageReader]


@pytest.fixture(scope="module")
def served(followed: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    out = tmp_path_factory.mktemp("follow-ups") / "out"
    shutil.copytree(followed[0], out, ignore=shutil.ignore_patterns("review"))
    with serve(out, "--source", followed[1]) as found:
        yield found


@pytest.fixture(scope="module")
def follow_up(served: Served) -> str:
    (row,) = served.browser().cases(kind="follow_up")
    return str(row["id"])


def opened(tab: PageReader, case: str) -> PageReader:
    """Open the follow-up and wait for all dates."""
    tab.open(case)
    wait_for(lambda: tab.page.locator(".pane[data-shown]").count() == 2)
    return tab


def test_dates_are_side_by_side_on_one_slice(
    served: Served, follow_up: str, followed: tuple[Path, Path], visit: Visit, painter: str
) -> None:
    tab = opened(visit(served), follow_up)
    at = tab.frame()
    tab.page.locator(".pane").first.hover()
    tab.page.mouse.wheel(0, 100)
    wait_for(lambda: [tab.frame(k) for k in (0, 1)] == [at + 1] * 2)
    assert tab.page.locator(".pane").first.get_attribute("data-painter") == painter
    written = json.loads((next(followed[0].glob("subjects/*/lipiodol.json"))).read_text())
    for lesion in written["lesions"]:
        assert tab.page.locator(".retention p", has_text=lesion["id"]).count() == 1
    assert tab.serious_barriers() == []
    assert tab.complaints == []


@ONCE
def test_without_sources_stored_pictures_stand_in_the_place_of_the_slices(
    followed: tuple[Path, Path], visit: Visit, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(followed[0], out, ignore=shutil.ignore_patterns("review"))
    with serve(out) as alone:
        (row,) = alone.browser().cases(kind="follow_up")
        tab = visit(alone)
        tab.page.goto(f"{alone.address}/#/case/{row['id']}")
        tab.page.locator(".instead", has_text="--source").wait_for()
        assert tab.page.locator(".panes").count() == 0
        pictures = tab.page.locator(".scans + .films img")
        assert pictures.count() >= 2
        pictures.first.scroll_into_view_if_needed()
        wait_for(lambda: pictures.first.evaluate("one => one.naturalWidth") > 0)


def reference_of(reader: Browser, case: str) -> tuple[dict, int]:
    """What is told of the follow-up, and which picture is the reference scan."""
    told = wait_for(lambda: (found := reader.told(f"/follow-ups/{case}"))["state"] == "ready" and found)
    shown = [scan["alignment"]["shown"] for scan in told["scans"] if scan["alignment"]["shown"] != "none"]
    return told, shown.index("reference")


@ONCE
def test_a_lesion_painted_slice_by_slice_is_one_edit_with_what_was_painted(
    served: Served, follow_up: str, visit: Visit
) -> None:
    other = served.browser("Painter")
    told, pane = reference_of(other, follow_up)
    size = dict(zip(("rows", "columns"), told["shape"][1:], strict=True))
    center = (size["rows"] // 2, size["columns"] // 3)
    tab = opened(visit(served, "Painter"), follow_up)
    first = tab.frame(pane)
    tab.page.keyboard.press("b")
    tab.page.wait_for_selector(".pane[data-tool=brush]")
    radius = float(tab.page.get_by_label("Size of the brush").input_value())
    tab.page.mouse.click(*tab.at(center, **size, pane=pane))
    tab.page.keyboard.press("ArrowDown")  # what is painted goes along with its slice
    wait_for(lambda: tab.frame(pane) == first + 1)
    tab.page.mouse.click(*tab.at((center[0], center[1] + 20), **size, pane=pane))
    lesion = tab.page.get_by_label("Lesion", exact=True).input_value()
    tab.page.get_by_role("button", name=f"Save {lesion}").click()
    tab.saved()
    (edit,) = other.corrections(follow_up)["edits"]
    assert (edit["kind"], edit["lesion"]) == ("redraw_lesion", lesion)
    assert [plane["z"] for plane in edit["planes"]] == [first, first + 1]
    rows, cols = np.ogrid[: size["rows"], : size["columns"]]
    for plane, shift in zip(edit["planes"], (0, 20), strict=True):
        filled = fill_polygons(plane["polygons"], (size["rows"], size["columns"]))
        away = np.hypot(rows - center[0], cols - center[1] - shift)
        assert filled[away < radius - 1.5].all()
        assert not filled[away > radius + 1.5].any()
    assert tab.complaints == []


@ONCE
def test_an_outlined_lesion_has_its_course_measured_anew_from_the_page(
    served: Served, follow_up: str, visit: Visit
) -> None:
    name = "Outliner"
    other = served.browser(name)
    told, pane = reference_of(other, follow_up)
    size = dict(zip(("rows", "columns"), told["shape"][1:], strict=True))
    tab = opened(visit(served, name), follow_up)
    tab.page.get_by_label("Lesion", exact=True).select_option("L1")
    (contour, *_) = other.told(
        f"/follow-ups/{follow_up}/scans/{told['scans'][pane]['index']}/axial/{tab.frame(pane)}/contours"
    )["contours"]["L1"]
    middle = np.mean(contour, axis=0)
    tab.page.keyboard.press("p")
    tab.page.wait_for_selector(".pane[data-tool=polygon]")
    corners = [middle + step for step in ((-6, -6), (-6, 6), (6, 6), (6, -6))]
    for corner in corners:
        tab.page.mouse.click(*tab.at(corner, **size, pane=pane))
    tab.page.keyboard.press("Enter")
    tab.page.get_by_text("1 slice kept").wait_for()
    tab.page.get_by_role("button", name="Save L1").click()
    tab.saved()
    (edit,) = other.corrections(follow_up)["edits"]
    (plane,) = edit["planes"]
    assert np.allclose(plane["polygons"][0], corners, atol=1)
    tab.page.get_by_role("button", name="Analyse again with my changes").click()
    tab.page.wait_for_selector("main.follow[data-result=mine] .pane[data-shown*='/mine/']")
    mine = other.told(f"/follow-ups/{follow_up}", result="mine")["lipiodol"]
    course = [
        next(one["timepoints"] for one in document["lesions"] if one["id"] == "L1")
        for document in (mine, told["lipiodol"])
    ]
    assert [one["date"] for one in course[0]] == [one["date"] for one in course[1]]
    assert course[0] != course[1]
    assert tab.page.locator(".retention p", has_text="L1").count() == 1
    tab.page.get_by_label("Result", exact=True).select_option("original")
    tab.page.wait_for_selector("main.follow[data-result=original] .pane[data-shown*='/original/']")
    assert other.told(f"/follow-ups/{follow_up}")["lipiodol"] == told["lipiodol"]
    assert tab.complaints == []
