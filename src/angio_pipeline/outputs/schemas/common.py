"""What all public documents share: numbers that are finite, the software, and sources by identifiers only."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "Document",
    "Fraction",
    "FrameRange",
    "Interval",
    "OperationDocument",
    "Point",
    "SoftwareDocument",
    "SourceDocument",
]

Point = tuple[float, float]
Interval = tuple[float | None, float | None]
FrameRange = tuple[int, int]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Document(BaseModel):
    """Finite numbers only; keys of a newer version are read past."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False, populate_by_name=True, serialize_by_alias=True)


class SoftwareDocument(Document):
    """What wrote the file."""

    name: str
    version: str


class OperationDocument(Document):
    """One step that was carried out, with its real arguments."""

    name: str
    arguments: dict[str, Any]


class SourceDocument(Document):
    """The input, by identifiers only."""

    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str = ""
    file: str
    subject: str = ""
    date: str = "undated"
    modality: str = ""
    description: str = ""
