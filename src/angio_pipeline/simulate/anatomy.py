"""The patient's liver, arteries and tumours, in LPS millimetres about the C-arm's isocentre.

Order of making: liver, trunk to the porta, tumours where they can be fed, the liver's tree
around the tumours, feeders from branches that also supply liver, and vessels inside tumours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.errors import ConfigError
from angio_pipeline.core.params import Params
from angio_pipeline.simulate.projection import Ellipsoids
from angio_pipeline.simulate.tree import Territory, Tree

__all__ = ["Anatomy", "AnatomyParams", "TumourBody", "build_anatomy"]

Array = npt.NDArray[np.float64]


class AnatomyParams(Params):
    """Size of the tree and of the tumours."""

    terminals: int = Field(140, ge=20, le=2000, description="hepatic terminals grown by least volume")
    twigs_per_terminal: int = Field(4, ge=0, le=16, description="further twigs at each terminal")
    root_radius_mm: float = Field(2.4, ge=1.0, le=5.0, description="common hepatic artery")
    tortuosity: float = Field(0.06, ge=0.0, le=0.3, description="sideways wander, share of branch length")
    tumours_min: int = Field(1, ge=0, le=6)
    tumours_max: int = Field(2, ge=0, le=6)
    tumour_radius_min_mm: float = Field(11.0, ge=4.0, le=40.0)
    tumour_radius_max_mm: float = Field(19.0, ge=4.0, le=40.0)
    feeders_min: int = Field(1, ge=1, le=4)
    feeders_max: int = Field(2, ge=1, le=4)
    feeder_clearance: float = Field(0.5, ge=0.0, le=1.0, description="least share of a feeder clear of larger vessels")
    tumour_perfusion_per_min: float = Field(1.6, ge=0.1, le=6.0, description="ml of arterial blood a minute per ml")


@dataclass(frozen=True, slots=True, eq=False)
class TumourBody:
    """One tumour: centre (3,) and mean radius in mm, its solid, and the tree nodes where feeders enter."""

    centre_mm: Array
    radius_mm: float
    solid: Ellipsoids
    entries: tuple[int, ...]
    branch_starts: tuple[int, ...]

    @property
    def volume_ml(self) -> float:
        """Volume in millilitres."""
        return float(4 / 3 * np.pi / np.linalg.det(self.solid.shape[0]) / 1000)


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """Liver lobes (right, left), the arterial tree, tumours, and the catheter's course (K, 3)."""

    lobes: Ellipsoids
    tree: Tree
    tumours: tuple[TumourBody, ...]
    catheter_mm: Array
    liver_terminals: tuple[int, ...]
    tumour_terminals: tuple[tuple[int, ...], ...]
    root_flow_ml_s: float


def build_anatomy(params: AnatomyParams, rng: np.random.Generator) -> Anatomy:
    """Return one patient's anatomy.

    Raises
    ------
    ConfigError
        When no tumour of the requested size can be placed and fed.
    """
    if params.tumours_min > params.tumours_max or params.feeders_min > params.feeders_max:
        raise ConfigError("Expected tumours_min and feeders_min not above tumours_max and feeders_max; correct them.")
    for _ in range(12):
        anatomy = _attempt(params, rng)
        if anatomy is not None:
            return anatomy
    raise ConfigError(
        "Expected room in the liver for tumours_max tumours of tumour_radius_max_mm with feeders_max feeders, "
        "found none in twelve tries; ask for fewer or smaller ones."
    )


def _attempt(params: AnatomyParams, rng: np.random.Generator) -> Anatomy | None:
    lobes = _lobes(rng)
    tree, ends, catheter = _trunk(lobes, rng)
    bodies = _place_tumours(lobes, params, rng)
    if bodies is None:
        return None
    terminals = _grow_liver(tree, ends, lobes, bodies, params, rng)
    fed = []
    for index, (centre, radius, solid) in enumerate(bodies):
        # 6000 mm³/s at the root: a tumour's share follows from its volume and perfusion.
        volume_ml = 4 / 3 * np.pi / np.linalg.det(solid.shape[0]) / 1000
        share = volume_ml * params.tumour_perfusion_per_min / 60 / ROOT_FLOW_ML_S
        joined = _feed(tree, index, centre, radius, share, params, rng)
        if joined is None:
            return None
        fed.append(joined)
    for terminal in list(terminals):
        _sprout(tree, terminal, params.twigs_per_terminal, rng)
    tumours = tuple(TumourBody(c, r, s, tuple(e), tuple(b)) for (c, r, s), (e, b, _) in zip(bodies, fed, strict=True))
    inner = tuple(tuple(t) for _, _, t in fed)
    return Anatomy(lobes, tree, tumours, catheter, tuple(terminals), inner, ROOT_FLOW_ML_S)


