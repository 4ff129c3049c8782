"""What each criterion says of its targets: the rows of the published definitions, and the awkward ones."""

import pytest

from angio_pipeline.core.response import Call, Criterion
from angio_pipeline.response.criteria import RULES, Sums, judge_targets

CR, PR, SD, PD, NE = Call.CR, Call.PR, Call.SD, Call.PD, Call.NE


def told(criterion, value, baseline=100.0, nadir=None, **more):
    more.setdefault("gone", value == 0)
    nadir = baseline if nadir is None else nadir
    return judge_targets(RULES[criterion], Sums(value, value, baseline, nadir, **more))


# criterion, baseline, nadir, now, call: each limit from both sides.
ROWS = [
    (Criterion.RECIST, 100, 100, 0, CR),
    (Criterion.RECIST, 100, 100, 70, PR),
    (Criterion.RECIST, 100, 100, 70.1, SD),
    (Criterion.RECIST, 100, 100, 119.9, SD),
    (Criterion.RECIST, 100, 100, 120, PD),
    (Criterion.RECIST, 100, 50, 60, PD),
    (Criterion.RECIST, 100, 50, 59.9, PR),
    (Criterion.RECIST, 20, 20, 24.9, SD),
    (Criterion.RECIST, 20, 20, 25, PD),
    (Criterion.MRECIST, 100, 100, 0, CR),
    (Criterion.MRECIST, 100, 100, 70, PR),
    (Criterion.MRECIST, 100, 100, 70.1, SD),
    (Criterion.MRECIST, 100, 50, 60, PD),
    (Criterion.MRECIST, 20, 20, 24, PD),
    (Criterion.EASL, 100, 100, 0, CR),
    (Criterion.EASL, 100, 100, 50, PR),
    (Criterion.EASL, 100, 100, 50.1, SD),
    (Criterion.EASL, 100, 100, 125, SD),
    (Criterion.EASL, 100, 100, 125.1, PD),
    (Criterion.WHO, 100, 100, 0, CR),
    (Criterion.WHO, 100, 100, 50, PR),
    (Criterion.WHO, 100, 100, 50.1, SD),
    (Criterion.WHO, 100, 40, 50, PR),
    (Criterion.WHO, 100, 40, 50.1, PD),
    (Criterion.QEASL, 100, 100, 35, PR),
    (Criterion.QEASL, 100, 100, 35.1, SD),
    (Criterion.QEASL, 100, 100, 0, PR),
    (Criterion.QEASL, 100, 100, 300, SD),
]


@pytest.mark.parametrize(("criterion", "baseline", "nadir", "now", "call"), ROWS)
def test_limits_of_size(criterion, baseline, nadir, now, call):
    assert told(criterion, float(now), float(baseline), float(nadir)).call is call


# now (baseline 100), attenuation's change, call.
CHOI = [
    (0, -0.5, CR), (90, 0.0, PR), (90.1, 0.0, SD), (100, -0.15, PR), (100, -0.149, SD),
    (110, 0.0, PD), (110, -0.15, PR), (109.9, 0.0, SD),
]  # fmt: skip


@pytest.mark.parametrize(("now", "density", "call"), CHOI)
def test_choi_goes_by_size_or_attenuation(now, density, call):
    assert told(Criterion.CHOI, float(now), density_change=density).call is call


def test_chois_density_arm_is_invalid_on_a_lesion_with_oil():
    by_size = told(Criterion.CHOI, 100.0, density_valid=False)
    assert by_size.call is SD
    assert told(Criterion.CHOI, 110.0, density_valid=False).call is PD


def test_choi_is_silent_where_attenuation_is_missing_and_could_decide():
    assert told(Criterion.CHOI, 100.0).call is NE
    assert told(Criterion.CHOI, 120.0).call is NE
    assert told(Criterion.CHOI, 85.0).call is PR
    assert told(Criterion.CHOI, 0.0).call is CR


# now (baseline 100), necrotic share, call.
RECICL = [
    (100, 1.0, Call.TE4), (0, None, Call.TE4), (100, 0.5, Call.TE3), (50, 0.0, Call.TE3), (100, 0.49, Call.TE2),
    (125, 0.0, Call.TE2), (125.1, 0.9, Call.TE1),
]  # fmt: skip


@pytest.mark.parametrize(("now", "effect", "call"), RECICL)
def test_recicl_goes_by_effect_and_by_growth_from_baseline(now, effect, call):
    assert told(Criterion.RECICL, float(now), effect=effect).call is call


def test_recicl_without_a_necrotic_share_tells_growth_only():
    assert told(Criterion.RECICL, 130.0).call is Call.TE1
    assert told(Criterion.RECICL, 100.0).call is NE


@pytest.mark.parametrize("criterion", [Criterion.RECIST, Criterion.MRECIST, Criterion.EASL, Criterion.WHO])
def test_what_comes_back_after_nothing_was_left_is_progression_whatever_its_size(criterion):
    verdict = told(criterion, 1.0, 100.0, 0.0)
    assert (verdict.call, verdict.rule) == (PD, f"{criterion.value}/came-back")


def test_choi_calls_what_comes_back_progression_unless_attenuation_fell():
    assert told(Criterion.CHOI, 1.0, 100.0, 0.0, density_change=0.0).rule == "choi/came-back"
    assert told(Criterion.CHOI, 1.0, 100.0, 0.0, density_valid=False).call is PD
    assert told(Criterion.CHOI, 1.0, 100.0, 0.0, density_change=-0.2).call is PR


def test_criteria_without_a_nadir_do_not_know_of_coming_back():
    # qEASL has no progression, and RECICL counts growth from before treatment.
    assert told(Criterion.QEASL, 1.0, 100.0, 0.0).call is PR
    assert told(Criterion.RECICL, 1.0, 100.0, 0.0, effect=0.0).call is Call.TE3


def test_the_sum_before_treatment_may_be_the_nadir():
    assert told(Criterion.RECIST, 125.0, 100.0, 100.0).rule == "recist/rise-from-nadir"


def test_progression_from_the_nadir_goes_before_response_from_baseline():
    assert told(Criterion.RECIST, 65.0, 100.0, 50.0).call is PD


def test_a_lesion_that_enhances_anew_is_progression_by_easl_alone():
    assert told(Criterion.EASL, 10.0, new_enhancement=True).rule == "easl/new-enhancement"
    assert told(Criterion.MRECIST, 10.0, new_enhancement=True).call is PR


def test_a_target_that_cannot_be_evaluated_leaves_only_progression_to_be_told():
    rule = RULES[Criterion.RECIST]
    assert judge_targets(rule, Sums(None, 60.0, 100.0, 100.0)).call is NE
    assert judge_targets(rule, Sums(None, 80.0, 50.0, 50.0)).call is PD


def test_every_call_tells_its_rule_and_its_numbers():
    verdict = told(Criterion.RECIST, 65.0)
    assert verdict.rule == "recist/fall-from-baseline"
    assert "-35 %" in verdict.because
    assert "100 to 65 mm" in verdict.because


def test_nothing_can_respond_without_a_size_before_treatment():
    with pytest.raises(ValueError, match="Expected a positive sum"):
        told(Criterion.RECIST, 10.0, 0.0)
