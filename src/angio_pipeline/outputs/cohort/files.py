"""The tables of a cohort as files: CSV for people, Parquet for programs, one DuckDB for questions in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from angio_pipeline.core.records import Finding
from angio_pipeline.outputs.cells import Columns, Row, csv_text
from angio_pipeline.outputs.cohort.evidence import day_of
from angio_pipeline.outputs.cohort.reading import PATIENT_COLUMNS, CohortInput
from angio_pipeline.outputs.cohort.responses import CALL_COLUMNS
from angio_pipeline.outputs.files import replacing, write_text
from angio_pipeline.outputs.rows import FEEDER_COLUMNS, LIPIODOL_COLUMNS, RUN_COLUMNS
from angio_pipeline.response.cohort.data import Table

__all__ = ["VIEWS", "write_checklist", "write_database", "write_findings", "write_patients", "write_table"]

# The words that the database carries beside each view, and the page of the documentation repeats.
VIEWS: dict[str, tuple[Columns, str]] = {
    "patients": (PATIENT_COLUMNS, "A row a patient: arm, what the records say, the main lesion, what became of it."),
    "runs": (RUN_COLUMNS, "A row an angiographic run, as in runs.csv."),
    "feeders": (FEEDER_COLUMNS, "A row a feeder of a tumour in a run, as in feeders.csv."),
    "timepoints": (LIPIODOL_COLUMNS, "A row a lesion (or the liver) and date, as in lipiodol.csv."),
    "responses": (
        CALL_COLUMNS,
        "A row a patient, date, criterion and convention of the oil: the overall call, its rule and numbers.",
    ),
}


def write_patients(folder: Path, patients: pd.DataFrame) -> None:
    """Write `cohort.csv` and `cohort.parquet`: a row a patient."""
    rows: list[Row] = [
        {str(k): None if v is None or v != v else v for k, v in row.items()}  # NaN differs from itself
        for row in patients.astype(object).to_dict("records")
    ]
    write_text(folder / "cohort.csv", csv_text(tuple(PATIENT_COLUMNS), rows))
    import duckdb

    with duckdb.connect() as connection, replacing(folder / "cohort.parquet") as temporary:
        connection.register("read", patients)
        connection.execute(f"COPY ({_select(PATIENT_COLUMNS)}) TO '{_quoted(temporary)}' (FORMAT parquet)")


def write_table(path: Path, table: Table) -> None:
    """Write a table as it is shown; its notes follow as comments in the first column."""
    names = [name or "row" for name in table.headings]
    rows: list[Row] = [dict(zip(names, row, strict=True)) for row in table.rows]
    rows += [{names[0]: f"# {note}"} for note in table.notes]
    write_text(path, csv_text(names, rows))


def write_findings(path: Path, findings: Sequence[Finding]) -> None:
    """Write what is odd about the records: row (0 the file), patient, column, code, sentence."""
    names = ("row", "patient", "column", "code", "sentence")
    write_text(path, csv_text(names, [{name: getattr(one, name) for name in names} for one in findings]))


def write_checklist(path: Path, read: CohortInput) -> None:
    """Write a row for each treatment and precaution."""
    names = ("row", "subject", "date", "precaution", "answer", "warning", "reason")
    rows: list[Row] = [
        {
            "row": record.row,
            "subject": record.subject,
            "date": day_of(record),
            "precaution": item.precaution.value,
            "answer": item.answer,
            "warning": item.warning,
            "reason": item.reason,
        }
        for record, items in read.checklist
        for item in items
    ]
    write_text(path, csv_text(names, rows))


def write_database(path: Path, tables: dict[str, pd.DataFrame]) -> None:
    """Write `cohort.duckdb`: the views `patients`, `runs`, `feeders`, `timepoints`, `responses`."""
    import duckdb

    with replacing(path) as temporary:
        with duckdb.connect(str(temporary)) as connection:
            connection.execute("CREATE SCHEMA stored")
            for name, (columns, words) in VIEWS.items():
                connection.register("read", tables[name])
                connection.execute(f"CREATE TABLE stored.{name} AS {_select(columns)}")
                connection.unregister("read")
                connection.execute(f"CREATE VIEW {name} AS SELECT * FROM stored.{name}")
                connection.execute(f"COMMENT ON VIEW {name} IS '{words.replace(chr(39), chr(39) * 2)}'")
        temporary.with_name(temporary.name + ".wal").unlink(missing_ok=True)


def _select(columns: Columns) -> str:
    return (
        "SELECT " + ", ".join(f'CAST("{name}" AS {kind}) AS "{name}"' for name, kind in columns.items()) + " FROM read"
    )


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
