"""Which files there are, whose they are, and where each goes: folders by pseudonym and number, files by new UID."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.results import Refusal
from angio_pipeline.ingest.copies import without_copies
from angio_pipeline.ingest.deidentification.admission import Accept, needs_pixels
from angio_pipeline.ingest.deidentification.keyed import Keyed
from angio_pipeline.ingest.deidentification.objects import Deidentified, deidentify_object, deidentify_region
from angio_pipeline.ingest.deidentification.profile import Option, Profile
from angio_pipeline.ingest.deidentification.values import Patient
from angio_pipeline.ingest.elements import read_from
from angio_pipeline.ingest.files import Candidate, list_files
from angio_pipeline.ingest.headers import check_elements, integer, read_header, text
from angio_pipeline.ingest.pixels import check_whole
from angio_pipeline.ingest.sources import SOURCE_TAGS, subject_of

__all__ = ["Numbers", "Task", "deidentify", "find_tasks"]

_REGION = re.compile(r"([0-9.]{3,64}?)(?:-([A-Za-z]{1,2}\d{0,3}))?\.png", re.IGNORECASE)

_SIZE_TAGS = (
    "BitsAllocated",
    "Columns",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "Rows",
    "SOPClassUID",
    "SamplesPerPixel",
)

Numbers = Mapping[str, int]  # "<pseudonym>/<new study UID>" or "…/<new series UID>" to its number


@dataclass(frozen=True, slots=True)
class Task:
    """One file to de-identify.

    Attributes
    ----------
    path : Path
        The file; its name may be a person's and is told nowhere but where the user asks for it.
    target : str
        Where it goes, below the output folder.
    """

    path: Path
    shown: str
    patient: Patient
    target: str
    region: bool = False

    def digest(self) -> str:
        """Return a keyed digest of the file's bytes.

        Raises
        ------
        InputRefused
            `unreadable`.
        """
        try:
            with self.path.open("rb") as stream:
                return self.patient.keyed.digest(hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            raise _unreadable(error) from None


@dataclass(frozen=True, slots=True)
class _Entry:
    candidate: Candidate
    subject: str
    uid: str
    study: str
    series: str
    order: tuple[str, int, int, str]


def find_tasks(
    sources: Sequence[Path], profile: Profile, *, keyed: Keyed, workspace: Path, numbers: Numbers
) -> tuple[list[Task], list[Refusal], dict[str, int]]:
    """Return what is to be done, what is refused, and the numbers of studies and series, those given kept.

    Refusals name paths as the user gave them. Raises nothing: what one file does costs no other.
    """
    candidates, refusals = list_files(sources, workspace=workspace)
    entries: list[_Entry] = []
    regions: list[tuple[Candidate, str, str]] = []
    for candidate in candidates:
        try:
            found = _REGION.fullmatch(candidate.path.name)
            if found and candidate.path.parent.name.lower() == "rois":
                regions.append((candidate, found[1], found[2] or ""))
            else:
                entries.append(_entry(candidate, keyed, profile))
        except InputRefused as error:
            refusals.append(Refusal(candidate.shown, error.reason, error.sentence))
        except Exception as error:  # whatever one file does, its neighbours are still read
            refusals.append(Refusal(candidate.shown, "unreadable", _unreadable(error).sentence))
    kept = without_copies(entries, refusals, uid_of=lambda e: e.uid, candidate_of=lambda e: e.candidate)
    kept.sort(key=lambda entry: (entry.subject, entry.order))
    told = _numbered(kept, keyed, profile, numbers)
    tasks = [_task(entry, keyed, profile, told) for entry in kept]
    tasks += _region_tasks(regions, kept, keyed, profile, refusals)
    return tasks, refusals, told


def _unreadable(error: Exception) -> InputRefused:
    sentence = f"Expected a readable file, found one that cannot be read ({type(error).__name__})."
    return InputRefused(sentence, reason="unreadable")


def _entry(candidate: Candidate, keyed: Keyed, profile: Profile) -> _Entry:
    header = read_header(candidate.path, tags=(*SOURCE_TAGS, *_SIZE_TAGS))
    ds = header.dataset
    # A file that was cut short must neither pass as a copy nor stand for a whole one.
    if header.pixels is not None or needs_pixels(ds, profile):
        check_whole(header)
    else:
        check_elements(read_header(candidate.path))
    uid = text(ds, "SOPInstanceUID") or text(getattr(ds, "file_meta", Dataset()), "MediaStorageSOPInstanceUID")
    if not uid:
        raise InputRefused("Expected a SOPInstanceUID, found none; export it again.", reason="bad_header")
    subject = subject_of(read_from(ds), key=keyed.key, fallback=str(candidate.path.parent))
    when = (text(ds, "StudyDate") or text(ds, "SeriesDate")) + text(ds, "StudyTime")
    order = (when, integer(ds, "SeriesNumber") or 0, integer(ds, "InstanceNumber") or 0, candidate.file)
    return _Entry(candidate, subject, uid, text(ds, "StudyInstanceUID"), text(ds, "SeriesInstanceUID"), order)


def _numbered(entries: Sequence[_Entry], keyed: Keyed, profile: Profile, numbers: Numbers) -> dict[str, int]:
    """Return the number of each study of a patient and each series of a study: earlier ones kept, new ones behind."""
    told = dict(numbers)
    last: dict[str, int] = {}
    for name, number in told.items():
        last[_parent(name)] = max(number, last.get(_parent(name), 0))
    for entry in entries:
        for name in _names(entry, keyed, profile):
            if name not in told:
                told[name] = last[_parent(name)] = last.get(_parent(name), 0) + 1
    return told


def _parent(name: str) -> str:
    return name.rsplit("/", 1)[0]


def _names(entry: _Entry, keyed: Keyed, profile: Profile) -> tuple[str, str]:
    study = f"{entry.subject}/{_new_uid(entry.study or 'none', keyed, profile)}"
    return study, f"{study}/{_new_uid(entry.series or 'none', keyed, profile)}"


def _new_uid(uid: str, keyed: Keyed, profile: Profile) -> str:
    retained = Option.UIDS in profile.options and re.fullmatch(r"[0-9]+(\.[0-9]+)+", uid) and len(uid) <= 64
    return uid if retained else keyed.uid(uid)


def _task(entry: _Entry, keyed: Keyed, profile: Profile, told: Numbers) -> Task:
    study, series = _names(entry, keyed, profile)
    folder = f"{entry.subject}/study-{told[study]:03d}/series-{told[series]:03d}"
    target = f"{folder}/{_new_uid(entry.uid, keyed, profile)}.dcm"
    patient = Patient(entry.subject, profile, keyed)
    return Task(entry.candidate.path, entry.candidate.shown, patient, target)


def _region_tasks(
    regions: Sequence[tuple[Candidate, str, str]],
    entries: Sequence[_Entry],
    keyed: Keyed,
    profile: Profile,
    refusals: list[Refusal],
) -> list[Task]:
    """Return the masks of images that are among the sources, named by their image's new UID."""
    subjects = {entry.uid: entry.subject for entry in entries}
    tasks = []
    for candidate, uid, label in regions:
        if uid not in subjects:
            sentence = "Expected the image that the region was drawn on among the sources, found none; give both."
            refusals.append(Refusal(candidate.shown, "bad_roi", sentence))
            continue
        name = _new_uid(uid, keyed, profile) + (f"-{label}" if label else "")
        patient = Patient(subjects[uid], profile, keyed)
        target = f"{subjects[uid]}/rois/{name}.png"
        tasks.append(Task(candidate.path, candidate.shown, patient, target, region=True))
    return tasks


def deidentify(task: Task, *, accept: Sequence[Accept] = ()) -> Deidentified:
    """Return what the task's file becomes.

    Raises
    ------
    InputRefused
        What cannot be read, or may not leave; the reason says why.
    """
    if task.region:
        return deidentify_region(task.path)
    return deidentify_object(task.path, task.patient, accept=accept)
