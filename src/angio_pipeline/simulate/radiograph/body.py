"""What surrounds the vessels: body wall, spine, ribs, lungs, organs and bowel gas, as simple solids.

One description serves both pictures: radiographs add each part's difference to its host along
exact chords, CT paints the parts in order. Hounsfield units at 120 kVp; LPS millimetres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from angio_pipeline.simulate.radiograph.projection import Ellipsoids, Tubes

__all__ = ["HEART_MM", "HEART_RADIUS_MM", "Body", "Layer", "Part", "build_body"]

Array = npt.NDArray[np.float64]
Points = Sequence[Sequence[float]]
SPINE_MM = (38.0, 66.0)
HEART_MM = np.array([55.0, -38.0, 112.0])
HEART_RADIUS_MM = 46.0
_LIVER_HU = 58.0
_CAVITY_HU = -60.0
_MUSCLE_HU = 45.0
_LUNG_HU = -790.0


class Layer(StrEnum):
    """Parts that move together."""

    TABLE = "table"
    STATIC = "static"
    CHEST = "chest"
    HEART = "heart"
    VISCERA = "viscera"
    BOWEL = "bowel"


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Solids of one tissue inside one host."""

    name: str
    layer: Layer
    hu: float
    host_hu: float
    solids: Ellipsoids | Tubes
    organic: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """Parts in painting order, and what the radiograph needs to know of the lungs.

    Attributes
    ----------
    lobes, lungs : Ellipsoids
        The liver, and the lungs it pushes into.
    under_lung : Ellipsoids
        What else pushes up under the left lung.
    markings : Tubes
        Vessels of the lungs; radiographs draw them, CT does not.
    """

    parts: tuple[Part, ...]
    lobes: Ellipsoids
    lungs: Ellipsoids
    under_lung: Ellipsoids
    markings: Tubes

    def part(self, name: str) -> Part:
        """Return the part called `name`."""
        return next(p for p in self.parts if p.name == name)


def build_body(lobes: Ellipsoids, rng: np.random.Generator, gas: float = 1.0) -> Body:
    """Return the body around a liver; `gas` scales how much air the bowel holds."""
    x, y = SPINE_MM
    lungs, dome = _lungs(), Ellipsoids.aligned([[120, -8, 8], [92, -40, 34]], [[66, 76, 66], [48, 40, 50]])
    heart = Ellipsoids.aligned(HEART_MM, [55, 42, 40])
    parts = [
        Part("fat", Layer.STATIC, -100, -1000, Ellipsoids.aligned([x, 2, 0], [188, 122, 900]), 3),
        Part("muscle", Layer.STATIC, _MUSCLE_HU, -100, Ellipsoids.aligned([x, 6, 0], [170, 106, 900]), 3),
        Part("cavity", Layer.STATIC, _CAVITY_HU, _MUSCLE_HU, Ellipsoids.aligned([x, -4, 0], [154, 86, 700]), 3),
        Part("psoas", Layer.STATIC, 55, _CAVITY_HU, _paired_tubes(x, 24, y - 4, -160, -20, 16, splay=14)),
        Part("back", Layer.STATIC, 55, _MUSCLE_HU, _paired_tubes(x, 26, 94, -200, 200, 14)),
        Part("lungs", Layer.VISCERA, _LUNG_HU, _CAVITY_HU, lungs, 2),
        Part("left dome", Layer.BOWEL, _CAVITY_HU, _CAVITY_HU, dome, 3),
        Part("heart", Layer.HEART, 45, _CAVITY_HU, heart, 3),
        Part("spleen", Layer.VISCERA, 50, _CAVITY_HU, Ellipsoids.aligned([146, 40, 28], [33, 43, 58]), 4),
        Part("kidneys", Layer.VISCERA, 34, _CAVITY_HU, _kidneys(x)),
        Part("stomach", Layer.BOWEL, 25, _CAVITY_HU, Ellipsoids.aligned([96, -30, 30], [40, 34, 55]), 5),
        Part("loops", Layer.BOWEL, 25, _CAVITY_HU, _loops(rng), 5),
        Part("duodenum", Layer.BOWEL, 28, _CAVITY_HU, _course(_DUODENUM_MM, 11.0)),
        Part("pancreas", Layer.VISCERA, 40, _CAVITY_HU, _course(_PANCREAS_MM, 10.0)),
        Part("aorta", Layer.STATIC, 42, _CAVITY_HU, _straight((x + 9, y - 22), -200, 200, 10.5)),
        Part("cava", Layer.STATIC, 38, _CAVITY_HU, _straight((x - 18, y - 20), -200, 90, 11.5)),
        Part("liver", Layer.VISCERA, _LIVER_HU, _CAVITY_HU, lobes, 5),
        Part("gallbladder", Layer.VISCERA, 10, _LIVER_HU, Ellipsoids.aligned([-32, -26, -34], [13, 14, 24]), 2),
        Part("liver veins", Layer.VISCERA, 44, _LIVER_HU, _liver_veins(rng)),
        Part("gas", Layer.BOWEL, -950, 25, _gas(rng, gas), 3),
        *_spine(x, y, rng),
        *_ribs(rng),
    ]
    return Body(tuple(parts), lobes, lungs, dome, _lung_vessels(rng))


