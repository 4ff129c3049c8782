"""Crops of single frames: only contrast grows, and what one frame does not show is neither right nor wrong."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from angio_pipeline.core.errors import ConfigError
from angio_pipeline.training import frame_batches as module
from angio_pipeline.training.batches import Batch, CropParams
from angio_pipeline.training.examples import Label
from angio_pipeline.training.frame_batches import RealFrames, frame_batches, frame_pictures
from angio_pipeline.training.packing import CENTRELINE, Packed
from angio_pipeline.training.recipe import RealParams
from angio_pipeline.vessels import WORKING_PX

AS_IT_IS = CropParams(size_px=64, batch=4, disturbed=0.0)


@pytest.fixture(scope="module")
def packed(tmp_path_factory, scene, pack) -> list[Packed]:
    folder = tmp_path_factory.mktemp("packed")
    return [pack(folder, scene(shift=3 * k), f"{k:05d}-frontal") for k in range(3)]


def _batches(
    packed: list[Packed], params: CropParams = AS_IT_IS, real: RealFrames | None = None, *, first=0, steps=4, seed=1
) -> list[Batch]:
    return list(frame_batches(packed, real, params, seed=seed, first_step=first, steps=steps))


def _same(one: Batch, other: Batch) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("inputs", "targets", "known"))


def _grown(mask: np.ndarray, side: int) -> np.ndarray:
    return cv2.dilate(mask.astype(np.uint8), np.ones((side, side))) > 0


def _write_pair(folder: Path, name: str, image: np.ndarray, truth: np.ndarray) -> None:
    cv2.imwrite(str(folder / f"{name}.png"), image.astype(np.uint8))
    cv2.imwrite(str(folder / f"{name}_gt.png"), truth.astype(np.uint8))


def _angiogram(row: int = 250) -> tuple[np.ndarray, np.ndarray]:
    """Return a dark bar upon grey grain, and its truth."""
    truth = np.zeros((WORKING_PX, WORKING_PX))
    truth[row : row + 9, 40:480] = 255
    grain = np.random.default_rng(row).normal(150, 4, truth.shape)
    return np.where(truth > 0, grain - 80, grain), truth


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> RealFrames:
    folder = tmp_path_factory.mktemp("real")
    for name, row in (("1", 200), ("2", 300)):
        _write_pair(folder, name, *_angiogram(row))
    return RealFrames.read(folder, RealParams(share=1.0, train=("1",), calibrate=("2",), held_out=("9",)))


def test_truth_begins_above_127(tmp_path: Path) -> None:
    image, _ = _angiogram()
    levels = np.zeros_like(image)
    for k, level in enumerate((0, 1, 126, 127, 128, 200, 255)):
        levels[:, 64 * k : 64 * (k + 1)] = level
    _write_pair(tmp_path, "7", image, levels)
    frames = RealFrames.read(tmp_path, RealParams(train=("7",), calibrate=("7",), held_out=("9",)))
    for _, truth in (*frames.train, *frames.calibrate):
        np.testing.assert_array_equal(truth, levels > 127)


def test_images_to_learn_from_keep_their_values_and_those_to_calibrate_on_are_pictures(real) -> None:
    ((image, _),), ((picture, truth),) = real.train, real.calibrate
    np.testing.assert_allclose(image, np.trunc(_angiogram(200)[0]), atol=0.5)
    assert picture.shape == (2, WORKING_PX, WORKING_PX)
    # Contrast is dark in a frame and positive in its picture.
    assert np.median(picture[0][truth]) > np.percentile(picture[0][~truth], 99)


@pytest.mark.parametrize("shape", [(256, 320), (1024, 768)])
def test_images_come_at_the_working_size(tmp_path: Path, shape: tuple[int, int]) -> None:
    truth = np.zeros(shape)
    truth[:, : shape[1] // 2] = 255
    _write_pair(tmp_path, "1", np.random.default_rng(0).normal(100, 20, shape), truth)
    frames = RealFrames.read(tmp_path, RealParams(train=("1",), calibrate=("1",), held_out=("9",)))
    (image, mask), (picture, _) = frames.train[0], frames.calibrate[0]
    assert min(image.shape) == WORKING_PX
    assert image.shape == mask.shape == picture.shape[1:]
    assert image.shape[0] / image.shape[1] == pytest.approx(shape[0] / shape[1], rel=0.01)
    assert mask.mean() == pytest.approx(0.5, abs=0.005)


@pytest.mark.parametrize("missing", ["3.png", "3_gt.png"])
@pytest.mark.parametrize("part", ["train", "calibrate"])
def test_a_pair_that_is_not_whole_is_named(tmp_path: Path, missing: str, part: str) -> None:
    for name in ("1", "3"):
        _write_pair(tmp_path, name, *_angiogram())
    (tmp_path / missing).unlink()
    names = {"train": ("1",), "calibrate": ("1",), "held_out": ("9",), part: ("1", "3")}
    with pytest.raises(ConfigError, match=r"3\.png and 3_gt\.png"):
        RealFrames.read(tmp_path, RealParams(**names))


def test_what_a_step_sees_does_not_depend_on_where_training_begins(packed, real) -> None:
    some = RealFrames(real.train, real.calibrate, 0.5)
    params = CropParams(size_px=32, batch=3)
    whole = _batches(packed, params, some, steps=5)
    for first in (1, 4):
        rest = _batches(packed, params, some, first=first, steps=5)
        assert all(_same(one, other) for one, other in zip(whole[first:], rest, strict=True))


def test_other_seeds_and_other_steps_see_something_else(packed) -> None:
    params = CropParams(size_px=32, batch=2)
    seen = [*_batches(packed, params, seed=1), *_batches(packed, params, seed=2)]
    assert not any(_same(one, other) for k, one in enumerate(seen) for other in seen[:k])


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_real_images_make_up_their_share_of_the_batches(packed, real, monkeypatch, share: float) -> None:
    drawn = []
    crop_real = module._crop_real

    def counted(*given):
        drawn.append(1)
        return crop_real(*given)

    monkeypatch.setattr(module, "_crop_real", counted)
    some = RealFrames(real.train, real.calibrate, share)
    _batches(packed, CropParams(size_px=16, batch=8), some, steps=25)
    assert len(drawn) / 200 == pytest.approx(share, abs=0.1)


@pytest.mark.parametrize("source", ["simulated", "real"])
def test_vessels_are_bright_where_the_labels_say(packed, real, source: str) -> None:
    params = CropParams(size_px=96, batch=4, disturbed=0.0, on_target=1.0, turn_deg=45.0)
    seen = 0
    for batch in _batches(packed, params, real if source == "real" else None, steps=6):
        for inputs, targets, known in zip(batch.inputs, batch.targets, batch.known, strict=True):
            inside = cv2.erode((targets[0] * known[0]).astype(np.uint8), np.ones((3, 3))) > 0
            outside = (known[0] > 0) & ~_grown(targets[0] > 0, 5)
            if np.count_nonzero(inside) > 20:
                assert np.median(inputs[0][inside]) > np.percentile(inputs[0][outside], 98)
                seen += 1
    assert seen >= 6


def test_labels_at_another_size_than_the_frame_lie_upon_it(tmp_path, scene, pack) -> None:
    labels = scene()
    large = cv2.resize(scene(), (192, 192), interpolation=cv2.INTER_NEAREST)
    contrast = 0.5 * ((large & Label.ARTERY) > 0)
    anatomy = np.random.default_rng(1).normal(2, 0.02, large.shape)
    frame = np.stack([anatomy + contrast, contrast, contrast / 0.02])
    example = pack(tmp_path, labels, frame=frame)
    pictures, targets, _ = frame_pictures(example)
    artery = targets[0] > 0
    assert pictures.shape[1:] == labels.shape
    assert np.median(pictures[0][artery]) > np.percentile(pictures[0][~_grown(artery, 5)], 98)
    params = CropParams(size_px=96, batch=6, disturbed=0.0, on_target=1.0)
    for batch in _batches([example], params, steps=2):
        for inputs, targets, known in zip(batch.inputs, batch.targets, batch.known, strict=True):
            artery, outside = targets[0] > 0, (known[0] > 0) & ~_grown(targets[0] > 0, 7)
            assert artery.any()
            assert np.median(inputs[0][artery]) > np.percentile(inputs[0][outside], 98)


def test_beyond_a_frame_nothing_is_known(tmp_path, scene, pack, real) -> None:
    small = pack(tmp_path, scene(32))
    params = CropParams(size_px=64, batch=4, scale_min=1.0, scale_max=1.0, turn_deg=0.0)
    inside = np.zeros((64, 64), bool)
    inside[16:48, 16:48] = True
    for batch in _batches([small], params):
        assert not batch.known[:, :, ~inside].any()
        assert not batch.targets[:, :, ~inside].any()
        assert batch.known[:, :, inside].mean() > 0.5
    ((image, truth),) = real.train
    cut = RealFrames(((image[184:216, 100:132], truth[184:216, 100:132]),), (), 1.0)
    for batch in _batches([small], params, cut):
        np.testing.assert_array_equal(batch.known, np.broadcast_to(inside, batch.known.shape))
        assert not batch.targets[:, :, ~inside].any()


def _frame_of(contrast: np.ndarray) -> np.ndarray:
    anatomy = np.random.default_rng(2).normal(2, 0.02, contrast.shape)
    return np.stack([anatomy + contrast, contrast, contrast / 0.02])


@pytest.mark.parametrize(("share", "drawn", "known"), [(1.0, True, True), (0.09, False, False), (0.02, False, True)])
def test_a_faint_artery_is_open_and_one_that_nobody_would_draw_is_background(
    tmp_path, scene, pack, share: float, drawn: bool, known: bool
) -> None:
    labels = scene()
    contrast = 0.5 * ((labels & Label.ARTERY) > 0)
    contrast[:, 45:] *= share
    _, targets, sure = frame_pictures(pack(tmp_path, labels, frame=_frame_of(contrast)))
    line = ((labels & CENTRELINE) > 0) & (np.arange(96) >= 54) & (np.arange(96) < 60)
    assert line.any()
    assert (targets[:, line] > 0).all() == drawn
    assert (targets[:, line] > 0).any() == drawn
    assert (sure[:, line] > 0).all() == known
    assert (sure[:, line] > 0).any() == known


def test_a_vessel_is_drawn_out_to_the_readers_share_of_its_contrast(tmp_path, pack) -> None:
    labels, across = np.zeros((96, 96), np.uint8), np.abs(np.arange(96) - 48)[:, None] * np.ones((1, 96))
    radius = 12.0
    labels[across <= radius] |= Label.ARTERY
    labels[48] |= CENTRELINE
    # Through a round vessel the way grows shorter to its sides; what lies below it makes no vessel wider.
    contrast = np.sqrt(np.maximum(1 - (across / radius) ** 2, 0)) + 0.2
    _, targets, known = frame_pictures(pack(tmp_path, labels, frame=_frame_of(contrast)))
    half_width = radius * np.sqrt(1 - 0.7**2)
    assert abs(float(targets[0, :, 48].sum()) - 2 * half_width) <= 2
    assert known.all()


def test_a_vein_is_neither_vessel_nor_none_and_background_is_none(tmp_path, scene, pack) -> None:
    labels = scene()
    labels[90:, :20] |= Label.ARTERY_UNSURE
    artery = (labels & Label.ARTERY) > 0
    contrast = 0.5 * (artery | ((labels & Label.ARTERY_UNSURE) > 0))
    _, targets, known = frame_pictures(pack(tmp_path, labels, frame=_frame_of(contrast)))
    open_to_doubt = ((labels & Label.VEIN) > 0) | ((labels & Label.ARTERY_UNSURE) > 0)
    assert not known[:, open_to_doubt].any()
    background = ~artery & ~open_to_doubt
    assert known[:, background].all()
    assert not targets[:, background].any()


def test_more_or_less_contrast_changes_the_frame_only_where_contrast_is(tmp_path, scene, pack, monkeypatch) -> None:
    labels = scene()
    artery = (labels & Label.ARTERY) > 0
    anatomy, with_contrast, without = _frame_of(0.5 * artery)[0], 0.5 * artery, np.zeros(artery.shape)
    shown: list[np.ndarray] = []
    monkeypatch.setattr(module, "_displayed", lambda image, params, rng: shown.append(image) or image)
    params = CropParams(size_px=64, batch=1, on_target=1.0, scale_min=1.0, scale_max=1.0, turn_deg=0.0)
    cuts: list[Batch] = []
    for name, contrast in (("with", with_contrast), ("without", without)):
        frame = np.stack([anatomy, contrast, contrast / 0.02])
        cuts += _batches([pack(tmp_path, labels, name, frame=frame)], params, steps=6)
    for k in range(6):
        vessel = cuts[k].targets[0, 0] > 0
        change = shown[k] - shown[k + 6]
        assert not change[~_grown(vessel, 11)].any()
        # All of a vessel becomes darker, or all of it lighter, by the same share of its contrast.
        inner = change[cv2.erode(vessel.astype(np.uint8), np.ones((5, 5))) > 0]
        assert np.abs(inner).min() > 0.01
        assert np.ptp(inner) < 0.1 * np.abs(inner).max()
        assert inner.min() >= -2 - 1e-3
        assert inner.max() <= 0.1 + 1e-3


def test_a_display_never_leaves_eight_bits(packed, monkeypatch) -> None:
    shown: list[np.ndarray] = []
    monkeypatch.setattr(module, "local_contrast", lambda image: shown.append(image) or np.stack([image, image]))
    _batches(packed, CropParams(size_px=32, batch=4, disturbed=1.0))
    for image in shown:
        assert 0 <= image.min() < image.max() <= 255
        np.testing.assert_array_equal(image, np.rint(image))
