"""`angio status`: where a batch stands, while it is at work or after it ended, however it ended."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from angio_pipeline.core.words import counted

if TYPE_CHECKING:
    from angio_pipeline.batch import Standing

__all__ = ["status"]

_STATES = {
    "running": "at work",
    "finished": "finished",
    "stopped": "stopped; run the same command again to go on",
    "failed": "ended by an error; run the same command again to go on",
    "dead": "killed before its end; run the same command again to go on",
    "unknown": "not ended, and it cannot be told here whether it lives",
}


def status(
    out: Annotated[Path, typer.Argument(help="The folder of results that was given to angio run --out.")],
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Tell where the last batch in OUT stands: what is done, what is at work, how long it will take.

    Example: angio status results

    Exit status 1 when no batch was ever begun there.
    """
    from angio_pipeline.batch.standing import read_standing

    standing = read_standing(out)
    if json:
        typer.echo(json_format.dumps(standing.as_dict(), indent=1))
        return
    for line in _lines(standing):
        typer.echo(line)


def _lines(standing: Standing) -> list[str]:
    from angio_pipeline.batch.standing import count_words

    pairs = counted(standing.to_compare, "comparison of runs", "comparisons of runs")
    ended = f" ({standing.reason})" if standing.reason else ""
    lines = [
        f"Batch {standing.run_id}: {_STATES[standing.state]}{ended}",
        f"{count_words(standing.analysed, standing.resumed, standing.refused)}; {standing.planned} planned"
        + (f"; {standing.compared} of {pairs} done" if standing.to_compare else ""),
        f"Last sign of life: {standing.last_sign}",
    ]
    if standing.rate_per_hour is not None:
        left = f", {_duration(standing.left_s)} left" if standing.left_s is not None else ""
        lines.append(f"Rate: {standing.rate_per_hour:.1f} tasks an hour{left}")
    word = "At work" if standing.state == "running" else "At work when it ended"
    lines += [f"{word}: {one.task} since {one.since} ({one.host}, process {one.pid})" for one in standing.at_work]
    return lines


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
