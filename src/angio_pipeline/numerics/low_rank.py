"""Noise taken out of a sequence of images by keeping, block by block, the courses in time that are no noise.

Strategy: within a block of pixels a few courses in time explain what happens; white noise spreads
evenly over all of them, with eigenvalues that follow the law of Marchenko and Pastur. Courses
whose variance fits that law are dropped (Veraart and others 2016,
doi:10.1016/j.neuroimage.2016.08.016). The mean course of a block is never touched, and what is
kept is kept whole: no frame is mixed with its neighbours, so that nothing arrives earlier or
later than it did. Knows no medicine.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from angio_pipeline.numerics.compiled import each_in_threads

__all__ = ["keep_significant"]

FloatArray = npt.NDArray[np.float32]


def keep_significant(frames: FloatArray, *, block_px: int) -> FloatArray:
    """Return the sequence without the courses that cannot be told from white noise, (T, H, W) float32.

    Parameters
    ----------
    frames : ndarray, (T, H, W) float32
        At least two frames.
    block_px : int
        Side of a block; it holds several times more pixels than there are frames. Four grids of
        blocks, half a block apart, are averaged, so that no block's edge shows.
    """
    count, rows, cols = frames.shape
    half = block_px // 2
    down, across = (block_px + (-n) % block_px + block_px for n in (rows, cols))
    padded = np.pad(frames, ((0, 0), (half, down - half), (half, across - half)), mode="symmetric")
    out = np.zeros(frames.shape, np.float32)
    for top, left in ((0, 0), (0, half), (half, 0), (half, half)):
        height, width = (n // block_px * block_px for n in (padded.shape[1] - top, padded.shape[2] - left))
        window = padded[:, top : top + height, left : left + width]
        cleaned = np.empty((count, height, width), np.float32)

        def one(line: int, window: FloatArray = window, cleaned: FloatArray = cleaned) -> None:
            strip = slice(line * block_px, (line + 1) * block_px)
            cleaned[:, strip] = _clean_line(window[:, strip], block_px)

        each_in_threads(one, height // block_px)
        out += cleaned[:, half - top : half - top + rows, half - left : half - left + cols]
    out *= np.float32(0.25)
    return out


def _clean_line(strip: FloatArray, block_px: int) -> FloatArray:
    """Return one line of blocks, (T, block, W), each cleaned by itself."""
    count, _, width = strip.shape
    blocks = strip.reshape(count, block_px, width // block_px, block_px).transpose(2, 0, 1, 3)
    pixels = np.ascontiguousarray(blocks, dtype=np.float64).reshape(len(blocks), count, block_px * block_px)
    course = pixels.mean(axis=2, keepdims=True)
    deviation = pixels - course
    values, vectors = np.linalg.eigh(deviation @ deviation.transpose(0, 2, 1) / deviation.shape[2])
    kept = vectors * (np.arange(count)[None] >= _first_significant(values, deviation.shape[2])[:, None])[:, None, :]
    cleaned = course + kept @ (vectors.transpose(0, 2, 1) @ deviation)
    back = cleaned.reshape(len(blocks), count, block_px, block_px).transpose(1, 2, 0, 3)
    return np.asarray(back.reshape(strip.shape), dtype=np.float32)


def _first_significant(values: npt.NDArray[np.float64], samples: int) -> npt.NDArray[np.intp]:
    """Return for each block how many of its eigenvalues (ascending) are noise.

    The largest number whose mean and spread agree on one variance: of p eigenvalues of noise the
    mean is its variance, and their range four variances times the root of p over the samples.
    """
    number = np.arange(1, values.shape[1] + 1)
    by_mean = np.cumsum(values, axis=1) / number
    by_range = (values - values[:, :1]) / (4 * np.sqrt(number / samples))
    agrees = by_range <= by_mean
    return np.asarray(values.shape[1] - np.argmax(agrees[:, ::-1], axis=1))
