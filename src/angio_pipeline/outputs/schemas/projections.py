"""`projections.json`: what two projections of one injection say together."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from angio_pipeline.outputs.schemas.common import Document, Fraction, Point, SoftwareDocument, SourceDocument
from angio_pipeline.outputs.schemas.run import FeederTwoViewsDocument, TumourTwoViewsDocument

__all__ = [
    "LandmarkDocument",
    "NotJoinedDocument",
    "PairFeederDocument",
    "PairTumourDocument",
    "ProjectionPairDocument",
    "ProjectionsDocument",
    "ViewAlignmentDocument",
]


class LandmarkDocument(Document):
    """A point of both runs, how far it misses its line after alignment, and whether it took part."""

    name: str
    apart_mm: float
    used: bool


class ViewAlignmentDocument(Document):
    """How the second run had to be moved and turned for both to agree.

    Along the line between the sources a displacement cannot be seen; `sd_mm` is what a line's place is known to.
    """

    shift_mm: tuple[float, float, float]
    turn_deg: tuple[float, float]
    sd_mm: float
    match: float | None = Field(description="Correlation of the arterial contrast on corresponding lines.")
    landmarks: list[LandmarkDocument]


class PairTumourDocument(TumourTwoViewsDocument):
    """A tumour of the first run; `match` is its id in the second."""

    id: str


class PairFeederDocument(FeederTwoViewsDocument):
    """A feeder of one run, looked for in the other."""

    id: str
    tumour: str
    probability_alone: Fraction
    entry: Point


class ProjectionPairDocument(Document):
    """Two projections of one injection."""

    first: SourceDocument
    second: SourceDocument
    first_deg: tuple[float, float]
    second_deg: tuple[float, float]
    apart_deg: float
    millimetres_told: bool = Field(description="Whether both files tell how large the patient is.")
    alignment: ViewAlignmentDocument
    tumours: list[PairTumourDocument]
    feeders_first: list[PairFeederDocument]
    feeders_second: list[PairFeederDocument]
    picture: str
    cautions: list[str] = Field(default=[])
    quality: list[str] = Field(default=[])


class NotJoinedDocument(Document):
    """Runs that were not joined, and why."""

    first: SourceDocument | None
    second: SourceDocument | None
    reason: str
    sentence: str


class ProjectionsDocument(Document):
    """`projections.json`: every two projections of one injection of one patient."""

    schema_: Literal["angio-pipeline/projections/1"] = Field(default="angio-pipeline/projections/1", alias="schema")
    pairs: list[ProjectionPairDocument]
    not_joined: list[NotJoinedDocument]
    settings: dict[str, Any] = Field(default={})
    software: SoftwareDocument | None = None
