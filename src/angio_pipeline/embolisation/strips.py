"""Contrast of a vessel read across its centreline: what its core holds above the tissue on both sides.

A strip follows the line; each point looks across it. The mean over the core minus the mean over the
flanks does not change with a slow background, and little with a pixel of misplacement, as the core
is wider than the vessel. Flanks leave out other vessels. The median over the points lets a
vessel that crosses the line count for little.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.numerics.fields import warp

__all__ = ["Strip", "StripParams", "lay_strip", "read_strip"]

Line = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


class StripParams(Params):
    """How vessels are read; lengths are for a 512-pixel frame and grow with it, all chosen by hand."""

    margin_px: float = Field(1.0, ge=0, description="the core is this much wider than the vessel, on each side")
    gap_px: float = Field(1.5, ge=0, description="between core and flank")
    flank_px: float = Field(5.0, gt=0, description="width of the flank on each side")
    step_px: float = Field(0.5, gt=0, description="between samples across and along")


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """Where a vessel is read.

    Attributes
    ----------
    at : ndarray, (K, M, 2) float32
        (row, col) of M samples across each of K points.
    core : ndarray, (K, M) float32
        Weights of the core, summing to 1 at each point.
    flank : ndarray, (K, M) float32
        Weights of the flanks, summing to 1 at each point.
    """

    at: FloatArray
    core: FloatArray
    flank: FloatArray

    def __len__(self) -> int:
        return len(self.at)

    @property
    def core_px(self) -> float:
        """About how many pixels the core covers."""
        inside = self.core > 0
        if not inside.any():
            return 0.0
        step = np.linalg.norm(np.diff(self.at[0].astype(np.float64), axis=0), axis=1).mean()
        return float(np.count_nonzero(inside) * step * step)


def lay_strip(
    line: Line,
    radius_px: float,
    other_vessels: BoolArray,
    *,
    scale: float,
    params: StripParams,
    offset_px: float = 0.0,
    crossing: BoolArray | None = None,
) -> Strip:
    """Return the strip along a line.

    Parameters
    ----------
    line : ndarray, (K, 2) float64
        Centreline (row, col).
    radius_px : float
        Of the vessel.
    other_vessels : ndarray, (H, W) bool
        What the flanks leave out; the vessel itself may be in it.
    scale : float
        Frame size over 512.
    offset_px : float
        The whole strip is moved sideways by this.
    crossing : ndarray, (H, W) bool, optional
        Points whose core meets this are left out: other vessels that lie over this one.
    """
    points = _resampled(line, params.step_px * scale)
    points = points + offset_px * _normals(points)
    half = radius_px + (params.margin_px + params.gap_px + params.flank_px) * scale
    count = int(np.ceil(half / (params.step_px * scale)))
    across = np.arange(-count, count + 1) * params.step_px * scale
    at = points[:, None, :] + across[None, :, None] * _normals(points)[:, None, :]
    vessel = _looked_up(other_vessels, at)
    inside = np.abs(across) <= radius_px + params.margin_px * scale
    beside = np.abs(across) >= radius_px + (params.margin_px + params.gap_px) * scale
    flank = beside[None, :] & ~vessel
    # A point needs at least a quarter of its flanks, or a single pixel beside it decides.
    usable = flank.sum(axis=1) >= 0.25 * beside.sum()
    if crossing is not None:
        usable &= ~(_looked_up(crossing, at) & inside[None, :]).any(axis=1)
    core = np.broadcast_to(inside / inside.sum(), flank.shape)[usable]
    flank = flank[usable]
    return Strip(
        at[usable].astype(np.float32),
        core.astype(np.float32),
        (flank / np.maximum(flank.sum(axis=1, keepdims=True), 1)).astype(np.float32),
    )


def read_strip(image: FloatArray, strip: Strip) -> float:
    """Return the median over the strip's points of core minus flank in an image (H, W); NaN without points."""
    if not len(strip):
        return float("nan")
    values = warp(image, strip.at)
    return float(np.median((values * (strip.core - strip.flank)).sum(axis=1)))


def _looked_up(mask: BoolArray, at: Line) -> BoolArray:
    """Return the mask at the nearest pixels; outside the frame counts as set."""
    rows, cols = np.rint(at[..., 0]).astype(int), np.rint(at[..., 1]).astype(int)
    inside = (rows >= 0) & (rows < mask.shape[0]) & (cols >= 0) & (cols < mask.shape[1])
    out = np.ones(rows.shape, np.bool_)
    out[inside] = mask[rows[inside], cols[inside]]
    return out


def _resampled(line: Line, step_px: float) -> Line:
    """Return the line with points at even distances along it."""
    lengths = np.linalg.norm(np.diff(line, axis=0), axis=1)
    kept = np.concatenate([[True], lengths > 1e-9])
    points = line[kept]
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    places = np.linspace(0, along[-1], max(2, int(along[-1] / step_px) + 1))
    return np.stack([np.interp(places, along, points[:, k]) for k in (0, 1)], axis=1)


def _normals(points: Line) -> Line:
    """Return the unit vector across the line at each point, from its direction over some points about it."""
    reach = min(6, len(points) - 1)
    ahead = np.minimum(np.arange(len(points)) + reach, len(points) - 1)
    behind = np.maximum(np.arange(len(points)) - reach, 0)
    along = points[ahead] - points[behind]
    along = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    return np.stack([-along[:, 1], along[:, 0]], axis=1)
