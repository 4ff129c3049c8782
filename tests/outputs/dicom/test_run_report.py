"""A run's report as another reader sees it: the numbers of `analysis.json`, each where it belongs."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from dicom_objects import complaints, report_groups, said_by
from report_numbers import FEEDER, TARGET, check_numbers

from angio_pipeline.outputs.dicom.run_report import run_report_bytes
from angio_pipeline.outputs.dicom.segmentation import mask_segments, read_segments, segmentation_bytes
from angio_pipeline.outputs.documents import run_document


@pytest.fixture(scope="module")
def told(run_result, origin_of, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "sr.dcm"
    document = run_document(run_result)
    path.write_bytes(run_report_bytes(document, origin_of(run_result), {"run": "ab" * 32}))
    return document, path, report_groups(path)


def test_its_numbers_are_those_of_the_document(told):
    document, _, groups = told
    assert check_numbers(document, groups) > 50


def test_feeders_and_targets_are_where_the_document_has_them(told):
    document, _, groups = told
    by_id = {group["id"]: group for group in groups}
    for feeder in document.tumours[0].feeders:
        (kind, line), (mark, start) = by_id[feeder.id]["places"][FEEDER["probability"]]
        assert (kind, mark) == ("POLYLINE", "POINT")
        np.testing.assert_allclose(line, feeder.centreline, atol=1e-3)
        np.testing.assert_allclose(start, [feeder.branch_start], atol=1e-3)
        ((_, place),) = by_id[feeder.id]["places"][TARGET["bifurcations"]]
        np.testing.assert_allclose(place, [(feeder.target.row, feeder.target.col)], atol=1e-3)


def test_every_group_names_the_frame_that_it_was_measured_on(told):
    document, _, groups = told
    frame = (document.source.sop_instance_uid, document.subtraction.reference_frame + 1)
    assert all(group["images"] == [frame] for group in groups)


@pytest.fixture(scope="module")
def segmented(run_result, origin_of, tmp_path_factory):
    """A report that refers to a segmentation, and that segmentation."""
    folder, origin = tmp_path_factory.mktemp("segmented"), origin_of(run_result)
    masks = folder / "seg.dcm"
    masks.write_bytes(segmentation_bytes(run_result, origin, mask_segments(run_result)))
    path = folder / "sr.dcm"
    path.write_bytes(run_report_bytes(run_document(run_result), origin, {}, read_segments(masks)))
    return path, pydicom.dcmread(masks)


@pytest.mark.slow
def test_tumours_and_feeders_name_their_segments_under_the_same_tracking_identifiers(told, segmented):
    document, _, plain = told
    path, masks = segmented
    groups = {group["id"]: group for group in report_groups(path)}
    named = {one.SegmentLabel: one for one in masks.SegmentSequence}
    things = [name for tumour in document.tumours for name in (tumour.id, *(one.id for one in tumour.feeders))]
    assert {name for name, group in groups.items() if "segment" in group} == set(things)
    for name in things:
        assert groups[name]["segment"] == (masks.SOPInstanceUID, named[name].SegmentNumber)
        assert groups[name]["uid"] == named[name].TrackingUID
    assert [group["numbers"] for group in plain] == [group["numbers"] for group in report_groups(path)]


def test_all_that_a_report_refers_to_is_among_its_evidence(told, segmented):
    path, masks = segmented
    ds = pydicom.dcmread(path)
    (study,) = ds.CurrentRequestedProcedureEvidenceSequence
    evidence = {
        (series.SeriesInstanceUID, one.ReferencedSOPInstanceUID)
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }
    source = told[0].source
    assert evidence == {
        (source.series_instance_uid, source.sop_instance_uid),
        (masks.SeriesInstanceUID, masks.SOPInstanceUID),
    }
    inside = {element.value for element in ds.iterall() if element.keyword == "ReferencedSOPInstanceUID"}
    assert inside == {instance for _, instance in evidence}


def test_the_image_library_has_the_run(told):
    document, path, _ = told
    said = said_by("dsrdump", "+Pl", "+Pu", str(path))
    library = said[said.index('"Image Library"') : said.index('"Imaging Measurements"')]
    assert document.source.sop_instance_uid in library
    assert "X-Ray Angiography" in library


def test_a_report_that_refers_to_segments_is_without_fault(segmented):
    assert complaints(segmented[0]) == []


def test_flags_and_their_sentences_are_told(told):
    document, _, groups = told
    flags = [value for name, value in groups[0]["answers"] if name == "Quality Issue"]
    assert flags == [name.replace("_", " ").capitalize() for name in document.quality]
    assert document.quality
    assert [text for name, text in groups[0]["texts"] if name == "Comment"] == document.quality_sentences


def test_version_and_weights_are_told(told):
    document, _, groups = told
    texts = dict(groups[0]["texts"])
    assert texts["Algorithm Version"] == document.software.version
    assert texts["Algorithm Parameters"].endswith("ab" * 32)


def test_a_run_in_which_nothing_was_found_has_a_report_too(run_maker, origin_of, tmp_path):
    result = run_maker(tumour=False, vessels=False, spacing=None)
    path = tmp_path / "sr.dcm"
    path.write_bytes(run_report_bytes(run_document(result), origin_of(result), {}))
    check_numbers(run_document(result), report_groups(path))
    assert complaints(path) == []


def test_a_validator_finds_no_fault_and_another_reader_prints_it(told):
    _, path, _ = told
    assert complaints(path) == []
    assert "Feeding artery of tumor" in said_by("dsrdump", str(path))
