"""Truth and results as they lie on disk, paired by SOP and series instance UIDs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from angio_pipeline.core.errors import AngioError
from angio_pipeline.evaluate.answers import (
    PatientAnswer,
    RunAnswer,
    find_patients,
    find_runs,
    read_picture,
    with_readable_masks,
)
from angio_pipeline.evaluate.frames import Shift, moved, moved_mask, shift_between

__all__ = [
    "CasePair",
    "CourseTruth",
    "LesionTruth",
    "LipiodolTruth",
    "Pairs",
    "ResponseTruth",
    "RunPair",
    "RunTruthDocument",
    "TimepointTruth",
    "pair_cases",
    "read_mask",
    "truth_in_frame",
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
    """A true shunt, where it opens into the vein."""

    kind: str
    row: float
    col: float


class BleedTruth(_Document):
    """Where contrast leaves the vessels: what is called a tumour there is neither right nor wrong."""

    row: float
    col: float


class RunTruthDocument(_Document):
    """`truth.json` of one run; `spacing_mm` is that of the patient, where the image gives one."""

    schema_: str = Field(alias="schema", pattern=r"^angio-pipeline/truth/1$")
    artery_mask: str
    vein_mask: str | None = None
    ignore_mask: str | None = None
    spacing_mm: tuple[float, float] | None = None
    reference_frame: int
    catheter_tip: Point | None = None
    arrival_s: str | None = None
    motion_px: tuple[Point, ...] | None = None
    tumours: tuple[TumourTruth, ...] = ()
    tumours_not_visible: tuple[HiddenTumour, ...] = ()
    shunts: tuple[ShuntTruth, ...] = ()
    shunts_not_visible: tuple[ShuntTruth, ...] = ()
    extravasations: tuple[BleedTruth, ...] = ()


class TimepointTruth(_Document):
    """The true oil on one date; retention is None where there never was oil."""

    series_instance_uid: str
    modality: str
    days: float
    iodine_mg: float
    oil_ml: float
    retention: float | None = None
    lesion_mask: str | None = None
    deposit_mask: str | None = None
    completeness: str | None = None
    margin_grade: str | None = None


class CourseTruth(_Document):
    """The oil of the liver outside the lesions, over time."""

    half_life_days: float | None = None
    timepoints: tuple[TimepointTruth, ...] = ()


class LesionTruth(CourseTruth):
    """One lesion over time."""

    id: str
    centroid_mm: tuple[float, float, float] | None = None
    pattern: str | None = None


class LipiodolTruth(_Document):
    """`truth/lipiodol.json` of one case."""

    lesions: tuple[LesionTruth, ...] = ()
    liver: CourseTruth | None = None


class ResponseTimepointTruth(_Document):
    """What each criterion says on one date; None where it cannot be applied."""

    date: str | None = None
    calls: dict[str, str | None] = {}


class ResponseTruth(_Document):
    """`truth/response.json` of one case."""

    timepoints: tuple[ResponseTimepointTruth, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class RunPair:
    """One run's truth beside its answer; `answer` is None when there is none that can be read.

    Where the answer is drawn in another frame than the truth was, `truth` stands where the vessels are in the
    answer's: it was moved by `shift_px`, and masks of it are when they are read.
    """

    uid: str
    truth: RunTruthDocument
    truth_dir: Path
    answer: RunAnswer | None
    answer_dir: Path | None
    shift_px: Shift = (0.0, 0.0)

    def tolerance_px(self) -> float:
        """Return 3 mm in pixels, or 12 px where there is no spacing in the patient.

        Only a truth that is silent on spacing leaves it to the answer.
        """
        spacing = self.truth.spacing_mm
        if "spacing_mm" not in self.truth.model_fields_set and self.answer is not None:
            told = self.answer.image
            spacing = told.spacing_mm if told.spacing_plane in ("calibrated", "isocentre") else None
        if spacing is None or min(spacing) <= 0:
            return 12.0
        return 3.0 / (0.5 * (spacing[0] + spacing[1]))

    def truth_mask(self, name: str) -> BoolArray:
        """Return (H, W) a mask of the truth; of what comes in over the border nothing is known."""
        unknown = name == self.truth.ignore_mask
        return moved_mask(read_mask(self.truth_dir / name), self.shift_px, beyond=unknown)

    def answer_mask(self, name: str) -> BoolArray:
        """Return (H, W) a mask of the answer, which is known to be readable.

        Raises
        ------
        ValueError
            When there is no answer.
        """
        if self.answer_dir is None:
            raise ValueError("Expected an answer to read a mask of, found none.")
        return read_mask(self.answer_dir / name)


@dataclass(frozen=True, slots=True, eq=False)
class CasePair:
    """All of one patient: its runs, and the truth of follow-ups beside the results that name its images."""

    name: str
    runs: tuple[RunPair, ...]
    lipiodol: LipiodolTruth | None
    response: ResponseTruth | None
    truth_dir: Path
    patients: tuple[PatientAnswer, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Every case, and the files among the results that could not be read."""

    cases: tuple[CasePair, ...]
    broken: tuple[str, ...]


