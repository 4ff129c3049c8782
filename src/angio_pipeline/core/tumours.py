"""Tumours in a run, what feeds them, and where to cannulate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from angio_pipeline.core.arrays import frozen_array

__all__ = [
    "WORTH_SHOWING",
    "ByHand",
    "CannulationTarget",
    "Feeder",
    "LesionOrigin",
    "Shunt",
    "ShuntKind",
    "TargetOption",
    "Tumour",
]

# From this probability on pictures and sentences speak of a feeder, and what embolisation did to it is measured; less
# likely ones stand in the tables alone.
WORTH_SHOWING = 0.1


class LesionOrigin(StrEnum):
    """Whether a lesion was found or given."""

    DETECTED = "detected"
    ROI = "roi"


class ByHand(StrEnum):
    """What a reader did to a tumour, a feeder or a target."""

    ADDED = "added"
    REDRAWN = "redrawn"
    ACCEPTED = "accepted"
    MOVED = "moved"


@dataclass(frozen=True, slots=True)
class CannulationTarget:
    """A super-selective catheter position on the tree, pixels of the reference frame.

    Attributes
    ----------
    path_length_px : float
        Along the tree from the tip (or root).
    bifurcations : int
        Bifurcations to turn at on the way.
    tortuosity : float
        Path length over straight distance, at least 1.
    non_target_fraction : float
        Share of the tree downstream of the position that does not go to the tumour.
    covers : tuple of str
        Ids of the feeders that the position reaches.
    turns_deg : tuple of float
        How far the way turns at each bifurcation, in the order of the way; foreshortened like every angle.
    beyond_last_branch_px : float
        How far the position lies beyond the last branch that also feeds something else; NaN where it does not.
    corrected : ByHand or None
        MOVED where a reader put it; diameter, path, tortuosity and fraction are NaN where no vessel was found there.
    """

    row: float
    col: float
    diameter_px: float
    path_length_px: float
    bifurcations: int
    tortuosity: float
    non_target_fraction: float
    covers: tuple[str, ...] = ()
    turns_deg: tuple[float, ...] = ()
    beyond_last_branch_px: float = float("nan")
    corrected: ByHand | None = None


@dataclass(frozen=True, slots=True)
class TargetOption:
    """One answer to how many positions to take: this many, which reach all feeders, and the share of other tissue.

    `non_target_fraction` is the share of the tree downstream of all positions together that does not go to the tumour.
    """

    targets: tuple[CannulationTarget, ...]
    non_target_fraction: float


@dataclass(frozen=True, slots=True, eq=False)
class Feeder:
    """A branch that supplies a tumour.

    Attributes
    ----------
    centreline : ndarray, (K, 2) float64
        (row, col) from the catheter tip (or the tree's root) to the tumour.
    branch_start : tuple of float
        Where it leaves the vessel that also feeds something else.
    evidence : mapping of str to float
        The named measurements behind `probability`.
    corrected : ByHand or None
        ACCEPTED or ADDED by a reader: `probability` is 1 and decided by nothing else.
    """

    id: str
    rank: int
    probability: float
    contribution: float
    centreline: npt.NDArray[np.float64]
    branch_start: tuple[float, float]
    diameter_px: float
    arrival_s: float
    overlap_ambiguous: bool
    target: CannulationTarget
    evidence: Mapping[str, float] = field(default_factory=dict)
    corrected: ByHand | None = None

    def __post_init__(self) -> None:
        line = frozen_array(self.centreline, "centreline", ndim=2, dtype=np.float64, shape=(None, 2), finite=True)
        object.__setattr__(self, "centreline", line)
        if not (0 <= self.probability <= 1 and 0 <= self.contribution <= 1):
            raise ValueError(f"Expected probability and contribution of {self.id} between 0 and 1.")

    @property
    def own_start(self) -> int:
        """Index on the centreline where the feeder leaves the vessel that also feeds something else."""
        if not len(self.centreline):
            return 0
        return int(np.argmin(np.linalg.norm(self.centreline - np.array(self.branch_start), axis=1)))

    @property
    def worth_showing(self) -> bool:
        """Whether pictures and sentences speak of it."""
        return self.probability >= WORTH_SHOWING


@dataclass(frozen=True, slots=True, eq=False)
class Tumour:
    """One tumour in a run: its blush (or the region given), its feeders, its targets.

    `options` is the trade-off: the best set of one position, of two, and so on, as long as more positions reach less
    other tissue.
    """

    id: str
    mask: npt.NDArray[np.bool_]
    probability: float
    origin: LesionOrigin
    feeders: tuple[Feeder, ...] = ()
    targets: tuple[CannulationTarget, ...] = ()
    options: tuple[TargetOption, ...] = ()
    corrected: ByHand | None = None

    def __post_init__(self) -> None:
        mask = frozen_array(self.mask, "mask", ndim=2, dtype=np.bool_)
        object.__setattr__(self, "mask", mask)
        if not mask.any():
            raise ValueError(f"Expected tumour {self.id} to hold at least one pixel, found none.")

    @property
    def area_px(self) -> int:
        """Number of pixels."""
        return int(np.count_nonzero(self.mask))

    @property
    def centroid(self) -> tuple[float, float]:
        """Mean (row, col)."""
        rows, cols = np.nonzero(self.mask)
        return float(rows.mean()), float(cols.mean())


class ShuntKind(StrEnum):
    """Where the early drainage goes."""

    ARTERIOPORTAL = "arterioportal"
    ARTERIOVENOUS = "arteriovenous"


@dataclass(frozen=True, slots=True)
class Shunt:
    """Early venous filling, pixels of the reference frame."""

    kind: ShuntKind
    probability: float
    row: float
    col: float
    arrival_s: float
