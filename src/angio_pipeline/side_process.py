"""A process beside this one that calls functions for it, and that can be ended and replaced.

For what may crash or never end: looking at hostile files. It comes from the same server as the workers
of a batch, where there is one, and ends when this process does.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from typing import Any

from angio_pipeline.workers import start_method

__all__ = ["SideProcess", "SideProcessDied", "SideProcessTooSlow"]

_SECONDS_TO_END = 5.0


class SideProcessDied(Exception):
    """The process ended while it was at work: a crash, or the system ended it."""


class SideProcessTooSlow(Exception):
    """The process did not answer in time."""


class SideProcess:
    """One process that answers one question at a time.

    Parameters
    ----------
    prepare : callable, optional
        Called once in the process, with `arguments`, before it answers anything.
    """

    def __init__(self, prepare: Callable[..., None] | None = None, *arguments: Any) -> None:
        context: BaseContext = multiprocessing.get_context(start_method())
        self._connection, theirs = context.Pipe()
        # A daemon: it is ended with this process, and never waited for.
        self._process = context.Process(  # type: ignore[attr-defined]  # the base class does not declare it
            target=_serve, args=(theirs, prepare, arguments), daemon=True
        )
        self._process.start()
        theirs.close()

    def ask(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Have `function` called there; `answer` has to be called before the next question.

        Raises
        ------
        SideProcessDied
        """
        try:
            self._connection.send((function, arguments))
        except (BrokenPipeError, ConnectionError):
            raise SideProcessDied from None

    def answer(self, seconds: float | None = None) -> Any:
        """Return what the function returned, or raise what it raised.

        Raises
        ------
        SideProcessDied, SideProcessTooSlow
            The process is of no more use then: `end` it.
        """
        try:
            if not self._connection.poll(seconds):
                raise SideProcessTooSlow
            value, error = self._connection.recv()
        except (EOFError, ConnectionError):
            raise SideProcessDied from None
        if error is not None:
            raise error
        return value

    def end(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.join(_SECONDS_TO_END)
        self._connection.close()


def _serve(connection: Connection, prepare: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    if prepare is not None:
        prepare(*arguments)
    while True:
        try:
            function, given = connection.recv()
        except (EOFError, OSError):  # whoever asked is gone
            return
        _send(connection, _answer(function, given))


def _answer(function: Callable[..., Any], given: tuple[Any, ...]) -> tuple[Any, Exception | None]:
    try:
        return function(*given), None
    except Exception as error:
        return None, error


def _send(connection: Connection, answer: tuple[Any, Exception | None]) -> None:
    try:
        connection.send(answer)
    except (BrokenPipeError, ConnectionError):
        return
    except Exception as error:  # an answer or an error that does not travel
        connection.send((None, RuntimeError(f"an answer that cannot be sent ({type(error).__name__})")))
