"""Measure the pipeline on this machine and write down what came out.

Cost is what `angio benchmark` measures; accuracy is what `angio evaluate` says of the sample, and of
patients that `angio simulate` made from a seed of their own. Written: `benchmarks/results.md`,
`docs/accuracy.md`, and the table of costs in `README.md`. Numbers quoted elsewhere come from here.

    .venv/bin/python benchmarks/measure.py [--cases N] [--preset easy|clinical|hard]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "data" / "sample"
CASES = ("512x20", "1024x24", "1024x60")
SEED = 1000  # apart from the sample's, on which thresholds were looked at


def angio(*arguments: str) -> str:
    """Return what the command prints.

    Raises
    ------
    CalledProcessError
        When it fails.
    """
    command = [sys.executable, "-m", "angio_pipeline", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def measure_simulated(cases: int, preset: str) -> dict[str, Any]:
    """Return the document of `angio evaluate` for new simulated patients, with no region given."""
    with tempfile.TemporaryDirectory() as folder:
        patients = Path(folder)
        angio("simulate", folder, "--cases", str(cases), "--seed", str(SEED), "--preset", preset)
        return measure_accuracy(patients, sorted(patients.glob("case-*/dicom")))


def measure_accuracy(truth: Path, sources: list[Path]) -> dict[str, Any]:
    """Return the document of `angio evaluate` for an analysis of the sources."""
    with tempfile.TemporaryDirectory() as out:
        angio("run", *map(str, sources), "--out", out, "--quiet")
        document: dict[str, Any] = json.loads(angio("evaluate", "--truth", str(truth), "--results", out, "--json"))
        return document


def cost_table(rows: list[dict[str, Any]]) -> str:
    """Return wall time and peak memory as a Markdown table."""
    lines = ["| frame | frames | wall, s | peak memory, GB |", "| --- | ---: | ---: | ---: |"]
    lines += [f"| {r['size_px']}² | {r['frames']} | {r['wall_s']:.1f} | {r['peak_gb']:.2f} |" for r in rows]
    return "\n".join(lines)


def accuracy_table(document: dict[str, Any]) -> str:
    """Return the metrics as a Markdown table; unknown is a dash."""
    lines = ["| what | metric | value | 95 % interval | n |", "| --- | --- | ---: | ---: | ---: |"]
    for group, metrics in document["metrics"].items():
        for name, score in metrics.items():
            value = "–" if score["value"] is None else f"{score['value']:.3f}"
            ends = score["interval"]
            interval = "–" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}"
            lines.append(f"| {group} | {name.replace('_', ' ')} | {value} | {interval} | {score['count']} |")
    return "\n".join(lines)


def feeder_words(document: dict[str, Any]) -> str:
    """Return in a sentence how many feeders were listed, and how many of them as probable."""
    true, listed, found = (
        sum(run[key] for run in document["per_run"])
        for key in ("feeders_true", "feeders_listed_right", "feeders_found")
    )
    return f"Of {true} true feeders {listed} are listed, {found} of them with a probability of at least 0.5."


def state() -> str:
    """Return the version and the commit that were measured."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return angio("--version").strip() + (f", commit {commit.stdout.strip()}" if commit.returncode == 0 else "")


def sample_page() -> str:
    """Return `docs/accuracy.md`: the sample against its truth, with its regions and without."""
    given = measure_accuracy(SAMPLE, [SAMPLE])
    alone = measure_accuracy(SAMPLE, sorted(SAMPLE.glob("case-*/dicom")))
    return (
        f"# The sample against its truth\n\nWritten by `benchmarks/measure.py`, {state()}. One simulated patient of\n"
        "the preset `easy`, on which thresholds were chosen (which feeders are listed, the width of the oil's\n"
        "intervals): these figures are optimistic. A run or a date without an answer counts as wrong. "
        "New patients are in\n"
        "[benchmarks/results.md](../benchmarks/results.md).\n\n"
        "## With the regions that lie in the sample\n\n"
        "As `scripts/run` and then `angio evaluate --truth data/sample --results out/sample`. The regions are drawn\n"
        f"on follow-ups; on the runs tumours are detected. {feeder_words(given)}\n\n{accuracy_table(given)}\n\n"
        "## Without a region\n\nThe lesions of the follow-ups are looked for in the first scan.\n"
        f"{feeder_words(alone)}\n\n{accuracy_table(alone)}\n"
    )


def machine() -> str:
    """Return what is measured on, and how busy it is with other work (mean load of the last minute)."""
    here = f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, Python {platform.python_version()}"
    return f"{here}, load {os.getloadavg()[0]:.1f} from other work"


def results_page(cost: str, cases: int, preset: str) -> str:
    """Return `benchmarks/results.md`: what a run costs, and new simulated patients against their truth."""
    found = measure_simulated(cases, preset)
    return (
        f"# What was measured\n\nWritten by `benchmarks/measure.py`, {state()}.\n\n"
        f"## Cost\n\nFrom file to page, first start included, one worker.\n\n{cost}\n\n"
        f"## Accuracy\n\n{cases} simulated patients, preset `{preset}`, seed {SEED}, no region given. No real patient\n"
        f"is among them. {feeder_words(found)}\n\n{accuracy_table(found)}\n"
    )


def with_cost(readme: str, cost: str) -> str:
    """Return the README with its table of costs replaced."""
    marks = r"(<!-- cost: written by benchmarks/measure.py -->\n).*?(<!-- end of cost -->)"
    return re.sub(marks, lambda found: f"{found[1]}{cost}\n{found[2]}", readme, flags=re.DOTALL)


def main() -> int:
    """Return 0 when the results were written."""
    parser = argparse.ArgumentParser(description="Write benchmarks/results.md, docs/accuracy.md and README's costs.")
    parser.add_argument("--cases", type=int, default=3)
    parser.add_argument("--preset", default="clinical")
    chosen = parser.parse_args()
    options = [word for case in CASES for word in ("--case", case)]
    place = machine()
    cost = cost_table(json.loads(angio("benchmark", "--json", *options))) + f"\n\nMeasured on {place}."
    readme = ROOT / "README.md"
    pages = {
        readme: with_cost(readme.read_text(encoding="utf-8"), cost),
        ROOT / "benchmarks" / "results.md": results_page(cost, chosen.cases, chosen.preset),
        ROOT / "docs" / "accuracy.md": sample_page(),
    }
    for path, page in pages.items():
        path.write_text(page, encoding="utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
