"""Pictures for any viewer: the overlay as it is, and the run as a cine at its own speed."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pydicom
import pytest
from dicom_objects import complaints

from angio_pipeline.core.quality import Quality
from angio_pipeline.outputs.dicom.captures import cine_bytes, summary_bytes
from angio_pipeline.outputs.overlay import overlay_picture
from angio_pipeline.outputs.pictures import write_png


@pytest.fixture(scope="module")
def cine(run_result, origin_of):
    return cine_bytes(run_result, origin_of(run_result))


def test_the_summary_is_the_overlay_as_it_was_drawn(run_result, origin, tmp_path):
    drawn = np.random.default_rng(0).integers(0, 256, (31, 47, 3), dtype=np.uint8)
    write_png(tmp_path / "overlay.png", drawn)
    read = pydicom.dcmread(io.BytesIO(summary_bytes(run_result, origin, tmp_path / "overlay.png")))
    np.testing.assert_array_equal(read.pixel_array, drawn)


@pytest.mark.slow
def test_without_a_picture_the_overlay_is_drawn(run_result, origin, tmp_path):
    read = pydicom.dcmread(io.BytesIO(summary_bytes(run_result, origin, tmp_path / "none.png")))
    np.testing.assert_array_equal(read.pixel_array, overlay_picture(run_result))


def test_the_cine_runs_at_the_times_of_the_run(run_result, cine):
    read = pydicom.dcmread(io.BytesIO(cine))
    assert read.NumberOfFrames == len(run_result.run.times_s)
    seconds = np.cumsum([float(step) for step in read.FrameTimeVector]) / 1000
    np.testing.assert_allclose(seconds, run_result.run.times_s, atol=1e-6)


def test_each_frame_of_the_cine_decodes_to_grey_with_coloured_lines(run_result, cine):
    read = pydicom.dcmread(io.BytesIO(cine))
    frames = read.pixel_array  # converted to RGB
    assert frames.shape == (*run_result.run.shape, 3)
    colour = np.ptp(frames.astype(int), axis=-1) > 60
    target = run_result.tumours[0].targets[0]
    near = np.hypot(*(np.indices(colour.shape[1:]) - np.array([target.row, target.col])[:, None, None]))
    assert colour[:, np.abs(near - 6) < 1].mean() > 0.3
    outside = cv2.dilate(run_result.tumours[0].mask.astype(np.uint8), np.ones((9, 9))) == 0
    corner = outside & (np.indices(outside.shape)[0] < 20)
    assert not colour[:, corner].any()


def test_the_cine_says_that_it_lost_something(cine):
    read = pydicom.dcmread(io.BytesIO(cine))
    assert (read.LossyImageCompression, read.LossyImageCompressionMethod) == ("01", "ISO_10918_1")


def test_a_run_without_times_is_shown_a_frame_a_second(run_maker, origin_of):
    result = run_maker(quality=Quality.TIMES_UNKNOWN)
    read = pydicom.dcmread(io.BytesIO(cine_bytes(result, origin_of(result))))
    assert {float(step) for step in read.FrameTimeVector[1:]} == {1000.0}


@pytest.mark.slow
def test_a_validator_finds_no_fault(run_result, origin, cine, tmp_path):
    for name, content in (("cine", cine), ("summary", summary_bytes(run_result, origin, tmp_path / "none.png"))):
        path = tmp_path / f"{name}.dcm"
        path.write_bytes(content)
        assert complaints(path) == [], name
