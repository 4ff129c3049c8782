"""The simulated patient as DICOM files: XA runs and films, CT series, a segmentation of the lesions.

Identifiers come from the seed, so the same seed gives the same bytes. Pixel data are JPEG 2000
lossless for XA (noise is most of their size) and for CT.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    SegmentationStorage,
    XRayAngiographicImageStorage,
)

from angio_pipeline.simulate.detector import DetectorParams
from angio_pipeline.simulate.followup import CtScan
from angio_pipeline.simulate.projection import CArm

__all__ = ["Case", "write_ct", "write_segmentation", "write_xa"]

_IMPLEMENTATION = "2.25.317845612904471562019487234117650912"


@dataclass(frozen=True, slots=True)
class Case:
    """One simulated patient: everything that identifies it follows from seed and number."""

    seed: int
    number: int
    treated: datetime

    @property
    def name(self) -> str:
        """Folder name of the case."""
        return f"case-{self.number:03d}"

    def uid(self, *words: str) -> UID:
        """Return an identifier that depends on the case and `words` only."""
        text = "/".join([str(self.seed), str(self.number), *words])
        return UID("2.25." + str(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")))

    def at(self, days: float) -> datetime:
        """Return the moment `days` after treatment."""
        return self.treated + timedelta(days=days)

    def opened(self, when: datetime) -> datetime:
        """Return when the study of an acquisition began: the day's first hour of work, one for all its series."""
        return when.replace(hour=9, minute=30, second=0)


def _common(case: Case, study: str, series: str, when: datetime, number: int) -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.InstanceCreationDate, ds.InstanceCreationTime = f"{when:%Y%m%d}", f"{when:%H%M%S}"
    ds.StudyDate, ds.StudyTime = f"{case.opened(when):%Y%m%d}", f"{case.opened(when):%H%M%S}"
    for part in ("Series", "Acquisition", "Content"):
        setattr(ds, f"{part}Date", f"{when:%Y%m%d}")
        setattr(ds, f"{part}Time", f"{when:%H%M%S}")
    ds.AccessionNumber = ""
    ds.Manufacturer = "angio-pipeline"
    ds.ManufacturerModelName = "digital patient"
    ds.DeviceSerialNumber = "0"
    ds.SoftwareVersions = "1"
    ds.InstitutionName = ""
    ds.ReferringPhysicianName = ""
    ds.PatientName = f"SIMULATED^{case.seed}-{case.number:03d}"
    ds.PatientID = f"SIM-{case.seed}-{case.number:03d}"
    ds.PatientBirthDate = ""
    ds.PatientSex = "O"
    ds.StudyInstanceUID = case.uid("study", study)
    ds.SeriesInstanceUID = case.uid("series", study, series)
    ds.StudyID = f"{number // 100}"
    ds.SeriesNumber = number % 100
    return ds


def _identify(ds: Dataset, sop_class: UID, uid: UID) -> None:
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, uid
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(_IMPLEMENTATION)
    ds.file_meta = meta


