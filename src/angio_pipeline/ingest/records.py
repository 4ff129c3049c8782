"""Procedure records: rows of cells to typed records, each oddity a finding, no row dropped.

A value that cannot be used becomes unknown; what looks odd and can be used stays. Findings name patients by
pseudonym, as every result does.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.records import AgentTable, CatheterPosition, Finding, ProcedureRecord
from angio_pipeline.ingest.record_checks import check_doses, check_record, check_repeats
from angio_pipeline.ingest.record_mapping import RecordMapping
from angio_pipeline.ingest.record_text import RecordText, columns_of, read_record_text
from angio_pipeline.ingest.record_values import (
    UNKNOWN_WORDS,
    DateOrder,
    Odd,
    date_order,
    date_style,
    known_names,
    read_amount,
    read_date,
    read_flag,
    read_sizes,
    split_list,
)

__all__ = ["Records", "read_records"]

_PSEUDONYM = re.compile(r"P[0-9a-f]{12}")
_AMOUNTS = {
    "oil_ml": "ml", "age_years": "years", "afp_ng_ml": "ng/ml", "size_mm": "mm", "necrosis_main_percent": "%",
    "necrosis_daughter_percent": "%", "histology_necrosis_percent": "%", "histology_daughter_percent": "%",
    "survival_days": "days", "progression_days": "days",
}  # fmt: skip
_FLAGS = (
    "angiography_before", "shunt_looked_for", "shunt_found", "endpoint_judged", "reflux_guarded", "patient_watched",
    "films_kept", "event", "progression",
)  # fmt: skip
_SEXES = {"f": "F", "female": "F", "w": "F", "m": "M", "male": "M"}
_POSITIONS = {
    "coeliac": "celiac", "celiac trunk": "celiac", "right hepatic": "lobar", "left hepatic": "lobar", "lobe": "lobar",
    "segment": "segmental", "super-selective": "segmental", "superselective": "segmental",
    "super selective": "segmental",
}  # fmt: skip
# A number with its unit, or the lone dash of what is unknown.
_SIGNED = re.compile(r"[+-](\s*\d[\d.,\s]*[^\d()|!=+*&^:<>-]{0,8})?")
_NO_EMBOLIC = frozenset({"none", "no", "0"})
_REDCAP = ("redcap_event_name", "redcap_repeat_instrument")


@dataclass(frozen=True, slots=True)
class Records:
    """All treatments of a file, in its order, and what is odd about them."""

    records: tuple[ProcedureRecord, ...]
    findings: tuple[Finding, ...]
    columns: tuple[str, ...]


@dataclass(slots=True)
class _Reader:
    """One file being read."""

    mapping: RecordMapping
    table: AgentTable
    order: DateOrder | None
    latest: date
    places: Mapping[str, int]
    findings: list[Finding] = field(default_factory=list)
    row: int = 0
    patient: str = ""

    def odd(self, column: str, code: str, sentence: str) -> None:
        self.findings.append(Finding(self.row, self.patient, column, code, sentence))


def read_records(
    path: Path,
    *,
    mapping: RecordMapping,
    table: AgentTable,
    latest: date,
    pseudonym_of: Callable[[str, str], str],
    by: str | None = None,
) -> Records:
    """Return the treatments that a CSV file or a REDCap export holds.

    Parameters
    ----------
    latest : date
        No treatment can have been later.
    pseudonym_of : callable
        From a patient's number and its issuer (empty where none is told) to the pseudonym that results carry.
    by : str, optional
        A further column that is kept, to compare patients by. No other column without a meaning is.

    Raises
    ------
    InputRefused
        When the file holds no rows or no column of patients.
    """
    text = read_record_text(path)
    places = dict(columns_of(text))
    patient_column = mapping.column("patient_id")
    if patient_column not in places:
        raise InputRefused(
            # Where a file has no header its first patient stands there: no name of a column is repeated.
            f"Expected a column {patient_column!r} of patients in {path.name}, found {len(places)} of other names; "
            "name the column in a mapping.",
            reason="bad_records",
        )
    dates = _column(text, places, mapping.column("date"))
    order = mapping.date_order or date_order(dates)
    reader = _Reader(mapping, table, order, latest, places, list(text.findings))
    _check_columns(reader, dates)
    rows = _merged(text, places, patient_column)
    records = tuple(_read_row(reader, number, row, pseudonym_of, by) for number, row in rows)
    return Records(records, tuple(reader.findings + check_repeats(records)), tuple(places))


def _column(text: RecordText, places: Mapping[str, int], name: str) -> list[str]:
    return [row[places[name]] for row in text.rows] if name in places else []


def _check_columns(reader: _Reader, dates: Sequence[str]) -> None:
    for name, column in reader.mapping.columns.items():
        if column not in reader.places:
            reader.odd(column, "no_such_column", f"Expected the column that the mapping names for {name}, found none.")
    styles = Counter(date_style(cell) for cell in dates if cell.casefold() not in UNKNOWN_WORDS)
    if len(styles) > 1:
        told = ", ".join(f"{count} as {style}" for style, count in styles.most_common(4))
        sentence = f"Expected one way of writing dates, found {told}."
        reader.odd(reader.mapping.column("date"), "mixed_date_formats", sentence)


def _merged(text: RecordText, places: Mapping[str, int], patient: str) -> list[tuple[int, tuple[str, ...]]]:
    """Rows with their numbers; in a REDCap export what is told once of a patient is filled into its treatments."""
    numbered = list(enumerate(text.rows, start=1))
    told = [name for name in _REDCAP if name in places]
    if not told:
        return numbered
    once: dict[str, list[str]] = {}
    kind = places[told[-1]]
    repeated = {row[places[patient]] for _, row in numbered if row[kind] and told[-1] == "redcap_repeat_instrument"}
    kept = []
    for number, row in numbered:
        name = row[places[patient]]
        if name in repeated and not row[kind]:
            once[name] = list(row)
        else:
            kept.append((number, row))
    return [
        (n, tuple(c or o for c, o in zip(row, once.get(row[places[patient]], row), strict=True))) for n, row in kept
    ]


def _read_row(
    reader: _Reader, number: int, row: Sequence[str], pseudonym_of: Callable[[str, str], str], by: str | None
) -> ProcedureRecord:
    cells = {name: row[place] for name, place in reader.places.items()}
    told = cells[reader.mapping.column("patient_id")]
    reader.row, reader.patient = number, ""
    issuer = cells.get(reader.mapping.column("issuer"), "") or reader.mapping.issuer
    if told:
        reader.patient = told if _PSEUDONYM.fullmatch(told) else pseudonym_of(told, issuer)
    else:
        reader.odd("patient_id", "no_patient", "Expected a patient's number, found an empty cell.")
    _check_formulas(reader, cells)
    values = _values(reader, cells)
    values |= {"row": number, "patient_id": told, "issuer": issuer, "subject": reader.patient or f"row-{number}"}
    if by is not None and by in cells:
        values["other"] = {by: cells[by]}
    record = _validated(reader, values)
    for finding in (*check_doses(record, reader.table), *check_record(record, reader.table)):
        reader.findings.append(finding)
    return record


def _check_formulas(reader: _Reader, cells: Mapping[str, str]) -> None:
    for name, cell in cells.items():
        if cell[:1] in ("=", "@") or (cell[:1] in ("+", "-") and _SIGNED.fullmatch(cell) is None):
            sentence = "Expected a value, found what a spreadsheet would run as a formula; it is kept as text."
            reader.odd(name, "formula", sentence)


def _values(reader: _Reader, cells: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}

    def take(field: str, read: Callable[[str], Any]) -> None:
        cell = _cell(reader.mapping, cells, field)
        if cell.casefold() in UNKNOWN_WORDS:
            return
        try:
            values[field] = read(cell)
        except Odd as odd:
            reader.odd(reader.mapping.column(field), odd.code, odd.sentence)

    take("date", lambda cell: read_date(cell, reader.order, reader.latest))
    for name, unit in _AMOUNTS.items():
        take(name, partial(read_amount, unit=unit, written=reader.mapping.units.get(name)))
    for name in _FLAGS:
        take(name, read_flag)
    take("sex", lambda cell: _choice(cell, _SEXES, "F or M"))
    take("child_pugh", lambda cell: _choice(cell, {c.casefold(): c for c in "ABC"}, "A, B or C"))
    take("catheter_position", _position)
    take("embolic_size_um", read_sizes)
    take("procedure", lambda cell: _procedure(reader, cell))
    for name in ("regimen", "origin", "size_class"):
        take(name, str)
    return values | _given(reader, cells)


def _cell(mapping: RecordMapping, cells: Mapping[str, str], field: str) -> str:
    if field in mapping.checkboxes:
        ticked = [entry for column, entry in mapping.checkboxes[field].items() if cells.get(column) in ("1", "Checked")]
        return ";".join(ticked)
    cell = cells.get(mapping.column(field), "")
    return mapping.values.get(field, {}).get(cell, cell)


def _choice(cell: str, known: Mapping[str, str], words: str) -> str:
    plain = cell.casefold().removeprefix("child").removeprefix("-pugh").strip()
    # Points go with the class: A5, B7.
    found = known.get(plain) or (known.get(plain[:1]) if re.fullmatch(r"[abc]\s*\d{1,2}", plain) else None)
    if found is None:
        raise Odd("unknown_value", f"Expected {words}, found another word.")
    return found


def _position(cell: str) -> CatheterPosition:
    plain = " ".join(cell.casefold().removesuffix("artery").split())
    try:
        return CatheterPosition(_POSITIONS.get(plain, plain))
    except ValueError:
        known = ", ".join(position.value for position in CatheterPosition)
        raise Odd("unknown_position", f"Expected one of {known}, found another word.") from None


def _procedure(reader: _Reader, cell: str) -> str:
    name = reader.table.name_of("procedures", cell)
    if name is None:
        raise Odd("unknown_procedure", f"Expected one of {', '.join(reader.table.procedures)}, found another word.")
    return name


def _given(reader: _Reader, cells: Mapping[str, str]) -> dict[str, Any]:
    """Drugs with their doses, and embolics."""
    mapping = reader.mapping
    words, doses = (split_list(_cell(mapping, cells, name)) for name in ("agents", "doses_mg"))
    embolic_words = [w for w in split_list(_cell(mapping, cells, "embolic")) if w.casefold() not in _NO_EMBOLIC]
    words = [w for w in words if w.casefold() not in UNKNOWN_WORDS | _NO_EMBOLIC]
    drugs, embolics, _ = known_names(reader.table, words)
    _, more, strange = known_names(reader.table, [w for w in embolic_words if w.casefold() not in UNKNOWN_WORDS])
    agents = [reader.table.name_of("drugs", w) or w for w in words if reader.table.name_of("embolics", w) is None]
    for word in [*(a for a in agents if a not in drugs), *strange]:
        reader.odd(
            "agents", "unknown_agent", f"Expected an agent of the table, found {word[:40]!r}; add it to the table."
        )
    amounts = tuple(_dose(reader, cell) for cell in doses)
    if amounts and len(amounts) != len(agents):
        said = f"Expected a dose for each of {len(agents)} drugs, found {len(amounts)}; none was taken."
        reader.odd("doses_mg", "doses_do_not_match", said)
        amounts = ()
    padded = amounts or (None,) * len(agents)
    named = tuple(dict.fromkeys([*embolics, *more]))
    return {"agents": tuple(agents), "doses_mg": padded, "embolics": named, "unknown_embolics": len(set(strange))}


def _dose(reader: _Reader, cell: str) -> float | None:
    if cell.casefold() in UNKNOWN_WORDS:
        return None
    try:
        return read_amount(cell, "mg", reader.mapping.units.get("doses_mg"))
    except Odd as odd:
        reader.odd("doses_mg", odd.code, odd.sentence)
        return None


def _validated(reader: _Reader, values: dict[str, Any]) -> ProcedureRecord:
    """The record; a value that its field refuses becomes unknown, with a finding."""
    try:
        return ProcedureRecord.model_validate(values)
    except ValidationError as error:
        wrong: dict[Literal["name"] | str, str] = {str(one["loc"][0]): str(one["msg"]) for one in error.errors()}
    for name, message in wrong.items():
        sentence = f"Expected a possible value, found one for which {message[:1].lower()}{message[1:]}."
        reader.odd(reader.mapping.column(name), "impossible_value", sentence)
    return ProcedureRecord.model_validate({k: v for k, v in values.items() if k not in wrong})
