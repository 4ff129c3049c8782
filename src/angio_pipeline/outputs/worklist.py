"""The worklist: every subject with thumbnails, flags and links, from the files and nothing else."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

from angio_pipeline.core.provenance import public_name
from angio_pipeline.core.words import counted
from angio_pipeline.outputs.comparison_story import comparison_findings
from angio_pipeline.outputs.files import write_text
from angio_pipeline.outputs.folders import RunFolder, SubjectFolder, read_refused, read_subjects
from angio_pipeline.outputs.pages import day, render
from angio_pipeline.outputs.report import course_story, likely_feeders

__all__ = ["write_index"]

_THUMBNAILS = 6
_TABLES = ("runs.csv", "feeders.csv", "lipiodol.csv", "embolisation.csv", "response.csv", "lesions.csv", "refused.csv")


def write_index(out: Path) -> Path:
    """Write `index.html` into `out` and return its path.

    Raises
    ------
    OSError
        When the page cannot be written.
    """
    subjects, refused = read_subjects(out), read_refused(out)
    page = render(
        "index.html",
        images="'self' file:",
        rows=[_row(subject) for subject in subjects],
        refused=[{**row, "path": _public(row, line)} for line, row in enumerate(refused, start=2)],
        counts=_counts(subjects, len(refused)),
        tables=[name for name in _TABLES if (out / name).is_file()],
    )
    path = out / "index.html"
    write_text(path, page)
    return path


def _public(row: dict[str, str], line: int) -> str:
    """Return what a refused input is called on a page that is passed on: files and folders are named by patients."""
    return public_name(row.get("path", "")) or f"line {line} of refused.csv"


def _counts(subjects: list[SubjectFolder], refused: int) -> str:
    runs = [run for subject in subjects for run in subject.runs]
    failed = sum(run.document is None for run in runs)
    lesions = sum(len(s.follow_up.lesions) for s in subjects if s.follow_up is not None)
    words = [counted(len(subjects), "patient"), counted(len(runs) - failed, "run") + " analysed"]
    words += [f"{failed} failed"] if failed else []
    words += [counted(lesions, "lesion") + " followed", counted(refused, "input") + " refused"]
    return ", ".join(words)


def _row(subject: SubjectFolder) -> dict[str, Any]:
    has_report = (subject.path / "report.html").is_file()
    thumbnails = [thumb for run in subject.runs if (thumb := _thumbnail(subject, run)) is not None]
    more = len(subject.runs) - min(len(thumbnails), _THUMBNAILS)
    follow_up = subject.follow_up
    lesions = [(lesion.id, lesion) for lesion in follow_up.lesions] if follow_up is not None else []
    return {
        "subject": subject.subject,
        "report": _link(subject, "report.html") if has_report else None,
        "thumbnails": thumbnails[:_THUMBNAILS],
        "run_words": f"and {more} more" if more and thumbnails else ("" if thumbnails else "none"),
        "dates": sorted({day(run.date) for run in subject.runs}),
        "findings": [
            *(f"Run {i}: {line}" for i, run in enumerate(subject.runs, start=1) if (line := _finding(run))),
            *comparison_findings(subject.embolisation),
        ],
        "follow_up": ["not analysed"] if subject.problem else [f"{n}: {course_story(course)}" for n, course in lesions],
        "flags": _flags(subject),
    }


def _thumbnail(subject: SubjectFolder, run: RunFolder) -> dict[str, str] | None:
    if run.document is None or not (run.path / "thumbnail.png").is_file():
        return None
    return {"picture": _link(subject, f"{run.name}/thumbnail.png"), "words": f"Run of {day(run.date)}"}


def _link(subject: SubjectFolder, name: str) -> str:
    return quote(f"subjects/{subject.path.name}/{name}")


def _finding(run: RunFolder) -> str:
    if run.document is None:
        return "not analysed"
    if not run.document.tumours:
        return ""
    names = ", ".join(tumour.id for tumour in run.document.tumours)
    return ", ".join(likely_feeders(run.document)) or f"{names}, no likely feeder"


def _flags(subject: SubjectFolder) -> list[str]:
    """Each flag in words of its own, with how many runs carry it."""
    counts = Counter(flag for run in subject.runs if run.document is not None for flag in run.document.quality)
    if subject.follow_up is not None:
        points = [p for lesion in subject.follow_up.lesions for p in lesion.timepoints]
        counts.update({flag for p in points for flag in p.quality} | set(subject.follow_up.quality))
    names = [(_words(name), count) for name, count in counts.most_common()]
    return [f"{name} ({count})" if count > 1 else name for name, count in names]


def _words(flag: str) -> str:
    return flag.lower().replace("_", " ").replace(" hu", " HU").replace("kvp", "kVp")
