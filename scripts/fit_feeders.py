"""Fit the probability of a feeder to the ways into simulated tumours, and print the table of `feeder_evidence.py`.

Patients come from `angio simulate PATIENTS --runs-only`, of seeds that no test uses. Every way into every tumour is
measured; one that follows a visible feeder is one, one that follows a branch too faint to be sure is left out, any
other is none. What is printed of quality comes from patients that the fit of that fold has not seen.

    .venv/bin/python scripts/fit_feeders.py PATIENTS... [--workers W] [--keep FILE]
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from angio_pipeline.config import PipelineConfig
from angio_pipeline.core.errors import AngioError
from angio_pipeline.core.results import RunResult
from angio_pipeline.core.tumours import Tumour
from angio_pipeline.evaluate.documents import TumourTruth, truth_in_frame
from angio_pipeline.evaluate.feeders import MIN_COVERED, MIN_IOU, covered_share, overlap
from angio_pipeline.tumour.feeder_evidence import features
from fitting import FOLDS, FittedTable, Rows, analysed, arguments, fold_of, measured, quality

_TOLERANCE_MM, _TOLERANCE_PX = 3.0, 12.0


def main() -> int:
    """Return 0 when a table was printed."""
    given = arguments("Fit the probability of a feeder.").parse_args()
    files = [file for folder in given.patients for file in sorted(folder.glob("case-*/dicom/day000/*.dcm"))]
    report(measured(files, measure, given))
    return 0


def measure(file: Path) -> Rows:
    """Return a row for each run, and one for each way into a tumour of it."""
    config = PipelineConfig()
    # Every way that is listed is wanted, and those that are hardly one.
    feeders = config.feeders.model_copy(update={"min_probability": 0.002, "max_count": 100})
    try:
        result = analysed(file, config.model_copy(update={"feeders": feeders}))
    except AngioError as error:
        return [{"file": str(file), "refused": error.reason}]
    place = {"case": f"{file.parents[3].parent.name}/{file.parents[2].name}", "run": file.stem}
    truths, judged = judged_feeders(file.parents[2] / "truth", result)
    return [{**place, "truths": truths}, *({**place, **row} for row in judged)]


def judged_feeders(truths: Path, result: RunResult) -> tuple[int, Rows]:
    """Return how many visible feeders a run truly has, and a row for each that is listed and right or wrong.

    Parameters
    ----------
    truths : path
        Folder of the patient's truth, which has one of its own for each run.
    """
    folder = truths / result.run.source.sop_instance_uid
    told = truth_in_frame(folder / "truth.json", result.subtracted.reference_frame)
    truth = told.truth
    spacing = result.subtracted.spacing
    tolerance = _TOLERANCE_MM / spacing.mean_mm if spacing is not None and spacing.in_patient else _TOLERANCE_PX
    masks = {tumour.id: told.truth_mask(tumour.mask) for tumour in truth.tumours}
    hidden = [told.truth_mask(tumour.mask) for tumour in truth.tumours_not_visible]
    rows: Rows = []
    for found in result.tumours:
        meets = [tumour for tumour in truth.tumours if overlap(found.mask, masks[tumour.id]) >= MIN_IOU]
        if meets or not any(overlap(found.mask, mask) >= MIN_IOU for mask in hidden):
            rows += _judged(found, meets, tolerance)
    return sum(len(tumour.feeders) for tumour in truth.tumours), rows


def _judged(found: Tumour, meets: Sequence[TumourTruth], tolerance_px: float) -> Iterable[dict[str, Any]]:
    taken: set[tuple[str, int]] = set()
    for feeder in found.feeders:
        line = [(float(row), float(col)) for row, col in feeder.centreline]
        fits = [
            (tumour.id, k)
            for tumour in meets
            for k, truth in enumerate(tumour.feeders)
            if covered_share(truth, line, tolerance_px) >= MIN_COVERED
        ]
        free = [fit for fit in fits if fit not in taken]
        faint = any(
            covered_share(t, line, tolerance_px) >= MIN_COVERED for tumour in meets for t in tumour.faint_feeders
        )
        if not free and faint:
            continue
        if free:
            taken.add(free[0])
        yield {
            "tumour": found.id,
            "feeder": feeder.id,
            "right": bool(free),
            "said": feeder.probability,
            "tumour_probability": found.probability,
            "tumour_right": bool(meets),
            "evidence": dict(feeder.evidence),
        }


def report(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print how the probabilities of now and fitted ones do on patients that were not fitted to, and the tables."""
    truths = sum(row.get("truths", 0) for row in rows)
    ways = [row for row in rows if "evidence" in row]
    right = np.array([row["right"] for row in ways], dtype=np.float64)
    print(f"{len(rows)} rows, {len(ways)} ways, {int(right.sum())} right of {truths} visible feeders")
    print("now:    ", quality(np.array([row["said"] for row in ways]), right, truths))
    _report_table("_MAPPED", ways, truths)
    # Without the network there are no ways but those of the tree, and no map.
    own = [row for row in ways if row["evidence"]["own_share"] > 0]
    bare = [{**row, "evidence": {**row["evidence"], **dict.fromkeys(_MAPPED, math.nan)}} for row in own]
    _report_table("_BY_TREE", bare, truths)


_MAPPED = ("mapped", "mapped_least")


def _report_table(title: str, ways: Sequence[Mapping[str, Any]], truths: int) -> None:
    """Print what a logistic of the features is worth, and its table.

    It says how likely a way feeds a tumour that is one; how likely the tumour is one is told elsewhere.
    """
    seen = [features(row["evidence"]) for row in ways]
    names = list(seen[0])
    told = np.array([list(one.values()) for one in seen])
    right = np.array([row["right"] for row in ways], dtype=np.float64)
    of_tumour = np.array([row["tumour_right"] for row in ways])
    is_tumour = np.array([row["tumour_probability"] for row in ways])
    fold = np.array([fold_of(row["case"]) for row in ways])
    out = np.zeros(len(ways))
    for k in range(FOLDS):
        learn = (fold != k) & of_tumour
        out[fold == k] = FittedTable(names, told[learn], right[learn]).probability(told[fold == k])
    print("fitted: ", quality(is_tumour * out, right, truths))
    print("tumours right:", quality(out[of_tumour], right[of_tumour], truths))
    print(FittedTable(names, told[of_tumour], right[of_tumour]).words(title))


if __name__ == "__main__":
    cv2.setNumThreads(1)
    raise SystemExit(main())
