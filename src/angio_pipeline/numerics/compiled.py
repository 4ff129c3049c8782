"""Compiled loops, and how they share the cores. Knows no medicine.

Loops are compiled once a machine and kept on disk where that can be written. They release the
interpreter's lock, so plain threads run them side by side: unlike a thread pool of the compiler's
own, these survive a fork and may be called from several threads at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock
from typing import Any, TypeVar, cast

import cv2
import numba
from threadpoolctl import ThreadpoolController

__all__ = ["compiled", "each_in_threads"]

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Return the function compiled to machine code that releases the interpreter's lock.

    Sums may be taken in another order than written, so results hold to rounding only.
    """
    options = {"nogil": True, "fastmath": {"reassoc", "contract", "arcp", "nsz"}}
    try:
        return cast(Function, numba.njit(cache=True, **options)(function))
    except RuntimeError:  # no folder to keep compiled code in: compile anew in each process
        return cast(Function, numba.njit(**options)(function))


def each_in_threads(work: Callable[[int], None], count: int) -> None:
    """Call `work` with 0 to count - 1, on as many threads as OpenCV is held to.

    One setting, `cv2.setNumThreads`, so that a process of a batch is held in one place.
    """
    workers = min(max(cv2.getNumThreads(), 1), count)
    if workers <= 1:
        for item in range(count):
            work(item)
        return

    def share(first: int) -> None:
        for item in range(first, count, workers):
            work(item)

    with _LINEAR_ALGEBRA.held(), ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(share, range(workers)):
            pass


class _LinearAlgebra:
    """Holds linear algebra to one thread while any threads of ours run.

    Threads that it starts inside ours fight over the cores, and everything slows down manyfold. The first
    call sets the limit and the last one takes it back, in whatever order they end.
    """

    def __init__(self) -> None:
        self._lock, self._open = Lock(), 0
        self._limit: Any = None

    @contextmanager
    def held(self) -> Iterator[None]:
        with self._lock:
            self._open += 1
            if self._open == 1:
                self._limit = _libraries().limit(limits=1)
        try:
            yield
        finally:
            with self._lock:
                self._open -= 1
                if self._open == 0:
                    self._limit.restore_original_limits()


@lru_cache(maxsize=1)
def _libraries() -> Any:
    return ThreadpoolController().select(user_api="blas")


_LINEAR_ALGEBRA = _LinearAlgebra()
