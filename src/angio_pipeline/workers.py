"""How worker processes are born: from a server that has imported what they need.

Importing the imaging libraries takes seconds. A fork server does it once, while the main
process is still reading headers, and every worker, also one that replaces a dead one, starts
from there at once. Where the system has no fork server, workers are spawned.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import BaseContext
from typing import Literal

__all__ = ["start_method", "warm_up"]

_PRELOAD = ["angio_pipeline.batch.tasks", "angio_pipeline.pipeline"]


def start_method() -> Literal["forkserver", "spawn"]:
    """Return the way in which worker processes are started on this system."""
    return "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def warm_up() -> None:
    """Start the server, if there is one, without waiting for its imports."""
    context: BaseContext = multiprocessing.get_context(start_method())
    if start_method() == "forkserver":
        from multiprocessing import forkserver

        context.set_forkserver_preload(_PRELOAD)
        forkserver.ensure_running()
