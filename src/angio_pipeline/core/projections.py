"""What two projections of one injection say together: where a feeder of one view lies in the other, and in space.

Places in a view are (row, col) in pixels of that view; places in space are DICOM LPS millimetres from the C-arm's
isocentre, as the patient lay in the first view. The two pictures are never laid upon each other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from angio_pipeline.core.arrays import frozen_array
from angio_pipeline.core.provenance import Source
from angio_pipeline.core.quality import Quality

__all__ = ["FeederSight", "Landmark", "ProjectionPair", "Sight", "TumourMatch", "ViewAlignment"]

Point3 = tuple[float, float, float]


class Sight(StrEnum):
    """What the other view shows of a feeder; UNKNOWN where it shows both or nothing."""

    FEEDS = "feeds"
    PASSES = "passes by"
    UNKNOWN = "cannot tell"


@dataclass(frozen=True, slots=True)
class Landmark:
    """A point seen in both views, how far it misses its line after alignment (mm), and whether it took part."""

    name: str
    apart_mm: float
    used: bool


@dataclass(frozen=True, slots=True)
class ViewAlignment:
    """How the second view had to be moved for what both show to agree.

    Attributes
    ----------
    shift_mm : tuple of float
        Of the patient, LPS; along the line between the sources it cannot be seen and stays near 0.
    turn_deg : tuple of float
        What primary and secondary angle of the second view seem to be beyond what the file tells.
    sd_mm : float
        SD of a line's place that is left, at the isocentre.
    match : float
        Correlation of the arterial contrast on corresponding lines; NaN without arteries.
    landmarks : tuple of Landmark
    """

    shift_mm: Point3
    turn_deg: tuple[float, float]
    sd_mm: float
    match: float
    landmarks: tuple[Landmark, ...]


@dataclass(frozen=True, slots=True)
class TumourMatch:
    """One tumour as both views show it.

    Attributes
    ----------
    first, second : str
        Its id in either view.
    centre_mm : tuple of float
    radius_mm : float
        Of a ball with the mean of both areas.
    apart_mm : float
        How far the centre of the second misses the line of the first.
    alone : bool
        No other tumour of either view could be meant.
    """

    first: str
    second: str
    centre_mm: Point3
    radius_mm: float
    apart_mm: float
    alone: bool


@dataclass(frozen=True, slots=True, eq=False)
class FeederSight:
    """A feeder of one view, looked for in the other.

    Attributes
    ----------
    feeder, tumour : str
        Ids in its own view.
    probability_alone, probability : float
        By its own view, and by both.
    sight : Sight
    match : str or None
        Id of the same feeder in the other view.
    entry : tuple of float
        (row, col) where it enters the tumour, in its own view.
    entry_line : ndarray, (2, 2) or (0, 2) float64
        Ends of the entry's line across the other view's frame.
    course : ndarray, (K, 2) float64
        Where the other view shows its own part; empty where it does not.
    apart_mm : float
        Mean distance of the course from its lines; NaN without a course.
    misfit : float
        Distance, arrival and calibre of the course against this view, in SDs; NaN without a course.
    later_s : float
        How much later contrast comes there than in the tree as a whole; NaN when unknown.
    entry_mm : tuple of float or None
        The entry in space.
    beyond_mm : float
        How far the entry lies outside the tumour, in space; negative inside, NaN when unknown.
    reason : str
        One sentence.
    evidence : mapping of str to float
    """

    feeder: str
    tumour: str
    probability_alone: float
    probability: float
    sight: Sight
    match: str | None
    entry: tuple[float, float]
    entry_line: npt.NDArray[np.float64]
    course: npt.NDArray[np.float64]
    apart_mm: float
    misfit: float
    later_s: float
    entry_mm: Point3 | None
    beyond_mm: float
    reason: str
    evidence: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("entry_line", "course"):
            value = frozen_array(getattr(self, name), name, ndim=2, dtype=np.float64, shape=(None, 2), finite=True)
            object.__setattr__(self, name, value)
        if not 0 <= self.probability <= 1:
            raise ValueError(f"Expected the probability of {self.feeder} between 0 and 1, found {self.probability}.")


@dataclass(frozen=True, slots=True, eq=False)
class ProjectionPair:
    """All that two projections say together.

    Attributes
    ----------
    angles_deg : two pairs of float
        Primary and secondary angle of either view.
    apart_deg : float
        Between the central rays.
    millimetres_told : bool
        Whether both files tell how large the patient is; places in space rest on usual values otherwise.
    tumours : tuple of TumourMatch
    feeders : two tuples of FeederSight
        Those of the first view, looked for in the second, and those of the second.
    pictures : two ndarrays, (H, W) float32
        Mean contrast of the arterial phase of either view.
    cautions : tuple of str
        What a reader has to know, one sentence each.
    """

    first: Source
    second: Source
    angles_deg: tuple[tuple[float, float], tuple[float, float]]
    apart_deg: float
    millimetres_told: bool
    alignment: ViewAlignment
    tumours: tuple[TumourMatch, ...]
    feeders: tuple[tuple[FeederSight, ...], tuple[FeederSight, ...]]
    pictures: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
    cautions: tuple[str, ...] = ()
    quality: Quality = Quality.NONE

    def __post_init__(self) -> None:
        pictures = tuple(
            frozen_array(picture, "pictures", ndim=2, dtype=np.float32, finite=True) for picture in self.pictures
        )
        object.__setattr__(self, "pictures", pictures)
