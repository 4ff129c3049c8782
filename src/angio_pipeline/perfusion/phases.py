"""Phases of a run: before contrast, arterial, parenchymal, venous.

Strategy: the pixels that enhance most in the early part of the passage are arteries, the broad
rest is tissue. The arterial phase runs from the onset until the artery curve has fallen to a
share of its peak or the tissue curve has reached its own peak; the parenchymal phase follows
until the tissue has fallen by a share; what comes after is venous.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import Background, PhaseRange, Phases, SubtractedRun
from angio_pipeline.numerics.filters import shrink

__all__ = ["PhaseParams", "find_phases", "onset_frame"]


class PhaseParams(Params):
    """Settings of `find_phases`."""

    onset_fraction: float = Field(
        0.1, gt=0, lt=1, description="share of the arteries' peak from which the arterial phase begins"
    )
    arterial_end_fraction: float = Field(0.5, gt=0, lt=1, description="artery curve, share of its peak")
    parenchymal_end_fraction: float = Field(0.6, gt=0, lt=1, description="tissue curve, share of its peak")
    artery_share: float = Field(0.02, gt=0, lt=0.5, description="share of pixels that enhance most")


def find_phases(sub: SubtractedRun, params: PhaseParams) -> Phases:
    """Return the phases of the run, as frame ranges; None for a phase that was not seen.

    Where contrast is not seen to come, all usable frames are arterial if the run is static, and
    only the reference frame if every frame stands for itself.
    """
    if not sub.timing_measurable:
        alone = sub.background is Background.SPATIAL and Quality.MOTION_LARGE in sub.quality
        whole = PhaseRange(0, len(sub.frames) - 1)
        return Phases(None, PhaseRange(sub.reference_frame, sub.reference_frame) if alone else whole, None, None)
    artery, tissue = _curves(sub, params)
    onset = onset_frame(sub, artery, params)
    last = len(artery) - 1
    end = _arterial_end(artery, tissue, onset, params)
    pre = PhaseRange(0, onset - 1) if onset > 0 else None
    arterial = PhaseRange(onset, end)
    if end >= last:
        return Phases(pre, arterial, None, None)
    tissue_peak = end + 1 + int(np.argmax(tissue[end + 1 :]))
    fallen = tissue[tissue_peak:] < params.parenchymal_end_fraction * tissue[tissue_peak]
    stop = tissue_peak + int(np.argmax(fallen)) - 1 if fallen.any() else last
    stop = max(stop, end + 1)
    venous = PhaseRange(stop + 1, last) if stop < last else None
    return Phases(pre, arterial, PhaseRange(end + 1, stop), venous)


def onset_frame(sub: SubtractedRun, artery: npt.NDArray[np.float64], params: PhaseParams) -> int:
    """Return the first frame in which the artery curve has risen."""
    after = max(sub.mask_frames) + 1 if sub.mask_frames else 0
    peak = float(artery.max())
    risen = artery >= params.onset_fraction * peak
    risen[:after] = False
    return int(np.argmax(risen)) if risen.any() else min(after, len(artery) - 1)


def _curves(sub: SubtractedRun, params: PhaseParams) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the artery and the tissue curve, (T,) each, on quarter-size frames."""
    small = np.stack([shrink(f, 4) for f in sub.frames])
    inside = shrink(sub.valid.astype(np.float32), 4) == 1
    pixels = small[:, inside]
    if pixels.shape[1] == 0:
        return np.zeros(len(small)), np.zeros(len(small))
    # Arteries peak high and early; weighting the peak by an early moment leaves late parenchyma out.
    half = max(2, len(small) * 2 // 3)
    early = pixels[:half].max(axis=0) - 0.5 * np.maximum(pixels[half:].mean(axis=0) if half < len(small) else 0, 0)
    artery = early >= np.quantile(early, 1 - params.artery_share)
    tissue = (early > np.quantile(early, 0.4)) & (early < np.quantile(early, 0.9))
    curves = [pixels[:, chosen].mean(axis=1).astype(np.float64) for chosen in (artery, tissue)]
    return curves[0], curves[1]


def _arterial_end(
    artery: npt.NDArray[np.float64], tissue: npt.NDArray[np.float64], onset: int, params: PhaseParams
) -> int:
    peak = onset + int(np.argmax(artery[onset:]))
    fallen = artery[peak:] < params.arterial_end_fraction * artery[peak]
    end = peak + int(np.argmax(fallen)) - 1 if fallen.any() else len(artery) - 1
    tissue_peak = onset + int(np.argmax(tissue[onset:]))
    return max(onset, min(end, max(tissue_peak, peak)))
