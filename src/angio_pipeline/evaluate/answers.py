"""What results say, as far as it is judged; a file that cannot be read as such is as good as missing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

__all__ = [
    "CourseAnswer",
    "FeederAnswer",
    "GraphAnswer",
    "LesionAnswer",
    "LipiodolAnswer",
    "PatientAnswer",
    "ResponseAnswer",
    "RunAnswer",
    "ShuntAnswer",
    "TimepointAnswer",
    "TumourAnswer",
    "find_patients",
    "find_runs",
    "read_graph",
    "read_picture",
    "with_readable_masks",
]

BoolArray = npt.NDArray[np.bool_]
Point = tuple[float, float]
Interval = tuple[float | None, float | None]
T = TypeVar("T", bound=BaseModel)


class _Answer(BaseModel):
    # Results may hold more than is judged; what is judged has to be a number.
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class SourceAnswer(_Answer):
    """Which run it is about."""

    sop_instance_uid: str


class ImageAnswer(_Answer):
    """Spacing, where it holds in the patient."""

    spacing_mm: tuple[float, float] | None = None
    spacing_plane: str = "none"


class SubtractionAnswer(_Answer):
    """Motion and residuals as the result measured them, and the frame in which everything is drawn."""

    reference_frame: int | None = None
    mask_frames: tuple[int, ...] = ()
    motion_px: tuple[tuple[float | None, float | None], ...] | None = None
    residual_before: float | None = None
    residual_after: float | None = None


class TipAnswer(_Answer):
    """The catheter's tip."""

    row: float
    col: float


class VesselsAnswer(_Answer):
    """Masks of vessels and their tree; no vein mask means that veins were not told from arteries."""

    artery_mask: str
    vein_mask: str | None = None
    graph: str | None = None


class BranchAnswer(_Answer):
    """A branch of the tree between two nodes, drawn with the flow."""

    start: int
    end: int
    centreline: tuple[Point, ...] = ()


class GraphAnswer(_Answer):
    """`graph.json`; no root means that nobody knows where the flow comes from."""

    root: int | None = None
    branches: tuple[BranchAnswer, ...] = ()


class TwoViewsAnswer(_Answer):
    """How probable a feeder is by both projections of one injection."""

    probability: float = Field(ge=0, le=1)


class FeederAnswer(_Answer):
    """A branch called a feeder; `branch_start` is where it leaves the vessel that also feeds something else."""

    probability: float = Field(ge=0, le=1)
    centreline: tuple[Point, ...] = ()
    branch_start: Point | None = None
    overlap_ambiguous: bool = False
    two_views: TwoViewsAnswer | None = None

    def by_both_views(self) -> FeederAnswer:
        """Return it with the probability by both views; as it is where no second view was joined."""
        told = self.two_views
        return self if told is None else self.model_copy(update={"probability": told.probability})


class TargetAnswer(_Answer):
    """A place called good for the catheter."""

    row: float
    col: float


class TumourAnswer(_Answer):
    """A tumour called, or a region that was given."""

    mask: str
    origin: str = "detected"
    feeders: tuple[FeederAnswer, ...] = ()
    targets: tuple[TargetAnswer, ...] = ()


class ShuntAnswer(_Answer):
    """A shunt called."""

    kind: str = ""
    probability: float = Field(ge=0, le=1)
    row: float
    col: float


class RunAnswer(_Answer):
    """`analysis.json`; `shunts` is None when shunts were not looked for."""

    source: SourceAnswer
    image: ImageAnswer = ImageAnswer()
    subtraction: SubtractionAnswer = SubtractionAnswer()
    catheter_tip: TipAnswer | None = None
    vessels: VesselsAnswer | None = None
    tumours: tuple[TumourAnswer, ...] = ()
    shunts: tuple[ShuntAnswer, ...] | None = None

    def by_both_views(self) -> RunAnswer:
        """Return it with every feeder as probable as both views say."""
        tumours = tuple(
            tumour.model_copy(update={"feeders": tuple(one.by_both_views() for one in tumour.feeders)})
            for tumour in self.tumours
        )
        return self.model_copy(update={"tumours": tumours})


class TimepointAnswer(_Answer):
    """One lesion on one date."""

    series_instance_uid: str = ""
    deposit_mask: str | None = None
    iodine_mg: float | None = None
    iodine_mg_interval: Interval | None = None
    retention: float | None = None
    retention_interval: Interval | None = None
    pattern: str | None = None
    completeness: str | None = None
    margin_grade: str | None = None


