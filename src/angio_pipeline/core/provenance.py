"""Which input a result comes from, and which operations led to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

__all__ = ["Operation", "Provenance", "Source"]


@dataclass(frozen=True, slots=True)
class Source:
    """The input of a result: identifiers only, never a name, number or date of birth.

    Attributes
    ----------
    subject : str
        The patient's pseudonym.
    date : str
        `YYYYMMDD`, or `undated`.
    acquired : datetime or None
        Start of the acquisition, when the file tells.
    file : str
        Path relative to the source that was given.
    description : str
        A short technical label (series number and instance), free of patient data.
    """

    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str = ""
    subject: str = "unknown"
    date: str = "undated"
    acquired: datetime | None = None
    modality: str = ""
    file: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """One step that was carried out, with its real arguments."""

    name: str
    arguments: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Provenance:
    """The operations so far, oldest first."""

    operations: tuple[Operation, ...] = ()

    def then(self, name: str, **arguments: object) -> Provenance:
        """Return the provenance with one more operation."""
        return replace(self, operations=(*self.operations, Operation(name, arguments)))
