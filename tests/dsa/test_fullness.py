"""Which frame holds the most arterial contrast."""

from __future__ import annotations

import numpy as np
import pytest

from angio_pipeline.dsa.fullness import arterial_filling, fullest_frame, shows_vessels

SIZE = (256, 256)
WHOLE = np.ones(SIZE, bool)


def _line(width: float, amount: float, columns: slice = slice(None)) -> np.ndarray:
    rows = np.arange(SIZE[0])[:, None]
    image = np.zeros(SIZE, np.float32)
    image[:, columns] = amount * np.exp(-(((rows - 128) / width) ** 2))
    return image


def test_filling_grows_with_the_length_of_vessel_that_is_full() -> None:
    frames = np.stack([_line(3, 0.3, slice(0, end)) for end in (0, 60, 120, 240)])
    filling = arterial_filling(frames, WHOLE)
    assert (np.diff(filling) > 0).all()
    assert filling[0] == 0


def test_filling_is_linear_in_contrast() -> None:
    frames = np.stack([_line(3, amount) for amount in (0.0, 0.1, 0.2, 0.4)])
    _, one, two, four = arterial_filling(frames, WHOLE)
    assert two == pytest.approx(2 * one, rel=1e-3)
    assert four == pytest.approx(4 * one, rel=1e-3)


def test_branches_that_fill_count_more_than_a_trunk_that_is_a_little_brighter() -> None:
    trunk = _line(3, 0.5, slice(0, 60))
    branches = _line(3, 0.45, slice(0, 60)) + _line(3, 0.3, slice(60, 256))
    assert fullest_frame(arterial_filling(np.stack([trunk, branches]), WHOLE), np.ones(2, bool)) == 1


def test_a_stain_of_tissue_does_not_hide_when_arteries_were_full() -> None:
    stain = 0.3 * np.exp(-((np.hypot(*np.mgrid[-128:128, -128:128]) / 70) ** 4)).astype(np.float32)
    frames = np.stack([_line(3, 0.3), _line(3, 0.02) + stain])
    assert fullest_frame(arterial_filling(frames, WHOLE), np.ones(2, bool)) == 0


def test_what_is_not_valid_does_not_count() -> None:
    valid = np.ones(SIZE, bool)
    valid[:, 128:] = False
    frames = np.stack([_line(3, 0.3, slice(0, 100)), _line(3, 0.9, slice(150, 256))])
    assert fullest_frame(arterial_filling(frames, valid), np.ones(2, bool)) == 0
    assert not arterial_filling(frames, np.zeros(SIZE, bool)).any()


def test_a_frame_that_is_not_usable_is_never_chosen() -> None:
    assert fullest_frame([1.0, 3.0, 2.0], np.array([True, False, True])) == 2
    assert fullest_frame([1.0, 3.0], np.zeros(2, bool)) == 0


def test_of_frames_that_are_as_full_the_last_is_taken() -> None:
    usable = np.ones(4, bool)
    assert fullest_frame([0.5, 1.0, 0.99, 0.9], usable) == 2
    assert fullest_frame([0.5, 1.0, 0.97, 0.9], usable) == 1


def test_edges_of_what_moved_do_not_make_a_frame_full() -> None:
    vessels = _line(3, 0.2)
    bones = np.asarray(np.roll(_line(3, 0.5), -30, axis=0) - np.roll(_line(3, 0.5), -37, axis=0), np.float32)
    frames, usable = np.stack([np.zeros(SIZE, np.float32), vessels, 0.5 * vessels + bones]), np.ones(3, bool)
    filling = arterial_filling(frames, WHOLE)
    assert fullest_frame(filling, usable) == 2
    assert fullest_frame(filling, shows_vessels(frames, WHOLE, usable)) == 1
    # Where only such frames can be used, they are.
    alone = np.array([False, False, True])
    assert shows_vessels(frames, WHOLE, alone).tolist() == [False, False, True]