class KineticsAnswer(_Answer):
    """Washout; an open end of the interval is None."""

    half_life_days: float | None = None
    half_life_interval: Interval | None = None


class CourseAnswer(_Answer):
    """The liver, or a lesion, over time."""

    timepoints: tuple[TimepointAnswer, ...] = ()
    kinetics: KineticsAnswer | None = None


class LesionAnswer(CourseAnswer):
    """One lesion over time; it meets a true lesion by its place."""

    centroid_mm: tuple[float, float, float] | None = None
    origin: str = "detected"


class LipiodolAnswer(_Answer):
    """`lipiodol.json`."""

    lesions: tuple[LesionAnswer, ...] = ()
    liver: CourseAnswer | None = None

    def series(self) -> set[str]:
        """Return the series that it speaks of."""
        return {t.series_instance_uid for lesion in self.lesions for t in lesion.timepoints}


class ResponseTimepointAnswer(_Answer):
    """The call of each criterion on one date, None where it was not made."""

    date: str
    calls: dict[str, str | None] = {}


class ResponseAnswer(_Answer):
    """`response.json`."""

    timepoints: tuple[ResponseTimepointAnswer, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PatientAnswer:
    """What results hold of one patient beside the runs; `folder` is where paths in them start."""

    folder: Path
    lipiodol: LipiodolAnswer | None
    response: ResponseAnswer | None


def find_runs(results: Path, broken: list[str]) -> dict[str, tuple[RunAnswer, Path]]:
    """Return each run's answer and folder by its SOP instance UID; the first by path counts.

    Files that cannot be read are left out, and named in `broken`.
    """
    found: dict[str, tuple[RunAnswer, Path]] = {}
    for path in sorted(_written(results, "analysis.json")):
        answer = _read(path, RunAnswer, results, broken)
        if answer is not None:
            found.setdefault(answer.source.sop_instance_uid, (answer, path.parent))
    return found


def find_patients(results: Path, broken: list[str]) -> Iterator[PatientAnswer]:
    """Yield every patient with follow-ups or a response; files that cannot be read are named in `broken`."""
    names = ("lipiodol.json", "response.json")
    for folder in sorted({path.parent for name in names for path in _written(results, name)}):
        oil, response = (folder / name for name in names)
        yield PatientAnswer(
            folder,
            _read(oil, LipiodolAnswer, results, broken) if oil.is_file() else None,
            _read(response, ResponseAnswer, results, broken) if response.is_file() else None,
        )


def _written(results: Path, name: str) -> list[Path]:
    """Return the files of a name, but for what readers had analysed anew beside the results."""
    return [path for path in results.rglob(name) if "review" not in path.relative_to(results).parts]


def _read(path: Path, model: type[T], results: Path, broken: list[str]) -> T | None:
    try:
        return model.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError, RecursionError):
        broken.append(path.relative_to(results).as_posix())
        return None


def read_graph(path: Path) -> GraphAnswer:
    """Return the tree in `graph.json`; one without branches when it is missing or cannot be read."""
    return _read(path, GraphAnswer, path.parent, []) or GraphAnswer()


def with_readable_masks(answer: RunAnswer, folder: Path, shape: tuple[int, ...], broken: list[str]) -> RunAnswer:
    """Return the answer without masks that are no pictures of `shape`: what they were about is missing."""

    def readable(name: str) -> bool:
        mask = read_picture(folder / name)
        good = mask is not None and mask.shape == shape
        if not good:
            broken.append(f"{folder.name}/{name}")
        return good

    vessels = answer.vessels
    if vessels is not None and not readable(vessels.artery_mask):
        vessels = None
    if vessels is not None and vessels.vein_mask is not None and not readable(vessels.vein_mask):
        vessels = vessels.model_copy(update={"vein_mask": None})
    tumours = tuple(tumour for tumour in answer.tumours if readable(tumour.mask))
    return answer.model_copy(update={"vessels": vessels, "tumours": tumours})


def read_picture(path: Path) -> BoolArray | None:
    """Return (H, W) the mask in a PNG; None when it is missing or no picture."""
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if data.size else None
    except (OSError, ValueError, cv2.error):
        return None
    return None if image is None else np.asarray(image) > 127
