"""How long work is shown on a terminal: not at all where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["progress_bar"]


def progress_bar(*, shown: bool = True, transient: bool = False) -> Progress:
    """Return bars on standard error with what is done of how much, and how long it took and will take."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    hidden = not (shown and console.is_terminal)
    return Progress(*columns, *times, console=console, disable=hidden, transient=transient)
