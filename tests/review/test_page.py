"""The page in a real browser, before the real server, over a real analysis: what a reader opens and sees."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from page_reader import ONCE, PageReader
from review_server import Browser, Served, wait_for

pytestmark = pytest.mark.slow

Visit = Callable[..., PageReader]
DIST = Path(__file__).resolve().parents[2] / "src" / "angio_pipeline" / "review" / "dist"


def test_a_run_opens_from_the_worklist_plays_and_turns_to_its_layers(
    shared: Served, case: str, visit: Visit, painter: str
) -> None:
    tab = visit(shared)
    tab.page.wait_for_selector(".tablerow.chosen")
    tab.page.keyboard.press("Enter")
    tab.opened()
    assert tab.page.locator(".pane").get_attribute("data-painter") == painter
    assert tab.page.url.endswith(f"#/case/{case}")
    first = tab.shown()
    tab.page.keyboard.press(" ")
    wait_for(lambda: tab.shown() != first and tab.page.get_by_role("button", name="Pause").count())
    tab.page.keyboard.press(" ")
    tab.page.get_by_role("button", name="Play").wait_for()
    for key, layer in (("1", "raw"), ("2", "subtracted"), ("3", "corrected")):
        tab.turn_to(key, layer)
    assert tab.complaints == []
    assert all(one.startswith((shared.address, "blob:", "data:")) for one in tab.asked)


def test_the_screen_shows_the_frame_that_the_server_holds(
    shared: Served, reader: Browser, case: str, visit: Visit
) -> None:
    number = reader.frames(case)["reference_frame"]
    tab = visit(shared, "Reader 2").open(case).bare()
    for key, layer in (("1", "raw"), ("2", "subtracted"), ("3", "corrected")):
        tab.turn_to(key, layer)
        sent = reader.get(f"/cases/{case}/frames/{layer}/{number}").content
        wait_for(lambda sent=sent: shows(tab, sent))


def test_the_mask_that_is_moved_by_hand_moves_on_the_screen(
    shared: Served, reader: Browser, case: str, visit: Visit
) -> None:
    number = reader.frames(case)["reference_frame"]
    tab = visit(shared, "Reader 3").open(case).bare().turn_to("2", "subtracted")
    for _ in range(6):
        tab.page.keyboard.press("Alt+ArrowDown")
    tab.page.get_by_label("Mask shift, right, px").fill("-2")
    tab.page.get_by_label("Mask shift, right, px").press("Enter")
    tab.page.wait_for_selector(f".pane[data-shown$='/subtracted/1.5,-2#{number}']")
    path = f"/cases/{case}/frames/subtracted/{number}"
    moved = reader.get(path, shift_row=1.5, shift_col=-2.0).content
    wait_for(lambda: shows(tab, moved))
    tab.page.get_by_label("Mask shift, right, px").blur()
    tab.page.keyboard.press("r")
    tab.page.wait_for_selector(f".pane[data-shown$='/subtracted/0#{number}']")
    assert shared.browser("Reader 3").corrections(case)["edits"] == []
    assert tab.complaints == []


def shows(tab: PageReader, png: bytes) -> bool:
    """Whether the screen shows a picture as the server painted it."""
    expected = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
    screen = cut_out(tab.picture(), expected.shape)
    # Blurred alike: a browser's own smoothing of noise is not what is judged.
    seen = cv2.blur(cv2.resize(screen, expected.shape[::-1], interpolation=cv2.INTER_AREA), (5, 5))
    expected = cv2.blur(expected, (5, 5))
    alike = np.corrcoef(seen.ravel(), expected.ravel())[0, 1] > 0.97
    return bool(alike and np.median(np.abs(seen.astype(float) - expected)) < 4)


def cut_out(screen: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The part of the screen that the frame covers while it is shown whole."""
    scale = min(screen.shape[0] / shape[0], screen.shape[1] / shape[1])
    height, width = int(shape[0] * scale), int(shape[1] * scale)
    top, left = (screen.shape[0] - height) // 2, (screen.shape[1] - width) // 2
    return screen[top : top + height, left : left + width]


@contextmanager
def held(served: Served) -> Iterator[None]:
    """Keep the worker still that corrects frames: the one that stands back for all others."""
    own = psutil.Process(served.pid).nice()

    def worker() -> psutil.Process | None:
        children = psutil.Process(served.pid).children(recursive=True)
        return next((one for one in children if one.nice() > own), None)

    found = wait_for(worker)
    found.suspend()
    try:
        yield
    finally:
        found.resume()


@ONCE
def test_frames_are_seen_before_they_are_corrected_and_are_corrected_then(
    started: Callable[..., Served], copied: object, visit: Visit
) -> None:
    served = started("--source", copied.source)
    reader = served.browser()
    (row,) = reader.cases()
    wait_for(lambda: reader.told(f"/cases/{row['id']}")["source"]["available"])
    tab = visit(served)
    with held(served):
        tab.page.goto(f"{served.address}/#/case/{row['id']}")
        tab.page.wait_for_selector(".pane[data-overlay][data-shown*='/subtracted/']")
        tab.page.get_by_text("Being corrected for motion…").wait_for()
        assert tab.page.get_by_role("button", name="Corrected").is_disabled()
        tab.turn_to("1", "raw")
        tab.page.keyboard.press("3")
    tab.opened()
    assert tab.page.get_by_text("Being corrected for motion…").count() == 0
    assert tab.complaints == []


