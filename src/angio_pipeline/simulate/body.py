"""What surrounds the vessels: body wall, spine, ribs, lungs, organs and bowel gas, as simple solids.

One description serves both pictures: radiographs add each part's difference to its host along
exact chords, CT paints the parts in order. Hounsfield units; LPS millimetres.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from angio_pipeline.simulate.projection import Ellipsoids, Tubes

__all__ = ["Body", "Layer", "Part", "build_body"]

Array = npt.NDArray[np.float64]
SPINE_MM = (38.0, 66.0)
_LIVER_HU = 58.0
_CAVITY_HU = -60.0
_MUSCLE_HU = 45.0


class Layer(StrEnum):
    """Parts that move together."""

    STATIC = "static"
    CHEST = "chest"
    VISCERA = "viscera"
    BOWEL = "bowel"


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Solids of one tissue inside one host; `within` cuts them (a lung by the body's cavity)."""

    name: str
    layer: Layer
    hu: float
    host_hu: float
    solids: Ellipsoids | Tubes
    organic: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """Parts in painting order; the liver's lobes and the lungs they push into."""

    parts: tuple[Part, ...]
    lobes: Ellipsoids
    lungs: Ellipsoids

    def part(self, name: str) -> Part:
        """Return the part called `name`."""
        return next(p for p in self.parts if p.name == name)


def build_body(lobes: Ellipsoids, rng: np.random.Generator, gas: float = 1.0) -> Body:
    """Return the body around a liver; `gas` scales how much air the bowel holds."""
    x, y = SPINE_MM
    lungs = Ellipsoids.aligned([[-42, 18, 128], [118, 20, 124]], [[64, 60, 118], [62, 58, 118]])
    parts = [
        Part("fat", Layer.STATIC, -100, -1000, Ellipsoids.aligned([x, 2, 0], [188, 122, 900]), 3),
        Part("muscle", Layer.STATIC, _MUSCLE_HU, -100, Ellipsoids.aligned([x, 6, 0], [170, 106, 900]), 3),
        Part("cavity", Layer.STATIC, _CAVITY_HU, _MUSCLE_HU, Ellipsoids.aligned([x, -4, 0], [154, 86, 700]), 3),
        Part("psoas", Layer.STATIC, 55, _CAVITY_HU, _paired_tubes(x, 24, y - 4, -160, -20, 16, splay=14)),
        Part("back", Layer.STATIC, 55, _MUSCLE_HU, _paired_tubes(x, 26, 94, -200, 200, 14)),
        Part("lungs", Layer.VISCERA, -790, _CAVITY_HU, lungs, 2),
        Part("heart", Layer.VISCERA, 45, _CAVITY_HU, Ellipsoids.aligned([55, -38, 112], [55, 42, 40]), 3),
        Part("spleen", Layer.VISCERA, 50, _CAVITY_HU, Ellipsoids.aligned([148, 40, 28], [28, 38, 52]), 4),
        Part("kidneys", Layer.VISCERA, 34, _CAVITY_HU, _kidneys(x)),
        Part("stomach", Layer.BOWEL, 25, _CAVITY_HU, Ellipsoids.aligned([96, -30, 30], [40, 34, 55]), 5),
        Part("loops", Layer.BOWEL, 25, _CAVITY_HU, _loops(rng), 5),
        Part("aorta", Layer.STATIC, 42, _CAVITY_HU, _straight((x + 9, y - 22), -200, 200, 10.5)),
        Part("cava", Layer.STATIC, 38, _CAVITY_HU, _straight((x - 18, y - 20), -200, 90, 11.5)),
        Part("liver", Layer.VISCERA, _LIVER_HU, _CAVITY_HU, lobes, 5),
        Part("liver veins", Layer.VISCERA, 44, _LIVER_HU, _liver_veins(rng)),
        Part("gas", Layer.BOWEL, -950, 25, _gas(rng, gas), 3),
        *_spine(x, y),
        *_ribs(rng),
    ]
    return Body(tuple(parts), lobes, lungs)


def _straight(at: tuple[float, float], low: float, high: float, radius: float) -> Tubes:
    return Tubes(np.array([[*at, low]]), np.array([[*at, high]]), np.array([radius]))


def _paired_tubes(
    x: float, apart: float, y: float, low: float, high: float, radius: float, splay: float = 0.0
) -> Tubes:
    start = np.array([[x - apart - splay, y, low], [x + apart + splay, y, low]])
    end = np.array([[x - apart, y, high], [x + apart, y, high]])
    return Tubes(start, end, np.full(2, radius))


def _kidneys(x: float) -> Ellipsoids:
    return Ellipsoids.aligned([[x - 68, 56, -72], [x + 66, 56, -52]], [[26, 24, 50], [26, 24, 50]])


