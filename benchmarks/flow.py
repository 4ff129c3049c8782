"""Measure velocity of flow against the simulator's own, beside other estimators, and write down what came out.

Written: `benchmarks/flow.json` and the figures of `docs/flow.md`. The development patients are those on which the
settings were chosen; the others were simulated for this table alone.

    .venv/bin/python benchmarks/flow.py [--quick] [--print]
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from angio_pipeline import vessels
from angio_pipeline.config import PipelineConfig
from angio_pipeline.core.vessels import VesselGraph, VesselSegmentation
from angio_pipeline.simulate.angiography import RUNS
from angio_pipeline.simulate.patient import make_patient
from angio_pipeline.simulate.population import make_case as make_identity
from angio_pipeline.simulate.presets import SimulationParams, load_preset
from angio_pipeline.vessels.bolus import bolus_frames, piece_curves
from angio_pipeline.workers import hold_threads
from flow_cases import FlowCase, TrueFlow, grow_graph, make_case, true_vessels
from flow_peers import ESTIMATORS
from pages import ROOT, state, write_figures, write_section

SCRIPT = "benchmarks/flow.py"
FIGURES = ROOT / "benchmarks" / "flow.json"
PAGE = ROOT / "docs" / "flow.md"
PRESET = "clinical"
DEVELOPMENT_SEED, NEW_SEED = 9200, 9300
# New patients by frames a second.
RATES = {2.0: 2, 3.0: 4, 4.0: 2, 6.0: 2}
LENGTHS_MM = ((30.0, np.inf), (15.0, 30.0), (10.0, 15.0))
SPEEDS_MM_S = ((0.0, 50.0), (50.0, 100.0), (100.0, 200.0), (200.0, np.inf))
OWN = "leading edge, fitted over the tree (this program)"
MAPPED = "arrival of single pixels along the centreline, line a branch"

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Found:
    """One branch that follows a true artery: length, truth, the estimators' answers in mm/s, and the interval."""

    length_mm: float
    truth: TrueFlow
    answers: dict[str, float]
    interval_mm_s: tuple[float, float]


@dataclass(slots=True)
class Tally:
    """The branches of one set of runs, and of how many of them it is not known which artery they follow."""

    found: list[Found] = field(default_factory=list)
    unmatched: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    runs: int = 0
    states: dict[str, int] = field(default_factory=lambda: defaultdict(int))


def measure_case(case: FlowCase, segmentation: VesselSegmentation, config: PipelineConfig, tally: Tally) -> None:
    """Add the branches of one run to the tally."""
    graph = grow_graph(case, segmentation, config)
    frames = bolus_frames(case.sub, case.maps)
    pieces = piece_curves(graph, segmentation.artery, case.sub, frames, params=config.measures.bolus)
    measures, _ = vessels.measure_branches(graph, segmentation.artery, case.sub, case.maps, params=config.measures)
    tally.runs += 1
    for k, branch in enumerate(graph.branches):
        mm = case.arteries.pixel_mm
        length = branch.length_px * mm
        if length < LENGTHS_MM[-1][0]:
            continue
        truth = case.arteries.along(branch.centreline)
        if truth is None:
            tally.unmatched[_class(length)] += 1
            continue
        along, curves, _ = pieces[k]
        slow = {name: of(along, curves, case.sub.times_s[frames]) for name, of in ESTIMATORS.items()}
        slow[MAPPED] = _mapped(graph, k)
        answers = {name: _velocity(u) * mm for name, u in slow.items()} | {OWN: measures[k].velocity_px_s * mm}
        low, high = measures[k].velocity_interval_px_s
        tally.found.append(Found(length, truth, answers, (low * mm, high * mm)))
        tally.states[measures[k].velocity_state.value] += 1


def _velocity(slowness: float) -> float:
    return 1 / slowness if np.isfinite(slowness) and slowness > 0 else float("nan")


def _mapped(graph: VesselGraph, k: int) -> float:
    line, arrival = graph.branches[k].centreline, graph.branches[k].arrival_s
    way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    known = np.isfinite(arrival)
    return float(np.polyfit(way[known], arrival[known], 1)[0]) if known.sum() > 2 else float("nan")


