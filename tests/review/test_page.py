"""The page in a real browser, before the real server, over a real analysis: what a radiologist does and finds again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from page_reader import PAINTERS, PageReader, chromium_with
from playwright.sync_api import Browser as Chromium
from review_server import Browser, Served, serve, wait_for

from angio_pipeline.numerics.polygons import fill_polygons

# Not in .ci/run yet: on a busy machine some wait too short, and processes of the browser are told as left behind.
pytestmark = [pytest.mark.slow, pytest.mark.repeated]

DIST = Path(__file__).resolve().parents[2] / "src" / "angio_pipeline" / "review" / "dist"
HOSTILE = '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>\'" & ‮'


@pytest.fixture(scope="module", params=list(PAINTERS))
def painter(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def browser(painter: str) -> Iterator[Chromium]:
    with chromium_with(painter) as found:
        yield found


@pytest.fixture
def visit(browser: Chromium) -> Iterator[Callable[..., PageReader]]:
    """A starter of tabs, each with a session of its own."""
    tabs: list[PageReader] = []

    def opened(served: Served, name: str = "Reader 1", **more: tuple[int, int]) -> PageReader:
        tabs.append(PageReader(browser, served.address, **more))
        return tabs[-1].sign_in(name)

    yield opened
    for tab in tabs:
        tab.close()


only_with_webgl = pytest.mark.parametrize("painter", ["webgl"], indirect=True, scope="module")


def test_a_run_opens_from_the_worklist_plays_and_turns_to_its_layers(
    shared: Served, case: str, visit: Callable[..., PageReader], painter: str
) -> None:
    tab = visit(shared)
    tab.page.wait_for_selector(".tablerow")
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_selector(".pane[data-overlay]")
    assert tab.page.locator(".pane").get_attribute("data-painter") == painter
    assert tab.page.url.endswith(f"#/case/{case}")
    first = tab.shown()
    tab.page.keyboard.press(" ")
    wait_for(lambda: tab.shown() != first and tab.page.get_by_role("button", name="Pause").count(), within_s=20)
    tab.page.keyboard.press(" ")
    for key, layer in (("1", "raw"), ("2", "subtracted"), ("3", "corrected")):
        tab.page.keyboard.press(key)
        tab.page.wait_for_selector(f".pane[data-shown*='/{layer}/']")
    assert tab.complaints == []
    assert all(one.startswith((shared.address, "blob:", "data:")) for one in tab.asked)


def test_the_screen_shows_the_frame_that_the_server_holds(
    shared: Served, reader: Browser, case: str, visit: Callable[..., PageReader]
) -> None:
    told = reader.frames(case)
    tab = visit(shared, "Reader 2").open(case)
    tab.page.keyboard.press("o")
    tab.page.evaluate("for (const one of document.querySelectorAll('.corner')) one.style.display = 'none'")
    for key, layer in (("1", "raw"), ("3", "corrected")):
        tab.page.keyboard.press(key)
        tab.page.wait_for_selector(f".pane[data-shown*='/{layer}/']")
        tab.page.wait_for_timeout(300)
        number = told["reference_frame"]
        sent = reader.get(f"/cases/{case}/frames/{layer}/{number}").content
        expected = cv2.imdecode(np.frombuffer(sent, np.uint8), cv2.IMREAD_GRAYSCALE)
        screen = _cut_out(tab.picture(), expected.shape)
        # Blurred alike: a browser's own smoothing of noise is not what is judged.
        seen = cv2.blur(cv2.resize(screen, expected.shape[::-1], interpolation=cv2.INTER_AREA), (5, 5))
        expected = cv2.blur(expected, (5, 5))
        assert np.corrcoef(seen.ravel(), expected.ravel())[0, 1] > 0.97, layer
        assert np.median(np.abs(seen.astype(float) - expected)) < 4, layer


def _cut_out(screen: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    scale = min(screen.shape[0] / shape[0], screen.shape[1] / shape[1])
    height, width = int(shape[0] * scale), int(shape[1] * scale)
    top, left = (screen.shape[0] - height) // 2, (screen.shape[1] - width) // 2
    return screen[top : top + height, left : left + width]


@only_with_webgl
def test_a_correction_is_found_again_and_changes_the_analysis(
    started: Callable[..., Served], copied: Any, visit: Callable[..., PageReader]
) -> None:
    served = started("--source", copied.source)
    reader = served.browser("Reader 1")
    (row,) = reader.cases()
    case = row["id"]
    before = reader.told(f"/cases/{case}/analysis")
    feeder = before["tumours"][0]["feeders"][0]["id"]
    tab = visit(served).open(case)
    tab.page.get_by_role("button", name=f"reject feeder {feeder}").click()
    tab.saved()
    tab.page.reload()
    tab.page.wait_for_selector(f".feeder.rejected[data-feeder='{feeder}']")
    assert [edit["kind"] for edit in reader.corrections(case)["edits"]] == ["reject_feeder"]
    tab.page.get_by_role("button", name="Analyse again with my changes").click()
    tab.page.wait_for_selector("main.run[data-result=mine] .pane[data-overlay=mine]", timeout=120_000)
    after = reader.told(f"/cases/{case}/analysis", result="mine")
    assert after["tumours"] != before["tumours"]
    assert [one["applied"] for one in after["corrections"]] == [True]
    assert reader.told(f"/cases/{case}/analysis") == before
    assert tab.complaints == []


def test_undo_and_redo_reach_the_server(shared: Served, case: str, visit: Callable[..., PageReader]) -> None:
    name = f"Reader of {id(visit)}"
    tab = visit(shared, name).open(case)
    other = shared.browser(name)
    tab.page.get_by_role("button", name="accept feeder").first.click()
    tab.saved()
    kinds = lambda: [edit["kind"] for edit in other.corrections(case)["edits"]]  # noqa: E731  # a question
    assert kinds() == ["accept_feeder"]
    tab.page.keyboard.press("Control+z")
    wait_for(lambda: kinds() == [], within_s=60)
    tab.saved()
    tab.page.keyboard.press("Control+Shift+z")
    wait_for(lambda: kinds() == ["accept_feeder"], within_s=60)
    tab.page.wait_for_selector(".feeder.accepted")


@only_with_webgl
def test_what_is_painted_is_what_the_edit_fills(shared: Served, case: str, visit: Callable[..., PageReader]) -> None:
    other = shared.browser("Painter")
    told = other.frames(case)
    size = told["rows"], told["columns"]
    tab = visit(shared, "Painter").open(case)
    tab.page.keyboard.press("b")
    tab.page.get_by_label("Blush of").select_option("new")
    tab.page.wait_for_selector(".pane[data-tool=brush]")
    radius = float(tab.page.get_by_label("Size of the brush").input_value())
    center = (100, 120)
    tab.page.mouse.click(*tab.at(center, rows=size[0], columns=size[1]))
    tab.page.keyboard.press("Enter")
    tab.saved()
    (edit,) = other.corrections(case)["edits"]
    assert edit["kind"] == "add_tumour"
    filled = fill_polygons(edit["polygons"], size)
    rows, cols = np.ogrid[: size[0], : size[1]]
    distance = np.hypot(rows - center[0], cols - center[1])
    # The mouse hits a pixel of the screen, not the place itself.
    assert not filled[distance > radius + 2].any()
    assert filled[distance < radius - 2].all()


@only_with_webgl
def test_one_click_adds_the_feeder_that_the_server_lays(
    shared: Served, reader: Browser, case: str, visit: Callable[..., PageReader]
) -> None:
    analysis = reader.told(f"/cases/{case}/analysis")
    line = analysis["tumours"][0]["feeders"][0]["centreline"]
    click = line[len(line) // 2]
    tab = visit(shared, "Clicker").open(case)
    tab.page.keyboard.press("c")
    tab.page.mouse.click(*tab.at(click, rows=analysis["image"]["rows"], columns=analysis["image"]["columns"]))
    tab.page.wait_for_selector(".feeder.added")
    tab.saved()
    (edit,) = shared.browser("Clicker").corrections(case)["edits"]
    assert edit["kind"] == "add_feeder"
    assert np.allclose(edit["click"], click, atol=1.5)


@only_with_webgl
def test_a_distance_is_in_millimetres_only_where_the_run_tells_them(
    shared: Served, reader: Browser, case: str, visit: Callable[..., PageReader]
) -> None:
    told = reader.frames(case)
    tab = visit(shared, "Measurer").open(case)
    tab.page.keyboard.press("m")
    size = {"rows": told["rows"], "columns": told["columns"]}
    tab.page.mouse.move(*tab.at((60, 60), **size))
    tab.page.mouse.down()
    tab.page.mouse.move(*tab.at((60, 160), **size))
    tab.page.mouse.up()
    words = tab.page.locator(".toolbar .hint").inner_text()
    if told["spacing_mm"] is None:
        assert words.endswith("px (not calibrated)")
    else:
        assert words.endswith("mm")
        assert float(words.split()[0]) == pytest.approx(100 * told["spacing_mm"][1], rel=0.03)


@only_with_webgl
def test_markup_in_names_and_notes_stays_text(shared: Served, case: str, visit: Callable[..., PageReader]) -> None:
    name = HOSTILE.replace("‮", "")[:60]
    tab = visit(shared, name).open(case)
    tab.page.get_by_label("Note", exact=True).last.fill(HOSTILE)
    tab.page.get_by_role("button", name="Add note").click()
    tab.saved()
    tab.page.reload()
    tab.page.wait_for_selector(".edits li")
    assert HOSTILE in tab.page.locator(".edits li .words").inner_text()
    assert name in tab.page.locator(".reader").inner_text()
    assert tab.page.evaluate("window.hurt") is None
    assert tab.page.locator("img[src=x], .edits script, .edits img").count() == 0
    assert tab.complaints == []


@only_with_webgl
def test_what_is_typed_is_kept_without_being_sent(shared: Served, case: str, visit: Callable[..., PageReader]) -> None:
    tab = visit(shared, "Typist").open(case)
    tab.page.get_by_label("Note", exact=True).last.type("Half a sentence")
    assert tab.page.locator("[data-save]").inner_text() == "Not saved yet"
    tab.saved()
    tab.page.reload()
    tab.page.wait_for_selector(".pane[data-overlay]")
    assert tab.page.get_by_label("Note", exact=True).last.input_value() == "Half a sentence"


@only_with_webgl
def test_a_case_edited_elsewhere_loses_neither_side(
    shared: Served, case: str, visit: Callable[..., PageReader]
) -> None:
    tab = visit(shared, "Twice").open(case)
    other = shared.browser("Twice")
    edit = {"kind": "note", "id": "elsewhere", "time": "2026-01-01T00:00:00Z", "text": "From another window."}
    assert other.edit(case, other.corrections(case)["revision"], **edit).status_code == 201
    tab.page.get_by_role("button", name="accept feeder").first.click()
    tab.page.get_by_role("button", name="Load the newer state and add my changes to it").click()
    tab.saved()
    kinds = lambda: sorted(one["kind"] for one in other.corrections(case)["edits"])  # noqa: E731  # a question
    wait_for(lambda: kinds() == ["accept_feeder", "note"], within_s=60)
    assert tab.page.locator(".edits li").count() == 2


@only_with_webgl
def test_an_edit_made_while_the_server_is_away_is_sent_later(
    shared: Served, case: str, visit: Callable[..., PageReader]
) -> None:
    tab = visit(shared, "Away").open(case)
    tab.context.set_offline(True)
    tab.page.get_by_role("button", name="reject feeder").first.click()
    tab.page.wait_for_selector("[data-save=unsaved]")
    assert tab.page.locator(".edits li").count() == 1
    tab.context.set_offline(False)
    tab.saved()
    assert [one["kind"] for one in shared.browser("Away").corrections(case)["edits"]] == ["reject_feeder"]


@only_with_webgl
def test_no_serious_barrier_for_readers_with_other_senses(
    shared: Served, case: str, visit: Callable[..., PageReader]
) -> None:
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
    tab.page.keyboard.press("?")
    tab.page.wait_for_selector("dialog.help")
    assert tab.serious_barriers() == [], "help"


@only_with_webgl
def test_a_case_that_is_not_there_is_said_to_be_missing(shared: Served, visit: Callable[..., PageReader]) -> None:
    tab = visit(shared)
    tab.page.goto(f"{shared.address}/#/case/c0000000000000000")
    tab.page.get_by_role("heading", name="This case is not among the results").wait_for()
    tab.page.get_by_role("button", name="Worklist").click()
    tab.page.wait_for_selector(".tablerow")


@only_with_webgl
def test_without_sources_the_stored_picture_and_the_reason_are_shown(
    started: Callable[..., Served], visit: Callable[..., PageReader]
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


def test_dates_are_side_by_side_on_one_slice(
    followed: tuple[Path, Path], visit: Callable[..., PageReader], painter: str
) -> None:
    with serve(followed[0], "--source", followed[1]) as served:
        (row,) = served.browser().cases(kind="follow_up")
        tab = visit(served).open(row["id"])
        panes = tab.page.locator(".pane")
        wait_for(lambda: panes.count() == 2 and panes.nth(1).get_attribute("data-shown"), within_s=60)
        box = panes.first.bounding_box()
        assert box is not None
        at = int(str(tab.page.locator("main.follow").get_attribute("data-position")))
        tab.page.mouse.move(box["x"] + 50, box["y"] + 50)
        tab.page.mouse.wheel(0, 100)
        numbers = lambda: [str(panes.nth(k).get_attribute("data-shown")).split("#")[1] for k in (0, 1)]  # noqa: E731  # a question
        wait_for(lambda: numbers() == [str(at + 1)] * 2, within_s=20)
        assert panes.first.get_attribute("data-painter") == painter
        response = json.loads((next(followed[0].glob("subjects/*/lipiodol.json"))).read_text())
        for lesion in response["lesions"]:
            assert tab.page.locator(".retention p", has_text=lesion["id"]).count() == 1
        assert tab.serious_barriers() == []
        assert tab.complaints == []


def test_the_built_page_holds_no_inline_script_and_names_its_licences() -> None:
    page = (DIST / "index.html").read_text(encoding="utf-8")
    assert "<style" not in page
    assert "style=" not in page
    assert page.count("<script") == page.count('<script type="module" crossorigin src="./assets/')
    licences = (DIST / "licenses.txt").read_text(encoding="utf-8")
    for package in ("@cornerstonejs/core", "@kitware/vtk.js", "uplot"):
        assert f"{package} " in licences
    assert "GPL" not in licences
