"""The story: what happens to a run, and to a patient's follow-ups, in the order it would be told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from angio_pipeline import dsa, embolisation, lipiodol, perfusion, projections, response, tumour, vessels
from angio_pipeline.config import PipelineConfig
from angio_pipeline.core.corrections import CorrectionOutcome, GivenEdit, Note, correction_quality, outcome
from angio_pipeline.core.embolisation import RunComparison
from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.followups import CtVolume, FilmRoi, Radiograph, VolumeRoi
from angio_pipeline.core.projections import ProjectionPair
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.readings import Reading
from angio_pipeline.core.results import FollowUpResult, RunResult
from angio_pipeline.core.runs import AngioRun, PerfusionMaps, SubtractedRun
from angio_pipeline.core.tumours import LesionOrigin, Tumour
from angio_pipeline.core.vessels import VesselGraph, VesselSegmentation

__all__ = [
    "Networks",
    "PredictFeeding",
    "compare_pair",
    "join_pair",
    "load_networks",
    "process_follow_ups",
    "process_run",
    "subtract_run",
]

PredictFeeding = Callable[[vessels.RunPictures, npt.NDArray[np.bool_]], npt.NDArray[np.float32]]
"""From a run's pictures and a tumour (H, W) to how likely each pixel belongs to a branch that feeds it alone."""


@dataclass(frozen=True, slots=True)
class Networks:
    """The networks that a run is shown to; where one is None the pipeline does without.

    Attributes
    ----------
    run : callable, optional
        Tells vessels and blush from the pictures of a run; the ridge filter when None.
    frame : callable, optional
        Tells vessels from one frame, for runs that cannot be subtracted in time.
    feeding : callable, optional
        Tells from the pictures of a run, and a tumour, what feeds that tumour.
    """

    run: vessels.Predict | None = None
    frame: vessels.PredictFrame | None = None
    feeding: PredictFeeding | None = None


@lru_cache(maxsize=1)
def load_networks(params: vessels.SegmentParams, feeder_network: str) -> Networks:
    """Return the networks that the settings ask for; a process loads each once, and only those that it needs.

    Weights are read when a network is first shown something; it raises `AngioError` where they are not the manifest's.
    """
    names = (params.network, params.frame_network) if params.method == "network" else ("", "")
    if not any((*names, feeder_network)):
        return Networks()
    import cv2

    from angio_pipeline.networks.prediction import load_feeder_predictor, load_frame_predictor, load_run_predictor

    # The threads that this process was given (`hold_threads`) hold for the networks, too.
    threads, engine = max(1, cv2.getNumThreads()), params.engine
    # A run needs one or two of them, which one shows once it has been read.
    loaders: list[Callable[..., Callable[..., Any]]]
    loaders = [load_run_predictor, load_frame_predictor, load_feeder_predictor]
    return Networks(
        *(
            _loaded_when_asked(partial(load, name, threads=threads, engine=engine)) if name else None
            for load, name in zip(loaders, (*names, feeder_network), strict=True)
        )
    )


