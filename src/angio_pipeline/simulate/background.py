"""Everything on a radiograph that is not contrast medium, in layers that move differently."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.interpolate import make_interp_spline

from angio_pipeline.core.params import Params
from angio_pipeline.simulate.body import Body, Layer
from angio_pipeline.simulate.projection import (
    CArm,
    Ellipsoids,
    Tubes,
    project_ellipsoids,
    project_overlaps,
    project_tubes,
)

__all__ = ["BackgroundParams", "project_background"]

Array = npt.NDArray[np.float64]
WATER_PER_MM = 0.0185


class BackgroundParams(Params):
    """How busy the picture is behind the vessels."""

    gas: float = Field(0.6, ge=0, le=3, description="volume of bowel gas, relative")
    texture: float = Field(0.035, ge=0, le=0.3, description="standard deviation of soft mottle, attenuation")
    wedge: float = Field(0.62, ge=0, le=1, description="share of over-bright lung that filters take away")
    wires: int = Field(1, ge=0, le=5, description="monitor leads on the skin")


def project_background(
    carm: CArm, body: Body, catheter_mm: Array, params: BackgroundParams, rng: np.random.Generator
) -> dict[Layer, Array]:
    """Return each layer's attenuation (rows, columns), relative to air."""
    layers = {layer: np.zeros((carm.rows, carm.columns)) for layer in Layer}
    for part in body.parts:
        weight = WATER_PER_MM * (part.hu - part.host_hu) / 1000
        if isinstance(part.solids, Tubes):
            layers[part.layer] += project_tubes(carm, part.solids, np.full(len(part.solids.radius), weight))
        else:
            layers[part.layer] += project_ellipsoids(carm, part.solids, weight)
    layers[Layer.VISCERA] += _liver_in_lung(carm, body)
    layers[Layer.STATIC] += _devices(carm, catheter_mm, params.wires, rng)
    # Most of the soft mottle over the liver is viscera that breathe; the wall behind them does not.
    for layer, share in ((Layer.STATIC, 0.35), (Layer.VISCERA, 1.0)):
        layers[layer] += share * params.texture * _mottle(carm.rows, carm.columns, rng)
    layers[Layer.STATIC] += params.wedge * _wedge(sum(layers.values(), np.zeros((carm.rows, carm.columns))))
    return layers


def _wedge(total: Array) -> Array:
    # Semi-transparent filters that the operator slides over lung and beside the flank.
    rows, columns = total.shape
    middle = np.median(total[rows // 4 : 3 * rows // 4, columns // 4 : 3 * columns // 4])
    small = cv2.resize(total, (columns // 8, rows // 8), interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(small, (0, 0), 4.0)
    return np.asarray(cv2.resize(np.maximum(middle - soft, 0.0), (columns, rows), interpolation=cv2.INTER_LINEAR))


def _liver_in_lung(carm: CArm, body: Body) -> Array:
    # Chords of lobes and lungs were added separately; where they overlap liver wins, and the two
    # lobes must not count twice.
    liver, lung = body.part("liver"), body.part("lungs")
    lobes, lungs = body.lobes, body.lungs
    pairs = [(i, j) for i in range(len(lobes.centre)) for j in range(len(lungs.centre))]
    first = Ellipsoids(lobes.centre[[i for i, _ in pairs]], lobes.shape[[i for i, _ in pairs]])
    second = Ellipsoids(lungs.centre[[j for _, j in pairs]], lungs.shape[[j for _, j in pairs]])
    lung_weight = -WATER_PER_MM * (lung.hu - lung.host_hu) / 1000
    image = project_overlaps(carm, first, second, lung_weight)
    right = Ellipsoids(lobes.centre[:1], lobes.shape[:1])
    left = Ellipsoids(lobes.centre[1:], lobes.shape[1:])
    return image + project_overlaps(carm, right, left, -WATER_PER_MM * (liver.hu - liver.host_hu) / 1000)


def _devices(carm: CArm, catheter_mm: Array, wires: int, rng: np.random.Generator) -> Array:
    image = np.zeros((carm.rows, carm.columns))
    if len(catheter_mm):
        image += _catheter(carm, catheter_mm)
    for _ in range(wires):
        start = np.array([rng.uniform(-110, 130), -118, 140])
        end = np.array([rng.uniform(-110, 130), -118, rng.uniform(-60, 40)])
        middle = 0.5 * (start + end) + rng.normal(0, 12, 3) * [1, 0, 1]
        lead = _polyline(np.array([start, middle, end]), 60)
        image += project_tubes(carm, Tubes(lead[:-1], lead[1:], np.full(60, 0.45)), np.full(60, 0.22))
        image += project_ellipsoids(carm, Ellipsoids.aligned(end, [4.5, 1.0, 4.5]), 0.10)
    return image


def _catheter(carm: CArm, course_mm: Array) -> Array:
    # 5 F, filled with contrast before the run.
    fine = _polyline(course_mm, 60)
    return project_tubes(carm, Tubes(fine[:-1], fine[1:], np.full(60, 0.85)), np.full(60, 0.09))


def _polyline(control: Array, count: int) -> Array:
    chord = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(control, axis=0), axis=1))])
    curve = make_interp_spline(chord, control, k=min(3, len(control) - 1))
    return np.asarray(curve(np.linspace(0, chord[-1], count + 1)))


def _mottle(rows: int, columns: int, rng: np.random.Generator) -> Array:
    # Power falls as the cube of frequency, as anatomical noise does (doi:10.1118/1.1355308).
    image = np.zeros((rows, columns))
    for octave in range(2, 7):
        size = 2**octave
        coarse = rng.standard_normal((size + 1, size + 1)).astype(np.float32)
        image += cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_CUBIC) * 2.0 ** (-0.75 * (octave - 2))
    return np.asarray((image - image.mean()) / image.std())
