"""A folder for what archives hold, that goes away with whoever unpacked it, however that ended.

What is unpacked names patients. A process that is killed cannot tidy up, so each folder holds a file that its owner
has locked: the system gives the lock back when the owner ends, and the next command removes the folder then. A lock
and no process number: that may have been given to another process, and means nothing from one container to the next.
The file holds its machine's name as well: some network disks know locks of one machine only.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from angio_pipeline.core.locks import try_lock

__all__ = ["remove_orphans", "temporary_workspace"]

_PREFIX = "angio-"
_LOCK = ".owner"
_HOST = platform.node().encode()


@contextmanager
def temporary_workspace() -> Iterator[Path]:
    """Yield a folder for this while, readable by its owner only; folders of processes that were killed are removed.

    Raises
    ------
    OSError
        When the system's folder for temporary files cannot be written.
    """
    remove_orphans(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as name:
        lock = _locked(Path(name))
        try:
            yield Path(name)
        finally:
            os.close(lock)


def remove_orphans(place: Path) -> int:
    """Return how many folders of `temporary_workspace` were removed from `place` because their owner is gone.

    A folder without a lock, of another user or machine or behind a link stays: it is not known to be one of ours.
    """
    return sum(_remove_orphan(folder) for folder in place.glob(f"{_PREFIX}*"))


def _locked(folder: Path) -> int:
    """Return an open file that is locked before it has the name by which it is looked for."""
    draft = folder / f"{_LOCK}.new"
    handle = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(handle, _HOST)
    try_lock(handle)
    if os.name == "posix":  # elsewhere an open file cannot be renamed, and is not looked for
        draft.rename(folder / _LOCK)
    return handle


def _remove_orphan(folder: Path) -> bool:
    handle = -1
    try:
        if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
            return False
        handle = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
        if os.read(handle, 1024) != _HOST or not try_lock(handle):
            return False
        shutil.rmtree(folder)
    except (OSError, AttributeError):  # gone meanwhile, none of ours, or a system without owners
        return False
    finally:
        if handle >= 0:
            os.close(handle)
    return True
