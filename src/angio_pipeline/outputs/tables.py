"""Tables of everything below one output folder, as CSV for people and Parquet for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from angio_pipeline.core.results import Refusal
from angio_pipeline.outputs.branches import BRANCH_COLUMNS, branch_rows
from angio_pipeline.outputs.cells import Columns, Row, csv_text
from angio_pipeline.outputs.files import replacing, write_text
from angio_pipeline.outputs.folders import RunFolder, SubjectFolder, read_subjects
from angio_pipeline.outputs.responses import LESION_COLUMNS, RESPONSE_COLUMNS, lesion_rows, response_rows
from angio_pipeline.outputs.rows import (
    BRANCH_TABLE_COLUMNS,
    EMBOLISATION_COLUMNS,
    FEEDER_COLUMNS,
    LIPIODOL_COLUMNS,
    RUN_COLUMNS,
    branch_table_rows,
    embolisation_rows,
    feeder_rows,
    lipiodol_rows,
    run_rows,
)
from angio_pipeline.outputs.schemas import GraphDocument, ResponseDocument

__all__ = ["write_branches", "write_refused", "write_tables"]


def write_refused(out: Path, refusals: Sequence[Refusal]) -> None:
    """Write `refused.csv`: the path, the reason's code and one sentence for each input not analysed."""
    rows: list[Row] = [{"path": r.path, "reason": r.reason, "sentence": r.sentence} for r in refusals]
    write_text(out / "refused.csv", csv_text(("path", "reason", "sentence"), rows))


def write_branches(path: Path, document: GraphDocument) -> None:
    """Write the table of one run's branches as CSV; without a branch it has its header only."""
    write_text(path, csv_text(tuple(BRANCH_COLUMNS), branch_rows(document)))


def write_tables(out: Path) -> None:
    """Write the tables of runs, feeders, branches, oil, response and embolisation, .csv and .parquet.

    They are made from the files below `out`. `response` (the calls) and `lesions` (the measures behind them)
    are left out while no subject holds a response. An empty table has its header only.
    """
    subjects = read_subjects(out)
    _write_table(out, "runs", RUN_COLUMNS, _each_run(subjects, run_rows))
    _write_table(out, "feeders", FEEDER_COLUMNS, _each_run(subjects, feeder_rows))
    write_text(out / "branches.csv", csv_text(tuple(BRANCH_TABLE_COLUMNS), _each_run(subjects, branch_table_rows)))
    _parquet_of_csv(out / "branches.csv", BRANCH_TABLE_COLUMNS)
    _write_table(out, "lipiodol", LIPIODOL_COLUMNS, [row for s in subjects for row in lipiodol_rows(s)])
    _write_response(out, subjects)
    _write_table(out, "embolisation", EMBOLISATION_COLUMNS, [row for s in subjects for row in embolisation_rows(s)])


def _write_response(out: Path, subjects: Sequence[SubjectFolder]) -> None:
    told = [(subject.subject, subject.response) for subject in subjects if subject.response is not None]
    tables: dict[str, tuple[Columns, Callable[[ResponseDocument], Iterable[Row]]]] = {
        "response": (RESPONSE_COLUMNS, response_rows),
        "lesions": (LESION_COLUMNS, lesion_rows),
    }
    for name, (columns, rows_of) in tables.items():
        if not told:
            for kind in ("csv", "parquet"):
                (out / f"{name}.{kind}").unlink(missing_ok=True)
            continue
        rows: list[Row] = [{"subject": subject, **row} for subject, document in told for row in rows_of(document)]
        _write_table(out, name, {"subject": "VARCHAR", **columns}, rows)


def _each_run(
    subjects: Iterable[SubjectFolder], rows_of: Callable[[SubjectFolder, RunFolder], Iterable[Row]]
) -> list[Row]:
    return [row for subject in subjects for run in subject.runs for row in rows_of(subject, run)]


def _write_table(out: Path, name: str, columns: Columns, rows: Sequence[Row]) -> None:
    write_text(out / f"{name}.csv", csv_text(tuple(columns), rows))
    _write_parquet(out / f"{name}.parquet", columns, rows)


def _write_parquet(path: Path, columns: Columns, rows: Sequence[Row]) -> None:
    import duckdb

    types = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
    marks = ", ".join("?" for _ in columns)
    with duckdb.connect() as connection, replacing(path) as temporary:
        connection.execute(f"CREATE TABLE written ({types})")
        if rows:
            values = [[row.get(name) for name in columns] for row in rows]
            connection.executemany(f"INSERT INTO written VALUES ({marks})", values)
        quoted = str(temporary).replace("'", "''")
        connection.execute(f"COPY written TO '{quoted}' (FORMAT parquet)")


def _parquet_of_csv(path: Path, columns: Columns) -> None:
    """Write a table of very many rows as Parquet beside its CSV: row by row would take a millisecond each."""
    import duckdb

    types = "{" + ", ".join(f"'{name}': '{kind}'" for name, kind in columns.items()) + "}"
    with duckdb.connect() as connection, replacing(path.with_suffix(".parquet")) as temporary:
        source, target = (str(p).replace("'", "''") for p in (path, temporary))
        read = f"read_csv('{source}', header = true, auto_detect = false, nullstr = '', columns = {types})"
        connection.execute(f"COPY (SELECT * FROM {read}) TO '{target}' (FORMAT parquet)")
