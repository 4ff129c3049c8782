"""The vessel graph of a run: network, root, directed tree, in one call."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import PerfusionMaps, SubtractedRun
from angio_pipeline.core.vessels import CatheterTip, VesselGraph, VesselSegmentation
from angio_pipeline.vessels.catheter import CatheterParams, find_tip
from angio_pipeline.vessels.network import NetworkParams, build_network
from angio_pipeline.vessels.segmentation import arterial_image, vessel_contrast
from angio_pipeline.vessels.tip import TipParams, find_root
from angio_pipeline.vessels.tree import TreeParams, root_tree

__all__ = ["GraphParams", "build_graph"]


class GraphParams(Params):
    """Settings of `build_graph`."""

    widest_px: float = Field(25.0, gt=1, description="what is wider is background, for a 512-pixel frame")
    contrast_smoothing_px: float = Field(0.7, ge=0)
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
    image = arterial_image(sub, maps, smoothing_px=params.contrast_smoothing_px * scale)
    contrast = vessel_contrast(image, params.widest_px * scale)
    network = build_network(artery, contrast, sub, maps, params=params.network)
    seen = find_tip(segmentation, sub, maps, params=params.catheter)
    looked_for = segmentation.catheter is not None
    root, tip = find_root(network, artery, sub, params=params.tip, seen=seen, looked_for=looked_for)
    graph = root_tree(network, root, scale=scale, params=params.tree, end_region=tumours)
    quality = graph.quality
    if tip is None and graph.branches:
        quality |= Quality.ROOT_ASSUMED | Quality.NO_CATHETER_TIP
    if graph.branches and not np.isfinite(np.concatenate([b.arrival_s for b in graph.branches])).any():
        quality |= Quality.FLOW_DIRECTION_UNCERTAIN
    return replace(graph, quality=quality), tip