def _pixels(ds: Dataset, stored: npt.NDArray[np.generic], bits: int, *, signed: bool = False) -> None:
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = stored.shape[-2:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, bits, bits - 1
    ds.PixelRepresentation = int(signed)
    ds.PixelData = stored.astype("<i2" if signed else "<u2").tobytes()


def _save(ds: Dataset, path: Path, *, compress: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if compress:
        ds.compress(JPEG2000Lossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    ds.save_as(path, enforce_file_format=True)


def write_xa(
    path: Path,
    case: Case,
    *,
    study: str,
    series: str,
    number: int,
    when: datetime,
    frames: npt.NDArray[np.uint16],
    times_s: npt.NDArray[np.float64],
    carm: CArm,
    detector: DetectorParams,
) -> UID:
    """Write a run (T, H, W) or, with one frame, a film; return its SOP Instance UID."""
    ds = _common(case, study, series, when, number)
    uid = case.uid("xa", study, series)
    _identify(ds, XRayAngiographicImageStorage, uid)
    ds.Modality = "XA"
    ds.SeriesDescription = series
    ds.InstanceNumber = 1
    ds.ImageType = ["ORIGINAL", "PRIMARY", "SINGLE PLANE"]
    ds.BodyPartExamined = "LIVER"
    ds.PatientOrientation = ["L", "F"] if carm.primary_deg == carm.secondary_deg == 0 else ""
    ds.PixelIntensityRelationship = detector.storage.value
    _acquisition(ds, carm)
    if len(frames) > 1:
        ds.ContrastBolusAgent = "IODINATED CONTRAST"
        ds.NumberOfFrames = len(frames)
        ds.FrameIncrementPointer = 0x00181065
        ds.FrameTimeVector = [0.0, *(round(1000 * float(step), 1) for step in np.diff(times_s))]
    ds.WindowCenter, ds.WindowWidth = float(np.median(frames[0])), float(3 * np.median(frames[0]))
    ds.LossyImageCompression = "00"
    _pixels(ds, frames if len(frames) > 1 else frames[0], detector.bits)
    _save(ds, path, compress=True)
    return uid


def _acquisition(ds: Dataset, carm: CArm) -> None:
    ds.KVP = 80
    ds.XRayTubeCurrent = 400
    ds.ExposureTime = 60
    ds.RadiationSetting = "GR"
    ds.ImagerPixelSpacing = [round(carm.pixel_mm, 6)] * 2
    ds.DistanceSourceToDetector = carm.sid_mm
    ds.DistanceSourceToPatient = carm.sod_mm
    ds.EstimatedRadiographicMagnificationFactor = round(carm.sid_mm / carm.sod_mm, 6)
    ds.PositionerMotion = "STATIC"
    ds.PositionerPrimaryAngle = carm.primary_deg
    ds.PositionerSecondaryAngle = carm.secondary_deg
    ds.TableMotion = "STATIC"
    ds.PatientPosition = "HFS"


def write_ct(directory: Path, case: Case, *, study: str, number: int, when: datetime, scan: CtScan) -> list[Dataset]:
    """Write one file a slice, feet to head; return the headers (without pixels) in that order."""
    headers = []
    for k, plane in enumerate(scan.hu):
        ds = _common(case, study, "ct", when, number)
        _identify(ds, CTImageStorage, case.uid("ct", study, str(k)))
        ds.Modality = "CT"
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.SeriesDescription = "LIVER NON-CONTRAST"
        ds.BodyPartExamined = "LIVER"
        ds.PatientPosition = "HFS"
        ds.FrameOfReferenceUID = case.uid("frame", study)
        ds.PositionReferenceIndicator = ""
        ds.AcquisitionNumber = 1
        ds.InstanceNumber = k + 1
        ds.KVP = scan.kvp
        ds.ConvolutionKernel = "B30"
        ds.ReconstructionDiameter = round(scan.spacing_mm[2] * scan.hu.shape[2], 3)
        ds.SliceThickness = scan.spacing_mm[0]
        ds.PixelSpacing = [scan.spacing_mm[1], scan.spacing_mm[2]]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        z = scan.origin_mm[2] + k * scan.spacing_mm[0]
        ds.ImagePositionPatient = [round(float(v), 4) for v in (scan.origin_mm[0], scan.origin_mm[1], z)]
        ds.SliceLocation = round(float(z), 4)
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = -1024, 1, "HU"
        ds.WindowCenter, ds.WindowWidth = 50, 400
        _pixels(ds, plane.astype(np.int32) + 1024, 12)
        _save(ds, directory / f"{k + 1:03d}.dcm", compress=True)
        del ds.PixelData
        headers.append(ds)
    return headers


def write_segmentation(
    path: Path, case: Case, *, study: str, when: datetime, scan: CtScan, slices: Sequence[Dataset]
) -> UID:
    """Write the lesions of one scan as a binary DICOM SEG; return its SOP Instance UID."""
    ds = _common(case, study, "seg", when, 290)
    ds.StudyID = slices[0].StudyID
    uid = case.uid("seg", study)
    _identify(ds, SegmentationStorage, uid)
    ds.Modality = "SEG"
    ds.ImageType = ["DERIVED", "PRIMARY"]
    ds.InstanceNumber = 1
    ds.ContentLabel, ds.ContentDescription, ds.ContentCreatorName = "LESIONS", "Treated lesions", ""
    ds.SegmentationType = "BINARY"
    ds.LossyImageCompression = "00"
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = case.uid("frame", study), ""
    ds.SegmentSequence = DicomSequence([_segment(i, name) for i, name in enumerate(scan.lesions)])
    planes = [(i, k) for i, mask in enumerate(scan.lesions.values()) for k in range(len(mask)) if mask[k].any()]
    ds.SharedFunctionalGroupsSequence = DicomSequence([_shared(scan)])
    first = min(k for _, k in planes)
    ds.PerFrameFunctionalGroupsSequence = DicomSequence([_frame(i, k, first, slices[k]) for i, k in planes])
    ds.DimensionOrganizationSequence, ds.DimensionIndexSequence = _dimensions(case.uid("dimensions", study))
    ds.ReferencedSeriesSequence = DicomSequence([_references(slices)])
    ds.NumberOfFrames = len(planes)
    masks = list(scan.lesions.values())
    bits = np.stack([masks[i][k] for i, k in planes])
    _pixels(ds, bits.astype(np.uint8), 1)
    ds.BitsAllocated = 1
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    ds.PixelData = packed + b"\0" * (len(packed) % 2)
    _save(ds, path, compress=False)
    return uid


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _segment(index: int, name: str) -> Dataset:
    item = Dataset()
    item.SegmentNumber, item.SegmentLabel = index + 1, name
    item.SegmentAlgorithmType = "MANUAL"
    item.SegmentedPropertyCategoryCodeSequence = DicomSequence(
        [_code("49755003", "SCT", "Morphologically Altered Structure")]
    )
    item.SegmentedPropertyTypeCodeSequence = DicomSequence([_code("108369006", "SCT", "Neoplasm")])
    return item


def _shared(scan: CtScan) -> Dataset:
    measures = Dataset()
    measures.PixelSpacing = [scan.spacing_mm[1], scan.spacing_mm[2]]
    measures.SliceThickness = measures.SpacingBetweenSlices = scan.spacing_mm[0]
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
    origin, derivation = _reference(source), Dataset()
    origin.PurposeOfReferenceCodeSequence = DicomSequence(
        [_code("121322", "DCM", "Source image for image processing operation")]
    )
    derivation.SourceImageSequence = DicomSequence([origin])
    derivation.DerivationCodeSequence = DicomSequence([_code("113076", "DCM", "Segmentation")])
    item.FrameContentSequence = DicomSequence([content])
    item.PlanePositionSequence = DicomSequence([position])
    item.SegmentIdentificationSequence = DicomSequence([which])
    item.DerivationImageSequence = DicomSequence([derivation])
    return item


def _reference(source: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    return item


def _references(slices: Sequence[Dataset]) -> Dataset:
    item = Dataset()
    item.SeriesInstanceUID = slices[0].SeriesInstanceUID
    item.ReferencedInstanceSequence = DicomSequence([_reference(s) for s in slices])
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
