"""Contrast arrives in order and is neither made nor lost."""

import numpy as np
import pytest

from angio_pipeline.simulate.anatomy import AnatomyParams, build_anatomy
from angio_pipeline.simulate.contrast import ContrastParams, make_bolus, transit_delays
from angio_pipeline.simulate.courses import lay_courses


def test_arrival_never_falls_along_a_path() -> None:
    anatomy = build_anatomy(AnatomyParams(terminals=40, feeder_clearance=0), np.random.default_rng(2))
    courses = lay_courses(anatomy.tree, 0.06, np.random.default_rng(3))
    delay = transit_delays(anatomy.tree, courses, 7.0, 2.4)
    joined = courses.parent >= 0
    assert (delay[joined] > delay[courses.parent[joined]]).all()


def test_dispersion_keeps_the_iodine() -> None:
    bolus = make_bolus(ContrastParams(), 7.0, 0.5, 30.0, 4.0)
    area = bolus.artery.sum(axis=1) * 0.02
    np.testing.assert_allclose(area, area[0], rtol=1e-3)


def test_what_is_injected_is_what_passes_the_tip() -> None:
    params = ContrastParams(injection_ml_s=5, injection_s=3, iodine_mg_per_ml=300)
    bolus = make_bolus(params, 7.0, 0.5, 30.0, 1.0)
    passed_mg = 7.0 * bolus.artery[0].sum() * 0.02
    assert passed_mg == pytest.approx(5 * 3 * 300, rel=0.01)


def test_cutting_a_path_in_two_gives_the_same_curve() -> None:
    bolus = make_bolus(ContrastParams(), 7.0, 0.5, 20.0, 4.0)
    first, whole = bolus.artery[20], bolus.artery[40]
    kernel = np.zeros(len(first))
    tip = np.zeros(len(first))
    tip[0] = 1 / 0.02
    from scipy.stats import gamma

    edges = (np.arange(len(first) + 1) - 0.5) * 0.02
    kernel = np.diff(gamma.cdf(np.maximum(edges, 0), 1.0 / 0.12, scale=0.12))
    again = np.convolve(first, kernel)[: len(first)]
    np.testing.assert_allclose(again, whole, atol=0.01 * whole.max())


def test_tissue_holds_what_came_in_until_it_drains() -> None:
    slow = ContrastParams(tumour_transit_s=60)
    bolus = make_bolus(slow, 7.0, 0.5, 20.0, 2.0)
    came_in = np.cumsum(bolus.artery[10]) * 0.02
    early = int(2.0 / 0.02)
    assert bolus.tumour[10][early] == pytest.approx(came_in[early], rel=0.05)
    assert bolus.tumour[10][-1] < bolus.tumour[10].max()


def test_blush_rises_after_the_artery_that_feeds_it() -> None:
    bolus = make_bolus(ContrastParams(), 7.0, 0.5, 20.0, 2.0)
    delay = np.array([0.3, 1.0, 1.8])
    assert (bolus.rise_s(bolus.tumour, delay) > bolus.rise_s(bolus.artery, delay)).all()
