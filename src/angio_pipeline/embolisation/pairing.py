"""Which runs of a patient are a pair: one view before embolisation, the same view after it.

The rule, in this order, within one day of one patient:

1. A run that its file calls `post` (`Stage.AFTER`) is compared with the latest earlier run of the same
   view that is not called so. Without one of the same view it is held against the latest earlier
   run, so that the refusal is told with its reason.
2. Where no file says so, the first and the last run of each view are taken for before and after if at
   least `least_minutes` lie between them: repeats follow each other faster. That is order, no knowledge,
   and the comparison says so.

Runs without a time of acquisition have no order and are no pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.core.provenance import Source
from angio_pipeline.core.runs import Stage
from angio_pipeline.embolisation.geometry import angles_apart_deg

__all__ = ["PairedBy", "PairingParams", "RunPair", "RunView", "choose_pairs"]


class PairingParams(Params):
    """Settings of `choose_pairs`."""

    least_minutes: float = Field(
        5.0, ge=0, description="between first and last run of a view that no file calls before or after; set by hand"
    )
    by_order: bool = Field(True, description="compare first and last run of a view where no file says which is which")


class PairedBy(StrEnum):
    """How it is known that embolisation lies between two runs."""

    LABEL = "label"
    ORDER = "order"


@dataclass(frozen=True, slots=True)
class RunView:
    """What pairing has to know of a run; `angles_deg` are primary and secondary, None where the file tells none."""

    source: Source
    angles_deg: tuple[float, float] | None
    stage: Stage | None = None


@dataclass(frozen=True, slots=True)
class RunPair:
    """Indices into the runs given."""

    before: int
    after: int
    by: PairedBy


def choose_pairs(runs: Sequence[RunView], *, angle_deg: float, params: PairingParams) -> tuple[RunPair, ...]:
    """Return the pairs among the runs of one patient, in order of the runs after.

    Parameters
    ----------
    angle_deg : float
        Angles within this are one view.
    """
    timed = [k for k, run in enumerate(runs) if run.source.acquired is not None]
    timed.sort(key=lambda k: _moment(runs[k]))
    pairs: list[RunPair] = []
    for day in sorted({_moment(runs[k]).date() for k in timed}):
        members = [k for k in timed if _moment(runs[k]).date() == day]
        if any(runs[k].stage is not None for k in members):
            pairs += _by_label(runs, members, angle_deg)
        elif params.by_order:
            pairs += _by_order(runs, members, angle_deg, params)
    return tuple(pairs)


def _moment(run: RunView) -> datetime:
    assert run.source.acquired is not None
    return run.source.acquired


def _same_view(one: RunView, other: RunView, angle_deg: float) -> bool:
    if one.angles_deg is None or other.angles_deg is None:
        return one.angles_deg is other.angles_deg
    return angles_apart_deg(one.angles_deg, other.angles_deg) <= angle_deg


def _by_label(runs: Sequence[RunView], members: Sequence[int], angle_deg: float) -> list[RunPair]:
    pairs = []
    called_before = any(runs[k].stage is Stage.BEFORE for k in members)
    called_after = any(runs[k].stage is Stage.AFTER for k in members)
    for place, k in enumerate(members):
        # Where only the runs before are called by name, those that follow are the runs after.
        is_after = runs[k].stage is Stage.AFTER or (called_before and not called_after and runs[k].stage is None)
        earlier = [e for e in members[:place] if _moment(runs[e]) < _moment(runs[k])]
        earlier = [e for e in earlier if runs[e].stage is not Stage.AFTER]
        if not called_after:
            earlier = [e for e in earlier if runs[e].stage is Stage.BEFORE]
        if not is_after or not earlier:
            continue
        alike = [e for e in earlier if _same_view(runs[e], runs[k], angle_deg)]
        pairs.append(RunPair((alike or earlier)[-1], k, PairedBy.LABEL))
    return pairs


def _by_order(
    runs: Sequence[RunView], members: Sequence[int], angle_deg: float, params: PairingParams
) -> list[RunPair]:
    pairs, left = [], list(members)
    while left:
        alike = [k for k in left if _same_view(runs[left[0]], runs[k], angle_deg)]
        left = [k for k in left if k not in alike]
        apart = _moment(runs[alike[-1]]) - _moment(runs[alike[0]])
        if len(alike) > 1 and apart.total_seconds() >= 60 * params.least_minutes:
            pairs.append(RunPair(alike[0], alike[-1], PairedBy.ORDER))
    return sorted(pairs, key=lambda pair: pair.after)
