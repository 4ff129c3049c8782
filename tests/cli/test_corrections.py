"""A reader corrects a result, and the next analysis holds the corrections in everything that it writes."""

from __future__ import annotations

import csv
import json
import subprocess
from datetime import datetime
from pathlib import Path

import cv2
import jsonschema
import numpy as np
import pytest
from command_here import angio
from small_runs import FAST

from angio_pipeline.outputs import json_schema
from angio_pipeline.simulate.dicom.common import Case
from angio_pipeline.simulate.dicom.xa import write_xa
from angio_pipeline.simulate.radiograph.exports import ExportParams
from angio_pipeline.simulate.radiograph.projection import CArm

WHEN = datetime(2024, 3, 4, 10, 0)


@pytest.fixture
def analyse(still_scene, tmp_path: Path):
    """The still scene, analysed with any further options: what the command said, and the folder."""
    attenuation = still_scene.run.frames
    stored = np.round(4000 * np.exp(-(attenuation - attenuation.min()) / 2)).astype(np.uint16)
    write_xa(
        tmp_path / "run.dcm", Case(1, 0, WHEN), study="a", series="b", number=101, when=WHEN, frames=stored,
        times_s=still_scene.run.times_s, carm=CArm(256, 256, 0.4, 1100.0, 750.0, 0.0, 0.0),
        export=ExportParams(bits=12), mask_frames=3,
    )  # fmt: skip
    (tmp_path / "fast.toml").write_text(FAST)

    def analysed(*options: object) -> tuple[subprocess.CompletedProcess[str], Path]:
        out = tmp_path / "out"
        told = ("--out", out, "--config", tmp_path / "fast.toml", "--debug")
        return angio("run", tmp_path / "run.dcm", *told, *options), out

    return analysed


def _only(out: Path) -> tuple[dict, Path]:
    (path,) = out.rglob("analysis.json")
    return json.loads(path.read_text()), path.parent


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _edit(number: int, kind: str, **told: object) -> dict:
    return {"id": f"e{number}", "time": f"2026-11-27T08:{number:02d}:00Z", "reviewer": "Reader 7", "kind": kind, **told}


@pytest.mark.slow
def test_corrections_hold_in_everything_that_is_written(analyse, still_scene, tmp_path: Path) -> None:
    done, out = analyse()
    assert done.returncode == 0, done.stderr
    before, _ = _only(out)
    uid = before["source"]["sop_instance_uid"]
    assert cv2.imwrite(str(tmp_path / "t.png"), still_scene.tumour.astype(np.uint8) * 255)
    tumour = {"id": "L9", "point": [62.0, 64.0]}
    edits = [
        _edit(1, "add_tumour", tumour_id="L9", mask="t.png"),
        _edit(2, "add_feeder", tumour=tumour, click=[110, 99], comment="It fills first."),
        _edit(3, "move_target", tumour=tumour, to=[125, 110]),
        _edit(4, "note", text="The portal vein is open."),
        _edit(5, "reject_feeder", tumour=tumour, feeder={"point": [240.0, 240.0]}),
    ]
    frame = before["subtraction"]["reference_frame"]
    runs = {
        uid: {"reference_frame": frame, "rows": 256, "columns": 256, "edits": edits},
        "9.8.7": {"reference_frame": 0, "edits": [_edit(6, "note", text="Elsewhere.")]},
    }
    corrections = tmp_path / "corrections.json"
    corrections.write_text(json.dumps({"schema": "angio-pipeline/corrections/1", "runs": runs}))
    done, out = analyse("--corrections", corrections)
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[:2] for line in done.stderr.splitlines()] == [["angio", " corrections.json"]] * 2
    assert "e5 (reject_feeder) was not applied" in done.stderr
    assert "9.8.7" in done.stderr

    after, folder = _only(out)
    jsonschema.validate(after, json_schema("run"))
    (tumour,) = after["tumours"]
    assert (tumour["id"], tumour["origin"], tumour["corrected"], tumour["probability"]) == ("L9", "roi", "added", 1.0)
    written = cv2.imread(str(folder / tumour["mask"]), cv2.IMREAD_GRAYSCALE) > 0
    assert np.array_equal(written, still_scene.tumour)
    (feeder,) = tumour["feeders"]
    assert (feeder["probability"], feeder["evidence"]["set_by_hand"]) == (1.0, 1.0)
    assert feeder["corrected"] in ("accepted", "added")
    assert np.linalg.norm(np.array(feeder["centreline"]) - (110, 99), axis=1).min() < 3
    (target,) = tumour["targets"]
    assert target["corrected"] == "moved"
    assert np.hypot(target["row"] - 125, target["col"] - 110) < 3
    assert {"HAND_CORRECTED", "CORRECTION_NOT_APPLIED"} <= set(after["quality"])
    assert [one["applied"] for one in after["corrections"]] == [True, True, True, True, False]

    (row,) = _rows(out / "feeders.csv")
    assert (row["tumour"], row["tumour_corrected"], row["target_corrected"]) == ("L9", "added", "moved")
    assert row["corrected"] == feeder["corrected"]
    (row,) = _rows(out / "runs.csv")
    assert (row["corrections"], row["corrections_not_applied"]) == ("4", "1")
    reasons = [row["reason"] for row in _rows(out / "refused.csv")]
    assert sorted(reasons) == ["correction_not_applied", "correction_not_matched"]
    (report,) = out.rglob("report.html")
    for words in ("region added by hand", "Reader 7", "It fills first.", "The portal vein is open.", "moved by hand"):
        assert words in report.read_text()

    # What a reader said belongs to the input: told again it is nothing new, without it the first result comes back.
    done, out = analyse("--corrections", corrections, "--json")
    assert json.loads(done.stdout)["resumed"] == 1
    assert "e5 (reject_feeder)" in done.stderr
    done, out = analyse()
    assert done.stderr == ""
    assert _only(out)[0] == before


@pytest.mark.parametrize(
    ("content", "words"), [("{", "hold JSON"), ('{"schema": "angio-pipeline/run/1"}', "found angio-pipeline/run/1")]
)
def test_a_file_that_holds_no_corrections_is_a_usage_error(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "x.dcm").touch()
    (tmp_path / "c.json").write_text(content)
    done = angio("run", tmp_path / "x.dcm", "--out", tmp_path / "out", "--corrections", tmp_path / "c.json")
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("angio: --corrections: Expected")
