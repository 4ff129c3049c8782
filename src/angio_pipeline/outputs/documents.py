"""Results into documents: units, nulls and names as the contract has them.

Millimetres appear only when the spacing holds in the patient; seconds only when the file gave
frame times. Everything that is not finite becomes `null`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from angio_pipeline import __version__
from angio_pipeline.core.corrections import CorrectionOutcome, Note, SetPhase
from angio_pipeline.core.followups import (
    Interval,
    Kinetics,
    LesionCourse,
    LipiodolTimepoint,
    ResidualTumour,
    ScanAlignment,
    StrayOil,
    StrayOilSearch,
)
from angio_pipeline.core.geometry import PixelSpacing, SpacingPlane
from angio_pipeline.core.measures import BranchMeasures
from angio_pipeline.core.provenance import Provenance, Source
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.results import FollowUpResult, RunResult
from angio_pipeline.core.runs import Background, MotionReport, PhaseRange, Quantity
from angio_pipeline.core.tumours import CannulationTarget, Feeder, Tumour
from angio_pipeline.core.vessels import Branch
from angio_pipeline.outputs.branches import measure_fields
from angio_pipeline.outputs.schemas import (
    CatheterTipDocument,
    CorrectionDocument,
    CurveDocument,
    CurvesDocument,
    FeederDocument,
    GraphBranch,
    GraphDocument,
    GraphNode,
    ImageDocument,
    KineticsDocument,
    LesionDocument,
    LipiodolDocument,
    LiverDocument,
    OperationDocument,
    PhasesDocument,
    ResidualLayersDocument,
    ResidualTumourDocument,
    RunDocument,
    ScanAlignmentDocument,
    ShuntDocument,
    SoftwareDocument,
    SourceDocument,
    StrayOilDocument,
    StrayOilSearchDocument,
    SubtractionDocument,
    TargetDocument,
    TargetOptionDocument,
    TimepointDocument,
    TumourDocument,
    TumourTargetDocument,
    VesselsDocument,
)

__all__ = [
    "curves_document",
    "follow_up_document",
    "graph_document",
    "plain",
    "run_document",
    "run_quality",
    "shared_windows",
    "source_document",
    "tumour_mask_name",
]

_SOFTWARE = SoftwareDocument(name="angio-pipeline", version=__version__)
# The usual outer diameters of microcatheters, French.
_MICROCATHETERS_F = (2.0, 2.4, 2.8)


@dataclass(frozen=True, slots=True)
class _Units:
    """What a run's pixels and frame times may be converted to."""

    spacing: PixelSpacing | None
    times_known: bool

    def seconds(self, value: float) -> float | None:
        return _number(value) if self.times_known else None

    def mm(self, length_px: float) -> float | None:
        return None if self.spacing is None else _number(length_px * self.spacing.mean_mm)

    def mm2(self, area_px: float) -> float | None:
        return None if self.spacing is None else _number(area_px * self.spacing.row_mm * self.spacing.col_mm)

    def named(self, name: str, value: float) -> float | None:
        """A measurement whose name ends in its unit."""
        if (name.endswith("_s") and not self.times_known) or (name.endswith("_mm") and self.spacing is None):
            return None
        return _number(value)

    def path_mm(self, line: npt.NDArray[np.float64]) -> float | None:
        if self.spacing is None:
            return None
        steps = np.diff(line, axis=0) * (self.spacing.row_mm, self.spacing.col_mm)
        return _number(np.linalg.norm(steps, axis=1).sum())


def _number(value: float | None, digits: int = 6) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return round(float(value), digits)


def _points(line: npt.NDArray[np.float64]) -> list[tuple[float, float]]:
    return [(round(float(row), 2), round(float(col), 2)) for row, col in line]


def _interval(pair: Interval | None) -> tuple[float | None, float | None] | None:
    return None if pair is None else (_number(pair[0]), _number(pair[1]))


def plain(value: object) -> Any:
    """Return `value` as what JSON can hold: settings and arguments of any kind, NaN as None."""
    if isinstance(value, BaseModel):
        return plain(value.model_dump())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def run_quality(result: RunResult) -> Quality:
    """Return every flag that any stage set on the way to `result`."""
    stages = (result.run, result.subtracted, result.maps, result.vessels, result.graph)
    quality = result.quality
    for stage in stages:
        quality |= stage.quality
    return quality


