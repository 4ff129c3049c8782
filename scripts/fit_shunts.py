"""Fit the probability of a shunt to simulated patients, and print the tables of `early_veins.py`.

Patients come from `angio simulate PATIENTS --runs-only`, of seeds that no test uses, of presets where shunts are
frequent or left out. Every branch of the arterial tree and every piece of a told vein is measured; one that lies in a
true vein that fills with the arteries is one. How long the likely pieces that lie together are decides on the run. What
is printed of quality comes from patients that neither step of that fold has seen.

    .venv/bin/python scripts/fit_shunts.py PATIENTS... [--workers W] [--keep FILE] [--page docs/shunts.md]
"""

from __future__ import annotations

import argparse
import itertools
import os
import pickle
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage, optimize

from angio_pipeline import ingest
from angio_pipeline.config import PipelineConfig
from angio_pipeline.core.errors import AngioError
from angio_pipeline.core.results import RunResult
from angio_pipeline.evaluate.documents import RunPair, read_mask, truth_in_frame
from angio_pipeline.evaluate.frames import moved_mask
from angio_pipeline.tumour.courses import Course
from angio_pipeline.tumour.early_veins import (
    EarlyVeinParams,
    drainage_features,
    drainages,
    fill_courses,
    working_factor,
)
from angio_pipeline.tumour.filling import Filling, features
from angio_pipeline.tumour.shunts import can_show_shunts
from angio_pipeline.workers import hold_threads, process_pool

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
Array = npt.NDArray[np.float64]
_FOLDS, _RIDGE = 5, 1.0
# Arteries have all begun to fill by then; veins that tissue fills begin more than two seconds after it.
_WITH_ARTERIES_S = 1.8
_IN_VEIN, _OUT_OF_VEIN = 0.6, 0.2
_NAMES = (
    "radius", "length", "contrast_in_noise", "contrast_share", "density", "evenness", "arrival", "emptying", "passage",
    "late", "vein", "artery", "over_parent", "supply",
)  # fmt: skip
_OF_KIND = ("radius", "told")
# Shunts are frequent among the patients that are fitted to; how likely one is before a run is looked at.
_PREVALENCE = 0.2


def main() -> int:
    """Return 0 when tables were printed."""
    parser = argparse.ArgumentParser(description="Fit the probability of a shunt.")
    parser.add_argument("patients", type=Path, nargs="+")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", type=Path, help="folder for the measurements, read again where they are there")
    parser.add_argument("--page", type=Path, help="page whose section of figures is written")
    given = parser.parse_args()
    files = [file for folder in given.patients for file in sorted(folder.glob("case-*/dicom/day000/*.dcm"))]
    # After embolisation little is left to see of a shunt.
    files = [file for file in files if file.stem != "post"]
    with process_pool(given.workers, initializer=_begin, preload="angio_pipeline.pipeline") as pool:
        runs = list(pool.map(measure, files, [given.keep] * len(files)))
    report([run for run in runs if run is not None], given.page)
    return 0


def _begin() -> None:
    hold_threads(1)


def measure(file: Path, keep: Path | None) -> dict[str, Any] | None:
    """Return what is measured of one run and true of it; None where it was refused or has no network's answer."""
    name = f"{file.parents[3].name}-{file.parents[2].name}-{file.stem}"
    kept = None if keep is None else keep / f"{name}.pickle"
    if kept is not None and kept.is_file():
        found: dict[str, Any] = pickle.loads(kept.read_bytes())  # written below, by this script alone
        return found
    try:
        result = _analysed(file)
    except AngioError as error:
        print(f"{name}: {error.sentence}")
        return None
    row = measured(result, file.parents[2] / "truth" / result.run.source.sop_instance_uid / "truth.json")
    if row is not None:
        row |= {"preset": file.parents[3].name.split("-")[0], "case": f"{file.parents[3].name}/{file.parents[2].name}"}
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(pickle.dumps(row))
    return row


