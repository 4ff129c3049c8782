"""What two runs of one view say when they are laid upon each other: before embolisation and after it.

All places are (row, col) in pixels of the run before. Amplitudes stand over those of a reference
artery of the same run, so that a stronger or longer injection drops out; times count from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from angio_pipeline.core.arrays import frozen_array
from angio_pipeline.core.provenance import Source
from angio_pipeline.core.quality import Quality

__all__ = [
    "BlushChange",
    "FeederChange",
    "Flow",
    "Passage",
    "Patency",
    "ReferenceArtery",
    "RunAlignment",
    "RunComparison",
    "SaceLevel",
    "TumourChange",
]

Interval = tuple[float, float]


class Patency(StrEnum):
    """What becomes of a feeder; UNKNOWN where noise, view or position do not let it be said."""

    OPEN = "open"
    SLOWED = "slowed"
    CLOSED = "closed"
    UNKNOWN = "cannot tell"


class Flow(StrEnum):
    """Antegrade flow to a tumour, as SACE distinguishes it."""

    NORMAL = "normal"
    REDUCED = "reduced"
    NONE = "none"


class SaceLevel(StrEnum):
    """Subjective angiographic chemoembolisation endpoint (Lewandowski and others, J Vasc Interv Radiol 2007;18:1249).

    I: normal flow, normal blush; II: normal flow, reduced blush; III: both reduced; IV: neither.
    """

    LEVEL_I = "I"
    LEVEL_II = "II"
    LEVEL_III = "III"
    LEVEL_IV = "IV"


@dataclass(frozen=True, slots=True)
class Passage:
    """One curve over the reference artery's of the same run.

    Attributes
    ----------
    peak, auc, wash_in : float
        Maximum, area and steepest rise, each divided by that of the reference artery.
    time_to_peak_s : float
        Time of the maximum after that of the reference artery's arrival, seconds.
    """

    peak: float
    auc: float
    wash_in: float
    time_to_peak_s: float


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceArtery:
    """The artery that both runs are measured by.

    Attributes
    ----------
    line : ndarray, (K, 2) float64
        The part of its centreline that is read.
    before, after : ndarray, (T,) float64
        Its contrast in each run, attenuation, at `RunComparison.times_s`.
    areas_s : (float, float)
        Area under each curve, attenuation times seconds: the dose that passed, over flow.
    how : str
        How it was chosen, one sentence.
    """

    line: npt.NDArray[np.float64]
    diameter_px: float
    before: npt.NDArray[np.float64]
    after: npt.NDArray[np.float64]
    areas_s: tuple[float, float]
    how: str

    def __post_init__(self) -> None:
        line = frozen_array(self.line, "line", ndim=2, dtype=np.float64, shape=(None, 2), finite=True)
        object.__setattr__(self, "line", line)
        for name in ("before", "after"):
            value = frozen_array(getattr(self, name), name, ndim=1, dtype=np.float64, finite=True)
            object.__setattr__(self, name, value)

    @property
    def unit_before(self) -> float:
        """What stain in the run before is given over: the artery's peak."""
        return float(self.before.max())

    @property
    def unit_after(self) -> float:
        """What stain in the run after is given over: what the peak would be if both injections had one shape.

        Tissue gathers contrast while the artery is full, so that it is the area that has to be one.
        """
        return self.unit_before * self.areas_s[1] / self.areas_s[0]

    @property
    def durations_s(self) -> tuple[float, float]:
        """Area over peak of each run: how long the injection lasted."""
        return self.areas_s[0] / self.unit_before, self.areas_s[1] / float(self.after.max())


@dataclass(frozen=True, slots=True, eq=False)
class RunAlignment:
    """Where in the run after the anatomy stands that each pixel of the run before shows.

    Attributes
    ----------
    offsets_px : ndarray, (h, w, 2) float32
        Lattice of displacements (row, col): what the run before shows at x, the run after shows at
        x plus this.
    anatomy_shift_px : tuple of float or None
        One displacement of all anatomy; None where a run brings no unsubtracted anatomy.
    anatomy_match, vessel_match : float
        Correlation of what lies in both after alignment, at most 1; NaN where it was not measured.
    by_vessels : bool
        Whether the vessels were found where they were looked for; otherwise bone alone aligns the
        runs, and vessels may stand elsewhere by as much as breathing moves them.
    """

    offsets_px: npt.NDArray[np.float32]
    anatomy_shift_px: tuple[float, float] | None
    anatomy_match: float
    vessel_match: float
    by_vessels: bool

    def __post_init__(self) -> None:
        value = frozen_array(self.offsets_px, "offsets_px", ndim=3, dtype=np.float32, shape=(None, None, 2))
        object.__setattr__(self, "offsets_px", value)

    @property
    def mean_shift_px(self) -> tuple[float, float]:
        """Mean displacement (row, col)."""
        row, col = self.offsets_px.reshape(-1, 2).mean(axis=0, dtype=np.float64)
        return float(row), float(col)


