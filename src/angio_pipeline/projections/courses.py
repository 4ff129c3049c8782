"""Third step: where in one view the course of a vessel lies that the other view shows.

Strategy: every point of the course has a line in the other view, and along a vessel of the tree there the points
on these lines follow each other in order. The best order is found by dynamic programming over all paths from the
root to a leaf; a common offset within what the alignment leaves open is taken out. The arrival of contrast is
nearly the same in both views and breaks ties, and so does the calibre.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.core.vessels import VesselGraph
from angio_pipeline.numerics.orders import least_in_order
from angio_pipeline.projections.geometry import PairGeometry

__all__ = ["Course", "CourseMatch", "CourseParams", "course_of", "match_course", "tree_courses"]

Array = npt.NDArray[np.float64]


class CourseParams(Params):
    """Settings of `match_course`; all chosen by hand."""

    step_mm: float = Field(2.0, gt=0, description="between the points of a course that are looked for")
    before_mm: float = Field(12.0, ge=0, description="of the vessel upstream that belongs to the course")
    point_mm: float = Field(1.5, gt=0, description="SD of a centreline's place in each view")
    most: float = Field(4.0, gt=0, description="SDs from which on a point counts as lost and no more")
    shortest: int = Field(4, ge=2, description="points that a course needs")
    longest_ratio: float = Field(4.0, ge=1, description="of lengths in both views, along any stretch")
    arrival_s: float = Field(0.5, gt=0, description="SD of the difference of arrivals of one vessel in both views")
    calibre: float = Field(0.35, gt=0, description="SD of the logarithm of the ratio of diameters")


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """A stretch of vessel: (K, 2) points with the flow, arrival (K,) s and radius (K,) mm (NaN where unknown)."""

    points: Array
    arrival_s: Array
    radius_mm: Array


@dataclass(frozen=True, slots=True, eq=False)
class CourseMatch:
    """Where a course lies on a path of the other view.

    Attributes
    ----------
    points : ndarray, (K, 2) float64
        In the other view, one for each point of the course.
    first, last : int
        The part of the path that they span.
    rms : float
        Root mean square of the distances from the lines, in SDs.
    mean_mm : float
        Mean absolute distance from the lines.
    later_s : float
        How much later contrast comes in the other view, beyond what holds for the whole tree; NaN when unknown.
    wider : float
        Logarithm of the ratio of diameters; NaN when unknown.
    """

    path: int
    points: Array
    first: int
    last: int
    rms: float
    mean_mm: float
    later_s: float
    wider: float

    def misfit(self, params: CourseParams) -> float:
        """Return by how many SDs the course misses, all told."""
        terms = [self.rms**2]
        terms += [
            (value / sd) ** 2
            for value, sd in ((self.later_s, params.arrival_s), (self.wider, params.calibre))
            if np.isfinite(value)
        ]
        return float(np.sqrt(np.mean([terms[0], terms[0], *terms[1:]])))


def resampled(points: Array, step: float) -> tuple[Array, Array]:
    """Return points along a polyline at most `step` apart, ends included, and the (K,) index each comes from."""
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    count = max(2, int(np.ceil(length[-1] / step)) + 1)
    where = np.linspace(0, length[-1], count)
    index = np.interp(where, length, np.arange(len(points)))
    return np.stack([np.interp(index, np.arange(len(points)), points[:, k]) for k in (0, 1)], axis=1), index


def tree_courses(graph: VesselGraph, pixel_mm: float, params: CourseParams) -> list[Course]:
    """Return each path from a root to a leaf, points half a step apart."""
    children = graph.children()
    out = []
    for leaf in (k for k in range(len(graph.branches)) if not children[k]):
        parts = [graph.branches[k] for k in graph.path_to(leaf)]
        line = np.vstack([part.centreline for part in parts])
        arrival = np.concatenate([part.arrival_s for part in parts])
        radius = np.concatenate([part.radius_px for part in parts]) * pixel_mm
        points, index = resampled(line, 0.5 * params.step_mm / pixel_mm)
        near = np.rint(index).astype(int)
        out.append(Course(points, arrival[near], radius[near]))
    return out


def course_of(line: Array, start: int, graph: VesselGraph, pixel_mm: float, params: CourseParams) -> Course:
    """Return the course of a feeder's centreline from `before_mm` upstream of index `start` to its end."""
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))]) * pixel_mm
    first = int(np.searchsorted(length, length[start] - params.before_mm))
    points, _ = resampled(line[min(first, len(line) - 2) :], params.step_mm / pixel_mm)
    arrival, radius = np.full(len(points), np.nan), np.full(len(points), np.nan)
    if graph.branches:
        every = np.vstack([branch.centreline for branch in graph.branches])
        arrivals = np.concatenate([branch.arrival_s for branch in graph.branches])
        radii = np.concatenate([branch.radius_px for branch in graph.branches])
        away = np.linalg.norm(points[:, None] - every, axis=2)
        nearest = away.argmin(axis=1)
        on = away[np.arange(len(points)), nearest] * pixel_mm <= 2 * params.point_mm
        arrival = np.where(on, arrivals[nearest], np.nan)
        radius = np.where(on, radii[nearest] * pixel_mm, np.nan)
    return Course(points, arrival, radius)


def match_course(
    pair: PairGeometry,
    course: Course,
    paths: Sequence[Course],
    *,
    clock_s: float,
    params: CourseParams,
) -> list[CourseMatch]:
    """Return how well a course of the first view lies along each path of the second.

    Parameters
    ----------
    clock_s : float
        How much later the whole tree fills in the second view; NaN when unknown.
    """
    if len(course.points) < params.shortest:
        return []
    lines = pair.lines(course.points)
    middle = np.broadcast_to((np.array(pair.second.size) - 1) / 2, course.points.shape)
    common = float(np.median(pair.spreads_mm(course.points, np.asarray(middle))))
    far = params.most * np.sqrt(2) * params.point_mm + 2 * common
    out = []
    for k, path in enumerate(paths):
        if len(path.points) < 2:
            continue
        homogeneous = np.column_stack([path.points, np.ones(len(path.points))])
        away = lines @ homogeneous.T * pair.second.pixel_mm
        # Not even without order, and with any offset, does such a path come near the lines.
        if np.mean(np.minimum(np.abs(away).min(axis=1), far)) >= 0.5 * far:
            continue
        out.append(_best(course, path, away, k, common, clock_s, params))
    return out


def _best(
    course: Course, path: Course, away: Array, number: int, common: float, clock_s: float, params: CourseParams
) -> CourseMatch:
    sd = np.sqrt(2) * params.point_mm
    best: tuple[float, npt.NDArray[np.int64], float] | None = None
    for offset in np.linspace(-2, 2, 5) * common:
        cost = np.minimum(((away - offset) / sd) ** 2, params.most**2)
        order, total = least_in_order(cost, round(2 * params.longest_ratio))
        total += (offset / max(common, 1e-6)) ** 2
        if best is None or total < best[0]:
            best = total, order, float(offset)
    assert best is not None
    total, order, offset = best
    chosen = away[np.arange(len(order)), order]
    return CourseMatch(
        path=number,
        points=path.points[order],
        first=int(order[0]),
        last=int(order[-1]),
        rms=float(np.sqrt(max(total, 0.0) / len(order))),
        mean_mm=float(np.abs(chosen).mean()),
        later_s=_median(path.arrival_s[order] - course.arrival_s - clock_s),
        wider=_median(np.log(np.maximum(path.radius_mm[order], 0.1) / np.maximum(course.radius_mm, 0.1))),
    )


def _median(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")
