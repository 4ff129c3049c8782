"""From a one-pixel skeleton to a network of nodes and pixel paths. Knows no medicine.

Strategy: pixels with three or more neighbours form junctions, touching junction pixels one node;
from each node every path is walked to the next node. A ring without a node is cut once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

__all__ = ["SkeletonNetwork", "trace_skeleton"]

_NEIGHBOURS = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]
_SQUARE = np.ones((3, 3), dtype=np.int32)


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
    padded = np.pad(skeleton, 1)
    count = ndimage.convolve(padded.astype(np.int32), _SQUARE, mode="constant") - 1
    node_of = _label_nodes(padded, count)
    _cut_rings(padded, node_of)
    n_nodes = int(node_of.max())
    if n_nodes == 0:
        return SkeletonNetwork(np.empty((0, 2)), [])
    centres = np.array(ndimage.center_of_mass(node_of > 0, node_of, range(1, n_nodes + 1)))
    edges = _walk_all(padded, node_of, centres)
    return SkeletonNetwork(centres - 1, [(a, b, path - 1) for a, b, path in edges])


def _label_nodes(skeleton: npt.NDArray[np.bool_], count: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Return the node number of each pixel (0: not a node): clusters of junctions, and end points."""
    junctions, n = ndimage.label(skeleton & (count >= 3), structure=_SQUARE)
    labels = np.asarray(junctions, dtype=np.int32)
    ends = np.argwhere(skeleton & (count == 1))
    for k, (row, col) in enumerate(ends):
        labels[row, col] = n + 1 + k
    return labels


def _cut_rings(skeleton: npt.NDArray[np.bool_], node_of: npt.NDArray[np.int32]) -> None:
    """Give each closed ring one node, in place."""
    parts, n = ndimage.label(skeleton, structure=_SQUARE)
    with_node = np.unique(parts[node_of > 0])
    for part in np.setdiff1d(np.arange(1, n + 1), with_node):
        pixels = np.argwhere(parts == part)
        if len(pixels) > 1:
            node_of[tuple(pixels[0])] = node_of.max() + 1


def _walk_all(
    skeleton: npt.NDArray[np.bool_], node_of: npt.NDArray[np.int32], centres: npt.NDArray[np.float64]
) -> list[tuple[int, int, npt.NDArray[np.float64]]]:
    edges = []
    visited = np.zeros(skeleton.shape, dtype=np.bool_)
    direct: set[tuple[int, int]] = set()
    for row, col in np.argwhere(node_of > 0):
        start = int(node_of[row, col])
        for dr, dc in _NEIGHBOURS:
            step = (int(row + dr), int(col + dc))
            other = int(node_of[step])
            if not skeleton[step] or other == start or visited[step]:
                continue
            if other:
                pair = (min(start, other), max(start, other))
                if pair not in direct:
                    direct.add(pair)
                    edges.append((start - 1, other - 1, centres[[start - 1, other - 1]]))
                continue
            path, end = _walk(skeleton, node_of, visited, (int(row), int(col)), step)
            line = np.vstack([centres[start - 1], np.array(path, dtype=np.float64), centres[end - 1]])
            edges.append((start - 1, end - 1, line))
    return edges


def _walk(
    skeleton: npt.NDArray[np.bool_],
    node_of: npt.NDArray[np.int32],
    visited: npt.NDArray[np.bool_],
    origin: tuple[int, int],
    first: tuple[int, int],
) -> tuple[list[tuple[int, int]], int]:
    """Return the pixels from `first` to the next node, and that node's number."""
    start = int(node_of[origin])
    path = [first]
    visited[first] = True
    previous, here = origin, first
    while True:
        onward = [(here[0] + dr, here[1] + dc) for dr, dc in _NEIGHBOURS]
        onward = [p for p in onward if skeleton[p] and p != previous]
        # A node ends the walk, but on the first step the node it came from does not.
        nodes = [p for p in onward if node_of[p] and not (len(path) == 1 and node_of[p] == start)]
        if nodes:
            return path, int(node_of[nodes[0]])
        plain = [p for p in onward if not node_of[p] and not visited[p]]
        if not plain:
            return path, start
        previous, here = here, plain[0]
        visited[here] = True
        path.append(here)
