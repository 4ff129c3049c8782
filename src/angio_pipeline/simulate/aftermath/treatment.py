"""What was done to each tumour and what became of it: flow left, oil taken, what died, how it shrank or grew.

Volumes follow two rules. What died is resorbed to a remainder, exponentially; what lives doubles:

    necrotic(t) / V0 = n (f + (1 - f) exp(-t / tau)),   living(t) / V0 = (1 - n) 2^(t / T)

so a tumour shrinks after treatment and may grow again, and its necrotic share at any date follows.
Days count from treatment; before day 0 nothing has happened yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator
from scipy.ndimage import gaussian_filter

from angio_pipeline.core.followups import Pattern
from angio_pipeline.core.params import Params
from angio_pipeline.simulate.aftermath.deposits import (
    OIL_MG_PER_ML,
    Deposit,
    DepositParams,
    OilGrid,
    Washout,
    draw_concentration,
    draw_pattern,
    draw_washout,
    make_deposit,
    wall_oil,
)
from angio_pipeline.simulate.aftermath.lesion_grid import LesionGrid, make_grid, smooth_noise
from angio_pipeline.simulate.anatomy.anatomy import Anatomy
from angio_pipeline.simulate.anatomy.lesions import TumourBody, TumourKind
from angio_pipeline.simulate.anatomy.tree import Territory, Tree
from angio_pipeline.simulate.cohort import PatientPlan
from angio_pipeline.simulate.radiograph.body import Body
from angio_pipeline.simulate.radiograph.projection import Ellipsoids, Tubes

__all__ = ["Lesion", "Treatment", "TreatmentParams", "VolumeCourse", "draw_treatment"]

Array = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
NEVER = float("inf")
# Of the oil that was given, at most this share lies in tumours; the rest ran on.
_IN_TUMOURS = 0.85
_SEGMENT_STEP_MM = 2.5


class TreatmentParams(Params):
    """What embolisation left, and what became of the tumours."""

    residual_flow: float = Field(
        0.0, ge=0.0, le=1.0, description="flow left in embolised feeders where embolisation is complete, relative"
    )
    residual_spread: float = Field(
        0.3, ge=0, le=2, description="standard deviation of the log of residual flow between feeders"
    )
    segment_kept: float = Field(
        0.7, ge=0, le=1, description="flow that liver branches beside the feeders keep at complete stasis, relative"
    )
    missed_feeder: float = Field(
        0.0, ge=0, le=1, description="share of tumours with several feeders of which one was not found"
    )
    non_target: float = Field(
        0.0, ge=0, le=1, description="chance of oil in the wall of each of gallbladder, duodenum and stomach"
    )
    film_days: tuple[float, ...] = Field((0.0, 28.0), description="days of the radiographs, from treatment, increasing")
    necrosis_concentration: float = Field(
        8.0, gt=0, le=1000, description="how close further main tumours stay to the plan's necrosis (beta precision)"
    )
    remainder_min: float = Field(0.3, ge=0, le=1, description="least share of dead tissue that is never resorbed")
    remainder_max: float = Field(0.8, ge=0, le=1, description="greatest share of dead tissue that is never resorbed")
    resorption_days: float = Field(50.0, gt=0, le=2000, description="time constant of the resorption of dead tissue")
    doubling_min_days: float = Field(70.0, gt=0, le=5000, description="least volume doubling time of living tumour")
    doubling_max_days: float = Field(300.0, gt=0, le=5000, description="greatest volume doubling time of living tumour")
    vanished_mm: float = Field(3.0, ge=0.5, le=20, description="a lesion whose mean diameter is below this is gone")
    new_lesions_per_year: float = Field(0.4, ge=0, le=20, description="rate at which new lesions appear")
    new_lesion_radius_mm: float = Field(4.0, ge=2, le=15, description="radius of a new lesion when it appears")
    horizon_days: float = Field(365.0, gt=0, le=4000, description="no new lesion appears after this day")

    @model_validator(mode="after")
    def _ordered(self) -> TreatmentParams:
        early = any(day < 0 for day in self.film_days)
        if early or any(b <= a for a, b in zip(self.film_days, self.film_days[1:], strict=False)):
            raise ValueError("film_days must increase and must not be before treatment")
        if len({round(day) for day in self.film_days}) < len(self.film_days):
            raise ValueError("film_days must fall on different days when rounded to whole ones")
        return self


@dataclass(frozen=True, slots=True)
class VolumeCourse:
    """How a lesion's volume goes on from the day it is treated (or, a new one, appears).

    Attributes
    ----------
    native : float
        Necrotic share before treatment (the avascular core).
    necrosis : float
        Necrotic share right after treatment.
    start_days : float
        0, or the day a new lesion appears.
    """

    native: float
    necrosis: float
    remainder: float
    resorption_days: float
    doubling_days: float
    start_days: float = 0.0

    def parts(self, days: float) -> tuple[float, float]:
        """Return the volume of dead and of living tissue at `days`, over the volume at the start."""
        since = days - self.start_days
        if since < 0:
            return self.native, 1 - self.native
        left = self.remainder + (1 - self.remainder) * np.exp(-since / self.resorption_days)
        return float(self.necrosis * left), float((1 - self.necrosis) * 2.0 ** (since / self.doubling_days))


@dataclass(frozen=True, slots=True, eq=False)
class Lesion:
    """One tumour and its fate.

    Attributes
    ----------
    id : str
        L1, L2, … in the order of the anatomy's tumours; N1, N2, … for new ones.
    order : (Z, Y, X) float32
        Share of the tumour that dies before each cell does, 0 to 1.
    deposit : Deposit or None
        None without oil.
    residual_flow : tuple of float
        Of each feeder, relative.
    vanished_scale : float
        A lesion that has shrunk below this is gone.
    """

    id: str
    body: TumourBody
    grid: LesionGrid
    order: FloatArray
    deposit: Deposit | None
    washout: Washout
    residual_flow: tuple[float, ...]
    course: VolumeCourse
    vanished_scale: float = 0.0
    new: bool = False

    @property
    def appears_days(self) -> float | None:
        """Day on which a new lesion appears; None for one that was treated."""
        return self.course.start_days if self.new else None

    @property
    def pattern(self) -> Pattern:
        """Distribution of its oil."""
        return Pattern.NONE if self.deposit is None else self.deposit.pattern

    def scale(self, days: float) -> float:
        """Return the lesion's size over its size before treatment (lengths); 0 when it is not there."""
        if self.new and days < self.course.start_days:
            return 0.0
        scale = float(np.cbrt(sum(self.course.parts(days))))
        return scale if scale >= self.vanished_scale else 0.0

    def necrosis(self, days: float) -> float:
        """Return the share of the lesion that is dead (never enhances), 0 to 1."""
        dead, alive = self.course.parts(days)
        return dead / max(dead + alive, 1e-300)

    def living(self, days: float) -> FloatArray:
        """Return (Z, Y, X) the share of each cell that is living tumour, on the lesion's grid of that date."""
        return np.asarray(self.grid.solid * (self.order >= np.float32(self.necrosis(days))), dtype=np.float32)

    def left(self, days: float) -> float:
        """Return the share of its oil left after `days`."""
        return self.washout.left(days) if self.deposit is not None else 0.0

    def iodine_mg(self, days: float) -> float:
        """Return the iodine in the tumour; 0 before treatment."""
        return self.deposit.oil.iodine_mg * self.left(days) if self.deposit is not None else 0.0

    def half_life_days(self, first_day: float = 0.0) -> float | None:
        """Return the days from `first_day` until half of that day's oil is left; None without oil."""
        return None if self.deposit is None else self.washout.days_to_half(first_day)