def _class(length_mm: float) -> str:
    low, high = next(c for c in LENGTHS_MM if c[0] <= length_mm < c[1])
    return f"{low:g} mm and more" if np.isinf(high) else f"{low:g} to {high:g} mm"


def summarise(tally: Tally) -> dict[str, Any]:
    """Return the figures of one set of runs by length of the branch; what has no answer is wrong by infinitely much."""
    classes = {}
    for low, high in LENGTHS_MM:
        some = [f for f in tally.found if low <= f.length_mm < high]
        name = _class(low)
        classes[name] = {
            "branches": len(some),
            "not_matched": tally.unmatched[name],
            "transit_s": _rounded(np.median([f.truth.transit_s for f in some])) if some else None,
            "estimators": {e: _scores(some, e) for e in (MAPPED, *ESTIMATORS, OWN)} if some else {},
            "interval_holds": _coverage(some),
        }
    return {"runs": tally.runs, "classes": classes, "speeds": _by_speed(tally), "states": dict(tally.states)}


def _by_speed(tally: Tally) -> dict[str, Any]:
    """Return this program's figures by true velocity, of branches of every length."""
    speeds = {}
    for low, high in SPEEDS_MM_S:
        some = [f for f in tally.found if low <= f.truth.space_mm_s < high]
        if some:
            speeds[f"from {low:g} mm/s" if np.isinf(high) else f"{low:g} to {high:g} mm/s"] = {
                "branches": len(some),
                "not_matched": 0,
                "transit_s": _rounded(np.median([f.truth.transit_s for f in some])),
                "estimators": {OWN: _scores(some, OWN)},
                "interval_holds": _coverage(some),
            }
    return speeds


def _scores(some: Sequence[Found], name: str) -> dict[str, Any]:
    answer = np.array([f.answers[name] for f in some])
    space = np.array([f.truth.space_mm_s for f in some])
    projection = np.array([f.truth.projection_mm_s for f in some])
    known = np.isfinite(answer)
    return {
        "answered": int(known.sum()),
        "error_space_all": _error(answer, space, all_of=True),
        "error_space": _error(answer, space),
        "error_projection": _error(answer, projection),
        "third_quartile_space": _error(answer, space, percentile=75),
        "bias_projection": _rounded(np.median(answer[known] / projection[known] - 1)) if known.any() else None,
    }


def _error(answer: Array, truth: Array, *, all_of: bool = False, percentile: float = 50) -> float | None:
    error = np.abs(answer / truth - 1)
    error = np.where(np.isfinite(error), error, np.inf) if all_of else error[np.isfinite(error)]
    if not len(error):
        return None
    # Between a number and infinity there is nothing to interpolate: the greater of the two neighbours.
    value = float(np.percentile(error, percentile, method="higher"))
    return _rounded(value) if np.isfinite(value) else None


def _coverage(some: Sequence[Found]) -> float | None:
    held = [f.interval_mm_s[0] <= f.truth.projection_mm_s <= f.interval_mm_s[1] for f in some if f.interval_mm_s[0] > 0]
    return _rounded(float(np.mean(held))) if held else None


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def each_case(seed: int, cases: int, names: Sequence[str], params: SimulationParams) -> Iterator[FlowCase]:
    """Yield the runs of simulated patients."""
    for number in range(cases):
        patient = make_patient(make_identity(seed, number), params)
        for name in names:
            yield make_case(patient, name, PipelineConfig())
            print(f"  seed {seed}, patient {number}, {name}", flush=True)


def at_rate(params: SimulationParams, fps: float) -> SimulationParams:
    """Return settings whose arterial part has another frame rate and lasts as long."""
    run = params.run
    frames = round(run.fast_frames * fps / run.fast_fps)
    return params.model_copy(update={"run": run.model_copy(update={"fast_fps": fps, "fast_frames": frames})})


def by_filter(case: FlowCase) -> VesselSegmentation:
    """Return the segmentation of the program's own ridge filter."""
    config = PipelineConfig()
    return vessels.segment(case.sub, case.maps, params=config.segment.model_copy(update={"method": "filter"}))


