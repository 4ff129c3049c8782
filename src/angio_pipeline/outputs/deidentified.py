"""The folder of de-identified files: what was written stays known, so that the same command goes on where it ended.

`state.json` says which settings the folder was made with and which number each study and series has,
`journal.jsonl` gains a line when a file is whole. Both hold pseudonyms, new UIDs and keyed digests alone.
The reports are made from the journal; nothing in the folder quotes a value or a name of the source.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from angio_pipeline.core.errors import ConfigError
from angio_pipeline.core.results import Refusal
from angio_pipeline.outputs.cells import Row, csv_text
from angio_pipeline.outputs.files import replacing, write_bytes, write_json, write_text
from angio_pipeline.outputs.pages import render
from angio_pipeline.outputs.tables import write_refused

__all__ = ["DeidentifiedFolder", "WrittenFile", "open_deidentified"]

_STATE, _JOURNAL = "state.json", "journal.jsonl"
_SCHEMA = "angio-pipeline/deidentified/1"


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """One file of the folder: where it is, what it was made of (a keyed digest), what was changed in it.

    `changes` are rows of tag, keyword, action and number.
    """

    target: str
    digest: str
    size: int
    changes: tuple[tuple[str, str, str, int], ...] = ()
    flags: tuple[str, ...] = ()


@dataclass(slots=True)
class DeidentifiedFolder:
    """A folder that is being filled."""

    path: Path
    settings: str
    numbers: dict[str, int] = field(default_factory=dict)
    files: dict[str, WrittenFile] = field(default_factory=dict)

    def holds(self, target: str, digest: str) -> bool:
        """Return whether the file is there whole, made of the same source."""
        known = self.files.get(target)
        place = self.path / target
        return known is not None and known.digest == digest and place.is_file() and place.stat().st_size == known.size

    def remember(self, numbers: Mapping[str, int]) -> None:
        """Keep the numbers of studies and series before the first file takes one."""
        self.numbers = dict(numbers)
        write_json(
            self.path / _STATE,
            {"schema": _SCHEMA, "settings": self.settings, "numbers": dict(sorted(self.numbers.items()))},
        )

    def add(self, written: WrittenFile, content: bytes) -> None:
        """Write one file whole, then its line in the journal."""
        write_bytes(self.path / written.target, content)
        self.files[written.target] = written
        with (self.path / _JOURNAL).open("a", encoding="utf-8") as journal:
            journal.write(json.dumps(_line(written)) + "\n")

    def remove(self, target: str) -> None:
        """Remove what an earlier time let through and this one does not."""
        (self.path / target).unlink(missing_ok=True)
        self.files.pop(target, None)

    def write_reports(self, refusals: Sequence[Refusal], options: Sequence[str]) -> None:
        """Write `report.csv`, `files.csv`, `report.html` and `refused.csv`, and the journal without what is gone."""
        files = [file for _, file in sorted(self.files.items()) if (self.path / file.target).is_file()]
        write_text(self.path / _JOURNAL, "".join(json.dumps(_line(file)) + "\n" for file in files))
        write_text(self.path / "report.csv", csv_text(("file", "tag", "keyword", "action", "count"), _rows(files)))
        flags: list[Row] = [{"file": f.target, "flags": " ".join(f.flags), "changes": _total(f)} for f in files]
        write_text(self.path / "files.csv", csv_text(("file", "flags", "changes"), flags))
        write_refused(self.path, sorted(refusals, key=lambda refusal: (refusal.reason, refusal.path)))
        with replacing(self.path / "report.html") as temporary:
            temporary.write_text(_page(files, refusals, options), encoding="utf-8")


def _line(file: WrittenFile) -> dict[str, object]:
    return {name: getattr(file, name) for name in WrittenFile.__slots__}


def _rows(files: Iterable[WrittenFile]) -> Iterable[Row]:
    for file in files:
        for tag, keyword, action, count in file.changes:
            yield {"file": file.target, "tag": tag, "keyword": keyword, "action": action, "count": count}


def _total(file: WrittenFile) -> int:
    return sum(count for *_, count in file.changes)


def open_deidentified(out: Path, settings: str, *, resume: bool = True) -> DeidentifiedFolder:
    """Return the folder, with what an earlier time left in it.

    Raises
    ------
    ConfigError
        When the folder holds something else, or was filled with other settings or another key.
    """
    if not out.exists() or not any(out.iterdir()):
        return DeidentifiedFolder(out, settings)
    state = _read_state(out / _STATE)
    if state is None:
        raise ConfigError(f"Expected --out to name an empty folder or one of this command, found other files in {out}.")
    if state["settings"] != settings:
        raise ConfigError(
            f"Expected the options, profile, key and version that {out} was made with, found others; name another "
            "folder."
        )
    numbers = state["numbers"]
    files = _read_journal(out / _JOURNAL) if resume else {}
    return DeidentifiedFolder(out, settings, dict(numbers) if isinstance(numbers, dict) else {}, files)


def _read_state(path: Path) -> dict[str, object] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(found, dict) and found.get("schema") == _SCHEMA and {"settings", "numbers"} <= found.keys()
    return found if whole else None


def _read_journal(path: Path) -> dict[str, WrittenFile]:
    files: dict[str, WrittenFile] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            told = json.loads(line)
            changes = tuple((tag, keyword, action, count) for tag, keyword, action, count in told["changes"])
            one = WrittenFile(told["target"], told["digest"], told["size"], changes, tuple(told["flags"]))
        except (ValueError, KeyError, TypeError):  # the last line of a time that was cut short
            continue
        files[one.target] = one
    return files


def _page(files: Sequence[WrittenFile], refusals: Sequence[Refusal], options: Sequence[str]) -> str:
    tags: Counter[tuple[str, str, str]] = Counter()
    holders: Counter[tuple[str, str, str]] = Counter()
    for file in files:
        for tag, keyword, action, count in file.changes:
            tags[tag, keyword, action] += count
            holders[tag, keyword, action] += 1
    return render(
        "deidentified.html",
        files=len(files),
        subjects=len({file.target.split("/", 1)[0] for file in files}),
        options=list(options),
        changes=[(*name, count, holders[name]) for name, count in sorted(tags.items())],
        flags=sorted(Counter(flag for file in files for flag in file.flags).items()),
        refused=sorted(Counter(refusal.reason for refusal in refusals).items()),
        sentences={refusal.reason: refusal.sentence for refusal in refusals},
    )
