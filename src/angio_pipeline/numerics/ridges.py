"""Bright ridges of an image at several scales, in the image's own units. Knows no medicine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from angio_pipeline.numerics.filters import gaussian

__all__ = ["RidgeResponse", "bright_ridges", "ridge_noise_sd"]

_SLOPE = 1.5

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class RidgeResponse:
    """Ridges of an image.

    Attributes
    ----------
    strength : ndarray, (H, W) float32
        Greatest scale-normalised response, units of the image; 0 where there is no bright ridge.
    in_noise : ndarray, (H, W) float32
        Greatest response divided by what white noise gives at that scale.
    sigma_px : ndarray, (H, W) float32
        Scale of `in_noise`; a ridge of Gaussian profile s answers most at sqrt(2) s.
    """

    strength: FloatArray
    in_noise: FloatArray
    sigma_px: FloatArray


def ridge_noise_sd(noise_sd: float, sigma_px: float) -> float:
    """Return the standard deviation that white noise leaves in one scale-normalised second derivative.

    The integral of the squared second derivative of a Gaussian is 3 / (16 pi sigma^6).
    """
    return float(noise_sd * np.sqrt(3 / (16 * np.pi)) / sigma_px)


def bright_ridges(image: FloatArray, sigmas_px: Sequence[float], *, noise_sd: float) -> RidgeResponse:
    """Return the ridge response: across-ridge curvature less along-ridge curvature and slope.

    sigma^2 (-l1 - |l2|) - 1.5 sigma |g|, where l1 <= l2 are the Hessian's eigenvalues and g is
    the gradient across the ridge (Lindeberg 1998, doi:10.1023/A:1008097225773). One polarity, no
    normalisation by the image's own content, so that values of two images can be compared. A
    round blob, where l1 = l2, answers 0; the shoulder of an edge, which curves like a ridge
    but slopes, answers a ninth of what it would without the last term.

    Parameters
    ----------
    image : ndarray, (H, W) float32
    sigmas_px : sequence of float
    noise_sd : float
        White noise of `image`.
    """
    strength = np.zeros(image.shape, dtype=np.float32)
    in_noise = np.zeros(image.shape, dtype=np.float32)
    best = np.full(image.shape, sigmas_px[0], dtype=np.float32)
    for sigma in sigmas_px:
        response = _one_scale(image, sigma)
        np.maximum(strength, response, out=strength)
        scaled = response / np.float32(max(ridge_noise_sd(noise_sd, sigma), 1e-12))
        better = scaled > in_noise
        in_noise[better] = scaled[better]
        best[better] = sigma
    return RidgeResponse(strength, in_noise, best)


def _one_scale(image: FloatArray, sigma: float) -> FloatArray:
    smooth = gaussian(image, sigma)
    second = np.array([1, -2, 1], dtype=np.float32)
    plain = np.array([1], dtype=np.float32)
    first = np.array([-0.5, 0, 0.5], dtype=np.float32)
    rr = cv2.sepFilter2D(smooth, cv2.CV_32F, plain, second)
    cc = cv2.sepFilter2D(smooth, cv2.CV_32F, second, plain)
    rc = np.asarray(cv2.sepFilter2D(smooth, cv2.CV_32F, first, first), dtype=np.float32)
    mean = 0.5 * (rr + cc)
    spread = np.sqrt(np.square(0.5 * (rr - cc)) + np.square(rc))
    across, along = mean - spread, mean + spread
    response = np.float32(sigma * sigma) * (-across - np.abs(along))
    response -= np.float32(_SLOPE * sigma) * _slope_across(smooth, first, rr - cc, rc, spread)
    return np.asarray(np.maximum(response, 0), dtype=np.float32)


def _slope_across(
    smooth: FloatArray, first: FloatArray, difference: FloatArray, mixed: FloatArray, spread: FloatArray
) -> FloatArray:
    """Return the size of the gradient along the Hessian's lower eigenvector, by its double angle."""
    plain = np.array([1], dtype=np.float32)
    g_r = cv2.sepFilter2D(smooth, cv2.CV_32F, plain, first)
    g_c = cv2.sepFilter2D(smooth, cv2.CV_32F, first, plain)
    safe = np.maximum(spread, np.float32(1e-20))
    twice = (g_r * g_r - g_c * g_c) * (0.5 * difference / safe) + 2 * g_r * g_c * (mixed / safe)
    return np.asarray(np.sqrt(np.maximum(0.5 * (g_r * g_r + g_c * g_c - twice), 0)), dtype=np.float32)
