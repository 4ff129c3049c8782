"""Run the benchmarks one after the other, each stage beside its peers, with one plan of threads and processes.

Every benchmark runs by itself in a process of its own, so that no two share the cores; linear algebra has one thread,
as inside a batch. Where a benchmark measures with several workers or threads it says so itself. Each writes its figures
(`benchmarks/<name>.json`) and its section of the documentation; afterwards `scripts/docs` brings the pages of accuracy
and performance up to date. Stopped, it goes on with those that were not done since the last commit:

    .venv/bin/python benchmarks/all.py [--list] [--only NAME ...] [--again]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from time import perf_counter

from pages import ROOT, state

# What is measured, beside whom.
PLAN = {
    "decode": "frames of compressed runs, beside pydicom with gdcm",
    "ingest": "headers of a disk, beside a loop of pydicom and gdcm's scanner",
    "dsa": "motion, beside OpenCV, SimpleITK, scikit-image, pystackreg",
    "segmentation": "vessels, beside ridge filters of scikit-image and SimpleITK",
    "networks": "what runs the networks, beside torch and MONAI",
    "graph": "the tree, beside skan and sknw",
    "flow": "arrival and velocity, beside fits of others",
    "feeders": "feeders on held-out patients",
    "embolisation": "the end point of embolisation",
    "projections": "two projections together",
    "registration": "alignment of follow-ups, beside SimpleITK and dipy",
    "lipiodol": "oil on held-out patients, beside thresholds",
    "lipiodol_speed": "time and memory of six scans",
    "stray_oil": "oil elsewhere",
    "response": "criteria of response",
    "cohort": "statistics of cohorts",
    "batch": "whole batches: workers, memory, schedule",
    "pacs": "archives, beside dcmtk",
    "review": "the review server under 20 readers",
    "review_page": "the review page in a browser",
    "size": "the whole analysis against size and frames",
    "clinical": "the whole analysis on held-out patients",
}
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")


def run(name: str) -> dict[str, object]:
    """Run one benchmark to its end; return how that went."""
    start = perf_counter()
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / f"{name}.py")], cwd=ROOT, env={**os.environ, **THREADS}, check=False
    )
    return {"exit_status": done.returncode, "seconds": round(perf_counter() - start, 1)}


def main() -> int:
    """Return 0 when all that was asked for ran to its end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    parser.add_argument("--only", nargs="+", choices=PLAN, metavar="NAME", help="run these alone")
    parser.add_argument("--again", action="store_true", help="run also what was run with this commit already")
    given = parser.parse_args()
    if given.list:
        print("\n".join(f"{name:16} {what}" for name, what in PLAN.items()))
        return 0
    return _run_all(given.only or list(PLAN), again=given.again)


def _run_all(names: list[str], *, again: bool) -> int:
    log, version = ROOT / "out" / "benchmarks.json", state()
    told = json.loads(log.read_text(encoding="utf-8")) if log.is_file() else {}
    done = {} if again or told.get("version") != version else told["done"]
    for name in names:
        if done.get(name, {}).get("exit_status") == 0:
            continue
        print(f"== {name}: {PLAN[name]}", flush=True)
        done[name] = run(name)
        _write(log, {"version": version, "done": done})
    failed = [name for name in names if done[name]["exit_status"] != 0]
    print(f"Done: {len(names) - len(failed)} of {len(names)}." + (f" Failed: {', '.join(failed)}." if failed else ""))
    return int(bool(failed))


def _write(path: Path, content: dict[str, object]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
