"""Tables and estimates of cohorts of a few patients, each number worked out by hand or by its definition."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from angio_pipeline.response.cohort.agreement import against_histology, agree, bland_altman, cohen_kappa
from angio_pipeline.response.cohort.analysis import _cautions, order_arms
from angio_pipeline.response.cohort.course import DAYS_A_MONTH, fit_course, log_retention
from angio_pipeline.response.cohort.data import Estimate
from angio_pipeline.response.cohort.describe import describe, flow
from angio_pipeline.response.cohort.discrimination import area_under, fit_logistic, roc_of, spearman
from angio_pipeline.response.cohort.necrosis import necrosis_by_arm
from angio_pipeline.response.cohort.proportions import (
    compare_shares,
    holm,
    mean_of,
    median_of,
    share_of,
    trend_of_shares,
)
from angio_pipeline.response.cohort.survival import study_survival

RNG = np.random.default_rng(0)
NOTHING = (None, None, None)


def told(estimate: Estimate) -> tuple[float | None, float | None, float | None]:
    return estimate.value, estimate.low, estimate.high


# --- shares, means and their tests ------------------------------------------------------------------


def test_of_nobody_there_is_no_share_mean_or_median() -> None:
    assert told(share_of(0, 0, missing=3)) == NOTHING
    assert share_of(0, 0, missing=3).missing == 3
    assert told(mean_of([], missing=2)) == NOTHING
    assert mean_of([], missing=2).missing == 2
    assert median_of([]) is None


def test_one_value_alone_is_its_mean_without_an_interval() -> None:
    found = mean_of([7.0], missing=1)
    assert (*told(found), found.count, found.missing) == (7.0, None, None, 1, 1)


def test_a_mean_has_students_interval_cut_to_what_it_can_be() -> None:
    values = [10.0, 40.0, 100.0]
    half = stats.t.ppf(0.975, 2) * np.std(values, ddof=1) / np.sqrt(3)
    assert told(mean_of(values)) == pytest.approx((50, 50 - half, 50 + half))
    assert told(mean_of(values, within=(0.0, 100.0))) == pytest.approx((50, 0, 100))


def test_a_median_comes_with_its_quartiles() -> None:
    assert median_of([1.0, 2.0, 3.0, 4.0, 10.0]) == (3.0, 2.0, 4.0)


def test_arms_without_anybody_or_all_alike_are_not_tested() -> None:
    for hits, counts in (([3, 0], [4, 0]), ([4, 4], [4, 4]), ([0, 0], [4, 4])):
        test = compare_shares("x", hits, counts, RNG)
        assert (test.p, test.method) == (None, "not tested: fewer than two arms, or all alike")
    trend = trend_of_shares("x", [1, 2], [4, 4])
    assert (trend.p, trend.family) == (None, "trend")
    assert trend.method == "not tested: fewer than three arms, or all alike"


def test_three_large_arms_are_compared_by_chi_squared() -> None:
    test = compare_shares("x", [10, 20, 30], [50, 50, 50], RNG)
    # All expected counts are 20 and 30: 2 (10² / 20 + 10² / 30) with two degrees of freedom.
    assert test.statistic == pytest.approx(2 * (100 / 20 + 100 / 30))
    assert test.p == pytest.approx(np.exp(-test.statistic / 2))
    assert test.method == "chi-squared, 2 degrees of freedom"
    assert compare_shares("x", [1, 2, 5], [6, 6, 6], RNG).method == "Fisher's test by Monte Carlo"


def test_an_arm_without_anybody_does_not_change_the_test_of_the_others() -> None:
    assert compare_shares("x", [3, 0, 1], [4, 0, 4], RNG).p == pytest.approx(34 / 70)


@pytest.mark.slow
def test_holms_correction_of_nothing_is_nothing() -> None:
    assert holm([None, None]) == [None, None]
    assert holm([0.5, None, 0.9]) == [pytest.approx(1.0), None, pytest.approx(1.0)]


# --- retention against necrosis ---------------------------------------------------------------------


def test_a_perfect_separation_has_an_area_and_no_interval() -> None:
    score, positive = np.array([3.0, 4.0, 1.0, 2.0]), np.array([True, True, False, False])
    assert told(area_under(score, positive)) == (1.0, None, None)
    assert told(area_under(-score, positive)) == (0.0, None, None)
    assert told(area_under(score, np.array([True, False, False, False]))) == NOTHING


def test_the_roc_curve_goes_through_every_cut_and_ties_are_one_step() -> None:
    roc = roc_of(np.array([4.0, 3.0, 3.0, 1.0]), np.array([True, True, False, False]))
    assert roc is not None
    assert roc.false_positive == (0.0, 0.0, 0.5, 1.0)
    assert roc.true_positive == (0.0, 0.5, 1.0, 1.0)
    assert roc.area.value == pytest.approx((1 + 1 + 0.5 + 1) / 4)
    assert roc_of(np.ones(3), np.ones(3, bool)) is None


def test_ranks_that_agree_in_full_have_no_interval_and_constant_ones_no_coefficient() -> None:
    x = np.arange(6.0)
    assert told(spearman(x, x**3)[0]) == (1.0, None, None)
    assert told(spearman(x, -x)[0]) == (-1.0, None, None)
    assert spearman(x, np.ones(6)) == (Estimate(None, None, None, 6), None)
    assert spearman(x[:3], x[:3])[0].value is None


def test_the_interval_of_a_rank_correlation_is_that_of_bonett_and_wright() -> None:
    x, y = np.arange(20.0), np.arange(20.0)
    y[[3, 7, 12, 18]] = y[[12, 18, 3, 7]]
    found, p = spearman(x, y)
    rho = stats.spearmanr(x, y).statistic
    half = stats.norm.ppf(0.975) * np.sqrt((1 + rho**2 / 2) / 17)
    assert told(found) == pytest.approx((rho, np.tanh(np.arctanh(rho) - half), np.tanh(np.arctanh(rho) + half)))
    assert p == pytest.approx(stats.spearmanr(x, y).pvalue)


def test_an_odds_ratio_is_for_ten_points_more_and_none_is_told_where_groups_are_parted() -> None:
    # Two values of retention: the odds ratio between them is that of the table, 6 · 6 / (2 · 2).
    retention = np.repeat([0.3, 0.5], 8)
    necrotic = np.array([True] * 2 + [False] * 6 + [True] * 6 + [False] * 2)
    found = fit_logistic(retention, necrotic)
    assert found.odds_ratio.value == pytest.approx(np.sqrt(9.0), rel=1e-4)
    error = np.sqrt(1 / 6 + 1 / 6 + 1 / 2 + 1 / 2) / 2
    assert np.log(found.odds_ratio.high / found.odds_ratio.value) == pytest.approx(1.959964 * error, rel=1e-3)
    parted = fit_logistic(retention, retention > 0.4)
    assert (parted.odds_ratio.value, parted.p) == (None, None)
    assert parted.note == "retention separates the two groups, so no odds ratio exists"
    assert fit_logistic(retention[:9], necrotic[:9]).note == "too few patients, or all alike"
    assert fit_logistic(retention, np.ones(16, bool)).note == "too few patients, or all alike"


# --- agreement --------------------------------------------------------------------------------------


def test_limits_of_agreement_ask_for_three_pairs() -> None:
    assert [told(one) for one in bland_altman(np.ones(2), np.zeros(2))] == [NOTHING] * 3
    bias, low, high = bland_altman(np.zeros(3), np.array([-1.0, 0.0, 1.0]))
    assert (low.value, bias.value, high.value) == pytest.approx((-1.96, 0.0, 1.96))
    t = stats.t.ppf(0.975, 2)
    assert bias.high == pytest.approx(t / np.sqrt(3))
    assert high.high - high.value == pytest.approx(t * np.sqrt(1 / 3 + 1.96**2 / 4))


def test_kappa_of_nothing_or_of_one_call_is_unknown() -> None:
    assert told(cohen_kappa(np.zeros((2, 2)))) == NOTHING
    assert told(cohen_kappa(np.array([[5.0]]))) == NOTHING


def test_readers_are_compared_where_both_told_and_what_one_lacks_is_counted() -> None:
    first = pd.DataFrame({"subject": list("abcd"), "size_mm": [10.0, 20, 30, 40], "call": ["CR", "PR", "PR", "SD"]})
    second = pd.DataFrame({"subject": list("abce"), "size_mm": [12.0, 22, 32, 9], "call": ["CR", "PR", "SD", "SD"]})
    (size,), (call,) = agree(first, second)
    assert (size.name, size.missing, size.bias.value) == ("size_mm", 2, pytest.approx(2.0))
    assert (call.name, call.missing) == ("call", 2)
    assert call.agreed.value == pytest.approx(2 / 3)


def test_imaging_is_compared_with_histology_of_those_who_have_both() -> None:
    frame = pd.DataFrame(
        {
            "histology_necrosis_percent": [50.0, 70.0, 90.0, 95.0, np.nan],
            "imaging_necrosis_main_percent": [55.0, 75.0, 95.0, np.nan, 60.0],
        }
    )
    found = against_histology(frame)
    assert found is not None
    assert (found.bias.value, found.missing) == (pytest.approx(5.0), 1)
    assert against_histology(frame[["histology_necrosis_percent"]]) is None
    assert against_histology(frame.iloc[3:]) is None


# --- tables -----------------------------------------------------------------------------------------


def test_the_flow_counts_every_patient_at_every_step() -> None:
    frame = pd.DataFrame(
        {
            "arm": ["a", "a", "b", "b", None],
            "recorded": [True, True, True, False, True],
            "state": ["analysed", "flagged", "no images", "flagged", "refused"],
        }
    )
    table = flow(frame, ["a", "b"], {"blank": 2, "axis": 1}, planned=7)
    assert table.caption == "From planned to analysed"
    assert table.headings == ("", "all", "a", "b")
    assert [row[1:] for row in table.rows] == [
        ("4", "2", "1"), ("1", "0", "1"), ("1", "0", "1"), ("1", "0", "0"), ("3", "2", "1"), ("2", "1", "1"),
    ]  # fmt: skip
    assert [row[0] for row in table.rows][::5] == ["planned (in the records)", "of these flagged"]
    assert table.notes[1] == "Inputs (files, not patients) that were refused: 1 axis, 2 blank."
    assert table.notes[0].startswith("7 treatments in the records;")
    assert flow(frame, ["a"], {}, planned=1).notes[1].endswith("refused: none.")


def test_the_descriptive_table_tells_quartiles_shares_and_who_is_missing() -> None:
    frame = pd.DataFrame(
        {
            "arm": ["a", "a", "a", "b", "b"],
            "age_years": [50.0, 60.0, 70.0, np.nan, np.nan],
            "event": [1.0, 0.0, np.nan, 1.0, 1.0],
            "sex": [None] * 5,
        }
    )
    table = describe(frame, ["a", "b"])
    rows = {row[0]: row[1:] for row in table.rows}
    assert table.caption == "Patients by arm"
    assert table.headings == ("", "all (n = 5)", "a (n = 3)", "b (n = 2)", "missing")
    assert rows["Patients"] == ("5", "3", "2", "")
    assert rows["Age, years"] == ("60 (55 to 65)", "60 (55 to 65)", "–", "2 (0 / 2)")
    assert rows["Died"] == ("", "", "", "1 (1 / 0)")
    assert rows["  yes"] == ("3 (75 %)", "1 (50 %)", "2 (100 %)", "")
    assert rows["  no"] == ("1 (25 %)", "1 (50 %)", "0 (0 %)", "")
    assert "Sex" not in rows


def test_more_than_eight_kinds_are_told_together() -> None:
    names = [f"k{k}" for k in range(10)]
    frame = pd.DataFrame({"arm": "a", "procedure": names * 2 + names[:8]})
    rows = [row for row in describe(frame, ["a"]).rows if row[0].startswith("  ")]
    assert [row[0].strip() for row in rows] == [*names[:8], "other"]
    assert rows[-1][1] == "4 (14 %)"


def test_arms_stand_in_the_order_of_what_they_add() -> None:
    frame = pd.DataFrame(
        {
            "arm": ["full", "full", "full", "oil", "b", "a", None],
            "has_oil": [1, 1, 1, 1, 1, 1, 1],
            "has_drug": [1, 1, 0, 0, 1, 1, 1],
            "has_embolic": [1, 1, 1, 0, 0, 0, 1],
        }
    )
    assert order_arms(frame) == ["oil", "a", "b", "full"]


def test_cautions_name_small_arms_those_without_one_and_mixed_origins() -> None:
    frame = pd.DataFrame({"arm": ["a"] * 5 + ["b"] * 4 + [None], "origin": ["HCC"] * 9 + ["metastasis"]})
    found = _cautions(frame, ["a", "b"])
    assert found[1] == "Arms of fewer than five patients: b (4); little can be said of them."
    assert found[2] == "Without an arm, and counted only where all are: 1 patient."
    assert found[3].startswith("Hepatocellular carcinoma and metastases are together here")
    alike = _cautions(frame.iloc[:5].assign(origin=["HCC", "hcc", "HCC", None, "Hcc"]), ["a"])
    assert len(alike) == 1


@pytest.mark.slow
def test_necrosis_is_told_by_arm_and_place_with_its_tests() -> None:
    frame = pd.DataFrame(
        {
            "arm": ["a"] * 4 + ["b"] * 4 + ["c"] * 4,
            "necrosis_main_percent": [97.0, 96.9, 50, 100, 97, 98, 99, np.nan, 10, 20, 30, 40],
            "necrosis_daughter_percent": [np.nan] * 12,
            "necrosis_source": ["histology"] * 3 + ["imaging"] * 8 + [None],
        }
    )
    table = necrosis_by_arm(frame, ["a", "b", "c"], 97.0, np.random.default_rng(1))
    assert [arm.rates[0].value for arm in table.arms] == pytest.approx([0.5, 1.0, 0.0])
    assert [arm.rates[0].missing for arm in table.arms] == [0, 1, 0]
    assert [arm.rates[1].count for arm in table.arms] == [0, 0, 0]
    assert table.arms[2].means[0].value == pytest.approx(25.0)
    assert table.arms[0].exact[0].low == pytest.approx(stats.binomtest(2, 4).proportion_ci(method="exact").low)
    assert [test.name for test in table.pairwise] == [
        "main tumour: a against b", "main tumour: a against c", "main tumour: b against c"]  # fmt: skip
    assert [(test.patients, test.missing, test.family) for test in table.pairwise] == [
        (7, 1, "pairs"), (8, 0, "pairs"), (7, 1, "pairs")]  # fmt: skip
    # Three of three against none of four: one table of 35.
    assert table.pairwise[2].p == pytest.approx(1 / 35)
    assert table.pairwise[2].adjusted == pytest.approx(3 / 35)
    assert (table.tests[0].patients, table.tests[0].missing) == (11, 1)
    assert (table.by_histology, table.by_imaging, table.limit_percent) == (3, 8, 97.0)
    assert table.tests[1].p is None


# --- course and survival ----------------------------------------------------------------------------


def test_lesions_of_one_patient_and_date_are_one_observation_and_nothing_left_is_left_out() -> None:
    points = pd.DataFrame(
        {
            "subject": ["p", "p", "p", "q", "q"],
            "days": [DAYS_A_MONTH, DAYS_A_MONTH, 2 * DAYS_A_MONTH, DAYS_A_MONTH, 0.0],
            "retention": [0.25, 1.0, 0.0, 0.5, 1.0],
        }
    )
    found = log_retention(points)
    assert found[["subject", "months"]].to_numpy().tolist() == [["p", 1.0], ["q", 1.0]]
    assert found["log_retention"].to_numpy() == pytest.approx([np.log(0.5), np.log(0.5)])


def test_arms_with_too_few_patients_are_left_out_of_the_course_and_named() -> None:
    rows = [(f"a{k}", m * DAYS_A_MONTH, 0.9**m * (1 + 0.01 * k)) for k in range(3) for m in (1.0, 2.0, 3.0)]
    rows += [("b0", DAYS_A_MONTH, 0.5), ("b1", DAYS_A_MONTH, 0.4)]
    points = pd.DataFrame(rows, columns=["subject", "days", "retention"])
    patients = pd.DataFrame({"arm": ["a"] * 4 + ["b"] * 2}, index=["a0", "a1", "a2", "a3", "b0", "b1"])
    model = fit_course(patients, points, ["a", "b"], most_patients=100, rng=RNG)
    assert model is not None
    assert model.left_out == ("b: 2 patients with a later scan, too few",)
    (arm,) = model.arms
    assert (arm.arm, arm.patients, arm.observations, arm.missing) == ("a", 3, 9, 1)
    assert arm.monthly_change.value == pytest.approx(-0.1, abs=1e-6)
    assert arm.half_life_days.value == pytest.approx(np.log(2) / -np.log(0.9) * DAYS_A_MONTH, rel=1e-5)
    assert (model.equal_slopes.p, model.equal_slopes.method) == (None, "not tested: one arm")
    assert fit_course(patients, points[points["subject"] > "b"], ["b"], most_patients=100, rng=RNG) is None


def cohort_of_deaths() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "arm": ["a", "a", "a", "b", "b", None],
            "survival_days": [10.0, 20.0, 30.0, 40.0, np.nan, 50.0],
            "event": [1.0, 1.0, 0.0, 0.0, 1.0, 1.0],
            "age_years": 60.0, "sex": "M", "child_pugh": "A", "origin": "HCC", "size_mm": 30.0, "afp_ng_ml": 10.0,
        }
    )  # fmt: skip


def test_survival_is_told_by_arm_with_those_at_risk_and_those_missing() -> None:
    found = study_survival("survival", cohort_of_deaths(), "survival_days", "event", ["a", "b"])
    first, second = found.curves
    assert (first.events, second.events) == (2, 0)
    assert first.median_days.value == 20.0
    assert (first.median_days.count, second.median_days.count, second.median_days.missing) == (3, 1, 1)
    assert dict(zip(first.days, first.share, strict=True))[20.0] == pytest.approx(1 / 3)
    assert second.median_days.value is None
    assert dict(first.at_risk)[0.0] == 3
    assert dict(first.at_risk)[30.0] == 1
    assert (found.missing, found.log_rank.patients, found.log_rank.missing) == (1, 4, 1)
    assert found.log_rank.method == "log-rank, 1 degrees of freedom"
    assert (found.cox, found.note) == (None, "Too few events for a Cox model.")


def test_without_an_event_or_a_second_arm_nothing_is_tested() -> None:
    quiet = cohort_of_deaths().assign(event=0.0)
    assert study_survival("survival", quiet, "survival_days", "event", ["a", "b"]).log_rank.p is None
    alone = study_survival("survival", cohort_of_deaths().iloc[:3], "survival_days", "event", ["a", "b"])
    assert alone.log_rank.method == "not tested: one arm, or no event"
    assert alone.log_rank.name == "survival alike in all arms"
