"""All metrics over all cases: averages, and bootstrap intervals over patients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from angio_pipeline.evaluate.documents import CasePair, RunPair, pair_cases
from angio_pipeline.evaluate.feeders import (
    MIN_PROBABILITY,
    FeederCall,
    FeederScores,
    TargetScores,
    average_precision,
    calibration_error,
    match_feeders,
    match_targets,
)
from angio_pipeline.evaluate.lipiodol import LipiodolScores, score_lipiodol
from angio_pipeline.evaluate.tumours import (
    MotionScores,
    ShuntScores,
    TumourScores,
    judge_shunts,
    judge_tumours,
    measure_motion,
)
from angio_pipeline.evaluate.vessels import score_vessels

__all__ = ["Evaluation", "Score", "evaluate"]

RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Score:
    """One metric: its value, the 95 % bootstrap interval over patients, and how many things it is about.

    None where there was nothing to measure, or a single patient gives no interval.
    """

    group: str
    name: str
    value: float | None
    low: float | None
    high: float | None
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Metrics over everything that the truth holds; `per_run` has one row a run."""

    cases: int
    runs: int
    runs_without_result: int
    scores: tuple[Score, ...]
    per_run: tuple[dict[str, Any], ...]

    def value(self, group: str, name: str) -> float | None:
        """Return one metric's value."""
        return next(s.value for s in self.scores if s.group == group and s.name == name)

    def to_document(self) -> dict[str, Any]:
        """Return what `angio evaluate --json` prints."""
        metrics: dict[str, dict[str, Any]] = {}
        for s in self.scores:
            interval = [s.low, s.high] if s.low is not None else None
            metrics.setdefault(s.group, {})[s.name] = {"value": s.value, "interval": interval, "count": s.count}
        return {
            "schema": "angio-pipeline/evaluation/1",
            "cases": self.cases,
            "runs": self.runs,
            "runs_without_result": self.runs_without_result,
            "metrics": metrics,
            "per_run": list(self.per_run),
        }


@dataclass(frozen=True, slots=True, eq=False)
class _RunScores:
    vessels: dict[str, float]
    feeders: FeederScores
    targets: TargetScores
    tumours: TumourScores
    shunts: ShuntScores
    motion: MotionScores


@dataclass(frozen=True, slots=True, eq=False)
class _CaseScores:
    runs: tuple[_RunScores, ...]
    oil: LipiodolScores


# A metric takes cases to the numbers that are averaged, or to one pooled number and its count.
_Metric = Callable[[Sequence[_CaseScores]], tuple[float, int]]


def evaluate(truth: Path, results: Path, *, seed: int = 0) -> Evaluation:
    """Return every metric of the contract for the results in `results` against the truth under `truth`.

    Raises
    ------
    AngioError
        When there is no truth, or a truth file is not as the contract has it.
    """
    pairs = pair_cases(truth, results)
    judged = [_CaseScores(tuple(_judge(run) for run in case.runs), score_lipiodol(case)) for case in pairs]
    resampled = _resamples(len(judged), seed)
    scores = tuple(_score(group, name, metric, judged, resampled) for group, name, metric in _metrics())
    runs = [run for case in pairs for run in case.runs]
    missing = sum(run.result is None for run in runs)
    return Evaluation(len(pairs), len(runs), missing, scores, tuple(_rows(pairs, judged)))


def _judge(run: RunPair) -> _RunScores:
    return _RunScores(
        score_vessels(run),
        match_feeders(run),
        match_targets(run),
        judge_tumours(run),
        judge_shunts(run),
        measure_motion(run),
    )


def _resamples(cases: int, seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]] | None:
    if cases < 2:
        return None
    return np.random.default_rng(seed).integers(0, cases, (RESAMPLES, cases))


def _score(group: str, name: str, metric: _Metric, judged: Sequence[_CaseScores], resampled: Any) -> Score:
    value, count = metric(judged)
    low = high = None
    if resampled is not None and np.isfinite(value):
        draws = np.array([metric([judged[i] for i in row])[0] for row in resampled])
        draws = draws[np.isfinite(draws)]
        if len(draws):
            low, high = (float(v) for v in np.percentile(draws, [2.5, 97.5]))
    return Score(group, name, float(value) if np.isfinite(value) else None, low, high, count)


