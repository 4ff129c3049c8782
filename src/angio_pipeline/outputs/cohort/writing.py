"""Everything that `angio cohort` leaves in its folder."""

from __future__ import annotations

from pathlib import Path

from angio_pipeline.outputs.cohort.files import (
    write_checklist,
    write_database,
    write_findings,
    write_patients,
    write_table,
)
from angio_pipeline.outputs.cohort.methods import cohort_methods
from angio_pipeline.outputs.cohort.page import cohort_page
from angio_pipeline.outputs.cohort.reading import CohortInput
from angio_pipeline.outputs.cohort.words import necrosis_table
from angio_pipeline.outputs.files import write_text
from angio_pipeline.response.cohort import CohortResult

__all__ = ["write_cohort"]


def write_cohort(folder: Path, read: CohortInput, result: CohortResult) -> Path:
    """Write the cohort's tables, database, methods and page; return the page.

    Raises
    ------
    OSError
        When the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_patients(folder, read.data.patients)
    write_table(folder / "table1.csv", result.table1)
    write_table(folder / "necrosis.csv", necrosis_table(result.necrosis))
    write_findings(folder / "findings.csv", read.findings)
    write_checklist(folder / "checklist.csv", read)
    write_database(folder / "cohort.duckdb", read.tables)
    methods = cohort_methods(read, result)
    write_text(folder / "methods.md", "# Methods\n\n" + "\n\n".join(methods) + "\n")
    page = folder / "cohort.html"
    write_text(page, cohort_page(read, result, methods))
    return page
