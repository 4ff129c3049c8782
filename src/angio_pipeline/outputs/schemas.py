"""The public documents: what `analysis.json`, `lipiodol.json`, `response.json`, `graph.json`, `curves.json`,
`embolisation.json` and `projections.json` hold.

What a file of corrections holds stands in `core.corrections`, as it is read as well as written.

The field names and their meaning are a contract with every reader of the results. A field may be
added at any time; a change of meaning changes the version in `schema`. Unknown is `null`, never 0,
and never NaN. Points are `[row, col]` in pixels of the stored frame, 0-based.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter

from angio_pipeline.core.corrections import CorrectionsDocument
from angio_pipeline.core.embolisation import Flow, Patency, SaceLevel
from angio_pipeline.core.followups import AlignmentMethod, Completeness, KineticsModel, MarginGrade, OilPlace, Pattern
from angio_pipeline.core.geometry import SpacingPlane
from angio_pipeline.core.measures import VelocityState
from angio_pipeline.core.projections import Sight
from angio_pipeline.core.readings import Statement
from angio_pipeline.core.response import Call, Criterion, LesionRole, OilConvention, OutlineOrigin, ReferenceStandard
from angio_pipeline.core.tumours import ByHand, LesionOrigin, ShuntKind

__all__ = [
    "AlignmentDocument",
    "BestResponseDocument",
    "BlushChangeDocument",
    "CatheterTipDocument",
    "ComparisonDocument",
    "CorrectionDocument",
    "CurveDocument",
    "CurvesDocument",
    "EmbolisationDocument",
    "ExtentDocument",
    "FeederChangeDocument",
    "FeederDocument",
    "FeederTwoViewsDocument",
    "GraphBranch",
    "GraphDocument",
    "GraphNode",
    "ImageDocument",
    "KineticsDocument",
    "LesionDocument",
    "LesionHistoryDocument",
    "LipiodolDocument",
    "LiverDocument",
    "MeasuredLesionDocument",
    "NecrosisDocument",
    "NecrosisReferenceDocument",
    "NotComparedDocument",
    "NotJoinedDocument",
    "OperationDocument",
    "PairFeederDocument",
    "PassageDocument",
    "PhasesDocument",
    "ProjectionPairDocument",
    "ProjectionsDocument",
    "ReasonDocument",
    "ReferenceArteryDocument",
    "ResidualLayersDocument",
    "ResponseDocument",
    "ResponseTimepointDocument",
    "RunDocument",
    "ScanAlignmentDocument",
    "SecondProjectionDocument",
    "ShuntDocument",
    "SoftwareDocument",
    "SourceDocument",
    "SubtractionDocument",
    "TargetDocument",
    "TimepointDocument",
    "TumourChangeDocument",
    "TumourDocument",
    "TumourTargetDocument",
    "TumourTwoViewsDocument",
    "VesselsDocument",
    "json_schema",
]

Point = tuple[float, float]
Interval = tuple[float | None, float | None]
FrameRange = tuple[int, int]
Fraction = Annotated[float, Field(ge=0, le=1)]


class _Document(BaseModel):
    """Finite numbers only; keys of a newer version are read past."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False, populate_by_name=True, serialize_by_alias=True)


class SoftwareDocument(_Document):
    """What wrote the file."""

    name: str
    version: str


class OperationDocument(_Document):
    """One step that was carried out, with its real arguments."""

    name: str
    arguments: dict[str, Any]


class SourceDocument(_Document):
    """The input, by identifiers only."""

    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str = ""
    file: str
    subject: str = ""
    date: str = "undated"
    modality: str = ""
    description: str = ""


class ImageDocument(_Document):
    """The frames. `spacing_mm` is given only where it holds in the patient."""

    rows: int
    columns: int
    frames: int
    times_s: list[float | None]
    spacing_mm: tuple[float, float] | None
    spacing_plane: SpacingPlane
    pose_deg: tuple[float, float] | None
    calibration: str | None = Field(default=None, description="How the spacing in the patient is known.")
    detector_spacing_mm: tuple[float, float] | None = Field(
        default=None, description="Spacing at the detector; not a scale for anything in the patient."
    )
    frame_interval_s: float | None = Field(default=None, description="Median; finer differences are interpolated.")
    quantity: str = ""


