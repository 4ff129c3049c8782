"""Which frames hold no contrast, and what stands in where none is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.provenance import Source
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import AngioRun, Background, FrameShift, MaskHint, MaskOperation, Quantity
from angio_pipeline.dsa import MaskParams, choose_mask


def test_the_mask_is_what_comes_before_contrast(still_scene) -> None:
    choice = choose_mask(still_scene.run, params=MaskParams())
    assert choice.background is Background.MASK
    assert max(choice.frames) < still_scene.onset <= choice.onset <= still_scene.onset + 1


def test_breathing_is_not_taken_for_contrast(breathing_scene) -> None:
    choice = choose_mask(breathing_scene.run, params=MaskParams())
    assert choice.background is Background.MASK
    assert max(choice.frames) < breathing_scene.onset


def test_mask_frames_and_shifts_named_by_the_file_are_used(still_scene) -> None:
    hint = MaskHint(MaskOperation.AVG_SUB, mask_frames=(0, 1), sub_pixel_shifts=(FrameShift(5, 9, (0.5, -1.0)),))
    run = replace(still_scene.run, mask_hint=hint)
    choice = choose_mask(run, params=MaskParams())
    assert choice.frames == (0, 1)
    assert choice.from_header
    assert choice.shifts_px[4:6] == ((0.0, 0.0), (0.5, -1.0))


def test_the_file_is_not_heard_when_told_so(still_scene) -> None:
    hint = MaskHint(MaskOperation.AVG_SUB, mask_frames=(0, 1), sub_pixel_shifts=(FrameShift(0, 19, (0.5, -1.0)),))
    choice = choose_mask(replace(still_scene.run, mask_hint=hint), params=MaskParams(honour_header=False))
    assert not choice.from_header
    assert choice.shifts_px == ()


@pytest.mark.parametrize("operation", [MaskOperation.TID, MaskOperation.REV_TID, MaskOperation.NONE])
def test_display_differences_name_no_mask(still_scene, operation) -> None:
    run = replace(still_scene.run, mask_hint=MaskHint(operation, mask_frames=(12,)))
    assert 12 not in choose_mask(run, params=MaskParams()).frames


def test_collimated_black_says_nothing_about_contrast(breathing_scene) -> None:
    valid = np.ones((256, 256), bool)
    valid[:, :70] = False
    frames = np.array(breathing_scene.run.frames)
    # Behind a shutter stands what no patient has: it flickers far more than contrast does.
    frames[:, :, :70] = 9.0 + np.random.default_rng(0).normal(0, 3, (20, 1, 1)).astype(np.float32)
    run = replace(breathing_scene.run, frames=frames, valid=valid)
    choice = choose_mask(run, params=MaskParams())
    assert choice.background is Background.MASK
    assert max(choice.frames) < breathing_scene.onset <= choice.onset <= breathing_scene.onset + 1


@pytest.mark.parametrize("same", [np.ones((5, 64, 64), np.float32), np.full((5, 64, 64), 700, np.uint16)])
def test_frames_that_do_not_change_are_refused(same: np.ndarray) -> None:
    quantity = Quantity.INTENSITY if same.dtype == np.uint16 else Quantity.ATTENUATION
    run = AngioRun(same, np.arange(5.0), quantity, np.ones((64, 64), bool), Source("1", "1"), white_level=4095.0)
    with pytest.raises(InputRefused, match="Expected frames that differ, found 5 equal ones") as refused:
        choose_mask(run, params=MaskParams())
    assert refused.value.reason == "constant_frames"


def test_a_run_without_a_frame_before_contrast_is_flagged(make_scene) -> None:
    choice = choose_mask(make_scene(pre=0, frames=24).run, params=MaskParams())
    assert choice.frames == ()
    assert Quality.NO_MASK_FRAME in choice.quality


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="Extra inputs"):
        MaskParams(onset=3)


def test_frames_of_one_value_each_are_refused() -> None:
    frames = np.repeat(np.arange(5, dtype=np.float32), 64 * 64).reshape(5, 64, 64)
    run = AngioRun(frames, np.arange(5.0), Quantity.ATTENUATION, np.ones((64, 64), bool), Source("1", "1"))
    with pytest.raises(InputRefused, match="Expected frames that show something, found 5 of one value each"):
        choose_mask(run, params=MaskParams())


def test_a_breath_before_contrast_is_no_contrast(still_scene) -> None:
    frames = np.array(still_scene.run.frames)
    # For one frame a small dark thing passes, and goes.
    frames[1, 100:112, 200:212] += 0.12
    choice = choose_mask(replace(still_scene.run, frames=frames), params=MaskParams())
    assert still_scene.onset <= choice.onset <= still_scene.onset + 1
    assert set(choice.frames) == set(range(choice.onset))


def test_broken_frames_named_by_the_file_are_no_mask(still_scene) -> None:
    hint = MaskHint(MaskOperation.AVG_SUB, mask_frames=(0, 0, 1))
    run = replace(still_scene.run, mask_hint=hint, broken=(1,))
    assert choose_mask(run, params=MaskParams()).frames == (0,)
