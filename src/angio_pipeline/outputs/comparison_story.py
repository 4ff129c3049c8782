"""Before against after embolisation in words, from the patient's `embolisation.json` and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from angio_pipeline.outputs.pages import (
    UNKNOWN,
    day,
    fixed,
    interval_words,
    percent,
    picture_of,
    refused_words,
    run_words,
)
from angio_pipeline.outputs.schemas import (
    BlushChangeDocument,
    ComparisonDocument,
    EmbolisationDocument,
    TumourChangeDocument,
)

__all__ = ["comparison_findings", "comparison_story"]


def comparison_story(document: EmbolisationDocument | None, problem: str | None, folder: Path) -> dict[str, Any]:
    """Return what the report's section shows; the section stays away where there is nothing to tell.

    Parameters
    ----------
    folder : Path
        Where `embolisation.json` and its pictures are, below the subject's folder.
    """
    comparisons = document.comparisons if document is not None else []
    refused = document.not_compared if document is not None else []
    return {
        "comparisons": [_comparison(one, folder) for one in comparisons],
        "not_compared": [refused_words("Not compared", (one.before, one.after), one.sentence) for one in refused],
        "comparisons_problem": problem,
        "compared_at_all": bool(comparisons or refused or problem),
    }


def comparison_findings(document: EmbolisationDocument | None) -> list[str]:
    """Return a line for each tumour that was compared, for the worklist."""
    if document is None:
        return []
    return [
        f"After embolisation, {tumour.id}: {_level(tumour)}, residual blush {_residual(tumour.blush)}"
        for one in document.comparisons
        for tumour in one.tumours
    ]


def _level(tumour: TumourChangeDocument) -> str:
    return f"SACE {tumour.sace.value}" if tumour.sace is not None else "SACE cannot be decided"


def _residual(blush: BlushChangeDocument | None) -> str:
    if blush is None or blush.residual is None:
        return "unknown"
    return percent(blush.residual) + interval_words(blush.residual_interval, 0, 100.0, " %")


def _comparison(one: ComparisonDocument, folder: Path) -> dict[str, Any]:
    feeders = [feeder for tumour in one.tumours for feeder in tumour.feeders]
    return {
        "title": f"{run_words(one.before)} against {run_words(one.after)}, {day(one.before.date)}",
        "paired": _paired(one),
        **picture_of(folder, one.picture),
        "picture_words": "Before, after and difference: "
        + "; ".join(
            f"{tumour.id} {_level(tumour)}, residual blush {_residual(tumour.blush)}" for tumour in one.tumours
        ),
        "caption": (
            f"Contrast {one.picture_time_s:.1f} s after the reference artery fills, over its peak (after: over what "
            "it would be with the injection of before), both runs in one window; the run after is laid upon the run "
            "before."
        ),
        "cautions": [*one.cautions, *one.quality_sentences],
        "tumours": [_tumour(tumour) for tumour in one.tumours],
        "feeders": [{**feeder.model_dump(), "patency": feeder.patency.value} for feeder in feeders],
        "methods": _methods(one),
    }


def _paired(one: ComparisonDocument) -> str:
    if one.paired_by == "label":
        return "The files say which run was made before embolisation and which after."
    return (
        "No file says which run was made after embolisation: the first and the last run of this view are taken for "
        "before and after, by their times alone."
    )


def _tumour(tumour: TumourChangeDocument) -> dict[str, str | None]:
    blush = tumour.blush
    told: dict[str, str | None] = {
        "id": tumour.id,
        "residual": _residual(blush) if blush is not None and blush.residual is not None else UNKNOWN,
        "area": percent(blush.residual_area) + _area(blush) if blush is not None else UNKNOWN,
        "flow": tumour.flow.value if tumour.flow is not None else "unknown",
        "sace": tumour.sace.value if tumour.sace is not None else None,
        "reason": tumour.reason,
    }
    for name in ("peak", "auc", "wash_in"):
        pair = (None, None) if blush is None else (getattr(blush.before, name), getattr(blush.after, name))
        told[name] = f"{fixed(pair[0])} → {fixed(pair[1])}"
    times = (None, None) if blush is None else (blush.before.time_to_peak_s, blush.after.time_to_peak_s)
    told["time"] = f"{fixed(times[0], 1)} → {fixed(times[1], 1, ' s')}"
    return told


def _area(blush: BlushChangeDocument) -> str:
    if blush.residual_area is None:
        return ""
    if blush.area_before_mm2 is None:
        return f" ({blush.area_after_px} of {blush.area_before_px} px)"
    return f" ({fixed(blush.area_after_mm2, 0)} of {fixed(blush.area_before_mm2, 0)} mm²)"


def _methods(one: ComparisonDocument) -> list[str]:
    alignment = one.alignment
    shift = alignment.anatomy_shift_px
    bone = "" if shift is None else f", bone by ({shift[0]:.1f}, {shift[1]:.1f}) px"
    how = "its vessels" if alignment.by_vessels else "bone alone"
    return [
        f"The run after was laid upon the run before by {how}: mean displacement (row, col) "
        f"({alignment.shift_px[0]:.1f}, {alignment.shift_px[1]:.1f}) px{bone}; correlation of the vessels "
        f"{fixed(alignment.vessel_match)}, of the anatomy {fixed(alignment.anatomy_match)}.",
        f"Reference artery: {one.reference_artery.how}",
        "A tumour's stain is the mean over its region less a share of that of a ring around it, which leaves out the "
        "liver that it displaces; each run's stain is convolved with the other run's artery, which makes the "
        "injections one. A feeder's contrast is what its core holds above the tissue on both sides.",
    ]
