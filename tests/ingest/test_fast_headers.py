"""The quick way of reading headers says what pydicom says, or nothing."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.ingest.fast_headers import WANTED, WINDOW, Head, read_fast, read_slowly
from angio_pipeline.ingest.headers import as_numbers


def quick(path: Path) -> Head | None:
    handle = os.open(path, os.O_RDONLY)
    try:
        return read_fast(os.read(handle, WINDOW), handle, os.fstat(handle).st_size)
    finally:
        os.close(handle)


def meanings(head: Head) -> dict[str, Any]:
    """What the texts of a head mean: numbers are compared as numbers."""
    found = {}
    for keyword, (_, vr) in WANTED.items():
        text = head.read(keyword)
        found[keyword] = as_numbers(text.split("\\")) if vr in ("IS", "DS") and text else text
    return {keyword: value for keyword, value in found.items() if value not in ("", ())}


def assert_same(fast: Head, slow: Head) -> None:
    assert meanings(fast) == meanings(slow)
    assert (fast.size, fast.pixels is None) == (slow.size, slow.pixels is None)
    if fast.pixels is not None and slow.pixels is not None:
        assert (fast.pixels.offset, fast.pixels.length) == (slow.pixels.offset, slow.pixels.length)


def real_files(folder: Path) -> list[Path]:
    places = ("xa_phantom", "xa_coronary", "codecs", "ct_liver", "ct_liver_seg", "malformed")
    paths = (path for place in places for path in sorted((folder / place).rglob("*")) if path.is_file())
    return [path for path in paths if path.read_bytes()[128:132] == b"DICM"]


def test_real_files_are_read_as_pydicom_reads_them(real_data: Path) -> None:
    paths = real_files(real_data)
    read = {path: quick(path) for path in paths}
    for path, head in read.items():
        if head is not None:
            assert_same(head, read_slowly(path))
    assert sum(head is not None for head in read.values()) > 0.8 * len(paths)


def test_every_file_of_the_sample_is_read_the_quick_way(sample: Path) -> None:
    paths = sorted(sample.rglob("*.dcm"))[::10]
    for path in paths:
        head = quick(path)
        assert head is not None
        assert_same(head, read_slowly(path))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["xa_phantom/IM4", "codecs/XA1_JPLL", "codecs/CT1_UNC", "malformed"])
def test_a_damaged_header_is_read_as_pydicom_reads_it_or_left_to_it(real_data: Path, tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(20261)
    source = real_data / name
    whole = (sorted(source.rglob("*.dcm"))[0] if source.is_dir() else source).read_bytes()[:60_000]
    path, agreed = tmp_path / "damaged", 0
    for _ in range(150):
        content = bytearray(whole)
        for position in rng.integers(132, min(len(whole), 4000), int(rng.integers(1, 4))).tolist():
            content[position] = int(rng.integers(256))
        path.write_bytes(content)
        head = quick(path)
        if head is None:
            continue
        try:
            slow = read_slowly(path)
        except InputRefused:
            continue
        assert_same(head, slow)
        agreed += 1
    assert agreed > 15


def test_a_header_cut_anywhere_is_read_as_pydicom_reads_it_or_left_to_it(dicom: Any, tmp_path: Path) -> None:
    whole = dicom.run(PatientComments="x" * 100).read_bytes()
    path = tmp_path / "cut"
    for length in range(132, 900, 3):
        path.write_bytes(whole[:length])
        head = quick(path)
        if head is not None:
            assert_same(head, read_slowly(path))


def with_sequences(dicom: Any, *, undefined: bool, **save: Any) -> Path:
    inner, outer = Dataset(), Dataset()
    inner.CodeValue, inner.PatientID, inner.Modality = "1", "INNER", "MR"
    outer.ProcedureCodeSequence = Sequence([inner, inner])
    outer["ProcedureCodeSequence"].is_undefined_length = undefined
    inner.is_undefined_length_sequence_item = outer.is_undefined_length_sequence_item = undefined
    path = dicom.run("nested.dcm")
    ds = pydicom.dcmread(path)
    ds.RequestAttributesSequence = Sequence([outer])
    ds.ReferencedStudySequence = Sequence([])
    for keyword in ("RequestAttributesSequence", "ReferencedStudySequence"):
        ds[keyword].is_undefined_length = undefined
    ds.save_as(path, **save)
    return path


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("implicit", [False, True])
def test_values_within_sequences_are_not_taken_for_the_files_own(dicom: Any, undefined: bool, implicit: bool) -> None:
    path = with_sequences(dicom, undefined=undefined)
    if implicit:
        ds = pydicom.dcmread(path)
        ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        ds.save_as(path, implicit_vr=True, little_endian=True)
    head = quick(path)
    assert head is not None
    assert (head.read("PatientID"), head.read("Modality")) == ("MRN-0042", "XA")
    assert_same(head, read_slowly(path))


@pytest.mark.parametrize("character_set", ["ISO_IR 100", "ISO_IR 192", "GB18030"])
def test_names_beyond_ascii_are_read_in_their_character_set(dicom: Any, character_set: str) -> None:
    name = "栓塞后" if character_set == "GB18030" else "Müller^Jörg"
    path = dicom.run(SpecificCharacterSet=character_set, PatientName=name, SeriesDescription=name)
    head = quick(path)
    assert head is not None
    assert head.read("SeriesDescription") == name
    assert_same(head, read_slowly(path))


@pytest.mark.parametrize(
    "tags",
    [
        {"SpecificCharacterSet": ["", "ISO 2022 IR 87"], "SeriesDescription": "山田"},
        {"PatientID": ["A", "B"]},
        {"StudyDate": ["20260101", "20260102"]},
    ],
)
def test_what_could_be_understood_otherwise_is_left_to_pydicom(dicom: Any, tags: dict[str, Any]) -> None:
    assert quick(dicom.run(**tags)) is None


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_unusual_transfer_syntaxes_go_the_long_way_and_say_the_same(dicom: Any, syntax: str) -> None:
    plain = dicom.run("plain.dcm")
    path = dicom.run("other.dcm", syntax=syntax, SOPInstanceUID=pydicom.dcmread(plain).SOPInstanceUID)
    assert quick(path) is None
    slow, fast = read_slowly(path), quick(plain)
    assert fast is not None
    ignored = {"TransferSyntaxUID", "MediaStorageSOPInstanceUID", "InstanceNumber"}
    same = {k: v for k, v in meanings(fast).items() if k not in ignored}
    assert same == {k: v for k, v in meanings(slow).items() if k not in ignored}


def test_functional_groups_are_left_to_pydicom(dicom: Any) -> None:
    frame = Dataset()
    frame.SliceThickness = 1
    path = dicom.run(SharedFunctionalGroupsSequence=Sequence([frame]))
    assert quick(path) is None


def test_a_header_longer_than_the_first_read_is_read_whole(dicom: Any) -> None:
    path = dicom.run()
    ds = pydicom.dcmread(path)
    ds.private_block(0x0009, "BIG", create=True).add_new(1, "OB", bytes(200_000))
    ds.save_as(path)
    head = quick(path)
    assert head is not None
    assert_same(head, read_slowly(path))


def test_random_bytes_never_raise(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    path = tmp_path / "noise"
    for _ in range(300):
        start = b"\0" * 128 + b"DICM" + struct.pack("<HH2sHL", 2, 0, b"UL", 4, 0)
        path.write_bytes(start + rng.bytes(int(rng.integers(0, 400))))
        quick(path)
