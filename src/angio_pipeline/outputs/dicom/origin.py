"""What every object says of where it comes from: patient, study, equipment, the images behind it; and its identifiers.

An object names its patient by the pseudonym, unless the header that it was given holds the identity: then that is
repeated, so that an archive files it with the study. Identifiers follow from what an object holds, dates from the
source: the same result gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import PYDICOM_ROOT_UID, UID, ExplicitVRLittleEndian, XRayAngiographicImageStorage, generate_uid

import angio_pipeline
from angio_pipeline.core.provenance import Source
from angio_pipeline.outputs.dicom.codes import OWN_SCHEME, SOURCE_IMAGE, coded, own_scheme
from angio_pipeline.outputs.dicom.elements import item

__all__ = ["MANUFACTURER", "Origin", "describe", "object_bytes", "own_uid", "tell_body_part", "tracking_uid"]

MANUFACTURER = "angio-pipeline"
# The standard wants a date here and there: one that is surely none stands for an unknown one.
_NO_DATE = "19000101"
_IMPLEMENTATION = UID("1.2.826.0.1.3680043.8.498.92742313408")
_PLACES = ("instance", "series")
_STUDY_TAGS = ("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName")


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """The input that a result is of, and the headers of its files, as `ingest.object_headers` gives them.

    Attributes
    ----------
    headers : tuple of Dataset
        One a file, in order; with the patient's identity only where objects are to carry it.
    """

    source: Source
    headers: tuple[Dataset, ...]

    @property
    def header(self) -> Dataset:
        """The first file's header; empty without one."""
        return self.headers[0] if self.headers else Dataset()

    @property
    def identified(self) -> bool:
        """Whether objects carry the patient's identity."""
        return "PatientID" in self.header or "PatientName" in self.header

    @property
    def sop_class(self) -> str:
        """SOP class of the input."""
        return str(self.header.get("SOPClassUID") or XRayAngiographicImageStorage)

    @property
    def sop_instance(self) -> str:
        """SOP instance UID of the first file; made up from the rest of the source where the file has none."""
        told = self.header.get("SOPInstanceUID") or self.source.sop_instance_uid
        return str(told or own_uid("instance", self.series, self.source.file))

    @property
    def series(self) -> str:
        """Series instance UID."""
        return self.source.series_instance_uid or own_uid("series", self.source.sop_instance_uid, self.source.file)

    @property
    def study(self) -> str:
        """Study instance UID."""
        return self.source.study_instance_uid or own_uid("study", self.series)

    @property
    def content_date(self) -> str:
        """The source's date, or one that is surely none."""
        told = str(self.header.get("StudyDate") or "") or self.source.date
        return told if told.isdigit() else _NO_DATE

    @property
    def content_time(self) -> str:
        """The time of the source's acquisition; midnight where it is unknown."""
        return f"{self.source.acquired:%H%M%S}" if self.source.acquired else "000000"

    def image(self, frame: int | None = None, *, purpose: bool = False) -> Dataset:
        """Return an item that refers to the first file, to one of its frames (0-based) when it has several."""
        made = item(ReferencedSOPClassUID=self.sop_class, ReferencedSOPInstanceUID=self.sop_instance)
        if frame is not None:
            made.ReferencedFrameNumber = frame + 1
        if purpose:
            made.PurposeOfReferenceCodeSequence = [coded(SOURCE_IMAGE)]
        return made

    def referenced_series(self) -> Dataset:
        """Return the item of the Common Instance Reference module for all files of the input."""
        instances = [
            item(ReferencedSOPClassUID=header.SOPClassUID, ReferencedSOPInstanceUID=header.SOPInstanceUID)
            for header in self.headers
            if "SOPInstanceUID" in header and "SOPClassUID" in header
        ] or [self.image()]
        return item(SeriesInstanceUID=self.series, ReferencedInstanceSequence=instances)


def own_uid(*words: str) -> str:
    """Return an identifier that depends on `words` alone."""
    return str(generate_uid(entropy_srcs=[MANUFACTURER, *words]))


def tracking_uid(subject: str, name: str, *, within: str = "") -> str:
    """Return the identifier of one thing of one patient, the same in all objects; `within` a run, named by its UID."""
    return own_uid("tracking", subject, within, name)


