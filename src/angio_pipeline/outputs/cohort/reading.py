"""Output folders and records to the tables that cohort statistics start from.

Each subject's documents are read, turned into rows and let go, so that memory holds rows and not documents.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from angio_pipeline.core.quality import Quality
from angio_pipeline.core.records import (
    AgentTable,
    ChecklistItem,
    Finding,
    ProcedureRecord,
)
from angio_pipeline.outputs.cells import Columns, Row
from angio_pipeline.outputs.cohort.evidence import day_of, evidence_of
from angio_pipeline.outputs.cohort.responses import CALL_COLUMNS, call_rows, with_response
from angio_pipeline.outputs.folders import SubjectFolder, read_refused, read_subject
from angio_pipeline.outputs.rows import (
    FEEDER_COLUMNS,
    LIPIODOL_COLUMNS,
    RUN_COLUMNS,
    feeder_rows,
    lipiodol_rows,
    run_rows,
)
from angio_pipeline.outputs.schemas import LesionDocument, TimepointDocument
from angio_pipeline.response.checklist import ChecklistParams, check_treatment
from angio_pipeline.response.cohort import CohortData, CohortParams

__all__ = ["PATIENT_COLUMNS", "CohortInput", "arm_of", "read_cohort"]

_OF_RECORD = (
    "procedure", "regimen", "oil_ml", "catheter_position", "age_years", "sex", "child_pugh", "origin", "afp_ng_ml",
    "size_mm", "size_class", "necrosis_main_percent", "necrosis_daughter_percent", "histology_necrosis_percent",
    "histology_daughter_percent", "survival_days", "event", "progression_days", "progression",
)  # fmt: skip
_NUMBERS = frozenset(
    {
        "oil_ml", "age_years", "afp_ng_ml", "size_mm", "necrosis_main_percent", "necrosis_daughter_percent",
        "histology_necrosis_percent", "histology_daughter_percent", "survival_days", "progression_days",
        "lesions", "half_life_days", "retention", "retention_days", "event", "progression", "treatments",
        "imaging_necrosis_main_percent", "imaging_necrosis_daughter_percent",
    }
)  # fmt: skip
_NECROSIS = (
    "histology_necrosis_percent", "histology_daughter_percent", "necrosis_main_percent", "necrosis_daughter_percent",
)  # fmt: skip
_FLAGS = ("recorded", "has_oil", "has_drug", "has_embolic")
PATIENT_COLUMNS: Columns = {
    name: "DOUBLE" if name in _NUMBERS else "BOOLEAN" if name in _FLAGS else "VARCHAR"
    for name in (
        "subject", "arm", "state", "recorded", "treatments", "date", *_OF_RECORD, "necrosis_source",
        "imaging_necrosis_main_percent", "imaging_necrosis_daughter_percent", "has_oil",
        "has_drug", "has_embolic", "progression_source", "lesions", "main_lesion", "retention",
        "retention_days", "half_life_days",
        "best_response", "flags",
    )
}  # fmt: skip


_TABLES: dict[str, Columns] = {
    "runs": RUN_COLUMNS,
    "feeders": FEEDER_COLUMNS,
    "timepoints": LIPIODOL_COLUMNS,
    "responses": CALL_COLUMNS,
    "courses": {"subject": "VARCHAR", "lesion": "VARCHAR", "days": "DOUBLE", "retention": "DOUBLE"},
}
_MOST_ROWS = 20_000


@dataclass(slots=True)
class _Growing:
    """A table as it is read: rows become columns now and then, as dicts they hold several times the memory."""

    columns: Columns
    rows: list[Row] = field(default_factory=list)
    parts: list[pd.DataFrame] = field(default_factory=list)

    def add(self, rows: Iterable[Row]) -> None:
        """Append rows."""
        self.rows += rows
        if len(self.rows) >= _MOST_ROWS:
            self._pack()

    def _pack(self) -> None:
        part = pd.DataFrame(self.rows, columns=list(self.columns), dtype=object)
        numbers = [name for name, kind in self.columns.items() if kind == "DOUBLE"]
        self.parts.append(part.astype(dict.fromkeys(numbers, "float64")))
        self.rows = []

    def frame(self) -> pd.DataFrame:
        """Return all of it."""
        if self.rows or not self.parts:
            self._pack()
        return pd.concat(self.parts, ignore_index=True) if len(self.parts) > 1 else self.parts[0]


@dataclass(slots=True)
class CohortInput:
    """What was read: rows of every table, what is odd, and what each treatment's checklist says.

    `on_films_alone` counts patients whose oil films show and no scan: their amounts have no unit, and take no part.
    """

    data: CohortData
    tables: dict[str, pd.DataFrame]
    findings: list[Finding]
    agents: AgentTable
    checklist: list[tuple[ProcedureRecord, list[ChecklistItem]]] = field(default_factory=list)
    on_films_alone: int = 0


def read_cohort(
    outs: Sequence[Path],
    records: Sequence[ProcedureRecord],
    *,
    by: str,
    params: CohortParams,
    checklist: ChecklistParams,
    agents: AgentTable,
    findings: Sequence[Finding] = (),
    readers: tuple[pd.DataFrame, pd.DataFrame] | None = None,
) -> CohortInput:
    """Return the tables of everything below the output folders, and of the records."""
    odd = list(findings)
    rows = {name: _Growing(columns) for name, columns in _TABLES.items()}
    treatments = _by_subject(records)
    patients: dict[str, Row] = {}
    items: list[tuple[ProcedureRecord, list[ChecklistItem]]] = []
    on_films_alone = 0
    for path in _subject_folders(outs, odd):
        subject = read_subject(path)
        told = treatments.get(subject.subject, [])
        _gather(subject, rows)
        rows["responses"].add(call_rows(subject.subject, subject.response))
        patients[subject.subject] = with_response(_patient_row(subject, told, by, params), subject.response)
        odd += _unread(subject)
        on_films_alone += _on_films_alone(subject)
        items += [
            (one, check_treatment(one, evidence_of(subject, one, told), agents=agents, params=checklist))
            for one in told
        ]
    odd += _unmatched(treatments, patients)
    for name, told in treatments.items():
        if name not in patients:
            patients[name] = _record_row(name, told, by) | {"state": "no images", "lesions": None}
            items += [(one, check_treatment(one, None, agents=agents, params=checklist)) for one in told]
    frame = _frame(PATIENT_COLUMNS, patients.values()).set_index("subject", drop=False)
    frame.index.name = None
    data = CohortData(
        patients=_typed(frame),
        timepoints=rows["courses"].frame(),
        arm_name=by,
        planned=len(records),
        inputs_refused=dict(Counter(row.get("reason", "") for out in outs for row in read_refused(out))),
        readers=readers,
    )
    tables = {"patients": frame} | {name: table.frame() for name, table in rows.items() if name != "courses"}
    return CohortInput(data, tables, odd, agents, sorted(items, key=lambda pair: pair[0].row), on_films_alone)


def _by_subject(records: Iterable[ProcedureRecord]) -> dict[str, list[ProcedureRecord]]:
    """Treatments of each patient, the first first; undated ones last."""
    found: dict[str, list[ProcedureRecord]] = {}
    for record in records:
        found.setdefault(record.subject, []).append(record)
    for told in found.values():
        told.sort(key=lambda r: (r.date is None, r.date, r.row))
    return found


def _subject_folders(outs: Sequence[Path], odd: list[Finding]) -> list[Path]:
    met: dict[str, Path] = {}
    for out in outs:
        folder = out / "subjects"
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            if not path.is_dir():
                continue
            if path.name in met:
                told = "Expected a patient in one output folder, found results in two; the first folder given counts."
                odd.append(Finding(0, path.name, "", "duplicate_patient", told))
            met.setdefault(path.name, path)
    return list(met.values())


def _unread(subject: SubjectFolder) -> list[Finding]:
    """A document that is there and cannot be read is missing from every number: it has to be told."""
    told = [run.problem for run in subject.runs] + [subject.problem, subject.response_problem]
    return [Finding(0, subject.subject, "", "unread_result", words) for words in told if words]


def _unmatched(treatments: Mapping[str, Sequence[ProcedureRecord]], patients: Mapping[str, Row]) -> list[Finding]:
    """Two groups that share nobody were named differently: patients count twice, and arms lack images."""
    numbered = [name for name, told in treatments.items() if told[0].patient_id]
    if not numbered or not patients or any(name in patients for name in numbered):
        return []
    told = (
        f"Expected patients of the records among the {len(patients)} of the results, found none of {len(numbered)}; "
        "where the images name an issuer of patient IDs (0010,0021) give it in a column issuer or in the mapping, and "
        "use the key file that the results were made with."
    )
    return [Finding(0, "", "", "no_patient_matches", told)]


def _gather(subject: SubjectFolder, rows: dict[str, _Growing]) -> None:
    for run in subject.runs:
        rows["runs"].add(run_rows(subject, run))
        rows["feeders"].add(feeder_rows(subject, run))
    rows["timepoints"].add(lipiodol_rows(subject))
    for lesion in subject.follow_up.lesions if subject.follow_up is not None else []:
        rows["courses"].add(_course_rows(subject.subject, lesion))


def _course_rows(subject: str, lesion: LesionDocument) -> Iterator[Row]:
    course = _course_of(lesion)
    for days, retention in course.later if course is not None else ():
        yield {"subject": subject, "lesion": lesion.id, "days": days, "retention": retention}


@dataclass(frozen=True, slots=True)
class _Course:
    """One lesion on scans: iodine at the reference scan, and days since then with the retention of each later scan."""

    lesion: LesionDocument
    iodine_mg: float
    later: tuple[tuple[float, float], ...]


def _course_of(lesion: LesionDocument) -> _Course | None:
    """The course on plain scans that tell iodine in mg; None without the one that retention is relative to.

    Films tell amounts relative to a film, which are another quantity, and contrast medium counts as oil.
    """
    told = [
        (p.days, p.retention, p.iodine_mg)
        for p in lesion.timepoints
        if p.days is not None and p.retention is not None and p.iodine_mg is not None and not _enhanced(p)
    ]
    first = next((i for i, (_, retention, _) in enumerate(told) if retention == 1.0), None)
    if first is None:
        return None
    start, _, iodine_mg = told[first]
    later = tuple((days - start, retention) for days, retention, _ in told[first + 1 :])
    return _Course(lesion, iodine_mg, later)


def _enhanced(point: TimepointDocument) -> bool:
    return Quality.CONTRAST_ENHANCED.name in point.quality


def _on_films_alone(subject: SubjectFolder) -> bool:
    """Whether films followed the oil of a patient, and no scan did."""
    lesions = subject.follow_up.lesions if subject.follow_up is not None else []
    on_films = any(p.relative_amount is not None and p.retention is not None for x in lesions for p in x.timepoints)
    return on_films and not any(_course_of(lesion) for lesion in lesions)


def _record_row(subject: str, told: Sequence[ProcedureRecord], by: str) -> Row:
    row: Row = {"subject": subject, "recorded": bool(told), "treatments": float(len(told)), "necrosis_source": "none"}
    if not told:
        return row
    record = told[0]
    row |= {name: getattr(record, name) for name in _OF_RECORD}
    row |= {"date": day_of(record), "regimen": record.regimen or _regimen(record)}
    row |= {
        "arm": arm_of(record, by),
        "has_oil": bool(record.oil_ml) or "iodised oil" in record.embolics,
        "has_drug": bool(record.agents),
        "has_embolic": any(name != "iodised oil" for name in record.embolics),
    }
    # Outcomes count from the first treatment, which a later record of the same patient may know better.
    for name in _NECROSIS:
        row[name] = next((getattr(r, name) for r in told if getattr(r, name) is not None), None)
    histology, recorded = row["histology_necrosis_percent"], row["necrosis_main_percent"]
    row["necrosis_main_percent"] = histology if histology is not None else recorded
    row["necrosis_source"] = "histology" if histology is not None else "records" if recorded is not None else "none"
    if row["histology_daughter_percent"] is not None:
        row["necrosis_daughter_percent"] = row["histology_daughter_percent"]
    # Half an outcome is none: a time without knowing of what would count as alive.
    for time, event in (("survival_days", "event"), ("progression_days", "progression")):
        if row[time] is None or row[event] is None:
            row[time] = row[event] = None
    return row


def arm_of(record: ProcedureRecord, by: str) -> str | None:
    """Return what a patient is compared by: a field of the record, or a further column of the file."""
    if by == "regimen":
        return record.regimen or _regimen(record)
    value: Any = getattr(record, {"embolic": "embolics"}.get(by, by), None) if by != "other" else None
    if value is None:
        return record.other.get(by) or None
    return " + ".join(str(v) for v in value) if isinstance(value, tuple) else str(value)


def _regimen(record: ProcedureRecord) -> str | None:
    """What was given, by name, when the record names no regimen."""
    oil = ["lipiodol"] if record.oil_ml or "iodised oil" in record.embolics else []
    parts = [*oil, *record.agents, *(name for name in record.embolics if name != "iodised oil")]
    return " + ".join(parts) or record.procedure


def _patient_row(subject: SubjectFolder, told: Sequence[ProcedureRecord], by: str, params: CohortParams) -> Row:
    row = _record_row(subject.subject, told, by)
    lesions = subject.follow_up.lesions if subject.follow_up is not None else []
    flags = sorted(_flags(subject))
    analysed = bool(lesions) or any(run.document is not None for run in subject.runs)
    row |= {
        "state": ("flagged" if flags else "analysed") if analysed else "refused",
        "flags": " ".join(flags),
        "lesions": float(len(lesions)) if subject.follow_up is not None else None,
    }
    return row | _main_lesion(lesions, params)


def _flags(subject: SubjectFolder) -> set[str]:
    found = {flag for run in subject.runs if run.document is not None for flag in run.document.quality}
    if subject.follow_up is not None:
        found |= set(subject.follow_up.quality)
        found |= {flag for lesion in subject.follow_up.lesions for p in lesion.timepoints for flag in p.quality}
    return found


def _main_lesion(lesions: Sequence[LesionDocument], params: CohortParams) -> Row:
    """The lesion with most iodine at its reference scan, and its retention near the chosen day."""
    courses = [course for lesion in lesions if (course := _course_of(lesion)) is not None]
    if not courses:
        return {}
    main = max(courses, key=lambda course: course.iodine_mg)
    kinetics = main.lesion.kinetics
    row: Row = {"main_lesion": main.lesion.id, "half_life_days": kinetics.half_life_days if kinetics else None}
    off = [(abs(days - params.retention_day), days, retention) for days, retention in main.later if days > 0]
    nearest = min(off, default=None)
    if nearest is not None and nearest[0] <= params.retention_window_days:
        row |= {"retention_days": nearest[1], "retention": nearest[2]}
    return row


def _frame(columns: Columns, rows: Iterable[Row]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(columns))


def _typed(patients: pd.DataFrame) -> pd.DataFrame:
    """Numbers as floats with NaN, parts as true or false, the rest as words or None."""
    typed = patients.copy()
    for name, kind in PATIENT_COLUMNS.items():
        if kind == "DOUBLE":
            typed[name] = pd.to_numeric(typed[name].astype(object), errors="coerce").astype("float64")
        elif kind == "BOOLEAN":
            typed[name] = [value is True for value in typed[name]]
        else:
            words = [None if value is None or value != value else str(value) for value in typed[name]]
            typed[name] = pd.Series(words, index=typed.index, dtype=object)
    return typed