def _units(result: RunResult) -> _Units:
    spacing = result.run.spacing
    usable = spacing if spacing is not None and spacing.in_patient else None
    return _Units(usable, Quality.TIMES_UNKNOWN not in run_quality(result))


def tumour_mask_name(tumour_id: str) -> str:
    """Return the name of a tumour's mask beside `analysis.json`."""
    return f"tumour-{_safe(tumour_id)}.png"


def _safe(identifier: str) -> str:
    # An id may come from the name of a file that somebody gave.
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in identifier)[:64] or "_"


def run_document(result: RunResult) -> RunDocument:
    """Return `analysis.json` for one run."""
    units, quality, tip = _units(result), run_quality(result), result.tip
    return RunDocument(
        source=source_document(result.run.source),
        image=_image(result, units),
        subtraction=_subtraction(result),
        phases=_phases(result),
        catheter_tip=tip and CatheterTipDocument(row=tip.row, col=tip.col, probability=tip.probability),
        vessels=_vessels(result, units),
        tumours=[_tumour(tumour, units) for tumour in result.tumours],
        shunts=[
            ShuntDocument(
                kind=s.kind, probability=s.probability, row=s.row, col=s.col, arrival_s=units.seconds(s.arrival_s)
            )
            for s in result.shunts
        ],
        quality=quality.names(),
        quality_sentences=quality.sentences(),
        settings=plain(result.settings),
        provenance=_operations(result.subtracted.provenance, result.run.provenance),
        software=_SOFTWARE,
        corrections=[_correction(one) for one in result.corrections],
    )


def _correction(one: CorrectionOutcome) -> CorrectionDocument:
    edit = one.edit
    return CorrectionDocument(
        id=edit.id,
        kind=edit.kind,
        time=edit.time,
        reviewer=edit.reviewer,
        comment=edit.comment,
        text=edit.text if isinstance(edit, Note) else None,
        applied=one.applied,
        sentence=one.sentence,
    )


def source_document(source: Source) -> SourceDocument:
    """Return what results say of an input: identifiers only."""
    return SourceDocument(
        sop_instance_uid=source.sop_instance_uid,
        series_instance_uid=source.series_instance_uid,
        study_instance_uid=source.study_instance_uid,
        file=source.public_file,
        subject=source.subject,
        date=source.date,
        modality=source.modality,
        description=source.description,
    )


def _operations(later: Provenance, earlier: Provenance) -> list[OperationDocument]:
    # The subtracted run usually carries the run's own operations on; where it does not, they come first.
    operations = later.operations
    if operations[: len(earlier.operations)] != earlier.operations:
        operations = (*earlier.operations, *operations)
    return [OperationDocument(name=o.name, arguments=plain(o.arguments)) for o in operations]


def _image(result: RunResult, units: _Units) -> ImageDocument:
    run = result.run
    frames, rows, columns = run.shape
    spacing, pose = run.spacing, run.pose
    at_detector = spacing is not None and spacing.plane is SpacingPlane.DETECTOR
    return ImageDocument(
        rows=rows,
        columns=columns,
        frames=frames,
        times_s=[units.seconds(t) for t in run.times_s],
        spacing_mm=units.spacing and (units.spacing.row_mm, units.spacing.col_mm),
        spacing_plane=SpacingPlane.NONE if spacing is None else spacing.plane,
        pose_deg=pose and (pose.primary_deg, pose.secondary_deg),
        calibration=units.spacing and (units.spacing.how or None),
        detector_spacing_mm=(spacing.row_mm, spacing.col_mm) if spacing is not None and at_detector else None,
        frame_interval_s=units.seconds(result.maps.frame_interval_s),
        quantity=Quantity(run.quantity).value,
    )


def _subtraction(result: RunResult) -> SubtractionDocument:
    subtracted = result.subtracted
    return SubtractionDocument(
        already_subtracted=result.subtracted.background is Background.ALREADY_SUBTRACTED,
        mask_frames=list(subtracted.mask_frames),
        reference_frame=subtracted.reference_frame,
        motion_px=[(_number(row, 3), _number(col, 3)) for row, col in subtracted.motion_px],
        residual_before=_number(subtracted.residual_before),
        residual_after=_number(subtracted.residual_after),
        background=subtracted.background.value,
        noise_sd=_number(subtracted.noise_sd),
        usable_frames=[bool(usable) for usable in subtracted.usable],
        denoised=subtracted.denoised,
        **_motion(subtracted.motion),
    )


