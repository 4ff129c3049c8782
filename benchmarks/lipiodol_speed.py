"""Measure how long a patient of six large follow-up scans takes and what memory it holds, and write it down.

One simulated patient (`benchmarks/six-scans-512.toml`), from DICOM files to the written results, in a process of its
own with two threads; the scan before treatment, which the patient has as well, is left out. Regions are given once and
not given once. Written: `benchmarks/lipiodol_speed.json` and a section of `docs/lipiodol.md`.

    .venv/bin/python benchmarks/lipiodol_speed.py [--work FOLDER]
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from angio_pipeline.batch.tasks import Settings, run_task
from angio_pipeline.config import PipelineConfig
from angio_pipeline.ingest import read_volume
from lipiodol import task_of
from lipiodol_patients import write_patients
from pages import ROOT, machine, state, write_section
from processes import hold_threads, in_its_own_process, peak_memory_mb

SCRIPT = "benchmarks/lipiodol_speed.py"
FIGURES = ROOT / "benchmarks" / "lipiodol_speed.json"
PAGE = ROOT / "docs" / "lipiodol.md"
PRESET = ROOT / "benchmarks" / "six-scans-512.toml"
SEED, SCANS = 7012, 6
ASKED_S, ASKED_GB = 150, 3
Row = dict[str, Any]


def follow(case: Path, out: Path, regions: bool, answer: Any) -> None:
    """Send the time and the memory that one follow-up takes."""
    hold_threads()
    workspace = out / "unpacked"
    workspace.mkdir(parents=True)
    task = task_of(case, workspace, regions=regions)
    scans = sorted(task.volumes, key=lambda item: (item.source.date, item.source.series_instance_uid))[-SCANS:]
    shape = [int(n) for n in read_volume(scans[0]).hu.shape]
    started, busy = time.perf_counter(), time.process_time()
    run_task(replace(task, volumes=tuple(scans), films=()), Settings(out, PipelineConfig()))
    seconds, cpu = time.perf_counter() - started, time.process_time() - busy
    lesions = len(json.loads(next(out.rglob("lipiodol.json")).read_text(encoding="utf-8"))["lesions"])
    answer.put(
        {
            "regions": regions,
            "scans": len(scans),
            "voxels": shape,
            "lesions": lesions,
            "seconds": seconds,
            "cpu_seconds": cpu,
            "peak_gb": peak_memory_mb() / 1024,
        }
    )


def section(figures: dict[str, Any]) -> str:
    """Return what is said of the figures; it follows from them alone."""
    first = figures["rows"][0]
    depth, height, width = first["voxels"]
    lines = [
        f"Measured with {figures['measured_with']} on {figures['machine']}: {first['scans']} scans of "
        f"{width} × {height} × {depth} voxels.",
        f"Asked: {ASKED_S} s and {ASKED_GB} GB at most.",
        "",
        "| regions | lesions | seconds | processor seconds | greatest memory, GB |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for row in figures["rows"]:
        told = "given" if row["regions"] else "none given"
        lines.append(
            f"| {told} | {row['lesions']} | {row['seconds']:.0f} | {row['cpu_seconds']:.0f} | {row['peak_gb']:.2f} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Return 0 when both were measured."""
    parser = argparse.ArgumentParser(description="Write benchmarks/lipiodol_speed.json and its section of a page.")
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "lipiodol-speed", help="the patient, kept")
    given = parser.parse_args()
    case = write_patients(given.work / "patients", seed=SEED, preset=str(PRESET), numbers=range(1))[0]
    figures: dict[str, Any] = {"measured_with": state(), "machine": machine(), "rows": []}
    for regions in (True, False):
        out = given.work / ("given" if regions else "found")
        shutil.rmtree(out, ignore_errors=True)
        figures["rows"].append(in_its_own_process(follow, case, out, regions))
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    write_section(PAGE, "speed", SCRIPT, section(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
