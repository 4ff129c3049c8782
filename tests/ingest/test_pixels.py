"""Pixel data decode exactly, or not at all, and nothing is allocated on a header's word."""

from __future__ import annotations

import re
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    MPEG4HP41,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from angio_pipeline import ingest
from angio_pipeline.core.errors import CodecError, InputRefused
from angio_pipeline.ingest.headers import read_header
from angio_pipeline.ingest.limits import Limits
from angio_pipeline.ingest.pixels import check_pixels, check_whole, pixel_format, read_frames

STORED = np.random.default_rng(11).integers(0, 4095, (3, 33, 47)).astype(np.uint16)


def frames_of(path: Path) -> Any:
    header = read_header(path)
    return read_frames(header, pixel_format(header))


def htj2k(frame: Any) -> bytes:
    return bytes(imagecodecs.htj2k_encode(frame, reversible=True))


ENCODERS = {
    JPEG2000Lossless: lambda frame: imagecodecs.jpeg2k_encode(frame, level=0, reversible=True, codecformat="j2k"),
    JPEGLSLossless: imagecodecs.jpegls_encode,
    JPEGLosslessSV1: lambda frame: imagecodecs.ljpeg_encode(frame, bitspersample=12),
    HTJ2KLossless: htj2k,
}


@pytest.mark.parametrize("syntax", ENCODERS)
def test_lossless_frames_decode_bit_for_bit(dicom: Any, syntax: str) -> None:
    path = dicom.run(pixels=STORED, syntax=syntax, encode=ENCODERS[syntax])
    assert np.array_equal(frames_of(path), STORED)


def test_run_length_frames_decode_bit_for_bit(dicom: Any) -> None:
    path = dicom.run(pixels=STORED)
    ds = pydicom.dcmread(path)
    ds.compress(RLELossless, generate_instance_uid=False)
    ds.save_as(path)
    assert np.array_equal(frames_of(path), STORED)


def test_a_frame_may_lie_in_several_fragments(dicom: Any) -> None:
    path = dicom.run(pixels=STORED, syntax=JPEGLSLossless, encode=ENCODERS[JPEGLSLossless])
    ds = pydicom.dcmread(path)
    coded = [bytes(imagecodecs.jpegls_encode(frame)) for frame in STORED]
    ds.PixelData = pydicom.encaps.encapsulate(coded, fragments_per_frame=2)
    ds.save_as(path)
    assert np.array_equal(frames_of(path), STORED)


def test_an_extended_offset_table_is_followed(dicom: Any) -> None:
    path = dicom.run(pixels=STORED, syntax=JPEGLSLossless, encode=ENCODERS[JPEGLSLossless])
    ds = pydicom.dcmread(path)
    coded = [bytes(imagecodecs.jpegls_encode(frame)) for frame in STORED]
    ds.PixelData, ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = pydicom.encaps.encapsulate_extended(coded)
    ds.save_as(path)
    assert np.array_equal(frames_of(path), STORED)


def test_only_one_copy_of_the_frames_is_held(dicom: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 4095, (40, 128, 128)).astype(np.uint16)
    header = read_header(dicom.run(pixels=pixels))
    found = pixel_format(header)
    tracemalloc.start()
    frames = read_frames(header, found)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.2 * frames.nbytes


def test_a_huge_header_without_the_data_is_refused_without_allocation(dicom: Any) -> None:
    path = dicom.run(Rows=65535, Columns=65535, NumberOfFrames=60)
    tracemalloc.start()
    with pytest.raises(InputRefused, match="65535 x 65535") as caught:
        pixel_format(read_header(path))
    assert tracemalloc.get_traced_memory()[1] < 5 << 20
    tracemalloc.stop()
    assert caught.value.reason == "too_large"


def test_a_large_header_within_the_limits_is_refused_against_the_file(dicom: Any) -> None:
    path = dicom.run(Rows=8000, Columns=8000, NumberOfFrames=16)
    header = read_header(path)
    found = pixel_format(header)
    tracemalloc.start()
    with pytest.raises(InputRefused, match="bytes of pixels") as caught:
        read_frames(header, found)
    assert tracemalloc.get_traced_memory()[1] < 5 << 20
    tracemalloc.stop()
    assert caught.value.reason == "truncated"


@pytest.mark.slow
def test_a_compressed_frame_that_claims_another_size_is_refused_before_decoding(dicom: Any) -> None:
    large = np.zeros((512, 700), dtype=np.uint16)
    for syntax, encode in ENCODERS.items():
        path = dicom.run(f"{syntax}.dcm", STORED, syntax=syntax, encode=lambda _, encode=encode: bytes(encode(large)))
        header = read_header(path)
        with pytest.raises(InputRefused, match="512 x 700") as caught:
            check_pixels(header, pixel_format(header))
        assert caught.value.reason == "corrupt_pixels"


def test_twelve_bit_lossy_jpeg_is_refused_whatever_the_file_calls_it(dicom: Any, real_data: Path) -> None:
    twelve = pydicom.dcmread(real_data / "codecs" / "XA1_JPLY")
    stream = next(pydicom.encaps.generate_frames(twelve.PixelData, number_of_frames=1))
    pixels = np.zeros((2, 1024, 1024), dtype=np.uint8)
    path = dicom.run(pixels=pixels, syntax=JPEGBaseline8Bit, encode=lambda _: stream)
    with pytest.raises(CodecError, match="lossy JPEG of 12 bits") as caught:
        frames_of(path)
    assert caught.value.reason == "unsupported_codec"


def test_an_unknown_compression_is_refused(dicom: Any) -> None:
    path = dicom.run(pixels=STORED, syntax="1.2.840.10008.1.2.4.100", encode=lambda frame: frame.tobytes())
    with pytest.raises(CodecError, match="MPEG2"):
        frames_of(path)


