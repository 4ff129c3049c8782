from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from angio_pipeline.core.quality import Quality
from angio_pipeline.dsa import MaskParams, SubtractParams, choose_mask, subtract
from angio_pipeline.perfusion import PerfusionParams, measure, region_curves


@pytest.fixture(scope="module")
def sub(still_scene):
    run = still_scene.run
    return subtract(run, choose_mask(run, params=MaskParams()), params=SubtractParams())


@pytest.mark.slow
def test_arrival_follows_the_bolus(sub, still_scene) -> None:
    maps = measure(sub, params=PerfusionParams())
    start = still_scene.run.times_s[still_scene.onset]
    trunk = np.nanmedian(maps.arrival_s[180:230, 126:131])
    branch = np.nanmedian(maps.arrival_s[108:112, 160:165])
    assert trunk == pytest.approx(start + 0.1, abs=0.15)
    assert branch == pytest.approx(start + 0.6, abs=0.15)


def test_peak_and_area_scale_with_contrast(sub) -> None:
    once = measure(sub, params=PerfusionParams())
    twice = measure(replace(sub, frames=2 * sub.frames, noise_sd=2 * sub.noise_sd), params=PerfusionParams())
    np.testing.assert_allclose(twice.peak, 2 * once.peak, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(twice.auc, 2 * once.auc, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(twice.arrival_s, once.arrival_s, atol=1e-3, equal_nan=True)


def test_stretching_time_stretches_times(sub) -> None:
    once = measure(sub, params=PerfusionParams())
    slow = measure(replace(sub, times_s=3 * sub.times_s), params=PerfusionParams())
    both = np.isfinite(once.arrival_s)
    np.testing.assert_allclose(slow.arrival_s[both], 3 * once.arrival_s[both], rtol=1e-4, atol=1e-4)
    assert slow.frame_interval_s == pytest.approx(3 * once.frame_interval_s)


def test_phases_come_in_order(sub, still_scene) -> None:
    phases = measure(sub, params=PerfusionParams()).phases
    assert phases.pre_contrast is not None
    assert phases.pre_contrast.last < still_scene.onset + 1
    assert phases.arterial.first <= sub.reference_frame <= phases.arterial.last
    assert phases.parenchymal is not None
    assert phases.parenchymal.first == phases.arterial.last + 1


def test_times_are_undefined_in_the_background(sub) -> None:
    maps = measure(sub, params=PerfusionParams())
    assert np.isnan(maps.arrival_s[200:250, 10:80]).mean() > 0.95


def test_excluded_frames_take_no_part(sub) -> None:
    frames = np.array(sub.frames)
    frames[15] += 100
    usable = np.ones(20, bool)
    usable[15] = False
    maps = measure(replace(sub, frames=frames, usable=usable), params=PerfusionParams())
    assert np.nanmax(maps.peak) < 10
    (curve,) = region_curves(replace(sub, frames=frames, usable=usable), {"all": sub.valid})
    assert np.isnan(curve.values[15])
    assert np.isfinite(np.delete(curve.values, 15)).all()


def test_a_run_that_starts_filled_has_no_arrival(sub) -> None:
    filled = replace(sub, quality=sub.quality | Quality.FILLED_FROM_FIRST_FRAME)
    maps = measure(filled, params=PerfusionParams())
    assert np.isnan(maps.arrival_s).all()
    assert np.isfinite(maps.peak[sub.valid]).all()


def test_slow_frames_are_said_to_be_interpolated(sub) -> None:
    slow = measure(replace(sub, times_s=3 * sub.times_s), params=PerfusionParams())
    assert Quality.LOW_TIME_RESOLUTION in slow.quality
