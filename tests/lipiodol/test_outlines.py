"""Outlines of oil, the tissue around it, and the first look at a scan, on a few drawn voxels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import voxel_scans as vs
from scipy import ndimage

from angio_pipeline.core.followups import Completeness, CtVolume, OilPlace
from angio_pipeline.core.provenance import Source
from angio_pipeline.lipiodol import finding, mass, stray_oil
from angio_pipeline.lipiodol.coverage import CoverageParams, _greatest_gap, describe_coverage
from angio_pipeline.lipiodol.deposit import Deposit, DepositParams, _part, _plateau, segment_deposit, with_faint_oil
from angio_pipeline.lipiodol.lesions import Patch, cut_patch
from angio_pipeline.lipiodol.liver import LiverParams, _level
from angio_pipeline.lipiodol.mass import Background, MassParams, look_around, prepare
from angio_pipeline.lipiodol.registration import Alignment
from angio_pipeline.lipiodol.tissue import TissueParams, _even_discs, _fill, liver_around, with_given_liver

LESION = vs.ball(10)
EVERYWHERE = np.ones(vs.SHAPE, bool)
NOTHING = np.zeros(vs.SHAPE, bool)
PARAMS = DepositParams()


def patch_of(hu, lesion=LESION, others=NOTHING):
    return Patch(np.asarray(hu, np.float32), vs.GRID, lesion, others, tuple(map(slice, vs.SHAPE)), False)


def around(*, noise=0.0, sd=0.5):
    return Background(vs.LIVER, (0.0, 0.0, 0.0), tuple(vs.place(*vs.MIDDLE)), noise, 1.0, sd)


# --- outlines of oil ----------------------------------------------------------------------------------


def segmented(hu, lesion=LESION, others=NOTHING, *, liver=EVERYWHERE, **settings):
    return segment_deposit(patch_of(hu, lesion, others), liver, vs.LIVER, 1.0, params=DepositParams(**settings))


def test_fat_and_gas_beside_the_lesion_are_foreign_with_a_rim_and_the_lesions_edge_is_not():
    fat = vs.X > 28
    found = segmented(vs.drawn((LESION, 300), (fat, -160)))
    assert np.array_equal(found.mask, LESION)
    assert found.foreign[:, :, 29:].all()
    assert not found.foreign[:, :, :27].any()
    # Fat that touches the lesion leaves a voxel about it.
    touching = (vs.X > 24) & ~LESION
    near = ndimage.distance_transform_edt(~LESION, vs.STEP)
    beside = segmented(vs.drawn((LESION, 300), (touching, -160))).foreign
    assert not beside[near <= 1.5].any()
    assert beside[touching & (near > 3.0)].all()
    # What is dark within the lesion is the lesion's own.
    assert not segmented(vs.drawn((LESION, 300), (vs.ball(4), -160))).foreign.any()


def test_fat_reaches_no_farther_than_its_blurred_rim():
    found = segmented(vs.drawn((LESION, 300), (vs.X > 31, -160)))
    reached = np.flatnonzero(found.foreign.any(axis=(0, 1))).min()
    # At -60 HU against the liver of a step to -160 blurred by 1.5 mm: within a voxel of it.
    assert 31 <= reached <= 32


def test_bright_pieces_apart_from_the_lesion_are_foreign_with_their_rim():
    other = vs.ball(5, x=31)
    found = segmented(vs.drawn((LESION, 300), (other, 300)))
    assert np.array_equal(found.mask, LESION)
    assert (found.foreign >= other).all()
    assert not found.foreign[LESION].any()
    assert not (found.foreign & ~vs.ball(8, x=31)).any()


def parted(bright, lesion=LESION, others=NOTHING, *, liver=EVERYWHERE, **settings):
    return _part(bright, liver, patch_of(vs.drawn(), lesion, others), DepositParams(**settings))


def test_oil_that_reaches_a_little_out_of_the_outline_is_the_lesions():
    wider = vs.ball(14)
    own, foreign = parted(wider)
    assert np.array_equal(own, wider)
    assert not foreign.any()


def test_a_piece_that_lies_mostly_beyond_the_lesions_reach_is_the_lesions_within_its_outline_only():
    rib = (abs(vs.Y - 17) <= 3) & (abs(vs.Z - 15) <= 3) & (vs.X >= 22)
    own, foreign = parted(rib, slack_mm=2.5)
    assert np.array_equal(own, rib & LESION)
    assert (foreign >= (rib & ~LESION)).all()
    assert not foreign[LESION].any()
    assert foreign.sum() > (rib & ~LESION).sum()


def test_oil_out_of_the_liver_is_the_lesions_only_in_a_gap_that_a_breath_leaves():
    wider = vs.ball(14)
    gap = ~(vs.ball(14) & ~vs.ball(10))
    assert np.array_equal(parted(wider, liver=gap)[0], wider)
    own, foreign = parted(wider, liver=NOTHING)
    assert np.array_equal(own, wider & (ndimage.distance_transform_edt(~LESION, vs.STEP) <= 1.5))
    assert foreign.any()
    assert not foreign[own].any()
    assert not np.array_equal(parted(wider, liver=gap, breath_mm=0.0)[0], wider)


def test_oil_nearer_to_another_lesion_is_not_this_ones():
    bridge = (abs(vs.Y - 17) <= 1) & (abs(vs.Z - 15) <= 1) & (vs.X >= 19) & (vs.X <= 33)
    own, foreign = parted(bridge, vs.ball(6), vs.ball(6, x=33))
    # Half-way between the two lies voxel 26.
    assert own[15, 17, 25]
    assert not own[15, 17, 27:].any()
    assert foreign[15, 17, 29]


@pytest.mark.parametrize(("voxels", "kept"), [(3, False), (4, True)])
def test_specks_are_no_oil(voxels, kept):
    speck = NOTHING.copy()
    speck[15, 17, 17 : 17 + voxels] = True
    own, foreign = parted(speck)
    assert own.any() is np.bool_(kept)
    assert not foreign.any()


def test_the_plateau_is_the_greatest_value_within_reach_along_each_axis():
    values = np.zeros((9, 9, 9), np.float32)
    values[4, 4, 4] = 7.0
    grid = np.diag([4.0, 2.0, 1.5, 1.0])[[2, 1, 0, 3]]
    z, y, x = np.nonzero(_plateau(values, grid, 4.0))
    assert (np.ptp(z), np.ptp(y), np.ptp(x)) == (2, 4, 4)
    assert _plateau(values, grid, 4.0).max() == 7.0
    assert _plateau(values, grid, 4.0).dtype == np.float32


def carried(oil, held, rise, *, level_sd=0.0, foreign=NOTHING, noise=0.0):
    found = with_faint_oil(
        patch_of(vs.drawn(level=vs.LIVER + rise)), Deposit(oil, foreign), held, vs.LIVER, level_sd, noise, params=PARAMS
    )
    return found.mask


def test_faint_oil_is_added_where_the_deposit_encloses_it():
    holed = LESION & ~vs.ball(3)
    wide = vs.ball(14)
    assert np.array_equal(carried(holed, wide, 20.0), LESION)
    assert np.array_equal(carried(holed, holed, 20.0), holed)
    assert np.array_equal(carried(holed, wide, 14.9), holed)
    # What is outlined tells that oil is left: the level need not be known better.
    assert np.array_equal(carried(holed, wide, 20.0, level_sd=30.0), LESION)
    assert np.array_equal(carried(holed, wide, 20.0, foreign=vs.ball(3)), holed)
    assert np.array_equal(carried(holed, wide, 20.0, noise=300.0), holed)


def test_where_next_to_nothing_is_outlined_all_that_held_oil_is_looked_at_with_more_caution():
    bit = vs.ball(3)
    assert np.array_equal(carried(bit, LESION, 20.0), LESION)
    assert np.array_equal(carried(bit, LESION, 20.0, level_sd=6.0), bit)
    assert np.array_equal(carried(bit, LESION, 21.5, level_sd=6.0), LESION)


# --- amounts --------------------------------------------------------------------------------------------


def test_clipping_hides_a_tail_like_the_one_below_it():
    def hidden(excess, clipped, clip_hu=3000.0, **settings):
        volume = CtVolume(np.zeros((2, 2, 2), np.float32), np.eye(4), Source("1", "2"), clip_hu=clip_hu)
        return mass._clipped_excess(np.array(excess), np.array(clipped), volume, MassParams(**settings))

    top = [False, False, True, True]
    # Of the voxels above half of 1000 the mean is 700, by 200 more than half.
    assert hidden([600.0, 800.0, 1000.0, 1000.0], top) == pytest.approx(2 * 200.0)
    # Without such voxels half of the top is taken, and never more than undiluted oil.
    assert hidden([0.0, 400.0, 1000.0, 1000.0], top) == pytest.approx(2 * 500.0)
    assert hidden([0.0, 400.0, 1000.0, 1000.0], top, neat_oil_hu=3300.0) == pytest.approx(2 * 300.0)
    assert hidden([0.0, 400.0, 1000.0, 1000.0], [False] * 4) == 0.0
    assert hidden([0.0, 400.0, 1000.0, 1000.0], top, clip_hu=None) == 0.0


def test_values_inside_a_lesion_are_as_deep_as_the_blur_asks_for_and_in_a_small_one_all():
    hu = vs.drawn((vs.ball(14), 50), level=vs.LIVER)
    deep = mass._inside(patch_of(hu, vs.ball(14)), around())
    assert deep.min() == pytest.approx(50.0, abs=5.0)
    tiny = vs.ball(4)
    values = mass._inside(patch_of(vs.drawn(level=vs.LIVER + 7.0), tiny), around())
    assert values == pytest.approx(np.full(np.count_nonzero(tiny), 7.0), abs=1e-3)
    middling = mass._inside(patch_of(vs.drawn(level=vs.LIVER + 7.0), vs.ball(9)), around())
    assert 100 <= len(middling) < np.count_nonzero(vs.ball(9))


def test_where_hardly_anything_lies_around_the_level_there_is_none():
    single = NOTHING.copy()
    single[15, 17, 19] = True
    walled = Deposit(single, ~vs.ball(4.1))
    told = look_around(patch_of(vs.drawn(level=vs.LIVER + 9.0), single), around(), walled, params=MassParams())
    assert told.level_hu == 0.0
    opened = look_around(
        patch_of(vs.drawn(level=vs.LIVER + 9.0), single), around(), Deposit(single, NOTHING), params=MassParams()
    )
    assert opened.level_hu == pytest.approx(9.0)


def test_the_background_keeps_away_from_oil_that_reaches_out_of_the_outline():
    hu = vs.drawn((vs.ball(16), 300)) + np.random.default_rng(1).normal(0, 3.0, vs.SHAPE)
    background, found = prepare(patch_of(hu), EVERYWHERE, vs.LIVER, mass=MassParams(), deposit=PARAMS)
    assert background.level_hu == pytest.approx(vs.LIVER, abs=0.3)
    assert background.noise_hu == pytest.approx(3.0, rel=0.05)
    assert np.count_nonzero(found.mask) == pytest.approx(np.count_nonzero(vs.ball(16)), rel=0.03)
    assert prepare(patch_of(np.full(vs.SHAPE, -900.0)), EVERYWHERE, vs.LIVER, mass=MassParams(), deposit=PARAMS) is None


def test_bright_liver_and_what_lies_about_a_lesion_are_no_normal_liver():
    spot = vs.ball(4, x=6)
    scan = vs.scan(vs.drawn((spot, 200), (vs.ball(9), 30)))
    params = LiverParams(least_ml=1.0, away_mm=6.0)
    level = _level(scan, [vs.lesion(LESION)], params)
    away = ndimage.distance_transform_edt(~(LESION | spot), vs.STEP) <= 6.0
    assert level.volume_ml == pytest.approx(np.count_nonzero(~away) * vs.ML)
    assert (level.hu, level.at_edge) == (vs.LIVER, True)
    inner = _level(replace(scan, tissue=vs.tissue(scan.tissue.hu, liver=(vs.Z > 0) & (vs.Z < 29))), [], params)
    assert inner.at_edge is False
    assert _level(scan, [], LiverParams(least_ml=1e4)) is None


def test_a_lesion_is_complete_above_nine_tenths_without_a_gap_that_is_a_defect():
    lesion = vs.ball(14)
    patch = patch_of(vs.drawn((lesion, 300)), lesion)
    oil = Deposit(lesion & ~vs.ball(6), NOTHING)
    gap = _greatest_gap(patch, oil, of_radius=0.25, least_mm=2.0)
    assert gap == pytest.approx(np.count_nonzero(vs.ball(6)) / np.count_nonzero(lesion), rel=0.3)
    for defect, wanted in ((gap + 1e-6, Completeness.COMPLETE), (gap, Completeness.MODERATE)):
        params = CoverageParams(defect=defect, complete=0.5)
        assert describe_coverage(patch, oil, vs.LIVER, 1.0, holds_oil=True, params=params).completeness is wanted


# --- patches ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("axis", "first"), [(0, 29), (1, 33), (2, 37), (0, -1), (1, -1), (2, -1)])
def test_a_patch_asks_for_half_of_the_lesion_within_the_voxels_faces(axis, first):
    # Two voxels, one of them on the face between the last voxel and what lies beyond: not within.
    sides, at = [1, 1, 1], [float(n) for n in vs.MIDDLE]
    sides[axis] = 2
    at[axis] = first + 0.5 if first > 0 else first - 0.5
    grid = vs.GRID.copy()
    grid[:3, 3] = vs.place(*at)
    lesion = replace(vs.lesion(np.ones(sides, bool)), affine=grid)
    volume = vs.scan(vs.drawn()).volume
    assert cut_patch(volume, vs.SAME, lesion, (), margin_mm=5.0, padding_mm=1.0) is None


# --- stray oil ----------------------------------------------------------------------------------------------


def placed(piece, hu, **more):
    return stray_oil._place(piece, vs.tissue(hu, **more))


RIGHT, LEFT = {"x": 8}, {"x": 30}


@pytest.mark.parametrize(("at", "place"), [(RIGHT, OilPlace.ELSEWHERE), (LEFT, OilPlace.SPLEEN)])
def test_liver_like_tissue_about_oil_on_the_left_is_the_spleen(at, place):
    piece = vs.ball(4, **at)
    far = vs.X == 19
    assert placed(piece, vs.drawn((piece, 300)), liver=far) is place
    muscle = vs.drawn((piece, 300)) + np.where(piece, 0.0, 40.0)
    assert placed(piece, muscle, liver=far) is (OilPlace.STOMACH_OR_BOWEL if at is LEFT else OilPlace.ELSEWHERE)


def test_oil_in_water_beside_the_liver_is_in_the_gallbladder_and_away_from_it_in_the_bowel():
    piece, bladder = vs.ball(3, x=10), vs.ball(14, x=10)
    hu = np.where(bladder & ~piece, 12.0, vs.drawn((piece, 300)))
    assert placed(piece, hu, liver=~vs.ball(16, x=10)) is OilPlace.GALLBLADDER
    assert placed(piece, hu, liver=NOTHING) is OilPlace.STOMACH_OR_BOWEL
    for water_hu, place in (
        (-11, OilPlace.ELSEWHERE),
        (-9, OilPlace.STOMACH_OR_BOWEL),
        (29, OilPlace.STOMACH_OR_BOWEL),
    ):
        assert placed(piece, vs.drawn((~piece, water_hu - vs.LIVER)), liver=NOTHING) is place
    no_water = np.where(bladder & ~piece, 100.0, vs.drawn((piece, 300)))
    assert placed(piece, no_water, liver=NOTHING) is OilPlace.ELSEWHERE


def test_oil_beside_gas_is_in_the_bowel_and_oil_beyond_the_body_is_elsewhere():
    piece = vs.ball(3, x=10)
    hu = vs.drawn((piece, 300), (vs.ball(3, x=16), -900))
    assert placed(piece, hu, liver=NOTHING) is OilPlace.STOMACH_OR_BOWEL
    assert placed(piece, vs.drawn((piece, 300)), liver=NOTHING, body=vs.X > 30) is OilPlace.ELSEWHERE


def test_oil_in_air_that_is_large_and_reaches_the_top_is_in_the_lung():
    piece = vs.ball(3, x=10)
    air = vs.drawn((EVERYWHERE, -850), (piece, 300))
    assert placed(piece, air, liver=NOTHING) is OilPlace.LUNG
    floor = np.where(vs.Z > 24, 55.0, air)
    assert placed(piece, floor, liver=NOTHING) is OilPlace.STOMACH_OR_BOWEL


def test_what_rises_above_all_that_was_near_is_new():
    now, then = vs.drawn((LESION, 300)), vs.drawn()
    scans = [vs.scan(now, days=5.0), vs.scan(then, days=-3.0, baseline=True)]
    rise, new = stray_oil._against(*scans, stray_oil.StrayOilParams())
    assert rise == pytest.approx(now - then, abs=1e-3)
    assert np.array_equal(new, LESION)
    for drawn, told in ((59.9, False), (60.1, True)):
        assert stray_oil._against(vs.scan(vs.drawn((LESION, drawn))), scans[1], stray_oil.StrayOilParams())[
            1
        ].any() is (np.bool_(told))
    # Beside what is denser than soft tissue there, more is asked: 60 % of what it is denser than 100 HU.
    bone = vs.scan(vs.drawn(level=300.0), days=-3.0, baseline=True)
    for level, told in ((300.0 + 60 + 0.6 * 200 - 1, False), (300.0 + 60 + 0.6 * 200 + 1, True)):
        seen = stray_oil._against(vs.scan(vs.drawn(level=level)), bone, stray_oil.StrayOilParams())[1]
        assert seen[10, 10, 10] == told
        assert not seen[[0, 1, -2, -1]].any()


def test_what_the_other_scan_does_not_hold_is_not_new():
    there = vs.scan(vs.drawn(), days=-3.0, baseline=True, alignment=Alignment(vs.shift(x=20.0), 1.0))
    rise, new = stray_oil._against(vs.scan(vs.drawn((EVERYWHERE, 300))), there, stray_oil.StrayOilParams())
    assert rise[15, 17, -1] == 0.0
    assert rise[15, 17, 5] == pytest.approx(300.0)
    assert not new[:, :, 24:].any()
    assert new[15, 17, 5]


# --- the first look ---------------------------------------------------------------------------------------


def test_a_drawn_liver_is_the_liver_within_the_body_and_tells_its_level_anew():
    body = vs.X > 3
    drawn = vs.Y < 20
    seen = vs.tissue(np.where(vs.Y < 20, 100.0, vs.LIVER), body=body)
    told = with_given_liver(seen, drawn, params=TissueParams())
    assert np.array_equal(told.liver, drawn & body)
    assert told.liver_hu == pytest.approx(100.0, abs=2.5)
    assert told.like[15, 5, 10]
    assert not told.like[15, 30, 10]
    assert not told.like[15, 5, 1]
    assert not told.bright.any()
    assert told.hu is seen.hu
    bright = replace(seen, hu=np.where(LESION, 300.0, seen.hu).astype(np.float32))
    assert np.array_equal(with_given_liver(bright, drawn, params=TissueParams()).bright, LESION)


@pytest.mark.parametrize(("voxels", "used"), [(999, False), (1000, True)])
def test_a_drawn_liver_that_holds_next_to_nothing_changes_nothing(voxels, used):
    mask = NOTHING.copy()
    mask.reshape(-1)[-voxels:] = True
    seen = vs.tissue(np.full(vs.SHAPE, 80.0))
    told = with_given_liver(seen, mask, params=TissueParams())
    assert (told is not seen) is used
    assert told.liver_hu == pytest.approx(80.0 if used else vs.LIVER, abs=2.5)


def test_a_liver_drawn_where_there_is_no_liver_changes_nothing():
    seen = vs.tissue(np.full(vs.SHAPE, 400.0))
    assert with_given_liver(seen, EVERYWHERE, params=TissueParams()) is seen


def test_a_liver_about_a_lesion_takes_back_the_rim_that_the_lesion_parted():
    body = vs.X < 30
    lesion = vs.ball(8, x=23)
    # Beyond the lesion a rim of liver remains, too thin for a ball of 15 mm by itself.
    liver = body & (vs.X < 20) & ~vs.ball(10, x=23)
    seen = vs.tissue(vs.drawn((lesion, 300)), liver=liver, body=body)
    found, box = liver_around(seen, lesion)
    whole = NOTHING.copy()
    whole[box] = found
    assert whole[lesion].all()
    assert whole[15, 17, 28]
    assert not whole[~body].any()
    assert not liver[15, 17, 28]
    # Three radii of the ball around the lesion, twice over, are looked at.
    far = replace(seen, opening_mm=1.0)
    shape = np.array([edge.stop - edge.start for edge in liver_around(far, lesion)[1]])
    assert shape == pytest.approx([15, 15, 15], abs=1)


def test_gaps_that_most_planes_enclose_are_filled_and_what_was_there_stays():
    solid = np.zeros((11, 12, 13), bool)
    solid[2:9, 2:10, 2:11] = True
    hollow = solid.copy()
    hollow[4:7, 4:8, 4:9] = False
    assert np.array_equal(_fill(hollow), solid)
    # A tunnel along z is enclosed in the axial planes only.
    tunnel = solid.copy()
    tunnel[:, 5, 5] = False
    assert np.array_equal(_fill(tunnel), tunnel)
    # A groove at a face is enclosed in none of the planes across it.
    pit = solid.copy()
    pit[2:5, 5, 5] = False
    assert np.array_equal(_fill(pit), pit)


@pytest.mark.parametrize(
    ("sides", "level", "told"),
    [
        ((16, 16), 250.0, True),
        ((16, 16), 120.0, False),
        ((16, 16), 720.0, False),
        ((6, 6), 250.0, False),
        ((8, 8), 250.0, True),
        ((16, 10), 250.0, True),
        ((24, 14), 250.0, False),
        ((34, 34), 250.0, False),
    ],
)
def test_an_aorta_is_an_even_disc_of_its_width(sides, level, told):
    plane = np.full((60, 70), 50.0, np.float32)
    plane[20 : 20 + sides[0] // 2 + 2, 30 : 30 + sides[1] // 2 + 2] = level
    found = _even_discs(plane, 130.0, 2.0)
    assert found.any() is np.bool_(told)
    if told:
        assert np.argwhere(found).mean(axis=0) == pytest.approx([20.5 + sides[0] / 4, 30.5 + sides[1] / 4])
        assert np.count_nonzero(found) == sides[0] * sides[1] / 4


def test_the_tenth_of_a_piece_is_three_voxels_at_least():
    for count, told in ((1, 3), (39, 3), (40, 4), (99, 9), (100, 10)):
        piece = NOTHING.copy()
        piece.reshape(-1)[:count] = True
        assert finding._tenth(piece) == told
    assert finding._densest(np.array([1.0, 5.0, 3.0, 4.0], np.float32), 3) == 4.0


def test_a_piece_darker_than_liver_counts_as_barely_brighter():
    course = finding._Course(vs.tissue(vs.drawn((LESION, -80))), (), (), finding.FindingParams())
    assert course._bright_now(vs.ball(4)) == 1.0
    lit = finding._Course(vs.tissue(vs.drawn(level=vs.LIVER + 1.5)), (), (), finding.FindingParams())
    assert lit._bright_now(vs.ball(4)) == pytest.approx(1.5, abs=1e-3)
