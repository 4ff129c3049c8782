"""Finding, following and comparing on scans of a few drawn voxels, whose contents are known one by one."""

from __future__ import annotations

import numpy as np
import pytest

from angio_pipeline.core.followups import AlignmentMethod, CtVolume, OilPlace
from angio_pipeline.core.provenance import Source
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.tumours import LesionOrigin
from angio_pipeline.lipiodol.alignment_views import tell_alignment
from angio_pipeline.lipiodol.finding import FindingParams, OtherScan, find_lesions
from angio_pipeline.lipiodol.lesions import Lesion, convex, cut_patch
from angio_pipeline.lipiodol.liver import LiverParams, follow_liver
from angio_pipeline.lipiodol.mass import MassParams
from angio_pipeline.lipiodol.matching import Compared, edge_gap_mm, match
from angio_pipeline.lipiodol.registration import Alignment
from angio_pipeline.lipiodol.residual import ResidualParams, find_phases
from angio_pipeline.lipiodol.scans import Scan, made_alike, set_refused_aside
from angio_pipeline.lipiodol.stray_oil import StrayOilParams, find_stray_oil
from angio_pipeline.lipiodol.tissue import Tissue
from angio_pipeline.lipiodol.views import ViewParams, aligned_view

STEP, SIDE, LIVER = 2.5, 40, 55.0
GRID = np.array([[0, 0, STEP, 0], [0, STEP, 0, 0], [STEP, 0, 0, 0], [0, 0, 0, 1.0]])
SHAPE = (SIDE,) * 3
Z, Y, X = np.indices(SHAPE)
ML = STEP**3 / 1000
SAME = np.eye(4)


def ball(radius_mm, z=20, y=20, x=20):
    return STEP * np.sqrt((Z - z) ** 2 + (Y - y) ** 2 + (X - x) ** 2) <= radius_mm


def tissue(hu, *, liver=None, body=None):
    hu = np.asarray(hu, np.float32)
    everywhere = np.ones(SHAPE, bool)
    body = everywhere if body is None else body
    liver = everywhere if liver is None else liver
    return Tissue(hu, GRID, body, body & (np.abs(hu - LIVER) < 25), liver & body, body & (hu > LIVER + 60), LIVER)


def with_oil(*oil):
    hu = np.full(SHAPE, LIVER)
    for mask, rise in oil:
        hu[mask] = LIVER + rise
    return hu


def scan(hu, *, days=10.0, baseline=False, contrast=False, uid="1.1", alignment=None, kvp=120.0, **more):
    seen = tissue(hu, **{key: more.pop(key) for key in ("liver", "body") if key in more})
    volume = CtVolume(seen.hu, GRID, Source("1." + uid, uid, date="20240101", file=uid), kvp=kvp, **more)
    return Scan(volume, days, baseline, contrast, seen, alignment or Alignment(SAME, 1.0))


# --- finding --------------------------------------------------------------------------------------


def found(hu, *, liver=None, before=(), later=(), **settings):
    laid = {
        name: [OtherScan(tissue(other), SAME, SAME) for other in others]
        for name, others in (("before", before), ("later", later))
    }
    return find_lesions(tissue(hu, liver=liver), SAME, **laid, params=FindingParams(**settings))


def test_a_dense_ball_in_the_liver_is_a_lesion_where_it_is_and_as_large_as_it_is():
    (lesion,) = found(with_oil((ball(10), 300)))
    assert lesion.id == "L1"
    assert lesion.origin is LesionOrigin.DETECTED
    assert lesion.centroid_mm == pytest.approx((50, 50, 50), abs=0.5)
    assert lesion.diameter_mm == pytest.approx(20, rel=0.1)


def test_lesions_are_numbered_by_what_they_hold_and_only_so_many_are_kept():
    hu = with_oil((ball(8, x=10), 300), (ball(8, x=30), 600), (ball(6, y=34, x=20), 200))
    middles = [lesion.centroid_mm[0] for lesion in found(hu)]
    assert middles == pytest.approx([75, 25, 50], abs=1)
    assert [lesion.id for lesion in found(hu)] == ["L1", "L2", "L3"]
    assert [lesion.centroid_mm[0] for lesion in found(hu, most_lesions=1)] == pytest.approx([75], abs=1)


