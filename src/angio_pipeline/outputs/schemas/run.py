"""`analysis.json`, everything measured on one run, and `curves.json` beside it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime, Field

from angio_pipeline.core.geometry import SpacingPlane
from angio_pipeline.core.projections import Sight
from angio_pipeline.core.tumours import ByHand, LesionOrigin, ShuntKind
from angio_pipeline.outputs.schemas.common import (
    Document,
    Fraction,
    FrameRange,
    OperationDocument,
    Point,
    SoftwareDocument,
    SourceDocument,
)

__all__ = [
    "CatheterTipDocument",
    "CorrectionDocument",
    "CurveDocument",
    "CurvesDocument",
    "FeederDocument",
    "FeederTwoViewsDocument",
    "ImageDocument",
    "PhasesDocument",
    "ResidualLayersDocument",
    "RunDocument",
    "SecondProjectionDocument",
    "ShuntDocument",
    "SubtractionDocument",
    "TargetDocument",
    "TargetOptionDocument",
    "TumourDocument",
    "TumourTargetDocument",
    "TumourTwoViewsDocument",
    "VesselsDocument",
]


class ImageDocument(Document):
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


class ResidualLayersDocument(Document):
    """Root-mean-square difference of each frame outside vessels, attenuation units, after each layer of correction.

    `none`: as acquired; `shift`: one shift a frame; `field`: a smooth field; `masks`: mask frames chosen by frame
    or patch. `null` where a layer was not applied.
    """

    none: list[float | None]
    shift: list[float | None]
    field: list[float | None]
    masks: list[float | None]


class SubtractionDocument(Document):
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
    usable_frames: list[bool] = Field(default=[])
    correction: Literal["none", "automatic", "header", "hand"] | None = None
    mask_shift_px: list[Point] = Field(default=[])
    mask_scope: Literal["run", "frame", "patch"] | None = None
    denoised: bool = False
    residual_layers: ResidualLayersDocument | None = None


class PhasesDocument(Document):
    """First and last frame of each phase, both included, 0-based."""

    pre_contrast: FrameRange | None = None
    arterial: FrameRange
    parenchymal: FrameRange | None
    venous: FrameRange | None
    corrected: bool = Field(default=False, description="Whether a reader set any of them.")


class CatheterTipDocument(Document):
    """Where contrast leaves the catheter."""

    row: float
    col: float
    probability: Fraction


class VesselsDocument(Document):
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


class TargetDocument(Document):
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
    turns_deg: list[float] = Field(default=[])
    beyond_last_branch_mm: float | None = None
    beyond_last_branch_px: float | None = None
    microcatheter_fits: dict[str, bool] | None = None
    corrected: ByHand | None = Field(default=None, description="Whether a reader put it there.")


class TumourTargetDocument(TargetDocument):
    """One position of the smallest set that covers all of a tumour's feeders."""

    covers: list[str]


class TargetOptionDocument(Document):
    """The best set of so many positions, and the share of the tree downstream of them that is not the tumour's."""

    positions: int
    non_target_fraction: Fraction
    targets: list[TumourTargetDocument]


class FeederTwoViewsDocument(Document):
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
    evidence: dict[str, float | None] = Field(default={})


class TumourTwoViewsDocument(Document):
    """Where a second projection shows a tumour; places are DICOM LPS millimetres from the C-arm's isocentre."""

    match: str
    centre_mm: tuple[float, float, float]
    radius_mm: float
    apart_mm: float = Field(description="Between the centre and its epipolar line.")
    alone: bool = Field(description="No other tumour of either run could be meant.")


class SecondProjectionDocument(Document):
    """The run that this one was joined with, and how well both agree."""

    sop_instance_uid: str
    series_instance_uid: str
    pose_deg: tuple[float, float]
    apart_deg: float
    match: float | None
    sd_mm: float


class FeederDocument(Document):
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
    evidence: dict[str, float | None] = Field(default={})
    corrected: ByHand | None = Field(default=None, description="What a reader did; the probability is then 1.")
    two_views: FeederTwoViewsDocument | None = Field(default=None, description="With a second projection.")


class TumourDocument(Document):
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
    target_options: list[TargetOptionDocument] = Field(default=[])
    corrected: ByHand | None = Field(default=None, description="What a reader did; the origin is then `roi`.")
    two_views: TumourTwoViewsDocument | None = Field(default=None, description="With a second projection.")


class ShuntDocument(Document):
    """Early venous filling."""

    kind: ShuntKind
    probability: Fraction
    row: float
    col: float
    arrival_s: float | None


class CorrectionDocument(Document):
    """What became of one edit of a reader."""

    id: str
    kind: str
    time: AwareDatetime
    reviewer: str | None
    comment: str | None
    text: str | None = Field(default=None, description="Of a note.")
    applied: bool
    sentence: str


class RunDocument(Document):
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
    quality_sentences: list[str] = Field(default=[])
    settings: dict[str, Any] = Field(default={})
    provenance: list[OperationDocument] = Field(default=[])
    software: SoftwareDocument | None = None
    corrections: list[CorrectionDocument] = Field(default=[])
    second_projection: SecondProjectionDocument | None = None


class CurveDocument(Document):
    """Mean attenuation over one region, a value a frame."""

    label: str
    values: list[float | None]


class CurvesDocument(Document):
    """`curves.json`: time-density curves."""

    schema_: Literal["angio-pipeline/curves/1"] = Field(default="angio-pipeline/curves/1", alias="schema")
    times_s: list[float | None]
    unit: str
    curves: list[CurveDocument]
