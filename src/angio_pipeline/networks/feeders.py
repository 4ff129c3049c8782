"""A tumour in its run as the feeder network sees it: the run's pictures about it, and where it is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from angio_pipeline.vessels import CHANNELS

__all__ = ["FEEDER_CHANNELS", "around", "picture_tumour"]

FloatArray = npt.NDArray[np.float32]
FEEDER_CHANNELS = (*CHANNELS, "tumour")
# What feeds a tumour alone begins within this distance of it, nearly always (pixels of the working size).
_REACH_PX = 96


def around(tumour: npt.NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return rows and columns of the pictures about a tumour.

    Raises
    ------
    ValueError
        When the mask is empty.
    """
    rows, columns = np.flatnonzero(tumour.any(axis=1)), np.flatnonzero(tumour.any(axis=0))
    if not len(rows):
        raise ValueError("Expected a tumour of at least one pixel, found an empty mask.")
    return (
        slice(max(0, int(rows[0]) - _REACH_PX), int(rows[-1]) + _REACH_PX + 1),
        slice(max(0, int(columns[0]) - _REACH_PX), int(columns[-1]) + _REACH_PX + 1),
    )


def picture_tumour(channels: FloatArray, tumour: npt.NDArray[np.bool_]) -> FloatArray:
    """Return (C + 1, h, w) of a run's pictures (C, h, w) and a tumour (h, w), in the order of `FEEDER_CHANNELS`."""
    return np.concatenate([channels, tumour[None].astype(np.float32)])
