"""The patient's liver, arteries and tumours, in LPS millimetres about the C-arm's isocentre.

Order of making: liver, trunk to the porta, tumours where they can be fed, the liver's tree
around the tumours, feeders from branches that also supply liver, and vessels inside tumours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.errors import ConfigError
from angio_pipeline.core.params import Params
from angio_pipeline.simulate.devices import Catheter, Devices
from angio_pipeline.simulate.lesions import Bleed, Shunt, ShuntKind, TumourBody, TumourKind
from angio_pipeline.simulate.projection import Ellipsoids, Tubes
from angio_pipeline.simulate.tree import Territory, Tree

__all__ = [
    "Anatomy",
    "AnatomyParams",
    "Bleed",
    "Catheter",
    "Devices",
    "Shunt",
    "ShuntKind",
    "TumourBody",
    "TumourKind",
    "build_anatomy",
]

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
class Anatomy:
    """One patient's liver, vessels and lesions, LPS mm.

    Attributes
    ----------
    lobes : Ellipsoids
        Right and left lobe, then caudate lobe and others; the liver is their union.
    arteries : Tree
        Node 0 lies in the aorta, with edges to the celiac trunk and the superior mesenteric artery.
    portal : Tree
        Node 0 is the splenomesenteric confluence; flow runs away from it.
    hepatic : Tree
        Node 0 lies in the cava; flow runs to it.
    variant : int
        Michels' type, 1 to 10.
    liver_terminals, spleen_terminals : tuple of int
        Nodes of the arteries.
    """

    lobes: Ellipsoids
    arteries: Tree
    portal: Tree
    hepatic: Tree
    tumours: tuple[TumourBody, ...]
    shunts: tuple[Shunt, ...]
    bleed: Bleed | None
    devices: Devices
    variant: int
    liver_terminals: tuple[int, ...]
    portal_terminals: tuple[int, ...]
    hepatic_terminals: tuple[int, ...]
    spleen_terminals: tuple[int, ...]
    catheter_mm: Array

    @property
    def tree(self) -> Tree:
        """The arteries (their former name)."""
        return self.arteries

    @property
    def root_flow_ml_s(self) -> float:
        """Factor from the tree's flow to ml/s: one, since it is in ml/s."""
        return 1.0

    def place_catheter(self, order: int, toward: int | None = None) -> Catheter:
        """Return a catheter with its tip at a branch of `order` on the way to tumour `toward`."""
        return Catheter(0, self.catheter_mm, order)


def build_anatomy(params: AnatomyParams, rng: np.random.Generator) -> Anatomy:
    """Return one patient's anatomy.

    Raises
    ------
    ConfigError
        When no tumour of the requested size can be placed and fed.
    """
    if params.tumours_min > params.tumours_max or params.feeders_min > params.feeders_max:
        raise ConfigError("Expected tumours_min and feeders_min not above tumours_max and feeders_max; correct them.")
    if params.tumour_radius_min_mm > params.tumour_radius_max_mm:
        raise ConfigError("Expected tumour_radius_min_mm not above tumour_radius_max_mm; correct one of them.")
    for _ in range(20):
        anatomy = _attempt(params, rng)
        if anatomy is not None:
            return anatomy
    raise ConfigError(
        "Expected room in the liver for tumours_max tumours of tumour_radius_max_mm with feeders_max feeders, "
        "found none in twenty tries; ask for fewer or smaller ones."
    )


def _attempt(params: AnatomyParams, rng: np.random.Generator) -> Anatomy | None:
    lobes = _lobes(rng)
    tree, ends, catheter = _trunk(rng)
    bodies = _place_tumours(lobes, params, rng)
    if bodies is None:
        return None
    terminals = _grow_liver(tree, ends, lobes, bodies, params, rng)
    fed = []
    for index, body in enumerate(bodies):
        joined = _feed(tree, index, body, params, rng)
        if joined is None:
            return None
        fed.append(joined)
    for terminal in terminals:
        _sprout(tree, terminal, params.twigs_per_terminal, rng)
    tree.flow = [ROOT_FLOW_ML_S * f for f in tree.flow]
    portal, portal_ends = _veins((20.0, 20.0, -40.0), (-8.0, 10.0, -4.0), lobes, 18.0, rng)
    hepatic, hepatic_ends = _veins((20.0, 44.0, 70.0), (14.0, 36.0, 60.0), lobes, 24.0, rng)
    none = Tubes(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0))
    return Anatomy(
        lobes, tree, portal, hepatic, tuple(fed), (), None, Devices(none, none), 1,
        tuple(terminals), portal_ends, hepatic_ends, (), catheter,
    )  # fmt: skip


