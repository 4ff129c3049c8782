"""Measure feeders and targets on held-out patients as they were asked for, and say why feeders are missed.

A hundred simulated patients of each of `clinical` and `hard`, of seeds that no training ever sees. Of each patient
the frontal run is analysed by itself, then with the oblique run beside it, then with the regions of its tumours given;
`angio evaluate` judges these runs and no others, and a run without a result counts as nothing found. Each step goes on
where it ended, so that the script may be stopped and started again. Written: `benchmarks/feeders.json` and the section
of feeders in `docs/accuracy.md`. With fewer patients than those of the page, the section is printed and nothing is
written, unless `--write` is given.

    .venv/bin/python benchmarks/feeders.py [--cases N] [--workers W] [--work FOLDER] [--only clinical|hard] [--write]

Patients lie in FOLDER/<preset>/patients (a copy of those of `benchmarks/networks.py`, which are the first fifty, may
be put there to begin with); what each run scored and pictures of the worst runs come to lie beside them, in
`per-run.json` and `worst`.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from angio_pipeline.evaluate.answers import find_runs
from angio_pipeline.evaluate.causes import FalseCause, MissedCause
from angio_pipeline.evaluate.documents import truth_in_frame
from feeder_pictures import draw_worst
from pages import ROOT, angio, keeping_work, state, uid_of, value_of, write_parts, write_section

SCRIPT = "benchmarks/feeders.py"
FIGURES = ROOT / "benchmarks" / "feeders.json"
PAGE = ROOT / "docs" / "accuracy.md"
CASES = 100
SEEDS = {"clinical": 5001, "hard": 5002}
RESAMPLES = 1000
WORST = 6
Row = dict[str, Any]


def measure_preset(preset: str, cases: int, workers: int, work: Path) -> dict[str, Any]:
    """Return what was found in the patients of one preset, by one run, by two, and with regions given."""
    patients = work / preset / "patients"
    options = ("--seed", str(SEEDS[preset]), "--preset", preset, "--workers", str(workers), "--runs-only")
    angio("simulate", str(patients), "--cases", str(cases), *options)
    folders = sorted(patients.glob("case-*"))[:cases]
    frontal, oblique = ([folder / "dicom" / "day000" / f"{name}.dcm" for folder in folders] for name in VIEWS)
    alone, both, given = (work / preset / name for name in ("frontal", "both", "region"))
    analyse(frontal, alone, workers)
    start_from(alone, both)
    analyse([*frontal, *oblique], both, workers)
    analyse(frontal, given, workers, regions=write_regions(frontal, alone, work / preset / "regions"))
    told = {
        "frontal": judge(patients, alone, frontal),
        "region": judge(patients, given, frontal),
        "frontal by both": judge(patients, both, frontal, "--both-views"),
        "oblique": judge(patients, both, oblique),
        "oblique by both": judge(patients, both, oblique, "--both-views"),
    }
    rows = {name: one.pop("per_run") for name, one in told.items()}
    for name, results in (("frontal", alone), ("region", given)):
        draw_worst(patients, results, rows[name], work / preset / "worst" / name, count=WORST)
    # What every run scored stays beside the results: the page speaks of means.
    (work / preset / "per-run.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return {
        "evaluations": told,
        "causes": {name: causes(rows[name]) for name in ("frontal", "region")},
        "gain": {name: gain(rows["frontal"], rows["frontal by both"], of) for name, of in GAINS.items()},
    }


VIEWS = ("frontal", "oblique")
GAINS = {"sensitivity": "feeders_true", "ppv": "feeders_called"}


def analyse(files: Sequence[Path], results: Path, workers: int, *, regions: Sequence[Path] = ()) -> None:
    """Analyse runs by the command; what was analysed before stays."""
    drawn = [word for path in regions for word in ("--roi", str(path))]
    angio("run", *map(str, files), "--out", str(results), *drawn, "--quiet", "--workers", str(workers))


def start_from(results: Path, other: Path) -> None:
    """Copy results to where nothing is yet, so that the same runs are not analysed again."""
    if not other.exists():
        half = other.with_name(f"{other.name}-half")
        shutil.rmtree(half, ignore_errors=True)
        shutil.copytree(results, half)
        half.rename(other)


def write_regions(files: Sequence[Path], results: Path, place: Path) -> list[Path]:
    """Return a file for each visible tumour of these runs, named as the command wants regions named.

    Drawn where a user would draw it: in the frame that the result shows.
    """
    place.mkdir(parents=True, exist_ok=True)
    frames = {uid: answer.subtraction.reference_frame for uid, (answer, _) in find_runs(results, []).items()}
    out = []
    for file in files:
        uid = uid_of(file)
        told = truth_in_frame(file.parents[2] / "truth" / uid / "truth.json", frames.get(uid))
        for tumour in told.truth.tumours:
            out.append(place / f"{uid}-{tumour.id}.png")
            cv2.imwrite(str(out[-1]), np.asarray(255 * told.truth_mask(tumour.mask), np.uint8))
    return out


def judge(patients: Path, results: Path, files: Sequence[Path], *options: str) -> dict[str, Any]:
    """Return the document of `angio evaluate` on these runs alone."""
    runs = [word for file in files for word in ("--run", uid_of(file))]
    said = angio("evaluate", "--truth", str(patients), "--results", str(results), *runs, *options, "--json")
    document: dict[str, Any] = json.loads(said)
    return document


def causes(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """Return how many feeders were missed, and how many called wrongly, by cause."""
    return {
        kind: dict(sum((Counter(row[f"feeders_{kind}_because"]) for row in rows), Counter()))
        for kind in ("missed", "false")
    }


def gain(before: Sequence[Row], after: Sequence[Row], below: str) -> dict[str, Any]:
    """Return by how much a share of found feeders grows, and its 95 % bootstrap interval over patients."""
    names = sorted({row["case"] for row in before})
    sums = np.array(
        [
            [sum(row[key] for row in rows if row["case"] == name) for rows in (before, after) for key in (FOUND, below)]
            for name in names
        ],
        float,
    )
    drawn = np.random.default_rng(0).integers(0, len(names), (RESAMPLES, len(names)))
    draws = [value for value in map(_growth, sums[drawn].sum(axis=1)) if value is not None]
    ends = [float(end) for end in np.percentile(draws, [2.5, 97.5])] if draws and len(names) > 1 else None
    return {"value": _growth(sums.sum(axis=0)), "interval": ends}


FOUND = "feeders_found"


def _growth(sums: Any) -> float | None:
    found, of, found_after, of_after = sums
    return float(found_after / of_after - found / of) if of and of_after else None


# What is looked at, as `angio evaluate` groups it, and the least (>=) or greatest (<=) value that was asked for.
ASKED: tuple[tuple[str, str, str, str, Mapping[str, float]], ...] = (
    ("feeders", "sensitivity", "feeders, sensitivity", "≥", {"clinical": 0.90, "hard": 0.80}),
    ("feeders", "ppv", "feeders, positive predictive value", "≥", {"clinical": 0.93, "hard": 0.90}),
    ("feeders", "average_precision", "feeders, average precision", "", {}),
    ("feeders", "calibration_error", "feeders, expected calibration error", "≤", {"clinical": 0.05, "hard": 0.05}),
    ("targets", "on_true_branch", "targets on the true branch", "≥", {"clinical": 0.90, "hard": 0.90}),
    ("targets", "branches_covered", "true branches that hold a target", "", {}),
    ("tumours", "sensitivity", "tumours found", "", {}),
    ("tumours", "false_positives_per_run", "tumours wrongly called, a run", "", {}),
    ("shunts", "sensitivity", "shunts, sensitivity", "≥", {"clinical": 0.85, "hard": 0.85}),
    ("shunts", "specificity", "shunts, specificity", "≥", {"clinical": 0.95, "hard": 0.95}),
    ("catheter", "found", "catheter's tip within 3 mm", "≥", {"clinical": 0.95, "hard": 0.95}),
)
WITH_REGION = 0.95
BY_TWO_VIEWS = 0.03

MISSED: Mapping[StrEnum, str] = {
    MissedCause.NO_RESULT: "the run has no result",
    MissedCause.NO_TUMOUR: "no tumour that was called meets the true one",
    MissedCause.AMBIGUOUS: "listed below a probability of 0.5, and flagged: a crossing or a bifurcation",
    MissedCause.IMPROBABLE: "listed below a probability of 0.5",
    MissedCause.SHARED: "one listed feeder covers it and another true one, and was taken for the other",
    MissedCause.NOT_SEGMENTED: "less than 70 % of its own course lies within 3 mm of the artery mask",
    MissedCause.NOT_IN_TREE: "it does of the mask, but not of all branches of the tree together",
    MissedCause.NO_WAY: "it does of the branches, but of no way down them: a crossing taken for a bifurcation, a wrong"
    " direction, a broken tree",
    MissedCause.NOT_LISTED: "a way of the tree covers it, and is not listed as a feeder of this tumour",
}
FALSE: Mapping[StrEnum, str] = {
    FalseCause.NO_TUMOUR: "its tumour is none",
    FalseCause.TWICE: "it covers a true feeder that a more probable one was taken for",
    FalseCause.OTHER_TUMOUR: "it covers a true feeder of another tumour",
    FalseCause.IN_PART: "it covers 30 to 70 % of a true feeder of its tumour",
    FalseCause.NO_ARTERY: "less than 70 % of its own course lies within 3 mm of a true artery: vein, blush, noise",
    FalseCause.PASSES: "it runs along a true artery that does not feed this tumour",
}


def section(figures: dict[str, Any]) -> str:
    """Return what is said of feeders in `docs/accuracy.md`; it follows from the figures alone."""
    presets = [preset for preset in SEEDS if preset in figures]
    parts = [preset_words(preset, figures[preset]) for preset in presets]
    parts += [missed_words(presets, figures), false_words(presets, figures)]
    return "\n\n".join(parts)


def preset_words(preset: str, found: dict[str, Any]) -> str:
    """Return the tables of one preset."""
    told = found["evaluations"]
    alone, given = told["frontal"], told["region"]
    lines = [
        f"### {found['cases']} patients of preset `{preset}`",
        "",
        f"Measured with {found['measured_with']}; seed {found['seed']}. One frontal run of each patient,"
        f" {alone['runs_without_result']} of {alone['runs']} without a result, which count as nothing found. Intervals"
        " are 95 % bootstrap over patients.",
        "",
        "| what | asked | one frontal run | reached | n | tumours' regions given |",
        "| --- | ---: | ---: | --- | ---: | ---: |",
    ]
    for group, key, words, sign, wanted in ASKED:
        score = alone["metrics"][group][key]
        asked, verdict = "–", "–"
        if preset in wanted:
            asked, verdict = f"{sign} {wanted[preset]:.2f}", reached(score["value"], sign, wanted[preset])
        lines.append(
            f"| {words} | {asked} | {value_of(score)} | {verdict} | {score['count']} |"
            f" {value_of(given['metrics'][group][key])} |"
        )
    sensitivity = given["metrics"]["feeders"]["sensitivity"]["value"]
    lines += [
        "",
        f"With the regions of its visible tumours given, a sensitivity of at least {WITH_REGION:.2f} was asked:"
        f" {'not reached' if reached(sensitivity, '≥', WITH_REGION) != 'yes' else 'reached'}. Tumours are then those"
        " that were given.",
        "",
        *two_view_lines(found),
    ]
    return "\n".join(lines)


def two_view_lines(found: dict[str, Any]) -> list[str]:
    """Return the table of one run and of two."""
    lines = [
        "The frontal and the oblique run together, joined by the command ([two projections](projections.md)):",
        "",
        "| run | probability | sensitivity | PPV | average precision | calibration error |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for name, told in found["evaluations"].items():
        if name == "region":
            continue
        view, _, both = name.partition(" by ")
        feeders = told["metrics"]["feeders"]
        keys = ("sensitivity", "ppv", "average_precision", "calibration_error")
        values = " | ".join(value_of(feeders[key]) for key in keys)
        lines.append(f"| {view} | {'by both views' if both else 'by the run alone'} | {values} |")
    grown = found["gain"]
    verdict = reached(grown["sensitivity"]["value"], "≥", BY_TWO_VIEWS)
    return [
        *lines,
        "",
        f"By both views the frontal run's sensitivity changes by {points(grown['sensitivity'])}, its PPV by"
        f" {points(grown['ppv'])}; {100 * BY_TWO_VIEWS:.0f} points more of sensitivity were asked:"
        f" {'reached' if verdict == 'yes' else 'not reached'}.",
    ]


def reached(value: float | None, sign: str, wanted: float) -> str:
    """Return whether a value is what was asked for; a dash where it is not known."""
    if value is None:
        return "–"
    return "yes" if (value >= wanted if sign == "≥" else value <= wanted) else "no"


def points(score: Mapping[str, Any]) -> str:
    """Return a difference of shares in points, with its interval."""
    if score["value"] is None:
        return "an unknown number of points"
    ends = score["interval"]
    told = f" ({100 * ends[0]:+.1f} to {100 * ends[1]:+.1f})" if ends is not None else ""
    return f"{100 * score['value']:+.1f} points{told}"


def missed_words(presets: Sequence[str], figures: dict[str, Any]) -> str:
    """Return the table of true feeders that were missed."""
    lines = [
        "### Why true feeders are missed",
        "",
        "Each under the first cause that applies, from top to bottom; told from the masks, the tree and the list that a"
        " result consists of. 3 mm is 12 px where there is no spacing.",
        "",
        *cause_table("missed", MISSED, presets, figures),
    ]
    return "\n".join(lines)


def false_words(presets: Sequence[str], figures: dict[str, Any]) -> str:
    """Return the table of feeders that were called and are none."""
    lines = [
        "### Why false feeders are called",
        "",
        "Called at a probability of at least 0.5, again under the first cause that applies. Calls that fit a faint"
        " feeder, or that belong to a tumour that cannot be seen, are neither right nor wrong and are not among them.",
        "",
        *cause_table("false", FALSE, presets, figures),
    ]
    return "\n".join(lines)


def cause_table(kind: str, words: Mapping[StrEnum, str], presets: Sequence[str], figures: dict[str, Any]) -> list[str]:
    """Return the counts of every cause, a column for each preset without and with regions."""
    columns = [(preset, way) for preset in presets for way in ("frontal", "region")]
    counts = [figures[preset]["causes"][way][kind] for preset, way in columns]
    heads = [f"`{preset}`{', regions given' if way == 'region' else ''}" for preset, way in columns]
    lines = [f"| cause | what it means | {' | '.join(heads)} |", f"| --- | --- |{' ---: |' * len(columns)}"]
    for cause, meaning in words.items():
        lines.append(f"| {cause} | {meaning} | {' | '.join(str(count.get(cause, 0)) for count in counts)} |")
    lines.append(f"| all | | {' | '.join(str(sum(count.values())) for count in counts)} |")
    return lines


def main() -> int:
    """Return 0 when everything was measured."""
    parser = argparse.ArgumentParser(description="Write benchmarks/feeders.json and its section of docs/accuracy.md.")
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "feeders", help="patients and results, kept")
    parser.add_argument("--only", choices=list(SEEDS), help="measure one preset and leave the other's figures")
    parser.add_argument("--write", action="store_true", help=f"write figures of other than {CASES} patients, too")
    given = parser.parse_args()
    figures: dict[str, Any] = {}
    for preset in [given.only] if given.only else SEEDS:
        with keeping_work(given.work):
            found = measure_preset(preset, given.cases, given.workers, given.work)
        figures[preset] = {**found, "cases": given.cases, "seed": SEEDS[preset], "measured_with": state()}
    if given.cases != CASES and not given.write:
        print(section(figures))
        return 0
    figures = write_parts(FIGURES, figures)
    write_section(PAGE, "feeders", SCRIPT, section(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