def _lungs() -> Ellipsoids:
    # Each lung is a cone's worth of ellipsoids: body, base, and the sulcus along the wall.
    centre = [[-46, 16, 122], [-66, 26, 70], [-88, 20, 46], [122, 18, 122], [138, 28, 74], [160, 22, 52]]
    radii = [[64, 62, 112], [48, 50, 62], [27, 46, 56], [62, 60, 112], [48, 48, 62], [27, 44, 56]]
    return Ellipsoids.aligned(centre, radii)


def _lung_vessels(rng: np.random.Generator) -> Tubes:
    # Vessels that fork from the hilum downwards and outwards, thinner each time.
    rods: list[tuple[list[float], list[float], float]] = []
    for side, hilum in ((-1, [8.0, 22.0, 118.0]), (1, [82.0, 22.0, 122.0])):
        ends = [(np.array(hilum), np.array([0.7 * side, 0.0, -0.7]), 4.2)] * 3
        while ends:
            at, heading, radius = ends.pop()
            if radius < 0.55:
                continue
            turned = heading + rng.normal(0, 0.35, 3)
            turned /= np.linalg.norm(turned)
            tip = at + turned * rng.uniform(9, 17) * radius**0.25
            rods.append((list(at), list(tip), radius))
            split = rng.uniform(0.62, 0.92, 2) if rng.random() < 0.62 else np.array([0.93])
            ends += [(tip, turned + rng.normal(0, 0.28, 3), radius * float(part)) for part in split]
    return _tubes(rods)


def _straight(at: tuple[float, float], low: float, high: float, radius: float) -> Tubes:
    return Tubes(np.array([[*at, low]]), np.array([[*at, high]]), np.array([radius]))


def _paired_tubes(
    x: float, apart: float, y: float, low: float, high: float, radius: float, splay: float = 0.0
) -> Tubes:
    start = np.array([[x - apart - splay, y, low], [x + apart + splay, y, low]])
    end = np.array([[x - apart, y, high], [x + apart, y, high]])
    return Tubes(start, end, np.full(2, radius))


_DUODENUM_MM: Points = [[6.0, -14, -44], [-16, -6, -46], [-24, 4, -62], [-24, 12, -86], [-10, 20, -102], [24, 22, -104]]
_PANCREAS_MM: Points = [[-12.0, 4, -70], [-6, 0, -56], [16, -6, -46], [46, 0, -34], [80, 14, -14], [112, 26, 4]]


def _course(points: Points, radius: float) -> Tubes:
    at = np.array(points, float)
    return Tubes(at[:-1], at[1:], np.full(len(at) - 1, radius))


def _kidneys(x: float) -> Ellipsoids:
    return Ellipsoids.aligned([[x - 68, 56, -72], [x + 66, 56, -52]], [[26, 24, 50], [26, 24, 50]])


def _loops(rng: np.random.Generator) -> Ellipsoids:
    # Transverse colon and small bowel below the liver; the left colon.
    across = np.linspace(-80, 125, 12)
    colon = np.stack([across, np.full(12, -58.0), -84 - 14 * np.sin(np.pi * np.linspace(0, 1, 12))], axis=1)
    small = np.stack([rng.uniform(-70, 125, 26), rng.uniform(-66, 20, 26), rng.uniform(-150, -62, 26)], axis=1)
    # The descending colon and loops up the left flank, as far as the spleen.
    flank = np.stack([rng.uniform(118, 158, 12), rng.uniform(-60, 20, 12), np.linspace(-120, -8, 12)], axis=1)
    radii = np.vstack([rng.uniform(13, 19, (12, 3)), rng.uniform(10, 17, (38, 3))])
    return Ellipsoids.aligned(np.vstack([colon, small, flank]) + rng.normal(0, 3, (50, 3)), radii)


