"""Before against after embolisation: geometry, alignment, blush, feeders, endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from angio_pipeline.core.lazy import names_on_demand

if TYPE_CHECKING:
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

# Which runs are a pair is asked by whoever lists a disk, without an image in sight.
__getattr__ = names_on_demand(
    __name__,
    {
        "comparison": ("EmbolisationParams", "compare_runs"),
        "geometry": ("GeometryParams", "check_geometry"),
        "pairing": ("PairedBy", "PairingParams", "RunPair", "RunView", "choose_pairs"),
    },
)
