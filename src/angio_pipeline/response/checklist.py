"""A treatment against the precautions of the field: what the record and the images say of each.

It reports, and never advises. What neither source tells is unknown, not a failure.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.core.records import AgentTable, ChecklistItem, Precaution, ProcedureRecord, TreatmentEvidence

__all__ = ["ChecklistParams", "check_treatment"]

Answer = Literal["yes", "no", "unknown"]


class ChecklistParams(Params):
    """From when on something counts as seen."""

    shunt_probability: float = Field(0.5, ge=0, le=1, description="least probability of a shunt that counts as found")
    selective_bifurcations: int = Field(
        0, ge=0, le=10, description="most divisions between the catheter tip and the target of a super-selective run"
    )
    selective_non_target: float = Field(
        0.2, ge=0, le=1, description="greatest share of other tissue downstream of a super-selective position"
    )


def check_treatment(
    record: ProcedureRecord, evidence: TreatmentEvidence | None, *, agents: AgentTable, params: ChecklistParams
) -> list[ChecklistItem]:
    """Return what is known of each precaution.

    Parameters
    ----------
    agents : AgentTable
        Tells which embolics need super-selection, under whatever name they were recorded.
    evidence : TreatmentEvidence, optional
        None when no image of the patient was analysed.
    """
    seen = evidence or TreatmentEvidence()
    shunt = _shunt_found(record, seen, params)
    selective = _super_selective(record, seen, params)
    items = [
        _angiography(record, seen),
        _shunt_looked_for(record, seen),
        shunt,
        selective,
        _end_point(record, seen),
        _told(Precaution.REFLUX_GUARDED, record.reflux_guarded),
        _told(Precaution.PATIENT_WATCHED, record.patient_watched),
        _non_target_oil(seen),
        _films_kept(record, seen),
    ]
    risky = [
        name for name in record.embolics if name in agents.embolics and agents.embolics[name].needs_super_selection
    ]
    return items + _microspheres(risky, agents, shunt, selective)


def _told(what: Precaution, value: bool | None) -> ChecklistItem:
    if value is None:
        return ChecklistItem(what, "unknown", "The record does not say.")
    return ChecklistItem(what, _yes(value), f"The record says {_yes(value)}.")


def _yes(value: bool) -> Answer:
    return "yes" if value else "no"


def _angiography(record: ProcedureRecord, seen: TreatmentEvidence) -> ChecklistItem:
    if seen.runs_before:
        words = f"{seen.runs_before} run{'s' if seen.runs_before > 1 else ''} of that day or earlier analysed."
        return ChecklistItem(Precaution.ANGIOGRAPHY_BEFORE, "yes", words)
    return _told(Precaution.ANGIOGRAPHY_BEFORE, record.angiography_before)


def _shunt_looked_for(record: ProcedureRecord, seen: TreatmentEvidence) -> ChecklistItem:
    if record.shunt_looked_for is None and seen.shunts_assessed:
        words = "The record does not say; the analysed runs were searched for veins that fill early."
        return ChecklistItem(Precaution.SHUNT_LOOKED_FOR, "yes", words)
    return _told(Precaution.SHUNT_LOOKED_FOR, record.shunt_looked_for)


def _shunt_found(record: ProcedureRecord, seen: TreatmentEvidence, params: ChecklistParams) -> ChecklistItem:
    likely = [s for s in seen.shunts if s.probability >= params.shunt_probability]
    told = "The record does not say" if record.shunt_found is None else f"The record says {_yes(record.shunt_found)}"
    if likely:
        best = max(likely, key=lambda s: s.probability)
        words = f"{told}; a run shows {best.kind} filling, probability {best.probability:.2f}."
        return ChecklistItem(Precaution.SHUNT_FOUND, "yes", words, warning=record.shunt_found is not True)
    if record.shunt_found is not None:
        return _told(Precaution.SHUNT_FOUND, record.shunt_found)
    if seen.shunts_assessed:
        words = f"{told}; no vein fills early with a probability of {params.shunt_probability:g} or more."
        return ChecklistItem(Precaution.SHUNT_FOUND, "no", words)
    return ChecklistItem(Precaution.SHUNT_FOUND, "unknown", f"{told}, and no run could show one.")


def _super_selective(record: ProcedureRecord, seen: TreatmentEvidence, params: ChecklistParams) -> ChecklistItem:
    words = []
    if seen.bifurcations is not None:
        words.append(f"{seen.bifurcations} divisions lie between the catheter tip of the run and the best target")
    if seen.non_target_fraction is not None:
        words.append(f"{100 * seen.non_target_fraction:.0f} % of the tree beyond the target is not the tumour's")
    image = f" In the images {' and '.join(words)}." if words else ""
    position = record.catheter_position
    if position is not None:
        answer = _yes(position.super_selective)
        return ChecklistItem(Precaution.SUPER_SELECTIVE, answer, f"The record says {position.value}.{image}")
    if seen.bifurcations is None or seen.non_target_fraction is None:
        return ChecklistItem(Precaution.SUPER_SELECTIVE, "unknown", f"The record gives no position.{image}")
    near = seen.bifurcations <= params.selective_bifurcations
    clean = seen.non_target_fraction <= params.selective_non_target
    return ChecklistItem(Precaution.SUPER_SELECTIVE, _yes(near and clean), f"The record gives no position.{image}")


def _end_point(record: ProcedureRecord, seen: TreatmentEvidence) -> ChecklistItem:
    if seen.sace:
        words = f"Runs before and after compared; derived level SACE {', '.join(seen.sace)}."
        return ChecklistItem(Precaution.END_POINT_JUDGED, "yes", words)
    item = _told(Precaution.END_POINT_JUDGED, record.endpoint_judged)
    if not seen.end_point_compared:
        return item
    return ChecklistItem(item.precaution, item.answer, f"{item.reason} Runs were compared without a level.")


def _non_target_oil(seen: TreatmentEvidence) -> ChecklistItem:
    if seen.non_target_oil is None:
        return ChecklistItem(Precaution.NON_TARGET_OIL, "unknown", "No follow-up was searched for oil elsewhere.")
    if seen.non_target_oil:
        words = f"Oil in {', '.join(seen.non_target_oil)}."
        return ChecklistItem(Precaution.NON_TARGET_OIL, "yes", words, warning=True)
    return ChecklistItem(Precaution.NON_TARGET_OIL, "no", "The follow-ups that were searched show none.")


def _films_kept(record: ProcedureRecord, seen: TreatmentEvidence) -> ChecklistItem:
    if record.films_kept is None and seen.films:
        return ChecklistItem(Precaution.FILMS_KEPT, "yes", f"{seen.films} of them were analysed.")
    return _told(Precaution.FILMS_KEPT, record.films_kept)


def _microspheres(
    risky: list[str], agents: AgentTable, shunt: ChecklistItem, selective: ChecklistItem
) -> list[ChecklistItem]:
    if not risky:
        return []
    found = []
    name = ", ".join(risky)
    name = name[:1].upper() + name[1:]
    if selective.answer != "yes":
        words = f"{name} were recorded, and super-selection is {_not_yes(selective.answer)}. {selective.reason}"
        words += "".join(f" Of {one} the table says: {agents.embolics[one].implies}." for one in risky)
        found.append(ChecklistItem(Precaution.MICROSPHERES_NOT_SELECTIVE, _as_warned(selective.answer), words, True))
    if shunt.answer == "yes":
        words = f"{name} were recorded, and so is a shunt. {shunt.reason}"
        found.append(ChecklistItem(Precaution.SHUNT_WITH_MICROSPHERES, "yes", words, warning=True))
    return found


def _not_yes(answer: Answer) -> str:
    return "not recorded" if answer == "unknown" else "denied"


def _as_warned(answer: Answer) -> Answer:
    return "unknown" if answer == "unknown" else "yes"
