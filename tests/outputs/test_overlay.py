from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from angio_pipeline.core.geometry import CArmPose, PixelSpacing, SpacingPlane
from angio_pipeline.core.quality import Quality
from angio_pipeline.outputs.labels import Box, LabelBoard
from angio_pipeline.outputs.overlay import angulation, overlay_picture, scale_words
from angio_pipeline.outputs.pictures import grey_vessels, vessel_window


@pytest.mark.parametrize(
    ("primary", "secondary", "words"),
    [
        (30, -20, "LAO 30° CAU 20°"),
        (-30.4, 10, "RAO 30° CRA 10°"),
        (0.2, -0.3, "AP 0°"),
        (0, 15, "CRA 15°"),
        (-45, 0, "RAO 45°"),
    ],
)
def test_angulation_is_named_as_in_the_suite(primary, secondary, words):
    assert angulation(CArmPose(primary, secondary)) == words


def test_the_scale_says_how_millimetres_are_known_without_brackets_in_brackets():
    how = "Imager Pixel Spacing scaled by source distances (magnification 1.467)"
    assert scale_words(20, PixelSpacing(0.2, 0.2, SpacingPlane.ISOCENTRE, how)) == f"20 mm, {how}"
    assert scale_words(20, PixelSpacing(0.2, 0.2, SpacingPlane.ISOCENTRE)) == "20 mm, isocentre"


def test_angulation_is_silent_without_a_pose():
    assert angulation(None) is None


def test_vessels_are_dark_on_light():
    contrast = np.zeros((40, 40), np.float32)
    contrast[:, 18:22] = 0.5
    valid = np.ones_like(contrast, bool)
    grey = grey_vessels(contrast, valid, vessel_window(contrast, valid))
    assert grey[0, 20] < 40
    assert grey[0, 0] > 150


def test_an_empty_frame_shows_its_noise_in_light_grey():
    noise = np.random.default_rng(0).normal(0, 0.01, (64, 64)).astype(np.float32)
    valid = np.ones_like(noise, bool)
    assert grey_vessels(noise, valid, vessel_window(noise, valid)).mean() > 150


def test_a_frame_without_a_valid_pixel_has_a_window():
    low, high = vessel_window(np.zeros((4, 4), np.float32), np.zeros((4, 4), bool))
    assert low < high


def colour_share(picture, colour, tolerance=30):
    return float((np.abs(picture.astype(int) - colour).max(axis=2) < tolerance).mean())


@pytest.mark.slow
def test_the_feeder_and_the_tumour_are_drawn_where_they_are(run_result):
    picture = overlay_picture(run_result)
    assert picture.dtype == np.uint8
    assert picture.shape[1] > 1024
    rows, cols = np.nonzero(np.abs(picture[34 : 34 + 1024, :1024].astype(int) - (216, 27, 96)).max(axis=2) < 30)
    middle = np.array([rows.mean(), cols.mean()]) / 4 - 0.5
    assert np.linalg.norm(middle - run_result.tumours[0].centroid) < 3
    assert colour_share(picture, (232, 113, 10)) > 0.002


@pytest.mark.slow
def test_nothing_found_draws_no_marks(run_maker):
    picture = overlay_picture(run_maker(tumour=False, vessels=False))
    for colour in ((216, 27, 96), (232, 113, 10), (255, 214, 10), (0, 180, 216)):
        assert colour_share(picture, colour) == 0
    assert picture.shape[1] == 1024  # no panel where there is nothing to explain


@pytest.mark.slow
def test_a_detector_spacing_draws_no_scale_bar(run_maker):
    without = overlay_picture(run_maker(spacing=None))
    at_detector = overlay_picture(run_maker(spacing=PixelSpacing(0.3, 0.3, SpacingPlane.DETECTOR)))
    calibrated = overlay_picture(run_maker())
    np.testing.assert_array_equal(without, at_detector)
    assert (calibrated[:, :1024] != without[:, :1024]).any()


@pytest.mark.slow
def test_without_times_there_is_no_colour_bar(run_maker):
    timed, untimed = overlay_picture(run_maker()), overlay_picture(run_maker(quality=Quality.TIMES_UNKNOWN))
    yellow_green = (170, 220, 50)  # the late end of the bar
    assert colour_share(timed[:400, 1030:], yellow_green) > 0
    assert colour_share(untimed[:400, 1030:], yellow_green) == 0


@pytest.mark.parametrize(("rows", "columns"), [(64, 256), (256, 64), (32, 32)])
def test_any_shape_of_frame_is_drawn(run_maker, rows, columns):
    result = run_maker(tumour=False, vessels=False)

    def cut(array):
        return array[..., :rows, :columns]

    sub, maps = result.subtracted, result.maps
    names = ("frames", "valid", "uncorrected", "attenuation")
    sub = replace(sub, **{name: cut(getattr(sub, name)) for name in names})
    names = ("arrival_s", "time_to_peak_s", "peak", "auc", "wash_in")
    maps = replace(maps, **{name: cut(getattr(maps, name)) for name in names})
    vessels = replace(result.vessels, probability=cut(result.vessels.probability), artery=cut(result.vessels.artery))
    run = replace(result.run, frames=cut(result.run.frames), valid=cut(result.run.valid))
    picture = overlay_picture(replace(result, run=run, subtracted=sub, maps=maps, vessels=vessels))
    assert min(picture.shape[:2]) >= 256


def test_labels_keep_off_each_other_and_off_the_vessels():
    costs = np.zeros((600, 600), np.float32)
    costs[:, 295:305] = 1
    board = LabelBoard(costs)
    boxes = [board.place((300.0, 300.0 + 10 * i), (90.0, 26.0)) for i in range(8)]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(box.left >= 305 or box.left + box.width <= 295 for box in boxes)


def test_labels_stay_inside_the_picture():
    board = LabelBoard(np.zeros((300, 300), np.float32))
    for corner in ((0.0, 0.0), (299.0, 299.0), (0.0, 299.0), (299.0, 0.0)):
        box = board.place(corner, (80.0, 26.0))
        assert box.left >= 0
        assert box.top >= 0
        assert box.left + box.width <= 300
        assert box.top + box.height <= 300


def test_a_taken_place_stays_free_of_labels():
    board = LabelBoard(np.zeros((300, 300), np.float32))
    taken = Box(100, 100, 100, 100)
    board.take(taken)
    assert not board.place((150.0, 150.0), (60.0, 26.0)).overlaps(taken)
