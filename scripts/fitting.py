"""What the scripts share that fit probabilities to simulated patients: measuring, fitting, judging."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize

from angio_pipeline import ingest
from angio_pipeline.config import PipelineConfig
from angio_pipeline.core.errors import AngioError
from angio_pipeline.core.results import RunResult
from angio_pipeline.workers import hold_threads, process_pool

Array = npt.NDArray[np.float64]
Rows = list[dict[str, Any]]
FOLDS, RIDGE = 5, 1.0


def arguments(words: str, keep: str = "JSON file") -> argparse.ArgumentParser:
    """Return what every such script is given."""
    parser = argparse.ArgumentParser(description=words)
    parser.add_argument("patients", type=Path, nargs="+")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", type=Path, help=f"{keep} for the measurements, read again when it is there")
    return parser


def measured(places: Sequence[Path], measure: Callable[[Path], Rows], given: argparse.Namespace) -> Rows:
    """Return the rows of all places, in order; those that were kept, where some were."""
    if given.keep is not None and given.keep.is_file():
        kept: Rows = json.loads(given.keep.read_text(encoding="utf-8"))
        return kept
    with process_pool(given.workers, initializer=begin_worker, preload="angio_pipeline.pipeline") as pool:
        rows = [row for found in pool.map(measure, places) for row in found]
    if given.keep is not None:
        given.keep.write_text(json.dumps(rows), encoding="utf-8")
    return rows


def begin_worker() -> None:
    """Hold a worker to one thread."""
    hold_threads(1)


def analysed(file: Path, config: PipelineConfig) -> RunResult:
    """Return what the program makes of a run, as a result and not as files.

    Raises
    ------
    AngioError
        When the run is refused.
    """
    from angio_pipeline.networks.prediction import load_feeder_predictor, load_run_predictor
    from angio_pipeline.pipeline import Networks, process_run

    with tempfile.TemporaryDirectory() as workspace:
        found = ingest.discover([file], workspace=Path(workspace))
        if not found.runs:
            raise AngioError(found.refusals[0].sentence, reason=found.refusals[0].reason)
        run = ingest.read_run(found.runs[0])
    name = config.feeders.network
    feeding = load_feeder_predictor(name, threads=1) if name else None
    return process_run(run, config=config, networks=Networks(run=load_run_predictor(threads=1), feeding=feeding))


class FittedTable:
    """A logistic of named numbers, fitted with a ridge on the weights; what is not known counts as average.

    Parameters
    ----------
    told : ndarray, (N, F) float64
        The numbers in the order of `names`; NaN where one is not known. One that no row knows is left out.
    right, weight : ndarray, (N,) float64
        Whether it is so, 0 to 1, and how much a row counts.
    """

    def __init__(
        self, names: Iterable[str], told: Array, right: Array, weight: Array | None = None, ridge: float = RIDGE
    ) -> None:
        self.known = np.asarray(np.isfinite(told).any(axis=0))
        self.names = [name for name, known in zip(names, self.known, strict=True) if known]
        told = told[:, self.known]
        self.middle, self.spread = np.nanmean(told, axis=0), np.maximum(np.nanstd(told, axis=0), 1e-3)
        columns = np.hstack([np.ones((len(told), 1)), self._scaled(told)])
        counts = np.ones(len(told)) if weight is None else weight

        def cost(weights: Array) -> tuple[float, Array]:
            score = columns @ weights
            value = float(np.sum(counts * (np.logaddexp(0, score) - right * score)))
            slope = columns.T @ (counts * (1 / (1 + np.exp(-score)) - right))
            slope[1:] += ridge * weights[1:]
            return value + 0.5 * ridge * float(weights[1:] @ weights[1:]), slope

        self.weights = np.asarray(optimize.minimize(cost, np.zeros(columns.shape[1]), jac=True, method="L-BFGS-B").x)

    def _scaled(self, told: Array) -> Array:
        return np.asarray(np.nan_to_num((told - self.middle) / self.spread))

    def probability(self, told: Array) -> Array:
        """Return (N,) the probability of each row, in the order of the names that it was fitted with."""
        score = self.weights[0] + self._scaled(told[:, self.known]) @ self.weights[1:]
        return np.asarray(1 / (1 + np.exp(-score)))

    def words(self, title: str) -> str:
        """Return the table as code holds it."""
        lines = [
            f'        "{name}": ({middle:.3f}, {spread:.3f}, {weight:.3f}),'
            for name, middle, spread, weight in zip(self.names, self.middle, self.spread, self.weights[1:], strict=True)
        ]
        return "\n".join([f"{title}: Table = (", f"    {self.weights[0]:.3f},", "    {", *lines, "    },", ")"])


def fold_of(case: str) -> int:
    """Return in which fold a patient is; the same in every process."""
    letters = np.frombuffer(case.encode(), np.uint8)
    return int(np.sum(letters * np.arange(1, len(letters) + 1))) % FOLDS


def calibration_error(said: Array, right: npt.NDArray[Any]) -> float:
    """Return the mean distance of probability and frequency over ten bins, by how many lie in each."""
    bins = np.minimum((said * 10).astype(int), 9)
    each = (abs(said[bins == k].mean() - right[bins == k].mean()) * (bins == k).mean() for k in set(bins.tolist()))
    return float(sum(each))


def quality(said: Array, right: Array, truths: int) -> str:
    """Return sensitivity, positive predictive value, average precision and calibration error in words."""
    called = said >= 0.5
    hits = float(right[called].sum())
    order = np.argsort(-said)
    precision = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    mean_precision = float((precision * right[order]).sum() / max(truths, 1))
    return (
        f"sensitivity {hits / max(truths, 1):.3f}, PPV {hits / max(called.sum(), 1):.3f},"
        f" average precision {mean_precision:.3f}, calibration error {calibration_error(said, right):.3f}"
    )
