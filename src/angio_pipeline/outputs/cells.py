"""Tables as text, with cells that no spreadsheet runs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Cell", "Columns", "Row", "csv_text", "disarmed"]

Cell = str | float | int | bool | None
Row = dict[str, Cell]
Columns = Mapping[str, str]  # name to DuckDB type


def csv_text(columns: Sequence[str], rows: Iterable[Row]) -> str:
    """Return rows as CSV with the columns as its header; what a row lacks is unknown."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([disarmed(name) for name in columns])
    writer.writerows([[disarmed(row.get(name)) for name in columns] for row in rows])
    return stream.getvalue()


def disarmed(value: Cell) -> str:
    """Return a value as a cell: unknown is empty, and text that a spreadsheet would run as a formula is disarmed."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{value}" if value.lstrip()[:1] in tuple("=+-@") or value[:1] in tuple("\t\r\n") else value
    return format(value, ".6g") if isinstance(value, float) else str(value)
