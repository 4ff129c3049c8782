"""Last step: the SACE level that the measured flow and blush amount to.

Readers grade the endpoint by eye: I normal flow and blush, II normal flow and reduced blush, III both
reduced, IV neither (Lewandowski and others 2007, J Vasc Interv Radiol 18:1249-1257). They agree
moderately (kappa 0.46), and the grade did not follow measured perfusion; so the measurements come
first, and the level is derived from them by a rule that is told with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field, model_validator

from angio_pipeline.core.embolisation import BlushChange, FeederChange, Flow, Patency, SaceLevel
from angio_pipeline.core.params import Params

__all__ = ["SaceParams", "flow_to", "sace_level"]


class SaceParams(Params):
    """The rule behind a level; thresholds are chosen by hand, as no study gives any."""

    normal_blush: float = Field(0.75, gt=0, le=1, description="residual from which on a blush is normal")
    no_blush: float = Field(0.15, ge=0, lt=1, description="residual up to which there is no blush")
    feeder_probability: float = Field(0.5, ge=0, le=1, description="feeders as likely as this tell the flow")
    agreeing_share: float = Field(
        0.8, gt=0.5, le=1, description="of the supply that is open for normal, closed for none"
    )
    known_share: float = Field(0.5, gt=0, le=1, description="of the supply whose patency has to be known")

    @model_validator(mode="after")
    def _ordered(self) -> SaceParams:
        if self.no_blush >= self.normal_blush:
            raise ValueError("no_blush must be below normal_blush")
        return self


def flow_to(feeders: Sequence[FeederChange], *, params: SaceParams) -> tuple[Flow | None, str]:
    """Return the flow to a tumour by its likely feeders, each weighted by its contribution, and why.

    None where the patency of too little of the supply is known.
    """
    feeders = [f for f in feeders if f.probability >= params.feeder_probability]
    weights = np.array([f.contribution for f in feeders])
    if not feeders or weights.sum() <= 0:
        return None, "no likely feeder is known to judge flow by"
    weights = weights / weights.sum()
    share = {
        kind: float(sum(w for w, f in zip(weights, feeders, strict=True) if f.patency is kind)) for kind in Patency
    }
    known = 1 - share[Patency.UNKNOWN]
    if known < params.known_share:
        return None, f"the patency of {100 * (1 - known):.0f} % of the supply cannot be told"
    opened, closed = share[Patency.OPEN] / known, share[Patency.CLOSED] / known
    told = f"{100 * opened:.0f} % of the supply is open and {100 * closed:.0f} % closed"
    if opened >= params.agreeing_share:
        return Flow.NORMAL, f"flow normal: {told}"
    if closed >= params.agreeing_share and share[Patency.OPEN] == 0:
        return Flow.NONE, f"no flow: {told}"
    slowed = share[Patency.SLOWED] / known
    rest = ", the rest slowed" if round(100 * slowed) > 0 else ""
    return Flow.REDUCED, f"flow reduced: {told}{rest}"


def sace_level(
    flow: Flow | None, flow_words: str, blush: BlushChange | None, blush_words: str, *, params: SaceParams
) -> tuple[SaceLevel | None, str]:
    """Return the level and the numbers and rule behind it; None where the evidence does not decide.

    Parameters
    ----------
    blush : BlushChange or None
        None where the blush could not be read, as `blush_words` says.
    """
    if blush is None or not np.isfinite(blush.residual):
        return None, f"The blush cannot be read: {blush_words}."
    low, high = blush.residual_interval
    told = f"residual blush {100 * blush.residual:.0f} % ({100 * low:.0f} to {100 * high:.0f} %)"
    said_first = f"R{told[1:]}"
    if low <= params.no_blush and high >= params.normal_blush:
        return None, f"{said_first} covers none and normal alike."
    limits = f"normal from {100 * params.normal_blush:.0f} %, none up to {100 * params.no_blush:.0f} %"
    if blush.residual >= params.normal_blush:
        if flow in (Flow.REDUCED, Flow.NONE):
            return None, f"{said_first} is normal, but {flow_words}; no level has a normal blush without flow."
        said = flow_words if flow is not None else f"{flow_words}, but only level I has a normal blush"
        return SaceLevel.LEVEL_I, f"Blush normal: {told}, {limits}; {said}."
    if flow is None:
        return None, f"{said_first}, but {flow_words}."
    gone = blush.residual <= params.no_blush
    name = "No blush" if gone else "Blush reduced"
    if flow is Flow.NORMAL and gone:
        return None, (
            f"{said_first} counts as none, but {flow_words}; no level has flow without blush, and the feeders "
            "named may not be this tumour's."
        )
    if flow is Flow.NORMAL:
        return SaceLevel.LEVEL_II, f"{name}: {told}, {limits}; {flow_words}."
    if flow is Flow.REDUCED:
        return SaceLevel.LEVEL_III, f"{name}: {told}, {limits}; {flow_words}."
    if gone:
        return SaceLevel.LEVEL_IV, f"{name}: {told}, {limits}; {flow_words}."
    return None, f"{said_first} is left, but {flow_words}; another vessel may supply it."
