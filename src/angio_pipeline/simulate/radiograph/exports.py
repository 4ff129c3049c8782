"""From what the detector saw to stored values: linear, logarithmic or displayed; subtracted; inverted."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from angio_pipeline.core.params import Params
from angio_pipeline.simulate.radiograph.collimation import Outside

__all__ = ["ExportParams", "Storage", "Vendor", "linear_table", "store_frames", "stored_bits"]

Array = npt.NDArray[np.float32]
# White over the value at which the logarithm goes over into a straight line, whatever the bits.
_LOG_SPAN = 255.0


class Storage(StrEnum):
    """Pixel Intensity Relationship of the stored values."""

    LIN = "LIN"
    LOG = "LOG"
    DISP = "DISP"


class Vendor(StrEnum):
    """Whose habits of writing tags a file imitates; no maker had a part in it."""

    GENERIC = "generic"
    GE = "ge"
    PHILIPS = "philips"
    SIEMENS = "siemens"


class ExportParams(Params):
    """How frames are stored."""

    vendor: Vendor = Field(Vendor.GENERIC, description="whose habits of writing tags are imitated")
    storage: Storage = Field(Storage.LIN, description="stored values follow the beam (LIN), its log, or the display")
    bits: int = Field(12, ge=8, le=16, description="bits of the largest stored value")
    already_subtracted: bool = Field(False, description="the mask is subtracted before the export, as many archives do")
    subtracted_span: float = Field(
        1.2, ge=0.2, le=5, description="attenuation of contrast that a subtracted export shows as black"
    )
    inverted: bool = Field(False, description="stored as MONOCHROME1, which XA forbids and archives hold")
    edge_enhancement: float = Field(
        0.0, ge=0, le=3, description="unsharp masking of DISP exports, share of the detail that is added"
    )
    matrix: int | None = Field(None, ge=128, le=2048, description="rows and columns; those of the detector without it")

    @model_validator(mode="after")
    def _only_what_is_displayed_is_enhanced(self) -> ExportParams:
        if self.edge_enhancement > 0 and self.storage is not Storage.DISP:
            raise ValueError("edge_enhancement must be 0 unless storage is DISP")
        return self


# The X-Ray Image Module allows no others; other depths are stored in the next one up.
_XA_BITS = (8, 10, 12, 16)


def stored_bits(bits: int) -> int:
    """Return the Bits Stored under which values of `bits` bits are held in an XA object."""
    return next(allowed for allowed in _XA_BITS if allowed >= bits)


def store_frames(
    signal: Sequence[Array],
    open_area: npt.NDArray[np.bool_],
    export: ExportParams,
    outside: Outside = Outside.BLADES,
    *,
    mask_frames: int = 1,
) -> npt.NDArray[np.uint16]:
    """Return (T, H, W) stored values of a run's `signal`, linear in the beam.

    White is set on the first frame. A subtracted export shows the logarithm of the mean of the first
    `mask_frames` over each frame: tissue grey, contrast dark.
    """
    top = 2**export.bits - 1
    white = 1.05 * float(np.percentile(signal[0][open_area], 99.7))
    mask: Array | None = None
    if export.already_subtracted:
        logs = [_log(frame) for frame in signal[: max(mask_frames, 1)]]
        mask = np.asarray(np.mean(logs, axis=0), np.float32)
    # What is inverted is turned over within the storage, of which 9 or 14 bits use only a part.
    turned = 2 ** stored_bits(export.bits) - 1
    stored = np.empty((len(signal), *open_area.shape), np.uint16)
    for k, frame in enumerate(signal):
        share = _tone(frame / white, export) if mask is None else _subtracted(frame, mask, export)
        if outside is not Outside.BLADES:
            share = np.where(open_area, share, np.float32(outside is Outside.WHITE))
        value = np.rint(np.clip(share, 0, 1) * top)
        stored[k] = turned - value if export.inverted else value
    return stored


def linear_table(export: ExportParams) -> npt.NDArray[np.uint16]:
    """Return for each stored value of a LOG export a value of 16 bits proportional to the beam."""
    top = 2**export.bits - 1
    share = np.expm1(np.arange(top + 1) / top * np.log1p(_LOG_SPAN)) / _LOG_SPAN
    value = np.asarray(np.rint(65535 * share), np.uint16)
    if not export.inverted:
        return value
    below = np.full(2 ** stored_bits(export.bits) - len(value), 65535, np.uint16)
    return np.concatenate([below, value[::-1]])


def _log(signal: Array) -> Array:
    return np.asarray(np.log(np.maximum(signal, 1.0)))


def _subtracted(frame: Array, mask: Array, export: ExportParams) -> Array:
    grey = 0.7 * (1 - (mask - _log(frame)) / export.subtracted_span)
    return _sharpened(np.asarray(grey, np.float32), export.edge_enhancement)


def _tone(share: Array, export: ExportParams) -> Array:
    if export.storage is Storage.LIN:
        return share
    if export.storage is Storage.LOG:
        return np.asarray(np.log1p(np.maximum(share, 0) * _LOG_SPAN) / np.log1p(_LOG_SPAN), np.float32)
    # A display curve: gamma with a shoulder and a toe, after sharpening in the displayed values.
    shown = _sharpened(np.asarray(np.clip(share, 0, 1) ** np.float32(0.6)), export.edge_enhancement)
    shown = np.clip(shown, 0, 1)
    return np.asarray(0.7 * shown + 0.3 * shown * shown * (3 - 2 * shown), np.float32)


def _sharpened(shown: Array, amount: float) -> Array:
    if amount == 0:
        return shown
    return np.asarray(shown + amount * (shown - cv2.GaussianBlur(shown, (0, 0), 3.0)))
