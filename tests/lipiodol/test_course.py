"""Laws of the whole follow-up, on the geometric abdomen."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import lipiodol_phantom as ph
import numpy as np
import pytest

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.followups import Completeness, KineticsModel, MarginGrade, Pattern
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.results import FollowUpResult
from angio_pipeline.core.tumours import LesionOrigin
from angio_pipeline.lipiodol import LipiodolParams, follow_lesions
from angio_pipeline.lipiodol.tissue import has_enhanced_aorta, survey

pytestmark = pytest.mark.slow

# Lesions of the phantom are as dense as its liver, which few are: told here, guessed in life.
PARAMS = LipiodolParams(mass={"offset_hu": -4.0, "offset_sd_hu": 4.0})
# Where nothing has moved no displacement is looked for.
STILL = LipiodolParams(mass=PARAMS.mass, registration={"deformation": {"enabled": False}})
TREATED = datetime(2024, 1, 1)
SMALL = {"shape": (40, 100, 120), "spacing": (3.0, 2.4, 2.4)}


def ct(oil=ph.none, **options):
    return ph.scan(oil, **(SMALL | options))


def follow(volumes, rois=(), *, treated: datetime | None = TREATED, params=STILL) -> FollowUpResult:
    return follow_lesions(volumes, rois, [], [], treated=treated, params=params)


@pytest.fixture(scope="module")
def early():
    return ct(ph.ball(150, 14), date="20240102", seed=1)


@pytest.fixture(scope="module")
def late():
    return ct(ph.ball(60, 14), date="20240201", seed=2, motion=ph.rigid((2, -2, 3), (7, -4, 9)))


@pytest.fixture(scope="module")
def followed(early, late) -> FollowUpResult:
    return follow([late, early], [ph.roi(14, early)], params=PARAMS)


def test_mass_and_retention_are_right_across_motion(followed):
    first, second = followed.lesions[0].timepoints
    assert first.iodine_mg == pytest.approx(150, rel=0.04)
    # How dark this tumour would be without oil is not known from these scans: within that, and its interval.
    assert second.iodine_mg == pytest.approx(60, rel=0.08)
    assert second.iodine_mg_interval[0] <= 60 <= second.iodine_mg_interval[1]
    assert second.retention == pytest.approx(0.4, rel=0.05)
    assert second.retention_interval[0] <= 0.4 <= second.retention_interval[1]
    assert first.oil_ml == pytest.approx(first.iodine_mg / 480)
    assert (first.days, second.days) == (1, 31)


def test_half_life_is_the_two_point_formula(followed):
    kinetics = followed.lesions[0].kinetics
    first, second = (point.iodine_mg for point in followed.lesions[0].timepoints)
    assert kinetics.model is KineticsModel.TWO_POINT
    assert kinetics.half_life_days == pytest.approx(np.log(2) * 30 / np.log(first / second))
    assert kinetics.half_life_interval[0] <= np.log(2) * 30 / np.log(2.5) <= kinetics.half_life_interval[1]


def test_each_deposit_has_its_own_scan_s_geometry(followed, early, late):
    for point, volume in zip(followed.lesions[0].timepoints, (early, late), strict=True):
        assert point.deposit.mask.shape == volume.hu.shape
        centre = np.argwhere(point.deposit.mask).mean(axis=0) @ volume.affine[:3, :3].T + volume.affine[:3, 3]
        motion = np.eye(4) if volume is early else ph.rigid((2, -2, 3), (7, -4, 9))
        np.testing.assert_allclose(centre, motion[:3, :3] @ ph.CENTRE + motion[:3, 3], atol=1.0)


def test_the_views_of_all_dates_show_the_same_place(followed):
    views = [point.views for point in followed.lesions[0].timepoints]
    assert {view.window for view in views} == {views[0].window}
    centres = [np.argwhere(view.outline).mean(axis=0) for view in views]
    np.testing.assert_allclose(centres[0], centres[1], atol=1.5)
    np.testing.assert_array_equal(views[0].lesion, views[1].lesion)


def test_a_given_lesion_has_coverage_and_a_found_one_has_not(followed, early, late):
    given = followed.lesions[0]
    assert given.origin is LesionOrigin.ROI
    assert given.timepoints[0].completeness is Completeness.COMPLETE
    found = follow([early, late]).lesions[0]
    assert found.origin is LesionOrigin.DETECTED
    assert found.timepoints[0].coverage is None
    assert found.timepoints[1].retention == pytest.approx(0.4, rel=0.05)


# Whether a displacement is looked for or not.
@pytest.mark.parametrize("params", [STILL, LipiodolParams()], ids=["still", "default"])
def test_identical_scans_give_a_retention_of_one(early, params):
    same = ct(ph.ball(150, 14), date="20240301", seed=1)
    course = follow([early, same], [ph.roi(14, early)], params=params).lesions[0]
    assert course.timepoints[1].retention == pytest.approx(1, abs=1e-6)
    assert Quality.HALF_LIFE_UNBOUNDED in course.quality


def test_retention_does_not_depend_on_the_grid(early):
    fine = ct(ph.ball(60, 14), date="20240201", seed=3, shape=(60, 120, 140), spacing=(2.0, 2.0, 2.05))
    assert follow([early, fine], [ph.roi(14, early)]).lesions[0].timepoints[1].retention == pytest.approx(0.4, rel=0.05)


def test_retention_does_not_depend_on_the_voltage(early):
    soft = ct(ph.ball(60, 14), date="20240201", seed=4, kvp=100, slope=31.5)
    assert follow([early, soft], [ph.roi(14, early)]).lesions[0].timepoints[1].retention == pytest.approx(0.4, rel=0.05)


def test_a_region_without_oil_has_an_interval_that_holds_nothing():
    empty = ct(seed=5)
    course = follow([empty], [ph.roi(14, empty)]).lesions[0]
    (point,) = course.timepoints
    assert point.iodine_mg_interval[0] <= 0 <= point.iodine_mg_interval[1]
    assert (point.pattern, point.retention, point.oil_ml) == (Pattern.NONE, None, None)
    assert course.kinetics is None
    assert Quality.NO_LIPIODOL in course.quality


def test_oil_too_faint_to_be_outlined_is_not_the_lesion_s_own_attenuation():
    # 0.3 mg/ml, 9 HU: nothing stands out, and still it is the oil it is.
    scans = [ct(ph.ball(mg, 14), date=date, seed=k) for k, (mg, date) in enumerate(((30, "20240102"), (4, "20240201")))]
    first, last = follow(scans, [ph.roi(14, scans[0])]).lesions[0].timepoints
    assert first.iodine_mg_interval[0] <= 30 <= first.iodine_mg_interval[1]
    assert last.iodine_mg_interval[0] <= 4 <= last.iodine_mg_interval[1]


def test_nothing_found_is_no_lesion_and_says_so():
    result = follow([ct(seed=6)])
    assert result.lesions == ()
    assert Quality.NO_LIPIODOL in result.quality


def test_a_scan_before_treatment_is_background_and_has_no_retention(early, late):
    before = ct(date="20231220", seed=7)
    course = follow([early, before, late], [ph.roi(14, early)])
    points = course.lesions[0].timepoints
    assert [point.retention is None for point in points] == [True, False, False]
    assert points[1].retention == 1
    assert points[0].days < 0
    assert course.liver is not None
    liver = course.liver.timepoints[0]
    low, high = liver.iodine_mg_interval
    assert low <= 0 <= high
    assert liver.oil_ml is None


def test_a_region_outside_every_scan_is_flagged(early):
    away = ph.roi(14, early, centre=ph.CENTRE)
    moved = type(away)("L1", away.mask, away.affine + np.array([[0, 0, 0, 900.0]] + [[0] * 4] * 3), None)
    result = follow([early], [moved])
    assert Quality.ROI_NOT_MATCHED in result.quality
    assert [lesion.origin for lesion in result.lesions] == [LesionOrigin.DETECTED]


@pytest.mark.parametrize("names", [{"series_instance_uid": "9.9"}, {"frame_of_reference_uid": "9.9"}])
def test_a_region_that_names_another_scan_is_not_followed_on_this_one(early, names):
    untied = ph.roi(14, early, centre=ph.beside(0, 0, 20), tied=False)
    result = follow([early], [replace(untied, **names)])
    assert Quality.ROI_NOT_MATCHED in result.quality
    assert [lesion.origin for lesion in result.lesions] == [LesionOrigin.DETECTED]


@pytest.mark.parametrize("tie", [{}, {"frame_of_reference_uid": "3.3"}])
def test_a_region_without_a_series_is_matched_by_its_place_or_its_frame(early, tie):
    framed = replace(early, frame_of_reference_uid="3.3")
    result = follow([framed], [replace(ph.roi(14, early, tied=False), **tie)])
    assert Quality.ROI_NOT_MATCHED not in result.quality
    assert [lesion.origin for lesion in result.lesions] == [LesionOrigin.ROI]


def test_regions_of_one_id_at_two_places_are_two_lesions_and_at_one_place_are_one(early):
    away = ph.roi(7, early, centre=ph.beside(30, 12, 0))
    lesions = follow([early], [ph.roi(14, early), away, ph.roi(12, early)]).lesions
    assert [lesion.id for lesion in lesions] == ["L1", "L1-2"]
    assert lesions[0].timepoints[0].iodine_mg == pytest.approx(150, rel=0.04)


def test_two_regions_share_no_oil(early):
    second = ph.ball(50, 7, centre=ph.beside(24, 12, 0))
    both = ct(lambda p: ph.ball(150, 14)(p) + second(p), seed=8)
    rois = [ph.roi(14, both), ph.roi(7, both, centre=ph.beside(24, 12, 0), name="L2")]
    masses = [lesion.timepoints[0].iodine_mg for lesion in follow([both], rois).lesions]
    assert masses[0] == pytest.approx(150, rel=0.05)
    assert masses[1] == pytest.approx(50, rel=0.06)


def test_contrast_and_missing_voltage_are_flagged(early):
    volume = ct(ph.ball(60, 14), date="20240108", seed=9, contrast=True, kvp=None)
    point = follow([early, volume], [ph.roi(14, early)]).lesions[0].timepoints[1]
    assert Quality.CONTRAST_ENHANCED in point.quality
    assert Quality.KVP_ASSUMED in point.quality
    assert isinstance(point.margin_grade, MarginGrade)


def test_a_second_series_of_one_moment_is_left_out_and_the_first_followed(early):
    source = replace(early.source, series_instance_uid="1.0", file="bone")
    bone = replace(early, source=source, kernel="B70f")
    soft = replace(early, kernel="B30f")
    result = follow([bone, soft])
    assert [p.source.series_instance_uid for p in result.lesions[0].timepoints] == [early.source.series_instance_uid]
    assert [(refusal.path, refusal.reason) for refusal in result.left_out] == [("bone", "same_moment")]


def test_an_undated_scan_and_a_single_slice_are_left_out_and_the_others_followed(early):
    undated = replace(early, source=replace(early.source, date="undated", file="undated"))
    slice_ = ct(shape=(1, 100, 120), date="20240110")
    result = follow([undated, slice_, early])
    assert [point.days for point in result.lesions[0].timepoints] == [1]
    assert [refusal.reason for refusal in result.left_out] == ["undated", "one_slice"]


def test_when_nothing_is_left_the_reason_is_raised(early):
    undated = replace(early, source=replace(early.source, date="undated"))
    with pytest.raises(InputRefused, match="Expected a date") as caught:
        follow([undated, undated])
    assert caught.value.reason == "undated"
    with pytest.raises(InputRefused, match="three slices"):
        follow([ct(shape=(1, 100, 120))])


def test_a_region_called_liver_is_no_lesion(early):
    rois = [ph.roi(14, early), ph.roi(50, early, name="liver")]
    assert [lesion.id for lesion in follow([early], rois).lesions] == ["L1"]


def test_the_result_repeats_exactly(early, late, followed):
    again = follow([early, late], [ph.roi(14, early)], params=PARAMS)
    pairs = zip(again.lesions[0].timepoints, followed.lesions[0].timepoints, strict=True)
    assert all(a.iodine_mg_interval == b.iodine_mg_interval for a, b in pairs)


def aorta(hu: float):
    """A vessel of 20 mm before the spine, so much denser than what is there."""

    def field(p):
        return hu * (np.hypot(p[..., 0] - 28, p[..., 1] - 22) < 10)

    return field


def test_a_scan_with_an_enhanced_aorta_is_seen_as_such_without_a_header():
    plain, enhanced = ct(seed=60), ct(extra=aorta(400.0), seed=61)
    seen = [has_enhanced_aorta(survey(volume, params=PARAMS.tissue)) for volume in (plain, enhanced)]
    assert seen == [False, True]


def test_without_a_treatment_date_the_first_plain_scan_with_oil_is_the_reference():
    before = ct(extra=aorta(400.0), date="20231228", contrast=True, seed=62)
    first = ct(ph.ball(300, 12), date="20240102", seed=63)
    second = ct(ph.ball(150, 12), date="20240130", seed=64)
    points = follow([before, first, second], [ph.roi(13, first)], treated=None).lesions[0].timepoints
    assert [point.days for point in points] == [-5.0, 0.0, 28.0]
    assert points[0].retention is None
    assert points[0].iodine_mg is None
    assert not points[0].views.outline.any()
    assert points[1].views.outline.any()
    assert points[1].retention == 1.0
    assert points[2].retention == pytest.approx(0.5, abs=0.05)


def test_a_contrast_phase_is_never_the_reference_even_when_it_comes_first():
    enhanced = ct(ph.ball(300, 12), date="20240102", contrast=True, seed=65, extra=aorta(400.0))
    plain = ct(ph.ball(200, 12), date="20240109", seed=66)
    points = follow([enhanced, plain], [ph.roi(13, plain)]).lesions[0].timepoints
    assert points[0].retention is None
    assert points[1].retention == 1.0


def test_with_contrast_phases_alone_there_is_no_retention_and_a_flag_says_why():
    scans = [
        ct(ph.ball(mg, 12), date=date, contrast=True, seed=67) for mg, date in ((300, "20240102"), (150, "20240130"))
    ]
    lesion = follow(scans, [ph.roi(13, scans[0])]).lesions[0]
    assert all(point.retention is None for point in lesion.timepoints)
    assert lesion.kinetics is None
    assert Quality.NO_PLAIN_REFERENCE in lesion.quality


def test_a_liver_that_was_drawn_is_where_deposits_are_looked_for():
    first, second = ph.ball(150, 12), ph.ball(60, 7, centre=ph.beside(20, 25, -12))
    scan = ct(lambda p: first(p) + second(p), date="20240102", seed=31)
    assert len(follow([scan]).lesions) == 2
    (lesion,) = follow([scan], [ph.roi(24, scan, name="liver")]).lesions
    np.testing.assert_allclose(lesion.centroid_mm, ph.CENTRE, atol=2)


def test_before_treatment_a_lesion_has_no_coverage_and_old_oil_is_found():
    before = ct(ph.ball(150, 14), date="20240101", seed=8)
    result = follow_lesions([before], [], [], [], treated=datetime(2024, 2, 1), params=LipiodolParams())
    (lesion,) = result.lesions
    (point,) = lesion.timepoints
    assert (point.coverage, point.completeness, point.pattern, point.margin_grade) == (None, None, None, None)
