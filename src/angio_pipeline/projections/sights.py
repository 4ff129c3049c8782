"""Fifth step: what the other view shows of each feeder, and how likely it is by both views.

Strategy: the feeder's course is looked for along all vessels of the other view's tree. Where it is found on a vessel
that ends in the same tumour there too, the two views say one thing; where it is found only on a vessel that ends
beside the tumour, the branch passes in front of it or behind it. A feeder that the other view calls one as well, and
that lies on the lines of this one, is its match, and what either view says of it counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy
from pydantic import Field
from scipy import ndimage

from angio_pipeline.core.params import Params
from angio_pipeline.core.projections import FeederSight, Sight, TumourMatch
from angio_pipeline.core.results import RunResult
from angio_pipeline.core.tumours import Feeder, Tumour
from angio_pipeline.numerics.logistic import Table, logistic, logit
from angio_pipeline.projections.courses import Course, CourseMatch, CourseParams, course_of, match_course
from angio_pipeline.projections.geometry import PairGeometry, triangulate, views_apart_deg

__all__ = ["SightParams", "depth_known_mm", "joint_features", "joint_probability", "see_feeders", "tree_time_s"]

Array = npt.NDArray[np.float64]
TreePaths = list[Course]


class SightParams(Params):
    """Settings of `see_feeders`; all chosen by hand, the joint probability has weights of its own."""

    reach_mm: float = Field(5.0, gt=0, description="a course that ends this near the blush ends in it")
    fits: float = Field(1.0, gt=0, description="misfit, in SDs, up to which a course is found")
    clearly: float = Field(0.5, ge=0, description="by how much one course has to fit better than another, in SDs")
    course: CourseParams = CourseParams()


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """One view of one tumour: what its feeders are looked for in, and their own courses.

    Attributes
    ----------
    distance_mm : ndarray, (H, W) float64
        From the tumour; 0 inside.
    whole : list of (Course, ndarray)
        Each feeder from the root to the tumour.
    own : list of Course
        The part that is the tumour's own, and a little before.
    """

    tumour: Tumour
    result: RunResult
    tree: TreePaths
    distance_mm: Array
    whole: TreePaths
    own: list[Course]


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """Where one feeder's course lies in the other view: in the tumour, beside it, and along each feeder there."""

    inside: CourseMatch | None
    beside: CourseMatch | None
    along: Mapping[int, CourseMatch]


def see_feeders(
    pair: PairGeometry,
    tumours: tuple[Tumour, Tumour],
    results: tuple[RunResult, RunResult],
    trees: tuple[TreePaths, TreePaths],
    match: TumourMatch,
    *,
    params: SightParams,
) -> tuple[tuple[FeederSight, ...], tuple[FeederSight, ...]]:
    """Return what the second view shows of the first's feeders of one tumour, and the first of the second's.

    Parameters
    ----------
    trees : two lists
        What `tree_courses` returns of either view.
    match : TumourMatch
        The tumour in space.
    """
    pairs = pair, pair.swapped()
    sides = tuple(
        _side(tumour, result, tree, one.first.pixel_mm, params)
        for tumour, result, tree, one in zip(tumours, results, trees, pairs, strict=True)
    )
    clock = tree_time_s(results[1]) - tree_time_s(results[0])
    found = tuple(
        [_look(one, course, there, sign * clock, params) for course in here.own]
        for one, here, there, sign in ((pairs[0], sides[0], sides[1], 1), (pairs[1], sides[1], sides[0], -1))
    )
    partners = _partners((sides[0], sides[1]), (found[0], found[1]), params)
    back = {j: i for i, j in partners.items()}
    first, second = (
        tuple(
            _sight(pairs[k], sides[k], sides[1 - k], i, found[k][i], partner.get(i), match, params)
            for i in range(len(sides[k].own))
        )
        for k, partner in enumerate((partners, back))
    )
    return _as_read(first, second, partners), _as_read(second, first, back)


def _as_read(
    sights: tuple[FeederSight, ...], others: tuple[FeederSight, ...], partners: Mapping[int, int]
) -> tuple[FeederSight, ...]:
    """Return the sights, sure where a reader has accepted the same vessel in the other view."""
    accepted = {i for i, j in partners.items() if others[j].probability == 1}
    return tuple(replace(sight, probability=1.0) if i in accepted else sight for i, sight in enumerate(sights))


def _side(tumour: Tumour, result: RunResult, tree: TreePaths, pixel_mm: float, params: SightParams) -> _Side:
    whole, own = [], []
    for feeder in tumour.feeders:
        start = int(np.argmin(np.linalg.norm(feeder.centreline - np.array(feeder.branch_start), axis=1)))
        whole.append(course_of(feeder.centreline, 0, result.graph, pixel_mm, params.course))
        own.append(course_of(feeder.centreline, start, result.graph, pixel_mm, params.course))
    distance = np.asarray(ndimage.distance_transform_edt(~tumour.mask)) * pixel_mm
    return _Side(tumour, result, tree, distance, whole, own)