def describe(ds: Dataset, origin: Origin, *, modality: str, number: int, label: str) -> None:
    """Put patient, study, series and equipment of an object into its data set, in place of what was there."""
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.StudyInstanceUID = origin.study
    _name_patient(ds, origin)
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber = modality, number, 1
    ds.SeriesDescription = label[:64]  # the length of its VR, LO
    ds.Manufacturer = ds.ManufacturerModelName = MANUFACTURER
    ds.DeviceSerialNumber, ds.SoftwareVersions = "0", angio_pipeline.__version__
    _take_off_the_clock(ds)


def _take_off_the_clock(ds: Dataset) -> None:
    """Remove when an object was made, which highdicom writes: the same result gives the same bytes."""
    for keyword in ("InstanceCreationDate", "InstanceCreationTime", "DateOfSecondaryCapture", "TimeOfSecondaryCapture"):
        if keyword in ds:
            delattr(ds, keyword)
    for equipment in ds.get("ContributingEquipmentSequence", ()):
        if "ContributionDateTime" in equipment:
            del equipment.ContributionDateTime


def _name_patient(ds: Dataset, origin: Origin) -> None:
    header = origin.header
    for keyword in ("PatientName", "PatientBirthDate", "PatientSex", *_STUDY_TAGS):
        setattr(ds, keyword, header.get(keyword, "") if origin.identified else "")
    if origin.identified:
        for keyword in ("PatientID", "IssuerOfPatientID", "PatientAge", "StudyDescription"):
            if header.get(keyword):
                setattr(ds, keyword, header.get(keyword))
        ds.setdefault("PatientID", "")
        return
    # Some readers refuse an object whose patient has no name.
    ds.PatientName = ds.PatientID = origin.source.subject
    ds.StudyDate = origin.source.date if origin.source.date.isdigit() else ""
    ds.PatientIdentityRemoved = "YES"
    ds.DeidentificationMethod = "Keyed pseudonym for the patient; UIDs and dates kept"
    ds.LongitudinalTemporalInformationModified = "UNMODIFIED"


def tell_body_part(ds: Dataset, origin: Origin) -> None:
    """Say of an image which part of the body it shows, as its source does; else that the side is unknown."""
    if "BodyPartExamined" in origin.header:
        ds.BodyPartExamined = origin.header.BodyPartExamined
    else:
        ds.Laterality = ""


def object_bytes(ds: Dataset, sop_class: str, *, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    """Return a finished object as a file; its identifiers follow from all that it holds.

    Each object is a series of its own: another analysis of the same run is then another series, not a second version
    of the same one.
    """
    ds.SOPClassUID = sop_class
    if _holds_own_codes(ds):
        ds.CodingSchemeIdentificationSequence = own_scheme()
    # Written once, with identifiers that hold the place of those that follow from what was written.
    ds.SOPInstanceUID, ds.SeriesInstanceUID = (_full_uid(words) for words in _PLACES)
    content = _written(ds, syntax)
    digest = hashlib.sha256(content).hexdigest()
    for words in _PLACES:
        content = content.replace(_full_uid(words).encode(), _full_uid(f"{words} {digest}").encode())
    return content


def _full_uid(words: str) -> str:
    """Return an identifier that depends on `words` alone, always of the full 64 characters."""
    number = int.from_bytes(hashlib.sha256(f"{MANUFACTURER} {words}".encode()).digest(), "big")
    return f"{PYDICOM_ROOT_UID}{10**37 + number % (9 * 10**37)}"


def _written(ds: Dataset, syntax: UID) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    meta.TransferSyntaxUID, meta.ImplementationClassUID = syntax, _IMPLEMENTATION
    meta.ImplementationVersionName = "ANGIO_PIPELINE"
    ds.file_meta, ds.preamble = meta, b"\0" * 128
    stream = io.BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _holds_own_codes(ds: Dataset) -> bool:
    def _inside(items: Sequence[Dataset]) -> bool:
        return any(_holds_own_codes(one) for one in items)

    for element in ds:
        if element.VR == "SQ" and _inside(element.value):
            return True
        if element.keyword == "CodingSchemeDesignator" and element.value == OWN_SCHEME:
            return True
    return False
