"""Metrics of tiny masks, lines and lists whose values are known by hand."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from angio_pipeline.evaluate.documents import FeederTruth
from angio_pipeline.evaluate.feeders import FeederCall, average_precision, calibration_error, covered_share
from angio_pipeline.evaluate.lines import branch_between, distance_to_line, resampled
from angio_pipeline.evaluate.vessels import _grown, dice, mask_scores


def bar(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((40, 40), bool)
    mask[rows, columns] = True
    return mask


def test_a_perfect_mask_scores_one_everywhere() -> None:
    truth = bar(slice(10, 13), slice(5, 35))
    scores = mask_scores(truth, truth)
    assert scores.pop("betti0_error") == 0
    assert set(scores.values()) == {1.0}


def test_half_the_vessel_has_full_precision_and_half_recall() -> None:
    scores = mask_scores(bar(slice(10, 12), slice(0, 10)), bar(slice(10, 12), slice(0, 20)))
    assert scores["precision"] == 1
    assert scores["recall"] == 0.5
    assert scores["dice"] == pytest.approx(2 / 3)


def test_a_shift_of_three_pixels_is_forgiven_within_three_and_one_of_four_is_not() -> None:
    truth = bar(slice(10, 11), slice(0, 40))
    three, four = (mask_scores(bar(slice(10 + d, 11 + d), slice(0, 40)), truth) for d in (3, 4))
    assert three["dice"] == 0
    assert three["dice_3px"] == three["cldice_3px"] == 1
    assert four["dice_3px"] == 0


def test_cldice_forgives_width_where_dice_does_not() -> None:
    truth, wide = bar(slice(10, 11), slice(5, 35)), bar(slice(8, 13), slice(5, 35))
    scores = mask_scores(wide, truth)
    assert scores["dice"] == pytest.approx(2 / 6)
    assert scores["cldice"] > 0.95


def test_a_broken_vessel_has_one_component_too_many() -> None:
    broken = bar(slice(10, 12), slice(0, 10)) | bar(slice(10, 12), slice(20, 30))
    assert mask_scores(broken, bar(slice(10, 12), slice(0, 30)))["betti0_error"] == 1


def test_an_empty_answer_scores_nothing_but_two_empty_masks_agree() -> None:
    empty = np.zeros((40, 40), bool)
    assert mask_scores(empty, bar(slice(0, 2), slice(0, 2)))["dice"] == 0
    assert mask_scores(empty, bar(slice(0, 2), slice(0, 2)))["precision"] == 0
    assert dice(empty, empty) == 1


def test_distance_to_a_line_is_to_its_nearest_point_not_corner() -> None:
    assert distance_to_line([(3, 5), (0, 14)], [(0, 0), (0, 10)]) == pytest.approx([3, 4])


def test_resampled_points_keep_the_ends() -> None:
    points = resampled([(0, 0), (0, 10)], 0.5)
    assert len(points) == 21
    np.testing.assert_array_equal(points[[0, -1]], [(0, 0), (0, 10)])


def test_the_branch_begins_where_it_leaves_the_parent() -> None:
    line = [(0, k) for k in range(11)]
    assert len(branch_between(line, (0.2, 4.1))) == 7


def feeder() -> FeederTruth:
    # 0..40 is shared, the branch itself is 40..60.
    return FeederTruth(centreline=tuple((0.0, float(k)) for k in range(61)), branch_start=(0.0, 40.0))


def test_only_the_branch_itself_counts_towards_a_feeder() -> None:
    shared_only = [(0.0, 0.0), (0.0, 40.0)]
    assert covered_share(feeder(), shared_only, 2.0) == pytest.approx(2 / 20, abs=0.03)
    branch_only = [(0.0, 40.0), (0.0, 60.0)]
    assert covered_share(feeder(), branch_only, 2.0) == 1


def test_a_parallel_line_covers_within_the_tolerance_only() -> None:
    beside = [(5.0, 0.0), (5.0, 60.0)]
    assert covered_share(feeder(), beside, 5.0) == 1
    assert covered_share(feeder(), beside, 4.9) == 0


def test_average_precision_of_right_wrong_right_out_of_two() -> None:
    calls = [FeederCall(0.9, True), FeederCall(0.8, False), FeederCall(0.7, True)]
    # recall 0 -> 1/2 at precision 1, then 1/2 -> 1 at precision 2/3
    assert average_precision(calls, 2) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_average_precision_counts_feeders_never_called() -> None:
    assert average_precision([FeederCall(0.9, True)], 4) == 0.25
    assert np.isnan(average_precision([], 0))


def test_average_precision_does_not_depend_on_the_order_of_ties() -> None:
    calls = [FeederCall(0.5, True), FeederCall(0.5, False)]
    assert average_precision(calls, 1) == average_precision(calls[::-1], 1) == 0.5


def test_calibration_error_by_hand() -> None:
    # bin 0.9..1: mean 0.95, all right -> gap 0.05; bin 0.4..0.5: mean 0.45, one of two right -> gap 0.05
    calls = [FeederCall(0.95, True), FeederCall(0.95, True), FeederCall(0.45, True), FeederCall(0.45, False)]
    assert calibration_error(calls) == pytest.approx(0.05)


def test_what_lies_within_three_pixels_is_told_as_by_distances() -> None:
    mask = np.random.default_rng(0).random((50, 60)) > 0.99
    mask[0, 0] = mask[-1, 30] = True
    np.testing.assert_array_equal(_grown(mask), distance_transform_edt(~mask) <= 3)
    assert not _grown(np.zeros((5, 5), bool)).any()