def _veins(
    root: tuple[float, float, float],
    hilum: tuple[float, float, float],
    lobes: Ellipsoids,
    flow: float,
    rng: np.random.Generator,
) -> tuple[Tree, tuple[int, ...]]:
    tree = Tree(root, 2.3)
    start = tree.add(0, hilum, Territory.TRUNK)
    points = np.array([_point_in(lobes, rng, 0.9) for _ in range(60)])
    first = tree.add(start, points[0], Territory.RIGHT_LIVER)
    tree.supply(first, flow / 60)
    return tree, (first, *tree.grow(points[1:], flow / 60, Territory.RIGHT_LIVER))


# Through the common hepatic artery; what is not for the liver goes to stomach, pancreas and gallbladder.
ROOT_FLOW_ML_S = 7.0
_OTHER_SHARE = 0.23


def inside(solids: Ellipsoids, points: Array, scale: float = 1.0) -> npt.NDArray[np.bool_]:
    """Return (N,) whether each point lies in any of the solids shrunk (or grown) by `scale`."""
    offset = np.einsum("kij,nkj->nki", solids.shape, points[:, None] - solids.centre)
    return np.asarray(((offset**2).sum(axis=2) <= scale**2).any(axis=1))


def volume_ml(solids: Ellipsoids, reach_mm: float) -> float:
    """Return the volume of the union of solids that lie within `reach_mm` of the first one's centre."""
    axis = np.linspace(-reach_mm, reach_mm, 33)
    grid = np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(-1, 3) + solids.centre[0]
    return float(inside(solids, grid).mean() * (2 * reach_mm) ** 3 / 1000)


def _lobes(rng: np.random.Generator) -> Ellipsoids:
    centre = np.array([[-42.0, 6.0, 6.0], [26.0, -26.0, 24.0]]) + rng.normal(0, 2.0, (2, 3))
    radii = np.array([[60.0, 56.0, 76.0], [58.0, 34.0, 42.0]]) * rng.uniform(0.94, 1.06, (2, 3))
    return Ellipsoids.aligned(centre, radii)


def _trunk(rng: np.random.Generator) -> tuple[Tree, list[int], Array]:
    # Root is the catheter's tip in the common hepatic artery; the gastroduodenal artery and
    # small gastric and cystic branches are the non-targets of every selective injection.
    def around(*points: tuple[float, float, float]) -> Array:
        return np.asarray(points) + rng.normal(0, 1.5, (len(points), 3))

    tip = np.array([27.0, 22.0, -20.0]) + rng.normal(0, 2, 3)
    tree = Tree(tip)
    gda_origin = tree.path(0, around((18, 17, -23), (9, 10, -20)), Territory.TRUNK)
    gda = tree.path(gda_origin, around((7, 3, -34), (9, -4, -50), (6, -10, -68)), Territory.OTHER)
    omental = around((14, -16, -84), (34, -24, -95), (60, -26, -92), (82, -22, -80), (100, -16, -66))
    pancreatic = around((-6, -2, -78), (-14, 4, -92), (-8, 8, -106), (4, 10, -116))
    far = [tree.path(gda, omental, Territory.OTHER), tree.path(gda, pancreatic, Territory.OTHER)]
    proper = tree.path(gda_origin, around((2, 6, -12), (-5, 4, -3)), Territory.TRUNK)
    gastric = tree.path(proper, around((8, -8, -8), (22, -16, -14), (38, -18, -10)), Territory.OTHER)
    right = tree.path(proper, around((-15, 8, 0), (-27, 8, -1)), Territory.TRUNK)
    left = tree.path(proper, around((-2, -6, 9), (6, -15, 18)), Territory.TRUNK)
    cystic = tree.path(right, around((-27, -6, -14), (-32, -20, -28)), Territory.OTHER)
    for node, share in zip((*far, gastric, cystic), (0.07, 0.05, 0.02, 0.02), strict=True):
        tree.supply(node, share)
        _sprout(tree, node, 3, rng)
    _side_branches(tree, [gda, *far], _OTHER_SHARE - 0.16, rng)
    aorta = np.array([[48.0, 44.0, -180.0], [49.0, 43.0, -120.0], [49.0, 42.0, -60.0], [48.0, 40.0, -24.0]])
    bend = np.array([[43.0, 34.0, -11.0], [36.0, 27.0, -14.0]])
    return tree, [right, left], np.vstack([aorta, bend, tip])


