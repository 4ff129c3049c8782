"""What is looked for: studies of one patient or window of dates, or a file with a line for each patient."""

from __future__ import annotations

import csv
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from angio_pipeline.core.errors import ConfigError
from angio_pipeline.pacs.inbox import is_uid

__all__ = ["Query", "make_query", "read_queries"]

_COLUMNS = ("patient_id", "from", "to", "modality", "study_uid", "accession")


@dataclass(frozen=True, slots=True)
class Query:
    """What a study has to be; everything that is left out may be anything.

    Attributes
    ----------
    modalities : tuple of str
        Only series of these are meant.
    """

    patient_id: str | None = field(default=None, repr=False)
    accession: str | None = field(default=None, repr=False)
    study_uid: str | None = None
    first: date | None = None
    last: date | None = None
    modalities: tuple[str, ...] = ()

    @property
    def dates(self) -> str:
        """The window of dates as DICOM matches it, empty when there is none."""
        first, last = (f"{day:%Y%m%d}" if day else "" for day in (self.first, self.last))
        return f"{first}-{last}" if first or last else ""


def make_query(told: Mapping[str, str], *, place: str) -> Query:
    """Return a query from texts by column; `place` says in a message where they stand.

    Raises
    ------
    ConfigError
        When a column is unknown, a value is none of its kind or has a wildcard, or nothing is asked for.
    """
    unknown = sorted(set(told) - set(_COLUMNS))
    if unknown:
        raise ConfigError(f"Expected the columns {', '.join(_COLUMNS)} in {place}, found {unknown[0]!r}.")
    given = {name: text.strip() for name, text in told.items() if text and text.strip()}
    for name in ("patient_id", "accession"):
        if re.search(r"[*?\\\x00-\x1f]", given.get(name, "")):
            raise ConfigError(f"Expected {name} in {place} to be one number, found a wildcard or a control character.")
    if "study_uid" in given and not is_uid(given["study_uid"]):
        raise ConfigError(f"Expected study_uid in {place} to be a UID, found something else.")
    modalities = tuple(re.findall(r"[^\s,;+\\]+", given.get("modality", "").upper()))
    if not all(re.fullmatch(r"[A-Z0-9_]{1,16}", name) for name in modalities):
        raise ConfigError(f"Expected modality in {place} to be codes such as XA or CT, found something else.")
    first, last = _day(given.get("from"), "from", place), _day(given.get("to"), "to", place)
    if first and last and first > last:
        raise ConfigError(f"Expected from before to in {place}, found them the other way round.")
    if not given.keys() - {"modality"}:
        raise ConfigError(
            f"Expected a patient, a study, an accession number or dates in {place}, found none: that would be the "
            "whole archive."
        )
    return Query(given.get("patient_id"), given.get("accession"), given.get("study_uid"), first, last, modalities)


def _day(text: str | None, name: str, place: str) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"Expected {name} in {place} to be a date such as 2024-03-31, found another text.") from None


def read_queries(path: Path) -> list[Query]:
    """Return the queries of a cohort: a CSV with a line each, or TOML with a table `[[query]]` each.

    Raises
    ------
    ConfigError
        When the file cannot be read or one of its queries cannot be used; the line is named, its values are not.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = _toml_rows(text) if path.suffix.lower() == ".toml" else _csv_rows(text)
        queries = [make_query(row, place=f"{path.name}, {kind} {number}") for kind, number, row in rows]
    except (OSError, UnicodeDecodeError, csv.Error, tomllib.TOMLDecodeError, AttributeError) as error:
        raise ConfigError(f"Expected queries in {path.name}, found {type(error).__name__}; see docs/pacs.md.") from None
    if not queries:
        raise ConfigError(f"Expected queries in {path.name}, found none.")
    return queries


def _csv_rows(text: str) -> Iterable[tuple[str, int, dict[str, str]]]:
    lines = text.splitlines()
    delimiter = max(",;\t|", key=lines[0].count) if lines else ","
    reader = csv.DictReader(lines, delimiter=delimiter, restkey="more cells than columns", strict=True)
    for row in reader:
        if any(row.values()):
            yield "line", reader.line_num, {name.strip().lower(): str(value or "") for name, value in row.items()}


def _toml_rows(text: str) -> Iterable[tuple[str, int, dict[str, str]]]:
    told = tomllib.loads(text)
    if set(told) - {"query"}:
        raise AttributeError
    for number, row in enumerate(told.get("query", []), start=1):
        words = {k: ",".join(map(str, v)) if isinstance(v, list) else str(v) for k, v in row.items()}
        yield "query", number, words
