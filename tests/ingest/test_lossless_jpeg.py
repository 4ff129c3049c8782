"""Lossless JPEG decodes to the samples that were encoded, or is refused."""

from __future__ import annotations

import struct

import imagecodecs
import lossless_jpegs as jpegs
import numpy as np
import pytest

from angio_pipeline.ingest.lossless_jpeg import decode_lossless_jpeg, is_lossless_jpeg

SHAPE = (21, 17)


def image(precision: int = 12, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1 << precision, SHAPE).astype(np.uint16)


def smooth(precision: int = 12) -> np.ndarray:
    rows, columns = np.indices((64, 48))
    noise = np.random.default_rng(4).integers(0, 9, rows.shape)
    return (((1 << precision) - 10) / 110 * (rows + columns) + noise).astype(np.uint16)


@pytest.mark.slow
@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize("precision", [2, 8, 12, 16])
def test_every_predictor_and_precision_decodes_bit_for_bit(predictor: int, precision: int) -> None:
    stream = jpegs.stream(image(precision), precision=precision, predictor=predictor)
    assert np.array_equal(decode_lossless_jpeg(stream), image(precision))


@pytest.mark.parametrize("code_bits", [5, 11, 12, 16])
def test_codes_of_any_length_are_found(code_bits: int) -> None:
    stream = jpegs.stream(image(), precision=12, code_bits=code_bits)
    assert np.array_equal(decode_lossless_jpeg(stream), image())


@pytest.mark.parametrize("shift", [1, 4])
def test_a_point_transform_gives_the_samples_without_their_lowest_bits(shift: int) -> None:
    stream = jpegs.stream(image(), precision=12, shift=shift, predictor=4)
    assert np.array_equal(decode_lossless_jpeg(stream), image() >> shift << shift)


@pytest.mark.parametrize("rows", [1, 2, 5, 21, 40])
@pytest.mark.parametrize("predictor", [1, 6])
def test_each_restart_begins_anew(rows: int, predictor: int) -> None:
    stream = jpegs.stream(image(), precision=12, restart_rows=rows, predictor=predictor)
    assert np.array_equal(decode_lossless_jpeg(stream), image())


def test_the_table_that_the_scan_names_is_used() -> None:
    both = jpegs.table(0, 7) + jpegs.table(1, 9)
    stream = jpegs.stream(image(), precision=12, code_bits=9, tables=both, chosen=1)
    assert np.array_equal(decode_lossless_jpeg(stream), image())
    joined = both.replace(both[: len(both) // 2], jpegs.segment(0xC4, both[4 : len(both) // 2] + jpegs.table(1, 9)[4:]))
    stream = jpegs.stream(image(), precision=12, code_bits=9, tables=joined[: -len(both) // 2], chosen=1)
    assert np.array_equal(decode_lossless_jpeg(stream), image())


@pytest.mark.parametrize("precision", [8, 12, 16])
def test_streams_of_another_encoder_decode_bit_for_bit(precision: int) -> None:
    frame = smooth(precision)
    stream = bytes(imagecodecs.ljpeg_encode(frame, bitspersample=precision))
    assert np.array_equal(decode_lossless_jpeg(stream), frame)


def test_padding_behind_the_end_and_fill_before_a_marker_are_allowed() -> None:
    stream = jpegs.stream(image(), precision=12)
    assert np.array_equal(decode_lossless_jpeg(stream + b"\0"), image())
    assert np.array_equal(decode_lossless_jpeg(stream[:-2] + b"\xff\xff\xff\xd9"), image())


@pytest.mark.parametrize("end", [b"", b"\xff\xd9", b"\0" * 40], ids=["bare", "mended", "zeros"])
def test_a_stream_cut_anywhere_is_refused(end: bytes) -> None:
    stream = jpegs.stream(image(), precision=12, restart_rows=7)
    for length in range(len(stream) - 2):
        with pytest.raises(ValueError, match=r"^(a |data |damaged |something )"):
            decode_lossless_jpeg(stream[:length] + end)


@pytest.mark.parametrize("extra", [b"\0", b"\x55", b"\xff\0"])
def test_data_left_over_are_refused(extra: bytes) -> None:
    stream = jpegs.stream(image(), precision=12)
    with pytest.raises(ValueError, match="damaged"):
        decode_lossless_jpeg(stream[:-2] + extra + stream[-2:])


def test_samples_beyond_their_bits_are_refused() -> None:
    beyond = image()
    beyond[5, 5] = 4096
    with pytest.raises(ValueError, match="damaged"):
        decode_lossless_jpeg(jpegs.stream(beyond, precision=12))


def test_restarts_out_of_turn_are_refused() -> None:
    stream = jpegs.stream(image(), precision=12, restart_rows=7)
    with pytest.raises(ValueError, match="end where"):
        decode_lossless_jpeg(stream.replace(b"\xff\xd1", b"\xff\xd2"))


@pytest.mark.parametrize(
    "table",
    [
        bytes([0]) + bytes([3, *[0] * 15]) + bytes([0, 1, 2]),
        bytes([0]) + bytes([0, 1, *[0] * 14]) + bytes([17]),
        bytes([0]) + bytes([0, 200, *[0] * 14]) + bytes(20),
        bytes([0]) + bytes(16),
    ],
    ids=["more codes than there are", "no such category", "cut short", "empty"],
)
def test_tables_that_are_none_are_refused(table: bytes) -> None:
    with pytest.raises(ValueError, match=r"table|cut|buffer"):
        decode_lossless_jpeg(jpegs.stream(image(), precision=12, tables=jpegs.segment(0xC4, table)))


def test_a_second_frame_header_takes_no_memory() -> None:
    stream = jpegs.stream(image(), precision=12)
    at = stream.index(b"\xff\xda")
    for marker in (0xC3, 0xC0):
        huge = jpegs.segment(marker, struct.pack(">BHHBBBB", 12, 65535, 65535, 1, 1, 0x11, 0))
        with pytest.raises(ValueError, match="several frames"):
            decode_lossless_jpeg(stream[:at] + huge + stream[at:])


def test_flipped_bits_give_an_image_or_a_refusal() -> None:
    frame = smooth()
    stream = bytes(imagecodecs.ljpeg_encode(frame, bitspersample=12))
    rng = np.random.default_rng(9)
    fates = set()
    for _ in range(300):
        flipped = bytearray(stream)
        flipped[rng.integers(len(stream))] ^= 1 << int(rng.integers(8))
        try:
            found = decode_lossless_jpeg(bytes(flipped))
        except ValueError:
            fates.add("refused")
        else:
            # A flip may hit another size: the file's header is compared with it before.
            assert found.dtype == np.uint16
            fates.add("image")
    assert fates == {"refused", "image"}


def test_only_the_lossless_process_is_called_lossless() -> None:
    assert is_lossless_jpeg(jpegs.stream(image(), precision=12))
    assert not is_lossless_jpeg(bytes(imagecodecs.jpeg8_encode(np.zeros((8, 8), np.uint8))))
    assert not is_lossless_jpeg(bytes(imagecodecs.jpegls_encode(np.zeros((8, 8), np.uint8))))
    assert not is_lossless_jpeg(b"\xff\xd8\xff")
