"""Portal and hepatic veins, grown like the arteries in the same liver and around the same tumours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.simulate.anatomy.arteries import LIVER_ML_S, route
from angio_pipeline.simulate.anatomy.liver import SPLEEN, Liver, points_within, spread_points
from angio_pipeline.simulate.anatomy.tree import Territory, Tree
from angio_pipeline.simulate.radiograph.projection import Ellipsoids

__all__ = ["VeinParams", "Veins", "grow_hepatic", "grow_portal", "lay_tributaries"]

Array = npt.NDArray[np.float64]

PORTAL_ML_S = 18.0
_SPLENIC_VEIN_SHARE = 0.35
_TRIBUTARIES = 90
_PORTAL_TRUNK = ((27.0, 18.0, -46.0), (19.0, 16.0, -35.0), (10.0, 14.0, -24.0), (1.0, 12.0, -14.0), (-7.0, 10.5, -6.0))
_RIGHT_PORTAL = ((-14.0, 10.5, -1.5), (-21.0, 11.0, 0.0))
_LEFT_PORTAL = ((-6.0, 4.0, 1.0), (-1.0, -5.0, 8.0), (6.0, -14.0, 14.0), (14.0, -21.0, 17.0))
_CAVA = (20.0, 44.0, 70.0)
_SPLENIC_VEIN = (
    (38.0, 22.0, -39.0), (52.0, 29.0, -31.0), (68.0, 36.0, -22.0), (86.0, 42.0, -13.0), (104.0, 45.0, -3.0),
    (118.0, 43.0, 9.0), (126.0, 41.0, 20.0),
)  # fmt: skip
_MESENTERIC_VEIN = ((28.0, 14.0, -62.0), (27.0, 9.0, -85.0), (24.0, 5.0, -110.0), (18.0, 2.0, -138.0))


class VeinParams(Params):
    """Portal and hepatic veins."""

    portal_radius_mm: float = Field(6.2, ge=3.5, le=10, description="portal trunk")
    hepatic_radius_mm: float = Field(4.6, ge=2.5, le=8, description="a hepatic vein that drains a third of the liver")
    vein_terminals: int = Field(550, ge=20, le=5000, description="ends of the portal and of the hepatic tree each")


@dataclass(frozen=True, slots=True, eq=False)
class Veins:
    """A venous tree and the nodes at which it ends."""

    tree: Tree
    terminals: tuple[int, ...]


def grow_portal(liver: Liver, obstacles: Array, params: VeinParams, rng: np.random.Generator) -> Veins:
    """Return the portal tree from the splenomesenteric confluence; flow runs away from the root."""
    trunk = _near(np.asarray(_PORTAL_TRUNK), rng)
    tree = Tree(trunk[0], float(params.portal_radius_mm / np.cbrt(PORTAL_ML_S)), "confluence")
    hilum = tree.path(0, trunk[1:], Territory.TRUNK, name="portal trunk")
    right_end = tree.path(hilum, _near(np.asarray(_RIGHT_PORTAL), rng), Territory.TRUNK, name="right portal")
    left_end = tree.path(hilum, _near(np.asarray(_LEFT_PORTAL), rng), Territory.TRUNK, name="left portal")
    right, left = Territory.RIGHT_LIVER, Territory.LEFT_LIVER
    grow = _Leader(tree, liver, obstacles, rng)
    front = grow.lead(right_end, 0, (0.08, -0.18, 0.08), right, "right anterior portal")
    back = grow.lead(right_end, 0, (-0.1, 0.33, -0.02), right, "right posterior portal")
    ends = [
        grow.lead(front, 0, (-0.1, -0.48, -0.48), right, "segment 5 portal"),
        grow.lead(front, 0, (0.0, -0.22, 0.58), right, "segment 8 portal"),
        grow.lead(back, 0, (-0.5, 0.22, -0.48), right, "segment 6 portal"),
        grow.lead(back, 0, (-0.4, 0.36, 0.48), right, "segment 7 portal"),
        grow.lead(left_end, 1, (0.45, 0.3, 0.25), left, "segment 2 portal"),
        grow.lead(left_end, 1, (0.48, -0.35, -0.25), left, "segment 3 portal"),
        grow.lead(left_end, 1, (-0.35, -0.4, 0.0), left, "segment 4 portal"),
        grow.lead(tree.parent[left_end], 2, (0.0, -0.1, 0.0), left, "segment 1 portal"),
    ]
    return _fill(grow, ends, tree.position[hilum], PORTAL_ML_S, params.vein_terminals)


def grow_hepatic(liver: Liver, obstacles: Array, params: VeinParams, rng: np.random.Generator) -> Veins:
    """Return the hepatic veins; the root lies in the cava and flow runs to it."""
    flow = PORTAL_ML_S + LIVER_ML_S
    tree = Tree(_near(np.asarray(_CAVA), rng), float(params.hepatic_radius_mm / np.cbrt(flow / 3)), "cava")
    right, left = Territory.RIGHT_LIVER, Territory.LEFT_LIVER
    grow = _Leader(tree, liver, obstacles, rng)
    stems = [
        tree.path(0, _near(np.array([[11.0, 41.0, 67.0]]), rng), Territory.TRUNK, name="right hepatic vein"),
        tree.path(0, _near(np.array([[16.0, 34.0, 65.0]]), rng), Territory.TRUNK, name="middle hepatic vein"),
    ]
    stems.append(
        tree.path(stems[1], _near(np.array([[22.0, 27.0, 60.0]]), rng), Territory.TRUNK, name="left hepatic vein")
        if rng.random() < 0.7
        else tree.path(0, _near(np.array([[23.0, 33.0, 65.0]]), rng), Territory.TRUNK, name="left hepatic vein")
    )
    lateral = grow.lead(stems[0], 0, (-0.3, 0.32, 0.4), right, "right hepatic vein")
    middle = grow.lead(stems[1], 0, (0.35, -0.15, 0.35), right, "middle hepatic vein")
    medial = grow.lead(stems[2], 1, (0.0, 0.2, 0.35), left, "left hepatic vein")
    ends = [
        grow.lead(lateral, 0, (-0.5, 0.2, -0.45), right, "right hepatic vein"),
        grow.lead(middle, 0, (0.1, -0.5, -0.35), right, "middle hepatic vein"),
        grow.lead(medial, 1, (0.5, -0.2, -0.1), left, "left hepatic vein"),
        grow.lead(medial, 1, (-0.3, -0.3, 0.1), left, "left hepatic vein"),
    ]
    return _fill(grow, ends, tree.position[0], flow, params.vein_terminals)


def lay_tributaries(root: Array, params: VeinParams, rng: np.random.Generator) -> Tree:
    """Return splenic and superior mesenteric vein; the root is the confluence and flow runs to it."""
    tree = Tree(root, float(params.portal_radius_mm / np.cbrt(PORTAL_ML_S)), "confluence")
    splenic = tree.path(0, _near(np.asarray(_SPLENIC_VEIN), rng), Territory.SPLEEN, name="splenic vein")
    mesenteric = tree.path(
        0, _near(np.asarray(_MESENTERIC_VEIN), rng), Territory.BOWEL, name="superior mesenteric vein"
    )
    share = _SPLENIC_VEIN_SHARE * PORTAL_ML_S
    bowel = Ellipsoids.aligned([40.0, -10.0, -118.0], [88.0, 26.0, 46.0])
    _drain(tree, splenic, SPLEEN, share, Territory.SPLEEN, rng)
    _drain(tree, mesenteric, bowel, PORTAL_ML_S - share, Territory.BOWEL, rng)
    tree.settle()
    return tree


def _drain(
    tree: Tree, end: int, organ: Ellipsoids, flow: float, territory: Territory, rng: np.random.Generator
) -> None:
    points = spread_points(points_within(organ, 6 * _TRIBUTARIES, rng), _TRIBUTARIES)
    draws = flow * rng.dirichlet(np.full(len(points) + 1, 0.9))
    tree.supply(end, float(draws[0]))
    tree.grow(points, draws[1:], territory, source=tree.position[end], least_mm=1.5)


def _near(course: Array, rng: np.random.Generator, scatter: float = 1.2) -> Array:
    return course + rng.normal(0, scatter, 3) + rng.normal(0, 0.4 * scatter, course.shape)


@dataclass(frozen=True, slots=True, eq=False)
class _Leader:
    tree: Tree
    liver: Liver
    obstacles: Array
    rng: np.random.Generator

    def lead(self, above: int, lobe: int, unit: tuple[float, float, float], territory: Territory, name: str) -> int:
        tree = self.tree
        target = self.liver.at(lobe, unit) + self.rng.normal(0, 3.0, 3)
        heading = tree.position[above] - tree.position[tree.parent[above]]
        course = route(tree.position[above], heading, target, self.obstacles, self.rng)
        return tree.path(above, course, territory, name=name)


def _fill(grow: _Leader, ends: list[int], entry: Array, flow: float, count: int) -> Veins:
    # The rest grows by least volume, right and left each from its own.
    tree = grow.tree
    draws = flow * grow.rng.dirichlet(np.full(count + len(ends), 0.9))
    for end, draw in zip(ends, draws[count:], strict=True):
        tree.supply(end, float(draw))
    pool = points_within(grow.liver.lobes, 9 * count, grow.rng, 0.94)
    for x, y, z, radius in grow.obstacles:
        pool = pool[np.linalg.norm(pool - [x, y, z], axis=1) > radius + 0.5]
    points = spread_points(pool, count)
    left = grow.liver.of_left(points)
    draws = draws[: len(points)]
    grown: list[int] = []
    for own, territory in ((~left, Territory.RIGHT_LIVER), (left, Territory.LEFT_LIVER)):
        grown += tree.grow(points[own], draws[own], territory, obstacles=grow.obstacles, source=entry, least_mm=1.5)
    tree.settle()
    return Veins(tree, (*ends, *grown))
