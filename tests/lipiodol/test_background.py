"""The tissue around a lesion, and how a lesion is cut out of its scan, on voxels that are no cubes."""

from __future__ import annotations

import numpy as np
import pytest

from angio_pipeline.core.followups import CtVolume, VolumeRoi
from angio_pipeline.core.provenance import Source
from angio_pipeline.core.tumours import LesionOrigin
from angio_pipeline.lipiodol.deposit import Deposit
from angio_pipeline.lipiodol.lesions import Lesion, Patch, cut_patch, lesion_from_deposit, lesion_from_roi
from angio_pipeline.lipiodol.mass import MassParams, estimate_background

SHAPE, SPACING, ORIGIN = (22, 40, 48), (3.0, 1.5, 1.2), np.array([-7.0, 11.0, 30.0])
GRID = np.diag([*SPACING, 1.0])[[2, 1, 0, 3]]
GRID[:3, 3] = ORIGIN
LPS = np.einsum("ij,jzyx->zyxi", GRID[:3, :3], np.indices(SHAPE).astype(float)) + ORIGIN
MIDDLE = ORIGIN + np.array([24 * 1.2, 20 * 1.5, 11 * 3.0])
NOTHING, EVERYWHERE = np.zeros(SHAPE, bool), np.ones(SHAPE, bool)
PARAMS = MassParams()


def ball(radius_mm, x=0.0, y=0.0, z=0.0):
    return np.linalg.norm(LPS - MIDDLE - [x, y, z], axis=-1) <= radius_mm


LESION = ball(8)


def estimated(hu, *, liver=NOTHING, liver_hu=55.0, deposit=None, others=NOTHING, **settings):
    patch = Patch(np.asarray(hu, np.float32), GRID, LESION, others, tuple(map(slice, SHAPE)), False)
    params = MassParams(**settings)
    return estimate_background(patch, liver, liver_hu, deposit, params=params)


def test_a_trend_is_found_along_the_patients_axes_about_the_lesions_middle():
    gradient = np.array([0.2, -0.1, 0.15])
    hu = 55.0 + (LPS - MIDDLE) @ gradient + np.random.default_rng(3).normal(0, 2.0, SHAPE)
    told = estimated(np.where(LESION, 500.0, hu), gradient_sd_hu_per_mm=1.0)
    assert told.gradient_hu_per_mm == pytest.approx(tuple(gradient), abs=0.03)
    assert told.level_hu == pytest.approx(55.0, abs=0.3)
    assert told.centre_mm == pytest.approx(tuple(MIDDLE), abs=0.1)
    assert told.noise_hu == pytest.approx(2.0, rel=0.05)
    assert 0.3 < told.correlation < 3.0
    assert PARAMS.level_sd_hu < told.level_sd_hu < 0.7
    laid = told.on(GRID, SHAPE)
    assert laid == pytest.approx(55.0 + (LPS - MIDDLE) @ gradient, abs=2.0)


def test_the_background_lies_beyond_the_blur_and_no_farther_than_its_shell():
    near, far = ball(8 + 5 + 2 - 1.0), ~ball(8 + 5 + 2 + 12 + 2.0)
    hu = np.where(near, 75.0, np.where(far, 35.0, 55.0))
    # What is blurred over the shell's two faces is a part of it only.
    assert estimated(hu).level_hu == pytest.approx(55.0, abs=1.0)
    assert estimated(hu, padding_mm=0.5, gap_mm=0.0, shell_mm=3.0).level_hu == pytest.approx(75.0, abs=1.5)


def test_a_margin_is_a_slice_at_least():
    near = ball(8 + 3.0)
    hu = np.where(near, 90.0, 55.0)
    told = estimated(hu, padding_mm=0.0, gap_mm=0.0, shell_mm=3.0)
    assert told.level_hu < 75.0


def test_oil_and_what_is_foreign_or_another_lesions_is_no_background():
    side = LPS[..., 0] > MIDDLE[0]
    hu = np.where(side, 80.0, 55.0)
    assert estimated(hu, deposit=Deposit(LESION, side), gradient_sd_hu_per_mm=1e-6).level_hu == pytest.approx(55.0)
    assert estimated(hu, others=side, gradient_sd_hu_per_mm=1e-6).level_hu == pytest.approx(55.0)
    wide = ball(14)
    oiled = estimated(np.where(wide, 90.0, 55.0), deposit=Deposit(wide, NOTHING))
    assert oiled.level_hu == pytest.approx(55.0, abs=0.1)


