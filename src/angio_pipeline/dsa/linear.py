"""First step of the subtraction: pixel values to attenuation, where contrast is positive."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from angio_pipeline.core.runs import AngioRun, Quantity

__all__ = ["attenuation", "linearise"]


def attenuation(
    values: npt.NDArray[np.float32], quantity: Quantity, *, white_level: float | None
) -> npt.NDArray[np.float32]:
    """Return the attenuation of pixel values: Beer-Lambert for intensity, a scale for the rest.

    Parameters
    ----------
    values : ndarray, float32
        Brighter means more X-rays, unless they are attenuation already.
    quantity : Quantity
        LOG_INTENSITY is taken to spread the logarithm of a full-scale intensity over the full
        scale of the storage; STORED values are only relative, so their unit is the full scale.
    white_level : float or None
        The brightest storable value; the maximum found when None.
    """
    if quantity is Quantity.ATTENUATION:
        return values
    white = float(white_level) if white_level else max(float(values.max()), 1.0)
    if quantity is Quantity.INTENSITY:
        # Half a grey level keeps zero counts finite without moving the rest.
        out = np.maximum(values, 0) + np.float32(0.5)
        out *= np.float32(1.0 / (white + 0.5))
        np.log(out, out=out)
        np.negative(out, out=out)
        return out
    scale = np.log(white + 1.0) if quantity is Quantity.LOG_INTENSITY else 1.0
    out = np.float32(white) - values
    out *= np.float32(scale / white)
    return out


def linearise(run: AngioRun) -> AngioRun:
    """Return the run in attenuation units; a run that is there already is returned as it is."""
    if run.quantity is Quantity.ATTENUATION:
        return run
    frames = np.empty_like(run.frames)
    white = run.white_level or max(float(run.frames.max()), 1.0)
    for t, frame in enumerate(run.frames):
        frames[t] = attenuation(frame, run.quantity, white_level=white)
    return replace(
        run,
        frames=frames,
        quantity=Quantity.ATTENUATION,
        provenance=run.provenance.then("linearise", quantity=run.quantity.value, white_level=white),
    )
