"""A run's masks as DICOM: every pixel comes back, named, upon the frame that it lies on."""

from __future__ import annotations

import io
from dataclasses import replace

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_objects import complaints

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.ingest import read_rois
from angio_pipeline.outputs.dicom.segmentation import (
    feeder_mask,
    mask_segments,
    probability_segments,
    segmentation_bytes,
)


def with_all_masks(result):
    rng = np.random.default_rng(1)
    shape = result.vessels.artery.shape
    vein, catheter = rng.random(shape) < 0.1, rng.random(shape) < 0.01
    blush = rng.random(shape).astype(np.float32)
    return replace(
        result,
        vessels=replace(result.vessels, vein=vein, catheter=catheter, blush=blush, vein_probability=blush[::-1].copy()),
    )


@pytest.mark.parametrize("size", [256, 91])  # 91 x 91 bits end within a byte
def test_every_mask_comes_back_pixel_for_pixel(run_maker, origin_of, size):
    result = with_all_masks(run_maker(size=size))
    segments = mask_segments(result)
    origin = origin_of(result)
    read = highdicom.seg.segread(io.BytesIO(segmentation_bytes(result, origin, segments)))
    frame = result.subtracted.reference_frame + 1
    masks = read.get_pixels_by_source_frame(origin.sop_instance, [frame])[0] > 0
    labels = [read.get_segment_description(number).segment_label for number in read.segment_numbers]
    assert labels == ["Artery", "Vein", "Catheter", "T1", *(one.id for one in result.tumours[0].feeders)]
    for number, segment in enumerate(segments):
        np.testing.assert_array_equal(masks[..., number], segment.values, err_msg=segment.label)


def test_the_whole_run_as_source_gives_the_same_pixels(run_result, origin):
    read = highdicom.seg.segread(io.BytesIO(segmentation_bytes(run_result, origin, mask_segments(run_result))))
    masks = read.get_pixels_by_source_instance([origin.sop_instance])[0]
    np.testing.assert_array_equal(masks[..., 0] > 0, run_result.vessels.artery)


def test_a_third_reader_sees_the_same_masks(run_result, origin, tmp_path):
    path = tmp_path / "seg.dcm"
    path.write_bytes(segmentation_bytes(run_result, origin, mask_segments(run_result)))
    read = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    np.testing.assert_array_equal(read[0] > 0, run_result.vessels.artery)
    np.testing.assert_array_equal(read[1] > 0, run_result.tumours[0].mask)


def test_probabilities_come_back_to_half_a_step(run_result, origin):
    result = with_all_masks(run_result)
    segments = probability_segments(result)
    read = highdicom.seg.segread(io.BytesIO(segmentation_bytes(result, origin, segments)))
    frame = result.subtracted.reference_frame + 1
    values = read.get_pixels_by_source_frame(origin.sop_instance, [frame])[0]
    assert [read.get_segment_description(n).segment_label for n in read.segment_numbers] == ["Artery", "Vein", "Blush"]
    for number, segment in enumerate(segments):
        np.testing.assert_allclose(values[..., number], segment.values, atol=0.5 / 255 + 1e-6)


def test_a_feeder_s_segment_is_its_own_branch_as_wide_as_it_is(run_result):
    feeder = run_result.tumours[0].feeders[0]
    shape = run_result.vessels.artery.shape
    wide = feeder_mask(replace(feeder, diameter_px=9.0), shape)
    start, end = feeder.centreline[feeder.own_start], feeder.centreline[-1]
    rows, cols = np.nonzero(wide)
    own = feeder.centreline[feeder.own_start :]
    gap = np.hypot(rows[:, None] - own[:, 0], cols[:, None] - own[:, 1]).min(axis=1)
    length = np.linalg.norm(np.diff(own, axis=0), axis=1).sum()
    assert gap.max() < 4.5 + 1.5
    assert wide[tuple(np.rint(start).astype(int))]
    assert wide[tuple(np.rint(end).astype(int))]
    assert wide.sum() == pytest.approx(9 * length + np.pi * 4.5**2, rel=0.12)


def test_what_was_drawn_names_no_algorithm(run_maker, origin_of):
    from angio_pipeline.core.tumours import LesionOrigin

    result = run_maker(origin=LesionOrigin.ROI)
    read = pydicom.dcmread(io.BytesIO(segmentation_bytes(result, origin_of(result), mask_segments(result))))
    kinds = {one.SegmentLabel: one.SegmentAlgorithmType for one in read.SegmentSequence}
    assert (kinds["T1"], kinds["Artery"]) == ("MANUAL", "AUTOMATIC")
    assert not any("SegmentAlgorithmName" in one for one in read.SegmentSequence if one.SegmentLabel == "T1")


def test_only_its_tumours_come_back_as_regions(run_result, origin, tmp_path):
    path = tmp_path / "seg.dcm"
    path.write_bytes(segmentation_bytes(run_result, origin, mask_segments(run_result)))
    (roi,) = read_rois([path]).films
    assert (roi.id, roi.sop_instance_uid) == ("T1", run_result.run.source.sop_instance_uid)
    np.testing.assert_array_equal(roi.mask, run_result.tumours[0].mask)


def test_vessels_alone_are_no_region(run_result, origin, tmp_path):
    path = tmp_path / "seg.dcm"
    path.write_bytes(segmentation_bytes(run_result, origin, mask_segments(run_result)[:1]))
    with pytest.raises(InputRefused, match="of lesions"):
        read_rois([path])


@pytest.mark.parametrize("segments_of", [mask_segments, probability_segments])
def test_a_validator_finds_no_fault(run_result, origin, tmp_path, segments_of):
    path = tmp_path / "seg.dcm"
    path.write_bytes(segmentation_bytes(run_result, origin, segments_of(run_result)))
    assert complaints(path) == []


def test_without_a_segment_there_is_none(run_result, origin):
    with pytest.raises(ValueError, match="at least one segment"):
        segmentation_bytes(run_result, origin, [])
