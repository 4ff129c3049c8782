"""The time of the vessel graph within a run's own analysis, for `graph.py`: as masks of networks are, not as trees are.

The runs of the sample are resampled to the size asked for, as `angio benchmark` does, read and analysed up to the mask;
then the graph of each is made, part by part.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from angio_pipeline import ingest, pipeline, vessels
from angio_pipeline.benchmark import BenchmarkCase, write_resampled
from angio_pipeline.config import PipelineConfig
from angio_pipeline.core.runs import PerfusionMaps, SubtractedRun
from angio_pipeline.core.vessels import VesselSegmentation
from angio_pipeline.networks.prediction import load_frame_predictor, load_run_predictor
from angio_pipeline.vessels import GraphParams
from angio_pipeline.vessels.catheter import find_tip
from angio_pipeline.vessels.network import build_network
from angio_pipeline.vessels.tip import find_root
from angio_pipeline.vessels.tree import root_tree

Result = TypeVar("Result")

REPEATS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """What the graph of one run is made of."""

    segmentation: VesselSegmentation
    sub: SubtractedRun
    maps: PerfusionMaps


def measure_runs(sample: Path, size_px: int, frames: int) -> dict[str, float]:
    """Return medians over the sample's runs: branches, and the processor time of the graph and of its parts, seconds.

    Of each run the least of several times counts: loops are loaded, and what else the machine does is not ours.
    """
    rows = [_measure(case) for case in _cases(sample, BenchmarkCase(size_px, frames))]
    return {"runs": len(rows)} | {name: float(np.median([row[name] for row in rows])) for name in rows[0]}


def _cases(sample: Path, case: BenchmarkCase) -> list[Case]:
    config = PipelineConfig()
    predict, predict_frame = load_run_predictor(config.segment.network), load_frame_predictor()
    found = []
    with tempfile.TemporaryDirectory(prefix="angio-graph-") as folder:
        for number, item in enumerate(ingest.discover([sample], workspace=Path(folder)).runs):
            resampled = Path(folder) / f"run-{number}.dcm"
            write_resampled(item.paths[0], resampled, case)
            (large,) = ingest.discover([resampled], workspace=Path(folder)).runs
            sub, maps = pipeline.subtract_run(ingest.read_run(large), config=config)
            told = vessels.segment(sub, maps, params=config.segment, predict=predict, predict_frame=predict_frame)
            found.append(Case(told, sub, maps))
    return found


def _measure(case: Case) -> dict[str, float]:
    artery, sub, maps, params = case.segmentation.artery, case.sub, case.maps, GraphParams()
    network, network_s = _least(lambda: build_network(artery, sub, maps, params=params.network))
    looked_for = case.segmentation.catheter is not None

    def tip() -> int | None:
        seen = find_tip(case.segmentation, sub, maps, params=params.catheter)
        return find_root(network, artery, sub, params=params.tip, seen=seen, looked_for=looked_for)[0]

    root, tip_s = _least(tip)
    scale = max(artery.shape) / 512
    graph, tree_s = _least(lambda: root_tree(network, root, scale=scale, params=params.tree))
    _, whole_s = _least(lambda: vessels.build_graph(case.segmentation, sub, maps, params=params))
    return {
        "branches": len(graph.branches),
        "network_s": network_s,
        "tip_s": tip_s,
        "tree_s": tree_s,
        "graph_s": whole_s,
    }


def _least(make: Callable[[], Result]) -> tuple[Result, float]:
    """Return what is made, and the least processor time that took."""
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        made = make()
        times.append(time.process_time() - start)
    return made, min(times)
