"""Truth and results as they lie on disk, paired by SOP and series instance UIDs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from angio_pipeline.core.errors import AngioError

__all__ = [
    "CasePair",
    "LesionTruth",
    "LipiodolTruth",
    "RunPair",
    "RunTruthDocument",
    "TimepointTruth",
    "pair_cases",
    "read_mask",
]

BoolArray = npt.NDArray[np.bool_]
Point = tuple[float, float]
T = TypeVar("T", bound=BaseModel)


class _Document(BaseModel):
    # The contract may be extended freely: what is not known here is passed over.
    model_config = ConfigDict(frozen=True, extra="ignore")


class FeederTruth(_Document):
    """A branch that truly feeds a tumour; points are (row, col)."""

    centreline: tuple[Point, ...] = Field(min_length=2)
    branch_start: Point
    contribution: float = Field(1.0, ge=0, le=1)
    non_target_along: tuple[float, ...] | None = None


class TumourTruth(_Document):
    """A tumour whose blush is visible."""

    id: str
    mask: str
    feeders: tuple[FeederTruth, ...] = ()
    faint_feeders: tuple[FeederTruth, ...] = ()


class HiddenTumour(_Document):
    """A tumour that is there and cannot be seen: finding it is neither right nor wrong."""

    id: str
    mask: str


class ShuntTruth(_Document):
    """A true shunt."""

    kind: str
    row: float
    col: float


class RunTruthDocument(_Document):
    """`truth.json` of one run."""

    schema_: str = Field(alias="schema", pattern=r"^angio-pipeline/truth/1$")
    artery_mask: str
    vein_mask: str | None = None
    ignore_mask: str | None = None
    reference_frame: int
    catheter_tip: Point | None = None
    arrival_s: str | None = None
    motion_px: tuple[Point, ...] | None = None
    tumours: tuple[TumourTruth, ...] = ()
    tumours_not_visible: tuple[HiddenTumour, ...] = ()
    shunts: tuple[ShuntTruth, ...] = ()


class TimepointTruth(_Document):
    """The true oil of one lesion on one date."""

    series_instance_uid: str
    modality: str
    days: float
    iodine_mg: float
    oil_ml: float
    retention: float
    lesion_mask: str | None = None
    deposit_mask: str | None = None


class LesionTruth(_Document):
    """One treated lesion over time."""

    id: str
    half_life_days: float
    centroid_mm: tuple[float, float, float]
    timepoints: tuple[TimepointTruth, ...]


class LipiodolTruth(_Document):
    """`truth/lipiodol.json` of one case."""

    lesions: tuple[LesionTruth, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class RunPair:
    """One run's truth beside its result; `result` is None when there is none."""

    uid: str
    truth: RunTruthDocument
    truth_dir: Path
    result: Mapping[str, Any] | None
    result_dir: Path | None

    def tolerance_px(self) -> float:
        """Return 3 mm in pixels, or 12 px where the result has no spacing in the patient."""
        image = (self.result or {}).get("image") or {}
        spacing = image.get("spacing_mm")
        if spacing and image.get("spacing_plane") in ("calibrated", "isocentre"):
            return 3.0 / (0.5 * (float(spacing[0]) + float(spacing[1])))
        return 12.0


@dataclass(frozen=True, slots=True, eq=False)
class CasePair:
    """All of one patient: its runs, and the oil's truth beside the results that name its series."""

    name: str
    runs: tuple[RunPair, ...]
    lipiodol: LipiodolTruth | None
    lipiodol_dir: Path
    lipiodol_results: tuple[tuple[Mapping[str, Any], Path], ...]


def pair_cases(truth: Path, results: Path) -> list[CasePair]:
    """Return every case under `truth`, in order of name, paired with what `results` holds.

    Raises
    ------
    AngioError
        When `truth` holds no truth, or a truth file is not as the contract has it.
    """
    folders = sorted({p.parent for p in truth.rglob("truth/lipiodol.json")} | _truth_folders(truth))
    if not folders:
        raise AngioError(f"Expected truth/<sop instance uid>/truth.json under {truth.name!r}, found none.")
    found = {str(doc["source"]["sop_instance_uid"]): (doc, path.parent) for doc, path in _analyses(results)}
    courses = [(json.loads(p.read_text(encoding="utf-8")), p.parent) for p in sorted(results.rglob("lipiodol.json"))]
    return [_case(folder, found, courses) for folder in folders]


def _truth_folders(truth: Path) -> set[Path]:
    return {p.parent.parent for p in truth.rglob("truth.json") if p.parent.parent.name == "truth"}


def _analyses(results: Path) -> Iterator[tuple[Mapping[str, Any], Path]]:
    # Written last wins nothing: of two results for one run the first by path counts.
    for path in sorted(results.rglob("analysis.json"), reverse=True):
        yield json.loads(path.read_text(encoding="utf-8")), path


def _case(
    folder: Path,
    found: Mapping[str, tuple[Mapping[str, Any], Path]],
    courses: list[tuple[Any, Path]],
) -> CasePair:
    runs = []
    for path in sorted(folder.glob("*/truth.json")):
        result, where = found.get(path.parent.name, (None, None))
        runs.append(RunPair(path.parent.name, _read(path, RunTruthDocument), path.parent, result, where))
    oil = folder / "lipiodol.json"
    lipiodol = _read(oil, LipiodolTruth) if oil.is_file() else None
    own = {t.series_instance_uid for lesion in (lipiodol.lesions if lipiodol else ()) for t in lesion.timepoints}
    mine = tuple((doc, where) for doc, where in courses if own & _series_of(doc))
    return CasePair(folder.parent.name, tuple(runs), lipiodol, folder, mine)


def _series_of(course: Mapping[str, Any]) -> set[str]:
    lesions = course.get("lesions", [])
    return {str(t.get("series_instance_uid")) for lesion in lesions for t in lesion.get("timepoints", [])}


def _read(path: Path, model: type[T]) -> T:
    try:
        return model.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as problem:
        first = problem.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise AngioError(f"Expected {path.name} as the contract has it, found {field}: {first['msg']}.") from problem


def read_mask(path: Path) -> BoolArray:
    """Return (H, W) the mask in a PNG.

    Raises
    ------
    AngioError
        When the file is missing or no picture.
    """
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) if path.is_file() else None
    if image is None:
        raise AngioError(f"Expected a mask in {path.name}, found no readable picture.")
    return np.asarray(image) > 127
