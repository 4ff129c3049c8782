"""Breathing, as displacements of points in the patient and of layers in the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.ndimage import map_coordinates

from angio_pipeline.core.params import Params
from angio_pipeline.simulate.body import Layer
from angio_pipeline.simulate.projection import CArm

__all__ = ["Breathing", "MotionParams", "draw_breathing", "warp_layer"]

Array = npt.NDArray[np.float64]


class MotionParams(Params):
    """How the patient breathes during a run."""

    amplitude_mm: float = Field(0.8, ge=0, le=20, description="head to foot, half of the full swing")
    period_s: float = Field(4.2, gt=0.5, le=20)
    drift_mm: float = Field(0.4, ge=0, le=20, description="slow relaxation over the run")
    bending: float = Field(0.25, ge=0, le=1, description="how much the swing differs across the liver")
    jerk_mm: float = Field(0.0, ge=0, le=20, description="one sudden movement")


# How much of the breathing each layer follows.
_SHARE = {Layer.STATIC: 0.0, Layer.CHEST: 0.12, Layer.VISCERA: 1.0, Layer.BOWEL: 0.55}


@dataclass(frozen=True, slots=True, eq=False)
class Breathing:
    """A breathing patient: `swing_mm` (T,) head-to-foot (positive to the feet), and its pattern in space."""

    swing_mm: Array
    phase: Array
    bending: float
    peristalsis_mm: float = 0.3

    def displacement(self, points: Array, frame: int, layer: Layer = Layer.VISCERA) -> Array:
        """Return (N, 3) millimetres by which points (N, 3) of a layer are moved in `frame`."""
        local = 1 + self.bending * np.sin(points[:, 0] / 55 + self.phase[0]) * np.cos(points[:, 2] / 70 + self.phase[1])
        swing = self.swing_mm[frame] * _SHARE[layer] * local
        moved = np.stack([0.18 * swing * np.sin(points[:, 2] / 60 + self.phase[2]), -0.25 * swing, -swing], axis=1)
        if layer is Layer.BOWEL:
            wave = points / 24 + self.phase + 0.35 * frame
            moved = moved + self.peristalsis_mm * np.sin(wave) * min(frame, 6) / 3
        return moved


def draw_breathing(params: MotionParams, times_s: Array, rng: np.random.Generator) -> Breathing:
    """Return one patient's breathing over frames at `times_s` (T,)."""
    start = rng.uniform(0, 2 * np.pi)
    swing = params.amplitude_mm * np.sin(2 * np.pi * times_s / params.period_s + start)
    swing += params.drift_mm * rng.choice([-1.0, 1.0]) * times_s / max(times_s[-1], 1e-9)
    if params.jerk_mm > 0:
        when = rng.uniform(0.2, 0.8) * times_s[-1]
        swing += params.jerk_mm * (times_s > when) * np.exp(-(times_s - when).clip(0) / 2.0)
    return Breathing(swing, rng.uniform(0, 2 * np.pi, 3), params.bending)


def flow_field(breathing: Breathing, carm: CArm, frame: int, layer: Layer, step: int = 16) -> tuple[Array, Array]:
    """Return (rows, columns) fields of the layer's movement in pixels (down, right), taken in the isocentre plane."""
    grid_r = np.arange(0, carm.rows + step, step, dtype=float)
    grid_c = np.arange(0, carm.columns + step, step, dtype=float)
    rr, cc = np.meshgrid(grid_r, grid_c, indexing="ij")
    right, down, _ = carm.axes()
    size = carm.isocentre_pixel_mm
    points = (
        np.asarray(carm.isocentre_mm)
        + ((cc - (carm.columns - 1) / 2) * size).ravel()[:, None] * right
        + ((rr - (carm.rows - 1) / 2) * size).ravel()[:, None] * down
    )
    moved = carm.project(points + breathing.displacement(points, frame, layer)) - carm.project(points)
    full = np.meshgrid(np.arange(carm.rows) / step, np.arange(carm.columns) / step, indexing="ij")
    fields = [map_coordinates(moved[:, k].reshape(rr.shape), full, order=1, mode="nearest") for k in (0, 1)]
    return fields[0], fields[1]


def warp_layer(image: Array, down: Array, right: Array) -> Array:
    """Return `image` (H, W) with its content moved by the fields (H, W) in pixels."""
    rows, columns = np.indices(image.shape, dtype=float)
    return np.asarray(map_coordinates(image, [rows - down, columns - right], order=1, mode="nearest"))
