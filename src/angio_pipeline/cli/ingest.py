"""`angio ingest`: what is on a disk."""

from __future__ import annotations

import json as json_format
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from angio_pipeline.cli.ending import end_wrong_usage, stoppable
from angio_pipeline.core.words import counted

if TYPE_CHECKING:
    from angio_pipeline.ingest.catalogue import ScanReport, Summary

__all__ = ["ingest"]


def ingest(
    source: Annotated[list[Path], typer.Argument(help="DICOM files, folders, zip or tar archives, DICOMDIR sets.")],
    catalogue: Annotated[Path, typer.Option(help="The catalogue, a DuckDB file; made when missing.")],
    paths: Annotated[
        Path | None, typer.Option(help="Also write file_id and path of every file, as CSV; it may name patients.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one a core when left out.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON.")] = False,
) -> None:
    """Catalogue what SOURCE holds by its headers: series and their roles, patients, copies, pairs, problems.

    Example: angio ingest /media/disk --catalogue disk.duckdb

    The same command again reads only what is new or changed, and goes on where it was ended. Names, numbers
    and birth dates of patients are not in the catalogue, and neither are paths: --paths writes those.

    Exit status 0: the catalogue is there; 1: no DICOM object was found; 2: usage.
    """
    _check(source, catalogue)
    from angio_pipeline.workers import warm_up

    # The processes that read load their libraries while this one loads its own.
    warm_up(["angio_pipeline.cli.main", "angio_pipeline.ingest.catalogue.reading"])
    from angio_pipeline.ingest.catalogue import summarise

    with stoppable():
        report = _scan(source, catalogue, workers or os.cpu_count() or 1, show=not (quiet or json))
        if paths is not None:
            _write_paths(source, paths)
    summary = summarise(catalogue)
    _tell(report, summary, catalogue, quiet=quiet, as_json=json)
    if summary.instances == 0:
        raise typer.Exit(1)


def _check(source: list[Path], catalogue: Path) -> None:
    for path in source:
        if not path.exists():
            end_wrong_usage(f"Expected a file or folder, found nothing at {path}.")
    if catalogue.is_dir() or not catalogue.parent.is_dir():
        end_wrong_usage(f"Expected --catalogue to name a file in a folder that is there, found {catalogue}.")
    if not os.access(catalogue.parent, os.W_OK):
        end_wrong_usage(f"Expected a folder for --catalogue that can be written, found that {catalogue.parent} cannot.")


def _scan(source: list[Path], catalogue: Path, workers: int, *, show: bool) -> ScanReport:
    from angio_pipeline.cli.progress import progress_bar
    from angio_pipeline.ingest.catalogue import scan

    with progress_bar(shown=show, transient=True) as bar:
        task = bar.add_task("Reading", total=None)
        return scan(
            source,
            catalogue,
            workers=workers,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )


def _write_paths(source: list[Path], paths: Path) -> None:
    import csv

    from angio_pipeline.ingest.catalogue import locate

    with paths.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        paths.chmod(0o600)
        rows = csv.writer(stream)
        rows.writerow(("file_id", "path"))
        rows.writerows(locate(source))


def _tell(report: ScanReport, summary: Summary, catalogue: Path, *, quiet: bool, as_json: bool) -> None:
    if as_json:
        from dataclasses import asdict

        typer.echo(json_format.dumps({"scan": asdict(report), "catalogue": asdict(summary)}, indent=1))
        return
    if summary.instances == 0:
        files = counted(summary.files, "file")
        typer.echo(f"angio: no DICOM object was found in {files}; {catalogue} says why.", err=True)
    elif not quiet:
        gone = f", {report.removed} gone or changed" if report.removed else ""
        typer.echo(f"Found {counted(report.found, 'file')}, read {report.read}{gone}, in {report.seconds:.1f} s.")
        series = f"{sum(summary.series.values())} series ({_counts(summary.series)})"
        people = f"{counted(summary.patients, 'patient')}, {counted(summary.studies, 'study', 'studies')}"
        typer.echo(f"{people}, {series}, {counted(summary.pairs, 'pair')}.")
        if summary.problems:
            typer.echo(f"Problems: {_counts(summary.problems)}.")
        if summary.look_alikes:
            typer.echo(f"Patients that may be one: {_counts(summary.look_alikes)}.")
        typer.echo(f"Catalogue: {catalogue}")


def _counts(kinds: dict[str, int]) -> str:
    return ", ".join(f"{number} {kind.replace('_', ' ')}" for kind, number in kinds.items())