def _side_branches(tree: Tree, ends: list[int], share: float, rng: np.random.Generator) -> None:
    # Gastric, duodenal and pancreatic twigs along the gastroduodenal artery and its branches.
    along = []
    for end in ends:
        node = end
        while tree.parent[node] > 0 and tree.territory[node] == int(Territory.OTHER):
            along.append(node)
            node = tree.parent[node]
    nodes = sorted(set(along))
    for node in nodes:
        heading = tree.position[node] - tree.position[tree.parent[node]]
        side = np.cross(heading, [0.0, 1.0, 0.0]) * rng.choice([-1.0, 1.0]) + rng.normal(0, 4, 3)
        reach = rng.uniform(8, 16) * side / np.linalg.norm(side)
        twig = tree.add(node, tree.position[node] + reach + 0.3 * heading, Territory.OTHER)
        tree.supply(twig, share / len(nodes))
        _sprout(tree, twig, 3, rng)


def _place_tumours(lobes: Ellipsoids, params: AnatomyParams, rng: np.random.Generator) -> list[TumourBody] | None:
    wanted = int(rng.integers(params.tumours_min, params.tumours_max + 1))
    bodies: list[TumourBody] = []
    for _ in range(400):
        if len(bodies) == wanted:
            return bodies
        radius = float(rng.uniform(params.tumour_radius_min_mm, params.tumour_radius_max_mm))
        centre = _point_in(lobes, rng, scale=0.72)
        clear = all(np.linalg.norm(centre - b.centre_mm) > radius + b.radius_mm + 14 for b in bodies)
        seen_apart = all(np.hypot(*(centre - b.centre_mm)[[0, 2]]) > radius + b.radius_mm + 8 for b in bodies)
        porta = np.linalg.norm(centre - np.array([-8.0, 4.0, 0.0]))
        if clear and seen_apart and porta > radius + 26 and _within(lobes, centre, radius):
            bodies.append(TumourBody(centre, radius, _lobulated(centre, radius, rng), TumourKind.HYPERVASCULAR))
    return None if len(bodies) < wanted else bodies


def _lobulated(centre: Array, radius: float, rng: np.random.Generator, bumps: int = 4) -> Ellipsoids:
    radii = 0.93 * radius * np.exp(rng.normal(0, 0.07, (1, 3)))
    outward = rng.normal(size=(bumps, 3))
    outward /= np.linalg.norm(outward, axis=1)[:, None]
    size = radius * rng.uniform(0.42, 0.6, (bumps, 1))
    away = centre + outward * (1.02 * radius - size)
    around = size * np.exp(rng.normal(0, 0.1, (bumps, 3)))
    return Ellipsoids.aligned(np.vstack([centre, away]), np.vstack([radii, around]))


def _within(lobes: Ellipsoids, centre: Array, radius: float) -> bool:
    directions = np.vstack([np.eye(3), -np.eye(3)])
    return bool(inside(lobes, centre + 0.9 * radius * directions).all())


def _point_in(lobes: Ellipsoids, rng: np.random.Generator, scale: float = 1.0, lobe: int | None = None) -> Array:
    chosen = int(rng.random() < 0.3) if lobe is None else lobe
    while True:
        ball = rng.uniform(-1, 1, 3)
        if (ball**2).sum() <= 1:
            return np.asarray(lobes.centre[chosen] + scale * np.linalg.solve(lobes.shape[chosen], ball))


