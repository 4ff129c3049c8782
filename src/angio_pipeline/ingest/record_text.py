"""Procedure records as text: bytes of a CSV file to rows of cells, whatever was done to the file.

Nothing here knows what a column means. What had to be guessed or cut is a finding.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.records import Finding
from angio_pipeline.core.words import counted

__all__ = ["RecordText", "read_record_text"]

# A cell of a record is a name or a number: what is longer is damage, and would be carried through every table.
_LONGEST_CELL = 1_000
_LONGEST_LINE = 100_000
_DELIMITERS = ",;\t|"


@dataclass(frozen=True, slots=True)
class RecordText:
    """Header and rows of cells, each row as long as the header; `rows` are in the order of the file."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    findings: tuple[Finding, ...]


def read_record_text(
    path: Path, *, holds: str = "procedure records", each: str = "treatment", reason: str = "bad_records"
) -> RecordText:
    """Return the cells of a CSV file.

    Parameters
    ----------
    holds, each, reason : str
        What the file holds, what a row of it is, and the code of its refusal.

    Raises
    ------
    InputRefused
        When the file cannot be read, or holds no row below its header.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputRefused(
            f"Expected {holds} in {path.name}, found that it cannot be read ({error.strerror}).",
            reason=reason,
        ) from None
    findings: list[Finding] = []
    lines = _cut(_decode(content, findings).splitlines(), findings)
    while lines and not lines[0].strip():
        del lines[0]
    if len(lines) < 2:
        raise InputRefused(
            f"Expected a header and a line for each {each} in {path.name}, found {counted(len(lines), 'line')}.",
            reason=reason,
        )
    rows = _split(lines, findings)
    header = tuple(_cell(cell, 0, findings) for cell in rows[0])
    _check_header(header, findings)
    body = (row for row in rows[1:] if any(cell.strip() for cell in row))
    fitted = tuple(_fit(row, number, len(header), findings) for number, row in enumerate(body, start=1))
    return RecordText(header, fitted, tuple(findings))


def _about(row: int, code: str, sentence: str) -> Finding:
    return Finding(row, "", "", code, sentence)


def _decode(content: bytes, findings: list[Finding]) -> str:
    text = _decoded(content, findings)
    if "\0" in text:
        findings.append(_about(0, "zero_bytes", "Expected text, found zero bytes; they were taken out."))
        text = text.replace("\0", "")
    return text


def _decoded(content: bytes, findings: list[Finding]) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        findings.append(
            _about(
                0,
                "wrong_encoding",
                f"Expected UTF-8, found another byte at {error.start}; read as Windows-1252, so check names with "
                "accents.",
            )
        )
        return content.decode("cp1252", errors="replace")


def _cut(lines: list[str], findings: list[Finding]) -> list[str]:
    """Cut cells of a line that is far too long, so that neither a table nor the parser of CSV has to hold it."""
    for i, line in enumerate(lines):
        if len(line) > _LONGEST_LINE:
            findings.append(
                _about(
                    i, "line_too_long", f"Expected a line of a record, found {len(line)} characters; cells were cut."
                )
            )
            delimiter = _delimiter(line)
            plain = line.replace('"', "").split(delimiter)[:1000]
            lines[i] = delimiter.join(cell[:_LONGEST_CELL] for cell in plain)
    return lines


def _delimiter(line: str) -> str:
    return max(_DELIMITERS, key=line.count)


def _split(lines: list[str], findings: list[Finding]) -> list[list[str]]:
    delimiter = _delimiter(lines[0])
    ended = [f"{line}\n" for line in lines]
    try:
        rows = list(csv.reader(ended, delimiter=delimiter, strict=True))
        if not any("\n" in cell and cell.count(delimiter) >= 3 for row in rows for cell in row):
            return rows
    except csv.Error:
        pass
    findings.append(_about(0, "broken_quotes", "Expected quotes in pairs, found one alone; quotes were taken as text."))
    return list(csv.reader(ended, delimiter=delimiter, quoting=csv.QUOTE_NONE))


def _check_header(header: tuple[str, ...], findings: list[Finding]) -> None:
    for place in sorted({header.index(name) for name in header if name and header.count(name) > 1}):
        # Where a file has no header a patient's name stands there: the column is told by its number.
        sentence = f"Expected each column once, found the name of column {place + 1} again; the first counts."
        findings.append(_about(0, "duplicate_column", sentence))


def _fit(row: list[str], number: int, width: int, findings: list[Finding]) -> tuple[str, ...]:
    if len(row) != width:
        findings.append(_about(number, "wrong_width", f"Expected {width} cells in the row, found {len(row)}."))
    cells = tuple(_cell(cell, number, findings) for cell in row[:width])
    return cells + ("",) * (width - len(cells))


def _cell(cell: str, number: int, findings: list[Finding]) -> str:
    text = cell.strip()
    if len(text) > _LONGEST_CELL:
        findings.append(
            _about(number, "cell_too_long", f"Expected a short cell, found {len(text)} characters; it was cut.")
        )
        text = text[:_LONGEST_CELL]
    return text


def columns_of(text: RecordText) -> Iterator[tuple[str, int]]:
    """Yield each column's name and place once."""
    seen: set[str] = set()
    for place, name in enumerate(text.header):
        if name and name not in seen:
            seen.add(name)
            yield name, place
