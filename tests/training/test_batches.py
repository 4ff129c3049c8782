"""Crops: labels go where pictures go, outside is nothing, and a step sees the same whenever it comes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from angio_pipeline.training.batches import RUN_CLASSES, Batch, CropParams, ahead, crop_matrix, run_batches, targets_of
from angio_pipeline.training.examples import Label
from angio_pipeline.training.packing import CENTRELINE, Packed
from angio_pipeline.vessels import CHANNELS

AS_IT_IS = {"disturbed": 0.0, "drop_timing": 0.0, "drop_anatomy": 0.0}
UPRIGHT = {**AS_IT_IS, "scale_min": 1.0, "scale_max": 1.0, "turn_deg": 0.0}
ARTERIAL, LAST, LATE, ANATOMY, VALID = (
    CHANNELS.index(name) for name in ("arterial", "last", "contrast_9_s", "anatomy", "valid")
)


@pytest.fixture(scope="module")
def packed(tmp_path_factory, scene, pack) -> list[Packed]:
    folder = tmp_path_factory.mktemp("packed")
    return [pack(folder, scene(shift=3 * k), f"{k:05d}-frontal") for k in range(3)]


def _batches(packed: list[Packed], params: CropParams, *, seed: int = 1, first: int = 0, steps: int = 4) -> list[Batch]:
    return list(run_batches(packed, params, seed=seed, first_step=first, steps=steps))


def _same(one: Batch, other: Batch) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("inputs", "targets", "known"))


def _sure(*bits: int) -> dict[str, tuple[bool, bool]]:
    """Return what one pixel of these labels is of each class, and whether that is known."""
    targets, known = targets_of(np.full((1, 1), sum(bits), np.uint8))
    return {name: (bool(targets[k, 0, 0]), bool(known[k, 0, 0])) for k, name in enumerate(RUN_CLASSES)}


def test_what_is_not_labelled_is_known_to_be_nothing() -> None:
    assert _sure() == dict.fromkeys(RUN_CLASSES, (False, True))


@pytest.mark.parametrize(
    ("bit", "name"),
    [
        (Label.ARTERY, "artery"),
        (Label.VEIN, "vein"),
        (Label.BLUSH, "blush"),
        (Label.CATHETER, "catheter"),
        (CENTRELINE, "centreline"),
    ],
)
def test_every_label_is_a_class_of_its_own(bit: int, name: str) -> None:
    told = {key: value for key, (value, _) in _sure(bit).items()}
    assert told == {**dict.fromkeys(RUN_CLASSES, False), name: True}


def test_whether_there_is_an_artery_is_not_known_where_one_is_too_faint() -> None:
    unsure = _sure(Label.ARTERY_UNSURE)
    assert unsure["artery"] == unsure["centreline"] == (False, False)
    assert [unsure[name] for name in ("vein", "blush", "catheter")] == [(False, True)] * 3


def test_an_artery_that_is_seen_is_known_though_a_faint_one_crosses_it() -> None:
    assert _sure(Label.ARTERY, Label.ARTERY_UNSURE)["artery"] == (True, True)


def test_whether_a_vein_lies_beneath_an_artery_is_known_either_way() -> None:
    assert _sure(Label.ARTERY)["vein"] == (False, True)
    assert _sure(Label.ARTERY, Label.VEIN)["vein"] == (True, True)


def test_a_tumour_that_is_not_seen_is_neither_blush_nor_none() -> None:
    assert _sure(Label.BLUSH_UNSURE)["blush"] == (False, False)
    assert _sure(Label.BLUSH_UNSURE, Label.BLUSH)["blush"] == (True, True)
    assert _sure(Label.BLUSH_UNSURE)["artery"] == (False, True)


def test_pictures_and_labels_are_cut_turned_and_mirrored_alike(packed) -> None:
    seen = 0
    for batch in _batches(packed, CropParams(size_px=48, batch=6, turn_deg=45.0, **AS_IT_IS)):
        for k, channel in enumerate((ARTERIAL, LATE, LAST, ANATOMY)):
            shown, truth = batch.inputs[:, channel] > 0.5, batch.targets[:, k] > 0.5
            # Pictures are interpolated and labels are not: half a pixel at an edge is all there is between them.
            wrong = [cv2.erode((a ^ b).astype(np.uint8), np.ones((3, 3))) for a, b in zip(shown, truth, strict=True)]
            assert not np.any(wrong)
            assert np.count_nonzero(shown ^ truth) <= 0.1 * np.count_nonzero(truth)
            seen += np.count_nonzero(truth)
    assert seen > 1000


def test_centrelines_stay_in_their_arteries(packed) -> None:
    for batch in _batches(packed, CropParams(size_px=48, batch=6)):
        artery, centreline = batch.targets[:, 0] > 0, batch.targets[:, -1] > 0
        assert centreline.any()
        assert artery[centreline].all()


def test_an_upright_crop_is_a_part_of_the_picture_or_its_mirror_image(packed) -> None:
    labels = np.load(packed[0].labels)
    whole = targets_of(labels)[0]
    (batch,) = _batches(packed[:1], CropParams(size_px=96, batch=8, **UPRIGHT), steps=1)
    ways = [
        turned[:, ::rows, ::columns]
        for turned in (whole, whole.transpose(0, 2, 1))
        for rows in (1, -1)
        for columns in (1, -1)
    ]
    for targets in batch.targets:
        assert any(np.array_equal(targets, way) for way in ways)


def test_outside_the_picture_everything_is_zero_and_nothing_is_known(packed, tmp_path, scene, pack) -> None:
    loud = np.ones((len(CHANNELS), 32, 32))
    small = pack(tmp_path, np.full((32, 32), Label.VEIN | Label.CATHETER, np.uint8), pictures=loud)
    params = CropParams(size_px=64, batch=4, scale_min=1.0, scale_max=1.0, turn_deg=0.0, disturbed=1.0)
    for batch in _batches([small], params):
        # 32 pixels of picture in the middle of 64, whichever way they lie.
        outside = np.ones((64, 64), bool)
        outside[16:48, 16:48] = False
        assert (batch.inputs[:, VALID, ~outside] == 1).all()
        assert not batch.inputs[:, :, outside].any()
        assert not batch.targets[:, :, outside].any()
        assert not batch.known[:, :, outside].any()


def test_behind_a_shutter_no_noise_is_added(scene, pack, tmp_path) -> None:
    pictures = np.zeros((len(CHANNELS), 96, 96))
    pictures[VALID, :, :48] = 1
    shut = pack(tmp_path, scene(), pictures=pictures)
    for batch in _batches([shut], CropParams(size_px=48, batch=4, disturbed=1.0, noise=0.5)):
        behind = batch.inputs[:, VALID] <= 0.5
        assert behind.any()
        assert not batch.inputs[:, :VALID].transpose(0, 2, 3, 1)[behind].any()


@pytest.mark.parametrize("scale", [1.0, 1.7])
def test_a_crop_no_larger_than_the_picture_lies_within_it(scale: float) -> None:
    params = CropParams(size_px=64, scale_min=scale, scale_max=scale, turn_deg=0.0)
    rng = np.random.default_rng(4)
    corners = np.array([[0, 0, 1], [63, 0, 1], [0, 63, 1], [63, 63, 1]]).T
    for _ in range(200):
        centre = rng.uniform(-20, 120), rng.uniform(-20, 140)
        columns, rows = crop_matrix(centre, (100, 120), params, rng) @ corners
        assert rows.min() >= -1e-9
        assert rows.max() <= 99 + 1e-9
        assert columns.min() >= -1e-9
        assert columns.max() <= 119 + 1e-9


def test_a_crop_shows_the_place_that_was_asked_for_in_its_middle() -> None:
    params = CropParams(size_px=65, turn_deg=30.0)
    rng = np.random.default_rng(5)
    for _ in range(50):
        column, row = crop_matrix((200.0, 300.0), (500, 600), params, rng) @ (32, 32, 1)
        assert (row, column) == pytest.approx((200, 300))


def test_scale_is_pixels_of_the_crop_per_pixel_of_the_picture() -> None:
    rng = np.random.default_rng(6)
    for scale in (0.5, 2.0):
        params = CropParams(size_px=64, scale_min=scale, scale_max=scale)
        matrix = crop_matrix((250.0, 250.0), (500, 500), params, rng)
        assert abs(np.linalg.det(matrix[:, :2])) == pytest.approx(1 / scale**2)


def test_a_crop_on_target_shows_a_vessel_or_a_blush(packed) -> None:
    for batch in _batches(packed, CropParams(size_px=32, batch=8, on_target=1.0)):
        assert batch.targets[:, :3].any(axis=(1, 2, 3)).all()


def test_what_a_step_sees_does_not_depend_on_where_training_begins(packed) -> None:
    params = CropParams(size_px=32, batch=3)
    whole = _batches(packed, params, steps=5)
    for first in (1, 3, 4):
        rest = _batches(packed, params, first=first, steps=5)
        assert len(rest) == 5 - first
        assert all(_same(one, other) for one, other in zip(whole[first:], rest, strict=True))


def test_other_seeds_and_other_steps_see_something_else(packed) -> None:
    params = CropParams(size_px=32, batch=3)
    seen = [*_batches(packed, params, seed=1), *_batches(packed, params, seed=2)]
    assert not any(_same(one, other) for k, one in enumerate(seen) for other in seen[:k])


def test_disturbance_changes_pictures_and_no_label(packed) -> None:
    plain, loud = (
        _batches(packed, CropParams(size_px=32, batch=1, drop_timing=0.0, drop_anatomy=0.0, disturbed=share), steps=3)
        for share in (0.0, 1.0)
    )
    for one, other in zip(plain, loud, strict=True):
        assert not np.array_equal(one.inputs, other.inputs)
        np.testing.assert_array_equal(one.targets, other.targets)
        np.testing.assert_array_equal(one.known, other.known)


def test_without_timing_every_picture_that_tells_time_is_empty_and_no_other(packed) -> None:
    params = CropParams(size_px=32, batch=4, on_target=1.0, disturbed=0.0, drop_timing=1.0, drop_anatomy=0.0)
    kept = {name for batch in _batches(packed, params) for k, name in enumerate(CHANNELS) if batch.inputs[:, k].any()}
    assert kept == {"arterial", "last", "anatomy", "valid"}


def test_without_anatomy_only_anatomy_is_empty(packed) -> None:
    params = CropParams(size_px=96, batch=4, disturbed=0.0, drop_timing=0.0, drop_anatomy=1.0)
    kept = {name for batch in _batches(packed, params) for k, name in enumerate(CHANNELS) if batch.inputs[:, k].any()}
    assert kept == {"arterial", "last", "contrast_9_s", "valid"}


def test_there_are_no_batches_after_the_last_step() -> None:
    def never(step: int) -> Batch:
        raise AssertionError(step)

    assert list(ahead(never, 4, 4)) == []


def test_what_goes_wrong_while_a_batch_is_cut_is_raised_where_it_is_used() -> None:
    def broken(step: int) -> Batch:
        raise OSError(f"step {step}")

    with pytest.raises(OSError, match="step 2"):
        next(ahead(broken, 2, 4))


def test_files_of_examples_are_left_as_they_are(packed) -> None:
    def content(of: Callable[[Packed], Path]) -> list[bytes]:
        return [of(one).read_bytes() for one in packed]

    before = content(lambda one: one.pictures), content(lambda one: one.labels)
    _batches(packed, CropParams(size_px=32, batch=4, disturbed=1.0))
    assert (content(lambda one: one.pictures), content(lambda one: one.labels)) == before


@pytest.fixture
def two_blushes(tmp_path, pack) -> Packed:
    """Return an example with a blush of 80 x 80 pixels, and another of 8 x 8 beside it."""
    labels = np.zeros((256, 256), np.uint8)
    labels[10:90, 10:90] = labels[200:208, 200:208] = Label.BLUSH
    return pack(tmp_path, labels)


def test_a_small_blush_is_shown_as_often_as_a_large_one(two_blushes: Packed) -> None:
    params = CropParams(size_px=32, batch=16, on_target=1.0, **UPRIGHT)
    blush = [crop[2] for batch in _batches([two_blushes], params, steps=20) for crop in batch.targets]
    # A crop of 32 pixels that holds the small one holds no more than its 64 pixels.
    small = np.mean([0 < image.sum() <= 64 for image in blush])
    assert 0.25 < small < 0.65


def test_a_pixel_of_a_small_blush_weighs_more_and_nothing_else_does(two_blushes: Packed) -> None:
    params = CropParams(size_px=256, batch=1, **UPRIGHT)
    batch = _batches([two_blushes], params, steps=1)[0]
    weight, truth = batch.known[0], batch.targets[0, 2] > 0
    count, number = cv2.connectedComponents(truth.astype(np.uint8))
    areas = {k: np.count_nonzero(number == k) for k in range(1, count)}
    small, large = min(areas, key=areas.__getitem__), max(areas, key=areas.__getitem__)
    assert np.all(weight[2][number == small] == 4)
    assert np.all(weight[2][number == large] == 1)
    assert np.all(weight[2][~truth] == 1)
    assert np.all(weight[[0, 1, 3, 4]] == 1)
