"""Rigid alignment of each follow-up with the reference scan, blind to the oil.

Washout is not motion: bright tissue inside the liver and every given lesion are masked out of
the metric. Two stages: the whole body (where the table put the patient), then the liver's
surroundings (where breathing put the liver). A stage is kept only when it raises the
correlation it is judged by, so that scans which already agree stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.core.quality import Quality
from angio_pipeline.lipiodol.tissue import Tissue
from angio_pipeline.numerics import rigid
from angio_pipeline.numerics import volumes as space

__all__ = ["Alignment", "RegistrationParams", "align"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


class RegistrationParams(Params):
    """Settings of the rigid alignment.

    `poor_below` is the correlation around the liver under which an alignment is flagged;
    `gain` is what a stage must add to the correlation to be kept.
    """

    window_hu: tuple[float, float] = (-160.0, 200.0)
    search_mm: float = Field(8.0, ge=4.0, le=20.0)
    blurs_mm: tuple[float, ...] = (6.0, 3.0, 1.5)
    samples: int = Field(40_000, ge=1_000)
    rounds: int = Field(25, ge=1, le=200)
    seed: int = Field(1, ge=0)
    avoid_mm: float = Field(5.0, ge=0.0, le=30.0)
    around_liver_mm: float = Field(12.0, ge=3.0, le=60.0)
    greatest_shift_mm: float = Field(40.0, ge=1.0)
    gain: float = Field(0.002, ge=0.0, le=0.5)
    poor_below: float = Field(0.6, ge=0.0, le=1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """How a scan lies against the reference.

    Attributes
    ----------
    motion : ndarray, (4, 4) float64
        Takes LPS points of the reference to LPS points of the scan.
    score : float
        Correlation of windowed attenuation around the liver (around the body when no liver
        was found), oil left out; 1 is identity.
    """

    motion: FloatArray
    score: float
    quality: Quality = Quality.NONE


def align(
    reference: Tissue,
    scan: Tissue,
    *,
    avoid: BoolArray | None = None,
    same_frame: bool = False,
    params: RegistrationParams,
) -> Alignment:
    """Return the rigid motion from the reference to a scan.

    Parameters
    ----------
    avoid : ndarray, reference's grid, bool, optional
        Given lesions, left out of the metric.
    same_frame : bool
        Whether both scans claim one frame of reference: the identity is then tried first.
    """
    body = _without_oil(reference, reference.body, avoid, params)
    start = _best_start(reference, scan, body, same_frame, params)
    whole = _improve(reference, scan, body, start, params)
    around = reference.body
    if reference.liver.any():
        around = body & space.dilate(reference.liver, reference.affine, params.around_liver_mm) & (reference.hu < 130.0)
    local = _without_oil(reference, around, avoid, params)
    motion = _improve(reference, scan, local, whole, params)
    score = _score(reference, scan, local, motion, params)
    poor = not np.isfinite(score) or score < params.poor_below
    return Alignment(motion, score, Quality.REGISTRATION_POOR if poor else Quality.NONE)


def _without_oil(tissue: Tissue, mask: BoolArray, avoid: BoolArray | None, params: RegistrationParams) -> BoolArray:
    oil = tissue.bright & tissue.liver
    if avoid is not None:
        oil |= avoid
    return mask & ~space.dilate(oil, tissue.affine, params.avoid_mm) if oil.any() else mask


def _windowed(hu: npt.NDArray[np.float32], params: RegistrationParams) -> npt.NDArray[np.float32]:
    return np.clip(hu, *params.window_hu)


def _score(reference: Tissue, scan: Tissue, mask: BoolArray, motion: FloatArray, params: RegistrationParams) -> float:
    """Return the correlation over the mask where both scans have data and the scan no oil; NaN when too little."""
    shape = reference.hu.shape
    moved = space.resample(scan.hu, scan.affine, shape, reference.affine, motion=motion, fill=np.nan)
    clean = _without_oil(scan, np.ones(scan.hu.shape, dtype=np.bool_), None, params)
    seen = space.resample(clean, scan.affine, shape, reference.affine, motion=motion) > 0.5
    both = mask & seen & np.isfinite(moved)
    if np.count_nonzero(both) < max(200, 0.25 * np.count_nonzero(mask)):
        return float("nan")
    a, b = _windowed(reference.hu[both], params), _windowed(moved[both], params)
    spread = float(a.std() * b.std())
    return float(np.mean((a - a.mean()) * (b - b.mean())) / spread) if spread > 0 else float("nan")


def _best_start(
    reference: Tissue, scan: Tissue, mask: BoolArray, same_frame: bool, params: RegistrationParams
) -> FloatArray:
    # Table coordinates are often nearly right between dates; where they are not, the best
    # translation of the whole body over all shifts on a grid of some millimetres is.
    starts = [np.eye(4)]
    if not same_frame or not _score(reference, scan, mask, starts[0], params) > 0.9:
        starts.append(_search_translation(reference, scan, params.search_mm, params))
    scores = [_score(reference, scan, mask, motion, params) for motion in starts]
    return starts[int(np.argmax(np.nan_to_num(scores, nan=-2.0)))]


def _search_translation(reference: Tissue, scan: Tissue, step_mm: float, params: RegistrationParams) -> FloatArray:
    """Return the translation of the whole body that agrees best, over all shifts on a coarse grid."""
    low, high = params.window_hu
    coarse = []
    for tissue in (reference, scan):
        shape, grid = space.isotropic_grid(tissue.hu.shape, tissue.affine, step_mm)
        blurred = space.smooth(np.clip(tissue.hu, low, high), tissue.affine, 0.42 * step_mm)
        coarse.append((space.resample(blurred, tissue.affine, shape, grid, fill=low), grid))
    (a, grid_a), (b, grid_b) = coarse
    shift = rigid.search_shift(a, b)
    motion = np.eye(4)
    motion[:3, 3] = space.to_world(grid_b, shift) - space.to_world(grid_a, [0, 0, 0])
    return motion


def _improve(
    reference: Tissue, scan: Tissue, mask: BoolArray, start: FloatArray, params: RegistrationParams
) -> FloatArray:
    """Return the motion after rigid optimisation, or `start` when that is not better."""
    before = _score(reference, scan, mask, start, params)
    if not np.isfinite(before):
        return start
    where = np.argwhere(mask & rigid.inner_part(mask.shape, reference.affine, params.blurs_mm[-1]))
    if len(where) < 200:
        return start
    where = where[np.random.default_rng(params.seed).permutation(len(where))[: params.samples]]
    points = space.to_world(reference.affine, where)
    clean = _without_oil(scan, np.ones(scan.hu.shape, dtype=np.bool_), None, params)
    motion = start
    for blur_mm in params.blurs_mm:
        fixed = space.smooth(_windowed(reference.hu, params), reference.affine, blur_mm)[tuple(where.T)]
        moving = rigid.moving_image(_windowed(scan.hu, params), clean, scan.affine, blur_mm=blur_mm)
        motion = rigid.fit_rigid(fixed, points, moving, motion, rounds=params.rounds)
    after = _score(reference, scan, mask, motion, params)
    middle = points.mean(axis=0)
    moved = float(np.linalg.norm(space.to_world(motion, middle) - space.to_world(start, middle)))
    better = np.isfinite(after) and after > before + params.gain and moved <= params.greatest_shift_mm
    return motion if better else start
