"""Measure the pipeline on this machine and write down what came out, in `benchmarks/results.md`.

Cost is what `angio benchmark` measures; accuracy is what `angio evaluate` says of simulated patients
that `angio simulate` made from a seed of their own. Numbers quoted elsewhere come from here.

    .venv/bin/python benchmarks/measure.py [--cases N] [--preset easy|clinical|hard]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results.md")
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


def measure_accuracy(cases: int, preset: str) -> dict[str, Any]:
    """Return the document of `angio evaluate` for new simulated patients."""
    with tempfile.TemporaryDirectory() as folder:
        patients, out = str(Path(folder) / "patients"), str(Path(folder) / "out")
        angio("simulate", patients, "--cases", str(cases), "--seed", str(SEED), "--preset", preset)
        angio("run", patients, "--out", out, "--quiet")
        document: dict[str, Any] = json.loads(angio("evaluate", "--truth", patients, "--results", out, "--json"))
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


def main() -> int:
    """Return 0 when the results were written."""
    parser = argparse.ArgumentParser(description="Write benchmarks/results.md.")
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--preset", default="clinical")
    chosen = parser.parse_args()
    machine = f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, Python {platform.python_version()}"
    cost = cost_table(json.loads(angio("benchmark", "--json")))
    accuracy = accuracy_table(measure_accuracy(chosen.cases, chosen.preset))
    patients = f"{chosen.cases} simulated patients, preset `{chosen.preset}`, seed {SEED}"
    RESULTS.write_text(
        f"# What was measured\n\nWritten by `benchmarks/measure.py`, {angio('--version').strip()}.\n\n"
        f"## Cost\n\nFrom file to page, first start included. {machine}.\n\n{cost}\n\n"
        f"## Accuracy\n\n{patients}. No patient is among them.\n\n{accuracy}\n",
        encoding="utf-8",
    )
    print(RESULTS)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
