"""Vessels: segmentation, centreline, radius, graph, root, flow."""

from angio_pipeline.vessels.graph import GraphParams, build_graph
from angio_pipeline.vessels.measures import MeasureParams, measure_branches
from angio_pipeline.vessels.network import Network, NetworkParams, build_network
from angio_pipeline.vessels.pictures import CHANNELS, WORKING_PX, RunPictures, picture_run, working_shape
from angio_pipeline.vessels.segmentation import Predict, PredictFrame, SegmentParams, arterial_image, segment
from angio_pipeline.vessels.tip import TipParams, find_root
from angio_pipeline.vessels.tree import TreeParams, root_tree

__all__ = [
    "CHANNELS",
    "WORKING_PX",
    "GraphParams",
    "MeasureParams",
    "Network",
    "NetworkParams",
    "Predict",
    "PredictFrame",
    "RunPictures",
    "SegmentParams",
    "TipParams",
    "TreeParams",
    "arterial_image",
    "build_graph",
    "build_network",
    "find_root",
    "measure_branches",
    "picture_run",
    "root_tree",
    "segment",
    "working_shape",
]
