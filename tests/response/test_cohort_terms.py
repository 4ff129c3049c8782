"""What enters tables and models of a cohort: order of kinds, coding of covariates, folds, edges of agreement."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from angio_pipeline.response.cohort.agreement import intraclass
from angio_pipeline.response.cohort.course import DAYS_A_MONTH, fit_course
from angio_pipeline.response.cohort.describe import describe
from angio_pipeline.response.cohort.discrimination import choose_cut_off
from angio_pipeline.response.cohort.survival import covariates_of


def patients(**columns: list[object]) -> pd.DataFrame:
    size = len(next(iter(columns.values())))
    usual: dict[str, list[object]] = {
        "age_years": [60.0] * size, "sex": ["F"] * size, "child_pugh": ["A"] * size, "origin": ["HCC"] * size,
        "size_mm": [20.0] * size, "afp_ng_ml": [100.0] * size, "arm": ["a"] * size,
    }  # fmt: skip
    return pd.DataFrame({**usual, **columns})


def coded(name: str, **columns: list[object]) -> list[float]:
    return covariates_of(patients(**columns))[name].tolist()


def test_size_is_below_30_up_to_50_or_above() -> None:
    sizes = [29.9, 30.0, 50.0, 50.1, np.nan]
    assert coded("30 to 50 mm", size_mm=sizes) == pytest.approx([0, 1, 1, 0, np.nan], nan_ok=True)
    assert coded("above 50 mm", size_mm=sizes) == pytest.approx([0, 0, 0, 1, np.nan], nan_ok=True)


def test_age_counts_in_decades_from_60() -> None:
    assert coded("age, ten years", age_years=[50.0, 60.0, 75.0, np.nan]) == pytest.approx(
        [-1, 0, 1.5, np.nan], nan_ok=True
    )


def test_classes_are_told_against_women_and_child_pugh_a_and_unknown_stays_unknown() -> None:
    assert coded("male", sex=["M", "F", None]) == pytest.approx([1, 0, np.nan], nan_ok=True)
    classes = ["A", "B", "C", None]
    assert coded("Child-Pugh B", child_pugh=classes) == pytest.approx([0, 1, 0, np.nan], nan_ok=True)
    assert coded("Child-Pugh C", child_pugh=classes) == pytest.approx([0, 0, 1, np.nan], nan_ok=True)
    assert coded("metastasis", origin=["HCC", "Metastasis", "metastasis", None]) == pytest.approx(
        [0, 1, 1, np.nan], nan_ok=True
    )


def test_afp_counts_by_powers_of_ten_from_100_and_not_in_metastases() -> None:
    told = coded("AFP of HCC, tenfold", afp_ng_ml=[10.0, 100.0, 1e4, 0.0, 1e4], origin=["HCC"] * 4 + ["metastasis"])
    assert told == pytest.approx([-1, 0, 2, -3, 0])


def test_kinds_with_an_order_of_their_own_stand_in_it_however_many_they_are() -> None:
    frame = patients(
        size_class=["above 50 mm"] * 3 + ["below 30 mm"] + ["30 to 50 mm"] * 2,
        best_response=["SD", "PD", "CR", "PR", "PR", "PD"],
    )
    shown = [row[0].strip() for row in describe(frame, ["a"]).rows]
    assert [kind for kind in shown if "mm" in kind and "," not in kind] == ["below 30 mm", "30 to 50 mm", "above 50 mm"]
    assert [kind for kind in shown if kind in ("CR", "PR", "SD", "PD")] == ["CR", "PR", "SD", "PD"]


def test_readers_who_agree_in_full_have_a_coefficient_of_1_and_no_interval() -> None:
    ratings = np.repeat([[1.0], [4.0], [9.0]], 2, axis=1)
    found = intraclass(ratings)
    assert (found.value, found.low, found.high) == (1.0, None, None)


def test_a_reader_who_is_always_higher_agrees_less_and_has_an_interval() -> None:
    # Without residual error ICC(2,1) is B / (B + k R / n) of Shrout and Fleiss' table 1.
    ratings = np.array([[1.0, 2.0], [4.0, 5.0], [9.0, 10.0]])
    between, readers = 2 * np.var([1.5, 4.5, 9.5], ddof=1), 3 * np.var([14 / 3, 17 / 3], ddof=1)
    found = intraclass(ratings)
    assert found.value == pytest.approx(between / (between + 2 * readers / 3))
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high


def test_readings_without_any_spread_have_no_coefficient() -> None:
    assert intraclass(np.full((4, 2), 3.0)).value is None


def test_every_patient_is_judged_by_a_cut_off_that_nine_tenths_of_the_others_set() -> None:
    # Where groups are parted, the cut-off is the lowest case: only those that are left out with it lie below.
    score, positive = np.concatenate([np.arange(1000.0, 1200.0), np.arange(200.0)]), np.arange(400) < 200
    found = choose_cut_off(score, positive, np.random.default_rng(3))
    assert found is not None
    assert found.value == 1000.0
    assert 196 / 200 <= found.sensitivity.value <= 199 / 200
    assert found.specificity.value == 1.0


def test_the_course_says_what_varies_between_patients() -> None:
    rng, rows = np.random.default_rng(4), []
    for patient in range(24):
        rate = 0.2 + rng.normal(0, 0.08)
        for months in (1.0, 2.0, 4.0, 6.0):
            rows.append((f"P{patient}", months * DAYS_A_MONTH, np.exp(-rate * months + rng.normal(0, 0.03))))
    timepoints = pd.DataFrame(rows, columns=["subject", "days", "retention"])
    table = pd.DataFrame({"arm": ["a"] * 24}, index=[f"P{k}" for k in range(24)])
    model = fit_course(table, timepoints, ["a"], most_patients=100, rng=rng)
    assert model is not None
    assert model.random in ("slope", "intercept and slope")
    assert model.patient_sd[-1] == pytest.approx(0.08, rel=0.4)
    assert model.residual_sd == pytest.approx(0.03, rel=0.2)
    assert (model.patients_fitted, model.patients) == (24, 24)
    assert model.arms[0].log_slope.value == pytest.approx(-0.2, abs=0.05)


def test_of_two_arms_walds_f_is_the_square_of_students_t() -> None:
    rng, rows = np.random.default_rng(5), []
    for patient in range(16):
        rate = 0.15 + 0.05 * (patient % 2) + rng.normal(0, 0.05)
        rows += [(f"P{patient}", m * DAYS_A_MONTH, np.exp(-rate * m + rng.normal(0, 0.05))) for m in (1.0, 3.0, 6.0)]
    timepoints = pd.DataFrame(rows, columns=["subject", "days", "retention"])
    table = pd.DataFrame({"arm": ["a", "b"] * 8}, index=[f"P{k}" for k in range(16)])
    model = fit_course(table, timepoints, ["a", "b"], most_patients=100, rng=rng)
    assert model is not None
    test = model.equal_slopes
    # Sixteen patients, one intercept, two slopes.
    assert test.p == pytest.approx(2 * stats.t.sf(np.sqrt(test.statistic), 13))
    assert "1 and 13 degrees of freedom" in test.method