def run(quick: bool) -> dict[str, Any]:
    """Return all figures; `quick` takes one patient of each set."""
    params, config, measured_with = load_preset(PRESET), PipelineConfig(), state()
    segmentations: dict[str, Callable[[FlowCase], VesselSegmentation]] = {"true": true_vessels, "filter": by_filter}
    tallies = {name: Tally() for name in segmentations}
    for case in each_case(DEVELOPMENT_SEED, 1 if quick else 6, RUNS, params):
        for name, of in segmentations.items():
            measure_case(case, of(case), config, tallies[name])
    sets = {f"development, {name} mask": summarise(tally) for name, tally in tallies.items()}
    for fps, patients in RATES.items():
        tally = Tally()
        for case in each_case(NEW_SEED, 1 if quick else patients, ("frontal", "oblique"), at_rate(params, fps)):
            measure_case(case, true_vessels(case), config, tally)
        sets[f"new, {fps:g} frames/s"] = summarise(tally)
    return {
        "schema": "angio-pipeline/flow/1",
        "measured_with": measured_with,
        "preset": PRESET,
        "seeds": {"development": DEVELOPMENT_SEED, "new": NEW_SEED},
        "sets": sets,
    }


# --- the page -----------------------------------------------------------------------------------


def section(document: dict[str, Any]) -> str:
    """Return the page's section; it follows from the figures alone."""
    sets = document["sets"]
    true, own = sets["development, true mask"], sets["development, filter mask"]
    rates = {name: found for name, found in sets.items() if name.startswith("new")}
    parts = [
        f"Measured with {document['measured_with']}. Simulated patients, preset `{document['preset']}`: six\n"
        f"development patients (seed {document['seeds']['development']}, {true['runs']} runs: frontal, oblique, and "
        f"after embolisation), on whom the\nsettings were chosen, and new ones (seed {document['seeds']['new']}, "
        "frontal and oblique: four at 3 frames/s, two of\nthem at other rates). A median of all counts a branch "
        "without an answer as wrong.",
        "### Estimators, on the true mask\n\n" + estimator_table(true),
        "### How far the answers of this program go\n\n" + own_table({"true mask": true, "ridge filter's mask": own}),
        "### Slow and fast\n\nAll branches of 10 mm and more of the development patients, true mask, by their true "
        "velocity.\n\n" + own_table({"true mask": true}, by="speeds"),
        "### Frame rates, new patients, true mask\n\n" + own_table(rates),
    ]
    return "\n\n".join(parts)


def estimator_table(found: dict[str, Any]) -> str:
    """Return the median relative error of each estimator by length; what has no answer counts as wrong."""
    classes = found["classes"]
    head = " | ".join(f"{name} ({c['branches']})" for name, c in classes.items())
    lines = [f"| median relative error of velocity, in space | {head} |", "| --- |" + " ---: |" * len(classes)]
    names = list(next(iter(classes.values()))["estimators"])
    for name in names:
        cells = [_percent(c["estimators"].get(name, {}).get("error_space_all")) for c in classes.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def own_table(sets: dict[str, dict[str, Any]], by: str = "classes") -> str:
    """Return what this program's answers are worth: how many, how far off, and whether intervals hold."""
    lines = [
        "| runs | branches | transit, s | with a velocity | error in space | third quartile | error in projection "
        "| bias in projection | 95 % interval holds | artery unknown |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for where, found in sets.items():
        for name, c in found[by].items():
            if not c["branches"]:
                continue
            own = c["estimators"][OWN]
            bias = "–" if own["bias_projection"] is None else f"{100 * own['bias_projection']:+.0f} %"
            cells = [
                f"{c['transit_s']:.2f}",
                f"{own['answered']} of {c['branches']}",
                _percent(own["error_space"]),
                _percent(own["third_quartile_space"]),
                _percent(own["error_projection"]),
                bias,
                _percent(c["interval_holds"]),
                str(c["not_matched"]) if by == "classes" else "",
            ]
            lines.append(f"| {where} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"


def main() -> int:
    """Return 0 when everything was measured."""
    parser = argparse.ArgumentParser(description="Write benchmarks/flow.json and the figures of docs/flow.md.")
    parser.add_argument("--quick", action="store_true", help="one patient of each set; implies --print")
    parser.add_argument("--print", action="store_true", help="print the section and write nothing")
    given = parser.parse_args()
    hold_threads(1)
    document = run(given.quick)
    if given.quick or given.print:
        print(section(document))
        return 0
    write_figures(FIGURES, document)
    write_section(PAGE, "figures", SCRIPT, section(document))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
