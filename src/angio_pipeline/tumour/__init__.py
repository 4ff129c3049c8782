"""Tumour: blush, feeders, super-selective targets, shunts."""

from angio_pipeline.tumour.blush import BlushParams, find_blush, tumours_from_rois
from angio_pipeline.tumour.feeders import FeederParams, find_feeders
from angio_pipeline.tumour.shunts import ShuntParams, find_shunts
from angio_pipeline.tumour.targets import TargetParams, choose_targets, weigh_options

__all__ = [
    "BlushParams",
    "FeederParams",
    "ShuntParams",
    "TargetParams",
    "choose_targets",
    "find_blush",
    "find_feeders",
    "find_shunts",
    "tumours_from_rois",
    "weigh_options",
]
