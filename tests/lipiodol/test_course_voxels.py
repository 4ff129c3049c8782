"""The course of a lesion through scans of a few drawn voxels, where every amount follows from what was drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import voxel_scans as vs
from scipy import ndimage

from angio_pipeline.core.followups import Completeness, CtVolume, KineticsModel, MarginGrade, Pattern, VolumeRoi
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.tumours import LesionOrigin
from angio_pipeline.lipiodol import LipiodolParams, course
from angio_pipeline.lipiodol.registration import Alignment
from angio_pipeline.numerics import volumes as space

PARAMS = LipiodolParams(mass={"draws": 400}, kinetics={"draws": 100})
LESION = vs.ball(10)
LESION_ML = np.count_nonzero(LESION) * vs.ML


def roi(mask=LESION, series=None, *, frame=None, name="L1", grid=vs.GRID):
    return VolumeRoi(name, mask, grid, series, frame)


def follow(*scans, rois=None, reference=0, params=PARAMS):
    return course._follow_scans(list(scans), reference, [roi()] if rois is None else rois, params)


def one_course(*scans, **more):
    ((lesion,), *_) = follow(*scans, **more)
    return lesion


def oiled(rise, days, **more):
    return vs.scan(vs.drawn((LESION, rise)), days=days, uid=f"at.{days:g}", **more)


PLAIN_BEFORE = vs.scan(vs.drawn(), days=-3.0, baseline=True, uid="before")
BRIGHT_BEFORE = vs.scan(vs.drawn((LESION, 80)), days=-2.0, baseline=True, contrast=True, uid="enhanced")


@pytest.fixture(scope="module")
def followed():
    scans = [
        PLAIN_BEFORE, BRIGHT_BEFORE, oiled(300, 5.0, frame_of_reference_uid="1.9"), oiled(150, 35.0),
        oiled(150, 36.0, contrast=True),
    ]  # fmt: skip
    return follow(*scans, rois=[roi(series="at.5")], reference=2)


def points(followed):
    return followed[0][0].timepoints


def test_a_course_has_a_point_for_every_scan_on_its_own_day(followed):
    assert [point.days for point in points(followed)] == [-3, -2, 5, 35, 36]
    uids = [point.source.series_instance_uid for point in points(followed)]
    assert uids == ["before", "enhanced", "at.5", "at.35", "at.36"]
    ((lesion,), liver, _, quality) = followed
    assert (lesion.id, lesion.origin, quality) == ("L1", LesionOrigin.ROI, Quality.NONE)
    assert lesion.centroid_mm == pytest.approx(vs.place(*vs.MIDDLE))
    assert liver.id == "liver"


def test_25_hu_are_a_milligram_of_iodine_a_millilitre_at_every_date(followed):
    for point, rise in zip(points(followed)[2:4], (300, 150), strict=True):
        assert point.iodine_mg == pytest.approx(rise / 25 * LESION_ML, rel=1e-4)
        assert point.oil_ml == pytest.approx(point.iodine_mg / 480)
        assert point.volume_mm3 == pytest.approx(1000 * LESION_ML)
        assert point.clipped_voxels == 0
        low, high = point.iodine_mg_interval
        assert low < point.iodine_mg < high


def test_retention_counts_from_the_first_plain_scan_with_oil(followed):
    before, enhanced, first, last, late = points(followed)
    assert (before.retention, enhanced.retention) == (None, None)
    assert (before.retention_interval, enhanced.retention_interval) == (None, None)
    assert (first.retention, first.retention_interval) == (1.0, (1.0, 1.0))
    assert last.retention == pytest.approx(0.5, rel=1e-4)
    low, high = last.retention_interval
    assert 0.4 < low < 0.5 < high < 0.6
    assert late.retention == pytest.approx(0.5, rel=1e-4)


def test_a_plain_scan_before_treatment_holds_no_oil_and_is_not_described(followed):
    before = points(followed)[0]
    assert before.iodine_mg == pytest.approx(0.0, abs=1e-3)
    assert before.quality == Quality.NO_LIPIODOL
    assert before.oil_ml is None
    assert (before.coverage, before.completeness, before.pattern, before.margin_grade) == (None, None, None, None)
    assert before.views is not None


def test_what_enhances_before_treatment_is_no_oil(followed):
    enhanced = points(followed)[1]
    assert (enhanced.iodine_mg, enhanced.volume_mm3, enhanced.deposit) == (None, None, None)
    assert enhanced.quality == Quality.CONTRAST_ENHANCED
    assert enhanced.views.lesion.any()
    assert not enhanced.views.outline.any()


def test_contrast_medium_after_treatment_is_told_and_leaves_the_lesion_described(followed):
    late = points(followed)[4]
    assert late.quality == Quality.CONTRAST_ENHANCED
    assert late.deposit.mask.any()
    assert late.views.outline.any()


def test_a_deposit_lies_on_the_whole_scan_where_it_was_drawn(followed):
    first = points(followed)[2]
    assert np.array_equal(first.deposit.mask, LESION)
    assert np.array_equal(first.deposit.affine, vs.GRID)
    assert first.deposit.frame_of_reference_uid == "1.9"
    assert points(followed)[3].deposit.frame_of_reference_uid is None


def test_a_filled_lesion_is_complete_and_even_and_its_margin_is_graded_in_the_second_week_only(followed):
    first, last = points(followed)[2:4]
    assert (first.completeness, first.pattern) == (Completeness.COMPLETE, Pattern.HOMOGENEOUS)
    assert first.coverage == pytest.approx({"75": 100.0, "160": 100.0, "215": 100.0})
    assert last.coverage == pytest.approx({"75": 100.0, "160": 100.0, "215": 0.0})
    assert first.margin_grade is MarginGrade.B
    assert last.margin_grade is None


@pytest.mark.parametrize(("days", "graded"), [(3.9, False), (4.0, True), (14.0, True), (14.1, False)])
def test_a_margin_is_graded_from_the_fourth_to_the_fourteenth_day(days, graded):
    (point,) = one_course(oiled(300, days)).timepoints
    assert (point.margin_grade is not None) is graded


def test_plain_scans_alone_give_the_half_life(followed):
    lesion = followed[0][0]
    assert lesion.kinetics.model is KineticsModel.TWO_POINT
    assert lesion.kinetics.half_life_days == pytest.approx(30.0, rel=1e-3)
    assert lesion.quality == Quality.FEW_TIMEPOINTS


def test_the_response_is_told_of_oil_by_plain_scans_only(followed):
    sights = followed[0][0].sights
    assert [(sight.days, sight.baseline, sight.contrast) for sight in sights] == [
        (-3, True, False), (-2, True, True), (5, False, False), (35, False, False), (36, False, True),
    ]  # fmt: skip
    before, enhanced, first, last, late = (sight.oil for sight in sights)
    assert (enhanced, late) == (None, None)
    assert not before.any()
    assert first.shape == sights[2].hu.shape
    assert np.count_nonzero(first) == np.count_nonzero(last) == np.count_nonzero(LESION)
    assert [sight.liver_hu for sight in sights] == [vs.LIVER] * 5
    assert sights[2].frame_of_reference_uid == "1.9"
    assert {sight.lesion_id for sight in sights} == {"L1"}
    assert np.count_nonzero(sights[0].carried) == np.count_nonzero(LESION)


def test_every_plain_scan_after_treatment_is_searched_for_stray_oil(followed):
    assert [search.days for search in followed[2]] == [5.0, 35.0]


def test_of_no_scan_there_is_no_course():
    assert follow() == ([], None, (), Quality.NONE)


def test_a_lesion_that_never_holds_oil_is_followed_and_flagged():
    lesion = one_course(PLAIN_BEFORE, vs.scan(vs.drawn(), days=5.0), reference=1)
    assert lesion.quality & Quality.NO_LIPIODOL
    assert [point.retention for point in lesion.timepoints] == [None, None]
    assert [point.pattern for point in lesion.timepoints] == [None, Pattern.NONE]
    assert all(point.quality & Quality.NO_LIPIODOL for point in lesion.timepoints)


def test_where_only_enhanced_scans_show_oil_nothing_counts_as_the_first():
    lesion = one_course(oiled(300, 5.0, contrast=True), oiled(150, 35.0, contrast=True))
    assert lesion.quality & Quality.NO_PLAIN_REFERENCE
    assert not lesion.quality & Quality.NO_LIPIODOL
    assert [point.retention for point in lesion.timepoints] == [None, None]


def test_before_the_first_plain_scan_with_oil_there_is_no_retention():
    enhanced, first = one_course(oiled(300, 5.0, contrast=True), oiled(150, 35.0), reference=1).timepoints
    assert (enhanced.retention, first.retention) == (None, 1.0)
    assert enhanced.iodine_mg == pytest.approx(2 * first.iodine_mg, rel=0.05)


def test_a_lesion_beyond_a_scan_is_not_matched_there_and_one_without_tissue_around_lies_at_an_edge():
    gone = vs.scan(vs.drawn(), days=35.0, alignment=Alignment(vs.shift(z=-200.0), 0.9))
    lesion = one_course(oiled(300, 5.0), gone)
    assert lesion.timepoints[1].quality == Quality.ROI_NOT_MATCHED
    assert lesion.timepoints[1].iodine_mg is None
    assert len(lesion.sights) == 1
    in_air = vs.scan(np.where(LESION, vs.LIVER, -900.0), days=35.0)
    assert one_course(oiled(300, 5.0), in_air).timepoints[1].quality == Quality.LESION_AT_EDGE


def test_flags_of_a_scan_and_of_its_alignment_stay_with_its_point():
    poor = Alignment(vs.SAME, 0.5, quality=Quality.REGISTRATION_POOR)
    point = one_course(oiled(300, 5.0), oiled(150, 35.0, alignment=poor)).timepoints[1]
    assert point.quality == Quality.REGISTRATION_POOR
    assert one_course(oiled(300, 5.0, kvp=None)).timepoints[0].quality == Quality.KVP_ASSUMED


def test_a_lesion_is_measured_where_the_alignment_puts_it():
    moved = vs.scan(
        np.roll(vs.drawn((LESION, 150)), (1, -2, 2), (0, 1, 2)), days=35.0, uid="moved",
        alignment=Alignment(vs.shift(4.0, -4.0, 2.0), 0.9),
    )  # fmt: skip
    lesion = one_course(PLAIN_BEFORE, oiled(300, 5.0), moved, reference=1)
    assert lesion.timepoints[2].retention == pytest.approx(0.5, rel=1e-3)
    assert np.array_equal(lesion.timepoints[2].deposit.mask, np.roll(LESION, (1, -2, 2), (0, 1, 2)))


def test_a_region_drawn_on_a_scan_that_has_moved_lies_where_it_lay_on_the_reference():
    there = np.roll(LESION, (1, -2, 2), (0, 1, 2))
    moved = vs.scan(vs.drawn((there, 150)), days=35.0, uid="moved", alignment=Alignment(vs.shift(4.0, -4.0, 2.0), 0.9))
    (lesion,), _ = choose(oiled(300, 5.0), moved, rois=[roi(there, series="moved")])
    assert lesion.centroid_mm == pytest.approx(vs.place(*vs.MIDDLE))
    assert np.array_equal(lesion.mask_on(vs.SHAPE, vs.GRID, vs.SAME), LESION)


# --- faint oil that is carried ----------------------------------------------------------------------

SHELL = vs.ball(12) & ~vs.ball(4.5)


def holed(days, **more):
    """Dense oil about a middle that holds little."""
    return vs.scan(vs.drawn((SHELL, 900), (vs.ball(4.5), 35)), days=days, uid=f"holed.{days:g}", **more)


def looked(*scans, mask=LESION, params=PARAMS):
    return [course._look(vs.lesion(mask), [], scan, params) for scan in scans]


def carried(*scans):
    """Whether the middle of the lesion is outlined in each scan."""
    wide = vs.ball(12)
    told = course._carried(looked(*scans, mask=wide), vs.lesion(wide), PARAMS)
    middle = space.to_index(told[0].patch.affine, vs.place(*vs.MIDDLE)).round().astype(int)
    return [bool(sight.deposit.mask[tuple(middle)]) for sight in told]


FULL = vs.scan(vs.drawn((vs.ball(12), 900)), days=5.0)


@pytest.mark.parametrize(
    ("scans", "told"),
    [
        ((PLAIN_BEFORE, FULL, holed(35.0), holed(36.0, contrast=True)), [False, True, True, True]),
        ((PLAIN_BEFORE, holed(5.0), FULL, holed(35.0)), [False, False, True, False]),
        # What only a scan with contrast medium showed is no oil to look for.
        ((replace(FULL, contrast=True), holed(35.0)), [True, False]),
        ((replace(FULL, baseline=True), holed(35.0)), [True, False]),
    ],
)
def test_faint_oil_is_outlined_where_there_was_oil_before_and_not_in_the_first_scan(scans, told):
    assert carried(*scans) == told


def test_with_contrast_medium_what_is_pale_is_oil_only_beside_oil_that_stands_out():
    wide = vs.ball(12)
    full = vs.scan(vs.drawn((wide, 300)), days=5.0)
    pale = vs.scan(vs.drawn((wide, 14)), days=35.0)
    assert carried(PLAIN_BEFORE, full, pale) == [False, True, False]
    params = LipiodolParams(deposit={"least_excess_hu": 13.0}, mass={"offset_hu": -16.0})
    sights = looked(PLAIN_BEFORE, full, pale, replace(pale, contrast=True), mask=wide, params=params)
    bare = [replace(one, deposit=replace(one.deposit, mask=one.deposit.mask & False)) for one in sights[2:]]
    told = course._carried([*sights[:2], *bare], vs.lesion(wide), params)
    assert not told[3].deposit.mask.any()


def test_faint_oil_is_looked_for_where_the_alignment_puts_what_held_it():
    by = (1, -2, 2)
    full = vs.scan(vs.drawn((vs.ball(12), 900)), days=5.0, alignment=Alignment(vs.shift(x=4.0), 1.0))
    lain = vs.scan(
        np.roll(holed(35.0).tissue.hu, by, (0, 1, 2)), days=35.0, alignment=Alignment(vs.shift(8.0, -4.0, 2.0), 0.9)
    )
    wide = np.roll(vs.ball(12), -2, 2)
    _, later = course._carried(looked(full, lain, mask=wide), vs.lesion(wide), PARAMS)
    middle = np.array(vs.MIDDLE) + by
    index = space.to_index(later.patch.affine, vs.place(*middle)).round().astype(int)
    assert later.deposit.mask[tuple(index)]
    assert np.count_nonzero(later.deposit.mask) == pytest.approx(np.count_nonzero(vs.ball(12)), rel=0.05)


# --- thin oil beside a lesion -----------------------------------------------------------------------


def thin(*scans):
    return course._thin_oil(looked(*scans), PARAMS.mass)


THIN = vs.ball(16.5) & ~LESION


def thinly(days, **more):
    return vs.scan(vs.drawn((LESION, 300), (THIN, 8)), days=days, uid=f"thin.{days:g}", **more)


def test_thin_oil_beside_the_lesion_is_told_in_the_first_week_by_later_scans_made_alike():
    assert thin(thinly(2.0), oiled(150, 35.0)) == pytest.approx([8.0, 0.0], abs=0.3)
    assert thin(thinly(7.0), oiled(150, 35.0))[0] == pytest.approx(8.0, abs=0.3)


@pytest.mark.parametrize(
    ("early", "later"),
    [
        ({"days": 7.1}, {"days": 35.0}),
        ({"days": -1.0, "baseline": True}, {"days": 35.0}),
        ({"days": 2.0}, {"days": 7.0}),
        ({"days": 2.0}, {"days": 35.0, "kernel": "B70f"}),
        ({"days": 2.0}, {"days": 35.0, "contrast": True}),
        ({"days": 2.0, "contrast": True}, {"days": 35.0}),
    ],
)
def test_thin_oil_is_told_of_nothing_else(early, later):
    assert thin(thinly(**early), oiled(150, **later)) == [0.0, 0.0]


def test_a_scan_that_shows_nothing_of_the_lesion_tells_nothing_of_thin_oil():
    gone = vs.scan(vs.drawn(), days=35.0, alignment=Alignment(vs.shift(z=-200.0), 0.9))
    assert thin(thinly(2.0), gone, oiled(150, 40.0)) == pytest.approx([8.0, 0.0, 0.0], abs=0.3)
    assert thin(thinly(2.0), gone) == [0.0, 0.0]
    in_air = vs.scan(np.where(LESION, vs.LIVER, -900.0), days=35.0)
    assert thin(thinly(2.0), in_air) == [0.0, 0.0]


def test_thin_oil_is_no_part_of_the_lesions_amount():
    first = thinly(2.0)

    def early_mg(later):
        sights = course._measure(looked(PLAIN_BEFORE, first, later), PARAMS.mass)
        return sights[1].mass.mg

    beside = np.count_nonzero(ndimage.distance_transform_edt(~LESION, vs.STEP) <= 5.0) - np.count_nonzero(LESION)
    told = early_mg(oiled(150, 35.0, kernel="B70f")) - early_mg(oiled(150, 35.0))
    assert told == pytest.approx(1.5 * 8 * beside * vs.ML / 25, rel=0.05)


# --- which lesions are followed -----------------------------------------------------------------------


def choose(*scans, rois=(), reference=0, params=PARAMS):
    return course._choose_lesions(list(scans), reference, rois, params)


def test_without_a_region_the_oil_itself_is_outlined_on_the_scans_own_voxels():
    ((lesion,), quality) = choose(oiled(300, 5.0))
    assert (lesion.id, lesion.origin, quality) == ("L1", LesionOrigin.DETECTED, Quality.NONE)
    assert lesion.centroid_mm == pytest.approx(vs.place(*vs.MIDDLE), abs=0.1)
    assert lesion.diameter_mm == pytest.approx(20, rel=0.06)


def test_two_deposits_are_two_lesions_and_neither_takes_the_oil_of_the_other():
    one, other = vs.ball(7, x=10), vs.ball(7, x=28)
    (first, second), _ = choose(vs.scan(vs.drawn((one, 300), (other, 500))))
    assert first.centroid_mm == pytest.approx(vs.place(15, 17, 28), abs=0.2)
    assert second.centroid_mm == pytest.approx(vs.place(15, 17, 10), abs=0.2)
    for lesion in (first, second):
        assert lesion.diameter_mm == pytest.approx(14, rel=0.1)


def test_a_wide_notch_in_the_oil_stays_one():
    notch = (vs.X > 19) & (abs(vs.Y - 17) <= 4) & (abs(vs.Z - 15) <= 4)
    ((lesion,), _) = choose(vs.scan(vs.drawn((vs.ball(16) & ~notch, 300))))
    shown = lesion.mask_on(vs.SHAPE, vs.GRID, vs.SAME)
    assert not shown[15, 17, 25:].any()
    assert shown[15, 17, 13]


def test_what_was_there_before_treatment_is_no_lesion():
    calcified = vs.scan(vs.drawn((LESION, 300)), days=-3.0, baseline=True)
    assert choose(calcified, oiled(300, 5.0), reference=1) == ([], Quality.NO_LIPIODOL)
    assert len(choose(PLAIN_BEFORE, oiled(300, 5.0), oiled(295, 35.0), reference=1)[0]) == 1


def test_faint_oil_is_a_lesion_where_a_later_plain_scan_shows_that_it_fades():
    faint, faded = (vs.scan(vs.drawn((vs.ball(12), rise)), days=days) for rise, days in ((45, 5.0), (20, 35.0)))
    assert choose(faint)[0] == []
    assert len(choose(faint, faded)[0]) == 1
    assert choose(faint, replace(faded, contrast=True))[0] == []


def test_where_the_reference_shows_no_oil_the_next_scans_of_its_kind_are_asked():
    bare = vs.scan(vs.drawn(), days=5.0)
    found, quality = choose(bare, oiled(300, 35.0, alignment=Alignment(vs.shift(x=6.0), 0.9)))
    assert quality is Quality.NONE
    assert found[0].centroid_mm == pytest.approx(vs.place(15, 17, 16), abs=0.2)
    assert choose(bare, oiled(300, 35.0, contrast=True)) == ([], Quality.NO_LIPIODOL)
    assert choose(bare, oiled(300, -3.0, baseline=True)) == ([], Quality.NO_LIPIODOL)


def test_regions_keep_their_names_or_are_numbered_and_one_drawn_again_counts_once():
    other = vs.ball(6, x=32)
    rois = [roi(), roi(other), roi(vs.ball(9)), roi(vs.ball(5, z=5)), roi(vs.ball(5, z=25), name="L2")]
    found, quality = choose(oiled(300, 5.0), rois=rois)
    assert [lesion.id for lesion in found] == ["L1", "L1-2", "L1-3", "L2"]
    assert quality is Quality.NONE
    assert found[0].diameter_mm == pytest.approx(20, rel=0.06)


def test_a_region_that_lies_on_no_scan_is_told_and_the_oil_is_looked_for():
    (lesion,), quality = choose(oiled(300, 5.0), rois=[roi(series="another")])
    assert lesion.origin is LesionOrigin.DETECTED
    assert quality == Quality.ROI_NOT_MATCHED
    assert choose(oiled(300, 5.0), rois=[roi(np.zeros(vs.SHAPE, bool))])[1] == Quality.ROI_NOT_MATCHED


# --- the scan that a region was drawn on --------------------------------------------------------------


def owner_of(region, *scans, reference=0):
    """The position of the scan that a region was taken to lie on; each scan lies elsewhere."""
    laid = [replace(one, alignment=Alignment(vs.shift(x=float(k)), 1.0)) for k, one in enumerate(scans)]
    lesion = course._match(region, laid, reference)
    return None if lesion is None else round(lesion.from_reference[0, 3])


def on_other_grid(uid, **more):
    """The same patient, a slice less."""
    made = vs.scan(vs.drawn(), uid=uid)
    volume = CtVolume(made.volume.hu[:-1], vs.GRID, made.volume.source, kvp=120.0, **more)
    return replace(made, volume=volume)


def test_a_region_lies_on_the_scan_it_names_before_the_frame_before_its_grid_before_the_reference():
    a, b, c = (
        vs.scan(vs.drawn(), uid=uid, frame_of_reference_uid=frame) for uid, frame in zip("abc", "ffg", strict=True)
    )
    assert owner_of(roi(series="b"), a, b, c) == 1
    assert owner_of(roi(series="b", frame="g"), a, b, c, reference=2) == 1
    assert owner_of(roi(frame="g"), a, b, c) == 2
    assert owner_of(roi(frame="f"), a, b, c, reference=1) == 1
    assert owner_of(roi(frame="f"), a, b, c, reference=0) == 0
    assert owner_of(roi(), a, b, c, reference=2) == 2
    assert owner_of(roi(), a, b, c, reference=1) == 1
    assert owner_of(roi(), on_other_grid("a"), b, c, reference=0) == 1
    assert owner_of(roi(), b, on_other_grid("a"), reference=1) == 0
    assert owner_of(roi(series="x"), a, b) is None
    shifted = vs.GRID.copy()
    shifted[0, 3] += 1.0
    assert owner_of(roi(grid=shifted), a, b, reference=1) == 1


@pytest.mark.parametrize(
    ("first", "lies"),
    [(-2.5, False), (-1.5, False), (-0.5, True), (0.0, True), (36.5, True), (37.0, True), (37.5, False)],
)
def test_a_region_lies_on_a_scan_that_shows_half_of_it(first, lies):
    # Two voxels side by side along x; a scan ends half a voxel beyond the middle of its last voxel.
    grid = vs.GRID.copy()
    grid[:3, 3] = vs.place(15, 17, first)
    assert (owner_of(roi(np.ones((1, 1, 2), bool), grid=grid), vs.scan(vs.drawn())) is not None) is lies


# --- ways between scans -------------------------------------------------------------------------------


def test_other_scans_are_reached_over_the_reference_by_the_organs_and_by_the_bone():
    own = Alignment(vs.shift(x=3.0), 1.0, body_motion=vs.shift(y=1.0))
    other = Alignment(vs.shift(z=5.0), 1.0, body_motion=vs.shift(y=4.0))
    scans = [PLAIN_BEFORE, BRIGHT_BEFORE, oiled(300, 5.0, alignment=own), oiled(150, 35.0, alignment=other)]
    (later,) = course._others(scans, 2, baseline=False)
    assert later.tissue is scans[3].tissue
    assert np.allclose(later.organs, vs.shift(x=-3.0, z=5.0))
    assert np.allclose(later.bone, vs.shift(y=3.0))
    before = course._others(scans, 2, baseline=True)
    assert [one.tissue for one in before] == [scan.tissue for scan in scans[:2]]


def test_a_scan_with_contrast_medium_is_compared_with_none_and_one_before_treatment_with_none_before_it():
    scans = [PLAIN_BEFORE, PLAIN_BEFORE, oiled(300, 5.0), oiled(150, 35.0, contrast=True), oiled(150, 36.0)]
    assert course._others(scans, 3, baseline=False) == course._others(scans, 3, baseline=True) == []
    assert course._others(scans, 1, baseline=True) == []
    assert [one.tissue for one in course._others(scans, 2, baseline=False)] == [scans[4].tissue]
    assert course._others(scans, 4, baseline=False) == []


def test_where_the_coarse_look_does_not_hold_the_lesion_the_liver_is_as_it_was_seen():
    liver = vs.X < 20
    scan = vs.scan(vs.drawn(), liver=liver)
    (patch,) = (course._look(vs.lesion(LESION), [], scan, PARAMS).patch,)
    away = replace(scan, alignment=Alignment(vs.shift(x=400.0), 1.0))
    told = course._liver_on(patch, vs.lesion(LESION), away)
    assert np.array_equal(told, liver[patch.box])
    # Where it holds it, what the lesion had parted from the liver is given back.
    parted = course._liver_on(patch, vs.lesion(LESION), scan)
    assert np.count_nonzero(parted) > np.count_nonzero(told)


# --- errors that scans share ---------------------------------------------------------------------------


def test_where_voltages_differ_each_amount_keeps_the_error_of_the_slope_and_else_it_cancels():
    mass = PARAMS.mass.model_copy(update={"slope_sd": 0.1, "own_model_sd": 0.2})

    def errors(kvp):
        sights = course._measure(looked(PLAIN_BEFORE, oiled(300, 5.0), oiled(150, 35.0, kvp=kvp)), mass)[1:]
        return course._own_errors(sights, mass), [sight.mass.mg for sight in sights]

    (same, _), (differ, mg) = errors(120.0), errors(119.0)
    assert differ[0] ** 2 - same[0] ** 2 == pytest.approx((0.1 * mg[0]) ** 2, rel=1e-6)
    assert mg[0] == pytest.approx(12 * LESION_ML, rel=1e-4)
    assert len(same) == len(differ) == 2


def test_scans_at_one_voltage_share_the_error_of_the_slope():
    mass = PARAMS.mass.model_copy(update={"slope_sd": 0.2, "draws": 2000})

    def spread(kvp):
        before, first, last = course._measure(looked(PLAIN_BEFORE, oiled(300, 5.0), oiled(150, 35.0, kvp=kvp)), mass)
        assert before.mass is not None
        return float(np.std(np.log(last.mass.draws_mg / first.mass.draws_mg)))

    assert spread(120.0) < 0.1
    assert spread(119.0) == pytest.approx(0.2 * np.sqrt(2), rel=0.1)


def test_what_contrast_medium_and_the_time_between_scans_add_to_the_offset():
    offset = course.Offset(-5.0, 2.0)
    plain, enhanced = oiled(300, 5.0), oiled(300, 5.0, contrast=True)
    told = course._in_scan(offset, plain, PARAMS.mass)
    assert (told.hu, told.sd_hu, told.own_sd_hu) == (-5.0, 2.0, PARAMS.mass.change_sd_hu)
    both = np.hypot(PARAMS.mass.change_sd_hu, PARAMS.mass.enhancement_sd_hu)
    assert course._in_scan(offset, enhanced, PARAMS.mass).own_sd_hu == pytest.approx(both)
