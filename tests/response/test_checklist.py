"""The checklist of a treatment: what the record says, what the images say, and when the two deserve a look."""

from __future__ import annotations

import pytest

from angio_pipeline.core.records import (
    CatheterPosition,
    ChecklistItem,
    Precaution,
    ProcedureRecord,
    ShuntSeen,
    TreatmentEvidence,
)
from angio_pipeline.ingest.record_mapping import read_agents
from angio_pipeline.response.checklist import ChecklistParams, check_treatment

PARAMS = ChecklistParams()
AGENTS = read_agents()


def checked(evidence: TreatmentEvidence | None = None, **record: object) -> dict[Precaution, ChecklistItem]:
    items = check_treatment(ProcedureRecord(row=1, patient_id="1", **record), evidence, agents=AGENTS, params=PARAMS)
    return {item.precaution: item for item in items}


def test_an_empty_record_without_images_is_unknown_in_everything_and_warns_of_nothing() -> None:
    items = checked()
    assert {item.answer for item in items.values()} == {"unknown"}
    assert not any(item.warning for item in items.values())
    assert len(items) == 9


@pytest.mark.parametrize(
    ("field", "precaution"),
    [
        ("angiography_before", Precaution.ANGIOGRAPHY_BEFORE),
        ("shunt_looked_for", Precaution.SHUNT_LOOKED_FOR),
        ("shunt_found", Precaution.SHUNT_FOUND),
        ("endpoint_judged", Precaution.END_POINT_JUDGED),
        ("reflux_guarded", Precaution.REFLUX_GUARDED),
        ("patient_watched", Precaution.PATIENT_WATCHED),
        ("films_kept", Precaution.FILMS_KEPT),
    ],
)
@pytest.mark.parametrize("value", [True, False])
def test_what_the_record_says_is_repeated(field: str, precaution: Precaution, value: bool) -> None:
    assert checked(**{field: value})[precaution].answer == ("yes" if value else "no")


def test_images_answer_where_the_record_is_silent() -> None:
    seen = TreatmentEvidence(runs_before=2, shunts_assessed=True, sace=("III",), non_target_oil=(), films=5)
    items = checked(seen)
    for precaution in (Precaution.ANGIOGRAPHY_BEFORE, Precaution.SHUNT_LOOKED_FOR, Precaution.END_POINT_JUDGED):
        assert items[precaution].answer == "yes"
    assert items[Precaution.SHUNT_FOUND].answer == "no"
    assert items[Precaution.NON_TARGET_OIL].answer == "no"
    assert items[Precaution.FILMS_KEPT].answer == "yes"


def test_a_shunt_in_the_images_that_the_record_denies_is_a_warning() -> None:
    seen = TreatmentEvidence(runs_before=1, shunts_assessed=True, shunts=(ShuntSeen("arterioportal", 0.8),))
    item = checked(seen, shunt_found=False)[Precaution.SHUNT_FOUND]
    assert (item.answer, item.warning) == ("yes", True)
    assert "arterioportal" in item.reason
    assert not checked(seen, shunt_found=True)[Precaution.SHUNT_FOUND].warning


def test_an_unlikely_shunt_is_none() -> None:
    seen = TreatmentEvidence(runs_before=1, shunts_assessed=True, shunts=(ShuntSeen("arterioportal", 0.3),))
    assert checked(seen)[Precaution.SHUNT_FOUND].answer == "no"


@pytest.mark.parametrize(
    ("position", "answer"),
    [(CatheterPosition.LOBAR, "no"), (CatheterPosition.SEGMENTAL, "yes"), (CatheterPosition.SUBSEGMENTAL, "yes")],
)
def test_a_recorded_position_decides_about_super_selection(position: CatheterPosition, answer: str) -> None:
    assert checked(catheter_position=position)[Precaution.SUPER_SELECTIVE].answer == answer


