"""First step of the comparison: whether two runs show one view at all.

Amounts in a projection can be compared only where rays take the same way through the patient: same
angles, same magnification, same detector area, nearly the same table. What differs is refused by
name; a table that only moved along is made good by the alignment.
"""

from __future__ import annotations

from pydantic import Field

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.params import Params
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.results import RunResult
from angio_pipeline.core.runs import AngioRun

__all__ = ["GeometryParams", "angles_apart_deg", "check_geometry"]


class GeometryParams(Params):
    """How far two runs may differ and still show one view; all chosen by hand."""

    angle_deg: float = Field(3.0, ge=0, le=30, description="largest difference of either C-arm angle")
    scale: float = Field(0.02, ge=0, le=0.5, description="largest relative difference of distances and pixel spacing")
    table_height_mm: float = Field(20.0, ge=0, description="largest difference of the table's height: it magnifies")
    table_share: float = Field(0.25, ge=0, le=1, description="largest shift of the table, as a share of the field")
    need_angles: bool = Field(True, description="refuse runs whose files do not tell the C-arm's angles")


def angles_apart_deg(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Return the larger difference of primary and secondary angle, degrees."""
    return max(abs((a - b + 180) % 360 - 180) for a, b in zip(one, other, strict=True))


def check_geometry(before: RunResult, after: RunResult, *, params: GeometryParams) -> None:
    """Return when the two runs may be compared.

    Raises
    ------
    InputRefused
        `values_differ`, `matrix_differs`, `times_unknown`, `inflow_not_seen`, `angle_unknown`, `angle_differs`,
        `distance_differs`, `field_differs` or `table_differs`.
    """
    _check_values(before, after)
    _check_angles(before.run, after.run, params)
    _check_distances(before.run, after.run, params)
    _check_field(before.run, after.run, params)
    _check_table(before.run, after.run, params)


def _check_values(before: RunResult, after: RunResult) -> None:
    kinds = before.run.quantity, after.run.quantity
    if kinds[0] is not kinds[1]:
        raise InputRefused(
            f"Expected two runs whose values mean the same, found {kinds[0].value} before and {kinds[1].value} after; "
            "export both in one way.",
            reason="values_differ",
        )
    sizes = before.subtracted.valid.shape, after.subtracted.valid.shape
    if sizes[0] != sizes[1]:
        raise InputRefused(
            f"Expected two runs of one matrix, found {sizes[0][0]} x {sizes[0][1]} before and {sizes[1][0]} x "
            f"{sizes[1][1]} after; export both at one size.",
            reason="matrix_differs",
        )
    for name, result in (("before", before), ("after", after)):
        if Quality.TIMES_UNKNOWN in result.subtracted.quality:
            raise InputRefused(
                f"Expected frame times in both runs, found none in the run {name}; export it with its timing.",
                reason="times_unknown",
            )
        if not result.subtracted.timing_measurable:
            raise InputRefused(
                f"Expected both runs to show contrast coming, found that the run {name} does not; "
                "compare runs that begin before the injection.",
                reason="inflow_not_seen",
            )


def _check_angles(before: AngioRun, after: AngioRun, params: GeometryParams) -> None:
    if before.pose is None or after.pose is None:
        if not params.need_angles:
            return
        missing = (
            "either run" if before.pose is after.pose else "the run before" if before.pose is None else "the other"
        )
        raise InputRefused(
            f"Expected the C-arm's angles of both runs, found none for {missing}; compare them by eye, or allow it "
            "with [embolisation.geometry] need_angles = false.",
            reason="angle_unknown",
        )
    pair = [(pose.primary_deg, pose.secondary_deg) for pose in (before.pose, after.pose)]
    if angles_apart_deg(pair[0], pair[1]) > params.angle_deg:
        raise InputRefused(
            f"Expected two runs within {params.angle_deg:g} degrees of one angulation, found {_degrees(pair[0])} "
            f"before and {_degrees(pair[1])} after; runs of different angulation are not compared.",
            reason="angle_differs",
        )


def _degrees(pair: tuple[float, float]) -> str:
    return f"{pair[0]:.1f} / {pair[1]:.1f} degrees"


def _check_distances(before: AngioRun, after: AngioRun, params: GeometryParams) -> None:
    if before.pose is None or after.pose is None:
        return
    for name, one, other in (
        ("source-detector", before.pose.sid_mm, after.pose.sid_mm),
        ("source-patient", before.pose.sod_mm, after.pose.sod_mm),
    ):
        if one is not None and other is not None and abs(one / other - 1) > params.scale:
            raise InputRefused(
                f"Expected one {name} distance within {100 * params.scale:g} %, found {one:.0f} mm before and "
                f"{other:.0f} mm after; the magnifications differ.",
                reason="distance_differs",
            )


def _check_field(before: AngioRun, after: AngioRun, params: GeometryParams) -> None:
    one, other = before.spacing, after.spacing
    if one is None or other is None or one.plane is not other.plane:
        return
    if max(abs(one.row_mm / other.row_mm - 1), abs(one.col_mm / other.col_mm - 1)) > params.scale:
        rows, cols = before.shape[1:]
        raise InputRefused(
            f"Expected one field of view within {100 * params.scale:g} %, found {rows * one.row_mm:.0f} x "
            f"{cols * one.col_mm:.0f} mm before and {rows * other.row_mm:.0f} x {cols * other.col_mm:.0f} mm after; "
            "runs of different zoom are not compared.",
            reason="field_differs",
        )


def _check_table(before: AngioRun, after: AngioRun, params: GeometryParams) -> None:
    if before.table_mm is None or after.table_mm is None:
        return
    height, along, across = (b - a for a, b in zip(before.table_mm, after.table_mm, strict=True))
    if abs(height) > params.table_height_mm:
        raise InputRefused(
            f"Expected the table within {params.table_height_mm:g} mm of one height, found {abs(height):.0f} mm "
            "between the runs; the magnifications differ.",
            reason="table_differs",
        )
    spacing = before.spacing
    if spacing is None or not spacing.in_patient:
        return
    field_mm = min(before.shape[1] * spacing.row_mm, before.shape[2] * spacing.col_mm)
    moved = (along**2 + across**2) ** 0.5
    if moved > params.table_share * field_mm:
        raise InputRefused(
            f"Expected a table that moved by at most {params.table_share * field_mm:.0f} mm, found {moved:.0f} mm; too "
            "little lies in both runs.",
            reason="table_differs",
        )
