"""Numbers with their nouns, as sentences and pages say them."""

from __future__ import annotations

__all__ = ["counted"]


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return `1 patient` or `2 patients`; `plural` where the noun takes more than an s."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"
