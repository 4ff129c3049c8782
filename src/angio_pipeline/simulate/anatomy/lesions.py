"""Tumours with their feeders and vessels, shunts and bleeding.

What a patient has is drawn once (`plan_lesions`); where it lies is tried until it can be placed
and fed, so that few feeders or small tumours are not favoured for being easy to place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from angio_pipeline.core.errors import ConfigError
from angio_pipeline.core.params import Params
from angio_pipeline.simulate.anatomy.arteries import crosses, route
from angio_pipeline.simulate.anatomy.liver import Liver, inside, points_within, volume_ml
from angio_pipeline.simulate.anatomy.tree import Territory, Tree
from angio_pipeline.simulate.radiograph.projection import Ellipsoids

__all__ = [
    "Bleed",
    "LesionParams",
    "LesionPlan",
    "Shunt",
    "ShuntKind",
    "TumourBody",
    "TumourKind",
    "draw_bleed",
    "draw_shunts",
    "feed",
    "obstacles_of",
    "place",
    "plan_lesions",
]

Array = npt.NDArray[np.float64]

LIVER_HU = 58.0
_LOBES = (int(Territory.RIGHT_LIVER), int(Territory.LEFT_LIVER))


class LesionParams(Params):
    """Tumours, their feeders, shunts and bleeding."""

    tumours_min: int = Field(1, ge=0, le=6, description="least number of main tumours")
    tumours_max: int = Field(2, ge=0, le=6, description="greatest number of main tumours")
    tumour_radius_min_mm: float = Field(11.0, ge=4.0, le=40.0, description="radius of the smallest main tumour")
    tumour_radius_max_mm: float = Field(19.0, ge=4.0, le=40.0, description="radius of the greatest main tumour")
    tumours_at_mm: tuple[tuple[float, float, float], ...] = Field(
        (), max_length=6, description="centres of the main tumours, LPS mm (left, back, head); empty draws them"
    )
    frontal_gap_mm: float = Field(8.0, ge=-80, le=60, description="least gap between tumours as seen from the front")
    rim_share: float = Field(0.15, ge=0, le=1, description="share of tumours with an avascular core")
    hypovascular_share: float = Field(0.05, ge=0, le=1, description="share of tumours that take little contrast")
    daughter_probability: float = Field(0.2, ge=0, le=1, description="chance of daughter nodules near a main tumour")
    daughters_max: int = Field(2, ge=0, le=4, description="most daughter nodules of one main tumour")
    feeders_min: int = Field(1, ge=1, le=4, description="least number of feeders of a main tumour")
    feeders_max: int = Field(2, ge=1, le=4, description="greatest number of feeders of a main tumour")
    feeder_clearance: float = Field(0.5, ge=0.0, le=1.0, description="least share of a feeder clear of larger vessels")
    feeders_other_lobe: float = Field(
        0.15,
        ge=0,
        le=1,
        description="share of further feeders that come from the other lobar artery, where one is in reach",
    )
    tumour_perfusion_per_min: float = Field(
        1.6, ge=0.1, le=6.0, description="ml of arterial blood a minute per ml of hypervascular tumour of 30 mm"
    )
    tumour_transit_s: float = Field(6.0, ge=1, le=30, description="mean transit time of a hypervascular blush")
    arterioportal_probability: float = Field(0.0, ge=0, le=1, description="chance of an arterioportal shunt")
    arteriovenous_probability: float = Field(0.0, ge=0, le=1, description="chance of an arteriovenous shunt")
    shunt_flow_min_ml_s: float = Field(0.3, ge=0.02, le=5, description="least flow through a shunt")
    shunt_flow_max_ml_s: float = Field(1.5, ge=0.02, le=5, description="greatest flow through a shunt")
    bleed_probability: float = Field(0.0, ge=0, le=1, description="chance of extravasation")
    bleed_flow_min_ml_s: float = Field(0.05, ge=0.01, le=3, description="least flow out of a bleeding artery")
    bleed_flow_max_ml_s: float = Field(0.4, ge=0.01, le=3, description="greatest flow out of a bleeding artery")

    @model_validator(mode="after")
    def _shares_of_kinds(self) -> LesionParams:
        if self.rim_share + self.hypovascular_share > 1:
            raise ValueError("rim_share and hypovascular_share must not add up to more than 1")
        return self


class TumourKind(StrEnum):
    """How a tumour takes contrast in the arterial phase."""

    HYPERVASCULAR = "hypervascular"
    RIM = "rim"
    HYPOVASCULAR = "hypovascular"


class ShuntKind(StrEnum):
    """Which vein an arterial shunt opens into."""

    ARTERIOPORTAL = "arterioportal"
    ARTERIOVENOUS = "arteriovenous"


# Perfusion and transit time relative to a hypervascular tumour's; a hypovascular one takes less than liver does.
_PERFUSION = {TumourKind.HYPERVASCULAR: 1.0, TumourKind.RIM: 0.9, TumourKind.HYPOVASCULAR: 0.035}
_TRANSIT = {TumourKind.HYPERVASCULAR: 1.0, TumourKind.RIM: 1.3, TumourKind.HYPOVASCULAR: 1.8}


@dataclass(frozen=True, slots=True, eq=False)
class TumourBody:
    """One tumour.

    Attributes
    ----------
    centre_mm : (3,) LPS; radius_mm : mean radius
    solid : Ellipsoids
        A lobulated body: the union of a few ellipsoids, the greatest first.
    kind : TumourKind
    entries, branch_starts : tuple of int
        Arterial nodes where each feeder enters, and where it leaves a vessel that also feeds liver.
    terminals : tuple of int
        Arterial nodes at which the tumour's own vessels end.
    daughter_of : int or None
        Index of the main tumour that a daughter nodule belongs to.
    core : Ellipsoids or None
        The avascular core of a rim-enhancing tumour.
    perfusion_per_min : float
        ml of arterial blood a minute per ml of perfused tissue.
    transit_s : float
        Mean transit time of the blush.
    native_hu : float
        Attenuation on plain CT.
    """

    centre_mm: Array
    radius_mm: float
    solid: Ellipsoids
    kind: TumourKind
    entries: tuple[int, ...] = ()
    branch_starts: tuple[int, ...] = ()
    terminals: tuple[int, ...] = ()
    daughter_of: int | None = None
    core: Ellipsoids | None = None
    perfusion_per_min: float = 1.6
    transit_s: float = 6.0
    native_hu: float = 50.0

    def reach_mm(self) -> float:
        """Return the distance from the centre within which the whole body lies."""
        away = np.linalg.norm(self.solid.centre - self.centre_mm, axis=1)
        return float((away + self.solid.radii_mm()).max())

    def perfused_ml(self) -> float:
        """Return the volume that takes blood: all but the core."""
        core = 0.0 if self.core is None else float(4e-3 / 3 * np.pi / np.linalg.det(self.core.shape[0]))
        return volume_ml(self.solid, 1.05 * self.reach_mm()) - core


@dataclass(frozen=True, slots=True, eq=False)
class Shunt:
    """An artery that opens into a vein.

    Attributes
    ----------
    artery_node : int
        Terminal of `Territory.SHUNT` among the arteries.
    vein_node : int
        Node of the portal (arterioportal) or hepatic (arteriovenous) tree that it opens into.
    at_mm : (3,) LPS
    """

    kind: ShuntKind
    artery_node: int
    vein_node: int
    at_mm: Array
    flow_ml_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Bleed:
    """Extravasation from an arterial terminal of `Territory.BLEED`."""

    artery_node: int
    at_mm: Array
    flow_ml_s: float


@dataclass(frozen=True, slots=True, eq=False)
class LesionPlan:
    """What one tumour shall be, before it has a place."""

    kind: TumourKind
    radius_mm: float
    feeders: int
    other_lobe: tuple[bool, ...]
    daughter_of: int | None = None
    at_mm: Array | None = None


def plan_lesions(params: LesionParams, rng: np.random.Generator) -> tuple[LesionPlan, ...]:
    """Return the tumours a patient shall have: main ones first, then their daughter nodules."""
    fixed = [np.asarray(at, float) for at in params.tumours_at_mm]
    drawn = int(rng.integers(params.tumours_min, params.tumours_max + 1))
    plans = []
    for k in range(len(fixed) or drawn):
        radius = float(rng.uniform(params.tumour_radius_min_mm, params.tumour_radius_max_mm))
        feeders = int(rng.integers(params.feeders_min, params.feeders_max + 1))
        other = tuple(bool(v) for v in rng.random(feeders) < params.feeders_other_lobe)
        plans.append(LesionPlan(_kind(params, rng), radius, feeders, other, None, fixed[k] if fixed else None))
    # Great tumours are placed first: they find room least easily.
    plans.sort(key=lambda plan: -plan.radius_mm)
    for k, plan in enumerate(tuple(plans)):
        if params.daughters_max and rng.random() < params.daughter_probability:
            for _ in range(int(rng.integers(1, params.daughters_max + 1))):
                radius = float(rng.uniform(2.5, max(3.0, min(8.0, 0.4 * plan.radius_mm))))
                plans.append(replace(plan, radius_mm=radius, feeders=1, other_lobe=(False,), daughter_of=k, at_mm=None))
    return tuple(plans)


def _kind(params: LesionParams, rng: np.random.Generator) -> TumourKind:
    shares = [1 - params.rim_share - params.hypovascular_share, params.rim_share, params.hypovascular_share]
    return list(TumourKind)[int(rng.choice(3, p=np.clip(shares, 0, 1) / sum(np.clip(shares, 0, 1))))]


def place(
    plans: tuple[LesionPlan, ...], liver: Liver, hubs: Array, params: LesionParams, rng: np.random.Generator
) -> tuple[TumourBody, ...] | None:
    """Return the planned tumours in places inside the liver, None when there is no room.

    Tumours keep clear of each other, of each other's shadow by `frontal_gap_mm`, and of `hubs` (K, 3),
    the points at which the great vessels enter the liver.

    Raises
    ------
    ConfigError
        When a tumour of `tumours_at_mm` does not lie in the liver.
    """
    bodies: list[TumourBody] = []
    for plan in plans:
        main = None if plan.daughter_of is None else bodies[plan.daughter_of]
        if plan.at_mm is not None:
            centre: Array | None = _fixed(plan, bodies, liver, hubs)
        else:
            centre = _free(plan, main, bodies, liver, hubs, params, rng)
        if centre is None:
            return None
        bodies.append(_make_body(plan, centre, params, rng))
    return tuple(bodies)


def _fixed(plan: LesionPlan, bodies: list[TumourBody], liver: Liver, hubs: Array) -> Array:
    at, radius = np.asarray(plan.at_mm), plan.radius_mm
    found = f"{at.tolist()} with a radius of {radius:.0f} mm"
    if not lies_in(liver, at, radius, 0.6):
        raise ConfigError(
            f"Expected every centre of tumours_at_mm to lie in the liver, found {found} outside it; "
            "move it or make it smaller."
        )
    if not _clear_of(hubs, at, radius):
        raise ConfigError(
            f"Expected every centre of tumours_at_mm to be clear of the great vessels at the porta, found {found} "
            "on them; move it or make it smaller."
        )
    if any(np.linalg.norm(at - b.centre_mm) < radius + b.radius_mm for b in bodies):
        raise ConfigError(
            f"Expected the centres of tumours_at_mm to be apart, found {found} overlapping another; "
            "move it or make it smaller."
        )
    return at


def _clear_of(hubs: Array, centre: Array, radius: float) -> bool:
    return bool((np.linalg.norm(hubs - centre, axis=1) > 1.08 * radius + 5).all())


def _free(
    plan: LesionPlan,
    main: TumourBody | None,
    bodies: list[TumourBody],
    liver: Liver,
    hubs: Array,
    params: LesionParams,
    rng: np.random.Generator,
) -> Array | None:
    radius = plan.radius_mm
    for attempt in range(160):
        if main is None:
            centre = points_within(liver.lobes, 1, rng, 0.9)[0]
        else:
            outward = rng.normal(size=3)
            gap = rng.uniform(5, 8 + 0.15 * attempt)
            centre = main.centre_mm + outward / np.linalg.norm(outward) * (main.radius_mm + radius + gap)
        gap, shadow = (5.0, min(2.0, params.frontal_gap_mm)) if main is not None else (9.0, params.frontal_gap_mm)
        if main is not None and attempt >= 80:
            shadow = -80.0
        apart = all(np.linalg.norm(centre - b.centre_mm) > radius + b.radius_mm + gap for b in bodies)
        seen = all(np.hypot(*(centre - b.centre_mm)[[0, 2]]) > radius + b.radius_mm + shadow for b in bodies)
        if apart and seen and _clear_of(hubs, centre, radius) and lies_in(liver, centre, radius):
            return np.asarray(centre)
    return None


def lies_in(liver: Liver, centre: Array, radius: float, share: float = 0.93) -> bool:
    """Return whether at least `share` of a ball lies in the liver, its centre in any case."""
    k = np.arange(200) + 0.5
    z, angle = 1 - k / 100, np.pi * (1 + 5**0.5) * k
    shell = np.stack([np.sqrt(1 - z**2) * np.cos(angle), np.sqrt(1 - z**2) * np.sin(angle), z], axis=1)
    ball = centre + radius * shell * np.cbrt((k * 7 % 200) / 200)[:, None]
    held = inside(liver.lobes, np.vstack([centre, ball]))
    return bool(held[0] and held[1:].mean() >= share)


def _make_body(plan: LesionPlan, centre: Array, params: LesionParams, rng: np.random.Generator) -> TumourBody:
    solid = _lobulated(centre, plan.radius_mm, rng)
    core = None
    if plan.kind is TumourKind.RIM:
        core = Ellipsoids(solid.centre[:1], solid.shape[:1] / rng.uniform(0.55, 0.75))
    # Great tumours are perfused less for their volume.
    size = (15.0 / max(plan.radius_mm, 15.0)) ** 0.5
    return TumourBody(
        centre,
        plan.radius_mm,
        solid,
        plan.kind,
        daughter_of=plan.daughter_of,
        core=core,
        perfusion_per_min=float(
            params.tumour_perfusion_per_min * _PERFUSION[plan.kind] * size * np.exp(rng.normal(0, 0.15))
        ),
        transit_s=float(params.tumour_transit_s * _TRANSIT[plan.kind] * np.exp(rng.normal(0, 0.15))),
        native_hu=float(LIVER_HU - rng.uniform(0, 25)),
    )


def _lobulated(centre: Array, radius: float, rng: np.random.Generator, bumps: int = 4) -> Ellipsoids:
    radii = 0.93 * radius * np.exp(rng.normal(0, 0.07, (1, 3)))
    outward = rng.normal(size=(bumps, 3))
    outward /= np.linalg.norm(outward, axis=1)[:, None]
    size = radius * rng.uniform(0.42, 0.6, (bumps, 1))
    away = centre + outward * (1.02 * radius - size)
    around = size * np.exp(rng.normal(0, 0.1, (bumps, 3)))
    return Ellipsoids.aligned(np.vstack([centre, away]), np.vstack([radii, around]))


def obstacles_of(bodies: tuple[TumourBody, ...], margin_mm: float = 2.5) -> Array:
    """Return (M, 4) the spheres around tumours that other vessels keep out of."""
    return np.array([[*b.centre_mm, b.reach_mm() + margin_mm] for b in bodies]).reshape(-1, 4)


def feed(
    tree: Tree,
    bodies: tuple[TumourBody, ...],
    plans: tuple[LesionPlan, ...],
    params: LesionParams,
    rng: np.random.Generator,
    *,
    strict: bool = True,
) -> tuple[TumourBody, ...] | None:
    """Return the tumours joined to the arteries by as many feeders as planned, None when that fails.

    Unless `strict`, feeders that run along larger vessels are accepted after all others.
    """
    spheres = obstacles_of(bodies, 0.5)
    fed = []
    for index, (body, plan) in enumerate(zip(bodies, plans, strict=True)):
        others = np.delete(spheres, index, axis=0)
        flow = body.perfused_ml() * body.perfusion_per_min / 60
        entries: list[int] = []
        starts: list[int] = []
        terminals: list[int] = []
        parts = rng.dirichlet(np.full(plan.feeders, 6.0)) if plan.feeders > 1 else np.ones(1)
        for k, part in enumerate(np.sort(parts)[::-1]):
            fork = _choose_fork(tree, body, starts, others, plan.other_lobe[k], params, strict, rng)
            if fork is None:
                return None
            start = tree.split(*fork)
            starts.append(start)
            entries.append(_lead_feeder(tree, start, index, body, others, rng))
            terminals += _fill_tumour(tree, entries[-1], index, body, float(part) * flow, plan.feeders > 1, rng)
        fed.append(replace(body, entries=tuple(entries), branch_starts=tuple(starts), terminals=tuple(terminals)))
    return tuple(fed)


@dataclass(frozen=True, slots=True)
class _Reach:
    # How far off and how differently from its fellows a feeder may come.
    nearest_mm: float
    farthest_mm: float
    alike: float
    depth: float
    clearance: float


def _choose_fork(
    tree: Tree,
    body: TumourBody,
    starts: list[int],
    others: Array,
    other_lobe: bool,
    params: LesionParams,
    strict: bool,
    rng: np.random.Generator,
) -> tuple[int, Array] | None:
    # Wishes are given up one after the other: distance and angle first, the clear course last.
    clear = params.feeder_clearance
    reaches = [_Reach(9, 50, 0.5, 0.8, clear), _Reach(6, 65, 0.75, 0.9, clear), _Reach(4, 90, 0.88, 1.0, clear)]
    if not strict:
        reaches += [_Reach(4, 90, 0.88, 1.0, 0.5 * clear), _Reach(2, 120, 0.95, 1.0, 0.0)]
    ideal = float(rng.uniform(14, 28))
    lobes = {tree.territory[start] for start in starts}
    sides = [[t for t in _LOBES if t not in lobes], list(_LOBES)] if starts and other_lobe else [list(_LOBES)]
    forks = _candidates(tree, rng)
    for side in sides:
        for reach in reaches:
            found = _first_fit(tree, forks, body, starts, others, side, reach, ideal)
            if found is not None:
                return found
    return None


@dataclass(frozen=True, slots=True, eq=False)
class _Forks:
    # Places (K, 3) on edges (K,) of territories (K,), and the larger vessels (V, 2) as seen from the front.
    edge: npt.NDArray[np.int64]
    at: Array
    territory: npt.NDArray[np.int64]
    start: Array
    end: Array


def _candidates(tree: Tree, rng: np.random.Generator) -> _Forks:
    # Places along branches that themselves supply liver and are worth seeing.
    position, parent = np.asarray(tree.position), np.asarray(tree.parent)
    flow, territory = np.asarray(tree.flow), np.asarray(tree.territory)
    edges = np.repeat(np.flatnonzero(np.isin(territory, _LOBES) & (flow > 0.09)), 2)
    above = position[parent[edges]]
    share = rng.uniform(0.2, 0.8, (len(edges), 1))
    larger = np.flatnonzero((parent >= 0) & (flow > 0.084))
    start, end = position[parent[larger]][:, [0, 2]], position[larger][:, [0, 2]]
    return _Forks(edges, above + share * (position[edges] - above), territory[edges], start, end)


def _first_fit(
    tree: Tree,
    forks: _Forks,
    body: TumourBody,
    starts: list[int],
    others: Array,
    side: list[int],
    reach: _Reach,
    ideal_mm: float,
) -> tuple[int, Array] | None:
    toward = forks.at - body.centre_mm
    away = np.linalg.norm(toward, axis=1)
    toward = toward / away[:, None]
    gap = away - body.radius_mm
    good = (gap > reach.nearest_mm) & (gap < reach.farthest_mm) & (np.abs(toward[:, 1]) < reach.depth)
    good &= np.isin(forks.territory, side)
    for start in starts:
        own = tree.position[start] - body.centre_mm
        good &= toward @ (own / np.linalg.norm(own)) < reach.alike
    kept = np.flatnonzero(good)
    for k in kept[np.argsort(np.abs(gap[kept] - ideal_mm), kind="stable")]:
        rim = body.centre_mm + body.radius_mm * toward[k]
        if crosses(forks.at[k], rim, others):
            continue
        if reach.clearance <= 0 or _clear_share(forks, forks.at[k], rim) >= reach.clearance:
            return int(forks.edge[k]), forks.at[k]
    return None


def _clear_share(forks: _Forks, start: Array, end: Array) -> float:
    # Share of a straight course that, seen from the front, lies 3 mm or more from larger vessels.
    steps = np.linspace(0.15, 1.0, 12)[:, None]
    course = (start + steps * (end - start))[:, [0, 2]]
    direction = forks.end - forks.start
    along = ((course[:, None] - forks.start) * direction).sum(axis=2) / np.maximum((direction**2).sum(axis=1), 1e-9)
    nearest = forks.start + np.clip(along, 0, 1)[..., None] * direction
    return float((np.linalg.norm(nearest - course[:, None], axis=2).min(axis=1) > 3.0).mean())


def _lead_feeder(tree: Tree, start: int, index: int, body: TumourBody, others: Array, rng: np.random.Generator) -> int:
    # The feeder leaves its parent half onwards, half towards the tumour, and ends on the tumour's rim.
    fork, above = tree.position[start], tree.position[tree.parent[start]]
    toward = (fork - body.centre_mm) / np.linalg.norm(fork - body.centre_mm)
    onward = (fork - above) / max(float(np.linalg.norm(fork - above)), 1e-9)
    course = route(fork, 0.5 * onward - toward, body.centre_mm + body.radius_mm * toward, others, rng)
    return tree.path(start, course, Territory.FEEDER, index)


def _fill_tumour(
    tree: Tree, entry: int, index: int, body: TumourBody, flow: float, shared: bool, rng: np.random.Generator
) -> list[int]:
    # Vessels of its own for each feeder, mostly on its own side, and none in an avascular core.
    count = int(np.clip(14 + body.radius_mm, 16, 48) * (0.5 if body.kind is TumourKind.HYPOVASCULAR else 1.0))
    toward = (tree.position[entry] - body.centre_mm) / body.radius_mm
    ball = points_within(body.solid, 8 * count, rng, 0.94)
    hollow = np.zeros((0, 4))
    if body.core is not None:
        ball = ball[~inside(body.core, ball, 1.04)]
        hollow = np.array([[*body.centre_mm, 0.9 / np.linalg.svd(body.core.shape[0], compute_uv=False)[0]]])
    if shared:
        side = (ball - body.centre_mm) @ toward / body.radius_mm
        ball = ball[side > rng.uniform(-0.9, 0.3, len(ball))]
    own = ball[:count]
    draw = flow / (len(own) + 1)
    ends = _basket(tree, entry, index, body, draw, rng)
    ends += tree.grow(own, draw, Territory.TUMOUR, tumour=index, group=entry, obstacles=hollow)
    # What could not be reached leaves its share to those that were.
    _spread_flow(tree, ends, flow)
    return ends


def _basket(tree: Tree, entry: int, index: int, body: TumourBody, draw: float, rng: np.random.Generator) -> list[int]:
    # A feeder divides at the rim into two or three arteries that embrace the tumour under its surface,
    # and one that enters it where it has no core.
    toward = (tree.position[entry] - body.centre_mm) / body.radius_mm
    ends = []
    if body.core is None:
        inner = body.centre_mm + np.array([[0.75], [0.5], [0.2]]) * body.radius_mm * toward
        inner += rng.normal(0, 0.08 * body.radius_mm, inner.shape)
        ends.append(tree.path(entry, inner, Territory.TUMOUR, index, group=entry))
    turn = rng.uniform(0, 2 * np.pi)
    count = int(rng.integers(2, 4))
    side = np.cross(toward, [0.3, 0.5, 0.8])
    side /= np.linalg.norm(side)
    for k in range(count):
        way = turn + 2 * np.pi * (k + rng.uniform(-0.25, 0.25)) / count
        across = np.cos(way) * side + np.sin(way) * np.cross(toward, side)
        angle = np.arange(0.35, rng.uniform(1.0, 2.3), 0.35)[:, None]
        depth = rng.uniform(0.78, 0.9, angle.shape)
        arc = body.centre_mm + depth * body.radius_mm * (np.cos(angle) * toward + np.sin(angle) * across)
        ends.append(tree.path(entry, arc, Territory.TUMOUR, index, group=entry))
    for end in ends:
        tree.supply(end, draw)
    return ends


def _spread_flow(tree: Tree, ends: list[int], flow: float) -> None:
    missing = flow - sum(tree.flow[end] for end in ends)
    if abs(missing) > 1e-12 * flow:
        for end in ends:
            tree.supply(end, missing / len(ends))


def draw_shunts(
    arteries: Tree,
    portal: Tree,
    hepatic: Tree,
    bodies: tuple[TumourBody, ...],
    params: LesionParams,
    rng: np.random.Generator,
) -> tuple[Shunt, ...]:
    """Return the patient's shunts, each joined to the arteries and opening into a vein near it."""
    found = []
    wanted = (
        (ShuntKind.ARTERIOPORTAL, portal, params.arterioportal_probability),
        (ShuntKind.ARTERIOVENOUS, hepatic, params.arteriovenous_probability),
    )
    for kind, veins, probability in wanted:
        chance, flow = rng.random(), float(rng.uniform(params.shunt_flow_min_ml_s, params.shunt_flow_max_ml_s))
        if chance < probability:
            found.append(_join_vein(arteries, veins, kind, flow, bodies, rng))
    return tuple(found)


