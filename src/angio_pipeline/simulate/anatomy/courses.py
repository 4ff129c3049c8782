"""From the tree's straight edges to smooth, slightly wandering vessels cut into short segments.

Strategy: every node hands its largest child on, so that the tree falls into chains that run
from a fork to a tip; each chain is one curve, and a side branch starts exactly on it. The curve
is a cubic Hermite spline whose tangents are those of the parabola through three nodes, which
turns as little as its nodes do and does not depend on the axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from angio_pipeline.simulate.anatomy.tree import Territory, Tree
from angio_pipeline.simulate.radiograph.projection import Tubes

if TYPE_CHECKING:
    from angio_pipeline.simulate.anatomy.anatomy import Anatomy

__all__ = ["Courses", "Vasculature", "lay_courses", "lay_vasculature"]

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

# Thin vessels are cut into pieces twice as long; wide ones into pieces half as long, so that the
# ends of their pieces hardly gape where they bend.
_FINE_RADIUS_MM, _WIDE_RADIUS_MM = 0.45, 1.3
# The last stretch of every vessel narrows to this share of its width: it gives off what is too fine to draw.
_LAST_WIDTH = 0.6
# Vessels wander in waves of about eleven diameters (wide ones in longer), never shorter than this.
_SHORTEST_WAVE_MM = 7.0
_FADE_MM = 8.0
# No vessel bends more sharply than this many of its radii.
_LEAST_BEND = 3.5


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
    spheres = np.array([[*body.centre_mm, body.reach_mm() + 0.3] for body in anatomy.tumours]).reshape(-1, 4)
    return Vasculature(
        lay_courses(anatomy.arteries, tortuosity, rng, obstacles=spheres),
        lay_courses(anatomy.portal, calm, rng, step_mm=2.0, obstacles=spheres),
        lay_courses(anatomy.hepatic, calm, rng, step_mm=2.0, obstacles=spheres),
        lay_courses(anatomy.tributaries, calm, rng, step_mm=2.0),
    )


def lay_courses(
    tree: Tree,
    tortuosity: float,
    rng: np.random.Generator,
    step_mm: float = 1.2,
    obstacles: Array | None = None,
) -> Courses:
    """Return the tree as smooth courses of segments about `step_mm` long, parents before children.

    All but feeders and tumour vessels are kept out of `obstacles`, spheres (M, 4: x, y, z, radius in mm).
    """
    nodes, first = _chains(tree)
    radii = tree.radii_mm()
    count = len(first) - 1
    waves = _Waves(
        tortuosity * rng.normal(0, 0.45, (count, 2, 3)),
        rng.uniform(0, 2 * np.pi, (count, 2, 3)),
        rng.uniform(0.65, 1.4, (count, 2)) * [1.0, 0.57],
    )
    at = np.asarray(tree.position)
    outside = ~np.isin(tree.territory, [int(Territory.FEEDER), int(Territory.TUMOUR)])
    limits = (outside, np.zeros((0, 4)) if obstacles is None else obstacles)
    pieces = _count_pieces(nodes, first, at, at.copy(), radii, waves, limits, step_mm)
    size = int(pieces.sum())
    empty = np.zeros((size, 3)), np.zeros((size, 3)), np.zeros(size), np.zeros(size, np.int64), np.zeros(size, np.int64)
    out = _Laid(*empty, np.full(len(tree), -1, np.int64))
    _lay(nodes, first, at, at.copy(), radii, waves, limits, pieces, out)
    last = {node: int(k) for node, k in enumerate(out.last)}
    return Courses(Tubes(out.start, out.end, out.radius), out.parent, out.edge, last)


class _Laid(NamedTuple):
    # Segments as they are laid, and the last one of each node.
    start: Array
    end: Array
    radius: Array
    parent: IntArray
    edge: IntArray
    last: IntArray


class _Waves(NamedTuple):
    # Of each chain two waves: height (C, 2, 3) in wavelengths, phase (C, 2, 3), and stretch (C, 2)
    # of the wavelength that goes with the vessel's width.
    height: Array
    phase: Array
    stretch: Array


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
            ahead = _ahead(tree, node, children[node])
            waiting += [(node, other) for other in children[node] if other != ahead]
            nodes.append(ahead)
            node = ahead
        first.append(len(nodes))
    return np.asarray(nodes, np.int64), np.asarray(first, np.int64)


def _ahead(tree: Tree, node: int, children: list[int]) -> int:
    # The child that carries the vessel on: the greater, but of two alike the straighter.
    if len(children) == 1:
        return children[0]
    into = tree.position[node] - tree.position[tree.parent[node]]

    def worth(child: int) -> float:
        out = tree.position[child] - tree.position[node]
        return tree.flow[child] * (1.4 + float(into @ out) / max(float(np.sqrt((into @ into) * (out @ out))), 1e-9))

    return max(children, key=worth)


def _turn(where: float, length: float, radius: float, height: Array, angle: Array, out: Array) -> None:
    # Add a chain's waves at one place: nothing in the neighbourhood of either end, and never
    # much for a wide vessel.
    fade = min(max(_FADE_MM, 8.0 * radius), max(0.3 * length, 0.1))
    since, until = min(1.0, where / fade), min(1.0, max(length - where, 0.0) / fade)
    gain = since * since * (3 - 2 * since) * until * until * (3 - 2 * until)
    wavelength = max(_SHORTEST_WAVE_MM, (22.0 + 4.0 * radius) * radius)
    most = 0.3 * radius + 0.25
    for c in range(3):
        for w in range(2):
            size = min(max(height[w, c] * wavelength, -most), most)
            out[c] += gain * size * np.sin(angle[w, c])


_turn = numba.njit(cache=True)(_turn)


def _advance(way: float, radius: float, stretch: Array, angle: Array) -> Array:
    # The waves' angles after another `way` mm of a vessel of this radius.
    out = angle.copy()
    wavelength = max(_SHORTEST_WAVE_MM, (22.0 + 4.0 * radius) * radius)
    for w in range(2):
        out[w] += 2 * np.pi * way / (wavelength * stretch[w])
    return out


_advance = numba.njit(cache=True)(_advance)


def _push_out(point: Array, spheres: Array) -> None:
    for k in range(len(spheres)):
        gap = _distance(point, spheres[k])
        if gap < spheres[k, 3]:
            for c in range(3):
                point[c] = spheres[k, c] + (point[c] - spheres[k, c]) * spheres[k, 3] / max(gap, 1e-6)


def _distance(a: Array, b: Array) -> float:
    return float(np.sqrt((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2))


_distance = numba.njit(cache=True)(_distance)
_push_out = numba.njit(cache=True)(_push_out)


def _soften(points: Array, k: int, pull: float) -> None:
    # Draw one node towards the line through its neighbours.
    behind, ahead = _distance(points[k], points[k - 1]), _distance(points[k], points[k + 1])
    share = behind / max(ahead + behind, 1e-9)
    for c in range(3):
        line = (1 - share) * points[k - 1, c] + share * points[k + 1, c]
        points[k, c] += pull * (line - points[k, c])


_soften = numba.njit(cache=True)(_soften)


def _too_sharp(points: Array, k: int, radius: float) -> bool:
    behind, ahead = _distance(points[k], points[k - 1]), _distance(points[k], points[k + 1])
    dot = 0.0
    for c in range(3):
        dot += (points[k, c] - points[k - 1, c]) * (points[k + 1, c] - points[k, c])
    turn = np.arccos(min(1.0, max(-1.0, dot / max(behind * ahead, 1e-12))))
    return bool(turn > 0.8 or turn * _LEAST_BEND * max(radius, 0.2) > 0.5 * (behind + ahead))


_too_sharp = numba.njit(cache=True)(_too_sharp)


def _control(chain: IntArray, position: Array, at: Array, radii: Array) -> tuple[Array, Array]:
    # Points of the curve and their distance along it. The growth's corners are rounded a little
    # everywhere, and further wherever the vessel would bend too sharply for its width.
    n = len(chain)
    points = np.empty((n, 3))
    for k in range(n):
        points[k] = position[chain[k]]
    points[0] = at[chain[0]]
    for _ in range(2):
        for k in range(1, n - 1):
            _soften(points, k, 0.3)
    for _ in range(10):
        for k in range(1, n - 1):
            if _too_sharp(points, k, radii[chain[k]]):
                _soften(points, k, 0.5)
    along = np.zeros(n)
    for k in range(1, n):
        along[k] = along[k - 1] + max(_distance(points[k], points[k - 1]), 1e-3)
    return points, along


_control = numba.njit(cache=True)(_control)


def _tangents(points: Array, along: Array, heading: Array) -> Array:
    n = len(points)
    slope = np.empty((n, 3))
    for k in range(1, n - 1):
        h0, h1 = along[k] - along[k - 1], along[k + 1] - along[k]
        d0, d1 = (points[k] - points[k - 1]) / h0, (points[k + 1] - points[k]) / h1
        slope[k] = (d0 * h1 + d1 * h0) / (h0 + h1)
    first = (points[1] - points[0]) / along[1]
    if n == 2:
        slope[0] = slope[1] = first
    else:
        slope[0] = 1.5 * first - 0.5 * slope[1]
        slope[n - 1] = 1.5 * (points[n - 1] - points[n - 2]) / (along[n - 1] - along[n - 2]) - 0.5 * slope[n - 2]
    # A side branch leaves half along its parent and then turns its own way.
    if heading[0] ** 2 + heading[1] ** 2 + heading[2] ** 2 > 0.0:
        mixed = slope[0] + 0.7 * heading
        slope[0] = mixed / max(np.sqrt((mixed**2).sum()), 0.3)
    if n == 2:
        slope[1] = 1.5 * first - 0.5 * slope[0]
    return slope


_tangents = numba.njit(cache=True)(_tangents)


def _count_pieces(
    nodes: IntArray,
    first: IntArray,
    position: Array,
    at: Array,
    radii: Array,
    waves: _Waves,
    limits: tuple[BoolArray, Array],
    step: float,
) -> IntArray:
    pieces = np.zeros(len(position), np.int64)
    for i in range(len(first) - 1):
        chain = nodes[first[i] : first[i + 1]]
        points, along = _control(chain, position, at, radii)
        angle = waves.phase[i].copy()
        for k in range(1, len(chain)):
            radius, way = radii[chain[k]], along[k] - along[k - 1]
            own = 0.5 * step if radius > _WIDE_RADIUS_MM else (step if radius > _FINE_RADIUS_MM else 2 * step)
            pieces[chain[k]] = max(1, int(np.ceil(way / own)))
            angle = _advance(way, radius, waves.stretch[i], angle)
            _turn(along[k], along[-1], radius, waves.height[i], angle, points[k])
            if limits[0][chain[k]]:
                _push_out(points[k], limits[1])
            at[chain[k]] = points[k]
    return pieces


_count_pieces = numba.njit(cache=True)(_count_pieces)


def _lay(
    nodes: IntArray,
    first: IntArray,
    position: Array,
    at: Array,
    radii: Array,
    waves: _Waves,
    limits: tuple[BoolArray, Array],
    pieces: IntArray,
    out: _Laid,
) -> None:
    s = 0
    here = np.empty(3)
    heading = np.zeros((len(position), 3))
    for i in range(len(first) - 1):
        chain = nodes[first[i] : first[i + 1]]
        points, along = _control(chain, position, at, radii)
        slope = _tangents(points, along, heading[chain[0]])
        before, above, angle = points[0].copy(), out.last[chain[0]], waves.phase[i].copy()
        width = radii[chain[1]]
        for k in range(1, len(chain)):
            n, h, own = pieces[chain[k]], along[k] - along[k - 1], radii[chain[k]]
            for j in range(1, n + 1):
                t = j / n
                here[:] = (1 + 2 * t) * (1 - t) ** 2 * points[k - 1] + t * t * (3 - 2 * t) * points[k]
                here += t * (1 - t) ** 2 * h * slope[k - 1] - t * t * (1 - t) * h * slope[k]
                # Width changes over the first few millimetres after a fork, the waves with it.
                mix = min(1.0, j / min(4, n))
                out.radius[s] = width * (1 - mix) + own * mix
                if k == len(chain) - 1:
                    out.radius[s] *= 1.0 - (1.0 - _LAST_WIDTH) * (t if n > 1 else 0.5)
                turned = _advance(t * h, own, waves.stretch[i], angle)
                _turn(along[k - 1] + t * h, along[-1], width * (1 - t) + own * t, waves.height[i], turned, here)
                if limits[0][chain[k]]:
                    _push_out(here, limits[1])
                out.start[s], out.end[s], out.parent[s], out.edge[s] = before, here, above, chain[k]
                before[:] = here
                above = s
                s += 1
            angle = _advance(h, own, waves.stretch[i], angle)
            width = own
            out.last[chain[k]] = above
            at[chain[k]] = before
            heading[chain[k]] = slope[k]


_lay = numba.njit(cache=True)(_lay)
