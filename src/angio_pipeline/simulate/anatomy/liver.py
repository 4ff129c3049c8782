"""The liver (and spleen) as a union of a few ellipsoids, with the landmarks that vessels follow.

A union of ellipsoids keeps the chord of an X-ray in closed form. Shape varies in size, in the
length of the left lobe, in the caudate lobe, and now and then by a Riedel tongue.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.simulate.radiograph.projection import Ellipsoids

__all__ = ["Liver", "LiverParams", "draw_liver", "inside", "spread_points", "volume_ml"]

Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

SPLEEN = Ellipsoids.aligned([148.0, 40.0, 28.0], [28.0, 38.0, 52.0])


class LiverParams(Params):
    """Size and shape of the liver."""

    liver_size_min: float = Field(
        0.92, ge=0.75, le=1.25, description="least length scale of the liver, 1 is about 1.4 l"
    )
    liver_size_max: float = Field(1.08, ge=0.75, le=1.25, description="greatest length scale of the liver")
    left_lobe_length_min: float = Field(0.8, ge=0.6, le=1.5, description="least length of the left lobe, 1 is usual")
    left_lobe_length_max: float = Field(1.25, ge=0.6, le=1.5, description="greatest length of the left lobe")
    riedel_probability: float = Field(0.06, ge=0, le=1, description="chance of a tongue below the right lobe")


# Parts of a liver of usual size: centre and half axes in mm, and whether the left artery supplies it.
# Domes, the oblique lower edge with its tip, the part before the gallbladder, a tapering left lobe.
_PARTS = (
    ((-41.0, 6.0, 26.0), (58.0, 55.0, 52.0), False),
    ((-51.0, 10.0, -12.0), (50.0, 48.0, 56.0), False),
    ((-62.0, 8.0, -42.0), (34.0, 34.0, 36.0), False),
    ((-26.0, -20.0, 4.0), (40.0, 38.0, 42.0), False),
    ((3.0, -27.0, 27.0), (40.0, 34.0, 40.0), True),
    ((36.0, -28.0, 29.0), (38.0, 29.0, 33.0), True),
    ((64.0, -24.0, 33.0), (32.0, 21.0, 22.0), True),
    ((6.0, 24.0, 22.0), (17.0, 15.0, 24.0), True),
)
_RIGHT_EDGE, _LEFT_EDGE = 18.0, -32.0


@dataclass(frozen=True, slots=True, eq=False)
class Liver:
    """The liver's body.

    Attributes
    ----------
    lobes : Ellipsoids
        Parts whose union is the liver.
    left : tuple of bool
        Whether each part is supplied by the left hepatic artery.
    frames : Ellipsoids
        Right, left and caudate lobe as one ellipsoid each, to name places in.
    riedel : bool
        Whether a tongue hangs from the right lobe.
    """

    lobes: Ellipsoids
    left: tuple[bool, ...]
    frames: Ellipsoids
    riedel: bool

    def at(self, lobe: int, unit: tuple[float, float, float]) -> Array:
        """Return the (3,) point at coordinates (left, back, head) of a lobe's unit ball, inside the liver."""
        centre = self.frames.centre[lobe]
        offset = np.asarray(unit) / np.diagonal(self.frames.shape[lobe])
        for _ in range(12):
            if inside(self.lobes, (centre + offset)[None], 0.92)[0]:
                break
            offset = 0.92 * offset
        return np.asarray(centre + offset)

    def of_left(self, points: Array) -> BoolArray:
        """Return (N,) whether points of the liver belong to the left hepatic artery (caudate included)."""
        depth = (np.einsum("kij,nkj->nki", self.lobes.shape, points[:, None] - self.lobes.centre) ** 2).sum(axis=2)
        return np.asarray(np.asarray(self.left)[np.argmin(depth, axis=1)])


