"""Places on the vessel tree: the branch nearest to a point, and what a catheter would meet on its way there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from angio_pipeline.core.tumours import CannulationTarget, Feeder
from angio_pipeline.core.vessels import VesselGraph

__all__ = ["TreePlace", "TreePlaces", "joined_line", "own_line", "target_at"]

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


def joined_line(graph: VesselGraph, branches: list[int]) -> Line:
    """Return the centrelines of branches that follow each other as one, (K, 2) float64."""
    parts = [graph.branches[k].centreline for k in branches[:1]]
    parts += [graph.branches[k].centreline[1:] for k in branches[1:]]
    return np.vstack(parts) if parts else np.empty((0, 2))


def target_at(graph: VesselGraph, place: TreePlace, share: npt.NDArray[np.float64]) -> CannulationTarget:
    """Return the catheter position at a point of the tree.

    Parameters
    ----------
    share : ndarray, (B,) float64
        Share of the flow beyond each branch that ends in the tumour.
    """
    branch = graph.branches[place.branch]
    upstream = graph.path_to(place.branch)[:-1]
    walked = np.vstack([*(graph.branches[k].centreline for k in upstream), branch.centreline[: place.index + 1]])
    length = float(np.linalg.norm(np.diff(walked, axis=0), axis=1).sum())
    straight = float(np.linalg.norm(walked[-1] - walked[0]))
    radius = branch.radius_px[max(0, place.index - 4) : place.index + 5]
    row, col = branch.centreline[place.index]
    return CannulationTarget(
        row=float(row),
        col=float(col),
        diameter_px=float(2 * np.median(radius)),
        path_length_px=length,
        bifurcations=len(upstream),
        tortuosity=max(1.0, length / straight) if straight > 0 else 1.0,
        non_target_fraction=float(np.clip(1 - share[place.branch], 0, 1)),
    )