@dataclass(frozen=True, slots=True, eq=False)
class Treatment:
    """Everything that treatment did.

    Attributes
    ----------
    lesions : tuple of Lesion
        One for each tumour of the anatomy, in its order.
    new_lesions : tuple of Lesion
        In the order of their appearance.
    segment : OilGrid or None
        Oil in the liver of the embolised segments at day 0.
    walls : dict of str to OilGrid
        Oil in the wall of organs that were not to be treated at day 0.
    flow_kept : (nodes,)
        Share of its native flow that each arterial node keeps; 1 is untouched.
    """

    lesions: tuple[Lesion, ...]
    new_lesions: tuple[Lesion, ...]
    segment: OilGrid | None
    walls: dict[str, OilGrid]
    flow_kept: Array
    liver_washout: Washout
    wall_washout: Washout

    @property
    def all_lesions(self) -> tuple[Lesion, ...]:
        """Treated and new lesions."""
        return (*self.lesions, *self.new_lesions)

    def kept(self, anatomy: Anatomy) -> Array:
        """Return (arteries nodes,) the share of native flow that embolisation left.

        Raises
        ------
        ValueError
            When the anatomy is not the one that was treated.
        """
        if len(self.flow_kept) != len(anatomy.arteries):
            raise ValueError(
                f"Expected the anatomy that was treated ({len(self.flow_kept)} nodes), found {len(anatomy.arteries)}."
            )
        return self.flow_kept

    def lesion_oil(self, lesion: Lesion, days: float) -> OilGrid | None:
        """Return the oil in one tumour, on the grid that has shrunk or grown with it; None without any."""
        if lesion.deposit is None or days < 0:
            return None
        return lesion.deposit.oil.changed(lesion.left(days), lesion.scale(days) or lesion.vanished_scale)

    def rim_oil(self, lesion: Lesion, days: float) -> OilGrid | None:
        """Return the oil in liver at one tumour's surface; None without any."""
        if lesion.deposit is None or days < 0:
            return None
        return lesion.deposit.rim.changed(self.liver_washout.left(days), lesion.scale(days) or lesion.vanished_scale)

    def rim_iodine_mg(self, lesion: Lesion, days: float) -> float:
        """Return the iodine in liver at one tumour's surface."""
        return lesion.deposit.rim.iodine_mg * self.liver_washout.left(days) if lesion.deposit is not None else 0.0

    def liver_iodine_mg(self, days: float) -> float:
        """Return the iodine in liver: at the tumours' surfaces and in the embolised segments."""
        segment = self.segment.iodine_mg * self.liver_washout.left(days) if self.segment is not None else 0.0
        return segment + sum(self.rim_iodine_mg(lesion, days) for lesion in self.lesions)

    def wall_iodine_mg(self, days: float) -> dict[str, float]:
        """Return the iodine in the wall of each organ reached by mistake."""
        return {name: grid.iodine_mg * self.wall_washout.left(days) for name, grid in self.walls.items()}

    def stray_oil(self, days: float) -> tuple[OilGrid, ...]:
        """Return the oil in the embolised segments and in organ walls."""
        if days < 0:
            return ()
        segment = [] if self.segment is None else [self.segment.changed(self.liver_washout.left(days))]
        return (*segment, *(grid.changed(self.wall_washout.left(days)) for grid in self.walls.values()))

    def oil(self, days: float) -> tuple[OilGrid, ...]:
        """Return all oil `days` after treatment."""
        own = [kind(lesion, days) for lesion in self.lesions for kind in (self.lesion_oil, self.rim_oil)]
        return (*(grid for grid in own if grid is not None), *self.stray_oil(days))


