"""Pixel data: regions blanked, comments of compressed streams dropped, and nothing left behind the pixels."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, JPEGTransferSyntaxes

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.ingest.deidentification.profile import BlankRule
from angio_pipeline.ingest.headers import Header, integer
from angio_pipeline.ingest.pixels import PixelFormat, native_bytes, pixel_format, read_frames

__all__ = ["blank", "trim_pixels"]

_JPEG_KEPT = {0xEE, 0xE8}  # Adobe's and JPEG-LS's markers of colour
_START, _END = b"\xff\xd8", b"\xff\xd9"
_J2K_START, _J2K_COMMENT, _J2K_TILE = 0xFF4F, 0xFF64, 0xFF90


def blank(dataset: Dataset, header: Header, rules: Sequence[BlankRule]) -> UID:
    """Blank the rectangles of the rules in every frame, in place, and return the transfer syntax to write with.

    What was compressed is written uncompressed: no coder has to be trusted with the seam.

    Raises
    ------
    InputRefused, CodecError
        As `read_frames` does: greyscale only, and decodable.
    """
    found = pixel_format(header)
    frames = np.array(read_frames(header, found)).astype(np.int64 if found.signed else np.uint64)
    dark = found.value_range[1] if found.photometric == "MONOCHROME1" else found.value_range[0]
    for rule in rules:
        for rectangle in rule.rectangles:
            frames[:, *_inside(rectangle, found)] = dark
    width = found.allocated // 8
    big = header.transfer_syntax == ExplicitVRBigEndian
    stored = frames.astype(f"{'>' if big else '<'}{'i' if found.signed else 'u'}{width}")
    dataset.HighBit = found.stored - 1
    _set_pixels(dataset, stored.tobytes(), "OW" if width > 1 else "OB")
    for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        if keyword in dataset:
            delattr(dataset, keyword)
    return ExplicitVRLittleEndian if header.transfer_syntax.is_encapsulated else header.transfer_syntax


def _inside(rectangle: tuple[int, int, int, int], found: PixelFormat) -> tuple[slice, slice]:
    row, column, rows, columns = rectangle
    top = row if row >= 0 else max(found.rows + row, 0)
    left = column if column >= 0 else max(found.columns + column, 0)
    return slice(top, top + rows), slice(left, left + columns)


def _set_pixels(dataset: Dataset, content: bytes, vr: str) -> None:
    dataset.PixelData = content + b"\0" * (len(content) % 2)
    dataset["PixelData"].VR = vr


def trim_pixels(dataset: Dataset, syntax: UID, *, overlays_gone: bool) -> None:
    """Drop what is not pixels from pixel data, in place: comments, and bytes behind the last frame.

    Parameters
    ----------
    overlays_gone : bool
        Clear the bits that no pixel uses: an overlay of old may be drawn in them.

    Raises
    ------
    InputRefused
        `corrupt_pixels` where compressed frames cannot be told apart.
    """
    if not dataset.get("PixelData"):
        return
    if syntax.is_encapsulated:
        _trim_frames(dataset, syntax)
        return
    need = native_bytes(dataset)
    if need and len(dataset.PixelData) > need:
        _set_pixels(dataset, dataset.PixelData[:need], dataset["PixelData"].VR)
    if overlays_gone:
        _clear_unused_bits(dataset, big_endian=syntax == ExplicitVRBigEndian)


def _clear_unused_bits(dataset: Dataset, *, big_endian: bool) -> None:
    allocated, stored, high = (integer(dataset, name) for name in ("BitsAllocated", "BitsStored", "HighBit"))
    if allocated != 16 or stored is None or high is None or not stored <= high + 1 <= 16 or stored == 16:
        return
    mask = ((1 << stored) - 1) << (high + 1 - stored)
    words: npt.NDArray[np.uint16] = np.frombuffer(dataset.PixelData, dtype=">u2" if big_endian else "<u2")
    kept = words & np.array(mask, words.dtype)
    if integer(dataset, "PixelRepresentation") == 1:  # the sign is kept as it was spread over the unused bits
        sign = (words >> np.array(high, words.dtype)) & 1
        kept = kept | np.where(sign == 1, 0xFFFF & ~((1 << (high + 1)) - 1), 0).astype(words.dtype)
    _set_pixels(dataset, kept.astype(words.dtype).tobytes(), "OW")


def _trim_frames(dataset: Dataset, syntax: UID) -> None:
    count = integer(dataset, "NumberOfFrames") or 1
    try:
        frames = list(generate_frames(dataset.PixelData, number_of_frames=count, extended_offsets=_offsets(dataset)))
    except Exception as error:  # pydicom raises errors of several types here
        raise InputRefused(
            f"Expected compressed frames, found some that cannot be told apart ({type(error).__name__}); export it "
            "again.",
            reason="corrupt_pixels",
        ) from None
    trimmed = [_without_comments(frame, syntax) for frame in frames[:count]]
    for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):  # the offsets are others now
        if keyword in dataset:
            delattr(dataset, keyword)
    dataset.PixelData = encapsulate(trimmed)
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"


def _offsets(dataset: Dataset) -> tuple[bytes, bytes] | None:
    table, lengths = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
    return (table, lengths) if table and lengths else None


def _without_comments(frame: bytes, syntax: UID) -> bytes:
    if syntax in JPEGTransferSyntaxes or frame[:2] == _START:
        return _jpeg_without_comments(frame)
    if frame[:2] == _J2K_START.to_bytes(2, "big"):
        return _j2k_without_comments(frame)
    return frame


def _jpeg_without_comments(frame: bytes) -> bytes:
    """Return a JPEG or JPEG-LS stream without comments, application data, and what follows its end."""
    end = frame.rfind(_END)
    frame = frame if end < 0 else frame[: end + 2]
    out, position = bytearray(frame[:2]), 2
    while position + 4 <= len(frame) and frame[position] == 0xFF:
        marker = frame[position + 1]
        (length,) = struct.unpack_from(">H", frame, position + 2)
        if marker == 0xDA:  # the scan: from here on it is image
            break
        droppable = marker == 0xFE or (0xE0 <= marker <= 0xEF and marker not in _JPEG_KEPT)
        if not droppable:
            out += frame[position : position + 2 + length]
        position += 2 + length
    return bytes(out + frame[position:])


def _j2k_without_comments(frame: bytes) -> bytes:
    """Return a JPEG 2000 stream without the comments of its main header, and without what follows its end."""
    end = frame.rfind(_END)
    frame = frame if end < 0 else frame[: end + 2]
    out, position = bytearray(frame[:2]), 2
    while position + 4 <= len(frame):
        marker, length = struct.unpack_from(">HH", frame, position)
        if marker == _J2K_TILE:
            break
        if marker != _J2K_COMMENT:
            out += frame[position : position + 2 + length]
        position += 2 + length
    return bytes(out + frame[position:])
