"""What a reader changes in the result of a run, kept in a file and applied again by every later analysis.

The models here are the public document and the nouns at once: the review page writes them, `angio run` reads them,
`angio schema corrections` prints them. Feeders and tumours are told by their place first, since their ids may change
from one version of the software to the next. Every place is (row, col) in the reference frame of the result that was
corrected, and the document holds which frame that was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from angio_pipeline.core.arrays import frozen_array
from angio_pipeline.core.quality import Quality

__all__ = [
    "AcceptFeeder",
    "AddFeeder",
    "AddTumour",
    "AnyEdit",
    "CorrectionOutcome",
    "CorrectionsDocument",
    "Edit",
    "FeederPlace",
    "GivenEdit",
    "MoveTarget",
    "Note",
    "RedrawTumour",
    "RejectFeeder",
    "RemoveTumour",
    "RunEdits",
    "SetPhase",
    "TumourPlace",
    "correction_quality",
    "outcome",
]

_LARGEST_PX = 65536

Coordinate = Annotated[float, Field(ge=-_LARGEST_PX, le=_LARGEST_PX)]
Point = tuple[Coordinate, Coordinate]
Polygon = Annotated[tuple[Point, ...], Field(min_length=3, max_length=20000)]
FrameNumber = Annotated[int, Field(ge=0)]
FrameRange = tuple[FrameNumber, FrameNumber]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
MaskName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}\.png$")]
InstanceUid = Annotated[str, Field(pattern=r"^[0-9][0-9.]{0,63}$")]
Change = Callable[[tuple[float, float]], tuple[float, float]]


class _Model(BaseModel):
    """A misspelt key is an error: what a reader has said must not be dropped."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TumourPlace(_Model):
    """Which tumour is meant: by a point in it (best its centroid), by its id in the result corrected, or by both.

    Where both are given the point decides.
    """

    id: Identifier | None = None
    point: Point | None = None

    @model_validator(mode="after")
    def _told(self) -> Self:
        if self.id is None and self.point is None:
            raise ValueError("expected a point in the tumour, or its id")
        return self

    def with_places(self, change: Change) -> Self:
        """Return the same with its point changed."""
        return self.model_copy(update={"point": _changed(self.point, change)})


class FeederPlace(_Model):
    """Which feeder is meant: by a point on its own branch or by where that branch begins; the id goes along."""

    id: Identifier | None = None
    point: Point | None = Field(default=None, description="On the feeder's own branch, between its start and the end.")
    branch_start: Point | None = None

    @model_validator(mode="after")
    def _told(self) -> Self:
        if self.point is None and self.branch_start is None:
            raise ValueError("expected a point on the feeder or its branch_start, as ids may change")
        return self

    def with_places(self, change: Change) -> Self:
        """Return the same with its points changed."""
        update = {"point": _changed(self.point, change), "branch_start": _changed(self.branch_start, change)}
        return self.model_copy(update=update)


def _changed(point: Point | None, change: Change) -> Point | None:
    return None if point is None else change(point)


def _with_kind(schema: dict[str, Any]) -> None:
    """Say that the kind of an edit is never left out: what tells one from another has no default in a file."""
    if "kind" in schema["properties"]:
        schema["required"] = ["kind", *schema["required"]]


class Edit(_Model):
    """One thing that a reader changed.

    Attributes
    ----------
    time : datetime
        With its zone; edits are applied in this order, and a later one overrules an earlier one.
    reference_frame : int, optional
        Where it differs from that of the run's other edits.
    """

    model_config = ConfigDict(json_schema_extra=_with_kind)

    id: Identifier
    time: AwareDatetime
    reviewer: Annotated[str, Field(max_length=120)] | None = None
    comment: Annotated[str, Field(max_length=4000)] | None = None
    reference_frame: FrameNumber | None = None

    def with_places(self, change: Change) -> Self:
        """Return the edit with every one of its points changed."""
        return self

    def points(self) -> tuple[tuple[float, float], ...]:
        """Return all points of the edit."""
        found: list[tuple[float, float]] = []

        def collect(point: tuple[float, float]) -> tuple[float, float]:
            found.append(point)
            return point

        self.with_places(collect)
        return tuple(found)


