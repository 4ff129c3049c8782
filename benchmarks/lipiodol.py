"""Follow the oil of simulated patients, compare it with their truth, and write down what came out.

The follow-ups alone are simulated and analysed, the day of treatment being what the runs would tell; once with the
lesions' regions given, once without, so that finding lesions and measuring them are told apart. What has no answer
is wrong: an error of 1, a Dice of 0, an interval that misses. Each step goes on where it ended. Written:
`benchmarks/lipiodol.json` and a section of `docs/lipiodol.md`; of other patients the section is printed and nothing is
written.

    .venv/bin/python benchmarks/lipiodol.py [--cases N] [--seed S] [--preset P] [--work FOLDER]
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from angio_pipeline import ingest
from angio_pipeline.batch.plan import FollowUpTask, make_plan
from angio_pipeline.batch.tasks import Settings, run_task
from angio_pipeline.config import PipelineConfig
from angio_pipeline.evaluate.answers import LesionAnswer, TimepointAnswer
from angio_pipeline.evaluate.documents import CasePair, LesionTruth, TimepointTruth, pair_cases
from angio_pipeline.evaluate.lipiodol import match_lesions
from lipiodol_patients import treated, write_patients
from lipiodol_tables import section
from pages import ROOT, state, write_section

SCRIPT = "benchmarks/lipiodol.py"
FIGURES = ROOT / "benchmarks" / "lipiodol.json"
PAGE = ROOT / "docs" / "lipiodol.md"
NAIVE_HU, NAIVE_REACH_MM = 160.0, 10.0

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which patients; the defaults are those of the page. No setting was fitted to patients of this seed."""

    cases: int = 40
    seed: int = 7013
    preset: str = "clinical"


def measure(choice: Choice, work: Path) -> dict[str, Any]:
    """Return the figures: one row a lesion and date, one a lesion and one a patient, with regions and without."""
    cases = write_patients(work / "patients", seed=choice.seed, preset=choice.preset, numbers=range(choice.cases))
    figures: dict[str, Any] = {
        "schema": "angio-pipeline/lipiodol-benchmark/1",
        "patients": asdict(choice),
        "measured_with": state(),
    }
    naive: dict[str, Row] = {}
    for kind in ("given", "found"):
        rows: dict[str, list[Row]] = {"dates": [], "lesions": [], "patients": []}
        for case in cases:
            pair = analysed(case, work / kind / case.name, regions=kind == "given")
            if kind == "given":
                naive |= _naive(pair, case, work / "naive" / f"{case.name}.json")
            for name, made in rows_of(pair).items():
                rows[name] += made
        figures[kind] = rows
    figures["naive"] = naive
    return figures


def task_of(case: Path, workspace: Path, *, regions: bool) -> FollowUpTask:
    """Return the follow-up of a written patient, with the time of treatment that its runs would tell."""
    found = ingest.discover([case / "dicom"], workspace=workspace)
    plan = make_plan(found, sorted((case / "rois").glob("*")) if regions else ())
    return replace(plan.follow_ups[0], treated=datetime.fromisoformat(treated(case)))


def analysed(case: Path, out: Path, *, regions: bool) -> CasePair:
    """Return a written patient's truth beside what the program says of it."""
    workspace = out / "unpacked"
    workspace.mkdir(parents=True, exist_ok=True)
    run_task(task_of(case, workspace, regions=regions), Settings(out, PipelineConfig()))
    shutil.rmtree(workspace)
    return pair_cases(case, out).cases[0]


def rows_of(pair: CasePair) -> dict[str, list[Row]]:
    """Return one patient's rows: of each lesion and date, of each lesion, of the patient."""
    truth = pair.lipiodol
    assert truth is not None
    told = [(patient.lipiodol, patient.folder) for patient in pair.patients if patient.lipiodol is not None]
    pool = [(lesion, folder) for answer, folder in told for lesion in answer.lesions]
    matches = match_lesions(truth.lesions, pool)
    false = sum(lesion.centroid_mm is not None for j, (lesion, _) in enumerate(pool) if j not in matches)
    out: dict[str, list[Row]] = {
        "dates": [],
        "lesions": [],
        "patients": [{"patient": pair.name, "lesions": len(truth.lesions), "false_deposits": false}],
    }
    for lesion, match in zip(truth.lesions, matches, strict=True):
        answer, folder = pool[match] if match is not None else (LesionAnswer(), None)
        dates = list(_dates(pair, lesion, answer, folder))
        out["dates"] += dates
        out["lesions"].append(_lesion_row(pair, lesion, answer, dates, found=match is not None))
    return out


def _lesion_row(pair: CasePair, lesion: LesionTruth, answer: LesionAnswer, dates: list[Row], *, found: bool) -> Row:
    kinetics = answer.kinetics
    days = [row["days"] for row in dates]
    first = {point.series_instance_uid: point.pattern for point in answer.timepoints}
    return {
        "patient": pair.name,
        "lesion": lesion.id,
        "found": found,
        "dates": len(days),
        "span_days": max(days) - min(days) if days else 0.0,
        "true_half_life_days": lesion.half_life_days,
        "half_life_days": None if kinetics is None else kinetics.half_life_days,
        "half_life_interval": None if kinetics is None else kinetics.half_life_interval,
        "true_pattern": lesion.pattern,
        "pattern": first.get(dates[0]["series"]) if dates else None,
    }


