"""What a compressed frame says about itself, read before any decoder sees it.

A decoder trusts the frame's own header: one that claims 65535 x 65535 makes it take
gigabytes, and a 12-bit JPEG behind an 8-bit header comes out as noise. Both stop here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    RLELossless,
)

from angio_pipeline.core.errors import CodecError, InputRefused
from angio_pipeline.ingest.run_lengths import segment_count

__all__ = ["Codestream", "check_codestream", "read_codestream"]

_J2K = {JPEG2000, JPEG2000Lossless, HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL}
_LOSSLESS_FRAMES = {0xC3, 0xF7}
_FRAME_MARKERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_BARE_MARKERS = {0x01, *range(0xD0, 0xDA)}


@dataclass(frozen=True, slots=True)
class Codestream:
    """Size and precision that a compressed frame names; `lossless` is None where the stream does not tell."""

    rows: int
    columns: int
    samples: int
    precision: int
    lossless: bool | None


def read_codestream(syntax: str, data: bytes) -> Codestream | None:
    """Return what the frame's own header says, or None for a syntax without one (RLE) or a broken header."""
    try:
        if syntax in _J2K:
            return _read_j2k(data)
        return None if syntax == RLELossless else _read_jpeg(data)
    except (struct.error, IndexError):
        return None


def _read_jpeg(data: bytes) -> Codestream | None:
    position = 0
    while position < len(data):
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF or marker in _BARE_MARKERS:
            position += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        if marker in _FRAME_MARKERS:
            precision, rows, columns, samples = struct.unpack_from(">BHHB", data, position + 4)
            return Codestream(rows, columns, samples, precision, marker in _LOSSLESS_FRAMES)
        position += 2 + length
    return None


def _read_j2k(data: bytes) -> Codestream | None:
    start = _j2k_start(data)
    if data[start : start + 4] != b"\xff\x4f\xff\x51":  # SOC, then SIZ
        return None
    right, bottom, left, top = struct.unpack_from(">4L", data, start + 8)
    (samples,) = struct.unpack_from(">H", data, start + 40)
    return Codestream(bottom - top, right - left, samples, (data[start + 42] & 0x7F) + 1, None)


def _j2k_start(data: bytes) -> int:
    """Return where the codestream starts: at once, or in the box for it of a JP2 wrapper, as a decoder finds it."""
    if data[4:8] != b"jP  ":
        return 0
    position = 0
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">L4s", data, position)
        if kind == b"jp2c":
            return position + (16 if length == 1 else 8)
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, position + 8)
        if length < 8:
            break
        position += length
    return len(data)


def check_codestream(syntax: str, data: bytes, *, rows: int, columns: int, allocated: int) -> None:
    """Refuse a compressed frame whose own header contradicts the file's, or that no decoder reads.

    The start of a frame is enough.

    Raises
    ------
    CodecError
        `unsupported_codec`: lossy JPEG of more than 8 bits.
    InputRefused
        `corrupt_pixels`: another size, several samples, more bits than the file allots, or no header.
    """
    if syntax == RLELossless:
        if segment_count(data) != allocated // 8:
            raise _refusal(f"{allocated // 8} run-length segments", f"{segment_count(data)}")
        return
    found = read_codestream(syntax, data)
    if found is None:
        raise _refusal("a compressed frame with a header", "none")
    if found.lossless is False and found.precision != 8:
        raise CodecError(
            f"Expected a readable compression, found lossy JPEG of {found.precision} bits; export it uncompressed."
        )
    if (found.rows, found.columns, found.samples) != (rows, columns, 1):
        raise _refusal(
            f"a compressed frame of {rows} x {columns}",
            f"one of {found.rows} x {found.columns} with {found.samples} samples",
        )
    if found.precision > allocated:
        raise _refusal(f"at most {allocated} bits a pixel", f"{found.precision}")


def _refusal(expected: str, found: str) -> InputRefused:
    return InputRefused(f"Expected {expected}, found {found}; export it again.", reason="corrupt_pixels")
