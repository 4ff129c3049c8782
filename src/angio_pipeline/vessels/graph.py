"""The vessel graph of a run: network, root, directed tree, in one call."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from angio_pipeline.core.params import Params
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import PerfusionMaps, SubtractedRun
from angio_pipeline.core.vessels import CatheterTip, VesselGraph, VesselSegmentation
from angio_pipeline.vessels.catheter import CatheterParams, find_tip
from angio_pipeline.vessels.network import NetworkParams, build_network, with_node_near
from angio_pipeline.vessels.tip import TipParams, find_root
from angio_pipeline.vessels.tree import TreeParams, root_tree

__all__ = ["GraphParams", "build_graph"]

# A catheter's tip this near a node of the network, in pixels of a 512-pixel frame, lies at it.
_AT_NODE_PX = 6.0


class GraphParams(Params):
    """Settings of `build_graph`."""

    network: NetworkParams = NetworkParams()
    tip: TipParams = TipParams()
    catheter: CatheterParams = CatheterParams()
    tree: TreeParams = TreeParams()


def build_graph(
    segmentation: VesselSegmentation,
    sub: SubtractedRun,
    maps: PerfusionMaps,
    *,
    params: GraphParams,
    tumours: npt.NDArray[np.bool_] | None = None,
) -> tuple[VesselGraph, CatheterTip | None]:
    """Return the rooted, directed graph of the arteries, and the catheter tip when it was found.

    Parameters
    ----------
    tumours : ndarray, (H, W) bool, optional
        Regions that vessels end in: flow is led into them, not through.
    """
    artery = segmentation.artery
    scale = max(artery.shape) / 512
    network = build_network(artery, sub, maps, params=params.network)
    seen = find_tip(segmentation, sub, maps, params=params.catheter)
    looked_for = segmentation.catheter is not None
    root, tip = find_root(network, artery, sub, params=params.tip, seen=seen, looked_for=looked_for)
    if root is not None and tip is not None:
        network, root = with_node_near(network, (tip.row, tip.col), _AT_NODE_PX * scale, piece_of=root)
    graph = root_tree(network, root, scale=scale, params=params.tree, end_region=tumours)
    quality = graph.quality
    if tip is None and graph.branches:
        quality |= Quality.ROOT_ASSUMED | Quality.NO_CATHETER_TIP
    if graph.branches and not np.isfinite(np.concatenate([b.arrival_s for b in graph.branches])).any():
        quality |= Quality.FLOW_DIRECTION_UNCERTAIN
    return replace(graph, quality=quality), tip
