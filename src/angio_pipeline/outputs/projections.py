"""A patient's pairs of projections to their folder, and what they say of each feeder to its run's document."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from angio_pipeline import __version__
from angio_pipeline.core.projections import FeederSight, ProjectionPair, TumourMatch, ViewAlignment
from angio_pipeline.core.provenance import Source
from angio_pipeline.outputs.dicom import Origin
from angio_pipeline.outputs.documents import plain, source_document
from angio_pipeline.outputs.files import clear_results, write_bytes, write_json
from angio_pipeline.outputs.pictures import write_png
from angio_pipeline.outputs.projection_picture import projection_picture
from angio_pipeline.outputs.schemas import (
    FeederTwoViewsDocument,
    LandmarkDocument,
    NotJoinedDocument,
    PairFeederDocument,
    PairTumourDocument,
    ProjectionPairDocument,
    ProjectionsDocument,
    SecondProjectionDocument,
    SoftwareDocument,
    TumourTwoViewsDocument,
    ViewAlignmentDocument,
)

__all__ = ["RunsNotJoined", "write_projections"]


@dataclass(frozen=True, slots=True)
class RunsNotJoined:
    """Two runs, as far as there are two, that were not joined: the reason's code and one sentence."""

    first: Source | None
    second: Source | None
    reason: str
    sentence: str


def write_projections(
    joined: Sequence[ProjectionPair],
    not_joined: Sequence[RunsNotJoined],
    folder: Path,
    *,
    runs: Mapping[str, Path],
    masks: Sequence[tuple[Mapping[str, npt.NDArray[np.bool_]], Mapping[str, npt.NDArray[np.bool_]]]],
    settings: Mapping[str, object],
    origins: Sequence[Origin] = (),
) -> None:
    """Write `projections.json` and `projections-<n>.png` into `folder`, and each feeder's part into its run's document.

    With `origins` also `projections-sr.dcm`, where any runs were joined.

    Parameters
    ----------
    runs : mapping of str to Path
        SOP Instance UID to the folder of every run that was looked at; what an earlier pair said is taken out of
        those that are in none now.
    masks : sequence of two mappings
        For each pair the tumours of either view by id, (H, W) bool.
    origins : sequence of Origin
        What the report says of each run; empty when none is asked for.

    Raises
    ------
    OSError
        When a folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    clear_results(folder)
    names = [f"projections-{number}.png" for number in range(1, len(joined) + 1)]
    for pair, name, tumours in zip(joined, names, masks, strict=True):
        write_png(folder / name, projection_picture(pair, tumours))
    document = ProjectionsDocument(
        pairs=[_pair(pair, name) for pair, name in zip(joined, names, strict=True)],
        not_joined=[
            NotJoinedDocument(
                first=one.first and source_document(one.first),
                second=one.second and source_document(one.second),
                reason=one.reason,
                sentence=one.sentence,
            )
            for one in not_joined
        ],
        settings=plain(settings),
        software=SoftwareDocument(name="angio-pipeline", version=__version__),
    )
    told = {source.sop_instance_uid: (pair, k) for pair in joined for k, source in enumerate((pair.first, pair.second))}
    for uid, path in runs.items():
        _tell_run(path / "analysis.json", *told.get(uid, (None, 0)))
    if origins:
        _write_report(document, folder, origins)
    write_json(folder / "projections.json", document)


def _write_report(document: ProjectionsDocument, folder: Path, origins: Sequence[Origin]) -> None:
    # Loaded only where asked for: highdicom takes a while.
    from angio_pipeline.outputs.dicom.projections_report import projections_report_bytes

    content = projections_report_bytes(document, origins)
    if content is not None:
        write_bytes(folder / "projections-sr.dcm", content)


def _tell_run(path: Path, pair: ProjectionPair | None, side: int) -> None:
    """Write what a pair says into a run's document; nothing else of it changes."""
    document: dict[str, Any] = json.loads(path.read_bytes())
    sights = {} if pair is None else {(s.tumour, s.feeder): s for s in pair.feeders[side]}
    matches = {} if pair is None else {(m.first, m.second)[side]: m for m in pair.tumours}
    before = json.dumps(document)
    document["second_projection"] = None if pair is None else _second(pair, side).model_dump(mode="json")
    for tumour in document["tumours"]:
        match = matches.get(tumour["id"])
        tumour["two_views"] = None if match is None else _tumour(match, side).model_dump(mode="json")
        for feeder in tumour["feeders"]:
            sight = sights.get((tumour["id"], feeder["id"]))
            feeder["two_views"] = (
                None if sight is None else FeederTwoViewsDocument(**_sight(sight)).model_dump(mode="json")
            )
    if json.dumps(document) != before:
        write_json(path, document)