def draw_liver(params: LiverParams, rng: np.random.Generator) -> Liver:
    """Return a liver drawn from the ranges of its size and shape."""
    size = rng.uniform(params.liver_size_min, params.liver_size_max)
    long = rng.uniform(params.left_lobe_length_min, params.left_lobe_length_max)
    centre, radii = [], []
    for at, half, left in _PARTS:
        shift = rng.normal(0, 1.5, 3)
        grow = size * np.asarray(half) * rng.uniform(0.95, 1.05, 3)
        centre.append(_stretched(np.asarray(at), size, long if left else 1.0) + shift)
        # A long left lobe is longer, not bigger.
        radii.append(grow * ([long, long**-0.2, long**-0.2] if left and at[0] > 10 else [1.0, 1.0, 1.0]))
    sides = [part[2] for part in _PARTS]
    riedel = bool(rng.random() < params.riedel_probability)
    if riedel:
        centre.append(centre[2] + np.array([-2.0, 0.0, -24.0 * size]))
        radii.append(np.array([25.0, 24.0, 42.0]) * size)
        sides.append(False)
    right, other = size * np.array([60.0, 56.0, 76.0]), size * np.array([58.0 * long, 34.0, 42.0])
    middle = [[_RIGHT_EDGE - right[0], 6.0, 6.0], [_LEFT_EDGE + other[0], -26.0, 25.0], list(centre[7])]
    frames = Ellipsoids.aligned(np.array(middle), np.array([right, other, radii[7]]))
    return Liver(Ellipsoids.aligned(np.array(centre), np.array(radii)), tuple(sides), frames, riedel)


def _stretched(at: Array, size: float, long: float) -> Array:
    # The edges by the hilum stay where the vessels enter; the free edges move.
    edge = _RIGHT_EDGE if at[0] < -10 else _LEFT_EDGE
    return np.array([edge + (at[0] - edge) * size * long, at[1], 6.0 + (at[2] - 6.0) * size])


def inside(solids: Ellipsoids, points: Array, scale: float = 1.0) -> BoolArray:
    """Return (N,) whether each point lies in any of the solids shrunk (or grown) by `scale`."""
    offset = np.einsum("kij,nkj->nki", solids.shape, points[:, None] - solids.centre)
    return np.asarray(((offset**2).sum(axis=2) <= scale**2).any(axis=1))


def volume_ml(solids: Ellipsoids, reach_mm: float) -> float:
    """Return the volume of the union of solids that lie within `reach_mm` of the first one's centre."""
    axis = np.linspace(-reach_mm, reach_mm, 33)
    grid = np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(-1, 3) + solids.centre[0]
    return float(inside(solids, grid).mean() * (2 * reach_mm) ** 3 / 1000)


def points_within(solids: Ellipsoids, count: int, rng: np.random.Generator, scale: float = 0.96) -> Array:
    """Return (count, 3) points spread evenly at random over the union of solids shrunk by `scale`."""
    radii = 1 / np.diagonal(solids.shape, axis1=1, axis2=2)
    low, high = (solids.centre - radii).min(axis=0), (solids.centre + radii).max(axis=0)
    found = np.zeros((0, 3))
    while len(found) < count:
        more = rng.uniform(low, high, (4 * count, 3))
        found = np.vstack([found, more[inside(solids, more, scale)]])
    return found[:count]


def spread_points(pool: Array, count: int, tried: int = 6) -> Array:
    """Return (count, 3) points of `pool`, each the farthest of `tried` from all those before it.

    Supply becomes even, and the first few points draw the great branches. The pool must hold
    `tried` times `count` points or more; with fewer, fewer come back.
    """
    count = min(count, len(pool) // tried)
    chosen = np.zeros((count, 3))
    _spread(np.ascontiguousarray(pool, float), chosen, tried)
    return chosen


def _spread(pool: Array, chosen: Array, tried: int) -> None:
    for n in range(len(chosen)):
        best, widest = 0, -1.0
        for k in range(tried):
            p = pool[n * tried + k]
            gap = 1e18
            for m in range(n):
                d = (p[0] - chosen[m, 0]) ** 2 + (p[1] - chosen[m, 1]) ** 2 + (p[2] - chosen[m, 2]) ** 2
                gap = min(gap, d)
            if gap > widest:
                best, widest = n * tried + k, gap
        chosen[n] = pool[best]


_spread = numba.njit(cache=True)(_spread)
