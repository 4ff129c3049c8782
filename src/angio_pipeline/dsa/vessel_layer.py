"""The layer that carries the vessels: it moves with breathing while ribs and spine stand still.

Strategy: what the background shows of motion is mostly bone, which dilutes the estimate. Once
subtracted, vessels are the strongest structure left, so frames are laid upon the reference
frame once more by their vessels alone. Contrast is compressed, so that a vessel counts by its
place and not by how far it has filled. Frames with too little contrast to be followed borrow:
the followed ones tell which share of the motion the background shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.dsa.motion import MotionParams, estimate_motion
from angio_pipeline.numerics.filters import gaussian, resize, shrink

__all__ = ["VesselLayer", "VesselLayerParams", "follow_vessels"]

FloatArray = npt.NDArray[np.float32]


class VesselLayerParams(Params):
    """Settings of `follow_vessels`; lengths are for a 512-pixel frame and grow with it."""

    enabled: bool = True
    compression_in_noise: float = Field(8.0, gt=0, description="contrast, in noise SDs, at which a vessel counts half")
    least_filling: float = Field(0.4, gt=0, lt=1, description="share of the full filling below which none is followed")
    largest_factor: float = Field(2.0, ge=1, description="vessels that seem to move further than this are not believed")
    motion: MotionParams = MotionParams(stiffness=4.0, high_pass_px=200.0)


@dataclass(frozen=True, slots=True, eq=False)
class VesselLayer:
    """How the vessels of each frame lie against those of the reference frame.

    Attributes
    ----------
    fields : ndarray, (T, h, w, 2) float32
        Lattice displacement still to be taken out.
    motion_px : ndarray, (T, 2) float64
        Mean displacement of the vessels of each frame against the mask.
    """

    fields: FloatArray
    motion_px: npt.NDArray[np.float64]


def follow_vessels(
    frames: FloatArray,
    valid: npt.NDArray[np.bool_],
    background_px: npt.NDArray[np.float64],
    filling: npt.NDArray[np.float64],
    reference: int,
    noise_sd: float,
    *,
    params: VesselLayerParams,
) -> VesselLayer:
    """Return the motion of the vessels that the background did not show.

    Parameters
    ----------
    frames : ndarray, (T, H, W) float32
        Subtracted, aligned by their background to the reference frame.
    background_px : ndarray, (T, 2)
        Displacement against the mask, as the background showed it.
    filling : ndarray, (T,)
        Contrast in each frame.
    """
    followed = np.flatnonzero(filling >= params.least_filling * filling.max())
    # At about 512 pixels: the lattice is far coarser than either.
    factor = max(1, round(max(frames.shape[1:]) / 512))
    target = _compressed(shrink(frames[reference], factor), noise_sd, params)
    moving = np.stack([_compressed(shrink(frames[t], factor), noise_sd, params) for t in followed])
    inside = shrink(valid.astype(np.float32), factor) == 1
    seen = factor * estimate_motion(moving, target, inside, params=params.motion)
    weight = _where_vessels_are(frames, valid, (seen.shape[1], seen.shape[2]))
    extra = np.einsum("thwk,hw->tk", seen.astype(np.float64), weight)
    relative = background_px - background_px[reference]
    seen_px = relative[followed] + extra
    share, at_reference = _background_share(background_px[followed], seen_px, background_px[reference], params)
    total = background_px / share
    total[followed] = seen_px + at_reference
    fields = np.zeros((len(frames), *seen.shape[1:]), dtype=np.float32)
    fields += (total - at_reference - relative)[:, None, None, :].astype(np.float32)
    fields[followed] = seen
    return VesselLayer(fields, total)


def _compressed(frame: FloatArray, noise_sd: float, params: VesselLayerParams) -> FloatArray:
    """Return vessels with their contrast saturated, broad enhancement taken out."""
    local = gaussian(frame, 1.0) - gaussian(frame, 12.0)
    return np.asarray(np.tanh(local / (params.compression_in_noise * noise_sd)), dtype=np.float32)


def _where_vessels_are(
    frames: FloatArray, valid: npt.NDArray[np.bool_], cells: tuple[int, int]
) -> npt.NDArray[np.float64]:
    """Return the share of all strong contrast that lies in each cell, summing to 1."""
    peak = gaussian(frames.max(axis=0), 2) * valid
    strong = np.clip(peak - np.percentile(peak, 90), 0, None)
    weight = resize(strong, cells).astype(np.float64) + 1e-12
    return np.asarray(weight / weight.sum())


def _background_share(
    background_px: npt.NDArray[np.float64],
    vessels_px: npt.NDArray[np.float64],
    reference_px: npt.NDArray[np.float64],
    params: VesselLayerParams,
) -> tuple[float, npt.NDArray[np.float64]]:
    """Return which share of the vessels' motion the background shows, and the vessels' motion in the reference frame.

    The vessels are known relative to the reference frame, the background against the mask:
    background = share * (vessels + at_reference), a straight line through all followed frames.
    """
    centred = vessels_px - vessels_px.mean(axis=0)
    moved = float((centred**2).sum())
    if moved < 0.1 * len(vessels_px):
        return 1.0, reference_px
    share = float((centred * (background_px - background_px.mean(axis=0))).sum() / moved)
    share = float(np.clip(share, 1 / params.largest_factor, 1.0))
    return share, background_px.mean(axis=0) / share - vessels_px.mean(axis=0)
