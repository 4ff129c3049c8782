"""Gaps in the mask: open ends that point at another piece, and fill at about its time, are joined to it.

Strategy: two open ends that point at each other are the likeliest to be one vessel; an open end
may also run into the side of another piece, if that one hangs together with it in no other way.
Each way across has a cost (how far, how much of a turn at either end, how far apart in arrival);
the cheapest is taken first, and no end twice. All weights here are set by hand.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from angio_pipeline.vessels.network import Draft, Piece

__all__ = ["bridge_gaps"]

Line = npt.NDArray[np.float64]

_PER_TURN, _PER_S, _SIDE = 2.0, 0.8, 0.5
_MOST = 1.6
_LATEST_S = 1.5


@dataclass(frozen=True, slots=True)
class _End:
    # An open end: its node, the piece it ends, where it points and its last stretch.
    node: int
    piece: int
    place: Line
    outward: Line
    last: Line


def bridge_gaps(
    draft: Draft, arrival_s: npt.NDArray[np.float32], reach_px: float, angle_deg: float, scale: float
) -> None:
    """Join open ends across gaps of at most `reach_px` with at most `angle_deg` of a turn at either end.

    Parameters
    ----------
    arrival_s : ndarray, (H, W) float32
        When each pixel fills; NaN where that is unknown.
    """
    ends = _open_ends(draft, scale)
    if not ends or reach_px <= 0:
        return
    cosine = float(np.cos(np.deg2rad(angle_deg)))
    fills_s = lru_cache(maxsize=None)(lambda end: _arrival_along(arrival_s, ends[end].last))
    ways = _across(ends, fills_s, reach_px, cosine)
    ways += _into_sides(draft, ends, fills_s, reach_px, cosine, arrival_s)
    part = _components(draft)
    taken: set[int] = set()
    cuts: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for _, end, other, piece, index in sorted(ways):
        one = ends[end]
        if end in taken or other in taken:
            continue
        if other >= 0:
            node = ends[other].node
            taken.add(other)
        else:
            owner = draft.pieces[piece]
            if part[owner.a] == part[one.node]:
                continue
            node = _node_on(draft, piece, index, cuts)
            part.append(part[owner.a]) if node == len(part) else None
        taken.add(end)
        part[:] = [part[node] if label == part[one.node] else label for label in part]
        draft.pieces.append(Piece(one.node, node, np.array([draft.nodes[one.node], draft.nodes[node]]), bridged=True))
    _cut(draft, cuts)


def _open_ends(draft: Draft, scale: float) -> list[_End]:
    degree = draft.degrees()
    ends = []
    for number, piece in enumerate(draft.pieces):
        for node, path in ((piece.a, piece.path[::-1]), (piece.b, piece.path)):
            if degree[node] != 1 or len(path) < 4:
                continue
            # The last pixels of a skeleton bend into a corner of the mask as often as not.
            skip = min(round(scale), len(path) - 3)
            last, back = path[-1 - skip], path[max(0, len(path) - 1 - skip - round(8 * scale))]
            outward = last - back
            length = float(np.linalg.norm(outward))
            if length > 0:
                ends.append(_End(node, number, path[-1], outward / length, path[-round(12 * scale) :]))
    return ends


def _arrival_along(arrival_s: npt.NDArray[np.float32], path: Line) -> float:
    rows, cols = np.rint(path).astype(int).T
    times = arrival_s[np.clip(rows, 0, arrival_s.shape[0] - 1), np.clip(cols, 0, arrival_s.shape[1] - 1)]
    known = times[np.isfinite(times)]
    return float(np.median(known)) if len(known) else float("nan")


Way = tuple[float, int, int, int, int]
"""Cost, the end, the other end or -1, and the piece and the point on it that are met, or -1."""


def _across(ends: list[_End], fills_s: Callable[[int], float], reach_px: float, cosine: float) -> list[Way]:
    """Return the ways between two open ends that point at each other."""
    places = np.array([e.place for e in ends])
    ways = []
    for one, other in cKDTree(places).query_pairs(reach_px):
        a, b = ends[one], ends[other]
        if a.piece == b.piece:
            continue
        offset = b.place - a.place
        distance = max(float(np.linalg.norm(offset)), 1e-9)
        turns = float(a.outward @ offset) / distance, -float(b.outward @ offset) / distance
        if min(turns) < cosine:
            continue
        apart_s = _apart_s(fills_s(one), fills_s(other))
        cost = distance / reach_px + _PER_TURN * (2 - sum(turns)) + _PER_S * apart_s
        if cost < _MOST and apart_s <= _LATEST_S:
            ways.append((cost, one, other, -1, -1))
    return ways


def _into_sides(
    draft: Draft,
    ends: list[_End],
    fills_s: Callable[[int], float],
    reach_px: float,
    cosine: float,
    arrival_s: npt.NDArray[np.float32],
) -> list[Way]:
    """Return for each open end the nearest point of another piece that it points at."""
    owner = np.concatenate([np.full(len(p.path), k) for k, p in enumerate(draft.pieces)])
    first = np.concatenate([[0], np.cumsum([len(p.path) for p in draft.pieces])])
    points = np.concatenate([p.path for p in draft.pieces])
    near = cKDTree(points).query_ball_point([e.place for e in ends], reach_px)
    ways: list[Way] = []
    for one, end in enumerate(ends):
        hits = np.array(near[one], dtype=np.int64)
        hits = hits[owner[hits] != end.piece]
        if not len(hits):
            continue
        offset = points[hits] - end.place
        distance = np.maximum(np.linalg.norm(offset, axis=1), 1e-9)
        turn = offset @ end.outward / distance
        cost = distance / reach_px + _PER_TURN * (1 - turn) + _SIDE
        cost[turn < cosine] = np.inf
        best = int(np.argmin(cost))
        if cost[best] >= _MOST:
            continue
        piece = int(owner[hits[best]])
        index = int(hits[best] - first[piece])
        time = _arrival_along(arrival_s, draft.pieces[piece].path[max(0, index - 4) : index + 5])
        apart_s = _apart_s(fills_s(one), time)
        total = float(cost[best]) + _PER_S * apart_s
        if total < _MOST and apart_s <= _LATEST_S:
            ways.append((total, one, -1, piece, index))
    return ways


def _apart_s(one: float, other: float) -> float:
    return abs(one - other) if np.isfinite(one) and np.isfinite(other) else 0.0


def _components(draft: Draft) -> list[int]:
    """Return the component number of each node."""
    label = list(range(len(draft.nodes)))

    def root(node: int) -> int:
        while label[node] != node:
            label[node] = label[label[node]]
            node = label[node]
        return node

    for piece in draft.pieces:
        label[root(piece.a)] = root(piece.b)
    return [root(node) for node in range(len(label))]


def _node_on(draft: Draft, number: int, index: int, cuts: dict[int, list[tuple[int, int]]]) -> int:
    """Return a node at a point of a piece: an end when it is near one, else a new one."""
    piece = draft.pieces[number]
    if index <= 3:
        return piece.a
    if index >= len(piece.path) - 4:
        return piece.b
    draft.nodes.append(piece.path[index])
    cuts[number].append((index, len(draft.nodes) - 1))
    return len(draft.nodes) - 1


def _cut(draft: Draft, cuts: dict[int, list[tuple[int, int]]]) -> None:
    pieces = []
    for number, piece in enumerate(draft.pieces):
        start, node = 0, piece.a
        for index, middle in sorted(cuts.get(number, [])):
            pieces.append(Piece(node, middle, piece.path[start : index + 1], piece.bridged))
            start, node = index, middle
        pieces.append(Piece(node, piece.b, piece.path[start:], piece.bridged))
    draft.pieces = pieces
