"""Third step: targets, other lesions and new ones into one response a date, and the best over all dates.

Tables 1 to 3 of RECIST 1.1, doi:10.1016/j.ejca.2008.10.026; the other criteria that know new lesions are
joined alike.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.core.response import Call

__all__ = ["Best", "BestParams", "join", "tell_best"]

_EXACT = 1e-9


class BestParams(Params):
    """Settings of the best overall response.

    `stable_days` is how long after the baseline scan stable disease has to be seen to count as such.
    """

    confirm: bool = Field(False, description="whether a response has to be seen again to count")
    confirm_days: float = Field(28.0, gt=0, le=365, description="how much later at least")
    stable_days: float = Field(42.0, ge=0, le=730, description="least time from baseline to stable disease")
    complete_was_partial: bool = Field(
        False, description="a complete response followed by a partial one was a partial one from the start"
    )


def join(targets: Call | None, others: Call | None, new_lesions: bool) -> tuple[Call, str]:
    """Return the response at one date, and the row of the table that told it.

    Parameters
    ----------
    targets : Call or None
        CR, PR, SD, PD or NE; None for a patient without targets (table 2).
    others : Call or None
        CR, non-CR/non-PD, PD or NE (not all evaluated) of lesions that are no targets; None without any.
    new_lesions : bool

    Raises
    ------
    ValueError
        When there is neither a target nor another lesion.
    """
    if targets is None:
        if others is None:
            raise ValueError("Expected targets or other lesions, found neither; there is nothing to respond.")
        return _without_targets(others, new_lesions)
    if new_lesions:
        return Call.PD, "table-1/any, any, new"
    if targets is Call.PD:
        return Call.PD, "table-1/PD, any, any"
    if others is Call.PD:
        return Call.PD, "table-1/any, PD, any"
    if targets is Call.CR:
        if others in (None, Call.CR):
            return Call.CR, "table-1/CR, CR, none"
        named = "not evaluated" if others is Call.NE else "non-CR/non-PD"
        return Call.PR, f"table-1/CR, {named}, none"
    if targets is Call.NE:
        return Call.NE, "table-1/not all evaluated, non-PD, none"
    return targets, f"table-1/{targets.value}, non-PD or not all evaluated, none"


def _without_targets(others: Call, new_lesions: bool) -> tuple[Call, str]:
    if new_lesions:
        return Call.PD, "table-2/any, new"
    if others is Call.PD:
        return Call.PD, "table-2/PD, any"
    named = "not all evaluated" if others is Call.NE else others.value
    return others, f"table-2/{named}, none"


@dataclass(frozen=True, slots=True)
class Best:
    """Best overall response; `at` is the position of the date that earned it, None where none did."""

    call: Call
    rule: str
    at: int | None = None
    confirmed: bool | None = None


def tell_best(days: Sequence[float], calls: Sequence[Call], baseline_days: float, *, params: BestParams) -> Best:
    """Return the best overall response over the dates, oldest first; what follows progression no longer counts.

    With confirmation a response counts when the next evaluated date, `confirm_days` later at least, is as good
    (dates in between that are nearer must be as good, too). Two that are parted by stable disease do not
    confirm each other.
    """
    end = next((k for k, call in enumerate(calls) if call is Call.PD), len(calls))
    for level in (Call.CR, Call.PR):
        at = next((k for k in range(end) if _earned(k, level, days, calls[:end], params)), None)
        if at is not None and params.confirm:
            return Best(level, f"table-3/{level.value}, confirmed", at, confirmed=True)
        if at is not None:
            return Best(level, f"best/{level.value}", at)
    return _without_response(days, calls, end, baseline_days, params)


def _earned(k: int, level: Call, days: Sequence[float], calls: Sequence[Call], params: BestParams) -> bool:
    """Return whether the response at a date counts at that level."""
    if not params.confirm:
        return calls[k] is level
    turned = params.complete_was_partial and level is Call.PR and calls[k] is Call.CR
    if calls[k] is not level and not turned:
        return False
    as_good = (Call.CR,) if level is Call.CR else (Call.CR, Call.PR)
    for later in range(k + 1, len(calls)):
        if calls[later] is Call.NE:
            continue
        if calls[later] not in as_good:
            return False
        if days[later] - days[k] >= params.confirm_days - _EXACT:
            return True
    return False


def _without_response(
    days: Sequence[float], calls: Sequence[Call], end: int, baseline_days: float, params: BestParams
) -> Best:
    """Return stable disease where it lasted, else progression where there is some, else not evaluable."""
    known = [k for k in range(end) if calls[k] is not Call.NE]
    lasting = [k for k in known if days[k] - baseline_days >= params.stable_days - _EXACT]
    fell = [k for k, later in itertools.pairwise(known) if calls[k] is Call.PR and calls[later] is Call.SD]
    if lasting or fell:
        stable = [calls[k] for k in known]
        call = Call.NON_CR_NON_PD if set(stable) == {Call.NON_CR_NON_PD} else Call.SD
        name = "table-3/SD that lasted" if lasting else "table-3/PR, SD"
        return Best(call, name, (lasting or fell)[0])
    returned = any(calls[k] is Call.CR and calls[later] in (Call.PR, Call.SD) for k, later in itertools.pairwise(known))
    if end < len(calls):
        return Best(Call.PD, "table-3/PD before SD had lasted", end)
    if returned:
        return Best(Call.PD, "table-3/disease after CR", next(k for k in known if calls[k] is not Call.CR))
    return Best(Call.NE, "table-3/NE")
