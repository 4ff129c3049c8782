"""`angio deidentify`: copies of DICOM files that can leave the house."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from angio_pipeline.cli.ending import end_wrong_usage, need_no_file_at, need_writable, stoppable

if TYPE_CHECKING:
    from angio_pipeline.core.results import Refusal
    from angio_pipeline.ingest.deidentification import Accept, Deidentified, Keyed, Profile, Task
    from angio_pipeline.outputs.deidentified import DeidentifiedFolder, WrittenFile

__all__ = ["deidentify"]

_Kind = TypeVar("_Kind", bound=StrEnum)


def deidentify(
    source: Annotated[list[Path], typer.Argument(help="DICOM files, folders, zip or tar archives, DICOMDIR sets.")],
    out: Annotated[Path, typer.Option(help="Folder for the copies; made when missing.")],
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="An option of PS3.15 beside the profile's own; may be repeated."),
    ] = None,
    basic: Annotated[bool, typer.Option("--basic", help="The basic profile, with no options but --option.")] = False,
    profile: Annotated[Path | None, typer.Option(help="TOML: words, patterns, kinds, rules of your own.")] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND", help="Let through, pixels as they are: capture, burned-in; may be repeated."),
    ] = None,
    paths: Annotated[
        Path | None, typer.Option(help="CSV for yourself: which input became what, or was refused. Names people.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Leave alone what is there already of the same file.")] = True,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Write copies of SOURCE without what identifies the patient, by PS3.15 Annex E.

    Options: modified-dates or full-dates, patient-characteristics, clean-descriptors, clean-graphics,
    clean-structured-content, clean-pixels, device-identity, institution-identity, uids, safe-private.
    Without --basic those of the profile hold too (modified-dates, patient-characteristics and the first two clean-…,
    and clean-pixels).

    Example: angio deidentify exports/ --out shared

    Exit status 0: all that may leave was written, and refused.csv lists the rest; 1: nothing could be
    written; 2: usage.
    """
    from angio_pipeline.ingest.deidentification import Accept, Keyed, Option, read_profile
    from angio_pipeline.ingest.pseudonym import read_key
    from angio_pipeline.ingest.workspace import temporary_workspace

    _check_paths(source, out, paths)
    wanted = [_member(Option, name, "--option") for name in option or []]
    accepted = [_member(Accept, name, "--accept") for name in accept or []]
    chosen = read_profile(profile, options=() if basic else None, extra=wanted)
    keyed = Keyed(read_key(), chosen.weeks)
    with stoppable(), temporary_workspace() as workspace:
        _run(source, out, chosen, keyed, accepted, paths, workspace, resume=resume, quiet=quiet)


def _run(
    source: list[Path],
    out: Path,
    profile: Profile,
    keyed: Keyed,
    accept: list[Accept],
    paths: Path | None,
    workspace: Path,
    *,
    resume: bool,
    quiet: bool,
) -> None:
    from angio_pipeline.ingest.deidentification import find_tasks
    from angio_pipeline.outputs.deidentified import open_deidentified

    folder = open_deidentified(out, _settings(profile, keyed, accept), resume=resume)
    tasks, refusals, numbers = find_tasks(source, profile, keyed=keyed, workspace=workspace, numbers=folder.numbers)
    folder.remember(numbers)
    resumed = _write_all(tasks, folder, refusals, accept, show=not quiet)
    folder.write_reports([_unnamed(refusal, keyed) for refusal in refusals], sorted(profile.options))
    if paths is not None:
        _write_paths(paths, tasks, refusals, folder, keyed)
    _tell(len(folder.files), resumed, len(refusals), out, paths, quiet=quiet)
    if not folder.files:
        raise typer.Exit(1)


def _settings(profile: Profile, keyed: Keyed, accept: list[Accept]) -> str:
    from angio_pipeline import __version__

    return keyed.digest(f"{__version__}|{profile.digest}|{sorted(accept)}".encode())