def tree_time_s(result: RunResult) -> float:
    """Return when the tree as a whole fills; NaN when that was not measured."""
    arrivals = [branch.arrival_s for branch in result.graph.branches]
    known = np.concatenate(arrivals)[np.isfinite(np.concatenate(arrivals))] if arrivals else np.empty(0)
    return float(np.median(known)) if len(known) and result.subtracted.timing_measurable else float("nan")


def _look(pair: PairGeometry, course: Course, there: _Side, clock_s: float, params: SightParams) -> _Found:
    """Return where the other view shows a course."""
    everywhere = match_course(pair, course, there.tree, clock_s=clock_s, params=params.course)
    along = match_course(pair, course, there.whole, clock_s=clock_s, params=params.course)
    best: list[CourseMatch | None] = [None, None]
    for one in (*everywhere, *along):
        side = int(_end_mm(one, there) > params.reach_mm)
        held = best[side]
        if held is None or one.misfit(params.course) < held.misfit(params.course):
            best[side] = one
    return _Found(best[0], best[1], {one.path: one for one in along if _end_mm(one, there) <= params.reach_mm})


def _end_mm(one: CourseMatch, there: _Side) -> float:
    """Return how far from the tumour a course ends in the other view."""
    row, col = np.clip(np.rint(one.points[-1]).astype(int), 0, np.array(there.distance_mm.shape) - 1)
    return float(there.distance_mm[row, col])


def _partners(
    sides: tuple[_Side, _Side], found: tuple[list[_Found], list[_Found]], params: SightParams
) -> dict[int, int]:
    """Return for feeders of the first view the one of the second that is the same vessel, each at most once.

    Each has to lie on the other's lines; how well they do and how likely both are by themselves is greatest in sum.
    """
    if not found[0] or not found[1]:
        return {}
    feeders = sides[0].tumour.feeders, sides[1].tumour.feeders
    agreement = np.zeros((len(found[0]), len(found[1])))
    for i, one in enumerate(found[0]):
        for j in set(one.along) & {j for j, other in enumerate(found[1]) if i in other.along}:
            misfits = one.along[j].misfit(params.course), found[1][j].along[i].misfit(params.course)
            if min(misfits) <= params.fits and np.mean(misfits) <= 1.25 * params.fits:
                likely = np.sqrt(feeders[0][i].probability * feeders[1][j].probability)
                agreement[i, j] = likely * float(np.exp(-0.5 * (misfits[0] ** 2 + misfits[1] ** 2)))
    rows, cols = scipy.optimize.linear_sum_assignment(-agreement)
    return {int(i): int(j) for i, j in zip(rows, cols, strict=True) if agreement[i, j] > 0}


def joint_probability(evidence: Mapping[str, float]) -> float:
    """Return the probability by both views from what `see_feeders` measures."""
    return logistic(_JOINT, joint_features(evidence))


# As scripts/fit_projections.py prints it, on 34 simulated patients that no test uses.
_JOINT: Table = (
    -0.027,
    {
        "own": (-0.173, 2.279, 2.108),
        "matched": (0.542, 0.498, 0.550),
        "partner": (0.244, 1.666, 0.198),
        "beside": (0.252, 0.460, 0.218),
    },
)


def joint_features(evidence: Mapping[str, float]) -> dict[str, float]:
    """Return what the joint probability is a logistic of.

    own : log odds by its own view
    matched : whether the other view lists the same feeder
    partner : log odds by the other view; 0 where it lists no such feeder
    beside : how badly its course fits on a vessel that ends beside the tumour, in squared standard deviations up to 4;
        4 where there is none
    """
    misfit = evidence["beside_misfit"]
    matched = bool(np.isfinite(evidence["partner"]))
    return {
        "own": logit(evidence["own"], least=0.01),
        "matched": float(matched),
        "partner": logit(evidence["partner"], least=0.01) if matched else 0.0,
        "beside": min(misfit**2, 4.0) if np.isfinite(misfit) else 4.0,
    }


