"""The frames of a DICOM segmentation (PS3.3 A.51), each with its segment, its place and the image it was drawn on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from angio_pipeline.core.errors import CodecError, InputRefused
from angio_pipeline.ingest.headers import Header, integer, items, number, numbers_of_frame, open_dicom, text
from angio_pipeline.ingest.limits import too_many_regions
from angio_pipeline.ingest.pixels import check_native_size, pixel_format, read_frames

__all__ = ["SegmentFrame", "read_segment_frames"]


@dataclass(frozen=True, slots=True, eq=False)
class SegmentFrame:
    """One frame of one segment; `position_mm` and `orientation` are None on projections.

    Attributes
    ----------
    drawn_on : str
        SOP Instance UID of the source image, empty where the file does not tell.
    """

    segment: int
    mask: npt.NDArray[np.bool_]
    position_mm: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing_mm: tuple[float, ...]
    drawn_on: str


def read_segment_frames(header: Header) -> list[SegmentFrame]:
    """Return all frames of a segmentation; a fractional one counts from one half.

    Raises
    ------
    InputRefused
        When sizes, functional groups and pixel data do not fit together, or there are too many regions.
    """
    ds = header.dataset
    groups = items(ds, "PerFrameFunctionalGroupsSequence")
    labelled = text(ds, "SegmentationType").upper() == "LABELMAP"
    found: list[SegmentFrame] = []
    left_px = header.limits.regions_px
    for index, values in enumerate(_values(header)):
        group = groups[index] if index < len(groups) else Dataset()
        if labelled:
            segments = [int(value) for value in np.unique(values) if value > 0]
            left_px -= len(segments) * values.size
            if left_px < 0:
                raise too_many_regions(header.limits)
            found += [_frame(ds, group, segment, values == segment) for segment in segments]
        else:
            segment = (*numbers_of_frame(group, ds, "ReferencedSegmentNumber"), 1)[0]
            half = 0.5 * (number(ds, "MaximumFractionalValue") or 1.0)
            found.append(_frame(ds, group, int(segment), np.greater_equal(values, half)))
    return found


def _values(header: Header) -> Iterator[npt.NDArray[np.generic]]:
    if integer(header.dataset, "BitsAllocated") != 1:
        yield from read_frames(header, pixel_format(header))
        return
    ds = header.dataset
    rows, columns = integer(ds, "Rows") or 0, integer(ds, "Columns") or 0
    frames = integer(ds, "NumberOfFrames") or 1
    if min(rows, columns, frames) < 1 or rows * columns * frames > header.limits.total_px:
        raise InputRefused("Expected a segmentation of a usual size, found another.", reason="bad_header")
    if header.transfer_syntax.is_encapsulated:
        raise CodecError("Expected an uncompressed binary segmentation, found a compressed one; export it again.")
    check_native_size(header, (rows * columns * frames + 7) // 8)
    assert header.pixels is not None
    with open_dicom(header.path, header.limits) as stream:
        stream.seek(header.pixels.offset)
        packed = np.frombuffer(stream.read((rows * columns * frames + 7) // 8), dtype=np.uint8)
    for index in range(frames):  # frames follow each other bit by bit, not byte by byte
        first = index * rows * columns
        last = first + rows * columns
        bits = np.unpackbits(packed[first // 8 : (last + 7) // 8], bitorder="little")
        yield bits[first % 8 :][: rows * columns].reshape(rows, columns)


def _frame(ds: Dataset, group: Dataset, segment: int, mask: npt.NDArray[np.bool_]) -> SegmentFrame:
    position, orientation = (
        numbers_of_frame(group, ds, name) for name in ("ImagePositionPatient", "ImageOrientationPatient")
    )
    placed = len(position) == 3 and len(orientation) == 6
    return SegmentFrame(
        segment,
        mask,
        position if placed else None,
        orientation if placed else None,
        numbers_of_frame(group, ds, "PixelSpacing"),
        _drawn_on(ds, group),
    )


def _drawn_on(ds: Dataset, group: Dataset) -> str:
    for derivation in items(group, "DerivationImageSequence"):
        for image in items(derivation, "SourceImageSequence"):
            return text(image, "ReferencedSOPInstanceUID")
    for series in items(ds, "ReferencedSeriesSequence"):
        for image in items(series, "ReferencedInstanceSequence"):
            return text(image, "ReferencedSOPInstanceUID")
    for image in items(ds, "SourceImageSequence"):
        return text(image, "ReferencedSOPInstanceUID")
    return ""
