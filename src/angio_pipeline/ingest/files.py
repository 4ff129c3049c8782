"""Every file that the sources hold: folders walked, archives unpacked, DICOMDIR sets followed.

Archives and DICOMDIR files are opened by the reader that the caller gives, which may be a process apart.

Left out without a word: hidden files, the truth of digital patients, results of earlier runs (a folder
that holds `refused.csv` and `subjects`), and beside de-identified copies the files that tell of them. Everything
else is either a candidate or refused.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pydicom

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.results import Refusal
from angio_pipeline.ingest.archives import Allowance, is_archive, unpack
from angio_pipeline.ingest.guard import Read, read_here
from angio_pipeline.ingest.headers import is_dicom, items, quiet_pydicom, read_header, text
from angio_pipeline.ingest.limits import Limits

__all__ = ["Candidate", "list_files", "own_tables", "wanted_folder"]

_LEFT_OUT = {"__MACOSX"}
# What the digital patient's truth is known by; another folder of that name is a folder like any other.
_TRUTHS = ("plan.json", "simulation.json", "cohort.json", "*/truth.json")
_STATE = {"journal.jsonl", "state.json"}  # the mark of a folder of de-identified copies
_TABLES = _STATE | {"files.csv", "refused.csv", "report.csv", "report.html"}


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


def list_files(
    sources: Sequence[Path], *, workspace: Path, limits: Limits | None = None, read: Read = read_here
) -> tuple[list[Candidate], list[Refusal]]:
    """Return all files of the sources in a fixed order, each once, and what was refused on the way."""
    walk = _Walk(workspace, limits or Limits(), read)
    found: dict[Path, Candidate] = {}
    for source in sources:
        for candidate in walk.source(source):
            found.setdefault(candidate.path.resolve(), candidate)
    return list(found.values()), walk.refusals


@dataclass(frozen=True, slots=True)
class _Inside:
    """Which archive a folder was unpacked from: how deep it lay, and what archives in it may still give."""

    depth: int = 0
    left: Allowance | None = None


@dataclass(frozen=True, slots=True)
class _Walk:
    workspace: Path
    limits: Limits
    read: Read
    refusals: list[Refusal] = field(default_factory=list)

    def source(self, source: Path) -> Iterator[Candidate]:
        if source.is_dir():
            yield from self._folder(source, "", str(source).rstrip("/\\"), _Inside())
        elif source.is_file():
            yield from self._expand(Candidate(source, source.name, str(source)), _Inside())
            if source.name.upper() == "DICOMDIR":
                for listed in self._listed(source):
                    if listed.is_file():
                        file = listed.relative_to(source.parent).as_posix()
                        yield Candidate(listed, file, f"{source.parent}/{file}")
        else:
            sentence = "Expected a file or folder, found none; check the path."
            self.refusals.append(Refusal(str(source), "not_found", sentence))

    def _folder(self, folder: Path, file: str, shown: str, inside: _Inside) -> Iterator[Candidate]:
        seen: set[Path] = set()
        for place, folders, names in os.walk(folder, followlinks=True, onerror=None):
            here = Path(place)
            real = here.resolve()
            if real in seen or real == self.workspace.resolve():  # a link that leads back, or our own unpacked archives
                folders.clear()
                continue
            seen.add(real)
            folders[:] = sorted(name for name in folders if wanted_folder(here / name))
            relative = here.relative_to(folder).as_posix()
            prefix = "" if relative == "." else f"{relative}/"
            left_out = own_tables(names)
            for name in sorted(names):
                if name.startswith(".") or name in left_out:
                    continue
                inner = f"{prefix}{name}"
                candidate = Candidate(here / name, f"{file}{inner}", f"{shown}/{inner}")
                yield from self._expand(candidate, inside)

    def _expand(self, candidate: Candidate, inside: _Inside) -> Iterator[Candidate]:
        """Yield the file itself, or the members of the archive that it is."""
        try:
            if not candidate.path.is_file():
                raise InputRefused(
                    "Expected a file, found something else (a pipe, a broken link).", reason="unreadable"
                )
            if candidate.path.name.upper() == "DICOMDIR" and is_dicom(candidate.path):
                self.refusals.extend(self.read(self.limits.file_seconds, _missing, candidate, self.limits))
            elif is_archive(candidate.path) and not is_dicom(candidate.path):
                yield from self._unpacked(candidate, inside)
            else:
                yield candidate
        except InputRefused as error:
            self.refusals.append(Refusal(candidate.shown, error.reason, error.sentence))
        except OSError as error:
            sentence = f"Expected a readable file, found one that cannot be opened ({type(error).__name__})."
            self.refusals.append(Refusal(candidate.shown, "unreadable", sentence))

    def _unpacked(self, archive: Candidate, inside: _Inside) -> Iterator[Candidate]:
        deepest = self.limits.archive_depth
        if inside.depth >= deepest:
            sentence = f"Expected archives at most {deepest} deep, found more; unpack it yourself."
            raise InputRefused(sentence, reason="too_large")
        self.workspace.mkdir(parents=True, exist_ok=True)
        seconds, place = self.limits.archive_seconds, self.workspace
        result = self.read(seconds, unpack, archive.path, place, self.limits, inside.left)
        for name, reason, sentence in result.refused:
            self.refusals.append(Refusal(f"{archive.shown}/{name}".rstrip("/"), reason, sentence))
        if inside.left is not None:  # archives beside this one share what their own archive may give
            inside.left.bytes, inside.left.members = result.left.bytes, result.left.members
        deeper = _Inside(inside.depth + 1, inside.left or result.left)
        yield from self._folder(result.folder, f"{archive.file}/", archive.shown, deeper)

    def _listed(self, dicomdir: Path) -> list[Path]:
        try:
            return self.read(self.limits.file_seconds, _listed, dicomdir, self.limits)
        except InputRefused:  # told where the file itself is looked at
            return []


def wanted_folder(folder: Path) -> bool:
    """Return whether a folder is walked: not hidden, no truth of digital patients, no results of an earlier run."""
    if folder.name.startswith(".") or folder.name in _LEFT_OUT:
        return False
    if folder.name == "truth" and any(True for pattern in _TRUTHS for _ in folder.glob(pattern)):
        return False
    return not ((folder / "refused.csv").is_file() and (folder / "subjects").is_dir())


def own_tables(names: Collection[str]) -> set[str]:
    """Return those of a folder's files that `angio deidentify` wrote beside its copies."""
    return _TABLES.intersection(names) if set(names) >= _STATE else set()


def _listed(dicomdir: Path, limits: Limits) -> list[Path]:
    """Return the paths that a DICOMDIR lists, whether they exist or not; broken entries are left out."""
    try:
        header = read_header(dicomdir, limits=limits)
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


def _missing(dicomdir: Candidate, limits: Limits) -> list[Refusal]:
    header = read_header(dicomdir.path, limits=limits)
    if text(header.dataset, "DirectoryRecordSequence") == "" and header.pixels is not None:
        return []
    folder = dicomdir.shown[: -len(dicomdir.path.name)]
    return [
        Refusal(
            folder + path.relative_to(dicomdir.path.parent).as_posix(),
            "missing_from_set",
            "Expected the file that DICOMDIR lists, found none; copy the whole disc.",
        )
        for path in _listed(dicomdir.path, limits)
        if not path.is_file()
    ]