def _join_vein(
    arteries: Tree,
    veins: Tree,
    kind: ShuntKind,
    flow: float,
    bodies: tuple[TumourBody, ...],
    rng: np.random.Generator,
) -> Shunt:
    # Nearest pairs of an arterial branch and a vein that carries more than the shunt, by preference
    # close to a tumour: most shunts lie there.
    position, parent = np.asarray(arteries.position), np.asarray(arteries.parent)
    edges = np.flatnonzero(np.isin(arteries.territory, _LOBES) & (np.asarray(arteries.flow) > 0.06))
    fork = 0.5 * (position[edges] + position[parent[edges]])
    vein_at, vein_flow = np.asarray(veins.position), np.asarray(veins.flow)
    of_liver = np.isin(veins.territory, _LOBES)
    # No more than a liver vein can take.
    flow = min(flow, 0.6 * float(vein_flow[of_liver].max()))
    wide = np.flatnonzero((vein_flow > 1.5 * flow) & of_liver)
    distance = np.linalg.norm(fork[:, None] - vein_at[wide], axis=2)
    cost = np.abs(distance - 9.0) + 2.0 * vein_flow[wide] + rng.uniform(0, 6, distance.shape)
    if bodies:
        body = bodies[int(rng.integers(len(bodies)))]
        cost += 0.3 * np.abs(np.linalg.norm(fork - body.centre_mm, axis=1) - body.radius_mm - 6)[:, None]
    spheres = obstacles_of(bodies, 0.5)
    for flat in np.argsort(cost, axis=None, kind="stable")[:200]:
        i, j = np.unravel_index(flat, cost.shape)
        if not crosses(fork[i], vein_at[wide[j]], spheres):
            break
    start = arteries.split(int(edges[i]), fork[i])
    node = int(wide[j])
    course = route(fork[i], vein_at[node] - fork[i], vein_at[node], spheres, rng, 4.0)
    course[-1] = vein_at[node]
    end = arteries.path(start, course, Territory.SHUNT)
    arteries.supply(end, flow)
    return Shunt(kind, end, node, vein_at[node].copy(), flow)


def draw_bleed(
    arteries: Tree, bodies: tuple[TumourBody, ...], params: LesionParams, rng: np.random.Generator
) -> Bleed | None:
    """Return a bleeding branch joined to the arteries, or None."""
    chance, flow = rng.random(), float(rng.uniform(params.bleed_flow_min_ml_s, params.bleed_flow_max_ml_s))
    if chance >= params.bleed_probability:
        return None
    position, parent = np.asarray(arteries.position), np.asarray(arteries.parent)
    carried = np.asarray(arteries.flow)
    edges = np.flatnonzero(np.isin(arteries.territory, _LOBES) & (carried > 0.04) & (carried < 0.4))
    edge = int(rng.choice(edges))
    fork = 0.5 * (position[edge] + position[parent[edge]])
    spheres = obstacles_of(bodies, 0.5)
    for _ in range(30):
        outward = rng.normal(size=3)
        at = fork + rng.uniform(7, 12) * outward / np.linalg.norm(outward)
        if not crosses(fork, at, spheres):
            break
    end = arteries.path(arteries.split(edge, fork), np.array([0.5 * (fork + at), at]), Territory.BLEED)
    arteries.supply(end, flow)
    return Bleed(end, at, flow)
