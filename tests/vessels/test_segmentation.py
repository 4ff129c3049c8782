"""What a network says of each pixel, and what becomes of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import Background
from angio_pipeline.core.vessels import FrameVessels, VesselProbabilities, VesselSegmentation
from angio_pipeline.dsa import MaskParams, SubtractParams, choose_mask, subtract
from angio_pipeline.perfusion import PerfusionParams, measure
from angio_pipeline.vessels import CHANNELS, RunPictures, SegmentParams, segment

SIZE = (256, 256)
NAMES = ("artery", "vein", "blush", "catheter")


@pytest.fixture(scope="module")
def stages(still_scene):
    run = still_scene.run
    sub = subtract(run, choose_mask(run, params=MaskParams()), params=SubtractParams())
    valid = np.array(sub.valid)
    valid[:, :16] = False
    sub = replace(sub, valid=valid)
    return sub, measure(sub, params=PerfusionParams())


def _told(shape: tuple[int, int] = SIZE, **options) -> VesselProbabilities:
    """Return a band of each class, one below the other, as sure as 0.9."""
    images = {name: np.zeros(shape, np.float32) for name in NAMES}
    for k, name in enumerate(NAMES):
        images[name][20 + 60 * k : 30 + 60 * k] = 0.9
    return VesselProbabilities(**{**images, **options})


def _segmented(stages, told: VesselProbabilities, **settings) -> VesselSegmentation:
    sub, maps = stages
    return segment(sub, maps, params=SegmentParams(**settings), predict=lambda pictures: told)


@pytest.mark.slow
def test_a_network_takes_the_filters_place_and_is_given_the_pictures_of_the_run(stages) -> None:
    given: list[RunPictures] = []

    def predict(pictures: RunPictures) -> VesselProbabilities:
        given.append(pictures)
        return _told()

    sub, maps = stages
    found = segment(sub, maps, params=SegmentParams(), predict=predict)
    assert [(len(one.channels), one.shape) for one in given] == [(len(CHANNELS), SIZE)]
    assert found.method == "network"
    assert found.artery[25, 100]
    assert not found.artery[60].any()


@pytest.mark.slow
def test_without_a_network_the_filter_is_asked_and_tells_no_veins(stages) -> None:
    sub, maps = stages
    found = segment(sub, maps, params=SegmentParams())
    assert found.method == "filter"
    assert (found.vein, found.blush, found.catheter) == (None, None, None)


def test_each_class_has_its_own_place(stages) -> None:
    found = _segmented(stages, _told())
    assert found.vein is not None
    assert found.blush is not None
    assert found.catheter is not None
    for k, mask in enumerate((found.artery, found.vein, found.blush > 0.5, found.catheter)):
        assert mask[25 + 60 * k, 100]
        assert np.count_nonzero(mask) == 10 * (256 - 16)


def test_a_pixel_may_be_several_things_at_once(stages) -> None:
    everywhere = np.full(SIZE, 0.9, np.float32)
    found = _segmented(stages, _told(artery=everywhere, vein=everywhere))
    np.testing.assert_array_equal(found.artery, found.vein)


def test_outside_the_valid_area_there_is_nothing(stages) -> None:
    everywhere = dict.fromkeys(NAMES, np.ones(SIZE, np.float32))
    found = _segmented(stages, _told(**everywhere))
    for image in (found.probability, found.artery, found.vein, found.blush, found.catheter):
        assert not image[:, :16].any()
        assert image[:, 16:].all()


@pytest.mark.parametrize("name", ["artery", "vein"])
def test_specks_are_dropped_and_what_is_larger_stays_whole(stages, name: str) -> None:
    # The limit of 12 pixels is for a matrix of 512; in one of 256 it is 3.
    image = np.zeros(SIZE, np.float32)
    image[50, 50:52] = 0.9
    image[100:102, 100:104] = 0.9
    image[150, 150], image[151, 151], image[152, 152], image[153, 153] = (0.9,) * 4
    mask = getattr(_segmented(stages, _told(**{name: image})), name)
    assert not mask[50].any()
    assert np.count_nonzero(mask) == 8 + 4


def test_specks_stay_where_none_is_too_small(stages) -> None:
    image = np.zeros(SIZE, np.float32)
    image[50, 50] = 0.9
    assert _segmented(stages, _told(artery=image), least_area_px=0).artery[50, 50]


def test_a_class_begins_at_its_threshold(stages) -> None:
    found = _segmented(stages, _told(thresholds={"artery": 0.95, "vein": 0.85, "blush": 0.3, "catheter": 0.91}))
    assert found.vein is not None
    assert found.catheter is not None
    assert (found.artery.any(), found.vein.any(), found.catheter.any()) == (False, True, False)
    assert found.blush_threshold == 0.3


def test_a_network_that_finds_no_artery_says_so(stages) -> None:
    assert Quality.NO_VESSELS in _segmented(stages, _told(artery=np.zeros(SIZE))).quality
    assert Quality.NO_VESSELS not in _segmented(stages, _told()).quality


@pytest.mark.parametrize("unfamiliar", [True, False])
def test_a_run_unlike_those_trained_on_is_flagged(stages, unfamiliar: bool) -> None:
    assert (Quality.UNFAMILIAR in _segmented(stages, _told(unfamiliar=unfamiliar)).quality) == unfamiliar


def test_a_prediction_of_another_size_is_an_error(stages) -> None:
    with pytest.raises(ValueError, match="256"):
        _segmented(stages, _told((128, 128)))


@pytest.fixture
def spatial(stages):
    sub, _ = stages
    sub = replace(sub, background=Background.SPATIAL)
    return sub, measure(sub, params=PerfusionParams())


def _never(*_: object) -> VesselProbabilities:
    raise AssertionError("asked")


def test_where_nothing_was_subtracted_in_time_the_frame_network_is_given_the_frame_with_contrast_dark(spatial) -> None:
    given: list[np.ndarray] = []

    def predict_frame(image: np.ndarray) -> FrameVessels:
        given.append(image)
        return FrameVessels(np.where(np.arange(256)[:, None] < 40, np.float32(0.9), np.zeros(SIZE, np.float32)))

    sub, maps = spatial
    found = segment(sub, maps, params=SegmentParams(), predict=_never, predict_frame=predict_frame)
    (image,) = given
    np.testing.assert_array_equal(np.isnan(image), ~sub.valid)
    np.testing.assert_array_equal(image[sub.valid], -sub.attenuation[sub.valid])
    np.testing.assert_array_equal(found.artery, sub.valid & (np.arange(256)[:, None] < 40))
    assert not found.probability[~sub.valid].any()
    assert found.method == "frame network"
    assert found.vein is None


def test_where_frames_were_subtracted_the_frame_network_is_not_asked(stages) -> None:
    sub, maps = stages
    found = segment(sub, maps, params=SegmentParams(), predict=lambda _: _told(), predict_frame=_never)
    assert found.method == "network"


def test_where_nothing_was_subtracted_in_time_the_run_network_is_never_asked(spatial) -> None:
    sub, maps = spatial
    assert segment(sub, maps, params=SegmentParams(), predict=_never).method == "filter"


def test_a_frame_network_drops_specks_and_tells_what_is_unfamiliar_and_empty(spatial) -> None:
    sub, maps = spatial
    speck = np.zeros(SIZE, np.float32)
    speck[60, 60:62] = 1
    found = segment(sub, maps, params=SegmentParams(), predict_frame=lambda _: FrameVessels(speck, unfamiliar=True))
    assert not found.artery.any()
    assert Quality.NO_VESSELS | Quality.UNFAMILIAR in found.quality


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_probability_that_is_no_number_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"Expected finite {name}"):
        _told(**{name: np.full(SIZE, value)})


@pytest.mark.parametrize("name", NAMES)
def test_probabilities_of_several_sizes_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"Expected \w+ of shape"):
        _told(**{name: np.zeros((9, 9))})


@pytest.mark.parametrize("name", NAMES)
def test_probabilities_cannot_be_written_to(name: str) -> None:
    with pytest.raises(ValueError, match="read-only"):
        getattr(_told(), name)[0, 0] = 1


def test_a_class_without_a_threshold_begins_at_a_half() -> None:
    told = _told(artery=np.array([[0.49, 0.5]]), **dict.fromkeys(NAMES[1:], np.zeros((1, 2))))
    np.testing.assert_array_equal(told.mask("artery"), [[False, True]])


@pytest.mark.parametrize("name", ["vein", "blush", "catheter"])
def test_what_is_told_beside_arteries_is_of_their_size(name: str) -> None:
    with pytest.raises(ValueError, match=f"Expected {name} of shape"):
        VesselSegmentation(np.zeros((4, 4)), np.zeros((4, 4)), **{name: np.zeros((4, 5))})


def test_lengths_of_the_settings_are_in_range() -> None:
    with pytest.raises(ValueError, match="least_area_px"):
        SegmentParams(least_area_px=-1)
    with pytest.raises(ValueError, match="method"):
        SegmentParams(method="magic")
