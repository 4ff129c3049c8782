"""Every method against figures that others published, on the data that they published them of."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from angio_pipeline.response.cohort.agreement import agree, bland_altman, cohen_kappa, intraclass
from angio_pipeline.response.cohort.course import clustered, fit_mixed
from angio_pipeline.response.cohort.discrimination import area_under, choose_cut_off, fit_logistic, spearman
from angio_pipeline.response.cohort.proportions import compare_shares, holm, share_of, trend_of_shares
from angio_pipeline.response.cohort.survival import fit_cox, kaplan_meier

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilsons_interval_is_that_of_newcombe(hits: int, count: int, low: float, high: float) -> None:
    # Newcombe, Stat Med 1998;17:857, table I, method 3.
    found = share_of(hits, count)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


def test_the_exact_interval_is_that_of_newcombe() -> None:
    # The same table, method 5 (Clopper-Pearson).
    found = share_of(81, 263, method="beta")
    assert (found.low, found.high) == pytest.approx((0.2527, 0.3676), abs=5e-5)


def test_fishers_test_is_that_of_the_lady_tasting_tea() -> None:
    # Fisher 1935: three of four cups right, two-sided p 34 / 70.
    test = compare_shares("tea", [3, 1], [4, 4], RNG)
    assert test.method == "Fisher's exact test"
    assert test.p == pytest.approx(34 / 70)


def test_the_trend_is_that_of_agresti() -> None:
    # Malformations by alcohol, Agresti, Categorical Data Analysis, 2nd ed., section 5.3.5; there with other scores, so
    # the statistic for the equal scores used here is worked out from its definition.
    hits, counts = np.array([48, 38, 5, 1, 1]), np.array([17114, 14502, 793, 127, 38])
    scores = np.arange(5.0)
    n, p = counts.sum(), hits.sum() / counts.sum()
    top = (hits * scores).sum() - p * (counts * scores).sum()
    spread = p * (1 - p) * ((counts * scores**2).sum() - (counts * scores).sum() ** 2 / n) * n / (n - 1)
    test = trend_of_shares("malformations", hits.tolist(), counts.tolist())
    assert test.statistic == pytest.approx(top / np.sqrt(spread), rel=1e-6)


@pytest.mark.slow
def test_holms_correction_is_that_of_his_paper() -> None:
    # Holm 1979: the k-th smallest of m is multiplied by m - k + 1, and never falls below the one before.
    assert holm([0.01, 0.04, None, 0.03]) == [pytest.approx(0.03), pytest.approx(0.06), None, pytest.approx(0.06)]


@pytest.fixture(scope="module")
def leukaemia() -> pd.DataFrame:
    """Freireich 1963, Gehan 1965: remission in weeks, 6-MP against placebo; bundled with lifelines."""
    from lifelines.datasets import load_leukemia

    return load_leukemia()


def test_kaplan_meier_is_that_of_the_textbook(leukaemia: pd.DataFrame) -> None:
    # Kleinbaum and Klein, Survival Analysis, table 2.2: survival of the 6-MP group; its median is 23 weeks.
    treated = leukaemia[leukaemia["Rx"] == 0]
    curve = kaplan_meier("6-MP", treated["t"], treated["status"], marks=(0, 6, 10, 16, 23))
    told = dict(zip(curve.days, curve.share, strict=True))
    expected = {6: 0.8571, 7: 0.8067, 10: 0.7529, 13: 0.6902, 16: 0.6275, 22: 0.5378, 23: 0.4482}
    assert {t: told[t] for t in expected} == pytest.approx(expected, abs=5e-5)
    assert curve.median_days.value == 23
    assert curve.events == 9
    assert curve.at_risk == ((0, 21), (6, 21), (10, 15), (16, 11), (23, 6))


def test_log_rank_is_that_of_the_textbook(leukaemia: pd.DataFrame) -> None:
    # The same, section 2.4: chi-squared 16.793 with one degree of freedom.
    from angio_pipeline.response.cohort.survival import study_survival

    frame = leukaemia.rename(columns={"t": "survival_days", "status": "event"})
    frame["arm"] = np.where(frame["Rx"] == 0, "6-MP", "placebo")
    for name in ("age_years", "sex", "child_pugh", "afp_ng_ml", "size_mm"):
        frame[name] = np.nan
    frame["origin"] = pd.Series([None] * len(frame), index=frame.index, dtype=object)
    found = study_survival("remission", frame, "survival_days", "event", ["6-MP", "placebo"])
    assert found.log_rank.statistic == pytest.approx(16.793, abs=5e-4)
    # R survival, coxph(Surv(time, cens) ~ treat, MASS::gehan), Efron's ties: 1.572, standard error 0.412.
    (term,) = found.cox.terms
    assert np.log(term.hazard_ratio.value) == pytest.approx(1.5721, abs=5e-4)
    assert np.log(term.hazard_ratio.high / term.hazard_ratio.low) / (2 * 1.959964) == pytest.approx(0.4124, abs=5e-4)


def test_cox_is_that_of_the_recidivism_study() -> None:
    # Rossi, Berk and Lenihan 1980; figures of R survival in Fox, Cox Proportional-Hazards Regression for Survival Data
    # (appendix to An R and S-PLUS Companion, 2002), section 3. Data bundled with lifelines.
    from lifelines.datasets import load_rossi

    rossi = load_rossi()
    terms = rossi.drop(columns=["week", "arrest"]).astype(float)
    found = fit_cox(rossi["week"].astype(float), rossi["arrest"].astype(float), terms, "")
    told = {t.name: np.log(t.hazard_ratio.value) for t in found.terms}
    expected = {
        "fin": -0.3794, "age": -0.0574, "race": 0.3139, "wexp": -0.1498, "mar": -0.4337, "paro": -0.0849,
        "prio": 0.0915,
    }  # fmt: skip
    assert told == pytest.approx(expected, abs=5e-5)
    assert (found.patients, found.events) == (432, 114)
    # cox.zph there: age changes over time (p below 0.02), aid does not.
    proportional = {t.name: t.proportional_p for t in found.terms}
    assert proportional["age"] < 0.02
    assert proportional["fin"] > 0.5


def test_intraclass_correlation_is_that_of_shrout_and_fleiss() -> None:
    # Psychol Bull 1979;86:420, table 2: ICC(2,1) of six targets by four judges is 0.29; its interval by R's psych::ICC
    # is 0.019 to 0.761.
    ratings = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)
    found = intraclass(ratings)
    assert found.value == pytest.approx(0.2898, abs=5e-5)
    assert (found.low, found.high) == pytest.approx((0.019, 0.761), abs=1e-3)


def test_limits_of_agreement_are_those_of_bland_and_altman() -> None:
    # Lancet 1986;1:307: peak flow by large and mini meter, mean difference -2.1, limits -79.7 and 75.5 l/min.
    large = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
    mini = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]
    bias, low, high = bland_altman(np.array(mini, float), np.array(large, float))
    # The paper takes twice the standard deviation (38.8), this room 1.96 of it.
    assert bias.value == pytest.approx(-2.1, abs=0.05)
    assert (high.value - low.value) / (2 * 1.96) == pytest.approx(38.8, abs=0.05)
    # Standard error of the limits 16.3 there: 2.12 of them either way.
    assert low.value - low.low == pytest.approx(2.12 * 16.3, rel=0.02)


def test_kappa_is_that_of_fleiss() -> None:
    # Fleiss, Statistical Methods for Rates and Proportions, table 13.1: kappa 0.676, standard error 0.088.
    found = cohen_kappa(np.array([[75, 1, 4], [5, 4, 1], [0, 0, 10]], float))
    assert found.value == pytest.approx(0.676, abs=5e-4)
    assert (found.value - found.low) / 1.959964 == pytest.approx(0.088, abs=1e-3)


def test_area_under_the_curve_is_that_of_hanley_and_mcneil() -> None:
    # Radiology 1982;143:29: 109 computed tomograms rated 1 to 5, area 0.893; DeLong's standard error of these data is
    # 0.0307 (Stata, roctab), here carried to the logit scale.
    normal, abnormal = [33, 6, 6, 11, 2], [3, 2, 2, 11, 33]
    score = np.repeat([1, 2, 3, 4, 5, 1, 2, 3, 4, 5], [*normal, *abnormal]).astype(float)
    positive = np.repeat([False, True], [58, 51])
    found = area_under(score, positive)
    assert found.value == pytest.approx(0.8932, abs=5e-5)
    logit = np.log(found.high / (1 - found.high)) - np.log(found.low / (1 - found.low))
    error = logit / (2 * 1.959964) * found.value * (1 - found.value)
    assert error == pytest.approx(0.0307, abs=5e-5)


def test_delongs_interval_is_near_that_of_the_bootstrap() -> None:
    rng = np.random.default_rng(5)
    positive = np.repeat([False, True], [90, 60])
    score = rng.normal(0, 1, 150) + positive
    found = area_under(score, positive)
    drawn = []
    for _ in range(2000):
        place = np.concatenate([rng.integers(0, 90, 90), rng.integers(90, 150, 60)])
        drawn.append(area_under(score[place], positive[place]).value)
    assert (found.low, found.high) == pytest.approx(np.percentile(drawn, (2.5, 97.5)), abs=0.012)


GIRLS = """21 20 21.5 23; 21 21.5 24 25.5; 20.5 24 24.5 26; 23.5 24.5 25 26.5; 21.5 23 22.5 23.5; 20 21 21 22.5;
21.5 22.5 23 25; 23 23 23.5 24; 20 21 22 21.5; 16.5 19 19 19.5; 24.5 25 28 28"""
BOYS = """26 25 29 31; 21.5 22.5 23 26.5; 23 22.5 24 27.5; 25.5 27.5 26.5 27; 20 23.5 22.5 26; 24.5 25.5 27 28.5;
22 22 24.5 26.5; 24 21.5 24.5 25.5; 23 20.5 31 26; 27.5 28 31 31.5; 23 23 23.5 25; 21.5 23.5 24 28; 17 24.5 26 29.5;
22.5 25.5 25.5 26; 23 24.5 26 30; 22 21.5 23.5 25"""


def growth() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Potthoff and Roy, Biometrika 1964;51:313: a distance in the skull, mm, of 27 children at four ages."""
    boys, girls = (np.array([row.split() for row in text.split(";")], float) for text in (BOYS, GIRLS))
    distance = np.vstack([boys, girls])
    age = np.tile([8.0, 10.0, 12.0, 14.0], len(distance))
    girl = np.repeat([0.0, 1.0], [4 * len(boys), 4 * len(girls)])
    design = np.column_stack([np.ones_like(age), age, girl, age * girl])
    return distance.ravel(), design, np.repeat(np.arange(len(distance)), 4), age


