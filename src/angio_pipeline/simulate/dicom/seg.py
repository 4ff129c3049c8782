"""The lesions of a simulated scan as a binary DICOM segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID, SegmentationStorage

from angio_pipeline.simulate.aftermath.ct import CtScan
from angio_pipeline.simulate.dicom.common import Case, code, common, identify, place_pixels, reference, save

__all__ = ["write_segmentation"]


def write_segmentation(
    path: Path, case: Case, *, study: str, when: datetime, scan: CtScan, slices: Sequence[Dataset]
) -> UID:
    """Write the lesions of one scan as a binary DICOM SEG; return its SOP Instance UID.

    Raises
    ------
    ValueError
        When no voxel of the scan lies in a lesion.
    """
    ds = common(case, study, "seg", when, 290)
    ds.StudyID = slices[0].StudyID
    uid = case.uid("seg", study)
    identify(ds, SegmentationStorage, uid)
    ds.Modality = "SEG"
    ds.ImageType = ["DERIVED", "PRIMARY"]
    ds.InstanceNumber = 1
    ds.ContentLabel, ds.ContentDescription, ds.ContentCreatorName = "LESIONS", "Treated lesions", ""
    ds.SegmentationType = "BINARY"
    ds.LossyImageCompression = "00"
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = case.uid("frame", study), ""
    ds.SegmentSequence = DicomSequence([_segment(i, name) for i, name in enumerate(scan.lesions)])
    planes = [(i, k) for i, mask in enumerate(scan.lesions.values()) for k in range(len(mask)) if mask[k].any()]
    if not planes:
        raise ValueError("Expected a scan with a voxel in a lesion, found none; write no segmentation of it.")
    ds.SharedFunctionalGroupsSequence = DicomSequence([_shared(scan)])
    first = min(k for _, k in planes)
    ds.PerFrameFunctionalGroupsSequence = DicomSequence([_frame(i, k, first, slices[k]) for i, k in planes])
    ds.DimensionOrganizationSequence, ds.DimensionIndexSequence = _dimensions(case.uid("dimensions", study))
    ds.ReferencedSeriesSequence = DicomSequence([_references(slices)])
    ds.NumberOfFrames = len(planes)
    masks = list(scan.lesions.values())
    bits = np.stack([masks[i][k] for i, k in planes])
    place_pixels(ds, bits.astype(np.uint8), 1)
    ds.BitsAllocated = 1
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    ds.PixelData = packed + b"\0" * (len(packed) % 2)
    save(ds, path, compress=False)
    return uid


def _segment(index: int, name: str) -> Dataset:
    item = Dataset()
    item.SegmentNumber, item.SegmentLabel = index + 1, name
    item.SegmentAlgorithmType = "MANUAL"
    item.SegmentedPropertyCategoryCodeSequence = DicomSequence(
        [code("49755003", "SCT", "Morphologically Altered Structure")]
    )
    item.SegmentedPropertyTypeCodeSequence = DicomSequence([code("108369006", "SCT", "Neoplasm")])
    return item


def _shared(scan: CtScan) -> Dataset:
    measures = Dataset()
    measures.PixelSpacing = [scan.spacing_mm[1], scan.spacing_mm[2]]
    measures.SliceThickness, measures.SpacingBetweenSlices = round(scan.slice_mm, 4), round(scan.spacing_mm[0], 4)
    orientation = Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    item = Dataset()
    item.PixelMeasuresSequence = DicomSequence([measures])
    item.PlaneOrientationSequence = DicomSequence([orientation])
    return item


def _frame(segment: int, plane: int, first: int, source: Dataset) -> Dataset:
    item, content, position, which = Dataset(), Dataset(), Dataset(), Dataset()
    content.DimensionIndexValues = [segment + 1, plane - first + 1]
    position.ImagePositionPatient = source.ImagePositionPatient
    which.ReferencedSegmentNumber = segment + 1
    origin, derivation = reference(source), Dataset()
    origin.PurposeOfReferenceCodeSequence = DicomSequence(
        [code("121322", "DCM", "Source image for image processing operation")]
    )
    derivation.SourceImageSequence = DicomSequence([origin])
    derivation.DerivationCodeSequence = DicomSequence([code("113076", "DCM", "Segmentation")])
    item.FrameContentSequence = DicomSequence([content])
    item.PlanePositionSequence = DicomSequence([position])
    item.SegmentIdentificationSequence = DicomSequence([which])
    item.DerivationImageSequence = DicomSequence([derivation])
    return item


def _references(slices: Sequence[Dataset]) -> Dataset:
    item = Dataset()
    item.SeriesInstanceUID = slices[0].SeriesInstanceUID
    item.ReferencedInstanceSequence = DicomSequence([reference(s) for s in slices])
    return item


def _dimensions(uid: UID) -> tuple[DicomSequence, DicomSequence]:
    organization = Dataset()
    organization.DimensionOrganizationUID = uid
    indices = []
    for pointer, group in ((0x0062000B, 0x0062000A), (0x00200032, 0x00209113)):
        index = Dataset()
        index.DimensionOrganizationUID = uid
        index.DimensionIndexPointer, index.FunctionalGroupPointer = pointer, group
        indices.append(index)
    return DicomSequence([organization]), DicomSequence(indices)
