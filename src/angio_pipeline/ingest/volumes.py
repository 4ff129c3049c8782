"""From CT slices, or one enhanced CT file, to a `CtVolume` in Hounsfield units with its true geometry.

Positions come from each slice's own header. A slice step along the line of positions, not along
the normal, keeps a tilted gantry true. Where slices are missing the stack is put on a regular
grid by linear interpolation between the slices that are there, and flagged: an affine cannot
say "uneven", and pretending a mean step would move everything behind the gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.followups import CtVolume
from angio_pipeline.core.provenance import Provenance
from angio_pipeline.core.quality import Quality
from angio_pipeline.ingest.headers import (
    find_in_groups,
    integer,
    items,
    number,
    numbers,
    numbers_of_frame,
    read_header,
    text,
    texts,
)
from angio_pipeline.ingest.items import VolumeItem
from angio_pipeline.ingest.limits import Limits
from angio_pipeline.ingest.pixels import PixelFormat, pixel_format, read_frames

__all__ = ["read_volume"]

FloatArray = npt.NDArray[np.float64]
Volume = npt.NDArray[np.float32]

_AIR_HU = -1024.0
_UNEVEN = 0.05
_LARGEST_GAP = 5.0
_OFF_LINE_MM = 1.0
_TWELVE_BITS = 4095


@dataclass(frozen=True, slots=True, eq=False)
class _Stack:
    """Voxels sorted by position, first pixels' centres (Z, 3) in LPS mm, and the shared header."""

    hu: Volume
    positions: FloatArray
    orientation: FloatArray
    spacing_mm: tuple[float, float]
    header: Dataset
    clip_hu: float
    intercept: float


def read_volume(item: VolumeItem, *, limits: Limits | None = None) -> CtVolume:
    """Return the CT scan of an item.

    Raises
    ------
    InputRefused
        `not_hounsfield`, `bad_geometry`, `too_few_slices`, or what reading the pixels raises.
    """
    found = _read_slices(item, limits) if len(item.paths) > 1 else _read_multiframe(item, limits)
    hu, step, quality = _regular(found.hu, found.positions)
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1] = found.orientation[3:] * found.spacing_mm[0]
    affine[:3, 2] = found.orientation[:3] * found.spacing_mm[1]
    affine[:3, 3] = found.positions[0]
    ds = found.header
    return CtVolume(
        hu=hu,
        affine=affine,
        source=item.source,
        kvp=_positive(number(ds, "KVP")),
        kernel=(texts(ds, "ConvolutionKernel") or (None,))[0] or None,
        clip_hu=_clip(found),
        contrast=_contrast(ds),
        frame_of_reference_uid=text(ds, "FrameOfReferenceUID") or None,
        provenance=Provenance().then("read", slices=len(found.positions), resampled=len(hu) != len(found.positions)),
        quality=quality,
    )


def _positive(value: float | None) -> float | None:
    return value if value is not None and value > 0 else None


def _read_slices(item: VolumeItem, limits: Limits | None) -> _Stack:
    hu: Volume | None = None
    positions, clips, intercept, first = [], [], 0.0, None
    for index, path in enumerate(item.paths):
        header = read_header(path, limits=limits)
        found = pixel_format(header)
        if hu is None:
            _check_total(len(item.paths), found, header.limits.total_px)
            hu = np.empty((len(item.paths), found.rows, found.columns), dtype=np.float32)
            first = header.dataset
        if (found.rows, found.columns) != hu.shape[1:]:
            raise _geometry("slices of one size", "slices of several")
        slope, intercept = _rescale(header.dataset, header.dataset, found)
        hu[index] = read_frames(header, found)[0]
        _to_hu(hu[index], slope, intercept, header.dataset)
        clips.append(slope * found.value_range[1] + intercept)
        positions.append(numbers(header.dataset, "ImagePositionPatient"))
    assert hu is not None
    assert first is not None
    orientation, spacing = numbers(first, "ImageOrientationPatient"), numbers(first, "PixelSpacing")
    return _stacked(hu, positions, orientation, spacing, first, min(clips), intercept)


def _check_total(slices: int, found: PixelFormat, limit: int) -> None:
    if slices * found.pixels > limit:
        raise InputRefused(f"Expected at most {limit} voxels, found {slices * found.pixels}.", reason="too_large")


def _read_multiframe(item: VolumeItem, limits: Limits | None) -> _Stack:
    header = read_header(item.paths[0], limits=limits)
    found = pixel_format(header)
    ds = header.dataset
    groups = items(ds, "PerFrameFunctionalGroupsSequence")
    if len(groups) != found.frames:
        raise _geometry(f"one functional group a frame ({found.frames})", f"{len(groups)}")
    hu = read_frames(header, found).astype(np.float32, copy=False)
    clips, intercept = [], 0.0
    for frame, group in zip(hu, groups, strict=True):
        slope, intercept = _rescale(group, ds, found)
        _to_hu(frame, slope, intercept, ds)
        clips.append(slope * found.value_range[1] + intercept)
    positions = [numbers_of_frame(group, ds, "ImagePositionPatient") for group in groups]
    orientation = numbers_of_frame(groups[0], ds, "ImageOrientationPatient")
    spacing = numbers_of_frame(groups[0], ds, "PixelSpacing")
    return _stacked(hu, positions, orientation, spacing, ds, min(clips), intercept)


