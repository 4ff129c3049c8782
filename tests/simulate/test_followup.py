"""The oil of a scan is the oil of the truth: nothing is lost between the fine grid and the voxels."""

from dataclasses import replace

import numpy as np
import pytest

from angio_pipeline.simulate.anatomy import TumourBody
from angio_pipeline.simulate.body import build_body
from angio_pipeline.simulate.followup import CtParams, CtScan, Deposit, DepositParams, make_deposit, remaining, scan
from angio_pipeline.simulate.projection import Ellipsoids

LOBES = Ellipsoids.aligned([[-42, 6, 6], [26, -26, 24]], [[60, 56, 76], [58, 34, 42]])
TUMOUR = TumourBody(
    np.array([-60.0, 5.0, 10.0]), 14.0, Ellipsoids.aligned([[-60, 5, 10], [-52, 5, 14]], [[13, 14, 12], [7, 8, 6]])
)
PARAMS = CtParams(matrix=128, slice_mm=3.0, noise_hu=5.0)
VOXEL_ML = (400 / 128) ** 2 * 3 / 1000


def oil(seed: int = 0, **settings: float) -> Deposit:
    return make_deposit(TUMOUR, DepositParams.model_validate(settings), np.random.default_rng(seed))


def take(deposit: Deposit, days: float = 1.0) -> CtScan:
    body = build_body(LOBES, np.random.default_rng(1))
    return scan(body, (TUMOUR,), (deposit,), days, PARAMS, (-30.0, 54.0), np.random.default_rng(2))


def without_oil(deposit: Deposit) -> Deposit:
    return replace(deposit, tumour_mg_ml=0 * deposit.tumour_mg_ml, rim_mg_ml=0 * deposit.rim_mg_ml)


@pytest.mark.parametrize("days", [1.0, 28.0])
def test_iodine_on_ct_adds_up_to_the_truth(days: float) -> None:
    deposit = oil(liver_mg_ml=0.0, concentration_max_mg_ml=20.0)
    with_oil, plain = take(deposit, days), take(without_oil(deposit), days)
    mass = (with_oil.hu.astype(float) - plain.hu).sum() * VOXEL_ML / 25.0
    assert with_oil.iodine_mg["L1"] == pytest.approx(deposit.iodine_mg * remaining(deposit, days))
    assert mass == pytest.approx(with_oil.iodine_mg["L1"], rel=0.01)


def test_oil_beside_the_tumour_is_not_the_lesions() -> None:
    bare, messy = oil(liver_mg_ml=0.0), oil(liver_mg_ml=3.0)
    assert bare.iodine_mg == messy.iodine_mg
    assert take(messy).hu.astype(float).sum() > take(bare).hu.astype(float).sum()


def test_half_the_oil_is_left_after_one_half_life() -> None:
    deposit = oil()
    assert remaining(deposit, deposit.half_life_days) == pytest.approx(0.5)


def test_a_defect_takes_no_oil() -> None:
    deposit = oil(defect=0.4, unevenness=0.0)
    inner = deposit.tumour_mg_ml[deposit.tumour_mg_ml.shape[0] // 2]
    assert (inner == 0).mean() > (oil(unevenness=0.0).tumour_mg_ml[deposit.tumour_mg_ml.shape[0] // 2] == 0).mean()


def test_tissues_have_their_hounsfield_values() -> None:
    made = take(without_oil(oil()))
    lesion = made.hu[made.lesions["L1"]]
    assert np.median(lesion) == pytest.approx(46, abs=4)
    assert np.median(made.hu[0, :4]) == pytest.approx(-1000, abs=5)


def test_values_beyond_twelve_bits_are_clipped() -> None:
    heavy = take(oil(concentration_min_mg_ml=300.0, concentration_max_mg_ml=350.0))
    assert heavy.hu.max() == 3071


def test_the_lesion_is_where_the_truth_says() -> None:
    made = take(oil())
    index = np.argwhere(made.lesions["L1"]).mean(axis=0)
    where = made.origin_mm + index[::-1] * np.asarray(made.spacing_mm)[::-1]
    # The lobulated body leans to its second lobe.
    assert np.linalg.norm(where - made.centroid_mm["L1"]) < 3.0
