"""What happens to pixels and to what lies beside them, and which objects are not let through."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
)

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.ingest.deidentification import (
    Accept,
    Deidentified,
    Keyed,
    Option,
    deidentify,
    find_tasks,
    read_profile,
)
from angio_pipeline.ingest.pseudonym import read_key

RULE = """
[[blank]]
name = "a corner of the test's machine"
manufacturer = "acme"
rectangles = [[0, 0, 4, 6], [-3, -5, 3, 5]]
"""
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


@pytest.fixture
def rule(tmp_path: Path) -> Path:
    path = tmp_path / "rule.toml"
    path.write_text(RULE, encoding="utf-8")
    return path


@pytest.fixture
def done(tmp_path: Path) -> Callable[..., Deidentified]:
    def deidentified(
        path: Path, *extra: Option, profile: Path | None = None, accept: tuple[Accept, ...] = ()
    ) -> Deidentified:
        chosen = read_profile(profile, extra=extra)
        keyed = Keyed(read_key(), chosen.weeks)
        tasks, _, _ = find_tasks([path], chosen, keyed=keyed, workspace=tmp_path / "w", numbers={})
        return deidentify(tasks[0], accept=accept)

    return deidentified


def read(result: Deidentified) -> pydicom.Dataset:
    return pydicom.dcmread(BytesIO(result.content))


def pixels(ds: pydicom.Dataset) -> npt.NDArray[Any]:
    return ds.pixel_array


def expected(given: npt.NDArray[Any], dark: int) -> npt.NDArray[Any]:
    blanked = given.copy()
    blanked[..., 0:4, 0:6] = dark
    blanked[..., -3:, -5:] = dark
    return blanked


def frames(low: int = 0, high: int = 4096, dtype: str = "uint16") -> npt.NDArray[Any]:
    return np.random.default_rng(3).integers(low, high, (3, 20, 24)).astype(dtype)


@pytest.mark.parametrize(
    ("syntax", "encode", "written"),
    [
        (ExplicitVRLittleEndian, None, ExplicitVRLittleEndian),
        (ImplicitVRLittleEndian, None, ImplicitVRLittleEndian),
        (ExplicitVRBigEndian, None, ExplicitVRBigEndian),
        (JPEGLSLossless, imagecodecs.jpegls_encode, ExplicitVRLittleEndian),
    ],
    ids=["explicit", "implicit", "big endian", "JPEG-LS"],
)
def test_rectangles_of_a_rule_are_blank_and_every_other_pixel_is_as_it_was(
    dicom: Any, done: Any, rule: Path, syntax: str, encode: Any, written: str
) -> None:
    given = frames()
    path = dicom.projection(given, "run.dcm", syntax=syntax, encode=encode, Manufacturer="ACME Imaging")
    result = done(path, profile=rule)
    found = read(result)
    assert found.file_meta.TransferSyntaxUID == written
    assert np.array_equal(pixels(found), expected(given, 0))
    assert found.BurnedInAnnotation == "NO"
    assert "113101" in {item.CodeValue for item in found.DeidentificationMethodCodeSequence}
    assert "regions_blanked" in result.flags


def test_blank_is_dark_whichever_way_grey_runs_and_below_zero(dicom: Any, done: Any, rule: Path) -> None:
    inverse = dicom.run("a.dcm", frames(), Manufacturer="acme", PhotometricInterpretation="MONOCHROME1")
    signed = dicom.run("b.dcm", frames(-2000, 2000, "int16"), Manufacturer="acme")
    assert np.array_equal(pixels(read(done(inverse, profile=rule))), expected(frames(), 4095))
    assert np.array_equal(pixels(read(done(signed, profile=rule))), expected(frames(-2000, 2000, "int16"), -2048))


def test_without_clean_pixels_or_with_another_machine_nothing_is_blank(
    dicom: Any, done: Any, rule: Path, tmp_path: Path
) -> None:
    other = dicom.run("a.dcm", frames(), Manufacturer="else")
    assert np.array_equal(pixels(read(done(other, profile=rule))), frames())
    basic = tmp_path / "none.toml"
    basic.write_text('options = ["modified-dates"]\n' + RULE, encoding="utf-8")
    same = dicom.run("b.dcm", frames(), Manufacturer="acme")
    assert np.array_equal(pixels(read(done(same, profile=basic))), frames())


@pytest.mark.parametrize(
    ("syntax", "encode"),
    [
        (ExplicitVRLittleEndian, None),
        (ImplicitVRLittleEndian, None),
        (ExplicitVRBigEndian, None),
        (JPEGLSLossless, imagecodecs.jpegls_encode),
        (JPEG2000Lossless, lambda frame: imagecodecs.jpeg2k_encode(frame, level=0, codecformat="j2k", reversible=True)),
    ],
    ids=["explicit", "implicit", "big endian", "JPEG-LS", "JPEG 2000"],
)
def test_pixels_stay_bit_for_bit_in_their_own_compression(dicom: Any, done: Any, syntax: str, encode: Any) -> None:
    given = frames()
    found = read(done(dicom.projection(given, "run.dcm", syntax=syntax, encode=encode)))
    assert found.file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(pixels(found), given)


def test_a_deflated_file_comes_out_inflated(dicom: Any, done: Any) -> None:
    path = dicom.run(pixels=frames())
    ds = pydicom.dcmread(path)
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    ds.save_as(path)
    found = read(done(path))
    assert found.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert np.array_equal(pixels(found), frames())


@pytest.mark.parametrize("behind_start", [b"\xff\xfe\x00\x06JANE", b"\xff\xe1\x00\x06JANE"], ids=["comment", "EXIF"])
def test_comments_of_compressed_streams_and_what_follows_them_go(dicom: Any, done: Any, behind_start: bytes) -> None:
    path = dicom.projection(frames(), "run.dcm", syntax=JPEGLSLossless, encode=imagecodecs.jpegls_encode)
    ds = pydicom.dcmread(path)
    streams = generate_frames(ds.PixelData, number_of_frames=3)
    ds.PixelData = encapsulate([one[:2] + behind_start + one[2:].rstrip(b"\0") + b"JANE" for one in streams])
    ds.save_as(path)
    assert b"JANE" in path.read_bytes()
    result = done(path)
    assert b"JANE" not in result.content
    assert np.array_equal(pixels(read(result)), frames())


def test_comments_of_jpeg_2000_go(dicom: Any, done: Any) -> None:
    def encode(frame: npt.NDArray[Any]) -> bytes:
        stream = imagecodecs.jpeg2k_encode(frame, level=0, codecformat="j2k", reversible=True)
        first = 4 + int.from_bytes(stream[4:6], "big")  # the size marker has to stay the first
        return stream[:first] + b"\xff\x64\x00\x08\x00\x01JANE" + stream[first:]

    path = dicom.projection(frames(), "run.dcm", syntax=JPEG2000Lossless, encode=encode)
    result = done(path)
    assert b"JANE" in path.read_bytes()
    assert b"JANE" not in result.content
    assert np.array_equal(pixels(read(result)), frames())


def test_bytes_behind_the_last_frame_go(dicom: Any, done: Any) -> None:
    path = dicom.run(pixels=frames())
    ds = pydicom.dcmread(path)
    ds.PixelData += b"JANE"
    ds.save_as(path)
    result = done(path)
    assert b"JANE" not in result.content
    assert np.array_equal(pixels(read(result)), frames())


def test_overlays_and_curves_go_those_drawn_in_unused_bits_too(dicom: Any, done: Any) -> None:
    drawn = frames() | (np.indices((3, 20, 24)).sum(axis=0) % 2 << 12).astype(np.uint16)
    path = dicom.run(pixels=drawn)
    ds = pydicom.dcmread(path)
    ds.add_new((0x6000, 0x0010), "US", 20)
    ds.add_new((0x6000, 0x0011), "US", 24)
    ds.add_new((0x6000, 0x0102), "US", 12)
    ds.add_new((0x6000, 0x3000), "OW", b"\xff" * 60)
    ds.add_new((0x5002, 0x3000), "OB", b"JANE")
    ds.save_as(path)
    found = read(done(path))
    assert not any(0x5000 <= element.tag.group <= 0x60FF for element in found)
    assert np.array_equal(np.frombuffer(found.PixelData, "<u2").reshape(drawn.shape), frames())


def test_a_picture_that_says_it_holds_names_needs_a_rule_or_a_word(dicom: Any, done: Any, rule: Path) -> None:
    path = dicom.run(pixels=frames(), BurnedInAnnotation="YES")
    with pytest.raises(InputRefused, match="burned-in annotation") as refused:
        done(path)
    assert refused.value.reason == "burned_in"
    accepted = done(path, accept=(Accept.BURNED_IN,))
    assert read(accepted).BurnedInAnnotation == "YES"
    assert "burned_in_kept" in accepted.flags
    ruled = dicom.run("b.dcm", frames(), BurnedInAnnotation="YES", Manufacturer="acme")
    assert read(done(ruled, profile=rule)).BurnedInAnnotation == "NO"


def test_pictures_of_screens_are_refused_and_let_through_on_request(dicom: Any, done: Any) -> None:
    capture = dicom.projection(frames()[0], "sc.dcm", sop_class=SECONDARY_CAPTURE, modality="OT")
    sheet = dicom.projection(frames()[0], "dose.dcm", ImageType=["DERIVED", "SECONDARY", "SCREEN SAVE"])
    for path in (capture, sheet):
        with pytest.raises(InputRefused, match="picture of a screen") as refused:
            done(path)
        assert refused.value.reason == "capture"
        assert "screen_picture" in done(path, accept=(Accept.CAPTURE,)).flags


@pytest.mark.parametrize(
    ("sop_class", "reason"),
    [
        ("1.2.840.10008.5.1.4.1.1.104.1", "document"),
        ("1.2.840.10008.5.1.4.1.1.88.33", "report"),
        ("1.2.840.10008.5.1.4.1.1.9.1.1", "not_ours"),
        ("1.2.3.4.5", "not_ours"),
    ],
)
def test_what_cannot_be_cleaned_is_refused_by_name(dicom: Any, done: Any, sop_class: str, reason: str) -> None:
    with pytest.raises(InputRefused, match="Expected") as refused:
        done(dicom.run(sop_class=sop_class))
    assert refused.value.reason == reason


def test_a_report_is_cleaned_item_by_item_when_asked_for(dicom: Any, done: Any) -> None:
    ds = dicom.base("1.2.840.10008.5.1.4.1.1.88.33", "SR")
    item = Dataset()
    item.ValueType, item.TextValue, item.PersonName = "TEXT", "Jane has a lesion in the liver", "Jane^Doe"
    ds.ContentSequence = [item]
    path = dicom.save(ds, "sr.dcm")
    found = read(done(path, Option.CLEAN_STRUCTURED))
    assert found.ContentSequence[0].TextValue == "lesion in the liver"
    assert "Jane" not in str(found)


def test_drawings_stay_and_what_is_written_beside_them_is_cleaned(dicom: Any, done: Any, tmp_path: Path) -> None:
    ds = dicom.base("1.2.840.10008.5.1.4.1.1.11.1", "PR")
    line, words, layer = Dataset(), Dataset(), Dataset()
    line.GraphicType, line.GraphicData, line.GraphicAnnotationUnits = "POLYLINE", [1.5, 2, 3, 4], "PIXEL"
    words.UnformattedTextValue = "Jane: lesion L1"
    layer.GraphicObjectSequence, layer.TextObjectSequence, layer.GraphicLayer = [line], [words], "JANE"
    ds.GraphicAnnotationSequence = [layer]
    path = dicom.save(ds, "pr.dcm")
    (found,) = read(done(path)).GraphicAnnotationSequence
    assert found.GraphicObjectSequence[0].GraphicData == [1.5, 2, 3, 4]
    assert found.TextObjectSequence[0].UnformattedTextValue == "lesion L1"
    assert "JANE" not in str(found).upper()
    without = tmp_path / "without.toml"
    without.write_text('options = ["clean-descriptors"]', encoding="utf-8")
    with pytest.raises(InputRefused, match="clean-graphics") as refused:
        done(path, profile=without)
    assert refused.value.reason == "drawing"
