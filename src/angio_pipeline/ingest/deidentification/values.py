"""One value at a time: what of it may leave, by the kind of value that it is.

Elements that the table does not name leave as well, so every value passes here: a date has to be a date, a
number a number, a code string one that is known, a text its harmless words. What fits its kind cannot
carry a name; what does not fit is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from pydicom.charset import python_encoding
from pydicom.uid import UID

from angio_pipeline.ingest.deidentification.keyed import Keyed
from angio_pipeline.ingest.deidentification.profile import Option, Profile
from angio_pipeline.ingest.deidentification.text import clean_text

__all__ = ["BINARY_VRS", "TEXT_VRS", "Change", "Patient", "clean_value", "stand_in"]

TEXT_VRS = frozenset({"LO", "SH", "ST", "LT", "UT", "UC"})
BINARY_VRS = frozenset({"OB", "OW", "OF", "OD", "OL", "OV", "UN"})
_NUMBER = re.compile(r" *[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)? *")
_DATE = re.compile(r"(\d{4})[.]?(\d{2})[.]?(\d{2})")
_TIME = re.compile(r"\d{2}(:?\d{2}(:?\d{2}(\.\d{1,6})?)?)?")
_MOMENT = re.compile(r"(\d{4})(\d{2})?(\d{2})?((?:\d{2}){0,3}(?:\.\d{1,6})?)([+-]\d{4})?")
_AGE = re.compile(r"\d{3}[DWMY]")
_OLDEST_YEARS = 89
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_DATE_OPTIONS = (Option.FULL_DATES, Option.MODIFIED_DATES)


class Change(StrEnum):
    """What was done with an element, as the report counts it."""

    REMOVED = "removed"
    EMPTIED = "emptied"
    REPLACED = "replaced"
    CLEANED = "cleaned"
    REMAPPED = "remapped"
    SHIFTED = "shifted"
    BLANKED = "blanked"


@dataclass(frozen=True, slots=True)
class Patient:
    """Whose file it is, and the means to hide that."""

    subject: str
    profile: Profile
    keyed: Keyed

    @property
    def days_back(self) -> int:
        """By how many days this patient's dates go back."""
        return self.keyed.days_back(self.subject)


def clean_value(text: str, vr: str, keyword: str, patient: Patient) -> str | None:
    """Return what may leave of one value given as text; None where nothing may."""
    if not text.strip("\0 "):
        return ""
    if vr in TEXT_VRS:
        return clean_text(text, patient.profile, keyword)
    rule = _RULES.get(vr)
    return None if rule is None else rule(text.strip("\0 "), keyword, patient)


def _clean_uid(text: str, keyword: str, patient: Patient) -> str | None:
    if UID(text).name != text:  # the standard's own
        return text
    if keyword.endswith("SOPClassUID"):  # what a maker made up: another number would be no class at all
        return text if text in patient.profile.kinds else None
    if Option.UIDS in patient.profile.options and len(text) <= 64 and _UID.fullmatch(text):
        return text
    return patient.keyed.uid(text)


def _clean_date(text: str, keyword: str, patient: Patient) -> str | None:
    found = _DATE.fullmatch(text)
    options = patient.profile.options
    if found is None or not options.intersection(_DATE_OPTIONS):
        return None
    plain = "".join(found.groups())
    return plain if Option.FULL_DATES in options else _days_back(plain, patient.days_back)


def _days_back(plain: str, days: int) -> str | None:
    try:
        day = date(int(plain[:4]), int(plain[4:6]), int(plain[6:8])) - timedelta(days=days)
    except (ValueError, OverflowError):
        return None
    return f"{day.year:04d}{day.month:02d}{day.day:02d}"


def _clean_moment(text: str, keyword: str, patient: Patient) -> str | None:
    found = _MOMENT.fullmatch(text)
    options = patient.profile.options
    if found is None or not options.intersection(_DATE_OPTIONS):
        return None
    if Option.FULL_DATES in options:
        return text
    year, month, day, clock, zone = (part or "" for part in found.groups())
    # Of a month or a year the first day is moved, and as much of it told as was told before.
    moved = _days_back(year + (month or "01") + (day or "01"), patient.days_back)
    return None if moved is None else moved[: len(year + month + day)] + clock + zone


def _clean_time(text: str, keyword: str, patient: Patient) -> str | None:
    kept = patient.profile.options.intersection(_DATE_OPTIONS)
    return text if kept and _TIME.fullmatch(text) else None


def _clean_age(text: str, keyword: str, patient: Patient) -> str | None:
    if not _AGE.fullmatch(text):
        return None
    years = int(text[:3]) / {"D": 365.25, "W": 52.18, "M": 12, "Y": 1}[text[3]]
    return text if years < _OLDEST_YEARS + 1 else f"{_OLDEST_YEARS + 1:03d}Y"


def _clean_number(text: str, keyword: str, patient: Patient) -> str | None:
    return text if _NUMBER.fullmatch(text) else None


def _clean_code(text: str, keyword: str, patient: Patient) -> str | None:
    known = python_encoding if keyword == "SpecificCharacterSet" else patient.profile.terms
    return text if text in known else None


def _nothing(text: str, keyword: str, patient: Patient) -> str | None:
    return None


_RULES: dict[str, Callable[[str, str, Patient], str | None]] = {
    "UI": _clean_uid,
    "DA": _clean_date,
    "DT": _clean_moment,
    "TM": _clean_time,
    "AS": _clean_age,
    "DS": _clean_number,
    "IS": _clean_number,
    "CS": _clean_code,
    "PN": _nothing,
    "AE": _nothing,
    "UR": _nothing,
}

_STAND_INS = {
    "AE": "REMOVED",
    "AS": "000Y",
    "CS": "OTHER",
    "DA": "19000101",
    "DS": "0",
    "DT": "19000101000000",
    "IS": "0",
    "PN": "REMOVED",
    "TM": "000000",
    "UR": "about:removed",
}


def stand_in(vr: str) -> str | int | bytes:
    """Return a valid value of a kind that says nothing: what PS3.15 puts (action D) where none may be empty."""
    if vr in TEXT_VRS:
        return "REMOVED"
    if vr in BINARY_VRS:
        return b"\0\0"
    return _STAND_INS.get(vr, 0)
