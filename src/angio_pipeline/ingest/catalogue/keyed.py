"""Keyed hashes of whatever could name a patient: numbers, names, birth dates, and the paths of files.

Folders on a hospital's disk are named after patients as often as not, so paths are hashed as well; who has
the disk and the key finds a file again by walking the tree (`locate`).
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from functools import lru_cache

__all__ = ["Person", "file_key", "key_check", "person_of"]

Person = tuple[str, str, str | None, str | None, str | None]
"""A row of `persons`."""


def _digest(key: bytes, what: str, *parts: str) -> str:
    message = "\0".join((what, *parts)).encode("utf-8", "surrogateescape")
    return hmac.digest(key, message, hashlib.sha256).hex()[:24]


def file_key(path: str, key: bytes) -> str:
    """Return the identifier of a path: 24 hexadecimal digits."""
    return hmac.digest(key, b"path\0" + path.encode("utf-8", "surrogateescape"), "sha256").hex()[:24]


def key_check(key: bytes) -> str:
    """Return what tells whether a key is the same one as before."""
    return _digest(key, "check")


@lru_cache(maxsize=8192)
def person_of(key: bytes, subject: str, number: str, issuer: str, name: str, birth_date: str) -> Person:
    """Return the row of `persons` for what a file says of its patient."""
    loose = "".join(c for c in number.casefold() if c.isalnum()).lstrip("0")
    parts = " ".join(sorted(_plain(name).split()))
    return (
        _digest(key, "person", subject, number, issuer, name, birth_date),
        subject,
        _digest(key, "number", number) if number else None,
        _digest(key, "loose number", loose) if loose else None,
        _digest(key, "name and birth date", parts, birth_date) if parts and birth_date else None,
    )


def _plain(name: str) -> str:
    apart = unicodedata.normalize("NFKD", name.replace("^", " ").replace(",", " ").replace("-", " "))
    return "".join(c for c in apart if not unicodedata.combining(c)).casefold()
