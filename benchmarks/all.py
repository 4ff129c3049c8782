"""Run the benchmarks one after the other, each stage beside its peers, with one plan of threads and processes.

Every benchmark runs by itself in a process of its own, so that no two share the cores; linear algebra has one thread,
as inside a batch. Where a benchmark measures with several workers or threads it says so itself, and gives its peers as
many. Each writes its figures (`benchmarks/<name>.json`) and its section of the documentation; at the end
`benchmarks/peers.py` puts time, error and memory of every stage over those of its peers into `benchmarks/peers.json`,
one picture and one table. Afterwards `scripts/docs` brings the pages of accuracy and performance up to date. Stopped,
it goes on with those that were not done since the last commit.

With `--quick` the stages that have peers are measured on small cases, in some minutes, to see that all of it works here
and roughly where one stands. That happens in a copy, `out/quick`, and leaves figures and pages as they are:

    .venv/bin/python benchmarks/all.py [--list] [--quick] [--only NAME ...] [--again]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from time import perf_counter

from pages import ROOT, state

# What is measured, beside whom.
PLAN = {
    "decode": "frames of compressed runs, beside pydicom, gdcm and SimpleITK",
    "ingest": "headers of a disk, beside a loop of pydicom and gdcm's scanner",
    "dsa": "motion, beside OpenCV, SimpleITK, scikit-image, pystackreg",
    "segmentation": "vessels: time and error, beside filters of scikit-image and SimpleITK and a U-Net of MONAI",
    "networks": "how good the networks are, beside filters of scikit-image",
    "graph": "the tree, beside skan and sknw",
    "flow": "arrival and velocity, beside fits of others",
    "feeders": "feeders on held-out patients",
    "embolisation": "the end point of embolisation",
    "projections": "two projections together",
    "registration": "alignment of follow-ups, beside SimpleITK and dipy",
    "lipiodol": "oil on held-out patients, with lesions given and found",
    "lipiodol_peers": "oil, beside tiers of thresholds and multi-Otsu",
    "lipiodol_speed": "time and memory of six scans",
    "stray_oil": "oil elsewhere",
    "response": "criteria of response",
    "cohort": "statistics of cohorts",
    "batch": "whole batches: workers, memory, schedule",
    "pacs": "archives, beside dcmtk",
    "review": "the review server under 20 readers",
    "review_page": "the review page in a browser",
    "simulator": "time and memory of simulated patients",
    "size": "the whole analysis, end to end, against size and frames",
    "clinical": "the whole analysis on held-out patients",
}
# The small cases of a quick pass.
QUICK = {
    "decode": "--repeats 1 --only peers",
    "ingest": "--files 2000",
    "dsa": "--size 512 --frames 10 --write",
    "segmentation": "--repeats 1 --size 512 --frames 8 --cases 1",
    "graph": "--scenes 1",
    "registration": "--case breath:1:5",
    "lipiodol_peers": "--cases 1",
    "size": "--sizes 256 512 --frames 6 12",
}
# What a quick pass writes into lies there as a copy, all else as a link.
COPIED, LINKED = ("benchmarks", "docs"), ("src", "scripts", "configs", "models", "data", "tests", "README.md")
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")


def run(name: str, place: Path, words: str = "") -> dict[str, object]:
    """Run one benchmark of a tree to its end; return how that went."""
    start = perf_counter()
    command = [sys.executable, str(place / "benchmarks" / f"{name}.py"), *words.split()]
    done = subprocess.run(command, cwd=place, env={**os.environ, **THREADS}, check=False)
    return {"exit_status": done.returncode, "seconds": round(perf_counter() - start, 1)}


def main() -> int:
    """Return 0 when all that was asked for ran to its end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    parser.add_argument("--quick", action="store_true", help="small cases of stages with peers; leaves all figures be")
    parser.add_argument("--only", nargs="+", choices=PLAN, metavar="NAME", help="run these alone")
    parser.add_argument("--again", action="store_true", help="run also what was run with this commit already")
    given = parser.parse_args()
    plan = list(QUICK if given.quick else PLAN)
    if given.list:
        print("\n".join(f"{name:16} {PLAN[name]}" for name in plan))
        return 0
    if unknown := set(given.only or ()) - set(plan):
        parser.error(f"Expected --only with --quick to name some of {', '.join(plan)}, found {', '.join(unknown)}.")
    place = copied(ROOT / "out" / "quick") if given.quick else ROOT
    return _run_all(given.only or plan, place, again=given.again, words=QUICK if given.quick else {})


def copied(place: Path) -> Path:
    """Return a copy of what benchmarks read and write, new at every call but for patients that were simulated."""
    for name in COPIED:
        shutil.rmtree(place / name, ignore_errors=True)
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__", "*.json"))
    for name in LINKED:
        link = place / name
        if not link.is_symlink():
            link.symlink_to(ROOT / name)
    return place


def _run_all(names: list[str], place: Path, *, again: bool, words: dict[str, str]) -> int:
    log, version = place / "out" / "benchmarks.json", state()
    told = json.loads(log.read_text(encoding="utf-8")) if log.is_file() else {}
    done = {} if again or words or told.get("version") != version else told["done"]
    for name in names:
        if done.get(name, {}).get("exit_status") == 0:
            continue
        print(f"== {name}: {PLAN[name]}", flush=True)
        done[name] = run(name, place, words.get(name, ""))
        _write(log, {"version": version, "done": done})
    failed = [name for name in names if done[name]["exit_status"] != 0]
    if run("peers", place)["exit_status"] != 0:
        failed.append("peers")
    print(f"Done: {len(names)} benchmarks." + (f" Failed: {', '.join(failed)}." if failed else ""))
    print(f"Beside peers: {place / 'benchmarks' / 'peers.json'}, {place / 'docs' / 'images' / 'peers.svg'}")
    return int(bool(failed))


def _write(path: Path, content: dict[str, object]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
