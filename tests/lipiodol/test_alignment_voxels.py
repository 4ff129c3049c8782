"""How a scan lies against another, on a few drawn voxels: what is compared, judged, refused and shown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import voxel_scans as vs
from scipy import ndimage

from angio_pipeline.core.followups import AlignmentMethod
from angio_pipeline.core.quality import Quality
from angio_pipeline.lipiodol import registration
from angio_pipeline.lipiodol.alignment_views import tell_alignment
from angio_pipeline.lipiodol.deforming import Bend, DeformationParams, _edges, _measured, seen_parts, why_not
from angio_pipeline.lipiodol.matching import Compared, _seen, _slope
from angio_pipeline.lipiodol.registration import Alignment, RegistrationParams, _block, _judged, _refusal, align
from angio_pipeline.numerics.deformation import Deformation

PARAMS = RegistrationParams(search_mm=4.0, samples=1000, rounds=5, blurs_mm=(3.0,), deformation={"enabled": False})
DRAWN = (vs.LIVER + 40 * np.sin(vs.X / 3.0) + 30 * np.cos(vs.Y / 4.0) + 20 * np.sin(vs.Z / 5.0)).astype(np.float32)
MIDDLE = (abs(vs.Z - 15) < 9) & (abs(vs.Y - 17) < 9) & (abs(vs.X - 19) < 9)


def compared(hu, **more):
    return Compared.of(vs.tissue(hu, **more), window_hu=(-160.0, 200.0), avoid_mm=0.0)


def bend(shift_mm=(0.0, 0.0, 0.0), motion=vs.SAME, *, reach=None, change=(1.0, 1.0)):
    """A displacement that is the same everywhere."""
    nodes = np.zeros((4, 4, 4, 3)) + np.array(shift_mm)
    grid = np.diag([40.0, 40.0, 40.0, 1.0])[[2, 1, 0, 3]]
    grid[:3, 3] = np.array(vs.ORIGIN) - 20.0
    return Bend(Deformation(motion, nodes, grid), float(np.linalg.norm(shift_mm)) if reach is None else reach, change)


# --- places and motions -----------------------------------------------------------------------------


def test_a_block_about_points_reaches_as_far_as_asked_and_holds_points_that_reach_farther():
    points = np.array([[0.0, 10.0, -5.0], [100.0, 10.0, 5.0]])
    block = _block(points, 15.0)
    assert block.shape == (125, 3)
    assert block.min(axis=0) == pytest.approx([0.0, -5.0, -15.0])
    assert block.max(axis=0) == pytest.approx([100.0, 25.0, 15.0])
    assert block.mean(axis=0) == pytest.approx([50.0, 10.0, 0.0])
    assert len(np.unique(block, axis=0)) == 125
    assert len(np.unique(block[:, 1])) == 5


POINTS = np.array([vs.place(*vs.MIDDLE), vs.place(14, 16, 20)])


def test_without_bending_every_place_goes_by_the_one_motion():
    found = Alignment(vs.shift(3.0, 0.0, -4.0), 1.0)
    assert found.place(POINTS) == pytest.approx(POINTS + np.array([3.0, 0.0, -4.0]))
    assert found.near(POINTS) is found.motion
    assert found.near_in_scan(POINTS) is found.motion
    assert found.of_bone is found.motion
    body = vs.shift(1.0)
    assert replace(found, body_motion=body).of_bone is body


def test_an_even_bend_is_a_shift_on_top_of_the_motion_from_either_scan():
    found = Alignment(vs.shift(3.0), 1.0, bend=bend((0.0, 2.0, -1.0), vs.shift(3.0)))
    there = np.array([3.0, 2.0, -1.0])
    assert found.place(POINTS) == pytest.approx(POINTS + there)
    for motion in (found.near(POINTS), found.near_in_scan(POINTS + there)):
        assert motion == pytest.approx(vs.shift(*there), abs=1e-3)


# --- what is compared ---------------------------------------------------------------------------------


def test_liver_and_a_shell_are_compared_without_oil_and_without_bone_in_either_scan():
    liver = vs.ball(16)
    oil, rib = vs.ball(4), vs.ball(4, x=4)
    here = Compared.of(
        vs.tissue(vs.drawn((oil, 300), (vs.ball(4, y=30), 300)), liver=liver), window_hu=(-160.0, 200.0), avoid_mm=3.0
    )
    there = Compared.of(
        vs.tissue(vs.drawn((oil, 300), (rib, 300)), liver=liver), window_hu=(-160.0, 200.0), avoid_mm=3.0
    )
    mask, usable = seen_parts(here, there, params=DeformationParams())
    assert not mask[vs.ball(6)].any()
    assert not mask[vs.ball(7, y=30)].any()
    assert not (mask & ~vs.ball(24.1)).any()
    ring = vs.ball(15) & ~vs.ball(9)
    assert mask[ring].all()
    assert not usable[vs.ball(6)].any()
    assert not usable[vs.ball(7, x=4)].any()
    assert usable[ring].all()
    assert usable[0, 0, -1]


def test_edges_stand_out_of_the_livers_own_noise():
    liver = vs.ball(26)
    rng = np.random.default_rng(4)
    noise = rng.normal(0, 4.0, vs.SHAPE).astype(np.float32)
    step = np.where(liver, 0.0, -100.0).astype(np.float32)
    where = _edges(
        noise + step, vs.tissue(vs.drawn(), liver=liver), np.ones(vs.SHAPE, bool), DeformationParams(edge_factor=4.0)
    )
    away = np.abs(vs.STEP * np.linalg.norm(where - np.array(vs.MIDDLE), axis=1) - 26)
    assert np.mean(away < 3.5) > 0.97
    # Without noise whatever slopes is an edge; what does not is none.
    flat = _edges(vs.drawn(), vs.tissue(vs.drawn()), np.ones(vs.SHAPE, bool), DeformationParams())
    assert len(flat) == 0
    half = _edges(DRAWN, vs.tissue(DRAWN, liver=vs.ball(3)), vs.X < 5, DeformationParams())
    assert half[:, 2].max() == 4


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slope_is_in_hu_a_millimetre(axis):
    spacing = np.array([4.0, 1.5, 2.5])
    grid = np.diag([*spacing, 1.0])[[2, 1, 0, 3]]
    values = (2.0 * spacing[axis] * np.indices((6, 7, 8))[axis]).astype(np.float32)
    assert _slope(values, grid) == pytest.approx(np.full((6, 7, 8), 2.0), rel=1e-6)
    assert _slope(values, grid).dtype == np.float32


def test_a_scan_is_seen_within_its_voxels_and_in_between_it_is_interpolated():
    ramp = (100.0 * (vs.X == 20)).astype(np.float32)
    here = compared(vs.drawn())
    at = np.array(
        [vs.place(3, 4, 20), vs.place(3, 4, 20.25), vs.place(3, 4, 37), vs.place(3, 4, 37.1), vs.place(-0.1, 4, 20)]
    )
    seen, values = _seen(here, at, ramp)
    assert seen.tolist() == [True, True, True, False, False]
    assert values[:3] == pytest.approx([100.0, 75.0, 0.0], abs=1e-4)
    oiled = replace(here, clean=vs.X != 20)
    assert _seen(oiled, at, ramp)[0].tolist() == [False, False, True, False, False]


# --- what is believed -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reach", "change", "word"),
    [
        (30.0, (0.6, 1.6), None),
        (30.1, (0.6, 1.6), "30 mm at most"),
        (1.0, (0.59, 1.0), "0.6 to 1.6 of its volume"),
        (1.0, (1.0, 1.61), "found 1.00 to 1.61"),
        (1.0, (0.0, 1.0), "folds"),
        (1.0, (-0.5, 1.0), "-0.50"),
    ],
)
def test_a_liver_neither_folds_nor_swells_nor_goes_far(reach, change, word):
    told = why_not(bend(reach=reach, change=change), params=DeformationParams())
    assert told is None if word is None else word in told


def test_what_a_displacement_does_to_the_liver_is_its_reach_and_its_change_of_volume():
    told = _measured(bend((3.0, 0.0, 4.0)).deformation, vs.tissue(vs.drawn(), liver=vs.ball(12)))
    assert told.reach_mm == pytest.approx(5.0, abs=1e-6)
    assert told.volume_change == pytest.approx((1.0, 1.0))


@pytest.mark.parametrize(("score", "words"), [(0.4, None), (0.39, "found 0.39"), (np.nan, "no common anatomy")])
def test_a_scan_that_does_not_match_is_refused(score, words):
    told = _refusal(score, RegistrationParams())
    assert told is None if words is None else words in told


def judged(moved_mm=0.0, **more):
    here = compared(DRAWN)
    found = Alignment(vs.shift(moved_mm), 0.5, **{"rigid_score": 0.8, **more})
    return _judged(found, here, here, MIDDLE, PARAMS.model_copy(update={"edge_hu_per_mm": 1.0}))


def test_an_alignment_is_judged_by_its_own_correlation_and_by_its_edges():
    good = judged()
    assert (good.score, good.quality) == (0.8, Quality.NONE)
    assert good.edge_gap_mm == pytest.approx((0.0, 0.0))
    assert judged(rigid_score=0.59).quality == Quality.REGISTRATION_POOR
    assert judged(rigid_score=0.6).quality == Quality.NONE
    assert judged(rigid_score=np.nan).quality == Quality.REGISTRATION_POOR
    off = judged(3.0)
    assert off.quality == Quality.REGISTRATION_POOR
    assert off.edge_gap_mm[0] == pytest.approx(0.0)
    assert off.edge_gap_mm[1] > 1.0


def test_a_bent_alignment_is_judged_where_the_bend_puts_it_and_one_refused_is_flagged():
    back = judged(3.0, bend=bend((-3.0, 0.0, 0.0), vs.shift(3.0)))
    assert back.score == pytest.approx(1.0)
    assert back.edge_gap_mm[1] == pytest.approx(0.0, abs=1e-3)
    assert back.quality == Quality.NONE
    assert judged(not_bent="It folds.").quality == Quality.DEFORMATION_REFUSED


def clouds(seed):
    return 250 * ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=vs.SHAPE), 3) + vs.LIVER


def test_a_scan_that_has_gone_is_found():
    found = align(vs.tissue(clouds(1)), vs.tissue(np.roll(clouds(1), 3, axis=2)), same_frame=True, params=PARAMS)
    assert found.motion[:3, 3] == pytest.approx([6.0, 0.0, 0.0], abs=0.5)
    assert found.score == found.rigid_score > 0.9
    assert (found.refusal, found.not_bent, found.bend) == (None, None, None)
    assert found.edge_gap_mm[1] < found.edge_gap_mm[0] or np.isnan(found.edge_gap_mm[0])


def test_a_scan_of_something_else_is_refused_and_told_to_lie_poorly():
    refused = align(vs.tissue(clouds(1)), vs.tissue(clouds(2)), same_frame=True, params=PARAMS)
    assert "check that both show one patient's liver" in refused.refusal
    assert refused.quality & Quality.REGISTRATION_POOR
    assert refused.bend is None


def test_bone_is_looked_for_along_the_body():
    spine = np.hypot(vs.Y - 27, vs.X - 19) <= 3.6
    vertebrae = spine & np.isin(vs.Z, [4, 5, 6, 7, 10, 11, 12, 13, 14, 18, 19, 20, 23, 24, 25, 26])
    here, there = (
        compared(vs.drawn((bone, 400)), liver=vs.Y < 15) for bone in (vertebrae, np.roll(vertebrae, 2, axis=0))
    )
    few = PARAMS.model_copy(update={"bone_step_mm": 2.0, "bone_search_mm": 8.0})
    found = registration._along_bone(here, there, vs.SAME, few)
    assert found[:3, 3] == pytest.approx([0.0, 0.0, 4.0], abs=0.7)
    little = compared(vs.drawn((vertebrae & (vs.Z < 8), 400)), liver=vs.Y < 15)
    assert registration._along_bone(little, there, vs.SAME, few) is vs.SAME


# --- what is told and shown -------------------------------------------------------------------------------


def told(alignment, *, liver=None, body=None, hu=DRAWN):
    reference = vs.scan(hu, liver=liver, body=body)
    return tell_alignment(vs.scan(hu, days=35.0, uid="2", alignment=alignment), reference)


def test_the_reference_is_told_to_lie_upon_itself():
    reference = vs.scan(DRAWN, days=5.0)
    own = tell_alignment(reference, reference)
    assert (own.method, own.days) == (AlignmentMethod.REFERENCE, 5.0)
    assert np.array_equal(own.motion, np.eye(4))
    assert (own.correlation, own.pictures, own.reason) == (None, None, None)


def test_of_a_bent_scan_its_bend_is_told():
    found = told(Alignment(vs.shift(3.0), 0.9, bend=bend((0.0, 4.0, 0.0), vs.shift(3.0), change=(0.9, 1.1))))
    assert found.method is AlignmentMethod.DEFORMABLE
    assert (found.bend_mm, found.volume_change, found.days) == (4.0, (0.9, 1.1), 35.0)
    assert found.shift_mm == pytest.approx(5.0)
    assert found.motion == pytest.approx(vs.shift(3.0, 4.0), abs=1e-3)
    assert (found.edge_gap_before_mm, found.edge_gap_mm) == (0.0, 0.0)


def test_unknown_gaps_are_none_and_why_a_scan_was_not_bent_is_told():
    found = told(Alignment(vs.SAME, 0.9, edge_gap_mm=(np.nan, np.nan), not_bent="It folds."))
    assert (found.edge_gap_before_mm, found.edge_gap_mm, found.reason) == (None, None, "It folds.")
    assert (found.method, found.bend_mm, found.volume_change) == (AlignmentMethod.RIGID, None, None)


def test_without_a_liver_the_bodys_middle_tells_the_shift_and_without_a_body_nothing_does():
    nothing = np.zeros(vs.SHAPE, bool)
    turned = np.eye(4)
    turned[:2, :2] = [[0.0, -1.0], [1.0, 0.0]]
    low = vs.Z < 5
    by_body = told(Alignment(turned, 0.9), liver=nothing, body=low).shift_mm
    middle = np.argwhere(low).mean(axis=0)
    x, y, _ = vs.place(*middle)
    assert by_body == pytest.approx(np.hypot(-y - x, x - y))
    assert np.isnan(told(Alignment(turned, 0.9), liver=nothing, body=nothing).shift_mm)
    assert np.array_equal(told(Alignment(turned, 0.9), liver=nothing, body=nothing).motion, turned)


def test_pictures_show_an_axial_and_a_coronal_plane_through_the_livers_middle():
    liver = vs.ball(8, z=20, y=12, x=19)
    shown = told(Alignment(vs.shift(4.0), 0.9), liver=liver).pictures
    reference, before, after = shown.reference, shown.before, shown.after
    axial, coronal = reference[: vs.SHAPE[1]], reference[vs.SHAPE[1] :]
    assert axial == pytest.approx(DRAWN[20], abs=1e-3)
    assert coronal == pytest.approx(DRAWN[::-1, 12], abs=1e-3)
    assert before == pytest.approx(reference, abs=1e-3)
    assert after[:, :-2] == pytest.approx(reference[:, 2:], abs=1e-3)
    assert (after[:, -2:] == -1000.0).all()
    assert {picture.dtype for picture in (reference, before, after)} == {np.dtype(np.float32)}


def test_without_a_liver_the_pictures_lie_in_the_middle_of_the_scan():
    shown = told(Alignment(vs.SAME, 0.9), liver=np.zeros(vs.SHAPE, bool)).pictures
    assert shown.reference[: vs.SHAPE[1]] == pytest.approx(DRAWN[14], abs=1e-3)
    assert shown.reference[vs.SHAPE[1] :] == pytest.approx(DRAWN[::-1, 16], abs=1e-3)