@dataclass(frozen=True, slots=True, eq=False)
class FeederChange:
    """One feeder of the run before, read in both runs along the part that is the tumour's own.

    Attributes
    ----------
    line : ndarray, (K, 2) float64
        The part that was read.
    contrast_before, contrast_after : float
        Area under its curve over that of the reference artery; NaN where it could not be read.
    ratio, ratio_interval : float, (float, float)
        After over before, with its 95 % interval from the noise beside the vessel.
    delay_before_s, delay_after_s : float
        Mean transit time from the reference artery; NaN where it could not be measured.
    reason : str
        The numbers and the rule behind `patency`, one sentence.
    """

    id: str
    probability: float
    contribution: float
    line: npt.NDArray[np.float64]
    patency: Patency
    contrast_before: float
    contrast_after: float
    ratio: float
    ratio_interval: Interval
    delay_before_s: float
    delay_after_s: float
    reason: str

    def __post_init__(self) -> None:
        line = frozen_array(self.line, "line", ndim=2, dtype=np.float64, shape=(None, 2), finite=True)
        object.__setattr__(self, "line", line)


@dataclass(frozen=True, slots=True, eq=False)
class BlushChange:
    """A tumour's stain above its surroundings in both runs.

    Attributes
    ----------
    residual, residual_interval : float, (float, float)
        Peak after over peak before, as one injection would show both; the interval covers what is not
        known of the liver in front and behind, noise and repeats. NaN where the blush before does not stand out.
    residual_area : float
        Area that stains after over area that stained before.
    area_before_px, area_after_px : int
        Pixels that stain.
    surroundings_share : float
        Share of the surroundings' curve that was taken off, 0 to 1.
    before, after : Passage
    curve_before, curve_after : ndarray, (T,) float64
        Stain above surroundings over `ReferenceArtery.unit_before` and `unit_after`, at `RunComparison.times_s`.
    reason : str
        Why there is no residual; empty where there is one.
    """

    residual: float
    residual_interval: Interval
    residual_area: float
    area_before_px: int
    area_after_px: int
    surroundings_share: float
    before: Passage
    after: Passage
    curve_before: npt.NDArray[np.float64]
    curve_after: npt.NDArray[np.float64]
    reason: str = ""

    def __post_init__(self) -> None:
        for name in ("curve_before", "curve_after"):
            value = frozen_array(getattr(self, name), name, ndim=1, dtype=np.float64)
            object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True, eq=False)
class TumourChange:
    """One tumour of the run before; `sace` is None where it cannot be decided, and `reason` says why or by what."""

    id: str
    mask: npt.NDArray[np.bool_]
    blush: BlushChange | None
    feeders: tuple[FeederChange, ...]
    flow: Flow | None
    sace: SaceLevel | None
    reason: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "mask", frozen_array(self.mask, "mask", ndim=2, dtype=np.bool_))


@dataclass(frozen=True, slots=True, eq=False)
class RunComparison:
    """All that two runs of one view say of an embolisation between them.

    Attributes
    ----------
    times_s : ndarray, (T,) float64
        Common times of all curves, 0 at the reference artery's arrival.
    picture_before, picture_after : ndarray, (H, W) float32
        Contrast when the blush is greatest, over `ReferenceArtery.unit_before` and `unit_after`; both in the
        geometry of the run before, NaN where a run shows nothing.
    cautions : tuple of str
        What a reader has to know, one sentence each.
    """

    before: Source
    after: Source
    alignment: RunAlignment
    reference: ReferenceArtery
    times_s: npt.NDArray[np.float64]
    tumours: tuple[TumourChange, ...]
    picture_before: npt.NDArray[np.float32]
    picture_after: npt.NDArray[np.float32]
    picture_time_s: float
    cautions: tuple[str, ...] = ()
    quality: Quality = field(default=Quality.NONE)

    def __post_init__(self) -> None:
        times = frozen_array(self.times_s, "times_s", ndim=1, dtype=np.float64, finite=True)
        object.__setattr__(self, "times_s", times)
        size = np.asarray(self.picture_before).shape
        for name in ("picture_before", "picture_after"):
            value = frozen_array(getattr(self, name), name, ndim=2, dtype=np.float32, shape=size)
            object.__setattr__(self, name, value)
