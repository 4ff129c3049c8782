"""Alignment of each follow-up with the reference scan, blind to the oil: rigid first, then the liver's own shape.

Four stages: the whole body (where the table put the patient), the bone (which no breath moves, and which
tells bone from oil), the liver's surroundings (where breathing put the liver), and the liver's bending
(`deforming`). A stage is kept only when it raises the correlation it is judged by, so that scans which already
agree stay as they are. A scan that cannot be laid upon the reference is refused with a reason.

What is measured of a lesion is summed on each scan's own voxels: the displacement only tells where
the lesion lies and how it is turned there (`Alignment.near`), so that no local change of volume can
change a mass, and a tumour that shrinks is not stretched to its old size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.core.quality import Quality
from angio_pipeline.lipiodol.deforming import Bend, DeformationParams, bend_liver, why_not
from angio_pipeline.lipiodol.matching import Compared, Place, edge_gap_mm, match
from angio_pipeline.lipiodol.tissue import Tissue
from angio_pipeline.numerics import rigid
from angio_pipeline.numerics import volumes as space
from angio_pipeline.numerics.deformation import nearest_rigid

__all__ = ["Alignment", "RegistrationParams", "align"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


class RegistrationParams(Params):
    """Settings of the alignment."""

    window_hu: tuple[float, float] = Field(
        (-160.0, 200.0), description="attenuation is cut to this before scans are compared, HU"
    )
    search_mm: float = Field(8.0, ge=4.0, le=20.0, description="grid on which all shifts of the body are tried, mm")
    blurs_mm: tuple[float, ...] = Field((6.0, 3.0, 1.5), description="blurs of the steps, coarse to fine, SD in mm")
    samples: int = Field(40_000, ge=1_000, description="voxels that are compared")
    rounds: int = Field(25, ge=1, le=200, description="greatest number of steps at one blur")
    seed: int = Field(1, ge=0, description="draws the voxels that are compared")
    avoid_mm: float = Field(5.0, ge=0.0, le=30.0, description="what is left out around bright tissue in the liver, mm")
    around_liver_mm: float = Field(
        12.0, ge=3.0, le=60.0, description="how far around the liver its surroundings are compared, mm"
    )
    greatest_shift_mm: float = Field(
        40.0, ge=1.0, description="how far a stage may move the middle from where it began, mm"
    )
    gain: float = Field(0.002, ge=0.0, le=0.5, description="what a stage must add to the correlation to be kept")
    poor_below: float = Field(
        0.6, ge=0.0, le=1.0, description="correlation around the liver below which an alignment is flagged"
    )
    poor_gap_mm: float = Field(1.0, gt=0.0, description="gap between edges above which an alignment is flagged, mm")
    refuse_below: float = Field(0.4, ge=0.0, le=1.0, description="correlation below which a scan is not followed")
    edge_hu_per_mm: float = Field(
        12.0, gt=0.0, description="steepness from which an edge tells how far edges lie apart, HU per mm"
    )
    bone_hu: float = Field(200.0, ge=100.0, description="denser than this is bone, HU")
    bone_window_hu: tuple[float, float] = Field(
        (100.0, 700.0), description="attenuation is cut to this before bone is compared, HU"
    )
    bone_search_mm: float = Field(36.0, ge=0.0, le=100.0, description="how far along the body bone is looked for, mm")
    bone_step_mm: float = Field(
        3.0, ge=1.0, le=10.0, description="step of that search, mm: a rib is not lost between two"
    )
    deformation: DeformationParams = Field(default_factory=DeformationParams)


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """How a scan lies against the reference.

    Attributes
    ----------
    motion : ndarray, (4, 4) float64
        Takes LPS points of the reference to LPS points of the scan, as a rigid body.
    score : float
        Correlation of windowed attenuation around the liver (around the body when no liver
        was found), oil left out; 1 is identity.
    bend : Bend or None
        The liver's displacement on top of the motion; None where the motion alone is used.
    rigid_score : float
        The correlation by the rigid motion alone.
    edge_gap_mm : (float, float)
        How far edges around the liver lie apart where the table put them, and aligned; NaN without edges.
    not_bent : str or None
        Why a displacement was found and refused.
    refusal : str or None
        Why the scan cannot be followed.
    body_motion : ndarray, (4, 4) float64, or None
        The rigid motion of the bone (of the whole body where next to none is seen); None where it is `motion`.
    """

    motion: FloatArray
    score: float
    quality: Quality = Quality.NONE
    bend: Bend | None = None
    rigid_score: float = 1.0
    edge_gap_mm: tuple[float, float] = (0.0, 0.0)
    not_bent: str | None = None
    refusal: str | None = None
    body_motion: FloatArray | None = None

    @property
    def of_bone(self) -> FloatArray:
        """The (4, 4) rigid motion of the body, by which bone moves when the liver goes with the breath."""
        return self.motion if self.body_motion is None else self.body_motion

    def place(self, points: FloatArray) -> FloatArray:
        """Return where LPS points (N, 3) of the reference lie in the scan."""
        return space.to_world(self.motion, points) if self.bend is None else self.bend.deformation.at(points)

    def near(self, points: FloatArray, *, reach_mm: float = 15.0) -> FloatArray:
        """Return the (4, 4) rigid motion that is nearest to the alignment about LPS points (N, 3) of the reference."""
        if self.bend is None:
            return self.motion
        about = _block(points, reach_mm)
        return nearest_rigid(about, self.place(about))

    def near_in_scan(self, points: FloatArray, *, reach_mm: float = 15.0) -> FloatArray:
        """Return the same motion about LPS points (N, 3) of the scan; it still leads from the reference to the scan."""
        if self.bend is None:
            return self.motion
        about = _block(points, reach_mm)
        return nearest_rigid(self.bend.deformation.back(about), about)


def _block(points: FloatArray, reach_mm: float) -> FloatArray:
    # A block about the points tells a turn even where they are few, or lie in one plane.
    low, high = points.min(axis=0), points.max(axis=0)
    half = np.maximum(0.5 * (high - low), reach_mm)
    steps = np.linspace(-1, 1, 5)
    return np.asarray(0.5 * (low + high) + half * np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3))


def align(
    reference: Tissue,
    scan: Tissue,
    *,
    avoid: BoolArray | None = None,
    same_frame: bool = False,
    params: RegistrationParams,
) -> Alignment:
    """Return how a scan lies against the reference.

    Parameters
    ----------
    avoid : ndarray, reference's grid, bool, optional
        Given lesions, left out of the metric.
    same_frame : bool
        Whether both scans claim one frame of reference: the identity is then tried first.
    """
    fixed = Compared.of(reference, window_hu=params.window_hu, avoid_mm=params.avoid_mm, avoid=avoid)
    moving = Compared.of(scan, window_hu=params.window_hu, avoid_mm=params.avoid_mm)
    body = reference.body & fixed.clean
    start = _best_start(fixed, moving, body, same_frame, params)
    whole = _improve(fixed, moving, body, start, params)
    bone = _along_bone(fixed, moving, whole, params)
    local = _around_liver(fixed, params)
    motion = _improve(fixed, moving, local, whole, params)
    rigid_score = match(fixed, moving, local, _rigidly(motion))
    refusal = _refusal(rigid_score, params)
    bend, not_bent = (None, None) if refusal else _bend(fixed, moving, local, motion, rigid_score, params)
    found = Alignment(
        motion,
        rigid_score,
        bend=bend,
        rigid_score=rigid_score,
        not_bent=not_bent,
        refusal=refusal,
        body_motion=bone,
    )
    return _judged(found, fixed, moving, local, params)


def _along_bone(fixed: Compared, moving: Compared, start: FloatArray, params: RegistrationParams) -> FloatArray:
    """Return the motion of the bone, which the breath does not move.

    The whole body is laid upon the other by what there is most of, so that bone may be off by a breath; ribs are alike
    one by one, so that all shifts along the body are tried before the best is improved.
    """
    low, high = params.bone_window_hu
    fixed = replace(fixed, grey=np.clip(fixed.tissue.hu, low, high))
    moving = replace(moving, grey=np.clip(moving.tissue.hu, low, high))
    bone = fixed.tissue.body & fixed.clean & (fixed.tissue.hu > params.bone_hu)
    if np.count_nonzero(bone) < 500:
        return start
    about = space.dilate(bone, fixed.tissue.affine, params.search_mm) & fixed.tissue.body & fixed.clean
    starts = [start]
    for shift_mm in np.arange(-params.bone_search_mm, params.bone_search_mm + 1, params.bone_step_mm):
        moved = start.copy()
        moved[2, 3] += shift_mm
        starts.append(moved)
    scores = [match(fixed, moving, about, _rigidly(motion)) for motion in starts]
    found = _improve(fixed, moving, about, starts[int(np.argmax(np.nan_to_num(scores, nan=-2.0)))], params)
    return found if match(fixed, moving, about, _rigidly(found)) > scores[0] + params.gain else start


def _judged(
    found: Alignment, fixed: Compared, moving: Compared, mask: BoolArray, params: RegistrationParams
) -> Alignment:
    """Return the alignment with its correlation, the gaps of edges before and after, and flags."""
    score = found.rigid_score if found.bend is None else match(fixed, moving, mask, found.place)
    before, after = (
        edge_gap_mm(fixed, moving, mask, place, blur_mm=params.blurs_mm[-1], least_hu_per_mm=params.edge_hu_per_mm)
        for place in (_rigidly(np.eye(4)), found.place)
    )
    poor = not np.isfinite(score) or score < params.poor_below or after > params.poor_gap_mm
    quality = Quality.REGISTRATION_POOR if poor else Quality.NONE
    quality |= Quality.DEFORMATION_REFUSED if found.not_bent else Quality.NONE
    return replace(found, score=score, quality=quality, edge_gap_mm=(before, after))


def _refusal(score: float, params: RegistrationParams) -> str | None:
    if np.isfinite(score) and score >= params.refuse_below:
        return None
    found = f"{score:.2f}" if np.isfinite(score) else "no common anatomy"
    return (
        f"Expected a scan that matches the reference around the liver (correlation {params.refuse_below:g} or more), "
        f"found {found}; check that both show one patient's liver."
    )


def _bend(
    fixed: Compared,
    moving: Compared,
    mask: BoolArray,
    motion: FloatArray,
    rigid_score: float,
    params: RegistrationParams,
) -> tuple[Bend | None, str | None]:
    """Return the liver's displacement when it is possible and better than none, and why one was refused."""
    if not params.deformation.enabled:
        return None, None
    bend = bend_liver(fixed, moving, motion, params=params.deformation, seed=params.seed)
    if bend is None:
        return None, None
    reason = why_not(bend, params=params.deformation)
    if reason is not None:
        return None, reason
    return (bend if match(fixed, moving, mask, bend.deformation.at) > rigid_score + params.gain else None), None


