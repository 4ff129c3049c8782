"""A pair of projections written, read back, told in each run's document, and shown."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from dicom_objects import complaints, report_groups, xa_header

from angio_pipeline.core.projections import FeederSight, Landmark, ProjectionPair, Sight, TumourMatch, ViewAlignment
from angio_pipeline.core.provenance import Source
from angio_pipeline.outputs import (
    RunsNotJoined,
    json_schema,
    read_subject,
    write_projections,
    write_record,
    write_report,
    write_run,
    write_tables,
)
from angio_pipeline.outputs.dicom import Origin
from angio_pipeline.outputs.dicom.run_report import run_report_bytes
from angio_pipeline.outputs.projection_picture import projection_picture
from angio_pipeline.outputs.schemas import RunDocument

pytestmark = pytest.mark.slow

SECOND = Source("1.2.9", "1.2.8", "1", "S-1", "20240311", datetime(2024, 3, 11, 10, 15), "XA", "b.dcm", "S2 I1")
NAN = float("nan")


def sight(feeder: str, tumour: str, kind: Sight) -> FeederSight:
    known = kind is not Sight.UNKNOWN
    return FeederSight(
        feeder=feeder,
        tumour=tumour,
        probability_alone=0.6,
        probability=0.8 if kind is Sight.FEEDS else 0.2,
        sight=kind,
        match="T1-F1" if kind is Sight.FEEDS else None,
        entry=(30.0, 40.0),
        entry_line=np.array([[20.0, 0.0], [50.0, 95.0]]),
        course=np.array([[10.0, 10.0], [30.0, 40.0]]) if known else np.empty((0, 2)),
        apart_mm=0.4 if known else NAN,
        misfit=0.3 if known else NAN,
        later_s=NAN,
        entry_mm=(1.0, 2.0, 3.0) if known else None,
        beyond_mm=1.5 if known else NAN,
        reason="Drawn.",
        evidence={"own": 0.6, "partner": NAN},
    )


def pair(first: Source, tumour: str, feeder: str, kind: Sight = Sight.FEEDS) -> ProjectionPair:
    picture = np.random.default_rng(0).normal(0.1, 0.02, (96, 96)).astype(np.float32)
    return ProjectionPair(
        first=first,
        second=SECOND,
        angles_deg=((0.0, 0.0), (-30.0, 10.0)),
        apart_deg=31.5,
        millimetres_told=True,
        alignment=ViewAlignment((0.1, -0.2, 3.0), (0.0, 0.1), 1.3, 0.95, (Landmark("catheter tip", 40.0, False),)),
        tumours=(TumourMatch(tumour, "T1", (10.0, -5.0, 20.0), 12.0, 0.5, True),),
        feeders=((sight(feeder, tumour, kind),), (sight("T1-F1", "T1", Sight.UNKNOWN),)),
        pictures=(picture, picture),
        cautions=("A caution.",),
    )


def masks(tumour: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    disc = np.hypot(*(np.mgrid[:96, :96] - np.array([30, 40])[:, None, None])) < 12
    return {tumour: disc}, {"T1": disc}


@pytest.fixture
def written(run_result, tmp_path: Path):
    """A subject's folder with one analysed run, and what writes a pair of it."""
    subject = tmp_path / "out" / "subjects" / "S-1"
    folder = subject / "20240311" / "S001"
    write_run(run_result, folder)
    write_record(folder, {"digest": "x"})
    tumour = next(t for t in run_result.tumours if t.feeders)
    first = run_result.run.source

    def write(*, joined: bool = True, kind: Sight = Sight.FEEDS, report: bool = False) -> Path:
        found = pair(first, tumour.id, tumour.feeders[0].id, kind)
        refused = [] if joined else [RunsNotJoined(first, SECOND, "not_aligned", "Expected one tree, found two.")]
        write_projections(
            [found] if joined else [],
            refused,
            subject / "projections",
            runs={first.sop_instance_uid: folder},
            masks=[masks(tumour.id)] if joined else [],
            settings={"projections": {"x": 1}},
            origins=[Origin(source, (xa_header(source),)) for source in (first, SECOND)] if report else (),
        )
        write_record(subject / "projections", {"digest": "y"})
        return folder

    return write


def test_the_document_follows_its_schema_and_comes_back(written) -> None:
    folder = written()
    subject = folder.parents[1]
    plain = json.loads((subject / "projections" / "projections.json").read_text())
    jsonschema.validate(plain, json_schema("projections"))
    jsonschema.validate(plain, json_schema())
    (one,) = read_subject(subject).projections.pairs
    assert one.feeders_first[0].probability == 0.8
    assert one.feeders_second[0].apart_mm is None
    assert (subject / "projections" / one.picture).is_file()


