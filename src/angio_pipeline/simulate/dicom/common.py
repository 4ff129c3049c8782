"""What every simulated DICOM file shares: who, when, identifiers, pixels and how they are packed.

Identifiers come from the seed, so the same seed gives the same bytes. Pixels are JPEG-LS lossless,
encoded by GDCM: smaller than JPEG 2000 on noisy frames and several times faster both ways.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import gdcm
import numpy as np
import numpy.typing as npt
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGLSLossless, SecondaryCaptureImageStorage

__all__ = ["Case", "code", "common", "identify", "place_pixels", "reference", "save"]

_IMPLEMENTATION = "2.25.317845612904471562019487234117650912"


@dataclass(frozen=True, slots=True)
class Case:
    """One simulated patient: everything that identifies it follows from seed and number.

    `sex` is M, F or O; `age_years` is the age on the day of treatment, None where nobody drew one.
    """

    seed: int
    number: int
    treated: datetime
    sex: str = "O"
    age_years: float | None = None

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

    def age(self, when: datetime) -> str:
        """Return the age on a date as DICOM writes it; empty where it is unknown."""
        if self.age_years is None:
            return ""
        return f"{int(self.age_years + (when - self.treated).days / 365.25):03d}Y"


def common(case: Case, study: str, series: str, when: datetime, number: int) -> Dataset:
    """Return patient, study, series and equipment; `number` is a hundred times the study's plus the series'."""
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
    ds.PatientSex = case.sex
    if case.age_years is not None:
        ds.PatientAge = case.age(when)
    ds.StudyInstanceUID = case.uid("study", study)
    ds.SeriesInstanceUID = case.uid("series", study, series)
    ds.StudyID = f"{number // 100}"
    ds.SeriesNumber = number % 100
    return ds


def identify(ds: Dataset, sop_class: UID, uid: UID) -> None:
    """Give a data set its class, its identifier and its file header."""
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, uid
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(_IMPLEMENTATION)
    ds.file_meta = meta


def place_pixels(
    ds: Dataset, stored: npt.NDArray[np.generic], bits: int, *, signed: bool = False, inverted: bool = False
) -> None:
    """Put (H, W) or (T, H, W) values of `bits` bits into a data set, in bytes where they fit."""
    allocated = 8 if bits <= 8 else 16
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    ds.Rows, ds.Columns = stored.shape[-2:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = allocated, bits, bits - 1
    ds.PixelRepresentation = int(signed)
    kind = ("<i" if signed else "<u") + str(allocated // 8)
    raw = stored.astype(kind).tobytes()
    ds.PixelData = raw + b"\0" * (len(raw) % 2)
    ds["PixelData"].VR = "OB" if allocated == 8 else "OW"


def save(ds: Dataset, path: Path, *, compress: bool) -> None:
    """Write a data set, its pixels packed by JPEG-LS when asked for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if compress:
        ds.PixelData = _packed(ds)
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
        ds.file_meta.TransferSyntaxUID = JPEGLSLossless
    ds.save_as(path, enforce_file_format=True)


_PIXEL_MODULE = (
    "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "NumberOfFrames", "PixelData",
)  # fmt: skip


def _packed(ds: Dataset) -> bytes:
    # GDCM's encoder reads and writes files only; a bare image goes through it, not the patient's header.
    bare = Dataset()
    identify(bare, SecondaryCaptureImageStorage, UID("2.25.1"))
    for keyword in _PIXEL_MODULE:
        if keyword in ds:
            bare.add_new(ds[keyword].tag, ds[keyword].VR, ds[keyword].value)
    # How values are shown does not touch them, and GDCM's writer knows one way only.
    bare.PhotometricInterpretation = "MONOCHROME2"
    with tempfile.TemporaryDirectory() as folder:
        plain, packed = Path(folder) / "plain.dcm", Path(folder) / "packed.dcm"
        bare.save_as(plain, enforce_file_format=True)
        reader = gdcm.ImageReader()
        reader.SetFileName(str(plain))
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLSLossless))
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(packed))
        if not reader.Read():
            raise OSError("Expected GDCM to read the frames it was given, it refused; check the pixel format.")
        change.SetInput(reader.GetImage())
        writer.SetFile(reader.GetFile())
        if not change.Change():
            raise OSError("Expected GDCM to pack the frames as JPEG-LS, it refused; check the pixel format.")
        writer.SetImage(change.GetOutput())
        if not writer.Write():
            raise OSError("Expected GDCM to write the packed frames, it refused; check the disk's space.")
        return bytes(dcmread(packed).PixelData)


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """Return one item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def reference(source: Dataset) -> Dataset:
    """Return an item that refers to an instance by class and identifier."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    return item
