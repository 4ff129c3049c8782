"""The liver (and spleen) as a union of a few ellipsoids, with the landmarks that vessels follow.

A union of ellipsoids keeps the chord of an X-ray in closed form. Shape varies in size, in the
length of the left lobe, in the caudate lobe, and now and then by a Riedel tongue.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from angio_pipeline.core.params import Params
from angio_pipeline.simulate.projection import Ellipsoids

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

    @model_validator(mode="after")
    def _liver_ranges(self) -> LiverParams:
        for low, high in (("liver_size_min", "liver_size_max"), ("left_lobe_length_min", "left_lobe_length_max")):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low} must not be above {high}")
        return self


@dataclass(frozen=True, slots=True, eq=False)
class Liver:
    """The liver's body.

    Attributes
    ----------
    lobes : Ellipsoids
        Right, left, caudate, and perhaps a Riedel tongue; the liver is their union.
    riedel : bool
    """

    lobes: Ellipsoids
    riedel: bool

    def at(self, lobe: int, unit: tuple[float, float, float]) -> Array:
        """Return the (3,) point of `lobe` at coordinates of its unit ball (left, back, head)."""
        return np.asarray(self.lobes.centre[lobe] + np.asarray(unit) / np.diagonal(self.lobes.shape[lobe]))

    def of_left(self, points: Array) -> BoolArray:
        """Return (N,) whether points of the liver belong to the left hepatic artery (caudate included)."""
        right = np.zeros(len(points), bool)
        for k in [0, *range(3, len(self.lobes.centre))]:
            right |= inside(_one(self.lobes, k), points, 0.9 if k == 0 else 1.0)
        return np.asarray(~right & inside(Ellipsoids(self.lobes.centre[1:3], self.lobes.shape[1:3]), points))


def draw_liver(params: LiverParams, rng: np.random.Generator) -> Liver:
    """Return a liver drawn from the ranges of its size and shape."""
    size = rng.uniform(params.liver_size_min, params.liver_size_max)
    long = rng.uniform(params.left_lobe_length_min, params.left_lobe_length_max)
    right = size * np.array([60.0, 56.0, 76.0]) * rng.uniform(0.95, 1.05, 3)
    left = size * np.array([58.0 * long, 34.0 * long**-0.2, 42.0 * long**-0.2]) * rng.uniform(0.95, 1.05, 3)
    caudate = size * np.array([17.0, 15.0, 24.0]) * rng.uniform(0.8, 1.2, 3)
    # The edges by the hilum stay where the vessels enter; the free edges move.
    centre = [
        np.array([18.0 - right[0], 6.0, 6.0 + 0.3 * (right[2] - 76)]) + rng.normal(0, 1.5, 3),
        np.array([-32.0 + left[0], -26.0, 24.0]) + rng.normal(0, 1.5, 3),
        np.array([6.0, 24.0, 22.0]) + rng.normal(0, 2.0, 3),
    ]
    radii = [right, left, caudate]
    riedel = bool(rng.random() < params.riedel_probability)
    if riedel:
        centre.append(centre[0] + np.array([-0.45 * right[0], -4.0, -0.85 * right[2]]))
        radii.append(np.array([26.0, 24.0, 52.0]) * size)
    return Liver(Ellipsoids.aligned(np.array(centre), np.array(radii)), riedel)


def _one(solids: Ellipsoids, index: int) -> Ellipsoids:
    return Ellipsoids(solids.centre[index : index + 1], solids.shape[index : index + 1])


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