def _motion(motion: MotionReport | None) -> dict[str, Any]:
    if motion is None:
        return {}
    layers = {
        name: [_number(value) for value in getattr(motion, f"residual_{name}")]
        for name in ("none", "shift", "field", "masks")
    }
    return {
        "correction": motion.correction.value,
        "mask_shift_px": [(round(float(row), 4), round(float(col), 4)) for row, col in motion.mask_shift_px],
        "mask_scope": motion.mask_scope,
        "residual_layers": ResidualLayersDocument(**layers),
    }


def _phases(result: RunResult) -> PhasesDocument:
    phases = result.maps.phases
    return PhasesDocument(
        pre_contrast=_frame_range(phases.pre_contrast),
        arterial=(phases.arterial.first, phases.arterial.last),
        parenchymal=_frame_range(phases.parenchymal),
        venous=_frame_range(phases.venous),
        corrected=any(one.applied and isinstance(one.edit, SetPhase) for one in result.corrections),
    )


def _frame_range(phase: PhaseRange | None) -> tuple[int, int] | None:
    return None if phase is None else (phase.first, phase.last)


def _vessels(result: RunResult, units: _Units) -> VesselsDocument:
    lengths = [units.path_mm(branch.centreline) for branch in result.graph.branches]
    known = [length for length in lengths if length is not None]
    return VesselsDocument(
        artery_mask="artery.png",
        vein_mask=None if result.vessels.vein is None else "vein.png",
        graph="graph.json",
        branches=len(lengths),
        length_mm=None if units.spacing is None else _number(sum(known)),
        length_px=round(float(result.graph.length_px), 3),
        method=result.vessels.method,
        network=result.vessels.network,
        catheter_mask=None if result.vessels.catheter is None else "catheter.png",
    )


def _tumour(tumour: Tumour, units: _Units) -> TumourDocument:
    return TumourDocument(
        id=tumour.id,
        centroid=tumour.centroid,
        area_mm2=units.mm2(tumour.area_px),
        area_px=tumour.area_px,
        mask=tumour_mask_name(tumour.id),
        probability=tumour.probability,
        origin=tumour.origin,
        feeders=[_feeder(feeder, units) for feeder in sorted(tumour.feeders, key=lambda f: f.rank)],
        targets=[_tumour_target(target, units) for target in tumour.targets],
        target_options=[
            TargetOptionDocument(
                positions=len(option.targets),
                non_target_fraction=option.non_target_fraction,
                targets=[_tumour_target(target, units) for target in option.targets],
            )
            for option in tumour.options
        ],
        corrected=tumour.corrected,
    )


def _tumour_target(target: CannulationTarget, units: _Units) -> TumourTargetDocument:
    return TumourTargetDocument(covers=list(target.covers), **_target(target, units).model_dump())


def _feeder(feeder: Feeder, units: _Units) -> FeederDocument:
    return FeederDocument(
        id=feeder.id,
        rank=feeder.rank,
        probability=feeder.probability,
        contribution=feeder.contribution,
        centreline=_points(feeder.centreline),
        branch_start=feeder.branch_start,
        diameter_mm=units.mm(feeder.diameter_px),
        diameter_px=_number(feeder.diameter_px),
        arrival_s=units.seconds(feeder.arrival_s),
        overlap_ambiguous=feeder.overlap_ambiguous,
        target=_target(feeder.target, units),
        evidence={name: units.named(name, value) for name, value in feeder.evidence.items()},
        corrected=feeder.corrected,
    )


def _target(target: CannulationTarget, units: _Units) -> TargetDocument:
    return TargetDocument(
        row=target.row,
        col=target.col,
        diameter_mm=units.mm(target.diameter_px),
        diameter_px=_number(target.diameter_px),
        path_length_mm=units.mm(target.path_length_px),
        path_length_px=_number(target.path_length_px),
        bifurcations=target.bifurcations,
        tortuosity=_number(target.tortuosity),
        non_target_fraction=_number(target.non_target_fraction),
        turns_deg=[round(angle, 1) for angle in target.turns_deg],
        beyond_last_branch_mm=units.mm(target.beyond_last_branch_px),
        beyond_last_branch_px=_number(target.beyond_last_branch_px),
        microcatheter_fits=_fits(units.mm(target.diameter_px)),
        corrected=target.corrected,
    )


