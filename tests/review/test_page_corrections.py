"""What a reader corrects in a real browser is what the server is told, is found again, and changes the analysis."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from page_reader import ONCE, PageReader
from review_server import Browser, Served, wait_for
from small_runs import FAST

from angio_pipeline.numerics.polygons import fill_polygons

pytestmark = pytest.mark.slow

Visit = Callable[..., PageReader]
SIZE = {"rows": 256, "columns": 256}
HOSTILE = '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>\'" & ‮'


def kinds(reader: Browser, case: str) -> list[str]:
    return [edit["kind"] for edit in reader.corrections(case)["edits"]]


def disc(center: tuple[float, float]) -> np.ndarray:
    """How far every pixel of the frame is from a place."""
    rows, cols = np.ogrid[: SIZE["rows"], : SIZE["columns"]]
    return np.hypot(rows - center[0], cols - center[1])


def test_undo_and_redo_reach_the_server(shared: Served, case: str, visit: Visit, painter: str) -> None:
    name = f"Undoer {painter}"
    tab = visit(shared, name).open(case)
    other = shared.browser(name)
    tab.page.get_by_role("button", name="accept feeder").first.click()
    tab.saved()
    assert kinds(other, case) == ["accept_feeder"]
    tab.page.keyboard.press("Control+z")
    wait_for(lambda: kinds(other, case) == [])
    tab.page.wait_for_selector(".feeder.accepted", state="detached")
    tab.saved().page.keyboard.press("Control+Shift+z")
    wait_for(lambda: kinds(other, case) == ["accept_feeder"])
    tab.page.wait_for_selector(".feeder.accepted")
    assert tab.complaints == []


@ONCE
def test_what_is_painted_is_what_the_edit_fills(shared: Served, case: str, visit: Visit) -> None:
    tab = visit(shared, "Painter").open(case)
    tab.page.keyboard.press("b")
    tab.page.get_by_label("Blush of").select_option("new")
    tab.page.wait_for_selector(".pane[data-tool=brush]")
    radius = float(tab.page.get_by_label("Size of the brush").input_value())
    tab.page.mouse.click(*tab.at((100, 120), **SIZE))
    tab.page.keyboard.press("Enter")
    tab.saved()
    (edit,) = shared.browser("Painter").corrections(case)["edits"]
    assert edit["kind"] == "add_tumour"
    filled = fill_polygons(edit["polygons"], (256, 256))
    # The mouse hits a pixel of the screen, not the place itself.
    assert not filled[disc((100, 120)) > radius + 2].any()
    assert filled[disc((100, 120)) < radius - 2].all()


@ONCE
def test_a_blush_that_is_kept_as_it_is_painted_is_that_of_the_analysis_and_then_the_readers_own(
    shared: Served, reader: Browser, case: str, visit: Visit
) -> None:
    tumour = reader.told(f"/cases/{case}/analysis")["tumours"][0]
    mask = reader.get(f"/cases/{case}/masks/{tumour['id']}").content
    tab, other = visit(shared, "Keeper").open(case), shared.browser("Keeper")

    def redrawn() -> np.ndarray:
        tab.page.get_by_role("button", name="Redraw").first.click()
        tab.page.wait_for_selector(".pane[data-tool=brush]")
        tab.page.mouse.click(*tab.at((200, 40), **SIZE))
        tab.page.keyboard.press("Enter")
        tab.page.wait_for_selector(".pane[data-tool='']")
        edit = tab.saved() and other.corrections(case)["edits"][-1]
        assert (edit["kind"], edit["tumour"]["id"]) == ("redraw_tumour", tumour["id"])
        return fill_polygons(edit["polygons"], (256, 256))

    before = cv2.imdecode(np.frombuffer(mask, np.uint8), cv2.IMREAD_GRAYSCALE) > 0
    first = redrawn()
    away = disc((200, 40)) > 30
    assert np.array_equal(first[away], before[away])
    assert first[200, 40]
    assert np.array_equal(redrawn()[away], first[away])


@ONCE
def test_an_outline_has_the_corners_that_were_clicked(shared: Served, case: str, visit: Visit) -> None:
    corners = [(60, 60), (60, 120), (130, 130), (120, 50)]
    tab = visit(shared, "Outliner").open(case)
    tab.page.keyboard.press("p")
    tab.page.get_by_label("Blush of").select_option("new")
    for corner in (*corners, (200, 200)):
        tab.page.mouse.click(*tab.at(corner, **SIZE))
    tab.page.keyboard.press("Control+z")  # the last corner was one too many
    tab.page.keyboard.press("Enter")
    tab.saved()
    (edit,) = shared.browser("Outliner").corrections(case)["edits"]
    assert edit["kind"] == "add_tumour"
    (polygon,) = edit["polygons"]
    assert np.allclose(polygon, corners, atol=1.5)


@ONCE
def test_one_click_adds_the_feeder_that_the_server_lays(
    shared: Served, reader: Browser, case: str, visit: Visit
) -> None:
    analysis = reader.told(f"/cases/{case}/analysis")
    line = analysis["tumours"][0]["feeders"][0]["centreline"]
    click = line[len(line) // 2]
    tab = visit(shared, "Clicker").open(case)
    tab.page.keyboard.press("c")
    tab.page.mouse.click(*tab.at(click, **SIZE))
    tab.page.wait_for_selector(".feeder.added")
    tab.saved()
    (edit,) = shared.browser("Clicker").corrections(case)["edits"]
    assert edit["kind"] == "add_feeder"
    assert np.allclose(edit["click"], click, atol=1.5)


@ONCE
def test_a_target_is_moved_from_where_the_analysis_had_it_also_a_second_time(
    shared: Served, reader: Browser, case: str, visit: Visit
) -> None:
    tumour = reader.told(f"/cases/{case}/analysis")["tumours"][0]
    target = tumour["targets"][0]
    origin = (target["row"], target["col"])
    tab, other = visit(shared, "Mover").open(case), shared.browser("Mover")
    tab.page.keyboard.press("t")
    tab.page.wait_for_selector(".pane[data-tool=target]")
    at = origin
    for to in ((200.0, 60.0), (210.0, 180.0)):
        tab.drag(tab.at(at, **SIZE), tab.at(to, **SIZE))
        wait_for(lambda to=to: any(np.allclose(one["to"], to, atol=1.5) for one in other.corrections(case)["edits"]))
        at = to
    tab.saved()
    edits = other.corrections(case)["edits"]
    assert [(one["kind"], one["tumour"]["id"]) for one in edits] == [("move_target", tumour["id"])] * 2
    assert all(np.allclose(one["origin"], origin, atol=0.01) for one in edits)
    assert tab.complaints == []


@ONCE
def test_phases_that_are_set_are_sent_and_found_again(shared: Served, reader: Browser, case: str, visit: Visit) -> None:
    tab = visit(shared, "Phaser").open(case)
    tab.page.get_by_text("Phases", exact=True).click()

    def field(name: str, which: str) -> Any:
        return tab.page.get_by_label(f"{name}, {which} frame", exact=True)

    field("Arterial", "first").fill("4")
    tab.page.keyboard.press("Tab")
    tab.page.get_by_role("button", name="Now: last frame of Arterial").click()
    reference = reader.frames(case)["reference_frame"]
    for which in ("first", "last"):
        field("Venous", which).fill("")
    tab.page.get_by_role("button", name="Set phases").click()
    tab.saved()
    (edit,) = shared.browser("Phaser").corrections(case)["edits"]
    assert edit["kind"] == "set_phase"
    assert edit["arterial"] == [3, reference]
    assert "venous" in edit["not_seen"]
    tab.page.reload()
    tab.opened().page.get_by_text("Phases", exact=True).click()
    assert field("Arterial", "first").input_value() == "4"
    assert field("Arterial", "last").input_value() == str(reference + 1)
    assert field("Venous", "first").input_value() == ""
    assert tab.page.locator(".phasepart.venous").count() == 0


@ONCE
def test_markup_in_names_and_notes_stays_text(shared: Served, case: str, visit: Visit) -> None:
    name = HOSTILE.replace("‮", "")[:60]
    tab = visit(shared, name).open(case)
    tab.page.get_by_label("Note", exact=True).last.fill(HOSTILE)
    tab.page.get_by_role("button", name="Add note").click()
    tab.saved()
    tab.page.reload()
    tab.page.wait_for_selector(".edits li")
    assert HOSTILE in tab.page.locator(".edits li .words").inner_text()
    assert name in tab.page.locator(".reader").inner_text()
    tab.opened().page.get_by_role("button", name="Journal").click()
    tab.page.locator("dialog.audit td", has_text="onerror").first.wait_for()
    assert tab.page.evaluate("window.hurt") is None
    assert tab.page.locator("img[src=x], .edits script, .edits img, dialog img").count() == 0
    assert tab.complaints == []


@ONCE
def test_what_is_typed_is_kept_without_being_sent(shared: Served, case: str, visit: Visit) -> None:
    tab = visit(shared, "Typist").open(case)
    tab.page.get_by_label("Note", exact=True).last.press_sequentially("Half a sentence")
    other = shared.browser("Typist")
    wait_for(lambda: other.corrections(case)["draft"] == "Half a sentence")
    tab.saved()
    tab.page.reload()
    tab.opened()
    assert tab.page.get_by_label("Note", exact=True).last.input_value() == "Half a sentence"


@ONCE
def test_a_case_edited_elsewhere_loses_neither_side(shared: Served, case: str, visit: Visit) -> None:
    tab = visit(shared, "Twice").open(case)
    other = shared.browser("Twice")
    edit = {"kind": "note", "id": "elsewhere", "time": "2026-01-01T00:00:00Z", "text": "From another window."}
    assert other.edit(case, other.corrections(case)["revision"], **edit).status_code == 201
    tab.page.get_by_role("button", name="accept feeder").first.click()
    tab.page.get_by_role("button", name="Load the newer state and add my changes to it").click()
    wait_for(lambda: sorted(kinds(other, case)) == ["accept_feeder", "note"])
    tab.saved()
    assert tab.page.locator(".edits li").count() == 2


@ONCE
def test_an_edit_made_while_the_server_is_away_is_sent_later(shared: Served, case: str, visit: Visit) -> None:
    tab = visit(shared, "Away").open(case)
    tab.context.set_offline(True)
    tab.page.get_by_role("button", name="reject feeder").first.click()
    tab.page.wait_for_selector("[data-save=unsaved]")
    assert tab.page.locator(".edits li").count() == 1
    tab.context.set_offline(False)
    tab.saved()
    assert kinds(shared.browser("Away"), case) == ["reject_feeder"]


@ONCE
def test_the_journal_tells_who_when_before_and_after(shared: Served, case: str, visit: Visit) -> None:
    tab = visit(shared, "Chronicler").open(case)
    tab.page.get_by_role("button", name="reject feeder").first.click()
    tab.saved()
    tab.page.get_by_role("button", name="Undo").click()
    wait_for(lambda: kinds(shared.browser("Chronicler"), case) == [])
    tab.saved().page.get_by_role("button", name="Journal").click()
    tab.page.wait_for_selector("dialog.audit tbody tr")
    rows = [row.locator("td").all_inner_texts() for row in tab.page.locator("dialog.audit tbody tr").all()]
    (undone, done) = rows
    assert (done[1], done[2], done[3]) == ("Chronicler", "Changed", "–")
    assert done[4].startswith("Feeder ")
    assert "rejected" in done[4]
    assert (undone[2], undone[3], undone[4]) == ("Undid", done[4], "–")
    assert done[0] <= undone[0]


@ONCE
def test_readers_see_each_other_only_when_the_owner_unblinds_them(
    shared: Served, case: str, started: Callable[..., Served], visit: Visit
) -> None:
    blinded = visit(shared, "Blinded").open(case)
    blinded.page.get_by_role("button", name="Journal").wait_for()
    assert blinded.page.get_by_role("button", name="All readers").count() == 0
    served = started("--unblind")
    one, two = served.browser("Reader 1"), served.browser("Reader 2")
    (row,) = one.cases()
    note = {"kind": "note", "time": "2026-01-01T00:00:00Z"}
    one.edit(row["id"], 0, **note, id="a", text="Seen by the first.")
    two.edit(row["id"], 0, **note, id="b", text="Seen by the second.")
    tab = visit(served, "Reader 1")
    tab.page.goto(f"{served.address}/#/case/{row['id']}")
    tab.page.get_by_role("button", name="All readers").click()
    for name, word in (("Reader 1", "first"), ("Reader 2", "second")):
        said = tab.page.locator(f"dialog.readers [data-reader='{name}']")
        said.get_by_text(f"Note: Seen by the {word}.").wait_for()
        assert said.locator("li").count() == 1


@ONCE
def test_a_correction_is_found_again_and_gives_the_command_the_analysis_that_the_page_shows(
    started: Callable[..., Served], copied: Any, visit: Visit, tmp_path: Path
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
    assert kinds(reader, case) == ["reject_feeder"]
    tab.opened().page.get_by_role("button", name="Analyse again with my changes").click()
    tab.page.wait_for_selector("main.run[data-result=mine] .pane[data-overlay=mine]")
    after = reader.told(f"/cases/{case}/analysis", result="mine")
    assert after["tumours"] != before["tumours"]
    assert [one["applied"] for one in after["corrections"]] == [True]
    assert reader.told(f"/cases/{case}/analysis") == before
    assert tab.complaints == []

    tab.page.get_by_text("About this result").click()
    with tab.page.expect_download() as taken:
        tab.page.get_by_role("link", name="My corrections of all cases").click()
    taken.value.save_as(tmp_path / "corrections.zip")
    with zipfile.ZipFile(tmp_path / "corrections.zip") as archive:
        archive.extractall(tmp_path / "taken")
    tab.page.goto("about:blank")
    served.stop()
    (tmp_path / "fast.toml").write_text(FAST)
    command = [sys.executable, "-m", "angio_pipeline", "run", copied.source, "--out", copied.out, "--workers", "1"]
    command += ["--config", tmp_path / "fast.toml", "--corrections", tmp_path / "taken" / "corrections.json"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads((copied.run / "analysis.json").read_text()) == after