def _rescale(group: Dataset, ds: Dataset, found: PixelFormat) -> tuple[float, float]:
    """Return slope and intercept to Hounsfield units."""
    slope = (*numbers_of_frame(group, ds, "RescaleSlope"), None)[0]
    intercept = (*numbers_of_frame(group, ds, "RescaleIntercept"), None)[0]
    unit = str(find_in_groups(group, "RescaleType") or text(ds, "RescaleType") or "HU").strip("\0 ").upper()
    missing = slope is None and intercept is None and not found.signed
    if missing or unit not in ("HU", "HU_MOD") or (slope is not None and slope <= 0):
        raise InputRefused(
            "Expected CT in Hounsfield units, found values without a scale to them; export the original series.",
            reason="not_hounsfield",
        )
    return (1.0 if slope is None else slope), (intercept or 0.0)


def _to_hu(frame: Volume, slope: float, intercept: float, ds: Dataset) -> None:
    """Scale stored values in place; padding outside the reconstruction becomes air."""
    first, limit = integer(ds, "PixelPaddingValue"), integer(ds, "PixelPaddingRangeLimit")
    padding = None
    if first is not None:
        low, high = sorted((first, first if limit is None else limit))
        if slope * high + intercept < -900:  # a padding value that is also tissue pads nothing
            padding = (frame >= low) & (frame <= high)
    frame *= np.float32(slope)
    frame += np.float32(intercept)
    if padding is not None:
        frame[padding] = _AIR_HU


def _stacked(
    hu: Volume,
    positions: Sequence[tuple[float, ...]],
    orientation: tuple[float, ...],
    spacing: tuple[float, ...],
    header: Dataset,
    clip_hu: float,
    intercept: float,
) -> _Stack:
    known = len(orientation) == 6 and len(spacing) == 2 and all(len(position) == 3 for position in positions)
    if not known or not all(0 < value < 50 for value in spacing):
        raise _geometry("orientation, position and pixel spacing", "none")
    if len(positions) < 3:
        raise InputRefused(f"Expected at least 3 CT slices, found {len(positions)}.", reason="too_few_slices")
    places, axes = np.asarray(positions, dtype=np.float64), np.asarray(orientation, dtype=np.float64)
    along = places @ np.cross(axes[:3], axes[3:])
    order = np.argsort(along, kind="stable")
    if not (np.diff(along[order]) > 0).all():
        raise _geometry("one slice at each position", "several at one")
    if (order != np.arange(len(order))).any():
        hu = hu[::-1] if (order[::-1] == np.arange(len(order))).all() else hu[order]
    return _Stack(hu, places[order], axes, (spacing[0], spacing[1]), header, clip_hu, intercept)


def _geometry(expected: str, found: str) -> InputRefused:
    return InputRefused(f"Expected {expected}, found {found}; export the whole series again.", reason="bad_geometry")


def _regular(hu: Volume, positions: FloatArray) -> tuple[Volume, FloatArray, Quality]:
    """Return the voxels on a regular grid, the step between slices (LPS mm), and whether they were uneven."""
    line = positions[-1] - positions[0]
    length = float(np.linalg.norm(line))
    direction = line / length
    offsets = positions - positions[0]
    along = offsets @ direction
    if float(np.linalg.norm(offsets - np.outer(along, direction), axis=1).max()) > _OFF_LINE_MM:
        raise _geometry("slices in one line", "slices shifted sideways")
    gaps = np.diff(along)
    step = float(np.median(gaps))
    if float(gaps.max()) > _LARGEST_GAP * step:
        raise _geometry("a scan without large gaps", f"a gap of {gaps.max():.0f} mm between slices {step:.1f} mm apart")
    if (np.abs(gaps - step) <= _UNEVEN * step).all():
        return hu, line / (len(hu) - 1), Quality.NONE
    wanted = np.arange(0.0, length + 0.5 * step, step)
    return _interpolated(hu, along, wanted), direction * step, Quality.UNEVEN_SLICES


def _interpolated(hu: Volume, along: FloatArray, wanted: FloatArray) -> Volume:
    out = np.empty((len(wanted), *hu.shape[1:]), dtype=np.float32)
    upper = np.clip(np.searchsorted(along, wanted), 1, len(along) - 1)
    share = np.clip((wanted - along[upper - 1]) / (along[upper] - along[upper - 1]), 0.0, 1.0).astype(np.float32)
    for index, (above, weight) in enumerate(zip(upper, share, strict=True)):
        out[index] = (1 - weight) * hu[above - 1] + weight * hu[above]
    return out


def _clip(found: _Stack) -> float:
    """Return the greatest value that can occur: of the storage, or of a 12-bit scanner behind wider storage."""
    twelve = _TWELVE_BITS + found.intercept
    top = float(found.hu.max())
    if top == twelve < found.clip_hu and np.count_nonzero(found.hu == top) >= 3:
        return twelve
    return found.clip_hu


def _contrast(ds: Dataset) -> bool:
    """Whether the header names a contrast agent given into a vein (agents given otherwise name their route)."""
    if not text(ds, "ContrastBolusAgent") and not items(ds, "ContrastBolusAgentSequence"):
        return False
    route = text(ds, "ContrastBolusRoute").upper()
    return not route or "IV" in route.split() or "VEN" in route
