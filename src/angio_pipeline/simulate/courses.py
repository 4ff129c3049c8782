"""From the tree's straight edges to smooth, slightly wandering vessels cut into short segments.

Strategy: every node hands its largest child on, so that the tree falls into chains that run
from a fork to a tip; each chain is one curve, and a side branch starts exactly on it. The curve
is a cubic Hermite spline whose tangents are those of the parabola through three nodes, which
turns as little as its nodes do and does not depend on the axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numba
import numpy as np
import numpy.typing as npt

from angio_pipeline.simulate.projection import Tubes
from angio_pipeline.simulate.tree import Territory, Tree

if TYPE_CHECKING:
    from angio_pipeline.simulate.anatomy import Anatomy

__all__ = ["Courses", "Vasculature", "lay_courses", "lay_vasculature"]

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Vessels thinner than this are cut into pieces twice as long.
_FINE_RADIUS_MM = 0.45
_WAVES_MM = np.array([18.0, 31.0])
_FADE_MM = 8.0


@dataclass(frozen=True, slots=True, eq=False)
class Courses:
    """Short segments of all vessels, each after its parent.

    Attributes
    ----------
    tubes : Tubes
        (S,) segments, LPS mm.
    parent : ndarray, (S,) int64
        Segment upstream; -1 at the root.
    edge : ndarray, (S,) int64
        Tree edge (named by its lower node) that the segment belongs to.
    last_of_node : mapping of tree node to the segment that ends there
    """

    tubes: Tubes
    parent: IntArray
    edge: IntArray
    last_of_node: dict[int, int]

    def length_mm(self) -> Array:
        """Return the (S,) lengths."""
        return np.asarray(np.linalg.norm(self.tubes.end - self.tubes.start, axis=1))

    def upstream(self, segment: int) -> list[int]:
        """Return the segments from the root to `segment`, both included."""
        way = [segment]
        while self.parent[way[-1]] >= 0:
            way.append(int(self.parent[way[-1]]))
        return way[::-1]


@dataclass(frozen=True, slots=True, eq=False)
class Vasculature:
    """The courses of a patient's trees; `tributaries` are the veins that join at the portal root."""

    arteries: Courses
    portal: Courses
    hepatic: Courses
    tributaries: Courses


def lay_vasculature(anatomy: Anatomy, tortuosity: float, rng: np.random.Generator) -> Vasculature:
    """Return the courses of all trees; veins wander half as much as arteries and are cut more coarsely."""
    calm = 0.5 * tortuosity
    return Vasculature(
        lay_courses(anatomy.arteries, tortuosity, rng),
        lay_courses(anatomy.portal, calm, rng, step_mm=2.0),
        lay_courses(anatomy.hepatic, calm, rng, step_mm=2.0),
        lay_courses(anatomy.tributaries, calm, rng, step_mm=2.0),
    )


def lay_courses(tree: Tree, tortuosity: float, rng: np.random.Generator, step_mm: float = 1.2) -> Courses:
    """Return the tree as smooth courses of segments about `step_mm` long, parents before children."""
    nodes, first = _chains(tree)
    radii = tree.radii_mm()
    count = len(first) - 1
    wave = tortuosity * rng.normal(0, 0.35, (count, 2, 3)) * _WAVES_MM[:, None]
    phase = rng.uniform(0, 2 * np.pi, (count, 2, 3))
    at = np.asarray(tree.position)
    pieces = _count_pieces(nodes, first, at, at.copy(), radii, wave, phase, step_mm)
    size = int(pieces.sum())
    start, end, radius = np.zeros((size, 3)), np.zeros((size, 3)), np.zeros(size)
    parent, edge = np.zeros(size, np.int64), np.zeros(size, np.int64)
    last = np.full(len(tree), -1, np.int64)
    _lay(nodes, first, at, at.copy(), radii, wave, phase, pieces, start, end, radius, parent, edge, last)
    return Courses(Tubes(start, end, radius), parent, edge, {node: int(k) for node, k in enumerate(last)})


def _chains(tree: Tree) -> tuple[IntArray, IntArray]:
    # Chains of nodes end to end, each with the fork it leaves in front, and where each begins.
    # Parents come before children, so that a side branch knows where its fork came to lie.
    children = tree.children()
    nodes: list[int] = []
    first = [0]
    waiting = [(0, child) for child in children[0]]
    for fork, node in waiting:
        nodes += [fork, node]
        while children[node]:
            ahead = max(children[node], key=lambda n: tree.flow[n])
            waiting += [(node, other) for other in children[node] if other != ahead]
            nodes.append(ahead)
            node = ahead
        first.append(len(nodes))
    return np.asarray(nodes, np.int64), np.asarray(first, np.int64)


