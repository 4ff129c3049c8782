"""RT structure sets: closed contours on parallel slices, filled into regions in space.

A structure set names no pixels: the grid is made here, fine in the plane and with the contours' own distance
between planes. Contours of one plane count even-odd, so that a hole drawn as a second contour is one.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.followups import VolumeRoi
from angio_pipeline.ingest.headers import Header, integer, items, numbers, text
from angio_pipeline.numerics.polygons import fill_polygons

__all__ = ["STRUCTURE_SET", "read_structures"]

FloatArray = npt.NDArray[np.float64]
STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
_PIXEL_MM = 0.75
_SAME_PLANE_MM = 0.05


def read_structures(header: Header) -> list[VolumeRoi]:
    """Return the regions of a structure set whose contours are closed and lie on axial planes.

    Raises
    ------
    InputRefused
        `bad_roi`: no such contours, one that is broken, or planes that are not even.
    """
    ds = header.dataset
    names = {integer(one, "ROINumber"): one for one in items(ds, "StructureSetROISequence")}
    series = _series(ds)
    regions: list[VolumeRoi] = []
    left_px = header.limits.regions_px
    for one in items(ds, "ROIContourSequence"):
        closed = [c for c in items(one, "ContourSequence") if text(c, "ContourGeometricType") == "CLOSED_PLANAR"]
        if closed:
            number = integer(one, "ReferencedROINumber")
            named = names.get(number, Dataset())
            mask, affine = _filled([_points(contour) for contour in closed], left_px)
            left_px -= mask.size
            frame = text(named, "ReferencedFrameOfReferenceUID") or text(ds, "FrameOfReferenceUID")
            regions.append(VolumeRoi(_region_id(named, number or 0), mask, affine, series, frame or None))
    if not regions:
        raise _bad_roi("a structure set with closed contours", "none")
    return regions


def _series(ds: Dataset) -> str | None:
    uids = {
        text(series, "SeriesInstanceUID")
        for frame in items(ds, "ReferencedFrameOfReferenceSequence")
        for study in items(frame, "RTReferencedStudySequence")
        for series in items(study, "RTReferencedSeriesSequence")
    }
    return uids.pop() if len(uids) == 1 else None


def _region_id(named: Dataset, number: int) -> str:
    # A label that is a mere code is kept; any other could hold a name.
    label = text(named, "ROIName").replace(" ", "")
    if label.lower() == "liver":
        return "liver"
    return label if re.fullmatch(r"[A-Za-z]{1,2}[-_]?[0-9]{1,3}", label) else f"S{number}"


def _points(contour: Dataset) -> FloatArray:
    values = np.asarray(numbers(contour, "ContourData"), dtype=np.float64)
    if len(values) < 9 or len(values) % 3 or not np.isfinite(values).all():
        raise _bad_roi("closed contours of three points or more", "a broken one")
    points = values.reshape(-1, 3)
    if np.ptp(points[:, 2]) > _SAME_PLANE_MM:
        raise _bad_roi("contours on axial planes", "an oblique one")
    return points


def _filled(contours: list[FloatArray], most_px: int) -> tuple[npt.NDArray[np.bool_], FloatArray]:
    """Return the contours' inside on a grid along the patient's axes, (Z, Y, X), and its affine."""
    heights = np.array([float(points[:, 2].mean()) for points in contours])
    planes = np.sort(heights)
    gaps = np.diff(planes)
    gaps = gaps[gaps > _SAME_PLANE_MM]
    step = float(gaps.min()) if len(gaps) else 3.0
    index = (heights - planes[0]) / step
    if float(np.abs(index - np.rint(index)).max()) > 0.2:
        raise _bad_roi("contours on evenly spaced planes", "uneven ones")
    every = np.concatenate(contours)
    low, high = every[:, :2].min(axis=0) - _PIXEL_MM, every[:, :2].max(axis=0) + _PIXEL_MM
    columns, rows = (np.ceil((high - low) / _PIXEL_MM).astype(int) + 1).tolist()
    depth = int(np.rint(index.max())) + 1
    if depth * rows * columns > most_px:
        raise _bad_roi("contours of a usual size", "larger ones")
    mask = np.zeros((depth, rows, columns), dtype=np.bool_)
    for points, k in zip(contours, np.rint(index).astype(int), strict=True):
        outline = (points[:, 1::-1] - low[::-1]) / _PIXEL_MM
        mask[k] ^= fill_polygons([outline], (rows, columns))
    affine = np.eye(4)
    affine[:3, :3] = [[0, 0, _PIXEL_MM], [0, _PIXEL_MM, 0], [step, 0, 0]]
    affine[:3, 3] = (*low, planes[0])
    return mask, affine


def _bad_roi(expected: str, found: str) -> InputRefused:
    return InputRefused(f"Expected a region of interest as {expected}, found {found}.", reason="bad_roi")
