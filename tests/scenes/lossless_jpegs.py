"""Lossless JPEG streams (T.81, process 14) of any predictor, precision, point transform and restart interval.

A table of plain codes of five bits, so that what is written can be followed by hand.
"""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

CODE_BITS = 5
CATEGORIES = range(17)


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def table(number: int = 0, code_bits: int = CODE_BITS) -> bytes:
    """A table in which every category has a code of the same length, which is the category itself."""
    counts = bytearray(16)
    counts[code_bits - 1] = len(CATEGORIES)
    return segment(0xC4, bytes([number]) + bytes(counts) + bytes(CATEGORIES))


def expected(image: npt.NDArray[np.int64], row: int, column: int, predictor: int) -> int:
    """What table H.1 expects, away from the first row and column."""
    left, above, corner = (int(image[row - a, column - b]) for a, b in ((0, 1), (1, 0), (1, 1)))
    return (
        left,
        above,
        corner,
        left + above - corner,
        left + ((above - corner) >> 1),
        above + ((left - corner) >> 1),
        (left + above) >> 1,
    )[predictor - 1]


def coded(image: npt.NDArray[np.int64], predictor: int, bits: int, code_bits: int) -> bytes:
    """The samples of one stretch, as bytes with what T.81 asks for behind each 0xFF."""
    written = []
    for (row, column), value in np.ndenumerate(image):
        if row == 0:
            guess = 1 << (bits - 1) if column == 0 else int(image[row, column - 1])
        else:
            guess = int(image[row - 1, 0]) if column == 0 else expected(image, row, column, predictor)
        step = (int(value) - guess) % 65536
        step -= 65536 if step > 32768 else 0
        category = abs(step).bit_length()
        written.append(f"{category:0{code_bits}b}")
        if 0 < category < 16:
            written.append(f"{step if step > 0 else step + (1 << category) - 1:0{category}b}")
    text = "".join(written)
    text += "1" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")


def stream(
    image: npt.NDArray[np.integer],
    *,
    precision: int,
    predictor: int = 1,
    shift: int = 0,
    restart_rows: int = 0,
    code_bits: int = CODE_BITS,
    tables: bytes | None = None,
    chosen: int = 0,
) -> bytes:
    """The whole stream; `shift` bits of each sample are dropped by the point transform."""
    rows, columns = image.shape
    samples = image.astype(np.int64) >> shift
    frame = struct.pack(">BHHBBBB", precision, rows, columns, 1, 1, 0x11, 0)
    scan = bytes([1, 1, chosen << 4, predictor, 0, shift])
    interval = segment(0xDD, struct.pack(">H", restart_rows * columns)) if restart_rows else b""
    stretch = restart_rows or rows
    parts = [coded(samples[i : i + stretch], predictor, precision - shift, code_bits) for i in range(0, rows, stretch)]
    body = b"".join(part + bytes([0xFF, 0xD0 + number % 8]) for number, part in enumerate(parts[:-1])) + parts[-1]
    header = segment(0xE0, b"JFIF") + (tables or table(0, code_bits)) + segment(0xC3, frame) + interval
    return b"\xff\xd8" + header + segment(0xDA, scan) + body + b"\xff\xd9"