def _grow_liver(
    tree: Tree,
    ends: list[int],
    lobes: Ellipsoids,
    bodies: list[TumourBody],
    params: AnatomyParams,
    rng: np.random.Generator,
) -> list[int]:
    # Each lobe grows from its own artery: nothing crosses the fissure.
    flow = (1.0 - _OTHER_SHARE) / params.terminals
    left = round(0.3 * params.terminals)
    terminals: list[int] = []
    counts = ((0, params.terminals - left, Territory.RIGHT_LIVER), (1, left, Territory.LEFT_LIVER))
    for lobe, count, territory in counts:
        points = _spread_points(lobes, lobe, bodies, count, rng)
        heart = lobes.centre[lobe] + [0.0, 0.0, 4.0]
        near = int(np.argmin(np.linalg.norm(points - heart, axis=1)))
        stem = tree.add(ends[lobe], points[near], territory)
        tree.supply(stem, flow)
        rest = np.delete(points, near, axis=0)
        terminals += [stem, *tree.grow(rest, flow, territory, penalty=_around_tumours(bodies))]
    return terminals


def _around_tumours(bodies: list[TumourBody]) -> Callable[[Array, Array], Array]:
    # Ordinary branches go round tumours: what runs through one costs thirty times more.
    def penalty(start: Array, end: Array) -> Array:
        blocked = np.zeros(len(start), bool)
        for body in bodies:
            for f in (0.25, 0.5, 0.75, 1.0):
                middle = start + f * (end - start)
                blocked |= np.linalg.norm(middle - body.centre_mm, axis=1) <= body.radius_mm + 4
        return np.where(blocked, 30.0, 1.0)

    return penalty


def _spread_points(
    lobes: Ellipsoids, lobe: int, bodies: list[TumourBody], count: int, rng: np.random.Generator
) -> Array:
    # Best of several candidates, farthest from those chosen: even supply, and the first few
    # points draw the great branches.
    chosen: list[Array] = []
    while len(chosen) < count:
        candidates = np.array([_point_in(lobes, rng, 0.95, lobe) for _ in range(6)])
        for body in bodies:
            candidates = candidates[np.linalg.norm(candidates - body.centre_mm, axis=1) > body.radius_mm + 4]
        if lobe == 1:
            # The right lobe is served first where the two overlap.
            candidates = candidates[~inside(Ellipsoids(lobes.centre[:1], lobes.shape[:1]), candidates, 0.9)]
        if len(candidates) == 0:
            continue
        if chosen:
            gap = np.linalg.norm(candidates[:, None] - np.array(chosen)[None], axis=2).min(axis=1)
            candidates = candidates[np.argsort(-gap, kind="stable")]
        chosen.append(candidates[0])
    return np.array(chosen)


def _feed(
    tree: Tree, index: int, body: TumourBody, params: AnatomyParams, rng: np.random.Generator
) -> TumourBody | None:
    wanted = int(rng.integers(params.feeders_min, params.feeders_max + 1))
    perfused = volume_ml(body.solid, 1.2 * body.radius_mm) * params.tumour_perfusion_per_min / 60
    entries: list[int] = []
    starts: list[int] = []
    terminals: list[int] = []
    directions: list[Array] = []
    for part in rng.dirichlet(np.full(wanted, 6.0)):
        found = _choose_parent(tree, body.centre_mm, body.radius_mm, directions, params, rng)
        if found is None:
            return None
        edge, fork = found
        start = tree.split(edge, fork)
        toward = (fork - body.centre_mm) / np.linalg.norm(fork - body.centre_mm)
        directions.append(toward)
        course = _feeder_course(fork, body.centre_mm + body.radius_mm * toward, rng)
        entries.append(tree.path(start, course, Territory.FEEDER, index))
        starts.append(start)
        share = float(part) * perfused / ROOT_FLOW_ML_S
        terminals += _fill_tumour(tree, entries[-1], index, body, share, wanted > 1, rng)
    return replace(body, entries=tuple(entries), branch_starts=tuple(starts), terminals=tuple(terminals))


