"""`embolisation.json`: runs before against runs after embolisation."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from angio_pipeline.core.embolisation import Flow, Patency, SaceLevel
from angio_pipeline.outputs.schemas.common import Document, Fraction, Interval, Point, SoftwareDocument, SourceDocument

__all__ = [
    "AlignmentDocument",
    "BlushChangeDocument",
    "ComparisonDocument",
    "EmbolisationDocument",
    "FeederChangeDocument",
    "NotComparedDocument",
    "PassageDocument",
    "ReferenceArteryDocument",
    "TumourChangeDocument",
]


class AlignmentDocument(Document):
    """How the run after lies against the run before, (row, col) pixels; matches are correlations, at most 1."""

    shift_px: Point
    anatomy_shift_px: Point | None = Field(description="null where no unsubtracted anatomy could be compared")
    anatomy_match: float | None
    vessel_match: float | None
    by_vessels: bool = Field(description="false: bone alone aligns the runs, and no feeder is judged")


class ReferenceArteryDocument(Document):
    """The artery that both runs are measured by; contrast is attenuation, a value for each of `times_s`."""

    how: str
    centreline: list[Point]
    diameter_px: float | None
    peak_before: float | None
    peak_after: float | None
    area_before: float | None = Field(description="under its curve, attenuation times seconds")
    area_after: float | None
    curve_before: list[float | None]
    curve_after: list[float | None]


class PassageDocument(Document):
    """One curve over the reference artery's: amplitudes are ratios, the time is after the artery's arrival."""

    peak: float | None
    auc: float | None
    wash_in: float | None
    time_to_peak_s: float | None


class BlushChangeDocument(Document):
    """A tumour's stain above its surroundings in both runs."""

    residual: float | None = Field(description="peak after over peak before, each over the reference artery's")
    residual_interval: Interval | None
    residual_area: float | None = Field(description="area that stains after over area that stained before")
    area_before_px: int
    area_after_px: int
    area_before_mm2: float | None
    area_after_mm2: float | None
    surroundings_share: float | None = Field(description="share of the surroundings' curve that was taken off")
    before: PassageDocument
    after: PassageDocument
    curve_before: list[float | None] = Field(description="over the reference artery's peak, for each of `times_s`")
    curve_after: list[float | None] = Field(
        description="over what the reference artery's peak would be with the area after and the shape before"
    )


class FeederChangeDocument(Document):
    """One feeder of the run before, read in both runs along the part that is the tumour's own."""

    id: str
    probability: Fraction
    contribution: Fraction
    patency: Patency
    contrast_before: float | None = Field(description="area under its curve over the reference artery's")
    contrast_after: float | None
    ratio: float | None
    ratio_interval: Interval | None
    delay_before_s: float | None = Field(description="mean transit time from the reference artery")
    delay_after_s: float | None
    centreline: list[Point]
    reason: str


class TumourChangeDocument(Document):
    """One tumour of the run before; `sace` is null where it cannot be decided, and `reason` says by what or why."""

    id: str
    blush: BlushChangeDocument | None
    feeders: list[FeederChangeDocument]
    flow: Flow | None
    sace: SaceLevel | None
    reason: str


class ComparisonDocument(Document):
    """Two runs of one view, compared. Places are pixels of the run before."""

    before: SourceDocument
    after: SourceDocument
    paired_by: Literal["label", "order"] = Field(
        description="label: a file calls its run before or after; order: first and last run of the view"
    )
    alignment: AlignmentDocument
    reference_artery: ReferenceArteryDocument
    times_s: list[float] = Field(description="0 when the reference artery has half its contrast")
    tumours: list[TumourChangeDocument]
    picture: str
    picture_time_s: float
    cautions: list[str] = Field(default=[])
    quality: list[str] = Field(default=[])
    quality_sentences: list[str] = Field(default=[])


class NotComparedDocument(Document):
    """Runs that were not compared, and why."""

    before: SourceDocument | None
    after: SourceDocument | None
    reason: str
    sentence: str


class EmbolisationDocument(Document):
    """`embolisation.json`: before against after embolisation, for every pair of runs of one patient."""

    schema_: Literal["angio-pipeline/embolisation/1"] = Field(default="angio-pipeline/embolisation/1", alias="schema")
    comparisons: list[ComparisonDocument]
    not_compared: list[NotComparedDocument]
    settings: dict[str, Any] = Field(default={})
    software: SoftwareDocument | None = None