class ResidualLayersDocument(_Document):
    """Root-mean-square difference of each frame outside vessels, attenuation units, after each layer of correction.

    `none`: as acquired; `shift`: one shift a frame; `field`: a smooth field; `masks`: mask frames chosen by frame
    or patch. `null` where a layer was not applied.
    """

    none: list[float | None]
    shift: list[float | None]
    field: list[float | None]
    masks: list[float | None]


class SubtractionDocument(_Document):
    """How the background was taken away, and how well the frames were aligned.

    `correction` says where the correction of motion comes from; `mask_shift_px` by how much the file (`header`,
    `automatic`) or the user (`hand`) asks the mask to be moved, (row, col) for each frame.
    """

    already_subtracted: bool
    mask_frames: list[int]
    reference_frame: int
    motion_px: list[tuple[float | None, float | None]]
    residual_before: float | None
    residual_after: float | None
    background: str = ""
    noise_sd: float | None = None
    usable_frames: list[bool] = []
    correction: Literal["none", "automatic", "header", "hand"] | None = None
    mask_shift_px: list[Point] = []
    mask_scope: Literal["run", "frame", "patch"] | None = None
    denoised: bool = False
    residual_layers: ResidualLayersDocument | None = None


class PhasesDocument(_Document):
    """First and last frame of each phase, both included, 0-based."""

    pre_contrast: FrameRange | None = None
    arterial: FrameRange
    parenchymal: FrameRange | None
    venous: FrameRange | None
    corrected: bool = Field(default=False, description="Whether a reader set any of them.")


class CatheterTipDocument(_Document):
    """Where contrast leaves the catheter."""

    row: float
    col: float
    probability: Fraction


class VesselsDocument(_Document):
    """The arterial tree; masks and graph are files beside this one."""

    artery_mask: str
    vein_mask: str | None
    graph: str
    branches: int
    length_mm: float | None
    length_px: float
    method: str | None = None
    network: str | None = None
    catheter_mask: str | None = None


class TargetDocument(_Document):
    """A super-selective catheter position for one feeder."""

    row: float
    col: float
    diameter_mm: float | None
    path_length_mm: float | None
    bifurcations: int
    tortuosity: float | None
    non_target_fraction: float | None
    diameter_px: float | None = None
    path_length_px: float | None = None
    turns_deg: list[float] = []
    beyond_last_branch_mm: float | None = None
    beyond_last_branch_px: float | None = None
    microcatheter_fits: dict[str, bool] | None = None
    corrected: ByHand | None = Field(default=None, description="Whether a reader put it there.")


class TumourTargetDocument(TargetDocument):
    """One position of the smallest set that covers all of a tumour's feeders."""

    covers: list[str]


class TargetOptionDocument(_Document):
    """The best set of so many positions, and the share of the tree downstream of them that is not the tumour's."""

    positions: int
    non_target_fraction: Fraction
    targets: list[TumourTargetDocument]


class FeederTwoViewsDocument(_Document):
    """What a second projection of the same injection shows of a feeder.

    `probability` is that by both views, beside which the feeder's own stays that of its run alone. Places in space
    are DICOM LPS millimetres from the C-arm's isocentre as the patient lay in the first of the two runs; `course` and
    `entry_line` are pixels of the other run.
    """

    probability: Fraction
    sight: Sight = Field(description="`passes by`: the branch lies in front of the tumour or behind it.")
    match: str | None = Field(description="The same feeder in the other run.")
    apart_mm: float | None = Field(description="Mean distance of the course from its epipolar lines.")
    misfit: float | None = Field(description="Distance, arrival and calibre together, in standard deviations.")
    later_s: float | None
    entry_mm: tuple[float, float, float] | None
    beyond_mm: float | None = Field(description="How far the entry lies outside the tumour, in space.")
    entry_line: list[Point] = Field(description="Ends of the entry's epipolar line in the other run.")
    course: list[Point]
    reason: str
    evidence: dict[str, float | None] = {}


