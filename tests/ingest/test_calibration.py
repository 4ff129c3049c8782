"""A spacing is reported in the plane where it holds, and never in a better one."""

import pytest
from pydicom.dataset import Dataset

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.geometry import SpacingPlane
from angio_pipeline.ingest.calibration import check_still, pixel_spacing, pose, table_position


def header(**tags: object) -> Dataset:
    ds = Dataset()
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    return ds


def test_imager_spacing_alone_holds_at_the_detector() -> None:
    spacing = pixel_spacing(header(ImagerPixelSpacing=[0.3, 0.2]))
    assert spacing is not None
    assert spacing.plane is SpacingPlane.DETECTOR
    assert (spacing.row_mm, spacing.col_mm) == (0.3, 0.2)


def test_source_distances_carry_the_detector_spacing_to_the_isocentre() -> None:
    ds = header(ImagerPixelSpacing=[0.3, 0.3], DistanceSourceToDetector=1200, DistanceSourceToPatient=800)
    spacing = pixel_spacing(ds)
    assert spacing is not None
    assert spacing.plane is SpacingPlane.ISOCENTRE
    assert spacing.row_mm == pytest.approx(0.2)


def test_doubling_the_magnification_halves_the_spacing() -> None:
    rows = []
    for factor in (1.2, 2.4):
        spacing = pixel_spacing(header(ImagerPixelSpacing=[0.3, 0.3], EstimatedRadiographicMagnificationFactor=factor))
        assert spacing is not None
        rows.append(spacing.row_mm)
    assert rows[0] == pytest.approx(2 * rows[1])


def test_distances_that_contradict_the_magnification_calibrate_nothing() -> None:
    ds = header(
        ImagerPixelSpacing=[0.3, 0.3],
        DistanceSourceToDetector=1200,
        DistanceSourceToPatient=800,
        EstimatedRadiographicMagnificationFactor=1.1,
    )
    spacing = pixel_spacing(ds)
    assert spacing is not None
    assert spacing.plane is SpacingPlane.DETECTOR
    assert "contradict" in spacing.how


@pytest.mark.parametrize(("sid", "sod"), [(800, 1200), (0, 800), (1200, 0), (9000, 100)])
def test_impossible_distances_calibrate_nothing(sid: float, sod: float) -> None:
    ds = header(ImagerPixelSpacing=[0.3, 0.3], DistanceSourceToDetector=sid, DistanceSourceToPatient=sod)
    spacing = pixel_spacing(ds)
    assert spacing is not None
    assert spacing.plane is SpacingPlane.DETECTOR


@pytest.mark.parametrize("kind", ["GEOMETRY", "FIDUCIAL"])
def test_a_named_calibration_beats_the_detector(kind: str) -> None:
    ds = header(ImagerPixelSpacing=[0.3, 0.3], PixelSpacing=[0.21, 0.21], PixelSpacingCalibrationType=kind)
    spacing = pixel_spacing(ds)
    assert spacing is not None
    assert spacing.plane is SpacingPlane.CALIBRATED
    assert spacing.row_mm == 0.21


def test_unexplained_pixel_spacing_is_not_believed_in_the_patient() -> None:
    spacing = pixel_spacing(header(PixelSpacing=[0.2, 0.2]))
    assert spacing is not None
    assert spacing.plane is SpacingPlane.DETECTOR


@pytest.mark.parametrize("broken", [[0, 0], [0.3], [-0.3, 0.3], [99, 99]])
def test_a_broken_spacing_is_none(broken: list[float]) -> None:
    assert pixel_spacing(header(ImagerPixelSpacing=broken)) is None


def test_enhanced_objects_tell_spacing_and_pose_in_their_functional_groups() -> None:
    shared = header(
        FramePixelDataPropertiesSequence=[header(ImagerPixelSpacing=[0.3, 0.3])],
        XRayGeometrySequence=[header(DistanceSourceToDetector=1200.0, DistanceSourceToIsocenter=800.0)],
    )
    frame = header(PositionerPositionSequence=[header(PositionerPrimaryAngle=-20.0, PositionerSecondaryAngle=15.0)])
    ds = header(SharedFunctionalGroupsSequence=[shared], PerFrameFunctionalGroupsSequence=[frame])
    spacing, found = pixel_spacing(ds), pose(ds)
    assert spacing is not None
    assert found is not None
    assert (spacing.plane, spacing.row_mm) == (SpacingPlane.ISOCENTRE, pytest.approx(0.2))
    assert (found.primary_deg, found.secondary_deg, found.sid_mm, found.sod_mm) == (-20, 15, 1200, 800)


def test_pose_needs_both_angles() -> None:
    assert pose(header(PositionerPrimaryAngle=30)) is None


def test_table_position_needs_all_three_coordinates() -> None:
    ds = header(TableTopVerticalPosition=10.0, TableTopLongitudinalPosition=20.0)
    assert table_position(ds) is None
    ds.TableTopLateralPosition = -3.0
    assert table_position(ds) == (10, 20, -3)


def test_a_rotational_run_is_refused() -> None:
    ds = header(PositionerMotion="DYNAMIC", PositionerPrimaryAngleIncrement=[0.0, *[1.5] * 20])
    with pytest.raises(InputRefused, match="found 30 degrees"):
        check_still(ds)


def test_a_moving_table_is_refused() -> None:
    ds = header(TableMotion="DYNAMIC", TableLongitudinalIncrement=[0.0, 20.0, 40.0])
    with pytest.raises(InputRefused, match="60 mm"):
        check_still(ds)


def test_a_trembling_arm_is_at_rest() -> None:
    check_still(header(PositionerMotion="DYNAMIC", PositionerPrimaryAngleIncrement=[0.0, 0.1, -0.1]))
    check_still(header(PositionerMotion="STATIC", PositionerPrimaryAngleIncrement=[0.0, 90.0]))
