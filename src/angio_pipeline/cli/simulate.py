"""`angio simulate`: digital patients as DICOM, each with its truth."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from angio_pipeline.cli.ending import end_stopped, end_wrong_usage, need_place_for

__all__ = ["simulate"]


def simulate(
    out: Annotated[Path, typer.Argument(help="Folder to write the cases into.")],
    cases: Annotated[int, typer.Option(min=1, help="How many patients.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same files.")] = 0,
    preset: Annotated[str, typer.Option(help="easy, clinical, hard, or a TOML file.")] = "easy",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one a core when left out.")] = None,
    runs_only: Annotated[bool, typer.Option("--runs-only", help="Angiographic runs only, no follow-ups.")] = False,
) -> None:
    """Write digital patients as DICOM, each with truth/ beside it, their records and the cohort's truth.

    Given again, or with more cases, it goes on where it ended; seeds and settings do not mix in a folder.

    Example: angio simulate OUT --cases 5 --seed 1 --preset clinical
    """
    from angio_pipeline.cli.progress import progress_bar
    from angio_pipeline.simulate import Finished
    from angio_pipeline.simulate import simulate as write_patients

    if out.exists() and not out.is_dir():
        end_wrong_usage(f"Expected a folder for the patients, found a file at {out}.")
    need_place_for(out)
    finished: list[Finished] = []
    with progress_bar() as progress:
        task = progress.add_task("patients", total=cases)

        def tell(case: Finished) -> None:
            finished.append(case)
            progress.advance(task)

        try:
            write_patients(
                out,
                cases=cases,
                seed=seed,
                preset=preset,
                workers=workers or os.cpu_count() or 1,
                runs_only=runs_only,
                on_case=tell,
            )
        except KeyboardInterrupt:
            end_stopped(f"stopped; {len(finished)} of {cases} are complete, the same command goes on.")
    kept = sum(case.kept for case in finished)
    again = f" ({kept} of them as they were)" if kept else ""
    typer.echo(f"{cases} simulated patient{'s' if cases > 1 else ''} in {out}{again}")
