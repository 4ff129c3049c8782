"""How well a vessel graph tells a true tree: edges, forks, crossings, ways to the tips, centrelines, radii."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from angio_pipeline.core.vessels import VesselGraph
from graph_trees import Crossing, Fork, Scene, TrueTree

Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

# Places agree within this many pixels of a 512-pixel frame and so many radii of the vessel there.
NEAR_PX, NEAR_RADII = 3.0, 1.5
WAY_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Scores:
    """Counts of one scene; sums over scenes give the figures."""

    edges: int
    edges_found: int
    forks: int
    forks_hit: int
    forks_all: int
    forks_all_hit: int
    forks_found: int
    crossings: int
    crossings_kept: int
    crossings_passed: int
    crossings_all: int
    crossings_all_kept: int
    tips: int
    ways_right: int
    length_px: float
    length_against_flow_px: float


def reach_px(radius_px: float, scale: float) -> float:
    """Return how far apart two places may lie that count as one."""
    return NEAR_PX * scale + NEAR_RADII * radius_px


def found_forks(graph: VesselGraph) -> Array:
    """Return (F, 2): the place of each fork, once for each child more than one."""
    starts = np.bincount([b.start for b in graph.branches], minlength=len(graph.nodes))
    return np.repeat(graph.nodes, np.maximum(starts - 1, 0), axis=0)


def match_forks(places: Array, forks: list[Fork], scale: float) -> tuple[BoolArray, Array]:
    """Return (F,) which true forks are found, and the (L, 2) places that are left over."""
    hit = np.zeros(len(forks), bool)
    if not forks or not len(places):
        return hit, places
    limit = np.array([reach_px(fork.radius_px, scale) for fork in forks])
    away = np.stack([np.linalg.norm(fork.stretch[:, None] - places[None], axis=2).min(axis=0) for fork in forks])
    cost = np.where(away <= limit[:, None], away - 1e4, 0.0)
    rows, columns = linear_sum_assignment(cost)
    good = cost[rows, columns] < 0
    hit[rows[good]] = True
    return hit, np.delete(places, columns[good], axis=0)


def kept(crossing: Crossing, left_over: Array, scale: float) -> bool:
    """Return whether no fork that is left over lies near a crossing."""
    if not len(left_over):
        return True
    away = np.linalg.norm(left_over - (crossing.row, crossing.col), axis=1)
    return bool(away.min() > reach_px(crossing.radius_px, scale))


def count_edges(lines: Sequence[Array], radii_px: Sequence[Array], scale: float) -> int:
    """Return how many edges there are; one no longer than its vessel is wide joins two forks at one place."""
    lengths = [float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum()) for line in lines]
    return sum(n > 2 * float(np.median(r)) + scale for n, r in zip(lengths, radii_px, strict=True))


def score(graph: VesselGraph, scene: Scene) -> Scores:
    """Return the counts of one scene."""
    scale = scene.scale
    places = found_forks(graph)
    hit, left_over = match_forks(places, scene.forks, scale)
    clear = [c for c in scene.crossings if c.clear]
    clear_forks = np.array([fork.clear for fork in scene.forks], bool)
    ways = _ways(graph)
    right, total, against = 0, 0.0, 0.0
    for tip in scene.tree.tips():
        right += _way_is_right(ways, _true_way(scene.tree, tip), scale)
    total, against = _against_flow(graph, scene.tree, scale)
    return Scores(
        edges=count_edges(scene.tree.lines, scene.tree.radii_px, scale),
        edges_found=count_edges([b.centreline for b in graph.branches], [b.radius_px for b in graph.branches], scale),
        forks=int(clear_forks.sum()),
        forks_hit=int((hit & clear_forks).sum()),
        forks_all=len(scene.forks),
        forks_all_hit=int(hit.sum()),
        forks_found=len(places),
        crossings=len(clear),
        crossings_kept=sum(kept(c, left_over, scale) for c in clear),
        crossings_passed=sum(passed(c, ways, scene.tree, scale) for c in clear),
        crossings_all=len(scene.crossings),
        crossings_all_kept=sum(kept(c, left_over, scale) for c in scene.crossings),
        tips=len(scene.tree.tips()),
        ways_right=right,
        length_px=total,
        length_against_flow_px=against,
    )


def _ways(graph: VesselGraph) -> list[Array]:
    """Return the line from the root of its piece to the end of every branch that flows into none."""
    children = graph.children()
    return [
        np.vstack([graph.branches[k].centreline for k in graph.path_to(tip)])
        for tip in range(len(graph.branches))
        if not children[tip]
    ]


def _true_way(tree: TrueTree, edge: int) -> tuple[Array, Array]:
    way = tree.way(edge)
    return np.vstack([tree.lines[k] for k in way]), np.concatenate([tree.radii_px[k] for k in way])


def _way_is_right(ways: list[Array], truth: tuple[Array, Array], scale: float) -> bool:
    line, radius = truth
    near = NEAR_PX * scale
    ends = [way for way in ways if np.linalg.norm(way[-1] - line[-1]) <= 3 * near]
    for way in ends:
        here, _ = cKDTree(way).query(line)
        there, at = cKDTree(line).query(way)
        if (here <= near + radius).mean() >= WAY_SHARE and (there <= near + radius[at]).mean() >= WAY_SHARE:
            return True
    return False


def passed(crossing: Crossing, ways: list[Array], tree: TrueTree, scale: float) -> bool:
    """Return whether both vessels run from before the crossing to beyond it in some way of the graph."""
    return all(_runs_on(crossing, edge, ways, tree, scale) for edge in crossing.edges)


def _runs_on(crossing: Crossing, edge: int, ways: list[Array], tree: TrueTree, scale: float) -> bool:
    line, radius = _true_way(tree, edge)
    first = len(line) - len(tree.lines[edge])
    place = np.array([crossing.row, crossing.col])
    at = first + int(np.argmin(np.linalg.norm(tree.lines[edge] - place, axis=1)))
    reach = 2.0 * crossing.radius_px + 8 * scale
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    before = int(np.searchsorted(along, along[at] - reach))
    beyond = min(int(np.searchsorted(along, along[at] + reach)), len(line) - 1)
    stretch = along[beyond] - along[before]
    for way in ways:
        upper = np.linalg.norm(way - line[before], axis=1) <= NEAR_PX * scale + 0.5 * radius[before]
        lower = np.linalg.norm(way - line[beyond], axis=1) <= NEAR_PX * scale + 0.5 * radius[beyond]
        if not upper.any() or not lower.any():
            continue
        walked = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(way, axis=0), axis=1))])
        run = walked[np.flatnonzero(lower)][None] - walked[np.flatnonzero(upper)][:, None]
        if ((run > 0) & (run < 1.3 * stretch + 8 * scale)).any():
            return True
    return False


def _against_flow(graph: VesselGraph, tree: TrueTree, scale: float) -> tuple[float, float]:
    """Return the length that lies on true vessels, and the part of it that is directed against the flow."""
    points = np.vstack([0.5 * (line[1:] + line[:-1]) for line in tree.lines])
    course = np.vstack([np.diff(line, axis=0) for line in tree.lines])
    course /= np.maximum(np.linalg.norm(course, axis=1, keepdims=True), 1e-9)
    tree_of = cKDTree(points)
    total = against = 0.0
    for branch in graph.branches:
        step = np.diff(branch.centreline, axis=0)
        length = np.linalg.norm(step, axis=1)
        middle = 0.5 * (branch.centreline[1:] + branch.centreline[:-1])
        away, at = tree_of.query(middle, k=6)
        cosine = (course[at] * (step / np.maximum(length, 1e-9)[:, None])[:, None]).sum(axis=2)
        # Of the vessels here the one that runs most nearly along counts.
        cosine = np.where(away <= NEAR_PX * scale, cosine, 0.0)
        best = np.take_along_axis(cosine, np.abs(cosine).argmax(axis=1)[:, None], axis=1)[:, 0]
        total += float(length[np.abs(best) > 0.5].sum())
        against += float(length[best < -0.5].sum())
    return total, against


def centreline_errors(graph: VesselGraph, scene: Scene) -> tuple[Array, Array]:
    """Return lateral distance to the true line (px) and radius over true radius, away from forks, crossings, ends."""
    tree = scene.tree
    points = np.vstack([_fine(line) for line in tree.lines])
    radii = np.concatenate([_fine(r[:, None], line)[:, 0] for r, line in zip(tree.radii_px, tree.lines, strict=True)])
    places = [(fork.place, 3 * fork.radius_px) for fork in scene.forks]
    for c in scene.crossings:
        places.append((np.array([c.row, c.col]), 3 * c.radius_px / max(np.sin(np.deg2rad(c.angle_deg)), 0.2)))
    places += [(line[e], 3 * r[e]) for line, r in zip(tree.lines, tree.radii_px, strict=True) for e in (0, -1)]
    scale = scene.scale
    own = np.vstack([b.centreline for b in graph.branches])
    radius = np.concatenate([b.radius_px for b in graph.branches])
    free = np.ones(len(own), bool)
    for place, reach in places:
        free &= np.linalg.norm(own - place, axis=1) > reach + 4 * scale
    away, at = cKDTree(points).query(own[free])
    near = away <= NEAR_PX * scale
    return away[near], (radius[free] / radii[at])[near]


def _fine(values: Array, line: Array | None = None) -> Array:
    """Return values along a line at a tenth of a pixel."""
    line = values if line is None else line
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    at = np.arange(0, along[-1], 0.1)
    return np.stack([np.interp(at, along, values[:, k]) for k in range(values.shape[1])], axis=1)
