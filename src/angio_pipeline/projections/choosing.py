"""Which runs of a patient are two projections: one session, one stage of treatment, two angulations.

Within a day, runs that the files do not call by different stages (before or after embolisation) and whose central
rays are far enough apart may be a pair; those that follow each other soonest come first, and every run is in one pair
at most. Whether a pair shows one injection site is not in the files: the alignment tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.core.provenance import Source
from angio_pipeline.core.runs import Stage
from angio_pipeline.projections.geometry import views_apart_deg

__all__ = ["ChoosingParams", "SeenRun", "choose_projections"]


class ChoosingParams(Params):
    """Settings of `choose_projections`."""

    most_minutes: float = Field(60.0, gt=0, description="between two runs of one position of the catheter; set by hand")


@dataclass(frozen=True, slots=True)
class SeenRun:
    """What choosing has to know of a run; `angles_deg` are primary and secondary, None where the file tells none."""

    source: Source
    angles_deg: tuple[float, float] | None
    stage: Stage | None = None


def choose_projections(
    runs: Sequence[SeenRun], *, least_apart_deg: float, params: ChoosingParams
) -> tuple[tuple[int, int], ...]:
    """Return pairs of indices in the order in which to try them: soonest after each other first.

    A run may stand in several pairs; it is joined with the first that can be aligned.
    """
    found = []
    for i, j in combinations(range(len(runs)), 2):
        one, other = runs[i], runs[j]
        if one.source.date != other.source.date or (one.stage is Stage.AFTER) != (other.stage is Stage.AFTER):
            continue
        if one.angles_deg is None or other.angles_deg is None:
            continue
        if views_apart_deg(one.angles_deg, other.angles_deg) < least_apart_deg:
            continue
        minutes = _minutes_apart(one.source, other.source)
        if minutes is None or minutes <= params.most_minutes:
            earlier = _is_earlier(other.source, one.source)
            found.append((params.most_minutes if minutes is None else minutes, (j, i) if earlier else (i, j)))
    return tuple(pair for _, pair in sorted(found))


def _minutes_apart(one: Source, other: Source) -> float | None:
    if one.acquired is None or other.acquired is None:
        return None
    return abs((other.acquired - one.acquired).total_seconds()) / 60


def _is_earlier(one: Source, other: Source) -> bool:
    return one.acquired is not None and other.acquired is not None and one.acquired < other.acquired
