"""Simulate patients, analyse them, compare with their truth, and write down what came out.

Each step goes on where it ended, so that the script may be stopped and started again. Written:
`benchmarks/clinical.json` (every figure, and what it was made from) and the section of new patients in
`docs/accuracy.md`. With other cases than those of the page, the section is printed and nothing is written.

    .venv/bin/python benchmarks/clinical.py [--cases N] [--seed S] [--preset P] [--workers W] [--work FOLDER]
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pages import ROOT, accuracy_table, angio, feeder_words, keeping_work, state, write_figures, write_section

SCRIPT = "benchmarks/clinical.py"
FIGURES = ROOT / "benchmarks" / "clinical.json"
PAGE = ROOT / "docs" / "accuracy.md"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which patients; the defaults are those of the page. The seed is apart from the sample's."""

    cases: int = 20
    seed: int = 2026
    preset: str = "clinical"


def measure(choice: Choice, workers: int, work: Path) -> dict[str, Any]:
    """Return the figures: the document of `angio evaluate`, and what was evaluated."""
    patients, results = work / "patients", work / "results"
    options = ("--seed", str(choice.seed), "--preset", choice.preset, "--workers", str(workers))
    angio("simulate", str(patients), "--cases", str(choice.cases), *options)
    sources = sorted(patients.glob("case-*/dicom"))
    if len(sources) > choice.cases:
        raise SystemExit(f"Expected {choice.cases} patients in {patients}, found {len(sources)}; name another --work.")
    angio("run", *map(str, sources), "--out", str(results), "--quiet", "--workers", str(workers))
    said = angio("evaluate", "--truth", str(patients), "--results", str(results), "--json")
    made = json.loads((patients / "truth" / "simulation.json").read_text(encoding="utf-8"))
    return {
        "schema": "angio-pipeline/clinical/1",
        "patients": asdict(choice),
        "settings_digest": made["digest"],
        "measured_with": state(),
        "evaluation": json.loads(said),
    }


def section(figures: dict[str, Any]) -> str:
    """Return what is said of new patients in `docs/accuracy.md`; it follows from the figures alone."""
    patients, found = figures["patients"], figures["evaluation"]
    runs = f"{found['runs']} runs, {found['runs_without_result']} of them without a result"
    return (
        f"Measured with {figures['measured_with']}. {found['cases']} simulated, preset "
        f"`{patients['preset']}`, seed {patients['seed']},\nno region given; {runs}.\n"
        f"Intervals are 95 % bootstrap over patients. {feeder_words(found)}\n\n{accuracy_table(found)}"
    )


def main() -> int:
    """Return 0 when everything was measured."""
    standard = Choice()
    parser = argparse.ArgumentParser(description="Write benchmarks/clinical.json and its section of docs/accuracy.md.")
    parser.add_argument("--cases", type=int, default=standard.cases)
    parser.add_argument("--seed", type=int, default=standard.seed)
    parser.add_argument("--preset", default=standard.preset)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "clinical", help="patients and results, kept")
    given = parser.parse_args()
    choice = Choice(given.cases, given.seed, given.preset)
    with keeping_work(given.work):
        figures = measure(choice, given.workers, given.work)
    if choice != standard:
        print(section(figures))
        return 0
    write_figures(FIGURES, figures)
    write_section(PAGE, "clinical", SCRIPT, section(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