def _gas(rng: np.random.Generator, amount: float) -> Ellipsoids:
    # Gas rides in front, as the patient lies on the back: a stomach bubble, and stretches of colon
    # whose haustra run into each other.
    swell = max(amount, 0.05) ** (1 / 3)
    centre, radii = [np.array([100.0, -50.0, 36.0])], [np.array([25.0, 9.0, 28.0])]
    for _ in range(int(rng.poisson(2 + 3 * amount))):
        at = np.array([rng.uniform(-75, 120), rng.uniform(-72, -40), rng.uniform(-130, -80)])
        heading = rng.normal(0, 1, 3) * [1.0, 0.3, 0.5]
        heading /= np.linalg.norm(heading)
        size = rng.uniform(8.0, 16.0)
        for _ in range(int(rng.integers(3, 8))):
            centre.append(at)
            radii.append(size * np.array([1.0, 0.75, 1.0]) * np.exp(rng.normal(0, 0.18, 3)))
            heading = heading + rng.normal(0, 0.35, 3) * [1.0, 0.3, 1.0]
            at = at + 0.85 * size * heading / np.linalg.norm(heading)
            size *= float(np.exp(rng.normal(0, 0.15)))
    return Ellipsoids.aligned(np.array(centre), swell * np.array(radii))


def _liver_veins(rng: np.random.Generator) -> Tubes:
    # Portal and hepatic veins: a little darker than liver on plain CT, and landmarks for alignment.
    porta = np.array([-8.0, 10.0, -8.0])
    cava = np.array([18.0, 40.0, 66.0])
    rods: list[tuple[list[float], list[float], float]] = []

    def stem(start: Array, end: Array, radius: float) -> Array:
        middle = 0.5 * (start + end) + rng.normal(0, 4, 3)
        rods.extend([(list(start), list(middle), radius), (list(middle), list(end), 0.85 * radius)])
        return end

    stem(np.array([14.0, 20.0, -46.0]), porta, 6.5)
    for tip in ([-45, 6, -4], [-62, 24, 24], [-60, -10, -30], [16, -18, 20], [34, -30, 30]):
        end = stem(porta, np.array(tip) + rng.normal(0, 3, 3), 4.6)
        for _ in range(2):
            stem(end, end + rng.normal(0, 14, 3), 2.8)
    for tip in ([-70, 20, 10], [-38, -12, 16], [22, -22, 28]):
        stem(cava, np.array(tip) + rng.normal(0, 3, 3), 4.2)
    return _tubes(rods)


def _spine(x: float, y: float, rng: np.random.Generator) -> list[Part]:
    # Dense shells around spongy bone: that, seen edge-on, is what draws end plates and pedicles. Each
    # level tilts, slides and turns a little, and older ones carry spurs.
    levels = -165 + 33.5 * np.arange(11) + rng.normal(0, 1.2, 11)
    curve = rng.uniform(-5, 5) * np.sin((levels + rng.uniform(-60, 60)) / 90)
    rods: dict[str, list[tuple[list[float], list[float], float]]] = {name: [] for name in _BONES}
    for z, aside in zip(levels, curve, strict=True):
        turn = _small_turn(rng)
        _vertebra(rods, np.array([x + aside, y, z]), turn, rng)
    discs = [([x + c, y, z + 13.2], [x + c, y, z + 20.3], 20.0) for z, c in zip(levels, curve, strict=True)]
    return [
        Part("discs", Layer.STATIC, 75, _CAVITY_HU, _tubes(discs)),
        Part("vertebrae", Layer.STATIC, 420, _CAVITY_HU, _tubes(rods["body"])),
        Part("vertebrae core", Layer.STATIC, 205, 420, _tubes(rods["core"])),
        Part("plates", Layer.STATIC, 480, 205, _tubes(rods["plates"])),
        Part("spurs", Layer.STATIC, 450, _CAVITY_HU, _tubes(rods["spurs"])),
        *_shelled("pedicles", rods["pedicles"], 0.6, 400, 300, Layer.STATIC),
        *_shelled("laminae", rods["laminae"], 0.55, 380, 160, Layer.STATIC),
        *_shelled("processes", rods["processes"], 0.6, 480, 180, Layer.STATIC),
        *_shelled("wings", rods["wings"], 0.6, 420, 170, Layer.STATIC),
    ]


_BONES = ("body", "core", "plates", "spurs", "pedicles", "laminae", "processes", "wings")


def _small_turn(rng: np.random.Generator) -> Array:
    # Small turns about the three axes, to first order.
    a, b, c = np.deg2rad(rng.normal(0, 1, 3) * [4.0, 2.5, 3.0])
    return np.array([[1.0, -c, b], [c, 1.0, -a], [-b, a, 1.0]])


