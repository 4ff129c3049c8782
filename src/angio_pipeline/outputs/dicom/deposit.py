"""The oil of one lesion in one scan as a DICOM segmentation, in the frame of reference of its scan.

With the headers of the scan's slices it is written by highdicom, each frame naming the slice it lies on. Without them,
or where the planes of the mask are not the slices (a gap that was filled, a scan in one file), it is written here,
frame by frame, in the geometry of the mask.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage

import angio_pipeline
from angio_pipeline.core.followups import LipiodolDeposit
from angio_pipeline.outputs.dicom import codes
from angio_pipeline.outputs.dicom.codes import coded
from angio_pipeline.outputs.dicom.elements import decimal, item
from angio_pipeline.outputs.dicom.origin import (
    MANUFACTURER,
    Origin,
    describe,
    object_bytes,
    own_uid,
    tracking_uid,
)

__all__ = ["deposit_bytes"]

_SERIES_NUMBER = 9001
_SAME_PLACE_MM = 0.01
_NEEDED = ("SOPClassUID", "SOPInstanceUID", "FrameOfReferenceUID", "PixelSpacing", "SliceThickness")


def deposit_bytes(deposit: LipiodolDeposit, origin: Origin, lesion: str) -> bytes:
    """Return a DICOM segmentation of a deposit, the same bytes for the same deposit; slices without oil are left out.

    Raises
    ------
    ValueError
        When the deposit is empty: a segmentation has a frame at least.
    """
    planes = np.flatnonzero(deposit.mask.any(axis=(1, 2)))
    if not len(planes):
        raise ValueError("Expected a deposit with a voxel in it, found none; write no segmentation of it.")
    slices = _slices_below(deposit, origin, planes)
    if slices is None:
        ds = _in_space(deposit, origin, lesion, planes)
    else:
        ds = _upon(slices, deposit.mask[planes], lesion, tracking_uid(origin.source.subject, lesion))
    describe(ds, origin, modality="SEG", number=_SERIES_NUMBER, label=f"Iodized oil {lesion}")
    ds.ContentDate, ds.ContentTime = origin.content_date, origin.content_time
    ds.ContentLabel, ds.ContentDescription, ds.ContentCreatorName = "DEPOSIT", "Iodised oil", ""
    return object_bytes(ds, SegmentationStorage)


def _slices_below(deposit: LipiodolDeposit, origin: Origin, planes: npt.NDArray[np.intp]) -> list[Dataset] | None:
    """Return the header of the slice that each plane lies on, None where one lies on none."""
    usable = [header for header in origin.headers if all(keyword in header for keyword in _NEEDED)]
    usable = [header for header in usable if _lies_like(header, deposit)]
    if not usable:
        return None
    places = np.array([[float(v) for v in header.ImagePositionPatient] for header in usable])
    found = []
    for plane in planes:
        gaps = np.linalg.norm(places - (deposit.affine @ (plane, 0, 0, 1))[:3], axis=1)
        if gaps.min() > _SAME_PLACE_MM:
            return None
        found.append(usable[int(gaps.argmin())])
    return found


def _lies_like(header: Dataset, deposit: LipiodolDeposit) -> bool:
    if (header.get("Rows"), header.get("Columns")) != deposit.mask.shape[1:]:
        return False
    axes, place = header.get("ImageOrientationPatient"), header.get("ImagePositionPatient")
    if axes is None or place is None or len(axes) != 6 or len(place) != 3:
        return False
    told = np.array([float(value) for value in axes])
    rows, columns = (deposit.affine[:3, k] / np.linalg.norm(deposit.affine[:3, k]) for k in (1, 2))
    return bool(np.abs(told - np.concatenate([columns, rows])).max() < 1e-3)


def _upon(slices: list[Dataset], mask: npt.NDArray[np.bool_], lesion: str, tracked_as: str) -> Dataset:
    """Return the segmentation of planes that lie on slices of the scan."""
    import highdicom as hd

    algorithm = hd.AlgorithmIdentificationSequence(
        name=MANUFACTURER, family=codes.ANALYTICAL, version=angio_pipeline.__version__
    )
    described = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label=lesion,
        segmented_property_category=codes.SUBSTANCE,
        segmented_property_type=codes.OIL,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        tracking_uid=tracked_as,
        tracking_id=lesion,
    )
    made: Any = hd.seg.Segmentation(
        source_images=[_complete(one) for one in slices],
        pixel_array=mask,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[described],
        series_instance_uid=own_uid("series"),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=own_uid("instance"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MANUFACTURER,
        software_versions=angio_pipeline.__version__,
        device_serial_number="0",
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    ds = Dataset(made)
    # This one is drawn by lot there.
    organization = own_uid("dimensions", lesion, *(str(one.SOPInstanceUID) for one in slices))
    for one in (*ds.DimensionOrganizationSequence, *ds.DimensionIndexSequence):
        one.DimensionOrganizationUID = organization
    return ds


def _complete(header: Dataset) -> Dataset:
    """Return a slice's header with what highdicom copies from it; `describe` has the last word on all of it."""
    made = deepcopy(header)
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber"):
        setattr(made, keyword, "")
    made.StudyDate, made.StudyTime, made.ReferringPhysicianName = None, None, ""
    if "StudyInstanceUID" not in made:
        made.StudyInstanceUID = own_uid("study")
    if "SeriesInstanceUID" not in made:
        made.SeriesInstanceUID = own_uid("series of slices")
    return made