class _OfFeeder(Edit):
    tumour: TumourPlace
    feeder: FeederPlace

    def with_places(self, change: Change) -> Self:
        update = {"tumour": self.tumour.with_places(change), "feeder": self.feeder.with_places(change)}
        return self.model_copy(update=update)


class AcceptFeeder(_OfFeeder):
    """The branch does supply the tumour."""

    kind: Literal["accept_feeder"] = "accept_feeder"


class RejectFeeder(_OfFeeder):
    """The branch does not supply the tumour."""

    kind: Literal["reject_feeder"] = "reject_feeder"


class AddFeeder(Edit):
    """The vessel at the click supplies the tumour; its way is taken from the vessel graph."""

    kind: Literal["add_feeder"] = "add_feeder"
    tumour: TumourPlace
    click: Point

    def with_places(self, change: Change) -> Self:
        """Return the edit with every one of its points changed."""
        return self.model_copy(update={"tumour": self.tumour.with_places(change), "click": change(self.click)})


class MoveTarget(Edit):
    """The place for the catheter is here.

    Attributes
    ----------
    origin : point, optional
        Where the target stood. A target moved twice is the same target by this.
    feeder : FeederPlace, optional
        The feeder whose own target it is.
    """

    kind: Literal["move_target"] = "move_target"
    tumour: TumourPlace
    feeder: FeederPlace | None = None
    origin: Point | None = None
    to: Point

    def with_places(self, change: Change) -> Self:
        """Return the edit with every one of its points changed."""
        feeder = None if self.feeder is None else self.feeder.with_places(change)
        update = {"tumour": self.tumour.with_places(change), "feeder": feeder, "to": change(self.to)}
        return self.model_copy(update={**update, "origin": _changed(self.origin, change)})


class _Drawn(Edit):
    polygons: Annotated[tuple[Polygon, ...], Field(min_length=1, max_length=1000)] | None = Field(
        default=None, description="Each closed and filled; what lies in any of them is the tumour."
    )
    mask: MaskName | None = Field(default=None, description="PNG of the frame's size, 0 and 255, beside the document.")

    @model_validator(mode="after")
    def _region(self) -> Self:
        if (self.polygons is None) == (self.mask is None):
            raise ValueError("expected either polygons or a mask")
        return self

    def with_places(self, change: Change) -> Self:
        if self.polygons is None:
            return self
        return self.model_copy(update={"polygons": tuple(tuple(change(p) for p in line) for line in self.polygons)})


class AddTumour(_Drawn):
    """There is a tumour here that was not found."""

    kind: Literal["add_tumour"] = "add_tumour"
    tumour_id: Identifier | None = Field(default=None, description="The next free one when left out or taken.")


class RedrawTumour(_Drawn):
    """The tumour reaches this far."""

    kind: Literal["redraw_tumour"] = "redraw_tumour"
    tumour: TumourPlace

    def with_places(self, change: Change) -> Self:
        """Return the edit with every one of its points changed."""
        return super().with_places(change).model_copy(update={"tumour": self.tumour.with_places(change)})


class RemoveTumour(Edit):
    """There is no tumour here."""

    kind: Literal["remove_tumour"] = "remove_tumour"
    tumour: TumourPlace

    def with_places(self, change: Change) -> Self:
        """Return the edit with every one of its points changed."""
        return self.model_copy(update={"tumour": self.tumour.with_places(change)})


class SetPhase(Edit):
    """First and last frame of phases, both included, 0-based; and which were not seen.

    Phases that are not named keep their place as far as the named ones leave it to them.
    """

    kind: Literal["set_phase"] = "set_phase"
    pre_contrast: FrameRange | None = None
    arterial: FrameRange | None = None
    parenchymal: FrameRange | None = None
    venous: FrameRange | None = None
    not_seen: tuple[Literal["pre_contrast", "parenchymal", "venous"], ...] = ()

    @property
    def given(self) -> dict[str, FrameRange | None]:
        """The phases that are named, in their order in time; None for one that was not seen."""
        names = ("pre_contrast", "arterial", "parenchymal", "venous")
        told = {name: getattr(self, name) for name in names}
        return {name: told[name] for name in names if told[name] is not None or name in self.not_seen}

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.given:
            raise ValueError("expected at least one phase")
        if any(self.given[name] is not None for name in self.not_seen):
            raise ValueError("expected a phase either with its frames or not seen")
        ranges = [found for found in self.given.values() if found is not None]
        frames = [frame for first, last in ranges for frame in (first, last)]
        overlap = any(before[1] >= after[0] for before, after in pairwise(ranges))
        if frames != sorted(frames) or overlap:
            raise ValueError("expected phases that follow each other, each from its first to its last frame")
        return self