def _vertebra(
    rods: dict[str, list[tuple[list[float], list[float], float]]], at: Array, turn: Array, rng: np.random.Generator
) -> None:
    def add(kind: str, start: list[float], end: list[float], radius: float) -> None:
        rods[kind].append((list(at + turn @ start), list(at + turn @ end), radius))

    # The body is waisted: wider at its plates than in between.
    for low, high, radius in ((-13.2, -10, 21.5), (-10, -6, 20.0), (-6, 6, 18.7), (6, 10, 20.0), (10, 13.2, 21.5)):
        add("body", [0, 0, low], [0, 0, high], radius)
        add("core", [0, 0, low], [0, 0, high], radius - 1.3)
    for s in (-1, 1):
        bulge = rng.uniform(0.8, 1.8)
        add("plates", [0, 0, s * 13.2 - 0.5], [0, 0, s * 13.2 + 0.5], 21.0)
        add("plates", [0, 0, s * (13.2 - bulge) - 0.4], [0, 0, s * (13.2 - bulge) + 0.4], 13.0)
        add("pedicles", [s * 15, 12, 5], [s * 17, 34, 2], rng.uniform(4.0, 5.2))
        add("laminae", [s * 17, 34, 2], [0, 44, -7], 4.2)
        add("wings", [s * 18, 26, 2], [s * rng.uniform(34, 43), 34, rng.uniform(0, 6)], rng.uniform(3.2, 4.4))
        if rng.random() < 0.35:
            add("spurs", [s * 19, -6, 11], [s * (23 + rng.uniform(0, 3)), -7, 13.5], rng.uniform(1.2, 2.4))
    add("processes", [0, 42, -4], [rng.normal(0, 1.5), 60, -17], 4.0)


def _shelled(
    name: str,
    rods: list[tuple[list[float], list[float], float]],
    core: float,
    hu: float,
    core_hu: float,
    layer: Layer,
) -> list[Part]:
    outer = _tubes(rods)
    inner = Tubes(outer.start, outer.end, core * outer.radius)
    return [Part(name, layer, hu, _MUSCLE_HU, outer), Part(f"{name} core", layer, core_hu, hu, inner)]


def _tubes(rods: list[tuple[list[float], list[float], float]]) -> Tubes:
    if not rods:
        return Tubes(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0))
    return Tubes(
        np.array([r[0] for r in rods], float), np.array([r[1] for r in rods], float), np.array([r[2] for r in rods])
    )


def _ribs(rng: np.random.Generator) -> list[Part]:
    # Flat ribbons: three rods above each other, and along the lower border a dense edge; they lose
    # density towards the front, where they turn to cartilage.
    strands: dict[str, list[tuple[list[float], list[float], float]]] = {"back": [], "side": [], "front": [], "edge": []}
    for k in range(9):
        for side in (-1, 1):
            course, angle = _rib_course(k, side, rng)
            size, up = rng.uniform(0.9, 1.1), np.array([0.0, 0.0, 1.0])
            for (a, b), at in zip(pairwise(course), angle[1:], strict=True):
                place = "back" if at < 1.2 else ("side" if at < 2.2 else "front")
                strands[place] += [(list(a + z * up), list(b + z * up), 3.3 * size) for z in (-3.4, 0.0, 3.4)]
                if at < 2.2:
                    strands["edge"].append((list(a - 6 * up), list(b - 6 * up), 1.0 * size))
    densities = {"back": 400.0, "side": 330.0, "front": 150.0, "edge": 620.0}
    return [
        Part(f"ribs {name}", Layer.CHEST, densities[name], _MUSCLE_HU, _tubes(rods)) for name, rods in strands.items()
    ]


def _rib_course(k: int, side: int, rng: np.random.Generator) -> tuple[Array, Array]:
    x, y, z = SPINE_MM[0], 4.0 - (4 if k < 7 else 0), 180 - 30.0 * k + rng.normal(0, 2.0)
    reach = (0.92 if k < 5 else 0.92 - 0.14 * (k - 4)) * np.pi
    angle = np.linspace(0.12, reach, 24)
    wide = 160 - 5 * abs(k - 3) + rng.normal(0, 1.5)
    wave = 1.5 * np.sin(3 * angle + rng.uniform(0, 6))
    fall = 46 * (angle / np.pi) ** 0.8 * (1.5 - 0.5 * angle / np.pi)
    course = np.stack([x + side * wide * np.sin(angle), y + 98 * np.cos(angle), z - fall + wave], axis=1)
    return course, angle