def _fits(diameter_mm: float | None) -> dict[str, bool] | None:
    """Return by outer diameter in French (3 F are 1 mm) whether a microcatheter is no wider than the vessel."""
    return None if diameter_mm is None else {f"{size:.1f} F": size / 3 <= diameter_mm for size in _MICROCATHETERS_F}


def graph_document(result: RunResult) -> GraphDocument:
    """Return `graph.json`: nodes, and branches directed with the flow."""
    units, graph = _units(result), result.graph
    measures = result.measures or (None,) * len(graph.branches)
    uncertain = Quality.FLOW_DIRECTION_UNCERTAIN in run_quality(result)
    return GraphDocument(
        root=graph.root,
        flow_from="shape" if uncertain else "arrival",
        nodes=[GraphNode(id=i, row=row, col=col) for i, (row, col) in enumerate(_points(graph.nodes))],
        branches=[_branch(branch, m, units) for branch, m in zip(graph.branches, measures, strict=True)],
        crossings=_points(graph.crossings),
    )


def _branch(branch: Branch, measures: BranchMeasures | None, units: _Units) -> GraphBranch:
    return GraphBranch(
        id=branch.id,
        start=branch.start,
        end=branch.end,
        centreline=_points(branch.centreline),
        radius_px=[_number(radius, 3) for radius in branch.radius_px],
        arrival_s=[None if (s := units.seconds(a)) is None else round(s, 4) for a in branch.arrival_s],
        length_px=round(branch.length_px, 3),
        diameter_px=_number(branch.diameter_px, 3),
        overlap_ambiguous=branch.overlap_ambiguous,
        **measure_fields(branch, measures, units.spacing, times_known=units.times_known),
    )


def curves_document(result: RunResult) -> CurvesDocument:
    """Return `curves.json`: mean attenuation over each region, a value a frame."""
    units = _units(result)
    absolute = Quality.DISPLAY_VALUES not in run_quality(result)
    return CurvesDocument(
        times_s=[units.seconds(t) for t in result.run.times_s],
        unit="attenuation (natural logarithm)" if absolute else "relative contrast",
        curves=[CurveDocument(label=c.label, values=[_number(v) for v in c.values]) for c in result.curves],
    )


class _Names:
    """Names of files below the subject's folder; two films of one series never share one."""

    def __init__(self, folder_of: Callable[[Source], str]) -> None:
        self._folder_of = folder_of
        self._taken: set[str] = set()

    def name(self, source: Source, stem: str, suffix: str) -> str:
        folder, count = self._folder_of(source), 1
        path = f"{folder}/{stem}{suffix}"
        while path in self._taken:
            count += 1
            path = f"{folder}/{stem}-{count}{suffix}"
        self._taken.add(path)
        return path


def follow_up_document(result: FollowUpResult, folder_of: Callable[[Source], str]) -> LipiodolDocument:
    """Return `lipiodol.json`; `folder_of` names the folder of a scan below the subject's."""
    names = _Names(folder_of)
    return LipiodolDocument(
        lesions=[
            LesionDocument(
                id=course.id,
                centroid_mm=course.centroid_mm,
                origin=course.origin,
                **_course(course, course.id, names).model_dump(),
            )
            for course in result.lesions
        ],
        liver=None if result.liver is None else _course(result.liver, "liver", names),
        alignments=[_alignment(alignment, names) for alignment in result.alignments],
        non_target=[_searched(search) for search in result.stray_oil],
        quality=result.quality.names(),
        quality_sentences=result.quality.sentences(),
        settings=plain(result.settings),
        software=_SOFTWARE,
    )


def shared_windows(course: LesionCourse) -> dict[str, tuple[float, float]]:
    """Return one grey window for each unit, so that brightness can be compared between dates."""
    windows: dict[str, tuple[float, float]] = {}
    for point in course.timepoints:
        if point.views is not None:
            windows.setdefault(point.views.unit, point.views.window)
    return windows


def _course(course: LesionCourse, identifier: str, names: _Names) -> LiverDocument:
    windows = shared_windows(course)
    return LiverDocument(
        timepoints=[_timepoint(point, _safe(identifier), names, windows) for point in course.timepoints],
        kinetics=None if course.kinetics is None else _kinetics(course.kinetics),
        quality=course.quality.names(),
        quality_sentences=course.quality.sentences(),
    )


