"""`angio cohort`: from patients' results and their records to the tables of a paper."""

from __future__ import annotations

from datetime import date
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from angio_pipeline.cli.ending import end_failed, end_wrong_usage, need_no_file_at, need_place_for
from angio_pipeline.core.words import counted

if TYPE_CHECKING:
    from angio_pipeline.core.records import AgentTable
    from angio_pipeline.ingest.records import Records

__all__ = ["cohort"]


def cohort(
    results: Annotated[list[Path], typer.Argument(metavar="OUT...", help="Folders that angio run wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for the tables; made when missing.")],
    by: Annotated[str, typer.Option(metavar="FIELD", help="What patients are compared by.")] = "regimen",
    records: Annotated[Path | None, typer.Option(help="Procedure records: CSV, or a REDCap export.")] = None,
    mapping: Annotated[Path | None, typer.Option(help="TOML: which column of the records is what.")] = None,
    agents: Annotated[Path | None, typer.Option(help="TOML: agents; configs/agents.toml when left out.")] = None,
    reader: Annotated[
        list[Path] | None, typer.Option(help="CSV of one reader's measurements; give two to have them compared.")
    ] = None,
    necrosis_at: Annotated[
        float, typer.Option(min=1, max=100, help="Necrosis that counts as massive, per cent.")
    ] = 97.0,
    retention_day: Annotated[float, typer.Option(min=1, help="Day of the retention that is compared.")] = 28.0,
) -> None:
    """Compare patients by what they were given: cohort.html, tables, methods.md and a database.

    Example: angio cohort OUT --records records.csv --by regimen --out TABLES

    Exit status 0: the tables are there, and findings.csv lists what is odd about the records; 1: there is nobody to
    make tables of; 2: usage.
    """
    _check(results, out, records, reader or [], by)
    from angio_pipeline.ingest.record_mapping import read_agents
    from angio_pipeline.outputs.cohort.readers import read_readers
    from angio_pipeline.outputs.cohort.reading import read_cohort
    from angio_pipeline.outputs.cohort.writing import write_cohort
    from angio_pipeline.response.checklist import ChecklistParams
    from angio_pipeline.response.cohort import CohortParams, analyse

    params = CohortParams(necrotic_percent=necrosis_at, retention_day=retention_day)
    table = read_agents(agents)
    told = _records(records, mapping, table, by)
    read = read_cohort(
        results,
        told.records if told is not None else (),
        by=by,
        params=params,
        checklist=ChecklistParams(),
        agents=table,
        findings=told.findings if told is not None else (),
        readers=read_readers(reader[0], reader[1]) if reader else None,
    )
    if read.data.patients.empty:
        end_failed("Expected patients in the results or the records, found none in either.")
    result = analyse(read.data, params=params)
    page = write_cohort(out, read, result)
    warned = sum(item.warning for _, items in read.checklist for item in items)
    typer.echo(
        f"{counted(len(read.data.patients), 'patient')}, {counted(len(result.arms), 'arm')}, "
        f"{counted(len(read.findings), 'finding')}, {counted(warned, 'warning')} of the checklist."
    )
    for finding in read.findings:
        if finding.code == "no_patient_matches":
            typer.echo(f"angio: {finding.sentence}", err=True)
    typer.echo(f"Page: {page}")


def _check(results: list[Path], out: Path, records: Path | None, readers: list[Path], by: str) -> None:
    for path in results:
        if not (path / "subjects").is_dir():
            end_wrong_usage(f"Expected a folder that angio run wrote, found no subjects in {path}.")
    need_no_file_at(out)
    for path in [*([records] if records else []), *readers]:
        if not path.is_file():
            end_wrong_usage(f"Expected a file, found none at {path}.")
    if len(readers) not in (0, 2):
        end_wrong_usage(f"Expected two files of readers, found {len(readers)}.")
    if records is None and by != "regimen":
        end_wrong_usage(f"Expected --records with --by {by}, found none.")
    need_place_for(out)


def _records(path: Path | None, mapping: Path | None, table: AgentTable, by: str) -> Records | None:
    if path is None:
        return None
    from angio_pipeline.ingest.pseudonym import pseudonym, read_key
    from angio_pipeline.ingest.record_mapping import FIELDS, read_mapping
    from angio_pipeline.ingest.records import read_records

    key = read_key()
    told = read_records(
        path,
        mapping=read_mapping(mapping),
        table=table,
        latest=date.today(),
        pseudonym_of=partial(pseudonym, key=key),
        by=None if by in FIELDS else by,
    )
    if by not in FIELDS and by not in told.columns:
        end_wrong_usage(_no_such_field(by, [name for name in (*FIELDS, *told.columns) if name != "patient_id"]))
    return told


def _no_such_field(by: str, known: list[str]) -> str:
    near = get_close_matches(by, dict.fromkeys(known), n=3, cutoff=0.5)
    nearest = f"nearest are {', '.join(near)}; " if near else ""
    return (
        f"Expected --by to name a field or a column of the records, found {by!r}; {nearest}fields are listed in "
        "docs/cohort.md under Records, columns in the first line of the file."
    )
