"""Every file ends up in an item or among the refusals, and no file costs another."""

from __future__ import annotations

import io
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from angio_pipeline import ingest

Look = Callable[..., ingest.Discovery]


def reasons(found: ingest.Discovery) -> dict[str, str]:
    return {Path(refusal.path).name: refusal.reason for refusal in found.refusals}


def test_bad_input_is_refused_with_one_sentence_and_its_neighbour_is_kept(dicom: Any, look: Look) -> None:
    dicom.run("good.dcm")
    (dicom.folder / "empty.dcm").write_bytes(b"")
    (dicom.folder / "notes.txt").write_text("to whom it may concern")
    (dicom.folder / "README.md").write_text("# data")
    whole = dicom.run("whole.dcm").read_bytes()
    (dicom.folder / "whole.dcm").unlink()
    (dicom.folder / "cut.dcm").write_bytes(whole[:-1000])
    (dicom.folder / "header-cut.dcm").write_bytes(whole[:420])
    (dicom.folder / "prefix.dcm").write_bytes(whole[:132])
    dicom.run("nothing.dcm", PixelData=None)
    dicom.run("huge.dcm", Rows=65535, Columns=65535)
    dicom.run("colour.dcm", SamplesPerPixel=3, PhotometricInterpretation="RGB")
    dicom.ct_slice("alone.dcm", (0, 0, 0), np.zeros((8, 8)))
    dicom.projection(np.zeros((8, 8), np.uint16), "mr.dcm", sop_class="1.2.840.10008.5.1.4.1.1.4", modality="MR")
    found = look(dicom.folder)
    assert [item.source.file for item in found.runs] == ["good.dcm"]
    assert reasons(found) == {
        "empty.dcm": "empty_file",
        "notes.txt": "not_dicom",
        "README.md": "not_dicom",
        "cut.dcm": "truncated",
        "header-cut.dcm": "no_pixel_data",
        "prefix.dcm": "unreadable",
        "nothing.dcm": "no_pixel_data",
        "huge.dcm": "too_large",
        "colour.dcm": "not_greyscale",
        "alone.dcm": "too_few_slices",
        "mr.dcm": "not_ours",
    }
    for refusal in found.refusals:
        assert re.fullmatch(r"Expected [^\n]*\.", refusal.sentence), refusal.sentence
        assert "SECRET" not in refusal.sentence
        assert "MRN" not in refusal.sentence


def test_a_text_file_given_by_itself_is_refused(tmp_path: Path, look: Look) -> None:
    path = tmp_path / "a.txt"
    path.write_text("hello")
    assert reasons(look(path)) == {"a.txt": "not_dicom"}


def test_a_source_that_is_not_there_is_refused(tmp_path: Path, look: Look) -> None:
    assert reasons(look(tmp_path / "nowhere")) == {"nowhere": "not_found"}


def test_the_sentence_for_another_modality_names_it(dicom: Any, look: Look) -> None:
    path = dicom.projection(np.zeros((8, 8), np.uint16), "a.dcm", sop_class="1.2.840.10008.5.1.4.1.1.4", modality="MR")
    assert "modality MR" in look(path).refusals[0].sentence


def test_truth_hidden_files_and_earlier_results_are_left_out(dicom: Any, look: Look) -> None:
    dicom.run("case/run.dcm")
    for name in ("truth/run.dcm", ".hidden/run.dcm", "case/.run.dcm", "OUT/subjects/P1/run.dcm", "__MACOSX/run.dcm"):
        dicom.run(name)
    (dicom.folder / "OUT" / "refused.csv").write_text("path,reason,sentence\n")
    (dicom.folder / "truth" / "plan.json").write_text("{}")
    found = look(dicom.folder)
    assert [item.source.file for item in found.runs] == ["case/run.dcm"]
    assert not found.refusals


def test_a_folder_of_a_hospital_that_happens_to_be_called_truth_is_read(dicom: Any, look: Look) -> None:
    dicom.run("truth/run.dcm")
    assert [item.source.file for item in look(dicom.folder).runs] == ["truth/run.dcm"]