def _wander(where: float, length: float, wave: Array, phase: Array, out: Array) -> None:
    # A few slow waves, nothing at either end's neighbourhood of the fork.
    fade = min(1.0, where / _FADE_MM) * min(1.0, max(length - where, 0.0) / _FADE_MM)
    for c in range(3):
        for w in range(2):
            out[c] += fade * wave[w, c] * np.sin(2 * np.pi * where / _WAVES_MM[w] + phase[w, c])


_wander = numba.njit(cache=True)(_wander)


def _control(chain: IntArray, position: Array, at: Array) -> tuple[Array, Array]:
    # Points of the curve and their distance along it. Sharp corners of the growth are rounded by
    # drawing each inner node towards the line through its neighbours.
    n = len(chain)
    points = np.empty((n, 3))
    for k in range(n):
        points[k] = position[chain[k]]
    points[0] = at[chain[0]]
    for _ in range(2):
        before = points.copy()
        for k in range(1, n - 1):
            ahead = np.sqrt(((before[k + 1] - before[k]) ** 2).sum())
            behind = np.sqrt(((before[k] - before[k - 1]) ** 2).sum())
            share = behind / max(ahead + behind, 1e-9)
            points[k] = 0.6 * before[k] + 0.4 * ((1 - share) * before[k - 1] + share * before[k + 1])
    along = np.zeros(n)
    for k in range(1, n):
        along[k] = along[k - 1] + max(np.sqrt(((points[k] - points[k - 1]) ** 2).sum()), 1e-3)
    return points, along


_control = numba.njit(cache=True)(_control)


def _tangents(points: Array, along: Array) -> Array:
    n = len(points)
    slope = np.empty((n, 3))
    if n == 2:
        slope[:] = (points[1] - points[0]) / along[1]
        return slope
    for k in range(1, n - 1):
        h0, h1 = along[k] - along[k - 1], along[k + 1] - along[k]
        d0, d1 = (points[k] - points[k - 1]) / h0, (points[k + 1] - points[k]) / h1
        slope[k] = (d0 * h1 + d1 * h0) / (h0 + h1)
    slope[0] = 1.5 * (points[1] - points[0]) / along[1] - 0.5 * slope[1]
    slope[n - 1] = 1.5 * (points[n - 1] - points[n - 2]) / (along[n - 1] - along[n - 2]) - 0.5 * slope[n - 2]
    return slope


_tangents = numba.njit(cache=True)(_tangents)


def _count_pieces(
    nodes: IntArray, first: IntArray, position: Array, at: Array, radii: Array, wave: Array, phase: Array, step: float
) -> IntArray:
    pieces = np.zeros(len(position), np.int64)
    for i in range(len(first) - 1):
        chain = nodes[first[i] : first[i + 1]]
        points, along = _control(chain, position, at)
        for k in range(1, len(chain)):
            own = step if radii[chain[k]] > _FINE_RADIUS_MM else 2 * step
            pieces[chain[k]] = max(1, int(np.ceil((along[k] - along[k - 1]) / own)))
            _wander(along[k], along[-1], wave[i], phase[i], points[k])
            at[chain[k]] = points[k]
    return pieces


_count_pieces = numba.njit(cache=True)(_count_pieces)


def _lay(
    nodes: IntArray, first: IntArray, position: Array, at: Array, radii: Array, wave: Array, phase: Array,
    pieces: IntArray, start: Array, end: Array, radius: Array, parent: IntArray, edge: IntArray, last: IntArray,
) -> None:  # fmt: skip
    s = 0
    here = np.empty(3)
    for i in range(len(first) - 1):
        chain = nodes[first[i] : first[i + 1]]
        points, along = _control(chain, position, at)
        slope = _tangents(points, along)
        before, above = points[0].copy(), last[chain[0]]
        for k in range(1, len(chain)):
            n, h = pieces[chain[k]], along[k] - along[k - 1]
            for j in range(1, n + 1):
                t = j / n
                a, b = (1 + 2 * t) * (1 - t) ** 2, t * t * (3 - 2 * t)
                c, d = t * (1 - t) ** 2 * h, -t * t * (1 - t) * h
                here[:] = a * points[k - 1] + b * points[k] + c * slope[k - 1] + d * slope[k]
                _wander(along[k - 1] + t * h, along[-1], wave[i], phase[i], here)
                # Piecewise constant by Murray, blended over the first few millimetres after a fork.
                mix = min(1.0, (j - 1) / 4.0) if k > 1 else 1.0
                radius[s] = radii[chain[k - 1]] * (1 - mix) + radii[chain[k]] * mix
                start[s], end[s], parent[s], edge[s] = before, here, above, chain[k]
                before[:] = here
                above = s
                s += 1
            last[chain[k]] = above
            at[chain[k]] = before


_lay = numba.njit(cache=True)(_lay)


def tumour_vessel(tree: Tree, courses: Courses) -> npt.NDArray[np.bool_]:
    """Return (S,) whether each segment lies inside a tumour."""
    territory = np.asarray(tree.territory)
    return np.asarray(territory[courses.edge] == int(Territory.TUMOUR))
