"""`angio deidentify` as it is called: the folder it makes, how it goes on, what it refuses, and what stays the same."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import zipfile
from collections import Counter
from pathlib import Path

import command_here
import cv2
import numpy as np
import pydicom
import pytest
from command_here import angio_apart
from dicom_objects import errors_in
from small_runs import FAST, SIZE_PX, write_small_runs

from angio_pipeline.ingest.pseudonym import read_key


def angio(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = command_here.angio(*arguments)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def source(sample: Path, tmp_path: Path) -> Path:
    """Three slices, a region drawn in space, a film, and what is no DICOM."""
    folder = tmp_path / "in"
    for part in ("day028/film-028.dcm", "day028-ct/plain/001.dcm", "day028-ct/plain/002.dcm"):
        target = folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(sample / "case-000" / "dicom" / part, target)
    shutil.copy(sample / "case-000" / "rois" / "lesions.dcm", folder)
    (folder / "letter.pdf").write_bytes(b"%PDF-1.4 to Jane")
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_copies_lie_by_pseudonym_study_and_series_and_the_rest_is_listed(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = angio("deidentify", source, "--out", out)
    assert "De-identified 4, refused 1" in done.stdout
    for path in out.rglob("*.dcm"):
        ds = pydicom.dcmread(path, stop_before_pixels=True)
        subject, study, series, name = path.relative_to(out).parts
        assert subject == ds.PatientID
        assert (study[:6], series[:7]) == ("study-", "series-")
        assert name == f"{ds.SOPInstanceUID}.dcm"
    (refused,) = rows(out / "refused.csv")
    assert refused["reason"] == "not_dicom"
    assert refused["path"].startswith("input-")
    counted = rows(out / "report.csv")
    assert {row["file"] for row in counted} == {p.relative_to(out).as_posix() for p in out.rglob("*.dcm")}
    assert ("PatientName", "replaced") in {(row["keyword"], row["action"]) for row in counted}
    assert "SIM-" not in (out / "report.html").read_text() + (out / "report.csv").read_text()


def test_a_whole_file_is_copied_whatever_stumps_of_it_lie_before_it(source: Path, tmp_path: Path) -> None:
    whole = source / "day028" / "film-028.dcm"
    content = whole.read_bytes()
    (whole.parent / "cut-header.dcm").write_bytes(content[:900])
    (whole.parent / "cut.dcm").write_bytes(content[: len(content) // 2])
    out, paths = tmp_path / "out", tmp_path / "paths.csv"
    angio("deidentify", source, "--out", out, "--paths", paths)
    told = {Path(row["path"]).name: row["became"] for row in rows(paths)}
    assert told["cut-header.dcm"] == "refused: no_pixel_data"
    assert told["cut.dcm"] == "refused: truncated"
    copy = pydicom.dcmread(out / told["film-028.dcm"])
    assert np.array_equal(copy.pixel_array, pydicom.dcmread(whole).pixel_array)


def test_the_same_command_again_does_nothing_again_and_gives_the_same_reports(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    angio("deidentify", source, "--out", out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.dcm")}
    report = (out / "report.csv").read_bytes()
    assert "4 of them there already" in angio("deidentify", source, "--out", out).stdout
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.dcm")} == before
    assert (out / "report.csv").read_bytes() == report


def test_what_was_cut_short_is_made_again_and_numbers_of_studies_stay(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    late = source / "day028" / "film-028.dcm"
    aside = tmp_path / "film.dcm"
    late.rename(aside)
    angio("deidentify", source, "--out", out)
    places = {path.relative_to(out).as_posix() for path in out.rglob("*.dcm")}
    broken = next(out.rglob("*.dcm"))
    whole = broken.read_bytes()
    broken.write_bytes(whole[:200])
    with (out / "journal.jsonl").open("a") as journal:
        journal.write('{"target": "cut sho')
    aside.rename(late)
    assert "2 of them there already" in angio("deidentify", source, "--out", out).stdout
    assert broken.read_bytes() == whole
    assert places < {path.relative_to(out).as_posix() for path in out.rglob("*.dcm")}


def test_a_folder_holds_one_kind_of_settings_and_nothing_foreign(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    angio("deidentify", source, "--out", out)
    assert "found others" in angio("deidentify", source, "--out", out, "--option", "uids", code=2).stderr
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "notes.txt").write_text("mine")
    assert "found other files" in angio("deidentify", source, "--out", foreign, code=2).stderr


def test_the_list_of_paths_is_written_on_request_for_the_user_alone(source: Path, tmp_path: Path) -> None:
    out, paths = tmp_path / "out", tmp_path / "own" / "paths.csv"
    angio("deidentify", source, "--out", out, "--paths", paths)
    told = {Path(row["path"]).name: row for row in rows(paths)}
    assert set(told) == {"film-028.dcm", "001.dcm", "002.dcm", "lesions.dcm", "letter.pdf"}
    assert told["letter.pdf"]["became"] == "refused: not_dicom"
    assert told["letter.pdf"]["input"] == rows(out / "refused.csv")[0]["path"]
    assert (out / told["film-028.dcm"]["became"]).is_file()
    assert os.name != "posix" or paths.stat().st_mode & 0o077 == 0
    assert "outside of --out" in angio("deidentify", source, "--out", out, "--paths", out / "p.csv", code=2).stderr


def test_archives_give_the_same_copies_as_folders(source: Path, tmp_path: Path) -> None:
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as bundle:
        for path in source.rglob("*.dcm"):
            bundle.write(path, path.relative_to(source))
    angio("deidentify", source, "--out", tmp_path / "a")
    angio("deidentify", archive, "--out", tmp_path / "b")
    plain, packed = ({p.relative_to(out): p.read_bytes() for p in out.rglob("*.dcm")} for out in
                     (tmp_path / "a", tmp_path / "b"))  # fmt: skip
    assert plain == packed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--option", "everything"], "modified-dates"),
        (["--accept", "everything"], "burned-in"),
        (["--option", "full-dates"], "leave one out"),
        (["--profile", "nowhere.toml"], "profile as TOML"),
    ],
)
def test_what_is_asked_for_wrongly_is_named(source: Path, tmp_path: Path, arguments: list[str], words: str) -> None:
    assert words in angio("deidentify", source, "--out", tmp_path / "out", *arguments, code=2).stderr


def test_out_and_source_are_never_within_each_other(source: Path) -> None:
    assert "outside of SOURCE" in angio("deidentify", source, "--out", source / "out", code=2).stderr
    assert "outside of SOURCE" in angio("deidentify", source, "--out", source.parent, code=2).stderr


def test_nothing_to_write_is_a_failure_with_a_list(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "letter.pdf").write_bytes(b"%PDF")
    done = angio("deidentify", folder, "--out", tmp_path / "out", code=1)
    assert "nothing could be de-identified" in done.stderr
    assert [row["reason"] for row in rows(tmp_path / "out" / "refused.csv")] == ["not_dicom"]


@pytest.mark.slow
def test_the_key_and_names_are_in_nothing_that_is_written_or_printed(source: Path, tmp_path: Path) -> None:
    film = pydicom.dcmread(source / "day028" / "film-028.dcm", stop_before_pixels=True)
    out = tmp_path / "out"
    done = angio_apart("deidentify", source, "--out", out, "--paths", tmp_path / "paths.csv")
    assert done.returncode == 0, done.stderr
    key = read_key()
    written = [path.read_bytes() for path in (*out.rglob("*"), tmp_path / "paths.csv") if path.is_file()]
    secrets = (key, key.hex().encode(), str(film.PatientName).encode(), str(film.PatientID).encode())
    for content in (*written, os.fsencode(done.stdout), os.fsencode(done.stderr)):
        assert [secret for secret in secrets if secret in content] == []


@pytest.mark.parametrize("options", [[], ["--basic"], ["--option", "uids", "--option", "device-identity"]])
def test_a_copy_breaks_no_rule_of_the_standard_that_its_source_keeps(
    source: Path, sample: Path, tmp_path: Path, options: list[str]
) -> None:
    shutil.copy(sample / "case-000" / "dicom" / "day000" / "frontal.dcm", source)
    out, paths = tmp_path / "out", tmp_path / "paths.csv"
    angio("deidentify", source, "--out", out, "--paths", paths, *options)
    became = [(Path(row["path"]), out / row["became"]) for row in rows(paths) if row["became"].endswith(".dcm")]
    assert len(became) == 5
    for before, after in became:
        assert Counter(errors_in(after)) - Counter(errors_in(before)) == Counter()


def add_geometry(run: Path) -> str:
    """Give a run what millimetres in the patient are computed from; its UID is returned."""
    ds = pydicom.dcmread(run)
    ds.ImagerPixelSpacing = [0.8, 0.8]
    ds.DistanceSourceToDetector, ds.DistanceSourceToPatient = 1000, 750
    ds.PositionerPrimaryAngle, ds.PositionerSecondaryAngle = -25, 10
    ds.save_as(run)
    return str(ds.SOPInstanceUID)


@pytest.mark.slow
def test_a_run_gives_the_same_numbers_from_its_copy(tmp_path: Path) -> None:
    (run,) = write_small_runs(tmp_path / "in", 1)
    uid = add_geometry(run)
    region = cv2.circle(np.zeros((SIZE_PX, SIZE_PX), np.uint8), (70, 30), 12, 255, -1)
    (tmp_path / "in" / "rois").mkdir()
    assert cv2.imwrite(str(tmp_path / "in" / "rois" / f"{uid}-L1.png"), region)
    (tmp_path / "fast.toml").write_text(FAST)
    angio("deidentify", run.parent, "--out", tmp_path / "shared")
    found = []
    for folder, out in ((run.parent, tmp_path / "a"), (tmp_path / "shared", tmp_path / "b")):
        angio("run", folder, "--out", out, "--debug", "--config", tmp_path / "fast.toml")
        (path,) = out.rglob("analysis.json")
        document = json.loads(path.read_text())
        del document["source"]
        found.append(document)
    assert found[0] == found[1]
    assert found[0]["image"]["spacing_plane"] == "isocentre"
    assert found[0]["image"]["spacing_mm"] == pytest.approx([0.8 * 750 / 1000] * 2)
    assert [one["id"] for one in found[0]["tumours"]] == ["L1"]
    assert rows(tmp_path / "b" / "refused.csv") == []  # the tables beside the copies are no input