class TumourTwoViewsDocument(_Document):
    """Where a second projection shows a tumour; places are DICOM LPS millimetres from the C-arm's isocentre."""

    match: str
    centre_mm: tuple[float, float, float]
    radius_mm: float
    apart_mm: float = Field(description="Between the centre and its epipolar line.")
    alone: bool = Field(description="No other tumour of either run could be meant.")


class SecondProjectionDocument(_Document):
    """The run that this one was joined with, and how well both agree."""

    sop_instance_uid: str
    series_instance_uid: str
    pose_deg: tuple[float, float]
    apart_deg: float
    match: float | None
    sd_mm: float


class FeederDocument(_Document):
    """A branch that supplies the tumour."""

    id: str
    rank: int
    probability: Fraction
    contribution: Fraction
    centreline: list[Point]
    branch_start: Point
    diameter_mm: float | None
    diameter_px: float | None
    arrival_s: float | None
    overlap_ambiguous: bool
    target: TargetDocument
    evidence: dict[str, float | None] = {}
    corrected: ByHand | None = Field(default=None, description="What a reader did; the probability is then 1.")
    two_views: FeederTwoViewsDocument | None = Field(default=None, description="With a second projection.")


class TumourDocument(_Document):
    """One tumour, its feeders and its targets."""

    id: str
    centroid: Point
    area_mm2: float | None
    area_px: int
    mask: str
    probability: Fraction
    origin: LesionOrigin
    feeders: list[FeederDocument]
    targets: list[TumourTargetDocument]
    target_options: list[TargetOptionDocument] = []
    corrected: ByHand | None = Field(default=None, description="What a reader did; the origin is then `roi`.")
    two_views: TumourTwoViewsDocument | None = Field(default=None, description="With a second projection.")


class ShuntDocument(_Document):
    """Early venous filling."""

    kind: ShuntKind
    probability: Fraction
    row: float
    col: float
    arrival_s: float | None


class CorrectionDocument(_Document):
    """What became of one edit of a reader."""

    id: str
    kind: str
    time: AwareDatetime
    reviewer: str | None
    comment: str | None
    text: str | None = Field(default=None, description="Of a note.")
    applied: bool
    sentence: str


class RunDocument(_Document):
    """`analysis.json`: everything measured on one run."""

    schema_: Literal["angio-pipeline/run/1"] = Field(default="angio-pipeline/run/1", alias="schema")
    source: SourceDocument
    image: ImageDocument
    subtraction: SubtractionDocument
    phases: PhasesDocument
    catheter_tip: CatheterTipDocument | None
    vessels: VesselsDocument
    tumours: list[TumourDocument]
    shunts: list[ShuntDocument]
    quality: list[str]
    quality_sentences: list[str] = []
    settings: dict[str, Any] = {}
    provenance: list[OperationDocument] = []
    software: SoftwareDocument | None = None
    corrections: list[CorrectionDocument] = []
    second_projection: SecondProjectionDocument | None = None


class GraphNode(_Document):
    """An end or a division of the tree."""

    id: int
    row: float
    col: float


class GraphBranch(_Document):
    """One branch; its points run with the flow, from `start` to `end`.

    Lengths and velocities are those of the projection; intervals hold 95 %. `arrival_start_s`, `arrival_end_s` and
    the velocity are of the leading edge of contrast, fitted over the whole tree; `velocity_state` says why a branch
    has no velocity. `taper` is diameter lost over length. `generation` counts bifurcations from the root and is
    `null` where the root does not reach.
    """

    id: int
    start: int
    end: int
    centreline: list[Point]
    radius_px: list[float | None]
    arrival_s: list[float | None]
    length_px: float
    diameter_px: float | None
    overlap_ambiguous: bool
    strahler_order: int | None = None
    generation: int | None = None
    length_mm: float | None = None
    tortuosity: float | None = None
    mean_diameter_px: float | None = None
    mean_diameter_mm: float | None = None
    taper: float | None = None
    arrival_start_s: float | None = None
    arrival_end_s: float | None = None
    velocity_px_s: float | None = None
    velocity_interval_px_s: Interval | None = None
    velocity_mm_s: float | None = None
    velocity_interval_mm_s: Interval | None = None
    velocity_state: VelocityState | None = None


