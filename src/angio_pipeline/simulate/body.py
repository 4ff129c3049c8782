"""What surrounds the vessels: body wall, spine, ribs, lungs, organs and bowel gas, as simple solids.

One description serves both pictures: radiographs add each part's difference to its host along
exact chords, CT paints the parts in order. Hounsfield units; LPS millimetres.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

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
    across = np.linspace(-70, 120, 9)
    colon = np.stack([across, np.full(9, -58.0), -86 - 14 * np.sin(np.pi * np.linspace(0, 1, 9))], axis=1)
    small = np.stack([rng.uniform(-40, 120, 14), rng.uniform(-60, 10, 14), rng.uniform(-170, -105, 14)], axis=1)
    radii = np.vstack([rng.uniform(13, 19, (9, 3)), rng.uniform(11, 17, (14, 3))])
    return Ellipsoids.aligned(np.vstack([colon, small]) + rng.normal(0, 3, (23, 3)), radii)


def _gas(rng: np.random.Generator, amount: float) -> Ellipsoids:
    # Bubbles ride in front: the patient lies on the back.
    bubble = Ellipsoids.aligned([100, -48, 38], np.array([26, 11, 30]) * max(amount, 0.05) ** (1 / 3))
    loops = _loops(rng)
    centre = loops.centre + [0, -6, 0]
    radii = loops.radii_mm()[:, None] * rng.uniform(0.15, 0.7, (len(centre), 3)) * max(amount, 0.05) ** (1 / 3)
    solids = Ellipsoids.aligned(centre, radii)
    return Ellipsoids(np.vstack([bubble.centre, solids.centre]), np.concatenate([bubble.shape, solids.shape]))


def _spine(x: float, y: float) -> list[Part]:
    # Dense shells around spongy bone: that, seen edge-on, is what draws end plates and pedicles.
    levels = -165 + 33.5 * np.arange(11)
    body, plates, pedicles, processes, wings = [], [], [], [], []
    for z in levels:
        body.append(([x, y, z - 12.5], [x, y, z + 12.5], 21.0))
        plates += [([x, y, z + s * 12.5 - 0.7], [x, y, z + s * 12.5 + 0.7], 21.5) for s in (-1, 1)]
        pedicles += [([x + s * 14, y + 12, z + 4], [x + s * 15, y + 34, z + 4], 5.0) for s in (-1, 1)]
        processes.append(([x, y + 30, z - 2], [x, y + 58, z - 16], 4.5))
        wings += [([x + s * 18, y + 26, z + 2], [x + s * 42, y + 34, z + 3], 4.0) for s in (-1, 1)]
    discs = [([x, y, z + 12.5], [x, y, z + 21.0], 20.0) for z in levels]
    return [
        Part("discs", Layer.STATIC, 75, _CAVITY_HU, _tubes(discs)),
        Part("vertebrae", Layer.STATIC, 190, _CAVITY_HU, _tubes(body)),
        Part("plates", Layer.STATIC, 620, 190, _tubes(plates)),
        *_shelled("pedicles", pedicles, 0.65, 700, 200, Layer.STATIC),
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
    x, y = SPINE_MM
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
            rods += [(list(a), list(b), radius) for a, b in zip(course[:-1], course[1:], strict=True)]
    return _shelled("ribs", rods, 0.7, 620, 130, Layer.CHEST)
