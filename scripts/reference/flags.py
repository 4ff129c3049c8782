"""Quality flags with the sentence that each stands for."""

from __future__ import annotations

from angio_pipeline.core.quality import QUALITY_SENTENCES, Quality
from reference.values import table

__all__ = ["section"]


def section() -> str:
    """Return the table of flags, in the order in which results list them."""
    rows = [(f"`{flag.name}`", QUALITY_SENTENCES[flag]) for flag in Quality]
    return table(("flag", "what it says"), rows)
