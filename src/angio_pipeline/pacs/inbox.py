"""Where received instances come to lie: `<study>/<series>/<instance>.dcm`, whole or not at all.

Nothing that came over the network becomes part of a path before it was found to be a UID, digits and dots.
Of the data set only its UIDs and the patient's number are read, as bytes: nothing of it is shown or logged.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import secrets
import shutil
import threading
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_file_meta_info
from pydicom.tag import BaseTag, Tag
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, UID

from angio_pipeline.pacs.journal import Journal, Kept, digest_of

__all__ = [
    "DUPLICATE",
    "FAILED",
    "NOT_UNDERSTOOD",
    "NOT_WANTED",
    "NO_ROOM",
    "STORED",
    "Arrival",
    "Inbox",
    "is_uid",
    "patient_key",
]

# What C-STORE answers (PS3.4 table B.2-1, PS3.7 annex C).
STORED = 0x0000
DUPLICATE = 0x0111
NOT_WANTED = 0x0124
NO_ROOM = 0xA700
FAILED = 0x0110
NOT_UNDERSTOOD = 0xC000

_WORDS = {
    DUPLICATE: "another instance of that UID lies here",
    NOT_WANTED: "not asked for",
    NO_ROOM: "no room here",
    FAILED: "could not be written",
    NOT_UNDERSTOOD: "no valid data set",
}
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, slots=True)
class Arrival:
    """One instance that was stored.

    Attributes
    ----------
    new : bool
        False when the very same instance lay there already.
    """

    study: str
    uid: str
    patient: str
    new: bool


def is_uid(text: str) -> bool:
    """Return whether the text is a UID: at most 64 digits and dots, no component empty."""
    return len(text) <= 64 and re.fullmatch(r"[0-9]+(\.[0-9]+)*", text, re.ASCII) is not None


def patient_key(dataset: Dataset) -> str:
    """Return a digest that two studies of one patient share; it tells no number or name."""
    told = b"\0".join(_raw(dataset, name) for name in ("PatientID", "IssuerOfPatientID"))
    return hashlib.sha256(told).hexdigest()


class Inbox:
    """A folder for received instances, with its memory and its limits.

    Attributes
    ----------
    wanted : frozenset of str or None
        The only UIDs that are taken; all where None.
    arrived : set of str
        What was stored by this inbox, or sent again just as it lay here.
    refused : Counter of int
        How often each status other than success was answered.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        largest_mb: float = 2048.0,
        reserve_mb: float = 256.0,
        wanted: frozenset[str] | None = None,
        on_arrival: Callable[[Arrival], None] | None = None,
    ) -> None:
        self.journal, self.wanted = journal, wanted
        self.largest_bytes, self._reserve_bytes = int(largest_mb * 1e6), int(reserve_mb * 1e6)
        self._on_arrival = on_arrival
        self.arrived: set[str] = set()
        self.refused: Counter[int] = Counter()
        self._busy: set[str] = set()
        self._lock = threading.Lock()

    def holds(self, uid: str) -> bool:
        """Return whether an instance lies here whole; one that was changed or cut is removed."""
        kept = self.journal.kept(uid)
        if kept is None:
            return False
        path = self.journal.folder / kept.file
        if not path.is_file():
            return False
        if path.stat().st_size == kept.size and digest_of(path) == kept.sha256:
            return True
        path.unlink()
        return False

    def secure(self, uid: str) -> bool:
        """Return whether an instance lies here whole, after the disk was made to hold it."""
        if not self.holds(uid):
            return False
        kept = self.journal.kept(uid)
        assert kept is not None
        path = self.journal.folder / kept.file
        for place in (path, path.parent):
            handle = os.open(place, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        return True

    def why_refused(self) -> str:
        """Return why some of what came was not stored, in words; empty when all of it was."""
        return "; ".join(f"{count} × {_WORDS[status]}" for status, count in self.refused.most_common())

    def store(self, encoded: bytes | memoryview, *, syntax: str, sop_class: str, uid: str) -> int:
        """Store one instance and return the status that answers it.

        Parameters
        ----------
        encoded : bytes
            The data set in its transfer syntax, without file meta information.
        syntax, sop_class, uid : str
            Transfer syntax, class and UID that the sender named.
        """
        status = self._store(encoded, syntax, sop_class, uid)
        if status == STORED:
            self.arrived.add(uid)
        else:
            self.refused[status] += 1
        return status

    def _store(self, encoded: bytes | memoryview, syntax: str, sop_class: str, uid: str) -> int:
        if self.wanted is not None and uid not in self.wanted:
            return NOT_WANTED
        if len(encoded) > self.largest_bytes:
            return NO_ROOM
        whole = _file_start(syntax, sop_class, uid) if is_uid(uid) and is_uid(sop_class) and is_uid(syntax) else None
        read = _read_head(encoded, syntax) if whole is not None else None
        if whole is None or read is None or (read["SOPInstanceUID"], read["SOPClassUID"]) != (uid, sop_class):
            return NOT_UNDERSTOOD
        file = f"{read['StudyInstanceUID']}/{read['SeriesInstanceUID']}/{uid}.dcm"
        try:
            new = self._put(file, uid, whole, encoded)
        except FileExistsError:
            return DUPLICATE
        except OSError as error:
            return NO_ROOM if error.errno in _FULL else FAILED
        if self._on_arrival is not None:
            self._on_arrival(Arrival(read["StudyInstanceUID"], uid, read["patient"], new))
        return STORED

    def _put(self, file: str, uid: str, start: bytes, encoded: bytes | memoryview) -> bool:
        """Return whether the file is new; raise FileExistsError where another instance of that UID lies."""
        path = self.journal.folder / file
        content = hashlib.sha256(start)
        content.update(encoded)
        kept = Kept(uid, file, len(start) + len(encoded), content.hexdigest())
        with self._alone(uid):
            before = self.journal.kept(uid)
            there = self.journal.folder / before.file if before is not None else path
            found = digest_of(there) if there.is_file() else None
            if found is not None and (before is None or found == before.sha256):  # else it was damaged: written anew
                if found != kept.sha256:
                    raise FileExistsError
                if before is None:  # written, and stopped before it was noted
                    self.journal.note_kept(kept)
                return False
            self._check_room(kept.size)
            _write(path, start, encoded)
            self.journal.note_kept(kept)
            return True

    def _alone(self, uid: str) -> _Turn:
        return _Turn(uid, self._busy, self._lock)

    def _check_room(self, size: int) -> None:
        if shutil.disk_usage(self.journal.folder).free - size < self._reserve_bytes:
            raise OSError(errno.ENOSPC, "no room")


class _Turn:
    """One thread at a time stores a UID: the second finds it there."""

    def __init__(self, uid: str, busy: set[str], lock: threading.Lock) -> None:
        self._uid, self._busy, self._lock = uid, busy, lock

    def __enter__(self) -> None:
        while True:
            with self._lock:
                if self._uid not in self._busy:
                    self._busy.add(self._uid)
                    return
            threading.Event().wait(0.005)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._busy.discard(self._uid)


def _write(path: Path, start: bytes, encoded: bytes | memoryview) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".tmp-{secrets.token_hex(6)}")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb", buffering=0) as stream:
            stream.write(start)
            left = memoryview(encoded)
            while left:
                left = left[stream.write(left) :]
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _file_start(syntax: str, sop_class: str, uid: str) -> bytes:
    """Return preamble and file meta information; the same for the same instance, whoever sends it."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = UID(uid)
    meta.TransferSyntaxUID = UID(syntax)
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    stream = DicomBytesIO()
    stream.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(stream, meta)
    return stream.getvalue()


def _read_head(encoded: bytes | memoryview, syntax: str) -> dict[str, str] | None:
    """Return the UIDs of a data set and its patient's key; None where they cannot be read or are no UIDs."""
    try:
        dataset = _read_tags(encoded, syntax, [*_UIDS, "PatientID", "IssuerOfPatientID"])
        told = {name: _raw(dataset, name).decode("ascii").rstrip("\0 ") for name in _UIDS}
    except Exception:  # whatever bytes came, the answer is a status
        return None
    return told | {"patient": patient_key(dataset)} if all(is_uid(value) for value in told.values()) else None


def _read_tags(encoded: bytes | memoryview, syntax: str, names: list[str]) -> Dataset:
    """Return a few elements of an encoded data set, unconverted; whatever cannot be read raises."""
    kind = UID(syntax)
    if kind.is_deflated:
        encoded = zlib.decompressobj(-zlib.MAX_WBITS).decompress(encoded, 1 << 20)
    tags: list[BaseTag | int] = [Tag(name) for name in names]
    last = max(tags)
    return read_dataset(
        io.BytesIO(encoded),
        kind.is_implicit_VR,
        kind.is_little_endian,
        stop_when=lambda tag, vr, length: tag > last,
        specific_tags=tags,
    )


def _raw(dataset: Dataset, name: str) -> bytes:
    element = dataset.get_item(name)
    value = element.value if element is not None else b""
    return value if isinstance(value, bytes) else str(value).encode()
