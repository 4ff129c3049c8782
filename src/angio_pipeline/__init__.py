"""Angiography pipeline: subtraction, vessels, feeders, lipiodol. Research software, not a medical device."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("angio-pipeline")
except PackageNotFoundError:  # running from a source tree that was never installed
    __version__ = "0.0.0"

__all__ = ["__version__"]
