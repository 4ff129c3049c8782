"""`angio doctor`: what is installed here, for bug reports."""

from __future__ import annotations

import platform
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
    """Print versions, decoders and where models, settings and the sample are.

    Example: angio doctor
    """
    from angio_pipeline.assets import configs_dir, models_dir, sample_dir

    typer.echo(f"angio-pipeline {__version__}, Python {platform.python_version()}, {platform.machine()}")
    for name in _PACKAGES:
        typer.echo(f"  {name:24} {_version(name)}")
    for syntax, decoder in _decoders().items():
        typer.echo(f"  decode {syntax:40} {decoder}")
    for label, folder in (("configs", configs_dir()), ("models", models_dir()), ("sample", sample_dir())):
        typer.echo(f"  {label:24} {folder if folder.is_dir() else 'missing'}")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _decoders() -> dict[str, str]:
    """Return what reads each compressed transfer syntax."""
    from pydicom import uid

    from angio_pipeline.ingest.frames import decoder_name

    syntaxes = (
        uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless,
        uid.JPEGLSNearLossless, uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2K, uid.RLELossless,
    )  # fmt: skip
    return {syntax.name[:40]: decoder_name(syntax) for syntax in syntaxes}
