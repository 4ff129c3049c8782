"""What a re-analysis is given: light, so that the server can make it without the libraries that carry it out."""

from __future__ import annotations

from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from angio_pipeline.review.sources import FoundInputs

__all__ = ["Order", "carry_out_order"]


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be analysed: one run with what was made from it, or one patient's follow-ups.

    Attributes
    ----------
    out, target : Path
        The results under review, and this reader's own.
    folder : str
        Of the case, below either.
    found : FoundInputs
        The patient's inputs.
    corrections, rois : tuple of Path
        This reader's files, and those that were given when the server was started; of two outlines of one lesion the
        first counts.
    readings : tuple of Path
        Those that were given when the server was started.
    """

    out: Path
    target: Path
    folder: str
    found: FoundInputs
    corrections: tuple[Path, ...]
    rois: tuple[Path, ...]
    readings: tuple[Path, ...]


def carry_out_order(order: Order, told: Connection) -> None:
    """Carry an order out, in a process of its own."""
    from angio_pipeline.review.reanalysis import carry_out

    carry_out(order, told)