def test_pieces_a_little_apart_are_one_lesion():
    def apart(voxels):
        return len(found(with_oil((ball(7, x=16), 300), (ball(7, x=16 + voxels), 300))))

    assert apart(6) == 1
    assert apart(14) == 2


@pytest.mark.parametrize(
    ("radius", "rise", "count"),
    [
        (10, 300, 1),
        (10, 115, 0),  # bright, but less than oil is at its densest
        (10, 130, 1),
        (6, 900, 0),  # small and as dense as metal
        (10, 900, 1),  # too large for a clip
        (2, 300, 0),  # one voxel: less than a tenth of a millilitre
    ],
)
def test_what_is_too_faint_too_small_or_metal_is_no_lesion(radius, rise, count):
    assert len(found(with_oil((ball(radius), rise)))) == count


def test_what_no_liver_encloses_is_no_lesion():
    beside = X < 14
    assert found(with_oil((ball(10), 300)), liver=beside) == ()
    assert found(with_oil((ball(10), 300)), liver=np.zeros(SHAPE, bool)) == ()


def test_what_was_as_bright_before_treatment_is_no_oil_of_it():
    hu = with_oil((ball(10), 300))
    assert found(hu, before=[hu]) == ()
    assert len(found(hu, before=[with_oil()])) == 1
    # A tumour that enhances is brighter than liver, but not nearly as bright as oil.
    assert len(found(hu, before=[with_oil((ball(10), 60))])) == 1


def test_a_small_piece_beside_the_main_one_is_a_nodule_of_its_own():
    hu = with_oil((ball(12, x=15), 300), (ball(5, x=23), 300))
    assert len(found(hu, group_mm=10.0)) == 2
    assert len(found(hu, group_mm=10.0, nodule=0.0)) == 1


@pytest.mark.parametrize(("left", "count"), [(0.5, 1), (0.95, 0), (0.0, 0)])
def test_faint_oil_is_told_by_what_becomes_of_it(left, count):
    now, later = with_oil((ball(14), 45)), with_oil((ball(14), 45 * left))
    assert len(found(now, later=[later])) == count
    assert found(now) == ()


# --- stray oil ------------------------------------------------------------------------------------

BARE = with_oil()


def strays(hu, *others, lesions=(), **more):
    scans = [*others, scan(hu, uid="now", **more)]
    searched = find_stray_oil(scans, lesions, mass=MassParams(), params=StrayOilParams())
    return searched


def test_a_new_bright_piece_is_listed_with_its_amount_and_where_it_lies():
    before = scan(BARE, days=-3.0, baseline=True, uid="before")
    (told,) = strays(with_oil((ball(7), 250)), before)
    (piece,) = told.pieces
    true = 10 * np.count_nonzero(ball(7)) * ML
    assert piece.iodine_mg == pytest.approx(true, rel=0.01)
    # About the piece nothing varies: alignment and the slope are all that is uncertain, each on its own.
    half = 1.96 * true * np.hypot(StrayOilParams().model_sd, MassParams().slope_sd)
    assert piece.iodine_mg_interval == pytest.approx((true - half, true + half), rel=0.02)
    assert piece.volume_ml == pytest.approx(np.count_nonzero(ball(7)) * ML)
    assert piece.centroid_mm == pytest.approx((50, 50, 50), abs=1e-6)
    assert piece.place is OilPlace.LIVER
    assert (told.compared_series_uid, told.before_treatment, told.days) == ("before", True, 10.0)
    assert told.quality is Quality.NONE


def test_what_was_there_before_or_a_little_beside_it_is_not_listed():
    before = scan(with_oil((ball(7, x=22), 250)), days=-3.0, baseline=True)
    (told,) = strays(with_oil((ball(7), 250)), before)
    assert told.pieces == ()


def test_what_lies_about_a_lesion_is_the_lesions_own():
    before = scan(BARE, days=-3.0, baseline=True)
    lesion = Lesion("L1", ball(7, x=24), GRID, SAME, LesionOrigin.ROI)
    (told,) = strays(with_oil((ball(7), 250)), before, lesions=[lesion])
    assert told.pieces == ()


