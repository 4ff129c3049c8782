"""Which lesions are targets: the largest that can be measured, five at most and two an organ.

RECIST 1.1, doi:10.1016/j.ejca.2008.10.026, 3.1 and 4.1; for mRECIST a target has to enhance over 10 mm,
doi:10.1055/s-0030-1247132.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from angio_pipeline.core.params import Params

__all__ = ["Candidate", "TargetParams", "choose_targets"]

_EXACT = 1e-9


class TargetParams(Params):
    """Settings of the choice of targets, and of the sizes that have a meaning of their own."""

    most: int = Field(5, ge=1, le=20, description="targets in all")
    per_organ: int = Field(2, ge=1, le=10, description="targets in one organ")
    least_mm: float = Field(10.0, gt=0, le=50, description="least longest diameter of a target")
    slices: float = Field(2.0, ge=1, le=5, description="least longest diameter in slices, where they exceed 5 mm")
    node_mm: float = Field(15.0, gt=0, le=50, description="least short axis of a node that is a target")
    normal_node_mm: float = Field(10.0, gt=0, le=50, description="short axis below which a node is normal")
    too_small_mm: float = Field(5.0, gt=0, le=10, description="what a target counts that is too small to measure")
    new_viable_mm: float = Field(
        10.0, ge=0, le=50, description="least longest diameter of a new lesion for the criteria of enhancement"
    )


@dataclass(frozen=True, slots=True)
class Candidate:
    """A lesion before treatment: its longest diameter, for a node its short axis."""

    id: str
    size_mm: float
    organ: str = "liver"
    node: bool = False
    measurable: bool = True
    slice_mm: float = 0.0


def choose_targets(candidates: Sequence[Candidate], *, params: TargetParams) -> tuple[str, ...]:
    """Return the ids of the targets, largest first; equal ones in the order of their ids."""
    chosen: list[Candidate] = []
    for one in sorted(candidates, key=lambda c: (-c.size_mm, c.id)):
        beside = sum(c.organ == one.organ for c in chosen)
        if _large_enough(one, params) and beside < params.per_organ and len(chosen) < params.most:
            chosen.append(one)
    return tuple(one.id for one in chosen)


def _large_enough(one: Candidate, params: TargetParams) -> bool:
    if not one.measurable:
        return False
    if one.node:
        return one.size_mm >= params.node_mm - _EXACT
    thick = params.slices * one.slice_mm if one.slice_mm > 5.0 else 0.0
    return one.size_mm >= max(params.least_mm, thick) - _EXACT
