"""What a record says against what is known of agents, and against the other records. Nothing is changed here.

A dose outside the recorded range asks for a look at the record; it is no statement about the dose.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from angio_pipeline.core.records import AgentTable, Finding, ProcedureRecord

__all__ = ["check_doses", "check_record", "check_repeats"]


def check_doses(record: ProcedureRecord, table: AgentTable) -> Iterator[Finding]:
    """Yield a finding for each dose outside its recorded range, as a wrong unit where a factor of 1000 explains it."""
    for name, dose in zip(record.agents, record.doses_mg, strict=True):
        drug = table.drugs.get(name)
        if drug is None or dose is None:
            continue
        low, high = drug.recorded_mg
        if low <= dose <= high:
            continue
        for factor, unit in ((1000.0, "g"), (0.001, "µg")):
            if low <= dose * factor <= high:
                told = f"Expected {name} in mg, found {dose:g}, which fits as {unit}: check the record."
                yield _about(record, "doses_mg", "wrong_unit", told)
                break
        else:
            told = f"Expected {name} within {low:g} to {high:g} mg, as is common, found {dose:g}: check the record."
            yield _about(record, "doses_mg", "dose_outside_range", told)


def check_record(record: ProcedureRecord, table: AgentTable) -> Iterator[Finding]:
    """Yield what contradicts itself in one record."""
    kind = table.procedures.get(record.procedure or "")
    has = {
        "drug": bool(record.agents),
        "oil": bool(record.oil_ml) or "iodised oil" in record.embolics,
        "embolic": any(name != "iodised oil" for name in record.embolics),
    }
    for part, given in has.items():
        wanted = getattr(kind, part, None)
        if wanted is not None and wanted != given:
            found = f"with {part}, found none recorded" if wanted else f"without {part}, found some"
            told = f"Expected {record.procedure} {found}; correct the procedure or complete the record."
            yield _about(record, "procedure", "procedure_contradicts", told)
    yield from _check_sizes(record, table)
    for time, event in (("survival_days", "event"), ("progression_days", "progression")):
        if (getattr(record, time) is None) != (getattr(record, event) is None):
            told = f"Expected {time} and {event} together, found one alone; the outcome is not used."
            yield _about(record, time, "outcome_incomplete", told)
    progression, end = record.progression_days, record.survival_days
    if progression is not None and end is not None and progression > end:
        told = "Expected progression no later than the end of observation, found it later."
        yield _about(record, "progression_days", "impossible_date", told)


def _check_sizes(record: ProcedureRecord, table: AgentTable) -> Iterator[Finding]:
    if record.embolic_size_um is None:
        return
    for name in record.embolics:
        usual = table.embolics[name].size_um
        if usual is not None and (record.embolic_size_um[0] < usual[0] or record.embolic_size_um[1] > usual[1]):
            low, high = record.embolic_size_um
            told = (
                f"Expected {name} within {usual[0]:g} to {usual[1]:g} µm, found {low:g} to {high:g}: check the record."
            )
            yield _about(record, "embolic_size_um", "size_outside_range", told)


def check_repeats(records: Sequence[ProcedureRecord]) -> list[Finding]:
    """Return a finding for each record whose patient was met before: a further treatment, or the same again."""
    found: list[Finding] = []
    met: Counter[str] = Counter()
    days: set[tuple[str, object]] = set()
    for record in records:
        if record.patient_id and met[record.subject]:
            same = (record.subject, record.date) in days
            code = "duplicate_record" if same else "repeated_patient"
            told = "the same patient and date again" if same else "a further treatment of a patient"
            sentence = f"Expected a patient once, found {told}; statistics take the first treatment."
            found.append(_about(record, "patient_id", code, sentence))
        met[record.subject] += 1
        days.add((record.subject, record.date))
    return found


def _about(record: ProcedureRecord, column: str, code: str, sentence: str) -> Finding:
    return Finding(record.row, record.subject, column, code, sentence)
