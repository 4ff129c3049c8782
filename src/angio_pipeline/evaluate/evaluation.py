"""All metrics over all cases: averages, and bootstrap intervals over patients."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from angio_pipeline.evaluate.causes import FeederErrors, feeder_errors
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
from angio_pipeline.evaluate.response import ResponseScores, score_response
from angio_pipeline.evaluate.tumours import (
    MotionScores,
    ShuntScores,
    TipScores,
    TumourScores,
    judge_shunts,
    judge_tumours,
    measure_motion,
    measure_tip,
)
from angio_pipeline.evaluate.vessels import VeinScores, score_veins, score_vessels

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
    """Metrics over everything that the truth holds; `per_run` has one row a run.

    `broken` names the files among the results that could not be read and so count as missing.
    """

    cases: int
    runs: int
    runs_without_result: int
    broken: tuple[str, ...]
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
            "broken_files": list(self.broken),
            "metrics": metrics,
            "per_run": list(self.per_run),
        }


@dataclass(frozen=True, slots=True, eq=False)
class _RunScores:
    vessels: dict[str, float]
    veins: VeinScores
    tip: TipScores
    feeders: FeederScores
    errors: FeederErrors
    targets: TargetScores
    tumours: TumourScores
    shunts: ShuntScores
    motion: MotionScores


@dataclass(frozen=True, slots=True, eq=False)
class _CaseScores:
    runs: tuple[_RunScores, ...]
    oil: LipiodolScores
    response: ResponseScores


@dataclass(frozen=True, slots=True, eq=False)
class _Quotient:
    """A metric that is one sum over patients over another: means, shares and counts."""

    above: Callable[[_CaseScores], float]
    below: Callable[[_CaseScores], float]


# A metric of all calls together, which no sums over patients give: its value, and how many calls it is about.
_Pooled = Callable[[Sequence[_CaseScores]], tuple[float, int]]
_Metric = _Quotient | _Pooled


def evaluate(
    truth: Path, results: Path, *, only: Collection[str] = (), both_views: bool = False, seed: int = 0
) -> Evaluation:
    """Return every metric of the contract for the results in `results` against the truth under `truth`.

    Parameters
    ----------
    only : collection of str
        SOP instance UIDs of the runs that are judged, and nothing else; empty: everything.
    both_views : bool
        Feeders are as probable as two projections together say, where they were joined.

    Raises
    ------
    AngioError
        When there is no truth or none of a run in `only`, or a truth file is not as the contract has it.
    """
    pairs = pair_cases(truth, results, only=only, both_views=both_views)
    judged = [_judge_case(case) for case in pairs.cases]
    resampled = _resamples(len(judged), seed)
    scores = tuple(_score(group, name, metric, judged, resampled) for group, name, metric in _metrics(judged))
    runs = [run for case in pairs.cases for run in case.runs]
    missing = sum(run.answer is None for run in runs)
    rows = tuple(_rows(pairs.cases, judged))
    return Evaluation(len(pairs.cases), len(runs), missing, pairs.broken, scores, rows)


def _judge_case(case: CasePair) -> _CaseScores:
    return _CaseScores(tuple(_judge(run) for run in case.runs), score_lipiodol(case), score_response(case))


def _judge(run: RunPair) -> _RunScores:
    return _RunScores(
        score_vessels(run),
        score_veins(run),
        measure_tip(run),
        match_feeders(run),
        feeder_errors(run),
        match_targets(run),
        judge_tumours(run),
        judge_shunts(run),
        measure_motion(run),
    )


def _resamples(cases: int, seed: int) -> npt.NDArray[np.int64] | None:
    if cases < 2:
        return None
    return np.random.default_rng(seed).integers(0, cases, (RESAMPLES, cases))


def _score(
    group: str,
    name: str,
    metric: _Metric,
    judged: Sequence[_CaseScores],
    resampled: npt.NDArray[np.int64] | None,
) -> Score:
    if isinstance(metric, _Quotient):
        value, count, draws = _of_quotient(metric, judged, resampled)
    else:
        value, count, draws = _of_pooled(metric, judged, resampled)
    draws = draws[np.isfinite(draws)]
    low = high = None
    if len(draws) and np.isfinite(value):
        low, high = (float(v) for v in np.percentile(draws, [2.5, 97.5]))
    return Score(group, name, float(value) if np.isfinite(value) else None, low, high, count)


def _of_quotient(
    metric: _Quotient, judged: Sequence[_CaseScores], resampled: npt.NDArray[np.int64] | None
) -> tuple[float, int, npt.NDArray[np.float64]]:
    above, below = (np.array([part(case) for case in judged], float) for part in (metric.above, metric.below))
    value = above.sum() / below.sum() if below.sum() else float("nan")
    if resampled is None:
        return float(value), round(below.sum()), np.empty(0)
    top, bottom = above[resampled].sum(axis=1), below[resampled].sum(axis=1)
    return float(value), round(below.sum()), top[bottom > 0] / bottom[bottom > 0]


def _of_pooled(
    metric: _Pooled, judged: Sequence[_CaseScores], resampled: npt.NDArray[np.int64] | None
) -> tuple[float, int, npt.NDArray[np.float64]]:
    value, count = metric(judged)
    draws = [metric([judged[i] for i in row])[0] for row in resampled] if resampled is not None else []
    return value, count, np.array(draws, float)


def _metrics(judged: Sequence[_CaseScores]) -> Iterable[tuple[str, str, _Metric]]:
    yield from _vessel_metrics()
    yield from _feeder_metrics()
    yield "tumours", "dice", _mean(lambda run: run.tumours.dice)
    yield "tumours", "sensitivity", _ratio(lambda run: (run.tumours.found, len(run.tumours.dice)))
    yield "tumours", "false_positives_per_run", _mean(_false_positives)
    yield "shunts", "sensitivity", _ratio(lambda run: (run.shunts.found, run.shunts.present))
    yield "shunts", "specificity", _ratio(_cleared)
    yield "shunts", "located", _ratio(lambda run: (run.shunts.located, run.shunts.places))
    for part in fields(MotionScores):
        yield "motion", part.name, _mean(_motion(part.name))
    yield "motion", "runs_without_answer", _count(lambda run: not np.isfinite(run.motion.end_point_error_px))
    for oil in fields(LipiodolScores):
        yield "lipiodol", oil.name, _mean_of_oil(oil.name)
    yield from _response_metrics(judged)


def _vessel_metrics() -> Iterable[tuple[str, str, _Metric]]:
    for name in ("dice", "cldice", "precision", "recall", "dice_3px", "cldice_3px", "precision_3px", "recall_3px"):
        yield "vessels", name, _mean(_vessels(name))
    yield "vessels", "betti0_error", _mean(_vessels("betti0_error"))
    for name in ("dice", "precision", "recall", "dice_3px"):
        yield "veins", name, _mean(_veins(name))
    yield "veins", "runs_without_answer", _count(lambda run: run.veins.unanswered, lambda run: len(run.veins.dice))
    yield "catheter", "found", _ratio(lambda run: (run.tip.found, run.tip.present))
    yield "catheter", "distance_px", _mean(lambda run: [run.tip.distance_px])


def _feeder_metrics() -> Iterable[tuple[str, str, _Metric]]:
    yield "feeders", "sensitivity", _ratio(lambda run: (_found(run.feeders.calls), run.feeders.truths))
    yield "feeders", "ppv", _ratio(lambda run: (_found(run.feeders.calls), _called(run.feeders.calls)))
    yield "feeders", "average_precision", _pooled(average_precision)
    yield "feeders", "calibration_error", _pooled(lambda calls, _: calibration_error(calls))
    yield "targets", "on_true_branch", _ratio(lambda run: (run.targets.right, run.targets.given))
    yield "targets", "branches_covered", _ratio(lambda run: (run.targets.covered, run.targets.truths))
    yield "targets", "non_target_excess", _mean(lambda run: run.targets.excess)


def _response_metrics(judged: Sequence[_CaseScores]) -> Iterable[tuple[str, str, _Metric]]:
    def every(case: _CaseScores) -> list[bool]:
        return [call for calls in case.response.agreed.values() for call in calls]

    yield "response", "agreement", _Quotient(lambda case: sum(every(case)), lambda case: len(every(case)))
    yield "response", "agreement_of_all", _Quotient(lambda case: sum(every(case)), lambda case: case.response.truths)
    for name in sorted({name for case in judged for name in case.response.agreed}):
        yield "response", f"agreement_{name}", _agreement(name)
    yield "response", "no_answer", _counted(lambda case: case.response.unanswered, lambda case: case.response.truths)


def _agreement(name: str) -> _Quotient:
    def calls(case: _CaseScores) -> Sequence[bool]:
        return case.response.agreed.get(name, ())

    return _Quotient(lambda case: sum(calls(case)), lambda case: len(calls(case)))


def _vessels(name: str) -> Callable[[_RunScores], Sequence[float]]:
    return lambda run: [run.vessels[name]]


def _veins(name: str) -> Callable[[_RunScores], Sequence[float]]:
    return lambda run: getattr(run.veins, name)


def _motion(name: str) -> Callable[[_RunScores], Sequence[float]]:
    return lambda run: [getattr(run.motion, name)]


def _false_positives(run: _RunScores) -> Sequence[float]:
    # A run without a result calls nothing wrong, which is no merit: it is left out.
    return [] if run.tumours.false_positives is None else [float(run.tumours.false_positives)]


def _cleared(run: _RunScores) -> tuple[bool, bool]:
    return run.shunts.judged and run.shunts.cleared, run.shunts.judged and not run.shunts.present


def _found(calls: Sequence[FeederCall]) -> int:
    return sum(call.right for call in calls if call.probability >= MIN_PROBABILITY)


def _called(calls: Sequence[FeederCall]) -> int:
    return sum(call.probability >= MIN_PROBABILITY for call in calls)


def _mean(pick: Callable[[_RunScores], Sequence[float]]) -> _Quotient:
    """Return the mean of what is known of every run."""
    return _mean_of_values(lambda case: [value for run in case.runs for value in pick(run)])


def _mean_of_oil(name: str) -> _Quotient:
    return _mean_of_values(lambda case: getattr(case.oil, name))


def _mean_of_values(values: Callable[[_CaseScores], Sequence[float]]) -> _Quotient:
    def known(case: _CaseScores) -> list[float]:
        return [value for value in values(case) if np.isfinite(value)]

    return _Quotient(lambda case: sum(known(case)), lambda case: len(known(case)))


def _ratio(pick: Callable[[_RunScores], tuple[int | bool, int | bool]]) -> _Quotient:
    return _Quotient(
        lambda case: sum(int(pick(run)[0]) for run in case.runs),
        lambda case: sum(int(pick(run)[1]) for run in case.runs),
    )


def _count(pick: Callable[[_RunScores], bool], of: Callable[[_RunScores], int] = lambda _: 1) -> _Metric:
    return _counted(lambda case: sum(map(pick, case.runs)), lambda case: sum(map(of, case.runs)))


def _counted(number: Callable[[_CaseScores], int], of: Callable[[_CaseScores], int]) -> _Pooled:
    return lambda cases: (float(sum(map(number, cases))), sum(map(of, cases)))


def _pooled(measure: Callable[[Sequence[FeederCall], int], float]) -> _Pooled:
    def metric(cases: Sequence[_CaseScores]) -> tuple[float, int]:
        calls = [call for case in cases for run in case.runs for call in run.feeders.calls]
        return measure(calls, sum(run.feeders.truths for case in cases for run in case.runs)), len(calls)

    return metric


def _rows(pairs: Sequence[CasePair], judged: Sequence[_CaseScores]) -> Iterable[dict[str, Any]]:
    for case, scores in zip(pairs, judged, strict=True):
        for run, score in zip(case.runs, scores.runs, strict=True):
            yield _row(case.name, run, score)


def _row(case: str, run: RunPair, score: _RunScores) -> dict[str, Any]:
    def known(value: float) -> float | None:
        return value if np.isfinite(value) else None

    return {
        "case": case,
        "sop_instance_uid": run.uid,
        "has_result": run.answer is not None,
        "vessel_dice": score.vessels["dice"],
        "vessel_cldice": score.vessels["cldice"],
        "vein_dice": score.veins.dice[0] if score.veins.dice else None,
        "tip_distance_px": known(score.tip.distance_px),
        "feeders_true": int(score.feeders.truths),
        "feeders_found": int(_found(score.feeders.calls)),
        "feeders_listed_right": sum(bool(call.right) for call in score.feeders.calls),
        "feeders_called": int(_called(score.feeders.calls)),
        "feeders_missed_because": score.errors.missed_counts(),
        "feeders_false_because": score.errors.false_counts(),
        "tumours_true": len(score.tumours.dice),
        "tumours_found": int(score.tumours.found),
        "tumours_false": score.tumours.false_positives,
        "targets_right": int(score.targets.right),
        "targets_given": int(score.targets.given),
        "motion_error_px": known(score.motion.end_point_error_px),
    }
