"""Encoders of one grey frame, by the transfer syntax of what they return."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import imagecodecs
import numpy as np
from pydicom.pixels import get_encoder
from pydicom.uid import (
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)


def _run_lengths(frame: np.ndarray) -> bytes:
    kind = {"bits_allocated": 16, "bits_stored": 16, "pixel_representation": 0, "samples_per_pixel": 1}
    size = {"rows": frame.shape[0], "columns": frame.shape[1], "number_of_frames": 1}
    encoder = get_encoder(RLELossless)
    return next(encoder.iter_encode(frame.tobytes(), **size, **kind, photometric_interpretation="MONOCHROME2"))


LOSSLESS: dict[str, Callable[[np.ndarray], bytes | bytearray]] = {
    JPEGLosslessSV1: imagecodecs.ljpeg_encode,
    JPEGLSLossless: imagecodecs.jpegls_encode,
    JPEG2000Lossless: partial(imagecodecs.jpeg2k_encode, level=0, codecformat="j2k", reversible=True),
    HTJ2KLossless: partial(imagecodecs.htj2k_encode, reversible=True),
    RLELossless: _run_lengths,
}
ENCODERS = LOSSLESS | {JPEGLSNearLossless: partial(imagecodecs.jpegls_encode, level=2)}
