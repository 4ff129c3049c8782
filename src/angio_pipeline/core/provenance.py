"""Which input a result comes from, and which operations led to it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

__all__ = ["Operation", "Provenance", "Source", "public_name"]

_NAMELESS = (
    "dcm|dicom|dicomdir|ima?|img|image|frame|run|series|slice|film|vol(?:ume)?|seg|rois?|lesions?|xa|rf|dx|c[rt]|mr"
)


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

        A name that is masked becomes a hash of the identifiers above, which find the source all the
        same; a hash of the name itself could be compared with that of a name that somebody guesses.
        """
        name = public_name(self.file)
        if name or not self.file:
            return name
        known = self.sop_instance_uid or self.series_instance_uid or self.study_instance_uid
        return hashlib.sha256(known.encode()).hexdigest()[:8] + _suffix(self.file)


def public_name(path: str) -> str:
    """Return the name at the end of a path where it can be nobody's, else nothing.

    Such a name is made of words that files are numbered with (`IM_0012.dcm`), single letters, numbers
    of up to four digits, or it is a UID.
    """
    name = path.rsplit("/", 1)[-1]
    stem = name[: len(name) - len(_suffix(name))]
    # A UID made of a UUID has three parts and a long one; with a short one it could be a day.
    if re.fullmatch(r"\d+(\.\d+){3,}|2\.25\.\d{20,39}", stem):
        return name
    parts = re.findall(r"[A-Za-z]+|\d+|[^A-Za-z\d]+", stem)
    return name if all(re.fullmatch(rf"(?i:{_NAMELESS})|[A-Za-z]|\d{{1,4}}|[._-]", part) for part in parts) else ""


def _suffix(name: str) -> str:
    found = re.search(r"\.(?:dcm|ima|dicom|png|nii|nii\.gz|zip|tar|tgz|tar\.gz|csv|json)$", name, re.IGNORECASE)
    return found[0].lower() if found else ""


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
