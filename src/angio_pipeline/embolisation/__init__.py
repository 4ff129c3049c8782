"""Before against after embolisation: geometry, alignment, blush, feeders, endpoint."""

from angio_pipeline.embolisation.comparison import EmbolisationParams, compare_runs
from angio_pipeline.embolisation.geometry import GeometryParams, check_geometry
from angio_pipeline.embolisation.pairing import PairedBy, PairingParams, RunPair, RunView, choose_pairs

__all__ = [
    "EmbolisationParams",
    "GeometryParams",
    "PairedBy",
    "PairingParams",
    "RunPair",
    "RunView",
    "check_geometry",
    "choose_pairs",
    "compare_runs",
]
