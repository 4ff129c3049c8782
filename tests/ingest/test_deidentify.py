"""What leaves a file by `angio deidentify`, element by element; the tables judged by the dictionary of the standard."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.config import disable_value_validation
from pydicom.datadict import dictionary_has_tag, keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID

from angio_pipeline.assets import configs_dir
from angio_pipeline.core.errors import ConfigError
from angio_pipeline.ingest.deidentification import Keyed, Option, deidentify, find_tasks, read_profile
from angio_pipeline.ingest.deidentification.text import clean_text
from angio_pipeline.ingest.pseudonym import pseudonym, read_key

Clean = Callable[..., Dataset]
TABLE = list(csv.DictReader((configs_dir() / "deidentify" / "elements.csv").read_text(encoding="utf-8").splitlines()))


@pytest.fixture
def clean(tmp_path: Path) -> Clean:
    """De-identify one file and read it again; options beside those of the profile, or `basic` ones alone."""

    def cleaned(
        path: Path, *extra: Option, basic: bool = False, key: bytes | None = None, profile: Path | None = None
    ) -> Dataset:
        chosen = read_profile(profile, options=() if basic else None, extra=extra)
        keyed = Keyed(key or read_key(), chosen.weeks)
        tasks, refusals, _ = find_tasks([path], chosen, keyed=keyed, workspace=tmp_path / "w", numbers={})
        assert not refusals
        return pydicom.dcmread(BytesIO(deidentify(tasks[0]).content))

    return cleaned


def put(path: Path, **tags: Any) -> Path:
    """Set elements in a file that is there."""
    with disable_value_validation():
        ds = pydicom.dcmread(path)
        for keyword, value in tags.items():
            setattr(ds, keyword, value)
        ds.save_as(path)
    return path


def coded(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def test_every_row_of_the_table_names_an_element_by_the_dictionarys_keyword() -> None:
    known = [(int(row["tag"], 16), row) for row in TABLE if "x" not in row["tag"]]
    named = [(keyword_for_tag(tag), row["keyword"]) for tag, row in known if dictionary_has_tag(tag)]
    assert [pair for pair in named if pair[0] != pair[1]] == []
    assert len(named) > 600
    for row in TABLE:
        assert row["basic"] in {"D", "Z", "X", "U", "Z/D", "X/Z", "X/D", "X/Z/D", "X/Z/U*"}
        assert {value for name, value in row.items() if name not in ("tag", "keyword", "basic")} <= {"", "K", "C"}


def test_the_table_has_the_rows_of_the_standard_each_once() -> None:
    tags = [row["tag"] for row in TABLE]
    assert len(tags) == len(set(tags)) > 640
    actions = {row["keyword"]: row["basic"] for row in TABLE}
    for keyword, action in {
        "PatientName": "Z",
        "PatientBirthDate": "Z",
        "AccessionNumber": "Z",
        "InstitutionAddress": "X",
        "StudyInstanceUID": "U",
        "OperatorsName": "X/Z/D",
        "SeriesDescription": "X",
    }.items():
        assert actions[keyword] == action


def test_options_are_told_by_the_codes_of_context_group_7050(clean: Clean, dicom: Any) -> None:
    known = {code.value: code.meaning for code in (getattr(codes.cid7050, name) for name in codes.cid7050.dir())}
    found = clean(dicom.run(), Option.UIDS, Option.DEVICE)
    told = {item.CodeValue: item.CodeMeaning for item in found.DeidentificationMethodCodeSequence}
    assert set(told) == {"113100", "113103", "113105", "113107", "113108", "113109", "113110"}
    for value, meaning in told.items():
        assert known[value].lower().startswith(meaning.lower()[:40])
    assert found.PatientIdentityRemoved == "YES"


def test_name_and_number_become_the_pseudonym_that_results_of_the_originals_have(clean: Clean, dicom: Any) -> None:
    found = clean(dicom.run())
    assert found.PatientID == found.PatientName == pseudonym("MRN-0042", key=read_key())
    assert not found.PatientBirthDate


def test_results_of_a_copy_name_the_patient_by_the_pseudonym_of_the_copys_number(
    clean: Clean, dicom: Any, look: Any, tmp_path: Path
) -> None:
    copy = clean(dicom.run())
    copy.save_as(tmp_path / "copy.dcm")
    (run,) = look(tmp_path / "copy.dcm").runs
    assert run.source.subject == pseudonym(copy.PatientID, key=read_key()) != copy.PatientID


def test_patients_without_a_number_stay_apart(clean: Clean, dicom: Any) -> None:
    one = put(dicom.run("a.dcm", PatientID=None), StudyInstanceUID="1.2.3")
    two = put(dicom.run("b.dcm", PatientID=""), StudyInstanceUID="1.2.4")
    assert re.fullmatch("P[0-9a-f]{12}", clean(one).PatientID)
    assert clean(one).PatientID != clean(two).PatientID


def test_uids_are_valid_the_same_everywhere_and_others_under_another_key(clean: Clean, dicom: Any) -> None:
    one, two = dicom.run("a.dcm"), dicom.run("b.dcm")
    reference = Dataset()
    reference.ReferencedSOPClassUID = pydicom.dcmread(one).SOPClassUID
    reference.ReferencedSOPInstanceUID = pydicom.dcmread(one).SOPInstanceUID
    put(two, SourceImageSequence=[reference])
    first, second = clean(one), clean(two)
    assert second.SourceImageSequence[0].ReferencedSOPInstanceUID == first.SOPInstanceUID
    assert second.SourceImageSequence[0].ReferencedSOPClassUID == first.SOPClassUID
    assert first.StudyInstanceUID == second.StudyInstanceUID != pydicom.dcmread(one).StudyInstanceUID
    assert first.file_meta.MediaStorageSOPInstanceUID == first.SOPInstanceUID != second.SOPInstanceUID
    assert all(UID(uid).is_valid for uid in (first.SOPInstanceUID, first.StudyInstanceUID))
    assert clean(one, key=b"k" * 32).SOPInstanceUID != first.SOPInstanceUID
    assert clean(one, Option.UIDS).SOPInstanceUID == pydicom.dcmread(one).SOPInstanceUID


def day(text: str) -> date:
    return date(int(text[:4]), int(text[4:6]), int(text[6:8]))


def test_dates_go_back_by_whole_weeks_and_intervals_and_times_of_day_stay(clean: Clean, dicom: Any) -> None:
    inner = Dataset()
    inner.ContextGroupVersion = "20200101120000"
    inner.SubstanceAdministrationDateTime = "20260105083000.5+0100"
    inner.DateOfLastCalibration = "20251224"
    path = put(dicom.run(), SeriesDate="20260130", AcquisitionDateTime="20260103111213", FrameAcquisitionSequence=None)
    put(path, RadiopharmaceuticalInformationSequence=[inner])
    found = clean(path)
    back = day("20260102") - day(found.StudyDate)
    assert back.days % 7 == 0
    assert 52 * 7 <= back.days <= 520 * 7
    assert day("20260130") - day(found.SeriesDate) == back
    assert day("20260103") - day(found.AcquisitionDateTime) == back
    assert found.AcquisitionDateTime[8:] == "111213"
    assert found.StudyTime == "101112"
    nested = found.RadiopharmaceuticalInformationSequence[0]
    assert day("20260105") - day(nested.SubstanceAdministrationDateTime) == back
    assert nested.SubstanceAdministrationDateTime[8:] == "083000.5+0100"
    assert found.LongitudinalTemporalInformationModified == "MODIFIED"


def test_patients_have_shifts_of_their_own_and_files_of_one_patient_the_same(clean: Clean, dicom: Any) -> None:
    shifts = {clean(dicom.run(f"{k}.dcm", PatientID=f"P{k}")).StudyDate for k in range(8)}
    assert len(shifts) > 4
    assert clean(dicom.run("x.dcm")).StudyDate == clean(dicom.run("y.dcm")).StudyDate


@pytest.mark.parametrize(
    ("options", "told", "study", "series"),
    [((), "REMOVED", "", "19000101"), ((Option.FULL_DATES,), "UNMODIFIED", "20260102", "20260130")],
)
def test_without_the_option_dates_go_and_with_full_dates_they_stay(
    clean: Clean, dicom: Any, options: Sequence[Option], told: str, study: str, series: str
) -> None:
    found = clean(put(dicom.run(), SeriesDate="20260130"), *options, basic=True)
    assert found.LongitudinalTemporalInformationModified == told
    assert found.StudyDate == study
    assert found.SeriesDate == series


@pytest.mark.parametrize(
    ("given", "left"),
    [("2026", 4), ("202601", 6), ("20260102", 8), ("not a date", 0), ("20261399", 0), ("2026.01.02", 0)],
)
def test_a_moment_is_told_as_closely_as_before_and_what_is_none_goes(
    clean: Clean, dicom: Any, given: str, left: int
) -> None:
    found = clean(put(dicom.run(), AcquisitionDateTime=given))
    assert len(found.AcquisitionDateTime or "") == left
    assert given not in str(found.AcquisitionDateTime or "-")


@pytest.mark.parametrize(
    ("given", "left"), [("058Y", "058Y"), ("089Y", "089Y"), ("093Y", "090Y"), ("999M", "999M"), ("58", "")]
)
def test_ages_beyond_89_are_one_age(clean: Clean, dicom: Any, given: str, left: str) -> None:
    assert (clean(put(dicom.run(), PatientAge=given)).PatientAge or "") == left


def test_patient_characteristics_stay_by_option_alone(clean: Clean, dicom: Any) -> None:
    path = put(dicom.run(), PatientAge="058Y", PatientSex="F", PatientWeight="71.5", EthnicGroup="Doe")
    kept, gone = clean(path), clean(path, basic=True)
    assert (kept.PatientAge, kept.PatientSex, kept.PatientWeight) == ("058Y", "F", 71.5)
    assert not kept.EthnicGroup
    assert not {"PatientAge", "PatientWeight"} & set(gone.dir())
    assert not gone.PatientSex


def test_device_and_institution_stay_by_their_options_alone(clean: Clean, dicom: Any) -> None:
    path = put(dicom.run(), StationName="LAB 3", DeviceSerialNumber="4711", InstitutionName="General Hospital")
    put(path, DeviceUID="1.2.3.4")
    assert clean(path).DeviceUID != clean(path, Option.DEVICE).DeviceUID == "1.2.3.4"
    assert "LAB" not in str(clean(path))
    device = clean(path, Option.DEVICE)
    assert (device.StationName, device.DeviceSerialNumber) == ("LAB 3", "4711")
    assert device.InstitutionName != "General Hospital"
    assert clean(path, Option.INSTITUTION).InstitutionName == "General Hospital"


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ("post TACE liver Jane Doe", "post TACE liver"),
        ("Doe, Jane: pre-embolisation", "pre embolisation"),
        ("Lesion L1", "Lesion L1"),
        ("day 28 CT", "day 28 CT"),
        ("03.04.1950", ""),
        ("03 04 50", ""),
        ("03/04/50 plain", "plain"),
        ("1234567", ""),
        ("A1 B2 C3", ""),
        ("J D", ""),
        ("肝動脈塞栓術 山田 術後", "術後"),
        ("L1", "L1"),
        ("Müller", ""),
    ],
)
def test_text_keeps_words_that_name_nobody(given: str, left: str) -> None:
    assert clean_text(given, read_profile()) == left


def test_text_outside_of_the_table_is_cleaned_as_well(clean: Clean, dicom: Any) -> None:
    found = clean(put(dicom.run(), FilterType="made for Jane", ReasonForVisit="fell", Manufacturer="Jane Doe Ltd"))
    assert not re.search("jane|fell|doe", str(found), re.IGNORECASE)


def test_what_makers_call_themselves_and_kernels_stay(clean: Clean, dicom: Any) -> None:
    path = dicom.ct_slice("a.dcm", (0, 0, 0), np.zeros((8, 8), int))
    found = clean(
        put(path, Manufacturer="SIEMENS", ManufacturerModelName="SOMATOM Definition AS+", ConvolutionKernel="B30f")
    )
    assert (found.Manufacturer, found.ManufacturerModelName) == ("SIEMENS", "SOMATOM Definition AS+")
    assert found.ConvolutionKernel == "B30f"


def test_codes_stay_with_the_meaning_of_their_dictionary_and_unknown_ones_go(clean: Clean, dicom: Any) -> None:
    path = put(
        dicom.run(), AnatomicRegionSequence=[coded("10200004", "SCT", "Jane's liver"), coded("JANE", "99LOCAL", "Jane")]
    )
    liver, unknown = clean(path).AnatomicRegionSequence
    assert (liver.CodeValue, liver.CodeMeaning) == ("10200004", "Liver")
    assert (unknown.CodeValue, unknown.CodeMeaning) == ("261665006", "Unknown")


def test_private_elements_go_and_safe_ones_stay_by_option_when_they_are_numbers(clean: Clean, dicom: Any) -> None:
    path = dicom.run()
    ds = pydicom.dcmread(path)
    ds.private_block(0x2001, "Philips Imaging DD 001", create=True).add_new(0x03, "FL", 1.5)
    ds.private_block(0x2001, "Jane Doe", create=True).add_new(0x03, "FL", 2.5)
    ds.private_block(0x0019, "OTHER", create=True).add_new(0x01, "LO", "Jane")
    ds.save_as(path)
    assert not any(element.tag.is_private for element in clean(path))
    kept = [element for element in clean(path, Option.SAFE_PRIVATE) if element.tag.is_private]
    assert [element.value for element in kept] == ["Philips Imaging DD 001", 1.5]


def test_what_no_dictionary_knows_does_not_leave(clean: Clean, dicom: Any) -> None:
    path = dicom.run()
    ds = pydicom.dcmread(path)
    ds.add_new(0x00189FF0, "LO", "Jane")
    ds.add_new(0x0016002B, "OB", b"Jane")
    ds.save_as(path)
    assert not {0x00189FF0, 0x0016002B} & set(clean(path).keys())


def test_a_broken_value_never_leaves_as_it_is(clean: Clean, dicom: Any) -> None:
    path = dicom.run()
    with disable_value_validation():
        ds = pydicom.dcmread(path)
        for keyword in ("StudyTime", "KVP", "SeriesNumber", "PatientOrientation", "SeriesDate", "PatientWeight"):
            if keyword in ds:
                del ds[keyword]
            ds.add_new(pydicom.datadict.tag_for_keyword(keyword), "LO", "JANE")
        ds.save_as(path)
    assert "JANE" not in str(clean(path))


def test_the_file_itself_says_nothing_of_where_it_came_from(clean: Clean, dicom: Any) -> None:
    path = dicom.run()
    ds = pydicom.dcmread(path)
    ds.preamble = b"JANE".ljust(128, b"\0")
    ds.file_meta.SourceApplicationEntityTitle = "JANE"
    ds.save_as(path)
    found = clean(path)
    assert found.preamble == b"\0" * 128
    assert "SourceApplicationEntityTitle" not in found.file_meta
    assert found.file_meta.ImplementationVersionName.startswith("ANGIO")


def test_full_and_modified_dates_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="full-dates or modified-dates"):
        read_profile(extra=[Option.FULL_DATES])


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("worlds = 1", "worlds"),
        ("[patterns]\nFilterType = '('", "FilterType"),
        ("[[blank]]\nname = 'x'\nrectangles = [[0, 0, 0, 5]]", "at least one row"),
        ("private = [['a', 'zz', '01', 'DS']]", "hexadecimal"),
        ("not toml", "TOML"),
    ],
)
def test_a_profile_that_says_nonsense_is_refused(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=what):
        read_profile(path)


def test_words_and_patterns_of_ones_own_are_added(clean: Clean, dicom: Any, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text("[words]\nkeep = ['zebra']\n[patterns]\nFilterType = 'F\\d+'\n", encoding="utf-8")
    path = put(dicom.run(), SeriesDescription="zebra Jane liver", FilterType="F123456")
    found = clean(path, profile=own)
    assert (found.SeriesDescription, found.FilterType) == ("zebra liver", "F123456")


def test_neither_key_nor_shift_is_shown() -> None:
    keyed = Keyed(b"secret-secret-secret-secret-1234")
    assert "secret" not in repr(keyed)
