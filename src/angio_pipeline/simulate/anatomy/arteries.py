"""The arteries: from the aorta through the celiac trunk and its variants to twigs in the liver.

Named trunks are laid along known courses with some scatter; inside the liver, sectoral and
segmental arteries are led to their segments, and everything finer grows by least volume.
Variants of the hepatic arteries are those of Michels (doi:10.1016/0002-9610(66)90201-7).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from angio_pipeline.core.params import Params
from angio_pipeline.simulate.anatomy.liver import SPLEEN, Liver, points_within, spread_points
from angio_pipeline.simulate.anatomy.tree import Territory, Tree
from angio_pipeline.simulate.radiograph.projection import Ellipsoids

__all__ = ["MICHELS_SHARE", "Arteries", "ArteryParams", "draw_variant", "grow_twigs", "lay_arteries", "route"]

Array = npt.NDArray[np.float64]

_Points = tuple[tuple[float, float, float], ...]

# Types I to X in 200 dissections.
MICHELS_SHARE = (0.55, 0.10, 0.11, 0.01, 0.08, 0.07, 0.01, 0.02, 0.045, 0.005)

# Blood flow at rest, ml/s. Through the common hepatic artery; what of it is not for the liver goes
# to stomach, duodenum, pancreas and gallbladder.
COMMON_HEPATIC_ML_S = 7.0
LIVER_ML_S = 0.77 * COMMON_HEPATIC_ML_S
_SPLENIC_ML_S, _LEFT_GASTRIC_ML_S, _MESENTERIC_ML_S = 5.0, 0.8, 8.0
_OMENTAL_ML_S, _PANCREATIC_ML_S, _RIGHT_GASTRIC_ML_S, _CYSTIC_ML_S = 0.75, 0.55, 0.15, 0.14
_COARSE = 160
_OTHER_TERMINALS = 220

# Where the great vessels run, LPS mm.
_AORTA = (47.0, 43.0, -16.0)
_CELIAC = ((46.5, 33.0, -13.0), (45.5, 24.0, -12.5), (43.0, 17.0, -15.0))
_MESENTERIC = (
    (46.5, 36.0, -30.0), (46.0, 24.0, -40.0), (44.0, 14.0, -60.0), (40.0, 9.0, -85.0), (35.0, 5.0, -112.0),
    (28.0, 2.0, -140.0),
)  # fmt: skip
_LEFT_GASTRIC = (
    (48.5, 20.0, -2.0), (53.0, 17.0, 13.0), (58.0, 15.0, 26.0), (66.0, 12.0, 37.0), (76.0, 7.0, 42.0),
    (84.0, 0.0, 37.0), (87.0, -8.0, 24.0), (83.0, -15.0, 8.0), (74.0, -20.0, -5.0),
)  # fmt: skip
_SPLENIC = (
    (52.0, 22.0, -13.0), (62.0, 29.0, -9.0), (73.0, 35.0, -5.0), (85.0, 41.0, -2.0), (97.0, 45.0, 2.0),
    (109.0, 46.0, 8.0), (119.0, 44.0, 16.0), (126.0, 41.0, 23.0),
)  # fmt: skip
_COMMON = ((36.0, 15.5, -20.0), (27.0, 16.0, -23.0), (18.0, 15.0, -22.0))
_PROPER = ((11.0, 11.0, -18.5), (4.0, 7.0, -12.5), (-3.0, 4.5, -5.0))
_RIGHT = ((-10.0, 6.5, -0.5), (-18.0, 8.0, 1.0), (-25.0, 8.0, 2.0))
_LEFT = ((-3.0, -1.0, 3.0), (0.0, -7.0, 10.0), (5.0, -13.0, 16.0))
_GASTRODUODENAL = ((14.0, 10.0, -27.0), (10.0, 4.0, -38.0), (9.0, -3.0, -52.0), (7.0, -10.0, -68.0))
_OMENTAL = (
    (14.0, -16.0, -82.0), (28.0, -22.0, -91.0), (46.0, -26.0, -93.0), (64.0, -26.0, -90.0), (82.0, -22.0, -80.0),
    (98.0, -16.0, -66.0),
)  # fmt: skip
_PANCREATIC = ((0.0, -6.0, -76.0), (-8.0, 0.0, -86.0), (-10.0, 6.0, -99.0), (-3.0, 9.0, -111.0), (8.0, 10.0, -116.0))
_RIGHT_GASTRIC = ((14.0, -9.0, -8.0), (26.0, -17.0, -13.0), (40.0, -22.0, -11.0), (54.0, -28.0, -5.0))
_CYSTIC = ((-28.0, -4.0, -12.0), (-32.0, -14.0, -22.0), (-35.0, -23.0, -34.0))
_REPLACED_RIGHT = (
    (36.0, 24.0, -43.0),
    (22.0, 25.0, -37.0),
    (7.0, 22.5, -26.0),
    (-8.0, 17.5, -13.0),
    (-18.0, 12.0, -4.0),
)
_REPLACED_LEFT = ((49.0, 12.0, 29.0), (38.0, 6.0, 30.0), (28.0, -3.0, 28.0), (20.0, -10.0, 25.0))
_COMMON_FROM_MESENTERIC = ((40.0, 21.0, -44.0), (31.0, 20.0, -38.0), (23.0, 17.0, -29.0), (18.0, 15.0, -22.0))
_COMMON_FROM_GASTRIC = ((46.0, 12.0, -3.0), (37.0, 10.0, -8.0), (27.0, 12.0, -15.0), (18.0, 15.0, -22.0))


class ArteryParams(Params):
    """The arterial tree."""

    variant: int = Field(0, ge=0, le=10, description="Michels' type of hepatic arteries, 1 to 10; 0 draws it")
    root_radius_mm: float = Field(
        2.4, ge=1.5, le=3.5, description="common hepatic artery at 7 ml/s; sets Murray's constant"
    )
    smallest_diameter_mm: float = Field(0.3, ge=0.25, le=1.5, description="no liver twig ends wider than this")
    terminals: int = Field(0, ge=0, le=20000, description="liver twigs; 0 is as many as smallest_diameter_mm asks for")
    tortuosity: float = Field(0.06, ge=0.0, le=0.3, description="sideways wander, share of its wavelength")

    @model_validator(mode="after")
    def _enough_terminals(self) -> ArteryParams:
        if 0 < self.terminals < 20:
            raise ValueError("terminals must be 0 (drawn from smallest_diameter_mm) or at least 20")
        return self

    def murray_mm(self) -> float:
        """Return the radius in mm of an artery that carries 1 ml/s."""
        return float(self.root_radius_mm / np.cbrt(COMMON_HEPATIC_ML_S))


@dataclass(slots=True, eq=False)
class Arteries:
    """The arterial tree while it grows.

    Attributes
    ----------
    variant : int
        Michels' type.
    obstacles : ndarray, (M, 4)
        Spheres (x, y, z, radius) that branches go round.
    origin : dict
        Landmarks by name; parts of the liver map to the node that supplies them.
    terminals : list of int
        Ends in the liver.
    points, draws : ndarray, (K, 3) and (K,)
        Where twigs are still to grow, and what they draw in ml/s.
    """

    tree: Tree
    variant: int
    obstacles: Array
    origin: dict[str, int] = field(default_factory=dict)
    terminals: list[int] = field(default_factory=list)
    points: Array = field(default_factory=lambda: np.zeros((0, 3)))
    draws: Array = field(default_factory=lambda: np.zeros(0))


def draw_variant(params: ArteryParams, rng: np.random.Generator) -> int:
    """Return Michels' type, 1 to 10: the one asked for, else drawn by its frequency."""
    drawn = int(rng.choice(10, p=np.asarray(MICHELS_SHARE) / sum(MICHELS_SHARE))) + 1
    return params.variant or drawn


