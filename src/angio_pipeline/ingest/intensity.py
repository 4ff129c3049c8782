"""What the stored numbers mean, and the map that makes brighter mean more X-rays.

Two questions, kept apart. How do values follow the beam: proportional (LIN), logarithmic
(LOG), through a display transform (DISP)? And in which direction? The sign, where the file
gives one, beats the photometric interpretation, which only says how the image is shown:
angiograms are shown with vessels dark (bright = more X-rays), radiographs with bones white
(bright = fewer).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import Quantity
from angio_pipeline.ingest.headers import find, integer, items, number, numbers, text
from angio_pipeline.ingest.pixels import PixelFormat

__all__ = ["Frames", "IntensityMap", "Showing", "intensity_map"]

Frames = npt.NDArray[np.float32] | npt.NDArray[np.uint16]


class Showing(StrEnum):
    """The convention by which a kind of image is shown."""

    ANGIOGRAM = "vessels dark"
    RADIOGRAPH = "bones white"


@dataclass(frozen=True, slots=True, eq=False)
class IntensityMap:
    """From stored values to the values that the pipeline works on.

    Attributes
    ----------
    table : ndarray, (N,) float32, or None
        Look-up table from stored value minus `first`; clamped at both ends.
    slope, intercept : float
        Otherwise `slope * stored + intercept`.
    black_level, white_level : float
        The darkest and the brightest value that the storage can hold.
    """

    quantity: Quantity
    slope: float
    intercept: float
    black_level: float
    white_level: float
    table: npt.NDArray[np.float32] | None = None
    first: int = 0
    quality: Quality = Quality.NONE
    how: str = ""

    def apply(self, frames: Frames) -> Frames:
        """Return stored values mapped, in place where they stay what they are: whole numbers of 16 bits, or float32."""
        if frames.dtype == np.uint16 and not self._stays_whole:
            frames = frames.astype(np.float32)
        for frame in frames:
            if self.table is not None:
                index = np.clip(frame.astype(np.int64) - self.first, 0, len(self.table) - 1)
                frame[...] = self.table[index]
            elif (self.slope, self.intercept) != (1.0, 0.0):
                frame[...] = frame.astype(np.float32) * np.float32(self.slope) + np.float32(self.intercept)
        return frames

    @property
    def _stays_whole(self) -> bool:
        """Whether every stored value of 16 bits becomes a whole number that 16 bits can hold."""
        if self.table is not None:
            return bool(
                (self.table == np.floor(self.table)).all() and 0 <= self.table.min() <= self.table.max() < 65536
            )
        whole = self.slope.is_integer() and self.intercept.is_integer()
        return whole and 0 <= self.black_level <= self.white_level < 65536


def intensity_map(dataset: Dataset, found: PixelFormat, showing: Showing) -> IntensityMap:
    """Return how to read the stored values of a projection."""
    relationship = text(dataset, "PixelIntensityRelationship").upper()
    rising, doubt = _rises_with_beam(dataset, found, showing)
    table = _linear_table(dataset, relationship)
    if table is not None:
        return _from_table(*table, quality=doubt)
    quantity = {"LIN": Quantity.INTENSITY, "LOG": Quantity.LOG_INTENSITY}.get(relationship, Quantity.STORED)
    quality = doubt | (Quality.DISPLAY_VALUES if quantity is Quantity.STORED else Quality.NONE)
    slope, intercept = _rescale(dataset)
    low, high = sorted(slope * value + intercept for value in found.value_range)
    how = f"relationship {relationship if relationship in ('LIN', 'LOG', 'DISP') else 'not given'}"
    if rising == (slope > 0):
        return IntensityMap(quantity, slope, intercept, low, high, quality=quality, how=how)
    # Turned over within the range of the storage, so that white stays white.
    return IntensityMap(quantity, -slope, low + high - intercept, low, high, quality=quality, how=f"{how}, inverted")


def _rises_with_beam(dataset: Dataset, found: PixelFormat, showing: Showing) -> tuple[bool, Quality]:
    """Whether stored values rise with the beam's intensity, and whether the file contradicts itself about it."""
    bright_is_more = showing is Showing.ANGIOGRAM
    shown = (found.photometric == "MONOCHROME2") == bright_is_more
    sign = integer(dataset, "PixelIntensityRelationshipSign")
    if sign not in (1, -1):
        return shown, Quality.NONE
    return sign == 1, Quality.NONE if (sign == 1) == shown else Quality.PHOTOMETRIC_ASSUMED


def _rescale(dataset: Dataset) -> tuple[float, float]:
    slope, intercept = number(dataset, "RescaleSlope"), number(dataset, "RescaleIntercept")
    return (slope if slope else 1.0), (intercept or 0.0)


def _linear_table(dataset: Dataset, relationship: str) -> tuple[npt.NDArray[np.float32], int] | None:
    """Return the file's own table back to values proportional to the beam, where it has a usable one.

    Classic objects carry it as the Modality LUT of a LOG image, enhanced ones as a Pixel
    Intensity Relationship LUT with the function TO_LINEAR (PS3.17 FFF.2.3.1.3).
    """
    candidates = items(dataset, "ModalityLUTSequence") if relationship == "LOG" else []
    enhanced = find(dataset, "PixelIntensityRelationshipLUTSequence")
    if isinstance(enhanced, Sequence):
        candidates += [item for item in enhanced if text(item, "LUTFunction") == "TO_LINEAR"]
    for item in candidates:
        table = _table(item)
        if table is not None:
            return table
    return None


def _table(item: Dataset) -> tuple[npt.NDArray[np.float32], int] | None:
    descriptor, data = numbers(item, "LUTDescriptor"), find(item, "LUTData")
    if data is None or len(descriptor) != 3:
        return None
    entries = int(descriptor[0]) or 65536
    if isinstance(data, bytes):
        values = np.frombuffer(data, dtype="<u2" if len(data) >= 2 * entries else "u1")
    else:
        values = np.asarray(numbers(item, "LUTData"))
    if len(values) < entries or entries < 2:
        return None
    table, first = values[:entries].astype(np.float32), int(descriptor[1])
    steps = np.diff(table)
    monotone = (steps >= 0).all() or (steps <= 0).all()
    return (table, first) if monotone and table[0] != table[-1] else None


def _from_table(table: npt.NDArray[np.float32], first: int, *, quality: Quality) -> IntensityMap:
    return IntensityMap(
        quantity=Quantity.INTENSITY,
        slope=1.0,
        intercept=0.0,
        black_level=float(table.min()),
        white_level=float(table.max()),
        table=table,
        first=first,
        quality=quality,
        how="the file's table to linear values",
    )