def _in_space(deposit: LipiodolDeposit, origin: Origin, lesion: str, planes: npt.NDArray[np.intp]) -> Dataset:
    """Return the segmentation in the geometry of the mask, whatever its slices were."""
    ds = Dataset()
    ds.ImageType, ds.SegmentationType, ds.LossyImageCompression = ["DERIVED", "PRIMARY"], "BINARY", "00"
    # Without one of its own the scan's place is known to itself alone.
    ds.FrameOfReferenceUID = deposit.frame_of_reference_uid or own_uid("frame", origin.series)
    ds.PositionReferenceIndicator = ""
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 1, 1, 0
    ds.Rows, ds.Columns = deposit.mask.shape[1:]
    ds.NumberOfFrames = len(planes)
    ds.SegmentSequence = [_segment(lesion, tracking_uid(origin.source.subject, lesion))]
    _place_frames(ds, deposit, origin, planes)
    packed = np.packbits(deposit.mask[planes].ravel(), bitorder="little").tobytes()
    ds.PixelData = packed + b"\0" * (len(packed) % 2)
    ds["PixelData"].VR = "OB"
    return ds


def _segment(lesion: str, tracked_as: str) -> Dataset:
    return item(
        SegmentNumber=1,
        SegmentLabel=lesion,
        SegmentAlgorithmType="AUTOMATIC",
        SegmentAlgorithmName=MANUFACTURER,
        SegmentedPropertyCategoryCodeSequence=[coded(codes.SUBSTANCE)],
        SegmentedPropertyTypeCodeSequence=[coded(codes.OIL)],
        TrackingID=lesion,
        TrackingUID=tracked_as,
    )


def _place_frames(ds: Dataset, deposit: LipiodolDeposit, origin: Origin, planes: npt.NDArray[np.intp]) -> None:
    organization = own_uid("dimensions", origin.series)
    ds.DimensionOrganizationSequence = [item(DimensionOrganizationUID=organization)]
    ds.DimensionIndexSequence = [
        item(DimensionOrganizationUID=organization, DimensionIndexPointer=0x00200032, FunctionalGroupPointer=0x00209113)
    ]
    ds.SharedFunctionalGroupsSequence = [_shared(deposit)]
    ds.PerFrameFunctionalGroupsSequence = [_frame(deposit, int(z), k) for k, z in enumerate(planes)]


def _shared(deposit: LipiodolDeposit) -> Dataset:
    step, row, column = (deposit.affine[:3, k] for k in range(3))
    sizes = [float(np.linalg.norm(axis)) for axis in (step, row, column)]
    across = np.cross(column / sizes[2], row / sizes[1])
    measures = item(
        PixelSpacing=[decimal(sizes[1]), decimal(sizes[2])],
        SliceThickness=decimal(abs(float(step @ across))),
        SpacingBetweenSlices=decimal(abs(float(step @ across))),
    )
    axes = [decimal(float(value)) for value in (*(column / sizes[2]), *(row / sizes[1]))]
    return item(PixelMeasuresSequence=[measures], PlaneOrientationSequence=[item(ImageOrientationPatient=axes)])


def _frame(deposit: LipiodolDeposit, plane: int, number: int) -> Dataset:
    place = [decimal(float(value)) for value in (deposit.affine @ (plane, 0, 0, 1))[:3]]
    return item(
        FrameContentSequence=[item(DimensionIndexValues=[number + 1])],
        PlanePositionSequence=[item(ImagePositionPatient=place)],
        SegmentIdentificationSequence=[item(ReferencedSegmentNumber=1)],
    )
