"""`lipiodol.json`: the oil that stayed in one patient."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from angio_pipeline.core.followups import AlignmentMethod, Completeness, KineticsModel, MarginGrade, OilPlace, Pattern
from angio_pipeline.core.tumours import LesionOrigin
from angio_pipeline.outputs.schemas.common import Document, Interval, SoftwareDocument

__all__ = [
    "KineticsDocument",
    "LesionDocument",
    "LipiodolDocument",
    "LiverDocument",
    "ResidualTumourDocument",
    "ScanAlignmentDocument",
    "StrayOilDocument",
    "StrayOilSearchDocument",
    "TimepointDocument",
]


class ResidualTumourDocument(Document):
    """What of a lesion enhances in the arterial phase and washes out; on the arterial scan's date."""

    arterial_minus_portal_hu: float | None = Field(
        description="mean of the lesion's interior where oil has no edge; oil cancels"
    )
    interval_hu: Interval
    living_ml: float | None = Field(description="volume that stands out of noise")
    portal_series_instance_uid: str


class StrayOilDocument(Document):
    """One piece of oil outside the lesions."""

    place: OilPlace
    centroid_mm: tuple[float, float, float] = Field(description="LPS in that scan")
    volume_ml: float | None
    iodine_mg: float | None
    iodine_mg_interval: Interval


class StrayOilSearchDocument(Document):
    """One scan that was searched for oil outside the lesions."""

    date: str
    days: float | None
    series_instance_uid: str
    compared_series_instance_uid: str = Field(description="the scan that tells oil from what was always bright")
    before_treatment: bool = Field(description="whether that is a scan before treatment, or a later one")
    pieces: list[StrayOilDocument]
    quality: list[str]


class TimepointDocument(Document):
    """One lesion (or the liver) at one date."""

    date: str
    days: float | None
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    deposit_mask: str | None
    iodine_mg: float | None
    iodine_mg_interval: Interval | None
    oil_ml: float | None
    relative_amount: float | None
    volume_mm3: float | None
    coverage: dict[str, float | None] | None = Field(description="percent of the lesion, by threshold in HU")
    retention: float | None
    retention_interval: Interval | None
    pattern: Pattern | None
    completeness: Completeness | None
    margin_grade: MarginGrade | None
    clipped_voxels: int | None
    quality: list[str]
    quality_sentences: list[str] = Field(default=[])
    sop_instance_uid: str = ""
    file: str = ""
    residual: ResidualTumourDocument | None = Field(default=None, description="With an arterial and a portal scan.")
    view: str | None = Field(default=None, description="Aligned slice through the lesion, a picture.")
    view_window: tuple[float, float] | None = None
    view_unit: str | None = None


class KineticsDocument(Document):
    """Washout. A `null` end of the interval is unbounded."""

    model: KineticsModel
    half_life_days: float | None
    half_life_interval: Interval
    curve_days: list[float] = Field(default=[])
    curve_retention: list[float | None] = Field(default=[])


class LiverDocument(Document):
    """The liver beside the lesions."""

    timepoints: list[TimepointDocument]
    kinetics: KineticsDocument | None
    quality: list[str] = Field(default=[])
    quality_sentences: list[str] = Field(default=[])


class LesionDocument(LiverDocument):
    """One lesion over time."""

    id: str
    centroid_mm: tuple[float, float, float] | None
    origin: LesionOrigin = LesionOrigin.DETECTED


class ScanAlignmentDocument(Document):
    """How one scan was laid upon the reference scan, and how well."""

    date: str
    days: float | None
    series_instance_uid: str
    method: AlignmentMethod
    correlation: float | None = Field(description="of attenuation around the liver, oil left out")
    edge_gap_before_mm: float | None = Field(description="median distance of edges, where the table put them")
    edge_gap_mm: float | None = Field(description="median distance of edges around the liver, aligned")
    shift_mm: float | None = Field(description="how far the liver's middle has gone")
    bend_mm: float | None = Field(description="95th percentile of the displacement on top of the rigid motion")
    volume_change: tuple[float, float] | None = Field(description="least and greatest local change in the liver")
    reason: str | None = Field(description="why the scan, or only its bending, was refused")
    motion: list[list[float]] | None = Field(
        default=None,
        description="(4, 4) from the reference's LPS millimetres to the scan's, as the rigid body nearest to the "
        "alignment about the liver; bending on top of it is not told",
    )
    reference_view: str | None = None
    before_view: str | None = None
    after_view: str | None = None


class LipiodolDocument(Document):
    """`lipiodol.json`: the oil that stayed, for every lesion of one patient."""

    schema_: Literal["angio-pipeline/lipiodol/1"] = Field(default="angio-pipeline/lipiodol/1", alias="schema")
    lesions: list[LesionDocument]
    liver: LiverDocument | None
    alignments: list[ScanAlignmentDocument] = Field(default=[])
    non_target: list[StrayOilSearchDocument] = Field(
        default=[], description="Scans searched for oil outside the lesions; none where no two could be compared."
    )
    quality: list[str] = Field(default=[])
    quality_sentences: list[str] = Field(default=[])
    settings: dict[str, Any] = Field(default={})
    software: SoftwareDocument | None = None
