"""What a cohort takes from `response.json`: calls, and necrosis and progression where the records hold none.

Read by what it needs: the document holds far more, and a cohort is not to fail for that.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from angio_pipeline.outputs.tables import Row

__all__ = ["Response", "call_rows", "read_response", "with_response"]

# The criterion that judges what treatment through the artery does: viable tumour.
_CRITERION = "mrecist"


class _Read(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Timepoint(_Read):
    date: str = ""
    days: float | None = None
    calls: dict[str, str | None] = {}


class _Best(_Read):
    name: str
    call: str | None = None


class _Necrosis(_Read):
    role: str | None = None
    percent: float | None = None


class Response(_Read):
    """The calls of each date, the best of each criterion, and necrosis of each lesion."""

    timepoints: tuple[_Timepoint, ...] = ()
    best: tuple[_Best, ...] = ()
    necrosis: tuple[_Necrosis, ...] = ()

    def progression(self) -> tuple[float, bool] | None:
        """Return days to progression or to the last date without it, and which; None where no date has a call."""
        names = [name for point in self.timepoints for name in point.calls if name.startswith(_CRITERION)]
        name = min(names, key=len, default="")
        told = sorted((p.days, p.calls[name]) for p in self.timepoints if p.days is not None and p.calls.get(name))
        progressed = [days for days, call in told if call == "PD" and days > 0]
        if progressed:
            return progressed[0], True
        return (told[-1][0], False) if told and told[-1][0] > 0 else None


def read_response(path: Path) -> Response:
    """Return what a file holds; an empty one where there is none or it cannot be read."""
    try:
        return Response.model_validate_json(path.read_bytes()) if path.is_file() else Response()
    except (OSError, ValidationError):
        return Response()


def call_rows(subject: str, response: Response) -> Iterator[Row]:
    """Yield a row for each date and criterion."""
    for point in response.timepoints:
        for criterion, call in point.calls.items():
            yield {"subject": subject, "date": point.date, "days": point.days, "criterion": criterion, "call": call}


def with_response(row: Row, response: Response) -> Row:
    """Return a patient's row with what images say where the records say nothing."""
    full = dict(row)
    best = [one for one in response.best if one.name.startswith(_CRITERION)]
    if best:
        full["best_response"] = min(best, key=lambda one: len(one.name)).call
    for column, role in (("necrosis_main_percent", "main"), ("necrosis_daughter_percent", "daughter")):
        shares = [one.percent for one in response.necrosis if one.role == role and one.percent is not None]
        if full.get(column) is None and shares:
            full[column] = sum(shares) / len(shares)
            full |= {"necrosis_source": "imaging"} if role == "main" else {}
    full["progression_source"] = "records" if full.get("progression_days") is not None else "none"
    seen = response.progression()
    if full.get("progression_days") is None and seen is not None:
        full |= {"progression_days": seen[0], "progression": seen[1], "progression_source": "images"}
    return full
