"""Closed graphics of a softcopy presentation state (PS3.3 C.10.5) as outlines on the images that they were drawn on.

Graphic data count columns before rows, from the top left corner of the top left pixel; here points are (row, col) and
pixel centres are integers, so half a pixel is taken off. Only a graphic that encloses something can be a region:
points, arrows and rulers beside it are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy
from pydicom.dataset import Dataset

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.ingest.headers import as_numbers, element_value, integer, items, numbers, text
from angio_pipeline.ingest.limits import Limits, too_many_regions

__all__ = ["PRESENTATION_STATES", "FilmOutline", "read_outlines"]

Points = npt.NDArray[np.float64]
Place = tuple[str, tuple[int, ...]]

PRESENTATION_STATES = {f"1.2.840.10008.5.1.4.1.1.11.{end}" for end in ("1", "5")}
"""Grayscale, and XA/XRF Grayscale, Softcopy Presentation State."""

_LARGEST_PX = 65536
_CLOSED_PX = 1.0
_AROUND = 180


@dataclass(frozen=True, slots=True, eq=False)
class FilmOutline:
    """A closed line on a projection, of whose size a presentation state says nothing.

    Attributes
    ----------
    line : ndarray, (K, 2) float64
        (row, col) in pixels of the image; the last point is joined to the first.
    frames : tuple of int
        Frames that it was drawn on, 0-based; none where it was drawn on all.
    """

    id: str
    line: Points
    sop_instance_uid: str
    frames: tuple[int, ...] = ()


def read_outlines(dataset: Dataset, *, limits: Limits | None = None) -> tuple[FilmOutline, ...]:
    """Return one outline for each closed graphic and each image that it is shown on.

    Raises
    ------
    InputRefused
        `bad_roi`, when no graphic is closed, one is not placed on the image, or none names its image; `too_large`.
    """
    limits = limits or Limits()
    found: list[FilmOutline] = []
    count = 0
    for annotation in items(dataset, "GraphicAnnotationSequence"):
        layer = text(annotation, "GraphicLayer").replace(" ", "")
        for graphic in items(annotation, "GraphicObjectSequence"):
            outline = _outline(graphic)
            if outline is None:
                continue
            count += 1
            # A layer may bear a person's name; a mere code does not.
            name = layer if re.fullmatch(r"[A-Za-z]{1,2}[-_]?[0-9]{1,3}", layer) else f"G{count}"
            places = list(_images(annotation)) or list(_images_of_all(dataset))
            if not places:
                raise _refused("graphics that name the image they were drawn on", "none named")
            if len(found) + len(places) > limits.regions:
                raise too_many_regions(limits)
            found += [FilmOutline(name, outline, uid, frames) for uid, frames in places]
    if not found:
        raise _refused("a closed polyline, circle or ellipse in a presentation state", "none; close the outline")
    return tuple(found)


def _refused(expected: str, found: str) -> InputRefused:
    return InputRefused(f"Expected a region of interest as {expected}, found {found}.", reason="bad_roi")


def _images(item: Dataset) -> Iterator[Place]:
    """Yield the images that an item refers to, each with its frames (0-based; none named means all)."""
    for image in items(item, "ReferencedImageSequence"):
        uid = text(image, "ReferencedSOPInstanceUID")
        if uid:
            yield uid, tuple(int(n) - 1 for n in numbers(image, "ReferencedFrameNumber") if n >= 1)


def _images_of_all(dataset: Dataset) -> Iterator[Place]:
    for series in items(dataset, "ReferencedSeriesSequence"):
        yield from _images(series)


def _outline(graphic: Dataset) -> Points | None:
    """Return (K, 2) the closed line of a graphic, None where it encloses nothing."""
    kind = text(graphic, "GraphicType").upper()
    points = _points(graphic)
    if kind == "CIRCLE" and len(points) == 2:
        radius = float(np.linalg.norm(points[1] - points[0]))
        line = _around(points[0], np.array([radius, 0.0]), np.array([0.0, radius]))
    elif kind == "ELLIPSE" and len(points) == 4:
        line = _around(points.mean(axis=0), (points[1] - points[0]) / 2, (points[3] - points[2]) / 2)
    elif kind in ("POLYLINE", "INTERPOLATED") and _is_closed(graphic, points):
        line = _curved(points) if kind == "INTERPOLATED" else points
    else:
        return None
    units = text(graphic, "GraphicAnnotationUnits").upper()
    if units != "PIXEL":
        shown = units if units in ("DISPLAY", "MATRIX") else "another unit"
        raise _refused("graphics in image pixels (PIXEL)", f"{shown}; draw on the image, not on the display")
    return line


def _points(graphic: Dataset) -> Points:
    values = as_numbers(element_value(graphic, "GraphicData"))
    flat = (integer(graphic, "GraphicDimensions") or 2) == 2
    if not values or len(values) % 2 or not flat or max(map(abs, values)) > _LARGEST_PX:
        raise _refused("graphics of whole points in two dimensions", "others")
    return np.asarray(values, dtype=np.float64).reshape(-1, 2)[:, ::-1] - 0.5


def _is_closed(graphic: Dataset, points: Points) -> bool:
    filled = text(graphic, "GraphicFilled").upper() == "Y"
    meets = len(points) > 3 and float(np.linalg.norm(points[-1] - points[0])) <= _CLOSED_PX
    return meets or (filled and len(points) > 2)


def _around(centre: Points, one: Points, other: Points) -> Points:
    """Return the ellipse about a centre with two half-axes."""
    turn = np.linspace(0, 2 * np.pi, _AROUND, endpoint=False)[:, None]
    return np.asarray(centre + np.cos(turn) * one + np.sin(turn) * other)


def _curved(points: Points) -> Points:
    """Return a smooth closed line through the points: the standard leaves the kind of curve to the reader."""
    ring = np.vstack([points[:1], points[1:][np.linalg.norm(np.diff(points, axis=0), axis=1) > 1e-6]])
    if np.linalg.norm(ring[-1] - ring[0]) <= _CLOSED_PX:
        ring = ring[:-1]
    if len(ring) < 3:
        return points
    closed = np.vstack([ring, ring[:1]])
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    curve = scipy.interpolate.CubicSpline(along, closed, bc_type="periodic")
    return np.asarray(curve(np.linspace(0, along[-1], max(_AROUND, 8 * len(ring)), endpoint=False)))
