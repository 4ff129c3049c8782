"""The networks that travel with the package, from `models/manifest.toml`."""

from __future__ import annotations

import re

from angio_pipeline.assets import models_dir
from angio_pipeline.networks.manifest import read_manifest
from reference.values import table

__all__ = ["section"]


def section() -> str:
    """Return the table of networks, then what each card says it is not for."""
    entries = read_manifest()
    rows = [
        (
            f"[{one.name}](../models/{one.card})",
            one.training_data,
            ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in one.metrics.items()),
            one.licence,
            f"`{one.sha256[:12]}…`",
        )
        for one in entries
    ]
    parts = [table(("network", "learned from", "while training, held out", "licence", "SHA-256"), rows)]
    for one in entries:
        card = (models_dir() / one.card).read_text(encoding="utf-8")
        parts.append(
            f"### {one.name}\n\n{_purpose(card)}\n\n{_line(card, 'Calibrated on')}\n\n{_line(card, 'Not for')}"
        )
    return "\n\n".join(parts)


def _purpose(card: str) -> str:
    return card.split("\n\n")[1].strip()


def _line(card: str, name: str) -> str:
    found = re.search(rf"^- \*\*{name}\*\*: (.*)$", card, re.M)
    if found is None:
        raise ValueError(f"Expected a model card to say '{name}', found none; write the card anew.")
    return f"**{name}**: {found[1]}"
