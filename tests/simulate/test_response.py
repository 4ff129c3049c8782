"""Every criterion, row by row, and the awkward cases between the rows."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from angio_pipeline.simulate.aftermath.deposits import DepositParams
from angio_pipeline.simulate.aftermath.response import (
    RULES,
    Call,
    Candidate,
    Criterion,
    Situation,
    judge,
    select_targets,
    tell_response,
)
from angio_pipeline.simulate.aftermath.treatment import Treatment, TreatmentParams, draw_treatment
from angio_pipeline.simulate.anatomy.lesions import TumourKind
from angio_pipeline.simulate.cohort import PatientPlan

R, M, E, W, Q, C, L = Criterion
GREW_AGAIN = {"baseline": 100.0, "nadir": 50.0}


@pytest.mark.parametrize(
    ("criterion", "situation", "call"),
    [
        # RECIST 1.1: 30 % from baseline, 20 % and 5 mm from the nadir.
        (R, {"value": 0.0}, Call.CR),
        (R, {"value": 0.0, "rest_gone": False}, Call.PR),
        (R, {"value": 70.0}, Call.PR),
        (R, {"value": 70.1}, Call.SD),
        (R, {"value": 119.9}, Call.SD),
        (R, {"value": 120.0}, Call.PD),
        (R, {"value": 60.0, **GREW_AGAIN}, Call.PD),
        (R, {"value": 59.0, **GREW_AGAIN}, Call.PR),
        (R, {"value": 24.0, "baseline": 20.0, "nadir": 20.0}, Call.SD),
        (R, {"value": 25.0, "baseline": 25.0, "nadir": 20.0}, Call.PD),
        (R, {"value": 24.9, "baseline": 25.0, "nadir": 20.0}, Call.SD),
        (R, {"value": 3.0, "nadir": 0.0}, Call.PD),
        (R, {"value": 0.0, "nadir": 0.0}, Call.CR),
        (R, {"value": 50.0, "new_lesions": True}, Call.PD),
        (R, {"value": 0.0, "new_lesions": True}, Call.PD),
        # mRECIST: the same shares of living diameters, without the 5 mm.
        (M, {"value": 0.0}, Call.CR),
        (M, {"value": 70.0}, Call.PR),
        (M, {"value": 24.0, "baseline": 20.0, "nadir": 20.0}, Call.PD),
        (M, {"value": 23.9, "baseline": 20.0, "nadir": 20.0}, Call.SD),
        (M, {"value": 1.0, "nadir": 0.0}, Call.PD),
        (M, {"value": 40.0, "new_lesions": True}, Call.PD),
        # EASL: 50 % of the enhancing area; more than 25 %; new enhancement.
        (E, {"value": 0.0}, Call.CR),
        (E, {"value": 50.0}, Call.PR),
        (E, {"value": 50.1}, Call.SD),
        (E, {"value": 125.0}, Call.SD),
        (E, {"value": 125.1}, Call.PD),
        (E, {"value": 10.0, "new_enhancement": True}, Call.PD),
        # WHO: 50 % of the cross-product; more than 25 % from the best response.
        (W, {"value": 0.0}, Call.CR),
        (W, {"value": 50.0}, Call.PR),
        (W, {"value": 62.5, **GREW_AGAIN}, Call.SD),
        (W, {"value": 62.6, **GREW_AGAIN}, Call.PD),
        (W, {"value": 10.0, "new_enhancement": True}, Call.PR),
        # qEASL: 65 % of the enhancing volume and nothing else.
        (Q, {"value": 35.0}, Call.PR),
        (Q, {"value": 35.1}, Call.SD),
        (Q, {"value": 0.0}, Call.PR),
        (Q, {"value": 300.0}, Call.SD),
        (Q, {"value": 35.0, "new_lesions": True}, Call.PR),
        # Choi: 10 % of size or 15 % of attenuation; attenuation excuses growth.
        (C, {"value": 0.0}, Call.CR),
        (C, {"value": 90.0}, Call.PR),
        (C, {"value": 90.1}, Call.SD),
        (C, {"value": 100.0, "density_change": -0.15}, Call.PR),
        (C, {"value": 100.0, "density_change": -0.149}, Call.SD),
        (C, {"value": 110.0, "density_change": -0.1}, Call.PD),
        (C, {"value": 110.0, "density_change": -0.2}, Call.PR),
        (C, {"value": 110.0}, Call.PD),
        (C, {"value": 100.0, "density_change": -0.5, "new_lesions": True}, Call.PD),
        # RECICL: necrosis or shrinkage of 100 and 50 %; more than 25 % growth from baseline.
        (L, {"value": 100.0, "effect": 1.0}, Call.TE4),
        (L, {"value": 100.0, "effect": 0.999}, Call.TE3),
        (L, {"value": 100.0, "effect": 0.5}, Call.TE3),
        (L, {"value": 100.0, "effect": 0.499}, Call.TE2),
        (L, {"value": 125.0, "effect": 0.2}, Call.TE2),
        (L, {"value": 125.1, "effect": 0.9}, Call.TE1),
        (L, {"value": 62.6, "effect": 0.374, **GREW_AGAIN}, Call.TE2),
        (L, {"value": 100.0, "effect": 0.6, "new_lesions": True}, Call.TE3),
    ],
)
def test_criteria(criterion: Criterion, situation: dict[str, Any], call: Call) -> None:
    told = {"baseline": 100.0, "nadir": 100.0, **situation}
    assert judge(RULES[criterion], Situation(**told)).call is call


def test_exactly_thirty_percent_survives_rounding_of_sums() -> None:
    baseline = 0.1 + 0.2
    value = 0.7 * baseline + 1e-17
    assert judge(RULES[R], Situation(value, baseline, baseline)).call is Call.PR
    assert judge(RULES[R], Situation(10 * 1.2 + 1e-15, 10.0, 10.0)).call is Call.SD
    assert judge(RULES[M], Situation(1.1 + 0.1, 1.0, 1.0)).call is Call.PD
    assert judge(RULES[W], Situation(0.1 * 12.5, 1.0, 1.0)).call is Call.SD


def test_without_anything_before_treatment_there_is_nothing_to_judge() -> None:
    with pytest.raises(ValueError, match="before treatment"):
        judge(RULES[R], Situation(1.0, 0.0, 0.0))


def test_every_criterion_has_a_rule() -> None:
    assert set(RULES) == set(Criterion)


def test_targets_are_the_two_largest_of_an_organ_and_five_at_most() -> None:
    many = [Candidate(f"{organ}{k}", 10.0 + k, organ) for organ in ("liver", "lung", "node") for k in range(3)]
    assert select_targets(many) == ("liver2", "lung2", "node2", "liver1", "lung1")


def test_small_or_unsuitable_lesions_are_no_targets() -> None:
    some = [Candidate("a", 9.9), Candidate("b", 10.0), Candidate("c", 30.0, suitable=False)]
    assert select_targets(some) == ("b",)


Make = Callable[..., Treatment]


@pytest.fixture
def treat(anatomy: Callable[..., Any], plan: Callable[..., PatientPlan]) -> Make:
    def treat(kind: TumourKind = TumourKind.HYPERVASCULAR, rate: float = 0.0, **plans: Any) -> Treatment:
        params = TreatmentParams(new_lesions_per_year=rate, remainder_min=0.5, remainder_max=0.5)
        oil = DepositParams(homogeneous=1, defective=0, inhomogeneous=0, faint=0, fast_share=0)
        return draw_treatment(anatomy(kind=kind), plan(**plans), params, np.random.default_rng(0), deposit=oil)

    return treat


DAYS = (-3.0, 1.0, 28.0, 200.0)


def calls(document: dict[str, Any], k: int) -> dict[str, Any]:
    return dict(document["timepoints"][k]["calls"])


@pytest.mark.slow
def test_complete_necrosis_is_complete_by_enhancement_and_not_by_size(treat: Make) -> None:
    document = tell_response(treat(necrosis_main=1.0, necrosis_daughter=1.0, oil_ml=0.0), DAYS)
    told = calls(document, 1)
    assert told["recist"] == "SD"
    assert told["mrecist/tissue"] == told["easl/tissue"] == "CR"
    assert told["qeasl/tissue"] == "PR"
    assert told["recicl/tissue"] == "TE4"
    assert told["choi"] == "PR"


@pytest.mark.slow
def test_untreated_growth_is_progression(treat: Make) -> None:
    document = tell_response(treat(necrosis_main=0.0, necrosis_daughter=0.0, oil_ml=0.0), (-3.0, 28.0, 900.0))
    told = calls(document, 1)
    assert {told[name] for name in ("recist", "mrecist/tissue", "easl/tissue", "who", "choi")} == {"PD"}
    assert told["recicl/tissue"] == "TE1"


def test_oil_hides_what_lives_and_what_died(treat: Make) -> None:
    document = tell_response(treat(necrosis_main=0.5), DAYS)
    told = calls(document, 0)
    assert told["mrecist/oil_necrotic"] == "CR"
    assert told["mrecist/oil_enhancing"] == "SD"
    first = document["lesions"][0]["timepoints"][1]
    shares = [first["living"][name]["volume_ml"] for name in ("oil_necrotic", "tissue", "oil_enhancing")]
    assert shares == sorted(shares)
    assert first["holds_oil"]
    assert first["portal_hu"] > first["portal_hu_without_oil"] + 100


def test_chois_attenuation_is_invalid_under_oil(treat: Make) -> None:
    def choi(document: dict[str, Any]) -> dict[str, Any]:
        return next(r for r in document["timepoints"][0]["reasons"] if r["name"] == "choi")

    oiled, bare = (choi(tell_response(treat(necrosis_main=0.9, oil_ml=ml), DAYS)) for ml in (10.0, 0.0))
    assert not oiled["density_valid"]
    assert oiled["call"] == "SD"
    assert bare["density_valid"]
    assert bare["call"] == "PR"


def test_sizes_before_treatment_are_those_of_the_solids(treat: Make) -> None:
    made = treat()
    lesion = tell_response(made, DAYS)["lesions"][0]
    before = lesion["timepoints"][0]
    assert before["volume_ml"] == pytest.approx(made.lesions[0].grid.volume_mm3 / 1000, rel=1e-3)
    # Ellipsoids of 14 mm and, 7 mm to the left, 8.4 mm: one line through both.
    assert before["longest_mm"] == pytest.approx(14 + 7 + 8.4, abs=1.2)
    assert before["living"]["tissue"]["longest_mm"] == pytest.approx(before["longest_mm"], abs=0.1)
    assert before["necrotic_share"] == pytest.approx(0, abs=1e-6)


def test_the_nadir_is_the_least_so_far(treat: Make) -> None:
    document = tell_response(treat(necrosis_main=0.7), (-3.0, 28.0, 120.0, 700.0))
    reasons = [next(r for r in t["reasons"] if r["name"] == "recist") for t in document["timepoints"]]
    sums = [reasons[0]["baseline"], *(r["value"] for r in reasons)]
    for k, reason in enumerate(reasons):
        assert reason["nadir"] == min(sums[: k + 1])
        assert reason["change_from_baseline"] == pytest.approx(sums[k + 1] / sums[0] - 1, abs=1e-4)


def test_a_new_lesion_is_progression_once_it_is_there(treat: Make) -> None:
    made = treat(rate=8.0, necrosis_main=0.9, oil_ml=0.0)
    day = made.new_lesions[0].appears_days
    assert day is not None
    document = tell_response(made, (-3.0, day - 1, day + 1))
    before, after = document["timepoints"]
    assert before["new_lesions"] == []
    assert "N1" in after["new_lesions"]
    assert after["calls"]["recist"] == "PD"
    reason = next(r for r in after["reasons"] if r["name"] == "recist")
    assert reason["because"] == "new lesion"
    assert reason["call_of_targets"] != "PD"
    assert after["calls"]["qeasl/tissue"] == "PR"


def test_new_enhancement_in_a_treated_lesion_is_progression_by_easl(treat: Make) -> None:
    made = treat(necrosis_main=1.0, necrosis_daughter=1.0, oil_ml=0.0)
    first = made.lesions[0]
    # The same tumour with living cells too few to be measured at first.
    back = replace(first, course=replace(first.course, necrosis=1 - 1e-7, doubling_days=6.0))
    document = tell_response(replace(made, lesions=(back, made.lesions[1])), (-3.0, 1.0, 120.0))
    reason = next(r for r in document["timepoints"][1]["reasons"] if r["name"] == "easl/tissue")
    assert reason["call"] == "PD"
    assert reason["because"] == "new enhancement in a treated lesion"


def test_hypovascular_tumours_are_no_targets_of_enhancement(treat: Make) -> None:
    document = tell_response(treat(kind=TumourKind.HYPOVASCULAR), DAYS)
    assert document["targets"]["mrecist"] == []
    assert document["targets"]["recist"]
    assert calls(document, 0)["mrecist/tissue"] is None


def test_a_vanished_lesion_has_no_size(treat: Make) -> None:
    made = treat(necrosis_main=1.0, necrosis_daughter=1.0, oil_ml=0.0)
    gone = [replace(x, course=replace(x.course, remainder=0.0, resorption_days=5.0)) for x in made.lesions]
    document = tell_response(replace(made, lesions=tuple(gone)), DAYS)
    last = document["lesions"][0]["timepoints"][-1]
    assert last["longest_mm"] == last["volume_ml"] == 0
    assert last["necrotic_share"] is None
    assert calls(document, 2)["recist"] == calls(document, 2)["who"] == "CR"


@pytest.mark.parametrize(
    ("days", "dates", "sentence"),
    [
        ((1.0, 28.0), None, "baseline"),
        ((), None, "baseline"),
        ((-3.0, 28.0, 28.0), None, "increase"),
        ((-3.0, 28.0), ("20240301",), "dates"),
    ],
)
def test_impossible_dates_are_refused(treat: Make, days: tuple[float, ...], dates: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        tell_response(treat(), days, dates)
