"""Two projections of one injection: geometry, alignment, tumours and feeders matched along corresponding lines."""

from angio_pipeline.projections.choosing import ChoosingParams, SeenRun, choose_projections
from angio_pipeline.projections.geometry import PairGeometry, View, ViewParams, triangulate, view_of, views_apart_deg
from angio_pipeline.projections.pair import ProjectionParams, join_views

__all__ = [
    "ChoosingParams",
    "PairGeometry",
    "ProjectionParams",
    "SeenRun",
    "View",
    "ViewParams",
    "choose_projections",
    "join_views",
    "triangulate",
    "view_of",
    "views_apart_deg",
]
