"""Fourth step of the subtraction: the anatomy of every frame laid against the mask, at working size.

Strategy: one shift a frame, then a field, then the field once more with the vessels left out.
What stays darker than its surroundings after the first field is contrast; in the second round it
has no weight, neither in the fit nor in the slow changes that are taken out before it. Without
that, strong vessels over bone drag the field towards themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from angio_pipeline.dsa.motion import MotionParams, estimate_motion, estimate_shifts
from angio_pipeline.numerics.compiled import each_in_threads
from angio_pipeline.numerics.filters import gaussian, wide_gaussian
from angio_pipeline.numerics.sampling import difference_at

__all__ = ["Alignment", "align_anatomy", "differences", "not_vessel"]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """How the anatomy of each frame lies against the mask; lengths in pixels of the images it was found on.

    Attributes
    ----------
    shifts : ndarray, (T, 1, 1, 2) float32
        The best single shift of each frame.
    fields : ndarray, (T, h, w, 2) float32
        Lattice offsets: frame t shows at x what the mask shows at x + fields[t](x).
    vessel_weight : ndarray, (H, W) float32
        1 far from lasting contrast, towards 0 in vessels.
    """

    shifts: FloatArray
    fields: FloatArray
    vessel_weight: FloatArray


def align_anatomy(
    frames: FloatArray,
    mask: FloatArray,
    valid: BoolArray,
    *,
    filled: npt.NDArray[np.bool_],
    start: FloatArray | None = None,
    params: MotionParams,
) -> Alignment:
    """Return how each frame lies against the mask.

    Parameters
    ----------
    frames : ndarray, (T, H, W) float32, attenuation
    mask : ndarray, (H, W) float32, attenuation
    valid : ndarray, (H, W) bool
    filled : ndarray, (T,) bool
        Frames that may hold contrast.
    start : ndarray, (T, 1, 1, 2), optional
        Offsets that are tried among others as a beginning.
    """
    found = estimate_shifts(frames, mask, valid, params=params, start=start)
    shifts = -found[:, None, None, :].astype(np.float32)
    coarse = params.model_copy(update={"levels_px": params.levels_px[:-1] or params.levels_px})
    first = estimate_motion(frames, mask, valid, params=coarse, start=shifts)
    weight = not_vessel(differences(frames[filled], mask, first[filled], valid), valid)
    fine = params.model_copy(update={"levels_px": params.levels_px[-2:]})
    fields = estimate_motion(frames, mask, valid, params=fine, vessel_weight=weight, start=first)
    return Alignment(shifts, fields, weight)


def differences(frames: FloatArray, mask: FloatArray, fields: FloatArray, valid: BoolArray) -> FloatArray:
    """Return frames (T, H, W) minus the mask laid upon each by its field (T, h, w, 2) px; 0 where it shows nothing."""
    out = np.empty_like(frames)

    def one(t: int) -> None:
        seen = np.ones(valid.shape, np.bool_)
        difference_at(frames[t], mask, None, fields[t], out=out[t], seen=seen, valid=valid)
        out[t][~seen] = 0

    each_in_threads(one, len(frames))
    return out


def not_vessel(contrast: FloatArray, valid: BoolArray) -> FloatArray:
    """Return weights (H, W), 0 to 1, that fall where contrast (T, H, W) on average stays above its surroundings."""
    if len(contrast) == 0:
        return np.ones(valid.shape, np.float32)
    mean = contrast.mean(axis=0, dtype=np.float32)
    scale_px = max(valid.shape) / 512
    local = gaussian(mean, 1.5 * scale_px) - wide_gaussian(mean, 12 * scale_px)
    inside = local[valid]
    if inside.size == 0:
        return np.ones_like(mean)
    noise = 1.4826 * float(np.median(np.abs(inside))) + 1e-6
    dark = gaussian(np.clip(local / (3 * noise), 0, 30), 1.5 * scale_px)
    return np.asarray(1.0 / (1.0 + dark**2), dtype=np.float32)
