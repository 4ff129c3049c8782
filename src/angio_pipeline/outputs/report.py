"""One patient's story as a page, from the files in the patient's folder and nothing else."""

from __future__ import annotations

from pathlib import Path

from angio_pipeline.outputs.files import write_text
from angio_pipeline.outputs.folders import read_subject
from angio_pipeline.outputs.pages import data_uri, render

__all__ = ["write_report"]


def write_report(subject_dir: Path) -> Path:
    """Write `report.html` into `subject_dir` and return its path; failed runs are in it too.

    Raises
    ------
    OSError
        When the page cannot be written.
    """
    subject = read_subject(subject_dir)
    path = subject_dir / "report.html"
    write_text(path, render("report.html", subject=subject, picture=lambda run, name: data_uri(run.path / name)))
    return path
