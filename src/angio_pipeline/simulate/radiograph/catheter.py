"""The catheter on a radiograph: a radio-opaque wall, a lumen that fills, a denser tip."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.interpolate import make_interp_spline

from angio_pipeline.simulate.radiograph.projection import CArm, Tubes, project_tubes

__all__ = ["project_catheter"]

Array = npt.NDArray[np.float64]
# 5 F with a lumen of 0.97 mm (0.038 inch); the wall is loaded with barium or tungsten.
OUTER_MM, LUMEN_MM = 0.835, 0.485
_WALL_PER_MM, _MARKER_PER_MM = 0.20, 0.55
_PIECE_MM = 2.0


def project_catheter(
    carm: CArm, course_mm: Array, lumen_mg_ml: float = 0.0, mass_attenuation_mm2_mg: float = 1.15
) -> Array:
    """Return (rows, columns) attenuation of a catheter through points (K, 3) LPS mm, the tip last.

    `lumen_mg_ml` is the iodine in its lumen, mg/ml; with blood in it the wall shows as two dark lines.
    Fewer than two points give an empty picture.
    """
    if len(course_mm) < 2:
        return np.zeros((carm.rows, carm.columns))
    line = _smooth(np.asarray(course_mm, float))
    start, end = line[:-1], line[1:]
    heading = end[-1] - start[-1]
    heading = heading / np.linalg.norm(heading)
    # Wall minus lumen, lumen filled, and a marker band a little behind the tip.
    solids = Tubes(
        np.vstack([start, start, (end[-1] - 2.0 * heading)[None]]),
        np.vstack([end, end, (end[-1] - 1.0 * heading)[None]]),
        np.concatenate([np.full(len(start), OUTER_MM), np.full(len(start), LUMEN_MM), [OUTER_MM]]),
    )
    lumen = 1e-3 * mass_attenuation_mm2_mg * lumen_mg_ml - _WALL_PER_MM
    weight = np.concatenate([np.full(len(start), _WALL_PER_MM), np.full(len(start), lumen), [_MARKER_PER_MM]])
    return project_tubes(carm, solids, weight)


def _smooth(control: Array) -> Array:
    chord = np.concatenate([[0.0], np.cumsum(np.maximum(np.linalg.norm(np.diff(control, axis=0), axis=1), 1e-6))])
    count = max(4, int(np.ceil(chord[-1] / _PIECE_MM)))
    curve = make_interp_spline(chord, control, k=min(3, len(control) - 1))
    return np.asarray(curve(np.linspace(0, chord[-1], count + 1)))