def test_the_scan_before_treatment_is_asked_first_and_else_the_last_plain_one_later():
    plain = scan(BARE, days=-3.0, baseline=True, uid="plain")
    enhanced = scan(BARE, days=-4.0, baseline=True, contrast=True, uid="enhanced")
    late, later = scan(BARE, days=40.0, uid="late"), scan(BARE, days=80.0, uid="later")
    hu = with_oil((ball(7), 250))
    assert strays(hu, enhanced, plain, late)[-1].compared_series_uid == "plain"
    by_later = {one.source.series_instance_uid: one for one in strays(hu, late, later)}
    assert by_later["now"].compared_series_uid == "later"
    assert not by_later["now"].before_treatment
    assert "later" not in by_later
    assert strays(hu) == ()
    assert all(one.source.series_instance_uid != "now" for one in strays(hu, plain, contrast=True))


def test_the_largest_amount_comes_first_and_small_pieces_are_left_out():
    before = scan(BARE, days=-3.0, baseline=True)
    hu = with_oil((ball(7, x=10), 250), (ball(7, x=30), 500), (ball(2.5, y=34), 250))
    (told,) = strays(hu, before)
    assert [piece.centroid_mm[0] for piece in told.pieces] == pytest.approx([75, 25])


def test_a_long_thin_piece_in_the_liver_lies_in_a_vessel():
    before = scan(BARE, days=-3.0, baseline=True)
    thread = (abs(Y - 20) <= 1) & (abs(Z - 20) <= 1) & (X > 8) & (X < 32)
    (told,) = strays(with_oil((thread, 250)), before)
    assert [piece.place for piece in told.pieces] == [OilPlace.LIVER_VESSEL]


# --- order, frames and views ----------------------------------------------------------------------


def test_a_scan_that_could_not_be_laid_upon_the_reference_is_set_aside_with_its_reason():
    kept, bad = scan(BARE, uid="a"), scan(BARE, uid="b", alignment=Alignment(SAME, 0.1, refusal="too unlike"))
    scans, reference, refused = set_refused_aside([bad, kept], 1)
    assert (scans, reference) == ([kept], 0)
    assert [(one.path, one.reason, one.sentence) for one in refused] == [("b", "not_aligned", "too unlike")]


def test_scans_are_alike_in_kernel_and_voxels_within_two_per_cent():
    def volume(kernel, step):
        grid = np.diag([step, step, step, 1.0])[[2, 1, 0, 3]]
        return CtVolume(np.zeros((3, 4, 4), np.float32), grid, Source("1", "2"), kernel=kernel)

    assert made_alike(volume("B30f", 1.0), volume("B30f", 1.015))
    assert not made_alike(volume("B30f", 1.0), volume("B30f", 1.05))
    assert not made_alike(volume("B30f", 1.0), volume("B50f", 1.0))


def test_phases_are_an_arterial_scan_and_the_next_one_of_its_kind_within_an_hour():
    # An aorta of 24 mm on the body's middle, along all of its length.
    aorta = STEP * np.hypot(Y - 20, X - 20) <= 12

    def phase(rise, days, **more):
        return scan(np.where(aorta, LIVER + rise, LIVER), days=days, contrast=True, **more)

    arterial, portal = phase(250, 10.0), phase(100, 10.01)
    assert find_phases([arterial, portal], params=ResidualParams()) == {0: 1}
    assert find_phases([portal, arterial], params=ResidualParams()) == {}
    assert find_phases([arterial, phase(100, 10.1)], params=ResidualParams()) == {}
    assert find_phases([arterial, phase(230, 10.01)], params=ResidualParams()) == {}
    assert find_phases([arterial, phase(100, 10.01, kvp=100.0)], params=ResidualParams()) == {}
    assert find_phases([arterial, phase(100, 10.01, kernel="B50f")], params=ResidualParams()) == {}
    unknown = [phase(250, 10.0, kvp=None), phase(100, 10.01, kvp=None)]
    assert find_phases(unknown, params=ResidualParams()) == {}


