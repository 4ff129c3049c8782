"""`angio evaluate`: results against the truth."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from angio_pipeline.cli.ending import end_wrong_usage
from angio_pipeline.core.words import counted

if TYPE_CHECKING:
    from rich.table import Table

    from angio_pipeline.evaluate import Evaluation, Score

__all__ = ["evaluate"]


def evaluate(
    truth: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder that holds the cases' truth/.")],
    results: Annotated[Path, typer.Option(exists=True, file_okay=False, help="OUT of angio run.")],
    run: Annotated[
        list[str] | None, typer.Option(help="Judge this run (its SOP instance UID) and nothing else; may be repeated.")
    ] = None,
    both_views: Annotated[
        bool, typer.Option("--both-views", help="Take feeders' probabilities by two projections, where there are two.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Compare results with the truth; what is missing counts as wrong.

    Example: angio evaluate --truth data/sample --results OUT

    Exit status 0: the figures are there; 2: usage, also where --results is no OUT of angio run.
    """
    from rich.console import Console

    from angio_pipeline.evaluate import evaluate as measure

    if not (results / "subjects").is_dir():
        end_wrong_usage(
            f"Expected --results to name a folder that angio run wrote, found {results} without subjects in it."
        )
    found = measure(truth, results, only=run or (), both_views=both_views)
    if json:
        typer.echo(json_text.dumps(found.to_document(), indent=1))
        return
    console = Console()
    console.print(_table(found))
    told = f"{counted(found.cases, 'case')}, {counted(found.runs, 'run')}"
    console.print(f"{told}, {found.runs_without_result} of them without a result")
    if found.broken:
        others = f" and {len(found.broken) - 1} more" if len(found.broken) > 1 else ""
        console.print(f"Counted as missing because they could not be read: {found.broken[0]}{others}")


def _table(found: Evaluation) -> Table:
    from rich.table import Table

    table = Table(title="Against the truth (95 % bootstrap interval over patients)")
    for heading in ("what", "metric", "value", "interval", "n"):
        table.add_column(heading, justify="left" if heading in ("what", "metric") else "right")
    group = ""
    for score in found.scores:
        table.add_row(score.group if score.group != group else "", score.name.replace("_", " "), *_numbers(score))
        group = score.group
    return table


def _numbers(score: Score) -> tuple[str, str, str]:
    value = "–" if score.value is None else f"{score.value:.3f}"
    interval = "–" if score.low is None or score.high is None else f"{score.low:.3f} to {score.high:.3f}"
    return value, interval, str(score.count)
