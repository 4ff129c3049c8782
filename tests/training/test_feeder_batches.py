"""Crops about tumours: what is asked for is what feeds the tumour that is shown, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from angio_pipeline.networks.feeders import FEEDER_CHANNELS
from angio_pipeline.training.batches import Batch, CropParams
from angio_pipeline.training.feeder_batches import feeder_batches, feeder_pictures
from angio_pipeline.training.packing import Packed
from angio_pipeline.vessels import CHANNELS

AS_IT_IS = {"disturbed": 0.0, "drop_timing": 0.0, "drop_anatomy": 0.0}
UPRIGHT = {**AS_IT_IS, "scale_min": 1.0, "scale_max": 1.0, "turn_deg": 0.0}
TUMOUR = FEEDER_CHANNELS.index("tumour")
VALID = CHANNELS.index("valid")
# The picture that shows each part of the truth, tumour by tumour: where it is, what feeds it, what may.
SHOWN = tuple(
    tuple(CHANNELS.index(name) for name in names)
    for names in (("arterial", "reference", "last"), ("mean", "contrast_9_s", "anatomy"))
)

Maker = Callable[..., Packed]


def _disc(shape: tuple[int, int], row: int, column: int, radius: int) -> np.ndarray:
    return cv2.circle(np.zeros(shape, np.uint8), (column, row), radius, 1, -1) > 0


def _two_tumours(side: int = 96) -> np.ndarray:
    """Return (2, 3, side, side): a disc above, fed from the left, and one below, fed from the right."""
    truth = np.zeros((2, 3, side, side), bool)
    middle, radius = side // 2, side // 12
    for tumour, (row, to) in zip(truth, ((side // 3, -1), (2 * side // 3, 1)), strict=True):
        tumour[0] = _disc((side, side), row, middle, radius)
        for bit, at in ((1, row), (2, row + 3 * to)):
            columns = slice(4, middle) if to < 0 else slice(middle, side - 4)
            tumour[bit, at - 1 : at + 2, columns] = True
    return truth


def _pictured(truth: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """Return pictures that show each part of the truth of up to two tumours in a picture of its own."""
    pictures = np.zeros((len(CHANNELS), *truth.shape[2:]), np.float32)
    for tumour, places in zip(truth, SHOWN, strict=False):
        for part, place in zip(tumour, places, strict=True):
            pictures[place] = part
    pictures[VALID] = 1 if valid is None else valid
    return pictures


@pytest.fixture
def fed(tmp_path: Path, pack: Maker) -> Maker:
    """Return a maker of examples from the truth of their tumours."""

    def make(truth: np.ndarray, *, name: str = "00000-frontal", valid: np.ndarray | None = None) -> Packed:
        labels = np.zeros(truth.shape[2:], np.uint8)
        return pack(tmp_path / "packed", labels, name, pictures=_pictured(truth, valid), tumours=truth)

    return make


def _batches(
    packed: Sequence[Packed], params: CropParams, *, seed: int = 1, first: int = 0, steps: int = 4
) -> list[Batch]:
    return list(feeder_batches(packed, params, seed=seed, first_step=first, steps=steps))


def _crops(batches: Sequence[Batch]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return inputs, the target and what is known of it, crop by crop."""
    return [
        (inputs, targets[0] > 0, known[0] > 0)
        for batch in batches
        for inputs, targets, known in zip(batch.inputs, batch.targets, batch.known, strict=True)
    ]