ROOT_FLOW_ML_S = 7.0
_TOTAL_LIVER = 1.0


def _lobes(rng: np.random.Generator) -> Ellipsoids:
    centre = np.array([[-42.0, 6.0, 6.0], [26.0, -26.0, 24.0]]) + rng.normal(0, 2.0, (2, 3))
    radii = np.array([[60.0, 60.0, 76.0], [58.0, 36.0, 42.0]]) * rng.uniform(0.94, 1.06, (2, 3))
    return Ellipsoids.aligned(centre, radii)


def inside(solids: Ellipsoids, points: Array, scale: float = 1.0) -> npt.NDArray[np.bool_]:
    """Return (N,) whether each point lies in any of the solids shrunk (or grown) by `scale`."""
    offset = np.einsum("kij,nkj->nki", solids.shape, points[:, None] - solids.centre)
    return np.asarray(((offset**2).sum(axis=2) <= scale**2).any(axis=1))


def _trunk(lobes: Ellipsoids, rng: np.random.Generator) -> tuple[Tree, list[int], Array]:
    # Root is the catheter's tip in the common hepatic artery; the gastroduodenal artery and
    # small gastric and cystic branches are the non-targets of every selective injection.
    def around(*points: tuple[float, float, float]) -> Array:
        return np.asarray(points) + rng.normal(0, 1.5, (len(points), 3))

    tip = np.array([27.0, 22.0, -20.0]) + rng.normal(0, 2, 3)
    tree = Tree(tip)
    gda_origin = tree.path(0, around((18, 17, -23), (9, 10, -20)), Territory.TRUNK)
    gda = tree.path(gda_origin, around((7, 3, -34), (9, -4, -50), (6, -10, -68)), Territory.OTHER)
    omental = around((14, -16, -84), (34, -24, -95), (60, -26, -92), (82, -22, -80))
    pancreatic = around((-6, -2, -78), (-14, 4, -92), (-8, 8, -106))
    far = [tree.path(gda, omental, Territory.OTHER), tree.path(gda, pancreatic, Territory.OTHER)]
    proper = tree.path(gda_origin, around((2, 6, -12), (-5, 4, -3)), Territory.TRUNK)
    gastric = tree.path(proper, around((8, -8, -8), (22, -16, -14), (38, -18, -10)), Territory.OTHER)
    right = tree.path(proper, around((-15, 8, 0), (-27, 8, -1)), Territory.TRUNK)
    left = tree.path(proper, around((-2, -6, 8), (4, -14, 17)), Territory.TRUNK)
    cystic = tree.path(right, around((-27, -6, -14), (-32, -20, -28)), Territory.OTHER)
    for node, share in ((far[0], 0.10), (far[1], 0.07), (gastric, 0.03), (cystic, 0.03)):
        tree.supply(node, share)
    aorta = np.array([[46.0, 44.0, -180.0], [47.0, 43.0, -120.0], [47.0, 42.0, -60.0], [46.0, 40.0, -24.0]])
    bend = np.array([[43.0, 34.0, -11.0], [36.0, 27.0, -14.0]])
    return tree, [right, left], np.vstack([aorta + [2, 0, 0], bend, tip])


def _place_tumours(
    lobes: Ellipsoids, params: AnatomyParams, rng: np.random.Generator
) -> list[tuple[Array, float, Ellipsoids]] | None:
    wanted = int(rng.integers(params.tumours_min, params.tumours_max + 1))
    bodies: list[tuple[Array, float, Ellipsoids]] = []
    for _ in range(400):
        if len(bodies) == wanted:
            return bodies
        radius = float(rng.uniform(params.tumour_radius_min_mm, params.tumour_radius_max_mm))
        centre = _point_in(lobes, rng, scale=0.72)
        clear = all(np.linalg.norm(centre - c) > radius + r + 14 for c, r, _ in bodies)
        seen_apart = all(np.hypot(*(centre - c)[[0, 2]]) > radius + r + 8 for c, r, _ in bodies)
        porta = np.linalg.norm(centre - np.array([-8.0, 4.0, 0.0]))
        if clear and seen_apart and porta > radius + 26 and _within(lobes, centre, radius):
            radii = radius * np.exp(rng.normal(0, 0.08, 3))
            bodies.append((centre, radius, Ellipsoids.aligned(centre, radii)))
    return None if len(bodies) < wanted else bodies


