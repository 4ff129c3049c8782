"""Zip and tar archives, unpacked so that nothing lands outside its folder and no bomb goes off.

Member names are judged and cleaned, links and devices refused, and the bytes that really come
out are counted against a budget that grows with the archive's own size.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
from collections.abc import Container, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import IO, cast

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.ingest.limits import Limits

__all__ = ["Allowance", "Unpacked", "is_archive", "unpack"]

_TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_CHUNK = 1 << 20
_LARGEST_PIECE = 16 << 20
# A zip's table of contents ends within these last bytes; an entry of it is rarely longer than a path may be.
_LAST_BYTES = 22 + (1 << 16)
_LARGEST_ENTRY = 512


@dataclass(slots=True)
class Allowance:
    """Bytes and members that may still come out of an archive and of those inside it."""

    bytes: int
    members: int

    def spend(self, amount: int) -> None:
        """Take so many bytes off.

        Raises
        ------
        InputRefused
            `too_large`, when they are not there.
        """
        self.bytes -= amount
        if self.bytes < 0:
            raise _too_large()

    def spend_member(self) -> None:
        """Take one member off.

        Raises
        ------
        InputRefused
            `too_large`, when there is none.
        """
        self.members -= 1
        if self.members < 0:
            raise _too_large()


@dataclass(slots=True)
class Unpacked:
    """Where the members are, which were refused (name, reason, sentence), and what archives among them may give."""

    folder: Path
    left: Allowance
    refused: list[tuple[str, str, str]] = field(default_factory=list)


def _too_large() -> InputRefused:
    return InputRefused(
        "Expected an archive of images, found one that unpacks to far more than its size; unpack it yourself.",
        reason="too_large",
    )


def is_archive(path: Path) -> bool:
    """Return whether the file is an archive that is unpacked: by its suffix, or a zip without one."""
    name = path.name.lower()
    if name.endswith((".zip", *_TAR_SUFFIXES)):
        return True
    if path.suffix:
        return False
    with path.open("rb") as stream:
        return stream.read(4) == b"PK\x03\x04"


def unpack(archive: Path, workspace: Path, limits: Limits | None = None, within: Allowance | None = None) -> Unpacked:
    """Return the folder under `workspace` that holds the archive's members; unpacked once only.

    Parameters
    ----------
    within : Allowance, optional
        What is left of the archive that this one lies in: a bomb of bombs is one bomb.

    Raises
    ------
    InputRefused
        `bad_archive` where nothing can be read, `too_large`, `encrypted_archive`.
    """
    facts = archive.stat()
    identity = f"{archive.resolve()}|{facts.st_size}|{facts.st_mtime_ns}"
    folder = workspace / hashlib.sha256(os.fsencode(identity)).hexdigest()[:16]
    listing = folder.with_suffix(".json")
    if folder.is_dir() and listing.is_file():
        return _listed(folder, listing)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    limits = limits or Limits()
    allowed = limits.bytes_out(facts.st_size, limits.archive_bytes_out)
    left = replace(within) if within is not None else Allowance(allowed, limits.archive_members)
    left.bytes = min(left.bytes, shutil.disk_usage(workspace).free)
    result = Unpacked(folder, left)
    try:
        _unpack_all(archive, result, limits)
    except InputRefused:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    told = {"left": [result.left.bytes, result.left.members], "refused": result.refused}
    listing.write_text(json.dumps(told), encoding="utf-8")
    return result


def _listed(folder: Path, listing: Path) -> Unpacked:
    told = json.loads(listing.read_text(encoding="utf-8"))
    return Unpacked(folder, Allowance(*told["left"]), [(a, b, c) for a, b, c in told["refused"]])


def _unpack_all(archive: Path, result: Unpacked, limits: Limits) -> None:
    reader = _zip_members if _is_zip(archive) else _tar_members
    names = _Names(result.folder, limits.member_folders)
    count = 0
    try:
        for name, stream, problem in reader(archive, result.left.members):
            count += 1
            result.left.spend_member()
            _unpack_one(name, stream, problem, result, names)
    except (InputRefused, MemoryError):
        raise
    except Exception as error:  # a broken archive makes the libraries raise errors of almost any type
        if not count:
            raise InputRefused(
                f"Expected a readable archive, found a damaged one ({type(error).__name__}); make it again.",
                reason="bad_archive",
            ) from None
        result.refused.append(("", "bad_archive", "Expected a whole archive, found its end damaged; make it again."))


def _is_zip(archive: Path) -> bool:
    with archive.open("rb") as stream:
        return stream.read(2) == b"PK"


def _unpack_one(name: str, stream: IO[bytes] | None, problem: str, result: Unpacked, names: _Names) -> None:
    target = None if problem or stream is None else names.place(name)
    if target is None or stream is None:
        reason = problem or "unsafe_member"
        result.refused.append((name, reason, _SENTENCES[reason]))
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with stream, target.open("xb") as out:
            while chunk := stream.read(_CHUNK):
                result.left.spend(len(chunk))
                out.write(chunk)
    except (InputRefused, MemoryError):
        raise
    except Exception:
        target.unlink(missing_ok=True)
        result.refused.append((name, "bad_archive", "Expected a readable member of the archive, found a damaged one."))


_SENTENCES = {
    "unsafe_member": "Expected a plain file below the archive's folder, found a link, a device or a way out.",
    "encrypted_archive": "Expected an archive without a password, found an encrypted member; unpack it yourself.",
    "bad_archive": "Expected a readable member of the archive, found a damaged one.",
}


class _Names:
    """Where members go: below the folder, and no two to one place, also where case makes no difference.

    A name that was a file is never a folder, and the other way round: the later one gets a name of its own.
    """

    def __init__(self, folder: Path, deepest: int) -> None:
        self._folder, self._deepest = folder, deepest
        self._files: dict[tuple[str, ...], int] = {}
        self._folders: set[tuple[str, ...]] = set()

    def place(self, name: str) -> Path | None:
        """Return where a member goes, None where its name would leave the folder or lies too deep."""
        path = PurePosixPath(name.replace("\\", "/"))
        way_out = path.is_absolute() or ".." in path.parts or re.match(r"^[A-Za-z]:", name)
        if way_out or not path.parts or len(path.parts) > self._deepest + 1:
            return None
        parts: tuple[str, ...] = ()
        for part in path.parts[:-1]:
            parts = self._own((*parts, _clean(part)), self._files)
            self._folders.add(_caseless(parts))
        parts = self._own((*parts, _clean(path.parts[-1])), self._files, self._folders)
        self._files[_caseless(parts)] = 1
        return self._folder.joinpath(*parts)

    def _own(self, parts: tuple[str, ...], *taken: Container[tuple[str, ...]]) -> tuple[str, ...]:
        known = _caseless(parts)
        if not any(known in names for names in taken):
            return parts
        while True:  # counted on from the last copy, so that many of one name cost no more than others
            copy = self._files[known] = self._files.get(known, 1) + 1
            other = (*parts[:-1], f"{parts[-1]}~{copy}")
            if not any(_caseless(other) in names for names in taken):
                return other


def _caseless(parts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(unicodedata.normalize("NFC", part).casefold() for part in parts)


def _clean(part: str) -> str:
    cleaned = re.sub(r'[\x00-\x1f\x7f-\x9f\ud800-\udfff<>:"|?*]', "_", part).rstrip(" .") or "_"
    if len(cleaned.encode()) <= 120:
        return cleaned
    return cleaned[:24] + "~" + hashlib.sha256(cleaned.encode()).hexdigest()[:16]


def _zip_members(archive: Path, most: int) -> Iterator[tuple[str, IO[bytes] | None, str]]:
    if _directory_bytes(archive) > most * _LARGEST_ENTRY:
        raise _too_large()
    with zipfile.ZipFile(archive) as bundle:
        for info in bundle.infolist():
            if info.is_dir():
                continue
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.flag_bits & 1:
                yield info.filename, None, "encrypted_archive"
            elif kind not in (0, stat.S_IFREG):
                yield info.filename, None, "unsafe_member"
            else:
                stream = _opened(bundle, info)
                yield info.filename, stream, "" if stream is not None else "bad_archive"


def _directory_bytes(archive: Path) -> int:
    """Return how many bytes the table of contents claims, which is read whole; 0 where it is not found.

    Of a table beyond 4 GiB the old field says 0xFFFFFFFF, which is enough to refuse it.
    """
    with archive.open("rb") as stream:
        size = stream.seek(0, io.SEEK_END)
        stream.seek(max(0, size - _LAST_BYTES))
        end = stream.read()
    at = end.rfind(b"PK\x05\x06")
    return int(struct.unpack_from("<L", end, at + 12)[0]) if 0 <= at <= len(end) - 22 else 0


def _opened(bundle: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes] | None:
    try:
        return bundle.open(info)
    except MemoryError:
        raise
    except Exception:  # of almost any type, as above
        return None


def _tar_members(archive: Path, most: int) -> Iterator[tuple[str, IO[bytes] | None, str]]:
    with _tar_bytes(archive) as stream, tarfile.open(fileobj=stream, mode="r:") as bundle:
        for info in bundle:
            if info.isdir():
                continue
            if info.isreg():
                yield info.name, bundle.extractfile(info), ""
            else:
                yield info.name, None, "unsafe_member"


class _InPieces(io.BufferedIOBase):
    """A stream of which no one takes more than a piece: a tar's own headers may claim to be of any length."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _LARGEST_PIECE:
            raise _too_large()
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._stream.close()
        super().close()


def _tar_bytes(archive: Path) -> _InPieces:
    with archive.open("rb") as stream:
        start = stream.read(6)
    if start.startswith(b"\x1f\x8b"):
        return _InPieces(cast(IO[bytes], gzip.open(archive)))
    if start.startswith(b"BZh"):
        return _InPieces(cast(IO[bytes], bz2.open(archive)))
    if start.startswith((b"\xfd7zXZ", b"\x5d\x00\x00")):
        return _InPieces(cast(IO[bytes], lzma.open(archive)))
    return _InPieces(archive.open("rb"))