def draw_treatment(
    anatomy: Anatomy,
    plan: PatientPlan,
    params: TreatmentParams,
    rng: np.random.Generator,
    *,
    deposit: DepositParams | None = None,
    body: Body | None = None,
) -> Treatment:
    """Return what the plan's treatment did to this patient's tumours.

    The greatest tumour's necrosis is the plan's `necrosis_main`, each daughter nodule's its
    `necrosis_daughter`; further main tumours are drawn about the former. `body` gives organs
    their walls where it knows them.
    """
    settings = deposit if deposit is not None else DepositParams()
    rngs = rng.spawn(4 + len(anatomy.tumours))
    flows = [_feeder_flows(tumour, plan, params, r) for tumour, r in zip(anatomy.tumours, rngs[4:], strict=True)]
    lesions = _treat(anatomy, plan, params, settings, flows, rngs[4:])
    children = anatomy.arteries.children()
    near = _beside(anatomy, children)
    oiled = [lesion for lesion in lesions if lesion.deposit is not None]
    segment = _segment_oil(anatomy, near, settings, rngs[0]) if oiled else None
    walls = _stray_walls(anatomy.arteries, children, plan, params, settings, rngs[1], body) if oiled else {}
    return Treatment(
        tuple(lesions),
        _new_lesions(anatomy, params, rngs[2]),
        segment,
        walls,
        _flow_kept(anatomy, children, flows, near, plan.residual_flow(params.segment_kept)),
        Washout(settings.liver_half_life_days),
        Washout(settings.wall_half_life_days),
    )


def _feeder_flows(
    tumour: TumourBody, plan: PatientPlan, params: TreatmentParams, rng: np.random.Generator
) -> tuple[float, ...]:
    least, count = plan.residual_flow(params.residual_flow), len(tumour.entries)
    flows = np.clip(least * np.exp(rng.normal(0, params.residual_spread, count)), 0, 1) if least < 1 else np.ones(count)
    if count > 1 and rng.random() < params.missed_feeder:
        flows[int(rng.integers(count))] = 1.0
    return tuple(float(f) for f in flows)


