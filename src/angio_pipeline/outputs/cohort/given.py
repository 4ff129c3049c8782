"""What was given: procedures, embolics and drugs by how many treatments name them, and what each implies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from angio_pipeline.core.records import AgentTable, Drug, Embolic, ProcedureRecord
from angio_pipeline.core.words import counted
from angio_pipeline.response.cohort.data import Table

__all__ = ["given_table"]

_UNKNOWN = "not in the table of agents"


def given_table(records: Sequence[ProcedureRecord], agents: AgentTable) -> Table:
    """Return a row each procedure, embolic and drug that the records name, commonest first within its kind.

    What the table of agents does not know is counted and not named: it may be free text about a patient.
    """
    rows: list[tuple[str, ...]] = []
    procedures = Counter(record.procedure for record in records if record.procedure is not None)
    rows += [("Procedure", name, str(n), _procedure(name, agents)) for name, n in procedures.most_common()]
    embolics = Counter(name for record in records for name in _embolics(record) if name in agents.embolics)
    rows += [("Embolic", name, str(n), _embolic(agents.embolics[name])) for name, n in embolics.most_common()]
    rows += _unknown("Embolic", sum(_strange_embolic(record, agents) for record in records))
    drugs = Counter(name for record in records for name in set(record.agents) if name in agents.drugs)
    rows += [("Drug", name, str(n), _drug(name, records, agents.drugs[name])) for name, n in drugs.most_common()]
    rows += _unknown("Drug", sum(any(name not in agents.drugs for name in record.agents) for record in records))
    silent = sum(not record.agents and not _embolics(record) and not record.unknown_embolics for record in records)
    unnamed = sum(record.procedure is None for record in records)
    notes = (
        f"Of {counted(len(records), 'treatment')}; missing: procedure in {unnamed}, anything given in {silent}. What "
        "an agent implies is that of the table of agents; a range of doses serves to check records and is no "
        "recommendation.",
    )
    return Table("What was given", ("Kind", "Name", "Treatments", "What it implies"), tuple(rows), notes)


def _embolics(record: ProcedureRecord) -> list[str]:
    """Return the embolics of a record; an amount of oil is oil."""
    oil = ["iodised oil"] if record.oil_ml and "iodised oil" not in record.embolics else []
    return [*oil, *record.embolics]


def _strange_embolic(record: ProcedureRecord, agents: AgentTable) -> bool:
    return record.unknown_embolics > 0 or any(name not in agents.embolics for name in _embolics(record))


def _unknown(kind: str, treatments: int) -> list[tuple[str, ...]]:
    return [(kind, _UNKNOWN, str(treatments), "unknown; see findings.csv")] if treatments else []


def _procedure(name: str, agents: AgentTable) -> str:
    return agents.procedures[name].words if name in agents.procedures else _UNKNOWN


def _embolic(known: Embolic) -> str:
    return "; ".join([known.implies, *_further(known)])


def _further(known: Embolic) -> Iterator[str]:
    """Yield what the table holds as numbers and the words may leave out."""
    if known.size_um is not None:
        yield f"{known.size_um[0]:g} to {known.size_um[1]:g} µm"
    if known.iodine_mg_per_ml is not None:
        yield f"{known.iodine_mg_per_ml:g} mg iodine a ml"
    if known.g_per_ml is not None:
        yield f"{known.g_per_ml:g} g a ml"


def _drug(name: str, records: Sequence[ProcedureRecord], known: Drug) -> str:
    doses = [d for r in records for agent, d in zip(r.agents, r.doses_mg, strict=True) if agent == name]
    told = [dose for dose in doses if dose is not None]
    recorded = f"{min(told):g} to {max(told):g} mg" if told else "no dose"
    words = f"here {recorded}, dose missing in {len(doses) - len(told)}"
    low, high = known.recorded_mg
    beyond = sum(not low <= dose <= high for dose in told)
    return f"commonly recorded {low:g} to {high:g} mg; {words}, outside the range in {beyond}"
