"""Breathing, heartbeat and peristalsis, as displacements of points in the patient and of layers in the picture.

Each layer moves by a law of its own: viscera swing with the diaphragm, and under the heart with its
beat as well; ribs follow a little; the heart shadow beats; bowel swings less and kneads; spine and
table stand still. So no single warp of the picture undoes it, as in a patient.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from angio_pipeline.core.params import Params
from angio_pipeline.simulate.radiograph.body import HEART_MM, HEART_RADIUS_MM, Layer
from angio_pipeline.simulate.radiograph.projection import CArm

__all__ = ["Breathing", "MotionMode", "MotionParams", "draw_breathing", "flow_field", "warp_layer"]

Array = npt.NDArray[np.float64]
Image = npt.NDArray[np.float32]


class MotionMode(StrEnum):
    """What the patient was told to do, and did."""

    QUIET = "quiet"
    HOLD = "hold"
    JERK = "jerk"


class MotionParams(Params):
    """How the patient moves during a run."""

    mode: MotionMode = Field(
        MotionMode.QUIET, description="quiet breathing; a breath held, that drifts; a hold that ends in a jerk"
    )
    amplitude_mm: float = Field(0.8, ge=0, le=20, description="breathing head to foot, half of the full swing")
    period_s: float = Field(4.2, gt=0.5, le=20, description="of one breath")
    drift_mm: float = Field(0.4, ge=0, le=20, description="slow relaxation of the diaphragm over the run")
    bending: float = Field(0.25, ge=0, le=1, description="how much the swing differs across the liver, relative")
    jerk_mm: float = Field(0.0, ge=0, le=20, description="one sudden movement, head to foot")
    bulk_mm: float = Field(0.0, ge=0, le=20, description="shift of the whole patient on the table with the jerk")
    heart_per_min: float = Field(72.0, ge=30, le=180, description="heart rate, beats a minute")
    heart_mm: float = Field(4.0, ge=0, le=15, description="inward movement of the heart's outline in systole")
    left_lobe_mm: float = Field(0.8, ge=0, le=8, description="movement of the liver under the heart with each beat")
    peristalsis_mm: float = Field(1.0, ge=0, le=10, description="kneading of bowel and its gas")
    peristalsis_s: float = Field(7.0, ge=1, le=60, description="period of the kneading")

    @model_validator(mode="after")
    def _a_jerk_has_a_size(self) -> MotionParams:
        if self.mode is MotionMode.JERK and self.jerk_mm == 0:
            raise ValueError("jerk_mm must be above 0 when mode is jerk")
        return self


# How much of the breathing each layer follows.
_SHARE = {
    Layer.TABLE: 0.0,
    Layer.STATIC: 0.0,
    Layer.CHEST: 0.12,
    Layer.HEART: 0.45,
    Layer.VISCERA: 1.0,
    Layer.BOWEL: 0.55,
}


@dataclass(frozen=True, slots=True, eq=False)
class Breathing:
    """A moving patient.

    Attributes
    ----------
    swing_mm : (T,) head to foot, positive to the feet
    phase : (3,) where the waves of its pattern in space begin
    beat : (T,) from 0 in diastole to 1 in systole
    kneading : (T,) phase of peristalsis, radians
    bulk_mm : (T, 3) shift of the whole patient, LPS
    """

    swing_mm: Array
    phase: Array
    bending: float
    peristalsis_mm: float = 0.3
    beat: Array = field(default_factory=lambda: np.zeros(0))
    kneading: Array = field(default_factory=lambda: np.zeros(0))
    bulk_mm: Array = field(default_factory=lambda: np.zeros((0, 3)))
    heart_mm: float = 0.0
    left_lobe_mm: float = 0.0

    def displacement(self, points: Array, frame: int, layer: Layer = Layer.VISCERA) -> Array:
        """Return (N, 3) millimetres by which points (N, 3) of a layer are moved in `frame`."""
        local = 1 + self.bending * np.sin(points[:, 0] / 55 + self.phase[0]) * np.cos(points[:, 2] / 70 + self.phase[1])
        swing = self.swing_mm[frame] * _SHARE[layer] * local
        moved = np.stack([0.18 * swing * np.sin(points[:, 2] / 60 + self.phase[2]), -0.25 * swing, -swing], axis=1)
        if len(self.bulk_mm) and layer is not Layer.TABLE:
            moved += self.bulk_mm[frame]
        if len(self.beat):
            moved += self.beat[frame] * self._beaten(points, layer)
        if layer is Layer.BOWEL and len(self.kneading):
            moved += self.peristalsis_mm * np.sin(points / 24 + self.phase + self.kneading[frame])
        return moved

    def moves(self, layer: Layer) -> bool:
        """Return whether anything of a layer ever moves."""
        if layer is Layer.TABLE:
            return False
        return bool(_SHARE[layer] > 0 or self.bulk_mm.any())

    def _beaten(self, points: Array, layer: Layer) -> Array:
        if layer is Layer.HEART:
            offset = (points - HEART_MM) / HEART_RADIUS_MM
            fall = np.exp(0.5 - 0.5 * (offset**2).sum(axis=1))
            return np.asarray(-self.heart_mm * offset * fall[:, None])
        if layer is Layer.VISCERA:
            # The heart lies on the diaphragm over the left lobe and lets it rise and fall.
            below = points - (HEART_MM + np.array([0.0, 0.0, -HEART_RADIUS_MM]))
            fall = np.exp(-0.5 * (below**2).sum(axis=1) / 45.0**2)
            return np.asarray(self.left_lobe_mm * fall[:, None] * np.array([-0.3, -0.2, 1.0]))
        return np.zeros_like(points)


def draw_breathing(params: MotionParams, times_s: Array, rng: np.random.Generator) -> Breathing:
    """Return one patient's movements over frames at `times_s` (T,)."""
    start, way = rng.uniform(0, 2 * np.pi), float(rng.choice([-1.0, 1.0]))
    end = max(float(times_s[-1]), 1e-9)
    breath = params.amplitude_mm * _breaths(times_s, params.period_s, start)
    when = float(rng.uniform(0.2, 0.8)) * end
    if params.mode is not MotionMode.QUIET:
        # A held breath relaxes quickly at first and trembles; one that fails goes on breathing.
        again = times_s > when + 1.0 if params.mode is MotionMode.JERK else np.zeros(len(times_s), bool)
        breath = np.where(again, breath, 0.03 * params.drift_mm * np.sin(2 * np.pi * 1.1 * times_s + start))
        relaxed = (1 - np.exp(-2.5 * times_s / end)) / (1 - np.exp(-2.5))
        swing = breath + params.drift_mm * way * relaxed
    else:
        swing = breath + params.drift_mm * way * times_s / end
    jerk = (times_s > when) * np.exp(-(times_s - when).clip(0) / 2.0)
    swing = swing + params.jerk_mm * jerk
    phase = rng.uniform(0, 2 * np.pi, 3)
    heading = rng.normal(0, 1, 3) * [1.0, 0.2, 0.7]
    bulk = params.bulk_mm * (times_s > when)[:, None] * heading / np.linalg.norm(heading)
    return Breathing(
        swing,
        phase,
        params.bending,
        params.peristalsis_mm,
        _beats(times_s, params.heart_per_min, rng),
        2 * np.pi * times_s / params.peristalsis_s,
        bulk,
        params.heart_mm,
        params.left_lobe_mm,
    )


