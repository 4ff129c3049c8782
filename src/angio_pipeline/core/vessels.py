"""Segmented vessels and the directed tree they form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from angio_pipeline.core.arrays import frozen_array
from angio_pipeline.core.quality import Quality

__all__ = ["Branch", "CatheterTip", "FrameVessels", "VesselGraph", "VesselProbabilities", "VesselSegmentation"]


@dataclass(frozen=True, slots=True, eq=False)
class FrameVessels:
    """What a network says of one frame.

    Attributes
    ----------
    probability : ndarray, (H, W) float32
        0 to 1, of vessel.
    threshold : float
        The probability from which on a pixel counts.
    unfamiliar : bool
        The frame looks unlike anything that the network was trained on, or shows nothing at all.
    network : str
        Name of the network and the beginning of its weights' SHA-256.
    """

    probability: npt.NDArray[np.float32]
    threshold: float = 0.5
    unfamiliar: bool = False
    network: str = ""

    def __post_init__(self) -> None:
        value = frozen_array(self.probability, "probability", ndim=2, dtype=np.float32, finite=True)
        object.__setattr__(self, "probability", value)

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """Which pixels are vessel, (H, W)."""
        return np.asarray(self.probability >= self.threshold)


@dataclass(frozen=True, slots=True, eq=False)
class VesselProbabilities:
    """What a network says of each pixel, each (H, W) float32 from 0 to 1; a pixel may be several things at once.

    Attributes
    ----------
    thresholds : mapping of str to float
        By class, the probability from which on a pixel counts.
    unfamiliar : bool
        The run looks unlike anything that the network was trained on.
    network : str
        Name of the network and the beginning of its weights' SHA-256.
    """

    artery: npt.NDArray[np.float32]
    vein: npt.NDArray[np.float32]
    blush: npt.NDArray[np.float32]
    catheter: npt.NDArray[np.float32]
    thresholds: Mapping[str, float] = field(default_factory=dict)
    unfamiliar: bool = False
    network: str = ""

    def __post_init__(self) -> None:
        shape = np.asarray(self.artery).shape
        for name in ("artery", "vein", "blush", "catheter"):
            value = frozen_array(getattr(self, name), name, ndim=2, dtype=np.float32, shape=shape, finite=True)
            object.__setattr__(self, name, value)

    def mask(self, name: str) -> npt.NDArray[np.bool_]:
        """Return (H, W) which pixels belong to a class."""
        probability: npt.NDArray[np.float32] = getattr(self, name)
        return np.asarray(probability >= self.thresholds.get(name, 0.5))


@dataclass(frozen=True, slots=True, eq=False)
class VesselSegmentation:
    """Which pixels are vessel.

    Attributes
    ----------
    probability : ndarray, (H, W) float32
        0 to 1, of artery.
    artery : ndarray, (H, W) bool
    vein : ndarray, (H, W) bool, or None when veins were not told from arteries.
    blush : ndarray, (H, W) float32, or None
        0 to 1, of a tumour's blush; None when it was not told together with the vessels.
    blush_threshold : float
        The probability of blush from which on a pixel counts.
    catheter : ndarray, (H, W) bool, or None when it was not looked for.
    vein_probability, catheter_probability : ndarray, (H, W) float32, or None
        0 to 1; None where none was told.
    method : str
        `network`, `frame network` or `filter`.
    network : str or None
        Name of the network and the beginning of its weights' SHA-256.
    """

    probability: npt.NDArray[np.float32]
    artery: npt.NDArray[np.bool_]
    vein: npt.NDArray[np.bool_] | None = None
    quality: Quality = Quality.NONE
    blush: npt.NDArray[np.float32] | None = None
    blush_threshold: float = 0.5
    catheter: npt.NDArray[np.bool_] | None = None
    vein_probability: npt.NDArray[np.float32] | None = None
    catheter_probability: npt.NDArray[np.float32] | None = None
    method: str = "filter"
    network: str | None = None

    def __post_init__(self) -> None:
        probability = frozen_array(self.probability, "probability", ndim=2, dtype=np.float32)
        object.__setattr__(self, "probability", probability)
        masks = dict.fromkeys(("artery", "vein", "catheter"), np.bool_)
        for name, dtype in (
            masks | dict.fromkeys(("blush", "vein_probability", "catheter_probability"), np.float32)
        ).items():
            if getattr(self, name) is not None:
                value = frozen_array(getattr(self, name), name, ndim=2, dtype=dtype, shape=probability.shape)
                object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True)
class CatheterTip:
    """Where contrast leaves the catheter, in pixels of the reference frame."""

    row: float
    col: float
    probability: float


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """One branch between two nodes, running with the flow.

    Attributes
    ----------
    start, end : int
        Indices into `VesselGraph.nodes`; flow goes from `start` to `end`.
    centreline : ndarray, (K, 2) float64
        (row, col) from start to end.
    radius_px, arrival_s : ndarray, (K,) float64
        Along the centreline; arrival NaN where it was not measured.
    overlap_ambiguous : bool
        The branch passes a crossing that could not be told from a bifurcation.
    contrast : ndarray, (K,) float64, or None when it was not measured
        Attenuation of the centre above the tissue beside it.
    """

    id: int
    start: int
    end: int
    centreline: npt.NDArray[np.float64]
    radius_px: npt.NDArray[np.float64]
    arrival_s: npt.NDArray[np.float64]
    overlap_ambiguous: bool = False
    contrast: npt.NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        line = frozen_array(self.centreline, "centreline", ndim=2, dtype=np.float64, shape=(None, 2), finite=True)
        object.__setattr__(self, "centreline", line)
        for name in ("radius_px", "arrival_s"):
            value = frozen_array(getattr(self, name), name, ndim=1, dtype=np.float64, shape=(len(line),))
            object.__setattr__(self, name, value)
        if self.contrast is not None:
            value = frozen_array(self.contrast, "contrast", ndim=1, dtype=np.float64, shape=(len(line),))
            object.__setattr__(self, "contrast", value)

    @property
    def length_px(self) -> float:
        """Length along the centreline."""
        return float(np.linalg.norm(np.diff(self.centreline, axis=0), axis=1).sum())

    @property
    def diameter_px(self) -> float:
        """Median diameter."""
        return float(2 * np.median(self.radius_px)) if len(self.radius_px) else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class VesselGraph:
    """The arterial tree: nodes, branches directed with the flow, and its root.

    Attributes
    ----------
    nodes : ndarray, (N, 2) float64
        (row, col).
    branches : tuple of Branch
    root : int or None
        Node at the catheter tip, or the assumed origin; None for an empty graph.
    crossings : ndarray, (C, 2) float64
        Places where two branches pass over each other.
    crossing_probability : ndarray, (C,) float64
        How likely each place was read rightly, in the model that read it; NaN where nothing tells (default).
    """

    nodes: npt.NDArray[np.float64]
    branches: tuple[Branch, ...]
    root: int | None
    crossings: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 2)))
    quality: Quality = Quality.NONE
    crossing_probability: npt.NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        nodes = frozen_array(self.nodes, "nodes", ndim=2, dtype=np.float64, shape=(None, 2), finite=True)
        object.__setattr__(self, "nodes", nodes)
        crossings = frozen_array(self.crossings, "crossings", ndim=2, dtype=np.float64, shape=(None, 2))
        object.__setattr__(self, "crossings", crossings)
        told = np.full(len(crossings), np.nan) if self.crossing_probability is None else self.crossing_probability
        told = frozen_array(told, "crossing_probability", ndim=1, dtype=np.float64, shape=(len(crossings),))
        object.__setattr__(self, "crossing_probability", told)
        for branch in self.branches:
            if not (0 <= branch.start < len(nodes) and 0 <= branch.end < len(nodes)):
                raise ValueError(f"Expected branch {branch.id} to join known nodes, found {branch.start}-{branch.end}.")

    def parents(self) -> tuple[int | None, ...]:
        """Return for each branch the index of the branch that flows into it, None at a root."""
        ending_at = {branch.end: k for k, branch in enumerate(self.branches)}
        return tuple(ending_at.get(branch.start) for branch in self.branches)

    def children(self) -> tuple[tuple[int, ...], ...]:
        """Return for each branch the indices of the branches that it flows into."""
        out: list[list[int]] = [[] for _ in self.branches]
        for k, parent in enumerate(self.parents()):
            if parent is not None and parent != k:
                out[parent].append(k)
        return tuple(tuple(c) for c in out)

    def path_to(self, index: int) -> list[int]:
        """Return the branch indices from the root of its piece down to branch `index`."""
        parents = self.parents()
        path, here = [index], parents[index]
        while here is not None and here not in path:
            path.append(here)
            here = parents[here]
        return path[::-1]

    def beyond(self, index: int) -> list[int]:
        """Return branch `index` and all branches that it flows into, directly or further on."""
        children = self.children()
        out, stack, seen = [], [index], {index}
        while stack:
            here = stack.pop()
            out.append(here)
            new = [k for k in children[here] if k not in seen]
            seen.update(new)
            stack.extend(new)
        return out

    @property
    def length_px(self) -> float:
        """Summed length of all branches."""
        return sum(branch.length_px for branch in self.branches)
