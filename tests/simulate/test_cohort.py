"""With many patients drawn, statistics of the records give back the effects that the settings state."""

import csv
import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from angio_pipeline.core.errors import AngioError
from angio_pipeline.simulate.cohort import (
    DOSE_RANGES_MG,
    AgentParams,
    ArmParams,
    CohortParams,
    Embolic,
    NecrosisParams,
    Origin,
    PatientPlan,
    ProcedureRecord,
    SizeClass,
    SurvivalParams,
    plan_patient,
    read_plan,
    write_plan,
    write_records,
)

PARAMS = CohortParams()
ARMS = [arm.name for arm in PARAMS.arms]
COUNT = 6000


def draw(params: CohortParams, count: int, seed: int = 11) -> list[PatientPlan]:
    rng = np.random.default_rng(seed)
    return [plan_patient(params, rng) for _ in range(count)]


@pytest.fixture(scope="module")
def plans() -> list[PatientPlan]:
    return draw(PARAMS, COUNT)


def design(plans: list[PatientPlan]) -> np.ndarray:
    return np.array(
        [
            [
                *(p.arm == name for name in ARMS),
                p.child_pugh == "B",
                p.child_pugh == "C",
                p.origin is Origin.METASTASIS,
                p.size_class is SizeClass.MEDIUM,
                p.size_class is SizeClass.LARGE,
                np.log10(p.afp_ng_ml) - 2 if p.origin is Origin.HCC else 0.0,
                (p.age_years - 60) / 10,
                p.sex == "M",
            ]
            for p in plans
        ],
        float,
    )


def true_hazards(params: CohortParams) -> np.ndarray:
    s = params.survival
    effects = (s.child_b_log_hazard, s.child_c_log_hazard, s.metastasis_log_hazard, s.medium_log_hazard)
    effects += (s.large_log_hazard, s.afp_log_hazard, s.age_log_hazard, s.male_log_hazard)
    return np.array([*(arm.log_hazard for arm in params.arms), *effects])


