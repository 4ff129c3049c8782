"""Response of a patient's lesions to treatment: what was measured, and what each criterion says of it.

Nothing here is found or decided; `response` does that. Unknown is None, and a lesion that is gone has an
extent of zeros: the two never mean the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from angio_pipeline.core.arrays import frozen_array
from angio_pipeline.core.provenance import Source
from angio_pipeline.core.readings import Statement, UnusedReading

__all__ = [
    "BestResponse",
    "Call",
    "Criterion",
    "CriterionCall",
    "Extent",
    "Histology",
    "LesionAtDate",
    "LesionHistory",
    "LesionRole",
    "LesionSight",
    "Necrosis",
    "NecrosisReference",
    "OilConvention",
    "OutlineOrigin",
    "ReferenceStandard",
    "ResponseDate",
    "ResponseResult",
]


class Criterion(StrEnum):
    """The criteria, by name."""

    RECIST = "recist"
    MRECIST = "mrecist"
    EASL = "easl"
    WHO = "who"
    QEASL = "qeasl"
    CHOI = "choi"
    RECICL = "recicl"


class OilConvention(StrEnum):
    """What iodised oil counts as where enhancement is measured.

    `TISSUE` looks through the oil: what a scan with contrast medium adds to the plain scan of the same visit.
    """

    TISSUE = "tissue"
    OIL_NECROTIC = "oil_necrotic"
    OIL_ENHANCING = "oil_enhancing"


class Call(StrEnum):
    """What a criterion says of targets, of other lesions, or of the patient."""

    CR = "CR"
    PR = "PR"
    SD = "SD"
    PD = "PD"
    NON_CR_NON_PD = "non-CR/non-PD"
    TE4 = "TE4"
    TE3 = "TE3"
    TE2 = "TE2"
    TE1 = "TE1"
    NE = "NE"


class OutlineOrigin(StrEnum):
    """Whether a lesion's outline on a scan was drawn there, or fitted to the scan from one drawn on another."""

    DRAWN = "drawn"
    FITTED = "fitted"


class LesionRole(StrEnum):
    """The main tumour, or a nodule beside it."""

    MAIN = "main"
    DAUGHTER = "daughter"


class ReferenceStandard(StrEnum):
    """What a share of necrosis goes by: the pathologist where there is one."""

    HISTOLOGY = "histology"
    IMAGING = "imaging"


@dataclass(frozen=True, slots=True, eq=False)
class LesionSight:
    """The part of one scan around one lesion, as it is handed from the follow-up to the response.

    Attributes
    ----------
    days : float
        Since treatment; negative before it.
    baseline, contrast : bool
        Acquired before treatment; after contrast medium into a vein.
    liver_hu : float
        The liver's own attenuation in this scan, NaN when it was not found.
    hu : ndarray, (Z, Y, X) float32
    affine : ndarray, (4, 4) float64
        (z, y, x, 1) indices to LPS millimetres.
    carried : ndarray, (Z, Y, X) bool
        The lesion's one outline, carried here by the alignment of the scans: right where it was drawn.
    oil : ndarray, (Z, Y, X) bool, or None
        The oil that was found, empty when there is none; None where it was not looked for or cannot be told.
    """

    lesion_id: str
    source: Source
    days: float
    baseline: bool
    contrast: bool
    liver_hu: float
    hu: npt.NDArray[np.float32]
    affine: npt.NDArray[np.float64]
    carried: npt.NDArray[np.bool_]
    oil: npt.NDArray[np.bool_] | None = None
    frame_of_reference_uid: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "hu", frozen_array(self.hu, "hu", ndim=3, dtype=np.float32, finite=True))
        affine = frozen_array(self.affine, "affine", ndim=2, dtype=np.float64, shape=(4, 4), finite=True)
        object.__setattr__(self, "affine", affine)
        shape = self.hu.shape
        carried = frozen_array(self.carried, "carried", ndim=3, dtype=np.bool_, shape=shape)
        object.__setattr__(self, "carried", carried)
        if self.oil is not None:
            object.__setattr__(self, "oil", frozen_array(self.oil, "oil", ndim=3, dtype=np.bool_, shape=shape))


@dataclass(frozen=True, slots=True)
class Extent:
    """Size of a lesion or of a part of it; all zeros when there is nothing.

    Attributes
    ----------
    longest_mm, across_mm : float
        Longest straight line within an axial slice that stays inside, and the longest across it in that slice
        (the short axis).
    product_mm2 : float
        Their product; summed over the pieces of a lesion that has split.
    longest_3d_mm : float
        Greatest distance between two points of the surface, in any direction.
    """

    longest_mm: float
    across_mm: float
    product_mm2: float
    volume_ml: float
    longest_3d_mm: float

    @property
    def gone(self) -> bool:
        """Whether nothing is there."""
        return self.volume_ml <= 0 and self.longest_mm <= 0


