"""Reading results back from their files: what the report, the worklist and the tables are built from.

A reader never fails on one bad file: what cannot be read becomes a sentence.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from angio_pipeline.outputs.schemas import (
    CurvesDocument,
    EmbolisationDocument,
    LipiodolDocument,
    ProjectionsDocument,
    ResponseDocument,
    RunDocument,
)

__all__ = ["EMBOLISATION", "PROJECTIONS", "RunFolder", "SubjectFolder", "read_refused", "read_subject", "read_subjects"]

Document = TypeVar("Document", bound=BaseModel)
EMBOLISATION = "embolisation"
PROJECTIONS = "projections"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run as its files tell it; `document` is None when the analysis failed or cannot be read."""

    path: Path
    date: str
    series: str
    document: RunDocument | None
    curves: CurvesDocument | None
    record: dict[str, Any]
    problem: str | None

    @property
    def name(self) -> str:
        """Folder below the subject's."""
        return f"{self.date}/{self.series}"


@dataclass(frozen=True, slots=True)
class SubjectFolder:
    """One subject as its files tell it."""

    path: Path
    subject: str
    runs: tuple[RunFolder, ...]
    follow_up: LipiodolDocument | None
    problem: str | None
    embolisation: EmbolisationDocument | None = None
    embolisation_problem: str | None = None
    projections: ProjectionsDocument | None = None
    projections_problem: str | None = None
    response: ResponseDocument | None = None
    response_problem: str | None = None


def read_subjects(out: Path) -> list[SubjectFolder]:
    """Return every subject below `out`, by pseudonym."""
    folder = out / "subjects"
    if not folder.is_dir():
        return []
    return [read_subject(path) for path in sorted(folder.iterdir()) if path.is_dir()]


def read_subject(subject_dir: Path) -> SubjectFolder:
    """Return one subject's runs, oldest first, and its follow-up."""
    series = [path for path in sorted(subject_dir.glob("*/*")) if path.is_dir()]
    runs = [_read_run(path) for path in series if _holds_run(path)]
    failure = _failure(_read_plain(subject_dir / "record.json"))
    follow_up, problem = (None, failure) if failure else _read(subject_dir / "lipiodol.json", LipiodolDocument)
    response, not_judged = (None, None) if failure else _read(subject_dir / "response.json", ResponseDocument)
    compared, not_compared = _read_step(subject_dir / EMBOLISATION, "embolisation.json", EmbolisationDocument)
    joined, not_joined = _read_step(subject_dir / PROJECTIONS, "projections.json", ProjectionsDocument)
    return SubjectFolder(
        path=subject_dir,
        subject=subject_dir.name,
        runs=tuple(runs),
        follow_up=follow_up,
        problem=problem,
        embolisation=compared,
        embolisation_problem=not_compared,
        projections=joined,
        projections_problem=not_joined,
        response=response,
        response_problem=not_judged,
    )


def _read_step(folder: Path, name: str, kind: type[Document]) -> tuple[Document | None, str | None]:
    """Return what a step after all runs wrote, or why there is none."""
    failure = _failure(_read_plain(folder / "record.json"))
    return (None, failure) if failure else _read(folder / name, kind)


def _holds_run(path: Path) -> bool:
    if (path / "analysis.json").exists():
        return True
    return bool(_failure(_read_plain(path / "record.json")))


def _read_run(path: Path) -> RunFolder:
    record = _read_plain(path / "record.json")
    failure = _failure(record)
    # What an earlier analysis may have left beside a failure is not shown.
    document, problem = (None, failure) if failure else _read(path / "analysis.json", RunDocument)
    curves, _ = _read(path / "curves.json", CurvesDocument)
    return RunFolder(
        path=path,
        date=path.parent.name,
        series=path.name,
        document=document,
        curves=curves,
        record=record,
        problem=problem,
    )


def _failure(record: dict[str, Any]) -> str | None:
    """The sentence of a record that says the analysis failed."""
    sentence = record.get("sentence") or record.get("reason")
    return str(sentence) if sentence else None


def _read(path: Path, kind: type[Document]) -> tuple[Document | None, str | None]:
    if not path.is_file():
        return None, None
    try:
        return kind.model_validate_json(path.read_bytes()), None
    except (OSError, ValidationError):
        return None, f"{path.name} is there but does not follow the schema: analyse this input again."


def _read_plain(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read_refused(out: Path) -> list[dict[str, str]]:
    """Return the rows of `refused.csv`: path, reason, sentence."""
    path = out / "refused.csv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return [{key: value or "" for key, value in row.items() if key} for row in csv.DictReader(stream)]