def _around_liver(fixed: Compared, params: RegistrationParams) -> BoolArray:
    tissue = fixed.tissue
    around = tissue.body & fixed.clean
    if tissue.liver.any():
        around &= space.dilate(tissue.liver, tissue.affine, params.around_liver_mm) & (tissue.hu < 130.0)
    return around


def _rigidly(motion: FloatArray) -> Place:
    return lambda points: space.to_world(motion, points)


def _best_start(
    fixed: Compared, moving: Compared, mask: BoolArray, same_frame: bool, params: RegistrationParams
) -> FloatArray:
    # Table coordinates are often nearly right between dates; where they are not, the best
    # translation of the whole body over all shifts on a grid of some millimetres is.
    starts = [np.eye(4)]
    if not same_frame or not match(fixed, moving, mask, _rigidly(starts[0])) > 0.9:
        starts.append(_search_translation(fixed, moving, params.search_mm, params))
    scores = [match(fixed, moving, mask, _rigidly(motion)) for motion in starts]
    return starts[int(np.argmax(np.nan_to_num(scores, nan=-2.0)))]


def _search_translation(fixed: Compared, moving: Compared, step_mm: float, params: RegistrationParams) -> FloatArray:
    """Return the translation of the whole body that agrees best, over all shifts on a coarse grid."""
    coarse = []
    for seen in (fixed, moving):
        affine = seen.tissue.affine
        shape, grid = space.isotropic_grid(seen.grey.shape, affine, step_mm)
        blurred = space.smooth(seen.grey, affine, 0.42 * step_mm)
        coarse.append((space.resample(blurred, affine, shape, grid, fill=params.window_hu[0]), grid))
    (a, grid_a), (b, grid_b) = coarse
    shift = rigid.search_shift(a, b)
    motion = np.eye(4)
    motion[:3, 3] = space.to_world(grid_b, shift) - space.to_world(grid_a, [0, 0, 0])
    return motion


