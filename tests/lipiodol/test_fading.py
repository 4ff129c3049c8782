"""What becomes of a bright piece in other scans, on a few drawn voxels."""

from __future__ import annotations

import numpy as np
import pytest
import voxel_scans as vs

from angio_pipeline.lipiodol.finding import FindingParams, OtherScan, _Course

PIECE = vs.ball(8)
NOW = vs.drawn((PIECE, 400))


def course(*, now=NOW, before=(), later=()):
    def laid(others):
        return [OtherScan(vs.tissue(hu), organs, bone) for hu, organs, bone in others]

    return _Course(vs.tissue(now), laid(before), laid(later), FindingParams())


def left(rise, organs=vs.SAME, bone=vs.SAME, by=(0, 0, 0)):
    return np.roll(vs.drawn((PIECE, rise)), by, (0, 1, 2)), organs, bone


@pytest.mark.parametrize(("share", "fades"), [(0.05, False), (0.12, True), (0.7, True), (0.8, False), (1.0, False)])
def test_oil_keeps_a_tenth_and_loses_a_quarter(share, fades):
    assert course(later=[left(400 * share)]).fades(PIECE) is fades


def test_oil_may_fade_in_any_later_scan_and_stay_in_any():
    assert course(later=[left(400), left(200)]).fades(PIECE)
    assert course(later=[left(200), left(0)]).fades(PIECE)
    assert not course(later=[left(400), left(390)]).fades(PIECE)
    assert not course().fades(PIECE)


def test_a_rib_that_the_breath_seems_to_take_away_is_found_where_bone_goes():
    # As organs go the place is 20 mm off; as bone goes it is where it was.
    away = vs.shift(x=20.0)
    assert not course(later=[left(400, organs=away)]).fades(PIECE)
    assert course(later=[left(200, organs=vs.shift(x=4.0), bone=away, by=(0, 0, 2))]).fades(PIECE)


@pytest.mark.parametrize(("rise", "there"), [(0, False), (100, False), (290, False), (320, True), (400, True)])
def test_what_was_three_quarters_as_bright_before_is_not_new(rise, there):
    assert course(before=[left(rise)]).was_there(PIECE) is there


def test_a_tumour_that_enhances_is_as_bright_as_faint_oil_and_still_new():
    faint = vs.drawn((PIECE, 60))
    assert not course(now=faint, before=[left(60)]).was_there(PIECE)
    assert not course(now=faint, before=[left(140)]).was_there(PIECE)
    assert course(now=faint, before=[left(200)]).was_there(PIECE)
    assert not course().was_there(PIECE)


def test_what_was_there_may_have_settled_a_little_beside_its_place():
    assert course(before=[left(400, by=(0, 2, 0))]).was_there(PIECE)
    assert not course(before=[left(400, by=(0, 0, 14))]).was_there(PIECE)


def test_a_scan_that_does_not_hold_the_place_tells_nothing():
    beyond = vs.shift(z=-40.0)
    assert not course(later=[left(200, organs=beyond)]).fades(PIECE)
    assert not course(before=[left(400, organs=beyond)]).was_there(PIECE)
