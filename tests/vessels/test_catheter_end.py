"""Where a catheter that a network has told ends."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from angio_pipeline.vessels.tip import TipParams, catheter_end

SIZE = (256, 256)


def _line(points: list[tuple[int, int]], width: int) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    cv2.polylines(mask, [np.array([(col, row) for row, col in points])], False, 1, width)
    return mask > 0


ARTERY = _line([(100, 120), (110, 180), (160, 240)], 9)
CATHETER = _line([(255, 60), (140, 70), (100, 125)], 3)


def _end(catheter: np.ndarray, artery: np.ndarray = ARTERY) -> tuple[float, float] | None:
    return catheter_end(catheter, artery, TipParams(), 0.5)


def test_the_end_in_the_artery_is_the_tip() -> None:
    assert _end(CATHETER) == pytest.approx((100, 125), abs=3)


def test_a_gap_in_the_catheter_makes_no_other_tip() -> None:
    broken = CATHETER.copy()
    broken[180:182] = False
    assert _end(broken) == pytest.approx((100, 125), abs=3)


def test_a_catheter_that_ends_away_from_all_arteries_has_no_tip() -> None:
    assert _end(_line([(255, 20), (200, 20), (150, 24)], 3)) is None


def test_a_speck_is_no_catheter() -> None:
    assert _end(_line([(100, 122), (104, 128)], 3)) is None
    assert _end(np.zeros(SIZE, bool)) is None


def test_an_end_at_the_pictures_rim_leads_out_of_it() -> None:
    through = _line([(255, 60), (0, 60)], 3)
    artery = _line([(250, 60), (250, 120)], 9)
    assert _end(through, artery) is None