def _improve(
    fixed: Compared, moving: Compared, mask: BoolArray, start: FloatArray, params: RegistrationParams
) -> FloatArray:
    """Return the motion after rigid optimisation, or `start` when that is not better."""
    before = match(fixed, moving, mask, _rigidly(start))
    if not np.isfinite(before):
        return start
    affine = fixed.tissue.affine
    where = np.argwhere(mask & rigid.inner_part(mask.shape, affine, params.blurs_mm[-1]))
    if len(where) < 200:
        return start
    where = where[np.random.default_rng(params.seed).permutation(len(where))[: params.samples]]
    points = space.to_world(affine, where)
    motion = start
    for blur_mm in params.blurs_mm:
        values = space.smooth(fixed.grey, affine, blur_mm)[tuple(where.T)]
        image = rigid.moving_image(moving.grey, moving.clean, moving.tissue.affine, blur_mm=blur_mm)
        motion = rigid.fit_rigid(values, points, image, motion, rounds=params.rounds)
    after = match(fixed, moving, mask, _rigidly(motion))
    middle = points.mean(axis=0)
    moved = float(np.linalg.norm(space.to_world(motion, middle) - space.to_world(start, middle)))
    better = np.isfinite(after) and after > before + params.gain and moved <= params.greatest_shift_mm
    return motion if better else start
