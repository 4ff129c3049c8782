"""Regions keep their shape, their place and the image they were drawn on."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import cv2
import highdicom
import numpy as np
import pytest
import SimpleITK as sitk
from dicom_items import item
from pydicom.dataset import Dataset

from angio_pipeline import ingest
from angio_pipeline.core.errors import InputRefused

SEG = "1.2.840.10008.5.1.4.1.1.66.4"
UID = "1.2.826.0.1.3680043.8.498.1"


def blob(rows: int = 20, columns: int = 30) -> Any:
    mask = np.zeros((rows, columns), dtype=np.bool_)
    mask[5:11, 7:19] = True
    return mask


def write_png(path: Path, mask: Any) -> Path:
    assert cv2.imwrite(str(path), mask.astype(np.uint8) * 255)
    return path


def write_seg(
    dicom: Any, masks: list[Any], groups: list[Dataset], *, labels: tuple[str, ...] = ("L1",), **tags: Any
) -> Path:
    ds = dicom.base(SEG, "SEG")
    ds.Rows, ds.Columns = masks[0].shape
    ds.NumberOfFrames, ds.SamplesPerPixel, ds.PhotometricInterpretation = len(masks), 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 1, 1, 0, 0
    ds.SegmentationType = "BINARY"
    ds.SegmentSequence = [item(SegmentNumber=n + 1, SegmentLabel=label) for n, label in enumerate(labels)]
    ds.PerFrameFunctionalGroupsSequence = groups
    packed = np.packbits(np.stack(masks).ravel(), bitorder="little").tobytes()
    ds.PixelData = packed + b"\0" * (len(packed) % 2)
    ds["PixelData"].VR = "OB"
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    path: Path = dicom.save(ds, "seg.dcm")
    return path


def in_space(place: float, segment: int = 1) -> Dataset:
    return item(
        PlanePositionSequence=[item(ImagePositionPatient=[1, 2, place])],
        PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        PixelMeasuresSequence=[item(PixelSpacing=[0.8, 0.7], SpacingBetweenSlices=2.0, SliceThickness=2.0)],
        SegmentIdentificationSequence=[item(ReferencedSegmentNumber=segment)],
    )


def on_film(uid: str, segment: int = 1) -> Dataset:
    source = item(SourceImageSequence=[item(ReferencedSOPInstanceUID=uid)])
    return item(DerivationImageSequence=[source], SegmentIdentificationSequence=[item(ReferencedSegmentNumber=segment)])


def test_a_png_names_its_image_and_its_lesion(tmp_path: Path) -> None:
    plain = write_png(tmp_path / f"{UID}.png", blob())
    named = write_png(tmp_path / f"{UID}-T2.png", ~blob())
    first, second = ingest.read_rois([plain, named]).films
    assert (first.sop_instance_uid, second.sop_instance_uid) == (UID, UID)
    assert (first.id, second.id) == ("R1", "T2")
    assert np.array_equal(first.mask, blob())
    assert np.array_equal(second.mask, ~blob())


def test_a_coloured_png_mask_is_read(tmp_path: Path) -> None:
    path = tmp_path / f"{UID}.png"
    red = np.zeros((20, 30, 3), dtype=np.uint8)
    red[blob(), 2] = 255
    assert cv2.imwrite(str(path), red)
    assert np.array_equal(ingest.read_rois([path]).films[0].mask, blob())


@pytest.mark.parametrize("name", ["lesion.png", "IM1-x.png", ".png"])
def test_a_png_of_another_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputRefused, match="SOP Instance UID"):
        ingest.read_rois([write_png(tmp_path / name, blob())])


def test_a_photograph_is_no_mask(tmp_path: Path) -> None:
    path = tmp_path / f"{UID}.png"
    assert cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (20, 30)).astype(np.uint8))
    with pytest.raises(InputRefused, match="grey values"):
        ingest.read_rois([path])


def test_broken_and_huge_pngs_are_refused(tmp_path: Path) -> None:
    path = write_png(tmp_path / f"{UID}.png", blob())
    content = path.read_bytes()
    for damaged in (content[:40], content[:16] + b"\x00\x01\x00\x00" * 2 + content[24:], b"PNG", b""):
        path.write_bytes(damaged)
        with pytest.raises(InputRefused) as caught:
            ingest.read_rois([path])
        assert caught.value.reason == "bad_roi"


def test_a_segmentation_in_space_keeps_its_place_and_its_left_out_slices(dicom: Any) -> None:
    masks = [blob(), ~blob(), blob()]
    groups = [in_space(10.0), in_space(6.0), in_space(16.0)]
    path = write_seg(dicom, masks, groups, ReferencedSeriesSequence=[item(SeriesInstanceUID="1.2.3")])
    (roi,) = ingest.read_rois([path]).volumes
    assert roi.id == "L1"
    assert roi.series_instance_uid == "1.2.3"
    assert roi.mask.shape == (6, 20, 30)
    assert [int(plane.sum()) for plane in roi.mask] == [528, 0, 72, 0, 0, 72]
    assert np.allclose(roi.affine[:3, 3], (1, 2, 6))
    assert np.allclose(np.linalg.norm(roi.affine[:3, :3], axis=0), (2, 0.8, 0.7))


def test_segments_are_separate_lesions_and_labels_that_could_be_names_are_not_ids(dicom: Any) -> None:
    masks, groups = [blob(), ~blob()], [in_space(0.0, 1), in_space(2.0, 2)]
    path = write_seg(dicom, masks, groups, labels=("L 7", "John Doe"))
    assert [roi.id for roi in ingest.read_rois([path]).volumes] == ["L7", "S2"]


def test_a_segmentation_on_a_projection_is_a_film_roi(dicom: Any) -> None:
    masks = [blob(7, 9) | True, np.eye(7, 9, dtype=np.bool_), np.eye(7, 9, 2, dtype=np.bool_)]
    path = write_seg(dicom, masks, [on_film("1.2.3"), on_film("1.2.4"), on_film("1.2.4")])
    rois = ingest.read_rois([path])
    assert not rois.volumes
    by_uid = {roi.sop_instance_uid: roi.mask for roi in rois.films}
    assert by_uid["1.2.3"].all()
    assert np.array_equal(by_uid["1.2.4"], masks[1] | masks[2])


def test_a_fractional_segmentation_counts_from_half(dicom: Any) -> None:
    path = write_seg(dicom, [blob()], [on_film("1.2.3")])
    import pydicom

    ds = pydicom.dcmread(path)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.SegmentationType, ds.MaximumFractionalValue = "FRACTIONAL", 200
    values = np.where(blob(), 120, 90).astype(np.uint8)
    ds.PixelData = values.tobytes()
    ds.save_as(path)
    assert np.array_equal(ingest.read_rois([path]).films[0].mask, blob())


def test_a_nifti_volume_keeps_its_place_in_patient_coordinates(tmp_path: Path) -> None:
    labels = np.zeros((4, 5, 6), dtype=np.uint8)
    labels[1:3, 2, 3:5] = 1
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing((0.7, 0.8, 2.0))
    image.SetOrigin((-10, 20, 30))
    image.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    for name in ("L1.nii", "L1.nii.gz"):
        sitk.WriteImage(image, str(tmp_path / name))
        (roi,) = ingest.read_rois([tmp_path / name]).volumes
        assert roi.id == "L1"
        assert np.array_equal(roi.mask, labels == 1)
        for index in ((0, 0, 0), (3, 4, 5), (1, 2, 3)):
            want = image.TransformIndexToPhysicalPoint(index[::-1])
            assert np.allclose((roi.affine @ np.array([*index, 1.0]))[:3], want, atol=1e-4)


def test_every_label_of_a_nifti_is_a_lesion(tmp_path: Path) -> None:
    labels = np.zeros((3, 5, 6), dtype=np.uint8)
    labels[1, 2], labels[1, 3] = 1, 4
    sitk.WriteImage(sitk.GetImageFromArray(labels), str(tmp_path / "two lesions.nii"))
    assert [roi.id for roi in ingest.read_rois([tmp_path / "two lesions.nii"]).volumes] == [
        "twolesions-1",
        "twolesions-4",
    ]


def test_broken_niftis_are_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.nii.gz"
    for content in (b"not a nifti", b"\x1f\x8b broken", b""):
        path.write_bytes(content)
        with pytest.raises(InputRefused) as caught:
            ingest.read_rois([path])
        assert caught.value.reason == "bad_roi"
    assert capfd.readouterr().err == ""


def test_another_dicom_object_is_no_region(dicom: Any) -> None:
    with pytest.raises(InputRefused, match="another DICOM object"):
        ingest.read_rois([dicom.run()])


def test_loose_masks_count_only_in_a_folder_named_rois(dicom: Any, look: Any) -> None:
    write_png(dicom.folder / f"{UID}.png", blob())
    (dicom.folder / "rois").mkdir()
    write_png(dicom.folder / "rois" / f"{UID}.png", blob())
    write_png(dicom.folder / "rois" / "unnamed.png", blob())
    found = look(dicom.folder)
    assert [roi.source.file for roi in found.rois] == [f"rois/{UID}.png"]
    assert sorted(refusal.reason for refusal in found.refusals) == ["bad_roi", "not_dicom"]
    assert any("--roi" in refusal.sentence for refusal in found.refusals)


@pytest.mark.parametrize("name", ["liver.dcm", "partial_overlaps.dcm"])
def test_real_segmentations_equal_an_independent_reader(real_data: Path, name: str) -> None:
    path = real_data / "ct_liver_seg" / name
    ours = ingest.read_rois([path]).volumes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = highdicom.seg.segread(path)
        for roi, number in zip(ours, theirs.segment_numbers, strict=True):
            volume = theirs.get_volume(segment_numbers=[number], combine_segments=False)
            voxels = np.argwhere(np.asarray(volume.array)[..., 0])
            places = voxels @ volume.affine[:3, :3].T + volume.affine[:3, 3]
            found = np.argwhere(roi.mask) @ roi.affine[:3, :3].T + roi.affine[:3, 3]
            assert len(found) == len(places)
            assert np.allclose(found.mean(axis=0), places.mean(axis=0), atol=1e-3)
            assert np.allclose(found.std(axis=0), places.std(axis=0), atol=1e-3)
    assert ours[0].id == ("liver" if name == "liver.dcm" else "S1")
    assert ours[0].series_instance_uid == "1.2.392.200103.20080913.113635.1.2009.6.22.21.43.10.23430.1"
