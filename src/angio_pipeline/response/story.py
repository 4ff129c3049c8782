"""The story of a patient's response: measure every lesion at every date, then let each criterion judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pydantic import Field

from angio_pipeline.core.followups import VolumeRoi
from angio_pipeline.core.params import Params
from angio_pipeline.core.readings import Reading, UnusedReading
from angio_pipeline.core.response import Histology, LesionHistory, LesionRole, LesionSight, ResponseResult
from angio_pipeline.response.assess import baseline_of, judge_dates, tell_best_of
from angio_pipeline.response.enhancement import EnhancementParams
from angio_pipeline.response.names import NameParams, daughters_by_name, place_by_name
from angio_pipeline.response.necrosis import NecrosisParams, compare_with_histology, with_roles
from angio_pipeline.response.outline import OutlineParams
from angio_pipeline.response.overall import BestParams
from angio_pipeline.response.readings import apply_readings, told_in_vain, worse_in_vain
from angio_pipeline.response.targets import TargetParams
from angio_pipeline.response.visits import VisitParams, measure_lesions

__all__ = ["ResponseParams", "judge_lesions", "judge_response"]

_NO_OUTLINE = "Expected a lesion that was drawn on a CT of this patient, found none; give its region as well."


class ResponseParams(Params):
    """Settings of the response, one section a step.

    After chemoembolisation response is assessed 4 to 8 weeks later: before, swelling and fresh oil hide it.
    """

    assessed_from_days: float = Field(
        28.0, ge=0, le=365, description="days after treatment before which a call is marked as too early"
    )
    names: NameParams = Field(default_factory=NameParams)
    targets: TargetParams = Field(default_factory=TargetParams)
    best: BestParams = Field(default_factory=BestParams)
    visits: VisitParams = Field(default_factory=VisitParams)
    outline: OutlineParams = Field(default_factory=OutlineParams)
    enhancement: EnhancementParams = Field(default_factory=EnhancementParams)
    necrosis: NecrosisParams = Field(default_factory=NecrosisParams)


def judge_response(
    sights: Sequence[LesionSight],
    rois: Sequence[VolumeRoi],
    *,
    histology: Sequence[Histology] = (),
    roles: Mapping[str, LesionRole] | None = None,
    readings: Sequence[Reading] = (),
    params: ResponseParams,
) -> ResponseResult:
    """Return the response of one patient by every criterion, at every date after treatment.

    Parameters
    ----------
    sights : sequence of LesionSight
        Lesions that a reader outlined, in every scan. Of a lesion that was found by its oil the extent is not
        known: it belongs in none of this.
    rois : sequence of VolumeRoi
        What was drawn, on any scan.
    histology : sequence of Histology
        The reference standard of necrosis, where there is one.
    roles : mapping, optional
        Main tumour or daughter nodule, by lesion; else what its name says, else the largest is the main one.
    readings : sequence of Reading
        What a reader says of this patient's lesions; what fits nothing comes back as `unused`.
    """
    if not sights:
        lost = tuple(UnusedReading(one, _NO_OUTLINE) for one in readings)
        settings = params.model_dump(mode="json")
        return ResponseResult((), (), settings=settings, reason="no lesion was outlined", unused=lost)
    lesions = measure_lesions(
        sights,
        rois,
        visits=params.visits,
        outline=params.outline,
        enhancement=params.enhancement,
        necrosis=params.necrosis,
    )
    read, unused = apply_readings(lesions, readings)
    named = place_by_name(read, params.names)
    told = {**daughters_by_name(named, params.names), **(roles or {})}
    result = judge_lesions(named, histology=histology, roles=told, params=params)
    if not result.dates:
        return replace(result, unused=(*unused, *told_in_vain(readings, result.reason, unused)))
    return replace(result, unused=(*unused, *worse_in_vain(readings, result.dates, unused)))


def judge_lesions(
    lesions: Sequence[LesionHistory],
    *,
    histology: Sequence[Histology] = (),
    roles: Mapping[str, LesionRole] | None = None,
    params: ResponseParams,
) -> ResponseResult:
    """Return the response from lesions that are measured already, as from another reader's table.

    Raises
    ------
    ValueError
        When lesions do not share their dates.
    """
    baseline = baseline_of(lesions)
    named = with_roles(lesions, baseline, roles)
    dates = tuple(
        replace(date, too_early=date.days < params.assessed_from_days)
        for date in judge_dates(named, params=params.targets)
    )
    before = None if baseline is None else lesions[0].dates[baseline]
    return ResponseResult(
        lesions=named,
        dates=dates,
        best=tell_best_of(dates, before.days, params=params.best) if before is not None else (),
        necrosis=compare_with_histology(named, histology, params=params.necrosis),
        baseline_date=None if before is None else before.date,
        settings=params.model_dump(mode="json"),
        reason=_reason(lesions, baseline, bool(dates)),
    )


def _reason(lesions: Sequence[LesionHistory], baseline: int | None, judged: bool) -> str:
    if judged:
        return ""
    if baseline is not None:
        return "no scan after treatment to judge"
    before = [at for lesion in lesions for at in lesion.dates if at.days < 0]
    reasons = [at.missing for at in before if at.missing]
    return f"no lesion could be measured before treatment: {reasons[0]}" if reasons else "no scan before treatment"
