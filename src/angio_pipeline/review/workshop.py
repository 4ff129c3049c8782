"""Work that takes seconds, in processes of its own: the server stays small, answers meanwhile, and outlives a crash."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from multiprocessing.context import BaseContext
from typing import ParamSpec, TypeVar

from angio_pipeline.workers import end_with_parent, start_method

__all__ = ["Workshop"]

P = ParamSpec("P")
T = TypeVar("T")
_POLITE = 5


def _begin(*, polite: bool) -> None:
    end_with_parent()
    if polite and hasattr(os, "nice"):
        os.nice(_POLITE)


class Workshop:
    """One worker process, replaced when it dies; it is started with the first work.

    Parameters
    ----------
    polite : bool
        Whether its work stands back where the processor is wanted for something else.
    """

    def __init__(self, *, polite: bool = False) -> None:
        self._begin = partial(_begin, polite=polite)
        self._context: BaseContext = multiprocessing.get_context(start_method())
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None

    def submit(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Return what will become of `work`; it and what it is given have to be importable by name.

        Raises
        ------
        RuntimeError
            When no process can be started for it, even a new one.
        """
        with self._lock:
            for _ in range(2):
                if self._pool is None:
                    self._pool = ProcessPoolExecutor(1, mp_context=self._context, initializer=self._begin)
                try:
                    return self._pool.submit(work, *args, **kwargs)
                except BrokenProcessPool:
                    self._pool = None
        raise RuntimeError("Expected a new worker process to take work, found it broken.")

    def close(self) -> None:
        """End the worker, and what it is doing."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is None:
            return
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            with suppress(OSError):
                process.terminate()