def test_a_random_intercept_is_that_of_pinheiro_and_bates() -> None:
    # Mixed-Effects Models in S and S-PLUS, section 4.2: lme(distance ~ age * Sex, random = ~ 1 | Subject), REML.
    distance, design, child, _ = growth()
    fit = fit_mixed(distance, design, child, None)
    assert fit.effects == pytest.approx([16.3406, 0.7844, 1.0321, -0.3048], abs=1e-4)
    assert np.sqrt(np.diag(fit.covariance)) == pytest.approx([0.9813, 0.0775, 1.5374, 0.1214], abs=1e-3)
    assert fit.patient_sd == pytest.approx([1.8162], abs=1e-3)
    assert fit.residual_sd == pytest.approx(1.3864, abs=1e-3)


def test_a_random_slope_is_that_of_pinheiro_and_bates() -> None:
    # The same with random = ~ age | Subject.
    distance, design, child, age = growth()
    fit = fit_mixed(distance, design, child, age)
    assert fit.random == "intercept and slope"
    assert fit.effects == pytest.approx([16.3406, 0.7844, 1.0321, -0.3048], abs=1e-4)
    assert np.sqrt(np.diag(fit.covariance)) == pytest.approx([1.0185, 0.0860, 1.5957, 0.1347], abs=2e-3)
    assert fit.residual_sd == pytest.approx(1.3100, abs=2e-3)


