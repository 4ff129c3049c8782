"""What one worker does: open each file once, read its head, and give back rows for the catalogue."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import struct
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.ingest.archives import Allowance, unpack
from angio_pipeline.ingest.catalogue.keyed import file_key, person_of
from angio_pipeline.ingest.catalogue.walk import UNREADABLE, Entry, entries
from angio_pipeline.ingest.dates import acquired, date_of
from angio_pipeline.ingest.elements import read_from
from angio_pipeline.ingest.fast_headers import WINDOW, Head, read_at, read_head
from angio_pipeline.ingest.headers import as_numbers, is_dicom, items, read_header
from angio_pipeline.ingest.limits import Limits
from angio_pipeline.ingest.roles import ROLE_TAGS, Kind, RoleCall, kind_of, role_of, vendor_of
from angio_pipeline.ingest.sources import subject_of
from angio_pipeline.ingest.stages import stage_of

__all__ = ["Row", "Rows", "Task", "content_digests", "lost_digest", "lost_file", "read_files"]

_LOG = logging.getLogger(__name__)
_DICOMDIR = "1.2.840.10008.1.3.10"
_SUFFIXES = {
    "dcm", "dicom", "ima", "img", "zip", "tar", "gz", "tgz", "bz2", "xz", "png", "jpg", "jpeg", "tif", "tiff", "pdf",
    "txt", "csv", "xml", "json", "nii", "mp4", "avi", "exe", "dll", "inf", "html", "doc", "docx", "xls", "xlsx", "part",
    "tmp", "bak", "log",
}  # fmt: skip
_NEED_PIXELS = {Kind.PROJECTION, Kind.FILM, Kind.SLICE, Kind.VOLUME}
_ITEM, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)

Row = tuple[Any, ...]


class Task(NamedTuple):
    """A file to read; in an archive `archive_id` names the outermost one, and `inside` the folder within."""

    entry: Entry
    file_id: str
    source_id: str
    archive_id: str | None = None
    inside: str = ""
    depth: int = 0

    @property
    def path(self) -> str:
        """Where it is now."""
        return self.entry[0]

    @property
    def folder(self) -> str:
        """The folder's name, the same in every scan."""
        # Of each of millions of files: a Path costs several times as much.
        return self.inside or os.path.split(self.path)[0]


@dataclass(slots=True)
class Rows:
    """Rows by table."""

    files: list[Row] = field(default_factory=list)
    headers: list[Row] = field(default_factory=list)
    persons: set[Row] = field(default_factory=set)
    listed: list[Row] = field(default_factory=list)


@dataclass(slots=True)
class _Reader:
    key: bytes
    workspace: Path
    scan: int
    limits: Limits = field(default_factory=Limits)
    # What each outermost archive may still give: archives inside it share that.
    left: dict[str, Allowance] = field(default_factory=dict)
    rows: Rows = field(default_factory=Rows)


def read_files(tasks: list[Task], key: bytes, workspace: Path, scan: int) -> Rows:
    """Return the rows of some files; whatever one of them does, the others are read.

    Parameters
    ----------
    key : bytes
        Secret of the pseudonyms.
    workspace : Path
        Folder below which archives are unpacked; each is removed when it was read.
    scan : int
        Number of the scan.
    """
    reader = _Reader(key, workspace, scan)
    for task in tasks:
        _read_one(reader, task)
    return reader.rows


def lost_file(task: Task, key: bytes, workspace: Path, scan: int) -> Rows:
    """Return the rows of a file that ends whoever reads it; parameters as in `read_files`."""
    reader = _Reader(key, workspace, scan)
    _add_file(reader, task, "other", reason="reader_died")
    return reader.rows


def _read_one(reader: _Reader, task: Task) -> None:
    try:
        _open(reader, task)
    except InputRefused as error:
        _add_file(reader, task, "other", reason=error.reason)
    except Exception as error:  # an unreadable disk, or a file that no reader foresaw
        _LOG.debug("unexpected %s while a file was read", type(error).__name__, exc_info=True)
        _add_file(reader, task, "other", reason="unreadable")


def _open(reader: _Reader, task: Task) -> None:
    path = task.path
    if task.entry[1] == UNREADABLE:
        _add_file(reader, task, "other", reason="unreadable")
        return
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        start, size = os.read(handle, WINDOW), os.fstat(handle).st_size
        if start[128:132] != b"DICM" and _is_archive(path, start):
            _read_archive(reader, task)
            return
        head = read_head(Path(path), start, handle, size)
        _add_dicom(reader, task, head, start, handle)
    finally:
        os.close(handle)