@ONCE
def test_flicker_turns_between_uncorrected_and_corrected_below_three_flashes_a_second(
    shared: Served, case: str, visit: Visit
) -> None:
    tab = visit(shared, "Reader 4").open(case)
    count = """() => new Promise((resolve) => {
      const pane = document.querySelector(".pane"), seen = [], begun = performance.now();
      new MutationObserver(() => {
        seen.push(pane.dataset.shown);
        if (seen.length === 6) resolve([seen, (performance.now() - begun) / 1000]);
      }).observe(pane, {attributes: true, attributeFilter: ["data-shown"]});
    })"""
    tab.page.keyboard.press("f")
    seen, passed_s = tab.page.evaluate(count)
    layers = [re.search("/(raw|subtracted|corrected)/", one)[1] for one in seen]
    assert set(pairwise(layers)) == {("subtracted", "corrected"), ("corrected", "subtracted")}
    # A flash is there and back again: two changes.
    assert 3 / passed_s < 3
    tab.page.keyboard.press("f")
    tab.page.get_by_role("button", name="Flicker", pressed=False).wait_for()
    tab.opened()
    assert tab.complaints == []


@ONCE
def test_a_distance_is_in_millimetres_only_where_the_run_tells_them(
    shared: Served, reader: Browser, case: str, visit: Visit
) -> None:
    told = reader.frames(case)
    tab = visit(shared, "Measurer").open(case)
    tab.page.keyboard.press("m")
    size = {"rows": told["rows"], "columns": told["columns"]}
    tab.drag(tab.at((60, 60), **size), tab.at((60, 160), **size))
    words = tab.page.locator(".toolbar .hint").inner_text()
    if told["spacing_mm"] is None:
        assert words.endswith("px (not calibrated)")
    else:
        assert words.endswith("mm")
        assert float(words.split()[0]) == pytest.approx(100 * told["spacing_mm"][1], rel=0.03)


@ONCE
def test_no_serious_barrier_for_readers_with_other_senses(shared: Served, case: str, visit: Visit) -> None:
    tab = visit(shared, "Listener")
    tab.page.wait_for_selector(".tablerow")
    tab.page.wait_for_selector(".filters select")
    assert tab.serious_barriers() == [], "worklist"
    tab.open(case)
    tab.page.get_by_role("button", name="accept feeder").first.click()
    tab.saved()
    assert tab.serious_barriers() == [], "run"
    tab.page.get_by_role("button", name="Light or dark").click()
    assert tab.serious_barriers() == [], "run, light"
    tab.page.get_by_role("button", name="Light or dark").click()
    tab.page.get_by_role("button", name="Journal").click()
    tab.page.wait_for_selector("dialog.audit tbody tr")
    assert tab.serious_barriers() == [], "journal"
    tab.page.keyboard.press("Escape")
    tab.page.wait_for_selector("dialog.audit", state="detached")
    tab.page.keyboard.press("?")
    tab.page.wait_for_selector("dialog.help")
    assert tab.serious_barriers() == [], "help"


@ONCE
def test_a_case_that_is_not_there_is_said_to_be_missing(shared: Served, visit: Visit) -> None:
    tab = visit(shared)
    tab.page.wait_for_selector(".tablerow")
    tab.page.goto(f"{shared.address}/#/case/c0000000000000000")
    tab.page.get_by_role("heading", name="This case is not among the results").wait_for()
    tab.page.get_by_role("button", name="Worklist").click()
    tab.page.wait_for_selector(".tablerow")


@ONCE
def test_without_sources_the_stored_picture_and_the_reason_are_shown(
    started: Callable[..., Served], visit: Visit
) -> None:
    served = started()
    (row,) = served.browser().cases()
    tab = visit(served)
    tab.page.goto(f"{served.address}/#/case/{row['id']}")
    tab.page.wait_for_selector("img.stored")
    sentence = served.browser().told(f"/cases/{row['id']}/frames")["sentence"]
    tab.page.locator(".waiting", has_text=sentence).wait_for()
    tab.page.get_by_role("button", name="accept feeder").first.click()
    tab.saved()


def test_the_built_page_holds_no_inline_script_and_names_its_licences() -> None:
    page = (DIST / "index.html").read_text(encoding="utf-8")
    assert "<style" not in page
    assert "style=" not in page
    assert page.count("<script") == page.count('<script type="module" crossorigin src="./assets/')
    licences = (DIST / "licenses.txt").read_text(encoding="utf-8")
    for package in ("@cornerstonejs/core", "@kitware/vtk.js", "uplot"):
        assert f"{package} " in licences
    assert "GPL" not in licences