def _metrics() -> Iterable[tuple[str, str, _Metric]]:
    for name in ("dice", "cldice", "precision", "recall", "dice_3px", "cldice_3px", "precision_3px", "recall_3px"):
        yield "vessels", name, _mean_of_runs(lambda run, name=name: [run.vessels[name]])  # type: ignore[misc]  # bound now
    yield "vessels", "betti0_error", _mean_of_runs(lambda run: [run.vessels["betti0_error"]])
    yield "feeders", "sensitivity", _ratio(lambda run: (_found(run.feeders.calls), run.feeders.truths))
    yield "feeders", "ppv", _ratio(lambda run: (_found(run.feeders.calls), _called(run.feeders.calls)))
    yield "feeders", "average_precision", _pooled(average_precision)
    yield "feeders", "calibration_error", _pooled(lambda calls, _: calibration_error(calls))
    yield "targets", "on_true_branch", _ratio(lambda run: (run.targets.right, run.targets.given))
    yield "targets", "branches_covered", _ratio(lambda run: (run.targets.covered, run.targets.truths))
    yield "targets", "non_target_excess", _mean_of_runs(lambda run: list(run.targets.excess))
    yield "tumours", "dice", _mean_of_runs(lambda run: list(run.tumours.dice))
    yield "tumours", "sensitivity", _ratio(lambda run: (run.tumours.found, len(run.tumours.dice)))
    yield "tumours", "false_positives_per_run", _mean_of_runs(_false_positives)
    yield "shunts", "sensitivity", _ratio(lambda run: (run.shunts.found, run.shunts.present))
    yield "shunts", "specificity", _ratio(lambda run: (run.shunts.cleared, not run.shunts.present))
    for part in fields(MotionScores):
        yield "motion", part.name, _mean_of_runs(lambda run, k=part.name: [getattr(run.motion, k)])  # type: ignore[misc]  # bound now
    yield "motion", "runs_without_answer", _count(lambda run: not np.isfinite(run.motion.end_point_error_px))
    for part in fields(LipiodolScores):
        yield "lipiodol", part.name, _mean_of_oil(part.name)


def _false_positives(run: _RunScores) -> list[float]:
    # A run without a result calls nothing wrong, which is no merit: it is left out.
    return [float(run.tumours.false_positives)] if run.shunts.answered else []


def _found(calls: Sequence[FeederCall]) -> int:
    return sum(call.right for call in calls if call.probability >= MIN_PROBABILITY)


def _called(calls: Sequence[FeederCall]) -> int:
    return sum(call.probability >= MIN_PROBABILITY for call in calls)


def _mean(values: Iterable[float]) -> tuple[float, int]:
    known = [v for v in values if np.isfinite(v)]
    return (float(np.mean(known)) if known else float("nan")), len(known)


def _mean_of_runs(pick: Callable[[_RunScores], list[float]]) -> _Metric:
    return lambda cases: _mean(v for case in cases for run in case.runs for v in pick(run))


def _mean_of_oil(name: str) -> _Metric:
    return lambda cases: _mean(v for case in cases for v in getattr(case.oil, name))


def _ratio(pick: Callable[[_RunScores], tuple[int | bool, int | bool]]) -> _Metric:
    def metric(cases: Sequence[_CaseScores]) -> tuple[float, int]:
        parts = [pick(run) for case in cases for run in case.runs]
        above, below = sum(int(a) for a, _ in parts), sum(int(b) for _, b in parts)
        return (above / below if below else float("nan")), below

    return metric


def _count(pick: Callable[[_RunScores], bool]) -> _Metric:
    def metric(cases: Sequence[_CaseScores]) -> tuple[float, int]:
        runs = [run for case in cases for run in case.runs]
        return float(sum(pick(run) for run in runs)), len(runs)

    return metric


def _pooled(measure: Callable[[Sequence[FeederCall], int], float]) -> _Metric:
    def metric(cases: Sequence[_CaseScores]) -> tuple[float, int]:
        calls = [call for case in cases for run in case.runs for call in run.feeders.calls]
        return measure(calls, sum(run.feeders.truths for case in cases for run in case.runs)), len(calls)

    return metric


def _rows(pairs: Sequence[CasePair], judged: Sequence[_CaseScores]) -> Iterable[dict[str, Any]]:
    for case, scores in zip(pairs, judged, strict=True):
        for run, score in zip(case.runs, scores.runs, strict=True):
            error = score.motion.end_point_error_px
            yield {
                "case": case.name,
                "sop_instance_uid": run.uid,
                "has_result": run.result is not None,
                "vessel_dice": score.vessels["dice"],
                "vessel_cldice": score.vessels["cldice"],
                "feeders_true": int(score.feeders.truths),
                "feeders_found": int(_found(score.feeders.calls)),
                "feeders_listed_right": sum(bool(call.right) for call in score.feeders.calls),
                "feeders_called": int(_called(score.feeders.calls)),
                "tumours_true": len(score.tumours.dice),
                "tumours_found": int(score.tumours.found),
                "tumours_false": int(score.tumours.false_positives),
                "targets_right": int(score.targets.right),
                "targets_given": int(score.targets.given),
                "motion_error_px": error if np.isfinite(error) else None,
            }