class GraphDocument(_Document):
    """`graph.json`: the directed arterial tree."""

    schema_: Literal["angio-pipeline/graph/1"] = Field(default="angio-pipeline/graph/1", alias="schema")
    root: int | None
    flow_from: Literal["arrival", "shape"]
    nodes: list[GraphNode]
    branches: list[GraphBranch]
    crossings: list[Point]


class CurveDocument(_Document):
    """Mean attenuation over one region, a value a frame."""

    label: str
    values: list[float | None]


class CurvesDocument(_Document):
    """`curves.json`: time-density curves."""

    schema_: Literal["angio-pipeline/curves/1"] = Field(default="angio-pipeline/curves/1", alias="schema")
    times_s: list[float | None]
    unit: str
    curves: list[CurveDocument]


class ResidualTumourDocument(_Document):
    """What of a lesion enhances in the arterial phase and washes out; on the arterial scan's date."""

    arterial_minus_portal_hu: float | None = Field(
        description="mean of the lesion's interior where oil has no edge; oil cancels"
    )
    interval_hu: Interval
    living_ml: float | None = Field(description="volume that stands out of noise")
    portal_series_instance_uid: str


class StrayOilDocument(_Document):
    """One piece of oil outside the lesions."""

    place: OilPlace
    centroid_mm: tuple[float, float, float] = Field(description="LPS in that scan")
    volume_ml: float | None
    iodine_mg: float | None
    iodine_mg_interval: Interval


class StrayOilSearchDocument(_Document):
    """One scan that was searched for oil outside the lesions."""

    date: str
    days: float | None
    series_instance_uid: str
    compared_series_instance_uid: str = Field(description="the scan that tells oil from what was always bright")
    before_treatment: bool = Field(description="whether that is a scan before treatment, or a later one")
    pieces: list[StrayOilDocument]
    quality: list[str]


class TimepointDocument(_Document):
    """One lesion (or the liver) at one date."""

    date: str
    days: float | None
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    deposit_mask: str | None
    iodine_mg: float | None
    iodine_mg_interval: Interval | None
    oil_ml: float | None
    relative_amount: float | None
    volume_mm3: float | None
    coverage: dict[str, float | None] | None = Field(description="percent of the lesion, by threshold in HU")
    retention: float | None
    retention_interval: Interval | None
    pattern: Pattern | None
    completeness: Completeness | None
    margin_grade: MarginGrade | None
    clipped_voxels: int | None
    quality: list[str]
    quality_sentences: list[str] = []
    sop_instance_uid: str = ""
    file: str = ""
    residual: ResidualTumourDocument | None = Field(default=None, description="With an arterial and a portal scan.")
    view: str | None = Field(default=None, description="Aligned slice through the lesion, a picture.")
    view_window: tuple[float, float] | None = None
    view_unit: str | None = None


class KineticsDocument(_Document):
    """Washout. A `null` end of the interval is unbounded."""

    model: KineticsModel
    half_life_days: float | None
    half_life_interval: Interval
    curve_days: list[float] = []
    curve_retention: list[float | None] = []


class LiverDocument(_Document):
    """The liver beside the lesions."""

    timepoints: list[TimepointDocument]
    kinetics: KineticsDocument | None
    quality: list[str] = []
    quality_sentences: list[str] = []


class LesionDocument(LiverDocument):
    """One lesion over time."""

    id: str
    centroid_mm: tuple[float, float, float] | None
    origin: LesionOrigin = LesionOrigin.DETECTED