def _analysed(file: Path) -> RunResult:
    import tempfile

    from angio_pipeline.networks.prediction import load_run_predictor
    from angio_pipeline.pipeline import Networks, process_run

    with tempfile.TemporaryDirectory() as workspace:
        found = ingest.discover([file], workspace=Path(workspace))
        if not found.runs:
            raise AngioError(found.refusals[0].sentence, reason=found.refusals[0].reason)
        run = ingest.read_run(found.runs[0])
    return process_run(run, config=PipelineConfig(), networks=Networks(run=load_run_predictor(threads=1)))


def measured(result: RunResult, truth: Path) -> dict[str, Any] | None:
    """Return the courses of a run, how they fill, how much of each is a true early vein, and the true shunts."""
    told = truth_in_frame(truth, result.subtracted.reference_frame)
    sub, factor = result.subtracted, working_factor(result.subtracted)
    if result.vessels.vein_probability is None:
        return None
    courses, filling = fill_courses(sub, result.maps, result.vessels, result.graph, params=EarlyVeinParams())
    if filling is None:
        return None
    early = early_vein(told).astype(np.float32)
    return {
        "courses": courses,
        "filling": filling,
        "early": [_share(early, course, factor) for course in courses],
        "scale": max(sub.valid.shape) / factor / 512,
        "reach_px": told.tolerance_px() * 10 / 3,
        "factor": factor,
        "shunts": [(shunt.kind, shunt.row, shunt.col) for shunt in told.truth.shunts],
        "hidden": bool(told.truth.shunts_not_visible) and not told.truth.shunts,
        "fills_early": bool(early.any()),
        "assessed": can_show_shunts(sub, result.maps),
    }


def early_vein(told: RunPair) -> npt.NDArray[np.bool_]:
    """Return (H, W) where true veins fill with the arteries and no artery lies over them, a pixel wider."""
    artery = read_mask(told.truth_dir / told.truth.artery_mask)
    if told.truth.vein_mask is None or not artery.any():
        return np.zeros_like(artery)
    arrival = np.load(told.truth_dir / "arrival.npy")
    soon = arrival < np.nanmin(arrival[artery]) + _WITH_ARTERIES_S
    early = read_mask(told.truth_dir / told.truth.vein_mask) & ~artery & soon
    return np.asarray(ndimage.binary_dilation(moved_mask(early, told.shift_px, beyond=False)))


def _share(mask: npt.NDArray[np.float32], course: Course, factor: int) -> float:
    return float(ndimage.map_coordinates(mask, factor * course.points.T, order=1, mode="nearest").mean())


def report(runs: Sequence[dict[str, Any]], page: Path | None) -> None:
    """Print tables and what they are worth on patients that were not fitted to."""
    judged = [_with_columns(run) for run in runs if not run["hidden"]]
    cases = sorted({run["case"] for run in judged}, key=lambda c: (not _has_shunt(judged, c), c))
    fold = np.array([cases.index(run["case"]) % _FOLDS for run in judged])
    # The drainages of every fold by pieces that were fitted without it, and without one further fold.
    seen = {pair: _greatest_without(judged, fold, pair) for pair in itertools.combinations(range(_FOLDS), 2)}
    alone = {(k,): _greatest_without(judged, fold, (k,)) for k in range(_FOLDS)}
    told, kinds = np.zeros(len(judged)), []
    for k in range(_FOLDS):
        rest = [n for n in range(len(judged)) if fold[n] != k]
        pairs = [seen[min(k, fold[n]), max(k, fold[n])][n] for n in rest]
        model = _Drainages([judged[n] for n in rest], pairs)
        for n in np.flatnonzero(fold == k).tolist():
            found = alone[k,][n]
            told[n] = model.probability(found) if judged[n]["assessed"] else 0.0
            if len(judged[n]["shunts"]) == 1 and found["length"] > 0:
                kinds.append((judged[n]["shunts"][0][0], model.kind(found)))
    words = quality(judged, told, kinds)
    print(words)
    for run, said in zip(judged, told, strict=True):
        if (said >= 0.5) != bool(run["shunts"]):
            print(f"wrong: {run['case']} {said:.2f} {run['shunts']}")
    pieces = _Pieces(judged)
    whole = _Drainages(judged, [alone[fold[n],][n] for n in range(len(judged))])
    named = {"_BRANCH": pieces.branch, "_TOLD": pieces.told, "_DRAINAGE": whole.shunt, "_HEPATIC": whole.hepatic}
    print("\n".join(table.words(title) for title, table in named.items()))
    if page is not None:
        from pages import write_section

        write_section(page, "figures", "scripts/fit_shunts.py", words)


