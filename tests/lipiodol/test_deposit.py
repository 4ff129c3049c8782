"""Laws of outlining oil."""

from __future__ import annotations

import lipiodol_phantom as ph
import numpy as np
import pytest

from angio_pipeline.lipiodol.deposit import DepositParams, segment_deposit, with_faint_oil
from angio_pipeline.lipiodol.lesions import cut_patch, lesion_from_roi

PARAMS = DepositParams()


def outline(oil, radius_mm, **options):
    volume = ph.scan(oil, shape=(26, 64, 64), grid=ph.affine((3, 1.2, 1.2), (26, 64, 64), shift=ph.CENTRE), **options)
    patch = cut_patch(
        volume, np.eye(4), lesion_from_roi(ph.roi(radius_mm, volume), np.eye(4)), (), margin_mm=24.0, padding_mm=5.0
    )
    everywhere = np.ones(patch.hu.shape, dtype=bool)
    return patch, segment_deposit(patch, everywhere, ph.LIVER_HU, 10.0, params=PARAMS)


@pytest.mark.parametrize("mg", [200.0, 60.0, 20.0])
def test_the_outline_has_the_volume_of_the_oil_whatever_its_density(mg):
    patch, deposit = outline(ph.ball(mg, 12), 14, seed=6)
    true_ml = 4 / 3 * np.pi * 1.2**3
    assert deposit.mask.sum() * patch.voxel_ml == pytest.approx(true_ml, rel=0.15)
    index = np.moveaxis(np.indices(patch.hu.shape), 0, -1)
    inside = np.linalg.norm(index @ patch.affine[:3, :3].T + patch.affine[:3, 3] - ph.CENTRE, axis=-1) < 12
    dice = 2 * (inside & deposit.mask).sum() / (inside.sum() + deposit.mask.sum())
    assert dice > 0.9


def test_without_oil_nothing_is_outlined():
    _, deposit = outline(ph.none, 14, seed=7)
    assert deposit.mask.sum() == 0


@pytest.mark.parametrize(("mg", "outlined"), [(8.0, True), (0.0, False)])
def test_faint_oil_is_outlined_where_there_was_some_though_nothing_stands_out_by_itself(mg, outlined):
    # A tumour 16 HU darker than liver with 28 HU of oil hardly differs from liver.
    dark = ph.ball(16 * 4 / 3 * np.pi * 1.2**3 / ph.SLOPE_120, 12)
    oil = ph.ball(mg, 12)
    patch, deposit = outline(lambda p: oil(p) - dark(p), 14, seed=8)
    assert deposit.mask.sum() < 0.01 * patch.lesion.sum()
    _, before = outline(ph.ball(60, 12), 14, seed=9)
    found = with_faint_oil(patch, deposit, before.mask, ph.LIVER_HU - 16, 6.0, 10.0, params=PARAMS)
    assert not (found.mask & ~before.mask & ~deposit.mask).any()
    assert (found.mask.sum() > 0.6 * before.mask.sum()) == outlined
    assert (found.mask.sum() > deposit.mask.sum()) == outlined