def _is_archive(path: str, start: bytes) -> bool:
    from angio_pipeline.ingest.archives import is_archive

    return bool(start) and is_archive(Path(path)) and not is_dicom(Path(path))


def _add_file(
    reader: _Reader, task: Task, content: str, *, reason: str | None = None, head: Head | None = None, digest: str = ""
) -> None:
    path, size, mtime_ns, inode = task.entry
    inside = task.archive_id is not None
    sha256 = content_digest(path) if inside and content == "dicom" else None
    reader.rows.files.append(
        (
            task.file_id,
            task.source_id,
            _folder_key(task.folder, reader.key),
            task.archive_id,
            _suffix(path),
            max(size, 0),
            None if inside else mtime_ns,
            None if inside else inode,
            content,
            reason,
            digest or None,
            sha256,
            None if head is None else head.quick,
            reader.scan,
        )
    )


@lru_cache(maxsize=1024)
def _folder_key(folder: str, key: bytes) -> str:
    return file_key(folder, key)


def _suffix(path: str) -> str:
    suffix = path.rpartition(".")[2].lower()
    return suffix if suffix in _SUFFIXES else ""


def content_digest(path: str) -> str:
    """Return the SHA-256 of a whole file, as hexadecimal."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _add_dicom(reader: _Reader, task: Task, head: Head, start: bytes, handle: int) -> None:
    read = head.read
    plain = head.pixels is not None and head.size == os.fstat(handle).st_size  # else it was inflated
    before_pixels = start[: head.pixels.offset] if plain and head.pixels is not None else start
    digest = hashlib.blake2b(before_pixels, key=reader.key[:64], digest_size=12).hexdigest()
    if read("MediaStorageSOPClassUID") == _DICOMDIR:
        _add_file(reader, task, "dicomdir", head=head, digest=digest)
        _add_listed(reader, task)
        return
    _add_file(reader, task, "dicom", reason=_pixel_problem(head, handle), head=head, digest=digest)
    key = reader.key
    subject = _subject(
        key, read("PatientID"), read("IssuerOfPatientID"),
        read("StudyInstanceUID"), read("FrameOfReferenceUID"), task.folder,
    )  # fmt: skip
    person = person_of(
        key, subject, read("PatientID"), read("IssuerOfPatientID"), read("PatientName"), read("PatientBirthDate")
    )
    reader.rows.persons.add(person)
    reader.rows.headers.append(_header_row(task.file_id, head, subject, person[0]))


@lru_cache(maxsize=8192)
def _subject(key: bytes, number: str, issuer: str, study: str, frame: str, folder: str) -> str:
    told = {"PatientID": number, "IssuerOfPatientID": issuer, "StudyInstanceUID": study, "FrameOfReferenceUID": frame}
    return subject_of(told.__getitem__, key=key, fallback=folder)


def _header_row(file_id: str, head: Head, subject: str, person_id: str) -> Row:
    read = head.read
    call, stage, vendor = _called(*map(read, _BOLUS if read("ContrastBolusStartTime") else _NO_BOLUS))
    moment, date = acquired(read), date_of(read)
    return (
        file_id,
        _uid(read("SOPInstanceUID")) or _uid(read("MediaStorageSOPInstanceUID")),
        _uid(read("SOPClassUID")) or _uid(read("MediaStorageSOPClassUID")),
        _uid(read("SeriesInstanceUID")),
        _uid(read("StudyInstanceUID")),
        subject,
        person_id,
        _code(read("Modality")),
        None if date == "undated" else date,
        None if moment is None else moment.isoformat(" "),
        _whole(read("SeriesNumber")),
        _whole(read("AcquisitionNumber")),
        _whole(read("InstanceNumber")),
        _whole(read("NumberOfFrames")) or 1,
        _whole(read("Rows")),
        _whole(read("Columns")),
        _uid(read("TransferSyntaxUID")),
        vendor or None,
        call.role.value,
        None if call.phase is None else call.phase.value,
        stage,
        _number(read("PositionerPrimaryAngle")),
        _number(read("PositionerSecondaryAngle")),
        call.evidence,
    )


_NO_BOLUS = tuple(keyword for keyword in ROLE_TAGS if keyword != "AcquisitionTime")
_BOLUS = (*_NO_BOLUS, "AcquisitionTime")


@lru_cache(maxsize=2048)  # what the files of a series say is the same for all but their time
def _called(*told: str) -> tuple[RoleCall, str | None, str]:
    values = dict(zip(_BOLUS, (*told, ""), strict=False))
    stage = stage_of(values.__getitem__)
    return role_of(values.__getitem__), None if stage is None else stage.value, vendor_of(values["Manufacturer"])


_is_uid = re.compile(r"[0-9.]{1,64}").fullmatch
_is_code = re.compile(r"[A-Z]{1,16}").fullmatch


def _uid(value: str) -> str | None:
    return value if _is_uid(value) else None


def _code(value: str) -> str | None:
    return value if _is_code(value) else None


def _number(text: str) -> float | None:
    values = as_numbers(text) if text else ()
    return values[0] if values else None


def _whole(text: str) -> int | None:
    if text.isdecimal() and len(text) < 16:
        return int(text)
    value = _number(text)
    return int(value) if value is not None and value == int(value) and abs(value) < 1 << 53 else None


def _pixel_problem(head: Head, handle: int) -> str | None:
    """Return `truncated` or `no_pixel_data` where the pixels that the header promises are not all there."""
    if kind_of(head.read) not in _NEED_PIXELS:
        return None
    place = head.pixels
    if place is None or place.length == 0:
        return "no_pixel_data"
    if place.length is None:
        return None if not head.quick or _ends(handle, place.offset, head.size) else "truncated"
    bits, samples = _whole(head.read("BitsAllocated")) or 0, _whole(head.read("SamplesPerPixel")) or 1
    rows, columns = (_whole(head.read(keyword)) or 0 for keyword in ("Rows", "Columns"))
    need = rows * columns * samples * (_whole(head.read("NumberOfFrames")) or 1) * bits // 8
    have = min(place.length, head.size - place.offset)
    return "truncated" if have < max(need, place.length if head.quick else 0) else None


def _ends(handle: int, offset: int, size: int) -> bool:
    """Return whether compressed pixels end as they should; where something follows them, item by item."""
    if _tag_at(handle, size - 8)[:2] == _SEQUENCE_END:
        return True
    at = offset
    while at + 8 <= size:
        group, element, length = _tag_at(handle, at)
        if (group, element) == _SEQUENCE_END:
            return True
        if (group, element) != _ITEM:
            return False
        at += 8 + length
    return False


def _tag_at(handle: int, at: int) -> tuple[int, int, int]:
    head = read_at(handle, max(at, 0), 8)
    return struct.unpack("<HHL", head) if len(head) == 8 else (0, 0, 0)


def _add_listed(reader: _Reader, task: Task) -> None:
    header = read_header(Path(task.path))
    for record in items(header.dataset, "DirectoryRecordSequence"):
        uid = _uid(read_from(record)("ReferencedSOPInstanceUIDInFile"))
        if uid:
            reader.rows.listed.append((task.file_id, uid))


def _read_archive(reader: _Reader, task: Task) -> None:
    """Unpack an archive, read its members as files of their own, and remove them."""
    deepest, outermost = reader.limits.archive_depth, task.archive_id or task.file_id
    if task.depth >= deepest:
        sentence = f"Expected archives at most {deepest} deep, found more; unpack it yourself."
        raise InputRefused(sentence, reason="too_large")
    place = reader.workspace / task.file_id
    place.mkdir(parents=True, exist_ok=True)
    try:
        result = unpack(Path(task.path), place, reader.limits, reader.left.get(outermost))
        reader.left[outermost] = result.left
        _add_file(reader, task, "archive")
        for name, reason, _ in result.refused:
            inner = (name, 0, 0, 0)
            _add_file(reader, _member(reader, task, inner, name, outermost), "other", reason=reason)
        prefix = len(str(result.folder)) + 1
        for entry in entries(result.folder):
            _read_one(reader, _member(reader, task, entry, entry[0][prefix:], outermost))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _member(reader: _Reader, archive: Task, entry: Entry, name: str, outermost: str) -> Task:
    # Members are named by their archive's identity and their own name: the folder of unpacking is gone tomorrow.
    inside = f"{archive.file_id}/{name}"
    file_id = file_key(inside, reader.key)
    return Task(entry, file_id, archive.source_id, outermost, inside.rpartition("/")[0], archive.depth + 1)


def content_digests(named: list[tuple[str, str]]) -> list[tuple[str, str | None]]:
    """Return the SHA-256 of whole files by their identifier; None for those that cannot be read."""
    digests: list[tuple[str, str | None]] = []
    for file_id, path in named:
        try:
            digests.append((file_id, content_digest(path)))
        except OSError:
            digests.append((file_id, None))
    return digests


def lost_digest(named: tuple[str, str]) -> list[tuple[str, str | None]]:
    """Return that a file's content is unknown, since it ends whoever reads it."""
    return [(named[0], None)]
