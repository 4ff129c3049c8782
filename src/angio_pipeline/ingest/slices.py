"""CT slices into stacks: by orientation, spacing and size, in order of position, each position once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.ingest.headers import Header, integer, numbers, text
from angio_pipeline.ingest.pixels import PixelFormat

__all__ = ["SLICE_TAGS", "Slice", "read_slice", "stack"]

SLICE_TAGS = ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing", "TemporalPositionIdentifier")
_SAME_PLACE_MM = 0.01


@dataclass(frozen=True, slots=True)
class Slice:
    """Where one CT slice lies.

    Attributes
    ----------
    position_mm : tuple of float
        Patient LPS of the first pixel's centre.
    along_mm : float
        The position along the slice's normal.
    """

    rows: int
    columns: int
    orientation: tuple[float, ...]
    spacing_mm: tuple[float, ...]
    position_mm: tuple[float, ...]
    along_mm: float
    frame_of_reference: str
    acquisition: int | None
    phase: int | None
    instance: int


def read_slice(header: Header, found: PixelFormat) -> Slice:
    """Return where a CT slice lies.

    Raises
    ------
    InputRefused
        `no_geometry`: orientation, position or spacing is missing or makes no plane.
    """
    ds = header.dataset
    orientation, position = numbers(ds, "ImageOrientationPatient"), numbers(ds, "ImagePositionPatient")
    spacing = numbers(ds, "PixelSpacing")
    known = len(orientation) == 6 and len(position) == 3 and len(spacing) == 2
    normal = np.cross(orientation[:3], orientation[3:]) if known else np.zeros(3)
    if not known or abs(float(np.linalg.norm(normal)) - 1) > 0.01 or not all(0 < value < 50 for value in spacing):
        raise InputRefused(
            "Expected a CT slice with orientation, position and pixel spacing, found none that make a plane.",
            reason="no_geometry",
        )
    return Slice(
        rows=found.rows,
        columns=found.columns,
        orientation=orientation,
        spacing_mm=spacing,
        position_mm=position,
        along_mm=float(normal @ np.asarray(position)),
        frame_of_reference=text(ds, "FrameOfReferenceUID"),
        acquisition=integer(ds, "AcquisitionNumber"),
        phase=integer(ds, "TemporalPositionIdentifier"),
        instance=integer(ds, "InstanceNumber") or 0,
    )


def stack(slices: Sequence[Slice]) -> tuple[list[tuple[list[Slice], str]], list[tuple[Slice, str]]]:
    """Return the stacks of one series, each sorted by position with a label, and the slices left over.

    A series that visits its positions more than once (phases) is split by acquisition number or
    temporal position; what still falls on a taken position is left over, with a sentence.
    """
    groups: dict[tuple[object, ...], list[Slice]] = defaultdict(list)
    for one in slices:
        plane = tuple(round(value, 3) for value in (*one.orientation, *one.spacing_mm))
        groups[one.rows, one.columns, *plane].append(one)
    stacks: list[tuple[list[Slice], str]] = []
    left: list[tuple[Slice, str]] = []
    for members in groups.values():
        for part, label in _phases(members):
            kept = _each_place_once(part, left)
            stacks.append((kept, label))
    return stacks, left


def _phases(members: list[Slice]) -> list[tuple[list[Slice], str]]:
    if _places_differ(members):
        return [(members, "")]
    keys: tuple[Callable[[Slice], int | None], ...] = (lambda one: one.acquisition, lambda one: one.phase)
    for key in keys:
        parts: dict[int | None, list[Slice]] = defaultdict(list)
        for one in members:
            parts[key(one)].append(one)
        if len(parts) > 1 and None not in parts and all(_places_differ(part) for part in parts.values()):
            return [(part, f"A{number}") for number, part in sorted(parts.items(), key=lambda pair: pair[0] or 0)]
    return [(members, "")]


def _places_differ(members: Sequence[Slice]) -> bool:
    places = np.sort([one.along_mm for one in members])
    return bool((np.diff(places) > _SAME_PLACE_MM).all())


def _each_place_once(members: Sequence[Slice], left: list[tuple[Slice, str]]) -> list[Slice]:
    kept: list[Slice] = []
    for one in sorted(members, key=lambda one: (one.along_mm, one.instance)):
        if kept and one.along_mm - kept[-1].along_mm <= _SAME_PLACE_MM:
            left.append((one, "Expected one CT slice at each position, found a second; the first one was used."))
        else:
            kept.append(one)
    return kept