def lay_arteries(
    liver: Liver,
    obstacles: Array,
    variant: int,
    params: ArteryParams,
    rng: np.random.Generator,
    *,
    stump: bool = False,
    gallbladder: bool = True,
) -> Arteries:
    """Return trunks, segmental arteries and the first coarse branches of the liver, clear of `obstacles`.

    Parameters
    ----------
    obstacles : ndarray, (M, 4)
        Spheres (x, y, z, radius) that liver branches go round.
    stump : bool
        The gastroduodenal artery was closed with coils.
    gallbladder : bool
        Whether there is one to feed.
    """
    tree = Tree(np.asarray(_AORTA) + rng.normal(0, 1.0, 3), params.murray_mm(), "aorta")
    arteries = Arteries(tree, variant, obstacles)
    _great_branches(arteries, stump, rng)
    _hepatic_branches(arteries, rng)
    _small_branches(arteries, stump, gallbladder, rng)
    _spleen_and_bowel(arteries, rng)
    _segments(arteries, liver, rng)
    _coarse_branches(arteries, liver, params, rng)
    return arteries


def _near(points: _Points, rng: np.random.Generator, obstacles: Array | None = None) -> Array:
    # One common shift for the vessel and a little for each point: scatter without kinks.
    course = np.asarray(points)
    course = course + rng.normal(0, 1.2, 3) + rng.normal(0, 0.5, course.shape)
    return course if obstacles is None else _around(course, obstacles)


