"""Angiography pipeline: subtraction, vessels, feeders, lipiodol. Research software, not a medical device."""

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from angio_pipeline.core.lazy import names_on_demand

if TYPE_CHECKING:
    from angio_pipeline.api import RunAnalysis, analyse_run, read_run

try:
    __version__ = version("angio-pipeline")
except PackageNotFoundError:  # running from a source tree that was never installed
    __version__ = "0.0.0"

__all__ = ["RunAnalysis", "__version__", "analyse_run", "read_run"]

__getattr__ = names_on_demand(__name__, {"api": ("RunAnalysis", "analyse_run", "read_run")})
