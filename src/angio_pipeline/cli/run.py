"""`angio run`: the main job."""

from __future__ import annotations

import json as json_format
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from angio_pipeline.cli.ending import end_stopped, end_wrong_usage, need_writable

if TYPE_CHECKING:
    from angio_pipeline.batch import BatchReport, Engine, Limits, Plan, Settings
    from angio_pipeline.outputs import ObjectChoice

__all__ = ["run"]

# What a reader said and the analysis could not use is told at once.
_READERS_WORD = ("correction_not_applied", "correction_not_matched", "reading_doubtful", "reading_not_counted")


def run(
    source: Annotated[list[Path], typer.Argument(help="DICOM files, folders, zip or tar archives, DICOMDIR sets.")],
    out: Annotated[Path, typer.Option(help="Folder for the results; made when missing.")],
    config: Annotated[str | None, typer.Option(help="A preset (default, fast, research) or a TOML file.")] = None,
    roi: Annotated[
        list[Path] | None, typer.Option(help="A lesion: PNG named by SOP UID, DICOM SEG or GSPS, NIfTI.")
    ] = None,
    corrections: Annotated[
        list[Path] | None, typer.Option(help="A reader's corrections of earlier results (JSON); may be repeated.")
    ] = None,
    readings: Annotated[
        list[Path] | None, typer.Option(help="What a reader says of lesions at dates (CSV); may be repeated.")
    ] = None,
    pixel_shift: Annotated[
        str | None,
        typer.Option(metavar="ROW,COL", help="Move the mask by hand, pixels down and right, up to 200."),
    ] = None,
    dicom: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND",
            help="DICOM objects to write: seg, sr, summary (the default), probability, maps, presentation, cine, "
            "subtracted; or all, none, default. May be repeated.",
        ),
    ] = None,
    keep_identity: Annotated[
        bool, typer.Option("--keep-identity", help="DICOM objects carry the patient's name and study, for a PACS.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one a core when left out.")] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(help="A running Dask scheduler (tcp://…), or local: Dask here also for few tasks."),
    ] = None,
    task_timeout: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="End a task after this.")] = 3600,
    memory_limit: Annotated[
        float | None,
        typer.Option(min=0.1, metavar="GB", help="End a task whose process takes more; by default its equal share."),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Leave alone what was analysed with the same code and settings.")] = True,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="One process, and tracebacks.")] = False,
) -> None:
    """Analyse every patient in SOURCE: runs, follow-ups, then their pages and tables.

    Example: angio run exports/ --out results

    A reader's corrections come back with --corrections: what was accepted, rejected, added, moved or
    redrawn holds again, and what fits nothing any more is named on standard error and in refused.csv.

    Example: angio run exports/ --out results --corrections corrections.json

    What a reader says of a lesion (gone, too small, not evaluable, worse, new) comes with --readings, a
    table of subject, date, lesion and statement; it changes what the criteria of response call.

    Example: angio run exports/ --out results --roi lesions.dcm --readings readings.csv

    Stopped or killed, the same command goes on where it ended; angio status OUT tells where that is.

    What a PACS should file with the study, and nothing else, carries the patient's identity with --keep-identity.

    Example: angio run exports/ --out results --dicom default --dicom presentation --keep-identity

    Exit status 0: all that could be analysed was, and refused.csv lists the rest; 1: nothing
    could be analysed; 2: usage.
    """
    from angio_pipeline.workers import warm_up

    # What can be is checked before the imaging libraries are loaded, here and in the workers' server.
    _check_paths([*source, *(roi or []), *(corrections or [])], out)
    shift_px = None if pixel_shift is None else _pixel_shift(pixel_shift)
    if not debug:
        warm_up()
    from angio_pipeline import batch, ingest
    from angio_pipeline.config import load_config, with_pixel_shift
    from angio_pipeline.ingest.workspace import temporary_workspace

    chosen = load_config(config)
    if shift_px is not None:
        chosen = with_pixel_shift(chosen, shift_px)
    objects = _objects(dicom or [], keep_identity)
    settings = batch.Settings(out, chosen, resume=resume, debug=debug, objects=objects)
    _check_rois(roi or [])
    _check_corrections(corrections or [])
    _check_readings(readings or [])
    batch.check_weights(chosen)
    count = workers or os.cpu_count() or 1
    limits = batch.limit_tasks(task_timeout, memory_limit, workers=count, elsewhere=scheduler not in (None, "local"))
    try:
        with temporary_workspace() as workspace:
            found = ingest.discover(source, workspace=workspace, limits=chosen.limits, apart=not debug)
            plan = batch.make_plan(found, roi or [], corrections or [], readings or [])
            report = _execute(plan, settings, count, scheduler, limits, show=not (quiet or json))
    except KeyboardInterrupt:
        told = "run the same command again to go on where it ended (angio status tells where)"
        end_stopped(f"stopped; {told}.")
    _tell(report, out, quiet=quiet, as_json=json)
    if report.analysed == 0:
        raise typer.Exit(1)