def test_spearmans_interval_holds_its_coefficient() -> None:
    x = np.arange(10.0)
    found, p = spearman(x, np.array([1.0, 0, 3, 2, 5, 4, 7, 6, 9, 8]))
    # Five swaps of neighbours: 1 - 6 * 10 / (10 * 99).
    assert found.value == pytest.approx(1 - 60 / 990)
    assert found.low < found.value < found.high < 1
    assert p < 0.001


def test_the_logistic_model_of_a_two_by_two_table_is_its_odds_ratio() -> None:
    # With one measurement of two values, the maximum of the likelihood is the table's own odds ratio.
    retention = np.repeat([0.1, 0.2], [50, 50])
    necrotic = np.repeat([True, False, True, False], [10, 40, 30, 20])
    found = fit_logistic(retention, necrotic)
    assert found.odds_ratio.value == pytest.approx((30 / 20) / (10 / 40), rel=1e-5)


def test_separated_groups_have_no_odds_ratio() -> None:
    found = fit_logistic(np.linspace(0, 1, 40), np.linspace(0, 1, 40) > 0.5)
    assert found.odds_ratio.value is None
    assert "separates" in found.note


def test_a_cut_off_of_nothing_is_worth_nothing_on_new_patients() -> None:
    rng = np.random.default_rng(2)
    worth = []
    for _ in range(40):
        score, positive = rng.normal(size=200), rng.random(200) < 0.5
        found = choose_cut_off(score, positive, rng)
        worth.append(found.sensitivity.value + found.specificity.value - 1)
    assert abs(np.mean(worth)) < 0.04


