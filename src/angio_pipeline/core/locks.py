"""Locks that the system takes back when their process ends, however it ends."""

from __future__ import annotations

from typing import IO

__all__ = ["try_lock"]


def try_lock(file: IO[str] | int) -> bool | None:
    """Return whether the lock of an open file, or of its descriptor, was free and is held from now on.

    It is held until the file is closed or the process ends. None where the system or the disk knows no such locks.
    """
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return None
    return True
