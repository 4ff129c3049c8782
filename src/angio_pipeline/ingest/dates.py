"""DICOM dates and times as Python's, None where they are absent or broken."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any

from angio_pipeline.ingest.roles import Read

__all__ = ["acquired", "date_of", "parse_datetime"]

_PATTERN = re.compile(
    r"(?P<Y>\d{4})(?P<m>\d{2})?(?P<d>\d{2})?(?P<H>\d{2})?(?P<M>\d{2})?(?P<S>\d{2})?(?:\.(?P<f>\d{1,6}))?"
    r"(?P<z>[+-]\d{4})?"
)
_DATES = ("AcquisitionDate", "SeriesDate", "StudyDate", "ContentDate")
_MOMENTS = (
    ("AcquisitionDate", "AcquisitionTime"),
    ("ContentDate", "ContentTime"),
    ("SeriesDate", "SeriesTime"),
    ("StudyDate", "StudyTime"),
)


def parse_datetime(value: Any) -> datetime | None:
    """Return a DICOM DT value (PS3.5 6.2) as a datetime with whatever zone it names, else None."""
    return None if value is None else _parsed(str(value).strip("\0 "))


@lru_cache(maxsize=4096)  # the files of a series share most of their dates
def _parsed(text: str) -> datetime | None:
    match = _PATTERN.fullmatch(text)
    if match is None:
        return None
    part = {name: int(match[name] or default) for name, default in zip("YmdHMS", (1, 1, 1, 0, 0, 0), strict=True)}
    micro = int((match["f"] or "0").ljust(6, "0"))
    try:
        moment = datetime(part["Y"], part["m"], part["d"], part["H"], part["M"], min(part["S"], 59), micro)
        return moment.replace(tzinfo=_zone(match["z"])) if match["z"] else moment
    except ValueError:
        return None


def _zone(offset: str) -> timezone:
    sign = -1 if offset[0] == "-" else 1
    return timezone(sign * timedelta(hours=int(offset[1:3]), minutes=int(offset[3:5])))


def date_of(read: Read) -> str:
    """Return the first valid date of the acquisition, series, study or content as `YYYYMMDD`, else `undated`."""
    for keyword in _DATES:
        value = read(keyword).replace(".", "")[:8]
        if len(value) == 8 and parse_datetime(value) is not None:
            return value
    moment = parse_datetime(read("AcquisitionDateTime"))
    return "undated" if moment is None else moment.strftime("%Y%m%d")


def acquired(read: Read) -> datetime | None:
    """Return when the acquisition started, without a time zone, else None.

    Local time as the scanner wrote it: mixing values with and without a zone would not compare.
    """
    moment = parse_datetime(read("AcquisitionDateTime"))
    for day, time in _MOMENTS:
        if moment is not None:
            break
        clock = read(time).replace(":", "")
        moment = parse_datetime(read(day).replace(".", "") + clock) if clock else None
    return None if moment is None else moment.replace(tzinfo=None)