def _write_all(
    tasks: list[Task], folder: DeidentifiedFolder, refusals: list[Refusal], accept: list[Accept], *, show: bool
) -> int:
    """Write every file that is not there yet and return how many were."""
    from angio_pipeline.cli.progress import progress_bar
    from angio_pipeline.core.errors import InputRefused
    from angio_pipeline.core.results import Refusal
    from angio_pipeline.ingest.deidentification import deidentify

    resumed = 0
    with progress_bar(shown=show, transient=True) as bar:
        for task in bar.track(tasks, description="De-identifying"):
            try:
                digest = task.digest()
                if folder.holds(task.target, digest):
                    resumed += 1
                    continue
                done = deidentify(task, accept=accept)
            except InputRefused as error:
                folder.remove(task.target)
                refusals.append(Refusal(task.shown, error.reason, error.sentence))
            else:
                folder.add(_written(task, digest, done), done.content)
    return resumed


def _written(task: Task, digest: str, done: Deidentified) -> WrittenFile:
    from angio_pipeline.outputs.deidentified import WrittenFile

    changes = tuple((tag, word, str(change), n) for (tag, word, change), n in sorted(done.changes.counts.items()))
    return WrittenFile(task.target, digest, len(done.content), changes, done.flags)


def _unnamed(refusal: Refusal, keyed: Keyed) -> Refusal:
    from dataclasses import replace

    return replace(refusal, path=_handle(refusal.path, keyed))


def _handle(shown: str, keyed: Keyed) -> str:
    # Folders and files are named by patients: what goes along with the data names them by a keyed digest.
    return f"input-{keyed.digest(shown.encode())[:12]}"


def _write_paths(
    path: Path, tasks: list[Task], refusals: list[Refusal], folder: DeidentifiedFolder, keyed: Keyed
) -> None:
    reasons = {refusal.path: refusal.reason for refusal in refusals}
    rows = [(_handle(task.shown, keyed), task.shown, task.target) for task in tasks if task.target in folder.files]
    refused = [(_handle(shown, keyed), shown, f"refused: {reason}") for shown, reason in reasons.items()]
    _write_private_csv(path, [("input", "path", "became"), *rows, *refused])


def _write_private_csv(path: Path, rows: Iterable[tuple[str, ...]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)
    path.chmod(0o600)


def _tell(written: int, resumed: int, refused: int, out: Path, paths: Path | None, *, quiet: bool) -> None:
    if not written:
        typer.echo(f"angio: nothing could be de-identified; {out / 'refused.csv'} says why.", err=True)
    elif not quiet:
        again = f" ({resumed} of them there already)" if resumed else ""
        typer.echo(f"De-identified {written}{again}, refused {refused} (see {out / 'refused.csv'}).")
        if refused and paths is None:
            typer.echo("Which inputs those are is told by --paths FILE alone.")
        typer.echo(f"Report: {out / 'report.html'}")


def _check_paths(sources: list[Path], out: Path, paths: Path | None) -> None:
    if not any(path.exists() for path in sources):
        end_wrong_usage("Expected a file or folder, found nothing at the path of SOURCE.")
    need_no_file_at(out)
    inside = out.resolve()
    for path in sources:
        here = path.resolve()
        if here == inside or here in inside.parents or inside in here.parents:
            end_wrong_usage("Expected --out outside of SOURCE, found one within the other; name another folder.")
    if paths is not None and inside in (paths.resolve(), *paths.resolve().parents):
        end_wrong_usage("Expected --paths outside of --out, as it names people; found it within; name another place.")
    need_writable(out)


def _member(kind: type[_Kind], name: str, flag: str) -> _Kind:
    known = [member.value for member in kind]
    if name not in known:
        end_wrong_usage(f"Expected {flag} to be one of {', '.join(known)}, found {name!r}.")
    return kind(name)
