"""Fit the probability of a feeder to the ways into simulated tumours, and print the table of `feeder_evidence.py`.

Patients come from `angio simulate PATIENTS --runs-only`, of seeds that no test uses. Every way into every tumour is
measured; one that follows a visible feeder is one, one that follows a branch too faint to be sure is left out, any
other is none. What is printed of quality comes from patients that the fit of that fold has not seen.

    .venv/bin/python scripts/fit_feeders.py PATIENTS... [--workers W] [--keep FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy import optimize

from angio_pipeline import ingest
from angio_pipeline.config import PipelineConfig
from angio_pipeline.core.errors import AngioError
from angio_pipeline.core.results import RunResult
from angio_pipeline.core.tumours import Tumour
from angio_pipeline.evaluate.documents import TumourTruth, truth_in_frame
from angio_pipeline.evaluate.feeders import MIN_COVERED, MIN_IOU, covered_share, overlap
from angio_pipeline.tumour.feeder_evidence import features
from angio_pipeline.workers import hold_threads, process_pool

Array = npt.NDArray[np.float64]
FOLDS, _RIDGE = 5, 1.0
_TOLERANCE_MM, _TOLERANCE_PX = 3.0, 12.0


def main() -> int:
    """Return 0 when a table was printed."""
    parser = argparse.ArgumentParser(description="Fit the probability of a feeder.")
    parser.add_argument("patients", type=Path, nargs="+")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", type=Path, help="JSON file for the measurements, read again when it is there")
    given = parser.parse_args()
    if given.keep is not None and given.keep.is_file():
        rows = json.loads(given.keep.read_text(encoding="utf-8"))
    else:
        files = [file for folder in given.patients for file in sorted(folder.glob("case-*/dicom/day000/*.dcm"))]
        with process_pool(given.workers, initializer=_begin, preload="angio_pipeline.pipeline") as pool:
            rows = [row for found in pool.map(measure, files) for row in found]
        if given.keep is not None:
            given.keep.write_text(json.dumps(rows), encoding="utf-8")
    report(rows)
    return 0


def _begin() -> None:
    hold_threads(1)


def measure(file: Path) -> list[dict[str, Any]]:
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


def judged_feeders(truths: Path, result: RunResult) -> tuple[int, list[dict[str, Any]]]:
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
    rows: list[dict[str, Any]] = []
    for found in result.tumours:
        meets = [tumour for tumour in truth.tumours if overlap(found.mask, masks[tumour.id]) >= MIN_IOU]
        if meets or not any(overlap(found.mask, mask) >= MIN_IOU for mask in hidden):
            rows += _judged(found, meets, tolerance)
    return sum(len(tumour.feeders) for tumour in truth.tumours), rows


def analysed(file: Path, config: PipelineConfig) -> RunResult:
    """Return what the program makes of a run, as a result and not as files."""
    from angio_pipeline.networks.prediction import load_feeder_predictor, load_run_predictor
    from angio_pipeline.pipeline import Networks, process_run

    with tempfile.TemporaryDirectory() as workspace:
        found = ingest.discover([file], workspace=Path(workspace))
        if not found.runs:
            raise AngioError(found.refusals[0].sentence, reason=found.refusals[0].reason)
        run = ingest.read_run(found.runs[0])
    return process_run(
        run,
        config=config,
        networks=Networks(
            run=load_run_predictor(threads=1),
            feeding=load_feeder_predictor(config.feeders.network, threads=1) if config.feeders.network else None,
        ),
    )


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
    names = [name for name in seen[0] if any(math.isfinite(one[name]) for one in seen)]
    told = np.array([[one[name] for name in names] for one in seen])
    right = np.array([row["right"] for row in ways], dtype=np.float64)
    of_tumour = np.array([row["tumour_right"] for row in ways])
    is_tumour = np.array([row["tumour_probability"] for row in ways])
    fold = np.array([hash_of(row["case"]) % FOLDS for row in ways])
    middle, scale = np.nanmean(told, axis=0), np.maximum(np.nanstd(told, axis=0), 1e-6)
    known = np.nan_to_num((told - middle) / scale)
    out = np.zeros(len(ways))
    for k in range(FOLDS):
        weights = fitted(known[(fold != k) & of_tumour], right[(fold != k) & of_tumour])
        out[fold == k] = logistic(known[fold == k], weights)
    print("fitted: ", quality(is_tumour * out, right, truths))
    print("tumours right:", quality(out[of_tumour], right[of_tumour], truths))
    weights = fitted(known[of_tumour], right[of_tumour])
    print(f"{title} = (\n    {weights[0]:.3f},\n    {{")
    for name, mid, size, weight in zip(names, middle, scale, weights[1:], strict=True):
        print(f'        "{name}": ({mid:.3f}, {size:.3f}, {weight:.3f}),')
    print("    },\n)")


def hash_of(text: str) -> int:
    """Return a number that is the same in every process."""
    return int(np.sum(np.frombuffer(text.encode(), np.uint8) * np.arange(1, len(text.encode()) + 1)))


def fitted(known: Array, right: Array) -> Array:
    """Return bias and weights of a logistic with a ridge penalty on the weights."""
    columns = np.hstack([np.ones((len(known), 1)), known])

    def cost(weights: Array) -> tuple[float, Array]:
        score = columns @ weights
        value = float(np.sum(np.logaddexp(0, score) - right * score)) + 0.5 * _RIDGE * float(weights[1:] @ weights[1:])
        slope = columns.T @ (1 / (1 + np.exp(-score)) - right)
        slope[1:] += _RIDGE * weights[1:]
        return value, slope

    return np.asarray(optimize.minimize(cost, np.zeros(columns.shape[1]), jac=True, method="L-BFGS-B").x)


def logistic(known: Array, weights: Array) -> Array:
    """Return the probability of each row."""
    return np.asarray(1 / (1 + np.exp(-(weights[0] + known @ weights[1:]))))


def quality(said: Array, right: Array, truths: int) -> str:
    """Return sensitivity, positive predictive value, average precision and calibration error in words."""
    called = said >= 0.5
    hits = float(right[called].sum())
    bins = np.minimum((said * 10).astype(int), 9)
    error = sum(abs(said[bins == k].mean() - right[bins == k].mean()) * (bins == k).mean() for k in set(bins.tolist()))
    order = np.argsort(-said)
    precision = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    mean_precision = float((precision * right[order]).sum() / max(truths, 1))
    return (
        f"sensitivity {hits / max(truths, 1):.3f}, PPV {hits / max(called.sum(), 1):.3f},"
        f" average precision {mean_precision:.3f}, calibration error {error:.3f}"
    )


if __name__ == "__main__":
    cv2.setNumThreads(1)
    raise SystemExit(main())
