"""Maps as DICOM: the same floats, with unit and meaning, undefined where they are undefined."""

from __future__ import annotations

import io

import highdicom
import numpy as np
import pydicom
import pytest
from dicom_objects import complaints

from angio_pipeline.core.quality import Quality
from angio_pipeline.outputs.dicom.maps import arrival_bytes, peak_bytes


@pytest.mark.parametrize(
    ("make", "name", "unit"), [(arrival_bytes, "arrival_s", "s"), (peak_bytes, "peak", "1")], ids=["arrival", "peak"]
)
def test_another_reader_finds_the_same_values_with_their_unit(run_result, origin, make, name, unit):
    read = highdicom.pm.sop.pmread(io.BytesIO(make(run_result, origin)))
    values = getattr(run_result.maps, name)
    np.testing.assert_array_equal(read.pixel_array, values)
    frame = read.get_pixels_by_source_frame(origin.sop_instance, [run_result.subtracted.reference_frame + 1])[0]
    np.testing.assert_array_equal(frame, values)  # through the real world value mapping
    mapping = read.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    told = mapping.MeasurementUnitsCodeSequence[0]
    assert (told.CodeValue, told.CodingSchemeDesignator) == (unit, "UCUM")


def test_what_is_undefined_is_nan_and_nothing_else(run_result, origin):
    read = pydicom.dcmread(io.BytesIO(arrival_bytes(run_result, origin)))
    np.testing.assert_array_equal(np.isnan(read.pixel_array), np.isnan(run_result.maps.arrival_s))
    assert np.isnan(read.pixel_array).any()
    assert "FloatPixelPaddingValue" not in read


def test_a_run_without_times_has_no_map_of_them(run_maker, origin_of):
    result = run_maker(quality=Quality.TIMES_UNKNOWN)
    assert arrival_bytes(result, origin_of(result)) is None


def test_the_plane_stands_as_the_arm_stood(run_result, origin):
    read = pydicom.dcmread(io.BytesIO(peak_bytes(run_result, origin)))
    axes = read.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient
    right, down = np.array(axes[:3], float), np.array(axes[3:], float)
    to_detector = np.cross(down, right)
    # RAO 30: the detector stands to the patient's right and in front; cranial 10: above the level of the source.
    expected = (-np.sin(np.pi / 6), -np.cos(np.pi / 6))
    assert to_detector[:2] / np.linalg.norm(to_detector[:2]) == pytest.approx(expected)
    assert to_detector[2] == pytest.approx(np.sin(np.deg2rad(10)))


@pytest.mark.parametrize("make", [arrival_bytes, peak_bytes])
def test_a_validator_finds_no_fault(run_result, origin, tmp_path, make):
    path = tmp_path / "map.dcm"
    path.write_bytes(make(run_result, origin))
    assert complaints(path) == []
