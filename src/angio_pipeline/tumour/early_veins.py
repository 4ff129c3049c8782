"""Veins that are filled from wall to wall while arteries fill, where a network has told which pixels are vein."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import ndimage
from skimage.morphology import skeletonize

from angio_pipeline.core.params import Params
from angio_pipeline.core.runs import PerfusionMaps, SubtractedRun
from angio_pipeline.core.tumours import Shunt, ShuntKind
from angio_pipeline.core.vessels import VesselSegmentation
from angio_pipeline.numerics.filters import gaussian, resize, shrink

__all__ = ["EarlyVeinParams", "early_veins"]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


class EarlyVeinParams(Params):
    """Settings of `early_veins`; lengths are for a 512-pixel frame and grow with it."""

    vein: float = Field(0.5, gt=0, lt=1, description="probability from which on a pixel is vein here")
    least_radius_px: float = Field(2.5, ge=1, description="narrower veins cannot be told from the artery beside them")
    early_s: tuple[float, float] = Field((0.6, 1.7), description="after onset: arteries are full, veins are not yet")
    section: float = Field(0.85, gt=0, le=1, description="share of the radius within which all has to be filled")
    unfilled: float = Field(20.0, ge=0, le=50, description="percentile of a section that stands for its least filled")
    filled: float = Field(0.45, gt=0, lt=1, description="share of a pixel's greatest contrast from which it is filled")
    over_noise: float = Field(3.0, ge=0, description="contrast in standard deviations of noise that counts at all")
    around_px: float = Field(60.0, gt=0, description="breadth of what is taken for the tissue around")
    catheter_px: float = Field(6.0, ge=0, description="how near the catheter nothing is looked for")
    along_artery: float = Field(0.5, ge=0, le=1, description="share that lies in arteries from which on it is portal")
    even_length_px: float = Field(26.0, gt=0, description="length at which a shunt is as likely as none, set by hand")
    certainty_per_px: float = Field(0.15, gt=0, description="how fast the odds change with length, set by hand")


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    # All (h, w) at the working size: early and greatest contrast above tissue, and which pixels are vein.
    early: FloatArray
    greatest: FloatArray
    vein: BoolArray
    noise_sd: float


def early_veins(
    sub: SubtractedRun, maps: PerfusionMaps, vessels: VesselSegmentation, *, params: EarlyVeinParams
) -> tuple[Shunt, ...]:
    """Return veins that fill with the arteries, the likeliest first; each stands where its early contrast is densest.

    Raises
    ------
    ValueError
        When no network has told veins.
    """
    if vessels.vein_probability is None:
        raise ValueError("Expected vein_probability, found None: a network has to tell veins first.")
    # Veins are wide: half a large frame's size shows as much.
    factor = max(1, round(max(sub.valid.shape) / 512))
    scene = _scene(sub, maps, vessels, vessels.vein_probability, params, factor)
    if scene is None:
        return ()
    line = _filled_line(scene, params)
    joined = ndimage.binary_dilation(line, iterations=2)
    pieces, count = ndimage.label(joined, structure=np.ones((3, 3)))
    artery = shrink(vessels.artery.astype(np.float32), factor) > 0.5
    each = (np.argwhere(line & (pieces == k + 1)) for k in range(count))
    found = [_shunt(points, scene, artery, maps, params, factor) for points in each]
    return tuple(sorted(found, key=lambda s: -s.probability))


def _scene(
    sub: SubtractedRun,
    maps: PerfusionMaps,
    vessels: VesselSegmentation,
    probability: FloatArray,
    params: EarlyVeinParams,
    factor: int,
) -> _Scene | None:
    since_s = sub.times_s - sub.times_s[maps.phases.arterial.first]
    chosen = sub.usable & (since_s >= params.early_s[0]) & (since_s <= params.early_s[1])
    if not chosen.any() or np.count_nonzero(sub.usable) < 3:
        return None
    frames = np.stack([gaussian(shrink(frame, factor), 0.8) for frame in sub.frames])
    early = frames[chosen].mean(axis=0)
    # The greatest but one: a single frame's noise is no filling.
    greatest = np.partition(frames[sub.usable], -2, axis=0)[-2]
    vein = shrink(np.where(sub.valid, probability, 0).astype(np.float32), factor) > params.vein
    vein = ndimage.binary_opening(vein, iterations=2)
    if vessels.catheter is not None and vessels.catheter.any():
        # Its lumen holds contrast before any vessel does.
        away = ndimage.distance_transform_edt(~vessels.catheter) > params.catheter_px * factor
        vein &= shrink(away.astype(np.float32), factor) > 0.5
    noise = max(sub.noise_sd, 1e-6) / np.sqrt(np.count_nonzero(chosen)) / factor
    return _Scene(early - _tissue(early, params.around_px), greatest, vein, float(noise))


def _tissue(early: FloatArray, around_px: float) -> FloatArray:
    # A low percentile of the surroundings: vessels are the lesser part of them.
    small = shrink(early, 4)
    around = ndimage.percentile_filter(small, 30, size=int(around_px / 4) | 1)
    return resize(np.asarray(around, dtype=np.float32), early.shape)


def _filled_line(scene: _Scene, params: EarlyVeinParams) -> BoolArray:
    """Return the middle line of veins, (h, w), where all of the section is filled early."""
    radius = ndimage.distance_transform_edt(scene.vein)
    points = np.argwhere(skeletonize(scene.vein) & (radius >= params.least_radius_px))
    filled = np.zeros(scene.vein.shape, np.bool_)
    reach = 15
    rows, cols = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    distance = np.hypot(rows, cols)
    early, greatest = np.pad(scene.early, reach), np.pad(scene.greatest, reach)
    for row, col in points[scene.early[tuple(points.T)] > params.over_noise * scene.noise_sd]:
        section = distance <= min(params.section * radius[row, col], reach)
        here = np.s_[row : row + 2 * reach + 1, col : col + 2 * reach + 1]
        contrast = early[here][section]
        ratio = contrast / np.maximum(greatest[here][section], 1e-6)
        seen = np.percentile(contrast, params.unfilled) > params.over_noise * scene.noise_sd
        filled[row, col] = seen and np.percentile(ratio, params.unfilled) > params.filled
    return filled


def _shunt(
    points: npt.NDArray[np.int64],
    scene: _Scene,
    artery: BoolArray,
    maps: PerfusionMaps,
    params: EarlyVeinParams,
    factor: int,
) -> Shunt:
    at = tuple(points.T)
    times = maps.arrival_s[tuple(factor * points.T)]
    arrival_s = float(np.nanmedian(times)) if np.isfinite(times).any() else float("nan")
    row, col = points[int(np.argmax(scene.early[at]))]
    # Portal veins run with arteries, hepatic veins between them.
    along = float(artery[at].mean())
    kind = ShuntKind.ARTERIOPORTAL if along >= params.along_artery else ShuntKind.ARTERIOVENOUS
    probability = 1 / (1 + np.exp(-params.certainty_per_px * (len(points) - params.even_length_px)))
    return Shunt(kind, float(probability), float(row * factor), float(col * factor), arrival_s)