def _differ(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether masks differ by more than the half pixel between a picture that is interpolated and a label."""
    return bool(cv2.erode((one ^ other).astype(np.uint8), np.ones((3, 3))).any())


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


def _about_a_tumour(inputs: np.ndarray, places: tuple[int, ...]) -> bool:
    return bool(((inputs[TUMOUR] > 0) & (inputs[places[0]] > 0.5)).any())


def test_the_last_input_is_where_the_tumour_is_and_the_others_are_pictures_of_the_run(fed: Maker) -> None:
    packed = fed(_two_tumours()[:1])
    seen = 0
    for inputs, _, _ in _crops(_batches([packed], CropParams(size_px=64, batch=8, turn_deg=45.0, **AS_IT_IS))):
        assert len(inputs) == len(FEEDER_CHANNELS)
        assert set(np.unique(inputs[TUMOUR])) == {0, 1}
        assert inputs[VALID].max() == 1
        if _about_a_tumour(inputs, SHOWN[0]):
            seen += 1
            assert _overlap(inputs[TUMOUR] > 0, inputs[SHOWN[0][0]] > 0.5) > 0.5
    assert seen > 20


def test_what_is_asked_for_feeds_the_tumour_that_is_shown_and_no_other(fed: Maker) -> None:
    packed, seen = fed(_two_tumours()), [0, 0]
    for inputs, target, _ in _crops(_batches([packed], CropParams(size_px=64, batch=8, turn_deg=45.0, **AS_IT_IS))):
        about = [_about_a_tumour(inputs, places) for places in SHOWN]
        assert about != [True, True]
        for k in (0, 1):
            if about[k]:
                assert not _differ(target, inputs[SHOWN[k][1]] > 0.5)
                seen[k] += bool(target.any())
    assert min(seen) > 5


def test_every_tumour_of_every_example_is_shown_as_often(fed: Maker) -> None:
    none = np.zeros((0, 3, 96, 96), bool)
    packed = [
        fed(_two_tumours(), name="00000-frontal"),
        fed(none, name="00000-post"),
        fed(_two_tumours()[::-1, :, ::-1], name="00001-frontal"),
    ]
    params = CropParams(size_px=32, batch=16, **UPRIGHT)
    shown = [0, 0]
    for inputs, _, _ in _crops(_batches(packed, params, steps=20)):
        for k in (0, 1):
            shown[k] += _about_a_tumour(inputs, SHOWN[k])
    assert shown[0] / sum(shown) == pytest.approx(0.5, abs=0.1)


def test_a_feeder_that_may_be_too_faint_is_neither_right_nor_wrong(fed: Maker) -> None:
    packed, seen = fed(_two_tumours()[:1]), 0
    for inputs, target, known in _crops(_batches([packed], CropParams(size_px=64, batch=8, **AS_IT_IS))):
        if _about_a_tumour(inputs, SHOWN[0]):
            _, feeder, faint = (inputs[place] > 0.5 for place in SHOWN[0])
            assert not (target & ~known).any()
            assert not _differ(known, ~(faint & ~feeder) & (inputs[VALID] > 0.5))
            seen += np.count_nonzero(~known)
    assert seen > 500


def test_where_a_faint_feeder_crosses_one_that_is_seen_there_is_a_feeder(fed: Maker) -> None:
    truth = _two_tumours()[:1]
    truth[0, 2] = False
    truth[0, 2, :, 20:23] = True
    ((_, target, known),) = feeder_pictures(fed(truth))
    both = truth[0, 1] & truth[0, 2]
    assert both.any()
    assert target[0][both].all()
    assert known[0][both].all()
    assert not known[0][truth[0, 2] & ~both].any()


def test_the_feeders_of_another_tumour_are_known_to_be_none_of_this_one(fed: Maker) -> None:
    packed, seen = fed(_two_tumours()), 0
    for inputs, target, known in _crops(_batches([packed], CropParams(size_px=96, batch=8, **UPRIGHT))):
        for this, other in (SHOWN, SHOWN[::-1]):
            if _about_a_tumour(inputs, this):
                theirs = (inputs[other[1]] > 0.5) | (inputs[other[2]] > 0.5)
                assert theirs.any()
                assert known[theirs].all()
                assert not target[theirs].any()
                seen += 1
    assert seen > 20


def test_behind_a_shutter_and_beyond_the_frame_nothing_is_known(fed: Maker) -> None:
    truth = _two_tumours(48)[:1]
    truth[0, 2] = False
    valid = np.ones((48, 48))
    valid[:, :12] = 0
    params = CropParams(size_px=64, batch=8, scale_min=1.0, scale_max=1.0, turn_deg=0.0, disturbed=1.0)
    for inputs, _, known in _crops(_batches([fed(truth, valid=valid)], params)):
        inside = inputs[VALID] > 0.5
        assert np.count_nonzero(inside) == 48 * 36
        np.testing.assert_array_equal(known, inside)
        assert not inputs[:VALID, ~inside].any()


def test_what_a_step_sees_does_not_depend_on_where_training_begins(fed: Maker) -> None:
    packed, params = [fed(_two_tumours())], CropParams(size_px=32, batch=3)
    whole = _batches(packed, params, steps=5)
    for first in (0, 1, 4):
        rest = _batches(packed, params, first=first, steps=5)
        assert len(rest) == 5 - first
        for one, other in zip(whole[first:], rest, strict=True):
            for part in ("inputs", "targets", "known"):
                np.testing.assert_array_equal(getattr(one, part), getattr(other, part))


def test_other_seeds_and_other_steps_see_something_else(fed: Maker) -> None:
    packed, params = [fed(_two_tumours())], CropParams(size_px=32, batch=3)
    seen = [*_batches(packed, params, seed=1), *_batches(packed, params, seed=2)]
    assert not any(np.array_equal(one.inputs, other.inputs) for k, one in enumerate(seen) for other in seen[:k])


def test_disturbance_changes_neither_the_tumour_nor_its_feeders(fed: Maker) -> None:
    packed = [fed(_two_tumours())]
    plain, loud = (
        _batches(packed, CropParams(size_px=64, batch=1, disturbed=share, drop_timing=share, drop_anatomy=share))
        for share in (0.0, 1.0)
    )
    for one, other in zip(plain, loud, strict=True):
        assert not np.array_equal(one.inputs[:, :TUMOUR], other.inputs[:, :TUMOUR])
        np.testing.assert_array_equal(one.inputs[:, TUMOUR], other.inputs[:, TUMOUR])
        np.testing.assert_array_equal(one.targets, other.targets)
        np.testing.assert_array_equal(one.known, other.known)


def test_files_of_examples_are_left_as_they_are(fed: Maker) -> None:
    packed = fed(_two_tumours())
    before = packed.pictures.read_bytes(), packed.tumours.read_bytes()
    _batches([packed], CropParams(size_px=32, batch=4, disturbed=1.0))
    assert (packed.pictures.read_bytes(), packed.tumours.read_bytes()) == before


@pytest.fixture
def in_a_corner(fed: Maker) -> Packed:
    """Return an example of a small tumour in a corner, with a feeder across the whole picture and a faint one."""
    truth = np.zeros((1, 3, 256, 256), bool)
    truth[0, 0] = _disc((256, 256), 12, 12, 6)
    truth[0, 1, 126:129, :] = truth[0, 1, :, 126:129] = True
    truth[0, 2, 100:103, :] = True
    return fed(truth)


@pytest.mark.slow
def test_now_and_then_a_region_holds_no_tumour_and_nothing_feeds_it(in_a_corner: Packed) -> None:
    params = CropParams(size_px=64, batch=20, **UPRIGHT)
    crops = _crops(_batches([in_a_corner], params, steps=20))
    elsewhere = [crop for crop in crops if not _about_a_tumour(crop[0], SHOWN[0])]
    assert 0.03 < len(elsewhere) / len(crops) < 0.14
    for inputs, target, known in elsewhere:
        assert inputs[TUMOUR].any()
        assert not target.any()
        assert known.all()
    # What feeds the tumour is in the picture all the same.
    assert any((inputs[SHOWN[0][1]] > 0.5).any() for inputs, _, _ in elsewhere)


@pytest.mark.slow
def test_regions_without_a_tumour_are_as_large_as_tumours_are(in_a_corner: Packed) -> None:
    params = CropParams(size_px=128, batch=20, **UPRIGHT)
    crops = _crops(_batches([in_a_corner], params, steps=10))
    areas = [np.count_nonzero(inputs[TUMOUR]) for inputs, _, _ in crops if not _about_a_tumour(inputs, SHOWN[0])]
    assert min(areas) > 50
    assert max(areas) < 1.6 * np.pi * 45**2


def test_a_region_that_touches_a_tumour_is_never_said_to_hold_none(fed: Maker) -> None:
    truth = np.zeros((2, 3, 96, 96), bool)
    truth[0, 0] = _disc((96, 96), 48, 48, 40)
    truth[1, 0] = ~truth[0, 0]
    truth[:, 1, 10:86, 10:86] = True
    for inputs, target, _ in _crops(_batches([fed(truth)], CropParams(size_px=64, batch=16, **UPRIGHT), steps=10)):
        assert inputs[TUMOUR].any()
        assert target.any()


@pytest.mark.slow
def test_the_tumour_is_drawn_larger_or_smaller_or_aside_and_never_quite_elsewhere(fed: Maker) -> None:
    truth = np.zeros((1, 3, 256, 256), bool)
    truth[0, 0] = _disc((256, 256), 128, 128, 20)
    params = CropParams(size_px=128, batch=16, **UPRIGHT)
    sizes, asides = [], []
    for inputs, _, _ in _crops(_batches([fed(truth)], params, steps=15)):
        drawn, true = inputs[TUMOUR] > 0, inputs[SHOWN[0][0]] > 0.5
        if (drawn & true).any() and np.count_nonzero(true) == np.count_nonzero(truth[0, 0]):
            assert _overlap(drawn, true) > 0.5
            sizes.append(np.count_nonzero(drawn) / np.count_nonzero(true))
            asides.append(np.hypot(*(np.argwhere(drawn).mean(axis=0) - np.argwhere(true).mean(axis=0))))
    assert len(sizes) > 100
    assert np.mean(np.array(sizes) < 0.95) > 0.15
    assert np.mean(np.array(sizes) > 1.05) > 0.15
    assert np.mean(np.isclose(sizes, 1, atol=0.05)) > 0.15
    assert np.mean(np.array(asides) > 1) > 0.2
    assert np.mean(np.array(asides) < 0.5) > 0.3
    assert 0.4 < min(sizes) < max(sizes) < 1.8


@pytest.mark.slow
@pytest.mark.parametrize(
    "part",
    [np.s_[30:33, 30:33], np.s_[30, 40], np.s_[:2, 10:86], np.s_[10:86, -1:], np.s_[50:52, 10:86]],
    ids=["small", "one-pixel", "strip-above", "strip-at-the-right", "strip-within"],
)
def test_however_small_or_thin_a_tumour_is_it_is_shown_where_it_is(fed: Maker, part: tuple[slice | int, ...]) -> None:
    truth = np.zeros((1, 3, 96, 96), bool)
    truth[(0, 0, *part)] = True
    crops = _crops(_batches([fed(truth)], CropParams(size_px=96, batch=16, **UPRIGHT), steps=20))
    assert all(inputs[TUMOUR].any() for inputs, _, _ in crops)
    # What is left are regions that hold none.
    assert np.mean([_about_a_tumour(inputs, SHOWN[0]) for inputs, _, _ in crops]) > 0.85


def test_whole_pictures_are_told_tumour_by_tumour_each_with_what_is_about_it(fed: Maker) -> None:
    truth = np.zeros((2, 3, 320, 352), bool)
    for tumour, (row, column) in zip(truth, ((60, 50), (250, 300)), strict=True):
        tumour[0] = _disc((320, 352), row, column, 10)
        tumour[1, row - 1 : row + 2, column - 45 : column] = True
        tumour[2, row - 45 : row, column - 1 : column + 2] = True
    packed = fed(truth)
    whole = _pictured(truth)
    told = feeder_pictures(packed)
    assert len(told) == 2
    places = (np.s_[:167, :157], np.s_[144:, 194:])
    for (shown, target, known), tumour, place in zip(told, truth, places, strict=True):
        np.testing.assert_array_equal(shown[:TUMOUR], whole[(slice(None), *place)])
        np.testing.assert_array_equal(shown[TUMOUR], tumour[0][place])
        np.testing.assert_array_equal(target[0], tumour[1][place])
        np.testing.assert_array_equal(known[0], ~(tumour[2] & ~tumour[1])[place])
        assert shown.dtype == target.dtype == known.dtype == np.float32


def test_in_whole_pictures_nothing_is_known_behind_a_shutter(fed: Maker) -> None:
    valid = np.ones((96, 96))
    valid[:20] = valid[:, 80:] = 0
    truth = _two_tumours()
    truth[:, 2] = False
    for _, target, known in feeder_pictures(fed(truth, valid=valid)):
        np.testing.assert_array_equal(known[0], valid)
        assert target.any()


def test_an_example_without_a_tumour_has_no_pictures(fed: Maker) -> None:
    assert feeder_pictures(fed(np.zeros((0, 3, 64, 64), bool))) == []


@pytest.mark.parametrize("columns", [64, 70, 71])
def test_frames_of_any_width_are_told_alike(fed: Maker, columns: int) -> None:
    truth = np.random.default_rng(3).random((2, 3, 64, columns)) < 0.3
    told = feeder_pictures(fed(truth))
    for (shown, target, _), tumour in zip(told, truth, strict=True):
        np.testing.assert_array_equal(shown[TUMOUR], tumour[0])
        np.testing.assert_array_equal(target[0], tumour[1])
