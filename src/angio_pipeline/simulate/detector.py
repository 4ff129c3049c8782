"""From attenuation to stored pixel values: scatter, blur, quantum noise, storage."""

from __future__ import annotations

from enum import StrEnum

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.params import Params

__all__ = ["DetectorParams", "Storage", "expose", "exposure_level", "log_noise", "store"]

Array = npt.NDArray[np.float64]


class Storage(StrEnum):
    """Pixel Intensity Relationship of the stored values."""

    LIN = "LIN"
    LOG = "LOG"
    DISP = "DISP"


class DetectorParams(Params):
    """Dose, sharpness and storage."""

    rows: int = Field(512, ge=128, le=2048)
    columns: int = Field(512, ge=128, le=2048)
    field_mm: float = Field(318.0, ge=100, le=450, description="width of the picture at the detector")
    photons: float = Field(6000.0, ge=50, le=1e6, description="quanta a pixel and frame at the picture's middle")
    scatter: float = Field(0.3, ge=0, le=3, description="scatter over primary behind the grid")
    blur_px: float = Field(0.55, ge=0, le=3, description="standard deviation of the detector's spread")
    bits: int = Field(12, ge=8, le=16)
    storage: Storage = Storage.LIN


def exposure_level(attenuation: Array) -> float:
    """Return the attenuation for which the exposure is set: the median of the picture's middle."""
    h, w = attenuation.shape
    return float(np.median(attenuation[h // 4 : 3 * h // 4, w // 4 : 3 * w // 4]))


def expose(attenuation: Array, params: DetectorParams, level: float) -> Array:
    """Return (H, W) expected quanta: primary, veil of scatter, blur.

    Where attenuation equals `level`, `params.photons` reach each pixel; a run keeps the level of
    its first frame, as the exposure is locked once a run begins.
    """
    h, w = attenuation.shape
    primary = np.exp(level - attenuation)
    veil = cv2.GaussianBlur(cv2.resize(primary, (w // 8, h // 8), interpolation=cv2.INTER_AREA), (0, 0), 7.0)
    total = primary + params.scatter * cv2.resize(veil, (w, h), interpolation=cv2.INTER_LINEAR)
    if params.blur_px > 0:
        total = cv2.GaussianBlur(total, (0, 0), params.blur_px)
    return np.asarray(params.photons * total / (1 + params.scatter))


def log_noise(expected: Array) -> Array:
    """Return (H, W) standard deviation of the attenuation of one frame."""
    return np.asarray(1 / np.sqrt(np.maximum(expected, 1.0)))


def store(expected: Array, params: DetectorParams, white: float, rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    """Return (H, W) uint16 stored values; `white` is the number of quanta at the top of the scale."""
    counts = np.maximum(expected + np.sqrt(expected) * rng.standard_normal(expected.shape), 0.0)
    top = 2**params.bits - 1
    share = counts / white
    if params.storage is Storage.LOG:
        share = np.log1p(share * top) / np.log1p(top)
    elif params.storage is Storage.DISP:
        share = np.clip(share, 0, 1) ** 0.6
    return np.asarray(np.clip(np.rint(share * top), 0, top), dtype=np.uint16)