def _loops(rng: np.random.Generator) -> Ellipsoids:
    # Transverse colon and small bowel below the liver.
    across = np.linspace(-80, 125, 12)
    colon = np.stack([across, np.full(12, -58.0), -84 - 14 * np.sin(np.pi * np.linspace(0, 1, 12))], axis=1)
    small = np.stack([rng.uniform(-70, 125, 26), rng.uniform(-66, 20, 26), rng.uniform(-150, -62, 26)], axis=1)
    radii = np.vstack([rng.uniform(13, 19, (12, 3)), rng.uniform(10, 17, (26, 3))])
    return Ellipsoids.aligned(np.vstack([colon, small]) + rng.normal(0, 3, (38, 3)), radii)


def _gas(rng: np.random.Generator, amount: float) -> Ellipsoids:
    # Gas rides in front, as the patient lies on the back: a stomach bubble, and short stretches of
    # colon whose haustra are bubbles in a row.
    swell = max(amount, 0.05) ** (1 / 3)
    centre, radii = [np.array([100.0, -50.0, 36.0])], [np.array([25.0, 9.0, 28.0])]
    for _ in range(int(rng.poisson(2 + 3 * amount))):
        at = np.array([rng.uniform(-75, 120), rng.uniform(-72, -40), rng.uniform(-120, -78)])
        heading = rng.normal(0, 1, 3) * [1.0, 0.3, 0.5]
        heading /= np.linalg.norm(heading)
        for _ in range(int(rng.integers(3, 7))):
            size = rng.uniform(6.0, 10.5)
            centre.append(at)
            radii.append(size * np.array([1.0, 0.6, 1.0]) * np.exp(rng.normal(0, 0.15, 3)))
            heading = heading + rng.normal(0, 0.35, 3) * [1.0, 0.3, 1.0]
            at = at + 1.25 * size * heading / np.linalg.norm(heading)
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


def _spine(x: float, y: float) -> list[Part]:
    # Dense shells around spongy bone: that, seen edge-on, is what draws end plates and pedicles.
    levels = -165 + 33.5 * np.arange(11)
    body, plates, pedicles, processes, wings = [], [], [], [], []
    for z in levels:
        body.append(([x, y, z - 12.5], [x, y, z + 12.5], 21.0))
        plates += [([x, y, z + s * 12.5 - 0.7], [x, y, z + s * 12.5 + 0.7], 21.5) for s in (-1, 1)]
        pedicles += [([x + s * 15, y + 12, z + 5], [x + s * 17, y + 34, z + 2], 4.6) for s in (-1, 1)]
        processes.append(([x, y + 30, z - 2], [x, y + 58, z - 16], 4.5))
        wings += [([x + s * 18, y + 26, z + 2], [x + s * 42, y + 34, z + 3], 4.0) for s in (-1, 1)]
    discs = [([x, y, z + 12.5], [x, y, z + 21.0], 20.0) for z in levels]
    return [
        Part("discs", Layer.STATIC, 75, _CAVITY_HU, _tubes(discs)),
        Part("vertebrae", Layer.STATIC, 190, _CAVITY_HU, _tubes(body)),
        Part("plates", Layer.STATIC, 520, 190, _tubes(plates)),
        *_shelled("pedicles", pedicles, 0.6, 480, 180, Layer.STATIC),
        *_shelled("processes", processes, 0.6, 600, 180, Layer.STATIC),
        *_shelled("wings", wings, 0.6, 600, 180, Layer.STATIC),
    ]


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
    return Tubes(
        np.array([r[0] for r in rods], float), np.array([r[1] for r in rods], float), np.array([r[2] for r in rods])
    )


def _ribs(rng: np.random.Generator) -> list[Part]:
    x = SPINE_MM[0]
    rods: list[tuple[list[float], list[float], float]] = []
    for k in range(9):
        top = 190 - 30.0 * k + rng.normal(0, 1.5)
        reach = (0.92 if k < 5 else 0.92 - 0.14 * (k - 4)) * np.pi
        angle = np.linspace(0.12, reach, 42)
        for side in (-1, 1):
            course = np.stack(
                [
                    x + side * (162 - 5 * abs(k - 3)) * np.sin(angle),
                    4 + 98 * np.cos(angle) - (4 if k < 7 else 0),
                    top - 46 * (angle / np.pi) ** 0.8 * (1.5 - 0.5 * angle / np.pi) - 10,
                ],
                axis=1,
            )
            radius = 5.2 + rng.normal(0, 0.2)
            rods += [(list(a), list(b), radius) for a, b in pairwise(course)]
    return _shelled("ribs", rods, 0.7, 620, 130, Layer.CHEST)
