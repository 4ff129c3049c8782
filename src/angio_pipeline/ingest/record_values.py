"""Cells of procedure records to values: dates, doses with their units, yes and no, shares.

Each reader returns a value, or raises `Odd` with the code and the sentence of a finding.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import date
from typing import Literal

from angio_pipeline.core.records import AgentTable

__all__ = [
    "UNKNOWN_WORDS",
    "DateOrder",
    "Odd",
    "date_order",
    "date_style",
    "read_amount",
    "read_date",
    "read_flag",
    "read_sizes",
    "split_list",
]

UNKNOWN_WORDS = frozenset({"", "-", "–", "na", "n/a", "nan", "none known", "unknown", "?", "null", "."})
_TRUE, _FALSE = (
    frozenset({"1", "y", "yes", "true", "dead", "died", "event"}),
    frozenset({"0", "n", "no", "false", "alive"}),
)
# The first year in which a hepatic artery was treated through a catheter.
_FIRST_YEAR = 1960
# To the unit that a column is kept in.
_UNITS = {
    "mg": {"mg": 1.0, "g": 1000.0, "µg": 0.001, "ug": 0.001, "mcg": 0.001},
    "ml": {"ml": 1.0, "cc": 1.0, "l": 1000.0},
    "%": {"%": 1.0, "percent": 1.0},
    "mm": {"mm": 1.0, "cm": 10.0},
    "days": {"days": 1.0, "day": 1.0, "d": 1.0, "weeks": 7.0, "months": 30.4375, "years": 365.25},
    "years": {"years": 1.0, "year": 1.0, "y": 1.0},
    "ng/ml": {"ng/ml": 1.0, "µg/l": 1.0, "ug/l": 1.0},
}

DateOrder = Literal["dmy", "mdy"]


class Odd(Exception):
    """A cell that cannot be used as it stands."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code, self.sentence = code, sentence


def date_style(text: str) -> str:
    """Return how a date is written, digits as `9`: `9999-99-99`, `99/99/9999`."""
    return re.sub(r"\d", "9", re.sub(r"\b\d\b", "99", text.strip()))


def date_order(cells: Sequence[str]) -> DateOrder | None:
    """Return whether dates such as 13/02/2024 put the day or the month first; None when no cell of the file tells."""
    parts = [re.match(r"^(\d{1,2})[/.-](\d{1,2})[/.-]\d{4}$", cell.strip()) for cell in cells]
    pairs = [(int(m[1]), int(m[2])) for m in parts if m]
    day_first, month_first = any(a > 12 for a, _ in pairs), any(b > 12 for _, b in pairs)
    if day_first == month_first:
        return None
    return "dmy" if day_first else "mdy"


def read_date(text: str, order: DateOrder | None, latest: date) -> date:
    """Return a date of the Gregorian calendar that a treatment can have had.

    Raises
    ------
    Odd
        `ambiguous_date` when day and month cannot be told, `impossible_date` otherwise.
    """
    plain = text.strip().split(" ")[0].split("T")[0]
    if whole := re.match(r"^(\d{4})[-/.]?(\d{2})[-/.]?(\d{2})$", plain):
        year, month, day = (int(part) for part in whole.groups())
    elif parts := re.match(r"^(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})$", plain):
        first, second, year = (int(part) for part in parts.groups())
        if first != second and first <= 12 and second <= 12 and order is None:
            raise Odd(
                "ambiguous_date",
                f"Expected day and month to be told apart, found {_said(text)}; say the order in the mapping.",
            )
        turned = order == "mdy" if first <= 12 and second <= 12 else second > 12
        day, month = (second, first) if turned else (first, second)
    else:
        raise Odd("impossible_date", f"Expected a date such as 2024-03-31, found {_said(text)}.")
    return _possible(year, month, day, text, latest)


def _possible(year: int, month: int, day: int, text: str, latest: date) -> date:
    try:
        found = date(year, month, day)
    except ValueError:
        raise Odd("impossible_date", f"Expected a date of the calendar, found {_said(text)}.") from None
    if found.year < _FIRST_YEAR or found > latest:
        raise Odd("impossible_date", f"Expected a date from {_FIRST_YEAR} to {latest}, found {_said(text)}.")
    return found


def _said(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:39] + "…")


def read_amount(text: str, unit: str, written: str | None = None) -> float:
    """Return a number in `unit`; `written` is the unit of cells that name none.

    Raises
    ------
    Odd
        `wrong_unit` for a unit that is no measure of this, `not_a_number` otherwise.
    """
    match = re.match(r"^([<>≤≥~]?)\s*([+-]?\d[\d .,]*(?:[eE][+-]?\d+)?)\s*(.*)$", text.strip())
    number = _number(match[2]) if match else None
    if match is None or number is None or match[1]:
        raise Odd("not_a_number", f"Expected a number in {unit}, found {_said(text)}.")
    told = match[3].strip().casefold() or (written or unit).casefold()
    factor = _UNITS.get(unit, {unit: 1.0}).get(told)
    if factor is None:
        raise Odd("wrong_unit", f"Expected {unit}, found {_said(text)}.")
    return number * factor


def _number(text: str) -> float | None:
    plain = text.replace(" ", "")
    # 1.234,5 and 1,234.5 are told by the last mark; a comma alone before three digits groups thousands.
    if "," in plain and plain.rfind(",") > plain.rfind("."):
        thousands = re.match(r"^\d{1,3}(,\d{3})+$", plain)
        plain = plain.replace(",", "") if thousands else plain.replace(".", "").replace(",", ".")
    else:
        plain = plain.replace(",", "")
    try:
        value = float(plain)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def read_flag(text: str) -> bool:
    """Return yes or no.

    Raises
    ------
    Odd
        `not_yes_or_no` for anything else.
    """
    plain = text.strip().casefold()
    if plain in _TRUE or plain in _FALSE:
        return plain in _TRUE
    raise Odd("not_yes_or_no", f"Expected yes or no, found {_said(text)}.")


def read_sizes(text: str) -> tuple[float, float]:
    """Return least and greatest size of particles, µm, of `100`, `70-150` or `70–150 µm`.

    Raises
    ------
    Odd
        `wrong_unit` for another unit, `not_a_number` otherwise.
    """
    match = re.match(r"^(\d+(?:\.\d+)?)(?:\s*(?:-|–|to)\s*(\d+(?:\.\d+)?))?\s*(.*)$", text.strip())
    if match is None:
        raise Odd("not_a_number", f"Expected sizes in µm such as 70-150, found {_said(text)}.")
    if match[3].strip().casefold() not in ("", "µm", "um", "micron", "microns", "μm"):
        raise Odd("wrong_unit", f"Expected sizes in µm, found {_said(text)}.")
    low, high = float(match[1]), float(match[2] or match[1])
    return (min(low, high), max(low, high))


def split_list(text: str) -> list[str]:
    """Return the entries of a cell that holds several; a comma parts them unless it stands within a number."""
    return [part.strip() for part in re.split(r"[;+&|]|,(?!\d)|(?<!\d),", text) if part.strip()]


def known_names(table: AgentTable, words: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Return the drugs, the embolics and the words that neither table knows."""
    drugs: list[str] = []
    embolics: list[str] = []
    unknown: list[str] = []
    for word in words:
        drug, embolic = table.name_of("drugs", word), table.name_of("embolics", word)
        (drugs if drug else embolics if embolic else unknown).append(drug or embolic or word)
    return drugs, embolics, unknown