class ScanAlignmentDocument(_Document):
    """How one scan was laid upon the reference scan, and how well."""

    date: str
    days: float | None
    series_instance_uid: str
    method: AlignmentMethod
    correlation: float | None = Field(description="of attenuation around the liver, oil left out")
    edge_gap_before_mm: float | None = Field(description="median distance of edges, where the table put them")
    edge_gap_mm: float | None = Field(description="median distance of edges around the liver, aligned")
    shift_mm: float | None = Field(description="how far the liver's middle has gone")
    bend_mm: float | None = Field(description="95th percentile of the displacement on top of the rigid motion")
    volume_change: tuple[float, float] | None = Field(description="least and greatest local change in the liver")
    reason: str | None = Field(description="why the scan, or only its bending, was refused")
    motion: list[list[float]] | None = Field(
        default=None,
        description="(4, 4) from the reference's LPS millimetres to the scan's, as the rigid body nearest to the "
        "alignment about the liver; bending on top of it is not told",
    )
    reference_view: str | None = None
    before_view: str | None = None
    after_view: str | None = None


class LipiodolDocument(_Document):
    """`lipiodol.json`: the oil that stayed, for every lesion of one patient."""

    schema_: Literal["angio-pipeline/lipiodol/1"] = Field(default="angio-pipeline/lipiodol/1", alias="schema")
    lesions: list[LesionDocument]
    liver: LiverDocument | None
    alignments: list[ScanAlignmentDocument] = []
    non_target: list[StrayOilSearchDocument] = Field(
        default=[], description="Scans searched for oil outside the lesions; none where no two could be compared."
    )
    quality: list[str] = []
    quality_sentences: list[str] = []
    settings: dict[str, Any] = {}
    software: SoftwareDocument | None = None


class ExtentDocument(_Document):
    """Size of a lesion or of its enhancing part; zeros when it is gone. Diameters are axial, but for the 3-D one."""

    longest_mm: float
    across_mm: float
    product_mm2: float
    longest_3d_mm: float
    volume_ml: float


class NecrosisDocument(_Document):
    """What of a lesion enhances and what does not; `null` where the phases for it are missing, see `reason`."""

    enhancing_ml: float | None
    non_enhancing_ml: float | None
    covered_ml: float | None = Field(description="covered by the deposit of oil")
    rim_ml: float | None = Field(description="outermost layer of the lesion")
    rim_enhancing_ml: float | None
    necrotic_percent: dict[OilConvention, float] = Field(description="share that does not enhance, by convention")
    reason: str = ""


class MeasuredLesionDocument(_Document):
    """One lesion at one date; `whole` is `null` where it was not evaluated, and `missing` says why."""

    date: str
    days: float
    whole: ExtentDocument | None
    viable: dict[OilConvention, ExtentDocument]
    viable_by: str | None = Field(description="how enhancement was told")
    threshold_hu: float | None = Field(description="enhancement from which on tissue counts as viable")
    outline: OutlineOrigin | None
    pieces: int = 1
    merged_into: str | None = None
    too_small: bool = False
    mean_hu: float | None
    phase: str | None = Field(description="in which mean_hu was taken")
    holds_oil: bool | None
    necrosis: NecrosisDocument | None
    missing: str = ""
    viable_missing: str = ""
    reading: Statement | None = Field(default=None, description="what a reader said of it")


class LesionHistoryDocument(_Document):
    """One lesion at every date."""

    id: str
    organ: str
    node: bool
    role: LesionRole | None
    new_on_days: float | None
    timepoints: list[MeasuredLesionDocument]


class ReasonDocument(_Document):
    """The numbers behind one call, and the names of the rules that made it. NE: not evaluable."""

    name: str
    criterion: Criterion
    convention: OilConvention | None
    call: Call
    rule: str
    table_row: str | None
    sentence: str
    target_call: Call | None
    non_target_call: Call | None
    new_lesions: list[str]
    targets: list[str]
    non_targets: list[str]
    unit: str
    value: float | None
    baseline: float | None
    nadir: float | None
    change_from_baseline: float | None
    change_from_nadir: float | None
    density_valid: bool | None
    density_change: float | None
    effect: float | None


class ResponseTimepointDocument(_Document):
    """All calls of one date: by criterion, or by criterion and convention of the oil; `null` where none was made."""

    date: str
    days: float
    too_early: bool = Field(False, description="before response can be assessed: the calls tell none")
    calls: dict[str, Call | None]
    reasons: list[ReasonDocument]


class BestResponseDocument(_Document):
    """Best overall response by one criterion; `null` where there is none."""

    name: str
    call: Call | None
    rule: str
    days: float | None
    confirmed: bool | None
    sentence: str


