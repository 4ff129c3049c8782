"""The manifest of weights: which networks there are, and whether their files are as they were. Needs no torch."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from angio_pipeline.assets import models_dir
from angio_pipeline.core.errors import ModelError

__all__ = ["ModelEntry", "model_entry", "read_manifest", "verified_weights"]

_SCHEMA = "angio-pipeline/models/1"


class ModelEntry(BaseModel):
    """One entry of `models/manifest.toml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    file: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    licence: str
    training_data: str
    card: str
    metrics: dict[str, float] = {}


def read_manifest(folder: Path | None = None) -> tuple[ModelEntry, ...]:
    """Return what `manifest.toml` lists.

    Raises
    ------
    ModelError
        When there is no manifest or it is not as it should be.
    """
    path = (folder or models_dir()) / "manifest.toml"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        if document.get("schema") != _SCHEMA:
            raise ModelError(f"Expected a manifest of schema {_SCHEMA}, found {document.get('schema')!r:.60}.")
        return tuple(ModelEntry.model_validate(entry) for entry in document.get("model", ()))
    except OSError:
        raise ModelError(f"Expected models/{path.name}, found none; install the package again.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError, TypeError) as problem:
        first = str(problem).splitlines()[0]
        raise ModelError(f"Expected a readable models/{path.name}, found: {first}.") from None


def model_entry(name: str, folder: Path | None = None) -> ModelEntry:
    """Return the manifest's entry of that name.

    Raises
    ------
    ModelError
        When there is none.
    """
    entries = {entry.name: entry for entry in read_manifest(folder)}
    if name not in entries:
        known = ", ".join(sorted(entries)) or "none"
        raise ModelError(f"Expected a network that models/manifest.toml lists ({known}), found {name!r:.60}.")
    return entries[name]


def verified_weights(name: str, folder: Path | None = None) -> Path:
    """Return the file of a network's weights, after comparing its SHA-256 with the manifest's.

    Raises
    ------
    ModelError
        When the manifest does not list the network, its file is missing, or has changed by a byte.
    """
    entry = model_entry(name, folder)
    path = (folder or models_dir()) / entry.file
    if not path.is_file():
        raise ModelError(f"Expected the weights {entry.file}, found no such file; install the package again.")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != entry.sha256:
        raise ModelError(
            f"Expected {entry.file} with SHA-256 {entry.sha256[:12]}…, found {found[:12]}…: the weights were changed;"
            " install the package again."
        )
    return path
