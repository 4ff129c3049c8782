"""After the subtraction, when asked for: frames without the noise that no course in time explains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.core.runs import SubtractedRun
from angio_pipeline.dsa.residuals import median_noise_sd
from angio_pipeline.numerics.low_rank import keep_significant

__all__ = ["DenoiseParams", "denoise"]


class DenoiseParams(Params):
    """Settings of `denoise`."""

    enabled: bool = Field(False, description="take temporal noise out of the subtracted frames")
    pixels_a_frame: float = Field(6.0, ge=2, le=64, description="pixels of a block for each frame of the run, at least")


def denoise(sub: SubtractedRun, *, params: DenoiseParams) -> SubtractedRun:
    """Return the run with less noise and its timing; as it is when not enabled or of fewer than 4 live frames.

    Frames that could not be aligned take no part and are left as they are. So are the frames of the
    mask: minus their own mean they hold less noise than the others, and what they hold depends on
    each other, so that no law of noise fits them.
    """
    live = np.setdiff1d(np.flatnonzero(sub.usable), sub.mask_frames)
    if not params.enabled or len(live) < 4:
        return sub
    # An even number of pixels at least as wide as the block has to be.
    block_px = max(8, 2 * int(np.ceil(np.sqrt(params.pixels_a_frame * len(live)) / 2)))
    frames = np.array(sub.frames)
    frames[live] = keep_significant(frames[live], block_px=block_px, valid=sub.valid)
    return replace(
        sub,
        frames=frames,
        noise_sd=median_noise_sd(frames[live], sub.valid),
        denoised=True,
        provenance=sub.provenance.then("denoise", block_px=block_px),
    )