def cox(x: np.ndarray, days: np.ndarray, event: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return log hazard ratios and their standard errors: Newton on the partial likelihood, no ties."""
    order = np.argsort(-days)
    x, event = x[order], event[order]
    beta = np.zeros(x.shape[1])
    for _ in range(25):
        weight = np.exp(x @ beta)
        s0 = np.cumsum(weight)
        mean = np.cumsum(weight[:, None] * x, axis=0) / s0[:, None]
        second = np.cumsum(weight[:, None, None] * x[:, :, None] * x[:, None, :], axis=0) / s0[:, None, None]
        gradient = (x - mean)[event].sum(axis=0)
        information = (second - mean[:, :, None] * mean[:, None, :])[event].sum(axis=0)
        step = np.linalg.solve(information, gradient)
        beta = beta + step
        if np.abs(step).max() < 1e-9:
            break
    return beta, np.sqrt(np.diag(np.linalg.inv(information)))


def logistic_share(x: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return coefficients of logit(mean share) and their standard errors: quasi-binomial Newton."""
    beta = np.zeros(x.shape[1])
    for _ in range(50):
        mean = 1 / (1 + np.exp(-x @ beta))
        weight = mean * (1 - mean)
        step = np.linalg.solve(x.T @ (weight[:, None] * x), x.T @ (share - mean))
        beta = beta + step
        if np.abs(step).max() < 1e-10:
            break
    scale = ((share - mean) ** 2 / weight).mean()
    return beta, np.sqrt(scale * np.diag(np.linalg.inv(x.T @ (weight[:, None] * x))))


@pytest.mark.slow
def test_the_hazard_ratios_of_a_cox_model_are_those_stated(plans: list[PatientPlan]) -> None:
    x = np.delete(design(plans), 0, axis=1)
    truth = true_hazards(PARAMS)
    truth[: len(ARMS)] -= truth[0]
    days, event = np.array([p.survival_days for p in plans]), np.array([p.event for p in plans])
    beta, error = cox(x, days, event)
    off = (beta - truth[1:]) / error
    assert np.abs(off).max() < 3.5
    assert (off**2).mean() < 2.2
    assert error.max() < 0.2  # else agreement would mean little


def test_necrosis_by_arm_and_covariate_is_that_stated(plans: list[PatientPlan]) -> None:
    x = design(plans)[:, [*range(len(ARMS)), -6, -5, -4]]
    effects = [PARAMS.necrosis.metastasis_logit, PARAMS.necrosis.medium_logit, PARAMS.necrosis.large_logit]
    for part in ("necrosis_main", "necrosis_daughter"):
        means = np.array([getattr(arm, part) for arm in PARAMS.arms])
        truth = np.array([*np.log(means / (1 - means)), *effects])
        beta, error = logistic_share(x, np.array([getattr(p, part) for p in plans]))
        assert np.abs((beta - truth) / error).max() < 3.5, part
        assert error.max() < 0.1


def test_a_false_statement_of_the_effects_would_be_noticed(plans: list[PatientPlan]) -> None:
    x = np.delete(design(plans), 0, axis=1)
    days, event = np.array([p.survival_days for p in plans]), np.array([p.event for p in plans])
    beta, error = cox(x, days, event)
    sponge = 1  # the third arm, against the first
    truth = PARAMS.arms[2].log_hazard - PARAMS.arms[0].log_hazard
    assert abs(beta[sponge] - (truth + 0.4)) / error[sponge] > 3.5


@pytest.mark.slow
def test_arms_are_given_by_weight_and_regardless_of_the_patient(plans: list[PatientPlan]) -> None:
    weight = np.array([arm.weight for arm in PARAMS.arms])
    given = np.array([[p.arm == name for name in ARMS] for p in plans])
    share = weight / weight.sum()
    assert np.abs(given.mean(axis=0) - share).max() < 4 * np.sqrt(0.25 / COUNT)
    metastasis = np.array([p.origin is Origin.METASTASIS for p in plans])
    apart = given[metastasis].mean(axis=0) - given[~metastasis].mean(axis=0)
    assert np.abs(apart).max() < 4 * np.sqrt(0.25 / metastasis.sum() + 0.25 / (~metastasis).sum())


def test_covariates_have_the_stated_shares(plans: list[PatientPlan]) -> None:
    error = 4 * np.sqrt(0.25 / COUNT)
    assert np.mean([p.sex == "M" for p in plans]) == pytest.approx(PARAMS.male_share, abs=error)
    assert np.mean([p.child_pugh == "B" for p in plans]) == pytest.approx(PARAMS.child_b_share, abs=error)
    assert np.mean([p.child_pugh == "C" for p in plans]) == pytest.approx(PARAMS.child_c_share, abs=error)
    assert np.mean([p.origin is Origin.METASTASIS for p in plans]) == pytest.approx(PARAMS.metastasis_share, abs=error)
    assert np.mean([p.daughters for p in plans]) == pytest.approx(PARAMS.daughter_share, abs=error)
    assert np.mean([p.histology_necrosis is not None for p in plans]) == pytest.approx(
        PARAMS.necrosis.histology_share, abs=error
    )
    hcc = [p.afp_ng_ml for p in plans if p.origin is Origin.HCC]
    assert np.median(np.log10(hcc)) == pytest.approx(np.log10(PARAMS.afp_hcc_median_ng_ml), abs=0.08)
    assert np.median([p.size_mm for p in plans]) == pytest.approx(PARAMS.size_median_mm, rel=0.04)


def test_the_half_life_of_the_oil_follows_the_arm(plans: list[PatientPlan]) -> None:
    for arm in PARAMS.arms:
        logs = np.log([p.half_life_factor for p in plans if p.arm == arm.name])
        assert logs.mean() == pytest.approx(
            np.log(arm.half_life_factor), abs=4 * PARAMS.half_life_log_sd / len(logs) ** 0.5
        )


def test_the_reference_patient_lives_as_long_as_stated() -> None:
    still = ArmParams(name="none")
    survival = SurvivalParams(
        child_b_log_hazard=0, child_c_log_hazard=0, metastasis_log_hazard=0, medium_log_hazard=0, large_log_hazard=0,
        afp_log_hazard=0, age_log_hazard=0, follow_up_min_days=19000, follow_up_max_days=20000, lost_per_year=0,
    )  # fmt: skip
    drawn = draw(CohortParams(arms=(still,), survival=survival), 4000)
    days = np.array([p.survival_days for p in drawn])
    assert np.mean([p.event for p in drawn]) > 0.999
    assert np.median(days) == pytest.approx(survival.median_days, rel=0.05)
    # Weibull: the share dead at half the median is 1 - 2^-(0.5^shape).
    assert (days < survival.median_days / 2).mean() == pytest.approx(1 - 2 ** -(0.5**survival.shape), abs=0.03)


def test_censoring_hides_death_and_never_brings_it_forward(plans: list[PatientPlan]) -> None:
    for p in plans[:500]:
        assert p.survival_days <= p.death_days
        assert p.event == (p.survival_days == p.death_days)
    assert 0.1 < np.mean([p.event for p in plans]) < 0.95
    assert max(p.survival_days for p in plans) <= PARAMS.survival.follow_up_max_days


def test_every_dose_lies_within_the_recorded_range(plans: list[PatientPlan]) -> None:
    for p in plans:
        for name, dose in p.doses_mg:
            low, high = DOSE_RANGES_MG[name]
            assert low <= dose <= high


def test_no_necrosis_and_full_necrosis_stay_so_whatever_the_patient() -> None:
    arm = ArmParams(name="a", necrosis_main=1.0, necrosis_daughter=0.0)
    drawn = draw(CohortParams(arms=(arm,)), 50)
    assert {p.necrosis_main for p in drawn} == {1.0}
    assert {p.necrosis_daughter for p in drawn} == {0.0}


def test_a_size_that_is_given_changes_its_effects_and_no_other_draw() -> None:
    free = plan_patient(PARAMS, np.random.default_rng(5))
    given = plan_patient(PARAMS, np.random.default_rng(5), size_mm=80.0, daughters=True)
    assert (given.size_mm, given.size_class, given.daughters) == (80.0, SizeClass.LARGE, True)
    same = ("arm", "doses_mg", "oil_ml", "age_years", "sex", "child_pugh", "afp_ng_ml", "catheter_order")
    assert [getattr(free, name) for name in same] == [getattr(given, name) for name in same]


def test_infusion_leaves_the_flow_alone_and_full_stasis_leaves_the_least() -> None:
    plan = plan_patient(PARAMS, np.random.default_rng(0))
    assert replace(plan, stasis=0.0).residual_flow(0.1) == 1
    assert replace(plan, stasis=1.0).residual_flow(0.1) == pytest.approx(0.1)
    assert not replace(plan, stasis=0.0).embolised


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"doses_mg": (), "oil_ml": 0.0, "embolic": Embolic.NONE}, "HAI"),
        ({"doses_mg": (("doxorubicin", 50.0),), "oil_ml": 5.0, "embolic": Embolic.NONE}, "cTACE"),
        ({"doses_mg": (("doxorubicin", 50.0),), "oil_ml": 0.0, "embolic": Embolic.MICROSPHERES}, "DEB-TACE"),
        ({"doses_mg": (("doxorubicin", 50.0),), "oil_ml": 0.0, "embolic": Embolic.GELATIN_SPONGE}, "TACE"),
        ({"doses_mg": (), "oil_ml": 5.0, "embolic": Embolic.GELATIN_SPONGE}, "TAE"),
        ({"doses_mg": (), "oil_ml": 0.0, "embolic": Embolic.MICROSPHERES}, "TAE"),
    ],
)
def test_the_procedure_is_named_by_what_was_given(change: dict[str, Any], name: str) -> None:
    plan = plan_patient(PARAMS, np.random.default_rng(0))
    assert replace(plan, **change).procedure == name


