"""Places on the vessel tree: the branch nearest to a point, and what a catheter would meet on its way there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from angio_pipeline.core.tumours import CannulationTarget, Feeder
from angio_pipeline.core.vessels import VesselGraph
from angio_pipeline.tumour.targets import OWN_SHARE, turns_deg

__all__ = ["TreePlace", "TreePlaces", "own_line", "target_at", "target_on"]

Line = npt.NDArray[np.float64]
Point = tuple[float, float]

_SAME_PX = 1.0
"""A line whose points are this near to a branch runs along it."""


@dataclass(frozen=True, slots=True)
class TreePlace:
    """A point of a branch's centreline, and how far it is from the place that was asked for."""

    branch: int
    index: int
    distance_px: float

    def radius_px(self, graph: VesselGraph) -> float:
        """Return the median radius of the branch about the place."""
        return float(np.median(graph.branches[self.branch].radius_px[max(0, self.index - 4) : self.index + 5]))


@dataclass(frozen=True, slots=True, eq=False)
class TreePlaces:
    """All centreline points of a tree, to be asked which is nearest."""

    graph: VesselGraph
    tree: KDTree | None
    branch: npt.NDArray[np.int64]
    index: npt.NDArray[np.int64]

    @classmethod
    def of(cls, graph: VesselGraph) -> TreePlaces:
        """Return the places of a graph; an empty one has none."""
        lines = [branch.centreline for branch in graph.branches]
        if not lines:
            return cls(graph, None, np.empty(0, np.int64), np.empty(0, np.int64))
        branch = np.concatenate([np.full(len(line), k) for k, line in enumerate(lines)])
        return cls(graph, KDTree(np.vstack(lines)), branch, np.concatenate([np.arange(len(line)) for line in lines]))

    def nearest(self, point: Point, within_px: float) -> list[TreePlace]:
        """Return the nearest place of each branch within reach, the nearest branch first."""
        if self.tree is None:
            return []
        best: dict[int, TreePlace] = {}
        for hit in self.tree.query_ball_point(point, within_px):
            away = float(np.linalg.norm(self.tree.data[hit] - np.asarray(point)))
            place = TreePlace(int(self.branch[hit]), int(self.index[hit]), away)
            if place.branch not in best or away < best[place.branch].distance_px:
                best[place.branch] = place
        return sorted(best.values(), key=lambda place: place.distance_px)

    def along(self, line: Line) -> list[int]:
        """Return the branches that a line runs along, in order; none where the tree lies elsewhere."""
        if self.tree is None or not len(line):
            return []
        away, hits = self.tree.query(line)
        near = self.branch[hits][away <= _SAME_PX]
        if 2 * len(near) < len(line):
            return []
        # Where branches meet, a single point may count as another's.
        found, counts = np.unique(near, return_counts=True)
        real = set(found[counts >= min(3, counts.max())].tolist())
        return list(dict.fromkeys(int(k) for k in near if k in real))


def own_line(feeder: Feeder) -> Line:
    """Return the feeder's own part: from where it leaves what feeds something else to the tumour, (K, 2)."""
    start = np.argmin(np.linalg.norm(feeder.centreline - np.asarray(feeder.branch_start), axis=1))
    return feeder.centreline[int(start) :]


def target_at(graph: VesselGraph, place: TreePlace, share: npt.NDArray[np.float64]) -> CannulationTarget:
    """Return the catheter position at a point of the tree.

    Parameters
    ----------
    share : ndarray, (B,) float64
        Share of the flow beyond each branch that ends in the tumour.
    """
    path = graph.path_to(place.branch)
    lines = [graph.branches[k].centreline for k in path]
    target = target_on(lines, place.index, place.radius_px(graph), 1 - float(share[place.branch]))
    own = next((n for n, k in enumerate(reversed(path)) if share[k] < OWN_SHARE), len(path))
    if own == 0:
        return target
    past = [*lines[len(path) - own : -1], lines[-1][: place.index + 1]]
    return replace(target, beyond_last_branch_px=_length(np.vstack(past)))


def target_on(lines: Sequence[Line], index: int, radius_px: float, non_target_fraction: float) -> CannulationTarget:
    """Return the catheter position at an index of the last of the lines, (K, 2) each, that lead there from the root."""
    walked = np.vstack([*lines[:-1], lines[-1][: index + 1]])
    length = _length(walked)
    straight = float(np.linalg.norm(walked[-1] - walked[0]))
    return CannulationTarget(
        row=float(walked[-1, 0]),
        col=float(walked[-1, 1]),
        diameter_px=2 * radius_px,
        path_length_px=length,
        bifurcations=len(lines) - 1,
        tortuosity=max(1.0, length / straight) if straight > 0 else 1.0,
        non_target_fraction=float(np.clip(non_target_fraction, 0, 1)),
        turns_deg=turns_deg(lines),
    )


def _length(line: Line) -> float:
    return float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())
