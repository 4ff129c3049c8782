"""Structure sets keep the place and the volume of their contours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_items import item
from pydicom.dataset import Dataset

from angio_pipeline import ingest
from angio_pipeline.core.errors import InputRefused
from angio_pipeline.numerics import volumes as space

STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"


def circle(radius_mm: float, z_mm: float, tilt: float = 0.0) -> Dataset:
    turn = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    x, y = 40 + radius_mm * np.cos(turn), -25 + radius_mm * np.sin(turn)
    points = np.round(np.stack([x, y, z_mm + tilt * x], axis=1), 3)
    return item(ContourGeometricType="CLOSED_PLANAR", NumberOfContourPoints=90, ContourData=points.ravel().tolist())


def write(dicom: Any, contours: list[Dataset], name: str = "L1") -> Path:
    ds = dicom.base(STRUCTURE_SET, "RTSTRUCT")
    ds.StructureSetROISequence = [item(ROINumber=4, ROIName=name, ReferencedFrameOfReferenceUID="1.2.9")]
    ds.ROIContourSequence = [item(ReferencedROINumber=4, ContourSequence=contours)]
    series = item(RTReferencedSeriesSequence=[item(SeriesInstanceUID="1.2.3")])
    ds.ReferencedFrameOfReferenceSequence = [item(RTReferencedStudySequence=[series])]
    path: Path = dicom.save(ds, "structures.dcm")
    return path


def test_contours_become_a_region_of_their_volume_at_their_place(dicom: Any) -> None:
    (roi,) = ingest.read_rois([write(dicom, [circle(10, z) for z in (6.0, 3.0, 9.0)])]).volumes
    assert (roi.id, roi.series_instance_uid, roi.frame_of_reference_uid) == ("L1", "1.2.3", "1.2.9")
    voxel_mm3 = abs(np.linalg.det(roi.affine[:3, :3]))
    assert roi.mask.sum() * voxel_mm3 == pytest.approx(np.pi * 100 * 9, rel=0.03)
    middle = space.to_world(roi.affine, np.argwhere(roi.mask).mean(axis=0))
    assert middle == pytest.approx([40, -25, 6], abs=0.3)


def test_a_contour_within_another_is_a_hole(dicom: Any) -> None:
    (roi,) = ingest.read_rois([write(dicom, [circle(10, 0), circle(5, 0), circle(10, 3)])]).volumes
    hollow, full = (float(plane.sum()) for plane in roi.mask)
    assert hollow / full == pytest.approx(0.75, abs=0.03)


def test_a_name_that_could_be_a_person_s_is_no_id(dicom: Any) -> None:
    (roi,) = ingest.read_rois([write(dicom, [circle(10, 0), circle(10, 3)], name="John Doe")]).volumes
    assert roi.id == "S4"


@pytest.mark.parametrize(
    ("contours", "found"),
    [
        ([circle(10, 0, tilt=0.2)], "oblique"),
        ([circle(10, 0), circle(10, 3), circle(10, 7.4)], "uneven"),
        ([item(ContourGeometricType="POINT", ContourData=[0, 0, 0])], "none"),
        ([item(ContourGeometricType="CLOSED_PLANAR", ContourData=[0, 0, 0, 1, 1, 0])], "broken"),
    ],
)
def test_what_cannot_be_filled_is_refused(dicom: Any, contours: list[Dataset], found: str) -> None:
    with pytest.raises(InputRefused, match=found) as caught:
        ingest.read_rois([write(dicom, contours)])
    assert caught.value.reason == "bad_roi"


def test_a_structure_set_among_the_sources_is_a_region(dicom: Any, look: Any) -> None:
    found = look(write(dicom, [circle(10, 0), circle(10, 3)]))
    assert (len(found.rois), len(found.refusals)) == (1, 0)