@dataclass(frozen=True, slots=True)
class Necrosis:
    """What of one lesion enhances at one date and what does not, ml; None where the phases for it are missing.

    Attributes
    ----------
    non_enhancing_ml : float or None
        The lesion less what enhances; oil counts by what lies under it.
    covered_ml : float or None
        Covered by the deposit; None where no plain scan tells the oil.
    rim_ml, rim_enhancing_ml : float or None
        The outermost layer of the lesion, where tumour comes back first, and what enhances of it.
    necrotic_percent : float or None
        Share of the lesion that does not enhance, by convention of the oil.
    reason : str
        Why something is None.
    """

    enhancing_ml: float | None
    non_enhancing_ml: float | None
    covered_ml: float | None
    rim_ml: float | None
    rim_enhancing_ml: float | None
    necrotic_percent: Mapping[OilConvention, float]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LesionAtDate:
    """One lesion at one date, as every criterion sees it.

    Attributes
    ----------
    whole : Extent or None
        None when it cannot be evaluated; `missing` says why.
    viable : mapping
        What enhances in the arterial phase, by convention; a convention that cannot be told is absent, and
        `viable_missing` says why.
    viable_by : str
        How enhancement was told, with the threshold in `threshold_hu`.
    mean_hu, phase
        Mean attenuation over the lesion, and in which phase.
    holds_oil : bool or None
        None where it cannot be told.
    too_small : bool
        Present, but too small to measure: it counts as 5 mm (RECIST 1.1).
    merged_into : str or None
        The lesion that it has grown together with, which is then measured for both.
    reading : Statement or None
        What a reader said of it here; of its size that takes the place of what was measured.
    """

    date: str
    days: float
    whole: Extent | None
    viable: Mapping[OilConvention, Extent] = field(default_factory=dict)
    mean_hu: float | None = None
    phase: str | None = None
    holds_oil: bool | None = None
    too_small: bool = False
    merged_into: str | None = None
    pieces: int = 1
    outline: OutlineOrigin | None = None
    viable_by: str | None = None
    threshold_hu: float | None = None
    necrosis: Necrosis | None = None
    missing: str = ""
    viable_missing: str = ""
    reading: Statement | None = None


@dataclass(frozen=True, slots=True)
class LesionHistory:
    """One lesion at every date, the one before treatment first.

    Attributes
    ----------
    new_on : float or None
        Days at which it was first seen, for a lesion that was not there before treatment.
    slice_mm : float
        Thickness of the slices it was measured on before treatment: thick ones raise the least size of a target.
    worse : tuple of float
        Days at which a reader called it unequivocally worse (it counts where it is no target).
    """

    id: str
    dates: tuple[LesionAtDate, ...]
    organ: str = "liver"
    node: bool = False
    measurable: bool = True
    new_on: float | None = None
    slice_mm: float = 0.0
    worse: tuple[float, ...] = ()
    role: LesionRole | None = None


@dataclass(frozen=True, slots=True)
class CriterionCall:
    """What one criterion says at one date, with the numbers and the name of the rule that said it.

    Attributes
    ----------
    name : str
        The criterion, and after a `/` the convention where one matters.
    call : Call
        NE where it cannot be made: `sentence` says why.
    rule : str
        Name of the rule that told the call of the targets, as `criteria` has it.
    table_row : str or None
        Row of the table that joined it with other and new lesions, as `overall` has it; None where the
        criterion looks at its targets only.
    value, baseline, nadir : float or None
        Sum over the targets in `unit`: now, before treatment, the least before now.
    density_valid : bool or None
        None where the criterion has no density arm.
    effect : float or None
        Necrotic share of the targets, or how far they shrank if that is more.
    """

    name: str
    criterion: Criterion
    convention: OilConvention | None
    call: Call
    rule: str
    sentence: str
    table_row: str | None = None
    target_call: Call | None = None
    non_target_call: Call | None = None
    new_lesions: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    non_targets: tuple[str, ...] = ()
    unit: str = "mm"
    value: float | None = None
    baseline: float | None = None
    nadir: float | None = None
    density_valid: bool | None = None
    density_change: float | None = None
    effect: float | None = None

    @property
    def change_from_baseline(self) -> float | None:
        """Relative change of the sum, None where a sum is unknown or nothing was there."""
        return _change(self.value, self.baseline)

    @property
    def change_from_nadir(self) -> float | None:
        """Relative change from the least sum, None where that is unknown or 0."""
        return _change(self.value, self.nadir)


def _change(value: float | None, reference: float | None) -> float | None:
    return None if value is None or not reference else value / reference - 1


@dataclass(frozen=True, slots=True)
class ResponseDate:
    """All calls of one date after treatment; `too_early` before the time at which response is assessed."""

    date: str
    days: float
    calls: tuple[CriterionCall, ...]
    too_early: bool = False


@dataclass(frozen=True, slots=True)
class BestResponse:
    """The best overall response by one criterion, and the rule that told it."""

    name: str
    call: Call
    rule: str
    sentence: str
    days: float | None = None
    confirmed: bool | None = None


@dataclass(frozen=True, slots=True)
class Histology:
    """What a pathologist found: necrosis in percent of a lesion, named or by its role."""

    necrosis_percent: float
    lesion_id: str | None = None
    role: LesionRole | None = None
    days: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.necrosis_percent <= 100:
            found = f"{self.necrosis_percent:g}"
            raise ValueError(f"Expected necrosis_percent between 0 and 100, found {found}; check the record.")
        if (self.lesion_id is None) == (self.role is None):
            raise ValueError("Expected either a lesion or a role for histology, found both or neither; give one.")


@dataclass(frozen=True, slots=True)
class NecrosisReference:
    """Necrosis of one lesion by its reference standard, and imaging beside it.

    `imaging_percent` is that of the last date with one before the specimen, `imaging_days` when that was.
    """

    lesion_id: str
    role: LesionRole | None
    standard: ReferenceStandard
    percent: float
    imaging_percent: float | None
    imaging_days: float | None


@dataclass(frozen=True, slots=True)
class ResponseResult:
    """Response of one patient.

    Attributes
    ----------
    baseline_date : str or None
        The scan before treatment that all is compared with; None without one.
    reason : str
        Why there are no calls, where there are none.
    unused : tuple of UnusedReading
        What a reader said and no call counts.
    """

    lesions: tuple[LesionHistory, ...]
    dates: tuple[ResponseDate, ...]
    best: tuple[BestResponse, ...] = ()
    necrosis: tuple[NecrosisReference, ...] = ()
    baseline_date: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    reason: str = ""
    unused: tuple[UnusedReading, ...] = ()
