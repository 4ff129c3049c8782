"""Steady blood flow in the three trees: what embolisation leaves, passage times, and who drains where.

Blood is not made or lost at forks: a terminal draws its flow, and every edge carries what lies beyond it.
Units: ml/s, ml, s, mm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from angio_pipeline.simulate.anatomy.courses import Courses
from angio_pipeline.simulate.anatomy.tree import Tree

__all__ = [
    "Drains",
    "Supply",
    "all_over",
    "along_tree",
    "carried",
    "embolise",
    "nearby",
    "node_times",
    "order_of",
    "segment_ml",
    "shed",
    "time_from_root",
]

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
# Who drains (K,), into which node (K,), and what share of it (K,); the shares of each sum to one.
Drains = tuple[IntArray, IntArray, Array]
_REACH_MM = 12.0


@dataclass(frozen=True, slots=True, eq=False)
class Supply:
    """Steady flow of a tree.

    Attributes
    ----------
    parent, order : (N,) int64
        Upper node of each edge (-1 at the root), and all nodes with parents before children.
    flow : (N,) ml/s through the edge into each node
    shed : (N,) ml/s that leaves the tree at each node into tissue
    native_shed : (N,) ml/s that did so before embolisation
    """

    parent: IntArray
    order: IntArray
    flow: Array
    shed: Array
    native_shed: Array


def order_of(parent: IntArray) -> IntArray:
    """Return (N,) the nodes, parents before children."""
    depth, at = np.zeros(len(parent), np.int64), parent.copy()
    while (at >= 0).any():
        depth += at >= 0
        at = np.where(at >= 0, parent[np.maximum(at, 0)], -1)
    return np.argsort(depth, kind="stable")


def shed(parent: IntArray, flow: Array) -> Array:
    """Return (N,) the flow into each node that none of its children carries on."""
    children = np.bincount(parent[parent >= 0], flow[parent >= 0], minlength=len(parent))
    left = flow - children
    # Sums of shares leave a rounding error where there is no tissue.
    return np.where(left > 1e-6 * np.maximum(flow, 1e-12), left, 0.0)


def carried(parent: IntArray, order: IntArray, drawn: Array) -> Array:
    """Return (N,) the flow through each edge, from what is drawn at each node (N,)."""
    flow = np.asarray(drawn, float).copy()
    _pass_up(parent, order, flow)
    return flow


def _pass_up(parent: IntArray, order: IntArray, total: Array) -> None:
    for k in range(len(order) - 1, 0, -1):
        total[parent[order[k]]] += total[order[k]]


_pass_up = numba.njit(cache=True)(_pass_up)


def along_tree(parent: IntArray, order: IntArray, own: Array) -> Array:
    """Return (N,) the least of `own` between the root and each node."""
    least = np.asarray(own, float).copy()
    for node in order:
        if parent[node] >= 0:
            least[node] = min(least[node], least[parent[node]])
    return least


def embolise(tree: Tree, kept: Array) -> Supply:
    """Return the flow of a tree of which each terminal keeps the least of `kept` (N,) on its way from the root.

    Raises
    ------
    ValueError
        When `kept` has another length than the tree, or lies outside 0 to 1, or a flow is negative.
    """
    kept = np.asarray(kept, float)
    if kept.shape != (len(tree),):
        raise ValueError(f"Expected kept for each of the {len(tree)} nodes of the arteries, found shape {kept.shape}.")
    if not ((kept >= 0) & (kept <= 1)).all():
        raise ValueError(
            f"Expected kept between 0 and 1, found {float(kept.min())} to {float(kept.max())}; correct it."
        )
    parent, flow = np.asarray(tree.parent, np.int64), np.asarray(tree.flow, float)
    if not (np.isfinite(flow).all() and (flow >= 0).all()):
        raise ValueError(f"Expected no negative flow in the arteries, found {float(flow.min())} ml/s; correct it.")
    order = order_of(parent)
    native = shed(parent, flow)
    left = native * along_tree(parent, order, kept)
    return Supply(parent, order, carried(parent, order, left), left, native)


def segment_ml(courses: Courses) -> Array:
    """Return (S,) the volume of each segment."""
    return np.asarray(np.pi * courses.tubes.radius**2 * courses.length_mm() / 1000.0)


def time_from_root(courses: Courses, volume_ml: Array, flow: Array) -> tuple[Array, Array]:
    """Return (S,) seconds that blood needs between the root and the middle and the end of each segment.

    Edges without flow take no time; nothing passes them.
    """
    speed = flow[courses.edge]
    passage = np.divide(volume_ml, speed, out=np.zeros_like(volume_ml), where=speed > 0)
    end = passage.copy()
    _pass_down(courses.parent, end)
    return end - 0.5 * passage, end


def _pass_down(parent: IntArray, total: Array) -> None:
    for k in range(len(parent)):
        if parent[k] >= 0:
            total[k] += total[parent[k]]


_pass_down = numba.njit(cache=True)(_pass_down)


def node_times(courses: Courses, end_s: Array, nodes: int) -> Array:
    """Return (N,) the time at each node from the times (S,) at the segments' ends; 0 at the root."""
    times = np.zeros(nodes)
    for node, segment in courses.last_of_node.items():
        times[node] = end_s[segment] if segment >= 0 else 0.0
    return times


def nearby(at_mm: Array, tree: Tree, most: int = 4) -> Drains:
    """Return the ends of a venous tree into which tissue at points (P, 3) drains: at `most` the nearest few."""
    ends = _ends(tree)
    count = min(most, len(ends))
    distance, near = cKDTree(np.asarray(tree.position, float)[ends]).query(at_mm, k=count)
    distance, near = distance.reshape(len(at_mm), count), near.reshape(len(at_mm), count)
    nearness = np.exp(-0.5 * ((distance - distance[:, :1]) / _REACH_MM) ** 2)
    share = nearness * np.maximum(np.asarray(tree.flow, float)[ends][near], 1e-9)
    share /= share.sum(axis=1, keepdims=True)
    return np.repeat(np.arange(len(at_mm)), count), ends[near.ravel()], share.ravel()


def all_over(at_mm: Array, tree: Tree) -> Drains:
    """Return how tissue at points (P, 3) drains when it serves every end of a venous tree.

    Each end takes from its nearest point; points that are nobody's nearest drain into their nearest end.
    """
    ends = _ends(tree)
    if len(at_mm) == 0:
        return ends[:0], ends[:0], np.zeros(0)
    place = np.asarray(tree.position, float)[ends]
    who = cKDTree(at_mm).query(place)[1]
    left = np.setdiff1d(np.arange(len(at_mm)), who)
    extra = cKDTree(place).query(at_mm[left])[1] if len(left) else np.zeros(0, np.int64)
    who, node = np.concatenate([who, left]), ends[np.concatenate([np.arange(len(ends)), extra])]
    size = np.maximum(np.asarray(tree.flow, float)[node], 1e-9)
    return who, node, size / np.bincount(who, size, minlength=len(at_mm))[who]


def _ends(tree: Tree) -> IntArray:
    return np.flatnonzero(shed(np.asarray(tree.parent, np.int64), np.asarray(tree.flow, float)) > 0)
