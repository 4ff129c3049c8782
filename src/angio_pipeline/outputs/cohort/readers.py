"""Two readers' files, to see how far they agree."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

from angio_pipeline.core.errors import ConfigError

__all__ = ["read_readers"]

_KEYS = ("subject", "lesion", "date")
_MOST_CHARACTERS = 50_000_000


def read_readers(first: Path, second: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return both readers' tables: keys `subject`, `lesion`, `date` as far as both have them, and what they measured.

    Raises
    ------
    ConfigError
        When a file cannot be read, has no column `subject`, or names a row twice.
    """
    tables = [_read(path) for path in (first, second)]
    keys = [key for key in _KEYS if all(key in table.columns for table in tables)]
    for path, table in zip((first, second), tables, strict=True):
        if "subject" not in keys:
            raise ConfigError(
                f"Expected a column 'subject' in both readers' files, found none in {path.name} or the other."
            )
        if table.duplicated(keys).any():
            raise ConfigError(f"Expected each {', '.join(keys)} once in {path.name}, found one twice.")
    return tables[0], tables[1]


def _read(path: Path) -> pd.DataFrame:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if len(text) > _MOST_CHARACTERS:
            raise ValueError("too large")
        table = pd.DataFrame(list(csv.DictReader(text.splitlines())), dtype=object)
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(f"Expected a reader's measurements as CSV in {path.name}, found {error}.") from None
    table = table[[name for name in table.columns if isinstance(name, str)]].replace("", None)
    for name in table.columns:
        numbers = pd.to_numeric(table[name], errors="coerce")
        if name not in _KEYS and table[name].notna().any() and (numbers.notna() == table[name].notna()).all():
            table[name] = numbers.astype("float64")
    return table