def test_the_report_says_what_the_document_says_of_each_feeder(written) -> None:
    folder = written(report=True)
    projections = folder.parents[1] / "projections"
    (one,) = json.loads((projections / "projections.json").read_text())["pairs"]
    path = projections / "projections-sr.dcm"
    assert complaints(path) == []
    groups = report_groups(path)
    feeders = [group for group in groups if group["finding"] == "Feeding artery of tumor"]
    told = [*one["feeders_first"], *one["feeders_second"]]
    assert [group["id"] for group in feeders] == [feeder["id"] for feeder in told]
    fields = {
        "probability": ("122157", "1"),
        "probability_alone": ("PROBABILITY_ALONE", "1"),
        "apart_mm": ("EPIPOLAR_DISTANCE", "mm"),
        "misfit": ("MISFIT", "1"),
        "later_s": ("LATER", "s"),
        "beyond_mm": ("BEYOND_TUMOR", "mm"),
    }
    for group, feeder, uid in zip(feeders, told, ("first", "second"), strict=True):
        known = {code: [feeder[name]] for name, code in fields.items() if feeder[name] is not None}
        assert group["numbers"] == known
        assert group["images"] == [(one[uid]["sop_instance_uid"], None)]
        assert ("Comment", feeder["reason"]) in group["texts"]
    (pair,) = [group for group in groups if group["finding"] == "Two projections of one injection"]
    assert pair["numbers"][("ANGLE_BETWEEN", "deg")] == [one["apart_deg"]]


def test_a_feeder_keeps_its_tracking_identifier_in_the_report_of_both_views(written, run_result) -> None:
    folder = written(report=True)
    document = RunDocument.model_validate_json((folder / "analysis.json").read_bytes())
    source = run_result.run.source
    alone = folder / "sr.dcm"
    alone.write_bytes(run_report_bytes(document, Origin(source, (xa_header(source),)), {}))
    together = report_groups(folder.parents[1] / "projections" / "projections-sr.dcm")
    of_first = {group["uid"]: group["id"] for group in together if group["images"][0][0] == source.sop_instance_uid}
    of_run = {group["uid"]: group["id"] for group in report_groups(alone)}
    feeders = {uid: name for uid, name in of_first.items() if "-F" in name}
    assert feeders
    assert feeders.items() <= of_run.items()


def test_without_a_pair_there_is_no_report(written) -> None:
    folder = written(report=True)
    written(report=True, joined=False)
    assert not (folder.parents[1] / "projections" / "projections-sr.dcm").exists()


def test_each_runs_document_tells_its_part_and_keeps_the_rest(written) -> None:
    folder = written(joined=False)
    before = json.loads((folder / "analysis.json").read_text())
    written()
    after = json.loads((folder / "analysis.json").read_text())
    document = RunDocument.model_validate(after)
    jsonschema.validate(after, json_schema("run"))
    assert document.second_projection is not None
    assert document.second_projection.sop_instance_uid == "1.2.9"
    told = [feeder for tumour in document.tumours for feeder in tumour.feeders if feeder.two_views is not None]
    assert [feeder.two_views.probability for feeder in told if feeder.two_views] == [0.8]
    # What the run says by itself stays.
    assert told[0].probability != 0.8
    for one in (before, after):
        one.pop("second_projection")
        for tumour in one["tumours"]:
            tumour.pop("two_views")
            for feeder in tumour["feeders"]:
                feeder.pop("two_views")
    assert before == after


def test_what_an_earlier_pair_said_goes_when_there_is_none(written) -> None:
    folder = written()
    written(joined=False)
    document = RunDocument.model_validate_json((folder / "analysis.json").read_bytes())
    assert document.second_projection is None
    assert all(f.two_views is None for t in document.tumours for f in t.feeders)


def test_the_report_and_the_table_tell_what_both_views_say(written) -> None:
    folder = written(kind=Sight.PASSES)
    page = write_report(folder.parents[1]).read_text()
    assert "Two projections of one injection" in page
    assert "passes by" in page
    assert "A caution." in page
    out = folder.parents[3]
    write_tables(out)
    with (out / "feeders.csv").open() as stream:
        sights = [row["two_views_sight"] for row in csv.DictReader(stream)]
    assert "passes by" in sights


def test_the_report_tells_why_two_runs_were_not_joined(written) -> None:
    page = write_report(written(joined=False).parents[1]).read_text()
    assert "Expected one tree, found two." in page


@pytest.mark.parametrize("kind", list(Sight))
def test_the_picture_shows_both_views_side_by_side(kind: Sight) -> None:
    found = pair(replace(SECOND, sop_instance_uid="1"), "T1", "T1-F1", kind)
    found = replace(found, feeders=(found.feeders[0], ()))
    picture = projection_picture(found, masks("T1"))
    height, width = picture.shape[:2]
    assert width > 1.4 * height
    assert picture.dtype == np.uint8
    # A line that runs to the right over both edges is drawn in the right view, and none in the left one.
    plain = projection_picture(replace(found, feeders=((), ())), masks("T1"))
    changed = np.any(picture[:800] != plain[:800], axis=2)
    assert changed[:, width // 2 :].sum() > changed[:, : width // 2].sum() > 0