def _choose_parent(
    tree: Tree,
    centre: Array,
    radius: float,
    directions: list[Array],
    params: AnatomyParams,
    rng: np.random.Generator,
) -> tuple[int, Array] | None:
    # A parent must itself supply liver beyond the fork, lie at a feeder's distance, and leave a
    # course that in the frontal view does not run along larger vessels (as far as asked for).
    position, parent = np.asarray(tree.position), np.asarray(tree.parent)
    of_liver = np.isin(tree.territory, [int(Territory.RIGHT_LIVER), int(Territory.LEFT_LIVER)])
    liver = np.flatnonzero(of_liver & (np.asarray(tree.flow) > 0.018))
    above = position[parent[liver]]
    fork = above + rng.uniform(0.3, 0.7, (len(liver), 1)) * (position[liver] - above)
    gap = np.linalg.norm(fork - centre, axis=1) - radius
    order = np.argsort(np.abs(gap - rng.uniform(16, 30)), kind="stable")
    for k in order[: max(4, len(order) // 2)]:
        away = (fork[k] - centre) / np.linalg.norm(fork[k] - centre)
        apart = all(float(away @ d) < 0.5 for d in directions)
        if not (9 < gap[k] < 55 and apart and abs(away[1]) < 0.8):
            continue
        if _clear_share(tree, fork[k], centre + radius * away) >= params.feeder_clearance:
            return int(liver[k]), fork[k]
    return None


def _clear_share(tree: Tree, start: Array, end: Array) -> float:
    # Share of a straight course that, seen from the front, lies 3 mm or more from larger vessels.
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
    bow = rng.uniform(0.06, 0.16) * length * side / np.linalg.norm(side)
    return np.array([start + 0.35 * (end - start) + bow, start + 0.7 * (end - start) + 0.6 * bow, end])


def _fill_tumour(
    tree: Tree, entry: int, index: int, body: TumourBody, share: float, shared: bool, rng: np.random.Generator
) -> list[int]:
    count = int(np.clip(14 + body.radius_mm, 16, 40))
    toward = tree.position[entry] - body.centre_mm
    toward = toward / np.linalg.norm(toward)
    ball = rng.normal(size=(count * 6, 3))
    ball = ball / np.linalg.norm(ball, axis=1)[:, None] * np.cbrt(rng.random((count * 6, 1)))
    if shared:
        # Each of several feeders supplies mostly its own side.
        ball = ball[(ball @ toward) > rng.uniform(-0.9, 0.3, len(ball))]
    own = ball[:count]
    first = tree.add(entry, body.centre_mm + 0.4 * body.radius_mm * toward, Territory.TUMOUR, index, entry)
    flow = share / (len(own) + 1)
    tree.supply(first, flow)
    points = body.centre_mm + 0.92 * body.radius_mm * own
    return [first, *tree.grow(points, flow, Territory.TUMOUR, tumour=index, group=entry)]


def _sprout(tree: Tree, terminal: int, twigs: int, rng: np.random.Generator) -> None:
    # Twigs carry the terminal's own flow onwards: nothing is added to the way from the root.
    if twigs < 2:
        return
    territory = Territory(tree.territory[terminal])
    heading = tree.position[terminal] - tree.position[tree.parent[terminal]]
    length = float(np.clip(np.linalg.norm(heading), 6, 16))
    ahead = heading / max(float(np.linalg.norm(heading)), 1e-9)
    ends = [(terminal, tree.flow[terminal], length * 0.7, ahead)]
    while len(ends) < twigs:
        node, flow, reach, ahead = ends.pop(0)
        share = rng.uniform(0.3, 0.7)
        for part in (share, 1 - share):
            turned = ahead + rng.normal(0, 0.55, 3)
            turned /= np.linalg.norm(turned)
            child = tree.add(node, tree.position[node] + reach * turned, territory)
            tree.flow[child] = flow * part
            ends.append((child, flow * part, reach * 0.7, turned))
