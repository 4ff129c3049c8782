"""Stored integers through a look-up table, in one pass over memory. Knows no medicine.

A logarithm costs more than fetching the pixel that it is taken of, and integers of at most 16
bits have few enough values to tabulate it. Each function reads every pixel once and writes what
it returns once; nothing between is stored.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from angio_pipeline.numerics.compiled import compiled, each_in_threads

__all__ = ["look_up", "look_up_minus", "look_up_shrunk"]

FloatArray = npt.NDArray[np.float32]
StoredArray = npt.NDArray[np.unsignedinteger]

# A part of a frame that stays in the core's own cache together with the same part of the mask.
_PARTS = 4


def look_up(stored: StoredArray, table: FloatArray) -> FloatArray:
    """Return table[stored], float32, of the same shape.

    Raises
    ------
    ValueError
        When the table has no entry for every value of the stored type.
    """
    _check_table(stored, table)
    flat, out = np.ascontiguousarray(stored).reshape(-1), np.empty(stored.shape, np.float32)
    _in_parts(flat, table, out.reshape(-1))
    return out


def look_up_minus(
    stored: StoredArray, table: FloatArray, mask: FloatArray, *, out: FloatArray | None = None
) -> FloatArray:
    """Return table[stored] - mask for each frame, (T, H, W) float32.

    Parameters
    ----------
    stored : ndarray, (T, H, W) uint8 or uint16
    table : ndarray, (N,) float32
        An entry for every value that the stored type can hold.
    mask : ndarray, (H, W) float32
    out : ndarray, (T, H, W) float32, optional
        Written to and returned; saves making a new one.

    Raises
    ------
    ValueError
        When frames and mask differ in size, `out` is not one block of the frames' shape, or the
        table has no entry for every value of the stored type.
    """
    if stored.ndim != 3 or stored.shape[1:] != mask.shape:
        raise ValueError(f"Expected frames of the mask's size {mask.shape}, found {stored.shape[1:]}.")
    _check_table(stored, table)
    out = np.empty(stored.shape, np.float32) if out is None else out
    if out.shape != stored.shape or out.dtype != np.float32 or not out.flags.c_contiguous:
        raise ValueError(
            f"Expected `out` as one block of float32 of shape {stored.shape}, found {out.dtype} {out.shape}."
        )
    stored = np.ascontiguousarray(stored)
    flat = np.ascontiguousarray(mask, dtype=np.float32).reshape(-1)

    def one(item: int) -> None:
        frame, part = divmod(item, _PARTS)
        a, b = part * flat.size // _PARTS, (part + 1) * flat.size // _PARTS
        _minus(stored[frame].reshape(-1)[a:b], table, flat[a:b], out[frame].reshape(-1)[a:b])

    each_in_threads(one, len(stored) * _PARTS)
    return out


def look_up_shrunk(stored: StoredArray, table: FloatArray, factor: int) -> FloatArray:
    """Return means of table[stored] over blocks of factor x factor pixels, (T, H // factor, W // factor) float32."""
    _check_table(stored, table)
    count, rows, cols = stored.shape
    out = np.empty((count, max(1, rows // factor), max(1, cols // factor)), np.float32)

    def one(frame: int) -> None:
        _shrunk(stored[frame], table, factor, out[frame])

    each_in_threads(one, count)
    return out


def _check_table(stored: StoredArray, table: FloatArray) -> None:
    if stored.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"Expected stored values of 8 or 16 unsigned bits, found {stored.dtype}.")
    need = int(np.iinfo(stored.dtype).max) + 1
    if len(table) < need:
        raise ValueError(f"Expected a table of {need} entries for {stored.dtype} values, found {len(table)}.")


def _in_parts(flat: StoredArray, table: FloatArray, out: FloatArray) -> None:
    parts = max(1, flat.size >> 18)

    def one(part: int) -> None:
        a, b = part * flat.size // parts, (part + 1) * flat.size // parts
        _gather(flat[a:b], table, out[a:b])

    each_in_threads(one, parts)


@compiled
def _gather(stored: StoredArray, table: FloatArray, out: FloatArray) -> None:
    for i in range(stored.size):
        out[i] = table[stored[i]]


@compiled
def _minus(stored: StoredArray, table: FloatArray, mask: FloatArray, out: FloatArray) -> None:
    for i in range(stored.size):
        out[i] = table[stored[i]] - mask[i]


@compiled
def _shrunk(stored: StoredArray, table: FloatArray, factor: int, out: FloatArray) -> None:
    for row in range(out.shape[0]):
        for col in range(out.shape[1]):
            bottom = min(row * factor + factor, stored.shape[0])
            right = min(col * factor + factor, stored.shape[1])
            total = np.float32(0)
            for r in range(row * factor, bottom):
                for c in range(col * factor, right):
                    total += table[stored[r, c]]
            out[row, col] = total / np.float32((bottom - row * factor) * (right - col * factor))
