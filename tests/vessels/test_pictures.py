"""A run as a network sees it: physical scales, one size, times after onset."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from angio_pipeline.core.provenance import Source
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import Background, PerfusionMaps, PhaseRange, Phases, SubtractedRun
from angio_pipeline.perfusion import PerfusionParams, measure
from angio_pipeline.vessels import CHANNELS, WORKING_PX, RunPictures, picture_run, working_shape
from angio_pipeline.vessels.pictures import MOMENTS_S

# One frame before contrast, then one at onset and one at each moment.
TIMES = np.concatenate([[-0.5, 0.0], MOMENTS_S])
ONSET, LAST = 1, 5
MOMENTS = [name for name in CHANNELS if name.startswith("contrast_")]
TIMED = [*MOMENTS, "arrival", "time_to_peak", "timed"]


def _sub(frames: np.ndarray, **changes) -> SubtractedRun:
    size = frames.shape[1:]
    usual = {
        "frames": frames.astype(np.float32),
        "times_s": TIMES - TIMES[0],
        "valid": np.ones(size, bool),
        "usable": np.ones(len(frames), bool),
        "background": Background.MASK,
        "mask_frames": (0,),
        "reference_frame": 4,
        "motion_px": np.zeros((len(frames), 2)),
        "residual_before": 0.01,
        "residual_after": 0.01,
        "noise_sd": 0.01,
        "uncorrected": np.zeros(size),
        "attenuation": np.zeros(size),
        "source": Source("1.2.3", "1.2"),
    }
    return SubtractedRun(**{**usual, **changes})


def _maps(sub: SubtractedRun) -> PerfusionMaps:
    """Return maps in which the left half is filled half a second after onset and peaks a second after."""
    nothing = np.full(sub.valid.shape, np.nan, np.float32)
    late = nothing.copy()
    late[:, : late.shape[1] // 2] = sub.times_s[ONSET]
    phases = Phases(PhaseRange(0, 0), PhaseRange(ONSET, LAST), None, None)
    return PerfusionMaps(late + 0.5, late + 1.0, nothing, nothing, nothing, phases, 0.5)


def _pictured(sub: SubtractedRun) -> RunPictures:
    return picture_run(sub, _maps(sub))


def _channel(pictures: RunPictures, name: str) -> np.ndarray:
    return pictures.channels[CHANNELS.index(name)]


def _passage(rows: int = 48, columns: int = 48, *, seed: int = 0) -> np.ndarray:
    """Return frames of noise over a vessel that fills and empties."""
    rng = np.random.default_rng(seed)
    vessel = cv2.line(np.zeros((rows, columns), np.float32), (4, 4), (columns - 8, rows // 2), 1.0, 3)
    course = np.exp(-((TIMES - 1.4) ** 2)) * (TIMES >= 0)
    return 0.3 * course[:, None, None] * vessel + rng.normal(0, 0.01, (len(TIMES), rows, columns))


@pytest.fixture(scope="module")
def plain() -> RunPictures:
    return _pictured(_sub(_passage()))


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((48, 48), (512, 512)), ((32, 48), (512, 768)), ((1024, 1024), (512, 512)), ((9, 3), (1536, 512))],
)
def test_the_shorter_side_has_the_working_size(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    assert working_shape(size) == wanted


def test_there_is_one_picture_for_each_name_and_the_runs_own_size_is_kept() -> None:
    pictures = _pictured(_sub(_passage(32, 48)))
    assert pictures.channels.shape == (len(CHANNELS), WORKING_PX, WORKING_PX * 3 // 2)
    assert pictures.channels.dtype == np.float32
    assert pictures.shape == (32, 48)


def test_what_is_unknown_is_no_reason_for_a_number_that_is_none(plain: RunPictures) -> None:
    assert np.isfinite(plain.channels).all()


def test_twice_the_matrix_is_the_same_working_size_and_about_the_same_pictures() -> None:
    # Smooth contrast: noise and edges of single pixels differ between matrices, what is broader does not.
    frames = np.stack([cv2.GaussianBlur(frame.astype(np.float32), (0, 0), 3) for frame in _passage(64, 64)])
    double = np.stack([cv2.resize(frame, (128, 128), interpolation=cv2.INTER_CUBIC) for frame in frames])
    small, large = _pictured(_sub(frames)), _pictured(_sub(double))
    assert large.channels.shape == small.channels.shape
    assert large.shape == (128, 128)
    for name in (*MOMENTS, "last", "timed", "valid"):
        np.testing.assert_allclose(_channel(large, name), _channel(small, name), atol=0.08)


def test_at_the_working_size_nothing_is_resampled() -> None:
    frames = np.zeros((len(TIMES), WORKING_PX, WORKING_PX))
    frames[:, 200, 300] = 0.05
    last = _channel(_pictured(_sub(frames)), "last")
    assert last[200, 300] == pytest.approx(np.arcsinh(0.5), rel=1e-5)
    assert np.count_nonzero(last) == 1


def test_outside_the_valid_area_every_picture_is_nothing() -> None:
    valid = np.ones((48, 48), bool)
    valid[:, :12] = False
    pictures = _pictured(_sub(_passage(), valid=valid))
    inside = _channel(pictures, "valid") > 0.5
    assert not inside[:, :128].any()
    assert inside[:, 140:].all()
    assert not pictures.channels[:, ~inside].any()


def test_twice_the_contrast_moves_its_pictures_by_the_law_of_their_scale_alone(plain: RunPictures) -> None:
    double = _pictured(_sub(2 * _passage()))
    for name in (*MOMENTS, "last", "arterial"):
        np.testing.assert_allclose(
            np.sinh(_channel(double, name)), 2 * np.sinh(_channel(plain, name)), rtol=1e-4, atol=1e-4
        )


def test_what_lies_far_away_changes_no_number_of_a_pixel(plain: RunPictures) -> None:
    brighter = _passage()
    brighter[:, :, 24:] += 3.0
    changed = _pictured(_sub(brighter))
    for name in (*MOMENTS, "last", "arterial", "over_noise"):
        np.testing.assert_allclose(_channel(changed, name)[:, :200], _channel(plain, name)[:, :200], atol=1e-4)


@pytest.mark.parametrize("k", range(len(MOMENTS_S)))
def test_what_passes_at_a_moment_shows_in_that_moments_picture_alone(k: int) -> None:
    frames = np.zeros((len(TIMES), 8, 8))
    frames[k + 2] = 0.1
    pictures = _pictured(_sub(frames))
    shown = [float(_channel(pictures, name).max()) for name in MOMENTS]
    assert shown[k] > 0.6
    assert not any(shown[:k] + shown[k + 1 :])


def test_a_run_that_has_long_been_over_shows_nothing() -> None:
    frames = np.full((3, 8, 8), 0.1)
    pictures = _pictured(_sub(frames, times_s=(TIMES - TIMES[0])[:3], reference_frame=2))
    assert _channel(pictures, MOMENTS[0]).any()
    assert not any(_channel(pictures, name).any() for name in MOMENTS[2:])


def test_between_frames_far_apart_the_nearer_one_stands_in() -> None:
    frames = np.full((6, 8, 8), 0.1)
    times = np.array([0.0, 1.0, 3.0, 5.0, 7.0, 9.0])
    pictures = _pictured(_sub(frames, times_s=times))
    assert all(_channel(pictures, name).any() for name in MOMENTS[:6])


def test_when_the_recording_began_changes_nothing(plain: RunPictures) -> None:
    later = _pictured(_sub(_passage(), times_s=TIMES + 60.0))
    np.testing.assert_allclose(later.channels, plain.channels, atol=1e-4)


def test_times_count_from_onset_in_units_of_four_seconds(plain: RunPictures) -> None:
    assert _channel(plain, "arrival")[:, :250] == pytest.approx(0.5 / 4, abs=1e-5)
    assert _channel(plain, "time_to_peak")[:, :250] == pytest.approx(1.0 / 4, abs=1e-5)


def test_where_no_time_is_known_none_is_told(plain: RunPictures) -> None:
    timed = _channel(plain, "timed")
    assert set(np.unique(timed)) == {0, 1}
    assert not timed[:, 260:].any()
    assert not _channel(plain, "arrival")[:, 260:].any()


def test_times_are_bounded() -> None:
    sub = _sub(_passage())
    maps = replace(_maps(sub), arrival_s=np.full((48, 48), 1e4), time_to_peak_s=np.full((48, 48), -1e4))
    pictures = picture_run(sub, maps)
    assert _channel(pictures, "arrival") == pytest.approx(3)
    assert _channel(pictures, "time_to_peak") == pytest.approx(-1)


@pytest.mark.parametrize("change", [{"background": Background.SPATIAL}, {"quality": Quality.FILLED_FROM_FIRST_FRAME}])
def test_a_run_that_does_not_show_contrast_coming_tells_no_times(change) -> None:
    sub = _sub(_passage(), **change)
    pictures = picture_run(sub, measure(sub, params=PerfusionParams()))
    for name in TIMED:
        assert not _channel(pictures, name).any()
    assert _channel(pictures, "last").any()
    assert _channel(pictures, "arterial").any()


def test_frames_that_are_set_aside_change_nothing() -> None:
    frames = _passage()
    usable = np.ones(len(frames), bool)
    usable[6] = False
    spoilt = frames.copy()
    spoilt[6] = 50.0
    one, other = (_pictured(_sub(given, usable=usable)) for given in (frames, spoilt))
    np.testing.assert_array_equal(one.channels, other.channels)


def test_contrast_leaves_no_trace_in_the_anatomy() -> None:
    frames = _passage()
    ribs = cv2.GaussianBlur(np.random.default_rng(5).normal(0, 1, (48, 48)).astype(np.float32), (0, 0), 2)
    with_contrast = _pictured(_sub(frames, attenuation=ribs + frames[4]))
    without = _pictured(_sub(np.zeros_like(frames), attenuation=ribs))
    np.testing.assert_allclose(_channel(with_contrast, "anatomy"), _channel(without, "anatomy"), atol=1e-3)
    assert _channel(without, "anatomy").std() > 0.1


def test_what_absorbs_more_than_its_surroundings_is_positive_in_the_anatomy() -> None:
    coil = np.zeros((48, 48))
    coil[22:24, 22:24] = 0.2
    anatomy = _channel(_pictured(_sub(np.zeros((len(TIMES), 48, 48)), attenuation=coil)), "anatomy")
    assert anatomy[245, 245] > 1
    assert abs(anatomy[40, 40]) < 0.01


def test_what_changes_evenly_is_not_restless_and_what_flickers_is() -> None:
    steady = np.arange(len(TIMES))[:, None, None] * np.full((1, 8, 16), 0.05)
    steady[::2, :, 8:] += 0.1
    restless = _channel(_pictured(_sub(steady)), "restless")
    assert np.abs(restless[:, :200]).max() < 1e-3
    # A flicker of 0.1 bends each frame by as much.
    assert restless[:, 800:] == pytest.approx(np.arcsinh(0.1 / 0.02), rel=1e-3)


def test_twice_the_noise_is_half_as_far_out_of_it(plain: RunPictures) -> None:
    noisy = _channel(_pictured(_sub(_passage(), noise_sd=0.02)), "over_noise")
    np.testing.assert_allclose(2 * np.sinh(noisy), np.sinh(_channel(plain, "over_noise")), rtol=1e-4, atol=1e-4)


def test_a_run_without_noise_is_pictured_in_finite_numbers() -> None:
    assert np.isfinite(_pictured(_sub(np.zeros((len(TIMES), 8, 8)), noise_sd=0.0)).channels).all()


def test_two_frames_are_enough_for_pictures() -> None:
    sub = _sub(np.full((2, 8, 8), 0.1), times_s=np.array([0.0, 1.0]), reference_frame=1)
    maps = replace(_maps(sub), phases=Phases(None, PhaseRange(1, 1), None, None))
    pictures = picture_run(sub, maps)
    assert np.isfinite(pictures.channels).all()
    assert not _channel(pictures, "restless").any()


@pytest.mark.slow
def test_an_arterial_phase_that_was_set_aside_gives_way_to_the_reference_frame() -> None:
    frames = np.zeros((len(TIMES), 8, 8))
    frames[ONSET : LAST + 1], frames[7] = 9.0, 0.1
    usable = np.ones(len(frames), bool)
    usable[ONSET : LAST + 1] = False
    arterial = _channel(_pictured(_sub(frames, usable=usable, reference_frame=7)), "arterial")
    assert arterial == pytest.approx(np.arcsinh(1), rel=1e-4)


def test_the_reference_picture_is_the_reference_frame_and_the_last_one_the_runs_end() -> None:
    frames = np.stack([np.full((48, 48), 0.01 * (k + 1)) for k in range(len(TIMES))])
    pictures = _pictured(_sub(frames, reference_frame=3))
    np.testing.assert_allclose(_channel(pictures, "reference"), np.arcsinh(0.04 / 0.1), rtol=1e-4)
    end = 0.01 * (len(TIMES) - 0.5)
    np.testing.assert_allclose(_channel(pictures, "last"), np.arcsinh(end / 0.1), rtol=1e-4)


def test_contrast_stands_as_far_out_of_the_noise_whatever_the_matrix() -> None:
    # A detector of twice the matrix has twice the noise a pixel for the same dose.
    frames = np.full((len(TIMES), 64, 64), 0.05)
    coarse = _pictured(_sub(np.repeat(np.repeat(frames, 8, axis=1), 8, axis=2), noise_sd=0.01))
    fine = _pictured(_sub(np.repeat(np.repeat(frames, 16, axis=1), 16, axis=2), noise_sd=0.02))
    np.testing.assert_allclose(_channel(fine, "over_noise"), _channel(coarse, "over_noise"), atol=1e-3)