@pytest.mark.parametrize(
    ("bifurcations", "non_target", "answer"), [(0, 0.1, "yes"), (2, 0.1, "no"), (0, 0.6, "no"), (None, None, "unknown")]
)
def test_without_a_recorded_position_the_run_tells(
    bifurcations: int | None, non_target: float | None, answer: str
) -> None:
    seen = TreatmentEvidence(bifurcations=bifurcations, non_target_fraction=non_target)
    assert checked(seen)[Precaution.SUPER_SELECTIVE].answer == answer


def test_oil_elsewhere_is_a_warning_that_names_the_place() -> None:
    item = checked(TreatmentEvidence(non_target_oil=("gallbladder",)))[Precaution.NON_TARGET_OIL]
    assert (item.answer, item.warning) == ("yes", True)
    assert "gallbladder" in item.reason


MICROSPHERES = {"embolics": ("microspheres",)}


def test_microspheres_without_super_selection_are_a_warning() -> None:
    items = checked(catheter_position=CatheterPosition.LOBAR, **MICROSPHERES)
    assert items[Precaution.MICROSPHERES_NOT_SELECTIVE].warning
    items = checked(catheter_position=CatheterPosition.SEGMENTAL, **MICROSPHERES)
    assert Precaution.MICROSPHERES_NOT_SELECTIVE not in items


def test_microspheres_at_an_unknown_place_are_a_warning_that_says_so() -> None:
    item = checked(**MICROSPHERES)[Precaution.MICROSPHERES_NOT_SELECTIVE]
    assert (item.answer, item.warning) == ("unknown", True)


def test_a_shunt_with_microspheres_is_a_warning() -> None:
    items = checked(shunt_found=True, catheter_position=CatheterPosition.SEGMENTAL, **MICROSPHERES)
    assert items[Precaution.SHUNT_WITH_MICROSPHERES].warning
    assert Precaution.SHUNT_WITH_MICROSPHERES not in checked(shunt_found=False, **MICROSPHERES)


def test_the_table_of_agents_says_what_needs_super_selection() -> None:
    reason = checked(catheter_position=CatheterPosition.LOBAR, **MICROSPHERES)[
        Precaution.MICROSPHERES_NOT_SELECTIVE
    ].reason
    assert AGENTS.embolics["microspheres"].implies in reason
    assert Precaution.MICROSPHERES_NOT_SELECTIVE not in checked(embolics=("gelatin sponge",))
    harmless = AGENTS.embolics["microspheres"].model_copy(update={"needs_super_selection": False})
    other = AGENTS.model_copy(update={"embolics": {**AGENTS.embolics, "microspheres": harmless}})
    record = ProcedureRecord(row=1, patient_id="1", embolics=("microspheres",))
    told = {item.precaution for item in check_treatment(record, None, agents=other, params=PARAMS)}
    assert Precaution.MICROSPHERES_NOT_SELECTIVE not in told


def test_a_brand_keeps_its_capitals_at_the_head_of_a_sentence() -> None:
    sphere = AGENTS.embolics["microspheres"]
    agents = AGENTS.model_copy(update={"embolics": {"HepaSphere": sphere, "microspheres": sphere}})
    record = ProcedureRecord(row=1, patient_id="1", embolics=("microspheres", "HepaSphere"))
    told = {item.precaution: item for item in check_treatment(record, None, agents=agents, params=PARAMS)}
    assert told[Precaution.MICROSPHERES_NOT_SELECTIVE].reason.startswith("Microspheres, HepaSphere were")


def test_a_shunt_with_another_embolic_is_no_such_warning() -> None:
    assert Precaution.SHUNT_WITH_MICROSPHERES not in checked(shunt_found=True, embolics=("coils",))


def test_nothing_advises() -> None:
    seen = TreatmentEvidence(shunts=(ShuntSeen("arterioportal", 0.9),), non_target_oil=("lung",))
    items = checked(seen, catheter_position=CatheterPosition.LOBAR, **MICROSPHERES)
    text = " ".join(item.reason for item in items.values()).casefold()
    assert not [word for word in ("should", "recommend", "must", "advise", "avoid") if word in text]
