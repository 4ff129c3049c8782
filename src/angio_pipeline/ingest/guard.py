"""Reading files that may be hostile: in a process apart, within seconds and memory, one file at a time.

Whatever a file does there - crash a native decoder, never end, ask for all memory - costs that
file alone: the process is ended and replaced. It is no sandbox: it protects the other files of a
batch, not the machine from code that a decoder was tricked into.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.ingest.limits import Limits
from angio_pipeline.side_process import SideProcess, SideProcessDied, SideProcessTooSlow

__all__ = ["Read", "read_here", "reading_apart"]

P = ParamSpec("P")
T = TypeVar("T")


class Read(Protocol):
    """Calls `function` on one file, within `seconds` where the reader can hold it to them."""

    def __call__(self, seconds: float, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what the function returns."""


def read_here(seconds: float, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what the function returns, called in this process: `seconds` cannot be held, a crash ends all."""
    return function(*args, **kwargs)


@contextmanager
def reading_apart(limits: Limits) -> Iterator[Read]:
    """Yield what calls functions in a process apart.

    It raises `InputRefused` where the file was to blame: `took_too_long`, `out_of_memory`, or
    `reader_died` after a crash.
    """
    reader = _Apart(limits)
    try:
        yield reader
    finally:
        reader.end()


class _Apart:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._process: SideProcess | None = SideProcess(_prepare, limits.reading_bytes)

    def __call__(self, seconds: float, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        process = self._process = self._process or SideProcess(_prepare, self._limits.reading_bytes)
        try:
            process.ask(_called, function, args, kwargs)
            found: T = process.answer(seconds)
            return found
        except SideProcessTooSlow:
            self.end()
            raise InputRefused(
                f"Expected a file that is read within {seconds:g} s, found one that takes longer; export it again.",
                reason="took_too_long",
            ) from None
        except SideProcessDied:
            self.end()
            raise InputRefused(
                "Expected a readable file, found one that ends the program that reads it; export it again.",
                reason="reader_died",
            ) from None
        except MemoryError:
            raise InputRefused(
                "Expected a file that fits in memory, found one that asks for more; export it again.",
                reason="out_of_memory",
            ) from None

    def end(self) -> None:
        if self._process is not None:
            self._process.end()
            self._process = None


def _called(function: Callable[..., T], args: tuple[object, ...], kwargs: dict[str, object]) -> T:
    return function(*args, **kwargs)


def _prepare(more_bytes: int) -> None:
    """Silence what native libraries say of broken files, and hold this process to its memory."""
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    # Loaded under the limit, libraries would count against it; OpenBLAS, where it finds no memory, asks for ever.
    import_module("angio_pipeline.ingest.discovery")
    _hold_memory(more_bytes)


def _hold_memory(more_bytes: int) -> None:
    """Hold this process to so much memory beyond what it has; systems without such a limit go without."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more_bytes, hard))
