"""`angio doctor`: what is installed here, for bug reports."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import typer

from angio_pipeline import __version__

__all__ = ["doctor"]

_PACKAGES = (
    "pydicom", "python-gdcm", "imagecodecs", "SimpleITK", "scikit-image", "scipy", "numpy",
    "numba", "opencv-python-headless", "torch", "openvino", "safetensors", "networkx", "pydantic", "matplotlib",
    "duckdb", "distributed", "pynetdicom", "dicomweb-client",
)  # fmt: skip


def doctor() -> None:
    """Print what a bug report needs: versions, decoders, weights, memory, room; nothing of any patient.

    Example: angio doctor

    Exit status 0: all is there; 1: settings, sample or weights are missing, or weights are not those of the manifest.
    """
    from angio_pipeline.assets import configs_dir, models_dir, sample_dir

    typer.echo(f"angio-pipeline {__version__}, Python {platform.python_version()}, {platform.platform()}")
    for line in (*_machine(), *_packages(), *_decoders()):
        typer.echo(line)
    places = {"configs": configs_dir(), "models": models_dir(), "sample": sample_dir()}
    for label, folder in places.items():
        typer.echo(f"  {label:24} {'found' if folder.is_dir() else 'missing'}")
    weights = _weights()
    for name, state in weights.items():
        typer.echo(f"  weights {name:32} {state}")
    if not all(folder.is_dir() for folder in places.values()) or any(state != "sound" for state in weights.values()):
        raise typer.Exit(1)


def _machine() -> Iterator[str]:
    import psutil

    from angio_pipeline.networks.engines import graphics_processors

    memory = psutil.virtual_memory()
    yield f"  {'cores':24} {os.cpu_count()}"
    yield f"  {'memory':24} {memory.total / 1e9:.1f} GB, {memory.available / 1e9:.1f} GB free"
    yield f"  {'graphics processors':24} {', '.join(graphics_processors()) or 'none that torch can use'}"
    yield f"  {'room here':24} {shutil.disk_usage('.').free / 1e9:.1f} GB"
    yield f"  {'room for temporary files':24} {shutil.disk_usage(tempfile.gettempdir()).free / 1e9:.1f} GB"


def _packages() -> Iterator[str]:
    for name in _PACKAGES:
        yield f"  {name:24} {_version(name)}"


def _weights() -> dict[str, str]:
    """Return of each network whether its weights are there and are those that the manifest names."""
    from angio_pipeline.core.errors import AngioError
    from angio_pipeline.networks.manifest import read_manifest, verified_weights

    found = {}
    try:
        entries = read_manifest()
    except AngioError as error:
        return {"manifest": str(error)}
    for entry in entries:
        try:
            verified_weights(entry.name)
            found[entry.name] = "sound"
        except AngioError as error:
            found[entry.name] = str(error)
    return found


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _decoders() -> Iterator[str]:
    """Yield a line for each compressed transfer syntax: what can decode it here."""
    from pydicom import uid

    from angio_pipeline.ingest.frames import decoder_name

    syntaxes = (
        uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless,
        uid.JPEGLSNearLossless, uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2K, uid.RLELossless,
    )  # fmt: skip
    widest = max(len(syntax.name) for syntax in syntaxes)
    for syntax in syntaxes:
        yield f"  decode {syntax.name:{widest}} {decoder_name(syntax)}"
