"""Which frames make the mask: of the run, of each frame, of each patch."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest

from angio_pipeline.core.provenance import Source
from angio_pipeline.core.runs import AngioRun, Quantity, SubtractedRun
from angio_pipeline.dsa import MaskParams, MotionParams, SubtractParams, choose_mask, subtract
from angio_pipeline.dsa.mask_frames import MaskScope, PatchMaskParams, align_candidates

SIZE, PRE, FRAMES = 192, 8, 20


def _noise(rng: np.random.Generator, grain_px: float) -> np.ndarray:
    image = cv2.GaussianBlur(rng.standard_normal((SIZE, SIZE)).astype(np.float32), (0, 0), grain_px)
    return image / image.std()


@cache
def _breathing(period_right: float) -> tuple[AngioRun, np.ndarray]:
    """Return a run over still bone: soft parts breathe, on the right with a period of their own; and its contrast."""
    rng = np.random.default_rng(3)
    bone, soft = 0.15 * _noise(rng, 3), 0.15 * _noise(rng, 4)
    rows, cols = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    vessel = (np.abs(cols - 80 - 0.2 * rows) < 2.5).astype(np.float32) * (rows > 40) * (rows < 220)
    frames, contrast = np.empty((FRAMES, SIZE, SIZE), np.float32), np.zeros((FRAMES, SIZE, SIZE), np.float32)
    right = cv2.GaussianBlur((cols > SIZE / 2).astype(np.float32), (0, 0), 8)
    for t in range(FRAMES):
        left_px, right_px = (3 * np.sin(2 * np.pi * t / period) for period in (5.0, period_right))
        moved = cv2.remap(
            soft, cols, (rows - left_px - right * (right_px - left_px)).astype(np.float32), cv2.INTER_CUBIC
        )
        contrast[t] = 0.4 * vessel * (1 - np.exp(-max(0, t - PRE + 1) / 2)) * (t >= PRE)
        frames[t] = 2 + bone + moved + contrast[t] + rng.normal(0, 0.01, (SIZE, SIZE))
    valid = np.ones((SIZE, SIZE), bool)
    return AngioRun(frames, np.arange(FRAMES) * 0.3, Quantity.ATTENUATION, valid, Source("1", "2")), contrast


def _subtract(run: AngioRun, scope: MaskScope, frames: tuple[int, ...] | None = None) -> SubtractedRun:
    choice = choose_mask(run, params=MaskParams())
    choice = choice if frames is None else replace(choice, frames=frames)
    return subtract(run, choice, params=SubtractParams(masks=PatchMaskParams(scope=scope)))


@cache
def _subtracted(period_right: float, scope: MaskScope, frames: tuple[int, ...] | None = None) -> SubtractedRun:
    return _subtract(_breathing(period_right)[0], scope, frames)


def _left(period_right: float, scope: MaskScope, frames: tuple[int, ...] | None = None) -> float:
    sub, contrast = _subtracted(period_right, scope, frames), _breathing(period_right)[1]
    assert sub.usable.all()
    away = sub.valid & (cv2.dilate(contrast.max(axis=0), np.ones((9, 9))) == 0)
    return float(np.mean([sub.frames[t][away].std() for t in range(PRE, FRAMES)]))


@pytest.mark.slow
def test_choosing_by_frame_beats_any_single_mask_and_their_mean_in_free_breathing() -> None:
    by_frame = _left(5.0, MaskScope.FRAME)
    assert by_frame < 0.8 * _left(5.0, MaskScope.RUN)
    # A breath has five frames: these are all its phases.
    assert by_frame < 0.8 * min(_left(5.0, MaskScope.RUN, (t,)) for t in range(5))


@pytest.mark.slow
def test_choosing_by_patch_beats_choosing_by_frame_where_parts_breathe_apart() -> None:
    assert _left(7.0, MaskScope.PATCH) < 0.85 * _left(7.0, MaskScope.FRAME)


def test_no_candidate_brings_in_what_lies_behind_a_shutter() -> None:
    run, _ = _breathing(period_right=5.0)
    valid = np.ones((SIZE, SIZE), bool)
    valid[:70] = False
    run = replace(run, frames=np.where(valid, run.frames, 50.0), valid=valid)
    masks = align_candidates(run, run.frames, tuple(range(PRE)), 1, params=MotionParams())
    assert masks.images[:, valid].max() < 10


@pytest.mark.slow
def test_what_pays_is_chosen_by_itself() -> None:
    assert _subtracted(7.0, MaskScope.AUTO).motion.mask_scope == "patch"


@pytest.mark.slow
def test_without_motion_all_candidates_are_averaged_for_the_whole_run(make_scene) -> None:
    sub = _subtract(make_scene(pre=5).run, MaskScope.AUTO)
    assert sub.motion.mask_scope == "run"
    assert len(sub.mask_frames) >= 4


@pytest.mark.slow
def test_no_choice_of_masks_changes_how_much_contrast_there_is() -> None:
    _, contrast = _breathing(period_right=7.0)
    inside = cv2.erode((contrast.max(axis=0) > 0.1).astype(np.uint8), np.ones((3, 3))) > 0
    for scope in (MaskScope.RUN, MaskScope.FRAME, MaskScope.PATCH):
        sub = _subtracted(7.0, scope)
        t = sub.reference_frame
        assert sub.frames[t][inside & sub.valid].mean() == pytest.approx(contrast[t][inside].mean(), rel=0.05)


@pytest.mark.slow
def test_mask_frames_of_the_file_stand_as_they_are_named() -> None:
    run, _ = _breathing(period_right=7.0)
    choice = replace(choose_mask(run, params=MaskParams()), frames=(0, 2), from_header=True)
    sub = subtract(run, choice, params=SubtractParams())
    assert sub.motion.mask_scope == "run"
    assert sub.mask_frames == (0, 2)
