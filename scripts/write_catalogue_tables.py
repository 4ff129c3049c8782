"""Write the reference of the catalogue's tables into `docs/exports.md`.

.venv/bin/python scripts/write_catalogue_tables.py
"""

from __future__ import annotations

import re
from pathlib import Path

from angio_pipeline.ingest.catalogue import reference

PAGE = Path(__file__).resolve().parents[1] / "docs" / "exports.md"
START, END = "<!-- tables: written by scripts/write_catalogue_tables.py -->", "<!-- end of tables -->"


def main() -> None:
    """Replace the section of tables."""
    page = PAGE.read_text(encoding="utf-8")
    section = f"{START}\n{reference()}\n{END}"
    PAGE.write_text(re.sub(f"{START}.*?{END}", lambda _: section, page, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main()
