"""A frame as the network sees it: whatever the display made of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from angio_pipeline.networks.frames import FRAME_CHANNELS, picture_frame

Maker = Callable[..., np.ndarray]


@pytest.mark.slow
@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(gain=st.floats(0.01, 100), offset=st.floats(-1000, 1000))
def test_gain_and_offset_of_the_display_change_nothing(angiogram: Maker, gain: float, offset: float) -> None:
    frame = angiogram()
    changed = (gain * frame.astype(np.float64) + offset).astype(np.float32)
    plain = picture_frame(frame, working_px=64)
    np.testing.assert_allclose(picture_frame(changed, working_px=64), plain, atol=0.01)


def test_inverted_the_picture_changes_its_sign(angiogram: Maker) -> None:
    frame = angiogram()
    inverted = picture_frame(255 - frame, working_px=64)
    np.testing.assert_allclose(inverted, -picture_frame(frame, working_px=64), atol=1e-3)


def test_a_dark_line_is_positive_and_its_surroundings_are_not() -> None:
    frame = np.full((64, 64), 200.0)
    frame[:, 30:33] = 120
    detail = picture_frame(frame, working_px=64)[FRAME_CHANNELS.index("detail")]
    assert detail[:, 31].min() > 1
    assert detail[:, :20].max() < 0.2


@pytest.mark.parametrize(
    ("size", "wanted"), [((32, 32), (64, 64)), ((33, 47), (64, 91)), ((110, 60), (117, 64)), ((1024, 1024), (64, 64))]
)
def test_the_shorter_side_has_the_working_size(
    angiogram: Maker, size: tuple[int, int], wanted: tuple[int, int]
) -> None:
    picture = picture_frame(angiogram(*size), working_px=64)
    assert picture.shape == (2, *wanted)
    assert picture.dtype == np.float32


def test_twice_the_matrix_is_the_same_picture(angiogram: Maker) -> None:
    frame = angiogram(64, 80)
    double = np.kron(frame, np.ones((2, 2), np.float32))
    np.testing.assert_allclose(
        picture_frame(double, working_px=64), picture_frame(frame, working_px=64), rtol=0, atol=1e-3
    )


@pytest.mark.parametrize("value", [0.0, 117.0, 1e6, -3.5, np.nan, np.inf])
def test_a_frame_without_structure_is_all_zeros(value: float) -> None:
    assert not picture_frame(np.full((40, 48), value), working_px=64).any()


def test_what_is_not_known_leaves_no_hole(angiogram: Maker) -> None:
    frame = angiogram()
    frame[:, :20] = np.nan
    frame[5, 50] = np.inf
    picture = picture_frame(frame, working_px=64)
    assert np.isfinite(picture).all()
    assert picture[0, :, 40:].std() > 0.1


def test_the_edge_of_what_is_not_known_is_no_line() -> None:
    frame = np.random.default_rng(4).normal(0, 5, (128, 128))
    # Bright beside the shutter, dark elsewhere.
    frame[:, 64:] += 300
    frame[:, 96:] = np.nan
    detail = picture_frame(frame, working_px=128)[0].mean(axis=0)
    assert np.abs(detail[92:100]).max() < 0.2 * np.abs(detail[60:68]).max()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.float64])
def test_numbers_of_every_kind_give_the_same_picture(angiogram: Maker, kind: type[np.generic]) -> None:
    frame = np.rint(np.clip(angiogram(), 0, 255))
    np.testing.assert_allclose(
        picture_frame(frame.astype(kind), working_px=64), picture_frame(frame, working_px=64), atol=1e-4
    )


def test_the_picture_is_bounded_however_bright_one_pixel_is(angiogram: Maker) -> None:
    frame = angiogram()
    frame[30, 30] = 1e7
    assert np.abs(picture_frame(frame, working_px=64)).max() <= 6


@pytest.mark.parametrize("shape", [(7, 7), (31, 500), (64, 64, 3), (4096,)])
def test_what_is_too_small_or_no_image_is_refused_by_its_size(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"one channel and at least 32 x 32 pixels, found \("):
        picture_frame(np.zeros(shape), working_px=64)
