"""Write what pages of the documentation take from the code, the figures and the weights.

    .venv/bin/python scripts/write_reference.py           write
    .venv/bin/python scripts/write_reference.py --check   write nothing; fail and name what is not up to date

`scripts/docs` does this before it builds the site.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from reference import cards, commands, figures, flags, outputs, redcap, settings
from reference.sections import with_section

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = "scripts/write_reference.py"
SECTIONS: tuple[tuple[str, str, Callable[[], str]], ...] = (
    ("commands.md", "commands", commands.section),
    ("settings.md", "settings", settings.section),
    ("outputs.md", "tables", outputs.tables),
    ("outputs.md", "documents", outputs.documents),
    ("flags.md", "flags", flags.section),
    ("redcap.md", "variables", redcap.section),
    ("accuracy.md", "asked", figures.accuracy),
    ("performance.md", "cost of parts", figures.performance),
    ("model-cards.md", "cards", cards.section),
)


def written() -> Iterator[tuple[Path, str]]:
    """Yield each file with what it has to hold."""
    docs = ROOT / "docs"
    pages: dict[Path, str] = {}
    for page, name, made in SECTIONS:
        path = docs / page
        text = pages.get(path) or path.read_text(encoding="utf-8")
        pages[path] = with_section(text, name, SCRIPT, made())
    yield from pages.items()
    yield docs / "redcap-dictionary.csv", redcap.dictionary()


def main() -> int:
    """Return 0 when all is written, or with --check when all was up to date."""
    check = "--check" in sys.argv[1:]
    stale = [(path, text) for path, text in written() if not path.is_file() or path.read_text("utf-8") != text]
    for path, text in stale:
        if not check:
            path.write_text(text, encoding="utf-8")
        print(f"{path.relative_to(ROOT)} {'is not up to date: run scripts/docs' if check else 'written'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
