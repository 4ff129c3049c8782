"""Noise taken out of a sequence of images by keeping, block by block, the courses in time that are no noise.

Strategy: within a block of pixels a few courses in time explain what happens; white noise spreads
evenly over all of them, with eigenvalues that follow the law of Marchenko and Pastur. Courses
whose variance fits that law are dropped (Veraart and others 2016,
doi:10.1016/j.neuroimage.2016.08.016). The mean course of a block is never touched, and what is
kept is kept whole: nothing is smoothed along time. Only courses within one block that differ by
less than its noise are drawn together. Knows no medicine.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from angio_pipeline.numerics.compiled import each_in_threads

__all__ = ["keep_significant"]

FloatArray = npt.NDArray[np.float32]


def keep_significant(frames: FloatArray, *, block_px: int, valid: npt.NDArray[np.bool_] | None = None) -> FloatArray:
    """Return the sequence without the courses that cannot be told from white noise, (T, H, W) float32.

    Courses whose difference is smaller than the noise of a whole block are taken for one.

    Parameters
    ----------
    frames : ndarray, (T, H, W) float32
        At least two frames.
    block_px : int
        Side of a block; it holds several times more pixels than there are frames. Blocks lie half
        a block apart and their results are averaged, so that no block's edge shows.
    valid : ndarray, (H, W) bool, optional
        Pixels that hold something; the others are returned as they are.
    """
    _, rows, cols = frames.shape
    inside = np.ones((rows, cols), np.bool_) if valid is None else valid
    height, width = min(block_px, rows), min(block_px, cols)
    total, counts = np.zeros(frames.shape, np.float32), np.zeros((rows, cols), np.float32)
    columns = _starts(cols, width)
    lines = _starts(rows, height)
    # Lines of blocks that overlap are not worked on at once.
    for together in (lines[:-1:2], lines[1:-1:2], lines[-1:]):

        def one(k: int, together: list[int] = together) -> None:
            line = slice(together[k], together[k] + height)
            _add_line(frames[:, line], inside[line], columns, width, total[:, line], counts[line])

        each_in_threads(one, len(together))
    total /= counts
    total[:, ~inside] = frames[:, ~inside]
    return total


def _starts(length: int, block: int) -> list[int]:
    """Return where blocks begin that lie half a block apart and all within the length."""
    return [*range(0, length - block, (block + 1) // 2), length - block]


def _add_line(
    strip: FloatArray,
    valid: npt.NDArray[np.bool_],
    columns: list[int],
    width: int,
    total: FloatArray,
    counts: FloatArray,
) -> None:
    """Add one line of blocks, each cleaned by itself, to `total`, and how often each pixel was to `counts`."""
    index = np.array(columns)[:, None] + np.arange(width)
    blocks = strip[:, :, index].transpose(2, 0, 1, 3).astype(np.float64)
    count, times = blocks.shape[0], blocks.shape[1]
    weights = valid[:, index].transpose(1, 0, 2).reshape(count, 1, -1).astype(np.float64)
    cleaned = _clean(blocks.reshape(count, times, -1), weights)
    cleaned = cleaned.reshape(blocks.shape)
    for k, first in enumerate(columns):
        total[:, :, first : first + width] += cleaned[k]
        counts[:, first : first + width] += 1


def _clean(pixels: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return blocks of pixels, (N, T, M), without noise; `weights`, (N, 1, M), are 0 for pixels that hold nothing."""
    samples = np.maximum(weights.sum(axis=2), 1)
    course = (pixels * weights).sum(axis=2, keepdims=True) / samples[..., None]
    deviation = (pixels - course) * weights
    values, vectors = np.linalg.eigh(deviation @ deviation.transpose(0, 2, 1) / samples[..., None])
    noise = _courses_of_noise(values, samples)
    kept = vectors * (np.arange(values.shape[1])[None] >= noise[:, None])[:, None, :]
    return np.asarray(course + kept @ (vectors.transpose(0, 2, 1) @ deviation))


def _courses_of_noise(values: npt.NDArray[np.float64], samples: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Return for each block how many of its eigenvalues (N, T), ascending, are noise.

    The largest number whose mean and spread agree on one variance: of p eigenvalues of noise the
    mean is its variance, and their range four variances times the root of p over the samples.
    Eigenvalues of 0, which frames that depend on each other leave, belong to no noise and do not count.
    """
    empty = (values <= 1e-9 * values[:, -1:]).sum(axis=1, keepdims=True)
    rank = np.arange(values.shape[1])[None]
    number = np.maximum(rank - empty + 1, 1)
    held = np.where(rank >= empty, values, 0.0)
    least = np.take_along_axis(values, np.minimum(empty, values.shape[1] - 1), axis=1)
    by_mean = np.cumsum(held, axis=1) / number
    by_range = (values - least) / (4 * np.sqrt(number / samples))
    # One eigenvalue alone always agrees with itself.
    agrees = (by_range <= by_mean) & (rank >= empty + 1)
    last = values.shape[1] - np.argmax(agrees[:, ::-1], axis=1)
    return np.where(agrees.any(axis=1), last, 0)
