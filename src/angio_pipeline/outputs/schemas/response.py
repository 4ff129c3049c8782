"""`response.json`: what every criterion says of one patient."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from angio_pipeline.core.readings import Statement
from angio_pipeline.core.response import Call, Criterion, LesionRole, OilConvention, OutlineOrigin, ReferenceStandard
from angio_pipeline.outputs.schemas.common import Document, SoftwareDocument

__all__ = [
    "BestResponseDocument",
    "ExtentDocument",
    "LesionHistoryDocument",
    "MeasuredLesionDocument",
    "NecrosisDocument",
    "NecrosisReferenceDocument",
    "ReasonDocument",
    "ResponseDocument",
    "ResponseTimepointDocument",
]


class ExtentDocument(Document):
    """Size of a lesion or of its enhancing part; zeros when it is gone. Diameters are axial, but for the 3-D one."""

    longest_mm: float
    across_mm: float
    product_mm2: float
    longest_3d_mm: float
    volume_ml: float


class NecrosisDocument(Document):
    """What of a lesion enhances and what does not; `null` where the phases for it are missing, see `reason`."""

    enhancing_ml: float | None
    non_enhancing_ml: float | None
    covered_ml: float | None = Field(description="covered by the deposit of oil")
    rim_ml: float | None = Field(description="outermost layer of the lesion")
    rim_enhancing_ml: float | None
    necrotic_percent: dict[OilConvention, float] = Field(description="share that does not enhance, by convention")
    reason: str = ""


class MeasuredLesionDocument(Document):
    """One lesion at one date; `whole` is `null` where it was not evaluated, and `missing` says why."""

    date: str
    days: float
    whole: ExtentDocument | None
    viable: dict[OilConvention, ExtentDocument]
    viable_by: str | None = Field(description="how enhancement was told")
    threshold_hu: float | None = Field(description="enhancement from which on tissue counts as viable")
    outline: OutlineOrigin | None
    pieces: int = 1
    merged_into: str | None = None
    too_small: bool = False
    mean_hu: float | None
    phase: str | None = Field(description="in which mean_hu was taken")
    holds_oil: bool | None
    necrosis: NecrosisDocument | None
    missing: str = ""
    viable_missing: str = ""
    reading: Statement | None = Field(default=None, description="what a reader said of it")


class LesionHistoryDocument(Document):
    """One lesion at every date."""

    id: str
    organ: str
    node: bool
    role: LesionRole | None
    new_on_days: float | None
    timepoints: list[MeasuredLesionDocument]


class ReasonDocument(Document):
    """The numbers behind one call, and the names of the rules that made it. NE: not evaluable."""

    name: str
    criterion: Criterion
    convention: OilConvention | None
    call: Call
    rule: str
    table_row: str | None
    sentence: str
    target_call: Call | None
    non_target_call: Call | None
    new_lesions: list[str]
    targets: list[str]
    non_targets: list[str]
    unit: str
    value: float | None
    baseline: float | None
    nadir: float | None
    change_from_baseline: float | None
    change_from_nadir: float | None
    density_valid: bool | None
    density_change: float | None
    effect: float | None


class ResponseTimepointDocument(Document):
    """All calls of one date: by criterion, or by criterion and convention of the oil; `null` where none was made."""

    date: str
    days: float
    too_early: bool = Field(default=False, description="before response can be assessed: the calls tell none")
    calls: dict[str, Call | None]
    reasons: list[ReasonDocument]


class BestResponseDocument(Document):
    """Best overall response by one criterion; `null` where there is none."""

    name: str
    call: Call | None
    rule: str
    days: float | None
    confirmed: bool | None
    sentence: str


class NecrosisReferenceDocument(Document):
    """Necrosis of one lesion by its reference standard, with imaging beside it."""

    lesion: str
    role: LesionRole | None
    standard: ReferenceStandard
    percent: float
    imaging_percent: float | None
    imaging_days: float | None


class ResponseDocument(Document):
    """`response.json`: what every criterion says of one patient, and the measures that it says it from."""

    schema_: Literal["angio-pipeline/response/1"] = Field(default="angio-pipeline/response/1", alias="schema")
    baseline_date: str | None
    reason: str = Field(default="", description="Why there are no calls, where there are none.")
    lesions: list[LesionHistoryDocument]
    timepoints: list[ResponseTimepointDocument]
    best: list[BestResponseDocument]
    necrosis: list[NecrosisReferenceDocument]
    settings: dict[str, Any] = Field(default={})
    software: SoftwareDocument | None = None