def _check_paths(sources: list[Path], out: Path) -> None:
    # One wrong path of several is refused by name, and the others are analysed.
    if not any(path.exists() for path in sources):
        end_wrong_usage(f"Expected a file or folder, found nothing at {sources[0]}.")
    need_writable(out)


def _pixel_shift(text: str) -> tuple[float, float]:
    try:
        row, col = (float(part) for part in text.split(","))
    except ValueError:
        end_wrong_usage(f"Expected --pixel-shift ROW,COL, two numbers of pixels such as 1.5,-0.25, found {text!r}.")
    if not (math.isfinite(row) and math.isfinite(col) and max(abs(row), abs(col)) <= 200):
        end_wrong_usage(f"Expected --pixel-shift of two numbers from -200 to 200 pixels, found {text!r}.")
    return row, col


def _objects(names: list[str], keep_identity: bool) -> ObjectChoice:
    from angio_pipeline import outputs
    from angio_pipeline.core.errors import ConfigError

    try:
        return outputs.choose_objects(names, keep_identity=keep_identity)
    except ConfigError as error:
        end_wrong_usage(error.sentence)


def _check_rois(paths: list[Path]) -> None:
    from angio_pipeline import ingest
    from angio_pipeline.core.errors import AngioError

    for path in paths:
        try:
            ingest.read_rois([path])
        except AngioError as error:
            end_wrong_usage(f"--roi {path.name}: {error.sentence}")


def _check_corrections(paths: list[Path]) -> None:
    from angio_pipeline import ingest
    from angio_pipeline.core.errors import AngioError

    try:
        ingest.check_corrections(paths)
    except AngioError as error:
        end_wrong_usage(f"--corrections: {error.sentence}")


def _check_readings(paths: list[Path]) -> None:
    from angio_pipeline import ingest
    from angio_pipeline.core.errors import AngioError

    try:
        ingest.read_readings(paths)
    except AngioError as error:
        end_wrong_usage(f"--readings: {error.sentence}")


def _execute(
    plan: Plan, settings: Settings, workers: int, scheduler: str | None, limits: Limits, *, show: bool
) -> BatchReport:
    from angio_pipeline import batch
    from angio_pipeline.cli.progress import progress_bar

    with progress_bar(shown=show, transient=True, rate=True) as bar:
        task = bar.add_task("Analysing", total=len(plan))

        def tell_dashboard(engine: Engine) -> None:
            if engine.dashboard and show:
                bar.print(f"Dashboard: {engine.dashboard}")

        return batch.execute(
            plan,
            settings,
            workers=workers,
            scheduler=scheduler,
            limits=limits,
            progress=lambda outcome: bar.advance(task),
            started=tell_dashboard,
        )


def _tell(report: BatchReport, out: Path, *, quiet: bool, as_json: bool) -> None:
    from angio_pipeline.batch import count_words

    for refusal in report.refusals:
        if refusal.reason in _READERS_WORD:
            typer.echo(f"angio: {Path(refusal.path).name}: {refusal.sentence}", err=True)
    pages = [out / "subjects" / subject / "report.html" for subject in report.subjects]
    if as_json:
        summary = {
            "analysed": report.analysed,
            "resumed": report.resumed,
            "refused": len(report.refusals),
            "subjects": list(report.subjects),
            "index": str(out / "index.html"),
            "reports": [str(page) for page in pages if page.is_file()],
        }
        typer.echo(json_format.dumps(summary, indent=1))
        return
    if report.analysed == 0:
        first = f" The first: {report.refusals[0].sentence}" if report.refusals else " No input was found."
        typer.echo(f"angio: nothing could be analysed; {out / 'refused.csv'} says why.{first}", err=True)
    elif not quiet:
        told = count_words(report.analysed, report.resumed, len(report.refusals))
        typer.echo(f"{told} (see {out / 'refused.csv'}).")
        for page in pages[:5]:
            if page.is_file():
                typer.echo(f"Report: {page}")
        typer.echo(f"Worklist: {out / 'index.html'}")
