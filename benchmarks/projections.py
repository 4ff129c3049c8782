"""What a second projection adds: feeders of one run alone and of both, against the truth of simulated patients.

Each patient's frontal and oblique runs are analysed by the real command, which joins them; the judge is that of `angio
evaluate`, once with each run's own probabilities and once with those by both views. The geometry is looked at by
itself: how far the true ends of feeders miss their lines after alignment, and what is left when the second run is
told to lie 12 mm off. Figures go to `benchmarks/projections.json` and `docs/projections.md`.

    .venv/bin/python benchmarks/projections.py [--patients DIR] [--results DIR] [--cases N] [--seed S] [--preset P]

`--patients` takes patients that are there (as `angio simulate` writes them) in place of new ones, `--results` an
analysis of them, of which only the pairs are made anew.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from angio_pipeline import batch, ingest, outputs
from angio_pipeline.batch.comparisons import analysed_runs, read_result
from angio_pipeline.batch.projections import join_task
from angio_pipeline.config import PipelineConfig
from angio_pipeline.evaluate.documents import RunPair, RunTruthDocument, pair_cases, truth_in_frame
from angio_pipeline.evaluate.feeders import match_feeders
from angio_pipeline.projections.alignment import align_views
from angio_pipeline.projections.geometry import PairGeometry, view_of
from pages import ROOT, angio, state, write_figures, write_section

SCRIPT = "benchmarks/projections.py"
FIGURES = ROOT / "benchmarks" / "projections.json"
PAGE = ROOT / "docs" / "projections.md"
CONFIG = PipelineConfig()
RUNS = ("frontal", "oblique")
DISPLACED_MM = (5.0, -4.0, 12.0)
Array = npt.NDArray[np.float64]


def files(patients: Path) -> list[Path]:
    """Return the runs of both views of every patient."""
    return [path for name in RUNS for path in sorted(patients.glob(f"*/dicom/day000/{name}.dcm"))]


def plan_of(patients: Path, work: Path) -> batch.Plan:
    """Return what there is to do with the runs of both views."""
    return batch.make_plan(ingest.discover(files(patients), workspace=work))


def geometry_rows(plan: batch.Plan, results: Path, truth: Path) -> Iterator[dict[str, Any]]:
    """Yield for each pair how well it is aligned, as its files tell it and with the second run displaced."""
    for task in plan.projections:
        folders = {run.name: run for run in outputs.read_subject(results / "subjects" / task.subject).runs}
        runs = sorted(analysed_runs(task.runs, folders), key=lambda one: one.item.source.description)
        first, second = (read_result(one, folders[one.folder], CONFIG) for one in runs[:2])
        views = tuple(view_of(one.run, params=CONFIG.projections.view) for one in (first, second))
        told = [
            truth_in_frame(
                next(truth.rglob(f"{r.run.source.sop_instance_uid}/truth.json")), r.subtracted.reference_frame
            ).truth
            for r in (first, second)
        ]
        points = true_ends(told[0], told[1])
        displaced = replace(views[1], shift_mm=DISPLACED_MM)
        row: dict[str, Any] = {"subject": task.subject, "ends": len(points[0])}
        for name, other in (("as told", views[1]), ("displaced", displaced)):
            start = PairGeometry(views[0], other, np.eye(5))
            pair, alignment = align_views((views[0], other), (first, second), params=CONFIG.projections.alignment)
            row[name] = {
                "before_mm": missed(start, points),
                "after_mm": missed(pair, points),
                "match": alignment.match,
                "sd_mm": alignment.sd_mm,
            }
        yield row


def true_ends(one: RunTruthDocument, other: RunTruthDocument) -> tuple[Array, Array]:
    """Return where true feeders end in both views; a feeder is known by its tumour and its share of the supply."""
    ends: tuple[list[Any], list[Any]] = ([], [])
    known = {(tumour.id, feeder.contribution): feeder for tumour in other.tumours for feeder in tumour.feeders}
    for tumour in one.tumours:
        for feeder in tumour.feeders:
            twin = known.get((tumour.id, feeder.contribution))
            if twin is not None:
                ends[0].append(feeder.centreline[-1])
                ends[1].append(twin.centreline[-1])
    return np.array(ends[0]).reshape(-1, 2), np.array(ends[1]).reshape(-1, 2)


def missed(pair: PairGeometry, points: tuple[Array, Array]) -> list[float]:
    """Return how far each point of the second view misses the line of the first, mm."""
    return [round(abs(float(v)), 2) for v in np.diag(pair.distances_mm(*points))]


def judged(pair: RunPair) -> list[dict[str, Any]]:
    """Return every listed feeder of one run: by itself, by both views, and whether it is one."""
    if pair.answer is None or pair.answer_dir is None:
        return []
    document = json.loads((pair.answer_dir / "analysis.json").read_text(encoding="utf-8"))
    out = []
    for answer, told in zip(pair.answer.tumours, document["tumours"], strict=True):
        for feeder, said in zip(answer.feeders, told["feeders"], strict=True):
            alone = pair.answer.model_copy(update={"tumours": (answer.model_copy(update={"feeders": (feeder,)}),)})
            calls = match_feeders(replace(pair, answer=alone)).calls
            both = said["two_views"]
            if calls:
                out.append(
                    {
                        "right": calls[0].right,
                        "alone": feeder.probability,
                        "both": feeder.probability if both is None else both["probability"],
                        "sight": "tumour not found there" if both is None else both["sight"],
                        "matched": both is not None and both["match"] is not None,
                    }
                )
    return out


def by_both(pair: RunPair) -> RunPair:
    """Return the answer with the probabilities by both views."""
    return pair if pair.answer is None else replace(pair, answer=pair.answer.by_both_views())


def scores(pairs: Sequence[RunPair]) -> dict[str, int]:
    """Return counts over runs: true feeders, calls of at least 0.5, and how many of them are right."""
    found = [match_feeders(pair) for pair in pairs]
    calls = [call for one in found for call in one.calls if call.probability >= 0.5]
    return {"truths": sum(one.truths for one in found), "calls": len(calls), "right": sum(c.right for c in calls)}


def measured(patients: Path, results: Path, work: Path) -> dict[str, Any]:
    """Return all figures of patients that were analysed and joined."""
    names = dict.fromkeys(path.stem for path in files(patients))
    views = {item.source.sop_instance_uid: item for item in ingest.discover(files(patients), workspace=work).runs}
    by_view: dict[str, list[RunPair]] = {name: [] for name in names}
    for case in pair_cases(patients, results).cases:
        for pair in case.runs:
            if pair.uid in views:
                by_view[Path(views[pair.uid].shown[0]).stem].append(pair)
    feeders = [row | {"view": name} for name, pairs in by_view.items() for pair in pairs for row in judged(pair)]
    return {
        "views": {
            name: {"alone": scores(pairs), "both": scores([by_both(pair) for pair in pairs])}
            for name, pairs in by_view.items()
        },
        "feeders": feeders,
        "geometry": list(geometry_rows(plan_of(patients, work), results, patients)),
    }


def brier(rows: Sequence[dict[str, Any]], key: str) -> float:
    """Return the mean squared difference of a probability and what is true."""
    return float(np.mean([(row[key] - row["right"]) ** 2 for row in rows])) if rows else float("nan")


def share(part: int, whole: int) -> str:
    """Return a share with its counts and its 95 % interval after Wilson (1927, doi:10.1080/01621459.1927.10502953)."""
    if whole == 0:
        return "–"
    p, z = part / whole, 1.96
    middle = (p + z**2 / (2 * whole)) / (1 + z**2 / whole)
    half = z * np.sqrt(p * (1 - p) / whole + z**2 / (4 * whole**2)) / (1 + z**2 / whole)
    return f"{part} of {whole}, {p:.2f} ({max(0.0, middle - half):.2f} to {min(1.0, middle + half):.2f})"


def section(figures: dict[str, Any]) -> str:
    """Return what is said of the figures in `docs/projections.md`."""
    lines = [
        f"Measured with {state()}: {figures['patients']},",
        "frontal and oblique runs (30° RAO, 10° cranial) analysed by the command; feeders judged as by",
        "`angio evaluate` and called from a probability of 0.5. Intervals (Wilson) take feeders for independent, which",
        "those of one patient are not.",
        "",
        "| run | probability | sensitivity | PPV |",
        "| --- | --- | --- | --- |",
    ]
    for name, found in figures["views"].items():
        for key, words in (("alone", "by the run alone"), ("both", "by both views")):
            one = found[key]
            lines.append(
                f"| {name} | {words} | {share(one['right'], one['truths'])} | {share(one['right'], one['calls'])} |"
            )
    rows = figures["feeders"]
    true = sum(row["right"] for row in rows)
    lines += [
        "",
        f"All {len(rows)} feeders listed in either run, {true} of them true. Mean",
        "squared error of the probability (Brier): "
        f"{brier(rows, 'alone'):.3f} by one run, {brier(rows, 'both'):.3f} by both.",
        "",
        "| what the other view shows | true | not true |",
        "| --- | ---: | ---: |",
    ]
    for kind in ("feeds, and calls it too", "feeds", "passes by", "cannot tell", "tumour not found there"):
        here = [row["right"] for row in rows if shown(row) == kind]
        lines.append(f"| {kind} | {sum(here)} | {len(here) - sum(here)} |")
    lines += ["", *geometry_words(figures["geometry"])]
    return "\n".join(lines)


def shown(row: dict[str, Any]) -> str:
    """Return what the other view shows of a listed feeder."""
    return "feeds, and calls it too" if row["matched"] else str(row["sight"])


def geometry_words(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return how far true ends of feeders miss their lines, as Markdown."""
    x, y, z = DISPLACED_MM
    lines = [
        f"True ends of {sum(row['ends'] for row in rows)} feeders against the lines of the same ends",
        "in the other view,",
        f"median and largest, mm; displaced: the second run is told to lie ({x:g}, {y:g}, {z:g}) mm (LPS) off.",
        "",
        "| | before alignment | after | correlation of contrast, least |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name in ("as told", "displaced"):
        before, after = (np.concatenate([row[name][key] for row in rows]) for key in ("before_mm", "after_mm"))
        match = min(row[name]["match"] for row in rows)
        ends = " | ".join(f"{np.median(one):.1f}, {one.max():.1f}" for one in (before, after))
        lines.append(f"| {name} | {ends} | {match:.2f} |")
    return lines


def main() -> int:
    """Measure, and write figures and section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=Path)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--cases", type=int, default=12)
    parser.add_argument("--seed", type=int, default=9410)
    parser.add_argument("--preset", default="clinical")
    parser.add_argument("--words", default="", help="what --patients are, for the page")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        patients, results = given.patients or work / "patients", given.results or work / "results"
        words = given.words or f"{given.cases} simulated patients, preset `{given.preset}`, seed {given.seed}"
        if given.patients is None:
            made = ("--cases", str(given.cases), "--seed", str(given.seed), "--preset", given.preset)
            angio("simulate", str(patients), "--runs-only", *made)
        if given.results is None:
            angio("run", *map(str, files(patients)), "--out", str(results), "--quiet")
        else:
            for task in plan_of(patients, work / "plan").projections:
                join_task(task, results / "subjects" / task.subject / task.folder, CONFIG)
        figures = {"patients": words, **measured(patients, results, work / "measured")}
    write_figures(FIGURES, figures)
    write_section(PAGE, "truth", SCRIPT, section(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
