"""A tumour as the feeder network sees it: with all that may feed it, and after the pictures of its run."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from angio_pipeline.networks.feeders import FEEDER_CHANNELS, around, picture_tumour
from angio_pipeline.vessels import CHANNELS

REACH_PX = 96


def _tumour(shape: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
    tumour = np.zeros(shape, bool)
    tumour[slice(*rows), slice(*columns)] = True
    return tumour


def test_a_tumour_is_shown_with_the_same_reach_on_every_side() -> None:
    tumour = _tumour((500, 600), (200, 230), (300, 350))
    numbers = np.arange(500 * 600).reshape(500, 600)
    shown, mask = numbers[around(tumour)], tumour[around(tumour)]
    assert shown.shape == (30 + 2 * REACH_PX, 50 + 2 * REACH_PX)
    np.testing.assert_array_equal(mask[REACH_PX:-REACH_PX, REACH_PX:-REACH_PX], True)
    assert mask.sum() == tumour.sum()


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.tuples(st.integers(1, 300), st.integers(1, 300)), st.data())
def test_what_is_shown_never_leaves_the_frame_and_leaves_out_nothing_that_is_near(
    shape: tuple[int, int], data: st.DataObject
) -> None:
    at = np.array([[data.draw(st.integers(0, side - 1)) for side in shape] for _ in range(3)])
    tumour = np.zeros(shape, bool)
    tumour[tuple(at.T)] = True
    rows, columns = (np.arange(side)[part] for side, part in zip(shape, around(tumour), strict=True))
    for k, (kept, side) in enumerate(((rows, shape[0]), (columns, shape[1]))):
        reach = np.arange(at[:, k].min() - REACH_PX, at[:, k].max() + REACH_PX + 1)
        np.testing.assert_array_equal(kept, reach[(reach >= 0) & (reach < side)])


@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 299), (299, 0), (299, 299)])
def test_in_a_corner_the_frame_ends_what_is_shown(row: int, column: int) -> None:
    tumour = np.zeros((300, 300), bool)
    tumour[row, column] = True
    shown = tumour[around(tumour)]
    assert shown.shape == (REACH_PX + 1, REACH_PX + 1)
    assert shown[-1 if row else 0, -1 if column else 0]


def test_of_no_tumour_there_is_no_surrounding() -> None:
    with pytest.raises(ValueError, match="at least one pixel, found an empty mask"):
        around(np.zeros((40, 50), bool))


def test_the_tumour_comes_after_the_pictures_of_its_run() -> None:
    pictures = np.random.default_rng(1).normal(size=(len(CHANNELS), 20, 30)).astype(np.float32)
    tumour = _tumour((20, 30), (5, 9), (10, 20))
    before = pictures.copy()
    shown = picture_tumour(pictures, tumour)
    assert shown.dtype == np.float32
    assert (*CHANNELS, "tumour") == FEEDER_CHANNELS
    assert shown.shape == (len(FEEDER_CHANNELS), 20, 30)
    np.testing.assert_array_equal(shown[:-1], pictures)
    np.testing.assert_array_equal(shown[-1], tumour)
    np.testing.assert_array_equal(pictures, before)