class NecrosisReferenceDocument(_Document):
    """Necrosis of one lesion by its reference standard, with imaging beside it."""

    lesion: str
    role: LesionRole | None
    standard: ReferenceStandard
    percent: float
    imaging_percent: float | None
    imaging_days: float | None


class ResponseDocument(_Document):
    """`response.json`: what every criterion says of one patient, and the measures that it says it from."""

    schema_: Literal["angio-pipeline/response/1"] = Field(default="angio-pipeline/response/1", alias="schema")
    baseline_date: str | None
    reason: str = Field(default="", description="Why there are no calls, where there are none.")
    lesions: list[LesionHistoryDocument]
    timepoints: list[ResponseTimepointDocument]
    best: list[BestResponseDocument]
    necrosis: list[NecrosisReferenceDocument]
    settings: dict[str, Any] = {}
    software: SoftwareDocument | None = None


class AlignmentDocument(_Document):
    """How the run after lies against the run before, (row, col) pixels; matches are correlations, at most 1."""

    shift_px: Point
    anatomy_shift_px: Point | None = Field(description="null where no unsubtracted anatomy could be compared")
    anatomy_match: float | None
    vessel_match: float | None
    by_vessels: bool = Field(description="false: bone alone aligns the runs, and no feeder is judged")


class ReferenceArteryDocument(_Document):
    """The artery that both runs are measured by; contrast is attenuation, a value for each of `times_s`."""

    how: str
    centreline: list[Point]
    diameter_px: float | None
    peak_before: float | None
    peak_after: float | None
    area_before: float | None = Field(description="under its curve, attenuation times seconds")
    area_after: float | None
    curve_before: list[float | None]
    curve_after: list[float | None]


class PassageDocument(_Document):
    """One curve over the reference artery's: amplitudes are ratios, the time is after the artery's arrival."""

    peak: float | None
    auc: float | None
    wash_in: float | None
    time_to_peak_s: float | None


class BlushChangeDocument(_Document):
    """A tumour's stain above its surroundings in both runs."""

    residual: float | None = Field(description="peak after over peak before, each over the reference artery's")
    residual_interval: Interval | None
    residual_area: float | None = Field(description="area that stains after over area that stained before")
    area_before_px: int
    area_after_px: int
    area_before_mm2: float | None
    area_after_mm2: float | None
    surroundings_share: float | None = Field(description="share of the surroundings' curve that was taken off")
    before: PassageDocument
    after: PassageDocument
    curve_before: list[float | None] = Field(description="over the reference artery's peak, for each of `times_s`")
    curve_after: list[float | None] = Field(
        description="over what the reference artery's peak would be with the area after and the shape before"
    )


class FeederChangeDocument(_Document):
    """One feeder of the run before, read in both runs along the part that is the tumour's own."""

    id: str
    probability: Fraction
    contribution: Fraction
    patency: Patency
    contrast_before: float | None = Field(description="area under its curve over the reference artery's")
    contrast_after: float | None
    ratio: float | None
    ratio_interval: Interval | None
    delay_before_s: float | None = Field(description="mean transit time from the reference artery")
    delay_after_s: float | None
    centreline: list[Point]
    reason: str


class TumourChangeDocument(_Document):
    """One tumour of the run before; `sace` is null where it cannot be decided, and `reason` says by what or why."""

    id: str
    blush: BlushChangeDocument | None
    feeders: list[FeederChangeDocument]
    flow: Flow | None
    sace: SaceLevel | None
    reason: str


class ComparisonDocument(_Document):
    """Two runs of one view, compared. Places are pixels of the run before."""

    before: SourceDocument
    after: SourceDocument
    paired_by: Literal["label", "order"] = Field(
        description="label: a file calls its run before or after; order: first and last run of the view"
    )
    alignment: AlignmentDocument
    reference_artery: ReferenceArteryDocument
    times_s: list[float] = Field(description="0 when the reference artery has half its contrast")
    tumours: list[TumourChangeDocument]
    picture: str
    picture_time_s: float
    cautions: list[str] = []
    quality: list[str] = []
    quality_sentences: list[str] = []


