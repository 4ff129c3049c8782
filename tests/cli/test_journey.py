"""A new user's way through the program: analyse, look, correct, go on from the correction, compare patients."""

from __future__ import annotations

import csv
import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import command_here
import pytest
from review_server import Browser, make_edit, serve

pytestmark = pytest.mark.slow


def angio(*words: object) -> str:
    done = command_here.angio(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def out(sample_results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the first command of the README leaves."""
    return Path(shutil.copytree(sample_results, tmp_path_factory.mktemp("journey") / "out"))


@pytest.fixture(scope="module")
def reader(out: Path, sample: Path) -> Iterator[Browser]:
    """A reader of these results, whose sources are at hand."""
    with serve(out, "--source", sample) as served:
        yield served.browser("Reader 1")


@pytest.fixture(scope="module")
def run(reader: Browser) -> tuple[str, dict[str, Any]]:
    """The first run with a feeder: its case, and what was measured on it."""
    for case in sorted(reader.cases(kind="run"), key=lambda row: (row["date"], row["label"])):
        document = reader.told(f"/cases/{case['id']}/analysis")
        if document["tumours"] and document["tumours"][0]["feeders"]:
            return case["id"], document
    raise AssertionError("no run of the sample has a feeder")


@pytest.fixture(scope="module")
def corrected(reader: Browser, run: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """The run analysed again, after the reader rejected the likeliest feeder of its first tumour."""
    case, document = run
    tumour = document["tumours"][0]
    feeder = tumour["feeders"][0]
    where = {"tumour": {"id": tumour["id"]}, "feeder": {"id": feeder["id"], "branch_start": feeder["branch_start"]}}
    assert reader.edit(case, 0, **make_edit(1, "reject_feeder", **where)).status_code == 201
    reader.frames(case)  # by then the sources were found
    assert reader.analysed_again(case)["state"] == "done"
    told: dict[str, Any] = reader.told(f"/cases/{case}/analysis", result="mine")
    return told


def _starts(document: dict[str, Any]) -> list[list[float]]:
    return [feeder["branch_start"] for tumour in document["tumours"] for feeder in tumour["feeders"]]


def test_a_feeder_that_was_rejected_in_the_browser_is_gone(run: tuple[str, dict[str, Any]], corrected: Any) -> None:
    _, before = run
    rejected = before["tumours"][0]["feeders"][0]["branch_start"]
    assert rejected in _starts(before)
    assert rejected not in _starts(corrected)
    assert [(one["kind"], one["applied"]) for one in corrected["corrections"]] == [("reject_feeder", True)]


def test_exported_corrections_make_the_command_say_what_the_page_says(
    reader: Browser, run: tuple[str, dict[str, Any]], corrected: Any, out: Path, sample: Path, tmp_path: Path
) -> None:
    archive = reader.get("/export/corrections.zip")
    assert archive.status_code == 200
    with zipfile.ZipFile(io.BytesIO(archive.content)) as members:
        members.extractall(tmp_path)
    again = json.loads(
        angio("run", sample, "--out", out, "--corrections", tmp_path / "corrections.json", "--json", "--quiet")
    )
    assert again["resumed"] > 0, "what no correction touches is not done again"
    uid = run[1]["source"]["sop_instance_uid"]
    documents = [json.loads(path.read_text()) for path in out.glob("subjects/*/*/*/analysis.json")]
    (written,) = [one for one in documents if one["source"]["sop_instance_uid"] == uid]
    assert written == corrected


def test_the_patient_ends_in_a_cohort_with_what_was_given(out: Path, sample: Path, tmp_path: Path, reader: Any) -> None:
    tables = tmp_path / "tables"
    angio("cohort", out, "--records", sample / "truth" / "records.csv", "--by", "regimen", "--out", tables)
    assert (tables / "cohort.html").stat().st_size > 20_000
    with (tables / "cohort.csv").open(encoding="utf-8", newline="") as stream:
        (patient,) = csv.DictReader(stream)
    assert patient["procedure"] == "cTACE"
