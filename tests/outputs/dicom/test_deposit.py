"""A deposit as DICOM is read by others where it lies."""

from __future__ import annotations

import io
from dataclasses import replace

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_objects import complaints, ct_headers, said_by

from angio_pipeline import ingest
from angio_pipeline.outputs.dicom.deposit import deposit_bytes
from angio_pipeline.outputs.dicom.origin import Origin


@pytest.fixture
def point(follow_up_maker):
    return follow_up_maker().lesions[0].timepoints[0]


@pytest.fixture(params=["with headers", "without headers"])
def origin(point, request):
    headers = ct_headers(point.deposit, point.source) if request.param == "with headers" else ()
    return Origin(point.source, headers)


def test_another_reader_finds_the_deposit_s_voxels(point, origin):
    read = highdicom.seg.segread(io.BytesIO(deposit_bytes(point.deposit, origin, "L1")))
    assert read.get_segment_description(1).segment_label == "L1"
    planes = point.deposit.mask[point.deposit.mask.any(axis=(1, 2))]
    np.testing.assert_array_equal(read.pixel_array.reshape(planes.shape) > 0, planes)


def test_a_second_reader_finds_them_at_the_same_place(point, origin, tmp_path):
    path = tmp_path / "deposit.dcm"
    path.write_bytes(deposit_bytes(point.deposit, origin, "L1"))
    said_by("segimage2itkimage", "--inputDICOM", str(path), "--outputDirectory", str(tmp_path), "--prefix", "L1")
    image = sitk.ReadImage(str(tmp_path / "L1-1.nrrd"))
    found = np.argwhere(sitk.GetArrayFromImage(image) > 0)
    placed = [image.TransformIndexToPhysicalPoint([int(k) for k in voxel[::-1]]) for voxel in found]
    voxels = np.argwhere(point.deposit.mask)
    true = (point.deposit.affine @ np.column_stack([voxels, np.ones(len(voxels))]).T)[:3].T
    np.testing.assert_allclose(sorted(placed), sorted(map(tuple, true)), atol=1e-4)


def test_each_frame_names_the_slice_that_it_lies_on(point):
    headers = ct_headers(point.deposit, point.source)
    read = highdicom.seg.segread(io.BytesIO(deposit_bytes(point.deposit, Origin(point.source, headers), "L1")))
    names = [header.SOPInstanceUID for header in headers]
    found = read.get_pixels_by_source_instance(names, segment_numbers=[1], assert_missing_frames_are_empty=True)
    np.testing.assert_array_equal(found[..., 0] > 0, point.deposit.mask)


@pytest.mark.parametrize("tilt", [0.0, 0.8])
@pytest.mark.parametrize("told", [True, False])
def test_it_comes_back_as_a_region_at_its_place(point, tmp_path, tilt, told):
    affine = point.deposit.affine.copy()
    affine[1, 0] += tilt  # the step along the slices leans, as with a tilted gantry
    deposit = replace(point.deposit, affine=affine, frame_of_reference_uid="1.2.7")
    path = tmp_path / "deposit-L1.dcm"
    origin = Origin(point.source, ct_headers(deposit, point.source) if told else ())
    path.write_bytes(deposit_bytes(deposit, origin, "L1"))
    (roi,) = ingest.read_rois([path]).volumes
    assert (roi.id, roi.frame_of_reference_uid) == ("L1", "1.2.7")
    placed = roi.affine @ np.append(np.argwhere(roi.mask).mean(axis=0), 1)
    true = affine @ np.append(np.argwhere(deposit.mask).mean(axis=0), 1)
    np.testing.assert_allclose(placed, true, atol=1e-3)
    assert roi.mask.sum() == deposit.mask.sum()


def test_it_names_the_pseudonym_alone_and_repeats_exactly(point, origin):
    content = deposit_bytes(point.deposit, origin, "L1")
    assert content == deposit_bytes(point.deposit, origin, "L1")
    ds = pydicom.dcmread(io.BytesIO(content))
    assert (str(ds.PatientName), ds.PatientID) == (point.source.subject,) * 2


def test_a_validator_finds_no_fault(point, origin, tmp_path):
    path = tmp_path / "deposit.dcm"
    path.write_bytes(deposit_bytes(point.deposit, origin, "L1"))
    assert complaints(path) == []


def test_an_empty_deposit_has_none(point, origin):
    empty = replace(point.deposit, mask=np.zeros_like(point.deposit.mask))
    with pytest.raises(ValueError, match="a voxel in it"):
        deposit_bytes(empty, origin, "L1")
