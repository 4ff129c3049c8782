"""From a one-pixel skeleton to a network of nodes and pixel paths. Knows no medicine.

Strategy: pixels with three or more neighbours form junctions, touching junction pixels one node;
from each node every path is walked to the next node. A ring without a node is cut once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from angio_pipeline.numerics.compiled import compiled

__all__ = ["SkeletonNetwork", "trace_skeleton"]

IntArray = npt.NDArray[np.int32]
BoolArray = npt.NDArray[np.bool_]

_ROW_STEPS = np.array([-1, -1, -1, 0, 0, 1, 1, 1])
_COLUMN_STEPS = np.array([-1, 0, 1, -1, 1, -1, 0, 1])


@dataclass(frozen=True, slots=True, eq=False)
class SkeletonNetwork:
    """Nodes and the paths between them.

    Attributes
    ----------
    nodes : ndarray, (N, 2) float64
        (row, col); a junction of several pixels stands at their mean.
    edges : list of (int, int, ndarray (K, 2) float64)
        Start node, end node, and the path from the one to the other, nodes included.
    """

    nodes: npt.NDArray[np.float64]
    edges: list[tuple[int, int, npt.NDArray[np.float64]]]


def trace_skeleton(skeleton: npt.NDArray[np.bool_]) -> SkeletonNetwork:
    """Return the network of a skeleton; lone pixels are left out.

    Parameters
    ----------
    skeleton : ndarray, (H, W) bool
        One pixel wide, 8-connected.
    """
    pixels = np.argwhere(skeleton).astype(np.int32)
    if not len(pixels):
        return SkeletonNetwork(np.empty((0, 2)), [])
    number = np.full((skeleton.shape[0] + 2, skeleton.shape[1] + 2), -1, dtype=np.int32)
    number[pixels[:, 0] + 1, pixels[:, 1] + 1] = np.arange(len(pixels))
    neighbours = _neighbours(pixels, number)
    node_of = np.full(len(pixels), -1, dtype=np.int32)
    count = _label_nodes(neighbours, node_of)
    if count == 0:
        return SkeletonNetwork(np.empty((0, 2)), [])
    inside = node_of >= 0
    weight = np.bincount(node_of[inside], minlength=count)
    nodes = np.stack([np.bincount(node_of[inside], pixels[inside, k], minlength=count) / weight for k in (0, 1)], 1)
    paths, steps = _walk_all(neighbours, node_of)
    at = pixels.astype(np.float64)
    edges = []
    for a, b, first, last in paths.tolist():
        edges.append((a, b, np.concatenate([nodes[a : a + 1], at[steps[first:last]], nodes[b : b + 1]])))
    return SkeletonNetwork(nodes, edges)


@compiled
def _neighbours(pixels: IntArray, number: IntArray) -> IntArray:
    # Of each pixel the numbers of those that touch it, -1 where there is none.
    out = np.full((len(pixels), 8), -1, dtype=np.int32)
    for k in range(len(pixels)):
        for n in range(8):
            out[k, n] = number[pixels[k, 0] + 1 + _ROW_STEPS[n], pixels[k, 1] + 1 + _COLUMN_STEPS[n]]
    return out


@compiled
def _flood(neighbours: IntArray, start: int, wanted: BoolArray, label: IntArray, value: int, stack: IntArray) -> None:
    # Give `value` to the wanted pixels that hang together with `start`.
    label[start], stack[0], top = value, start, 1
    while top > 0:
        top -= 1
        here = stack[top]
        for n in range(8):
            other = neighbours[here, n]
            if other >= 0 and wanted[other] and label[other] < 0:
                label[other], stack[top] = value, other
                top += 1


@compiled
def _label_nodes(neighbours: IntArray, node_of: IntArray) -> int:
    # Number nodes in place: clusters of junction pixels, end points, and one pixel of each ring.
    size, count = len(neighbours), 0
    degree = np.zeros(size, dtype=np.int32)
    for k in range(size):
        for n in range(8):
            degree[k] += neighbours[k, n] >= 0
    stack, part = np.empty(size, dtype=np.int32), np.full(size, -1, dtype=np.int32)
    junction, every = degree >= 3, np.ones(size, dtype=np.bool_)
    for k in range(size):
        if node_of[k] < 0 and junction[k]:
            _flood(neighbours, k, junction, node_of, count, stack)
            count += 1
        elif degree[k] == 1:
            node_of[k] = count
            count += 1
    for k in range(size):
        if node_of[k] >= 0 and part[k] < 0:
            _flood(neighbours, k, every, part, 0, stack)
    for k in range(size):
        if part[k] < 0 and degree[k] == 2:
            node_of[k] = count
            _flood(neighbours, k, every, part, 0, stack)
            count += 1
    return count


@compiled
def _walk_all(neighbours: IntArray, node_of: IntArray) -> tuple[IntArray, IntArray]:
    # Edges as (start node, end node, first, last) and the pixels between their nodes, first to last.
    size = len(neighbours)
    paths, steps = np.empty((8 * size, 4), dtype=np.int32), np.empty(size, dtype=np.int32)
    visited = np.zeros(size, dtype=np.bool_)
    edges = used = 0
    for k in range(size):
        if node_of[k] < 0:
            continue
        for n in range(8):
            step = neighbours[k, n]
            if step < 0 or visited[step] or node_of[step] == node_of[k]:
                continue
            if node_of[step] >= 0:
                # Two nodes that touch: told once.
                if node_of[k] < node_of[step]:
                    paths[edges, 0], paths[edges, 1], paths[edges, 2:] = node_of[k], node_of[step], used
                    edges += 1
                continue
            first = used
            end, used = _walk(neighbours, node_of, visited, k, step, steps, used)
            paths[edges, 0], paths[edges, 1], paths[edges, 2], paths[edges, 3] = node_of[k], end, first, used
            edges += 1
    return paths[:edges], steps[:used]


@compiled
def _walk(
    neighbours: IntArray, node_of: IntArray, visited: BoolArray, origin: int, here: int, steps: IntArray, used: int
) -> tuple[int, int]:
    # Write the pixels from `here` to the next node into `steps`; that node, and how many are used now.
    first, previous = used, origin
    while True:
        visited[here], steps[used] = True, here
        used += 1
        ahead = -1
        for n in range(8):
            other = neighbours[here, n]
            if other < 0 or other == previous:
                continue
            # A node ends the walk, but on the first step the node it came from does not.
            if node_of[other] >= 0 and not (used == first + 1 and node_of[other] == node_of[origin]):
                return node_of[other], used
            if ahead < 0 and node_of[other] < 0 and not visited[other]:
                ahead = other
        if ahead < 0:
            return node_of[origin], used
        previous, here = here, ahead
