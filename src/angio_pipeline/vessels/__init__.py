"""Vessels: segmentation, centreline, radius, graph, root, flow."""

from angio_pipeline.vessels.graph import GraphParams, build_graph
from angio_pipeline.vessels.network import Network, NetworkParams, build_network
from angio_pipeline.vessels.segmentation import Predict, SegmentParams, VesselFeatures, arterial_image, segment
from angio_pipeline.vessels.tip import TipParams, find_root
from angio_pipeline.vessels.tree import TreeParams, root_tree

__all__ = [
    "GraphParams",
    "Network",
    "NetworkParams",
    "Predict",
    "SegmentParams",
    "TipParams",
    "TreeParams",
    "VesselFeatures",
    "arterial_image",
    "build_graph",
    "build_network",
    "find_root",
    "root_tree",
    "segment",
]
