"""Measure what a batch costs beside its tasks: two workers against one, what the engine adds, what memory does.

Runs of the sample's first run, resampled, each of a patient of its own, go through the real command on Dask. Times
are those of its log. Then 500 small runs for the memory of the main process and of the workers, and a simulated
schedule of a million runs (`schedule.py`). Written: `benchmarks/batch.json` and two sections of `docs/scale.md`.

    .venv/bin/python benchmarks/batch.py [--only speed|memory|schedule] [--runs N] [--print]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import pydicom

from angio_pipeline.benchmark import BenchmarkCase, write_resampled
from pages import ROOT, angio, machine, state, write_parts, write_section
from schedule import Assumptions, schedule_table, simulate_schedule

sys.path.insert(0, str(ROOT / "tests" / "scenes"))
from small_runs import FAST, write_small_runs

SCRIPT = "benchmarks/batch.py"
FIGURES = ROOT / "benchmarks" / "batch.json"
PAGE = ROOT / "docs" / "scale.md"
SAMPLE_RUN = ROOT / "data" / "sample" / "case-000" / "dicom" / "day000" / "frontal.dcm"
CASE = BenchmarkCase(512, 20)
SMALL_RUNS = 500
WORKERS = (1, 2)
CLUSTERS = (100, 200, 500, 1000)
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def write_runs(folder: Path, count: int) -> None:
    """Write `count` runs of the size measured, each of a patient of its own."""
    write_resampled(SAMPLE_RUN, folder / "run-000.dcm", CASE)
    dataset = pydicom.dcmread(folder / "run-000.dcm")
    for k in range(count):
        dataset.PatientID = f"batch-{k}"
        uid = pydicom.uid.UID(f"1.2.826.0.1.3680043.8.498.9.{k + 1}")
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
        dataset.SeriesInstanceUID = f"1.2.826.0.1.3680043.8.498.8.{k + 1}"
        dataset.save_as(folder / f"run-{k:03d}.dcm", enforce_file_format=True)


def measure_batch(source: Path, out: Path, workers: int, *options: str, state: str = "analysed") -> dict[str, Any]:
    """Return what one batch on Dask took, from its own log; all its tasks have to end in the given state."""
    start = perf_counter()
    angio("run", str(source), "--out", str(out), "--workers", str(workers), "--scheduler", "local", "--quiet", *options)
    wall = perf_counter() - start
    log = max((out / "logs").glob("*.jsonl"))
    events = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    at = {event["event"]: event["elapsed_s"] for event in events}
    tasks = [event for event in events if event["event"] == "task"]
    if any(task["state"] != state for task in tasks):
        raise SystemExit(f"Expected every run to be {state}, found some that were not.")
    work = max(task["elapsed_s"] for task in tasks) - at["engine"]
    seconds = [task["seconds"] for task in tasks]
    return {
        "workers": workers,
        "runs": len(tasks),
        "wall_s": wall,
        "start_s": at["engine"],
        "work_s": work,
        "pages_s": at["end"] - at["reports"],
        "task_s": seconds,
        "overhead": 1 - sum(seconds) / workers / work,
        "stages_s": {name: sum(t["stages"].get(name, 0.0) for t in tasks) / len(tasks) for name in tasks[0]["stages"]},
        "memory": [(task["main_mb"], task["peak_mb"]) for task in tasks],
    }


def measure_speed(runs: int, repeats: int) -> dict[str, Any]:
    """Return the batches by one worker and by two, in turn, the quickest of each kept."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "in").mkdir()
        write_runs(place / "in", runs)
        # What is compiled once a machine is compiled here.
        measure_batch(place / "in" / "run-000.dcm", place / "warm", 1)
        rows = [
            measure_batch(place / "in", place / f"out-{workers}-{k}", workers)
            for k in range(repeats)
            for workers in WORKERS
        ]
        file_mb = (place / "in" / "run-000.dcm").stat().st_size / 1e6
    best = [min((row for row in rows if row["workers"] == w), key=lambda row: row["wall_s"]) for w in WORKERS]
    return {"case": f"{CASE.size_px}x{CASE.frames}", "file_mb": file_mb, "machine": machine(), "batches": best}


