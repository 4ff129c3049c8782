"""Zip and tar archives, unpacked so that nothing lands outside its folder and no bomb goes off.

Member names are judged and cleaned, links and devices refused, and the bytes that really come
out are counted against a budget that grows with the archive's own size.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from pydantic import Field

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.params import Params

__all__ = ["ArchiveLimits", "Unpacked", "is_archive", "unpack"]

_TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
# zipfile raises NotImplementedError for a compression that it does not know.
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError)
_CHUNK = 1 << 20


class ArchiveLimits(Params):
    """How much may come out of one archive."""

    total_bytes: int = Field(default=64 << 30, ge=1, description="bytes of all members")
    least_budget: int = Field(default=256 << 20, ge=1, description="bytes that any archive may give")
    ratio: int = Field(default=200, ge=1, description="bytes out for each byte of the archive beyond that")
    members: int = Field(default=200_000, ge=1, description="number of members")


@dataclass(slots=True)
class Unpacked:
    """Where the members are, and which were refused: (name, reason, sentence)."""

    folder: Path
    refused: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass(slots=True)
class _Budget:
    left: int
    members: int

    def spend(self, amount: int) -> None:
        self.left -= amount
        if self.left < 0:
            raise _too_large()


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


def unpack(archive: Path, workspace: Path, limits: ArchiveLimits | None = None) -> Unpacked:
    """Return the folder under `workspace` that holds the archive's members; unpacked once only.

    Raises
    ------
    InputRefused
        `bad_archive` where nothing can be read, `too_large`, `encrypted_archive`.
    """
    facts = archive.stat()
    identity = f"{archive.resolve()}|{facts.st_size}|{facts.st_mtime_ns}"
    folder = workspace / hashlib.sha256(identity.encode()).hexdigest()[:16]
    listing = folder.with_suffix(".json")
    if folder.is_dir() and listing.is_file():
        return Unpacked(folder, [(a, b, c) for a, b, c in json.loads(listing.read_text(encoding="utf-8"))])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    limits = limits or ArchiveLimits()
    free = shutil.disk_usage(workspace).free
    allowed = min(limits.total_bytes, max(limits.least_budget, limits.ratio * facts.st_size), free)
    result = Unpacked(folder)
    try:
        _unpack_all(archive, result, _Budget(allowed, limits.members))
    except InputRefused:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    listing.write_text(json.dumps(result.refused), encoding="utf-8")
    return result


def _unpack_all(archive: Path, result: Unpacked, budget: _Budget) -> None:
    reader = _zip_members if _is_zip(archive) else _tar_members
    count = 0
    try:
        for name, stream, problem in reader(archive):
            count += 1
            if count > budget.members:
                raise _too_large()
            _unpack_one(name, stream, problem, result, budget)
    except _BROKEN as error:
        if not count:
            raise InputRefused(
                f"Expected a readable archive, found a damaged one ({type(error).__name__}); make it again.",
                reason="bad_archive",
            ) from None
        result.refused.append(("", "bad_archive", "Expected a whole archive, found its end damaged; make it again."))


def _is_zip(archive: Path) -> bool:
    with archive.open("rb") as stream:
        return stream.read(2) == b"PK"


def _unpack_one(name: str, stream: IO[bytes] | None, problem: str, result: Unpacked, budget: _Budget) -> None:
    target = _target(result.folder, name)
    if problem or target is None or stream is None:
        reason = problem or "unsafe_member"
        result.refused.append((name, reason, _SENTENCES[reason]))
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with stream, target.open("xb") as out:
            while chunk := stream.read(_CHUNK):
                budget.spend(len(chunk))
                out.write(chunk)
    except _BROKEN:
        target.unlink(missing_ok=True)
        result.refused.append((name, "bad_archive", "Expected a readable member of the archive, found a damaged one."))


_SENTENCES = {
    "unsafe_member": "Expected a plain file below the archive's folder, found a link, a device or a way out.",
    "encrypted_archive": "Expected an archive without a password, found an encrypted member; unpack it yourself.",
}


def _target(folder: Path, name: str) -> Path | None:
    """Return where a member goes, None where its name would leave the folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or re.match(r"^[A-Za-z]:", name):
        return None
    parts = [_clean(part) for part in path.parts]
    target = folder.joinpath(*parts)
    copy = 2
    while target.exists():
        target = folder.joinpath(*parts[:-1], f"{parts[-1]}~{copy}")
        copy += 1
    return target


def _clean(part: str) -> str:
    cleaned = re.sub(r'[\x00-\x1f<>:"|?*]', "_", part).rstrip(" .") or "_"
    if len(cleaned.encode()) <= 120:
        return cleaned
    return cleaned[:24] + "~" + hashlib.sha256(part.encode()).hexdigest()[:16]


def _zip_members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None, str]]:
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
                yield info.filename, _opened(bundle, info), ""


def _opened(bundle: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes] | None:
    try:
        return bundle.open(info)
    except _BROKEN:
        return None


def _tar_members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None, str]]:
    with tarfile.open(archive, "r:*") as bundle:
        for info in bundle:
            if info.isdir():
                continue
            if info.isreg():
                yield info.name, bundle.extractfile(info), ""
            else:
                yield info.name, None, "unsafe_member"
