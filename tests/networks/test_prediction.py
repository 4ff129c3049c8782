"""From pictures to probabilities: of the image's own size, finite, and the same every time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from angio_pipeline.core.errors import AngioError, ModelError
from angio_pipeline.networks.frames import FRAME_CHANNELS, picture_frame
from angio_pipeline.networks.prediction import (
    FramePredictor,
    RunPredictor,
    load_frame_predictor,
    load_run_predictor,
)
from angio_pipeline.vessels import CHANNELS, RunPictures

CLASSES = ("artery", "vein", "blush", "catheter")
Maker = Callable[..., np.ndarray]


def _frame(models, **options) -> FramePredictor:
    models.add("frame", **options)
    return load_frame_predictor(folder=models.folder, threads=1, engine="torch")


def _run(models, **options) -> RunPredictor:
    models.add("run", **{"kind": "run", "channels": CHANNELS, "classes": CLASSES, **options})
    return load_run_predictor(folder=models.folder, threads=1, engine="torch")


def _pictures(rows: int = 64, columns: int = 64, *, shape: tuple[int, int] | None = None, seed: int = 0) -> RunPictures:
    channels = np.random.default_rng(seed).normal(0, 1, (len(CHANNELS), rows, columns)).astype(np.float32)
    channels[-1] = 1
    return RunPictures(channels, shape or (rows, columns))


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (97, 40), (64, 64)])
def test_a_frame_of_any_size_gets_probabilities_of_its_size(models, angiogram: Maker, size: tuple[int, int]) -> None:
    told = _frame(models)(angiogram(*size))
    probability, unfamiliar = told.probability, told.unfamiliar
    assert probability.shape == size
    assert probability.dtype == np.float32
    assert 0 <= probability.min() < probability.max() <= 1
    assert not unfamiliar


def test_a_frame_larger_than_a_tile_gets_probabilities_of_its_size(models, angiogram: Maker) -> None:
    probability = _frame(models, working_px=512)(angiogram(1100, 600)).probability
    assert probability.shape == (1100, 600)
    assert np.isfinite(probability).all()
    assert probability.std() > 0


def test_a_frame_that_is_too_small_is_refused_by_its_size(models) -> None:
    with pytest.raises(ValueError, match=r"at least 32 x 32 pixels, found \(7, 7\)"):
        _frame(models)(np.zeros((7, 7), np.float32))


@pytest.mark.parametrize("value", [80.0, 0.0, np.nan])
def test_a_frame_that_shows_nothing_has_no_vessel_and_is_unfamiliar(models, value: float) -> None:
    told = _frame(models, offset=[5.0])(np.full((40, 50), value, np.float32))
    probability, unfamiliar = told.probability, told.unfamiliar
    assert probability.shape == (40, 50)
    assert not probability.any()
    assert unfamiliar


def test_a_frame_that_is_partly_unknown_gets_finite_probabilities(models, angiogram: Maker) -> None:
    frame = angiogram()
    frame[:30] = np.nan
    assert np.isfinite(_frame(models)(frame).probability).all()


def test_the_same_frame_gets_the_same_answer_twice(models, angiogram: Maker) -> None:
    predict = _frame(models)
    first = predict(angiogram()).probability
    predict(angiogram(seed=1))
    np.testing.assert_allclose(predict(angiogram()).probability, first, atol=1e-6)
    again = load_frame_predictor(folder=models.folder, threads=1, engine="torch")
    np.testing.assert_allclose(again(angiogram()).probability, first, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_torch_and_openvino_give_the_same_probabilities(models, angiogram: Maker) -> None:
    pytest.importorskip("openvino")
    one = _frame(models)
    other = load_frame_predictor(folder=models.folder, threads=1, engine="openvino")
    assert (one.engine.name, other.engine.name) == ("torch", "openvino")
    np.testing.assert_allclose(other(angiogram(33, 47)).probability, one(angiogram(33, 47)).probability, atol=1e-2)


def test_a_probability_is_the_logistic_of_the_scaled_logit(models, angiogram: Maker) -> None:
    plain = _frame(models)(angiogram(64, 64)).probability
    calibrated = _frame(models, scale=[0.5], offset=[1.5])(angiogram(64, 64)).probability
    logit = np.log(plain / (1 - plain))
    np.testing.assert_allclose(calibrated, 1 / (1 + np.exp(-(0.5 * logit + 1.5))), atol=1e-3)


def test_logits_without_bound_give_probabilities_within_theirs(models, angiogram: Maker) -> None:
    probability = _frame(models, scale=[1e30])(angiogram()).probability
    assert np.isfinite(probability).all()
    assert 0 <= probability.min() <= probability.max() <= 1


def test_the_threshold_is_the_calibrations(models, angiogram: Maker) -> None:
    assert _frame(models, threshold=[0.375])(angiogram(64, 64)).threshold == 0.375


def test_pictures_are_familiar_within_the_limit_and_not_beyond(models, angiogram: Maker) -> None:
    wide = _frame(models)
    known = wide.engine(picture_frame(angiogram(64, 64), working_px=64))[1]
    predict = _frame(models, centre=known, limit=1e-3)
    assert not predict(angiogram(64, 64)).unfamiliar
    assert predict(np.random.default_rng(0).normal(0, 1, (64, 64))).unfamiliar


def _flipping(predict: FramePredictor) -> FramePredictor:
    return FramePredictor(predict.model, predict.engine, flips=True)


def test_flips_are_off_unless_asked_for(models) -> None:
    assert not _frame(models).flips
    assert not _run(models).flips


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
def test_with_flips_a_flipped_frame_gets_the_flipped_answer(models, angiogram: Maker, axes: tuple[int, ...]) -> None:
    frame = angiogram(64, 80)
    single = _frame(models)
    assert np.abs(np.flip(single(np.flip(frame, axes)).probability, axes) - single(frame).probability).max() > 1e-3
    both = _flipping(single)
    np.testing.assert_allclose(
        np.flip(both(np.flip(frame, axes)).probability, axes), both(frame).probability, atol=1e-5
    )


def test_flips_change_no_familiarity(models, angiogram: Maker) -> None:
    known = _frame(models).engine(picture_frame(angiogram(64, 64), working_px=64))[1]
    predict = _flipping(_frame(models, centre=known, limit=1e-3))
    assert not predict(angiogram(64, 64)).unfamiliar


@pytest.mark.parametrize("shape", [(64, 64), (33, 47), (130, 200)])
def test_a_run_gets_each_class_at_its_own_size(models, shape: tuple[int, int]) -> None:
    told = _run(models)(_pictures(shape=shape))
    for name in CLASSES:
        probability = getattr(told, name)
        assert probability.shape == shape
        assert 0 <= probability.min() < probability.max() <= 1


def test_classes_are_told_by_name_whatever_their_order(models) -> None:
    offset = {"artery": -40.0, "vein": 40.0, "blush": -40.0, "catheter": 40.0}
    order = CLASSES[::-1]
    told = _run(models, classes=order, offset=[offset[name] for name in order])(_pictures())
    assert [getattr(told, name).mean() > 0.5 for name in CLASSES] == [False, True, False, True]


def test_a_class_that_nobody_asks_for_is_passed_over(models) -> None:
    told = _run(models, classes=("bone", *CLASSES))(_pictures())
    assert told.artery.shape == (64, 64)


def test_thresholds_are_told_by_class(models) -> None:
    told = _run(models, threshold=[0.25, 0.5, 0.625, 0.75])(_pictures())
    assert told.thresholds == {"artery": 0.25, "vein": 0.5, "blush": 0.625, "catheter": 0.75}


def test_outside_the_valid_area_a_run_shows_nothing(models) -> None:
    pictures = _pictures()
    pictures.channels[:, :, :20] = 0
    told = _run(models, offset=[5.0] * 4)(pictures)
    for name in CLASSES:
        assert not getattr(told, name)[:, :20].any()
        assert (getattr(told, name)[:, 20:] > 0).all()


def test_pictures_with_unknown_numbers_get_finite_probabilities(models) -> None:
    pictures = _pictures()
    pictures.channels[3, :10] = np.nan
    pictures.channels[5, 10:20] = -np.inf
    told = _run(models)(pictures)
    assert np.isfinite(told.artery).all()


def test_a_run_unlike_those_trained_on_is_unfamiliar(models) -> None:
    assert not _run(models)(_pictures()).unfamiliar
    assert _run(models, limit=-1.0)(_pictures()).unfamiliar


def test_the_same_run_gets_the_same_answer_twice(models) -> None:
    predict = _run(models)
    np.testing.assert_allclose(predict(_pictures()).vein, predict(_pictures()).vein, atol=1e-6)


def test_predicting_leaves_the_pictures_as_they_are(models) -> None:
    pictures = _pictures()
    pictures.channels[0, 0, 0] = np.nan
    before = pictures.channels.copy()
    pictures.channels.flags.writeable = False
    _run(models)(pictures)
    np.testing.assert_array_equal(pictures.channels, before)


def test_pictures_of_another_count_are_refused(models) -> None:
    short = RunPictures(_pictures().channels[1:], (64, 64))
    with pytest.raises(ValueError, match=f"Expected {len(CHANNELS)} pictures, found {len(CHANNELS) - 1}"):
        _run(models)(short)


def test_a_frame_network_does_not_stand_in_for_a_run_network(models) -> None:
    models.add("run")
    with pytest.raises(ModelError, match=r"Expected 'run' to be a run network .+ found a frame network with vessel"):
        load_run_predictor(folder=models.folder)


def test_a_run_network_does_not_stand_in_for_a_frame_network(models) -> None:
    models.add("frame", kind="run", channels=CHANNELS, classes=CLASSES)
    with pytest.raises(ModelError, match=r"Expected 'frame' to be a frame network .+ found a run network"):
        load_frame_predictor(folder=models.folder)


@pytest.mark.parametrize(
    "options", [{"channels": CHANNELS[::-1]}, {"channels": CHANNELS[1:]}, {"classes": CLASSES[1:]}]
)
def test_a_network_of_other_pictures_or_fewer_classes_is_refused(models, options: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(ModelError, match="train it again"):
        _run(models, **options)


def test_a_frame_network_of_other_pictures_is_refused(models) -> None:
    models.add("frame", channels=FRAME_CHANNELS[::-1])
    with pytest.raises(ModelError, match="train it again"):
        load_frame_predictor(folder=models.folder)


@pytest.mark.parametrize("load", [load_frame_predictor, load_run_predictor])
def test_a_network_that_is_not_listed_is_refused(models, load: Callable[..., object]) -> None:
    models.add("other")
    with pytest.raises(ModelError, match=r"lists \(other\), found"):
        load(folder=models.folder)


def test_a_predictor_is_held_to_the_threads_it_is_given(models) -> None:
    models.add()
    load_frame_predictor(folder=models.folder, threads=2, engine="torch")
    assert torch.get_num_threads() == 2


def test_an_unknown_engine_is_refused(models) -> None:
    models.add()
    with pytest.raises((ValueError, AngioError), match="abacus"):
        load_frame_predictor(folder=models.folder, engine="abacus")