class NotComparedDocument(_Document):
    """Runs that were not compared, and why."""

    before: SourceDocument | None
    after: SourceDocument | None
    reason: str
    sentence: str


class EmbolisationDocument(_Document):
    """`embolisation.json`: before against after embolisation, for every pair of runs of one patient."""

    schema_: Literal["angio-pipeline/embolisation/1"] = Field(default="angio-pipeline/embolisation/1", alias="schema")
    comparisons: list[ComparisonDocument]
    not_compared: list[NotComparedDocument]
    settings: dict[str, Any] = {}
    software: SoftwareDocument | None = None


class LandmarkDocument(_Document):
    """A point of both runs, how far it misses its line after alignment, and whether it took part."""

    name: str
    apart_mm: float
    used: bool


class ViewAlignmentDocument(_Document):
    """How the second run had to be moved and turned for both to agree.

    Along the line between the sources a displacement cannot be seen; `sd_mm` is what a line's place is known to.
    """

    shift_mm: tuple[float, float, float]
    turn_deg: tuple[float, float]
    sd_mm: float
    match: float | None = Field(description="Correlation of the arterial contrast on corresponding lines.")
    landmarks: list[LandmarkDocument]


class PairTumourDocument(TumourTwoViewsDocument):
    """A tumour of the first run; `match` is its id in the second."""

    id: str


class PairFeederDocument(FeederTwoViewsDocument):
    """A feeder of one run, looked for in the other."""

    id: str
    tumour: str
    probability_alone: Fraction
    entry: Point


class ProjectionPairDocument(_Document):
    """Two projections of one injection."""

    first: SourceDocument
    second: SourceDocument
    first_deg: tuple[float, float]
    second_deg: tuple[float, float]
    apart_deg: float
    millimetres_told: bool = Field(description="Whether both files tell how large the patient is.")
    alignment: ViewAlignmentDocument
    tumours: list[PairTumourDocument]
    feeders_first: list[PairFeederDocument]
    feeders_second: list[PairFeederDocument]
    picture: str
    cautions: list[str] = []
    quality: list[str] = []


class NotJoinedDocument(_Document):
    """Runs that were not joined, and why."""

    first: SourceDocument | None
    second: SourceDocument | None
    reason: str
    sentence: str


class ProjectionsDocument(_Document):
    """`projections.json`: every two projections of one injection of one patient."""

    schema_: Literal["angio-pipeline/projections/1"] = Field(default="angio-pipeline/projections/1", alias="schema")
    pairs: list[ProjectionPairDocument]
    not_joined: list[NotJoinedDocument]
    settings: dict[str, Any] = {}
    software: SoftwareDocument | None = None


_DOCUMENTS: dict[str, type[BaseModel]] = {
    "run": RunDocument,
    "lipiodol": LipiodolDocument,
    "response": ResponseDocument,
    "graph": GraphDocument,
    "curves": CurvesDocument,
    "embolisation": EmbolisationDocument,
    "projections": ProjectionsDocument,
    "corrections": CorrectionsDocument,
}

_AnyDocument = Annotated[
    RunDocument
    | LipiodolDocument
    | ResponseDocument
    | GraphDocument
    | CurvesDocument
    | EmbolisationDocument
    | ProjectionsDocument
    | CorrectionsDocument,
    Field(discriminator="schema_"),
]


def json_schema(document: str | None = None) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of one kind of document, or of them all.

    Parameters
    ----------
    document : str, optional
        "run", "lipiodol", "response", "graph", "curves", "embolisation", "projections" or "corrections".
        Without it the schema accepts each of them, told apart by their `schema` key.

    Raises
    ------
    ValueError
        When there is no such document.
    """
    if document is not None and document not in _DOCUMENTS:
        raise ValueError(f"Expected one of {', '.join(_DOCUMENTS)}, found {document}.")
    adapter: TypeAdapter[Any] = TypeAdapter(_AnyDocument if document is None else _DOCUMENTS[document])
    schema = adapter.json_schema(mode="serialization", by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "angio-pipeline", **schema}