def _timepoint(
    point: LipiodolTimepoint, stem: str, names: _Names, windows: Mapping[str, tuple[float, float]]
) -> TimepointDocument:
    source, views = point.source, point.views
    deposit = None if point.deposit is None else names.name(source, f"deposit-{stem}", ".nii.gz")
    return TimepointDocument(
        date=source.date,
        days=_number(point.days),
        study_instance_uid=source.study_instance_uid,
        series_instance_uid=source.series_instance_uid,
        sop_instance_uid=source.sop_instance_uid,
        file=source.public_file,
        modality=source.modality,
        deposit_mask=deposit,
        iodine_mg=_number(point.iodine_mg),
        iodine_mg_interval=_interval(point.iodine_mg_interval),
        oil_ml=_number(point.oil_ml),
        relative_amount=_number(point.relative_amount),
        volume_mm3=_number(point.volume_mm3),
        coverage=None if point.coverage is None else {k: _number(v) for k, v in point.coverage.items()},
        retention=_number(point.retention),
        retention_interval=_interval(point.retention_interval),
        pattern=point.pattern,
        completeness=point.completeness,
        margin_grade=point.margin_grade,
        clipped_voxels=point.clipped_voxels,
        quality=point.quality.names(),
        quality_sentences=point.quality.sentences(),
        residual=None if point.residual is None else _residual(point.residual),
        view=None if views is None else names.name(source, f"slice-{stem}", ".png"),
        view_window=None if views is None else windows[views.unit],
        view_unit=None if views is None else views.unit,
    )


def _alignment(alignment: ScanAlignment, names: _Names) -> ScanAlignmentDocument:
    views: list[str | None] = [None, None, None]
    if alignment.pictures is not None:
        views = [names.name(alignment.source, f"aligned-{part}", ".png") for part in ("reference", "before", "after")]
    return ScanAlignmentDocument(
        date=alignment.source.date,
        days=_number(alignment.days),
        series_instance_uid=alignment.source.series_instance_uid,
        method=alignment.method,
        correlation=_number(alignment.correlation),
        edge_gap_before_mm=_number(alignment.edge_gap_before_mm),
        edge_gap_mm=_number(alignment.edge_gap_mm),
        shift_mm=_number(alignment.shift_mm),
        bend_mm=_number(alignment.bend_mm),
        volume_change=alignment.volume_change,
        reason=alignment.reason,
        motion=None if alignment.motion is None else [[round(float(v), 9) for v in row] for row in alignment.motion],
        reference_view=views[0],
        before_view=views[1],
        after_view=views[2],
    )


def _residual(residual: ResidualTumour) -> ResidualTumourDocument:
    return ResidualTumourDocument(
        arterial_minus_portal_hu=_number(residual.arterial_minus_portal_hu),
        interval_hu=(_number(residual.interval_hu[0]), _number(residual.interval_hu[1])),
        living_ml=_number(residual.living_ml),
        portal_series_instance_uid=residual.portal_series_instance_uid,
    )


def _searched(search: StrayOilSearch) -> StrayOilSearchDocument:
    return StrayOilSearchDocument(
        date=search.source.date,
        days=_number(search.days),
        series_instance_uid=search.source.series_instance_uid,
        compared_series_instance_uid=search.compared_series_uid,
        before_treatment=search.before_treatment,
        pieces=[_stray(oil) for oil in search.pieces],
        quality=search.quality.names(),
    )


def _stray(oil: StrayOil) -> StrayOilDocument:
    return StrayOilDocument(
        place=oil.place,
        centroid_mm=oil.centroid_mm,
        volume_ml=_number(oil.volume_ml),
        iodine_mg=_number(oil.iodine_mg),
        iodine_mg_interval=(_number(oil.iodine_mg_interval[0]), _number(oil.iodine_mg_interval[1])),
    )


def _kinetics(kinetics: Kinetics) -> KineticsDocument:
    low, high = kinetics.half_life_interval
    return KineticsDocument(
        model=kinetics.model,
        half_life_days=_number(kinetics.half_life_days),
        half_life_interval=(_number(low), _number(high)),
        curve_days=list(kinetics.curve_days),
        curve_retention=[_number(value) for value in kinetics.curve_retention],
    )