def test_tables_beside_deidentified_copies_are_left_out_and_the_same_names_elsewhere_are_not(
    dicom: Any, look: Look
) -> None:
    for name in ("journal.jsonl", "state.json", "files.csv", "refused.csv", "report.csv", "report.html"):
        (dicom.folder / "shared").mkdir(exist_ok=True)
        (dicom.folder / "shared" / name).write_text("x")
    (dicom.folder / "files.csv").write_text("x")
    dicom.run("shared/P0123456789ab/run.dcm")
    found = look(dicom.folder)
    assert [item.source.file for item in found.runs] == ["shared/P0123456789ab/run.dcm"]
    assert [refusal.path for refusal in found.refusals] == [str(dicom.folder / "files.csv")]


def test_a_workspace_inside_the_source_is_left_out(dicom: Any) -> None:
    path = dicom.run("run.dcm")
    workspace = dicom.folder / "work"
    shutil.make_archive(str(dicom.folder / "all"), "zip", dicom.folder, "run.dcm")
    path.unlink()
    for _ in range(2):
        found = ingest.discover([dicom.folder], workspace=workspace)
        assert [item.source.file for item in found.runs] == ["all.zip/run.dcm"]


def test_a_file_is_found_once_through_several_sources(dicom: Any, look: Look) -> None:
    path = dicom.run()
    found = look(dicom.folder, path, dicom.folder)
    assert len(found.runs) == 1
    assert not found.refusals


def test_links_that_lead_back_end(dicom: Any, look: Look) -> None:
    dicom.run("a/run.dcm")
    (dicom.folder / "a" / "back").symlink_to(dicom.folder, target_is_directory=True)
    (dicom.folder / "broken").symlink_to(dicom.folder / "nowhere")
    found = look(dicom.folder)
    assert len(found.runs) == 1
    assert reasons(found) == {"broken": "unreadable"}


def test_copies_are_refused_and_the_first_is_used(dicom: Any, look: Look) -> None:
    path = dicom.run("a.dcm")
    (dicom.folder / "b.dcm").write_bytes(path.read_bytes())
    ds = pydicom.dcmread(path)
    ds.WindowCenter = 7
    ds.save_as(dicom.folder / "c.dcm")
    found = look(dicom.folder)
    assert [item.source.file for item in found.runs] == ["a.dcm"]
    assert reasons(found) == {"b.dcm": "duplicate", "c.dcm": "conflicting_duplicate"}


def test_a_broken_copy_does_not_displace_the_good_one(dicom: Any, look: Look) -> None:
    path = dicom.run("b.dcm")
    (dicom.folder / "a.dcm").write_bytes(path.read_bytes()[:-500])
    found = look(dicom.folder)
    assert [item.source.file for item in found.runs] == ["b.dcm"]
    assert reasons(found) == {"a.dcm": "truncated"}


def test_roles(dicom: Any, look: Look) -> None:
    dicom.run("run.dcm")
    dicom.film("film.dcm")
    dicom.film("dx.dcm", modality="DX", sop_class="1.2.840.10008.5.1.4.1.1.1.1")
    dicom.film("captured.dcm", sop_class="1.2.840.10008.5.1.4.1.1.7")
    dicom.ct_series([0, 1, 2])
    found = look(dicom.folder)
    counts = len(found.runs), len(found.films), len(found.volumes)
    assert counts == (1, 3, 1)
    assert found.runs[0].shape == (4, 32, 48)
    assert found.volumes[0].shape == (3, 8, 9)
    assert len(found.volumes[0].paths) == 3


def test_items_cross_to_another_process(dicom: Any, look: Look) -> None:
    dicom.run()
    found = look(dicom.folder)
    copied = pickle.loads(pickle.dumps(found))
    assert copied == found
    assert ingest.read_run(copied.runs[0]).shape == (4, 32, 48)


def test_discovery_does_not_depend_on_the_order_of_creation(dicom: Any, look: Look, tmp_path: Path) -> None:
    for name in ("c.dcm", "a.dcm", "b.dcm"):
        dicom.run(name)
    names = [item.source.file for item in look(dicom.folder).runs]
    assert names == sorted(names)