@pytest.mark.parametrize(
    ("kind", "wrong", "field"),
    [
        (AgentParams, {"name": "water", "dose_min_mg": 1, "dose_max_mg": 2}, "name"),
        (AgentParams, {"name": "doxorubicin", "dose_min_mg": 40, "dose_max_mg": 90}, "dose_max_mg"),
        (AgentParams, {"name": "doxorubicin", "dose_min_mg": 60, "dose_max_mg": 50}, "dose_min_mg"),
        (ArmParams, {"name": "a", "oil_min_ml": 5, "oil_max_ml": 1}, "oil_min_ml"),
        (ArmParams, {"name": "a", "catheter_order_min": 4, "catheter_order_max": 2}, "catheter_order_min"),
        (ArmParams, {"name": "a", "embolic": "microspheres"}, "catheter_order_min"),
        (SurvivalParams, {"follow_up_min_days": 900, "follow_up_max_days": 100}, "follow_up_min_days"),
        (CohortParams, {"child_b_share": 0.8, "child_c_share": 0.4}, "child_b_share"),
        (CohortParams, {"arms": [{"name": "a", "weight": 0}]}, "weight"),
        (CohortParams, {"arms": [{"name": "a"}, {"name": "a"}]}, "name"),
        (CohortParams, {"arms": []}, "arms"),
        (NecrosisParams, {"concentration": 0}, "concentration"),
    ],
)
def test_impossible_arms_are_refused_by_field(kind: type, wrong: dict[str, object], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        kind(**wrong)


def test_records_hold_what_a_hospital_writes_and_the_truth_what_it_came_from(tmp_path: Path) -> None:
    plans = draw(PARAMS, 40, seed=3)
    records = [ProcedureRecord(f"SIM-1-{k:03d}", date(2024, 3, 4), p) for k, p in enumerate(plans)]
    write_records(tmp_path, records, PARAMS)
    with (tmp_path / "truth" / "records.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    truth = json.loads((tmp_path / "truth" / "cohort.json").read_text())
    assert [row["patient_id"] for row in rows] == [p["patient_id"] for p in truth["patients"]]
    assert not {"log_hazard", "death_days"} & set(rows[0])
    for row, plan in zip(rows, plans, strict=True):
        assert row["event"] == str(int(plan.event))
        assert row["necrosis_daughter_percent"] == (f"{100 * plan.necrosis_daughter:.0f}" if plan.daughters else "")
        assert float(row["survival_days"]) == pytest.approx(plan.survival_days, abs=0.51)
        assert len(row["agents"].split(";")) == len(row["doses_mg"].split(";"))
    assert CohortParams.model_validate(truth["effects"]) == PARAMS


def test_a_plan_comes_back_as_it_was_written(tmp_path: Path) -> None:
    plan = plan_patient(PARAMS, np.random.default_rng(8))
    write_plan(tmp_path / "plan.json", plan)
    assert read_plan(tmp_path / "plan.json") == plan


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"plan": {"arm": 1}}'])
def test_a_broken_plan_is_an_error_of_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(AngioError, match="make the case again"):
        read_plan(tmp_path / "plan.json")