def pair_cases(truth: Path, results: Path, *, only: Collection[str] = (), both_views: bool = False) -> Pairs:
    """Return every case under `truth`, in order of name, paired with what `results` holds.

    Parameters
    ----------
    only : collection of str
        SOP instance UIDs of the runs that are looked at, and nothing else; empty: everything.
    both_views : bool
        Feeders are as probable as two projections together say, where they were joined.

    Raises
    ------
    AngioError
        When `truth` holds no truth or none of a run in `only`, or a truth file is not as the contract has it.
    """
    names = ("lipiodol.json", "response.json")
    folders = {p.parent for name in names for p in truth.rglob(f"truth/{name}")} | _truth_folders(truth)
    if not folders:
        raise AngioError(f"Expected truth/<sop instance uid>/truth.json under {truth.name!r}, found none.")
    broken: list[str] = []
    runs = find_runs(results, broken)
    if both_views:
        runs = {uid: (answer.by_both_views(), where) for uid, (answer, where) in runs.items()}
    if only:
        return Pairs(_only(folders, frozenset(only), runs, broken), tuple(broken))
    patients = tuple(find_patients(results, broken))
    cases = tuple(_case(folder, runs, patients, broken) for folder in sorted(folders))
    return Pairs(cases, tuple(broken))


def _only(
    folders: Collection[Path], only: frozenset[str], found: Mapping[str, tuple[RunAnswer, Path]], broken: list[str]
) -> tuple[CasePair, ...]:
    """Return the cases that have one of these runs, with these runs and no follow-ups."""
    chosen = {
        folder: sorted(path for path in folder.glob("*/truth.json") if path.parent.name in only) for folder in folders
    }
    missing = only - {path.parent.name for paths in chosen.values() for path in paths}
    if missing:
        raise AngioError(f"Expected the truth of every run that was named, found none of {min(missing)}.")
    return tuple(
        CasePair(folder.parent.name, tuple(_run(path, found, broken) for path in paths), None, None, folder, ())
        for folder, paths in sorted(chosen.items())
        if paths
    )


def _truth_folders(truth: Path) -> set[Path]:
    return {p.parent.parent for p in truth.rglob("truth.json") if p.parent.parent.name == "truth"}


def _case(
    folder: Path, found: Mapping[str, tuple[RunAnswer, Path]], patients: Sequence[PatientAnswer], broken: list[str]
) -> CasePair:
    runs = tuple(_run(path, found, broken) for path in sorted(folder.glob("*/truth.json")))
    oil, response = (folder / name for name in ("lipiodol.json", "response.json"))
    lipiodol = _read(oil, LipiodolTruth) if oil.is_file() else None
    told = _read(response, ResponseTruth) if response.is_file() else None
    series = {t.series_instance_uid for lesion in (lipiodol.lesions if lipiodol else ()) for t in lesion.timepoints}
    homes = [run.answer_dir for run in runs if run.answer_dir is not None]
    mine = [
        patient
        for patient in patients
        if (patient.lipiodol is not None and series & patient.lipiodol.series())
        or any(patient.folder in home.parents for home in homes)
    ]
    return CasePair(folder.parent.name, runs, lipiodol, told, folder, tuple(mine))


def truth_in_frame(path: Path, frame: int | None) -> RunPair:
    """Return a run's truth, with no answer yet, where the vessels stand in a frame; as it is when None.

    Parameters
    ----------
    path : Path
        The run's `truth.json`.

    Raises
    ------
    AngioError
        When it is not as the contract has it.
    """
    document = _read(path, RunTruthDocument)
    shift = shift_between(document.motion_px, document.reference_frame, frame)
    if any(shift):
        told = document.model_dump(mode="json", by_alias=True, exclude_unset=True)
        document = RunTruthDocument.model_validate(moved(told, shift))
    return RunPair(path.parent.name, document, path.parent, None, None, shift)


def _run(path: Path, found: Mapping[str, tuple[RunAnswer, Path]], broken: list[str]) -> RunPair:
    document = _read(path, RunTruthDocument)
    answer, where = found.get(path.parent.name, (None, None))
    if answer is None or where is None:
        return RunPair(path.parent.name, document, path.parent, None, None)
    shape = read_mask(path.parent / document.artery_mask).shape
    answer = with_readable_masks(answer, where, shape, broken)
    return replace(truth_in_frame(path, answer.subtraction.reference_frame), answer=answer, answer_dir=where)


def _read(path: Path, model: type[T]) -> T:
    try:
        return model.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as problem:
        what = "bytes that are no text"
        if isinstance(problem, ValidationError):
            first = problem.errors()[0]
            what = f"{'.'.join(str(part) for part in first['loc']) or 'it'}: {first['msg']}"
        raise AngioError(f"Expected {path.name} as the contract has it, found {what}.") from problem


def read_mask(path: Path) -> BoolArray:
    """Return (H, W) the mask in a PNG.

    Raises
    ------
    AngioError
        When the file is missing or no picture.
    """
    mask = read_picture(path)
    if mask is None:
        raise AngioError(f"Expected a mask in {path.name}, found no readable picture.")
    return mask