def _around(course: Array, obstacles: Array) -> Array:
    # The course itself where nothing is in its way.
    if not any(crosses(a, b, obstacles) for a, b in pairwise(course)):
        return course
    return _resampled(_push_out(_resampled(course, 1.5), obstacles), 7.0)


def _great_branches(arteries: Arteries, stump: bool, rng: np.random.Generator) -> None:
    # Celiac trunk, left gastric, splenic and superior mesenteric; the common hepatic artery from
    # the celiac trunk, or from the mesenteric (type IX) or the left gastric (type X).
    tree, at = arteries.tree, arteries.origin
    celiac = _near(_CELIAC, rng)
    at["celiac"] = tree.path(0, celiac[:2], Territory.TRUNK, name="celiac")
    end = tree.path(at["celiac"], celiac[2:], Territory.TRUNK, name="celiac")
    gastric = _near(_LEFT_GASTRIC, rng)
    gastric = np.vstack([gastric[:2], _around(gastric[2:], arteries.obstacles)])
    for k, point in enumerate(gastric):
        above = at[f"left gastric {k - 1}"] if k else at["celiac"]
        at[f"left gastric {k}"] = tree.path(above, point, Territory.OTHER, name="left gastric")
    at["left gastric end"] = at[f"left gastric {len(gastric) - 1}"]
    mesenteric = _near(_MESENTERIC, rng)
    at["mesenteric"] = tree.path(0, mesenteric[:2], Territory.TRUNK, name="superior mesenteric")
    far = tree.path(at["mesenteric"], mesenteric[2:], Territory.BOWEL, name="superior mesenteric")
    at["mesenteric end"] = far
    splenic = _looped(_near(_SPLENIC, rng), rng)
    at["splenic end"] = tree.path(end, splenic, Territory.SPLEEN, name="splenic")
    origins: dict[int, tuple[_Points, int]] = {
        9: (_COMMON_FROM_MESENTERIC, at["mesenteric"]),
        10: (_COMMON_FROM_GASTRIC, at["left gastric 0"]),
    }
    course, above = origins.get(arteries.variant, (_COMMON, end))
    fork = tree.path(above, _near(course, rng), Territory.TRUNK, name="common hepatic")
    at["common"], at["fork"] = tree.parent[fork], fork
    down = _near(_GASTRODUODENAL, rng)[: 2 if stump else None]
    at["gastroduodenal"] = tree.path(fork, down, Territory.OTHER, name="gastroduodenal")


def _looped(course: Array, rng: np.random.Generator) -> Array:
    # The splenic artery's loops, with age the greater.
    fine = _resampled(course, 5.0)
    along = np.linspace(0, 1, len(fine))
    rise = np.clip(6 * along, 0, 1) * np.clip(6 * (1 - along), 0, 1) * rng.uniform(1.5, 7.5)
    turns = 2 * np.pi * rng.uniform(1.6, 2.8)
    fine[:, 2] += rise * np.sin(turns * along + 2.0 * np.sin(4 * along + rng.uniform(0, 6)) + rng.uniform(0, 6))
    fine[:, 1] += 0.7 * rise * np.sin(turns * along + rng.uniform(0, 6))
    return fine


