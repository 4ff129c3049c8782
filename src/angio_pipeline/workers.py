"""How worker processes are born: from a server that has imported what they need.

Importing the imaging libraries takes seconds. A fork server does it once, while the main
process is still reading headers, and every worker, also one that replaces a dead one, starts
from there at once. Where the system has no fork server, workers are spawned.
"""

from __future__ import annotations

import ctypes
import importlib
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.context import BaseContext
from typing import Literal

__all__ = [
    "end_with_parent",
    "hold_threads",
    "import_ahead",
    "one_image_thread",
    "process_pool",
    "release_memory",
    "start_method",
    "warm_up",
]

_PRELOAD = ["angio_pipeline.batch.beforehand"]

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def start_method() -> Literal["forkserver", "spawn"]:
    """Return the way in which worker processes are started on this system."""
    return "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def warm_up(preload: Sequence[str] = _PRELOAD) -> None:
    """Start the server, if there is one, without waiting for what it imports."""
    context: BaseContext = multiprocessing.get_context(start_method())
    if start_method() == "forkserver":
        from multiprocessing import forkserver

        context.set_forkserver_preload(list(preload))
        forkserver.ensure_running()


@contextmanager
def process_pool(
    workers: int, *, initializer: Callable[[], None], preload: str | Sequence[str]
) -> Iterator[ProcessPoolExecutor]:
    """Yield worker processes for work that is made again when it was not finished.

    Whoever interrupts does not wait: what has not begun is cancelled, what runs is ended.

    Parameters
    ----------
    initializer : callable
        Called once in each worker.
    preload : str or sequence of str
        Modules that the server imports once, so that each worker starts from there.
    """
    context: BaseContext = multiprocessing.get_context(start_method())
    if start_method() == "forkserver":
        context.set_forkserver_preload([preload] if isinstance(preload, str) else list(preload))
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=initializer)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    finally:
        pool.shutdown()


def end_with_parent() -> None:
    """Let this worker end when the process that it works for is gone, however that ended: it would wait for ever."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def import_ahead(*modules: str) -> None:
    """Begin to import modules that are needed later, in a thread; one that is not there is left to whoever needs it."""

    def load() -> None:
        for name in modules:
            with suppress(ImportError):
                importlib.import_module(name)

    if any(name not in sys.modules for name in modules):
        threading.Thread(target=load, daemon=True).start()


def hold_threads(count: int) -> None:
    """Hold image libraries and linear algebra to `count` threads: the processes of a batch share the cores."""
    # Libraries that are loaded later look here when they are.
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(count)))
    import cv2
    from threadpoolctl import threadpool_limits

    cv2.setNumThreads(count)
    threadpool_limits(limits=count)


def release_memory() -> None:
    """Give back to the system what this process has freed.

    The C library keeps it, in pieces that the next task does not fit into: hundreds of megabytes after some tasks.
    """
    with suppress(OSError, AttributeError, TypeError):  # only glibc knows how, and Windows wants a library's name
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def one_image_thread() -> Iterator[None]:
    """Hold OpenCV in this process to one thread for a while."""
    import cv2

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
