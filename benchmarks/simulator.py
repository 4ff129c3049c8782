"""Measure what a simulated patient costs on this machine.

One patient is made in a process of its own, on one core, once to compile and once to be measured: the wall time
of each run and of the whole patient, and the process's peak memory. Then several patients by one worker and by
two. Written: `benchmarks/simulator.json` and the section of costs in `docs/simulator.md`.

    .venv/bin/python benchmarks/simulator.py [--preset P] [--cases N]
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import pydicom

from pages import ROOT, angio, machine, state, write_figures, write_section

SCRIPT = "benchmarks/simulator.py"
FIGURES = ROOT / "benchmarks" / "simulator.json"
PAGE = ROOT / "docs" / "simulator.md"
SEED = 2026
WORKERS = (1, 2)
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def make_one(out: Path, preset: str) -> dict[str, Any]:
    """Return what one patient costs in this process: seconds of each run and of all, peak memory in GB."""
    import cv2

    from angio_pipeline.simulate import load_preset
    from angio_pipeline.simulate.population import make_case

    cv2.setNumThreads(1)
    angiography: Any = importlib.import_module("angio_pipeline.simulate.angiography")
    writing: Any = importlib.import_module("angio_pipeline.simulate.writing")
    runs: list[float] = []
    # One call is one run, from the staging of its scene to its file and truth.
    angiography.write_run = _timed(angiography.write_run, runs)
    params, case = load_preset(preset), make_case(SEED, 0)
    start = perf_counter()
    writing.write_patient(out / case.name, case, params)
    wall = perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)
    return {"run_s": runs, "patient_s": wall, "peak_gb": peak, **_holds(out)}


def _timed(function: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
    def timed(*arguments: Any, **options: Any) -> Any:
        start = perf_counter()
        result = function(*arguments, **options)
        seconds.append(perf_counter() - start)
        return result

    return timed


def _holds(out: Path) -> dict[str, Any]:
    # What was made, counted in the files: runs with their sizes, films, series of CT.
    runs, films, scans = [], Counter[str](), set()
    for path in sorted(out.rglob("*.dcm")):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        if header.Modality == "CT":
            scans.add(header.SeriesInstanceUID)
        elif header.Modality == "XA" and int(header.get("NumberOfFrames", 1)) > 1:
            runs.append((int(header.Rows), int(header.NumberOfFrames)))
        elif header.Modality in ("XA", "DX", "CR"):
            films[header.Modality] += 1
    return {"runs": runs, "films": dict(films), "scans": len(scans)}


def measure_patient(preset: str) -> dict[str, Any]:
    """Return what one patient costs on one core, in a fresh process whose code is compiled already."""
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--child", folder, "--preset", preset]
            said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | _ONE_THREAD)
    found: dict[str, Any] = json.loads(said.stdout)
    return found


def measure_workers(preset: str, cases: int) -> list[dict[str, Any]]:
    """Return the wall time of `cases` patients by each number of workers."""
    rows = []
    for workers in WORKERS:
        with tempfile.TemporaryDirectory() as folder:
            start = perf_counter()
            options = ("--seed", str(SEED), "--preset", preset, "--workers", str(workers))
            angio("simulate", folder, "--cases", str(cases), *options)
            rows.append({"workers": workers, "cases": cases, "wall_s": perf_counter() - start})
    return rows


def section(figures: dict[str, Any]) -> str:
    """Return the table of costs; it follows from the figures alone."""
    one, many = figures["patient"], figures["workers"]
    films = ", ".join(f"{count} {kind}" for kind, count in sorted(one["films"].items())) or "none"
    rows = [
        f"| run of {rows}² × {frames} frames, one core | {seconds:.1f} s |"
        for (rows, frames), seconds in zip(one["runs"], one["run_s"], strict=True)
    ]
    rows += [
        f"| whole patient ({len(one['runs'])} runs; radiographs: {films}; {one['scans']} CT series), one core "
        f"| {one['patient_s']:.1f} s |",
        f"| peak memory of that process | {one['peak_gb']:.2f} GB |",
    ]
    for row in many:
        gain = many[0]["wall_s"] / row["wall_s"]
        rows.append(f"| {row['cases']} patients, `--workers {row['workers']}` | {row['wall_s']:.0f} s ({gain:.2f} ×) |")
    return (
        "| what | cost |\n| --- | ---: |\n"
        + "\n".join(rows)
        + f"\n\nPreset `{figures['preset']}`, {figures['measured_with']}, "
        f"on {figures['machine']}; the times include writing the files\nand the truth."
    )


def main() -> int:
    """Return 0 when everything was measured."""
    parser = argparse.ArgumentParser(description="Write benchmarks/simulator.json and the costs in docs/simulator.md.")
    parser.add_argument("--preset", default="clinical")
    parser.add_argument("--cases", type=int, default=4, help="patients for the comparison of workers")
    parser.add_argument("--print", action="store_true", help="print the table and write nothing")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child is not None:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        print(json.dumps(make_one(given.child, given.preset)))
        return 0
    figures = {
        "schema": "angio-pipeline/simulator-cost/1",
        "preset": Path(given.preset).name,
        "measured_with": state(),
        "machine": machine(),
        "patient": measure_patient(given.preset),
        "workers": measure_workers(given.preset, given.cases),
    }
    if given.print:
        print(section(figures))
        return 0
    write_figures(FIGURES, figures)
    write_section(PAGE, "cost", SCRIPT, section(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