def _hepatic_branches(arteries: Arteries, rng: np.random.Generator) -> None:
    # Which artery supplies which part of the liver, by type. Parts: right anterior, right
    # posterior, segments 2, 3, 4 and 1.
    tree, at, kind = arteries.tree, arteries.origin, arteries.variant
    if kind == 8:
        replaced_right = bool(rng.random() < 0.5)
        replaced_left = not replaced_right
        extra_right, extra_left = replaced_left, replaced_right
    else:
        replaced_right, replaced_left = kind in (3, 4), kind in (2, 4)
        extra_right, extra_left = kind in (6, 7), kind in (5, 7)
    hilum = tree.path(at["fork"], _near(_PROPER, rng), Territory.TRUNK, name="proper hepatic")
    at["proper"], at["hilum"] = tree.parent[hilum], hilum
    if not replaced_right:
        at["right"] = tree.path(hilum, _near(_RIGHT, rng, arteries.obstacles), Territory.TRUNK, name="right hepatic")
        at["right anterior"] = at["right posterior"] = at["right"]
    if not replaced_left:
        at["left"] = tree.path(hilum, _near(_LEFT, rng, arteries.obstacles), Territory.TRUNK, name="left hepatic")
        at["segment 2"] = at["segment 3"] = at["left"]
    if replaced_right or extra_right:
        name = "replaced right hepatic" if replaced_right else "accessory right hepatic"
        end = tree.path(at["mesenteric"], _near(_REPLACED_RIGHT, rng, arteries.obstacles), Territory.TRUNK, name=name)
        at["right posterior"] = end
        at.setdefault("right anterior", end)
    if replaced_left or extra_left:
        name = "replaced left hepatic" if replaced_left else "accessory left hepatic"
        end = tree.path(
            at["left gastric 2"], _near(_REPLACED_LEFT, rng, arteries.obstacles), Territory.TRUNK, name=name
        )
        at["segment 2"] = end
        at.setdefault("segment 3", end)
    # The middle hepatic artery: usually of the left; of the proper hepatic where that one is replaced.
    usual = "left" if "left" in at and (rng.random() < 0.7 or "right" not in at) else "right"
    at["segment 4"] = at[usual] if "left" in at else hilum
    at["segment 1"] = at.get("left", at["right anterior"])


def _small_branches(arteries: Arteries, stump: bool, gallbladder: bool, rng: np.random.Generator) -> None:
    # Gastroduodenal, cystic and right gastric: what must not be embolised.
    tree, at = arteries.tree, arteries.origin
    if stump:
        twig = tree.position[at["gastroduodenal"]] + np.array([-6.0, 3.0, -4.0])
        tree.supply(tree.path(at["gastroduodenal"], twig, Territory.OTHER), 0.04)
    else:
        omental = tree.path(at["gastroduodenal"], _near(_OMENTAL, rng), Territory.OTHER, name="gastroepiploic")
        pancreatic = tree.path(
            at["gastroduodenal"], _near(_PANCREATIC, rng), Territory.OTHER, name="pancreaticoduodenal"
        )
        _fringe(arteries, at["fork"], omental, _Fringe(_OMENTAL_ML_S, 70, (0.0, -4.0, 7.0)), rng)
        _fringe(arteries, at["fork"], pancreatic, _Fringe(_PANCREATIC_ML_S, 60, (6.0, 0.0, 0.0)), rng)
    duodenal = tree.named("gastroduodenal")[0]
    left = tree.parent[at["left"]] if "left" in at else at["proper"]
    origins = [at["proper"], left, at["common"], at["proper"] if stump else duodenal]
    above = int(rng.choice(origins, p=[0.5, 0.25, 0.1, 0.15]))
    gastric = tree.path(above, _near(_RIGHT_GASTRIC, rng, arteries.obstacles), Territory.OTHER, name="right gastric")
    _fringe(arteries, above, gastric, _Fringe(_RIGHT_GASTRIC_ML_S, 20, (2.0, -2.0, 5.0)), rng)
    _fringe(
        arteries, at["left gastric 3"], at["left gastric end"], _Fringe(_LEFT_GASTRIC_ML_S, 70, (7.0, -3.0, 0.0)), rng
    )
    if gallbladder:
        main = at.get("right", at["right anterior"])
        above = tree.parent[main] if rng.random() < 0.8 else at["hilum"]
        cystic = tree.path(above, _near(_CYSTIC, rng, arteries.obstacles), Territory.OTHER, name="cystic")
        _fringe(arteries, above, cystic, _Fringe(_CYSTIC_ML_S, 20, (-2.0, -4.0, -4.0)), rng)


@dataclass(frozen=True, slots=True)
class _Fringe:
    # Twigs along a branch: their flow and number, and the side they mostly go to.
    flow_ml_s: float
    count: int
    lean_mm: tuple[float, float, float]