def test_the_liver_is_the_background_where_it_holds_a_third_of_it():
    liver = LPS[..., 1] > MIDDLE[1]
    hu = np.where(liver, 60.0, 40.0)
    assert estimated(hu, liver=liver, gradient_sd_hu_per_mm=1e-6).level_hu == pytest.approx(60.0, abs=0.1)
    few = liver & (LPS[..., 0] > MIDDLE[0] + 14)
    mixed = estimated(hu, liver=few, gradient_sd_hu_per_mm=1e-6).level_hu
    assert mixed == pytest.approx(40.0, abs=0.5)


def test_tissue_far_from_the_most_frequent_attenuation_is_no_background():
    fat = LPS[..., 2] > MIDDLE[2] + 12
    told = estimated(np.where(fat, -100.0, 55.0))
    assert told.level_hu == pytest.approx(55.0, abs=1.5)
    assert estimated(np.full(SHAPE, 250.0)) is None
    assert estimated(np.full(SHAPE, 250.0), liver_hu=240.0).level_hu == pytest.approx(250.0)
    assert estimated(np.full(SHAPE, 114.0), liver_hu=np.nan).level_hu == pytest.approx(114.0)
    assert estimated(np.full(SHAPE, 117.0), liver_hu=np.nan) is None


@pytest.mark.parametrize(("voxels", "told"), [(99, False), (100, True)])
def test_a_background_asks_for_a_hundred_voxels(voxels, told):
    shell = ball(25) & ~ball(17)
    open_ = NOTHING.copy()
    open_.reshape(-1)[np.flatnonzero(shell)[:voxels]] = True
    assert (estimated(np.full(SHAPE, 55.0), deposit=Deposit(LESION, ~open_)) is not None) is told


# --- lesions and patches ----------------------------------------------------------------------------------


def test_a_region_as_a_lesion_keeps_its_voxels_and_a_rim_about_them():
    mask = ball(8, x=5.0, y=-3.0, z=4.0)
    lesion = lesion_from_roi(VolumeRoi("L1", mask, GRID), np.eye(4))
    assert lesion.centroid_mm == pytest.approx(tuple(LPS[mask].mean(axis=0)))
    assert np.count_nonzero(lesion.mask) == np.count_nonzero(mask)
    for axis in range(3):
        assert not lesion.mask.take([0, -1], axis=axis).any()
        assert lesion.mask.take([1], axis=axis).any()
        assert lesion.mask.take([-2], axis=axis).any()
    assert np.array_equal(lesion.mask_on(SHAPE, GRID, np.eye(4)), mask)


def test_a_found_lesion_is_its_oil_with_gaps_closed_on_the_scans_own_voxels():
    patch = Patch(np.zeros(SHAPE, np.float32), GRID, LESION, NOTHING, tuple(map(slice, SHAPE)), False)
    before = Lesion("L3", LESION, GRID, np.eye(4), LesionOrigin.DETECTED)
    motion = np.eye(4)
    motion[0, 3] = 5.0
    slit = ball(8) & (abs(LPS[..., 1] - MIDDLE[1]) > 1.0)
    told = lesion_from_deposit(before, patch, slit, motion, closing_mm=3.0)
    assert (told.id, told.origin) == ("L3", LesionOrigin.DETECTED)
    assert np.array_equal(told.from_reference, motion)
    assert told.mask[11, 20, 24]
    assert (told.mask >= slit).all()
    assert not (told.mask & ~ball(9.5)).any()
    # However narrow the closing, a hollow is filled.
    hollow = ball(12) & ~ball(8)
    assert lesion_from_deposit(before, patch, hollow, motion, closing_mm=0.0).mask[11, 20, 24]
    assert lesion_from_deposit(before, patch, NOTHING, motion, closing_mm=3.0) is before


def test_a_patch_reaches_the_margin_along_every_axis_in_millimetres():
    volume = CtVolume(np.zeros(SHAPE, np.float32), GRID, Source("1", "2"))
    single = NOTHING.copy()
    single[11, 20, 24] = True
    lesion = lesion_from_roi(VolumeRoi("L1", single, GRID), np.eye(4))
    patch = cut_patch(volume, np.eye(4), lesion, (), margin_mm=6.0, padding_mm=6.0)
    assert [(one.start, one.stop) for one in patch.box] == [(9, 14), (16, 25), (19, 30)]
    assert patch.voxel_ml == pytest.approx(3.0 * 1.5 * 1.2 / 1000)
    assert not patch.cut
    # From the middle of slice 11 it is 11.5 slices of 3 mm to the lower face, 10.5 to the upper.
    for padding_mm, cut in ((24.4 * 1.2, True), (24.0 * 1.2, True), (23.0 * 1.2, False)):
        assert cut_patch(volume, np.eye(4), lesion, (), margin_mm=6.0, padding_mm=padding_mm).cut is cut
