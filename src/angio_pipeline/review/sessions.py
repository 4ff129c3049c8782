"""Who is signed in: a random cookie, and a second secret that only the page itself can send back.

Without a file of tokens a name is taken on trust, which is enough for one person at their own desk. With one, a token
that stands beside a name is that reader's alone, and one without a name admits under any other name.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from angio_pipeline.core.errors import ConfigError
from angio_pipeline.review.problems import ReviewProblem

__all__ = ["Session", "Sessions", "read_tokens"]

_IDLE_S = 12 * 3600.0
_MOST = 1000
_SHORTEST = 20


@dataclass(slots=True)
class Session:
    """One browser that is signed in."""

    reader: str
    key: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    seen: float = field(default_factory=time.monotonic)


def read_tokens(path: Path) -> dict[str, str]:
    """Return the reader of each token, "" where it is nobody's own; one a line: token, then perhaps a name.

    Raises
    ------
    ConfigError
        When the file cannot be read, is empty, can be read by others, or a token is short or stands twice.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        others = path.stat().st_mode & 0o077
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"Expected tokens in {path.name}, found no file that can be read; check --tokens.") from None
    if others:
        raise ConfigError(f"Expected {path.name} to be its owner's alone, found that others may read it; chmod 600 it.")
    pairs = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    found = {pair[0]: pair[1] if len(pair) > 1 else "" for pair in pairs}
    if not found or len(found) != len(pairs) or min(map(len, found)) < _SHORTEST:
        raise ConfigError(
            f"Expected one token of at least {_SHORTEST} characters a line in {path.name}, each once, found otherwise."
        )
    return found


class Sessions:
    """Everybody who is signed in; kept in memory, so that a new start asks for the name again."""

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self._tokens = dict(tokens)
        self._lock = threading.Lock()
        self._open: dict[str, Session] = {}

    def sign_in(self, name: str, token: str) -> Session:
        """Return a new session.

        Raises
        ------
        ReviewProblem
            403, when the token is unknown, or another reader's.
        """
        reader = " ".join(name.split())
        if self._tokens:
            owner = self._owner(token)
            named = {one.casefold() for one in self._tokens.values()}
            if (
                owner is None
                or (owner and owner.casefold() != reader.casefold())
                or (not owner and reader.casefold() in named)
            ):
                raise ReviewProblem(403, "not_admitted", "Expected the token of this reader, found another or none.")
            reader = owner or reader
        session = Session(reader)
        with self._lock:
            self._forget_idle()
            self._open[session.key] = session
        return session

    def _owner(self, token: str) -> str | None:
        # Every token is compared, so that time tells nothing.
        equal = [k for k in self._tokens if secrets.compare_digest(k.encode(), token.encode())]
        return self._tokens[equal[0]] if equal else None

    def _forget_idle(self) -> None:
        oldest = sorted(self._open.values(), key=lambda one: one.seen)
        now, spare = time.monotonic(), len(oldest) - _MOST + 1
        for place, one in enumerate(oldest):
            if place < spare or now - one.seen > _IDLE_S:
                del self._open[one.key]

    def find(self, key: str) -> Session | None:
        """Return the session of a cookie, None where there is none or it was idle for half a day."""
        with self._lock:
            found = self._open.get(key)
            if found is None or time.monotonic() - found.seen > _IDLE_S:
                return None
            found.seen = time.monotonic()
            return found

    def sign_out(self, key: str) -> None:
        """End a session."""
        with self._lock:
            self._open.pop(key, None)
