"""What the server answers: the models behind its OpenAPI description, which the page is built on."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from angio_pipeline.core.corrections import (
    AcceptFeeder,
    AddFeeder,
    AddTumour,
    MoveTarget,
    Note,
    RedrawTumour,
    RejectFeeder,
    RemoveTumour,
    SetPhase,
)
from angio_pipeline.review.regions import RedrawLesion

__all__ = [
    "Alignment",
    "AnyReviewEdit",
    "AuditAnswer",
    "AuditLine",
    "Availability",
    "CaseAnswer",
    "CaseKind",
    "CaseRow",
    "ContoursAnswer",
    "CorrectionsAnswer",
    "CurveAnswer",
    "CurveLine",
    "Facets",
    "FollowUpAnswer",
    "FramesAnswer",
    "JobAnswer",
    "JobState",
    "Layer",
    "LayerInfo",
    "LinkedCase",
    "MaskAnswer",
    "ObjectsAnswer",
    "Plane",
    "Problem",
    "ReadersAnswer",
    "Relation",
    "ResultKind",
    "ReviewState",
    "ScanInfo",
    "SessionAnswer",
    "SnapAnswer",
    "SubjectAnswer",
    "Window",
    "WorklistAnswer",
]

Point = tuple[float, float]
AnyReviewEdit = Annotated[
    AcceptFeeder
    | RejectFeeder
    | AddFeeder
    | MoveTarget
    | AddTumour
    | RedrawTumour
    | RemoveTumour
    | SetPhase
    | Note
    | RedrawLesion,
    Field(discriminator="kind"),
]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class Problem(_Answer):
    """Why a request was not done: one sentence for the reader, and a code for the page."""

    code: str = Field(examples=["conflict"])
    sentence: str


class CaseKind(StrEnum):
    """What a case is: one run, or all follow-ups of one patient."""

    RUN = "run"
    FOLLOW_UP = "follow_up"


class ReviewState(StrEnum):
    """How far this reader is with a case."""

    NEW = "new"
    IN_PROGRESS = "in_progress"
    DONE = "done"


class ResultKind(StrEnum):
    """Which analysis is meant: the one under review, or the one made anew with this reader's corrections."""

    ORIGINAL = "original"
    MINE = "mine"


class Layer(StrEnum):
    """How a frame is shown: as stored, minus its mask as both stand, or minus its mask with motion corrected."""

    RAW = "raw"
    SUBTRACTED = "subtracted"
    CORRECTED = "corrected"


class Plane(StrEnum):
    """How a scan is cut, in the axes of the reference scan's grid."""

    AXIAL = "axial"
    CORONAL = "coronal"
    SAGITTAL = "sagittal"


class Relation(StrEnum):
    """How a case belongs to another: its run before or after embolisation, or another projection of one injection."""

    BEFORE = "before"
    AFTER = "after"
    PROJECTION = "projection"


class SessionAnswer(_Answer):
    """Who is signed in. `csrf` goes into the header `X-CSRF-Token` of every request that changes something."""

    reader: str
    csrf: str
    unblinded: bool = Field(description="Whether the owner of the server lets readers see each other.")
    sources_given: bool = Field(description="Whether the server knows any folder of source images.")
    version: str


class CaseRow(_Answer):
    """One line of the worklist."""

    id: str = Field(description="Opaque; the key of every other request.", examples=["c3f1a2b4c5d6e7f8"])
    kind: CaseKind
    subject: str = Field(description="Pseudonym.")
    date: str = Field(description="`YYYYMMDD` or `undated`; of a follow-up the last date.")
    label: str = Field(description="Series and instance, as `S101 I0001`; of a follow-up how many scans.")
    analysed: bool
    problem: str | None = Field(description="Why there is no analysis.")
    findings: int = Field(description="Tumours of a run, lesions of a follow-up.")
    likely_feeders: int = Field(description="With a probability of at least 0.5.")
    flags: list[str]
    state: ReviewState
    edits: int = Field(description="This reader's edits that hold.")
    thumbnail: bool = Field(description="Whether `pictures/thumbnail` is there.")


class WorklistAnswer(_Answer):
    """One page of the worklist."""

    total: int = Field(description="Cases that fit the filter.")
    offset: int
    cases: list[CaseRow]
    indexing: bool = Field(description="Whether results are still being read; ask again for the rest.")
    index_age_s: float


class Facets(_Answer):
    """What the worklist can be filtered by, each with its number of cases."""

    subjects: int
    kinds: dict[str, int]
    states: dict[str, int]
    flags: dict[str, int]
    first_date: str | None
    last_date: str | None


class LinkedCase(_Answer):
    """A case that belongs to this one."""

    id: str | None = Field(description="null where it is not among the results.")
    relation: Relation
    document: int = Field(description="Index of the entry in `comparisons` or `pairs` of that document.")
    sentence: str
    picture: bool = Field(description="Whether `linked/{relation}/{document}` is there.")


class SubjectAnswer(_Answer):
    """One patient: cases by date, and the documents over several of them, as written (`null` where there is none)."""

    subject: str
    cases: list[CaseRow]
    embolisation: dict[str, Any] | None
    projections: dict[str, Any] | None
    response: dict[str, Any] | None


class Availability(_Answer):
    """Whether the source image of a case can be reached; `sentence` is for the reader where it cannot."""

    available: bool
    sentence: str


