"""From the tree's straight edges to smooth, slightly wandering vessels cut into short segments.

Strategy: every node hands its largest child on, so that the tree falls into chains that run
from a fork to a tip; each chain is one spline, and a side branch starts exactly on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.interpolate import PchipInterpolator, make_interp_spline

from angio_pipeline.simulate.projection import Tubes
from angio_pipeline.simulate.tree import Territory, Tree

__all__ = ["Courses", "Vasculature", "lay_courses"]

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


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
    """The courses of a patient's three trees."""

    arteries: Courses
    portal: Courses
    hepatic: Courses


def lay_courses(tree: Tree, tortuosity: float, rng: np.random.Generator, step_mm: float = 1.2) -> Courses:
    """Return the tree as smooth courses of segments about `step_mm` long."""
    radii = tree.radii_mm()
    children = tree.children()
    at = {0: tree.position[0]}
    last: dict[int, int] = {0: -1}
    start: list[Array] = []
    end: list[Array] = []
    radius: list[Array] = []
    parent: list[IntArray] = []
    edge: list[IntArray] = []
    count = 0
    for chain in _chains(tree, children):
        points, knots = _spline(chain, tree, at, tortuosity, step_mm, rng)
        for node, knot in zip(chain[1:], knots[1:], strict=True):
            at[node] = points[knot]
            last[node] = count + knot - 1
        n = len(points) - 1
        index = np.arange(n)
        owner = np.asarray(chain[1:])[np.searchsorted(knots[1:], index, side="right")]
        start.append(points[:-1])
        end.append(points[1:])
        radius.append(_taper(radii[chain], knots, n))
        parent.append(np.concatenate([[last[chain[0]]], count + index[:-1]]))
        edge.append(owner)
        count += n
    tubes = Tubes(np.vstack(start), np.vstack(end), np.concatenate(radius))
    return Courses(tubes, np.concatenate(parent), np.concatenate(edge), last)


def _chains(tree: Tree, children: list[list[int]]) -> list[list[int]]:
    # Parents before children, so that a side branch knows where its fork came to lie.
    found: list[list[int]] = []
    waiting = [(0, child) for child in children[0]]
    while waiting:
        fork, node = waiting.pop(0)
        chain = [fork, node]
        while children[node]:
            ahead = max(children[node], key=lambda n: tree.flow[n])
            waiting += [(node, other) for other in children[node] if other != ahead]
            chain.append(ahead)
            node = ahead
        found.append(chain)
    return found


def _spline(
    chain: list[int], tree: Tree, at: dict[int, Array], tortuosity: float, step_mm: float, rng: np.random.Generator
) -> tuple[Array, IntArray]:
    control = np.array([at[chain[0]], *[tree.position[n] for n in chain[1:]]])
    chord = np.concatenate([[0.0], np.cumsum(np.maximum(np.linalg.norm(np.diff(control, axis=0), axis=1), 1e-3))])
    curve = _smooth_curve(chord, control)
    counts = np.maximum(1, np.ceil(np.diff(chord) / step_mm).astype(int))
    knots = np.concatenate([[0], np.cumsum(counts)])
    where = np.concatenate([np.linspace(a, b, n + 1)[:-1] for a, b, n in zip(chord, chord[1:], counts, strict=False)])
    where = np.append(where, chord[-1])
    return curve(where) + _wander(where, chord[-1], tortuosity, rng), knots


def _smooth_curve(chord: Array, control: Array) -> PchipInterpolator:
    # A cubic through nodes overshoots where they are close; a local one does not.
    if len(control) >= 4:
        # Sharp corners of the growth are rounded by averaging inner nodes with their neighbours.
        inner = 0.6 * control[1:-1] + 0.2 * (control[:-2] + control[2:])
        control = np.vstack([control[:1], inner, control[-1:]])
    return (
        make_interp_spline(chord, control, k=min(2, len(control) - 1))
        if len(control) < 4
        else PchipInterpolator(chord, control)
    )


def _wander(where: Array, length: float, tortuosity: float, rng: np.random.Generator) -> Array:
    # A few slow waves, nothing at either end's neighbourhood of the fork.
    waves = np.zeros((len(where), 3))
    for wavelength in (18.0, 31.0):
        amplitude = tortuosity * wavelength * rng.normal(0, 0.35, 3)
        waves += amplitude * np.sin(2 * np.pi * where[:, None] / wavelength + rng.uniform(0, 2 * np.pi, 3))
    fade = np.clip(where / 8.0, 0, 1) * np.clip((length - where) / 8.0, 0, 1)
    return np.asarray(waves * fade[:, None])


def _taper(radii: Array, knots: IntArray, n: int) -> Array:
    # Piecewise constant by Murray, blended over the first few millimetres after a fork.
    out = np.empty(n)
    for k in range(len(knots) - 1):
        piece = slice(knots[k], knots[k + 1])
        out[piece] = radii[k + 1]
        if k > 0:
            length = knots[k + 1] - knots[k]
            blend = np.clip(np.arange(length) / 4.0, 0, 1)
            out[piece] = radii[k] * (1 - blend) + radii[k + 1] * blend
    return out


def tumour_vessel(tree: Tree, courses: Courses) -> npt.NDArray[np.bool_]:
    """Return (S,) whether each segment lies inside a tumour."""
    territory = np.asarray(tree.territory)
    return np.asarray(territory[courses.edge] == int(Territory.TUMOUR))