def _treat(
    anatomy: Anatomy,
    plan: PatientPlan,
    params: TreatmentParams,
    deposit: DepositParams,
    flows: Sequence[tuple[float, ...]],
    rngs: Sequence[np.random.Generator],
) -> list[Lesion]:
    died = [_necrosis(anatomy, i, plan, params, rngs[i]) for i in range(len(anatomy.tumours))]
    grids = [make_grid(tumour) for tumour in anatomy.tumours]
    patterns = [draw_pattern(deposit, n, r) for n, r in zip(died, rngs, strict=True)]
    means = [draw_concentration(deposit, p, r) for p, r in zip(patterns, rngs, strict=True)]
    wanted = sum(m * g.volume_mm3 / 1000 for m, g in zip(means, grids, strict=True))
    # No more oil lies in the tumours than was given.
    fits = min(1.0, _IN_TUMOURS * plan.oil_ml * OIL_MG_PER_ML / wanted) if wanted > 0 else 0.0
    lesions = []
    for i, tumour in enumerate(anatomy.tumours):
        missed = _missed_part(anatomy.arteries, tumour, grids[i], flows[i]) if plan.stasis > 0 else None
        oil = make_deposit(grids[i], patterns[i], fits * means[i], deposit, rngs[i], missed) if fits > 0 else None
        washout = draw_washout(deposit, plan.half_life_factor, rngs[i])
        course = _course(grids[i].core_share, died[i], params, rngs[i])
        order = _dying_order(grids[i], oil, rngs[i])
        gone = params.vanished_mm / (2 * tumour.radius_mm)
        lesions.append(Lesion(f"L{i + 1}", tumour, grids[i], order, oil, washout, flows[i], course, gone))
    return lesions


def _necrosis(
    anatomy: Anatomy, index: int, plan: PatientPlan, params: TreatmentParams, rng: np.random.Generator
) -> float:
    tumour = anatomy.tumours[index]
    if tumour.daughter_of is not None:
        return plan.necrosis_daughter
    main = max((t.radius_mm, -i) for i, t in enumerate(anatomy.tumours) if t.daughter_of is None)
    if -main[1] == index or not 0 < plan.necrosis_main < 1:
        return plan.necrosis_main
    sure = params.necrosis_concentration
    return float(rng.beta(sure * plan.necrosis_main, sure * (1 - plan.necrosis_main)))


def _course(native: float, necrosis: float, params: TreatmentParams, rng: np.random.Generator) -> VolumeCourse:
    remainder = float(rng.uniform(params.remainder_min, params.remainder_max))
    doubling = float(np.exp(rng.uniform(np.log(params.doubling_min_days), np.log(params.doubling_max_days))))
    return VolumeCourse(native, max(native, necrosis), remainder, params.resorption_days, doubling)


def _dying_order(grid: LesionGrid, deposit: Deposit | None, rng: np.random.Generator) -> FloatArray:
    # The core is dead already; then what holds oil; what lives longest lies together, at the edge more often.
    radius = np.cbrt(3 * grid.volume_mm3 / (4 * np.pi)) / grid.step_mm
    field = smooth_noise(grid.solid.shape, 0.3 * radius, rng)
    field += np.float32(0.6) * (1 + np.clip(grid.distance_mm / (radius * grid.step_mm), -1, 0.2))
    if deposit is not None:
        oil = gaussian_filter(deposit.oil.mg_ml, 0.08 * radius)
        field -= np.float32(1.5) * oil / max(float(oil.max()), 1e-9)
    field[grid.core] = -np.inf
    order = np.full(grid.solid.shape, np.inf, np.float32)
    inside = grid.solid > 0
    rank = np.argsort(field[inside], kind="stable")
    volume = grid.solid[inside][rank].astype(float)
    place = np.empty(len(rank), np.float32)
    place[rank] = (np.cumsum(volume) - volume) / volume.sum()
    order[inside] = place
    return order


def _missed_part(tree: Tree, tumour: TumourBody, grid: LesionGrid, flows: tuple[float, ...]) -> BoolArray | None:
    # What lies nearest to the entry of an untouched feeder took no oil.
    if len(flows) < 2 or max(flows) < 1 or min(flows) == 1:
        return None
    entries = np.array([tree.position[e] for e in tumour.entries]) - grid.centre_mm
    axis = grid.axis_mm()
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    away = [(x - e[0]) ** 2 + (y - e[1]) ** 2 + (z - e[2]) ** 2 for e in entries]
    return np.asarray(np.array(flows)[np.argmin(away, axis=0)] == 1.0)


