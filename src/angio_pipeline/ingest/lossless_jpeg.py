"""Lossless JPEG frames (ITU-T T.81, process 14) into samples, or a refusal where a single bit must be wrong.

Written here because no library at hand both lets threads run and notices damage: a stream that was cut or
flipped comes back as an image from most of them. Here every code has to be in its table, every sample within
its bits, and every stretch of data has to end, to the byte, where its last sample does.

A stretch is what lies between two restart markers, or the whole scan; its rows are decoded as one, by a loop
that is compiled and lets go of the interpreter's lock.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from angio_pipeline.numerics.compiled import compiled

__all__ = ["decode_lossless_jpeg", "is_lossless_jpeg"]

_START, _FRAME, _TABLES, _SCAN, _INTERVAL, _END = 0xD8, 0xC3, 0xC4, 0xDA, 0xDD, 0xD9
_RESTART = 0xD0
# All that start a frame, of any process; 0xC8 and 0xCC lie among them and do not.
_FRAMES = {*range(0xC0, 0xD0)} - {_TABLES, 0xC8, 0xCC}
_FILL = 0xFF
# Markers that no length and no content follow.
_BARE = {0x01, *range(_RESTART, _END)}
_GREATEST_CATEGORY = 16
# Codes of up to so many bits are found in a table that stays in the nearest cache.
_SHORT_BITS = 11
_SHORTER_BY = 16 - _SHORT_BITS

Lookup = npt.NDArray[np.uint16]


@dataclass(slots=True)
class _Scan:
    """What the segments before the samples say; `position` is where the samples start."""

    rows: int = 0
    columns: int = 0
    precision: int = 0
    interval: int = 0
    tables: dict[int, Lookup] = field(default_factory=dict)
    table: int = 0
    predictor: int = 0
    shift: int = 0
    position: int = 0


def is_lossless_jpeg(data: bytes) -> bool:
    """Return whether the first frame header of a JPEG stream names the lossless process with Huffman codes."""
    try:
        return any(marker == _FRAME for marker, _ in _segments(data)[0])
    except (ValueError, struct.error):
        return False


def decode_lossless_jpeg(data: bytes) -> npt.NDArray[np.uint16]:
    """Return the samples of a stream of one component, (H, W).

    Raises
    ------
    ValueError
        When the stream is damaged, cut short, or of several components.
    """
    try:
        scan = _read_scan(data)
    except struct.error:
        raise ValueError("a header that is cut short") from None
    stream = np.frombuffer(data, dtype=np.uint8)
    how = _how(scan)
    samples = np.empty((scan.rows, scan.columns), dtype=np.uint16)
    stretch = scan.interval // scan.columns or scan.rows
    position = scan.position
    for number, first in enumerate(range(0, scan.rows, stretch)):
        position = _decode_rows(stream, position, samples[first : first + stretch], *how)
        if position < 0:
            raise ValueError("damaged samples")
        expected = _END if first + stretch >= scan.rows else _RESTART + number % 8
        if data[position] != expected:
            raise ValueError("data that do not end where their samples do")
        position += 1
    np.left_shift(samples, scan.shift, out=samples)
    return samples


def _how(scan: _Scan) -> tuple[Lookup, Lookup, int, int]:
    """Return tables, predictor and bits of a sample as `_decode_rows` takes them."""
    wide = scan.tables[scan.table]
    short = np.where(wide[:: 1 << _SHORTER_BY] >> 8 <= _SHORT_BITS, wide[:: 1 << _SHORTER_BY], 0).astype(np.uint16)
    return wide, short, scan.predictor, scan.precision - scan.shift


def _segments(data: bytes) -> tuple[list[tuple[int, bytes]], int]:
    """Return marker and content of every segment up to that which starts the scan, and where that ends.

    Raises
    ------
    ValueError, struct.error
    """
    if data[:2] != bytes((0xFF, _START)):
        raise ValueError("a stream that does not start")
    position = 2
    found: list[tuple[int, bytes]] = []
    while not found or found[-1][0] != _SCAN:
        mark, marker = struct.unpack_from("BB", data, position)
        if mark != 0xFF:
            raise ValueError("something between segments")
        if marker == _FILL or marker in _BARE:
            position += 1 if marker == _FILL else 2
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        end = position + 2 + length
        if length < 2 or end > len(data) or marker == _END:
            raise ValueError("a segment that does not end")
        found.append((marker, data[position + 4 : end]))
        position = end
    return found, position


def _read_scan(data: bytes) -> _Scan:
    segments, position = _segments(data)
    scan = _Scan(position=position)
    for marker, content in segments:
        if marker in _FRAMES:
            if marker != _FRAME or scan.rows:
                raise ValueError("several frames, or one of another process")
            scan.precision, scan.rows, scan.columns, samples = struct.unpack_from(">BHHB", content)
            if samples != 1 or not scan.rows or not scan.columns or not 2 <= scan.precision <= 16:
                raise ValueError("a frame that is not one component of 2 to 16 bits")
        elif marker == _TABLES:
            scan.tables |= _read_tables(content)
        elif marker == _INTERVAL:
            (scan.interval,) = struct.unpack(">H", content)
        elif marker == _SCAN:
            _, _, tables, scan.predictor, _, low = struct.unpack("6B", content)
            scan.table, scan.shift = tables >> 4, low & 15
    return _checked(scan)


def _checked(scan: _Scan) -> _Scan:
    if not scan.rows or scan.table not in scan.tables:
        raise ValueError("a scan without its frame or its table")
    if not 1 <= scan.predictor <= 7 or scan.shift >= scan.precision:
        raise ValueError("a scan that is not a lossless one")
    if scan.interval % scan.columns:
        raise ValueError("restarts within a row")
    return scan


def _read_tables(content: bytes) -> dict[int, Lookup]:
    """Return for each number of a table what the next 16 bits mean: length of the code above category."""
    tables, position = {}, 0
    while position < len(content):
        number, *counts = struct.unpack_from("17B", content, position)
        categories = np.frombuffer(content, np.uint8, sum(counts), position + 17).astype(np.uint16)
        lengths = np.repeat(np.arange(1, 17, dtype=np.uint16), counts)
        covered = 1 << (16 - lengths.astype(np.int64))
        if not len(categories) or categories.max() > _GREATEST_CATEGORY or covered.sum() > 1 << 16:
            raise ValueError("a table that is none")
        # What no code starts with stays 0, which is no length.
        tables[number] = np.zeros(1 << 16, dtype=np.uint16)
        tables[number][: covered.sum()] = np.repeat(lengths << 8 | categories, covered)
        position += 17 + len(categories)
    return tables


@compiled
def _decode_rows(
    stream: npt.NDArray[np.uint8],
    position: int,
    samples: npt.NDArray[np.uint16],
    wide: Lookup,
    short: Lookup,
    predictor: int,
    bits: int,
) -> int:
    """Fill the rows and return where the number of the marker behind them stands, or -1 where something is wrong.

    The last `held` bits of `buffer` are not used yet, of which `missing` do not exist.
    """
    rows, columns = samples.shape
    buffer = held = missing = 0
    for row in range(rows):
        left = corner = beyond = 0
        for column in range(columns):
            if held < 32:
                buffer, held, missing, position = _more(stream, position, buffer, held, missing)
            code = int(short[(buffer >> (held - _SHORT_BITS)) & ((1 << _SHORT_BITS) - 1)])
            if code == 0:
                code = int(wide[(buffer >> (held - 16)) & 0xFFFF])
            if code == 0:
                return -1
            category = code & 0xFF
            held -= code >> 8
            # The greatest category is one value, which has no bits.
            behind = category if category < 16 else 0
            held -= behind
            step = _step(category, (buffer >> held) & ((1 << behind) - 1))
            above = 0 if row == 0 else int(samples[row - 1, column])
            if row == 0:
                expected = 1 << (bits - 1) if column == 0 else left
            else:
                expected = above if column == 0 else _expected(predictor, left, above, corner)
            left, corner = (expected + step) & 0xFFFF, above
            beyond |= left >> bits
            samples[row, column] = left
        if beyond != 0 or held < missing:
            return -1
    return _marker_behind(stream, position) if held - missing < 8 else -1


@compiled
def _more(
    stream: npt.NDArray[np.uint8], position: int, buffer: int, held: int, missing: int
) -> tuple[int, int, int, int]:
    """Return buffer, held, missing and position with at least 32 bits held: zeros, once there are no others."""
    while held < 32:
        byte = 0
        if missing > 0 or position >= len(stream):
            missing += 8
        elif stream[position] != 0xFF:
            byte = int(stream[position])
            position += 1
        elif position + 1 < len(stream) and stream[position + 1] == 0:
            byte = 0xFF
            position += 2
        else:
            missing += 8
        buffer = (buffer << 8 | byte) & 0xFFFFFFFFFF
        held += 8
    return buffer, held, missing, position


@compiled
def _step(category: int, value: int) -> int:
    """Return the difference that a category and the bits behind it mean (T.81 table H.2)."""
    if category == 16:
        return 32768
    if category == 0:
        return 0
    return value if value >> (category - 1) else value + 1 - (1 << category)


@compiled
def _expected(predictor: int, left: int, above: int, corner: int) -> int:
    """Return what T.81 table H.1 expects of a sample by its neighbours."""
    if predictor == 1:
        return left
    if predictor == 2:
        return above
    if predictor == 3:
        return corner
    if predictor == 4:
        return left + above - corner
    if predictor == 5:
        return left + ((above - corner) >> 1)
    if predictor == 6:
        return above + ((left - corner) >> 1)
    return (left + above) >> 1


@compiled
def _marker_behind(stream: npt.NDArray[np.uint8], position: int) -> int:
    """Return where the number of the marker stands that starts here, before which it may be filled up; else -1."""
    start = position
    while position < len(stream) and stream[position] == _FILL:
        position += 1
    return position if start < position < len(stream) and stream[position] != 0 else -1
