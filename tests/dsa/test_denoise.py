"""Noise taken out over time: less of it, at the same time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from angio_pipeline.core.runs import SubtractedRun
from angio_pipeline.dsa import DenoiseParams, MaskParams, SubtractParams, choose_mask, denoise, subtract

ON = DenoiseParams(enabled=True)


@pytest.fixture(scope="module")
def noisy(make_scene) -> tuple[SubtractedRun, np.ndarray, np.ndarray]:
    scene = make_scene(noise=0.04)
    sub = subtract(scene.run, choose_mask(scene.run, params=MaskParams()), params=SubtractParams())
    return sub, scene.contrast, scene.artery


def _half_rise(curve: np.ndarray) -> float:
    level = curve.max() / 2
    t = int(np.argmax(curve >= level))
    return t - 1 + (level - curve[t - 1]) / (curve[t] - curve[t - 1])


@pytest.mark.slow
def test_nothing_happens_unless_asked_for(noisy) -> None:
    assert denoise(noisy[0], params=DenoiseParams()) is noisy[0]


@pytest.mark.slow
def test_noise_falls_and_contrast_stays(noisy) -> None:
    sub, contrast, artery = noisy
    quiet = denoise(sub, params=ON)
    t, inside = sub.reference_frame, artery & sub.valid
    background = sub.valid & (contrast.max(axis=0) < 1e-3)
    # What is the same in every frame, the noise of the mask, no course in time can tell from anatomy.
    before, after = (frames[3:, background].std(axis=0).mean() for frames in (sub.frames, quiet.frames))
    assert after < 0.4 * before
    assert quiet.frames[t][inside].mean() == pytest.approx(sub.frames[t][inside].mean(), rel=0.02)
    assert quiet.denoised
    assert quiet.noise_sd < sub.noise_sd


def test_contrast_arrives_when_it_did(noisy) -> None:
    sub, contrast, artery = noisy
    quiet = denoise(sub, params=ON)
    inside = artery & sub.valid
    for frames in (quiet.frames, sub.frames):
        arrival = _half_rise(frames[:, inside].mean(axis=1))
        assert arrival == pytest.approx(_half_rise(contrast[:, inside].mean(axis=1)), abs=0.05)


def test_single_pixels_tell_their_time_better(noisy) -> None:
    sub, contrast, artery = noisy
    quiet = denoise(sub, params=ON)
    places = np.argwhere(artery & sub.valid & (contrast.max(axis=0) > 0.3))[::20]
    truth = np.array([_half_rise(contrast[:, r, c]) for r, c in places])
    before, after = (
        np.median(np.abs([_half_rise(frames[:, r, c]) for r, c in places] - truth))
        for frames in (sub.frames, quiet.frames)
    )
    assert after < before


def test_frames_left_out_and_mask_frames_are_left_alone(noisy) -> None:
    sub = noisy[0]
    usable = np.array(sub.usable)
    usable[12] = False
    quiet = denoise(replace(sub, usable=usable), params=ON)
    for t in (12, *sub.mask_frames):
        np.testing.assert_array_equal(quiet.frames[t], sub.frames[t])