def _downstream(children: list[list[int]], node: int) -> list[int]:
    found, waiting = [], [node]
    while waiting:
        here = waiting.pop()
        found.append(here)
        waiting += children[here]
    return found


def _beside(anatomy: Anatomy, children: list[list[int]], least: int = 8) -> list[int]:
    # For each feeder the smallest part of the tree about its origin that also supplies liver: the segment.
    tree, liver = anatomy.arteries, set(anatomy.liver_terminals)
    segment: set[int] = set()
    for tumour in anatomy.tumours:
        for start in tumour.branch_starts:
            node, below = start, _downstream(children, start)
            while len(liver.intersection(below)) < least and tree.parent[node] > 0:
                node = tree.parent[node]
                below = _downstream(children, node)
            segment.update(below)
    return sorted(segment)


def _flow_kept(
    anatomy: Anatomy,
    children: list[list[int]],
    flows: Sequence[tuple[float, ...]],
    near: list[int],
    segment_kept: float,
) -> Array:
    tree = anatomy.arteries
    kept = np.ones(len(tree))
    territory = np.asarray(tree.territory)
    liver = np.isin(territory, [int(Territory.RIGHT_LIVER), int(Territory.LEFT_LIVER)])
    beside = np.asarray(near, int)
    kept[beside[liver[beside]]] = segment_kept
    for tumour, own in zip(anatomy.tumours, flows, strict=True):
        for entry, start, flow in zip(tumour.entries, tumour.branch_starts, own, strict=True):
            kept[_downstream(children, entry)] = flow
            node = entry
            while node != start and node > 0:
                kept[node] = flow
                node = tree.parent[node]
    return kept


def _segment_oil(anatomy: Anatomy, near: list[int], params: DepositParams, rng: np.random.Generator) -> OilGrid | None:
    # Oil about the liver terminals of the embolised segments, uneven, inside the liver and outside tumours.
    ends = sorted(set(near).intersection(anatomy.liver_terminals))
    if not ends or params.segment_mg_ml == 0:
        return None
    at = np.array([anatomy.arteries.position[e] for e in ends])
    middle = 0.5 * (at.min(axis=0) + at.max(axis=0))
    half = int(np.ceil((0.5 * float(np.ptp(at, axis=0).max()) + 32) / _SEGMENT_STEP_MM))
    count = np.zeros((2 * half,) * 3, np.float32)
    cell = np.floor((at - middle) / _SEGMENT_STEP_MM).astype(int) + half
    np.add.at(count, tuple(cell.T[::-1]), 1.0)
    field = gaussian_filter(count, 9.0 / _SEGMENT_STEP_MM, mode="constant")
    field *= np.exp(np.float32(0.5) * smooth_noise(field.shape, 2.0, rng))
    axis = np.asarray((np.arange(2 * half) - half + 0.5) * _SEGMENT_STEP_MM, dtype=np.float64)
    field *= _inside(anatomy.lobes, middle, axis)
    for tumour in anatomy.tumours:
        field *= ~_inside(tumour.solid, middle, axis)
    if field.max() <= 0:
        return None
    return OilGrid(middle, _SEGMENT_STEP_MM, (field * (params.segment_mg_ml / field.max())).astype(np.float32))


def _inside(solids: Ellipsoids, middle: Array, axis: Array) -> BoolArray:
    found = np.zeros((len(axis),) * 3, bool)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    points = np.stack([x, y, z], axis=-1).astype(np.float32)
    for centre, shape in zip(solids.centre - middle, solids.shape, strict=True):
        mapped = (points - centre.astype(np.float32)) @ shape.T.astype(np.float32)
        found |= np.einsum("zyxi,zyxi->zyx", mapped, mapped) <= 1
    return found


_ORGANS = {
    "gallbladder": (("cystic",), (13.0, 14.0, 26.0)),
    "duodenum": (("gastroduodenal",), (14.0, 14.0, 24.0)),
    "stomach": (("right gastric", "left gastric"), (30.0, 26.0, 40.0)),
}


