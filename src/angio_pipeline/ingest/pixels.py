"""From pixel data to stored values, frame by frame, with every size checked before memory is taken.

Order matters: the header is judged by itself, then against the file's size, then each
compressed frame's own header against the file's, and only then does anything allocate.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRBigEndian, MPEGTransferSyntaxes

from angio_pipeline.core.errors import CodecError, InputRefused
from angio_pipeline.ingest.codestreams import check_codestream
from angio_pipeline.ingest.decoding import CompressedFrames, decode_all
from angio_pipeline.ingest.frames import PixelFormat, is_decodable
from angio_pipeline.ingest.headers import Header, find, integer, open_dicom, text
from angio_pipeline.ingest.limits import Limits

__all__ = [
    "PixelFormat",
    "check_native_size",
    "check_pixels",
    "check_whole",
    "native_bytes",
    "no_pixel_data",
    "pixel_format",
    "read_frames",
]

_ITEM, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)


def pixel_format(header: Header) -> PixelFormat:
    """Return the pixel format that the header names.

    Raises
    ------
    InputRefused
        `bad_header`, `not_greyscale`, `too_large`.
    """
    ds = header.dataset
    samples = integer(ds, "SamplesPerPixel")
    photometric = text(ds, "PhotometricInterpretation") or "MONOCHROME2"
    if samples not in (None, 1) or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise InputRefused(
            "Expected a greyscale image, found a colour one; export the original instead of a screen capture.",
            reason="not_greyscale",
        )
    rows, columns = _size(header, "Rows"), _size(header, "Columns")
    allocated = integer(ds, "BitsAllocated") or 0
    stored = integer(ds, "BitsStored")
    stored = allocated if stored is None else stored
    high_bit = integer(ds, "HighBit")
    high_bit = stored - 1 if high_bit is None else high_bit
    if allocated not in (8, 16, 32) or not 1 <= stored <= allocated or not stored - 1 <= high_bit < allocated:
        raise InputRefused(
            f"Expected 8, 16 or 32 bits allocated and the stored bits within them, found {allocated} allocated, "
            f"{stored} stored, high bit {high_bit}; export it again.",
            reason="bad_header",
        )
    frames = 1 if find(ds, "NumberOfFrames") is None else _size(header, "NumberOfFrames")
    found = PixelFormat(
        rows, columns, frames, allocated, stored, high_bit, integer(ds, "PixelRepresentation") == 1, photometric
    )
    _check_limits(found, header.limits)
    return found


def _size(header: Header, keyword: str) -> int:
    value = integer(header.dataset, keyword)
    if value is None or value < 1:
        raise InputRefused(
            f"Expected {keyword} of at least 1, found {'none' if value is None else value}; export it again.",
            reason="bad_header",
        )
    return value


def _check_limits(found: PixelFormat, limits: Limits) -> None:
    if found.pixels > limits.frame_px or found.pixels * found.frames > limits.total_px:
        raise InputRefused(
            f"Expected at most {limits.frame_px} pixels a frame and {limits.total_px} in all, found "
            f"{found.frames} frames of {found.rows} x {found.columns}.",
            reason="too_large",
        )


def check_pixels(header: Header, found: PixelFormat) -> None:
    """Refuse pixel data that no decoder reads or that the file cannot hold; decodes and allocates nothing.

    Raises
    ------
    CodecError
        `unsupported_codec`.
    InputRefused
        `no_pixel_data`, `truncated`, or `too_large` for compressed data that come to far more than their size.
    """
    element = header.pixels
    if element is None or element.element != 0x0010 or element.length == 0:
        raise no_pixel_data()
    syntax = header.transfer_syntax
    if not is_decodable(syntax):
        raise CodecError(f"Expected a readable compression, found {_syntax_name(syntax)}; export it uncompressed.")
    if syntax.is_encapsulated:
        _check_encapsulated(header, found)
    else:
        check_native_size(header, found.pixels * found.frames * found.allocated // 8)


def no_pixel_data() -> InputRefused:
    """Return the refusal of a file without pixel data."""
    return InputRefused("Expected pixel data, found none; the file may have been cut short.", reason="no_pixel_data")


def _syntax_name(syntax: UID) -> str:
    # A name from the dictionary, never a string from the file.
    return syntax.name if syntax.is_valid and syntax.name != syntax else "an unknown one"


def check_native_size(header: Header, need: int) -> None:
    """Refuse uncompressed pixel data of which the file holds fewer than `need` bytes.

    Raises
    ------
    InputRefused
        `no_pixel_data`, `truncated`.
    """
    element = header.pixels
    if element is None:
        raise no_pixel_data()
    have = header.size - element.offset
    have = have if element.length is None else min(have, element.length)
    if have < need:
        raise InputRefused(
            f"Expected {need} bytes of pixels, as the header's size and frames ask for, found {have}; export it again.",
            reason="truncated",
        )


def check_whole(header: Header) -> None:
    """Refuse an object whose pixel data are not all in the file, whatever their colours and compression.

    For those that pass pixels on without decoding them, where `check_pixels` would ask for too much.

    Raises
    ------
    InputRefused
        `no_pixel_data`, `truncated`.
    """
    element = header.pixels
    if element is None or element.length == 0:
        raise no_pixel_data()
    syntax = header.transfer_syntax
    if not syntax.is_transfer_syntax:  # how it lays out pixels is not known
        return
    if syntax.is_encapsulated:
        # A video holds all of its frames in one fragment.
        frames = 1 if syntax in MPEGTransferSyntaxes else integer(header.dataset, "NumberOfFrames") or 1
        _check_fragments(header, frames, ended=True)
    else:
        check_native_size(header, native_bytes(header.dataset) or element.length or 1)


def native_bytes(dataset: Dataset) -> int:
    """Return the bytes of uncompressed pixel data that a header asks for; 0 where it does not tell their size."""
    sizes = [integer(dataset, name) for name in ("Rows", "Columns", "BitsAllocated")]
    if not all(sizes):
        return 0
    samples, frames = integer(dataset, "SamplesPerPixel") or 1, integer(dataset, "NumberOfFrames") or 1
    if text(dataset, "PhotometricInterpretation") == "YBR_FULL_422":
        samples = 2
    rows, columns, bits = (size or 0 for size in sizes)
    return (rows * columns * bits * samples * frames + 7) // 8


def _check_encapsulated(header: Header, found: PixelFormat) -> None:
    need, most = found.pixels * found.frames * found.allocated // 8, header.limits.total_px * 4
    if need > header.limits.bytes_out(header.size, most):
        raise InputRefused(
            f"Expected compressed pixels that come to less than {header.limits.ratio_out} times their size, found "
            f"{found.frames} frames of {found.rows} x {found.columns} in {header.size} bytes; export it again.",
            reason="too_large",
        )
    _check_fragments(header, found.frames)
    with open_dicom(header.path, header.limits) as stream:
        start = _first_fragment(stream, header)
    check_codestream(header.transfer_syntax, start, rows=found.rows, columns=found.columns, allocated=found.allocated)


def _check_fragments(header: Header, frames: int, *, ended: bool = False) -> None:
    """Refuse fewer fragments than frames, a fragment that is cut, and with `ended` pixels without their end.

    Where frames have several fragments each, only the end says that the last of them are there.
    """
    assert header.pixels is not None
    position, fragments, whole = header.pixels.offset, 0, 0
    with open_dicom(header.path, header.limits) as stream:
        tag, length = _tag_at(stream, position)
        while tag == _ITEM:
            position += 8 + length
            fragments += 1
            whole += position <= header.size
            tag, length = _tag_at(stream, position)
    # The first item is the offset table; every frame has at least one fragment after it.
    if fragments != whole or fragments - 1 < frames:
        raise InputRefused(
            f"Expected {frames} compressed frames, found {max(whole - 1, 0)} whole ones; export it again.",
            reason="truncated",
        )
    if ended and tag != _SEQUENCE_END:
        raise InputRefused(
            "Expected compressed pixels up to the mark of their end, found none; export it again.", reason="truncated"
        )


def _tag_at(stream: BinaryIO, position: int) -> tuple[tuple[int, int], int]:
    stream.seek(position)
    head = stream.read(8)
    group, element, length = struct.unpack("<HHL", head) if len(head) == 8 else (0, 0, 0)
    return (group, element), length


def _first_fragment(stream: BinaryIO, header: Header) -> bytes:
    assert header.pixels is not None
    stream.seek(header.pixels.offset + 4)
    (table,) = struct.unpack("<L", stream.read(4))
    stream.seek(table + 4, io.SEEK_CUR)
    (length,) = struct.unpack("<L", stream.read(4))
    return stream.read(min(length, 1 << 16))


def read_frames(header: Header, found: PixelFormat) -> npt.NDArray[np.float32] | npt.NDArray[np.uint16]:
    """Return the stored values, (T, H, W), decoded frame by frame into one array.

    They are uint16 where that holds all that may be stored, else float32.

    Raises
    ------
    CodecError
        `unsupported_codec`: no installed decoder reads this compression.
    InputRefused
        `no_pixel_data`, `truncated`, or `corrupt_pixels` where a frame does not decode.
    """
    check_pixels(header, found)
    low, high = found.value_range
    dtype = np.dtype(np.uint16 if low >= 0 and high < 65536 else np.float32)
    if header.transfer_syntax.is_encapsulated:
        assert header.pixels is not None
        offsets = _extended_offsets(header)
        return decode_all(
            CompressedFrames(header.path, header.pixels.offset, header.transfer_syntax, found, offsets), dtype
        )
    frames = np.empty((found.frames, found.rows, found.columns), dtype=dtype)
    for index, frame in enumerate(_native(header, found)):
        frames[index] = frame
    return frames


def _native(header: Header, found: PixelFormat) -> Iterator[npt.NDArray[np.generic]]:
    big_endian = header.transfer_syntax == ExplicitVRBigEndian
    with open_dicom(header.path, header.limits) as stream:
        assert header.pixels is not None
        stream.seek(header.pixels.offset)
        yield from _decode_native(stream, found, big_endian=big_endian, vr=header.pixels.vr)


def _decode_native(
    stream: BinaryIO, found: PixelFormat, *, big_endian: bool, vr: str
) -> Iterator[npt.NDArray[np.generic]]:
    width = found.allocated // 8
    dtype = np.dtype(f"{'>' if big_endian else '<'}u{width}")
    if big_endian and width == 1 and vr == "OW":  # bytes lie in swapped pairs, which may straddle frames
        stored = np.frombuffer(stream.read((found.pixels * found.frames + 1) & ~1), dtype="<u2")
        stream = io.BytesIO(stored.byteswap().tobytes())
    for _ in range(found.frames):
        frame = np.frombuffer(stream.read(found.pixels * width), dtype=dtype).astype(dtype.newbyteorder("="))
        yield _stored_bits(frame.reshape(found.rows, found.columns), found)


def _stored_bits(frame: npt.NDArray[np.unsignedinteger], found: PixelFormat) -> npt.NDArray[np.generic]:
    """Return the value within its stored bits: overlays and rubbish in the others are dropped, the sign extended."""
    up = found.allocated - 1 - found.high_bit
    down = found.allocated - found.stored
    if found.signed:
        return (frame << up).view(frame.dtype.str.replace("u", "i")) >> down
    return (frame << up) >> down


def _extended_offsets(header: Header) -> tuple[bytes, bytes] | None:
    table = header.dataset.get("ExtendedOffsetTable")
    lengths = header.dataset.get("ExtendedOffsetTableLengths")
    return (table, lengths) if table and lengths else None
