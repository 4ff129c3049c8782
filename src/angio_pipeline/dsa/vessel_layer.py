"""The layer that carries the vessels: it moves with breathing while ribs and spine stand still.

Strategy: what the background shows of motion is mostly bone, which dilutes the estimate. Once
subtracted, vessels are the strongest structure left, so frames are laid upon the reference
frame once more by their vessels alone. Contrast is compressed, so that a vessel counts by its
place and not by how far it has filled. Frames with too little contrast to be followed, the mask
frames above all, borrow from breathing: what the background does over time has one or two
courses (its principal components), whatever their size at one place, and the followed frames
tell how the vessels go with them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.dsa.motion import MotionParams, estimate_motion
from angio_pipeline.numerics.compiled import each_in_threads
from angio_pipeline.numerics.fields import compose_at, invert_field
from angio_pipeline.numerics.filters import gaussian, resize, wide_gaussian
from angio_pipeline.numerics.sampling import sample_lattice

__all__ = ["VesselLayer", "VesselLayerParams", "follow_vessels", "lay_upon_reference"]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


class VesselLayerParams(Params):
    """Settings of `follow_vessels`."""

    enabled: bool = Field(True, description="whether vessels are followed by themselves")
    compression_in_noise: float = Field(8.0, gt=0, description="contrast, in noise SDs, at which a vessel counts half")
    least_filling: float = Field(0.4, gt=0, lt=1, description="share of the full filling below which none is followed")
    least_likeness: float = Field(0.5, ge=0, lt=1, description="correlation with the reference frame to be believed")
    courses: int = Field(3, ge=0, le=8, description="at most this many courses of the background's motion are used")
    least_gain: float = Field(0.1, ge=0, lt=1, description="share of the error that another course has to save")
    motion: MotionParams = MotionParams(plate=4.0, membrane=0.4, high_pass=0.4, excess_factor=1.0)


@dataclass(frozen=True, slots=True, eq=False)
class VesselLayer:
    """Where the vessels of the reference frame stand in each frame; pixels of the images they were found on.

    Attributes
    ----------
    fields : ndarray, (T, h, w, 2) float32
        The vessel at x in the reference frame stands at x + fields[t](x) in frame t.
    motion_px : ndarray, (T, 2) float64
        Mean displacement of the vessels of each frame against the mask.
    """

    fields: FloatArray
    motion_px: npt.NDArray[np.float64]


def lay_upon_reference(fields: FloatArray, reference: int, shape: tuple[int, int]) -> FloatArray:
    """Return where the anatomy of the reference frame stands in each frame, (T, h, w, 2) float32 lattice offsets.

    Parameters
    ----------
    fields : ndarray, (T, h, w, 2)
        How each frame lies against the mask (`Alignment.fields`).
    shape : int, int
        Size of the images that the fields are in pixels of.
    """
    there = fields[reference]
    out = np.stack([there + compose_at(invert_field(field, shape), there, shape) for field in fields])
    out[reference] = 0
    return out.astype(np.float32)


def follow_vessels(
    contrast: FloatArray,
    valid: BoolArray,
    fields: FloatArray,
    filling: npt.NDArray[np.float64],
    reference: int,
    noise_sd: float,
    *,
    masks: tuple[int, ...] = (),
    params: VesselLayerParams,
) -> VesselLayer:
    """Return the motion of the vessels, also as far as the background did not show it.

    Parameters
    ----------
    contrast : ndarray, (T, H, W) float32
        Each frame minus the mask laid upon it, where it was acquired.
    fields : ndarray, (T, h, w, 2) float32
        How each frame lies against the mask.
    filling : ndarray, (T,)
        Contrast in each frame.
    masks : tuple of int
        Frames whose mean position is that of the mask; the reference frame's where none is given.
    """
    shape = (contrast.shape[1], contrast.shape[2])
    anatomy = lay_upon_reference(fields, reference, shape)
    weight = _where_vessels_are(contrast, valid, (fields.shape[1], fields.shape[2]))
    if not params.enabled:
        return VesselLayer(anatomy, -np.einsum("thwk,hw->tk", fields.astype(np.float64), weight))
    followed = np.flatnonzero(filling >= params.least_filling * filling.max())
    found, likeness = _follow(contrast, valid, anatomy, followed, reference, noise_sd, params)
    same = likeness >= params.least_likeness
    followed, found = followed[same], found[same]
    seen_px = np.einsum("thwk,hw->tk", found.astype(np.float64), weight)
    relative = _by_breathing(_courses(fields, params.courses), seen_px, followed, params.least_gain)
    limit = params.motion.largest_shift * max(shape)
    relative = np.clip(relative, -limit, limit)
    shown = np.einsum("thwk,hw->tk", anatomy.astype(np.float64), weight)
    out = anatomy + (relative - shown)[:, None, None, :].astype(np.float32)
    out[followed] = found
    return VesselLayer(out, relative - relative[list(masks)].mean(axis=0) if masks else relative)


def _courses(fields: FloatArray, most: int) -> npt.NDArray[np.float64]:
    """Return the principal courses of the background's motion over time, (T, K), in mean pixels of the lattice."""
    flat = fields.reshape(len(fields), -1).astype(np.float64)
    time, size, _ = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
    return np.asarray(time[:, :most] * size[:most] / np.sqrt(flat.shape[1] / 2))