def _second(pair: ProjectionPair, side: int) -> SecondProjectionDocument:
    other = (pair.second, pair.first)[side]
    return SecondProjectionDocument(
        sop_instance_uid=other.sop_instance_uid,
        series_instance_uid=other.series_instance_uid,
        pose_deg=pair.angles_deg[1 - side],
        apart_deg=round(pair.apart_deg, 2),
        match=_number(pair.alignment.match, 3),
        sd_mm=round(pair.alignment.sd_mm, 2),
    )


def _pair(pair: ProjectionPair, picture: str) -> ProjectionPairDocument:
    feeders = [
        [
            PairFeederDocument(
                id=sight.feeder,
                tumour=sight.tumour,
                probability_alone=sight.probability_alone,
                entry=_point(sight.entry),
                **_sight(sight),
            )
            for sight in side
        ]
        for side in pair.feeders
    ]
    return ProjectionPairDocument(
        first=source_document(pair.first),
        second=source_document(pair.second),
        first_deg=pair.angles_deg[0],
        second_deg=pair.angles_deg[1],
        apart_deg=round(pair.apart_deg, 2),
        millimetres_told=pair.millimetres_told,
        alignment=_alignment(pair.alignment),
        tumours=[PairTumourDocument(id=match.first, **_tumour(match, 0).model_dump()) for match in pair.tumours],
        feeders_first=feeders[0],
        feeders_second=feeders[1],
        picture=picture,
        cautions=list(pair.cautions),
        quality=pair.quality.names(),
    )


def _alignment(alignment: ViewAlignment) -> ViewAlignmentDocument:
    return ViewAlignmentDocument(
        shift_mm=_place(alignment.shift_mm),
        turn_deg=(round(alignment.turn_deg[0], 3), round(alignment.turn_deg[1], 3)),
        sd_mm=round(alignment.sd_mm, 2),
        match=_number(alignment.match, 3),
        landmarks=[
            LandmarkDocument(name=one.name, apart_mm=round(one.apart_mm, 2), used=one.used)
            for one in alignment.landmarks
        ],
    )


def _tumour(match: TumourMatch, side: int) -> TumourTwoViewsDocument:
    return TumourTwoViewsDocument(
        match=(match.second, match.first)[side],
        centre_mm=_place(match.centre_mm),
        radius_mm=round(match.radius_mm, 2),
        apart_mm=round(match.apart_mm, 2),
        alone=match.alone,
    )


def _sight(sight: FeederSight) -> dict[str, Any]:
    return {
        "probability": sight.probability,
        "sight": sight.sight,
        "match": sight.match,
        "apart_mm": _number(sight.apart_mm, 2),
        "misfit": _number(sight.misfit, 3),
        "later_s": _number(sight.later_s, 3),
        "entry_mm": None if sight.entry_mm is None else _place(sight.entry_mm),
        "beyond_mm": _number(sight.beyond_mm, 2),
        "entry_line": [_point(point) for point in sight.entry_line],
        "course": [_point(point) for point in sight.course],
        "reason": sight.reason,
        "evidence": {name: _number(value, 4) for name, value in sight.evidence.items()},
    }


def _number(value: float, digits: int) -> float | None:
    return round(float(value), digits) if math.isfinite(value) else None


def _point(point: Sequence[float] | npt.NDArray[np.float64]) -> tuple[float, float]:
    return round(float(point[0]), 2), round(float(point[1]), 2)


def _place(place: tuple[float, float, float]) -> tuple[float, float, float]:
    return round(place[0], 2), round(place[1], 2), round(place[2], 2)
