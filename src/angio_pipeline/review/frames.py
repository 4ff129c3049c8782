"""The frames of runs that are looked at: prepared by the worker, kept on disk, and read from there one at a time.

A prepared run is a folder of arrays of 16 bits, as they are sent to the page, with how they are to be read beside
them. The server maps these files and holds no frame in its own memory. The least recently used runs go when the
folder of all of them grows beyond its limit; it lies below the results, where whoever may read it may read the
results anyway, and is emptied at every start.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from angio_pipeline.core.errors import AngioError
from angio_pipeline.review.problems import ReviewProblem
from angio_pipeline.review.workshop import Workshop

__all__ = ["Prepared", "PreparedStore"]

_MOST_BYTES = 8 << 30
_TRIED_AGAIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was prepared: a folder, and what it says of itself."""

    folder: Path
    info: dict[str, Any]

    def array(self, name: str) -> npt.NDArray[Any]:
        """Return one array, mapped from its file.

        Raises
        ------
        ReviewProblem
            404, when there is none of that name.
        """
        try:
            return np.asarray(np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False))
        except OSError:
            sentence = "Expected frames that are prepared, found none; ask for the case again."
            raise ReviewProblem(404, "not_prepared", sentence) from None


class PreparedStore:
    """Prepared runs and follow-ups, each made once and kept while there is room."""

    def __init__(self, folder: Path, *, most_bytes: int = _MOST_BYTES) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        self._folder, self._most_bytes = folder, most_bytes
        self._lock = threading.Lock()
        self._ready: OrderedDict[str, tuple[Prepared, int]] = OrderedDict()
        self._waiting: dict[str, Future[None]] = {}
        self._failed: dict[str, tuple[str, float]] = {}

    @property
    def busy(self) -> bool:
        """Whether anything is being prepared."""
        with self._lock:
            return bool(self._waiting)

    def ask(self, key: str, workshop: Workshop, work: Callable[..., None], *arguments: Any) -> Prepared | str | None:
        """Return what was prepared under a key, if only in part, None while there is none, or why there cannot be.

        Parameters
        ----------
        key : str
            Made by the server; it changes with what the result depends on.
        workshop : Workshop
            Where it is made.
        work : callable
            Called in the worker with `arguments` and the folder to write into; `info.json` tells what is there.
        """
        with self._lock:
            if key in self._ready:
                self._ready.move_to_end(key)
                return self._ready[key][0]
            sentence, since = self._failed.get(key, ("", 0.0))
            if sentence and time.monotonic() - since < _TRIED_AGAIN_S:
                return sentence
            if key in self._waiting:
                return self._begun(key)
            made = self._waiting[key] = workshop.submit(work, *arguments, self._folder / key)
        # Outside the lock: what is done already calls back at once.
        made.add_done_callback(lambda done: self._take(key, done))
        return None

    def _begun(self, key: str) -> Prepared | None:
        """Return what the worker has told of so far."""
        folder = self._folder / key
        try:
            return Prepared(folder, json.loads((folder / "info.json").read_bytes()))
        except FileNotFoundError:
            return None

    def _take(self, key: str, made: Future[None]) -> None:
        folder = self._folder / key
        sentence = _why(made)
        with self._lock:
            self._waiting.pop(key, None)
            if sentence is not None:
                self._failed[key] = sentence, time.monotonic()
                shutil.rmtree(folder, ignore_errors=True)
                return
            info = json.loads((folder / "info.json").read_bytes())
            size = sum(path.stat().st_size for path in folder.iterdir())
            self._ready[key] = (Prepared(folder, info), size)
            while len(self._ready) > 1 and sum(one for _, one in self._ready.values()) > self._most_bytes:
                _, (oldest, _) = self._ready.popitem(last=False)
                shutil.rmtree(oldest.folder, ignore_errors=True)

    def close(self) -> None:
        """Remove everything that was prepared."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _why(made: Future[None]) -> str | None:
    """Return why work was not done, without a word of the file's own."""
    if made.cancelled():
        return "The server was stopped."
    error = made.exception()
    if error is None:
        return None
    if isinstance(error, AngioError):
        return error.sentence
    return f"Expected frames that can be prepared, found that it ended with {type(error).__name__}."