def _within(lobes: Ellipsoids, centre: Array, radius: float) -> bool:
    directions = np.vstack([np.eye(3), -np.eye(3)])
    return bool(inside(lobes, centre + 0.9 * radius * directions).all())


def _point_in(lobes: Ellipsoids, rng: np.random.Generator, scale: float = 1.0) -> Array:
    while True:
        lobe = int(rng.random() < 0.3)
        ball = rng.uniform(-1, 1, 3)
        if (ball**2).sum() <= 1:
            return np.asarray(lobes.centre[lobe] + scale * np.linalg.solve(lobes.shape[lobe], ball))


def _grow_liver(
    tree: Tree,
    ends: list[int],
    lobes: Ellipsoids,
    bodies: list[tuple[Array, float, Ellipsoids]],
    params: AnatomyParams,
    rng: np.random.Generator,
) -> list[int]:
    flow = (1.0 - 0.23) / params.terminals

    def outside(points: Array) -> npt.NDArray[np.bool_]:
        return np.all([np.linalg.norm(points - c, axis=1) > r + 4 for c, r, _ in bodies], axis=0)

    def penalty(start: Array, end: Array) -> Array:
        middle = np.stack([start + f * (end - start) for f in (0.25, 0.5, 0.75, 1.0)])
        blocked = [~outside(m) for m in middle] if bodies else [np.zeros(len(start), bool)]
        return np.where(np.any(blocked, axis=0), 30.0, 1.0)

    points = _spread_points(lobes, bodies, params.terminals, rng)
    # Seed one stem into each lobe's heart so that growth has something of its own territory to join.
    stems = [(ends[0], lobes.centre[0] + [4, 0, 6]), (ends[1], lobes.centre[1] + [2, 0, 4])]
    terminals = []
    for end, target in stems:
        near = int(np.argmin(np.linalg.norm(points - target, axis=1)))
        node = tree.add(end, points[near], Territory.LIVER)
        tree.supply(node, flow)
        terminals.append(node)
        points = np.delete(points, near, axis=0)
    return terminals + tree.grow(points, flow, Territory.LIVER, penalty=penalty)


def _spread_points(
    lobes: Ellipsoids, bodies: list[tuple[Array, float, Ellipsoids]], count: int, rng: np.random.Generator
) -> Array:
    # Best of several candidates, farthest from those chosen: even supply, and the first few
    # points draw the great branches.
    chosen: list[Array] = []
    while len(chosen) < count:
        candidates = np.array([_point_in(lobes, rng, 0.95) for _ in range(6)])
        for centre, radius, _ in bodies:
            candidates = candidates[np.linalg.norm(candidates - centre, axis=1) > radius + 4]
        if len(candidates) == 0:
            continue
        if chosen:
            gap = np.linalg.norm(candidates[:, None] - np.array(chosen)[None], axis=2).min(axis=1)
            candidates = candidates[np.argsort(-gap, kind="stable")]
        chosen.append(candidates[0])
    return np.array(chosen)


def _feed(
    tree: Tree, index: int, centre: Array, radius: float, share: float, params: AnatomyParams, rng: np.random.Generator
) -> tuple[list[int], list[int], list[int]] | None:
    wanted = int(rng.integers(params.feeders_min, params.feeders_max + 1))
    splits = rng.dirichlet(np.full(wanted, 6.0))
    entries: list[int] = []
    starts: list[int] = []
    terminals: list[int] = []
    directions: list[Array] = []
    for part in splits:
        found = _choose_parent(tree, centre, radius, directions, starts, params, rng)
        if found is None:
            return None
        edge, fork = found
        start = tree.split(edge, fork)
        toward = (fork - centre) / np.linalg.norm(fork - centre)
        directions.append(toward)
        entry = tree.path(start, _feeder_course(fork, centre + radius * toward, rng), Territory.FEEDER, index)
        starts.append(start)
        entries.append(entry)
        terminals += _fill_tumour(tree, entry, index, centre, radius, share * part, rng)
    return entries, starts, terminals


