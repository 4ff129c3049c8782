"""The picture that a radiologist looks at first."""

from __future__ import annotations

import numpy as np

from angio_pipeline.core.results import RunResult
from angio_pipeline.outputs.pictures import Pixels, grey_vessels, vessel_window

__all__ = ["overlay_picture"]


def overlay_picture(result: RunResult) -> Pixels:
    """Return (H, W, 3) RGB of the reference frame with arteries tinted and tumours outlined."""
    subtracted = result.subtracted
    live = subtracted.frames[subtracted.reference_frame]
    grey = grey_vessels(live, subtracted.valid, vessel_window(live, subtracted.valid))
    picture = np.repeat(grey[..., None], 3, axis=2)
    picture[result.vessels.artery] = (68, 1, 84)
    for tumour in result.tumours:
        picture[tumour.mask] = (picture[tumour.mask] * (1.0, 0.9, 0.6)).astype(np.uint8)
    return picture
