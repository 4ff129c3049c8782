"""How a command ends before its work is done: one sentence on standard error, and the status that goes with it."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import typer

__all__ = [
    "end_failed",
    "end_not_writable",
    "end_stopped",
    "end_wrong_usage",
    "need_no_file_at",
    "need_place_for",
    "need_writable",
    "stoppable",
]


def end_failed(sentence: str) -> NoReturn:
    """Say why nothing, or not all, could be done, and end with status 1."""
    _end(sentence, 1)


def end_wrong_usage(sentence: str) -> NoReturn:
    """Say what about the call is wrong, and end with status 2."""
    _end(sentence, 2)


def end_stopped(sentence: str) -> NoReturn:
    """Say how the work goes on that somebody stopped, and end with the status of an interrupted command."""
    _end(sentence, 130)


def _end(sentence: str, status: int) -> NoReturn:
    typer.echo(f"angio: {sentence}", err=True)
    raise typer.Exit(status) from None


@contextmanager
def stoppable() -> Iterator[None]:
    """Let the work within be stopped: the same command goes on with it."""
    try:
        yield
    except KeyboardInterrupt:
        end_stopped("stopped; run the same command again to go on where it ended.")


def need_no_file_at(out: Path) -> None:
    """End the command where a file stands in the place of the folder for results."""
    if out.exists() and not out.is_dir():
        end_wrong_usage(f"Expected --out to name a folder, found a file at {out}.")


def need_writable(out: Path) -> None:
    """Make the folder for results, and end the command where nothing can be written into it."""
    need_no_file_at(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        end_not_writable(out, error)


def need_place_for(out: Path) -> None:
    """End the command where nothing could be written into the folder for results; none is made yet."""
    place = next(place for place in (out, *out.absolute().parents) if place.exists())
    if not (place.is_dir() and os.access(place, os.W_OK)):
        reason = errno.EACCES if place.is_dir() else errno.ENOTDIR
        end_not_writable(out, OSError(reason, os.strerror(reason)))


def end_not_writable(out: Path, error: OSError) -> NoReturn:
    """Say that the folder for results cannot be written, and end with status 2."""
    end_wrong_usage(f"Expected a folder for results that can be written, found that {out} cannot ({error.strerror}).")
