"""Tables of everything below one output folder, as CSV for people and Parquet for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from angio_pipeline.core.embolisation import Patency
from angio_pipeline.core.results import Refusal
from angio_pipeline.outputs.branches import BRANCH_COLUMNS, branch_rows, read_branches
from angio_pipeline.outputs.files import replacing, write_text
from angio_pipeline.outputs.folders import RunFolder, SubjectFolder, read_subjects
from angio_pipeline.outputs.responses import LESION_COLUMNS, RESPONSE_COLUMNS, lesion_rows, response_rows
from angio_pipeline.outputs.schemas import (
    FeederDocument,
    GraphDocument,
    ResponseDocument,
    SourceDocument,
    TimepointDocument,
    TumourChangeDocument,
    TumourDocument,
)

__all__ = ["write_branches", "write_refused", "write_tables"]

Cell = str | float | int | bool | None
Row = dict[str, Cell]
Columns = Mapping[str, str]  # name to DuckDB type

_RUN_COLUMNS: Columns = {
    "subject": "VARCHAR",
    "date": "VARCHAR",
    "series": "VARCHAR",
    "sop_instance_uid": "VARCHAR",
    "series_instance_uid": "VARCHAR",
    "file": "VARCHAR",
    "analysed": "BOOLEAN",
    "rows": "BIGINT",
    "columns": "BIGINT",
    "frames": "BIGINT",
    "duration_s": "DOUBLE",
    "primary_deg": "DOUBLE",
    "secondary_deg": "DOUBLE",
    "row_mm": "DOUBLE",
    "col_mm": "DOUBLE",
    "spacing_plane": "VARCHAR",
    "already_subtracted": "BOOLEAN",
    "residual_before": "DOUBLE",
    "residual_after": "DOUBLE",
    "branches": "BIGINT",
    "length_mm": "DOUBLE",
    "length_px": "DOUBLE",
    "tumours": "BIGINT",
    "feeders": "BIGINT",
    "shunts": "BIGINT",
    "corrections": "BIGINT",
    "corrections_not_applied": "BIGINT",
    "quality": "VARCHAR",
    "problem": "VARCHAR",
}
_FEEDER_COLUMNS: Columns = {
    "subject": "VARCHAR",
    "date": "VARCHAR",
    "series": "VARCHAR",
    "tumour": "VARCHAR",
    "tumour_origin": "VARCHAR",
    "tumour_probability": "DOUBLE",
    "tumour_area_mm2": "DOUBLE",
    "tumour_area_px": "BIGINT",
    "tumour_corrected": "VARCHAR",
    "feeder": "VARCHAR",
    "rank": "BIGINT",
    "probability": "DOUBLE",
    "contribution": "DOUBLE",
    "diameter_mm": "DOUBLE",
    "diameter_px": "DOUBLE",
    "arrival_s": "DOUBLE",
    "overlap_ambiguous": "BOOLEAN",
    "two_views_probability": "DOUBLE",
    "two_views_sight": "VARCHAR",
    "two_views_match": "VARCHAR",
    "corrected": "VARCHAR",
    "target_row": "DOUBLE",
    "target_col": "DOUBLE",
    "target_corrected": "VARCHAR",
    "path_length_mm": "DOUBLE",
    "path_length_px": "DOUBLE",
    "bifurcations": "BIGINT",
    "tortuosity": "DOUBLE",
    "non_target_fraction": "DOUBLE",
}
_BRANCH_COLUMNS: Columns = {"subject": "VARCHAR", "date": "VARCHAR", "series": "VARCHAR", **BRANCH_COLUMNS}
_LIPIODOL_COLUMNS: Columns = {
    "subject": "VARCHAR",
    "lesion": "VARCHAR",
    "date": "VARCHAR",
    "days": "DOUBLE",
    "modality": "VARCHAR",
    "series_instance_uid": "VARCHAR",
    "iodine_mg": "DOUBLE",
    "iodine_mg_low": "DOUBLE",
    "iodine_mg_high": "DOUBLE",
    "oil_ml": "DOUBLE",
    "relative_amount": "DOUBLE",
    "volume_mm3": "DOUBLE",
    "coverage_75": "DOUBLE",
    "coverage_160": "DOUBLE",
    "coverage_215": "DOUBLE",
    "retention": "DOUBLE",
    "retention_low": "DOUBLE",
    "retention_high": "DOUBLE",
    "pattern": "VARCHAR",
    "completeness": "VARCHAR",
    "margin_grade": "VARCHAR",
    "clipped_voxels": "BIGINT",
    "half_life_days": "DOUBLE",
    "half_life_low_days": "DOUBLE",
    "half_life_high_days": "DOUBLE",
    "quality": "VARCHAR",
}
_EMBOLISATION_COLUMNS: Columns = {
    "subject": "VARCHAR",
    "date": "VARCHAR",
    "before": "VARCHAR",
    "after": "VARCHAR",
    "before_sop_instance_uid": "VARCHAR",
    "after_sop_instance_uid": "VARCHAR",
    "paired_by": "VARCHAR",
    "compared": "BOOLEAN",
    "tumour": "VARCHAR",
    "residual_blush": "DOUBLE",
    "residual_blush_low": "DOUBLE",
    "residual_blush_high": "DOUBLE",
    "residual_area": "DOUBLE",
    **{
        f"{name}_{run}": "DOUBLE"
        for name in ("peak", "auc", "wash_in", "time_to_peak_s")
        for run in ("before", "after")
    },
    "flow": "VARCHAR",
    "sace": "VARCHAR",
    "feeders_open": "BIGINT",
    "feeders_slowed": "BIGINT",
    "feeders_closed": "BIGINT",
    "feeders_unknown": "BIGINT",
    "feeders": "VARCHAR",
    "vessel_match": "DOUBLE",
    "reason": "VARCHAR",
    "sentence": "VARCHAR",
}


def write_refused(out: Path, refusals: Sequence[Refusal]) -> None:
    """Write `refused.csv`: the path, the reason's code and one sentence for each input not analysed."""
    rows: list[Row] = [{"path": r.path, "reason": r.reason, "sentence": r.sentence} for r in refusals]
    write_text(out / "refused.csv", _csv(("path", "reason", "sentence"), rows))


