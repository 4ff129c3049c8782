"""What enhances of a lesion, on two phases of a few drawn voxels."""

from __future__ import annotations

import numpy as np
import pytest
import voxel_scans as vs

from angio_pipeline.lipiodol.lesions import Patch
from angio_pipeline.lipiodol.mass import Background
from angio_pipeline.lipiodol.registration import Alignment
from angio_pipeline.lipiodol.residual import (
    ResidualParams,
    _inner,
    _misplaced_mm,
    _pieces,
    _steepness,
    measure_residual,
)
from angio_pipeline.numerics import volumes as space

LESION = vs.ball(15)
NOISE = 6.0


def patch_of(hu, mask=LESION, grid=vs.GRID):
    return Patch(
        np.asarray(hu, np.float32), grid, mask, np.zeros(mask.shape, bool), tuple(map(slice, mask.shape)), False
    )


def residual(early, late, *, moved_early=vs.SAME, moved_late=vs.SAME, mask=LESION, correlation=1.0, **settings):
    arterial = vs.scan(early, contrast=True, uid="early", alignment=Alignment(moved_early, 1.0))
    portal = vs.scan(late, contrast=True, uid="late", alignment=Alignment(moved_late, 1.0))
    around = Background(vs.LIVER, (0.0, 0.0, 0.0), tuple(vs.place(*vs.MIDDLE)), NOISE, correlation, 0.5)
    lesion = vs.lesion(LESION)
    return measure_residual(lesion, patch_of(early, mask), around, arterial, portal, params=ResidualParams(**settings))


def test_a_lesion_evenly_brighter_than_in_the_portal_phase_lives_as_a_whole():
    told = residual(vs.drawn(level=120.0), vs.drawn(level=90.0))
    assert told.arterial_minus_portal_hu == pytest.approx(30.0, abs=1e-3)
    assert told.living_ml == pytest.approx(np.count_nonzero(LESION) * vs.ML)
    assert told.portal_series_instance_uid == "late"


@pytest.mark.parametrize(("rise", "lives"), [(14.9, False), (15.1, True), (-30.0, False)])
def test_living_tumour_is_brighter_by_the_least_difference(rise, lives):
    told = residual(vs.drawn(level=90.0 + rise), vs.drawn(level=90.0))
    assert told.arterial_minus_portal_hu == pytest.approx(rise, abs=1e-3)
    assert (told.living_ml > 0) is lives


@pytest.mark.parametrize(("factor", "lives"), [(0.99, True), (1.01, False)])
def test_living_tumour_stands_out_of_the_noise_of_both_scans(factor, lives):
    spread = np.sqrt(2 * 9.0) * NOISE * space.noise_left(vs.GRID, 2.0)
    told = residual(
        vs.drawn(level=90.0 + 30.0), vs.drawn(level=90.0), correlation=9.0, least_hu=0.0,
        noise_factor=factor * 30.0 / spread,
    )  # fmt: skip
    assert (told.living_ml > 0) is lives


def test_the_interval_is_that_of_the_noise_blurred_over_the_inner_part_and_of_the_scales():
    told = residual(vs.drawn(level=120.0), vs.drawn(level=90.0), correlation=9.0)
    left = space.noise_left(vs.GRID, 2.0)
    # Deeper than two blurs: what is within 11 mm of the middle of a ball of 15 mm, about.
    count = np.count_nonzero(vs.ball(11.0)) * left**2
    half = 1.96 * np.hypot(np.sqrt(2 * 9.0) * NOISE * left / np.sqrt(count), 2.0)
    low, high = told.interval_hu
    assert (low + high) / 2 == pytest.approx(told.arterial_minus_portal_hu)
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)
    only_scales = residual(vs.drawn(level=120.0), vs.drawn(level=90.0), correlation=1e-9, level_sd_hu=3.0)
    assert np.diff(only_scales.interval_hu)[0] / 2 == pytest.approx(1.96 * 3.0, rel=1e-3)


def test_the_phases_are_laid_upon_each_other_wherever_each_lies_from_the_reference():
    living = vs.ball(7, x=21)
    early, late = vs.drawn((LESION, 40.0), (living, 90.0)), vs.drawn((LESION, 40.0))
    here = residual(early, late)
    # The same arterial voxels, drawn of a patient who lies 6 mm off; the portal ones are off elsewhere.
    lain = residual(
        early, np.roll(late, (2, -1, 3), (0, 1, 2)),
        moved_early=vs.shift(6.0, 0.0, 0.0), moved_late=vs.shift(6.0 + 6.0, -2.0, 4.0),
    )  # fmt: skip
    assert lain.arterial_minus_portal_hu == pytest.approx(here.arterial_minus_portal_hu, abs=0.01)
    assert lain.living_ml == pytest.approx(here.living_ml)
    assert here.living_ml == pytest.approx(np.count_nonzero(living) * vs.ML, rel=0.35)