def test_a_damaged_jpeg_is_refused_instead_of_filled_with_grey(dicom: Any, capfd: pytest.CaptureFixture[str]) -> None:
    smooth = np.tile(np.arange(64, dtype=np.uint8), (2, 64, 2))
    whole = bytes(imagecodecs.jpeg8_encode(smooth[0], level=90))
    start = whole.index(b"\xff\xda") + 20
    cut = whole[: start + (len(whole) - start) // 3] + b"\xff\xd9"
    assert frames_of(dicom.run("good.dcm", smooth, syntax=JPEGBaseline8Bit, encode=lambda _: whole)).shape == (
        2,
        64,
        128,
    )
    with pytest.raises(InputRefused) as caught:
        frames_of(dicom.run("bad.dcm", smooth, syntax=JPEGBaseline8Bit, encode=lambda _: cut))
    assert caught.value.reason == "corrupt_pixels"
    assert capfd.readouterr().err == ""


def test_damaged_run_lengths_are_refused_in_silence(dicom: Any, capfd: pytest.CaptureFixture[str]) -> None:
    path = dicom.run(pixels=STORED)
    ds = pydicom.dcmread(path)
    ds.compress(RLELossless, generate_instance_uid=False)
    ds.save_as(path)
    content = bytearray(path.read_bytes())
    for position in range(len(content) - 900, len(content) - 700):
        content[position] = 0x81
    path.write_bytes(content)
    with pytest.raises(InputRefused, match="damaged"):
        frames_of(path)
    assert capfd.readouterr().err == ""


def test_missing_trailing_frames_refuse_the_run(dicom: Any) -> None:
    native = dicom.run("native.dcm", STORED)
    native.write_bytes(native.read_bytes()[: -STORED[0].nbytes])
    coded = dicom.run("coded.dcm", STORED, syntax=JPEGLSLossless, encode=ENCODERS[JPEGLSLossless], NumberOfFrames=4)
    cut = dicom.run("cut.dcm", STORED, syntax=JPEGLSLossless, encode=ENCODERS[JPEGLSLossless])
    cut.write_bytes(cut.read_bytes()[:-200])
    for path in (native, coded, cut):
        with pytest.raises(InputRefused, match="export it again") as caught:
            frames_of(path)
        assert caught.value.reason == "truncated"


def test_colour_is_refused(dicom: Any) -> None:
    for tags in (
        {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"},
        {"PhotometricInterpretation": "PALETTE COLOR"},
    ):
        with pytest.raises(InputRefused, match="colour") as caught:
            pixel_format(read_header(dicom.film(**tags)))
        assert caught.value.reason == "not_greyscale"


@pytest.mark.parametrize(
    "tags",
    [
        {"BitsAllocated": 12},
        {"BitsStored": 17},
        {"HighBit": 16},
        {"HighBit": 5},
        {"Rows": 0},
        {"Columns": None},
        {"NumberOfFrames": "0"},
        {"NumberOfFrames": "-3"},
    ],
)
def test_impossible_headers_are_refused(dicom: Any, tags: dict[str, Any]) -> None:
    with pytest.raises(InputRefused) as caught:
        pixel_format(read_header(dicom.run(**tags)))
    assert caught.value.reason == "bad_header"


def test_no_pixel_data_is_refused(dicom: Any) -> None:
    header = read_header(dicom.run(PixelData=None))
    with pytest.raises(InputRefused, match="pixel data, found none") as caught:
        check_pixels(header, pixel_format(header))
    assert caught.value.reason == "no_pixel_data"


def test_limits_are_settings(dicom: Any) -> None:
    header = read_header(dicom.run(pixels=STORED))
    with pytest.raises(InputRefused, match="at most"):
        pixel_format(replace(header, limits=Limits(total_px=1000)))


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [(f"{image}_{codec}", 0) for image in ("XA1", "CT1") for codec in ("RLE", "JPLL", "JLSL", "J2KR")]
    + [("XA1_JLSN", 10), ("CT1_JLSN", 10)],
)
def test_real_compressed_images_equal_their_uncompressed_twin(real_data: Path, name: str, tolerance: int) -> None:
    truth = frames_of(real_data / "codecs" / f"{name[:3]}_UNC")
    found = frames_of(real_data / "codecs" / name)
    assert np.abs(found.astype(np.int64) - truth.astype(np.int64)).max() <= tolerance
    if tolerance:
        assert (found != truth).any()


@pytest.mark.parametrize("name", ["XA1_J2KI", "CT1_J2KI"])
def test_real_irreversible_images_are_close(real_data: Path, name: str) -> None:
    truth = frames_of(real_data / "codecs" / f"{name[:3]}_UNC")
    found = frames_of(real_data / "codecs" / name)
    inside = truth > truth.min()
    assert np.sqrt(np.mean((found - truth)[inside] ** 2)) < 0.02 * (truth.max() - truth[inside].min())


def test_the_real_twelve_bit_jpeg_is_refused(real_data: Path, tmp_path: Path) -> None:
    found = ingest.discover([real_data / "codecs" / "XA1_JPLY"], workspace=tmp_path)
    (refusal,) = found.refusals
    assert refusal.reason == "unsupported_codec"
    assert re.fullmatch(r"Expected .*\.", refusal.sentence)


def test_a_video_is_whole_with_one_fragment_of_all_frames_and_not_without_its_end(dicom: Any) -> None:
    path = dicom.film("video.dcm", syntax=MPEG4HP41, encode=lambda frame: frame.tobytes(), NumberOfFrames=30)
    check_whole(read_header(path))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InputRefused, match="mark of their end") as caught:
        check_whole(read_header(path))
    assert caught.value.reason == "truncated"
