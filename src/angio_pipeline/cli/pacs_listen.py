"""The life of `angio pacs listen`: a station in the foreground, and beside it one analysis at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from angio_pipeline.core.words import counted

if TYPE_CHECKING:
    from angio_pipeline.pacs.inbox import Arrival
    from angio_pipeline.pacs.journal import Journal
    from angio_pipeline.pacs.settings import Listener, Server
    from angio_pipeline.pacs.studies import StudyWatch

__all__ = ["Analyses", "keep_listening"]

_TICK_S = 0.2
_PATIENCE_S = 15.0


class Analyses:
    """Runs `angio run` on studies, in a process of its own that ends when listening ends."""

    def __init__(self, out: Path, options: list[str]) -> None:
        self._out, self._options = out, options
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def busy(self) -> bool:
        """Whether an analysis is under way."""
        return self._child is not None and self._child.poll() is None

    def begin(self, studies: list[str]) -> None:
        """Start analysing studies that were received; results go beside what was received."""
        sources = [str(self._out / "received" / study) for study in studies]
        command = [sys.executable, "-m", "angio_pipeline", "run", *sources, "--out", str(self._out), "--quiet"]
        self._child = subprocess.Popen([*command, *self._options], stdin=subprocess.DEVNULL, start_new_session=True)

    def result(self) -> int | None:
        """Return the exit status of an analysis that ended, once."""
        if self._child is None or self._child.poll() is None:
            return None
        status, self._child = self._child.returncode, None
        return status

    def stop(self) -> None:
        """End the analysis with all its workers, by force where it does not end by itself."""
        if self._child is None or self._child.poll() is not None:
            return
        self._child.send_signal(signal.SIGTERM)
        try:
            self._child.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()


def keep_listening(
    listener: Listener,
    journal: Journal,
    peers: Mapping[str, Server],
    analyses: Analyses | None,
    *,
    quiet_s: float,
) -> None:
    """Listen until Ctrl-C or SIGTERM; then hang up and end the analysis that is under way.

    Raises
    ------
    AngioError
        When nobody would be let in, or the port cannot be opened.
    """
    from angio_pipeline.pacs.inbox import Inbox
    from angio_pipeline.pacs.listener import listening
    from angio_pipeline.pacs.studies import StudyWatch

    watch = StudyWatch(journal)

    def arrived(arrival: Arrival) -> None:
        watch.note(arrival, time.monotonic())

    inbox = Inbox(journal, largest_mb=listener.largest_mb, reserve_mb=listener.reserve_mb, on_arrival=arrived)
    try:
        with listening(listener, inbox, peers=peers) as port:
            typer.echo(f"Listening as {listener.aet} at {listener.bind}:{port}, storing in {journal.folder}.", err=True)
            begun: dict[str, str] = {}
            while True:
                begun = _next_analysis(watch, analyses, begun, quiet_s)
                time.sleep(_TICK_S)
    except KeyboardInterrupt:
        pass
    finally:
        if analyses is not None:
            analyses.stop()
    refused = f", refused {inbox.refused.total()} ({inbox.why_refused()})" if inbox.refused else ""
    typer.echo(f"Stopped listening; stored {counted(len(inbox.arrived), 'instance')}{refused}.", err=True)


def _next_analysis(
    watch: StudyWatch, analyses: Analyses | None, begun: dict[str, str], quiet_s: float
) -> dict[str, str]:
    """Return what the analysis under way began with, after the next was started where one is due."""
    if analyses is None or analyses.busy:
        return begun
    status = analyses.result()
    if status in (0, 1):  # 1: nothing in them can be analysed, which is no other the next time
        watch.end(begun)
    if status is not None:
        count = counted(len(begun), "study", "studies")
        typer.echo(f"angio: analysed {count}, status {status}.", err=True)
    studies = watch.due(time.monotonic(), quiet_s)
    if not studies:
        return {}
    begun = watch.begin(studies)
    analyses.begin(studies)
    return begun