def test_a_view_shows_the_lesions_plane_in_its_middle_with_its_outline_and_its_oil():
    hu = with_oil((ball(8, z=12, y=18, x=25), 300))
    shown = scan(hu)
    lesion = Lesion("L1", ball(8, z=12, y=18, x=25), GRID, SAME, LesionOrigin.ROI)
    view = aligned_view(shown, lesion, None, None, params=ViewParams(side_px=41, pixel_mm=2.5))
    assert view.image.shape == (41, 41)
    assert view.image[20, 20] == pytest.approx(LIVER + 300)
    assert np.argwhere(view.lesion).mean(axis=0) == pytest.approx((20, 20), abs=0.1)
    assert not view.outline.any()
    assert view.window == ViewParams().window_hu
    # Beyond the scan lies air.
    assert view.image[0, -1] == pytest.approx(-1000.0)


def test_an_alignment_says_how_far_the_liver_has_gone():
    motion = np.eye(4)
    motion[:3, 3] = [3.0, 0.0, -4.0]
    reference = scan(BARE)
    other = scan(BARE, alignment=Alignment(motion, 0.9, edge_gap_mm=(3.0, 1.0)))
    told = tell_alignment(other, reference)
    assert told.method is AlignmentMethod.RIGID
    assert told.shift_mm == pytest.approx(5.0)
    assert (told.correlation, told.edge_gap_before_mm, told.edge_gap_mm) == (0.9, 3.0, 1.0)
    assert np.allclose(told.motion, motion)
    own = tell_alignment(reference, reference)
    assert own.method is AlignmentMethod.REFERENCE
    refused = tell_alignment(scan(BARE, alignment=Alignment(motion, np.nan, refusal="too unlike")), reference)
    assert (refused.method, refused.motion, refused.reason) == (AlignmentMethod.REFUSED, None, "too unlike")
    assert refused.correlation is None


# --- the comparison of two scans --------------------------------------------------------------------


def compared(hu, **more):
    return Compared.of(tissue(hu), window_hu=(-100.0, 200.0), avoid_mm=5.0, **more)


def stays(points):
    return points


def moved(by_mm):
    return lambda points: points + np.array([by_mm, 0.0, 0.0])


WAVES = LIVER + 20 * np.sin(X / 3.0) + 10 * np.cos(Y / 4.0) + 5 * np.sin(Z / 5.0)
INNER = (abs(Z - 20) < 12) & (abs(Y - 20) < 12) & (abs(X - 20) < 12)


def test_a_scan_matches_itself_and_less_so_beside_itself():
    here = compared(WAVES)
    assert match(here, here, INNER, stays) == pytest.approx(1.0)
    assert match(here, compared(2 * WAVES - 40), INNER, stays) == pytest.approx(1.0, abs=0.01)
    assert match(here, compared(150 - WAVES), INNER, stays) == pytest.approx(-1.0, abs=0.01)
    assert match(here, here, INNER, moved(5.0)) < 0.9


def test_a_match_is_found_where_the_scan_has_gone():
    gone = compared(np.roll(WAVES, 2, axis=2))
    assert match(compared(WAVES), gone, INNER, moved(5.0)) > 0.999
    assert match(compared(WAVES), gone, INNER, stays) < 0.9


def test_where_too_little_is_seen_or_all_is_alike_there_is_no_match():
    here = compared(WAVES)
    assert np.isnan(match(here, here, INNER, moved(75.0)))
    assert np.isnan(match(compared(BARE), here, INNER, stays))


def test_oil_and_what_is_to_be_avoided_take_no_part():
    oiled = np.where(ball(10), 900.0, WAVES)
    assert not compared(oiled).clean[ball(12)].any()
    assert compared(oiled).clean[0, 0, 0]
    assert match(compared(WAVES), compared(oiled), INNER, stays) == pytest.approx(1.0)
    assert not compared(WAVES, avoid=ball(6)).clean[ball(8)].any()


def test_the_gap_of_edges_is_how_far_they_lie_apart():
    ramp = LIVER + 2.0 * (STEP * X - 50)
    here = Compared.of(tissue(ramp), window_hu=(-500.0, 500.0), avoid_mm=0.0)
    bare = Compared(here.tissue, here.grey, np.ones(SHAPE, bool))
    for gap in (0.0, 1.0, 3.0):
        told = edge_gap_mm(bare, bare, INNER, moved(gap), blur_mm=1.0, least_hu_per_mm=1.0)
        assert told == pytest.approx(gap, abs=0.02)
    assert np.isnan(edge_gap_mm(bare, bare, INNER, stays, blur_mm=1.0, least_hu_per_mm=3.0))


# --- lesions --------------------------------------------------------------------------------------


