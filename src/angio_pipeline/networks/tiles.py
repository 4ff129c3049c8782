"""Pictures of any size in tiles of a bearable one: cut with overlap, blended without seams."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = ["predict_tiled"]

FloatArray = npt.NDArray[np.float32]
# Takes (C, h, w); gives (classes, h, w) and a description (D,).
Forward = Callable[[FloatArray], tuple[FloatArray, FloatArray]]


def predict_tiled(
    forward: Forward, image: FloatArray, *, tile_px: int, overlap_px: int, multiple_px: int
) -> tuple[FloatArray, FloatArray]:
    """Return (classes, H, W) and the mean description of a picture (C, H, W) of any size.

    A picture that fits in one tile is predicted whole, padded with zeros to a multiple of `multiple_px`. A larger
    one is cut into tiles that overlap; in the overlap both count, each the less the nearer its edge.

    Raises
    ------
    ValueError
        When the picture has no pixels.
    """
    rows, columns = image.shape[1:]
    if max(rows, columns) <= tile_px:
        return _padded(forward, image, multiple_px)
    total: FloatArray | None = None
    weights = np.zeros((rows, columns), np.float32)
    descriptions = []
    for top in _starts(rows, tile_px, overlap_px):
        for left in _starts(columns, tile_px, overlap_px):
            window = (slice(top, min(top + tile_px, rows)), slice(left, min(left + tile_px, columns)))
            out, description = _padded(forward, image[(slice(None), *window)], multiple_px)
            descriptions.append(description)
            weight = _weight(out.shape[1:], overlap_px)
            if total is None:
                total = np.zeros((len(out), rows, columns), np.float32)
            total[(slice(None), *window)] += out * weight
            weights[window] += weight
    if total is None:
        raise ValueError("Expected a picture with pixels, found none.")
    return total / weights, np.mean(descriptions, axis=0)


def _padded(forward: Forward, image: FloatArray, multiple_px: int) -> tuple[FloatArray, FloatArray]:
    rows, columns = image.shape[1:]
    below, beside = -rows % multiple_px, -columns % multiple_px
    if below or beside:
        image = np.pad(image, ((0, 0), (0, below), (0, beside)))
    out, description = forward(np.ascontiguousarray(image))
    return out[:, :rows, :columns], description


def _starts(length: int, tile_px: int, overlap_px: int) -> list[int]:
    """Return where tiles begin: evenly, so that none is a sliver."""
    if length <= tile_px:
        return [0]
    count = int(np.ceil((length - overlap_px) / (tile_px - overlap_px)))
    return [round(start) for start in np.linspace(0, length - tile_px, count)]


def _weight(shape: tuple[int, ...], overlap_px: int) -> FloatArray:
    ramps = []
    for length in shape:
        to_edge = np.minimum(np.arange(length), np.arange(length)[::-1]) + 1.0
        ramps.append(np.clip(to_edge / max(overlap_px, 1), 0, 1))
    return np.outer(*ramps).astype(np.float32)
