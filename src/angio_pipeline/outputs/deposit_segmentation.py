"""The oil of one lesion in one scan as a DICOM segmentation, in the frame of reference of its scan.

Written here, frame by frame, since the general writers want the headers of the source images and a plane at right
angles to its neighbours: a deposit has neither its scan's headers nor always an upright gantry. Patients are named
by their pseudonym alone.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

import angio_pipeline
from angio_pipeline.core.followups import LipiodolDeposit
from angio_pipeline.core.provenance import Source

__all__ = ["segmentation_bytes"]

_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"


def segmentation_bytes(deposit: LipiodolDeposit, source: Source, lesion: str) -> bytes:
    """Return a DICOM segmentation of a deposit, the same bytes for the same deposit; slices without oil are left out.

    Raises
    ------
    ValueError
        When the deposit is empty: a segmentation has a frame at least.
    """
    planes = np.flatnonzero(deposit.mask.any(axis=(1, 2)))
    if not len(planes):
        raise ValueError("Expected a deposit with a voxel in it, found none; write no segmentation of it.")
    ds = _described(deposit, source, lesion)
    ds.Rows, ds.Columns = deposit.mask.shape[1:]
    ds.NumberOfFrames = len(planes)
    ds.SharedFunctionalGroupsSequence = Sequence([_shared(deposit)])
    ds.PerFrameFunctionalGroupsSequence = Sequence([_frame(deposit, int(z), k) for k, z in enumerate(planes)])
    packed = np.packbits(deposit.mask[planes].ravel(), bitorder="little").tobytes()
    ds.PixelData = packed + b"\0" * (len(packed) % 2)
    ds["PixelData"].VR = "OB"
    stream = io.BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _described(deposit: LipiodolDeposit, source: Source, lesion: str) -> Dataset:
    ds = Dataset()
    words = [source.series_instance_uid, source.sop_instance_uid, lesion]
    ds.SOPClassUID, ds.SOPInstanceUID = _SEGMENTATION, generate_uid(entropy_srcs=["deposit", *words])
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "", source.subject, "", ""
    ds.StudyInstanceUID = source.study_instance_uid or generate_uid(entropy_srcs=["study", *words])
    ds.StudyDate = source.date if source.date.isdigit() else ""
    ds.StudyTime = ds.StudyID = ds.AccessionNumber = ds.ReferringPhysicianName = ""
    ds.SeriesInstanceUID = generate_uid(entropy_srcs=["series", *words])
    ds.SeriesNumber, ds.InstanceNumber, ds.Modality = 9001, 1, "SEG"
    # The standard wants a date here: one that is surely none stands for an unknown one.
    ds.ContentDate = ds.StudyDate or "19000101"
    ds.ContentTime = "000000"
    ds.Manufacturer, ds.ManufacturerModelName = "angio-pipeline", "angio-pipeline"
    ds.DeviceSerialNumber, ds.SoftwareVersions = "0", angio_pipeline.__version__
    ds.ImageType = ["DERIVED", "PRIMARY"]
    ds.ContentLabel, ds.ContentDescription, ds.ContentCreatorName = "DEPOSIT", "Iodised oil", ""
    ds.SegmentationType, ds.LossyImageCompression = "BINARY", "00"
    # Without one of its own the scan's place is known to itself alone.
    frame = deposit.frame_of_reference_uid or generate_uid(entropy_srcs=["frame", source.series_instance_uid])
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = frame, ""
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 1, 1, 0
    ds.SegmentSequence = Sequence([_segment(lesion)])
    organization = generate_uid(entropy_srcs=["dimensions", *words])
    ds.DimensionOrganizationSequence = Sequence([_item(DimensionOrganizationUID=organization)])
    index = _item(
        DimensionOrganizationUID=organization, DimensionIndexPointer=0x00200032, FunctionalGroupPointer=0x00209113
    )
    ds.DimensionIndexSequence = Sequence([index])
    return ds


def _segment(lesion: str) -> Dataset:
    return _item(
        SegmentNumber=1,
        SegmentLabel=lesion,
        SegmentAlgorithmType="AUTOMATIC",
        SegmentAlgorithmName="angio-pipeline",
        SegmentedPropertyCategoryCodeSequence=[_code("91720002", "Body Substance")],
        SegmentedPropertyTypeCodeSequence=[_code("387399009", "Ethiodized oil")],
    )


def _shared(deposit: LipiodolDeposit) -> Dataset:
    step, row, column = (deposit.affine[:3, k] for k in range(3))
    sizes = [float(np.linalg.norm(axis)) for axis in (step, row, column)]
    across = np.cross(column / sizes[2], row / sizes[1])
    measures = _item(
        PixelSpacing=[_decimal(sizes[1]), _decimal(sizes[2])],
        SliceThickness=_decimal(abs(float(step @ across))),
        SpacingBetweenSlices=_decimal(abs(float(step @ across))),
    )
    axes = [_decimal(float(value)) for value in (*(column / sizes[2]), *(row / sizes[1]))]
    return _item(PixelMeasuresSequence=[measures], PlaneOrientationSequence=[_item(ImageOrientationPatient=axes)])


def _frame(deposit: LipiodolDeposit, plane: int, number: int) -> Dataset:
    place = [_decimal(float(value)) for value in (deposit.affine @ (plane, 0, 0, 1))[:3]]
    return _item(
        FrameContentSequence=[_item(DimensionIndexValues=[number + 1])],
        PlanePositionSequence=[_item(ImagePositionPatient=place)],
        SegmentIdentificationSequence=[_item(ReferencedSegmentNumber=1)],
    )


def _code(value: str, meaning: str) -> Dataset:
    return _item(CodeValue=value, CodingSchemeDesignator="SCT", CodeMeaning=meaning)


def _item(**tags: Any) -> Dataset:
    made = Dataset()
    for keyword, value in tags.items():
        nested = isinstance(value, list) and value and isinstance(value[0], Dataset)
        setattr(made, keyword, Sequence(value) if nested else value)
    return made


def _decimal(value: float) -> str:
    # Sixteen characters at most.
    return f"{value:.8g}"
