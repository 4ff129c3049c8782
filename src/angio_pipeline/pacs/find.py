"""What an archive has: patients, studies, series and instances that fit a query, by C-FIND or QIDO alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import build_context
from pynetdicom.association import Association

from angio_pipeline.core.errors import PacsError
from angio_pipeline.pacs.dimse import associate, status_of, status_words
from angio_pipeline.pacs.inbox import is_uid
from angio_pipeline.pacs.queries import Query
from angio_pipeline.pacs.settings import Server
from angio_pipeline.pacs.sop_classes import PATIENT_ROOT_FIND, STUDY_ROOT_FIND

__all__ = [
    "Archive",
    "Instance",
    "Level",
    "Patient",
    "Series",
    "Study",
    "dimse_archive",
    "find_all",
    "find_instances",
    "find_patients",
    "find_series",
    "find_studies",
]

Level = Literal["PATIENT", "STUDY", "SERIES", "IMAGE"]


class Archive(Protocol):
    """Anything that answers a search."""

    def search(self, level: Level, keys: Mapping[str, str]) -> list[Dataset]:
        """Return the answers; an empty value asks for an attribute, another one has to fit."""
        ...


@dataclass(frozen=True, slots=True)
class Patient:
    """A patient of the archive; who it is stays out of what is printed by accident."""

    patient_id: str = field(repr=False)
    studies: int | None


@dataclass(frozen=True, slots=True)
class Study:
    """A study of the archive; numbers are None where the archive does not tell."""

    uid: str
    date: str
    modalities: tuple[str, ...]
    series: int | None
    instances: int | None
    patient_id: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Series:
    """A series of the archive."""

    study: str
    uid: str
    modality: str
    instances: int | None


@dataclass(frozen=True, slots=True)
class Instance:
    """One object of the archive; `sop_class` is empty where the archive does not tell."""

    study: str
    series: str
    uid: str
    sop_class: str


def find_patients(archive: Archive, query: Query) -> list[Patient]:
    """Return the patients that fit by number; dates and modalities are asked of studies."""
    keys = {"PatientID": query.patient_id or "", "NumberOfPatientRelatedStudies": ""}
    answers = archive.search("PATIENT", keys)
    return [
        Patient(_text(a, "PatientID"), _count(a, "NumberOfPatientRelatedStudies"))
        for a in answers
        if query.patient_id in (None, _text(a, "PatientID"))
    ]


def find_studies(archive: Archive, query: Query) -> list[Study]:
    """Return the studies that fit; an answer that does not fit although the archive gave it is left out."""
    keys = {
        "StudyInstanceUID": query.study_uid or "",
        "StudyDate": query.dates,
        "PatientID": query.patient_id or "",
        "AccessionNumber": query.accession or "",
        # Only one value can be matched here by the standard; several are told by the series.
        "ModalitiesInStudy": query.modalities[0] if len(query.modalities) == 1 else "",
        "NumberOfStudyRelatedSeries": "",
        "NumberOfStudyRelatedInstances": "",
    }
    return [_study(answer) for answer in archive.search("STUDY", keys) if _fits(answer, query)]


def _study(answer: Dataset) -> Study:
    modalities = answer.get("ModalitiesInStudy") or ()
    return Study(
        _text(answer, "StudyInstanceUID"),
        _text(answer, "StudyDate"),
        (modalities,) if isinstance(modalities, str) else tuple(map(str, modalities)),
        _count(answer, "NumberOfStudyRelatedSeries"),
        _count(answer, "NumberOfStudyRelatedInstances"),
        _text(answer, "PatientID"),
    )


def _fits(answer: Dataset, query: Query) -> bool:
    day, modalities = _text(answer, "StudyDate"), set(_study(answer).modalities)
    asked = {"PatientID": query.patient_id, "AccessionNumber": query.accession, "StudyInstanceUID": query.study_uid}
    first, last = (f"{d:%Y%m%d}" if d else "" for d in (query.first, query.last))
    return (
        is_uid(_text(answer, "StudyInstanceUID"))
        and all(value in (None, _text(answer, name)) for name, value in asked.items())
        and not (day and first and day < first)
        and not (day and last and day > last)
        and not (modalities and query.modalities and not modalities & set(query.modalities))
    )


def find_series(archive: Archive, study: Study, modalities: Sequence[str] = ()) -> list[Series]:
    """Return the series of a study, of these modalities where any are named."""
    keys = {
        "StudyInstanceUID": study.uid,
        "SeriesInstanceUID": "",
        "Modality": "",
        "NumberOfSeriesRelatedInstances": "",
    }
    found = [
        Series(
            study.uid,
            _text(answer, "SeriesInstanceUID"),
            _text(answer, "Modality"),
            _count(answer, "NumberOfSeriesRelatedInstances"),
        )
        for answer in archive.search("SERIES", keys)
    ]
    return [one for one in found if is_uid(one.uid) and (not modalities or one.modality in modalities)]


def find_instances(archive: Archive, series: Series) -> list[Instance]:
    """Return the instances of a series."""
    keys = {
        "StudyInstanceUID": series.study,
        "SeriesInstanceUID": series.uid,
        "SOPInstanceUID": "",
        "SOPClassUID": "",
    }
    found = [
        Instance(series.study, series.uid, _text(answer, "SOPInstanceUID"), _text(answer, "SOPClassUID"))
        for answer in archive.search("IMAGE", keys)
    ]
    return [one for one in found if is_uid(one.uid)]


def find_all(archive: Archive, query: Query) -> list[Instance]:
    """Return every instance that fits a query."""
    return [
        one
        for study in find_studies(archive, query)
        for series in find_series(archive, study, query.modalities)
        for one in find_instances(archive, series)
    ]


def _text(answer: Dataset, name: str) -> str:
    value = answer.get(name)
    return "" if value is None else str(value).strip("\0 ")


def _count(answer: Dataset, name: str) -> int | None:
    text = _text(answer, name)
    return int(text) if text.isdecimal() else None


@contextmanager
def dimse_archive(server: Server) -> Iterator[Archive]:
    """Yield the archive behind an association for C-FIND.

    Raises
    ------
    PacsError
        When there is none, or the archive does not want it.
    """
    models = (STUDY_ROOT_FIND, PATIENT_ROOT_FIND)
    with associate(server, [build_context(UID(model)) for model in models]) as association:
        yield _DimseArchive(server, association)


class _DimseArchive:
    def __init__(self, server: Server, association: Association) -> None:
        self._server, self._association = server, association

    def search(self, level: Level, keys: Mapping[str, str]) -> list[Dataset]:
        identifier = Dataset()
        identifier.QueryRetrieveLevel = level
        if not all(value.isascii() for value in keys.values()):
            identifier.SpecificCharacterSet = "ISO_IR 192"
        for name, value in keys.items():
            setattr(identifier, name, value)
        patient = level == "PATIENT"
        model: Any = PATIENT_ROOT_FIND if patient else STUDY_ROOT_FIND
        place, found = self._server.place(web=False), []
        try:
            for answer, match in self._association.send_c_find(identifier, model):
                status = status_of(self._server, answer)
                if status in (0xFF00, 0xFF01) and match is not None:
                    found.append(match)
                elif status != 0:
                    raise PacsError(f"Expected {place} to answer a C-FIND, found status {status_words(status)}.")
        except ValueError:
            raise PacsError(f"Expected {place} to offer C-FIND at the level {level}, found that it does not.") from None
        return found
