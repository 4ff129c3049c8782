"""What a cohort takes from `response.json`: calls with their numbers, and what the records do not hold.

Necrosis and progression come from images only where the records hold none. Necrosis of imaging is kept beside that
of histology, which is the reference standard, so that the two can be compared.
"""

from __future__ import annotations

from collections.abc import Iterator

from angio_pipeline.core.response import Call, LesionRole
from angio_pipeline.outputs.cells import Columns, Row
from angio_pipeline.outputs.responses import RESPONSE_COLUMNS, response_rows
from angio_pipeline.outputs.schemas import ResponseDocument

__all__ = ["CALL_COLUMNS", "call_rows", "progression_of", "with_response"]

# What treatment through the artery does is seen in viable tumour; subtraction looks through the oil.
_NAME = "mrecist/tissue"
_PLACES = (("main", LesionRole.MAIN), ("daughter", LesionRole.DAUGHTER))
CALL_COLUMNS: Columns = {"subject": "VARCHAR", **RESPONSE_COLUMNS}


def call_rows(subject: str, document: ResponseDocument | None) -> Iterator[Row]:
    """Yield a row for each date, criterion and convention of the oil."""
    for row in response_rows(document) if document is not None else ():
        yield {"subject": subject, **row}


def progression_of(document: ResponseDocument) -> tuple[float, bool] | None:
    """Return days to progression or to the last date without it, and which; None where no date has a call."""
    told = sorted((p.days, call) for p in document.timepoints if p.days > 0 and (call := p.calls.get(_NAME)))
    progressed = [days for days, call in told if call is Call.PD]
    if progressed:
        return progressed[0], True
    return (told[-1][0], False) if told else None


def with_response(row: Row, document: ResponseDocument | None) -> Row:
    """Return a patient's row with what images say, and in the place of records where these say nothing."""
    full = {**row, "progression_source": "records" if row.get("progression_days") is not None else "none"}
    if document is None:
        return full
    full["best_response"] = next((one.call and one.call.value for one in document.best if one.name == _NAME), None)
    for place, role in _PLACES:
        seen = [one for one in document.necrosis if one.role is role and one.imaging_percent is not None]
        shares = [one.imaging_percent for one in seen if one.imaging_percent is not None]
        if not shares:
            continue
        full[f"imaging_necrosis_{place}_percent"] = share = sum(shares) / len(shares)
        if full.get(f"necrosis_{place}_percent") is None:
            full[f"necrosis_{place}_percent"] = share
            full |= {"necrosis_source": "imaging"} if role is LesionRole.MAIN else {}
    progressed = progression_of(document)
    if full.get("progression_days") is None and progressed is not None:
        full |= {"progression_days": progressed[0], "progression": progressed[1], "progression_source": "images"}
    return full
