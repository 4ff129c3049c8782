"""What each Dask worker of a batch's own cluster does when it is born, also one that replaces another."""

from __future__ import annotations

import signal

__all__ = ["dask_setup"]


def dask_setup(worker: object) -> None:
    """Let the worker leave Ctrl-C to the command, which ends it; called by Dask in the worker's main thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
