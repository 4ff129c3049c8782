"""The response of a patient as a document, and its rows in the tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from enum import StrEnum

from angio_pipeline import __version__
from angio_pipeline.core.response import (
    BestResponse,
    Call,
    CriterionCall,
    Extent,
    LesionAtDate,
    LesionHistory,
    Necrosis,
    OilConvention,
    ResponseDate,
    ResponseResult,
)
from angio_pipeline.outputs.cells import Cell
from angio_pipeline.outputs.documents import plain
from angio_pipeline.outputs.schemas import (
    BestResponseDocument,
    ExtentDocument,
    LesionHistoryDocument,
    MeasuredLesionDocument,
    NecrosisDocument,
    NecrosisReferenceDocument,
    ReasonDocument,
    ResponseDocument,
    ResponseTimepointDocument,
    SoftwareDocument,
)

__all__ = ["LESION_COLUMNS", "RESPONSE_COLUMNS", "lesion_rows", "response_document", "response_rows"]

_SIZES = ("longest_mm", "across_mm", "product_mm2", "longest_3d_mm", "volume_ml")

RESPONSE_COLUMNS: Mapping[str, str] = {
    "date": "VARCHAR",
    "days": "DOUBLE",
    "name": "VARCHAR",
    "criterion": "VARCHAR",
    "convention": "VARCHAR",
    "call": "VARCHAR",
    "too_early": "BOOLEAN",
    "best": "VARCHAR",
    "rule": "VARCHAR",
    "table_row": "VARCHAR",
    "target_call": "VARCHAR",
    "non_target_call": "VARCHAR",
    "new_lesions": "VARCHAR",
    "targets": "VARCHAR",
    "unit": "VARCHAR",
    "value": "DOUBLE",
    "baseline": "DOUBLE",
    "nadir": "DOUBLE",
    "change_from_baseline": "DOUBLE",
    "change_from_nadir": "DOUBLE",
    "density_valid": "BOOLEAN",
    "density_change": "DOUBLE",
    "effect": "DOUBLE",
    "sentence": "VARCHAR",
}
_OF_POINT = ("date", "days", "call", "too_early", "best", "new_lesions", "targets")
_OF_REASON = tuple(name for name in RESPONSE_COLUMNS if name not in _OF_POINT)
LESION_COLUMNS: Mapping[str, str] = {
    "lesion": "VARCHAR",
    "role": "VARCHAR",
    "organ": "VARCHAR",
    "date": "VARCHAR",
    "days": "DOUBLE",
    **dict.fromkeys(_SIZES, "DOUBLE"),
    **{f"viable_{name}_{one.value}": "DOUBLE" for one in OilConvention for name in _SIZES},
    "viable_by": "VARCHAR",
    "threshold_hu": "DOUBLE",
    "outline": "VARCHAR",
    "pieces": "BIGINT",
    "holds_oil": "BOOLEAN",
    "mean_hu": "DOUBLE",
    "phase": "VARCHAR",
    "enhancing_ml": "DOUBLE",
    "non_enhancing_ml": "DOUBLE",
    "covered_ml": "DOUBLE",
    "rim_ml": "DOUBLE",
    "rim_enhancing_ml": "DOUBLE",
    **{f"necrotic_percent_{one.value}": "DOUBLE" for one in OilConvention},
    "missing": "VARCHAR",
    "viable_missing": "VARCHAR",
    "reading": "VARCHAR",
}


def response_document(result: ResponseResult) -> ResponseDocument:
    """Return `response.json`; a call that could not be made is null, and its reason beside it."""
    return ResponseDocument(
        baseline_date=result.baseline_date,
        reason=result.reason,
        lesions=[_lesion(lesion) for lesion in result.lesions],
        timepoints=[_date(date) for date in result.dates],
        best=[_best(best) for best in result.best],
        necrosis=[
            NecrosisReferenceDocument(
                lesion=one.lesion_id,
                role=one.role,
                standard=one.standard,
                percent=round(one.percent, 3),
                imaging_percent=_rounded(one.imaging_percent, 3),
                imaging_days=_rounded(one.imaging_days),
            )
            for one in result.necrosis
        ],
        settings=plain(result.settings),
        software=SoftwareDocument(name="angio-pipeline", version=__version__),
    )


def _rounded(value: float | None, digits: int = 6) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, digits)


def _made(call: Call) -> Call | None:
    return None if call is Call.NE else call


def _date(date: ResponseDate) -> ResponseTimepointDocument:
    return ResponseTimepointDocument(
        date=date.date,
        days=round(date.days, 6),
        too_early=date.too_early,
        calls={one.name: _made(one.call) for one in date.calls},
        reasons=[_reason(one) for one in date.calls],
    )


def _reason(one: CriterionCall) -> ReasonDocument:
    return ReasonDocument(
        name=one.name,
        criterion=one.criterion,
        convention=one.convention,
        call=one.call,
        rule=one.rule,
        table_row=one.table_row,
        sentence=one.sentence,
        target_call=one.target_call,
        non_target_call=one.non_target_call,
        new_lesions=list(one.new_lesions),
        targets=list(one.targets),
        non_targets=list(one.non_targets),
        unit=one.unit,
        value=_rounded(one.value, 4),
        baseline=_rounded(one.baseline, 4),
        nadir=_rounded(one.nadir, 4),
        change_from_baseline=_rounded(one.change_from_baseline, 5),
        change_from_nadir=_rounded(one.change_from_nadir, 5),
        density_valid=one.density_valid,
        density_change=_rounded(one.density_change, 5),
        effect=_rounded(one.effect, 5),
    )


def _best(best: BestResponse) -> BestResponseDocument:
    return BestResponseDocument(
        name=best.name,
        call=_made(best.call),
        rule=best.rule,
        days=_rounded(best.days),
        confirmed=best.confirmed,
        sentence=best.sentence,
    )


def _lesion(lesion: LesionHistory) -> LesionHistoryDocument:
    return LesionHistoryDocument(
        id=lesion.id,
        organ=lesion.organ,
        node=lesion.node,
        role=lesion.role,
        new_on_days=_rounded(lesion.new_on),
        timepoints=[_measured(at) for at in lesion.dates],
    )


def _measured(at: LesionAtDate) -> MeasuredLesionDocument:
    return MeasuredLesionDocument(
        date=at.date,
        days=round(at.days, 6),
        whole=None if at.whole is None else _extent(at.whole),
        viable={name: _extent(extent) for name, extent in at.viable.items()},
        viable_by=at.viable_by,
        threshold_hu=_rounded(at.threshold_hu, 2),
        outline=at.outline,
        pieces=at.pieces,
        merged_into=at.merged_into,
        too_small=at.too_small,
        mean_hu=_rounded(at.mean_hu, 2),
        phase=at.phase,
        holds_oil=at.holds_oil,
        necrosis=None if at.necrosis is None else _necrosis(at.necrosis),
        missing=at.missing,
        viable_missing=at.viable_missing,
        reading=at.reading,
    )


def _extent(extent: Extent) -> ExtentDocument:
    return ExtentDocument(**{name: round(getattr(extent, name), 4) for name in _SIZES})


def _necrosis(found: Necrosis) -> NecrosisDocument:
    return NecrosisDocument(
        enhancing_ml=_rounded(found.enhancing_ml, 4),
        non_enhancing_ml=_rounded(found.non_enhancing_ml, 4),
        covered_ml=_rounded(found.covered_ml, 4),
        rim_ml=_rounded(found.rim_ml, 4),
        rim_enhancing_ml=_rounded(found.rim_enhancing_ml, 4),
        necrotic_percent={name: round(value, 3) for name, value in found.necrotic_percent.items()},
        reason=found.reason,
    )


def response_rows(document: ResponseDocument) -> Iterable[dict[str, Cell]]:
    """Return one row a date, criterion and convention; the call is empty where none was made."""
    best = {one.name: one.call for one in document.best}
    for point in document.timepoints:
        for reason in point.reasons:
            # Copied one by one: a cohort has hundreds of thousands of these.
            row = {name: _value(getattr(reason, name)) for name in _OF_REASON}
            row |= {"date": point.date, "days": point.days, "too_early": point.too_early}
            row |= {"new_lesions": " ".join(reason.new_lesions), "targets": " ".join(reason.targets)}
            yield {**row, "call": _value(point.calls.get(reason.name)), "best": _value(best.get(reason.name))}


def _value(value: Cell | StrEnum) -> Cell:
    return value.value if isinstance(value, StrEnum) else value


def lesion_rows(document: ResponseDocument) -> Iterable[dict[str, Cell]]:
    """Return one row a lesion and date, with all that was measured there."""
    for lesion in document.lesions:
        for at in lesion.timepoints:
            row: dict[str, Cell] = at.model_dump(mode="json", exclude={"whole", "viable", "necrosis"})
            row |= {"lesion": lesion.id, "role": lesion.role and lesion.role.value, "organ": lesion.organ}
            row |= at.whole.model_dump() if at.whole is not None else {}
            for convention, extent in at.viable.items():
                row |= {f"viable_{name}_{convention.value}": value for name, value in extent.model_dump().items()}
            if at.necrosis is not None:
                row |= at.necrosis.model_dump(exclude={"necrotic_percent", "reason"})
                shares = at.necrosis.necrotic_percent
                row |= {f"necrotic_percent_{convention.value}": share for convention, share in shares.items()}
            yield row
