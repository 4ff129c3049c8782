"""Fit what speaks for and against each reading of a place where vessels meet.

On development scenes (`graph_trees.py`, seeds that `graph.py` does not report) the true reading of every junction of
the network is looked up in the tree; weights of `vessels.junction_readings` and `vessels.tree` are those under which
the true readings are likeliest, by multinomial logistic regression with a ridge penalty. Printed: the tables to put
into the code.

    .venv/bin/python benchmarks/graph_weights.py [--scenes N]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.spatial import cKDTree

from angio_pipeline.vessels.junction_readings import FEATURES, Readings, readings_of
from angio_pipeline.vessels.junctions import Arms, Junction, find_junctions, measure_arms
from angio_pipeline.vessels.network import Network, NetworkParams, build_network
from graph_trees import Scene, TrueTree, make_scene

Array = npt.NDArray[np.float64]

FIRST_SEED = 1000
RIDGE = 1.0
SETS = (("clean", 1024, 0), ("dense", 1024, 0), ("dense", 512, 0), ("liver", 512, 0), ("liver", 1024, 0))


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A junction with all its readings, and which one is true."""

    readings: Readings
    true: int


class Courses:
    """The true tree, ready to be asked what runs at a point."""

    def __init__(self, tree: TrueTree, scale: float) -> None:
        self.tree, self.scale = tree, scale
        parts = [_fine(line) for line in tree.lines]
        self.points = np.vstack([p for p, _, _ in parts])
        self.course = np.vstack([c for _, c, _ in parts])
        self.along = np.concatenate([a for _, _, a in parts])
        self.edge = np.concatenate([np.full(len(p), k) for k, (p, _, _) in enumerate(parts)])
        self.index = cKDTree(self.points)

    def at(self, place: Array, heading: Array, radius: float) -> tuple[int, float, bool] | None:
        """Return edge, distance along it, and whether flow runs along `heading`; None where that is not clear."""
        reach = 1.5 * self.scale + 0.6 * radius
        near = np.array(self.index.query_ball_point(place, reach), dtype=int)
        if not len(near):
            return None
        cosine = self.course[near] @ heading
        near, cosine = near[np.abs(cosine) > 0.8], cosine[np.abs(cosine) > 0.8]
        if not len(near):
            return None
        away = np.linalg.norm(self.points[near] - place, axis=1)
        best = int(np.argmin(away))
        edge = int(self.edge[near[best]])
        family = self._family(edge)
        others = away[[int(e) not in family for e in self.edge[near]]]
        if len(others) and others.min() < away[best] + 0.6 * self.scale:
            return None
        return edge, float(self.along[near[best]]), bool(cosine[best] > 0)

    def _family(self, edge: int) -> set[int]:
        # The edge, what it comes from and flows into, and what leaves with it.
        parent = self.tree.parents[edge]
        found = {edge, parent, *self.tree.children(edge)}
        if parent >= 0:
            found |= {self.tree.parents[parent], *self.tree.children(parent)}
        return found


def _fine(line: Array) -> tuple[Array, Array, Array]:
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    at = np.arange(0.0, along[-1], 0.5)
    points = np.stack([np.interp(at, along, line[:, k]) for k in range(2)], axis=1)
    course = np.gradient(points, axis=0) if len(points) > 1 else np.zeros((len(points), 2))
    return points, course / np.maximum(np.linalg.norm(course, axis=1, keepdims=True), 1e-9), at


def true_reading(junction: Junction, arms: Arms, readings: Readings, courses: Courses) -> int | None:
    """Return which reading of a junction is true; None where the tree does not tell."""
    told = [
        courses.at(place + 2.0 * heading, heading, radius)
        for place, heading, radius in zip(arms.place, arms.heading, arms.radius_px, strict=True)
    ]
    if any(t is None for t in told):
        return None
    known = [t for t in told if t is not None]
    inward = [k for k, (_, _, away) in enumerate(known) if not away]
    fed_by = np.full(len(known), -1)
    for k, (edge, along, away) in enumerate(known):
        if away:
            above = _feeder(edge, along, {i: known[i][:2] for i in inward}, courses.tree)
            if above is None:
                return None
            fed_by[k] = above
    same = np.flatnonzero((readings.fed_by == fed_by).all(axis=1))
    return int(same[0]) if len(same) else None


def _feeder(edge: int, along: float, inward: dict[int, tuple[int, float]], tree: TrueTree) -> int | None:
    # The incoming arm that is met first on the way up from a point of the tree, not more than three forks away.
    for _ in range(5):
        above = [(s, k) for k, (e, s) in inward.items() if e == edge and s < along]
        if above:
            return max(above)[1]
        edge, along = tree.parents[edge], np.inf
        if edge < 0:
            return None
    return None


def junctions_with_truth(scene: Scene) -> Iterator[tuple[Junction, Arms, Readings, int | None]]:
    """Yield each junction of a scene's network with its readings and the true one."""
    segmentation = scene.segmentation
    scale = max(segmentation.artery.shape) / 512
    network = build_network(segmentation.artery, scene.sub, scene.maps, params=NetworkParams())
    courses = Courses(scene.tree, scale)
    yield from _with_truth(network, courses, scale)


def _with_truth(
    network: Network, courses: Courses, scale: float
) -> Iterator[tuple[Junction, Arms, Readings, int | None]]:
    found = [j for j in find_junctions(network, scale, alone=frozenset()) if 3 <= len(j.arms) <= 7]
    for junction, arms in zip(found, measure_arms(network, found, scale), strict=True):
        readings = readings_of(junction, arms, scale)
        yield junction, arms, readings, true_reading(junction, arms, readings, courses)


def fit(examples: list[Example]) -> dict[str, float]:
    """Return the weights under which the true readings are likeliest."""

    def loss(weights: Array) -> tuple[float, Array]:
        total, slope = 0.5 * RIDGE * float(weights @ weights), RIDGE * weights
        for example in examples:
            score = example.readings.features @ weights
            score -= score.max()
            share = np.exp(score)
            share /= share.sum()
            total -= float(np.log(max(share[example.true], 1e-300)))
            slope = slope + share @ example.readings.features - example.readings.features[example.true]
        return total, slope

    found = minimize(loss, np.zeros(len(FEATURES)), jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return {name: round(float(w), 2) for name, w in zip(FEATURES, found.x, strict=True)}


def main() -> int:
    """Print the tables of weights."""
    parser = argparse.ArgumentParser(description="Fit the weights of readings and print them.")
    parser.add_argument("--scenes", type=int, default=8, help="scenes of each kind")
    scenes = parser.parse_args().scenes
    examples, unknown = [], 0
    for kind, size_px, gaps in SETS:
        for seed in range(FIRST_SEED, FIRST_SEED + scenes):
            for _, _, readings, true in junctions_with_truth(make_scene(kind, seed, size_px, gaps=gaps)):
                if true is None:
                    unknown += 1
                else:
                    examples.append(Example(readings, true))
    weights = fit(examples)
    for name, weight in weights.items():
        print(f'    "{name}": {weight},')
    print(f"{len(examples)} junctions, {unknown} more of which the tree does not tell")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