def measure_memory(runs: int) -> dict[str, Any]:
    """Return what the main process and the workers held after the first tasks and after all."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "fast.toml").write_text(FAST)
        write_small_runs(place / "in", runs)
        options = ("--config", str(place / "fast.toml"))
        found = measure_batch(place / "in", place / "out", 2, *options)
        again = measure_batch(place / "in", place / "out", 2, *options, state="resumed")
    held = {}
    for name, column in (("main_mb", 0), ("worker_mb", 1)):
        values = [row[column] for row in found["memory"]]
        held[name] = {str(n): median(values[n - 20 : n]) for n in (runs // 5, runs)}
    keep = ("runs", "wall_s", "work_s", "pages_s", "overhead", "start_s")
    return {**held, "again_s": again["work_s"], **{name: found[name] for name in keep}, "machine": machine()}


def cost_section(figures: dict[str, Any]) -> str:
    """Return what is said of the costs; it follows from the figures alone."""
    speed, memory = figures["speed"], figures["memory"]
    one, two = speed["batches"]
    lines = ["| | 1 worker | 2 workers | ratio |", "| --- | ---: | ---: | ---: |"]
    for label, name in (
        ("whole command", "wall_s"),
        ("tasks (from the engine's start to the last outcome)", "work_s"),
        ("start, headers and cluster", "start_s"),
        ("pages and tables", "pages_s"),
    ):
        lines.append(f"| {label} | {one[name]:.1f} s | {two[name]:.1f} s | {one[name] / two[name]:.2f} |")
    one_s, two_s = (median(row["task_s"]) for row in (one, two))
    lines.append(f"| one task, median | {one_s:.2f} s | {two_s:.2f} s | {one_s / two_s:.2f} |")
    lines.append(f"| engine: time of workers without a task | {one['overhead']:.1%} | {two['overhead']:.1%} | |")
    stages = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in one["stages_s"].items() if seconds >= 0.005)
    small = [f"| {n} | {memory['main_mb'][n]:.0f} MB | {memory['worker_mb'][n]:.0f} MB |" for n in memory["main_mb"]]
    return (
        f"{one['runs']} runs of {speed['case'].replace('x', '² × ')} frames, {speed['file_mb']:.1f} MB each, a patient "
        f"each, on Dask; one thread a worker.\n\n" + "\n".join(lines) + f"\n\nOn {speed['machine']}; "
        f"{figures['measured_with']}. Of one task by one worker, mean: {stages}.\n\n"
        f"Memory over {memory['runs']} small runs on two workers (medians of 20 tasks; of a worker, its greatest "
        "within a task):\n\n| after tasks | main process | a worker |\n| ---: | ---: | ---: |\n"
        + "\n".join(small)
        + f"\n\nThese took {memory['work_s']:.0f} s, workers without a task {memory['overhead']:.1%} of it; pages and "
        f"tables {memory['pages_s']:.0f} s. Given again, the {memory['runs']} were found unchanged in "
        f"{memory['again_s']:.1f} s."
    )


def make_schedule(figures: dict[str, Any]) -> str:
    """Return the simulated schedule from the measured times of one worker."""
    times = np.asarray(figures["speed"]["batches"][0]["task_s"], dtype=np.float64)
    # Tasks that are only looked at are little but what the engine does for each.
    memory = figures["memory"]
    given = Assumptions(dispatch_s=memory["again_s"] / memory["runs"])
    return schedule_table([simulate_schedule(times, workers, given) for workers in CLUSTERS], given)


def main() -> int:
    """Return 0 when everything was measured."""
    parser = argparse.ArgumentParser(description="Write benchmarks/batch.json and two sections of docs/scale.md.")
    parser.add_argument("--only", choices=("speed", "memory", "schedule"), help="do this, take the rest as it stands")
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--small-runs", type=int, default=SMALL_RUNS)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--print", action="store_true", help="print the sections and write no page")
    given = parser.parse_args()
    os.environ.update(_ONE_THREAD)
    parts: dict[str, Any] = {"schema": "angio-pipeline/batch-cost/1"}
    if given.only in (None, "speed"):
        parts |= {"speed": measure_speed(given.runs, given.repeats), "measured_with": state()}
    if given.only in (None, "memory"):
        parts["memory"] = measure_memory(given.small_runs)
    figures = write_parts(FIGURES, parts)
    sections = {"cost": cost_section(figures), "schedule": make_schedule(figures)}
    for name, text in sections.items():
        print(text, end="\n\n")
        if not given.print:
            write_section(PAGE, name, SCRIPT, text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
