"""Paths into a tumour out of a map that says how likely each pixel belongs to a branch that feeds it alone.

Strategy: where the map holds together and reaches the tumour, the cheapest way (cheap is likely) is sought from
the tumour to each end of the region. Ways that share most of their course are one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import ndimage
from skimage.graph import MCP_Geometric
from skimage.morphology import skeletonize

from angio_pipeline.core.params import Params

__all__ = ["FeedingParams", "FeedingPath", "feeding_paths"]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


class FeedingParams(Params):
    """Settings of `feeding_paths`; pixel lengths are for a 512-pixel frame and grow with it."""

    least: float = Field(0.15, gt=0, lt=1, description="the map holds together where it says this much")
    seed: float = Field(0.35, gt=0, lt=1, description="what nowhere says this much is nothing")
    reach_px: float = Field(20.0, gt=0, description="how far from the tumour a region may end")
    min_length_px: float = Field(5.0, ge=0, description="shorter ways are none")
    own_share: float = Field(0.35, ge=0, le=1, description="share of a way that no likelier way goes along")


@dataclass(frozen=True, slots=True, eq=False)
class FeedingPath:
    """A way into the tumour, (K, 2) (row, col) from where it begins to the tumour, and what the map says along it."""

    line: npt.NDArray[np.float64]
    probability: npt.NDArray[np.float64]


def feeding_paths(feeding: FloatArray, tumour: BoolArray, *, params: FeedingParams) -> list[FeedingPath]:
    """Return the ways into a tumour, likeliest first.

    Parameters
    ----------
    feeding : ndarray, (H, W) float32
        Probability of belonging to a branch that feeds this tumour alone.
    """
    scale = max(feeding.shape) / 512
    distance = ndimage.distance_transform_edt(~tumour)
    regions, count = ndimage.label(feeding >= params.least, np.ones((3, 3)))
    if count == 0:
        return []
    numbers = np.arange(1, count + 1)
    likely = ndimage.maximum(feeding, regions, numbers) >= params.seed
    near = ndimage.minimum(distance, regions, numbers) <= params.reach_px * scale
    boxes = ndimage.find_objects(regions)
    found = []
    for number in numbers[likely & near]:
        box = boxes[number - 1]
        corner = np.array([box[0].start, box[1].start], dtype=np.float64)
        for way in _ways(feeding[box], regions[box] == number, distance[box], params, scale):
            found.append(FeedingPath(way + corner, feeding[box][tuple(way.T)].astype(np.float64)))
    return sorted(found, key=lambda path: -float(path.probability.mean()))


def _ways(
    feeding: FloatArray, region: BoolArray, distance: npt.NDArray[np.float64], params: FeedingParams, scale: float
) -> list[npt.NDArray[np.int64]]:
    """Return (K, 2) pixels from each end of a region to the tumour; longest first, without repetitions."""
    line = skeletonize(np.pad(region, 1))[1:-1, 1:-1]
    contact = np.argwhere(region & (distance <= max(1.0, float(distance[region].min())) + 1))
    # Outside the region there is no way; inside, each pixel costs the more the less likely it is.
    costs = MCP_Geometric(np.where(region, 1 / (0.05 + feeding), -1))
    total, _ = costs.find_costs([tuple(point) for point in contact])
    neighbours = ndimage.convolve(line.astype(np.int64), np.ones((3, 3), np.int64), mode="constant") - line
    ends = [tuple(point) for point in np.argwhere(line & (neighbours <= 1)) if np.isfinite(total[tuple(point)])]
    taken = np.zeros(region.shape, np.bool_)
    out = []
    for end in sorted(ends, key=lambda point: -total[point]):
        way = np.array(costs.traceback(end), dtype=np.int64)[::-1]
        fresh = float(np.mean(~taken[tuple(way.T)]))
        if len(way) < params.min_length_px * scale or fresh < params.own_share:
            continue
        here = np.zeros(region.shape, np.bool_)
        here[tuple(way.T)] = True
        taken |= ndimage.binary_dilation(here, iterations=max(1, round(2 * scale)))
        out.append(way)
    return out
