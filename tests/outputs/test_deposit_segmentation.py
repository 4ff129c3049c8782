"""A deposit as DICOM is read by others where it lies."""

from __future__ import annotations

import io
from dataclasses import replace

import highdicom
import numpy as np
import pydicom
import pytest

from angio_pipeline import ingest
from angio_pipeline.outputs.deposit_segmentation import segmentation_bytes


@pytest.fixture
def point(follow_up_maker):
    return follow_up_maker().lesions[0].timepoints[0]


def test_another_reader_finds_the_deposit_s_voxels(point):
    read = highdicom.seg.segread(io.BytesIO(segmentation_bytes(point.deposit, point.source, "L1")))
    assert read.get_segment_description(1).segment_label == "L1"
    planes = point.deposit.mask[point.deposit.mask.any(axis=(1, 2))]
    np.testing.assert_array_equal(read.pixel_array.reshape(planes.shape) > 0, planes)


@pytest.mark.parametrize("tilt", [0.0, 0.8])
def test_it_comes_back_as_a_region_at_its_place(point, tmp_path, tilt):
    affine = point.deposit.affine.copy()
    affine[1, 0] += tilt  # the step along the slices leans, as with a tilted gantry
    deposit = replace(point.deposit, affine=affine, frame_of_reference_uid="1.2.7")
    path = tmp_path / "deposit-L1.dcm"
    path.write_bytes(segmentation_bytes(deposit, point.source, "L1"))
    (roi,) = ingest.read_rois([path]).volumes
    assert (roi.id, roi.frame_of_reference_uid) == ("L1", "1.2.7")
    told = roi.affine @ np.append(np.argwhere(roi.mask).mean(axis=0), 1)
    true = affine @ np.append(np.argwhere(deposit.mask).mean(axis=0), 1)
    np.testing.assert_allclose(told, true, atol=1e-3)
    assert roi.mask.sum() == deposit.mask.sum()


def test_it_names_the_pseudonym_alone_and_repeats_exactly(point):
    content = segmentation_bytes(point.deposit, point.source, "L1")
    assert content == segmentation_bytes(point.deposit, point.source, "L1")
    ds = pydicom.dcmread(io.BytesIO(content))
    assert (str(ds.PatientName), ds.PatientID) == ("", point.source.subject)


def test_an_empty_deposit_has_none(point):
    empty = replace(point.deposit, mask=np.zeros_like(point.deposit.mask))
    with pytest.raises(ValueError, match="a voxel in it"):
        segmentation_bytes(empty, point.source, "L1")