class Note(Edit):
    """Words of the reader, about the run or about a place in it; they change nothing else."""

    kind: Literal["note"] = "note"
    text: Annotated[str, Field(min_length=1, max_length=4000)]
    point: Point | None = None

    def with_places(self, change: Change) -> Self:
        """Return the edit with every one of its points changed."""
        return self.model_copy(update={"point": _changed(self.point, change)})


AnyEdit = Annotated[
    AcceptFeeder | RejectFeeder | AddFeeder | MoveTarget | AddTumour | RedrawTumour | RemoveTumour | SetPhase | Note,
    Field(discriminator="kind"),
]


class RunEdits(_Model):
    """The edits of one run, and the geometry that their places are in.

    Attributes
    ----------
    reference_frame : int
        `subtraction.reference_frame` of the result that was corrected, 0-based.
    rows, columns : int, optional
        Size of its frames; a run of another size is not corrected.
    made_on : str, optional
        Version of the software that had written it.
    """

    reference_frame: FrameNumber
    rows: Annotated[int, Field(ge=1)] | None = None
    columns: Annotated[int, Field(ge=1)] | None = None
    made_on: Annotated[str, Field(max_length=120)] | None = None
    edits: Annotated[tuple[AnyEdit, ...], Field(max_length=10000)]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        seen: set[str] = set()
        for edit in self.edits:
            if edit.id in seen:
                raise ValueError(f"expected each edit to have an id of its own, found {edit.id} twice")
            seen.add(edit.id)
        return self


class CorrectionsDocument(_Model):
    """A reader's corrections of any number of runs, each by the SOP instance UID of its image."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    schema_: Literal["angio-pipeline/corrections/1"] = Field(alias="schema")
    runs: dict[InstanceUid, RunEdits]


@dataclass(frozen=True, slots=True, eq=False)
class GivenEdit:
    """One edit of one run with the geometry that it was made in.

    Attributes
    ----------
    mask : ndarray, (H, W) bool, or None
        What the edit's mask file holds.
    shift_px : tuple of float
        (row, col) by which its places have been moved from where the reader put them.
    file : str
        The document that it stands in, as it was given.
    """

    edit: AnyEdit
    reference_frame: int
    size: tuple[int | None, int | None] = (None, None)
    mask: npt.NDArray[np.bool_] | None = None
    shift_px: tuple[float, float] = (0.0, 0.0)
    file: str = ""

    def __post_init__(self) -> None:
        if self.mask is not None:
            object.__setattr__(self, "mask", frozen_array(self.mask, "mask", ndim=2, dtype=np.bool_))


@dataclass(frozen=True, slots=True)
class CorrectionOutcome:
    """What became of one edit: whether it was applied, and one sentence; `file` is where the edit stands."""

    edit: AnyEdit
    applied: bool
    sentence: str
    file: str = ""


def outcome(given: GivenEdit, sentence: str, *, applied: bool = True) -> CorrectionOutcome:
    """Return what became of an edit; that its places had to be moved is added to the sentence."""
    if given.shift_px != (0.0, 0.0):
        row, col = given.shift_px
        sentence += f" Drawn on another reference frame, it was moved with the anatomy by ({row:.1f}, {col:.1f}) px."
    return CorrectionOutcome(given.edit, applied, sentence, given.file)


def correction_quality(outcomes: Iterable[CorrectionOutcome]) -> Quality:
    """Return the flags that tell a reader of the result that it was corrected, and that something did not fit."""
    quality = Quality.NONE
    for one in outcomes:
        if not one.applied:
            quality |= Quality.CORRECTION_NOT_APPLIED
        elif not isinstance(one.edit, Note):
            quality |= Quality.HAND_CORRECTED
    return quality