def _with_columns(run: dict[str, Any]) -> dict[str, Any]:
    """Return a run with what its courses are fitted by as columns."""
    evidence, early = run["filling"].evidence, np.array(run["early"])
    seen = np.array([one["contrast_in_noise"] for one in evidence]) >= EarlyVeinParams().over_noise
    return run | {
        "known": np.array([list(features(one).values()) for one in evidence]),
        "early": early,
        "length": np.array([course.length_px for course in run["courses"]]),
        "branch": np.array([course.branch is not None for course in run["courses"]]),
        "fits": run["assessed"] & seen & ((early <= _OUT_OF_VEIN) | (early >= _IN_VEIN)),
    }


def _greatest_without(
    runs: Sequence[Mapping[str, Any]], fold: npt.NDArray[np.intp], without: Sequence[int]
) -> dict[int, dict[str, float]]:
    """Return the greatest drainage of each run of some folds, its pieces judged by tables of the other folds."""
    held = np.isin(fold, without)
    pieces = _Pieces([run for run, out in zip(runs, held, strict=True) if not out])
    return {n: _greatest(runs[n], pieces.likely(runs[n])) for n in np.flatnonzero(held).tolist()}


def _has_shunt(runs: Sequence[Mapping[str, Any]], case: str) -> bool:
    return any(run["shunts"] for run in runs if run["case"] == case)


class _Table:
    """A logistic of named features; those that are not known count as average."""

    def __init__(self, names: Sequence[str], told: Array, right: Array, weight: Array, ridge: float) -> None:
        # What is known of no row is no feature.
        self.known = np.asarray(np.isfinite(told).any(axis=0))
        self.names = [name for name, known in zip(names, self.known, strict=True) if known]
        told = told[:, self.known]
        self.middle, self.spread = np.nanmean(told, axis=0), np.maximum(np.nanstd(told, axis=0), 1e-3)
        columns = np.hstack([np.ones((len(told), 1)), self._scaled(told)])

        def cost(weights: Array) -> tuple[float, Array]:
            score = columns @ weights
            value = float(np.sum(weight * (np.logaddexp(0, score) - right * score)))
            slope = columns.T @ (weight * (1 / (1 + np.exp(-score)) - right))
            slope[1:] += ridge * weights[1:]
            return value + 0.5 * ridge * float(weights[1:] @ weights[1:]), slope

        self.weights = optimize.minimize(cost, np.zeros(columns.shape[1]), jac=True, method="L-BFGS-B").x

    def _scaled(self, told: Array) -> Array:
        return np.asarray(np.nan_to_num((told - self.middle) / self.spread))

    def probability(self, told: Array) -> Array:
        """Return the probability of each row of features, in the order of the names that it was fitted with."""
        score = self.weights[0] + self._scaled(told[:, self.known]) @ self.weights[1:]
        return np.asarray(1 / (1 + np.exp(-score)))

    def words(self, title: str) -> str:
        """Return the table as `early_veins.py` holds it."""
        lines = [
            f'        "{name}": ({middle:.3f}, {spread:.3f}, {weight:.3f}),'
            for name, middle, spread, weight in zip(self.names, self.middle, self.spread, self.weights[1:], strict=True)
        ]
        return "\n".join([f"{title}: Table = (\n    {self.weights[0]:.3f},\n    {{", *lines, "    },\n)"])


class _Pieces:
    """How likely each course is a vein that fills early: one table for branches, one for told veins."""

    def __init__(self, runs: Sequence[Mapping[str, Any]]) -> None:
        known, right, weight, branch = (
            np.concatenate([run[name][run["fits"]] for run in runs]) for name in ("known", "early", "length", "branch")
        )
        self.branch, self.told = (
            _Table(_NAMES, known[part], (right[part] >= _IN_VEIN).astype(float), weight[part] / 20, _RIDGE)
            for part in (branch, ~branch)
        )

    def likely(self, run: Mapping[str, Any]) -> Array:
        """Return how likely each course of a run is one."""
        known: Array = run["known"]
        return np.where(run["branch"], self.branch.probability(known), self.told.probability(known))