def _breaths(times_s: Array, period_s: float, start: float) -> Array:
    # Longer at the end of expiration, as cos^4 has it (doi:10.1118/1.598577), about its mean.
    return np.asarray(2 * np.cos(np.pi * times_s / period_s + 0.5 * start) ** 4 - 0.75)


def _beats(times_s: Array, per_min: float, rng: np.random.Generator) -> Array:
    # A third of the cycle contracts, the rest fills; the length of cycles varies by a few per cent.
    cycles = times_s * per_min / 60 + rng.uniform(0, 1) + 0.03 * np.sin(times_s / 1.7 + rng.uniform(0, 6))
    at = cycles % 1.0
    return np.where(at < 0.35, np.sin(np.pi * at / 0.7), np.cos(np.pi * (at - 0.35) / 1.3)).clip(0, 1)


def flow_field(breathing: Breathing, carm: CArm, frame: int, layer: Layer, step: int = 16) -> tuple[Image, Image]:
    """Return (rows, columns) fields of the layer's movement in pixels (down, right).

    They are taken in the isocentre plane, the heart's at its own depth.
    """
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
    if layer is Layer.HEART:
        # The heart lies well in front of the isocentre: its own depth along each ray, not the plane's.
        points = carm.source_mm + (points - carm.source_mm) * carm.view(HEART_MM[None])[0, 2] / carm.sod_mm
    moved = carm.project(points + breathing.displacement(points, frame, layer)) - carm.project(points)
    coarse = moved.reshape(*rr.shape, 2).astype(np.float32)
    to_coarse = np.array([[1 / step, 0, 0], [0, 1 / step, 0]])
    flags, size_px = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, (carm.columns, carm.rows)
    full: Image = np.asarray(
        cv2.warpAffine(coarse, to_coarse, size_px, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.float32
    )
    return full[..., 0], full[..., 1]


def warp_layer(
    image: npt.NDArray[np.floating], down: npt.NDArray[np.floating], right: npt.NDArray[np.floating]
) -> Image:
    """Return `image` (H, W) with its content moved by the fields (H, W) in pixels."""
    rows, columns = image.shape
    at_row = np.arange(rows, dtype=np.float32)[:, None] - np.asarray(down, np.float32)
    at_col = np.arange(columns, dtype=np.float32)[None] - np.asarray(right, np.float32)
    picture = np.asarray(image, np.float32)
    return np.asarray(cv2.remap(picture, at_col, at_row, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE))