def write_branches(path: Path, document: GraphDocument) -> None:
    """Write the table of one run's branches as CSV; without a branch it has its header only."""
    write_text(path, _csv(tuple(BRANCH_COLUMNS), branch_rows(document)))


def write_tables(out: Path) -> None:
    """Write the tables of runs, feeders, branches, oil, response and embolisation, .csv and .parquet.

    They are made from the files below `out`. `response` (the calls) and `lesions` (the measures behind them)
    are left out while no subject holds a response. An empty table has its header only.
    """
    subjects = read_subjects(out)
    _write_table(out, "runs", _RUN_COLUMNS, _each_run(subjects, _run_rows))
    _write_table(out, "feeders", _FEEDER_COLUMNS, _each_run(subjects, _feeder_rows))
    write_text(out / "branches.csv", _csv(tuple(_BRANCH_COLUMNS), _each_run(subjects, _branch_rows)))
    _parquet_of_csv(out / "branches.csv", _BRANCH_COLUMNS)
    _write_table(out, "lipiodol", _LIPIODOL_COLUMNS, [row for s in subjects for row in _lipiodol_rows(s)])
    _write_response(out, subjects)
    _write_table(out, "embolisation", _EMBOLISATION_COLUMNS, [row for s in subjects for row in _embolisation_rows(s)])


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


def _run_rows(subject: SubjectFolder, run: RunFolder) -> Iterable[Row]:
    row: Row = {"subject": subject.subject, "date": run.date, "series": run.series, "problem": run.problem}
    document = run.document
    if document is None:
        return [{**row, "analysed": False}]
    image, cut, source = document.image, document.subtraction, document.source
    times = [t for t in image.times_s if t is not None]
    pose, spacing = image.pose_deg or (None, None), image.spacing_mm or (None, None)
    row |= {
        "analysed": True,
        "sop_instance_uid": source.sop_instance_uid,
        "series_instance_uid": source.series_instance_uid,
        "file": source.file,
        **image.model_dump(include={"rows", "columns", "frames"}),
        "duration_s": times[-1] - times[0] if times else None,
        "primary_deg": pose[0],
        "secondary_deg": pose[1],
        "row_mm": spacing[0],
        "col_mm": spacing[1],
        "spacing_plane": image.spacing_plane.value,
        **cut.model_dump(include={"already_subtracted", "residual_before", "residual_after"}),
        **document.vessels.model_dump(include={"branches", "length_mm", "length_px"}),
        "tumours": len(document.tumours),
        "feeders": sum(len(tumour.feeders) for tumour in document.tumours),
        "shunts": len(document.shunts),
        "corrections": sum(one.applied for one in document.corrections),
        "corrections_not_applied": sum(not one.applied for one in document.corrections),
        "quality": " ".join(document.quality),
    }
    return [row]


def _feeder_rows(subject: SubjectFolder, run: RunFolder) -> Iterable[Row]:
    where: Row = {"subject": subject.subject, "date": run.date, "series": run.series}
    tumours = run.document.tumours if run.document is not None else []
    return [{**where, **_feeder_row(tumour, feeder)} for tumour in tumours for feeder in tumour.feeders]


def _feeder_row(tumour: TumourDocument, feeder: FeederDocument) -> Row:
    target = feeder.target
    measured = {"rank", "probability", "contribution", "diameter_mm", "diameter_px", "arrival_s", "overlap_ambiguous"}
    path = {"path_length_mm", "path_length_px", "bifurcations", "tortuosity", "non_target_fraction"}
    return {
        "tumour": tumour.id,
        "tumour_origin": tumour.origin.value,
        "tumour_probability": tumour.probability,
        "tumour_area_mm2": tumour.area_mm2,
        "tumour_area_px": tumour.area_px,
        "tumour_corrected": tumour.corrected and tumour.corrected.value,
        "feeder": feeder.id,
        **feeder.model_dump(include=measured),
        "two_views_probability": feeder.two_views and feeder.two_views.probability,
        "two_views_sight": feeder.two_views and feeder.two_views.sight.value,
        "two_views_match": feeder.two_views and feeder.two_views.match,
        "corrected": feeder.corrected and feeder.corrected.value,
        "target_row": target.row,
        "target_col": target.col,
        "target_corrected": target.corrected and target.corrected.value,
        **target.model_dump(include=path),
    }