def _sight(
    pair: PairGeometry,
    here: _Side,
    there: _Side,
    index: int,
    found: _Found,
    partner: int | None,
    match: TumourMatch,
    params: SightParams,
) -> FeederSight:
    feeder = here.tumour.feeders[index]
    twin = None if partner is None else there.tumour.feeders[partner]
    sight, shown, reason = _verdict(found, partner, there.tumour.feeders, params)
    position, beyond = _in_space(pair, here.own[index], shown, match)
    if sight is Sight.FEEDS and beyond > depth_known_mm(pair, params):
        reason += (
            f" In space this end lies {beyond:.0f} mm outside the tumour, where depth is known to "
            f"{depth_known_mm(pair, params):.0f} mm: two vessels may have been taken for one."
        )
    evidence = _evidence(feeder, found, partner, twin, beyond, params)
    entry = feeder.centreline[-1:]
    return FeederSight(
        feeder=feeder.id,
        tumour=here.tumour.id,
        probability_alone=feeder.probability,
        # What a reader has said is not weighed again.
        probability=feeder.probability if feeder.corrected is not None else joint_probability(evidence),
        sight=sight,
        match=None if twin is None else twin.id,
        entry=(float(entry[0, 0]), float(entry[0, 1])),
        entry_line=across(pair.lines(entry)[0], pair.second.size),
        course=np.empty((0, 2)) if shown is None else shown.points,
        apart_mm=_NAN if shown is None else shown.mean_mm,
        misfit=_NAN if shown is None else shown.misfit(params.course),
        later_s=_NAN if shown is None else shown.later_s,
        entry_mm=position,
        beyond_mm=beyond,
        reason=reason,
        evidence=evidence,
    )


_NAN = float("nan")


def depth_known_mm(pair: PairGeometry, params: SightParams) -> float:
    """Return how far apart in depth two ends may lie that are taken for one in each view, mm.

    An end counts as in the tumour within `reach_mm` of it, in either view; in depth that is the sum of both over the
    sine of the angle between the views.
    """
    poses = pair.first.pose, pair.second.pose
    angles = [(pose.primary_deg, pose.secondary_deg) for pose in poses]
    return 2 * params.reach_mm / float(np.sin(np.radians(views_apart_deg(angles[0], angles[1]))))


def _in_space(
    pair: PairGeometry, course: Course, shown: CourseMatch | None, match: TumourMatch
) -> tuple[tuple[float, float, float] | None, float]:
    """Return where the entry lies in space, and how far outside the tumour; None and NaN without a course."""
    if shown is None:
        return None, _NAN
    place = triangulate(pair, course.points[-1:], shown.points[-1:])[0][0]
    x, y, z = (float(v) for v in place)
    return (x, y, z), float(np.linalg.norm(place - np.array(match.centre_mm))) - match.radius_mm


def _evidence(
    feeder: Feeder,
    found: _Found,
    partner: int | None,
    twin: Feeder | None,
    beyond_mm: float,
    params: SightParams,
) -> dict[str, float]:
    """Return named measurements; misfits in SDs, NaN where nothing was found."""
    along = None if partner is None else found.along[partner]
    misfits = {"partner": along, "inside": found.inside, "beside": found.beside}
    return {
        "own": feeder.probability,
        "partner": _NAN if twin is None else twin.probability,
        **{f"{name}_misfit": _NAN if one is None else one.misfit(params.course) for name, one in misfits.items()},
        "beyond_mm": beyond_mm,
    }


def _verdict(
    found: _Found, partner: int | None, others: Sequence[Feeder], params: SightParams
) -> tuple[Sight, CourseMatch | None, str]:
    """Return what the other view shows, the course that it shows it on, and one sentence."""
    into, past = (_NAN if one is None else one.misfit(params.course) for one in (found.inside, found.beside))
    if partner is not None:
        shown = found.along[partner]
        return (
            Sight.FEEDS,
            shown,
            f"The other view shows it as {others[partner].id}, {shown.mean_mm:.1f} mm from its lines on average.",
        )
    if into <= params.fits and not past < into - params.clearly:
        return (
            Sight.FEEDS,
            found.inside,
            "The other view calls no such feeder; that a vessel into the tumour lies on its lines there says little.",
        )
    if past <= params.fits and not into < past + params.clearly:
        return (
            Sight.PASSES,
            found.beside,
            "The other view shows it on a vessel that ends beside the tumour: it passes in front of it or behind it.",
        )
    return Sight.UNKNOWN, None, "No vessel that was found in the other view lies on its lines."


def across(line: Array, size: tuple[int, int]) -> Array:
    """Return the (2, 2) ends of a line a row + b col + c = 0 across a frame; (0, 2) where it misses the frame."""
    a, b, c = line
    rows, cols = size[0] - 1.0, size[1] - 1.0
    ends = []
    if abs(a) > 1e-12:
        ends += [(-(b * col + c) / a, col) for col in (0.0, cols)]
    if abs(b) > 1e-12:
        ends += [(row, -(a * row + c) / b) for row in (0.0, rows)]
    held = [(r, q) for r, q in ends if -1e-6 <= r <= rows + 1e-6 and -1e-6 <= q <= cols + 1e-6]
    if len(held) < 2:
        return np.empty((0, 2))
    points = np.array(held)
    far = np.linalg.norm(points[:, None] - points, axis=2)
    one, other = np.unravel_index(int(np.argmax(far)), far.shape)
    return points[[int(one), int(other)]]
