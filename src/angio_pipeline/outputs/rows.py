"""Columns and rows of the tables: what documents hold, flat. Shared by an output folder's tables and a cohort's."""

from __future__ import annotations

from collections.abc import Iterable

from angio_pipeline.core.embolisation import Patency
from angio_pipeline.outputs.branches import BRANCH_COLUMNS, read_branches
from angio_pipeline.outputs.cells import Columns, Row
from angio_pipeline.outputs.folders import RunFolder, SubjectFolder
from angio_pipeline.outputs.schemas import (
    FeederDocument,
    SourceDocument,
    TimepointDocument,
    TumourChangeDocument,
    TumourDocument,
)

__all__ = [
    "BRANCH_TABLE_COLUMNS",
    "EMBOLISATION_COLUMNS",
    "FEEDER_COLUMNS",
    "LIPIODOL_COLUMNS",
    "RUN_COLUMNS",
    "branch_table_rows",
    "embolisation_rows",
    "feeder_rows",
    "lipiodol_rows",
    "run_rows",
]

RUN_COLUMNS: Columns = {
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
FEEDER_COLUMNS: Columns = {
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
BRANCH_TABLE_COLUMNS: Columns = {"subject": "VARCHAR", "date": "VARCHAR", "series": "VARCHAR", **BRANCH_COLUMNS}
LIPIODOL_COLUMNS: Columns = {
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
    "arterial_minus_portal_hu": "DOUBLE",
    "arterial_minus_portal_hu_low": "DOUBLE",
    "arterial_minus_portal_hu_high": "DOUBLE",
    "living_ml": "DOUBLE",
    "half_life_days": "DOUBLE",
    "half_life_low_days": "DOUBLE",
    "half_life_high_days": "DOUBLE",
    "quality": "VARCHAR",
}
EMBOLISATION_COLUMNS: Columns = {
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


def run_rows(subject: SubjectFolder, run: RunFolder) -> Iterable[Row]:
    """Return the row of one run."""
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


def feeder_rows(subject: SubjectFolder, run: RunFolder) -> Iterable[Row]:
    """Return a row for each feeder of a run."""
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


def branch_table_rows(subject: SubjectFolder, run: RunFolder) -> Iterable[Row]:
    """Return a row for each branch of a run."""
    where: Row = {"subject": subject.subject, "date": run.date, "series": run.series}
    rows = read_branches(run.path / "branches.csv") if run.document is not None else []
    return [{**where, **row.model_dump(mode="json")} for row in rows]


def lipiodol_rows(subject: SubjectFolder) -> Iterable[Row]:
    """Yield a row for each lesion (and the liver) and date."""
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
    residual = point.residual
    above = residual.interval_hu if residual is not None else (None, None)
    return {
        **point.model_dump(mode="json", include=copied),
        "iodine_mg_low": mass[0],
        "iodine_mg_high": mass[1],
        "retention_low": retention[0],
        "retention_high": retention[1],
        "arterial_minus_portal_hu": None if residual is None else residual.arterial_minus_portal_hu,
        "arterial_minus_portal_hu_low": above[0],
        "arterial_minus_portal_hu_high": above[1],
        "living_ml": None if residual is None else residual.living_ml,
        **{f"coverage_{hu}": (point.coverage or {}).get(hu) for hu in ("75", "160", "215")},
        "quality": " ".join(point.quality),
    }


def embolisation_rows(subject: SubjectFolder) -> Iterable[Row]:
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
