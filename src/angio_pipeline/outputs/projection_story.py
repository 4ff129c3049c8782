"""Two projections in words, from the patient's `projections.json` and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from angio_pipeline.core.geometry import CArmPose
from angio_pipeline.core.projections import Sight
from angio_pipeline.core.tumours import WORTH_SHOWING
from angio_pipeline.outputs.overlay import angulation
from angio_pipeline.outputs.pages import day, fixed, picture_of, refused_words, run_words
from angio_pipeline.outputs.schemas import (
    PairFeederDocument,
    ProjectionPairDocument,
    ProjectionsDocument,
)

__all__ = ["projection_story"]

# That a vessel lies on the lines says little where the other view does not call it a feeder as well.
_SIGHTS = {
    (Sight.FEEDS, True): "feeds, called there too",
    (Sight.FEEDS, False): "may feed, not called there",
}


def projection_story(document: ProjectionsDocument | None, problem: str | None, folder: Path) -> dict[str, Any]:
    """Return what the report's section shows; the section stays away where there is nothing to tell.

    Parameters
    ----------
    folder : Path
        Where `projections.json` and its pictures are, below the subject's folder.
    """
    pairs = document.pairs if document is not None else []
    refused = document.not_joined if document is not None else []
    return {
        "projections": [_pair(one, folder) for one in pairs],
        "not_joined": [refused_words("No second projection", (one.first, one.second), one.sentence) for one in refused],
        "projections_problem": problem,
        "joined_at_all": bool(pairs or refused or problem),
    }


def _pair(one: ProjectionPairDocument, folder: Path) -> dict[str, Any]:
    named = [f"{tumour.id} is {tumour.match}" for tumour in one.tumours]
    shown = [f for f in one.feeders_first if max(f.probability, f.probability_alone) >= WORTH_SHOWING]
    return {
        "title": f"{run_words(one.first)} with {run_words(one.second)}, {day(one.first.date)}",
        "views": (
            f"{angulation(CArmPose(*one.first_deg))} and {angulation(CArmPose(*one.second_deg))}, "
            f"{one.apart_deg:.0f}° apart. Of the second view {', '.join(named)}."
        ),
        **picture_of(folder, one.picture),
        "picture_words": "Both views with the line of each feeder; "
        + "; ".join(f"{f.id} {f.probability_alone:.2f}, by both {f.probability:.2f}" for f in shown),
        "caption": "Arterial phase of both views; a point of one lies on its line in the other.",
        "cautions": one.cautions,
        "feeders": [
            *(_feeder(feeder, "first") for feeder in one.feeders_first),
            *(_feeder(feeder, "second") for feeder in one.feeders_second),
        ],
        "methods": _methods(one),
    }


def _feeder(feeder: PairFeederDocument, view: str) -> dict[str, Any]:
    return {
        "id": feeder.id,
        "view": view,
        "alone": fixed(feeder.probability_alone),
        "both": fixed(feeder.probability),
        "sight": _SIGHTS.get((feeder.sight, feeder.match is not None), feeder.sight.value),
        "undecided": feeder.match is None and feeder.sight is not Sight.PASSES,
        "match": feeder.match or "–",
        "apart": fixed(feeder.apart_mm, 1, " mm"),
        "beyond": fixed(feeder.beyond_mm, 0, " mm"),
        "reason": feeder.reason,
    }


def _methods(one: ProjectionPairDocument) -> list[str]:
    alignment = one.alignment
    x, y, z = alignment.shift_mm
    used = [mark.name for mark in alignment.landmarks if mark.used]
    left = [f"{mark.name} ({mark.apart_mm:.0f} mm off)" for mark in alignment.landmarks if not mark.used]
    said = (
        f"Landmarks that agree: {', '.join(used) or 'none'}" + (f"; left out: {', '.join(left)}" if left else "") + "."
    )
    return [
        "Corresponding lines follow from both angulations and distances, and from the displacement of the patient "
        f"between the runs, ({x:.1f}, {y:.1f}, {z:.1f}) mm (LPS), at which the arteries' contrast on them agrees "
        f"(correlation {fixed(alignment.match)}); their place is known to {alignment.sd_mm:.1f} mm.",
        said,
        "A feeder's course is looked for along all vessels of the other view's tree, in order, by its distance "
        "from the lines, by arrival and by calibre.",
    ]
