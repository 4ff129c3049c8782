"""Tumour: blush, feeders, super-selective targets, shunts."""

from angio_pipeline.tumour.blush import BlushParams, find_blush, tumours_from_rois
from angio_pipeline.tumour.corrections import correct_feeders, try_click
from angio_pipeline.tumour.feeders import FeederParams, find_feeders
from angio_pipeline.tumour.hand_drawn import correct_tumours
from angio_pipeline.tumour.placing import CorrectionParams, place_edits
from angio_pipeline.tumour.shunts import ShuntParams, find_shunts
from angio_pipeline.tumour.targets import TargetParams, choose_targets, weigh_options

__all__ = [
    "BlushParams",
    "CorrectionParams",
    "FeederParams",
    "ShuntParams",
    "TargetParams",
    "choose_targets",
    "correct_feeders",
    "correct_tumours",
    "find_blush",
    "find_feeders",
    "find_shunts",
    "place_edits",
    "try_click",
    "tumours_from_rois",
    "weigh_options",
]
