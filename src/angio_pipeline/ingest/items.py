"""What discovery finds: paths and pseudonymous identifiers, never pixels; small enough to send to a worker."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from angio_pipeline.core.provenance import Source
from angio_pipeline.core.results import Refusal
from angio_pipeline.core.runs import Stage

__all__ = ["Discovery", "FilmItem", "Item", "RoiItem", "RunItem", "VolumeItem", "digest"]


@dataclass(frozen=True, slots=True)
class Item:
    """Files that make one noun.

    `shape` is (frames or slices, rows, columns) as the headers say; `shown` names each file
    behind the source as the user gave it, for `refused.csv` alone.
    """

    paths: tuple[Path, ...]
    source: Source
    shape: tuple[int, int, int] = (0, 0, 0)
    shown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunItem(Item):
    """One multi-frame projection object; `stage` is what its file says of embolisation, None when nothing."""

    stage: Stage | None = None


@dataclass(frozen=True, slots=True)
class VolumeItem(Item):
    """One CT or cone-beam CT scan, its slices in order of position."""


@dataclass(frozen=True, slots=True)
class FilmItem(Item):
    """One single projection."""


@dataclass(frozen=True, slots=True)
class RoiItem(Item):
    """One file with regions of interest."""


@dataclass(frozen=True, slots=True)
class Discovery:
    """All that was found in the sources, in a fixed order, and all that was refused."""

    runs: tuple[RunItem, ...] = ()
    volumes: tuple[VolumeItem, ...] = ()
    films: tuple[FilmItem, ...] = ()
    rois: tuple[RoiItem, ...] = ()
    refusals: tuple[Refusal, ...] = field(default=())


def digest(item: Item) -> str:
    """Return the SHA-256 of the item's files, as hexadecimal; it changes with any byte of any of them."""
    total = hashlib.sha256()
    for path in item.paths:
        with path.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()
