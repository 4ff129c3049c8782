"""What a call says: why there is none, by which rule there is one, and nothing that only later dates could tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from angio_pipeline.core.provenance import Source
from angio_pipeline.core.readings import Reading, Statement
from angio_pipeline.core.records import Precaution, ProcedureRecord, TreatmentEvidence
from angio_pipeline.core.response import Call, Extent, LesionAtDate, LesionHistory, LesionSight, OilConvention
from angio_pipeline.ingest.record_mapping import read_agents
from angio_pipeline.response import ResponseParams, judge_lesions
from angio_pipeline.response.checklist import ChecklistParams, check_treatment
from angio_pipeline.response.enhancement import EnhancementParams, enhancing_part
from angio_pipeline.response.overall import BestParams, tell_best
from angio_pipeline.response.readings import apply_readings

GONE = Extent(0.0, 0.0, 0.0, 0.0, 0.0)
DAYS = (-3.0, 28.0, 84.0, 140.0)


def ball(mm):
    return Extent(mm, mm, mm * mm, 0.5236e-3 * mm**3, mm) if mm else GONE


def lesion(name, *mm, alive=None, hu=None, **more):
    """A lesion by its diameters, None where it was not evaluated, and by those of its living part."""
    alive = mm if alive is None else alive
    dates = tuple(
        LesionAtDate(
            f"2024{k + 1:02d}01", day, None if size is None else ball(size),
            viable={} if living is None else dict.fromkeys(OilConvention, ball(living)),
            mean_hu=None if hu is None else hu[k], phase=None if hu is None else "portal venous", holds_oil=False,
            missing="out of view" if size is None else "", viable_missing="no contrast" if living is None else "",
        )
        for k, (day, size, living) in enumerate(zip(DAYS, mm, alive, strict=False))
    )  # fmt: skip
    return LesionHistory(name, dates, **more)


def judged(*lesions):
    return judge_lesions(lesions, params=ResponseParams())


def call_of(result, name, k=0):
    return next(call for call in result.dates[k].calls if call.name == name)


COURSES = {
    "comes back": [lesion("L1", 40, 20, 20, 60)],
    "enhances anew": [lesion("L1", 40, 40, 40, 40, alive=(40, 0, 0, 20))],
    "was away": [lesion("L1", 40, 20, None, 30), lesion("L2", 30, 20, 18, 18)],
    "is new": [lesion("L1", 40, 20, 20, 20), lesion("L9", None, None, 8, 15, new_on=84.0)],
    "is worse": [lesion("L1", 40, 20, 20, 20), lesion("L2", 30, 20, 20, 20),
                 lesion("L3", 12, 12, 12, 12, worse=(84.0,))],
    "fades": [lesion("L1", 40, 40, 40, 40, hu=(80.0, 78.0, 60.0, 90.0))],
}  # fmt: skip


@pytest.mark.parametrize("course", COURSES)
@pytest.mark.parametrize("k", [1, 2])
def test_a_call_knows_nothing_of_later_dates(course, k):
    lesions = COURSES[course]
    early = [replace(one, dates=one.dates[: k + 1]) for one in lesions if one.new_on is None or one.new_on <= DAYS[k]]
    for known, whole in zip(judged(*early).dates, judged(*lesions).dates, strict=False):
        for one, same in zip(known.calls, whole.calls, strict=True):
            assert (one.call, one.rule, one.value, one.nadir, one.density_change, one.effect) == (
                same.call, same.rule, same.value, same.nadir, same.density_change, same.effect)  # fmt: skip


def test_where_no_lesion_can_be_a_target_the_call_says_why():
    small, dead, unseen = lesion("L1", 8, 8), lesion("L1", 40, 40, alive=(0, 0)), lesion("L1", 40, 40, alive=(None, 40))
    assert call_of(judged(small), "qeasl/tissue").sentence == (
        "Not evaluable: no lesion is large enough or enhances enough before treatment."
    )
    assert call_of(judged(dead), "qeasl/tissue").sentence == (
        "Not evaluable: no lesion is large enough or enhances enough before treatment."
    )
    assert call_of(judged(unseen), "qeasl/tissue").sentence == "Not evaluable: no contrast."
    assert "No target (no lesion is large enough before treatment)" in call_of(judged(small), "recist").sentence


def test_the_sentence_of_a_call_holds_targets_other_and_new_lesions():
    lesions = [lesion("L1", 40, 40), lesion("L2", 30, 30), lesion("L3", 12, 12), lesion("L9", None, 15, new_on=28.0)]
    sentence = call_of(judged(*lesions), "recist").sentence
    assert sentence.startswith("Targets SD: +0 % from baseline (70 to 70 mm)")
    assert sentence.endswith("; other lesions non-CR/non-PD; new: L9; together PD.")


def test_what_is_called_new_was_drawn_on_no_date_and_says_so():
    (_, new), unused = apply_readings(
        [lesion("L1", 40, 40, 40)], [Reading("20240301", "N1", Statement.NEW, row=1)]
    )  # fmt: skip
    assert not unused
    assert [(at.whole, at.missing, at.viable_missing) for at in new.dates[:2]] == [
        (None, "nobody drew it", "nobody drew it")
    ] * 2
    assert new.new_on == 84.0


@pytest.mark.parametrize(
    ("days", "calls", "best", "rule", "at"),
    [
        ([20], [Call.PD], Call.PD, "table-3/PD before SD had lasted", 0),
        ([20, 60], [Call.SD, Call.PD], Call.PD, "table-3/PD before SD had lasted", 1),
        ([50, 90], [Call.SD, Call.PD], Call.SD, "table-3/SD that lasted", 0),
        ([20], [Call.SD], Call.NE, "table-3/NE", None),
        ([20], [Call.NE], Call.NE, "table-3/NE", None),
    ],
)
def test_without_a_response_the_best_is_named_by_its_row(days, calls, best, rule, at):
    found = tell_best(days, calls, 0.0, params=BestParams())
    assert (found.call, found.rule, found.at) == (best, rule, at)


def test_disease_after_a_complete_response_is_named_by_its_row():
    found = tell_best([20, 30], [Call.CR, Call.SD], 0.0, params=BestParams(confirm=True))
    assert (found.call, found.rule, found.at) == (Call.PD, "table-3/disease after CR", 1)


def test_stable_after_an_unconfirmed_partial_response_is_named_by_its_row():
    found = tell_best([20, 30], [Call.PR, Call.SD], 0.0, params=BestParams(confirm=True))
    assert (found.call, found.rule, found.at) == (Call.SD, "table-3/PR, SD", 0)


def scan(frame, *, arterial=False, shape=(6, 12, 12)):
    tumour = np.zeros(shape, bool)
    tumour[2:4, 4:8, 4:8] = True
    hu = np.where(tumour, 120.0 if arterial else 45.0, 60.0).astype(np.float32)
    source = Source("1", f"1.{int(arterial)}")
    return LesionSight("L1", source, 28.0, False, arterial, 60.0, hu, np.eye(4), tumour, None, frame)


@pytest.mark.parametrize(("plain", "arterial"), [("9.1", "9.2"), (None, None), (None, "9.1")])
def test_scans_without_a_frame_in_common_are_not_subtracted(plain, arterial):
    first, second = scan(arterial, arterial=True), scan(plain)
    found = enhancing_part(first, second, first.carried, params=EnhancementParams())
    assert found.mask is None
    assert found.missing == "the plain and the arterial scan are not in one frame of reference"


def test_of_nothing_nothing_enhances():
    found = enhancing_part(scan("9", arterial=True), scan("9"), np.zeros((6, 12, 12), bool), params=EnhancementParams())
    assert found.mask.dtype == np.bool_
    assert not found.mask.any()


def test_what_the_checklist_answers_says_where_it_was_seen():
    def item(precaution, evidence=None, **record):
        record = ProcedureRecord(row=1, patient_id="1", **record)
        items = check_treatment(record, evidence, agents=read_agents(), params=ChecklistParams())
        return next(one for one in items if one.precaution is precaution)

    assessed = TreatmentEvidence(shunts_assessed=True)
    silent = item(Precaution.SHUNT_FOUND, assessed)
    assert silent.reason == "The record does not say; no vein fills early with a probability of 0.5 or more."
    assert item(Precaution.SHUNT_FOUND).reason == "The record does not say, and no run could show one."
    followed = TreatmentEvidence(non_target_oil=("lung", "spleen"))
    oil = item(Precaution.NON_TARGET_OIL, followed)
    assert (oil.answer, oil.reason, oil.warning) == ("yes", "Oil in lung, spleen.", True)
    clean = item(Precaution.NON_TARGET_OIL, TreatmentEvidence(non_target_oil=()))
    assert (clean.answer, clean.reason, clean.warning) == ("no", "The follow-ups that were searched show none.", False)
    near = item(Precaution.SUPER_SELECTIVE, TreatmentEvidence(bifurcations=1, non_target_fraction=0.25))
    assert near.reason == (
        "The record gives no position. In the images 1 divisions lie between the catheter tip of the run and the best "
        "target and 25 % of the tree beyond the target is not the tumour's."
    )
    ended = item(Precaution.END_POINT_JUDGED, TreatmentEvidence(sace=("II", "III")))
    assert ended.reason == "Runs before and after compared; derived level SACE II, III."


def test_the_best_response_tells_every_call_with_its_day():
    best = next(one for one in judged(lesion("L1", 40, 20, 20, 60)).best if one.name == "recist")
    assert best.sentence == "PR on day 28, PR on day 84, PD on day 140"
    assert (best.call, best.days, best.confirmed) == (Call.PR, 28.0, None)


def test_settings_are_told_as_they_can_be_written_down():
    told = judged(lesion("L1", 40, 20)).settings
    assert told == ResponseParams().model_dump(mode="json")
    assert told["targets"]["most"] == 5


def test_a_full_effect_says_what_is_left():
    gone = judged(lesion("L1", 40, 40, alive=(40, 0)))
    call = call_of(gone, "recicl/tissue")
    assert (call.call, call.rule) == (Call.TE4, "recicl/full-effect")
    assert call.sentence == "Targets TE4: all of the targets is necrotic or gone."
