"""How a section stands in a page: as the benchmarks write theirs."""

from __future__ import annotations

from pages import with_section

__all__ = ["with_section"]