def _loaded_when_asked(load: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
    """Return a network that is loaded when it is first shown something."""
    loaded = lru_cache(maxsize=1)(load)
    return lambda *shown: loaded()(*shown)


def process_run(
    run: AngioRun,
    *,
    config: PipelineConfig,
    rois: Sequence[FilmRoi] = (),
    corrections: Sequence[GivenEdit] = (),
    networks: Networks,
    begin: Callable[[str], None] = lambda stage: None,
) -> RunResult:
    """Return everything measured on one run.

    Parameters
    ----------
    rois : sequence of FilmRoi
        Tumours drawn on this run; they take the place of detection.
    corrections : sequence of GivenEdit
        What a reader changed in an earlier result of this run.
    begin : callable
        Told the name of each stage as it begins, so that whoever holds a clock may say what each one took.

    Raises
    ------
    InputRefused
        When the run has a single frame or no valid pixel.
    """
    _check(run)
    begin("subtract")
    sub, maps = subtract_run(run, config=config)
    edits, misplaced = tumour.place_edits(corrections, sub, params=config.corrections)
    maps, phases_set = perfusion.relabel_phases(maps, edits, run.shape[0])
    begin("segment")
    arteries = vessels.segment(sub, maps, params=config.segment, predict=networks.run, predict_frame=networks.frame)
    begin("tumours")
    found, blush_quality, drawn = _tumours(rois, edits, sub, maps, arteries, config)
    begin("graph")
    graph, tip = vessels.build_graph(arteries, sub, maps, params=config.graph, tumours=_union(found, sub))
    measures, flow_quality = vessels.measure_branches(graph, arteries.artery, sub, maps, params=config.measures)
    begin("feeders")
    feeding = _feeding(sub, maps, found, networks.feeding)
    fed, feeder_quality, reread = _feeders(found, feeding, edits, graph, sub, config)
    begin("shunts")
    shunts, shunt_quality = tumour.find_shunts(sub, maps, arteries, graph, fed, tip=tip, params=config.shunts)
    begin("result")
    told = _in_order(misplaced, phases_set, drawn, reread, _notes(edits))
    quality = _all_quality(sub, maps, arteries, graph) | flow_quality | blush_quality | feeder_quality | shunt_quality
    return RunResult(
        run=run,
        subtracted=sub,
        maps=maps,
        vessels=arteries,
        graph=graph,
        measures=measures,
        tip=tip,
        tumours=fed,
        shunts=shunts,
        curves=perfusion.region_curves(sub, _regions(sub, arteries, fed)),
        settings=config.model_dump(mode="json", exclude={"lipiodol", "response", "embolisation", "projections"}),
        quality=quality | correction_quality(told),
        corrections=told,
    )


def subtract_run(run: AngioRun, *, config: PipelineConfig) -> tuple[SubtractedRun, PerfusionMaps]:
    """Return the first part of the story alone: the run minus its background, and its maps of perfusion."""
    whole = dsa.set_aside_broken(run)
    choice = dsa.choose_mask(whole, params=config.mask)
    sub = dsa.denoise(dsa.subtract(whole, choice, params=config.subtract), params=config.denoise)
    return sub, perfusion.measure(sub, params=config.perfusion)


def compare_pair(before: RunResult, after: RunResult, *, config: PipelineConfig) -> RunComparison:
    """Return what two runs of one view say of the embolisation between them.

    Raises
    ------
    InputRefused
        When they cannot be compared; `reason` names why.
    """
    return embolisation.compare_runs(before, after, params=config.embolisation)


def join_pair(first: RunResult, second: RunResult, *, config: PipelineConfig) -> ProjectionPair:
    """Return what two projections of one injection say together.

    Raises
    ------
    InputRefused
        When they cannot be joined; `reason` names why.
    """
    return projections.join_views(first, second, params=config.projections)


def process_follow_ups(
    volumes: Sequence[CtVolume],
    rois: Sequence[VolumeRoi],
    films: Sequence[Radiograph],
    film_rois: Sequence[FilmRoi],
    *,
    treated: datetime | None,
    readings: Sequence[Reading] = (),
    config: PipelineConfig,
) -> FollowUpResult:
    """Return the course of the oil in every lesion of one patient, and what each criterion says of the response.

    `readings` is what a reader says of the lesions of this patient, beside what was drawn.
    """
    result = lipiodol.follow_lesions(volumes, rois, films, film_rois, treated=treated, params=config.lipiodol)
    # Of a lesion that was found by its oil only the oil's extent is known, not the tumour's.
    outlined = [lesion for lesion in result.lesions if lesion.origin is LesionOrigin.ROI]
    sights = [sight for lesion in outlined for sight in lesion.sights]
    drawn = [roi for roi in rois if roi.id != "liver"]
    return replace(result, response=response.judge_response(sights, drawn, readings=readings, params=config.response))


def _check(run: AngioRun) -> None:
    if run.shape[0] < 2:
        raise InputRefused("Expected a run of at least 2 frames, found 1.", reason="single_frame")
    if not run.valid.any() or min(run.shape[1:]) < 32:
        raise InputRefused(
            f"Expected frames of at least 32 x 32 pixels with something in view, found {run.shape[1]} x {run.shape[2]}"
            f" with {int(run.valid.sum())} pixels in view.",
            reason="nothing_in_view",
        )


def _tumours(
    rois: Sequence[FilmRoi],
    edits: Sequence[GivenEdit],
    sub: SubtractedRun,
    maps: PerfusionMaps,
    arteries: VesselSegmentation,
    config: PipelineConfig,
) -> tuple[tuple[Tumour, ...], Quality, tuple[CorrectionOutcome, ...]]:
    """Return tumours, drawn or found, with a reader's edits of them."""
    found, quality = tumour.tumours_from_rois(rois, sub)
    if not found:
        found, flags = tumour.find_blush(sub, maps, arteries, params=config.blush)
        quality |= flags
    return tumour.correct_tumours(found, quality, edits, sub.frames.shape[1:], params=config.corrections)


def _notes(edits: Sequence[GivenEdit]) -> tuple[CorrectionOutcome, ...]:
    return tuple(outcome(one, "Noted.") for one in edits if isinstance(one.edit, Note))


def _in_order(*told: Sequence[CorrectionOutcome]) -> tuple[CorrectionOutcome, ...]:
    return tuple(sorted((one for part in told for one in part), key=lambda one: (one.edit.time, one.edit.id)))


def _union(tumours: Sequence[Tumour], sub: SubtractedRun) -> npt.NDArray[np.bool_]:
    region = np.zeros(sub.valid.shape, dtype=np.bool_)
    for one in tumours:
        region |= one.mask
    return region


def _feeding(
    sub: SubtractedRun, maps: PerfusionMaps, found: Sequence[Tumour], predict: PredictFeeding | None
) -> list[npt.NDArray[np.float32] | None]:
    """Return for each tumour the map of what feeds it; nothing where the run does not show contrast coming."""
    if predict is None or not found or not sub.timing_measurable:
        return [None] * len(found)
    pictures = vessels.picture_run(sub, maps)
    return [predict(pictures, one.mask) for one in found]


def _feeders(
    found: Sequence[Tumour],
    feeding: Sequence[npt.NDArray[np.float32] | None],
    edits: Sequence[GivenEdit],
    graph: VesselGraph,
    sub: SubtractedRun,
    config: PipelineConfig,
) -> tuple[tuple[Tumour, ...], Quality, tuple[CorrectionOutcome, ...]]:
    """Return the tumours with their feeders, and a reader's edits of those."""
    quality = Quality.NONE
    fed = []
    for one, told in zip(found, feeding, strict=True):
        with_feeders, flags = tumour.find_feeders(one, graph, sub, params=config.feeders, feeding=told)
        fed.append(with_feeders)
        quality |= flags
    return tumour.correct_feeders(
        tuple(fed), quality, edits, graph, sub, feeders=config.feeders, params=config.corrections
    )


def _regions(
    sub: SubtractedRun, arteries: VesselSegmentation, tumours: Sequence[Tumour]
) -> dict[str, npt.NDArray[np.bool_]]:
    """Return the regions whose curves a reader wants to see: artery, each tumour, liver."""
    regions = {"artery": np.asarray(arteries.artery)}
    elsewhere = sub.valid & ~arteries.artery
    for one in tumours:
        regions[one.id] = one.mask & ~arteries.artery
        elsewhere = elsewhere & ~one.mask
    if elsewhere.any() and sub.timing_measurable:
        late = sub.frames[-max(1, len(sub.frames) // 2) :].mean(axis=0)
        # Liver is what enhances late outside vessels and tumours; the rest of the frame does not.
        low, high = np.percentile(late[elsewhere], [50, 95])
        regions["liver"] = elsewhere & (late >= low) & (late <= high)
    return regions


def _all_quality(sub: SubtractedRun, maps: PerfusionMaps, arteries: VesselSegmentation, graph: VesselGraph) -> Quality:
    quality = sub.quality | maps.quality | arteries.quality | graph.quality
    if sub.spacing is None or not sub.spacing.in_patient:
        quality |= Quality.NOT_CALIBRATED
    return quality