def _stray_walls(
    tree: Tree,
    children: list[list[int]],
    plan: PatientPlan,
    params: TreatmentParams,
    deposit: DepositParams,
    rng: np.random.Generator,
    body: Body | None,
) -> dict[str, OilGrid]:
    # The farther back the catheter stands, the likelier oil runs into other branches.
    chance = params.non_target * (1.0 if plan.catheter_order <= 2 else 0.4)
    known = {part.name: part.solids for part in body.parts} if body is not None else {}
    walls = {}
    for organ, (branches, radii) in _ORGANS.items():
        reached, amount = rng.random() < chance, deposit.wall_mg * float(np.exp(rng.normal(0, 0.4)))
        at = _end_of(tree, children, branches)
        if not reached or at is None or amount <= 0:
            continue
        solids = known.get(organ)
        wall = _nearest_part(solids, at) if solids is not None else Ellipsoids.aligned(at - [0, radii[1], 0], radii)
        walls[organ] = wall_oil(wall, at, amount)
    return walls


def _nearest_part(solids: Ellipsoids | Tubes, at: Array) -> Ellipsoids:
    # The part of an organ nearest to a point; a stretch of tube counts as the ellipsoid about it.
    if isinstance(solids, Ellipsoids):
        nearest = int(np.argmin(np.linalg.norm(solids.centre - at, axis=1)))
        return Ellipsoids(solids.centre[[nearest]], solids.shape[[nearest]])
    middle = 0.5 * (solids.start + solids.end)
    nearest = int(np.argmin(np.linalg.norm(middle - at, axis=1)))
    along = solids.end[nearest] - solids.start[nearest]
    axis = along / np.linalg.norm(along)
    # Unit sphere of the ellipsoid: the radius across, and along the tube far enough to look straight.
    across = np.eye(3) - np.outer(axis, axis)
    shape = across / solids.radius[nearest] + np.outer(axis, axis) / np.linalg.norm(along)
    return Ellipsoids(middle[[nearest]], shape[None])


def _end_of(tree: Tree, children: list[list[int]], branches: tuple[str, ...]) -> Array | None:
    # Where the first of the named branches ends, away from its origin.
    named = [node for node, name in enumerate(tree.name) if name in branches]
    if not named:
        return None
    below = _downstream(children, named[0])
    origin = tree.position[tree.parent[named[0]]]
    return tree.position[max(below, key=lambda n: float(np.linalg.norm(tree.position[n] - origin)))]


def _new_lesions(anatomy: Anatomy, params: TreatmentParams, rng: np.random.Generator) -> tuple[Lesion, ...]:
    count = int(rng.poisson(params.new_lesions_per_year * params.horizon_days / 365.0))
    days = np.sort(rng.uniform(0.05, 1.0, count) * params.horizon_days)
    taken = [(t.centre_mm, t.radius_mm) for t in anatomy.tumours]
    found: list[Lesion] = []
    for day in days:
        centre = _free_place(anatomy.lobes, taken, params.new_lesion_radius_mm, rng)
        if centre is None:
            break
        taken.append((centre, params.new_lesion_radius_mm))
        found.append(_new_lesion(f"N{len(found) + 1}", centre, float(day), anatomy, params, rng))
    return tuple(found)


def _free_place(
    lobes: Ellipsoids, taken: list[tuple[Array, float]], radius: float, rng: np.random.Generator
) -> Array | None:
    for _ in range(200):
        lobe = int(rng.integers(len(lobes.centre)))
        ball = rng.uniform(-1, 1, 3)
        if (ball**2).sum() > 0.75**2:
            continue
        centre = lobes.centre[lobe] + np.linalg.solve(lobes.shape[lobe], ball)
        if all(np.linalg.norm(centre - c) > 1.4 * r + 2 * radius + 6 for c, r in taken):
            return np.asarray(centre)
    return None


def _new_lesion(
    name: str, centre: Array, day: float, anatomy: Anatomy, params: TreatmentParams, rng: np.random.Generator
) -> Lesion:
    # It resembles the patient's other tumours.
    model = anatomy.tumours[0] if anatomy.tumours else None
    kind = TumourKind.HYPERVASCULAR if model is None or model.kind is TumourKind.RIM else model.kind
    radius = params.new_lesion_radius_mm
    radii = radius * np.exp(rng.normal(0, 0.08, 3))
    native = model.native_hu if model is not None else 48.0
    body = TumourBody(centre, radius, Ellipsoids.aligned(centre, radii), kind, native_hu=native)
    grid = make_grid(body)
    doubling = float(np.exp(rng.uniform(np.log(params.doubling_min_days), np.log(params.doubling_max_days))))
    course = VolumeCourse(0.0, 0.0, 1.0, params.resorption_days, doubling, start_days=day)
    order = _dying_order(grid, None, rng)
    return Lesion(name, body, grid, order, None, Washout(NEVER), (), course, new=True)