def test_a_lesion_that_the_portal_scan_hardly_holds_is_told_nothing_of():
    early, late = vs.drawn(level=120.0), vs.drawn(level=90.0)
    assert residual(early, late, moved_late=vs.shift(z=-2.0 * 8)) is not None
    assert residual(early, late, moved_late=vs.shift(z=-2.0 * 12)) is None


def test_the_edges_of_oil_count_less_than_what_lies_away_from_them():
    # A step of oil crosses the lesion; its half is off by a voxel, so that only its edge differs.
    early, late = vs.drawn((vs.X > 19, 600.0), level=100.0), vs.drawn((vs.X > 20, 600.0), level=100.0)
    told = residual(early, late)
    plain = space.smooth(early - late, vs.GRID, 2.0)[LESION].mean()
    assert abs(told.arterial_minus_portal_hu) < 0.2 * plain
    apart, upon = (residual(early, late, misplaced_mm=gap_mm).living_ml for gap_mm in (2.0, 0.0))
    assert apart < upon


def test_pieces_that_are_too_small_are_not_counted():
    mask = np.zeros((4, 5, 6), bool)
    mask[0, 0, :5] = True
    mask[2, :2, 0] = True
    mask[3, 4, 3:] = True
    assert _pieces(mask, 0.5, 2.5) == 5
    assert _pieces(mask, 0.5, 1.5) == 8
    assert _pieces(mask, 0.5, 0.0) == 10
    assert _pieces(mask, 0.5, 3.0) == 0
    assert _pieces(np.zeros((2, 2, 2), bool), 0.5, 0.0) == 0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_steepness_is_in_hu_a_millimetre_along_each_axis_of_its_own_spacing(axis):
    spacing = (4.0, 1.5, 2.5)
    grid = np.diag([*spacing, 1.0])[[2, 1, 0, 3]]
    hu = 3.0 * spacing[axis] * np.indices((12, 30, 20))[axis]
    inner = _steepness(hu.astype(np.float32), grid, 1.0)[4:8, 10:20, 7:13]
    assert inner == pytest.approx(np.full(inner.shape, 3.0), rel=1e-3)


def test_steepness_of_a_slope_across_all_axes_is_that_of_the_slope():
    hu = vs.STEP * (1.0 * vs.Z + 2.0 * vs.Y - 2.0 * vs.X)
    assert _steepness(hu.astype(np.float32), vs.GRID, 1.0)[vs.MIDDLE] == pytest.approx(3.0, rel=1e-3)


@pytest.mark.parametrize(
    ("early", "late", "wanted"),
    [(np.nan, np.nan, 0.5), (0.2, 0.3, 0.5), (0.9, 0.3, 0.9), (0.2, 1.4, 1.4), (np.nan, 0.8, 0.8)],
)
def test_phases_may_be_misplaced_by_the_greater_gap_of_their_edges(early, late, wanted):
    arterial, portal = (
        vs.scan(vs.drawn(), alignment=Alignment(vs.SAME, 1.0, edge_gap_mm=(9.0, gap))) for gap in (early, late)
    )
    assert _misplaced_mm(arterial, portal, ResidualParams()) == wanted


def test_the_inner_part_is_two_blurs_deep_one_in_a_small_lesion_and_all_of_a_tiny_one():
    known = vs.X < 22
    # In mm: within a ball the depth is what is left of the radius, but for half a voxel's rounding.
    large = _inner(patch_of(vs.drawn()), known, ResidualParams())
    assert not (large & ~(vs.ball(12.5) & known)).any()
    assert (large >= (vs.ball(9.0) & known)).all()
    small = vs.ball(9.0)
    inner = _inner(patch_of(vs.drawn(), small), small, ResidualParams(blur_mm=3.0))
    assert 30 <= np.count_nonzero(inner) < np.count_nonzero(small)
    tiny = vs.ball(3.0)
    assert np.array_equal(_inner(patch_of(vs.drawn(), tiny), tiny, ResidualParams()), tiny)
