"""Secrets for DICOMweb: from a file that its owner alone can read, or from the environment; never shown."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from angio_pipeline.core.errors import ConfigError
from angio_pipeline.pacs.settings import Login

__all__ = ["Secret", "read_login"]


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A token, or a user and a password; its text is masked.

    Attributes
    ----------
    kind : str
        `bearer` or `basic`.
    """

    kind: str
    value: str

    def __repr__(self) -> str:
        return f"Secret({self.kind}, '***')"


def read_login(login: Login) -> Secret:
    """Return the secret that the settings point to.

    Raises
    ------
    ConfigError
        When it is missing or empty, when others can read its file, or when a basic one is not `user:password`.
    """
    kind = "bearer" if login.bearer_file or login.bearer_env else "basic"
    file, name = (login.bearer_file or login.basic_file), (login.bearer_env or login.basic_env)
    value = _of_file(file) if file is not None else os.environ.get(str(name), "").strip()
    place = f"the file {file.name}" if file is not None else f"the environment variable {name}"
    if not value or not value.isprintable():
        raise ConfigError(f"Expected a secret of one line in {place}, found none.")
    if kind == "basic" and ":" not in value:
        raise ConfigError(f"Expected user:password in {place}, found no colon.")
    return Secret(kind, value)


def _of_file(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            if os.name == "posix" and mode & 0o077:
                raise ConfigError(
                    f"Expected the secret in {path.name} to be readable by its owner alone (mode 600), "
                    f"found mode {mode:03o}; run chmod 600 on it."
                )
            return stream.read(1 << 16).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Expected a secret in {path.name}, found {type(error).__name__}.") from None
