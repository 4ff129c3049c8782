"""A run's result from its written files, with the run itself read and subtracted again.

Frames are not written; tumours, feeders, tree and masks are. What comes after a run's analysis
(the comparison of two runs) takes these from the files, so that it works on what a reader sees, and no
network has to look at the run a second time.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from angio_pipeline.core.errors import AngioError
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.results import RunResult
from angio_pipeline.core.runs import AngioRun, PerfusionMaps, PhaseRange, Phases, SubtractedRun
from angio_pipeline.core.tumours import CannulationTarget, Feeder, Tumour
from angio_pipeline.core.vessels import Branch, CatheterTip, VesselGraph, VesselSegmentation
from angio_pipeline.outputs.schemas import (
    FeederDocument,
    GraphBranch,
    GraphDocument,
    PhasesDocument,
    RunDocument,
    TargetDocument,
    TumourDocument,
)

__all__ = ["read_graph", "read_run_result", "read_tumour"]

_NAN = float("nan")


def read_run_result(folder: Path, run: AngioRun, subtracted: SubtractedRun, maps: PerfusionMaps) -> RunResult:
    """Return the result whose files are in `folder`.

    Shunts, curves and probabilities of pixels are not read back; the probability is 1 on the mask.

    Parameters
    ----------
    run, subtracted, maps
        The input of that analysis, read and subtracted again with the same settings.

    Raises
    ------
    AngioError
        When a file is missing or damaged, or was written for another subtraction.
    """
    try:
        document = RunDocument.model_validate_json((folder / "analysis.json").read_bytes())
        graph = GraphDocument.model_validate_json((folder / document.vessels.graph).read_bytes())
    except (OSError, ValueError):
        raise _again("readable results") from None
    same = document.subtraction.reference_frame == subtracted.reference_frame
    if not same or (document.image.rows, document.image.columns) != subtracted.valid.shape:
        raise _again("results of the same subtraction")
    size = (document.image.rows, document.image.columns)
    artery = _mask(folder, document.vessels.artery_mask, size)
    catheter = document.vessels.catheter_mask
    return RunResult(
        run=run,
        subtracted=subtracted,
        # A reader may have set the phases.
        maps=replace(maps, phases=_phases(document.phases)),
        vessels=VesselSegmentation(
            artery.astype(np.float32),
            artery,
            catheter=None if catheter is None else _mask(folder, catheter, size),
            method=document.vessels.method or "filter",
            network=document.vessels.network,
        ),
        graph=read_graph(graph),
        tip=None if document.catheter_tip is None else CatheterTip(**document.catheter_tip.model_dump()),
        tumours=tuple(read_tumour(one, folder, size) for one in document.tumours),
        shunts=(),
        settings=document.settings,
        quality=_quality(document.quality),
    )


def _again(expected: str) -> AngioError:
    return AngioError(f"Expected {expected} of the run, found others; analyse it again.", reason="error")


def _mask(folder: Path, name: str, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    import cv2

    path = folder / name
    content = path.read_bytes() if path.is_file() and path.resolve().is_relative_to(folder.resolve()) else b""
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE) if content else None
    if pixels is None or pixels.shape != size:
        raise _again("readable masks")
    return np.asarray(pixels > 127)


def _quality(names: list[str]) -> Quality:
    quality = Quality.NONE
    for name in names:
        quality |= Quality.__members__.get(name, Quality.NONE)
    return quality


def _phases(document: PhasesDocument) -> Phases:
    pre, parenchymal, venous = (
        None if found is None else PhaseRange(*found)
        for found in (document.pre_contrast, document.parenchymal, document.venous)
    )
    return Phases(pre, PhaseRange(*document.arterial), parenchymal, venous)


def read_graph(document: GraphDocument) -> VesselGraph:
    """Return the tree of a written graph."""
    # Nodes are numbered in the order they are written in.
    nodes = np.array([(node.row, node.col) for node in document.nodes], dtype=np.float64).reshape(-1, 2)
    crossings = np.array(document.crossings, dtype=np.float64).reshape(-1, 2)
    return VesselGraph(nodes, tuple(_branch(one) for one in document.branches), document.root, crossings)


def _branch(document: GraphBranch) -> Branch:
    return Branch(
        id=document.id,
        start=document.start,
        end=document.end,
        centreline=np.array(document.centreline, dtype=np.float64).reshape(-1, 2),
        radius_px=np.array([_NAN if r is None else r for r in document.radius_px]),
        arrival_s=np.array([_NAN if a is None else a for a in document.arrival_s]),
        overlap_ambiguous=document.overlap_ambiguous,
    )


def read_tumour(document: TumourDocument, folder: Path, size: tuple[int, int]) -> Tumour:
    """Return a written tumour, its mask read from the folder of its run.

    Raises
    ------
    AngioError
        When the mask is missing or of another size.
    """
    return Tumour(
        document.id,
        _mask(folder, document.mask, size),
        document.probability,
        document.origin,
        tuple(_feeder(one) for one in document.feeders),
        tuple(_target(one, tuple(one.covers)) for one in document.targets),
        corrected=document.corrected,
    )


def _feeder(document: FeederDocument) -> Feeder:
    return Feeder(
        id=document.id,
        rank=document.rank,
        probability=document.probability,
        contribution=document.contribution,
        centreline=np.array(document.centreline, dtype=np.float64).reshape(-1, 2),
        branch_start=document.branch_start,
        diameter_px=_known(document.diameter_px),
        arrival_s=_known(document.arrival_s),
        overlap_ambiguous=document.overlap_ambiguous,
        target=_target(document.target, (document.id,)),
        evidence={name: _known(value) for name, value in document.evidence.items()},
        corrected=document.corrected,
    )


def _target(document: TargetDocument, covers: tuple[str, ...]) -> CannulationTarget:
    return CannulationTarget(
        row=document.row,
        col=document.col,
        diameter_px=_known(document.diameter_px),
        path_length_px=_known(document.path_length_px),
        bifurcations=document.bifurcations,
        tortuosity=_known(document.tortuosity),
        non_target_fraction=_known(document.non_target_fraction),
        covers=covers,
        turns_deg=tuple(document.turns_deg),
        beyond_last_branch_px=_known(document.beyond_last_branch_px),
        corrected=document.corrected,
    )


def _known(value: float | None) -> float:
    return _NAN if value is None else value