class CaseAnswer(_Answer):
    """One case: what there is to be asked for."""

    row: CaseRow
    source: Availability
    results: list[ResultKind] = Field(description="`mine` once the reader's corrections have been carried out.")
    pictures: list[str] = Field(description="Names for `pictures/{name}`.")
    masks: list[str] = Field(description="Names for `masks/{name}`.")
    maps: list[str] = Field(description="Names for `maps/{name}`.")
    linked: list[LinkedCase]
    quality_sentences: list[str]
    reference_frame: int | None
    software: str | None


class Window(_Answer):
    """Grey window, in the layer's real values (`slope` * stored + `intercept`)."""

    center: float
    width: float


class LayerInfo(_Answer):
    """How the 16-bit values of one layer are to be read: value = slope * stored + intercept."""

    slope: float
    intercept: float
    unit: str
    window: Window
    dark_is_contrast: bool = Field(description="Draw the window's upper end black (subtracted layers).")


class FramesAnswer(_Answer):
    """The frames of a run; ask again while `preparing`, and while layers are `coming`: those told are there already.

    Frames are rows of `columns` little-endian uint16.
    """

    state: Literal["ready", "preparing", "unavailable"]
    sentence: str
    rows: int
    columns: int
    frames: int
    times_s: list[float | None]
    pose_deg: tuple[float, float] | None
    spacing_mm: tuple[float, float] | None = Field(description="Only where it is calibrated in the patient.")
    frame_of_reference_uid: str | None
    reference_frame: int | None
    mask_frames: list[int]
    mask_shift_px: list[Point]
    layers: dict[Layer, LayerInfo]
    coming: list[Layer] = Field(description="Layers that are still being prepared.")


class CurveLine(_Answer):
    """One curve, a value a frame; `null` where a frame holds none."""

    label: str
    values: list[float | None]


class CurveAnswer(_Answer):
    """Time-density curves in attenuation over the motion-corrected frames."""

    times_s: list[float | None]
    unit: str
    pixels: int = Field(description="How many pixels were averaged.")
    curves: list[CurveLine]


class SnapAnswer(_Answer):
    """The way of the feeder that a click would add; nothing is stored. `sentence` says why there is none."""

    found: bool
    sentence: str
    centreline: list[Point]
    branch_start: Point | None
    gap_px: float | None


class MaskAnswer(_Answer):
    """The name under which an edit may use the mask that was sent."""

    mask: str
    rows: int
    columns: int


class CorrectionsAnswer(_Answer):
    """What this reader says of a case. The ETag of the answer is the revision, for `If-Match`."""

    reader: str
    revision: int
    state: ReviewState
    edits: list[AnyReviewEdit]
    can_undo: bool
    can_redo: bool
    draft: str = Field(description="Text that was being typed, as kept last.")
    updated: AwareDatetime | None


class ReadersAnswer(_Answer):
    """What all readers say of a case: only where the owner has unblinded them."""

    readers: list[CorrectionsAnswer]


class JobState(StrEnum):
    """How far a re-analysis is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class JobAnswer(_Answer):
    """A re-analysis with this reader's corrections."""

    id: str
    case: str
    state: JobState
    done: int
    total: int = Field(description="0 while it is not known yet.")
    sentence: str
    revision: int = Field(description="Of the corrections that it holds.")
    not_applied: list[str] = Field(description="One sentence for each edit that did not fit.")


class Alignment(_Answer):
    """How a scan was laid upon the reference scan, and what of it the slices show."""

    method: str
    shown: Literal["reference", "rigid", "table", "none"] = Field(
        description="`table`: where the scanner's table put it, as no motion is known; `none`: no slices at all."
    )
    sentence: str
    correlation: float | None
    bend_mm: float | None
    views: list[int] = Field(description="Stored pictures: reference, before, after; for `views/{number}`.")


class ScanInfo(_Answer):
    """One scan of a follow-up."""

    index: int = Field(description="Names the scan in `scans/{index}`.")
    date: str
    days: float | None
    modality: str
    series_instance_uid: str
    deposits: list[str] = Field(description="Lesions whose deposit is stored.")
    slice_views: dict[str, int] = Field(description="By lesion, a stored slice; for `views/{number}`.")
    alignment: Alignment


class FollowUpAnswer(_Answer):
    """All follow-ups of one patient; slices are ready or not as `state` says."""

    state: Literal["ready", "preparing", "unavailable"]
    sentence: str
    shape: tuple[int, int, int] | None = Field(description="(Z, Y, X) of the grid that all scans are shown on.")
    affine: list[list[float]] | None = Field(description="(z, y, x, 1) to LPS millimetres.")
    window: Window
    slope: float
    intercept: float
    scans: list[ScanInfo]
    lipiodol: dict[str, Any] = Field(description="`lipiodol.json` as written: retention, intervals, kinetics.")
    response: dict[str, Any] | None = Field(description="`response.json` as written.")


class ContoursAnswer(_Answer):
    """By lesion the outlines of its deposit on one slice, (row, col) pixels of that slice."""

    contours: dict[str, list[list[Point]]]


class ObjectsAnswer(_Answer):
    """Names of the DICOM objects that the analysis wrote, for `objects/{name}`."""

    objects: list[str]


class AuditLine(_Answer):
    """One event of the journal: this reader's own, or all of them where readers are unblinded."""

    seq: int
    at: AwareDatetime
    reader: str
    revision: int | None
    action: str
    before: Any
    after: Any


class AuditAnswer(_Answer):
    """The journal of one case."""

    events: list[AuditLine]
