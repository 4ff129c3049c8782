"""What cohort statistics are worth, and what they cost, measured and written into `docs/cohort.md`.

    .venv/bin/python benchmarks/cohort.py [--only coverage|null|cost] [--repeats N] [--write]

Coverage: 300 simulated patients with known effects, again and again; how often each 95 % interval holds the truth.
Null: the same with arms that differ in name only; how often each test gives p below 0.05. Cost: 5 000 patients with two
lesions at six dates each, each judged by every criterion and convention, from files to `cohort.html` through the
command.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pages import ROOT, machine, state, write_parts, write_section

sys.path.insert(0, str(ROOT / "tests" / "scenes"))

from cohort_files import write_registry
from cohort_truth import analysed, effective_cohort, estimates, holds, null_cohort, p_values, truths

from angio_pipeline.ingest.pseudonym import pseudonym, read_key
from angio_pipeline.simulate.cohort import CohortParams
from angio_pipeline.simulate.registry import RegistryParams, draw_registry

SCRIPT = "benchmarks/cohort.py"
FIGURES = ROOT / "benchmarks" / "cohort.json"
PAGE = ROOT / "docs" / "cohort.md"
FIRST_SEED, FIRST_NULL_SEED = 1_000, 50_000
PATIENTS, LESIONS = 5_000, 2
EVERY = 10


def measure_coverage(repeats: int) -> Iterator[dict[str, Any]]:
    """Yield for each estimate how many of its intervals hold the truth; an estimate that is missing holds nothing."""
    cohort, here = effective_cohort(), state()
    true = truths(cohort)
    # The reference arm has no hazard ratio.
    held = {name: 0 for name in true if name != f"log hazard, {cohort.arms[0].name}"}
    for done in range(1, repeats + 1):
        for name, one in estimates(analysed(cohort, FIRST_SEED + done)):
            held[name] += holds(one, true[name])
        yield {"repeats": done, "state": here, "held": held}


def measure_null(repeats: int) -> Iterator[dict[str, Any]]:
    """Yield for each test how often p is below 0.05 where nothing differs."""
    cohort, here = null_cohort(), state()
    positive: Counter[str] = Counter()
    for done in range(1, repeats + 1):
        told = p_values(analysed(cohort, FIRST_NULL_SEED + done))
        positive.update({name: int(p < 0.05) for name, p in told.items()})
        yield {"repeats": done, "state": here, "positive": dict(positive)}


def measure_cost() -> Iterator[dict[str, Any]]:
    """Yield wall time, processor time and greatest memory of the command on 10 000 lesions at six dates."""
    folder = Path(tempfile.mkdtemp(prefix="angio-cohort-"))
    try:
        environment = {**os.environ, "ANGIO_PSEUDONYM_KEY_FILE": str(folder / "key")}
        os.environ |= environment
        key, cohort = read_key(), CohortParams(arms=effective_cohort().arms)
        patients = draw_registry(PATIENTS, 7, cohort, RegistryParams(lesions=LESIONS))
        names = {p.patient_id: pseudonym(p.patient_id, key=key) for p in patients}
        out, records = write_registry(folder, patients, cohort, names, judged=True)
        command = [sys.executable, "-m", "angio_pipeline", "cohort", str(out), "--records", str(records)]
        command += ["--out", str(folder / "tables"), "--necrosis-at", "60"]
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        wall_s = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        page_kb = (folder / "tables" / "cohort.html").stat().st_size / 1000
        yield {
            "lesions": PATIENTS * LESIONS,
            "dates": len(patients[0].days),
            "wall_s": wall_s,
            "cpu_s": cpu_s,
            "peak_gb": after.ru_maxrss / 1e6,
            "page_kb": page_kb,
            "machine": machine(),
            "state": state(),
        }
    finally:
        shutil.rmtree(folder)


def section(figures: dict[str, Any]) -> str:
    """Return what the page says of the figures."""
    parts = [f"Written by `{SCRIPT}`."]
    if "coverage" in figures:
        parts.append(_coverage_words(figures["coverage"]))
    if "null" in figures:
        parts.append(_null_words(figures["null"]))
    if "cost" in figures:
        cost = figures["cost"]
        parts.append(
            f"**Cost** ({cost['state']}; {cost['machine']}). {cost['lesions']} lesions at {cost['dates']} dates, from "
            "files to "
            f"`cohort.html` ({cost['page_kb']:.0f} kB): {cost['wall_s']:.1f} s of wall time, {cost['cpu_s']:.1f} s of "
            "one "
            f"processor, {cost['peak_gb']:.2f} GB."
        )
    return "\n\n".join(parts)


def _coverage_words(told: dict[str, Any]) -> str:
    held, repeats = told["held"], told["repeats"]
    share = 100 * sum(held.values()) / (len(held) * repeats)
    lines = ["| estimate | intervals that hold the truth, % |", "| --- | ---: |"]
    lines += [f"| {name} | {100 * count / repeats:.1f} |" for name, count in held.items()]
    table = "\n".join(lines)
    return (
        f"**Coverage** ({told['state']}). {repeats} simulated cohorts of 300 patients with known effects; of all "
        "intervals of "
        f"nominally 95 %, {share:.1f} % hold the truth. Chance alone moves one row by {_chance(0.95, repeats):.1f} "
        "points "
        f"(standard error).\n\n{table}"
    )


def _null_words(told: dict[str, Any]) -> str:
    repeats = told["repeats"]
    lines = ["| hypothesis, true here | p below 0.05, % |", "| --- | ---: |"]
    lines += [f"| {name} | {100 * count / repeats:.1f} |" for name, count in told["positive"].items()]
    table = "\n".join(lines)
    return (
        f"**False positives** ({told['state']}). {repeats} simulated cohorts of 300 patients in which arms differ in "
        "name only. "
        f"Chance alone moves a row by {_chance(0.05, repeats):.1f} points (standard error).\n\n{table}"
    )


def _chance(share: float, repeats: int) -> float:
    return float(100 * (share * (1 - share) / repeats) ** 0.5)


def main() -> None:
    """Measure what is asked for, keep the figures, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("coverage", "null", "cost"))
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--write", action="store_true", help="write the figures' page, without measuring")
    given = parser.parse_args()
    measures: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
        "coverage": lambda: measure_coverage(given.repeats),
        "null": lambda: measure_null(given.repeats),
        "cost": measure_cost,
    }
    for name, measure in measures.items():
        for part in measure() if not given.write and given.only in (None, name) else ():
            # Hours are not lost when it is stopped: what is done is kept, with its number.
            if name == "cost" or part["repeats"] % EVERY == 0 or part["repeats"] == given.repeats:
                write_parts(FIGURES, {name: part})
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    write_section(PAGE, "cohort figures", SCRIPT, section(figures))
    print(section(figures))


if __name__ == "__main__":
    main()
