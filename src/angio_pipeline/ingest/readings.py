"""A reader's statements about lesions from CSV files, row by row; a row that cannot be used is told by its number.

No cell is repeated in a sentence: a name may stand where none belongs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.readings import Reading, Statement
from angio_pipeline.core.results import Refusal
from angio_pipeline.ingest.record_text import columns_of, read_record_text

__all__ = ["read_readings", "refuse_reading"]

_COLUMNS = ("date", "lesion", "statement")
_PSEUDONYM = re.compile(r"P[0-9a-f]{12}")


def read_readings(paths: Sequence[Path]) -> tuple[tuple[Reading, ...], tuple[Refusal, ...]]:
    """Return the statements of all files, and a line for each row that holds none.

    Raises
    ------
    InputRefused
        `bad_readings`, when a file cannot be read, or lacks a column or rows.
    """
    readings: list[Reading] = []
    refusals: list[Refusal] = []
    for path in paths:
        text = read_record_text(path, holds="a reader's statements", each="statement", reason="bad_readings")
        # Of two columns that differ in their capitals alone the first counts, as of two of one name.
        places = {name.casefold(): place for name, place in reversed(list(columns_of(text)))}
        if not places.keys() >= set(_COLUMNS):
            raise InputRefused(
                f"Expected columns {', '.join(_COLUMNS)} in {path.name}, found others; name them in its first line.",
                reason="bad_readings",
            )
        for finding in text.findings:
            where = f"Row {finding.row}: " if finding.row else ""
            refusals.append(Refusal(str(path), "reading_doubtful", where + finding.sentence))
        for row, cells in enumerate(text.rows, start=1):
            told = _read_row({name: cells[place] for name, place in places.items()}, str(path), row)
            if isinstance(told, Reading):
                readings.append(told)
            else:
                refusals.append(told)
    return tuple(readings), tuple(refusals)


def refuse_reading(file: str, row: int, sentence: str) -> Refusal:
    """Return the line of `refused.csv` about a statement that does not count."""
    return Refusal(file, "reading_not_counted", f"Row {row} does not count. {sentence}")


def _read_row(cells: Mapping[str, str], file: str, row: int) -> Reading | Refusal:
    day, said, subject = _day(cells["date"]), _statement(cells["statement"]), cells.get("subject", "")
    if day is None:
        return refuse_reading(file, row, "Expected a date such as 20240401 or 2024-04-01, found another; rewrite it.")
    if said is None:
        known = ", ".join(Statement)
        return refuse_reading(file, row, f"Expected one of the statements {known}, found another; use one of them.")
    if not cells["lesion"]:
        return refuse_reading(file, row, "Expected the name of a lesion such as L1, found an empty cell; fill it in.")
    if subject and not _PSEUDONYM.fullmatch(subject):
        sentence = "Expected a patient as the folder is named, P and twelve digits, found another name; replace it."
        return refuse_reading(file, row, sentence)
    return Reading(day, cells["lesion"], said, subject, file, row)


def _day(cell: str) -> str | None:
    if not re.fullmatch(r"\d{8}|\d{4}-\d{2}-\d{2}", cell, re.ASCII):
        return None
    day = cell.replace("-", "")
    try:
        datetime.strptime(day, "%Y%m%d")
    except ValueError:
        return None
    return day


def _statement(cell: str) -> Statement | None:
    words = " ".join(re.split(r"[\s_-]+", cell.casefold()))
    return Statement(words) if words in set(Statement) else None
