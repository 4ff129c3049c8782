"""What a reader says of a lesion where no outline can say it: that it is gone, worse, new, not to be judged."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Reading", "Statement", "UnusedReading"]


class Statement(StrEnum):
    """What a reader can say of a lesion on a day."""

    GONE = "gone"
    TOO_SMALL = "too small"
    NOT_EVALUABLE = "not evaluable"
    WORSE = "worse"
    NEW = "new"


@dataclass(frozen=True, slots=True)
class Reading:
    """One statement, and the file and row that it stands in; row 1 is the first below the header.

    Attributes
    ----------
    date : str
        Day of the scan, YYYYMMDD.
    subject : str
        The patient's pseudonym; empty where the file leaves it to there being one patient.
    """

    date: str
    lesion_id: str
    statement: Statement
    subject: str = ""
    file: str = ""
    row: int = 0


@dataclass(frozen=True, slots=True)
class UnusedReading:
    """A statement that changed no call, and one sentence that says why."""

    reading: Reading
    sentence: str
