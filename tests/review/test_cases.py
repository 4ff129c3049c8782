"""What the server tells of a run is what was written, and what was measured on its frames."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from review_server import Browser, wait_for


def picture(content: bytes) -> np.ndarray:
    found = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert found is not None
    return found


def raw(reader: Browser, path: str, **query: object) -> np.ndarray:
    answer = reader.get(path, raw=True, **query)
    assert answer.status_code == 200, answer.text
    told = {name: float(answer.headers[f"X-{name}"]) for name in ("Rows", "Columns", "Slope", "Intercept")}
    stored = np.frombuffer(answer.content, "<u2").reshape(int(told["Rows"]), int(told["Columns"]))
    return stored * told["Slope"] + told["Intercept"]


@pytest.mark.slow
def test_the_worklist_tells_what_the_analysis_says(reader: Browser, results) -> None:
    document = json.loads((results.run / "analysis.json").read_text())
    (row,) = reader.cases()
    assert (row["subject"], row["date"], row["kind"]) == (results.run.parents[1].name, results.run.parent.name, "run")
    assert row["findings"] == len(document["tumours"]) == 1
    assert sorted(row["flags"]) == sorted(document["quality"])
    assert (row["state"], row["edits"], row["analysed"], row["thumbnail"]) == ("new", 0, True, True)


@pytest.mark.parametrize("name", ["analysis", "graph", "curves"])
def test_documents_come_as_they_were_written(reader: Browser, case: str, results, name: str) -> None:
    assert reader.get(f"/cases/{case}/{name}").content == (results.run / f"{name}.json").read_bytes()


def test_every_picture_and_mask_that_is_named_is_there_in_its_size(reader: Browser, case: str, results) -> None:
    told = reader.told(f"/cases/{case}")
    assert {"overlay", "thumbnail"} <= set(told["pictures"])
    for name in told["pictures"]:
        assert reader.get(f"/cases/{case}/pictures/{name}").content == (results.run / f"{name}.png").read_bytes()
    assert {"artery", "tumours", "L1", "feeders"} <= set(told["masks"])
    for name in told["masks"]:
        mask = picture(reader.get(f"/cases/{case}/masks/{name}").content)
        assert mask.shape == (256, 256)
        assert set(np.unique(mask)) == {0, 255}
    written = picture((results.run / "artery.png").read_bytes())
    assert np.array_equal(picture(reader.get(f"/cases/{case}/masks/artery").content), written)


def test_a_feeder_is_drawn_along_its_centreline(reader: Browser, case: str) -> None:
    tumour = reader.told(f"/cases/{case}/analysis")["tumours"][0]
    feeder = tumour["feeders"][0]
    mask = picture(reader.get(f"/cases/{case}/masks/{feeder['id']}").content)
    on = [mask[round(row), round(col)] > 0 for row, col in feeder["centreline"]]
    assert all(on)
    assert mask.any(axis=1).sum() < 256


def test_a_map_is_clear_where_nothing_is_known_and_true_elsewhere(reader: Browser, case: str, results) -> None:
    with np.load(results.run / "maps.npz") as maps:
        truth = maps["arrival_s"]
    answer = reader.get(f"/cases/{case}/maps/arrival_s")
    assert np.array_equal(picture(answer.content)[..., 3] > 0, np.isfinite(truth))
    values = raw(reader, f"/cases/{case}/maps/arrival_s")
    low, high = float(answer.headers["X-Low"]), float(answer.headers["X-High"])
    inside = np.isfinite(truth) & (truth > low) & (truth < high)
    assert inside.sum() > 1000
    assert np.abs(values - truth)[inside].max() < (high - low) / 60000


@pytest.mark.slow
def test_raw_frames_are_the_stored_numbers(reader: Browser, case: str, results) -> None:
    told = reader.frames(case)
    assert (told["rows"], told["columns"], told["frames"]) == (256, 256, 20)
    assert told["pose_deg"] == [10.0, -5.0]
    assert told["spacing_mm"] == reader.told(f"/cases/{case}/analysis")["image"]["spacing_mm"]
    for number in (0, 19):
        assert np.array_equal(raw(reader, f"/cases/{case}/frames/raw/{number}"), results.frames[number])


def test_a_subtracted_frame_is_its_attenuation_minus_that_of_the_mask(reader: Browser, case: str, results) -> None:
    told = reader.frames(case)
    stored = results.frames.astype(np.float64)
    # The file says LIN: attenuation is the negative logarithm, up to a constant that a difference does not see.
    attenuation = -np.log(stored + 0.5)
    expected = attenuation[8] - attenuation[told["mask_frames"]].mean(axis=0)
    shown = raw(reader, f"/cases/{case}/frames/subtracted/8")
    assert np.abs(shown - expected).max() < 0.01


def test_the_mask_moved_by_hand_goes_down_and_right(reader: Browser, case: str) -> None:
    told = reader.frames(case)
    number = told["mask_frames"][0]
    still = raw(reader, f"/cases/{case}/frames/subtracted/{number}")
    moved = raw(reader, f"/cases/{case}/frames/subtracted/{number}", shift_row=3, shift_col=-2)
    live = raw(reader, f"/cases/{case}/frames/raw/{number}")
    attenuation = -np.log(live + 0.5)
    mask = attenuation - still
    assert np.abs((attenuation - moved)[10:-10, 10:-10] - np.roll(mask, (3, -2), (0, 1))[10:-10, 10:-10]).max() < 0.01


def test_the_corrected_layer_shows_contrast_dark_in_its_window(reader: Browser, case: str, still_scene) -> None:
    told = reader.frames(case)
    shown = picture(reader.get(f"/cases/{case}/frames/corrected/{told['reference_frame']}").content)
    assert shown.shape == (256, 256)
    assert shown[still_scene.artery].mean() < shown[~still_scene.artery].mean() - 60


def test_the_curve_at_a_pixel_is_that_of_the_contrast_there(reader: Browser, case: str, still_scene) -> None:
    reader.frames(case)
    curve = reader.told(f"/cases/{case}/curve", row=200, col=128, radius=1)
    assert curve["times_s"] == pytest.approx(list(still_scene.run.times_s), abs=1e-3)
    truth = still_scene.contrast[:, 199:202, 127:130].mean(axis=(1, 2))
    values = np.array(curve["curves"][0]["values"])
    assert np.corrcoef(values, truth)[0, 1] > 0.98
    assert curve["pixels"] == 5
    over = reader.told(f"/cases/{case}/structure-curves/artery")
    assert over["pixels"] > 500
    assert reader.get(f"/cases/{case}/curve", row=300, col=10).status_code == 422


def test_a_click_on_a_vessel_shows_its_way_to_the_tumour_and_stores_nothing(reader: Browser, case: str) -> None:
    before = reader.corrections(case)["revision"]
    answer = reader.send("POST", f"/cases/{case}/snap", json={"tumour": "L1", "click": [110, 99]})
    found = answer.json()
    assert found["found"], found
    line = np.array(found["centreline"])
    assert np.linalg.norm(line - (110, 99), axis=1).min() < 3
    assert np.linalg.norm(line[-1] - (62, 64)) < 25
    away = reader.send("POST", f"/cases/{case}/snap", json={"tumour": "L1", "click": [20, 240]}).json()
    assert not away["found"]
    assert "click on a vessel" in away["sentence"]
    assert reader.corrections(case)["revision"] == before


@pytest.mark.slow
def test_without_the_source_the_stored_pictures_are_shown_and_it_is_said(started, copied) -> None:
    reader = started().browser()
    (row,) = reader.cases()
    told = reader.told(f"/cases/{row['id']}")
    assert not told["source"]["available"]
    assert "stored pictures" in told["source"]["sentence"]
    assert reader.told(f"/cases/{row['id']}/frames")["state"] == "unavailable"
    assert reader.get(f"/cases/{row['id']}/frames/raw/0").status_code == 409
    assert reader.send("POST", f"/cases/{row['id']}/reanalysis").json()["code"] == "no_source"
    assert reader.get(f"/cases/{row['id']}/pictures/overlay").status_code == 200


@pytest.mark.slow
def test_frames_that_are_asked_for_ahead_are_there_when_the_case_is_opened(started, copied) -> None:
    reader = started("--source", copied.source).browser()
    (row,) = reader.cases()
    wait_for(lambda: reader.told(f"/cases/{row['id']}")["source"]["available"])
    assert reader.told(f"/cases/{row['id']}/frames", ahead=True)["state"] == "preparing"

    def prepared() -> bool:
        told = reader.told(f"/cases/{row['id']}/frames", ahead=True)
        return told["state"] == "ready" and not told["coming"]

    wait_for(prepared)
    assert set(reader.told(f"/cases/{row['id']}/frames")["layers"]) == {"raw", "subtracted", "corrected"}


@pytest.mark.slow
def test_a_run_that_failed_is_listed_with_the_reason(started, copied) -> None:
    record = copied.run / "record.json"
    (copied.run / "analysis.json").unlink()
    record.write_text(json.dumps({"digest": None, "reason": "internal_error", "sentence": "It stopped."}))
    reader = started().browser()
    (row,) = reader.cases()
    assert (row["analysed"], row["problem"]) == (False, "It stopped.")
    assert reader.get(f"/cases/{row['id']}/analysis").json()["sentence"] == "It stopped."


@pytest.mark.slow
def test_what_is_analysed_while_the_server_runs_shows(started, copied) -> None:
    reader = started().browser()
    (row,) = reader.cases()
    path = copied.run / "analysis.json"
    document = json.loads(path.read_text())
    document["quality"] = ["MOTION_LARGE"]
    fresh = path.with_name(".tmp-x")
    fresh.write_text(json.dumps(document))
    fresh.replace(path)
    wait_for(lambda: reader.cases()[0]["flags"] == ["MOTION_LARGE"], within_s=30)
    assert reader.told(f"/cases/{row['id']}/analysis")["quality"] == ["MOTION_LARGE"]
