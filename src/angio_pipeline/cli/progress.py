"""How long work is shown on a terminal: not at all where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["progress_bar"]


# A speed is the mean over this long: over less, work whose pieces take minutes would have none.
_SPEED_OVER_S = 3600.0


def progress_bar(*, shown: bool = True, transient: bool = False, rate: bool = False) -> Progress:
    """Return bars on standard error with what is done of how much, and how long it took and will take.

    With `rate` they tell as well how many pieces are done in a minute.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    class RateColumn(ProgressColumn):
        def render(self, task: Task) -> str:
            speed = task.finished_speed or task.speed
            return f"{60 * speed:.1f}/min" if speed else ""

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    hidden = not (shown and console.is_terminal)
    rates = (RateColumn(),) if rate else ()
    return Progress(
        *columns,
        *rates,
        *times,
        console=console,
        disable=hidden,
        transient=transient,
        speed_estimate_period=_SPEED_OVER_S,
    )
