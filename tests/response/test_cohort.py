"""Cohort statistics: what they say of small, odd and simulated cohorts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from cohort_tables import cohort_tables
from cohort_truth import analysed, effective_cohort, estimates, holds, null_cohort, p_values, truths

from angio_pipeline.response.cohort import CohortData, CohortParams, CohortResult, analyse
from angio_pipeline.response.cohort.agreement import against_histology
from angio_pipeline.response.cohort.analysis import order_arms
from angio_pipeline.response.cohort.course import DAYS_A_MONTH, fit_course, log_retention
from angio_pipeline.response.cohort.data import Estimate
from angio_pipeline.response.cohort.proportions import mean_of

PARAMS = CohortParams(necrotic_percent=60)


@pytest.fixture(scope="module")
def cohort() -> CohortData:
    return cohort_tables(120, 11, effective_cohort())


@pytest.fixture(scope="module")
def result(cohort: CohortData) -> CohortResult:
    return analyse(cohort, params=PARAMS)


def some(cohort: CohortData, keep: pd.Series) -> CohortData:
    patients = cohort.patients[keep]
    return CohortData(patients, cohort.timepoints[cohort.timepoints["subject"].isin(patients.index)])


@pytest.mark.slow
def test_every_patient_is_counted_once_in_each_table(cohort: CohortData, result: CohortResult) -> None:
    assert sum(arm.patients for arm in result.necrosis.arms) == 120
    for arm in result.necrosis.arms:
        for rate in arm.rates:
            assert rate.count + rate.missing == arm.patients
    assert sum(curve.median_days.count for curve in result.survival[0].curves) == 120
    assert result.retention.patients + result.retention.missing == 120
    assert result.table1.rows[0][1] == "120"


@pytest.mark.slow
def test_the_rate_is_the_share_at_or_above_the_limit(cohort: CohortData, result: CohortResult) -> None:
    own = cohort.patients[cohort.patients["arm"] == "a"]["necrosis_main_percent"]
    assert result.necrosis.arms[0].rates[0].value == pytest.approx((own >= 60).mean())


@pytest.mark.slow
def test_holm_never_lowers_a_p(result: CohortResult) -> None:
    for test in (*result.main_tests, *result.necrosis.pairwise):
        assert test.adjusted >= test.p


@pytest.mark.slow
def test_missing_values_are_counted_and_nothing_is_filled_in(cohort: CohortData) -> None:
    patients = cohort.patients.copy()
    patients.loc[patients.index[:30], ["necrosis_main_percent", "survival_days", "event"]] = np.nan
    found = analyse(CohortData(patients, cohort.timepoints), params=PARAMS)
    assert sum(arm.rates[0].missing for arm in found.necrosis.arms) == 30
    assert found.survival[0].missing == 30
    assert found.retention.missing == 30


@pytest.mark.slow
def test_every_table_counts_whom_it_misses_in_each_arm(cohort: CohortData) -> None:
    patients = cohort.patients.copy()
    lacking = patients.index[patients["arm"] == "b"][:7]
    unknown = ["necrosis_main_percent", "necrosis_daughter_percent", "survival_days", "event", "retention"]
    patients.loc[lacking, unknown] = np.nan
    later = cohort.timepoints[~cohort.timepoints["subject"].isin(lacking)]
    found = analyse(CohortData(patients, later), params=PARAMS)
    for test in (*found.main_tests, *found.necrosis.trends):
        if "daughter" not in test.name and "progression" not in test.name:
            assert (test.patients, test.missing) == (113, 7), test.name
    (pair,) = (test for test in found.necrosis.pairwise if test.name == "main tumour: a against b")
    assert pair.missing == 7
    assert [arm.missing for arm in found.course.arms] == [0, 7, 0]
    assert [curve.median_days.missing for curve in found.survival[0].curves] == [0, 7, 0]
    assert {row[0]: row[-1] for row in found.table1.rows}["Follow-up, days"] == "7 (0 / 7 / 0)"


@pytest.mark.slow
def test_an_arm_of_one_has_no_interval_and_does_not_stop_the_rest(cohort: CohortData) -> None:
    keep = cohort.patients["arm"] != "c"
    keep[cohort.patients.index[cohort.patients["arm"] == "c"][0]] = True
    found = analyse(some(cohort, keep), params=PARAMS)
    alone = found.necrosis.arms[-1]
    assert (alone.patients, alone.means[0].low) == (1, None)
    assert any("c (1)" in words for words in found.cautions)
    assert [course.arm for course in found.course.arms] == ["a", "b"]
    assert any(words.startswith("c: 1 patient with") for words in found.course.left_out)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_handful_of_patients_is_described_and_not_modelled(cohort: CohortData, count: int) -> None:
    keep = pd.Series(np.arange(120) < count, index=cohort.patients.index)
    found = analyse(some(cohort, keep), params=PARAMS)
    assert found.table1.rows[0][1] == str(count)
    assert all(result.cox is None for result in found.survival)


def test_a_cohort_without_images_or_outcomes_is_described(cohort: CohortData) -> None:
    patients = cohort.patients.copy()
    patients[["retention", "survival_days", "event", "necrosis_main_percent", "necrosis_daughter_percent"]] = np.nan
    found = analyse(CohortData(patients, cohort.timepoints.iloc[:0]), params=PARAMS)
    assert found.course is None
    assert found.survival == ()
    assert all(test.p is None for test in found.main_tests)


@pytest.mark.slow
def test_all_alike_is_no_test(cohort: CohortData) -> None:
    patients = cohort.patients.assign(necrosis_main_percent=100.0, retention=0.5, event=0.0)
    found = analyse(CohortData(patients, cohort.timepoints), params=PARAMS)
    assert found.necrosis.tests[0].p is None
    assert found.retention.rho.value is None
    assert found.survival[0].log_rank.p is None


def test_lesions_of_one_patient_at_one_date_are_one_observation() -> None:
    rows = pd.DataFrame(
        {"subject": ["p", "p", "q"], "lesion": ["L1", "L2", "L1"], "days": [28, 28, 28], "retention": [0.5, 0.125, 0.5]}
    )
    found = log_retention(rows).set_index("subject")["log_retention"]
    assert np.exp(found["p"]) == pytest.approx(0.25)


def test_a_patient_without_oil_left_has_no_logarithm() -> None:
    rows = pd.DataFrame({"subject": ["p"], "lesion": ["L1"], "days": [28.0], "retention": [0.0]})
    assert log_retention(rows).empty


def test_the_half_life_is_found_again(cohort: CohortData, result: CohortResult) -> None:
    # Arm a loses oil by 0.7 of 90 days, blurred by what patients differ (1.1 % by the mean of an inverse).
    arm = result.course.arms[0]
    assert arm.half_life_days.low < 0.7 * 90 / 1.0113 < arm.half_life_days.high
    assert arm.log_slope.value == pytest.approx(-np.log(2) * DAYS_A_MONTH / arm.half_life_days.value)


@pytest.mark.slow
def test_a_large_cohort_is_fitted_on_a_part_and_says_so(cohort: CohortData) -> None:
    found = analyse(cohort, params=PARAMS.model_copy(update={"mixed_model_patients": 60}))
    assert (found.course.patients_fitted, found.course.patients) == (60, 120)


@pytest.mark.slow
def test_the_same_cohort_gives_the_same_numbers(cohort: CohortData, result: CohortResult) -> None:
    again = analyse(cohort, params=PARAMS)
    assert again.main_tests == result.main_tests
    assert again.retention.cut_off == result.retention.cut_off


def test_arms_stand_in_the_order_of_what_they_add() -> None:
    given = {"oil and drug": (1, 1, 0), "all": (1, 1, 1), "oil": (1, 0, 0)}
    rows = [{"arm": a, "has_oil": o, "has_drug": d, "has_embolic": e} for a, (o, d, e) in given.items()]
    assert order_arms(pd.DataFrame(rows)) == ["oil", "oil and drug", "all"]


def test_imaging_is_compared_with_histology_where_a_patient_has_both() -> None:
    histology, imaging = [90.0, 40.0, 70.0, 20.0, np.nan], [80.0, 30.0, 60.0, np.nan, 50.0]
    both = pd.DataFrame({"histology_necrosis_percent": histology, "imaging_necrosis_main_percent": imaging})
    found = against_histology(both)
    assert (found.icc.count, found.missing, found.bias.value) == (3, 1, -10.0)
    assert against_histology(both.iloc[[4]]) is None


@pytest.mark.slow
def test_an_arm_that_varies_more_has_the_wider_interval() -> None:
    # The same slope in both arms, of patients that differ much in one and little in the other.
    rng = np.random.default_rng(11)
    slopes = np.concatenate([rng.normal(-0.3, 0.2, 40), rng.normal(-0.3, 0.02, 40)])
    names = [f"p{i}" for i in range(80)]
    rows = [
        (n, "L1", d, np.exp(s * d / DAYS_A_MONTH + rng.normal(0, 0.05)))
        for n, s in zip(names, slopes, strict=True)
        for d in (30, 90, 150)
    ]
    timepoints = pd.DataFrame(rows, columns=["subject", "lesion", "days", "retention"])
    patients = pd.DataFrame({"arm": ["wide"] * 40 + ["narrow"] * 40}, index=names)
    found = fit_course(patients, timepoints, ["wide", "narrow"], most_patients=100, rng=rng)
    wide, narrow = ((arm.log_slope.high - arm.log_slope.low) / 2 for arm in found.arms)
    assert wide == pytest.approx(2.02 * 0.2 / np.sqrt(40), rel=0.3)
    assert narrow < wide / 4


def test_an_open_end_holds_what_lies_beyond() -> None:
    assert holds(Estimate(None, 3.0, None, 1), 7.0)
    assert not holds(Estimate(None, 3.0, None, 1), 2.0)
    assert not holds(Estimate(5.0, None, None, 1), 5.0)


def _held(cohorts: int) -> float:
    cohort = effective_cohort()
    true = truths(cohort)
    told = [holds(one, true[name]) for seed in range(cohorts) for name, one in estimates(analysed(cohort, seed))]
    return float(np.mean(told))


def _found(cohorts: int) -> float:
    cohort = null_cohort()
    told = [p for seed in range(cohorts) for p in p_values(analysed(cohort, 9000 + seed)).values()]
    return float(np.mean(np.array(told) < 0.05))


@pytest.mark.slow
def test_intervals_hold_the_truth_in_half_a_dozen_cohorts() -> None:
    assert 0.88 <= _held(6) <= 0.99


@pytest.mark.slow
def test_little_is_found_where_nothing_is_in_half_a_dozen_cohorts() -> None:
    assert _found(6) <= 0.12


@pytest.mark.slow
@pytest.mark.repeated
def test_intervals_hold_the_truth() -> None:
    assert 0.93 <= _held(200) <= 0.97


@pytest.mark.slow
@pytest.mark.repeated
def test_nothing_is_found_where_nothing_is() -> None:
    assert _found(200) <= 0.06


def test_a_mean_of_per_cent_has_no_interval_beyond_what_it_can_be() -> None:
    found = mean_of([5.0, 35.0], within=(0.0, 100.0))
    assert (found.value, found.low, found.high) == (20.0, 0.0, 100.0)
