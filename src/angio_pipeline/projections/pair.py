"""Two projections of one injection, from their geometry to the joint probability of every feeder."""

from __future__ import annotations

import numpy as np

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.params import Params
from angio_pipeline.core.projections import FeederSight, ProjectionPair, Sight, TumourMatch, ViewAlignment
from angio_pipeline.core.results import RunResult
from angio_pipeline.core.tumours import Tumour
from angio_pipeline.projections.alignment import AlignmentParams, align_views, arterial_mean
from angio_pipeline.projections.choosing import ChoosingParams
from angio_pipeline.projections.courses import Course, tree_courses
from angio_pipeline.projections.geometry import PairGeometry, View, ViewParams, check_angles, view_of, views_apart_deg
from angio_pipeline.projections.sights import SightParams, depth_known_mm, see_feeders
from angio_pipeline.projections.tumours import TumourParams, match_tumours

__all__ = ["ProjectionParams", "join_views"]

# From this probability on a feeder is called one, and a sentence of the pair speaks of it.
_LIKELY = 0.5


class ProjectionParams(Params):
    """Settings of `join_views`, and of which runs are joined at all."""

    choosing: ChoosingParams = ChoosingParams()
    view: ViewParams = ViewParams()
    alignment: AlignmentParams = AlignmentParams()
    tumours: TumourParams = TumourParams()
    sights: SightParams = SightParams()


def join_views(first: RunResult, second: RunResult, *, params: ProjectionParams) -> ProjectionPair:
    """Return what two projections say together of every tumour and feeder.

    Raises
    ------
    InputRefused
        `angle_unknown`, `views_alike`, `not_aligned`; `no_tumour` when either view shows none, `no_tumour_match` when
        none of one view can be one of the other.
    """
    results = first, second
    views = view_of(first.run, params=params.view), view_of(second.run, params=params.view)
    check_angles(views[0], views[1], params=params.view)
    if not (first.tumours and second.tumours):
        raise InputRefused(
            "Expected a tumour in both views, found none in at least one; draw it on that run (--roi).",
            reason="no_tumour",
        )
    pair, alignment = align_views(views, results, params=params.alignment)
    tumours = match_tumours(pair, first.tumours, second.tumours, params=params.tumours)
    if not tumours:
        raise InputRefused(
            "Expected a tumour of one view on the lines of one of the other, found none; draw them on both (--roi).",
            reason="no_tumour_match",
        )
    feeders = _feeders(pair, results, tumours, params)
    angles = [(view.pose.primary_deg, view.pose.secondary_deg) for view in views]
    return ProjectionPair(
        first=first.run.source,
        second=second.run.source,
        angles_deg=(angles[0], angles[1]),
        apart_deg=views_apart_deg(angles[0], angles[1]),
        millimetres_told=views[0].scale_told and views[1].scale_told,
        alignment=alignment,
        tumours=tumours,
        feeders=feeders,
        pictures=(arterial_mean(first), arterial_mean(second)),
        cautions=(*_cautions(results, views, alignment, tumours, params), *_far_ends(pair, feeders, params)),
        quality=first.subtracted.quality | second.subtracted.quality,
    )


def _feeders(
    pair: PairGeometry, results: tuple[RunResult, RunResult], matches: tuple[TumourMatch, ...], params: ProjectionParams
) -> tuple[tuple[FeederSight, ...], tuple[FeederSight, ...]]:
    trees = _tree(results[0], pair.first, params), _tree(results[1], pair.second, params)
    seen: tuple[list[FeederSight], list[FeederSight]] = ([], [])
    for match in matches:
        tumours = _named(results[0], match.first), _named(results[1], match.second)
        for told, sights in zip(
            seen, see_feeders(pair, tumours, results, trees, match, params=params.sights), strict=True
        ):
            told.extend(sights)
    return tuple(seen[0]), tuple(seen[1])


def _far_ends(
    pair: PairGeometry, feeders: tuple[tuple[FeederSight, ...], tuple[FeederSight, ...]], params: ProjectionParams
) -> tuple[str, ...]:
    """Likely feeders that end in the tumour in either picture and far outside it in space: one sentence, or none."""
    far = [
        f"{sight.feeder} of the {name} view ({sight.beyond_mm:.0f} mm)"
        for name, sights in zip(("first", "second"), feeders, strict=True)
        for sight in sights
        if sight.sight is Sight.FEEDS
        and sight.beyond_mm > depth_known_mm(pair, params.sights)
        and max(sight.probability, sight.probability_alone) >= _LIKELY
    ]
    if not far:
        return ()
    return (f"In space these ends lie far outside the tumour that they seem to feed, look at them: {', '.join(far)}.",)


def _tree(result: RunResult, view: View, params: ProjectionParams) -> list[Course]:
    return tree_courses(result.graph, view.pixel_mm, params.sights.course)


def _named(result: RunResult, name: str) -> Tumour:
    return next(tumour for tumour in result.tumours if tumour.id == name)


def _cautions(
    results: tuple[RunResult, RunResult],
    views: tuple[View, View],
    alignment: ViewAlignment,
    tumours: tuple[TumourMatch, ...],
    params: ProjectionParams,
) -> tuple[str, ...]:
    told = []
    if not (views[0].scale_told and views[1].scale_told):
        told.append(
            "A file does not tell how large the patient is: a usual field was taken, and millimetres are rough."
        )
    elif any(result.run.pose is None or result.run.pose.sod_mm is None for result in results):
        told.append("A file does not tell the distance of the source to the patient: a usual one was taken.")
    if not alignment.match >= params.alignment.least_match:
        told.append("The contrast of both views does not agree on corresponding lines: landmarks alone align them.")
    shift = float(np.linalg.norm(alignment.shift_mm))
    if shift > params.alignment.shift_mm:
        told.append(f"Table or patient moved by at least {shift:.0f} mm between the runs; it was made good.")
    told += [
        f"{match.first} of the first view and {match.second} of the second may each be another tumour of the other."
        for match in tumours
        if not match.alone
    ]
    lost = [
        f"{tumour.id} of the {name} view"
        for name, result, known in (
            ("first", results[0], {m.first for m in tumours}),
            ("second", results[1], {m.second for m in tumours}),
        )
        for tumour in result.tumours
        if tumour.id not in known
    ]
    if lost:
        told.append(f"Not found in the other view: {', '.join(lost)}; its feeders rest on one view.")
    return tuple(told)