def _fringe(arteries: Arteries, above: int, end: int, fringe: _Fringe, rng: np.random.Generator) -> None:
    # Twigs of the branch that runs from `above` to `end`.
    tree = arteries.tree
    way = tree.way(end)
    way = way[way.index(above) + 1 :]
    for node in way:
        tree.group[node] = end
    course = np.array([tree.position[n] for n in [above, *way]])
    where = rng.uniform(0.15, 1.0, fringe.count) * len(way)
    points = np.stack([np.interp(where, np.arange(len(course)), course[:, c]) for c in range(3)], axis=1)
    points += np.asarray(fringe.lean_mm) * rng.uniform(0.3, 2.2, (fringe.count, 1))
    points += rng.normal(0, 5.0, points.shape)
    draws = fringe.flow_ml_s * rng.dirichlet(np.full(fringe.count + 1, 1.5))
    tree.supply(end, float(draws[0]))
    tree.grow(points, draws[1:], Territory.OTHER, group=end, obstacles=arteries.obstacles)


def _spleen_and_bowel(arteries: Arteries, rng: np.random.Generator) -> None:
    tree, at = arteries.tree, arteries.origin
    hilum = SPLEEN.centre[0] + [-14.0, 0.0, 0.0]
    first = tree.add(at["splenic end"], hilum, Territory.SPLEEN, name="splenic")
    mesentery = Ellipsoids.aligned([40.0, -10.0, -118.0], [88.0, 26.0, 46.0])
    _fill(tree, first, SPLEEN, _SPLENIC_ML_S, Territory.SPLEEN, rng)
    _fill(tree, at["mesenteric end"], mesentery, _MESENTERIC_ML_S, Territory.BOWEL, rng)


def _fill(
    tree: Tree, first: int, solid: Ellipsoids, flow: float, territory: Territory, rng: np.random.Generator
) -> None:
    # An organ outside the liver, from a branch that ends at `first`, with no need of the finest twigs.
    points = spread_points(points_within(solid, 6 * _OTHER_TERMINALS, rng), _OTHER_TERMINALS)
    draws = flow * rng.dirichlet(np.full(len(points) + 1, 1.5))
    tree.supply(first, float(draws[0]))
    tree.grow(points, draws[1:], territory, source=tree.position[first], least_mm=1.2)


def _segments(arteries: Arteries, liver: Liver, rng: np.random.Generator) -> None:
    # Sectoral arteries to their sector and from there to its segments, each laid as one curve.
    at, right, left = arteries.origin, Territory.RIGHT_LIVER, Territory.LEFT_LIVER

    def lead(above: int, lobe: int, unit: tuple[float, float, float], territory: Territory, name: str) -> int:
        target = liver.at(lobe, unit) + rng.normal(0, 3.0, 3)
        return _lead(arteries, above, target, territory, name, rng)

    front = lead(at["right anterior"], 0, (0.12, -0.2, 0.05), right, "right anterior")
    back = lead(at["right posterior"], 0, (-0.12, 0.3, 0.0), right, "right posterior")
    side = [at["segment 2"], at["segment 3"]]
    if side[0] == side[1]:
        side = [lead(side[0], 1, (-0.15, 0.1, -0.02), left, "left lateral")] * 2
    caudate = arteries.tree.parent[at["segment 1"]]
    ends = [
        lead(front, 0, (-0.12, -0.5, -0.5), right, "segment 5"),
        lead(front, 0, (0.0, -0.25, 0.6), right, "segment 8"),
        lead(back, 0, (-0.5, 0.2, -0.5), right, "segment 6"),
        lead(back, 0, (-0.4, 0.35, 0.5), right, "segment 7"),
        lead(side[0], 1, (0.45, 0.3, 0.3), left, "segment 2"),
        lead(side[1], 1, (0.5, -0.35, -0.25), left, "segment 3"),
        lead(at["segment 4"], 1, (-0.35, -0.35, -0.1), left, "segment 4"),
        lead(caudate, 2, (0.0, 0.0, 0.0), left, "segment 1"),
    ]
    for end in ends:
        arteries.tree.supply(end, LIVER_ML_S / (_COARSE + len(ends)))
    arteries.terminals = ends


def _lead(
    arteries: Arteries, above: int, target: Array, territory: Territory, name: str, rng: np.random.Generator
) -> int:
    tree = arteries.tree
    heading = tree.position[above] - tree.position[tree.parent[above]]
    course = route(tree.position[above], heading, target, arteries.obstacles, rng)
    return tree.path(above, course, territory, name=name)


