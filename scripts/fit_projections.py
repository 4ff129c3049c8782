"""Fit the probability of a feeder by two views to simulated patients, and print the weights of `sights.py`.

Patients come from `angio simulate PATIENTS --runs-only`, of seeds that no test uses. Their frontal and oblique runs are
analysed and joined as the command does; a feeder that follows a visible true one is one, a second that follows the same
is none, one that follows a branch too faint to be sure is left out. What is printed of quality comes from patients that
the fit of that fold has not seen.

    .venv/bin/python scripts/fit_projections.py PATIENTS... [--workers W] [--keep FILE]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from angio_pipeline.config import PipelineConfig
from angio_pipeline.core.errors import AngioError, InputRefused
from angio_pipeline.projections import join_views
from angio_pipeline.projections.sights import joint_features
from fit_feeders import judged_feeders
from fitting import FOLDS, FittedTable, Rows, analysed, arguments, fold_of, measured, quality

VIEWS = ("frontal", "oblique")


def main() -> int:
    """Return 0 when weights were printed."""
    given = arguments("Fit the probability of a feeder by two views.").parse_args()
    folders = [day for place in given.patients for day in sorted(place.glob("case-*/dicom/day000"))]
    report(measured(folders, measure, given))
    return 0


def measure(folder: Path) -> Rows:
    """Return a row for each view, and for each feeder that it lists, of one patient's two runs."""
    config = PipelineConfig()
    place = {"case": f"{folder.parents[2].name}/{folder.parents[1].name}"}
    try:
        results = [analysed(folder / f"{name}.dcm", config) for name in VIEWS]
    except AngioError as error:
        return [{**place, "refused": error.reason}]
    try:
        sights = join_views(results[0], results[1], params=config.projections).feeders
    except InputRefused:
        sights = ((), ())
    rows: Rows = []
    for name, result, seen in zip(VIEWS, results, sights, strict=True):
        evidence = {sight.feeder: (sight.probability, dict(sight.evidence)) for sight in seen}
        truths, judged = judged_feeders(folder.parents[1] / "truth", result)
        rows.append({**place, "view": name, "truths": truths})
        for row in judged:
            # Where no second view was joined, the probability stays that of the run.
            said, known = evidence.get(row["feeder"], (row["said"], None))
            rows.append({**place, "view": name, **row, "by_both": said, "joint": known})
    return rows


def report(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print how the probabilities by one view, by both as they are, and fitted ones do, and the weights."""
    listed = [row for row in rows if "said" in row]
    right = np.array([row["right"] for row in listed], dtype=np.float64)
    joined = np.array([row["joint"] is not None for row in listed])
    seen = [joint_features(row["joint"]) if row["joint"] is not None else {} for row in listed]
    names = list(next(one for one in seen if one))
    known = np.array([[one.get(name, np.nan) for name in names] for one in seen])
    fold = np.array([fold_of(row["case"]) for row in listed])
    out = np.array([row["said"] for row in listed])
    for k in range(FOLDS):
        learn, test = joined & (fold != k), joined & (fold == k)
        out[test] = FittedTable(names, known[learn], right[learn]).probability(known[test])
    by = {
        "one view": np.array([row["said"] for row in listed]),
        "both, as they are": np.array([row["by_both"] for row in listed]),
        "both, fitted": out,
    }
    for view in VIEWS:
        here = np.array([row["view"] == view for row in listed])
        truths = sum(row.get("truths", 0) for row in rows if row.get("view") == view)
        for name, said in by.items():
            print(f"{view}, {name}: {quality(said[here], right[here], truths)}")
    print(FittedTable(names, known[joined], right[joined]).words("_JOINT"))


if __name__ == "__main__":
    cv2.setNumThreads(1)
    raise SystemExit(main())
