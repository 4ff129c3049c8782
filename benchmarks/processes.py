"""A process of its own for each competitor of a benchmark, with as many threads as the others, and what it holds."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import SimpleITK as sitk
from threadpoolctl import threadpool_limits

THREADS = 2


def hold_threads(threads: int = THREADS) -> None:
    """Give every library the same number of threads, whichever is loaded later included."""
    cv2.setNumThreads(threads)
    threadpool_limits(limits=threads)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    for variable in ("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"):
        os.environ[variable] = str(threads)


def forget_peak_memory() -> float:
    """Forget the greatest memory of this process so far; return what it holds now, MB.

    What was freed is given back first, or it would be used again unseen.
    """
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return peak_memory_mb()


def peak_memory_mb() -> float:
    """Return the greatest memory that this process has held (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def in_its_own_process(compete: Callable[..., None], *arguments: object) -> Any:
    """Return what `compete` puts into the queue that it is given last.

    Raises
    ------
    RuntimeError
        When the process ends without an answer; why stands on its standard error.
    """
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=compete, args=(*arguments, answer))
    process.start()
    while True:
        running = process.is_alive()
        try:
            found = answer.get(timeout=1)
        except queue.Empty:
            if running:
                continue
            raise RuntimeError(f"Expected an answer of {compete.__name__}{arguments[:1]}, found none.") from None
        process.join()
        return found