def route(
    start: Array, heading: Array, end: Array, obstacles: Array, rng: np.random.Generator, step_mm: float = 8.0
) -> Array:
    """Return (K, 3) points about `step_mm` apart on a gentle curve from `start` (left out) to `end`.

    It sets out along `heading` and is pushed to the surface of any sphere (M, 4) in its way, so it may
    end on such a surface instead of at `end`.
    """
    way = float(np.linalg.norm(end - start))
    onward = heading / max(float(np.linalg.norm(heading)), 1e-9) + (end - start) / max(way, 1e-9)
    control = start + 0.35 * way * onward / max(float(np.linalg.norm(onward)), 1e-9)
    t = np.linspace(0, 1, max(3, int(way) + 2))[:, None]
    for attempt in range(6):
        line = (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end
        line = line + np.sin(np.pi * t) * rng.normal(0, 0.05 + 0.05 * attempt, 3) * way
        pushed = _push_out(line, obstacles)
        course = _resampled(np.vstack([start, pushed[1:]]), step_mm)
        if not any(crosses(a, b, obstacles, 0.95) for a, b in pairwise(course)):
            break
    return course[1:]


def _push_out(points: Array, spheres: Array) -> Array:
    for _ in range(2):
        for x, y, z, radius in spheres:
            away = points - [x, y, z]
            distance = np.linalg.norm(away, axis=1, keepdims=True)
            points = np.where(distance < radius, [x, y, z] + away * radius / np.maximum(distance, 1e-6), points)
    return points


def _resampled(points: Array, step_mm: float) -> Array:
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    count = max(1, round(along[-1] / step_mm))
    where = np.linspace(0, along[-1], count + 1)
    return np.stack([np.interp(where, along, points[:, c]) for c in range(3)], axis=1)


def _coarse_branches(arteries: Arteries, liver: Liver, params: ArteryParams, rng: np.random.Generator) -> None:
    # All the points that liver twigs will reach, drawn at once; the first of them, far from each
    # other, give the coarse tree from which tumours are fed.
    widest = (0.5 * params.smallest_diameter_mm / params.murray_mm()) ** 3
    count = params.terminals or int(np.ceil(LIVER_ML_S / (0.85 * widest)))
    mean = min(LIVER_ML_S / count, 0.85 * widest) if not params.terminals else LIVER_ML_S / count
    pool = points_within(liver.lobes, 7 * count, rng)
    for x, y, z, radius in arteries.obstacles:
        pool = pool[np.linalg.norm(pool - [x, y, z], axis=1) > radius + 0.5]
    arteries.points = spread_points(pool, count, tried=max(1, len(pool) // count) if len(pool) < 6 * count else 6)
    arteries.draws = mean * rng.uniform(0.85, 1 / 0.85, len(arteries.points)).clip(max=1 / 0.85)
    coarse = min(_COARSE, len(arteries.points))
    flow = np.full(coarse, LIVER_ML_S / (coarse + len(arteries.terminals)))
    arteries.terminals += _supply_liver(arteries, liver, arteries.points[:coarse], flow)
    arteries.points, arteries.draws = arteries.points[coarse:], arteries.draws[coarse:]


def _supply_liver(arteries: Arteries, liver: Liver, points: Array, flow: Array) -> list[int]:
    # Each side from its own arteries, outwards from where they enter.
    left = liver.of_left(points)
    ends: list[int] = []
    sides = ((~left, Territory.RIGHT_LIVER, "right anterior"), (left, Territory.LEFT_LIVER, "segment 3"))
    for own, territory, entry in sides:
        source = arteries.tree.position[arteries.origin[entry]]
        ends += arteries.tree.grow(
            points[own], flow[own], territory, obstacles=arteries.obstacles, source=source, least_mm=2.0
        )
    return ends


def grow_twigs(arteries: Arteries, liver: Liver) -> None:
    """Grow all that is finer than the coarse branches, and let every terminal draw its own flow."""
    tree = arteries.tree
    mean = float(arteries.draws.mean()) if len(arteries.draws) else LIVER_ML_S / max(len(arteries.terminals), 1)
    for terminal in arteries.terminals:
        tree.flow[terminal] = mean
    tree.settle()
    arteries.terminals += _supply_liver(arteries, liver, arteries.points, arteries.draws)
    tree.settle()


def crosses(start: Array, end: Array, spheres: Array, scale: float = 1.0) -> bool:
    """Return whether a straight segment enters any of the spheres (M, 4), their radii scaled."""
    way = end - start
    offset = spheres[:, :3] - start
    t = np.clip(offset @ way / max(float(way @ way), 1e-12), 0, 1)
    away = np.linalg.norm(offset - t[:, None] * way, axis=1)
    return bool((away < scale * spheres[:, 3]).any())
