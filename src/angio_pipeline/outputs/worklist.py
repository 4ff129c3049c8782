"""The worklist: every subject with thumbnails, flags and links, from the files and nothing else."""

from __future__ import annotations

from pathlib import Path

from angio_pipeline.outputs.files import write_text
from angio_pipeline.outputs.folders import read_refused, read_subjects
from angio_pipeline.outputs.pages import render

__all__ = ["write_index"]


def write_index(out: Path) -> Path:
    """Write `index.html` into `out` and return its path.

    Raises
    ------
    OSError
        When the page cannot be written.
    """
    path = out / "index.html"
    write_text(path, render("index.html", subjects=read_subjects(out), refused=read_refused(out)))
    return path
