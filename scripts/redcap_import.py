"""Write results as one file for REDCap's Data Import Tool, after the data dictionary of docs/redcap-dictionary.csv.

    .venv/bin/python scripts/redcap_import.py OUT TABLES --out import.csv

OUT is a folder of `angio run`, TABLES one of `angio cohort`. Patients become records, lesions and oil at dates
repeating instruments.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from reference.redcap import FORMS, rows, value_of

_REPEATED = ("redcap_repeat_instrument", "redcap_repeat_instance")


def read(folder: Path, name: str) -> list[dict[str, str]]:
    """Return the rows of a table; none where the folder does not hold it."""
    path = folder / f"{name}.csv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def imported(results: Path, tables: Path) -> Iterator[dict[str, str]]:
    """Yield a row for each patient, and for each lesion and date of what repeats."""
    columns = {form: [one for one in rows() if one["Form Name"] == form] for form in FORMS}
    seen: Counter[tuple[str, str]] = Counter()
    for form, (name, prefix) in FORMS.items():
        for row in read(results if prefix else tables, name):
            told = {one["Variable / Field Name"]: value_of(one, row) for one in columns[form]}
            told["subject"] = row["subject"]
            if prefix:
                seen[row["subject"], form] += 1
                told |= dict(zip(_REPEATED, (form, str(seen[row["subject"], form])), strict=True))
            yield told


def main() -> int:
    """Return 0 when the file was written, 1 where there are no patients to write."""
    parser = argparse.ArgumentParser(description="Write results as one file for REDCap's Data Import Tool.")
    parser.add_argument("results", type=Path, help="folder of angio run")
    parser.add_argument("tables", type=Path, help="folder of angio cohort")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    given = parser.parse_args()
    if not (given.tables / "cohort.csv").is_file():
        print(f"Expected cohort.csv in {given.tables}, found none; name the folder that angio cohort wrote.")
        return 1
    told = list(imported(given.results, given.tables))
    variables = [one["Variable / Field Name"] for one in rows()]
    with given.out.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, [variables[0], *_REPEATED, *variables[1:]], restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(told)
    print(f"{given.out}: {len(told)} rows")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