def test_readers_meet_by_subject_and_what_one_left_out_is_missing() -> None:
    first = pd.DataFrame({"subject": ["a", "b", "c", "d"], "mm": [10.0, 20, 30, 40], "call": ["CR", "PR", "SD", None]})
    second = pd.DataFrame({"subject": ["d", "c", "b", "x"], "mm": [41.0, 31, 21, 1], "call": ["CR", "SD", "PR", "PD"]})
    (numbers,), (calls,) = agree(first, second)
    assert numbers.bias.value == pytest.approx(1.0)
    assert (numbers.icc.count, numbers.missing) == (3, 2)
    assert (calls.agreed.value, calls.missing) == (1.0, 3)


def test_the_sandwich_of_clusters_is_that_of_mancl_and_derouen() -> None:
    # statsmodels' own, for the case that both have: patients that differ by nothing that the model knows of.
    from statsmodels.genmod.cov_struct import Independence
    from statsmodels.genmod.generalized_estimating_equations import GEE

    rng = np.random.default_rng(4)
    patient = np.repeat(np.arange(12), rng.integers(1, 5, 12))
    x = rng.normal(size=patient.size)
    y, design = rng.normal(size=12)[patient] + x, np.column_stack([np.ones_like(x), x])
    ours = clustered(y, design, patient)
    theirs = GEE(y, design, groups=patient, cov_struct=Independence()).fit(cov_type="bias_reduced")
    assert ours.effects == pytest.approx(theirs.params, rel=1e-8)
    # Their residual variance has another denominator, which cancels in the sandwich.
    assert ours.robust == pytest.approx(theirs.cov_params(), rel=1e-6)