class _Drainages:
    """What the greatest drainage of a run tells of shunt and kind, fitted to drainages of pieces seen by others."""

    def __init__(self, runs: Sequence[Mapping[str, Any]], greatest: Sequence[Mapping[str, float]]) -> None:
        # Where a shunt's own blood shows nothing, or early cannot be told from late, there is nothing to learn.
        fits = np.array([run["assessed"] and run["fills_early"] == bool(run["shunts"]) for run in runs])
        right = np.array([bool(run["shunts"]) for run in runs], dtype=np.float64)[fits]
        lengths = np.array([[found["length"]] for found in greatest])[fits]
        weight = np.where(right > 0, _PREVALENCE / right.mean(), (1 - _PREVALENCE) / (1 - right.mean()))
        self.shunt = _Table(["length"], lengths, right, weight, 0.1)
        chosen = [k for k, run in enumerate(runs) if len(run["shunts"]) == 1 and greatest[k]["length"] > 0]
        hepatic = np.array([float(runs[k]["shunts"][0][0] == "arteriovenous") for k in chosen])
        told = np.array([[greatest[k][name] for name in _OF_KIND] for k in chosen])
        self.hepatic = _Table(_OF_KIND, told, hepatic, np.ones(len(chosen)), _RIDGE)

    def probability(self, found: Mapping[str, float]) -> float:
        """Return how likely a run with this greatest drainage shows a shunt."""
        return float(self.shunt.probability(np.array([[found["length"]]]))[0])

    def kind(self, found: Mapping[str, float]) -> str:
        """Return which veins the drainage is."""
        hepatic = self.hepatic.probability(np.array([[found[name] for name in _OF_KIND]]))[0] >= 0.5
        return "arteriovenous" if hepatic else "arterioportal"


def _greatest(run: Mapping[str, Any], likely: Array) -> dict[str, float]:
    filling: Filling = run["filling"]
    found = drainages(run["courses"], filling, likely, params=EarlyVeinParams(), scale=run["scale"])
    none = {"length_px": 0.0, "radius_px": 1.0, "told": 0.0}
    return drainage_features(found[0].evidence if found else none)


def quality(runs: Sequence[Mapping[str, Any]], told: Array, kinds: Sequence[tuple[str, str]]) -> str:
    """Return a table by preset: sensitivity, specificity, calibration error, and how often the kind was right."""
    lines = ["| preset | sensitivity | specificity | calibration error |", "| --- | ---: | ---: | ---: |"]
    for preset in [*sorted({run["preset"] for run in runs}), "all"]:
        chosen = np.array([preset in (run["preset"], "all") for run in runs])
        right = np.array([bool(run["shunts"]) for run in runs])[chosen]
        said = told[chosen]
        found, cleared = int((said[right] >= 0.5).sum()), int((said[~right] < 0.5).sum())
        lines.append(
            f"| {preset} | {_share_words(found, int(right.sum()))} | {_share_words(cleared, int((~right).sum()))}"
            f" | {calibration_error(said, right):.3f} |"
        )
    same = sum(a == b for a, b in kinds)
    lines += ["", f"The kind is right in {same} of {len(kinds)} runs that show one shunt and a likely piece."]
    return "\n".join(lines)


def _share_words(part: int, whole: int) -> str:
    return f"{part / whole:.3f} ({part} of {whole})" if whole else "– (0)"


def calibration_error(said: Array, right: npt.NDArray[np.bool_]) -> float:
    """Return the mean distance of probability and frequency over ten bins."""
    bins = np.minimum((said * 10).astype(int), 9)
    return float(sum(abs(said[bins == k].mean() - right[bins == k].mean()) * (bins == k).mean() for k in set(bins)))


if __name__ == "__main__":
    cv2.setNumThreads(1)
    raise SystemExit(main())