def _branch_rows(subject: SubjectFolder, run: RunFolder) -> Iterable[Row]:
    where: Row = {"subject": subject.subject, "date": run.date, "series": run.series}
    rows = read_branches(run.path / "branches.csv") if run.document is not None else []
    return [{**where, **row.model_dump(mode="json")} for row in rows]


def _lipiodol_rows(subject: SubjectFolder) -> Iterable[Row]:
    document = subject.follow_up
    if document is None:
        return
    courses = [(lesion.id, lesion) for lesion in document.lesions]
    for name, course in [*courses, *([("liver", document.liver)] if document.liver else [])]:
        kinetics = course.kinetics
        low, high = kinetics.half_life_interval if kinetics else (None, None)
        for point in course.timepoints:
            yield {
                "subject": subject.subject,
                "lesion": name,
                **_timepoint_row(point),
                "half_life_days": kinetics.half_life_days if kinetics else None,
                "half_life_low_days": low,
                "half_life_high_days": high,
            }


def _timepoint_row(point: TimepointDocument) -> Row:
    copied = {"date", "days", "modality", "series_instance_uid", "iodine_mg", "oil_ml", "relative_amount"}
    copied |= {"volume_mm3", "retention", "pattern", "completeness", "margin_grade", "clipped_voxels"}
    mass, retention = point.iodine_mg_interval or (None, None), point.retention_interval or (None, None)
    return {
        **point.model_dump(mode="json", include=copied),
        "iodine_mg_low": mass[0],
        "iodine_mg_high": mass[1],
        "retention_low": retention[0],
        "retention_high": retention[1],
        **{f"coverage_{hu}": (point.coverage or {}).get(hu) for hu in ("75", "160", "215")},
        "quality": " ".join(point.quality),
    }


def _embolisation_rows(subject: SubjectFolder) -> Iterable[Row]:
    """Return a row for each tumour that was compared, and one for each pair of runs that was not."""
    document = subject.embolisation
    for one in document.comparisons if document is not None else []:
        pair = _pair_row(subject, one.before, one.after)
        same: Row = {"paired_by": one.paired_by, "compared": True, "vessel_match": one.alignment.vessel_match}
        for tumour in one.tumours:
            yield {**pair, **same, **_tumour_change_row(tumour)}
    for refused in document.not_compared if document is not None else []:
        told: Row = {"compared": False, "reason": refused.reason, "sentence": refused.sentence}
        yield {**_pair_row(subject, refused.before, refused.after), **told}


def _pair_row(subject: SubjectFolder, before: SourceDocument | None, after: SourceDocument | None) -> Row:
    row: Row = {"subject": subject.subject, "date": next((s.date for s in (after, before) if s is not None), None)}
    for name, source in (("before", before), ("after", after)):
        if source is not None:
            row |= {name: source.description, f"{name}_sop_instance_uid": source.sop_instance_uid}
    return row


def _tumour_change_row(tumour: TumourChangeDocument) -> Row:
    blush, kinds = tumour.blush, [feeder.patency for feeder in tumour.feeders]
    row: Row = {f"feeders_{name}": kinds.count(kind) for name, kind in _PATENCIES.items()}
    row |= {
        "tumour": tumour.id,
        "flow": tumour.flow and tumour.flow.value,
        "sace": tumour.sace and tumour.sace.value,
        "feeders": "; ".join(f"{f.id} {f.patency.value}" for f in tumour.feeders),
        "sentence": tumour.reason,
    }
    if blush is None:
        return row
    interval = blush.residual_interval or (None, None)
    row |= {"residual_blush": blush.residual, "residual_blush_low": interval[0], "residual_blush_high": interval[1]}
    row |= {"residual_area": blush.residual_area}
    for name, passage in (("before", blush.before), ("after", blush.after)):
        row |= {f"{key}_{name}": value for key, value in passage.model_dump().items()}
    return row


_PATENCIES = {
    "open": Patency.OPEN,
    "slowed": Patency.SLOWED,
    "closed": Patency.CLOSED,
    "unknown": Patency.UNKNOWN,
}


def _write_table(out: Path, name: str, columns: Columns, rows: Sequence[Row]) -> None:
    write_text(out / f"{name}.csv", _csv(tuple(columns), rows))
    _write_parquet(out / f"{name}.parquet", columns, rows)


def _csv(columns: Sequence[str], rows: Iterable[Row]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([_cell(name) for name in columns])
    writer.writerows([[_cell(row.get(name)) for name in columns] for row in rows])
    return stream.getvalue()


def _cell(value: Cell) -> str:
    """Unknown is empty; text that a spreadsheet would run as a formula is disarmed."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{value}" if value.lstrip()[:1] in tuple("=+-@") or value[:1] in tuple("\t\r\n") else value
    return format(value, ".6g") if isinstance(value, float) else str(value)


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