def _by_breathing(
    courses: npt.NDArray[np.float64],
    seen_px: npt.NDArray[np.float64],
    followed: npt.NDArray[np.intp],
    least_gain: float,
) -> npt.NDArray[np.float64]:
    """Return the vessels' displacement in all frames, (T, 2): as seen where followed, elsewhere as the courses tell.

    A straight line in as many courses as leave-one-out over the followed frames justifies.
    """
    count = len(followed)
    best_error, best = np.inf, np.zeros((1, 2))
    for used in range(min(courses.shape[1], max(count - 3, 0)) + 1):
        design = np.column_stack([np.ones(count), courses[followed, :used]])
        # So little that it only keeps a course without movement from dividing by nothing.
        held = np.diag([0.0] + [1e-4] * used)
        fit = np.linalg.solve(design.T @ design + held, design.T)
        leverage = np.clip(np.diag(design @ fit), 0, 1 - 1e-6)
        error = float(np.sqrt(np.mean(((seen_px - design @ (fit @ seen_px)) / (1 - leverage)[:, None]) ** 2)))
        if used == 0 or error < (1 - least_gain) * best_error:
            best_error, best = error, fit @ seen_px
    told = np.column_stack([np.ones(len(courses)), courses[:, : len(best) - 1]]) @ best
    told[followed] = seen_px
    return np.asarray(told)


def _follow(
    contrast: FloatArray,
    valid: BoolArray,
    anatomy: FloatArray,
    followed: npt.NDArray[np.intp],
    reference: int,
    noise_sd: float,
    params: VesselLayerParams,
) -> tuple[FloatArray, npt.NDArray[np.float64]]:
    """Return where the reference frame's vessels stand in each frame, starting from its anatomy; and how alike.

    Alike is the correlation over the reference frame's vessels once laid upon each other: veins and
    parenchyma fill a frame as well, and following them would say nothing about the arteries.
    """
    fixed = _compressed(contrast[reference], noise_sd, params)
    vessels = valid & (fixed > 0.3)
    vessels = cv2.dilate(vessels.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    out = np.zeros((len(followed), *anatomy.shape[1:]), np.float32)
    # On the lattice of the anatomy, whatever that is.
    motion = params.motion.model_copy(update={"cells": max(anatomy.shape[1:3])})
    likeness = np.ones(len(followed))

    def one(k: int) -> None:
        t = int(followed[k])
        if t != reference:
            moving = _compressed(contrast[t], noise_sd, params)
            out[k] = estimate_motion(fixed[None], moving, valid, params=motion, start=anatomy[t][None])[0]
            there, seen = sample_lattice(moving, out[k], valid)
            likeness[k] = _correlation(fixed[vessels & seen], there[vessels & seen])

    each_in_threads(one, len(followed))
    return out, likeness


def _correlation(a: FloatArray, b: FloatArray) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (np.sqrt((a * a).sum() * (b * b).sum()) + 1e-12)) if a.size else 0.0


def _compressed(frame: FloatArray, noise_sd: float, params: VesselLayerParams) -> FloatArray:
    """Return vessels with their contrast saturated, broad enhancement taken out."""
    scale_px = max(frame.shape) / 512
    local = gaussian(frame, 1.0 * scale_px) - wide_gaussian(frame, 12.0 * scale_px)
    return np.asarray(np.tanh(local / (params.compression_in_noise * noise_sd)), dtype=np.float32)


def _where_vessels_are(contrast: FloatArray, valid: BoolArray, cells: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return the share of all strong contrast that lies in each cell, summing to 1."""
    peak = gaussian(contrast.max(axis=0), 2 * max(valid.shape) / 512) * valid
    strong = np.clip(peak - np.percentile(peak, 90), 0, None)
    weight = resize(strong, cells).astype(np.float64) + 1e-12
    return np.asarray(weight / weight.sum())
