"""Every row of tables 1 to 3 of RECIST 1.1, doi:10.1016/j.ejca.2008.10.026."""

import pytest

from angio_pipeline.core.response import Call
from angio_pipeline.response.overall import BestParams, join, tell_best

CR, PR, SD, PD, NE, NON = Call.CR, Call.PR, Call.SD, Call.PD, Call.NE, Call.NON_CR_NON_PD
EVERY_OTHER = (None, CR, NON, PD, NE)

# Table 1: targets, other lesions, new lesions, together. "Non-PD or not all evaluated" is spelt out.
TABLE_1 = [
    (CR, CR, False, CR),
    (CR, None, False, CR),
    (CR, NON, False, PR),
    (CR, NE, False, PR),
    *((PR, others, False, PR) for others in (None, CR, NON, NE)),
    *((SD, others, False, SD) for others in (None, CR, NON, NE)),
    *((NE, others, False, NE) for others in (None, CR, NON, NE)),
    *((PD, others, new, PD) for others in EVERY_OTHER for new in (True, False)),
    *((targets, PD, new, PD) for targets in (CR, PR, SD, NE) for new in (True, False)),
    *((targets, others, True, PD) for targets in (CR, PR, SD, NE) for others in EVERY_OTHER),
]
TABLE_2 = [
    (CR, False, CR),
    (NON, False, NON),
    (NE, False, NE),
    *((PD, new, PD) for new in (True, False)),
    *((others, True, PD) for others in (CR, NON, NE)),
]


@pytest.mark.parametrize(("targets", "others", "new", "together"), TABLE_1)
def test_table_1_joins_targets_with_other_and_new_lesions(targets, others, new, together):
    call, row = join(targets, others, new)
    assert call is together
    assert row.startswith("table-1/")


@pytest.mark.parametrize(("others", "new", "together"), TABLE_2)
def test_table_2_judges_a_patient_without_targets(others, new, together):
    call, row = join(None, others, new)
    assert call is together
    assert row.startswith("table-2/")


def test_a_patient_without_any_lesion_has_nothing_to_respond():
    with pytest.raises(ValueError, match="Expected targets or other lesions"):
        join(None, None, False)


def best(*calls, days=(56.0, 112.0), **settings):
    return tell_best(days, calls, -3.0, params=BestParams(confirm=True, **settings))


# Table 3, both dates after the least time to stable disease.
TABLE_3_LATE = [
    (CR, CR, CR), (CR, PR, SD), (CR, SD, SD), (CR, PD, SD), (CR, NE, SD),
    (PR, CR, PR), (PR, PR, PR), (PR, SD, SD), (PR, PD, SD), (PR, NE, SD), (NE, NE, NE),
]  # fmt: skip
# The same before it: "otherwise PD" and "otherwise NE".
TABLE_3_EARLY = [
    (CR, PR, PD), (CR, SD, PD), (CR, PD, PD), (CR, NE, NE),
    (PR, SD, SD), (PR, PD, PD), (PR, NE, NE), (NE, NE, NE),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second", "overall"), TABLE_3_LATE)
def test_table_3_when_stable_disease_has_lasted(first, second, overall):
    assert best(first, second).call is overall


@pytest.mark.parametrize(("first", "second", "overall"), TABLE_3_EARLY)
def test_table_3_before_stable_disease_has_lasted(first, second, overall):
    assert best(first, second, days=(10.0, 38.0)).call is overall


def test_a_complete_response_that_was_partial_all_along_is_partial_when_asked_for():
    assert best(CR, PR, complete_was_partial=True).call is PR


def test_a_response_seen_again_too_soon_is_not_confirmed():
    assert best(PR, PR, days=(56.0, 70.0)).call is SD
    assert best(PR, PR, PR, days=(56.0, 70.0, 84.0)).call is PR


def test_dates_that_could_not_be_evaluated_do_not_break_a_confirmation():
    told = best(PR, NE, PR, days=(28.0, 56.0, 84.0))
    assert (told.call, told.at, told.confirmed) == (PR, 0, True)


def test_responses_parted_by_stable_disease_do_not_confirm_each_other():
    assert best(PR, SD, PR, days=(56.0, 84.0, 112.0)).call is SD


def test_without_confirmation_one_response_is_enough():
    told = tell_best((28.0, 56.0), (PR, PD), -3.0, params=BestParams(confirm=False))
    assert (told.call, told.at, told.confirmed) == (PR, 0, None)


def test_what_follows_progression_does_not_count():
    assert tell_best((56.0, 84.0), (PD, CR), -3.0, params=BestParams()).call is PD


def test_stable_disease_too_early_waits_for_what_comes():
    params = BestParams(stable_days=42.0)
    assert tell_best((20.0,), (SD,), -3.0, params=params).call is NE
    assert tell_best((20.0, 48.0), (SD, PD), -3.0, params=params).call is PD
    assert tell_best((39.0,), (SD,), -3.0, params=params).call is SD


def test_lesions_that_are_no_targets_can_stay_without_progression():
    assert tell_best((56.0,), (NON,), -3.0, params=BestParams()).call is NON
