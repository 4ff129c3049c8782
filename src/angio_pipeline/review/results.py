"""The written files of one case, by the names that a request may use: each name is looked up, none becomes a path."""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from angio_pipeline.outputs.schemas import GraphDocument, RunDocument
from angio_pipeline.review.problems import ReviewProblem, not_found

__all__ = ["PICTURES", "ResultFiles", "below", "read_plain"]

PICTURES = ("overlay", "flow", "thumbnail", "before", "after")
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,119}")
_KEPT = 64
Document = TypeVar("Document", bound=BaseModel)


def below(folder: Path, name: str) -> Path:
    """Return a file that a document names, in its folder or two below it.

    Raises
    ------
    ReviewProblem
        404, when the name leads elsewhere or there is no such file.
    """
    parts = name.split("/")
    path = folder.joinpath(*parts)
    plain = len(parts) <= 3 and all(_PLAIN.fullmatch(part) for part in parts)
    if not plain or not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
        raise not_found("this file")
    return path


def read_plain(path: Path) -> dict[str, Any] | None:
    """Return a JSON object as written, None where there is none."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


class ResultFiles:
    """Documents of cases, the last ones kept as long as their files do not change."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: OrderedDict[tuple[Path, int], BaseModel] = OrderedDict()

    def run(self, folder: Path) -> RunDocument:
        """Return `analysis.json`.

        Raises
        ------
        ReviewProblem
            404, when there is none that can be read.
        """
        return self._document(folder / "analysis.json", RunDocument)

    def graph(self, folder: Path) -> GraphDocument:
        """Return `graph.json`.

        Raises
        ------
        ReviewProblem
            404, when there is none that can be read.
        """
        return self._document(below(folder, self.run(folder).vessels.graph), GraphDocument)

    def _document(self, path: Path, kind: type[Document]) -> Document:
        try:
            key = path, path.stat().st_mtime_ns
            with self._lock:
                known = self._kept.get(key)
            if isinstance(known, kind):
                return known
            made = kind.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            sentence = f"Expected {path.name} of this case, found none that can be read; analyse the input again."
            raise ReviewProblem(404, "not_analysed", sentence) from None
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return made

    def pictures(self, folder: Path) -> list[str]:
        """Return the names of the stored pictures that are there."""
        return [name for name in PICTURES if (folder / f"{name}.png").is_file()]

    def objects(self, folder: Path) -> dict[str, Path]:
        """Return the DICOM objects that the analysis wrote beside its documents, by name."""
        return {path.stem: path for path in sorted(folder.glob("*.dcm")) if _PLAIN.fullmatch(path.name)}
