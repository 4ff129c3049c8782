"""`angio train`: the weights of a recipe, from simulated patients to a safetensors file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from angio_pipeline.cli.ending import end_stopped, need_no_file_at

if TYPE_CHECKING:
    from rich.progress import TaskID

__all__ = ["train"]


def train(
    recipe: Annotated[
        str, typer.Argument(help="A recipe (run-first, run, frame-simulation, frame, feeder) or a TOML file.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the weights, checkpoints and logs; made when missing.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder of simulated examples, which recipes may share; OUT/data if left out.")
    ] = None,
    real: Annotated[
        Path | None, typer.Option(help="Folder of real angiograms (N.png, N_gt.png), for recipes that learn from some.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that simulate; one a core if left out.")] = None,
) -> None:
    """Train a network as its recipe says: simulate, learn, calibrate, write.

    Given again it goes on where it ended. The same version and recipe give the same weights on the same machine, to
    rounding.

    Example: angio train run --out out/run
    """
    from angio_pipeline.cli.progress import progress_bar
    from angio_pipeline.training import load_recipe
    from angio_pipeline.training import train as train_recipe

    need_no_file_at(out)
    chosen = load_recipe(recipe)
    with progress_bar() as bar:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done)

        try:
            path = train_recipe(
                chosen, out, data=data, real=real, workers=workers or os.cpu_count() or 1, progress=tell
            )
        except KeyboardInterrupt:
            end_stopped("stopped; the same command goes on from the last checkpoint.")
    typer.echo(f"Weights: {path}")
    typer.echo(f"Log: {out / 'log.csv'}, {out / 'validation.csv'}; summary: {out / 'summary.json'}")
