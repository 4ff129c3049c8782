"""Before anything else: frames that are blank, black or wholly unlike the rest are set aside."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import AngioRun
from angio_pipeline.dsa.linear import linear_shrunk
from angio_pipeline.numerics.filters import robust_sd, shrink

__all__ = ["set_aside_broken"]


def set_aside_broken(run: AngioRun) -> AngioRun:
    """Return the run with broken frames named and replaced by their nearest whole neighbour.

    A frame is broken when its median lies further from the usual one than the whole range of
    grey within a usual frame, or when it holds no structure at all. The stand-in keeps later
    steps simple; `broken` keeps it out of every result.
    """
    small = linear_shrunk(run, 4)
    inside = shrink(run.valid.astype(np.float32), 4) == 1
    if not inside.any() or len(small) < 3:
        return run
    low, level, high = np.percentile(small[:, inside], [5, 50, 95], axis=1, overwrite_input=True)
    spread = high - low
    usual = float(np.median(spread))
    far = np.abs(level - np.median(level)) > max(usual, 6 * robust_sd(level), 1e-6)
    blank = spread < 0.02 * usual
    broken = np.flatnonzero(far | blank)
    if len(broken) == 0 or len(broken) > len(small) // 2:
        return run
    frames: npt.NDArray[Any] = np.array(run.frames)
    whole = np.setdiff1d(np.arange(len(frames)), broken)
    for t in broken:
        frames[t] = frames[_nearest(whole, int(t))]
    return replace(
        run,
        frames=frames,
        broken=tuple(int(t) for t in broken),
        quality=run.quality | Quality.FRAMES_DROPPED,
        provenance=run.provenance.then("set_aside_broken", frames=tuple(int(t) for t in broken)),
    )


def _nearest(whole: npt.NDArray[np.intp], t: int) -> int:
    return int(whole[np.argmin(np.abs(whole - t))])
