"""Frames of run lengths (PS3.5 annex G) into samples: each byte of a sample has a segment of its own."""

from __future__ import annotations

import itertools
import struct

import numpy as np
import numpy.typing as npt

from angio_pipeline.numerics.compiled import compiled

__all__ = ["decode_run_lengths", "segment_count"]

_HEADER = 64


def segment_count(data: bytes) -> int:
    """Return how many segments a frame says it has; 0 where its header is cut short."""
    return int(struct.unpack_from("<L", data)[0]) if len(data) >= _HEADER else 0


def decode_run_lengths(data: bytes, rows: int, columns: int, width: int) -> npt.NDArray[np.unsignedinteger]:
    """Return the samples, (H, W), of `width` bytes each.

    Raises
    ------
    ValueError
        When a segment does not unpack to one byte a pixel, or others are there than `width`.
    """
    if segment_count(data) != width:
        raise ValueError("another number of segments")
    starts = [*struct.unpack_from(f"<{width}L", data, 4), len(data)]
    stream = np.frombuffer(data, dtype=np.uint8)
    samples = np.zeros(rows * columns, dtype=f"u{width}")
    plane = np.empty(rows * columns, dtype=np.uint8)
    for first, last in itertools.pairwise(starts):
        if not _HEADER <= first < last <= len(data) or not _unpack(stream[first:last], plane):
            raise ValueError("a segment of another size")
        # The most significant byte comes first.
        samples = (samples << 8) | plane
    return samples.reshape(rows, columns)


@compiled
def _unpack(segment: npt.NDArray[np.uint8], plane: npt.NDArray[np.uint8]) -> bool:
    """Unpack into `plane` and return whether that is exactly what there was; one padding byte may be left over."""
    position = filled = 0
    size, length = len(segment), len(plane)
    while filled < length and position < size:
        control = int(segment[position])
        position += 1
        if control < 128:
            count = control + 1
            if position + count > size or filled + count > length:
                return False
            for index in range(count):
                plane[filled + index] = segment[position + index]
            position += count
            filled += count
        elif control > 128:
            count = 257 - control
            if position >= size or filled + count > length:
                return False
            plane[filled : filled + count] = segment[position]
            position += 1
            filled += count
    return filled == length and size - 1 <= position <= size
