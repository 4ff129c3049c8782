"""Runs of round tubes filled with contrast: what is seen across them has a closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import cKDTree

from angio_pipeline.core.provenance import Source
from angio_pipeline.core.runs import Background, PerfusionMaps, SubtractedRun
from angio_pipeline.core.vessels import VesselSegmentation
from angio_pipeline.perfusion import PerfusionParams, measure

SIZE = (512, 512)
FRAMES, FPS = 14, 4.0
BLUR_PX = 0.6


@dataclass(frozen=True)
class Tube:
    """A vessel through points (row, col), of one radius; contrast comes to its first point at `start_s`."""

    points: Sequence[tuple[float, float]]
    radius: float
    start_s: float = 0.8
    px_per_s: float = 300.0
    per_px: float = 0.02

    def line(self) -> np.ndarray:
        """Return points a tenth of a pixel apart."""
        corners = np.array(self.points, float)
        along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
        at = np.arange(0, along[-1], 0.1)
        return np.stack([np.interp(at, along, corners[:, k]) for k in range(2)], axis=1)


@dataclass(frozen=True)
class TubeRun:
    """Tubes as a subtracted run, with their mask."""

    artery: np.ndarray
    sub: SubtractedRun
    maps: PerfusionMaps

    @property
    def segmentation(self) -> VesselSegmentation:
        """The mask as a segmentation."""
        return VesselSegmentation(self.artery.astype(np.float32), self.artery)


def tube_run(*tubes: Tube, noise: float = 0.002, seed: int = 0) -> TubeRun:
    """Return the run of some tubes; their attenuation adds."""
    rng = np.random.default_rng(seed)
    times = np.arange(FRAMES) / FPS
    frames = np.zeros((FRAMES, *SIZE), np.float32)
    artery = np.zeros(SIZE, bool)
    for tube in tubes:
        rows, cols, chord, arrival = _shadow(tube)
        for t, time in enumerate(times):
            frames[t, rows, cols] += tube.per_px * chord * np.clip((time - arrival) / 0.5 + 0.5, 0, 1)
        artery[rows, cols] |= chord > 0
    frames = np.stack([cv2.GaussianBlur(f, (0, 0), BLUR_PX) for f in frames])
    frames += rng.normal(0, noise, frames.shape).astype(np.float32)
    sub = SubtractedRun(
        frames=frames, times_s=times, valid=np.ones(SIZE, bool), usable=np.ones(FRAMES, bool),
        background=Background.MASK, mask_frames=(0, 1), reference_frame=FRAMES - 2, motion_px=np.zeros((FRAMES, 2)),
        residual_before=noise, residual_after=noise, noise_sd=noise, uncorrected=frames[-1], attenuation=frames[-1],
        source=Source("", ""),
    )  # fmt: skip
    return TubeRun(artery, sub, measure(sub, params=PerfusionParams()))


def _shadow(tube: Tube) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    # Pixels near the tube: mean chord over four by four rays, and when contrast comes.
    line = tube.line()
    low = np.maximum(np.floor(line.min(axis=0) - tube.radius - 2), 0).astype(int)
    high = np.minimum(np.ceil(line.max(axis=0) + tube.radius + 3), SIZE).astype(int)
    rows, cols = (a.ravel() for a in np.mgrid[low[0] : high[0], low[1] : high[1]])
    index = cKDTree(line)
    # Only near the tube are there chords to measure.
    reached = np.isfinite(index.query(np.stack([rows, cols], axis=1), distance_upper_bound=tube.radius + 2)[0])
    rows, cols = rows[reached], cols[reached]
    chord = np.zeros(len(rows))
    for dr in (-0.375, -0.125, 0.125, 0.375):
        for dc in (-0.375, -0.125, 0.125, 0.375):
            away, _ = index.query(np.stack([rows + dr, cols + dc], axis=1))
            chord += 2 * np.sqrt(np.maximum(tube.radius**2 - away**2, 0)) / 16
    _, at = index.query(np.stack([rows, cols], axis=1))
    return rows, cols, chord.astype(np.float32), tube.start_s + at * 0.1 / tube.px_per_s
