"""Time-density curves of regions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from angio_pipeline.core.results import TimeDensityCurve
from angio_pipeline.core.runs import SubtractedRun

__all__ = ["region_curves"]


def region_curves(sub: SubtractedRun, regions: Mapping[str, npt.NDArray[np.bool_]]) -> tuple[TimeDensityCurve, ...]:
    """Return the mean attenuation over each region against time; NaN in frames that were left out."""
    curves = []
    for label, region in regions.items():
        inside = region & sub.valid
        if inside.any():
            values = sub.frames[:, inside].mean(axis=1).astype(np.float64)
            curves.append(TimeDensityCurve(label, np.where(sub.usable, values, np.nan)))
    return tuple(curves)