def test_a_patch_holds_the_lesion_its_margin_and_its_neighbours():
    volume = scan(with_oil((ball(8), 300))).volume
    lesion = Lesion("L1", ball(8), GRID, SAME, LesionOrigin.ROI)
    other = Lesion("L2", ball(5, x=26), GRID, SAME, LesionOrigin.ROI)
    patch = cut_patch(volume, SAME, lesion, [other], margin_mm=15.0, padding_mm=5.0)
    assert np.count_nonzero(patch.lesion) == np.count_nonzero(ball(8))
    assert not (patch.lesion & patch.others).any()
    assert patch.others.any()
    assert not patch.cut
    # Three voxels of lesion on each side, six of margin, and the middle.
    assert patch.hu.shape == (19, 19, 19)
    assert np.array_equal(patch.hu, volume.hu[patch.box])


@pytest.mark.parametrize(("z", "kept", "cut"), [(20, True, False), (4, True, True), (1, True, True), (-1, False, None)])
def test_a_lesion_at_the_scans_edge_is_cut_and_one_that_is_mostly_beyond_it_is_none(z, kept, cut):
    volume = scan(BARE).volume
    motion = np.eye(4)
    motion[2, 3] = STEP * (z - 20)
    lesion = Lesion("L1", ball(8), GRID, SAME, LesionOrigin.ROI)
    patch = cut_patch(volume, motion, lesion, (), margin_mm=15.0, padding_mm=5.0)
    assert (patch is not None) is kept
    if patch is not None:
        assert patch.cut is cut


def test_a_notch_is_within_the_convex_outline_and_a_plane_has_none():
    notched = ball(12) & ~ball(6, x=25)
    assert np.count_nonzero(convex(notched)) > np.count_nonzero(notched)
    assert not (convex(notched) & ~ball(12)).any()
    plane = ball(12) & (Z == 20) & (X < 22)
    assert np.array_equal(convex(plane), plane)


# --- the liver's own oil ----------------------------------------------------------------------------


def liver_course(*scans, **settings):
    return follow_liver(scans, (), mass=MassParams(), params=LiverParams(least_ml=10.0, **settings))


def test_oil_in_the_liver_is_what_it_is_denser_than_before_treatment():
    before, after = scan(BARE, days=-3.0, baseline=True), scan(BARE + 25.0, days=1.0)
    course = liver_course(before, after)
    (point,) = course.timepoints
    assert point.iodine_mg == pytest.approx(SIDE**3 * ML, rel=1e-6)
    half = 1.96 * 2.5 * np.sqrt(2) / 25 * SIDE**3 * ML
    assert point.iodine_mg_interval == pytest.approx((point.iodine_mg - half, point.iodine_mg + half))
    assert point.oil_ml == pytest.approx(point.iodine_mg / 480)
    assert point.retention == 1.0


def test_what_is_left_in_the_liver_is_told_against_the_first_scan():
    before = scan(BARE, days=-3.0, baseline=True)
    first, second = (scan(BARE + rise, days=days) for rise, days in ((50.0, 1.0), (20.0, 30.0)))
    last = liver_course(before, first, second).timepoints[1]
    assert last.retention == pytest.approx(0.4)
    half = 1.96 * 2.5 * np.sqrt(2)
    assert last.retention_interval == pytest.approx(((20 - half) / (50 + half), (20 + half) / (50 - half)), rel=1e-6)


def test_what_cannot_be_told_from_nothing_is_only_bounded():
    before, after = scan(BARE, days=-3.0, baseline=True), scan(BARE + 5.0, days=1.0)
    (point,) = liver_course(before, after).timepoints
    assert (point.iodine_mg, point.oil_ml, point.retention) == (None, None, None)
    assert point.iodine_mg_interval[0] == 0.0
    assert Quality.NO_LIPIODOL in point.quality


def test_a_late_scan_stands_for_the_liver_without_oil_and_without_one_there_is_no_course():
    early = scan(BARE + 25.0, days=1.0)
    assert liver_course(early, scan(BARE, days=21.0)).timepoints[0].retention == 1.0
    assert liver_course(early, scan(BARE, days=20.9)) is None
    assert liver_course(early) is None
    assert liver_course(scan(BARE, days=-3.0, baseline=True, contrast=True), early) is None
