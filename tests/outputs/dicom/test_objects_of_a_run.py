"""One real analysis, every object of it opened by other people's software."""

from __future__ import annotations

import json

import cv2
import highdicom
import numpy as np
import pydicom
import pytest
from dicom_objects import complaints, report_groups, said_by
from report_numbers import check_numbers

from angio_pipeline import ingest
from angio_pipeline.outputs.schemas import RunDocument

pytestmark = pytest.mark.slow

KINDS = ("seg", "sr", "summary", "probability", "arrival", "peak", "presentation", "cine", "subtracted")


@pytest.fixture(scope="module")
def document(analysed) -> RunDocument:
    return RunDocument.model_validate_json((analysed / "analysis.json").read_bytes())


def test_all_objects_are_there(analysed):
    assert sorted(path.stem for path in analysed.glob("*.dcm")) == sorted(KINDS)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "presentation"])
def test_a_validator_finds_no_fault(analysed, kind):
    assert complaints(analysed / f"{kind}.dcm") == []


def test_the_masks_are_those_of_the_pictures(analysed, document):
    read = highdicom.seg.segread(analysed / "seg.dcm")
    frame = document.subtraction.reference_frame + 1
    masks = read.get_pixels_by_source_frame(document.source.sop_instance_uid, [frame])[0] > 0
    labels = [read.get_segment_description(number).segment_label for number in read.segment_numbers]
    names = {"Artery": "artery.png", "Vein": document.vessels.vein_mask, "Catheter": document.vessels.catheter_mask}
    names |= {tumour.id: tumour.mask for tumour in document.tumours}
    compared = 0
    for number, label in enumerate(labels):
        if names.get(label):
            picture = cv2.imread(str(analysed / names[label]), cv2.IMREAD_GRAYSCALE) > 0
            np.testing.assert_array_equal(masks[..., number], picture, err_msg=label)
            compared += 1
    assert compared == sum(name is not None for name in names.values())
    assert set(labels) - set(names) == {feeder.id for tumour in document.tumours for feeder in tumour.feeders}


def test_the_maps_are_those_of_the_archive(analysed):
    with np.load(analysed / "maps.npz") as maps:
        for kind, name in (("arrival", "arrival_s"), ("peak", "peak")):
            read = highdicom.pm.sop.pmread(analysed / f"{kind}.dcm")
            np.testing.assert_array_equal(read.pixel_array, maps[name])


def test_the_report_s_numbers_are_those_of_the_document(analysed, document):
    assert check_numbers(document, report_groups(analysed / "sr.dcm")) > 50


def test_the_weights_that_were_used_are_told(analysed):
    from angio_pipeline.networks.manifest import model_entry

    texts = [text for _, text in report_groups(analysed / "sr.dcm")[0]["texts"]]
    assert any(text.endswith(model_entry("run").sha256) for text in texts)


def test_other_software_reads_report_state_and_pictures(analysed, tmp_path):
    assert "Imaging Measurement Report" in said_by("dsrdump", str(analysed / "sr.dcm"))
    assert "Test passed" in said_by("dcmpschk", str(analysed / "presentation.dcm"))
    for kind in ("seg", "probability", "summary", "cine", "subtracted"):
        picture = tmp_path / f"{kind}.ppm"
        said_by("dcmj2pnm", str(analysed / f"{kind}.dcm"), str(picture))
        ds = pydicom.dcmread(analysed / f"{kind}.dcm", stop_before_pixels=True)
        assert cv2.imread(str(picture)).shape[:2] == (ds.Rows, ds.Columns)


def test_what_an_archive_gives_back_is_no_new_input(analysed, sample, tmp_path):
    run = next(sample.glob("*/dicom/day000/frontal.dcm"))
    found = ingest.discover([run, analysed], workspace=tmp_path)
    assert len(found.runs) == 1
    assert found.rois == ()
    own = [refusal for refusal in found.refusals if refusal.reason == "own_result"]
    assert len(own) == len(KINDS)


def test_a_second_reader_of_reports_finds_every_measurement(analysed, tmp_path):
    told = tmp_path / "report.json"
    said_by("tid1500reader", "--inputDICOM", str(analysed / "sr.dcm"), "--outputMetadata", str(told))
    found = [group["measurementItems"] for group in json.loads(told.read_text())["Measurements"]]
    groups = report_groups(analysed / "sr.dcm")
    wanted = [sum(len(values) for values in group["numbers"].values()) for group in groups]
    assert [len(items) for items in found] == wanted
