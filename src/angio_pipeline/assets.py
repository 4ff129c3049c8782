"""Where the models, settings and sample that travel with the package are found."""

from __future__ import annotations

from pathlib import Path

__all__ = ["configs_dir", "models_dir", "sample_dir"]

_PACKAGE = Path(__file__).resolve().parent


def _asset(installed: str, in_tree: str) -> Path:
    inside_wheel = _PACKAGE / "_assets" / installed
    return inside_wheel if inside_wheel.is_dir() else _PACKAGE.parents[1] / in_tree


def configs_dir() -> Path:
    """Return the folder of TOML presets."""
    return _asset("configs", "configs")


def models_dir() -> Path:
    """Return the folder of network weights and their manifest."""
    return _asset("models", "models")


def sample_dir() -> Path:
    """Return the folder of the simulated sample patient."""
    return _asset("sample", "data/sample")
