"""Pseudonyms: the same patient always gets the same one here, and nobody without the key can turn it back.

A plain hash of a patient's number could be undone by trying all numbers; a keyed one (HMAC,
RFC 2104) cannot. The key is made on first use, readable by its owner only, and never printed.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import sys
from pathlib import Path

from angio_pipeline.core.errors import ConfigError

__all__ = ["KEY_FILE_VARIABLE", "key_file", "pseudonym", "read_key"]

KEY_FILE_VARIABLE = "ANGIO_PSEUDONYM_KEY_FILE"
_KEY_BYTES = 32


def key_file() -> Path:
    """Return where the key is kept: the environment's choice, else the user's configuration folder."""
    named = os.environ.get(KEY_FILE_VARIABLE)
    if named:
        return Path(named).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / "angio-pipeline" / "pseudonym.key"


def read_key(path: Path | None = None) -> bytes:
    """Return the secret key, made (mode 600) on first use.

    Raises
    ------
    ConfigError
        When the file cannot be made or read, or is too short to be a key.
    """
    path = key_file() if path is None else path
    try:
        if not path.exists():
            _make_key(path)
        if os.name == "posix" and path.stat().st_mode & 0o077:
            path.chmod(0o600)
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"Expected a readable pseudonym key, found a {type(error).__name__}; check the file named by "
            f"{KEY_FILE_VARIABLE}, or unset it."
        ) from None
    if len(key) < _KEY_BYTES:
        raise ConfigError(f"Expected a pseudonym key of {_KEY_BYTES} bytes, found {len(key)}; move that file away.")
    return key


def _make_key(path: Path) -> None:
    # Written in full under another name and then linked: a second process sees no key or a whole one.
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as stream:
        stream.write(secrets.token_hex(_KEY_BYTES) + "\n")
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        if not path.exists():
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def pseudonym(patient_id: str, issuer: str = "", *, key: bytes) -> str:
    """Return a patient's pseudonym: `P` and twelve hexadecimal digits.

    Parameters
    ----------
    patient_id, issuer : str
        Patient ID (0010,0020) and its issuer (0010,0021).
    key : bytes
        The secret of `read_key`.
    """
    message = "\0".join((issuer.strip(), patient_id.strip())).encode()
    return "P" + hmac.new(key, message, hashlib.sha256).hexdigest()[:12]