def _dates(pair: CasePair, lesion: LesionTruth, answer: LesionAnswer, folder: Path | None) -> Iterator[Row]:
    told = {point.series_instance_uid: point for point in answer.timepoints}
    points = [point for point in lesion.timepoints if point.modality in ("CT", "CBCT")]
    for point in sorted(points, key=lambda p: p.days):
        found = told.get(point.series_instance_uid, TimepointAnswer())
        true_mask = read_mask(pair.truth_dir / str(point.deposit_mask))
        yield {
            "patient": pair.name,
            "lesion": lesion.id,
            "series": point.series_instance_uid,
            "days": point.days,
            "first": point.days == min(p.days for p in points),
            "true_mg": point.iodine_mg,
            "mg": found.iodine_mg,
            "mg_interval": found.iodine_mg_interval,
            "true_retention": point.retention,
            "retention": found.retention,
            "retention_interval": found.retention_interval,
            "true_deposit_ml": _ml(true_mask),
            **overlap(true_mask, _answer_mask(found, folder, true_mask)),
        }


def read_mask(path: Path) -> sitk.Image:
    """Return a mask as it lies in space."""
    return sitk.ReadImage(str(path)) > 0


def _answer_mask(found: TimepointAnswer, folder: Path | None, like: sitk.Image) -> npt.NDArray[np.bool_] | None:
    if found.deposit_mask is None or folder is None:
        return None
    mask = sitk.Resample(read_mask(folder / found.deposit_mask), like, sitk.Transform(), sitk.sitkNearestNeighbor)
    return np.asarray(sitk.GetArrayFromImage(mask) > 0)


def _ml(mask: sitk.Image) -> float:
    return float(np.count_nonzero(sitk.GetArrayFromImage(mask)) * np.prod(mask.GetSpacing()) / 1000)


def overlap(truth: sitk.Image, found: npt.NDArray[np.bool_] | None) -> Row:
    """Return Dice and ratio of volumes; nothing found is 0 of both, and without a true deposit there is neither."""
    true = sitk.GetArrayFromImage(truth) > 0
    if not true.any():
        return {"dice": None, "volume_ratio": None}
    if found is None or not found.any():
        return {"dice": 0.0, "volume_ratio": 0.0}
    both, all_found = np.count_nonzero(true & found), np.count_nonzero(found)
    return {
        "dice": 2 * both / (np.count_nonzero(true) + all_found),
        "volume_ratio": all_found / np.count_nonzero(true),
    }


def _naive(pair: CasePair, case: Path, kept: Path) -> dict[str, Row]:
    """Return Dice and ratio of volumes of one threshold within 10 mm of the true lesion, by lesion and series."""
    if not kept.is_file():
        workspace = kept.parent / "unpacked"
        workspace.mkdir(parents=True, exist_ok=True)
        scans = {v.source.series_instance_uid: v for v in task_of(case, workspace, regions=False).volumes}
        made = {}
        for lesion in pair.lipiodol.lesions if pair.lipiodol else ():
            for point in lesion.timepoints:
                if point.deposit_mask is not None:
                    key = f"{pair.name}/{lesion.id}/{point.series_instance_uid}"
                    made[key] = _naive_overlap(pair.truth_dir, point, scans[point.series_instance_uid])
        kept.write_text(json.dumps(made), encoding="utf-8")
    rows: dict[str, Row] = json.loads(kept.read_text(encoding="utf-8"))
    return rows


def _naive_overlap(truth_dir: Path, point: TimepointTruth, item: ingest.VolumeItem) -> Row:
    lesion, deposit = (read_mask(truth_dir / str(name)) for name in (point.lesion_mask, point.deposit_mask))
    hu = ingest.read_volume(item).hu
    # Simulated scans lie along the patient's axes: the truth's voxels are the scan's.
    near = sitk.SignedMaurerDistanceMap(lesion, squaredDistance=False, useImageSpacing=True) <= NAIVE_REACH_MM
    return overlap(deposit, (hu > NAIVE_HU) & (sitk.GetArrayFromImage(near) > 0))


def main() -> int:
    """Return 0 when everything was measured."""
    standard = Choice()
    parser = argparse.ArgumentParser(description="Write benchmarks/lipiodol.json and its section of docs/lipiodol.md.")
    parser.add_argument("--cases", type=int, default=standard.cases)
    parser.add_argument("--seed", type=int, default=standard.seed)
    parser.add_argument("--preset", default=standard.preset)
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "lipiodol", help="patients and results, kept")
    parser.add_argument("--figures", type=Path, help="also write the figures of other patients here")
    given = parser.parse_args()
    choice = Choice(given.cases, given.seed, given.preset)
    figures = measure(choice, given.work)
    if given.figures is not None:
        given.figures.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if choice != standard:
        print(section(figures))
        return 0
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    write_section(PAGE, "lipiodol", SCRIPT, section(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