def test_the_digest_follows_the_content(dicom: Any, look: Look) -> None:
    path = dicom.run()
    first = ingest.digest(look(path).runs[0])
    assert re.fullmatch("[0-9a-f]{64}", first)
    assert ingest.digest(look(path).runs[0]) == first
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert ingest.digest(look(path).runs[0]) != first


def test_one_patient_is_one_subject_and_two_are_two(dicom: Any, look: Look) -> None:
    dicom.run("a.dcm", PatientID="1")
    dicom.run("b.dcm", PatientID="1", StudyInstanceUID="1.2.3")
    dicom.run("c.dcm", PatientID="2")
    dicom.run("d.dcm", PatientID="1", IssuerOfPatientID="ELSEWHERE")
    subject = {item.source.file[0]: item.source.subject for item in look(dicom.folder).runs}
    assert subject["a"] == subject["b"]
    assert len(set(subject.values())) == 3


def test_patients_without_a_number_are_not_merged(dicom: Any, look: Look) -> None:
    for index in range(2):
        dicom.run(f"{index}.dcm", PatientID="", StudyInstanceUID=f"1.2.{index}")
    assert len({item.source.subject for item in look(dicom.folder).runs}) == 2


def test_series_folders_are_safe_distinct_and_stable(dicom: Any, look: Look) -> None:
    for index in range(3):
        dicom.run(f"{index}.dcm", SeriesDescription="../../etc", SeriesNumber=7, InstanceNumber=12)
    items = look(dicom.folder).runs
    names = [ingest.series_folder(item.source) for item in items]
    assert len(set(names)) == 3
    for name in names:
        assert re.fullmatch(r"S007-I0012-[0-9a-f]{8}", name)
    assert names == [ingest.series_folder(item.source) for item in look(dicom.folder).runs]


def test_a_broken_date_falls_through_to_the_next(dicom: Any, look: Look) -> None:
    dicom.run("a.dcm", AcquisitionDate="20261399", SeriesDate="", StudyDate="20250607")
    dicom.run("b.dcm", StudyDate=None)
    dates = {item.source.file: item.source.date for item in look(dicom.folder).runs}
    assert dates == {"a.dcm": "20250607", "b.dcm": "undated"}


@pytest.mark.slow
def test_a_dicomdir_set_is_read_by_its_folder_and_by_its_file(disc: Path, look: Look) -> None:
    for source in (disc, disc / "DICOMDIR"):
        found = look(source)
        assert len(found.runs) == 2
        assert not found.refusals


@pytest.mark.slow
def test_what_a_dicomdir_lists_and_the_disc_lacks_is_refused(disc: Path, look: Look) -> None:
    image = sorted(path for path in disc.rglob("*") if path.is_file() and path.name != "DICOMDIR")[0]
    image.unlink()
    for source in (disc, disc / "DICOMDIR"):
        found = look(source)
        assert len(found.runs) == 1
        assert [refusal.reason for refusal in found.refusals] == ["missing_from_set"]


@pytest.mark.slow
def test_a_disc_in_lower_case_is_found(disc: Path, tmp_path: Path, look: Look) -> None:
    lower = tmp_path / "lower"
    for path in disc.rglob("*"):
        if path.is_file():
            name = path.relative_to(disc).as_posix()
            target = lower / (name if name == "DICOMDIR" else name.lower())
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    found = look(lower)
    assert len(found.runs) == 2
    assert not found.refusals


def test_private_sequences_and_odd_values_do_not_stop_the_scan(dicom: Any, look: Look) -> None:
    path = dicom.run(InstanceNumber=None)
    ds = pydicom.dcmread(path)
    inner = Dataset()
    inner.add_new(0x00091001, "LO", "x")
    ds.add_new(0x00090010, "LO", "PRIVATE")
    ds.add_new(0x00091010, "SQ", [inner])
    buffer = io.BytesIO()
    ds.save_as(buffer)
    path.write_bytes(buffer.getvalue().replace(b"20260102", b"2026-1-2"))
    (item,) = look(path).runs
    assert item.source.date == "undated"
    assert ingest.read_run(item).shape == (4, 32, 48)
