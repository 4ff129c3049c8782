"""Which input a result comes from, and which operations led to it."""

from __future__ import annotations

import hashlib
import re
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

    @property
    def public_file(self) -> str:
        """The file's name as results may carry it: folders and names that could be a person's are masked.

        A name of letters alone, or with anything but letters, digits, `.`, `_` and `-`, is replaced
        by a hash; the identifiers above find the source all the same.
        """
        name = self.file.rsplit("/", 1)[-1]
        if not name or (re.fullmatch(r"[A-Za-z0-9._-]{1,80}", name) and re.search(r"\d", name)):
            return name
        suffix = re.search(r"\.[A-Za-z0-9]{1,5}$", name)
        return hashlib.sha256(self.file.encode()).hexdigest()[:8] + (suffix[0].lower() if suffix else "")


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
