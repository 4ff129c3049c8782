"""Second step: where in the run after everything stands that the run before shows.

Bone tells how far table and patient moved; vessels hang on the diaphragm, which each run caught at
another breath, and lie several pixels off when bone lies still. So there are two steps: one shift of
all anatomy, by phase correlation of the unsubtracted backgrounds (Kuglin & Hines 1975), then a smooth field by
the arteries, found from that shift, within what breathing can do. It is found by Gauss-Newton on a lattice (Lucas &
Kanade 1981) with Cauchy weights, so that a vessel that is closed after embolisation counts for
little, and only near the arteries of the run before, so that neither blush nor veins pull.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.embolisation import RunAlignment
from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.params import Params
from angio_pipeline.core.results import RunResult
from angio_pipeline.core.runs import Background, SubtractedRun
from angio_pipeline.numerics.fields import expand_field, sampling_grid, warp
from angio_pipeline.numerics.filters import gaussian, masked_gaussian, robust_sd, shrink
from angio_pipeline.numerics.lattice import normal_equations, solve_lattice
from angio_pipeline.numerics.sampling import sample_lattice

__all__ = ["AlignmentParams", "align_runs", "arterial_mean", "laid_upon"]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


class AlignmentParams(Params):
    """Settings of `align_runs`; pixel lengths are for a 512-pixel frame and grow with it, all chosen by hand."""

    fine_px: float = Field(1.0, gt=0, description="blur of both images: finer is noise")
    anatomy_px: float = Field(24.0, gt=1, description="slower changes of the anatomy are ignored")
    vessel_px: float = Field(10.0, gt=1, description="slower changes of the contrast are ignored")
    near_px: float = Field(8.0, gt=0, description="about the arteries of the run before, what counts for the field")
    largest_shift: float = Field(0.3, gt=0, le=0.5, description="of all anatomy, as a share of the longer side")
    largest_breath: float = Field(0.06, gt=0, le=0.3, description="of the vessels beside bone, as a share of the same")
    cells: int = Field(8, ge=1, le=64, description="of the field's lattice along the longer side")
    levels_px: tuple[int, ...] = Field((128, 256, 512), description="longer side at each level, coarse to fine")
    iterations: int = Field(6, ge=1, le=50, description="Gauss-Newton steps a level")
    plate: float = Field(3.0, ge=0, description="weight of bending, as a share of the mean structure of a cell")
    membrane: float = Field(0.3, ge=0, description="weight of stretching, likewise")
    least_match: float = Field(0.7, ge=0, le=1, description="correlation from which on two images show the same")


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """Two images of one size in which the same things are to be found."""

    fixed: FloatArray
    moving: FloatArray
    valid: BoolArray


def align_runs(before: RunResult, after: RunResult, trunk: BoolArray, *, params: AlignmentParams) -> RunAlignment:
    """Return how the run after lies against the run before.

    Parameters
    ----------
    trunk : ndarray, (H, W) bool
        Arteries of the run before that embolisation is least likely to have closed; how well these
        agree tells whether the vessels were found.

    Raises
    ------
    InputRefused
        `not_aligned` when neither anatomy nor vessels agree.
    """
    one, other = before.subtracted, after.subtracted
    scale = max(one.valid.shape) / 512
    anatomy = _anatomy(one, other, scale, params)
    shift, anatomy_match = _best_shift(anatomy, None, params.largest_shift) if anatomy else (np.zeros(2), float("nan"))
    known = anatomy_match >= params.least_match
    contrast = _contrast(before, after, scale, params)
    field, vessel_match = _follow(contrast, before.vessels.artery, trunk, shift if known else None, scale, params)
    by_vessels = vessel_match >= params.least_match
    if not (known or by_vessels):
        raise InputRefused(
            f"Expected anatomy or vessels of both runs to agree (correlation of {params.least_match:g} or more), found "
            f"{_words(anatomy_match)} and {_words(vessel_match)}; check that both show one view of one patient.",
            reason="not_aligned",
        )
    return RunAlignment(
        offsets_px=field if by_vessels else shift.reshape(1, 1, 2).astype(np.float32),
        anatomy_shift_px=(float(shift[0]), float(shift[1])) if known else None,
        anatomy_match=anatomy_match,
        vessel_match=vessel_match,
        by_vessels=by_vessels,
    )


def laid_upon(
    images: npt.NDArray[np.float32], alignment: RunAlignment, valid: BoolArray
) -> tuple[FloatArray, BoolArray]:
    """Return images (T, H, W) of the run after in the geometry of the run before, and where they show something."""
    out, seen = np.empty(images.shape, np.float32), np.zeros(valid.shape, np.bool_)
    for t, image in enumerate(images):
        out[t], seen = sample_lattice(image, alignment.offsets_px, valid)
    return out, seen


def _words(match: float) -> str:
    return f"{match:.2f}" if np.isfinite(match) else "none to look at"


def _anatomy(one: SubtractedRun, other: SubtractedRun, scale: float, params: AlignmentParams) -> _Pair | None:
    """Return the backgrounds of both runs at their reference frames; None where a file brings none."""
    if any(sub.background in (Background.ALREADY_SUBTRACTED, Background.SPATIAL) for sub in (one, other)):
        return None
    images = [sub.attenuation - sub.frames[sub.reference_frame] for sub in (one, other)]
    return _banded(images, (one.valid, other.valid), params.anatomy_px * scale, scale, params)


def _contrast(before: RunResult, after: RunResult, scale: float, params: AlignmentParams) -> _Pair:
    """Return the arterial phases of both runs."""
    images = [arterial_mean(result) for result in (before, after)]
    valid = (before.subtracted.valid, after.subtracted.valid)
    return _banded(images, valid, params.vessel_px * scale, scale, params)


def arterial_mean(result: RunResult) -> FloatArray:
    """Return the mean of the usable frames of the arterial phase, (H, W)."""
    sub, phase = result.subtracted, result.maps.phases.arterial
    chosen = [t for t in range(phase.first, phase.last + 1) if sub.usable[t]] or [sub.reference_frame]
    return np.asarray(sub.frames[chosen].mean(axis=0, dtype=np.float32))


def _banded(
    images: list[FloatArray],
    valid: tuple[BoolArray, BoolArray],
    coarse_px: float,
    scale: float,
    params: AlignmentParams,
) -> _Pair:
    """Return both images without noise and without slow changes; shutters leave no edge."""
    done = []
    for image, inside in zip(images, valid, strict=True):
        fine, slow = (masked_gaussian(image, inside, sigma) for sigma in (params.fine_px * scale, coarse_px))
        core = cv2.erode(inside.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=0)
        done.append(np.asarray((fine - slow) * core, dtype=np.float32))
    return _Pair(done[0], done[1], valid[0] & valid[1])


def _best_shift(
    pair: _Pair, where: BoolArray | None, largest: float, near: npt.NDArray[np.float64] | None = None
) -> tuple[npt.NDArray[np.float64], float]:
    """Return the better of no shift (or `near`) and that of phase correlation, with the correlation it gives."""
    size = pair.fixed.shape
    window = cv2.createHanningWindow((size[1], size[0]), cv2.CV_32F)
    # OpenCV 5 writes into what it is given.
    (across, along), _ = cv2.phaseCorrelate(pair.fixed.copy(), pair.moving.copy(), window)
    start = np.zeros(2) if near is None else near
    found = [start] if near is None else [start, np.zeros(2)]
    if np.isfinite((along, across)).all() and np.abs(np.array([along, across]) - start).max() <= largest * max(size):
        found.append(np.array([along, across]))
    matches = [_match(pair, shift.reshape(1, 1, 2), where) for shift in found]
    best = int(np.argmax(matches))
    return found[best], matches[best]


def _match(pair: _Pair, field: npt.NDArray[np.floating], where: BoolArray | None) -> float:
    """Return the correlation of both images under a field, over what both show; -1 where that is next to nothing."""
    moved, seen = sample_lattice(pair.moving, field, pair.valid)
    both = seen & pair.valid if where is None else seen & pair.valid & where
    if both.sum() < 200:
        return -1.0
    a, b = (image[both].astype(np.float64) for image in (pair.fixed, moved))
    spread = float(a.std() * b.std())
    return float(np.mean((a - a.mean()) * (b - b.mean())) / spread) if spread > 0 else -1.0


def _follow(
    pair: _Pair,
    artery: BoolArray,
    trunk: BoolArray,
    start: npt.NDArray[np.float64] | None,
    scale: float,
    params: AlignmentParams,
) -> tuple[FloatArray, float]:
    """Return the field by the vessels and how well the trunk agrees under it."""
    if not artery.any():
        return np.zeros((1, 1, 2), np.float32), -1.0
    around, about_trunk = (_dilated(mask, params.near_px * scale) for mask in (artery, trunk))
    limit = params.largest_shift if start is None else params.largest_breath
    shift, match = _best_shift(pair, about_trunk, limit, start)
    field = shift.reshape(1, 1, 2).astype(np.float32)
    weight = gaussian(around.astype(np.float32), params.near_px * scale / 2) * pair.valid
    centre = shift if start is None else start
    reach = params.largest_breath * max(artery.shape)
    for cells in (1, params.cells):
        refined = _refined(pair, weight, field, cells, centre, reach, params)
        better = _match(pair, refined, about_trunk)
        if better >= match - 0.01:
            field, match = refined, better
    return field, match


def _dilated(mask: BoolArray, px: float) -> BoolArray:
    size = 2 * max(1, round(px)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel) > 0)


def _refined(
    pair: _Pair,
    weight: FloatArray,
    field: FloatArray,
    cells: int,
    centre: npt.NDArray[np.float64],
    reach_px: float,
    params: AlignmentParams,
) -> FloatArray:
    """Return the field after Gauss-Newton at each level, within `reach_px` of `centre`."""
    longest = max(pair.fixed.shape)
    shape = tuple(max(1, round(side * cells / longest)) for side in pair.fixed.shape)
    out = expand_field(field, (shape[0], shape[1])) if field.shape[:2] != shape else field
    low, high = centre - reach_px, centre + reach_px
    for factor in sorted({max(1, round(longest / side)) for side in params.levels_px}, reverse=True):
        fixed, moving, counts = (shrink(image, factor) for image in (pair.fixed, pair.moving, weight))
        slopes = [cv2.Scharr(moving, cv2.CV_32F, dx, 1 - dx) / 32 for dx in (0, 1)]
        stacked = np.ascontiguousarray(np.stack([moving, *slopes], axis=-1), dtype=np.float32)
        for _ in range(params.iterations):
            step = _step(fixed, stacked, counts, out / np.float32(factor), params) * factor
            out = np.clip(out + step, low, high).astype(np.float32)
            if float(np.abs(step).max()) < 0.02 * factor:
                break
    return out


def _step(
    fixed: FloatArray, moving: FloatArray, weight: FloatArray, field: FloatArray, params: AlignmentParams
) -> npt.NDArray[np.float64]:
    size = (fixed.shape[0], fixed.shape[1])
    dense = expand_field(field, size)
    residual = (warp(moving[..., 0], sampling_grid(size) + dense) - fixed)[weight > 0.5]
    # A vessel that is gone must not set the scale of what counts as agreement.
    spread = max(robust_sd(residual), 1e-6)
    equations = normal_equations(fixed, moving, dense, weight, (field.shape[0], field.shape[1]), 2 * spread)
    typical = 0.5 * float(np.mean(equations.structure[0] + equations.structure[2])) + 1e-9
    update = solve_lattice(equations, field, membrane=params.membrane * typical, plate=params.plate * typical)
    return np.clip(update, -4, 4)
