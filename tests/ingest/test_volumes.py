"""A CT scan keeps its Hounsfield units and its place in the patient."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset

from angio_pipeline import ingest
from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.followups import CtVolume
from angio_pipeline.core.quality import Quality

Look = Callable[..., ingest.Discovery]


def only(found: ingest.Discovery) -> CtVolume:
    (item,) = found.volumes
    return ingest.read_volume(item)


def lps(volume: CtVolume, index: tuple[float, float, float]) -> Any:
    return (volume.affine @ np.array([*index, 1.0]))[:3]


def test_slices_are_sorted_by_place_not_by_name(dicom: Any, look: Look) -> None:
    dicom.ct_series([6, 0, 4, 2])
    volume = only(look(dicom.folder))
    assert volume.hu[:, 0, 0].tolist() == [0, 2, 4, 6]
    assert volume.spacing_mm == pytest.approx((2, 0.8, 0.7))
    assert lps(volume, (0, 0, 0)) == pytest.approx((-10, -20, 0))
    assert lps(volume, (3, 1, 2)) == pytest.approx((-10 + 2 * 0.7, -20 + 0.8, 6))
    assert volume.quality == Quality.NONE


def test_header_facts_reach_the_volume(dicom: Any, look: Look) -> None:
    dicom.ct_series([0, 1, 2], ConvolutionKernel=["B30f", "2"], ContrastBolusAgent="AGENT")
    volume = only(look(dicom.folder))
    assert (volume.kvp, volume.kernel, volume.clip_hu, volume.contrast) == (100, "B30f", 3071, True)
    assert volume.source.sop_instance_uid == ""
    assert volume.source.description == "S3"


@pytest.mark.parametrize(
    ("route", "contrast"), [("IV", True), ("ORAL", False), ("INTRAVENOUS", True), ("RECTAL", False)]
)
def test_only_a_venous_agent_is_contrast(dicom: Any, look: Look, route: str, contrast: bool) -> None:
    dicom.ct_series([0, 1, 2], ContrastBolusAgent="AGENT", ContrastBolusRoute=route)
    assert only(look(dicom.folder)).contrast is contrast


def test_a_missing_slice_is_interpolated_and_flagged(dicom: Any, look: Look) -> None:
    dicom.ct_series([0, 2, 4, 8, 10])
    volume = only(look(dicom.folder))
    assert volume.hu[:, 0, 0] == pytest.approx([0, 2, 4, 6, 8, 10])
    assert volume.spacing_mm[0] == pytest.approx(2)
    assert Quality.UNEVEN_SLICES in volume.quality


def test_uneven_slices_keep_every_voxel_at_its_place(dicom: Any, look: Look) -> None:
    dicom.ct_series([0, 2, 4.5, 6, 8])
    volume = only(look(dicom.folder))
    for index in range(len(volume.hu)):
        assert volume.hu[index, 0, 0] == pytest.approx(lps(volume, (index, 0, 0))[2], abs=0.55)
    assert Quality.UNEVEN_SLICES in volume.quality


def test_rounded_positions_are_even(dicom: Any, look: Look) -> None:
    dicom.ct_series([0, 1.25, 2.5, 3.7, 5.0])
    assert only(look(dicom.folder)).quality == Quality.NONE


def test_a_large_gap_is_refused_with_its_size(dicom: Any, look: Look) -> None:
    dicom.ct_series([0, 1, 2, 3, 60, 61, 62])
    with pytest.raises(InputRefused, match="a gap of 57 mm"):
        only(look(dicom.folder))


def test_a_tilted_gantry_shears_the_grid(dicom: Any, look: Look) -> None:
    tilt = np.deg2rad(20)
    orientation = (1, 0, 0, 0, np.cos(tilt), -np.sin(tilt))
    for index in range(4):
        dicom.ct_slice(f"{index}.dcm", (0, 0, 3 * index), np.zeros((6, 6)), orientation=orientation)
    volume = only(look(dicom.folder))
    assert lps(volume, (2, 0, 0)) == pytest.approx((0, 0, 6))
    assert volume.voxel_mm3 == pytest.approx(3 * np.cos(tilt) * 0.8 * 0.7)


def test_sagittal_slices_keep_their_axes(dicom: Any, look: Look) -> None:
    for index in range(3):
        dicom.ct_slice(f"{index}.dcm", (2 * index, 5, 7), np.full((4, 6), index), orientation=(0, 1, 0, 0, 0, -1))
    volume = only(look(dicom.folder))
    first = {round(float(volume.hu[index, 0, 0])): lps(volume, (index, 0, 0))[0] for index in range(3)}
    assert first == pytest.approx({0: 0, 1: 2, 2: 4})
    assert lps(volume, (0, 1, 0))[2] == pytest.approx(7 - 0.8)


@pytest.mark.parametrize(
    "window",
    [
        {"WindowCenter": 50, "WindowWidth": 400},
        {"WindowCenter": [300, -600], "WindowWidth": [1500, 1600], "WindowCenterWidthExplanation": ["BONE", "LUNG"]},
        {"WindowCenter": 0, "WindowWidth": 1, "VOILUTFunction": "SIGMOID"},
    ],
)
def test_a_window_changes_no_attenuation(dicom: Any, look: Look, window: dict[str, Any]) -> None:
    # A window is how a scan is shown; what is summed over it, and any ratio of sums, is the same.
    places = [float(z) for z in range(0, 30, 3)]
    plain = look(dicom.ct_series(places, folder="plain")[0].parent)
    shown = look(dicom.ct_series(places, folder="shown", **window)[0].parent)
    np.testing.assert_array_equal(*(ingest.read_volume(found.volumes[0]).hu for found in (plain, shown)))


def test_padding_becomes_air(dicom: Any, look: Look) -> None:
    values = np.full((8, 9), 40)
    values[0] = -3024 + 2000
    for index in range(3):
        dicom.ct_slice(f"{index}.dcm", (0, 0, index), values, PixelPaddingValue=0)
    volume = only(look(dicom.folder))
    assert (volume.hu[:, 0] == -1024).all()
    assert (volume.hu[:, 1:] == 40).all()


def test_a_padding_value_that_is_tissue_pads_nothing(dicom: Any, look: Look) -> None:
    for index in range(3):
        dicom.ct_slice(f"{index}.dcm", (0, 0, index), np.full((8, 9), 40), PixelPaddingValue=1064)
    assert (only(look(dicom.folder)).hu == 40).all()


def test_twelve_bit_clipping_is_seen_behind_wider_storage(dicom: Any, look: Look) -> None:
    values = np.full((8, 9), 40)
    values[2:4, 2:6] = 3071
    for index in range(3):
        dicom.ct_slice(f"{index}.dcm", (0, 0, index), values, BitsStored=16, HighBit=15)
    assert only(look(dicom.folder)).clip_hu == 3071


def test_values_without_a_scale_to_hounsfield_are_refused(dicom: Any, look: Look) -> None:
    for folder, tags in (
        ("a", {"RescaleSlope": None, "RescaleIntercept": None}),
        ("b", {"RescaleType": "US"}),
    ):
        dicom.ct_series([0, 1, 2], folder=folder, SeriesInstanceUID=f"1.2.{ord(folder)}", **tags)
    for item in look(dicom.folder).volumes:
        with pytest.raises(InputRefused, match="Hounsfield"):
            ingest.read_volume(item)


def test_fewer_than_three_slices_are_refused_one_by_one(dicom: Any, look: Look) -> None:
    dicom.ct_series([0, 1])
    found = look(dicom.folder)
    assert not found.volumes
    assert [refusal.reason for refusal in found.refusals] == ["too_few_slices"] * 2
    assert "found 2 CT slices" in found.refusals[0].sentence


def test_a_localizer_is_refused_and_the_series_read(dicom: Any, look: Look) -> None:
    dicom.ct_series([0, 1, 2])
    dicom.ct_slice("ct/scout.dcm", (0, 0, 50), np.zeros((8, 9)), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    found = look(dicom.folder)
    assert len(found.volumes) == 1
    assert [refusal.reason for refusal in found.refusals] == ["localizer"]


def test_phases_of_one_series_are_separate_scans_with_separate_folders(dicom: Any, look: Look) -> None:
    dicom.ct_series([0, 1, 2], folder="a", AcquisitionNumber=1)
    dicom.ct_series([0, 1, 2], folder="b", AcquisitionNumber=2)
    found = look(dicom.folder)
    assert len(found.volumes) == 2
    names = [ingest.series_folder(item.source) for item in found.volumes]
    assert len(set(names)) == 2
    assert {item.source.description for item in found.volumes} == {"S3 A1", "S3 A2"}


def test_a_second_slice_at_one_place_is_refused(dicom: Any, look: Look) -> None:
    dicom.ct_series([0, 1, 2])
    dicom.ct_slice("ct/again.dcm", (-10, -20, 1), np.full((8, 9), 99))
    found = look(dicom.folder)
    assert only(found).hu[1, 0, 0] == 1
    assert [refusal.reason for refusal in found.refusals] == ["conflicting_slice"]


def test_two_sizes_in_one_series_are_two_stacks(dicom: Any, look: Look) -> None:
    dicom.ct_series([0, 1, 2])
    for index in range(3):
        dicom.ct_slice(f"small{index}.dcm", (0, 0, index), np.zeros((4, 4)))
    assert sorted(item.shape for item in look(dicom.folder).volumes) == [(3, 4, 4), (3, 8, 9)]


def test_slices_without_geometry_are_refused(dicom: Any, look: Look) -> None:
    dicom.ct_series([0, 1, 2], ImagePositionPatient=None)
    assert {refusal.reason for refusal in look(dicom.folder).refusals} == {"no_geometry"}


def enhanced_ct(dicom: Any, places: list[float]) -> Path:
    groups = []
    for place in places:
        position, group = Dataset(), Dataset()
        position.ImagePositionPatient = [-10, -20, place]
        group.PlanePositionSequence = [position]
        groups.append(group)
    orientation, measures, scale, shared = Dataset(), Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing = [0.8, 0.7]
    scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = 1, -1024, "HU"
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    shared.PixelValueTransformationSequence = [scale]
    pixels = np.stack([np.full((8, 9), 1024 + place) for place in places]).astype(np.uint16)
    path: Path = dicom.projection(
        pixels,
        "enhanced.dcm",
        sop_class="1.2.840.10008.5.1.4.1.1.2.1",
        modality="CT",
        PerFrameFunctionalGroupsSequence=groups,
        SharedFunctionalGroupsSequence=[shared],
    )
    return path


@pytest.mark.parametrize("places", [[0, 2, 4, 6], [6, 4, 2, 0], [4, 0, 6, 2]])
def test_enhanced_ct_frames_are_sorted_by_place(dicom: Any, look: Look, places: list[float]) -> None:
    volume = only(look(enhanced_ct(dicom, places)))
    assert volume.hu[:, 0, 0].tolist() == [0, 2, 4, 6]
    assert lps(volume, (1, 0, 0)) == pytest.approx((-10, -20, 2))


@pytest.mark.slow
def test_a_real_series_equals_an_independent_reader(real_data: Path, tmp_path: Path) -> None:
    (item,) = ingest.discover([real_data / "ct_liver" / "dicom"], workspace=tmp_path).volumes
    volume = ingest.read_volume(item)
    reader = sitk.ImageSeriesReader()
    reader.SetNumberOfWorkUnits(1)
    reader.SetFileNames([str(path) for path in item.paths])
    image = reader.Execute()
    assert np.array_equal(volume.hu, sitk.GetArrayFromImage(image))
    for index in ((0, 0, 0), (19, 0, 0), (3, 100, 200)):
        assert lps(volume, index) == pytest.approx(image.TransformIndexToPhysicalPoint(index[::-1]))
    assert (volume.kvp, volume.contrast, volume.source.date) == (120, True, "20221208")


def test_real_padding_is_the_only_difference_to_an_independent_reader(real_data: Path, tmp_path: Path) -> None:
    found = ingest.discover([real_data / "ct_liver_seg"], workspace=tmp_path)
    (item,) = found.volumes
    volume = ingest.read_volume(item)
    stored = [pydicom.dcmread(path).pixel_array for path in item.paths]
    for plane, values in zip(volume.hu, stored, strict=True):
        padded = values == -2000
        assert np.array_equal(plane[~padded], values[~padded] - 1024.0)
        assert (plane[padded] == -1024).all()
