"""First step of the subtraction: pixel values to attenuation, where contrast is positive.

Stored integers are linearised through a table when they are read, so that neither a logarithm
is taken for each pixel nor a second copy of the run kept.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from angio_pipeline.core.runs import AngioRun, Quantity
from angio_pipeline.numerics.compiled import each_in_threads
from angio_pipeline.numerics.filters import shrink
from angio_pipeline.numerics.tables import look_up, look_up_shrunk

__all__ = [
    "attenuation",
    "attenuation_table",
    "linear_frame",
    "linear_shrunk",
    "linearise",
    "stored_integers",
    "table_of",
    "white_level",
]

FloatArray = npt.NDArray[np.float32]


def attenuation(values: FloatArray, quantity: Quantity, *, white_level: float | None) -> FloatArray:
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


@lru_cache(maxsize=8)
def attenuation_table(quantity: Quantity, *, white_level: float) -> FloatArray:
    """Return the attenuation of every stored value of 16 bits, (65536,) float32."""
    table = attenuation(np.arange(65536, dtype=np.float32), quantity, white_level=white_level)
    table.flags.writeable = False
    return table


def white_level(run: AngioRun) -> float:
    """Return the brightest storable value, or the brightest found where the storage has none."""
    return run.white_level or max(float(run.frames.max()), 1.0)


def table_of(run: AngioRun) -> FloatArray:
    """Return the attenuation of every value that the run may store, (65536,) float32."""
    return attenuation_table(run.quantity, white_level=white_level(run))


def stored_integers(run: AngioRun) -> npt.NDArray[np.uint16] | None:
    """Return the frames (T, H, W) where they are stored integers, None where they are not."""
    return run.frames.view(np.uint16) if run.frames.dtype == np.uint16 else None


def linear_frame(run: AngioRun, index: int) -> FloatArray:
    """Return one frame in attenuation units, (H, W) float32."""
    frame = run.frames[index]
    if frame.dtype == np.uint16:
        return look_up(frame, table_of(run))
    return attenuation(frame, run.quantity, white_level=white_level(run))


def linear_shrunk(run: AngioRun, factor: int) -> FloatArray:
    """Return all frames in attenuation units, smaller by a whole factor, (T, h, w) float32."""
    stored = stored_integers(run)
    if stored is not None:
        return look_up_shrunk(stored, table_of(run), factor)
    count, rows, cols = run.shape
    out = np.empty((count, max(1, rows // factor), max(1, cols // factor)), np.float32)

    def one(t: int) -> None:
        out[t] = shrink(linear_frame(run, t), factor)

    each_in_threads(one, count)
    return out


def linearise(run: AngioRun) -> AngioRun:
    """Return the run in attenuation units; a run that is there already is returned as it is."""
    if run.quantity is Quantity.ATTENUATION:
        return run
    white = white_level(run)
    stored = stored_integers(run)
    if stored is not None:
        frames = look_up(stored, table_of(run))
    else:
        frames = np.stack([attenuation(frame, run.quantity, white_level=white) for frame in run.frames])
    return replace(
        run,
        frames=frames,
        quantity=Quantity.ATTENUATION,
        provenance=run.provenance.then("linearise", quantity=run.quantity.value, white_level=white),
    )
