"""The `angio` command: registers one file a subcommand; heavy imports wait until a command runs."""

from __future__ import annotations

import signal
import sys

import typer

from angio_pipeline import __version__
from angio_pipeline.cli import (
    benchmark,
    cohort,
    deidentify,
    doctor,
    evaluate,
    ingest,
    pacs,
    review,
    run,
    schema,
    segment,
    simulate,
    status,
    train,
)

__all__ = ["app", "main"]

app = typer.Typer(
    name="angio",
    help="Subtraction angiography, tumour feeders and lipiodol retention from DICOM. "
    "Research software, not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Print the version."),
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks."),
) -> None:
    """Hold the options that come before a subcommand."""


app.command("run")(run.run)
app.command("ingest")(ingest.ingest)
app.command("status")(status.status)
app.command("simulate")(simulate.simulate)
app.command("evaluate")(evaluate.evaluate)
app.command("cohort")(cohort.cohort)
app.command("deidentify")(deidentify.deidentify)
app.command("review")(review.review)
app.command("schema")(schema.schema)
app.command("doctor")(doctor.doctor)
app.command("segment")(segment.segment)
app.command("train")(train.train)
app.command("benchmark")(benchmark.benchmark)
app.add_typer(pacs.app, name="pacs")


def main() -> None:
    """Run the command; an error about a case is one sentence on standard error, without a traceback."""
    from angio_pipeline.core.errors import AngioError, ConfigError

    # Whoever ends the command ends its workers too, as Ctrl-C does; else they would stay, with what they hold.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app()
    except ConfigError as error:
        typer.echo(f"angio: {error.sentence}", err=True)
        sys.exit(2)
    except AngioError as error:
        typer.echo(f"angio: {error.sentence}", err=True)
        sys.exit(1)
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        # The message of an unforeseen error may quote a header; its kind is safe to print.
        kind = type(error).__name__
        typer.echo(f"angio: stopped by an unforeseen {kind}; run again with --debug and report it.", err=True)
        sys.exit(1)
