from __future__ import annotations

import numpy as np
import pytest

from angio_pipeline.numerics.polygons import fill_polygons, shifted_mask


def test_an_outline_holds_the_pixels_whose_centres_lie_in_it() -> None:
    mask = fill_polygons([[(9.5, 19.5), (9.5, 39.5), (19.5, 39.5), (19.5, 19.5)]], (40, 60))
    want = np.zeros((40, 60), bool)
    want[10:20, 20:40] = True
    assert np.array_equal(mask, want)


def test_outlines_add_up_and_what_leaves_the_frame_is_left_out() -> None:
    one, other = [(-5, -5), (-5, 4.5), (4.5, 4.5), (4.5, -5)], [(29.5, 29.5), (29.5, 99), (99, 99), (99, 29.5)]
    mask = fill_polygons([one, other], (40, 40))
    assert mask[:5, :5].all()
    assert mask[30:, 30:].all()
    assert np.count_nonzero(mask) == 25 + 100


def test_without_outlines_nothing_is_filled() -> None:
    assert not fill_polygons([], (4, 4)).any()


@pytest.mark.parametrize("shift", [(3.0, -2.0), (0.4, 0.3), (-2.6, 1.7)])
def test_a_shifted_mask_is_the_mask_elsewhere(shift) -> None:
    mask = np.zeros((40, 40), bool)
    mask[12:24, 14:26] = True
    moved = shifted_mask(mask, shift)
    assert np.argwhere(moved).mean(axis=0) == pytest.approx(np.argwhere(mask).mean(axis=0) + np.round(shift), abs=0.1)
