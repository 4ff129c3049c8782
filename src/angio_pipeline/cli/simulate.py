"""`angio simulate`: digital patients as DICOM, each with its truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["simulate"]


def simulate(
    out: Annotated[Path, typer.Argument(help="Folder to write the cases into.")],
    cases: Annotated[int, typer.Option(min=1, help="How many patients.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same files.")] = 0,
    preset: Annotated[str, typer.Option(help="easy, clinical, hard, or a TOML file.")] = "easy",
) -> None:
    """Write digital patients as DICOM, each with truth/ beside it.

    Example: angio simulate OUT --cases 5 --seed 1 --preset clinical
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from angio_pipeline.simulate import simulate as write_patients

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("patients", total=cases)
        write_patients(out, cases=cases, seed=seed, preset=preset, on_case=lambda _: progress.advance(task))
    typer.echo(f"{cases} simulated patient{'s' if cases > 1 else ''} in {out}")