def _choose_parent(
    tree: Tree,
    centre: Array,
    radius: float,
    directions: list[Array],
    starts: list[int],
    params: AnatomyParams,
    rng: np.random.Generator,
) -> tuple[int, Array] | None:
    # A parent must itself supply liver beyond the fork, lie at a feeder's distance, and leave a
    # course that in the frontal view does not run along larger vessels (as far as asked for).
    position, parent = np.asarray(tree.position), np.asarray(tree.parent)
    liver = np.flatnonzero((np.asarray(tree.territory) == int(Territory.LIVER)) & (np.asarray(tree.flow) > 0.02))
    fork = position[parent[liver]] + rng.uniform(0.3, 0.7, (len(liver), 1)) * (
        position[liver] - position[parent[liver]]
    )
    gap = np.linalg.norm(fork - centre, axis=1) - radius
    order = np.argsort(np.abs(gap - rng.uniform(16, 30)), kind="stable")
    for k in order[: max(4, len(order) // 2)]:
        away = (fork[k] - centre) / np.linalg.norm(fork[k] - centre)
        apart = all(float(away @ d) < 0.5 for d in directions)
        if not (9 < gap[k] < 55 and apart and abs(away[1]) < 0.8):
            continue
        if _clear_share(tree, fork[k], centre + radius * away, int(liver[k])) >= params.feeder_clearance:
            return int(liver[k]), fork[k]
    return None


def _clear_share(tree: Tree, start: Array, end: Array, own: int) -> float:
    position, parent = np.asarray(tree.position), np.asarray(tree.parent)
    edges = np.flatnonzero((parent >= 0) & (np.asarray(tree.flow) > 0.012))
    steps = np.linspace(0.15, 1.0, 12)[:, None]
    course = (start + steps * (end - start))[:, [0, 2]]
    a, b = position[parent[edges]][:, [0, 2]], position[edges][:, [0, 2]]
    direction = b - a
    along = np.clip(
        ((course[:, None] - a) * direction).sum(axis=2) / np.maximum((direction**2).sum(axis=1), 1e-9), 0, 1
    )
    distance = np.linalg.norm(a + along[..., None] * direction - course[:, None], axis=2).min(axis=1)
    return float((distance > 3.0).mean())


def _feeder_course(start: Array, end: Array, rng: np.random.Generator) -> Array:
    length = np.linalg.norm(end - start)
    side = np.cross(end - start, rng.normal(size=3))
    side /= np.linalg.norm(side)
    bow = rng.uniform(0.06, 0.16) * length * side
    return np.array([start + 0.35 * (end - start) + bow, start + 0.7 * (end - start) + 0.6 * bow, end])


def _fill_tumour(
    tree: Tree, entry: int, index: int, centre: Array, radius: float, share: float, rng: np.random.Generator
) -> list[int]:
    count = int(np.clip(14 + radius, 16, 40))
    toward = (tree.position[entry] - centre) / np.linalg.norm(tree.position[entry] - centre)
    ball = rng.normal(size=(count * 4, 3))
    ball = ball / np.linalg.norm(ball, axis=1)[:, None] * np.cbrt(rng.random((count * 4, 1)))
    # Each feeder supplies mostly its own side.
    own = ball[(ball @ toward) > rng.uniform(-0.9, 0.3, len(ball))][:count]
    first = tree.add(entry, centre + 0.45 * radius * toward, Territory.TUMOUR, index)
    tree.supply(first, share / (len(own) + 1))
    grown = tree.grow(centre + 0.9 * radius * own, share / (len(own) + 1), Territory.TUMOUR, tumour=index)
    return [first, *grown]


def _sprout(tree: Tree, terminal: int, twigs: int, rng: np.random.Generator) -> None:
    # Twigs carry the terminal's own flow onwards: nothing is added to the way from the root.
    if twigs < 2:
        return
    heading = tree.position[terminal] - tree.position[tree.parent[terminal]]
    length = float(np.clip(np.linalg.norm(heading), 6, 16))
    heading = heading / max(np.linalg.norm(heading), 1e-9)
    ends = [(terminal, tree.flow[terminal], length * 0.7, heading)]
    while len(ends) < twigs:
        node, flow, reach, ahead = ends.pop(0)
        share = rng.uniform(0.3, 0.7)
        for part in (share, 1 - share):
            turned = ahead + rng.normal(0, 0.55, 3)
            turned /= np.linalg.norm(turned)
            child = tree.add(node, tree.position[node] + reach * turned, Territory.LIVER)
            tree.flow[child] = flow * part
            ends.append((child, flow * part, reach * 0.7, turned))
