"""Write the table of limits in docs/hostile-input.md from the settings themselves.

.venv/bin/python scripts/write_limits.py
"""

from __future__ import annotations

import re
from pathlib import Path

from angio_pipeline.ingest.limits import Limits

PAGE = Path(__file__).resolve().parents[1] / "docs" / "hostile-input.md"
_START, _END = "<!-- limits: written by scripts/write_limits.py -->", "<!-- end of limits -->"
_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"))


def table() -> str:
    """Return the table: each limit with its default and what it means."""
    limits = Limits()
    lines = ["| setting in `[limits]` | default | what |", "| --- | ---: | --- |"]
    for name, field in Limits.model_fields.items():
        lines.append(f"| `{name}` | {_shown(name, getattr(limits, name))} | {field.description} |")
    return "\n".join(lines)


def _shown(name: str, value: float) -> str:
    if "bytes" in name:
        size, unit = next((size, unit) for size, unit in _UNITS if value >= size)
        return f"{value / size:g} {unit}"
    return f"{value:g} s" if name.endswith("_seconds") else f"{value:,.0f}".replace(",", " ")


def page(text: str) -> str:
    """Return the page with its table replaced."""
    return re.sub(f"{_START}.*?{_END}", lambda _: f"{_START}\n{table()}\n{_END}", text, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(PAGE)
