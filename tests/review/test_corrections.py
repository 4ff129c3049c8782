"""What readers say is kept as they said it, each for themselves, and changes the analysis as it is told."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import zipfile
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from command_here import angio
from review_server import Browser, Served, make_edit
from small_runs import FAST

from angio_pipeline.core.corrections import CorrectionsDocument
from angio_pipeline.review.journal import Journal

TUMOUR = {"id": "L1", "point": [62.0, 64.0]}


def only(reader: Browser) -> str:
    (row,) = reader.cases()
    return str(row["id"])


@pytest.mark.slow
def test_undo_and_redo_are_steps_of_their_own(shared: Served) -> None:
    reader = shared.browser("Undoer")
    case = only(reader)
    for number in (1, 2):
        assert reader.edit(case, number - 1, **make_edit(number)).status_code == 201
    undone = reader.send("POST", f"/cases/{case}/undo", on=2).json()
    assert ([one["id"] for one in undone["edits"]], undone["revision"], undone["can_redo"]) == (["e1"], 3, True)
    again = reader.send("POST", f"/cases/{case}/redo", on=3).json()
    assert [one["id"] for one in again["edits"]] == ["e1", "e2"]
    removed = reader.send("DELETE", f"/cases/{case}/edits/e1", on=4).json()
    assert [one["id"] for one in removed["edits"]] == ["e2"]
    back = reader.send("POST", f"/cases/{case}/undo", on=5).json()
    assert {one["id"] for one in back["edits"]} == {"e1", "e2"}
    actions = [one["action"] for one in reader.told(f"/cases/{case}/audit")["events"]]
    assert actions == ["edit", "edit", "undo", "redo", "remove", "undo"]


def test_an_edit_holds_the_reader_and_the_time_of_the_server(shared: Served) -> None:
    reader = shared.browser("Reader 7")
    case = only(reader)
    told = reader.edit(case, 0, **make_edit(1, reviewer="Somebody else")).json()["edits"][0]
    assert told["reviewer"] == "Reader 7"
    assert told["time"] > "2026-11-27T08:00:01"


def test_an_edit_that_is_sent_twice_counts_once(shared: Served) -> None:
    reader = shared.browser("Twice")
    case = only(reader)
    assert reader.edit(case, 0, **make_edit(1)).json()["revision"] == 1
    assert reader.edit(case, 0, **make_edit(1)).json()["revision"] == 1
    assert reader.edit(case, 1, **make_edit(1, text="Another.")).status_code == 422


def test_two_windows_on_one_case_end_in_a_conflict_and_lose_nothing(shared: Served) -> None:
    one, other = shared.browser("Two windows"), shared.browser("Two windows")
    case = only(one)
    assert one.edit(case, 0, **make_edit(1)).status_code == 201
    refused = other.edit(case, 0, **make_edit(2))
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert other.edit(case, other.corrections(case)["revision"], **make_edit(2)).status_code == 201
    assert [edit["id"] for edit in one.corrections(case)["edits"]] == ["e1", "e2"]
    assert other.send("POST", f"/cases/{case}/edits", json={"edit": make_edit(3)}).status_code == 428


def test_of_many_edits_on_one_revision_one_is_taken(shared: Served) -> None:
    browsers = [shared.browser("Six windows") for _ in range(6)]
    case = only(browsers[0])
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda k: browsers[k].edit(case, 0, **make_edit(k + 1)).status_code, range(6)))
    assert sorted(answers) == [201, 409, 409, 409, 409, 409]
    assert len(browsers[0].corrections(case)["edits"]) == 1


@pytest.mark.slow
def test_no_reader_sees_another_until_the_owner_unblinds_them(started, copied) -> None:
    served = started()
    first, second = served.browser("Reader 1"), served.browser("Reader 2")
    case = only(first)
    first.edit(case, 0, **make_edit(1, text="Secret of reader 1."))
    first.send("PUT", f"/cases/{case}/state", on=1, json={"state": "done"})
    assert second.corrections(case)["edits"] == []
    assert second.cases()[0]["state"] == "new"
    assert second.told(f"/cases/{case}/audit")["events"] == []
    assert second.get(f"/cases/{case}/readers").json()["code"] == "blinded"
    for path in ("/export/edits.csv", "/worklist/facets", f"/cases/{case}", "/export/corrections.zip"):
        assert b"Secret" not in second.get(path).content
    served.stop()
    seen = started("--unblind").browser("Reader 2").told(f"/cases/{case}/readers")["readers"]
    assert [one["edits"][0]["text"] for one in seen if one["edits"]] == ["Secret of reader 1."]


@pytest.mark.slow
def test_a_killed_server_has_lost_nothing_that_it_acknowledged(started) -> None:
    served = started()
    reader = served.browser()
    case = only(reader)
    taken = [number for number in range(1, 31) if reader.edit(case, number - 1, **make_edit(number)).status_code == 201]
    reader.send("PUT", f"/cases/{case}/draft", json={"text": "Half a sentence"})
    served.kill()
    told = started().browser().corrections(case)
    assert [one["id"] for one in told["edits"]] == [f"e{number}" for number in taken] == [f"e{n}" for n in range(1, 31)]
    assert told["draft"] == "Half a sentence"


@pytest.mark.slow
def test_of_twenty_readers_at_once_none_loses_a_correction(started) -> None:
    served = started()
    browsers = [served.browser(f"Reader {k}") for k in range(20)]
    case = only(browsers[0])

    def read(browser: Browser) -> list[int]:
        return [browser.edit(case, on, **make_edit(on)).status_code for on in range(10)]

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(read, browsers))
    assert answers == [[201] * 10] * 20
    served.kill()
    again = started()
    for k in range(20):
        edits = again.browser(f"Reader {k}").corrections(case)["edits"]
        assert [(one["id"], one["reviewer"]) for one in edits] == [(f"e{n}", f"Reader {k}") for n in range(10)]


@pytest.mark.slow
def test_the_journal_only_grows_and_shows_when_it_was_changed_behind_its_back(started, copied) -> None:
    served = started()
    reader = served.browser()
    case = only(reader)
    for number in (1, 2, 3):
        reader.edit(case, number - 1, **make_edit(number))
    served.stop()
    path = copied.out / "review" / "review.sqlite"
    database = sqlite3.connect(path, isolation_level=None)
    for order in (
        "UPDATE events SET reader = 'x'",
        "DELETE FROM events",
        "REPLACE INTO events SELECT seq, at, 'x', case_id, revision, action, before, after, hash FROM events",
    ):
        database.execute("PRAGMA recursive_triggers = ON")
        with pytest.raises(sqlite3.DatabaseError, match="only grows"):
            database.execute(order)
    journal = Journal(path)
    assert journal.first_broken() is None
    database.execute("DROP TRIGGER events_stay")
    row = database.execute("SELECT MAX(seq) FROM events WHERE action = 'edit'").fetchone()[0]
    database.execute("UPDATE events SET reader = 'x' WHERE seq = ?", (row,))
    database.close()
    assert journal.first_broken() == row
    journal.close()


def test_the_journal_says_who_when_before_and_after(shared: Served) -> None:
    reader = shared.browser("Judge")
    case = only(reader)
    reader.edit(case, 0, **make_edit(1))
    reader.send("POST", f"/cases/{case}/undo", on=1)
    reader.send("PUT", f"/cases/{case}/state", on=2, json={"state": "done"})
    edit, undo, state = reader.told(f"/cases/{case}/audit")["events"]
    assert (edit["before"], edit["after"]["text"]) == (None, "Note 1.")
    assert (undo["before"]["text"], undo["after"]) == ("Note 1.", None)
    assert (state["before"], state["after"]) == ("in_progress", "done")
    assert {one["reader"] for one in (edit, undo, state)} == {"Judge"}
    assert edit["at"] < undo["at"] < state["at"]


def test_a_painted_mask_goes_along_and_another_size_is_refused(shared: Served) -> None:
    reader = shared.browser("Painter")
    case = only(reader)

    def send(mask: np.ndarray) -> object:
        content = cv2.imencode(".png", mask)[1].tobytes()
        return reader.send("POST", f"/cases/{case}/drawn-masks", content=content, headers={"Content-Type": "image/png"})

    mask = np.zeros((256, 256), np.uint8)
    mask[50:70, 50:80] = 255
    name = send(mask).json()["mask"]
    assert reader.edit(case, 0, **make_edit(1, "redraw_tumour", tumour=TUMOUR, mask=name)).status_code == 201
    path = f"/cases/{case}/drawn-masks/{name}"
    assert np.array_equal(cv2.imdecode(np.frombuffer(reader.get(path).content, np.uint8), 0), mask)
    assert shared.browser("Reader 2").get(path).status_code == 404
    small = send(mask[:100]).json()["mask"]
    assert reader.edit(case, 1, **make_edit(2, "redraw_tumour", tumour=TUMOUR, mask=small)).status_code == 422
    assert reader.edit(case, 1, **make_edit(2, "redraw_tumour", tumour=TUMOUR, mask="m-0.png")).status_code == 422
    assert send(np.full((256, 256), 99, np.uint8)).status_code == 422
    with zipfile.ZipFile(io.BytesIO(reader.get("/export/corrections.zip").content)) as archive:
        assert sorted(archive.namelist()) == sorted(["corrections.json", name])
        assert np.array_equal(cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), 0), mask)


def test_the_exported_table_starts_no_formula(shared: Served) -> None:
    reader = shared.browser("Formula")
    reader.edit(only(reader), 0, **make_edit(1, text="=HYPERLINK(1)"))
    rows = list(csv.DictReader(io.StringIO(reader.get("/export/edits.csv").text)))
    assert [(row["action"], row["comment"]) for row in rows] == [("edit", "'=HYPERLINK(1)")]


def test_an_edit_of_a_follow_up_is_refused_for_a_run(shared: Served) -> None:
    reader = shared.browser("Reader 10")
    planes = [{"z": 1, "polygons": [[[1, 1], [1, 5], [5, 5]]]}]
    assert reader.edit(only(reader), 0, **make_edit(1, "redraw_lesion", lesion="L1", planes=planes)).status_code == 422


@pytest.mark.slow
def test_corrections_change_the_readers_own_analysis_and_export_for_the_command(started, copied, tmp_path) -> None:
    served = started("--source", copied.source)
    reader = served.browser("Reader 7")
    case = only(reader)
    before = reader.told(f"/cases/{case}/analysis")
    feeder = before["tumours"][0]["feeders"][0]
    place = {"id": feeder["id"], "point": [110.0, 99.0]}
    reader.edit(case, 0, **make_edit(1, "reject_feeder", tumour=TUMOUR, feeder=place))
    reader.edit(case, 1, **make_edit(2, "set_phase", venous=[17, 19]))
    reader.edit(case, 2, **make_edit(3, "reject_feeder", tumour=TUMOUR, feeder={"point": [240.0, 240.0]}))
    reader.told(f"/cases/{case}/frames")  # the source is looked for meanwhile
    while not reader.told(f"/cases/{case}")["source"]["available"]:
        pass
    job = reader.analysed_again(case)
    assert job["state"] == "done", job
    assert (job["done"], job["revision"]) == (job["total"], 3)
    assert len(job["not_applied"]) == 1
    assert "e3 (reject_feeder)" in job["not_applied"][0]

    after = reader.told(f"/cases/{case}/analysis", result="mine")
    assert before["tumours"][0]["feeders"] != []
    assert after["tumours"][0]["feeders"] == []
    assert after["phases"]["venous"] == [17, 19]
    assert [one["applied"] for one in after["corrections"]] == [True, True, False]
    assert {one["reviewer"] for one in after["corrections"]} == {"Reader 7"}
    assert reader.told(f"/cases/{case}")["results"] == ["original", "mine"]
    # What is under review stays as it was, and is what another reader sees.
    other = served.browser("Reader 8")
    assert other.told(f"/cases/{case}/analysis") == before
    assert other.told(f"/cases/{case}")["results"] == ["original"]
    assert other.get(f"/cases/{case}/analysis", result="mine").status_code == 404
    assert other.get(f"/jobs/{job['id']}").status_code == 404

    with zipfile.ZipFile(io.BytesIO(reader.get("/export/corrections.zip").content)) as archive:
        archive.extractall(tmp_path / "taken")
    path = tmp_path / "taken" / "corrections.json"
    CorrectionsDocument.model_validate(json.loads(path.read_text()))
    served.stop()
    (tmp_path / "fast.toml").write_text(FAST)
    words = ("--config", tmp_path / "fast.toml", "--corrections", path, "--workers", "1", "--quiet")
    done = angio("run", copied.source, "--out", copied.out, *words)
    assert done.returncode == 0, done.stderr
    assert json.loads((copied.run / "analysis.json").read_text()) == after
