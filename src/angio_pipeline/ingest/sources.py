"""Who and when a file is, without saying who: pseudonymous sources and safe folder names."""

from __future__ import annotations

import hashlib
import re

from pydicom.dataset import Dataset

from angio_pipeline.core.provenance import Source
from angio_pipeline.ingest.dates import acquired, date_of
from angio_pipeline.ingest.elements import read_from
from angio_pipeline.ingest.headers import integer, text
from angio_pipeline.ingest.pseudonym import pseudonym
from angio_pipeline.ingest.roles import Read

__all__ = ["SOURCE_TAGS", "describe", "series_folder", "subject_of"]

SOURCE_TAGS = (
    "AcquisitionDate",
    "AcquisitionDateTime",
    "AcquisitionNumber",
    "AcquisitionTime",
    "ContentDate",
    "ContentTime",
    "FrameOfReferenceUID",
    "InstanceNumber",
    "IssuerOfPatientID",
    "Modality",
    "PatientID",
    "SOPInstanceUID",
    "SeriesDate",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesTime",
    "StudyDate",
    "StudyInstanceUID",
    "StudyTime",
)


def subject_of(read: Read, *, key: bytes, fallback: str) -> str:
    """Return the patient's pseudonym.

    Without a patient's number the study stands for the patient, then the frame of reference,
    then `fallback` (the folder): two patients are never merged because both lack a number.
    """
    number = read("PatientID")
    if number:
        return pseudonym(number, read("IssuerOfPatientID"), key=key)
    stand_in = read("StudyInstanceUID") or read("FrameOfReferenceUID") or fallback
    return pseudonym(stand_in, "\1without number", key=key)


def describe(dataset: Dataset, file: str, *, key: bytes, fallback: str = "") -> Source:
    """Return the pseudonymous source of one file.

    Parameters
    ----------
    file : str
        Path relative to the source that was given.
    """
    read = read_from(dataset)
    series, instance = integer(dataset, "SeriesNumber"), integer(dataset, "InstanceNumber")
    parts = [f"{letter}{value}" for letter, value in (("S", series), ("I", instance)) if value is not None]
    return Source(
        sop_instance_uid=_uid(dataset, "SOPInstanceUID"),
        series_instance_uid=_uid(dataset, "SeriesInstanceUID"),
        study_instance_uid=_uid(dataset, "StudyInstanceUID"),
        subject=subject_of(read, key=key, fallback=fallback),
        date=date_of(read),
        acquired=acquired(read),
        modality=_code(text(dataset, "Modality")),
        file=file,
        description=" ".join(parts),
    )


def _uid(dataset: Dataset, keyword: str) -> str:
    value = text(dataset, keyword)
    if not value and keyword == "SOPInstanceUID":
        value = text(getattr(dataset, "file_meta", Dataset()), "MediaStorageSOPInstanceUID")
    return value if re.fullmatch(r"[0-9.]{1,64}", value) else ""


def _code(value: str) -> str:
    return value if re.fullmatch(r"[A-Z]{1,16}", value) else ""


def series_folder(source: Source) -> str:
    """Return the folder name for a source's results, as `S003-I0012-1a2b3c4d`.

    Numbers, letters and a hash of the UID only: text from the file never reaches a path.
    Scans of many files have no instance number and take the hash of their series.
    """
    found = dict(re.findall(r"\b([SIA])(\d{1,9})\b", source.description))
    widths = (("S", 3), ("A", 3), ("I", 4))
    parts = [f"{letter}{int(found[letter]):0{width}d}" for letter, width in widths if letter in found]
    uid = source.sop_instance_uid or "|".join(filter(None, (source.series_instance_uid, found.get("A"))))
    digest = hashlib.sha256((uid or source.file).encode()).hexdigest()[:8]
    return "-".join([*parts, digest])
