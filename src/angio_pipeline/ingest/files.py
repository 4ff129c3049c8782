"""Every file that the sources hold: folders walked, archives unpacked, DICOMDIR sets followed.

Left out without a word: hidden files, folders named `truth`, and results of earlier runs (a
folder that holds `refused.csv` and `subjects`). Everything else is either a candidate or refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.results import Refusal
from angio_pipeline.ingest.archives import is_archive, unpack
from angio_pipeline.ingest.headers import is_dicom, items, quiet_pydicom, read_header, text

__all__ = ["DEEPEST_ARCHIVE", "Candidate", "list_files", "wanted_folder"]

_LEFT_OUT = {"truth", "__MACOSX"}
DEEPEST_ARCHIVE = 2


@dataclass(frozen=True, slots=True)
class Candidate:
    """One file to look at.

    Attributes
    ----------
    file : str
        Path relative to the source, with `/`; through archives as `archive.zip/member`.
    shown : str
        The same behind the source as the user gave it.
    """

    path: Path
    file: str
    shown: str


def list_files(sources: Sequence[Path], *, workspace: Path) -> tuple[list[Candidate], list[Refusal]]:
    """Return all files of the sources in a fixed order, each once, and what was refused on the way."""
    refusals: list[Refusal] = []
    found: dict[Path, Candidate] = {}
    for source in sources:
        for candidate in _walk_source(source, workspace, refusals):
            found.setdefault(candidate.path.resolve(), candidate)
    return list(found.values()), refusals


def _walk_source(source: Path, workspace: Path, refusals: list[Refusal]) -> Iterator[Candidate]:
    if source.is_dir():
        base = str(source).rstrip("/\\")
        yield from _walk(source, "", base, workspace, refusals, depth=0)
    elif source.is_file():
        yield from _expand(Candidate(source, source.name, str(source)), workspace, refusals, depth=0)
        if source.name.upper() == "DICOMDIR":
            for listed in _listed(source):
                if listed.is_file():
                    file = listed.relative_to(source.parent).as_posix()
                    yield Candidate(listed, file, f"{source.parent}/{file}")
    else:
        refusals.append(Refusal(str(source), "not_found", "Expected a file or folder, found none; check the path."))


def _walk(
    folder: Path, file: str, shown: str, workspace: Path, refusals: list[Refusal], *, depth: int
) -> Iterator[Candidate]:
    seen: set[Path] = set()
    for place, folders, names in os.walk(folder, followlinks=True, onerror=None):
        here = Path(place)
        real = here.resolve()
        if real in seen or real == workspace.resolve():  # a link that leads back, or our own unpacked archives
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if wanted_folder(here / name))
        relative = here.relative_to(folder).as_posix()
        prefix = "" if relative == "." else f"{relative}/"
        for name in sorted(names):
            if name.startswith("."):
                continue
            inner = f"{prefix}{name}"
            candidate = Candidate(here / name, f"{file}{inner}", f"{shown}/{inner}")
            yield from _expand(candidate, workspace, refusals, depth=depth)


def wanted_folder(folder: Path) -> bool:
    """Return whether a folder is walked: not hidden, no truth, no results of an earlier run."""
    if folder.name.startswith(".") or folder.name in _LEFT_OUT:
        return False
    return not ((folder / "refused.csv").is_file() and (folder / "subjects").is_dir())


def _expand(candidate: Candidate, workspace: Path, refusals: list[Refusal], *, depth: int) -> Iterator[Candidate]:
    """Yield the file itself, or the members of the archive that it is."""
    try:
        if not candidate.path.is_file():
            raise InputRefused("Expected a file, found something else (a pipe, a broken link).", reason="unreadable")
        if candidate.path.name.upper() == "DICOMDIR" and is_dicom(candidate.path):
            refusals.extend(_missing(candidate))
        elif is_archive(candidate.path) and not is_dicom(candidate.path):
            yield from _unpacked(candidate, workspace, refusals, depth=depth)
        else:
            yield candidate
    except InputRefused as error:
        refusals.append(Refusal(candidate.shown, error.reason, error.sentence))
    except OSError as error:
        sentence = f"Expected a readable file, found one that cannot be opened ({type(error).__name__})."
        refusals.append(Refusal(candidate.shown, "unreadable", sentence))


def _unpacked(archive: Candidate, workspace: Path, refusals: list[Refusal], *, depth: int) -> Iterator[Candidate]:
    if depth >= DEEPEST_ARCHIVE:
        raise InputRefused("Expected archives at most two deep, found more; unpack it yourself.", reason="too_large")
    workspace.mkdir(parents=True, exist_ok=True)
    result = unpack(archive.path, workspace)
    for name, reason, sentence in result.refused:
        refusals.append(Refusal(f"{archive.shown}/{name}".rstrip("/"), reason, sentence))
    yield from _walk(result.folder, f"{archive.file}/", archive.shown, workspace, refusals, depth=depth + 1)


def _listed(dicomdir: Path) -> list[Path]:
    """Return the paths that a DICOMDIR lists, whether they exist or not; broken entries are left out."""
    try:
        header = read_header(dicomdir)
    except InputRefused:
        return []
    paths = []
    for record in items(header.dataset, "DirectoryRecordSequence"):
        with quiet_pydicom():
            parts = record.get("ReferencedFileID")
        names = [str(part) for part in parts] if isinstance(parts, pydicom.multival.MultiValue) else [str(parts or "")]
        if all(names) and ".." not in names and not any("/" in name or "\\" in name for name in names):
            paths.append(_on_disk(dicomdir.parent, names))
    return paths


def _on_disk(folder: Path, names: Sequence[str]) -> Path:
    """Return the path of a listed file; discs differ from their listing in case and in a `;1` at the end."""
    path = folder
    for name in names:
        exact = path / name
        if not exact.exists() and path.is_dir():
            same = [p for p in path.iterdir() if p.name.upper().split(";")[0] == name.upper()]
            exact = sorted(same)[0] if same else exact
        path = exact
    return path


def _missing(dicomdir: Candidate) -> list[Refusal]:
    header = read_header(dicomdir.path)
    if text(header.dataset, "DirectoryRecordSequence") == "" and header.pixels is not None:
        return []
    folder = dicomdir.shown[: -len(dicomdir.path.name)]
    return [
        Refusal(
            folder + path.relative_to(dicomdir.path.parent).as_posix(),
            "missing_from_set",
            "Expected the file that DICOMDIR lists, found none; copy the whole disc.",
        )
        for path in _listed(dicomdir.path)
        if not path.is_file()
    ]
